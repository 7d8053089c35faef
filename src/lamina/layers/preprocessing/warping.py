"""Layers that bend what images show: as from another place, or by random shifts."""

import jax
import jax.numpy as jnp
from jax import lax

from lamina import random
from lamina.core.random import draw_seed
from lamina.layers.preprocessing.geometry import (
    FILLS,
    INTERPOLATIONS,
    AffineLayer,
    GeometryLayer,
    per_image,
)
from lamina.layers.preprocessing.image import count, images_of, is_number
from lamina.ops.image import homography, map_coordinates, perspective_transform


class RandomPerspective(AffineLayer):
    """Shows images as from another place: their corners move, lines stay lines.

    Args:
        factor: two numbers from 0 to 1: the limits of the probability that an image
            is changed; one number stands for 0 to it.
        scale: from 0 to 1: how far corners move, at most half of it times their
            distance from the upper left corner.
        interpolation: `"nearest"` or `"bilinear"`.
        fill_value: what comes in from outside.
        seed: an integer, for the same draws in each run.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a factor, scale or mode that does not exist.

    >>> import lamina, numpy as np
    >>> x = np.ones((2, 8, 8, 3))
    >>> lamina.layers.RandomPerspective(scale=0.5)(x).shape
    (2, 8, 8, 3)
    """

    _FACTOR_BOUNDS = (0, 1)

    def __init__(
        self, factor=1.0, scale=1.0, interpolation="bilinear", fill_value=0.0,
        seed=None, data_format=None, **kwargs,
    ):  # fmt: skip
        super().__init__(factor, data_format=data_format, seed=seed, **kwargs)
        if not is_number(scale) or not 0 <= scale <= 1:
            raise ValueError(
                "The `scale` argument should be a number in the range [0, 1]. "
                f"Received: scale={scale}"
            )
        self.scale = scale
        self._keep_sampling(interpolation, "constant", fill_value)

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        seed, number, dtype = self._seed(seed), count(data), self.compute_dtype
        odds = random.uniform((number,), *self.factor, seed=seed)
        apply = random.uniform((number,), seed=seed) < odds
        limits = -0.5 * self.scale, 0.5 * self.scale
        share = random.uniform((number, 4, 2), *limits, dtype, seed)
        bottom, right = (n - 1 for n in self._sizes(data))
        corners = jnp.array([(0, 0), (right, 0), (0, bottom), (right, bottom)], dtype)
        start = jnp.broadcast_to(corners, share.shape)
        return {
            "apply_perspective": apply,
            "start_points": start,
            "end_points": start + start * share,
            "input_shape": images_of(data).shape,
        }

    def matrices(self, transformation, size):
        """Return matrices that take the corners back, with their depths."""
        start, end = (
            jnp.asarray(transformation[k], "float32")
            for k in ("start_points", "end_points")
        )
        return homography(start, end)

    def move(self, images, transformation, interpolation):
        """Return images, the drawn ones from another place."""
        result = perspective_transform(
            images,
            transformation["start_points"],
            transformation["end_points"],
            interpolation=interpolation,
            fill_value=self.fill_value,
            data_format=self.data_format,
        )
        apply = per_image(transformation["apply_perspective"], images, 3)
        return jnp.where(apply, result, images)

    def move_boxes(self, boxes, transformation, size):
        """Return boxes, those of the drawn images moved."""
        apply = per_image(transformation["apply_perspective"], boxes, 2)
        return jnp.where(apply, super().move_boxes(boxes, transformation, size), boxes)


class RandomElasticTransform(GeometryLayer):
    """Bends images by a smooth random field of shifts.

    Shifts are `alpha` times noise smoothed by a bell of deviation `sigma` pixels;
    with s drawn from `scale`, alpha = 0.1 s max(height, width) and
    sigma = 0.05 s min(height, width).

    Args:
        factor: two numbers from 0 to 1: the limits of the probability that an image
            is changed; one number stands for 0 to it.
        scale: two numbers from 0 to 1, the limits of s; one stands for 0 to it.
        interpolation: `"nearest"` or `"bilinear"`.
        fill_mode: what comes in: `"constant"`, `"nearest"`, `"wrap"`, `"mirror"` or
            `"reflect"`.
        fill_value: what comes in with `"constant"`.
        value_range: the least and the greatest value of a pixel.
        seed: an integer, for the same draws in each run.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a factor or mode that does not exist.

    Source: Simard et al., 2003, "Best practices for convolutional neural networks".

    >>> import lamina, numpy as np
    >>> lamina.layers.RandomElasticTransform()(np.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """

    _FACTOR_BOUNDS = (0, 1)

    def __init__(
        self, factor=1.0, scale=1.0, interpolation="bilinear", fill_mode="reflect",
        fill_value=0.0, value_range=(0, 255), seed=None, data_format=None, **kwargs,
    ):  # fmt: skip
        super().__init__(factor, data_format=data_format, seed=seed, **kwargs)
        self.scale = self._limits("scale", scale)
        self._keep_sampling(interpolation, fill_mode, fill_value, (*FILLS, "mirror"))
        self.value_range = value_range

    def get_random_transformation(self, data, training=True, seed=None):
        if not training or self.scale[1] == 0 or self.factor[1] == 0:
            return None
        seed, number = self._seed(seed), count(data)
        odds = random.uniform((number,), *self.factor, seed=seed)
        return {
            "apply_transform": random.uniform((number,), seed=seed) < odds,
            "distortion_factor": random.uniform(
                (), *self.scale, dtype=self.compute_dtype, seed=seed
            ),
            "seed": draw_seed(seed),
        }

    def get_elastic_transform_params(self, height, width, factor):
        """Return the strength and the smoothness of shifts, in pixels."""
        return max(height, width) * (0.1 * factor), min(height, width) * (0.05 * factor)

    def transform_images(self, images, transformation, training=True):
        images = super().transform_images(images, transformation, training)
        if not training or transformation is None:
            return images
        return jnp.clip(images, *self.value_range)

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        if not training or transformation is None:
            return bounding_boxes
        raise NotImplementedError(
            "`RandomElasticTransform` does not support bounding boxes. Use "
            "`RandomPerspective` or `RandomShear`."
        )

    def move(self, images, transformation, interpolation):
        """Return images, the drawn ones bent."""
        factor = transformation["distortion_factor"]
        size = self._sizes(images)
        alpha, sigma = self.get_elastic_transform_params(*size, factor)
        _, widest = self.get_elastic_transform_params(*size, self.scale[1])
        x = images if images.ndim == 4 else images[None]
        x = x if self._channels_last else jnp.moveaxis(x, 1, -1)
        dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else "float32"
        key = draw_seed(transformation["seed"])
        noise = jax.random.normal(key, x.shape[:3], dtype) * jnp.asarray(sigma, dtype)
        shifts = jnp.asarray(alpha, dtype) * _smoothed(noise, sigma, widest)
        order = INTERPOLATIONS.index(interpolation)

        def bent(pixels, shift):
            places = jnp.indices(shift.shape) + shift

            def pick(plane):
                return map_coordinates(
                    plane,
                    places,
                    order,
                    fill_mode=self.fill_mode,
                    fill_value=self.fill_value,
                )

            return jax.vmap(pick, -1, -1)(pixels)

        y = jax.vmap(bent)(x, shifts).astype(x.dtype)
        y = y if self._channels_last else jnp.moveaxis(y, -1, 1)
        y = y if images.ndim == 4 else y[0]
        apply = per_image(transformation["apply_transform"], images, 3)
        return jnp.where(apply, y, images)


def _smoothed(noise, sigma, widest):
    """Return (batch, height, width) noise smoothed by a bell cut at 3 deviations.

    `sigma` is drawn, so that inside a compiled function only its limit `widest` is
    known: the bell has room for that.
    """
    half = int(6 * widest) // 2
    distance = jnp.arange(-half, half + 1)
    sigma = jnp.asarray(sigma, noise.dtype)
    bell = jnp.exp(-0.5 * jnp.square(distance.astype(noise.dtype) / sigma))
    bell = jnp.where(jnp.abs(distance) <= (6 * sigma).astype("int32") // 2, bell, 0)
    bell = (bell / jnp.sum(bell)).astype(noise.dtype)
    y = noise[..., None]
    for kernel in (bell[:, None], bell[None]):
        y = lax.conv_general_dilated(
            y,
            kernel[..., None, None],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
    return y[..., 0]
