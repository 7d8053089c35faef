"""Functions of neural networks: activations, convolutions, losses, norms."""

import itertools as _itertools
import math as _math
from typing import Any as _Any

import jax as _jax
import jax.numpy as _jnp
from jax import lax as _lax

from lamina import kernels as _kernels
from lamina._imports import offer as _offer
from lamina.core import settings as _settings
from lamina.core.budget import rounds as _rounds
from lamina.core.checks import axis_within as _axis_within
from lamina.core.context import warn_once as _warn_once
from lamina.core.op import op as _op
from lamina.core.tracebacks import boundary as _boundary
from lamina.kernels import ctc as _ctc
from lamina.ops.arrays import axes as _axes
from lamina.ops.arrays import canonical as _canonical
from lamina.ops.arrays import dense_only as _dense_only
from lamina.ops.arrays import inexact as _inexact
from lamina.ops.arrays import promoted as _promoted
from lamina.ops.arrays import tensor as _tensor
from lamina.ops.elementwise import unary as _unary

# Activations.


@_unary(_jax.nn.relu, _tensor)
def relu(x):
    """Return max(x, 0).

    >>> from lamina import ops
    >>> ops.relu([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    """


@_unary(_jax.nn.relu6, _tensor)
def relu6(x):
    """Return min(max(x, 0), 6).

    >>> from lamina import ops
    >>> ops.relu6([-1.0, 2.0, 8.0]).tolist()
    [0.0, 2.0, 6.0]
    """


@_unary(_jax.nn.sigmoid, _inexact)
def sigmoid(x):
    """Return 1 / (1 + e⁻ˣ).

    >>> from lamina import ops
    >>> ops.sigmoid([-1.0, 0.0, 1.0]).tolist()
    [0.2689, 0.5, 0.7311]
    """


@_unary(_jax.nn.sparse_sigmoid, _inexact)
def sparse_sigmoid(x):
    """Return (x + 1) / 2 limited to [0, 1].

    >>> from lamina import ops
    >>> ops.sparse_sigmoid([-2.0, 0.0, 0.5]).tolist()
    [0.0, 0.5, 0.75]
    """


@_unary(_jax.nn.softplus, _inexact)
def softplus(x):
    """Return ln(1 + eˣ).

    >>> from lamina import ops
    >>> ops.softplus([0.0, 1.0]).tolist()
    [0.6931, 1.3133]
    """


@_unary(_jax.nn.soft_sign, _inexact)
def softsign(x):
    """Return x / (1 + abs(x)).

    >>> from lamina import ops
    >>> ops.softsign([-1.0, 3.0]).tolist()
    [-0.5, 0.75]
    """


@_unary(_jax.nn.silu, _inexact)
def silu(x):
    """Return x · sigmoid(x).

    >>> from lamina import ops
    >>> ops.silu([-1.0, 0.0, 1.0]).tolist()
    [-0.2689, 0.0, 0.7311]
    """


@_unary(_jax.nn.log_sigmoid, _inexact)
def log_sigmoid(x):
    """Return ln sigmoid(x).

    >>> from lamina import ops
    >>> ops.log_sigmoid([0.0, -1000.0]).tolist()
    [-0.6931, -1000.0]
    """


@_unary(_jax.nn.hard_sigmoid, _inexact)
def hard_sigmoid(x):
    """Return x / 6 + 1 / 2 limited to [0, 1].

    >>> from lamina import ops
    >>> ops.hard_sigmoid([-4.0, 0.0, 1.5]).tolist()
    [0.0, 0.5, 0.75]
    """


@_unary(_jax.nn.hard_silu, _inexact)
def hard_silu(x):
    """Return x · hard_sigmoid(x).

    >>> from lamina import ops
    >>> ops.hard_silu([-1.5, 1.5, 3.0]).tolist()
    [-0.375, 1.125, 3.0]
    """


@_unary(_jax.nn.hard_tanh, _tensor)
def hard_tanh(x):
    """Return x limited to [-1, 1].

    >>> from lamina import ops
    >>> ops.hard_tanh([-2.0, 0.5, 2.0]).tolist()
    [-1.0, 0.5, 1.0]
    """


@_unary(_jax.nn.selu, _inexact)
def selu(x):
    """Return 1.0507 · elu(x, 1.6733), which keeps mean 0 and variance 1.

    Source: Klambauer et al., 2017, "Self-normalizing neural networks".

    >>> from lamina import ops
    >>> ops.selu([-1.0, 1.0]).tolist()
    [-1.1113, 1.0507]
    """


@_op(elementwise=True)
def tanh_shrink(x):
    """Return x - tanh x.

    >>> from lamina import ops
    >>> ops.tanh_shrink([0.0, 1.0]).tolist()
    [0.0, 0.2384]
    """
    x = _inexact(x)
    return x - _jnp.tanh(x)


@_op(config=("negative_slope",), elementwise=True)
def leaky_relu(x, negative_slope=0.2):
    """Return x above zero and `negative_slope` · x below.

    >>> from lamina import ops
    >>> ops.leaky_relu([-1.0, 2.0]).tolist()
    [-0.2, 2.0]
    """
    return _jax.nn.leaky_relu(_inexact(x), negative_slope)


@_op(config=("alpha",), elementwise=True)
def elu(x, alpha=1.0):
    """Return x above zero and `alpha` · (eˣ - 1) below.

    Source: Clevert et al., 2015, "Fast and accurate deep network learning by ELUs".

    >>> from lamina import ops
    >>> ops.elu([-1.0, 2.0]).tolist()
    [-0.6321, 2.0]
    """
    return _jax.nn.elu(_inexact(x), alpha)


@_op(config=("alpha",), elementwise=True)
def celu(x, alpha=1.0):
    """Return x above zero and `alpha` · (e^(x / alpha) - 1) below.

    Source: Barron, 2017, "Continuously differentiable exponential linear units".

    >>> from lamina import ops
    >>> ops.celu([-1.0, 2.0], alpha=2.0).tolist()
    [-0.7869, 2.0]
    """
    return _jax.nn.celu(_inexact(x), alpha)


@_op(config=("approximate",), elementwise=True)
def gelu(x, approximate=True):
    """Return x · Φ(x), with Φ the cumulative normal distribution.

    Args:
        x: any array.
        approximate: compute x / 2 · (1 + tanh(√(2 / π) · (x + 0.044715 x³))).

    Source: Hendrycks and Gimpel, 2016, "Gaussian error linear units".

    >>> from lamina import ops
    >>> ops.gelu([-1.0, 0.0, 1.0], approximate=False).tolist()
    [-0.1587, 0.0, 0.8413]
    """
    return _jax.nn.gelu(_inexact(x), approximate)


@_op(config=("b",), elementwise=True)
def squareplus(x, b=4):
    """Return (x + √(x² + b)) / 2.

    >>> from lamina import ops
    >>> ops.squareplus([0.0, 1.5]).tolist()
    [1.0, 2.0]
    """
    return _jax.nn.squareplus(_inexact(x), b)


@_op(elementwise=True)
def sparse_plus(x):
    """Return 0 below -1, x above 1 and (x + 1)² / 4 between.

    >>> from lamina import ops
    >>> ops.sparse_plus([-2.0, 0.0, 2.0]).tolist()
    [0.0, 0.25, 2.0]
    """
    x = _inexact(x)
    return _jnp.where(x <= -1, 0, _jnp.where(x >= 1, x, (x + 1) ** 2 / 4))


@_op(config=("threshold",), elementwise=True)
def soft_shrink(x, threshold=0.5):
    """Move x towards zero by `threshold`, and to zero what is nearer.

    >>> from lamina import ops
    >>> ops.soft_shrink([-2.0, 0.3, 2.0]).tolist()
    [-1.5, 0.0, 1.5]
    """
    x = _inexact(x)
    return _jnp.where(
        x > threshold, x - threshold, _jnp.where(x < -threshold, x + threshold, 0)
    )


@_op(config=("threshold",), elementwise=True)
def hard_shrink(x, threshold=0.5):
    """Return x where abs(x) > `threshold` and 0 elsewhere.

    >>> from lamina import ops
    >>> ops.hard_shrink([-2.0, 0.3, 2.0]).tolist()
    [-2.0, 0.0, 2.0]
    """
    x = _inexact(x)
    return _jnp.where(_jnp.abs(x) > threshold, x, 0)


@_op(config=("threshold", "default_value"), elementwise=True)
def threshold(x, threshold, default_value):
    """Return x where x > `threshold` and `default_value` elsewhere.

    >>> from lamina import ops
    >>> ops.threshold([0.5, 1.5], 1.0, -1.0).tolist()
    [-1.0, 1.5]
    """
    x = _inexact(x)
    return _jnp.where(x > threshold, x, default_value)


@_op(config=("axis",), masks=True)
def glu(x, axis=-1):
    """Halve `x` along `axis` into a and b, and return a · sigmoid(b).

    Raises:
        ValueError: the size of the axis is odd, or there is no such axis.

    >>> from lamina import ops
    >>> ops.glu([3.0, 0.0]).tolist()
    [1.5]
    """
    x = _inexact(x)
    axis = _axis_within("`glu`", axis, x.ndim)
    if isinstance(x.shape[axis], int) and x.shape[axis] % 2:
        raise ValueError(
            f"`glu` expected axis {axis} to have an even size. Received: shape "
            f"{x.shape}"
        )
    return _jax.nn.glu(x, axis)


@_op(config=("axis",), masks=True)
def softmax(x, axis=-1):
    """Return exp(x) / Σ exp(x) over `axis`: one axis, several, or all when None.

    >>> from lamina import ops
    >>> ops.softmax([0.0, 0.0]).tolist()
    [0.5, 0.5]
    """
    x = _inexact(x)
    if isinstance(axis, int) and x.shape[axis : axis + 1 or None] == (1,):
        _warn_once(
            "softmax",
            f"You are using a softmax over axis {axis} of a tensor of shape {x.shape}. "
            "This axis has size 1. The softmax operation will always return the value "
            "1, which is likely not what you intended. Did you mean to use a sigmoid "
            "instead?",
        )
    return _kernels.softmax(x, _axes(axis))


@_op(config=("axis",), masks=True)
def log_softmax(x, axis=-1):
    """Return ln softmax(x) over `axis`: one axis, several, or all when None.

    >>> from lamina import ops
    >>> ops.log_softmax([0.0, 0.0]).tolist()
    [-0.6931, -0.6931]
    """
    return _jax.nn.log_softmax(_inexact(x), _axes(axis))


@_op(config=("axis",), masks=True)
def sparsemax(x, axis=-1):
    """Return the point of the probability simplex nearest to x along `axis`.

    p = max(x - τ, 0), with τ such that p sums to 1.

    Source: Martins and Astudillo, 2016, "From softmax to sparsemax".

    >>> from lamina import ops
    >>> ops.sparsemax([0.5, 0.1, -2.0]).tolist()
    [0.7, 0.3, 0.0]
    """
    x = _jnp.moveaxis(_inexact(x), axis, -1)
    falling = _jnp.flip(_jnp.sort(x, -1), -1)
    count = _jnp.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    excess = _jnp.cumsum(falling, -1) - 1
    support = _jnp.sum(count * falling > excess, -1, keepdims=True)
    tau = _jnp.take_along_axis(excess, support - 1, -1) / support.astype(x.dtype)
    return _jnp.moveaxis(_jnp.maximum(x - tau, 0), -1, axis)


swish = silu
hard_swish = hard_silu


# Convolution and pooling.


def _last(data_format):
    return _settings.standardize_data_format(data_format) == "channels_last"


def _each(value, rank, name):
    """Return one positive integer for each of `rank` spatial dimensions."""
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank or any(v <= 0 for v in values):
        raise ValueError(
            f"Expected `{name}` to be a positive integer or {rank} of them. Received: "
            f"{name}={value}"
        )
    return values


def _padding(padding):
    if isinstance(padding, str):
        padding = padding.lower()
        if padding not in ("valid", "same"):
            raise ValueError(
                f"Expected `padding` to be 'valid' or 'same'. Received: {padding!r}"
            )
        return padding
    return [tuple(p) for p in padding]


def _pool(kernel, inputs, pool_size, strides, padding, data_format):
    x = _tensor(inputs)
    rank = x.ndim - 2
    window = _each(pool_size, rank, "pool_size")
    strides = window if strides is None else _each(strides, rank, "strides")
    return kernel(
        x,
        window=window,
        strides=strides,
        padding=_padding(padding),
        channels_last=_last(data_format),
    )


@_op(config=("pool_size", "strides", "padding", "data_format"))
def max_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
    """Return the largest entry of each window.

    Args:
        inputs: (batch, *spatial, channels), or (batch, channels, *spatial).
        pool_size: the size of the window: an integer, or one for each dimension.
        strides: the distance of windows; `pool_size` when None.
        padding: `"valid"`: windows lie inside; `"same"`: their number is the size
            divided by the stride, rounded up.
        data_format: `"channels_last"` or `"channels_first"`.

    >>> from lamina import ops
    >>> x = ops.reshape([1.0, 4.0, 2.0, 6.0], (1, 4, 1))
    >>> ops.max_pool(x, 2).ravel().tolist()
    [4.0, 6.0]
    """
    return _pool(_kernels.max_pool, inputs, pool_size, strides, padding, data_format)


@_op(config=("pool_size", "strides", "padding", "data_format"))
def average_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
    """Return the mean of each window; arguments as for `max_pool`.

    >>> from lamina import ops
    >>> x = ops.reshape([1.0, 4.0, 2.0, 6.0], (1, 4, 1))
    >>> ops.average_pool(x, 2).ravel().tolist()
    [2.5, 4.0]
    """
    return _pool(
        _kernels.average_pool, inputs, pool_size, strides, padding, data_format
    )


def _adaptive(inputs, output_size, data_format, reduce):
    x = _tensor(inputs)
    sizes = _each(output_size, x.ndim - 2, "output_size")
    for axis, size in enumerate(sizes, start=1 if _last(data_format) else 2):
        whole = x.shape[axis]
        _rounds(size)
        limits = [(i * whole // size, -(-(i + 1) * whole // size)) for i in range(size)]
        parts = [_lax.slice_in_dim(x, a, b, axis=axis) for a, b in limits]
        x = _jnp.concatenate([reduce(p, axis=axis, keepdims=True) for p in parts], axis)
    return x


@_op(config=("output_size", "data_format"))
def adaptive_average_pool(inputs, output_size, data_format=None):
    """Return means of `output_size` windows that cover each dimension evenly.

    Window i of n over a size s spans [⌊i·s/n⌋, ⌈(i+1)·s/n⌉).

    Args:
        inputs: (batch, *spatial, channels), or (batch, channels, *spatial).
        output_size: the number of windows: an integer, or one for each dimension.
        data_format: `"channels_last"` or `"channels_first"`.

    Window i of n over a size s spans [⌊i·s/n⌋, ⌈(i+1)·s/n⌉).

    >>> from lamina import ops
    >>> x = ops.reshape([1.0, 4.0, 2.0, 6.0], (1, 4, 1))
    >>> ops.adaptive_average_pool(x, 2).ravel().tolist()
    [2.5, 4.0]
    """
    return _adaptive(inputs, output_size, data_format, _jnp.mean)


@_op(config=("output_size", "data_format"))
def adaptive_max_pool(inputs, output_size, data_format=None):
    """Return maxima of `output_size` windows that cover each dimension evenly.

    Arguments and windows are those of `adaptive_average_pool`.

    >>> from lamina import ops
    >>> x = ops.reshape([1.0, 4.0, 2.0, 6.0], (1, 4, 1))
    >>> ops.adaptive_max_pool(x, 2).ravel().tolist()
    [4.0, 6.0]
    """
    return _adaptive(inputs, output_size, data_format, _jnp.max)


@_op(config=("strides", "padding", "data_format", "dilation_rate"))
def conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Return the N-dimensional convolution (correlation) of `inputs` with `kernel`.

    y[p, o] = Σ over t, c of x[p · strides + t · dilation_rate, c] · kernel[t, c, o]

    Args:
        inputs: (batch, *spatial, channels), or (batch, channels, *spatial).
        kernel: (*window, channels / groups, filters); groups follow from the shapes.
        strides: the distance of windows.
        padding: `"valid"`, `"same"`, or a (before, after) pair for each dimension.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: the distance of neighbouring cells of the window.

    Raises:
        ValueError: channels and kernel do not fit.

    >>> from lamina import ops
    >>> x = ops.reshape([1.0, 4.0, 2.0, 6.0], (1, 4, 1))
    >>> kernel = ops.reshape([1.0, -1.0], (2, 1, 1))
    >>> ops.conv(x, kernel).ravel().tolist()
    [-3.0, 2.0, -4.0]
    """
    x, kernel = _promoted(inputs, kernel)
    moves = _moves(kernel, strides, padding, data_format, dilation_rate)
    channels = _channels("conv", x, kernel, moves)
    groups = channels // kernel.shape[-2]
    return _kernels.conv(x, kernel, groups=groups, **moves)


def _moves(kernel, strides, padding, data_format, dilation_rate):
    """Return how a kernel moves, as the functions of `kernels` take it."""
    rank = kernel.ndim - 2
    return {
        "strides": _each(strides, rank, "strides"),
        "padding": _padding(padding),
        "dilation": _each(dilation_rate, rank, "dilation_rate"),
        "channels_last": _last(data_format),
    }


def _channels(name, x, kernel, moves):
    channels, taken = x.shape[-1 if moves["channels_last"] else 1], kernel.shape[-2]
    fits = channels % taken == 0 if name == "conv" else channels == taken
    if isinstance(channels, int) and not fits:
        raise ValueError(
            f"The number of input channels must match the kernel in `{name}`: be "
            f"{'a multiple of ' * (name == 'conv')}kernel.shape[-2]. Received: "
            f"{channels} channels of inputs of shape {x.shape}, kernel of shape "
            f"{kernel.shape}"
        )
    return channels


@_op(config=("strides", "padding", "data_format", "dilation_rate"))
def depthwise_conv(
    inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1
):
    """Convolve each channel on its own.

    Args:
        inputs: (batch, *spatial, channels), or (batch, channels, *spatial).
        kernel: (*window, channels, multiplier).
        strides: the distance of windows.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: the distance of neighbouring cells of the window.

    Returns:
        channels · multiplier channels.

    >>> from lamina import ops
    >>> x = ops.reshape([1.0, 10.0, 2.0, 20.0], (1, 2, 2))
    >>> ops.depthwise_conv(x, ops.ones((2, 2, 1))).tolist()
    [[[3.0, 30.0]]]
    """
    x, kernel = _promoted(inputs, kernel)
    moves = _moves(kernel, strides, padding, data_format, dilation_rate)
    _channels("depthwise_conv", x, kernel, moves)
    return _kernels.depthwise_conv(x, kernel, **moves)


@_op(config=("strides", "padding", "data_format", "dilation_rate"))
def separable_conv(
    inputs,
    depthwise_kernel,
    pointwise_kernel,
    strides: _Any = 1,
    padding: str = "valid",
    data_format: _Any = None,
    dilation_rate: _Any = 1,
):
    """Convolve each channel on its own, then mix channels by a 1 x 1 convolution.

    Args:
        inputs: (batch, *spatial, channels), or (batch, channels, *spatial).
        depthwise_kernel: (*window, channels, multiplier).
        pointwise_kernel: (1, ..., 1, channels · multiplier, filters).
        strides: the distance of windows.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: the distance of neighbouring cells of the window.

    >>> from lamina import ops
    >>> x = ops.reshape([1.0, 10.0, 2.0, 20.0], (1, 2, 2))
    >>> ops.separable_conv(x, ops.ones((2, 2, 1)), ops.ones((1, 2, 1))).tolist()
    [[[33.0]]]
    """
    y = depthwise_conv(
        inputs, depthwise_kernel, strides, padding, data_format, dilation_rate
    )
    return conv(y, pointwise_kernel, 1, "valid", data_format)


@_op(config=("strides", "padding", "output_padding", "data_format", "dilation_rate"))
def conv_transpose(
    inputs,
    kernel,
    strides: _Any = 1,
    padding: str = "valid",
    output_padding: _Any = None,
    data_format: _Any = None,
    dilation_rate: _Any = 1,
):
    """Spread each entry over a window: the gradient of `conv` for its input.

    Args:
        inputs: (batch, *spatial, channels), or (batch, channels, *spatial).
        kernel: (*window, filters, channels).
        strides: the distance of windows in the result.
        padding: `"valid"` or `"same"`.
        output_padding: cells added at the end of each dimension; None for the
            default size.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: the distance of neighbouring cells of the window.

    >>> from lamina import ops
    >>> x = ops.reshape([1.0, 5.0], (1, 2, 1))
    >>> kernel = ops.reshape([1.0, 2.0], (2, 1, 1))
    >>> ops.conv_transpose(x, kernel, strides=2).ravel().tolist()
    [1.0, 2.0, 5.0, 10.0]
    """
    x, kernel = _promoted(inputs, kernel)
    if isinstance(output_padding, int):
        output_padding = (output_padding,) * (kernel.ndim - 2)
    return _kernels.conv_transpose(
        x,
        kernel,
        output_padding=output_padding and tuple(output_padding),
        **_moves(kernel, strides, padding, data_format, dilation_rate),
    )


# Codes.


@_op(config=("num_classes", "axis", "dtype", "sparse"), integers=True)
def one_hot(x, num_classes, axis=-1, dtype=None, sparse=False):
    """Turn integers into vectors with a 1 at that position; zeros if outside.

    Args:
        x: integers of any shape.
        num_classes: the length of the vectors.
        axis: where they stand in the result.
        dtype: the dtype of the result.
        sparse: not supported; must be False.

    >>> from lamina import ops
    >>> ops.one_hot([1, 0], 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    _dense_only("one_hot", sparse)
    return _marks(_tensor(x), num_classes, axis, dtype)


def _marks(x, num_classes, axis, dtype):
    if not _jnp.issubdtype(x.dtype, _jnp.integer):
        # A half float would not tell 257 from 256, the numbers compared with it.
        x, given = x.astype("int32"), x
        x = _jnp.where(x == given, x, -1)
    return _jax.nn.one_hot(x, num_classes, dtype=_canonical(dtype), axis=axis)


@_boundary
def multi_hot(inputs, num_classes=None, axis=-1, dtype=None, sparse=False, **kwargs):
    """Mark with 1 the classes that occur along the last axis of `inputs`.

    Args:
        inputs: integers.
        num_classes: the number of classes.
        axis: where they stand in the result.
        dtype: the dtype of the result.
        sparse: not supported; must be False.
        kwargs: `num_tokens`, the old name of `num_classes`.

    >>> from lamina import ops
    >>> ops.multi_hot([0, 2], 4).tolist()
    [1.0, 0.0, 1.0, 0.0]
    """
    num_classes = kwargs.get("num_tokens", num_classes)
    if num_classes is None:
        raise ValueError("`multi_hot` expected `num_classes`. Received none.")
    return _multi_hot(inputs, num_classes, axis, dtype, sparse)


@_op(config=("num_classes", "axis", "dtype", "sparse"), name="MultiHot", integers=True)
def _multi_hot(inputs, num_classes, axis=-1, dtype=None, sparse=False):
    _dense_only("multi_hot", sparse)
    x = _tensor(inputs)
    over = 1 if x.ndim > 1 else 0
    return _jnp.max(_marks(x, num_classes, axis, dtype), over)


# Losses.


def _same_shapes(name, target, output):
    if target.shape != output.shape:
        raise ValueError(
            f"`{name}` expected `target` and `output` to have the same shape. "
            f"Received: target.shape={target.shape}, output.shape={output.shape}"
        )


def _probable(p):
    epsilon = _settings.epsilon()
    return _jnp.clip(p, epsilon, 1 - epsilon)


@_op(config=("from_logits",))
def binary_crossentropy(target, output, from_logits=False):
    """Return -t · ln p - (1 - t) · ln(1 - p), entry by entry.

    Args:
        target: t, of the shape of `output`.
        output: p, or with `from_logits` what `sigmoid` turns into p.
        from_logits: see there.

    Raises:
        ValueError: the shapes differ.

    >>> from lamina import ops
    >>> ops.binary_crossentropy([1.0, 0.0], [0.5, 0.1]).tolist()
    [0.6931, 0.1054]
    """
    target, output = _promoted(target, output, also=(float,))
    _same_shapes("binary_crossentropy", target, output)
    if from_logits:
        yes, no = _jax.nn.log_sigmoid(output), _jax.nn.log_sigmoid(-output)
    else:
        output = _probable(output)
        yes, no = _jnp.log(output), _jnp.log(1 - output)
    return -(target * yes + (1 - target) * no)


def _log_probability(output, from_logits, axis):
    if from_logits:
        return _jax.nn.log_softmax(output, axis)
    return _jnp.log(_probable(output / _jnp.sum(output, axis, keepdims=True)))


@_op(config=("from_logits", "axis"))
def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """Return -Σ t · ln p over `axis`.

    Args:
        target: t, the probabilities of the classes, of the shape of `output`.
        output: p, scaled to sum 1; or with `from_logits` what `softmax` turns into p.
        from_logits: see there.
        axis: where the classes stand.

    Raises:
        ValueError: the shapes differ, or are empty.

    >>> from lamina import ops
    >>> ops.categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).tolist()
    [0.6931]
    """
    target, output = _promoted(target, output, also=(float,))
    _same_shapes("categorical_crossentropy", target, output)
    if not target.ndim:
        raise ValueError(
            "`categorical_crossentropy` expected arrays with an axis. Received: "
            f"target.shape={target.shape}"
        )
    return -_jnp.sum(target * _log_probability(output, from_logits, axis), axis)


@_op(config=("from_logits", "axis"))
def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """Return -ln p[t] over `axis`.

    Args:
        target: t, the numbers of the classes, of the shape of `output` without
            `axis`; a last axis of size 1 is dropped.
        output: p, scaled to sum 1; or with `from_logits` what `softmax` turns into p.
        from_logits: see there.
        axis: where the classes stand.

    Raises:
        ValueError: the shapes do not fit.

    >>> from lamina import ops
    >>> ops.sparse_categorical_crossentropy([1], [[0.5, 0.5]]).tolist()
    [0.6931]
    """
    target, output = _tensor(target).astype("int32"), _inexact(output)
    if target.ndim == output.ndim and target.shape[-1] == 1:
        target = _jnp.squeeze(target, -1)
    if not -output.ndim <= axis < output.ndim:
        raise ValueError(
            f"`sparse_categorical_crossentropy` expected `output` with axis {axis}. "
            f"Received: output.shape={output.shape}"
        )
    rest = list(output.shape)
    classes = rest.pop(axis)
    if tuple(rest) != target.shape:
        raise ValueError(
            "`sparse_categorical_crossentropy` expected `target` to have the shape of "
            f"`output` without axis {axis}. Received: target.shape={target.shape}, "
            f"output.shape={output.shape}"
        )
    chosen = _jax.nn.one_hot(target, classes, axis=axis, dtype=output.dtype)
    return -_jnp.sum(chosen * _log_probability(output, from_logits, axis), axis)


# Statistics and normalization.


@_op(config=("axes", "keepdims", "synchronized"))
def moments(x, axes, keepdims=False, synchronized=False):
    """Return mean and variance over `axes`.

    Args:
        x: any array; half precision is summed in float32.
        axes: the axes.
        keepdims: keep them with size 1.
        synchronized: over all devices; not supported, must be False.

    >>> from lamina import ops
    >>> mean, variance = ops.moments([[1.0, 5.0], [2.0, 2.0]], axes=1)
    >>> mean.tolist(), variance.tolist()
    ([3.0, 2.0], [4.0, 0.0])
    """
    if synchronized:
        raise NotImplementedError("`moments` over several devices is not supported.")
    x = _inexact(x)
    wide = x.astype("float32") if x.dtype == _jnp.float16 else x
    mean = _jnp.mean(wide, _axes(axes), keepdims=True)
    variance = _jnp.var(wide, _axes(axes), keepdims=True)
    if not keepdims:
        mean, variance = (_jnp.squeeze(v, _axes(axes)) for v in (mean, variance))
    if x.dtype == _jnp.float16:
        top = _jnp.finfo(x.dtype).max
        mean, variance = (_jnp.clip(v, -top, top) for v in (mean, variance))
    return mean.astype(x.dtype), variance.astype(x.dtype)


@_op(config=("axis", "epsilon"), name="BatchNorm", masks=True)
def batch_normalization(x, mean, variance, axis, offset=None, scale=None, epsilon=1e-3):
    """Return scale · (x - mean) / √(variance + epsilon) + offset.

    Args:
        x: any array.
        mean: a vector along `axis`, as the following ones.
        variance: as told.
        axis: the axis of `x` that they belong to.
        offset: as told; 0 when None.
        scale: as told; 1 when None.
        epsilon: added to the variance.

    >>> from lamina import ops
    >>> ops.batch_normalization([[2.0], [4.0]], [3.0], [1.0], -1, epsilon=0.0).tolist()
    [[-1.0], [1.0]]
    """
    x = _tensor(x)
    shape = [1] * x.ndim
    shape[axis] = -1
    mean, variance = _tensor(mean), _tensor(variance)
    factor = _lax.rsqrt(variance.reshape(shape) + epsilon)
    if scale is not None:
        factor = factor * _tensor(scale).reshape(shape)
    shift = -mean.reshape(shape) * factor
    if offset is not None:
        shift = shift + _tensor(offset).reshape(shape)
    return (x * factor + shift).astype(x.dtype)


@_boundary
def layer_normalization(x, gamma=None, beta=None, axis=-1, epsilon=None, **kwargs):
    """Return gamma · (x - mean) / √(variance + epsilon) + beta over `axis`.

    Args:
        x: any array.
        gamma: factors in the shape of the axes; 1 when None.
        beta: offsets, likewise; 0 when None.
        axis: an axis or several.
        epsilon: added to the variance; `lamina.config.epsilon()` when None.
        kwargs: `rms_scaling`, which divides by the deviation alone.

    >>> from lamina import ops
    >>> ops.layer_normalization([[1.0, 3.0]], epsilon=0.0).tolist()
    [[-1.0, 1.0]]
    """
    scaling = kwargs.pop("rms_scaling", False)
    if kwargs:
        raise TypeError(
            f"`layer_normalization` got unknown arguments: {sorted(kwargs)}"
        )
    return _layer_norm(x, gamma, beta, axis, epsilon, scaling)


@_op(config=("axis", "epsilon", "rms_scaling"), name="LayerNorm", masks=True)
def _layer_norm(x, gamma=None, beta=None, axis=-1, epsilon=None, rms_scaling=False):
    x = _inexact(x)
    epsilon = _settings.epsilon() if epsilon is None else epsilon
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if not rms_scaling:
        return _kernels.layer_norm(x, gamma, beta, axes=axes, epsilon=epsilon)
    wide = x.astype(_jnp.promote_types(x.dtype, _jnp.float32))
    y = wide * _lax.rsqrt(_jnp.var(wide, axes, keepdims=True) + epsilon)
    shape = [n if i in {a % x.ndim for a in axes} else 1 for i, n in enumerate(x.shape)]
    return (y if gamma is None else y * _tensor(gamma).reshape(shape)).astype(x.dtype)


@_op(config=("axis", "epsilon"), name="RMSNorm", masks=True)
def rms_normalization(x, scale=None, axis=-1, epsilon=None):
    """Return scale · x / √(mean(x²) + epsilon) over `axis`.

    Args:
        x: any array.
        scale: factors in the shape of the axes; 1 when None.
        axis: an axis or several; all when None.
        epsilon: added to the mean; `lamina.config.epsilon()` when None.

    Source: Zhang and Sennrich, 2019, "Root mean square layer normalization".

    >>> from lamina import ops
    >>> ops.rms_normalization([[2.0, -2.0]], epsilon=0.0).tolist()
    [[1.0, -1.0]]
    """
    epsilon = _settings.epsilon() if epsilon is None else epsilon
    x = _inexact(x)
    axes = range(x.ndim) if axis is None else axis
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    return _kernels.rms_norm(x, scale, axes=axes, epsilon=epsilon)


@_op(config=("axis", "order", "epsilon"), masks=True)
def normalize(x, axis=-1, order=2, epsilon=None):
    """Return x divided by its norm along `axis`, at least `epsilon`.

    Args:
        x: any array.
        axis: an axis or several.
        order: which norm: a positive integer, Σ abs(x)^order to the 1 / order.
        epsilon: the least norm; `lamina.config.epsilon()` when None.

    Raises:
        ValueError: `order` is not a positive integer.

    >>> from lamina import ops
    >>> ops.normalize([3.0, 4.0]).tolist()
    [0.6, 0.8]
    """
    if not isinstance(order, int) or order < 1:
        raise ValueError(
            "Argument `order` must be an int >= 1 in `normalize`. Received: "
            f"order={order}"
        )
    x = _inexact(x)
    epsilon = _settings.epsilon() if epsilon is None else epsilon
    # The powers of half floats overflow, and `epsilon**2` is 0 there.
    wide = x.astype(_jnp.promote_types(x.dtype, _jnp.float32))
    if order == 2:
        square = _jnp.sum(_jnp.square(wide), _axes(axis), keepdims=True)
        return (wide * _lax.rsqrt(_jnp.maximum(square, epsilon**2))).astype(x.dtype)
    powers = _jnp.sum(_jnp.abs(wide) ** order, _axes(axis), keepdims=True)
    return (wide / _jnp.maximum(powers ** (1 / order), epsilon)).astype(x.dtype)


@_op(config=("max_val",), name="PSNR")
def psnr(x1, x2, max_val):
    """Return the peak signal-to-noise ratio 10 · log10(max_val² / mean((x1 - x2)²)).

    Args:
        x1: any array.
        x2: another of the same shape.
        max_val: the largest value that there can be.

    Returns:
        A scalar, in decibels.

    Raises:
        ValueError: the shapes differ.

    >>> from lamina import ops
    >>> float(ops.psnr([0.0, 10.0], [1.0, 9.0], max_val=10))
    20.0
    """
    x1, x2 = _promoted(x1, x2, also=(float,))
    if x1.shape != x2.shape:
        raise ValueError(
            f"`psnr` expected images of one shape. Received: {x1.shape} and {x2.shape}"
        )
    error = _jnp.mean(_jnp.square(x1 - x2))
    return 20 * _jnp.log10(_tensor(max_val, x1.dtype)) - 10 * _jnp.log10(error)


@_op(config=("is_causal", "flash_attention", "attn_logits_soft_cap"))
def dot_product_attention(
    query,
    key,
    value,
    bias=None,
    mask=None,
    scale=None,
    is_causal=False,
    flash_attention=None,
    attn_logits_soft_cap=None,
):
    """Return softmax(query · keyᵀ · scale + bias) · value, for each head.

    Args:
        query: (batch, targets, heads, size).
        key: (batch, sources, key heads, size); heads is a multiple of key heads.
        value: of the shape of `key`.
        bias: added to the products; broadcasts to (batch, heads, targets, sources).
        mask: booleans of the same shape; False forbids.
        scale: 1 / √size when None.
        is_causal: forbid sources that come after the target.
        flash_attention: accepted; XLA chooses.
        attn_logits_soft_cap: limit products softly: cap · tanh(products / cap).

    Raises:
        ValueError: an argument has not four axes.

    >>> from lamina import ops
    >>> query, key = ops.zeros((1, 1, 1, 2)), ops.ones((1, 2, 1, 2))
    >>> value = ops.reshape([1.0, 2.0, 3.0, 6.0], (1, 2, 1, 2))
    >>> ops.dot_product_attention(query, key, value).tolist()
    [[[[2.0, 4.0]]]]
    """
    query, key, value = _promoted(query, key, value, also=(float,))
    if not query.ndim == key.ndim == value.ndim == 4:
        raise ValueError(
            "`dot_product_attention` only supports 4D inputs. Received: "
            f"query.shape={query.shape}, key.shape={key.shape}, "
            f"value.shape={value.shape}."
        )
    heads, groups = query.shape[2], key.shape[2]
    if heads != groups:
        key, value = (_jnp.repeat(v, heads // groups, 2) for v in (key, value))
    wide = _jnp.promote_types(query.dtype, _jnp.float32)
    scale = 1 / _math.sqrt(query.shape[-1]) if scale is None else scale
    scores = _jnp.einsum("btnh,bsnh->bnts", query, key, preferred_element_type=wide)
    scores = scores * _jnp.asarray(scale, wide)
    if attn_logits_soft_cap is not None:
        scores = attn_logits_soft_cap * _jnp.tanh(scores / attn_logits_soft_cap)
    if bias is not None:
        scores = scores + _tensor(bias).astype(wide)
    allowed = None if mask is None else _tensor(mask, "bool")
    if is_causal:
        past = _jnp.tril(_jnp.ones(scores.shape[-2:], bool))
        allowed = past if allowed is None else allowed & past
    if allowed is not None:
        scores = _jnp.where(allowed, scores, 0.7 * _jnp.finfo(wide).min)
    weights = _kernels.softmax(scores).astype(query.dtype)
    return _jnp.einsum("bnts,bsnh->btnh", weights, value)


@_op(elementwise=True)
def polar(abs_, angle):
    """Return the complex number abs_ · (cos angle + i · sin angle).

    >>> from lamina import ops
    >>> ops.polar([1.0, 2.0], [0.0, 0.5]).tolist()
    [(1+0j), (1.7552+0.9589j)]
    """
    abs_, angle = _promoted(abs_, angle, also=(float,))
    return _lax.complex(abs_ * _jnp.cos(angle), abs_ * _jnp.sin(angle))


# Blocks of images.


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _blocks(height, width, kernel_size, dilation, padding, stride):
    """Return the slices of each cell of the window, counts of windows and pads."""
    (kh, kw), (dh, dw) = _pair(kernel_size), _pair(dilation)
    (ph, pw), (sh, sw) = _pair(padding), _pair(stride)
    rows = (height + 2 * ph - dh * (kh - 1) - 1) // sh + 1
    columns = (width + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    _rounds(kh * kw)
    cells = [
        (
            slice(i * dh, i * dh + sh * (rows - 1) + 1, sh),
            slice(j * dw, j * dw + sw * (columns - 1) + 1, sw),
        )
        for i, j in _itertools.product(range(kh), range(kw))
    ]
    return cells, rows, columns, (ph, pw)


@_op(config=("kernel_size", "dilation", "padding", "stride"))
def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    """Return the windows of images as columns.

    Args:
        x: (batch, channels, height, width).
        kernel_size: the size of windows, as the following an integer or a pair.
        dilation: the distance of cells in a window.
        padding: zeros on each side.
        stride: the distance of windows.

    Returns:
        (batch, channels · cells, windows).

    >>> from lamina import ops
    >>> x = ops.reshape(ops.arange(6), (1, 1, 2, 3))
    >>> ops.unfold(x, kernel_size=2).tolist()
    [[[0, 1], [1, 2], [3, 4], [4, 5]]]
    """
    x = _tensor(x)
    batch, channels, height, width = x.shape
    cells, rows, columns, (ph, pw) = _blocks(
        height, width, kernel_size, dilation, padding, stride
    )
    x = _jnp.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    taken = _jnp.stack([x[:, :, a, b] for a, b in cells], 2)
    return taken.reshape(batch, channels * len(cells), rows * columns)


@_op(config=("output_size", "kernel_size", "dilation", "padding", "stride"))
def fold(x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Put the columns of `unfold` back as windows of images; overlaps add up.

    Args:
        x: (batch, channels · cells, windows).
        output_size: height and width of the images.
        kernel_size: the size of windows, as the following an integer or a pair.
        dilation: the distance of cells in a window.
        padding: cells cut off on each side.
        stride: the distance of windows.

    Returns:
        (batch, channels, height, width).

    >>> from lamina import ops
    >>> x = ops.unfold(ops.ones((1, 1, 2, 3)), kernel_size=2)
    >>> ops.fold(x, (2, 3), kernel_size=2).tolist()
    [[[[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]]]
    """
    x = _tensor(x)
    height, width = _pair(output_size)
    cells, rows, columns, (ph, pw) = _blocks(
        height, width, kernel_size, dilation, padding, stride
    )
    batch, stacked, _ = x.shape
    x = x.reshape(batch, stacked // len(cells), len(cells), rows, columns)
    y = _jnp.zeros((*x.shape[:2], height + 2 * ph, width + 2 * pw), x.dtype)
    for i, (a, b) in enumerate(cells):
        y = y.at[:, :, a, b].add(x[:, :, i])
    return y[:, :, ph : ph + height, pw : pw + width]


def _side(block_size):
    if block_size < 2:
        raise ValueError(f"`block_size` must be at least 2. Received: {block_size}")
    return block_size


@_op(config=("block_size", "data_format"))
def depth_to_space(x, block_size, data_format="channels_last"):
    """Spread groups of block_size² channels over blocks of pixels.

    Args:
        x: (batch, height, width, channels), or channels first.
        block_size: the side of a block, at least 2.
        data_format: `"channels_last"` or `"channels_first"`.

    >>> from lamina import ops
    >>> ops.depth_to_space([[[[1, 2, 3, 4]]]], 2).tolist()
    [[[[1], [2]], [[3], [4]]]]
    """
    x, n, last = _tensor(x), _side(block_size), _last(data_format)
    x = x if last else _jnp.moveaxis(x, 1, -1)
    batch, height, width, channels = x.shape
    if isinstance(channels, int) and channels % n**2:
        raise ValueError(
            "`depth_to_space` expected the channels to be a multiple of block_size². "
            f"Received: {channels} channels, block_size={n}"
        )
    if last:
        x = x.reshape(batch, height, width, n, n, channels // n**2)
        x = x.transpose(0, 1, 3, 2, 4, 5)
    else:
        x = x.reshape(batch, height, width, channels // n**2, n, n)
        x = x.transpose(0, 1, 4, 2, 5, 3)
    y = x.reshape(batch, height * n, width * n, channels // n**2)
    return y if last else _jnp.moveaxis(y, -1, 1)


@_op(config=("block_size", "data_format"))
def space_to_depth(x, block_size, data_format="channels_last"):
    """Gather blocks of pixels into channels: the inverse of `depth_to_space`.

    Args:
        x: (batch, height, width, channels), or channels first.
        block_size: the side of a block, at least 2, which divides height and width.
        data_format: `"channels_last"` or `"channels_first"`.

    >>> from lamina import ops
    >>> ops.space_to_depth([[[[1], [2]], [[3], [4]]]], 2).tolist()
    [[[[1, 2, 3, 4]]]]
    """
    x, n, last = _tensor(x), _side(block_size), _last(data_format)
    x = x if last else _jnp.moveaxis(x, 1, -1)
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // n, n, width // n, n, channels)
    # The cells of a block come before the channels, or after them if these lead.
    x = x.transpose(0, 1, 3, 2, 4, 5) if last else x.transpose(0, 1, 3, 5, 2, 4)
    y = x.reshape(batch, height // n, width // n, n * n * channels)
    return y if last else _jnp.moveaxis(y, -1, 1)


# Connectionist temporal classification.


@_op(config=("mask_index",), name="CTCLoss")
def ctc_loss(target, output, target_length, output_length, mask_index=0):
    """Return -ln P(target | output), summed over all alignments.

    An alignment repeats labels and puts blanks between them; equal neighbours need
    a blank.

    Args:
        target: labels, (batch, most labels).
        output: logits, (batch, steps, classes).
        target_length: how many labels count, (batch,).
        output_length: how many steps count, (batch,).
        mask_index: the class that means blank.

    Source: Graves et al., 2006, "Connectionist temporal classification".

    >>> from lamina import ops
    >>> output = ops.zeros((1, 1, 3))
    >>> ops.ctc_loss([[1]], output, [1], [1]).tolist()
    [1.0986]
    """
    target = _tensor(target).astype("int32")
    output = _inexact(output)
    if target.ndim != 2:
        raise ValueError(
            "Targets `target` are expected to be a tensor of shape `(batch_size, "
            f"max_length)`. Received: target.shape={target.shape}"
        )
    if output.ndim != 3:
        raise ValueError(
            "Logits `output` are expected to be a tensor of shape `(batch_size, "
            f"max_length, num_classes)`. Received: output.shape={output.shape}"
        )
    log_p = _jax.nn.log_softmax(output)
    labels, steps = _tensor(target_length), _tensor(output_length)
    loss = _jax.vmap(_ctc.alignments, (0, 0, 0, 0, None))
    return loss(target, log_p, labels, steps, mask_index)


@_op(
    config=("strategy", "beam_width", "top_paths", "merge_repeated", "mask_index"),
    name="CTCDecode",
)
def ctc_decode(
    inputs,
    sequence_lengths,
    strategy: _Any = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
):
    """Return likely label sequences for logits of `ctc_loss`.

    Args:
        inputs: logits, (batch, steps, classes).
        sequence_lengths: how many steps count, (batch,).
        strategy: `"greedy"`: the best class of each step; `"beam_search"`.
        beam_width: how many sequences the search keeps.
        top_paths: how many it returns.
        merge_repeated: with `"greedy"`, count repeated labels once.
        mask_index: the class that means blank.

    Returns:
        Labels, (paths, batch, steps), -1 after the end; and scores: for
        `"greedy"` (batch, 1), the negative sum of the best logits; for
        `"beam_search"` (batch, paths), log probabilities.

    Raises:
        ValueError: another strategy.

    >>> from lamina import ops
    >>> logits = [[[0.0, 5.0], [0.0, 5.0], [5.0, 0.0]]]
    >>> labels, scores = ops.ctc_decode(logits, [3], mask_index=0)
    >>> labels.tolist()
    [[[1, -1, -1]]]
    """
    x = _promoted(inputs, also=("float32",))[0]
    lengths = _tensor(sequence_lengths).astype("int32")
    if strategy == "greedy":
        return _ctc.greedy(x, lengths, merge_repeated, mask_index)
    if strategy == "beam_search":

        def one(logits, steps):
            return _ctc.beam(logits, steps, beam_width, top_paths, mask_index)

        paths, scores = _jax.vmap(one)(x, lengths)
        return _jnp.swapaxes(paths, 0, 1), scores
    raise ValueError(
        f"Invalid strategy {strategy}. Supported values are 'greedy' and 'beam_search'."
    )


_offer(globals())
