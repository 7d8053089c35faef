"""Layers that look at a pixel's neighbours, or at all pixels of an image."""

from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina import random
from lamina.core.checks import bad_argument, int_tuple, number, positive_int
from lamina.core.types import Factor, Sizes
from lamina.kernels.histograms import clahe, equalized
from lamina.layers.preprocessing.color import ColorLayer, RandomColor, blend
from lamina.layers.preprocessing.image_layer import PROBABILITY, Shared, shared, spread
from lamina.ops.image import gaussian_blur


class RandomSharpness(RandomColor):
    """Blurs or sharpens images: `smooth + 2 * factor * (x - smooth)`.

    `smooth` is the mean of a pixel, five times, and its eight neighbours.

    >>> import lamina, numpy as np
    >>> x = np.zeros((3, 3, 1)); x[1, 1] = 13
    >>> lamina.layers.RandomSharpness((0, 0))(x)[..., 0].tolist()
    [[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]
    """

    def recolor(self, images, factor):
        total = images
        for axis in self._image_axes:
            size = images.shape[axis]
            total = jnp.pad(total, [(int(i == axis % 4),) * 2 for i in range(4)])
            a, b, c = (
                lax.slice_in_dim(total, i, i + size, axis=axis) for i in range(3)
            )
            total = a + b + c
        smooth = (total + 4 * images) / 13
        return self._clip(blend(smooth, images, 2 * factor))


class RandomGaussianBlur(ColorLayer):
    """Smooths some images by a bell, whose widths in x and y a batch shares.

    Args:
        kernel_size: one or two odd numbers of pixels: where the bell is cut off.
        sigma: two numbers from 0 to 1, the limits of the bell's deviation in pixels;
            one stands for 0 to it.

    >>> import lamina, numpy as np
    >>> x = np.zeros((5, 5, 1)); x[2, 2] = 1
    >>> y = lamina.layers.RandomGaussianBlur((1, 1), sigma=(1, 1))(x)
    >>> round(float(y[2, 2, 0]), 3), round(float(y[1, 2, 0]), 3)
    (0.204, 0.124)
    """

    _FACTOR = PROBABILITY

    @shared("factor kernel_size sigma value_range data_format seed")
    def __init__(
        self,
        factor: Factor = 1.0,
        kernel_size: Sizes = 3,
        sigma: Factor = 1.0,
        *_,
        **kwargs: Unpack[Shared],
    ):
        super().__init__(factor=factor, **kwargs)
        sizes = int_tuple(self, "kernel_size", kernel_size, 2)
        if not all(size % 2 for size in sizes):
            wanted = "an odd number, or two of them"
            raise bad_argument(self, "kernel_size", kernel_size, wanted)
        self.kernel_size = sizes
        self.sigma = self._limits("sigma", sigma)

    def draw(self, rng):
        apply = rng.chosen(self.factor)
        sigma = random.uniform((2,), *self.sigma, seed=rng.seed)
        return {"should_apply_blur": apply, "blur_factor": sigma + 1e-6}

    def change(self, images, drawn):
        sigma = drawn["blur_factor"]
        blurred = gaussian_blur(images, self.kernel_size, sigma, self.data_format)
        apply = spread(drawn["should_apply_blur"])
        return self._clip(jnp.where(apply, blurred, images))


def rectangles(layer, rng, width_share, height_share):
    """Draw rectangles of shares of width and height: as masks, and their areas."""
    inside, area = True, 1
    sides = (rng.width, width_share, (1, -1)), (rng.height, height_share, (-1, 1))
    for size, share, shape in sides:
        length = share * size
        start = rng.uniform() * (size - length)
        area = area * (start + length - start)
        start, end = (v[:, None, None] for v in (start, start + length))
        place = jnp.arange(size).reshape(shape)
        inside = inside & (place >= start) & (place < end)
    return jnp.expand_dims(inside, layer._channel_axis), area


class RandomErasing(ColorLayer):
    """Erases a rectangle of some images.

    Its sides, in shares of the width and the height, are square roots of two draws.

    Args:
        scale: two numbers from 0 to 1, the limits of both draws.
        fill_value: a number, or three for red, green and blue; None draws noise.

    Source: Zhong et al., 2017, "Random erasing data augmentation".

    >>> import lamina, numpy as np
    >>> erase = lamina.layers.RandomErasing((1, 1), (0.25, 0.25), fill_value=0)
    >>> y = erase(np.ones((8, 8, 3)))
    >>> 9 <= int((y == 0).sum()) // 3 <= 25
    True
    """

    _FACTOR = PROBABILITY

    @shared("factor scale fill_value value_range seed data_format")
    def __init__(
        self,
        factor: Factor = 1.0,
        scale: Factor = (0.02, 0.33),
        fill_value: float | None = None,
        *_,
        **kwargs: Any,
    ):
        super().__init__(factor=factor, **kwargs)
        if fill_value is not None and np.shape(fill_value) not in ((), (3,)):
            wanted = "a number, or a list of three numbers"
            raise bad_argument(self, "fill_value", fill_value, wanted)
        self.scale = self._limits("scale", scale)
        self.fill_value = fill_value

    def draw(self, rng):
        side = jnp.sqrt(rng.uniform(*self.scale, each=(2,)))
        masks, _ = rectangles(self, rng, side[:, 0], side[:, 1])
        apply = rng.chosen(self.factor)
        fill = self._clip(self._fill(rng))
        return {"apply_erasing": apply, "batch_masks": masks, "fill_value": fill}

    def _fill(self, rng):
        if self.fill_value is None:
            return random.normal(rng.shape, seed=rng.seed) * self.value_range[1]
        fill = jnp.asarray(self.fill_value, "float32")
        return fill[:, None, None] if fill.ndim and self._channel_axis == -3 else fill

    def change(self, images, drawn):
        where = spread(drawn["apply_erasing"]) & drawn["batch_masks"]
        return jnp.where(where, jnp.asarray(drawn["fill_value"], images.dtype), images)


class AutoContrast(ColorLayer):
    """Stretches channels to the whole `value_range`: `(x - min) / (max - min)`.

    A channel of one value stays.

    >>> import lamina, numpy as np
    >>> x = np.array([[[100.0]], [[150.0]], [[200.0]]])
    >>> lamina.layers.AutoContrast()(x).ravel().tolist()
    [0.0, 127.5, 255.0]
    """

    _always = True

    def change(self, images, drawn):
        x = self._to_bytes(images)
        low, high = (f(x, self._image_axes, keepdims=True) for f in (jnp.min, jnp.max))
        flat = high == low
        scale = 255 / jnp.where(flat, 1, high - low)
        stretched = self._from_bytes(jnp.clip(x * scale - low * scale, 0, 255))
        return jnp.where(flat, images, stretched)


class Equalization(ColorLayer):
    """Spreads values so that each range of them is about as frequent as the next.

    A value becomes the share of lesser ones in its channel of the batch.

    Args:
        bins: how many values are told apart.

    >>> import lamina, numpy as np
    >>> x = np.array([10, 11, 12, 13], "float32").reshape(2, 2, 1)
    >>> lamina.layers.Equalization()(x).ravel().tolist()
    [0.0, 85.0, 170.0, 255.0]
    """

    @shared("value_range bins data_format")
    def __init__(self, *_, bins: int = 256, **kwargs: Unpack[Shared]):
        super().__init__(**kwargs)
        self.bins = positive_int(self, "bins", bins)

    def change(self, images, drawn):
        axis = self._channel_axis
        equalize = jax.vmap(lambda v: equalized(v, self.bins), axis, axis)
        return self._from_bytes(equalize(self._to_bytes(images)))


class ContrastLimitedAdaptiveHistogramEqualization(ColorLayer):
    """Equalizes images tile by tile, up to a limit of contrast.

    Between the middles of tiles the results are interpolated.

    Args:
        clip_limit: how many times their mean histograms are cut off at; 0 for not.
        tile_grid_size: how many tiles there are (down, across).

    Source: Zuiderveld, 1994, "Contrast limited adaptive histogram equalization".

    >>> import lamina, numpy as np
    >>> x = np.linspace(100, 120, 256).reshape(16, 16, 1)
    >>> clahe = lamina.layers.ContrastLimitedAdaptiveHistogramEqualization(
    ...     clip_limit=40, tile_grid_size=(1, 1))
    >>> bool(clahe(x).std() > x.std())
    True
    """

    _always = True

    @shared("value_range clip_limit tile_grid_size data_format")
    def __init__(
        self,
        *_,
        clip_limit: float = 4.0,
        tile_grid_size: Sizes = (8, 8),
        **kwargs: Unpack[Shared],
    ):
        super().__init__(**kwargs)
        self.clip_limit = number(self, "clip_limit", clip_limit, least=0)
        self.tile_grid_size = int_tuple(self, "tile_grid_size", tile_grid_size, 2)

    def change(self, images, drawn):
        axis = self._channel_axis
        x = jnp.moveaxis(self._to_bytes(images), axis, -1)
        x = jax.vmap(lambda v: clahe(v, self.tile_grid_size, self.clip_limit))(x)
        return self._from_bytes(jnp.moveaxis(x, -1, axis))
