"""Convolutions with compiled kernels: a product of two arrays, and its two gradients.

Each of the three is linear in both of its arrays, and its derivatives are the other
two; so derivatives of any order, in forward and reverse mode, run compiled.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from lamina.kernels import native, windows

# With fewer channels to compute, vectors are mostly empty.
_FEW = 8


def fits(
    x: jax.Array, kernel: jax.Array, padding: str | windows.Pads, channels: int
) -> bool:
    """Return whether the compiled kernels are there, and take these arrays.

    Args:
        x: (batch, *spatial, channels).
        kernel: (*window, channels, outputs).
        padding: "valid", "same", or a (before, after) pair per dimension.
        channels: of the result.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.convolution import fits
        >>> fits(jnp.ones((1, 4, 4, 4, 1)), jnp.ones((2, 2, 2, 1, 8)), "same", 8)
        False
    """
    return (
        native.available()
        and x.ndim in (3, 4)
        and channels >= _FEW
        and x.dtype == kernel.dtype == jnp.float32
        and all(type(size) is int and size > 0 for size in (*x.shape, *kernel.shape))
        and (isinstance(padding, str) or all(min(pair) >= 0 for pair in padding))
    )


def conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    pads: windows.Pads,
    dilation: Sequence[int],
) -> jax.Array:
    """Correlate `x` with `kernel`, channels last.

    Args:
        x: (batch, *spatial, channels), float32.
        kernel: (*window, channels, outputs), float32.
        strides: distance of neighbouring windows along each dimension.
        pads: cells before and after, for each spatial dimension.
        dilation: distance of neighbouring cells of the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.convolution import conv
        >>> x, kernel = jnp.ones((1, 4, 1)), jnp.ones((3, 1, 1))
        >>> conv(x, kernel, (1,), [(1, 1)], (1,)).ravel().tolist()
        [2.0, 3.0, 3.0, 2.0]
    """
    return _value.bind(x, kernel, **_settings(strides, pads, dilation))


def spread(
    y: jax.Array,
    kernel: jax.Array,
    sizes: Sequence[int],
    strides: Sequence[int],
    pads: windows.Pads,
    dilation: Sequence[int],
) -> jax.Array:
    """Spread `y` over windows: the gradient of `conv` for its first array.

    Args:
        y: (batch, *spatial, outputs), float32.
        kernel: (*window, channels, outputs), float32.
        sizes: the spatial sizes of the result.
        strides: distance of neighbouring windows in the result.
        pads: cells before and after that the result leaves out.
        dilation: distance of neighbouring cells of the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.convolution import spread
        >>> y, kernel = jnp.ones((1, 2, 1)), jnp.ones((3, 1, 1))
        >>> spread(y, kernel, (5,), (2,), [(0, 0)], (1,)).ravel().tolist()
        [1.0, 1.0, 2.0, 1.0, 1.0]
    """
    settings = _settings(strides, pads, dilation)
    return _image.bind(y, kernel, sizes=tuple(sizes), **settings)


def _settings(strides, pads, dilation):
    return {
        "strides": tuple(map(int, strides)),
        "pads": tuple((int(lo), int(hi)) for lo, hi in pads),
        "dilation": tuple(map(int, dilation)),
    }


def _plain(x, kernel, *, strides, pads, dilation):
    letters = "HW"[4 - x.ndim :]
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        pads,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    )


def _plain_image(y, kernel, *, sizes, **settings):
    shape = y.shape[0], *sizes, kernel.shape[-2]
    x = jax.ShapeDtypeStruct(shape, y.dtype)
    return jax.linear_transpose(lambda x: _plain(x, kernel, **settings), x)(y)[0]


def _plain_kernel(x, y, *, window, **settings):
    shape = *window, x.shape[-1], y.shape[-1]
    kernel = jax.ShapeDtypeStruct(shape, x.dtype)
    return jax.linear_transpose(lambda k: _plain(x, k, **settings), kernel)(y)[0]


def _attributes(*, strides, pads, dilation, **_):
    """Return what the compiled functions take, for two dimensions always."""
    flat = len(strides) == 1
    return {
        "strides": (1,) * flat + strides,
        "before": (0,) * flat + tuple(lo for lo, _ in pads),
        "dilation": (1,) * flat + dilation,
    }


_value = native.primitive("conv", _plain, _attributes)
_image = native.primitive("conv_image", _plain_image, _attributes)
_kernel = native.primitive("conv_kernel", _plain_kernel, _attributes)


def _to_image(y, shape, kernel, **settings):
    if shape[-1] < _FEW:
        return _plain_image(y, kernel, sizes=shape[1:-1], **settings)
    return _image.bind(y, kernel, sizes=shape[1:-1], **settings)


def _to_kernel(y, x, shape, **settings):
    return _kernel.bind(x, y, window=shape[:-2], **settings)


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
