"""Depthwise convolutions with compiled kernels: a product, and its two gradients.

Each of the three is linear in both of its arrays, and its derivatives are the other
two; so derivatives of any order, in forward and reverse mode, run compiled.
"""

import math
from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp
from jax import lax

from lamina.kernels import native, windows

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
    if not (
        native.available()
        and x.ndim in (3, 4)
        and x.dtype == kernel.dtype == jnp.float32
        and all(type(size) is int and size > 0 for size in (*x.shape, *kernel.shape))
        and kernel.shape[-2] >= _FEW
        and kernel.shape[-1] == 1
        and (isinstance(padding, str) or all(min(pair) >= 0 for pair in padding))
    ):
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
    return _value.bind(
        x,
        kernel,
        strides=tuple(map(int, strides)),
        pads=tuple((int(lo), int(hi)) for lo, hi in pads),
        dilation=tuple(map(int, dilation)),
    )


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


def _plain_image(y, kernel, *, sizes, **settings):
    x = jax.ShapeDtypeStruct((y.shape[0], *sizes, y.shape[-1]), y.dtype)
    return jax.linear_transpose(lambda x: plain(x, kernel, **settings), x)(y)[0]


def _plain_kernel(x, y, *, window, **settings):
    kernel = jax.ShapeDtypeStruct((*window, x.shape[-1]), x.dtype)
    return jax.linear_transpose(lambda k: plain(x, k, **settings), kernel)(y)[0]


def _attributes(*, strides, pads, dilation, **_):
    """Return what the compiled functions take, for two dimensions always."""
    flat = len(strides) == 1
    return {
        "strides": (1,) * flat + strides,
        "before": (0,) * flat + tuple(lo for lo, _ in pads),
        "dilation": (1,) * flat + dilation,
    }


_value = native.primitive("depthwise", plain, _attributes)
_image = native.primitive("depthwise_image", _plain_image, _attributes)
_kernel = native.primitive("depthwise_kernel", _plain_kernel, _attributes)


def _to_image(y, shape, kernel, **settings):
    return _image.bind(y, kernel, sizes=shape[1:-1], **settings)


def _to_kernel(y, x, shape, **settings):
    return _kernel.bind(x, y, window=shape[:-1], **settings)


native.bilinear(_value, _to_image, _to_kernel)
native.bilinear(
    _image,
    lambda x, shape, kernel, sizes, **settings: _value.bind(x, kernel, **settings),
    lambda x, y, shape, sizes, **settings: _to_kernel(y, x, shape, **settings),
)
native.bilinear(
    _kernel,
    lambda kernel, shape, y, window, **settings: _to_image(
        y, shape, kernel, **settings
    ),
    lambda kernel, x, shape, window, **settings: _value.bind(x, kernel, **settings),
)
