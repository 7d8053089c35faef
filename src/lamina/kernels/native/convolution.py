"""Convolutions with compiled kernels."""

from collections.abc import Sequence

import jax
from jax import lax

from lamina.kernels import windows
from lamina.kernels.native.windowed import family, rectified, settings, takes

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
    return channels >= _FEW and takes(x, kernel, padding)


def conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    pads: windows.Pads,
    dilation: Sequence[int],
    bias: jax.Array | None = None,
) -> jax.Array:
    """Correlate `x` with `kernel`, channels last.

    Args:
        x: (batch, *spatial, channels), float32.
        kernel: (*window, channels, outputs), float32.
        strides: distance of neighbouring windows along each dimension.
        pads: cells before and after, for each spatial dimension.
        dilation: distance of neighbouring cells of the window.
        bias: (outputs,), float32: the result is `relu(y + bias)`, written once.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.convolution import conv
        >>> x, kernel = jnp.ones((1, 4, 1)), jnp.ones((3, 1, 1))
        >>> conv(x, kernel, (1,), [(1, 1)], (1,)).ravel().tolist()
        [2.0, 3.0, 3.0, 2.0]
    """
    how = settings(strides, pads, dilation)
    if bias is not None:
        return RECTIFIED.bind(x, kernel, bias, **how)
    return FAMILY.value.bind(x, kernel, **how)


def spread(
    y: jax.Array,
    kernel: jax.Array,
    sizes: Sequence[int],
    strides: Sequence[int],
    pads: windows.Pads,
    dilation: Sequence[int],
    bias: jax.Array | None = None,
) -> jax.Array:
    """Spread `y` over windows: the gradient of `conv` for its first array.

    Args:
        y: (batch, *spatial, outputs), float32.
        kernel: (*window, channels, outputs), float32.
        sizes: the spatial sizes of the result.
        strides: distance of neighbouring windows in the result.
        pads: cells before and after that the result leaves out.
        dilation: distance of neighbouring cells of the window.
        bias: (channels,), float32: the result is `relu(x + bias)`, written once.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.convolution import spread
        >>> y, kernel = jnp.ones((1, 2, 1)), jnp.ones((3, 1, 1))
        >>> spread(y, kernel, (5,), (2,), [(0, 0)], (1,)).ravel().tolist()
        [1.0, 1.0, 2.0, 1.0, 1.0]
    """
    how = {"sizes": tuple(sizes), **settings(strides, pads, dilation)}
    if bias is not None:
        return SPREAD_RECTIFIED.bind(y, kernel, bias, **how)
    return FAMILY.image.bind(y, kernel, **how)


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


FAMILY = family(
    "conv",
    _plain,
    channels=lambda y, kernel: kernel.shape[-2],
    weights=lambda x, y: (x.shape[-1], y.shape[-1]),
    few=_FEW,
)


RECTIFIED = rectified(FAMILY.value, "conv_rectified")
SPREAD_RECTIFIED = rectified(FAMILY.image, "conv_image_rectified")
