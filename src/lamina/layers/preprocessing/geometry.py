"""Layers that flip, shift, stretch, turn and slant images, their masks and boxes."""

import functools
import math
from typing import Any, Unpack

import jax.numpy as jnp

from lamina import random
from lamina.core.checks import one_of
from lamina.core.types import Factor
from lamina.kernels.boxes import clip_to_image_size, convert_format, moved, through
from lamina.layers.preprocessing.image_layer import (
    BaseImagePreprocessingLayer,
    InterpolatingLayer,
    Shared,
    is_number,
    is_pair,
    shared,
    spread,
)
from lamina.ops.image import affine_transform


class GeometryLayer(BaseImagePreprocessingLayer):
    """Moves pixels: `move(images, drawn, interpolation)`, and boxes alike.

    `move_boxes(boxes, drawn, size)` takes boxes (left, top, right, bottom) in pixels.
    """

    interpolation = "bilinear"
    move: Any
    move_boxes: Any
    # The height and the width of the result; None for those of the images.
    _new_size: Any = None

    def _within(self, name, value):
        """Return two limits; one number stands for minus it to it."""
        low, high = self._FACTOR_BOUNDS
        given = value if is_pair(value) else (value,)
        if not all(is_number(v) and low <= v <= high for v in given):
            raise self._bad_factor(name, value)
        return tuple(sorted(value)) if len(given) == 2 else (-abs(value), abs(value))

    def change(self, images, drawn):
        return self.move(images, drawn, self.interpolation)

    def change_masks(self, masks, drawn):
        return self.move(jnp.asarray(masks), drawn, "nearest")

    def change_boxes(self, bounding_boxes, drawn):
        size, new_size = self._sizes_in(drawn["input_shape"]), self._new_size
        move = functools.partial(self.move_boxes, drawn=drawn, size=size)
        return moved(bounding_boxes, move, self.bounding_box_format, size, new_size)


class FillingLayer(InterpolatingLayer, GeometryLayer):
    """Takes pixels from between others, and what comes in from outside."""

    def __init__(self, fill_mode: str = "reflect", fill_value: Factor = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.fill_mode = one_of(self, "fill_mode", fill_mode, self._FILLS)
        self.fill_value = fill_value


# What layers that move images take behind their factors.
_MOVED = "fill_mode interpolation seed fill_value data_format"


class RandomFlip(GeometryLayer):
    """Mirrors each image with probability 1/2.

    Args:
        mode: `"horizontal"` (left and right change places), `"vertical"` or
            `"horizontal_and_vertical"` (both at once).

    >>> import lamina, numpy as np
    >>> flip = lamina.layers.RandomFlip("horizontal")
    >>> once = {"flips": np.array([True])}
    >>> flip.transform_images(np.array([[[[1.0], [2.0]]]]), once).ravel().tolist()
    [2.0, 1.0]
    """

    @shared("mode seed data_format")
    def __init__(
        self, mode: str = "horizontal_and_vertical", *_, **kwargs: Unpack[Shared]
    ):
        super().__init__(**kwargs)
        modes = ("horizontal", "vertical", "horizontal_and_vertical")
        self.mode = one_of(self, "mode", mode, modes)

    def draw(self, rng):
        drawn = random.uniform((*rng.shape[:-3], 1, 1, 1), seed=rng.seed)
        return {"flips": drawn <= 0.5, "input_shape": rng.shape}

    def move(self, images, drawn, interpolation):
        down, across = self._image_axes
        axes = {"horizontal": across, "vertical": down}.get(self.mode, (across, down))
        flips = spread(drawn["flips"], images.ndim)
        return jnp.where(flips, jnp.flip(images, axes), images)

    def move_boxes(self, boxes, drawn, size):
        height, width = size
        left, top, right, bottom = jnp.split(boxes, 4, -1)
        if self.mode != "vertical":
            left, right = width - right, width - left
        if self.mode != "horizontal":
            top, bottom = height - bottom, height - top
        flipped = jnp.concatenate([left, top, right, bottom], -1)
        return jnp.where(spread(drawn["flips"], boxes.ndim), flipped, boxes)


class AffineLayer(GeometryLayer):
    """Moves images by `matrices(drawn, size)`: (batch, 8) numbers a.

    Each pixel (x, y) of the result is taken from (a0 x + a1 y + a2, a3 x + a4 y + a5),
    both divided by a6 x + a7 y + 1.
    """

    matrices: Any
    fill_mode: str
    fill_value: Any

    def move(self, images, drawn, interpolation):
        matrices = self.matrices(drawn, self._sizes_in(images.shape))
        filled = self.fill_mode, self.fill_value, self.data_format
        return affine_transform(images, matrices, interpolation, *filled)

    def move_boxes(self, boxes, drawn, size):
        return through(boxes, _inverse(self.matrices(drawn, size)))

    def get_transformed_x_y(self, x, y, transform):
        """Return where `(batch, 8)` numbers take a point, as two `(batch, 1)`."""
        rows = jnp.split(jnp.asarray(transform), 8, -1)
        (a, b, c), (d, e, f), (g, h) = rows[:3], rows[3:6], rows[6:]
        depth = g * x + h * y + 1
        return (a * x + b * y + c) / depth, (d * x + e * y + f) / depth

    def get_shifted_bbox(self, bounding_boxes, w_shift_factor, h_shift_factor):
        """Return boxes as `(batch, 1)` shifts to the left and up move them."""
        boxes = jnp.asarray(bounding_boxes["boxes"])
        shift = _edges(boxes, w_shift_factor, h_shift_factor)
        return {**bounding_boxes, "boxes": boxes - shift}


def _edges(boxes, x, y):
    """Return `(batch, 1)` numbers for both corners, to broadcast with boxes."""
    edges = jnp.concatenate([jnp.asarray(v, boxes.dtype) for v in (x, y)] * 2, -1)
    return edges[..., None, :] if boxes.ndim == 3 else edges


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


class RandomTranslation(FillingLayer, AffineLayer):
    """Shifts images.

    Args:
        height_factor: two numbers from -1 to 1: the limits of the shift down, in
            shares of the height; one number stands for minus it to it.
        width_factor: likewise to the right, in shares of the width.

    >>> import lamina, numpy as np
    >>> x = np.arange(4.0).reshape(4, 1, 1)
    >>> down = lamina.layers.RandomTranslation((0.25, 0.25), 0, fill_mode="wrap")
    >>> down(x).ravel().tolist()
    [3.0, 0.0, 1.0, 2.0]
    """

    @shared(f"height_factor width_factor {_MOVED}")
    def __init__(
        self, height_factor: Factor, width_factor: Factor, *_, **kwargs: Unpack[Shared]
    ):
        super().__init__(**kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height_limits = self._within("height_factor", height_factor)
        self._width_limits = self._within("width_factor", width_factor)

    def draw(self, rng):
        down = rng.uniform(*self._height_limits, each=(1,)) * rng.height
        right = rng.uniform(*self._width_limits, each=(1,)) * rng.width
        shifts = jnp.concatenate([right, down], 1).astype("float32")
        return {"translations": shifts, "input_shape": rng.shape}

    def matrices(self, drawn, size):
        right, down = jnp.asarray(drawn["translations"]).T
        return _matrices(1, 0, -right, 0, 1, -down)

    def move_boxes(self, boxes, drawn, size):
        right, down = jnp.split(jnp.asarray(drawn["translations"]), 2, -1)
        return self.get_shifted_bbox({"boxes": boxes}, -right, -down)["boxes"]


class RandomZoom(FillingLayer, AffineLayer):
    """Shows more or less of images, around their middles.

    Args:
        height_factor: two numbers above -1, at most 1: the limits of f, where 1 + f
            times the height is shown; one number stands for minus it to it.
        width_factor: likewise for the width; None keeps its ratio to the height.

    >>> import lamina, numpy as np
    >>> x = np.arange(5.0).reshape(5, 1, 1)
    >>> lamina.layers.RandomZoom((-0.5, -0.5))(x).ravel().tolist()
    [1.0, 1.5, 2.0, 2.5, 3.0]
    """

    @shared(f"height_factor width_factor {_MOVED}")
    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor | None = None,
        *_,
        **kwargs: Unpack[Shared],
    ):
        super().__init__(**kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height_limits = self._scales("height_factor", height_factor)
        self._width_limits = None
        if width_factor is not None:
            self._width_limits = self._scales("width_factor", width_factor)

    def _scales(self, name, value):
        low, high = self._within(name, value)
        if value == -1 or (is_pair(value) and low == -1):
            raise self._bad_factor(name, value)  # nothing would be shown
        return 1.0 + low, 1.0 + high

    def draw(self, rng):
        height = width = rng.uniform(*self._height_limits, each=(1,))
        if self._width_limits is not None:
            width = rng.uniform(*self._width_limits, each=(1,))
        return {"height_zoom": height, "width_zoom": width, "input_shape": rng.shape}

    def matrices(self, drawn, size):
        zooms = drawn["width_zoom"], drawn["height_zoom"]
        x, y = (jnp.asarray(zoom, "float32")[:, 0] for zoom in zooms)
        down, across = ((n - 1) / 2 for n in size)
        return _matrices(x, 0, across * (1 - x), 0, y, down * (1 - y))

    def get_clipped_bbox(self, bounding_boxes, h_end, h_start, w_end, w_start):
        """Return boxes as they lie in a window, cut off at its edges."""
        boxes = jnp.asarray(bounding_boxes["boxes"])
        start, end = _edges(boxes, w_start, h_start), _edges(boxes, w_end, h_end)
        return {**bounding_boxes, "boxes": jnp.clip(boxes, start, end) - start}


class RandomRotation(FillingLayer, AffineLayer):
    """Turns images around their middles.

    >>> import lamina, numpy as np
    >>> x = np.arange(4.0).reshape(2, 2, 1)
    >>> lamina.layers.RandomRotation((0.5, 0.5))(x)[..., 0].round(3).tolist()
    [[3.0, 2.0], [1.0, 0.0]]
    """

    _FACTOR = "the angle, in full turns counterclockwise"

    @shared(f"factor {_MOVED}")
    def __init__(self, factor: Factor, *_, **kwargs: Unpack[Shared]):
        super().__init__(factor=factor, **kwargs)

    def draw(self, rng):
        angle = rng.uniform(*(f * 360.0 for f in self.factor))
        return {"angle": angle, "input_shape": rng.shape}

    def matrices(self, drawn, size):
        angle = jnp.asarray(drawn["angle"]) * (math.pi / 180)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        y, x = (0.5 * (n - 1) for n in size)
        return _matrices(
            cos, -sin, x - x * cos + y * sin, sin, cos, y - x * sin - y * cos
        )


class RandomShear(FillingLayer, AffineLayer):
    """Slants images: (x, y) is taken from (x + a y, y + b x).

    Boxes are slanted in shares of the image's sides, first in x and then in y.

    Args:
        x_factor: two numbers from 0 to 1, the limits of a; one number stands for
            minus it to it. Half of the images get -a and -b.
        y_factor: the same for b.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.RandomShear(1.0)
    >>> x = np.arange(9.0).reshape(1, 3, 3, 1)
    >>> slanted = layer.transform_images(x, {"shear_factor": np.array([[1.0, 0.0]])})
    >>> slanted[0, ..., 0].tolist()
    [[0.0, 1.0, 2.0], [4.0, 5.0, 5.0], [8.0, 8.0, 7.0]]
    """

    _FACTOR_BOUNDS = (0, 1)

    @shared("x_factor y_factor interpolation fill_mode fill_value data_format seed")
    def __init__(
        self,
        x_factor: Factor = 0.0,
        y_factor: Factor = 0.0,
        *_,
        **kwargs: Unpack[Shared],
    ):
        super().__init__(**kwargs)
        self.x_factor, self.y_factor = x_factor, y_factor
        self._x_limits = self._within("x_factor", x_factor)
        self._y_limits = self._within("y_factor", y_factor)

    def _within(self, name, value):
        # Where one number f was given, a config made by Keras holds (-f, f).
        once = is_pair(value) and value[0] == -value[1]
        return super()._within(name, abs(value[0]) if once else value)

    def draw(self, rng):
        dtype = self.compute_dtype
        uniform = functools.partial(rng.uniform, each=(1,), dtype=dtype)
        side = jnp.where(uniform(0, 1) > 0.5, -1, 1).astype(dtype)
        y, x = uniform(*self._y_limits), uniform(*self._x_limits)
        slants = jnp.concatenate([x, y], 1) * side
        return {"shear_factor": slants, "input_shape": rng.shape}

    def matrices(self, drawn, size):
        right, down = jnp.asarray(drawn["shear_factor"]).T
        return _matrices(1, right, 0, down, 1, 0)

    def change_boxes(self, bounding_boxes, drawn):
        size, style = self._sizes_in(drawn["input_shape"]), "rel_xyxy"
        own = self.bounding_box_format
        boxes: Any = convert_format(bounding_boxes, own, style, *size)
        slant = jnp.asarray(drawn["shear_factor"], "float32")
        across, down = slant[:, :1], slant[:, 1:]
        x1, y1, x2, y2 = (boxes["boxes"][..., i] for i in range(4))
        x1 = x1 - across * jnp.where(across < 0, y1, y2)
        x2 = x2 - across * jnp.where(across < 0, y2, y1)
        y1 = y1 - down * jnp.where(down > 0, x2, x1)
        y2 = y2 - down * jnp.where(down > 0, x1, x2)
        boxes = {**boxes, "boxes": jnp.stack([x1, y1, x2, y2], -1)}
        boxes = clip_to_image_size(boxes, *size, style)
        return convert_format(boxes, style, own, *size)
