"""Depthwise convolutions with compiled kernels."""

import math
from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp
from jax import lax

from lamina.kernels import windows
from lamina.kernels.native.windowed import family, settings, takes

# With fewer channels there are no vectors along them.
_FEW = 4


def fits(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: str | windows.Pads,
    dilation: Sequence[int],
) -> bool:
    """Return whether the compiled kernels are there, and take these arrays.

    Args:
        x: (batch, *spatial, channels).
        kernel: (*window, channels, multiplier).
        strides: distance of neighbouring windows along each dimension.
        padding: "valid", "same", or a (before, after) pair per dimension.
        dilation: distance of neighbouring cells of the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.depthwise import fits
        >>> x, kernel = jnp.ones((1, 4, 4, 8)), jnp.ones((3, 3, 8, 2))
        >>> fits(x, kernel, (1, 1), "same", (1, 1))
        False
    """
    *_, channels, multiplier = kernel.shape
    if multiplier != 1 or channels < _FEW or not takes(x, kernel, padding):
        return False
    window, sizes = kernel.shape[:-2], x.shape[1:-1]
    pads = windows.pads(padding, sizes, window, strides, dilation)
    padded = [lo + size + hi for size, (lo, hi) in zip(sizes, pads, strict=True)]
    return all(windows.counts(padded, window, strides, dilation))


def conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    pads: windows.Pads,
    dilation: Sequence[int],
) -> jax.Array:
    """Correlate every channel of `x` with its own window.

    Args:
        x: (batch, *spatial, channels), float32.
        kernel: (*window, channels), float32.
        strides: distance of neighbouring windows along each dimension.
        pads: cells before and after, for each spatial dimension.
        dilation: distance of neighbouring cells of the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.depthwise import conv
        >>> x, kernel = jnp.ones((1, 4, 1)), jnp.ones((3, 1))
        >>> conv(x, kernel, (1,), [(1, 1)], (1,)).ravel().tolist()
        [2.0, 3.0, 3.0, 2.0]
    """
    return _FAMILY.value.bind(x, kernel, **settings(strides, pads, dilation))


def plain(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Sequence[int],
    pads: windows.Pads,
    dilation: Sequence[int],
) -> jax.Array:
    """Compute `conv` without compiled kernels, the way that CPUs do best.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.depthwise import plain
        >>> x, kernel = jnp.ones((1, 4, 1)), jnp.ones((3, 1))
        >>> y = plain(x, kernel, strides=(1,), pads=[(1, 1)], dilation=(1,))
        >>> y.ravel().tolist()
        [2.0, 3.0, 3.0, 2.0]
    """
    *window, channels = kernel.shape
    if math.prod(window) <= windows.MOST_TAPS:
        seen = windows.taps(windows.pad(x, pads, 0), window, strides, dilation)
        weights = kernel.reshape(-1, channels)
        return reduce(
            jnp.add, (tap * cell for tap, cell in zip(seen, weights, strict=True))
        )
    letters = "HW"[4 - x.ndim :]
    return lax.conv_general_dilated(
        x,
        kernel[..., None, :],
        strides,
        pads,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        feature_group_count=channels,
    )


_FAMILY = family(
    "depthwise",
    plain,
    channels=lambda y, kernel: y.shape[-1],
    weights=lambda x, y: (x.shape[-1],),
)
