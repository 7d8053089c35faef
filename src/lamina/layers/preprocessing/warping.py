"""Layers that bend what images show: as from another place, or by random shifts."""

from typing import Unpack

import jax
import jax.numpy as jnp

from lamina import random
from lamina.core.random import draw_seed
from lamina.core.types import Factor
from lamina.kernels.boxes import homography
from lamina.kernels.sampling import filtered, sampled
from lamina.layers.preprocessing.geometry import AffineLayer, FillingLayer
from lamina.layers.preprocessing.image_layer import (
    PROBABILITY,
    InterpolatingLayer,
    RangedLayer,
    Shared,
    is_number,
    shared,
    spread,
)
from lamina.ops.image import perspective_transform


class RandomPerspective(InterpolatingLayer, AffineLayer):
    """Shows images as from another place: their corners move, lines stay lines.

    Args:
        scale: from 0 to 1: how far corners move, at most half of it times their
            distance from the upper left corner.
        fill_value: what comes in from outside.

    >>> import lamina, numpy as np
    >>> x = np.ones((2, 8, 8, 3))
    >>> lamina.layers.RandomPerspective(scale=0.5)(x).shape
    (2, 8, 8, 3)
    """

    _FACTOR, _FACTOR_BOUNDS = PROBABILITY, (0, 1)
    fill_mode = "constant"

    @shared("factor scale interpolation fill_value seed data_format")
    def __init__(
        self, factor: Factor = 1.0, scale: float = 1.0, *_, **kwargs: Unpack[Shared]
    ):
        self.fill_value = kwargs.pop("fill_value", 0.0)
        super().__init__(factor=factor, **kwargs)
        if not is_number(scale) or not 0 <= scale <= 1:
            raise ValueError(
                "The `scale` argument should be a number in the range [0, 1]. "
                f"Received: scale={scale}"
            )
        self.scale = scale

    def draw(self, rng):
        apply, dtype = rng.chosen(self.factor), self.compute_dtype
        limits = -0.5 * self.scale, 0.5 * self.scale
        share = rng.uniform(*limits, each=(4, 2), dtype=dtype)
        bottom, right = rng.height - 1, rng.width - 1
        corners = jnp.array([(0, 0), (right, 0), (0, bottom), (right, bottom)], dtype)
        start = jnp.broadcast_to(corners, share.shape)
        return {
            "apply_perspective": apply,
            "start_points": start,
            "end_points": start + start * share,
            "input_shape": rng.shape,
        }

    def matrices(self, drawn, size):
        corners = drawn["start_points"], drawn["end_points"]
        return homography(*(jnp.asarray(points, "float32") for points in corners))

    def move(self, images, drawn, interpolation):
        corners = drawn["start_points"], drawn["end_points"]
        filled = interpolation, self.fill_value, self.data_format
        moved = perspective_transform(images, *corners, *filled)
        apply = spread(drawn["apply_perspective"], images.ndim)
        return jnp.where(apply, moved, images)

    def move_boxes(self, boxes, drawn, size):
        apply = spread(drawn["apply_perspective"], boxes.ndim)
        return jnp.where(apply, super().move_boxes(boxes, drawn, size), boxes)


class RandomElasticTransform(RangedLayer, FillingLayer):
    """Bends images by shifts: alpha times noise smoothed by a bell of deviation sigma.

    In pixels, alpha = 0.1 s max(height, width) and sigma = 0.05 s min(height, width).

    Args:
        scale: two numbers from 0 to 1, the limits of s; one stands for 0 to it.

    Source: Simard et al., 2003, "Best practices for convolutional neural networks".

    >>> import lamina, numpy as np
    >>> lamina.layers.RandomElasticTransform()(np.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """

    _FACTOR, _FACTOR_BOUNDS = PROBABILITY, (0, 1)
    _FILLS = (*FillingLayer._FILLS, "mirror")

    @shared(
        "factor scale interpolation fill_mode fill_value value_range seed data_format"
    )
    def __init__(
        self, factor: Factor = 1.0, scale: float = 1.0, *_, **kwargs: Unpack[Shared]
    ):
        super().__init__(factor=factor, **kwargs)
        self.scale = self._limits("scale", scale)

    def draw(self, rng):
        if self.scale[1] == 0 or self.factor[1] == 0:
            return None
        (low, high), dtype, seed = self.scale, self.compute_dtype, rng.seed
        return {
            "apply_transform": rng.chosen(self.factor),
            "distortion_factor": random.uniform((), low, high, dtype, seed),
            "seed": draw_seed(seed),
        }

    def get_elastic_transform_params(self, height, width, factor):
        """Return the strength and the smoothness of shifts, in pixels."""
        return max(height, width) * (0.1 * factor), min(height, width) * (0.05 * factor)

    def change(self, images, drawn):
        return jnp.clip(super().change(images, drawn), *self.value_range)

    def change_boxes(self, bounding_boxes, drawn):
        raise NotImplementedError(
            "`RandomElasticTransform` does not support bounding boxes. Use "
            "`RandomPerspective` or `RandomShear`."
        )

    def move(self, images, drawn, interpolation):
        factor = drawn["distortion_factor"]
        size = self._sizes_in(images.shape)
        alpha, sigma = self.get_elastic_transform_params(*size, factor)
        _, widest = self.get_elastic_transform_params(*size, self.scale[1])
        x = images if images.ndim == 4 else images[None]
        x = jnp.moveaxis(x, self._channel_axis, -1)
        dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else "float32"
        key = draw_seed(drawn["seed"])
        noise = jax.random.normal(key, x.shape[:3], dtype) * jnp.asarray(sigma, dtype)
        shifts = jnp.asarray(alpha, dtype) * _smoothed(noise, sigma, widest)
        order = self._INTERPOLATIONS.index(interpolation)

        def places(shift):
            return list(jnp.indices(shift.shape) + shift)

        y = sampled(x, shifts, places, order, self.fill_mode, self.fill_value)
        y = jnp.moveaxis(y.astype(x.dtype), -1, self._channel_axis)
        y = y if images.ndim == 4 else y[0]
        apply = spread(drawn["apply_transform"], images.ndim)
        return jnp.where(apply, y, images)


def _smoothed(noise, sigma, widest):
    """Return (batch, height, width) noise smoothed by a bell cut at 3 deviations.

    The bell has room for `widest`: what `sigma` is, compiled code does not know.
    """
    half = int(6 * widest) // 2
    distance = jnp.arange(-half, half + 1)
    sigma = jnp.asarray(sigma, noise.dtype)
    bell = jnp.exp(-0.5 * jnp.square(distance.astype(noise.dtype) / sigma))
    bell = jnp.where(jnp.abs(distance) <= (6 * sigma).astype("int32") // 2, bell, 0)
    bell = (bell / jnp.sum(bell)).astype(noise.dtype)
    return filtered(filtered(noise[..., None], bell[:, None]), bell[None])[..., 0]
