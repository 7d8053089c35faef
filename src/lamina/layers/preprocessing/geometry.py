"""Layers that move what images show: they flip, shift, stretch, turn and slant.

Segmentation masks and bounding boxes move with the images. Outside of training
nothing moves.
"""

import math
from typing import Any

import jax.numpy as jnp

from lamina import random
from lamina.core.checks import one_of
from lamina.kernels.boxes import (
    clip_to_image_size,
    convert_format,
    moved,
    through,
)
from lamina.layers.preprocessing.image import (
    BaseImagePreprocessingLayer,
    count,
    images_of,
    is_number,
    is_pair,
)
from lamina.ops.image import affine_transform

INTERPOLATIONS = ("nearest", "bilinear")
FILLS = ("reflect", "wrap", "constant", "nearest")


class GeometryLayer(BaseImagePreprocessingLayer):
    """Moves pixels, and boxes alike.

    A subclass writes `move(images, transformation, interpolation)` and
    `move_boxes(boxes, transformation, size)`, for boxes in pixels from left, top to
    right, bottom.
    """

    interpolation = "bilinear"
    fill_mode: str
    fill_value: float

    def _keep_sampling(self, interpolation, fill_mode, fill_value, fills=FILLS):
        owner = type(self).__name__
        self.interpolation = one_of(
            owner, "interpolation", interpolation, INTERPOLATIONS
        )
        self.fill_mode = one_of(owner, "fill_mode", fill_mode, fills)
        self.fill_value = fill_value

    def _within(self, name, value):
        """Return two limits; one number stands for minus it to it."""
        low, high = self._FACTOR_BOUNDS
        given = value if is_pair(value) else (value,)
        if not all(is_number(v) and low <= v <= high for v in given):
            raise self._bad_factor(name, value)
        return tuple(sorted(value)) if len(given) == 2 else (-abs(value), abs(value))

    def transform_images(self, images, transformation, training=True):
        images = jnp.asarray(images, self.compute_dtype)
        if not training or transformation is None:
            return images
        return self.move(images, transformation, self.interpolation)

    def transform_segmentation_masks(
        self, segmentation_masks, transformation, training=True
    ):
        if not training or transformation is None:
            return segmentation_masks
        return self.move(jnp.asarray(segmentation_masks), transformation, "nearest")

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        if not training or transformation is None:
            return bounding_boxes
        size = self._sizes_in(transformation["input_shape"])

        def move(boxes):
            return self.move_boxes(boxes, transformation, size)

        return moved(bounding_boxes, move, self.bounding_box_format, size)

    def move(self, images, transformation, interpolation):
        """Return moved images; every layer writes its own."""
        raise NotImplementedError

    def move_boxes(self, boxes, transformation, size):
        """Return moved boxes; every layer writes its own."""
        raise NotImplementedError


def per_image(flags, x, rank):
    """Return a flag for each image, to broadcast with `x`, of `rank` for one image."""
    return jnp.reshape(flags, (*(-1,) * (x.ndim - rank), *(1,) * rank))


class RandomFlip(GeometryLayer):
    """Mirrors each image with probability 1/2.

    Args:
        mode: `"horizontal"` (left and right change places), `"vertical"` or
            `"horizontal_and_vertical"` (both at once).
        seed: an integer, for the same draws in each run.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: `mode` is none of these.

    >>> import lamina, numpy as np
    >>> flip = lamina.layers.RandomFlip("horizontal")
    >>> once = {"flips": np.array([True])}
    >>> flip.transform_images(np.array([[[[1.0], [2.0]]]]), once).ravel().tolist()
    [2.0, 1.0]
    """

    def __init__(
        self, mode="horizontal_and_vertical", seed=None, data_format=None, **kwargs
    ):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        modes = ("horizontal", "vertical", "horizontal_and_vertical")
        self.mode = one_of("RandomFlip", "mode", mode, modes)

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        shape = images_of(data).shape
        flips_shape = (*shape[:-3], 1, 1, 1)
        drawn = random.uniform(flips_shape, seed=self._seed(seed))
        return {"flips": drawn <= 0.5, "input_shape": shape}

    def move(self, images, transformation, interpolation):
        """Return images, the drawn ones flipped."""
        down, across = (-3, -2) if self._channels_last else (-2, -1)
        axes = {"horizontal": across, "vertical": down}.get(self.mode, (across, down))
        flips = per_image(transformation["flips"], images, 3)
        return jnp.where(flips, jnp.flip(images, axes), images)

    def move_boxes(self, boxes, transformation, size):
        """Return boxes, those of the drawn images flipped."""
        height, width = size
        left, top, right, bottom = jnp.split(boxes, 4, -1)
        if self.mode != "vertical":
            left, right = width - right, width - left
        if self.mode != "horizontal":
            top, bottom = height - bottom, height - top
        flipped = jnp.concatenate([left, top, right, bottom], -1)
        return jnp.where(per_image(transformation["flips"], boxes, 2), flipped, boxes)


class AffineLayer(GeometryLayer):
    """Moves images by matrices: one for each image, for its masks and boxes, too.

    A subclass writes `matrices(transformation, size)`: (batch, 8) numbers a, that
    take each pixel (x, y) of the result from (a0 x + a1 y + a2, a3 x + a4 y + a5).
    """

    def matrices(self, transformation, size):
        """Return a matrix for each image; every layer writes its own."""
        raise NotImplementedError

    def move(self, images, transformation, interpolation):
        """Return images moved by their matrices."""
        return affine_transform(
            images,
            self.matrices(transformation, self._sizes(images)),
            interpolation=interpolation,
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
            data_format=self.data_format,
        )

    def move_boxes(self, boxes, transformation, size):
        """Return the boxes around what becomes of boxes."""
        return through(boxes, _inverse(self.matrices(transformation, size)))


def _inverse(matrices):
    """Return (batch, 3, 3) matrices that undo those of (batch, 8) numbers."""
    eight = jnp.asarray(matrices, "float32")
    nine = jnp.concatenate([eight, jnp.ones_like(eight[..., :1])], -1)
    return jnp.linalg.inv(nine.reshape(-1, 3, 3))


def _matrices(*numbers):
    """Return (batch, 8) from six numbers, each for all or for each image."""
    numbers = jnp.broadcast_arrays(*(jnp.asarray(n, "float32") for n in numbers))
    zero = jnp.zeros_like(numbers[0])
    return jnp.stack([*numbers, zero, zero], -1)


class RandomTranslation(AffineLayer):
    """Shifts images.

    Args:
        height_factor: two numbers from -1 to 1: the limits of the shift down, in
            shares of the height; one number stands for minus it to it.
        width_factor: likewise to the right, in shares of the width.
        fill_mode: what comes in: `"reflect"`, `"wrap"`, `"constant"` or `"nearest"`.
        interpolation: `"nearest"` or `"bilinear"`.
        seed: an integer, for the same draws in each run.
        fill_value: what comes in with `"constant"`.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a factor or mode that does not exist.

    >>> import lamina, numpy as np
    >>> x = np.arange(4.0).reshape(4, 1, 1)
    >>> down = lamina.layers.RandomTranslation((0.25, 0.25), 0, fill_mode="wrap")
    >>> down(x).ravel().tolist()
    [3.0, 0.0, 1.0, 2.0]
    """

    def __init__(
        self, height_factor, width_factor, fill_mode="reflect",
        interpolation="bilinear", seed=None, fill_value=0.0, data_format=None, **kwargs,
    ):  # fmt: skip
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height_limits = self._within("height_factor", height_factor)
        self._width_limits = self._within("width_factor", width_factor)
        self._keep_sampling(interpolation, fill_mode, fill_value)

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        seed, shape = self._seed(seed), (count(data), 1)
        height, width = self._sizes(data)
        down = random.uniform(shape, *self._height_limits, seed=seed) * height
        right = random.uniform(shape, *self._width_limits, seed=seed) * width
        shifts = jnp.concatenate([right, down], 1).astype("float32")
        return {"translations": shifts, "input_shape": images_of(data).shape}

    def matrices(self, transformation, size):
        """Return matrices that shift."""
        shift = jnp.asarray(transformation["translations"])
        return _matrices(1, 0, -shift[:, 0], 0, 1, -shift[:, 1])

    def move_boxes(self, boxes, transformation, size):
        """Return shifted boxes."""
        shift = jnp.tile(jnp.asarray(transformation["translations"]), 2)
        return boxes + jnp.reshape(shift, (*(-1,) * (boxes.ndim - 2), 1, 4))


class RandomZoom(AffineLayer):
    """Shows more or less of images, around their middles.

    Args:
        height_factor: two numbers above -1, at most 1: the limits of f, where 1 + f
            times the height is shown; one number stands for minus it to it.
        width_factor: likewise for the width; None keeps its ratio to the height.
        fill_mode: what comes in: `"reflect"`, `"wrap"`, `"constant"` or `"nearest"`.
        interpolation: `"nearest"` or `"bilinear"`.
        seed: an integer, for the same draws in each run.
        fill_value: what comes in with `"constant"`.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a factor or mode that does not exist.

    >>> import lamina, numpy as np
    >>> x = np.arange(5.0).reshape(5, 1, 1)
    >>> lamina.layers.RandomZoom((-0.5, -0.5))(x).ravel().tolist()
    [1.0, 1.5, 2.0, 2.5, 3.0]
    """

    def __init__(
        self, height_factor, width_factor=None, fill_mode="reflect",
        interpolation="bilinear", seed=None, fill_value=0.0, data_format=None, **kwargs,
    ):  # fmt: skip
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height_limits = self._scales("height_factor", height_factor)
        self._width_limits = None
        if width_factor is not None:
            self._width_limits = self._scales("width_factor", width_factor)
        self._keep_sampling(interpolation, fill_mode, fill_value)

    def _scales(self, name, value):
        low, high = self._within(name, value)
        if value == -1 or (is_pair(value) and low == -1):
            raise self._bad_factor(name, value)  # nothing would be shown
        return 1.0 + low, 1.0 + high

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        seed, shape = self._seed(seed), (count(data), 1)
        height = width = random.uniform(shape, *self._height_limits, seed=seed)
        if self._width_limits is not None:
            width = random.uniform(shape, *self._width_limits, seed=seed)
        shape = images_of(data).shape
        return {"height_zoom": height, "width_zoom": width, "input_shape": shape}

    def matrices(self, transformation, size):
        """Return matrices that scale around the middles."""
        x, y = (
            jnp.asarray(transformation[k], "float32")[:, 0]
            for k in ("width_zoom", "height_zoom")
        )
        down, across = ((n - 1) / 2 for n in size)
        return _matrices(x, 0, across * (1 - x), 0, y, down * (1 - y))


class RandomRotation(AffineLayer):
    """Turns images around their middles.

    Args:
        factor: two numbers: the limits of the angle, in full turns, counterclockwise;
            one number stands for minus it to it.
        fill_mode: what comes in: `"reflect"`, `"wrap"`, `"constant"` or `"nearest"`.
        interpolation: `"nearest"` or `"bilinear"`.
        seed: an integer, for the same draws in each run.
        fill_value: what comes in with `"constant"`.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a factor or mode that does not exist.

    >>> import lamina, numpy as np
    >>> x = np.arange(4.0).reshape(2, 2, 1)
    >>> lamina.layers.RandomRotation((0.5, 0.5))(x)[..., 0].round(3).tolist()
    [[3.0, 2.0], [1.0, 0.0]]
    """

    def __init__(
        self, factor, fill_mode="reflect", interpolation="bilinear", seed=None,
        fill_value=0.0, data_format=None, **kwargs,
    ):  # fmt: skip
        super().__init__(factor, data_format=data_format, seed=seed, **kwargs)
        self._keep_sampling(interpolation, fill_mode, fill_value)

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        low, high = (f * 360.0 for f in self.factor)
        angle = random.uniform((count(data),), low, high, seed=self._seed(seed))
        return {"angle": angle, "input_shape": images_of(data).shape}

    def matrices(self, transformation, size):
        """Return matrices that turn around the middles."""
        angle = jnp.asarray(transformation["angle"]) * (math.pi / 180)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        y, x = (0.5 * (n - 1) for n in size)
        return _matrices(
            cos, -sin, x - x * cos + y * sin, sin, cos, y - x * sin - y * cos
        )


class RandomShear(AffineLayer):
    """Slants images: (x, y) is taken from (x + a y, y + b x).

    Boxes are slanted in shares of the image's sides, first in x and then in y.

    Args:
        x_factor: two numbers from 0 to 1, the limits of a; one number stands for
            minus it to it. Half of the images get -a and -b.
        y_factor: the same for b.
        interpolation: `"nearest"` or `"bilinear"`.
        fill_mode: what comes in: `"reflect"`, `"wrap"`, `"constant"` or `"nearest"`.
        fill_value: what comes in with `"constant"`.
        data_format: `"channels_last"` or `"channels_first"`.
        seed: an integer, for the same draws in each run.

    Raises:
        ValueError: a factor or mode that does not exist.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.RandomShear(1.0)
    >>> x = np.arange(9.0).reshape(1, 3, 3, 1)
    >>> slanted = layer.transform_images(x, {"shear_factor": np.array([[1.0, 0.0]])})
    >>> slanted[0, ..., 0].tolist()
    [[0.0, 1.0, 2.0], [4.0, 5.0, 5.0], [8.0, 8.0, 7.0]]
    """

    _FACTOR_BOUNDS = (0, 1)

    def __init__(
        self, x_factor=0.0, y_factor=0.0, interpolation="bilinear",
        fill_mode="reflect", fill_value=0.0, data_format=None, seed=None, **kwargs,
    ):  # fmt: skip
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.x_factor, self.y_factor = x_factor, y_factor
        self._x_limits = self._within("x_factor", x_factor)
        self._y_limits = self._within("y_factor", y_factor)
        self._keep_sampling(interpolation, fill_mode, fill_value)

    def _within(self, name, value):
        # Where one number f was given, a config made by Keras holds (-f, f).
        once = is_pair(value) and value[0] == -value[1]
        return super()._within(name, abs(value[0]) if once else value)

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        seed, dtype = self._seed(seed), self.compute_dtype

        def draw(low, high):
            return random.uniform((count(data), 1), low, high, dtype, seed)

        side = jnp.where(draw(0, 1) > 0.5, -1, 1).astype(dtype)
        y, x = draw(*self._y_limits), draw(*self._x_limits)
        slants = jnp.concatenate([x, y], 1) * side
        return {"shear_factor": slants, "input_shape": images_of(data).shape}

    def matrices(self, transformation, size):
        """Return matrices that slant."""
        slant = jnp.asarray(transformation["shear_factor"])
        return _matrices(1, slant[:, 0], 0, slant[:, 1], 1, 0)

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        if not training:
            return bounding_boxes
        size, style = self._sizes_in(transformation["input_shape"]), "rel_xyxy"
        boxes: Any = convert_format(
            bounding_boxes, self.bounding_box_format, style, *size
        )
        slant = jnp.asarray(transformation["shear_factor"], "float32")
        across, down = slant[:, :1], slant[:, 1:]
        x1, y1, x2, y2 = (boxes["boxes"][..., i] for i in range(4))
        x1, x2 = (
            x1 - across * jnp.where(across < 0, y1, y2),
            x2 - across * jnp.where(across < 0, y2, y1),
        )
        y1, y2 = (
            y1 - down * jnp.where(down > 0, x2, x1),
            y2 - down * jnp.where(down > 0, x1, x2),
        )
        boxes = {**boxes, "boxes": jnp.stack([x1, y1, x2, y2], -1)}
        boxes = clip_to_image_size(boxes, *size, style)
        return convert_format(boxes, style, self.bounding_box_format, *size)
