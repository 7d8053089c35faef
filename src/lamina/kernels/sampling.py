"""Pixels taken from other places of images, between theirs, and from around them.

Images are (batch, height, width, channels).
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax


def grid(x):
    """Return the columns and the rows of the pixels of images."""
    rows, columns = x.shape[1:3]
    return jnp.meshgrid(jnp.arange(columns), jnp.arange(rows))


def sampled(x, moves, places, order, fill_mode, fill_value):
    """Return images whose pixels come from other places.

    Args:
        x: images.
        moves: an array with a move for each image.
        places: a function of one move that returns a row and a column for each pixel.
        order: 0 takes the nearest pixel, 1 interpolates linearly.
        fill_mode: what lies outside, see `jax.scipy.ndimage.map_coordinates`.
        fill_value: what it is with `"constant"`.
    """

    def image(pixels, move):
        pick = functools.partial(
            jax.scipy.ndimage.map_coordinates,
            coordinates=places(move),
            order=order,
            mode=fill_mode,
            cval=fill_value,
        )
        return jax.vmap(pick, -1, -1)(pixels)

    return jax.vmap(image)(x, moves)


def filtered(x, kernel, padding="SAME"):
    """Correlate each channel of images with a kernel (height, width)."""
    kernel = jnp.broadcast_to(
        kernel.astype(x.dtype)[..., None, None], (*kernel.shape, 1, x.shape[-1])
    )
    return lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )
