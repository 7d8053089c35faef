"""Layers that give images another size, and boxes another number."""

import math

import jax.numpy as jnp
from jax import lax

from lamina import random
from lamina.core.checks import one_of, positive_int
from lamina.core.random import make_default_seed
from lamina.kernels.boxes import moved
from lamina.layers.preprocessing.image import BaseImagePreprocessingLayer, images_of
from lamina.ops.image import resize


def _scaled(boxes, x, y, left, top):
    """Return boxes times (x, y), shifted by (left, top)."""
    shift = jnp.stack([jnp.asarray(v, boxes.dtype) for v in (left, top) * 2])
    return boxes * jnp.array((x, y) * 2, boxes.dtype) + shift


class Resizing(BaseImagePreprocessingLayer):
    """Brings images to one size, in training and outside of it.

    Images keep their dtype; integers are rounded.

    Args:
        height: the new height in pixels.
        width: the new width in pixels.
        interpolation: `"nearest"`, `"bilinear"`, `"bicubic"`, `"lanczos3"` or
            `"lanczos5"`.
        crop_to_aspect_ratio: first cut the middle out in the new shape.
        pad_to_aspect_ratio: first fill up to the new shape.
        fill_mode: `"constant"`.
        fill_value: what it is filled up with.
        antialias: smooth before shrinking.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a size or mode that does not exist.

    >>> import lamina, numpy as np
    >>> x = np.arange(4.0).reshape(2, 2, 1)
    >>> lamina.layers.Resizing(1, 2)(x)[..., 0].tolist()
    [[1.0, 2.0]]
    """

    def __init__(
        self, height, width, interpolation="bilinear", crop_to_aspect_ratio=False,
        pad_to_aspect_ratio=False, fill_mode="constant", fill_value=0.0,
        antialias=False, data_format=None, **kwargs,
    ):  # fmt: skip
        super().__init__(data_format=data_format, **kwargs)
        self.height = positive_int("Resizing", "height", height)
        self.width = positive_int("Resizing", "width", width)
        known = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
        self.interpolation = one_of("Resizing", "interpolation", interpolation, known)
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError(
                "`Resizing` expected at most one of `crop_to_aspect_ratio` and "
                "`pad_to_aspect_ratio` to be True. Received: both"
            )
        self.crop_to_aspect_ratio = crop_to_aspect_ratio
        self.pad_to_aspect_ratio = pad_to_aspect_ratio
        self.fill_mode = one_of("Resizing", "fill_mode", fill_mode, ("constant",))
        self.fill_value = fill_value
        self.antialias = bool(antialias)

    def get_random_transformation(self, data, training=True, seed=None):
        return self._sizes(data)

    def transform_images(self, images, transformation=None, training=True):
        return self._resized(images, self.interpolation)

    def transform_segmentation_masks(
        self, segmentation_masks, transformation=None, training=True
    ):
        return self._resized(segmentation_masks, "nearest")

    def _resized(self, images, interpolation):
        return resize(
            images,
            (self.height, self.width),
            interpolation=interpolation,
            antialias=self.antialias,
            crop_to_aspect_ratio=self.crop_to_aspect_ratio,
            pad_to_aspect_ratio=self.pad_to_aspect_ratio,
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
            data_format=self.data_format,
        )

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        size, new_size = transformation, (self.height, self.width)
        given = jnp.asarray(bounding_boxes["boxes"])
        none = jnp.all(given == -1, -1) | jnp.all(given == 0, -1)

        def move(boxes):
            return jnp.where(none[..., None], 0, self._moved(boxes, *size))

        return moved(bounding_boxes, move, self.bounding_box_format, size, new_size)

    def _moved(self, boxes, height, width):
        if not (self.crop_to_aspect_ratio or self.pad_to_aspect_ratio):
            return _scaled(boxes, self.width / width, self.height / height, 0, 0)
        choose = max if self.crop_to_aspect_ratio else min
        new, old = choose((self.width, width), (self.height, height), key=_ratio)
        left = math.trunc((self.width - width * new / old) / 2)
        top = math.trunc((self.height - height * new / old) / 2)
        return _scaled(boxes, new / old, new / old, left, top)


def _ratio(pair):
    return pair[0] / pair[1]


class _Window(BaseImagePreprocessingLayer):
    """Cuts a window out of images, and resizes it where it is not (height, width).

    A subclass writes `_window(size, transformation)`: top, left, height, width.
    """

    height: int
    width: int

    def _window(self, size, transformation):
        raise NotImplementedError

    def _middle(self, height, width):
        """Return the largest window in the middle that has the new shape."""
        high = max(min(height, int(width * self.height / self.width)), 1)
        wide = max(min(width, int(height * self.width / self.height)), 1)
        return int((height - high) / 2), int((width - wide) / 2), high, wide

    def _cut(self, images, transformation, interpolation):
        top, left, *size = self._window(self._sizes(images), transformation)
        down = images.ndim + (-3 if self._channels_last else -2)
        x = lax.dynamic_slice_in_dim(images, top, size[0], down)
        x = lax.dynamic_slice_in_dim(x, left, size[1], down + 1)
        if tuple(size) == (self.height, self.width):
            return x
        new_size, form = (self.height, self.width), self.data_format
        return resize(x, new_size, interpolation=interpolation, data_format=form)

    def transform_images(self, images, transformation=None, training=True):
        images = jnp.asarray(images, self.compute_dtype)
        return self._cut(images, transformation, "bilinear")

    def transform_segmentation_masks(
        self, segmentation_masks, transformation=None, training=True
    ):
        return self._cut(jnp.asarray(segmentation_masks), transformation, "nearest")

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        old = self._sizes_in(transformation["input_shape"])
        top, left, height, width = self._window(old, transformation)
        x, y = self.width / width, self.height / height

        def move(boxes):
            return _scaled(boxes, x, y, -left * x, -top * y)

        style, new = self.bounding_box_format, (self.height, self.width)
        return moved(bounding_boxes, move, style, old, new)


class CenterCrop(_Window):
    """Cuts the middle out of images, in training and outside of it.

    Images that are too small in a side are cut to the wanted shape and resized.

    Args:
        height: the height of the result in pixels.
        width: the width of the result in pixels.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a size is no positive integer.

    >>> import lamina, numpy as np
    >>> x = np.arange(16.0).reshape(4, 4, 1)
    >>> lamina.layers.CenterCrop(2, 2)(x)[..., 0].tolist()
    [[5.0, 6.0], [9.0, 10.0]]
    """

    def __init__(self, height, width, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.height = positive_int("CenterCrop", "height", height)
        self.width = positive_int("CenterCrop", "width", width)

    def get_random_transformation(self, data, training=True, seed=None):
        return {"input_shape": images_of(data).shape}

    def _window(self, size, transformation):
        height, width = size
        if height < self.height or width < self.width:
            return self._middle(height, width)
        top, left = (height - self.height) // 2, (width - self.width) // 2
        return top, left, self.height, self.width


class RandomCrop(_Window):
    """Cuts a random window out of images, the same for a batch.

    Images that are not larger in both sides are cut in the middle and resized.
    Outside of training images stay as they are; resize them with `CenterCrop`.

    Args:
        height: the height of the result in pixels.
        width: the width of the result in pixels.
        seed: an integer, for the same draws in each run.
        data_format: `"channels_last"` or `"channels_first"`.
        name: the layer's name.

    Raises:
        ValueError: a size is no positive integer.

    >>> import lamina, numpy as np
    >>> crop = lamina.layers.RandomCrop(2, 2, seed=0)
    >>> y = crop(np.arange(16.0).reshape(4, 4, 1))[..., 0]
    >>> (y - y[0, 0]).tolist()
    [[0.0, 1.0], [4.0, 5.0]]
    """

    def __init__(self, height, width, seed=None, data_format=None, name=None, **kwargs):
        # In this order: unseeded, it draws what Keras' layer draws.
        own = make_default_seed() if seed is None else seed
        super().__init__(data_format=data_format, seed=seed, name=name, **kwargs)
        self.seed = own
        self.height = positive_int("RandomCrop", "height", height)
        self.width = positive_int("RandomCrop", "width", width)

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        height, width = self._sizes(data)
        if self._fits(height, width):
            seed = self._seed(seed)
            top, left = (
                random.uniform((), 0, float(spare + 1), seed=seed).astype("int32")
                for spare in (height - self.height, width - self.width)
            )
        else:
            top, left, _, _ = self._middle(height, width)
        return {"start": (top, left), "input_shape": images_of(data).shape}

    def _fits(self, height, width):
        return height > self.height and width > self.width

    def _window(self, size, transformation):
        top, left = transformation["start"]
        if self._fits(*size):
            return top, left, self.height, self.width
        height, width = size
        return top, left, min(self.height, height - top), min(self.width, width - left)

    def transform_images(self, images, transformation=None, training=True):
        if not training:
            return images
        return super().transform_images(images, transformation)

    def transform_segmentation_masks(
        self, segmentation_masks, transformation=None, training=True
    ):
        if not training:
            return segmentation_masks
        return super().transform_segmentation_masks(segmentation_masks, transformation)

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        if not training:
            return bounding_boxes
        return super().transform_bounding_boxes(bounding_boxes, transformation)


class MaxNumBoundingBoxes(BaseImagePreprocessingLayer):
    """Gives every image the same number of boxes; images stay as they are.

    Boxes beyond it are dropped; missing ones are filled up.

    Args:
        max_number: how many boxes.
        fill_value: what fills boxes and labels.

    Raises:
        ValueError: `max_number` is no positive integer.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.MaxNumBoundingBoxes(2, bounding_box_format="xyxy")
    >>> boxes = {"boxes": np.ones((1, 4)), "labels": np.array([7])}
    >>> layer({"images": np.ones((4, 4, 3)), "bounding_boxes": boxes})[
    ...     "bounding_boxes"]["labels"].tolist()
    [7, -1]
    """

    def __init__(self, max_number, fill_value=-1, **kwargs):
        super().__init__(**kwargs)
        self.max_number = positive_int("MaxNumBoundingBoxes", "max_number", max_number)
        self.fill_value = int(fill_value)

    def transform_images(self, images, transformation=None, training=True):
        return images

    def transform_bounding_boxes(
        self, bounding_boxes, transformation=None, training=True
    ):
        def fitted(x):
            x = jnp.asarray(x)[:, : self.max_number]
            around = [(0, 0)] * x.ndim
            around[1] = (0, self.max_number - x.shape[1])
            return jnp.pad(x, around, constant_values=self.fill_value)

        dense = {k: fitted(bounding_boxes[k]) for k in ("boxes", "labels")}
        return {**bounding_boxes, **dense}

    def get_config(self):
        config = super().get_config()
        if self.fill_value == -1:
            del config["fill_value"]  # Keras never writes it
        return config
