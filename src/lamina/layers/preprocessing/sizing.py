"""Layers that give images another size, and boxes another number."""

import math
from typing import Any, Unpack

import jax.numpy as jnp
from jax import lax

from lamina import random
from lamina.core.checks import positive_int
from lamina.core.random import make_default_seed
from lamina.core.types import Factor
from lamina.kernels.boxes import moved
from lamina.layers.preprocessing.geometry import FillingLayer, GeometryLayer
from lamina.layers.preprocessing.image_layer import (
    BaseImagePreprocessingLayer,
    Shared,
    shared,
)
from lamina.ops.image import resize


def _scaled(boxes, x, y, left, top):
    """Return boxes times (x, y), shifted by (left, top)."""
    shift = jnp.stack([jnp.asarray(v, boxes.dtype) for v in (left, top) * 2])
    return boxes * jnp.array((x, y) * 2, boxes.dtype) + shift


class SizingLayer(GeometryLayer):
    """Gives all images the size (height, width), in training and outside of it."""

    _always = True

    def __init__(
        self, height: int, width: int, data_format: str | None = None, **kwargs
    ):
        super().__init__(data_format=data_format, **kwargs)
        self.height = positive_int(self, "height", height)
        self.width = positive_int(self, "width", width)

    _new_size = property(lambda self: (self.height, self.width))


class Resizing(FillingLayer, SizingLayer):
    """Brings images to one size, in training and outside of it, in their own dtype.

    Args:
        crop_to_aspect_ratio: first cut the middle out in the new shape.
        pad_to_aspect_ratio: first fill up to the new shape.
        fill_value: what it is filled up with.
        antialias: smooth before shrinking.

    >>> import lamina, numpy as np
    >>> x = np.arange(4.0).reshape(2, 2, 1)
    >>> lamina.layers.Resizing(1, 2)(x)[..., 0].tolist()
    [[1.0, 2.0]]
    """

    _INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
    _FILLS = ("constant",)

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: Factor = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(**shared.given(locals()))
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError(
                "`Resizing` expected at most one of `crop_to_aspect_ratio` and "
                "`pad_to_aspect_ratio` to be True. Received: both"
            )
        self.crop_to_aspect_ratio = crop_to_aspect_ratio
        self.pad_to_aspect_ratio = pad_to_aspect_ratio
        self.antialias = bool(antialias)

    def draw(self, rng):
        return rng.height, rng.width

    def transform_images(self, images, transformation=None, training=True):
        return self.change(images, transformation)  # in their own dtype

    def move(self, images, drawn, interpolation):
        return resize(
            images,
            self._new_size,
            interpolation=interpolation,
            antialias=self.antialias,
            crop_to_aspect_ratio=self.crop_to_aspect_ratio,
            pad_to_aspect_ratio=self.pad_to_aspect_ratio,
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
            data_format=self.data_format,
        )

    def change_boxes(self, bounding_boxes, drawn):
        given = jnp.asarray(bounding_boxes["boxes"])
        none = jnp.all(given == -1, -1) | jnp.all(given == 0, -1)

        def move(boxes):
            return jnp.where(none[..., None], 0, self._moved(boxes, *drawn))

        style = self.bounding_box_format
        return moved(bounding_boxes, move, style, drawn, self._new_size)

    def _moved(self, boxes, height, width):
        if not (self.crop_to_aspect_ratio or self.pad_to_aspect_ratio):
            return _scaled(boxes, self.width / width, self.height / height, 0, 0)
        choose = max if self.crop_to_aspect_ratio else min
        sides = (self.width, width), (self.height, height)
        new, old = choose(sides, key=lambda side: side[0] / side[1])
        left = math.trunc((self.width - width * new / old) / 2)
        top = math.trunc((self.height - height * new / old) / 2)
        return _scaled(boxes, new / old, new / old, left, top)


class WindowLayer(SizingLayer):
    """Cuts `window(size, drawn)` out: top, left, height, width; and resizes that."""

    window: Any

    def _middle(self, height, width):
        """Return the largest window in the middle that has the new shape."""
        high = max(min(height, int(width * self.height / self.width)), 1)
        wide = max(min(width, int(height * self.width / self.height)), 1)
        return int((height - high) / 2), int((width - wide) / 2), high, wide

    def change(self, images, drawn):
        return super().change(jnp.asarray(images, self.compute_dtype), drawn)

    def move(self, images, drawn, interpolation):
        x = images
        top, left, *size = self.window(self._sizes_in(x.shape), drawn)
        down, across = (axis % x.ndim for axis in self._image_axes)
        x = lax.dynamic_slice_in_dim(x, top, size[0], down)
        x = lax.dynamic_slice_in_dim(x, left, size[1], across)
        if tuple(size) == self._new_size:
            return x
        form = self.data_format
        return resize(x, self._new_size, interpolation=interpolation, data_format=form)

    def move_boxes(self, boxes, drawn, size):
        top, left, height, width = self.window(size, drawn)
        x, y = self.width / width, self.height / height
        return _scaled(boxes, x, y, -left * x, -top * y)


class CenterCrop(WindowLayer):
    """Cuts the middle out of images, in training and outside of it.

    Images that are too small in a side are cut to the wanted shape and resized.

    >>> import lamina, numpy as np
    >>> x = np.arange(16.0).reshape(4, 4, 1)
    >>> lamina.layers.CenterCrop(2, 2)(x)[..., 0].tolist()
    [[5.0, 6.0], [9.0, 10.0]]
    """

    def draw(self, rng):
        return {"input_shape": rng.shape}

    def window(self, size, drawn):
        height, width = size
        if height < self.height or width < self.width:
            return self._middle(height, width)
        top, left = (height - self.height) // 2, (width - self.width) // 2
        return top, left, self.height, self.width


class RandomCrop(WindowLayer):
    """Cuts a random window out of images, the same for a batch.

    Images that are not larger in both sides are cut in the middle and resized.
    Outside of training images stay as they are; resize them with `CenterCrop`.

    >>> import lamina, numpy as np
    >>> crop = lamina.layers.RandomCrop(2, 2, seed=0)
    >>> y = crop(np.arange(16.0).reshape(4, 4, 1))[..., 0]
    >>> (y - y[0, 0]).tolist()
    [[0.0, 1.0], [4.0, 5.0]]
    """

    _always = False

    @shared("height width seed data_format name")
    def __init__(self, height: int, width: int, *_, **kwargs: Unpack[Shared]):
        # In this order: unseeded, it draws what Keras' layer draws.
        own = kwargs.get("seed")
        own = make_default_seed() if own is None else own
        super().__init__(height, width, **kwargs)
        self.seed = own

    def draw(self, rng):
        if self._fits(rng.height, rng.width):
            top, left = (
                random.uniform((), 0, float(spare + 1), seed=rng.seed).astype("int32")
                for spare in (rng.height - self.height, rng.width - self.width)
            )
        else:
            top, left, _, _ = self._middle(rng.height, rng.width)
        return {"start": (top, left), "input_shape": rng.shape}

    def _fits(self, height, width):
        return height > self.height and width > self.width

    def window(self, size, drawn):
        top, left = drawn["start"]
        if self._fits(*size):
            return top, left, self.height, self.width
        height, width = size
        return top, left, min(self.height, height - top), min(self.width, width - left)

    def transform_images(self, images, transformation=None, training=True):
        # Those that stay as they are keep their dtype.
        return self._changed(self.change, images, transformation, training)


class MaxNumBoundingBoxes(BaseImagePreprocessingLayer):
    """Gives every image the same number of boxes, cut off or filled up.

    Args:
        max_number: how many boxes, a positive integer.
        fill_value: what fills boxes and labels.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.MaxNumBoundingBoxes(2, bounding_box_format="xyxy")
    >>> boxes = {"boxes": np.ones((1, 4)), "labels": np.array([7])}
    >>> layer({"images": np.ones((4, 4, 3)), "bounding_boxes": boxes})[
    ...     "bounding_boxes"]["labels"].tolist()
    [7, -1]
    """

    _always = True
    # Keras never writes it.
    _saved_if_changed = (*BaseImagePreprocessingLayer._saved_if_changed, "fill_value")

    def __init__(self, max_number: int, fill_value: int = -1, **kwargs):
        super().__init__(**kwargs)
        self.max_number = positive_int(self, "max_number", max_number)
        self.fill_value = int(fill_value)

    def transform_images(self, images, transformation=None, training=True):
        return images

    def change_boxes(self, bounding_boxes, drawn):
        def fitted(x):
            x = jnp.asarray(x)[:, : self.max_number]
            around = [(0, 0)] * x.ndim
            around[1] = (0, self.max_number - x.shape[1])
            return jnp.pad(x, around, constant_values=self.fill_value)

        dense = {k: fitted(bounding_boxes[k]) for k in ("boxes", "labels")}
        return {**bounding_boxes, **dense}
