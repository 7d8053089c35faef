"""Convolutions in 1, 2 and 3 dimensions.

Everything is computed channels-last; other layouts are transposed at the border,
which XLA folds into its own choice of layout.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lamina.core.budget import rounds
from lamina.core.placement import platform
from lamina.kernels import windows
from lamina.kernels.forms import where_differentiated
from lamina.kernels.native import convolution as native
from lamina.kernels.native import depthwise
from lamina.kernels.products import dense

_MANY = 16  # images


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Sequence[int],
    padding: str | windows.Pads,
    dilation: Sequence[int],
    groups: int = 1,
    channels_last: bool = True,
    rectified: jax.Array | None = None,
) -> jax.Array:
    """Correlate `x` with `kernel` along the spatial dimensions.

    y[p, o] = sum over cells t and channels c of
    x[p * strides + t * dilation, c] * kernel[t, c, o]

    Args:
        x: (batch, *spatial, channels), or (batch, channels, *spatial).
        kernel: (*window, channels // groups, outputs).
        strides: distance of neighbouring windows along each dimension.
        padding: "valid", "same", or a (before, after) pair per dimension.
        dilation: distance of neighbouring cells of the window.
        groups: split channels and outputs into as many independent parts.
        channels_last: where the channels are, in `x` and in the result.
        rectified: (outputs,) the bias, if the result is `relu(y + bias)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import conv
        >>> x, kernel = jnp.ones((1, 4, 1)), jnp.ones((3, 1, 1))
        >>> y = conv(x, kernel, strides=(1,), padding="same", dilation=(1,))
        >>> y.ravel().tolist()
        [2.0, 3.0, 3.0, 2.0]
    """
    x, kernel = _alike(x, kernel)
    window = kernel.shape[:-2]
    if not channels_last:
        x = jnp.moveaxis(x, 1, -1)
    if groups == 1 and math.prod(window) == 1 and _unpadded(padding):
        y = dense(_every(x, strides), kernel.reshape(kernel.shape[-2:]))
    elif groups == 1 and native.fits(x, kernel, padding, kernel.shape[-1]):
        pads = windows.pads(padding, x.shape[1:-1], window, strides, dilation)
        bias, rectified = _inside(rectified, x)

        def compiled(x, kernel, bias):
            return native.conv(x, kernel, strides, pads, dilation, bias)

        # Of one channel and many images, XLA's form is faster; its gradients are not.
        if x.shape[0] >= _MANY and _unfolds(x, window, strides, padding, dilation):
            compiled = where_differentiated(
                lambda x, kernel, bias: _finished(
                    _lax_conv(x, kernel, strides, padding, dilation, 1), bias, True
                ),
                compiled,
            )
        y = compiled(x, kernel, bias)
    elif (
        groups == 1 and x.ndim == 5 and _flat_fits(x, kernel, padding, kernel.shape[-1])
    ):
        bias, rectified = _inside(rectified, x)
        y = _flat(x, kernel, strides, padding, dilation, bias)
    elif groups == 1 and _unfolds(x, window, strides, padding, dilation):
        settings = strides, padding, dilation
        y = where_differentiated(
            lambda x, kernel: _lax_conv(x, kernel, *settings, groups),
            lambda x, kernel: _unfolded(x, kernel, *settings),
        )(x, kernel)
    else:
        y = _lax_conv(x, kernel, strides, padding, dilation, groups)
    return _finished(y, rectified, channels_last)


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Sequence[int],
    padding: str | windows.Pads,
    dilation: Sequence[int],
    channels_last: bool = True,
) -> jax.Array:
    """Convolve every channel on its own, `multiplier` times.

    Args:
        x: (batch, *spatial, channels), or (batch, channels, *spatial).
        kernel: (*window, channels, multiplier).
        strides: distance of neighbouring windows along each dimension.
        padding: "valid", "same", or a (before, after) pair per dimension.
        dilation: distance of neighbouring cells of the window.
        channels_last: where the channels are, in `x` and in the result.

    Returns:
        channels * multiplier channels; those of one input channel are together.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import depthwise_conv
        >>> x, kernel = jnp.ones((1, 4, 2)), jnp.ones((2, 2, 1))
        >>> depthwise_conv(
        ...     x, kernel, strides=(2,), padding="valid", dilation=(1,)
        ... ).tolist()
        [[[2.0, 2.0], [2.0, 2.0]]]
    """
    x, kernel = _alike(x, kernel)
    *window, channels, multiplier = kernel.shape
    if not channels_last:
        x = jnp.moveaxis(x, 1, -1)
    compiled = depthwise.fits(x, kernel, strides, padding, dilation)
    if compiled or (
        multiplier == 1 and _taps_pay(x, window, strides, padding, dilation)
    ):
        pads = windows.pads(padding, x.shape[1:-1], window, strides, dilation)
        form = depthwise.conv if compiled else depthwise.plain
        y = form(x, kernel[..., 0], strides=strides, pads=pads, dilation=dilation)
    else:
        kernel = kernel.reshape(*window, 1, channels * multiplier)
        y = _lax_conv(x, kernel, strides, padding, dilation, channels)
    return y if channels_last else jnp.moveaxis(y, -1, 1)


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Sequence[int],
    padding: str,
    output_padding: Sequence[int] | None = None,
    dilation: Sequence[int],
    channels_last: bool = True,
    rectified: jax.Array | None = None,
) -> jax.Array:
    """Spread every value of `x` over a window: the gradient of `conv`.

    Args:
        x: (batch, *spatial, channels), or (batch, channels, *spatial).
        kernel: (*window, outputs, channels).
        strides: distance of neighbouring windows in the result.
        padding: "valid" keeps every cell; "same" crops to size * stride, or to
            what `output_padding` asks for.
        output_padding: cells added to the end of each dimension; None for the
            default size.
        dilation: distance of neighbouring cells of the window.
        channels_last: where the channels are, in `x` and in the result.
        rectified: (outputs,) the bias, if the result is `relu(y + bias)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import conv_transpose
        >>> x, kernel = jnp.ones((1, 2, 1)), jnp.ones((3, 1, 1))
        >>> y = conv_transpose(
        ...     x, kernel, strides=(2,), padding="valid", dilation=(1,)
        ... )
        >>> y.ravel().tolist()
        [1.0, 1.0, 2.0, 1.0, 1.0]
    """
    x, kernel = _alike(x, kernel)
    window = kernel.shape[:-2]
    if not channels_last:
        x = jnp.moveaxis(x, 1, -1)
    extra = output_padding or (None,) * len(window)
    spatial = [
        _transposed_pads((cells - 1) * step + 1, stride, padding.lower(), more)
        for cells, step, stride, more in zip(
            window, dilation, strides, extra, strict=True
        )
    ]
    outside = _left_out(window, dilation, spatial)
    flat = x.ndim == 5 and _flat_fits(x, kernel, outside, kernel.shape[-2])
    if flat or native.fits(x, kernel, outside, kernel.shape[-2]):
        sizes = [
            (size - 1) * stride + 1 + lo + hi - (cells - 1) * step
            for size, stride, (lo, hi), cells, step in zip(
                x.shape[1:-1], strides, spatial, window, dilation, strict=True
            )
        ]
        if flat:
            y = _flat_spread(x, kernel, sizes, strides, outside, dilation)
        else:
            bias, rectified = _inside(rectified, x)
            y = native.spread(x, kernel, sizes, strides, outside, dilation, bias)
    else:
        kernel = jnp.flip(kernel, range(len(window))).swapaxes(-1, -2)
        ones = (1,) * len(window)
        y = _lax_conv(x, kernel, ones, spatial, dilation, 1, spread=strides)
    return _finished(y, rectified, channels_last)


def _inside(bias, x):
    """Return the bias if compiled kernels add it, and what is left to be added."""
    return (bias, None) if bias is not None and bias.dtype == x.dtype else (None, bias)


def _finished(y, bias, channels_last):
    if bias is not None:
        y = jax.nn.relu(y + bias)
    return y if channels_last else jnp.moveaxis(y, -1, 1)


def _transposed_pads(extent, stride, padding, more):
    """Pads around an input spread by `stride`, for a window of `extent` cells.

    Without cropping the result is (size - 1) * stride + extent long.
    """
    if more is None:
        excess = extent - stride
        crop = 0 if padding == "valid" else max(excess, 0)
        # A window shorter than the stride leaves a gap at the end.
        more = max(-excess, 0)
    else:
        crop = 0 if padding == "valid" else 2 * (extent // 2)
    before = max(crop - more, 0) // 2
    return extent - 1 - before, extent - 1 - (crop - before) + more


def _left_out(window, dilation, spatial):
    """Cells at each end of the whole spread result that these pads leave out."""
    return [
        ((cells - 1) * step - lo, (cells - 1) * step - hi)
        for cells, step, (lo, hi) in zip(window, dilation, spatial, strict=True)
    ]


def _alike(x, kernel):
    dtype = jnp.result_type(x, kernel)
    return x.astype(dtype), kernel.astype(dtype)


def _unpadded(padding):
    """Whether a window of one cell needs no padding."""
    return isinstance(padding, str) or not any(lo or hi for lo, hi in padding)


def _every(x, strides):
    if all(stride == 1 for stride in strides):
        return x
    return x[:, *(slice(None, None, stride) for stride in strides)]


def _taps_pay(x, window, strides, padding, dilation):
    if (
        platform() != "cpu"
        or math.prod(window) > windows.MOST_TAPS
        or not windows.known(x)
    ):
        return False
    spatial = windows.pads(padding, x.shape[1:-1], window, strides, dilation)
    sizes = [
        lo + size + hi for size, (lo, hi) in zip(x.shape[1:-1], spatial, strict=True)
    ]
    return all(windows.counts(sizes, window, strides, dilation))


def _unfolds(x, window, strides, padding, dilation):
    """Whether gradients are cheaper with windows laid out as rows of one product."""
    return x.shape[-1] == 1 and _taps_pay(x, window, strides, padding, dilation)


def _flat_fits(x, kernel, padding, channels):
    """Whether the compiled kernels take slices of volumes."""
    images: Any = jax.ShapeDtypeStruct((x.shape[0], *x.shape[2:]), x.dtype)
    window: Any = jax.ShapeDtypeStruct(kernel.shape[1:], kernel.dtype)
    rest = padding if isinstance(padding, str) else padding[1:]
    return windows.known(x) and native.fits(images, window, rest, channels)


def _flat(x, kernel, strides, padding, dilation, bias):
    """Convolve volumes as images, one for each depth of the result.

    The cells of the window along the depth become channels of the image.
    """
    cells, *window, channels, outputs = kernel.shape
    rounds(cells)
    spatial = windows.pads(padding, x.shape[1:-1], kernel.shape[:3], strides, dilation)
    x = windows.pad(x, [spatial[0], (0, 0), (0, 0)], 0)
    depth = (x.shape[1] - (cells - 1) * dilation[0] - 1) // strides[0] + 1
    starts = [cell * dilation[0] for cell in range(cells)]
    length = (depth - 1) * strides[0] + 1
    images = jnp.concatenate(
        [lax.slice_in_dim(x, at, at + length, strides[0], 1) for at in starts], -1
    ).reshape(-1, *x.shape[2:-1], cells * channels)
    kernel = jnp.moveaxis(kernel, 0, 2).reshape(*window, cells * channels, outputs)
    y = native.conv(images, kernel, strides[1:], spatial[1:], dilation[1:], bias)
    return y.reshape(-1, depth, *y.shape[1:])


def _flat_spread(y, kernel, sizes, strides, pads, dilation):
    """Spread volumes as images, and add up what comes to the same depth."""
    cells, *window, channels, outputs = kernel.shape
    rounds(cells)
    kernel = jnp.moveaxis(kernel, 0, 2).reshape(*window, cells * channels, outputs)
    images = y.reshape(-1, *y.shape[2:])
    x = native.spread(images, kernel, sizes[1:], strides[1:], pads[1:], dilation[1:])
    x = x.reshape(*y.shape[:2], *x.shape[1:-1], cells, channels)
    depth = (y.shape[1] - 1) * strides[0] + 1
    total = jnp.zeros((), x.dtype)
    for cell in range(cells):
        before = cell * dilation[0] - pads[0][0]
        after = sizes[0] - before - depth
        around = [(0, 0, 0)] * (x.ndim - 1)
        around[1] = (before, after, strides[0] - 1)
        total += lax.pad(x[..., cell, :], jnp.zeros((), x.dtype), around)
    return total


def _unfolded(x, kernel, strides, padding, dilation):
    window = kernel.shape[:-2]
    x = _outside(x, window, strides, padding, dilation)
    cells = jnp.concatenate([*windows.taps(x, window, strides, dilation)], -1)
    return dense(cells, kernel.reshape(-1, kernel.shape[-1]))


def _outside(x, window, strides, padding, dilation):
    sizes = x.shape[1:-1]
    return windows.pad(x, windows.pads(padding, sizes, window, strides, dilation), 0)


def _lax_conv(x, kernel, strides, padding, dilation, groups, spread=None):
    letters = "DHW"[5 - x.ndim :]
    numbers = lax.conv_dimension_numbers(
        x.shape, kernel.shape, (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    )
    return lax.conv_general_dilated(
        x,
        kernel,
        tuple(strides),
        windows.lax_padding(padding),
        lhs_dilation=spread and tuple(spread),
        rhs_dilation=tuple(dilation),
        dimension_numbers=numbers,
        feature_group_count=groups,
    )
