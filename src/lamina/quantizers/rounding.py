"""Arrays as small integers or float8 numbers with a scale, and back."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.dtypes import standardize_dtype
from lamina.core.op import op
from lamina.core.tracebacks import boundary


@boundary
def abs_max_quantize(
    inputs,
    axis,
    value_range=(-127, 127),
    dtype="int8",
    epsilon=None,
    to_numpy=False,
):
    r"""Turn an array into small integers, scaled by the largest magnitude.

    $q = \mathrm{round}(s x)$ with $s = b / (\max |x| + \epsilon)$, where b is the
    upper end of the range. `q / s` is about `x` again.

    Args:
        inputs: the array.
        axis: the axes that share one scale.
        value_range: the least and the largest integer.
        dtype: the dtype of the integers.
        epsilon: keeps the scale finite; `lamina.config.epsilon()` when None.
        to_numpy: whether to compute with NumPy, outside of the device's memory.

    Returns:
        The integers, and the scale in the dtype of the input with 1 for `axis`.

    >>> import lamina, numpy as np
    >>> x = np.array([[3.0, -1.0, 2.0]], "float32")
    >>> q, scale = lamina.quantizers.abs_max_quantize(x, axis=-1)
    >>> q.tolist(), float(scale[0, 0]).__round__(2)
    ([[127, -42, 85]], 42.33)
    """
    epsilon = settings.epsilon() if epsilon is None else epsilon
    array = np if to_numpy else jnp
    x = array.asarray(inputs)
    axis = tuple(axis) if isinstance(axis, list) else axis
    low, high = value_range
    scale = high / (array.max(array.abs(x), axis=axis, keepdims=True) + epsilon)
    kept = scale.astype(x.dtype)
    # NumPy's scale of bfloat16 numbers has more digits than is kept of it.
    q = array.clip(array.round(x * (scale if to_numpy else kept)), low, high)
    return jnp.asarray(q.astype(dtype)), jnp.asarray(kept)


@boundary
def abs_max_quantize_grouped_with_zero_point(
    inputs,
    block_size,
    value_range=(-8, 7),
    dtype="int8",
    epsilon=None,
    to_numpy=False,
):
    r"""Turn a matrix into integers, with a scale and a zero point for each group.

    `block_size` rows of a column share a scale $s = (\max x - \min x + \epsilon) /
    (b - a)$ and a zero point $z = \mathrm{round}(-\min x / s) + a$, for integers from
    a to b. `(q - z) * s` is about `x` again.

    Args:
        inputs: the matrix, `(rows, columns)`.
        block_size: the number of rows that share a scale.
        value_range: the least and the largest integer.
        dtype: the dtype of the integers.
        epsilon: keeps the scale above zero; `lamina.config.epsilon()` when None.
        to_numpy: whether to compute with NumPy, outside of the device's memory. Then
            the last group is filled up with zeros, which count.

    Returns:
        The integers; the scale and the zero point `(ceil(rows / block_size), columns)`.

    >>> import lamina, numpy as np
    >>> x = np.array([[0.0], [1.5], [3.0], [30.0]], "float32")
    >>> rounded = lamina.quantizers.abs_max_quantize_grouped_with_zero_point
    >>> q, scale, zero = rounded(x, block_size=2)
    >>> q[:, 0].tolist(), scale[:, 0].tolist(), zero[:, 0].tolist()
    ([-8, 7, -6, 7], [0.1, 1.8], [-8, -8])
    """
    epsilon = settings.epsilon() if epsilon is None else epsilon
    low, high = value_range
    array = np if to_numpy else jnp
    x = array.asarray(inputs)
    rows, columns = x.shape
    padded = array.pad(x, ((0, -rows % block_size), (0, 0)))
    grouped = padded.reshape(-1, block_size, columns)
    if to_numpy:
        least = grouped.min(axis=1)
        scale = (grouped.max(axis=1) - least + epsilon) / (high - low)
        zero = np.clip(np.round(-least / scale) + low, low, high).astype("int8")
    else:
        bits = (high - low + 1).bit_length() - 1
        found = scale_and_zero(
            x.T, bits, group_size=block_size, epsilon=epsilon, signed=True
        )
        scale, zero = (a.T for a in found)
    q = array.round(grouped / scale[:, None]) + zero[:, None]
    q = array.clip(q, low, high).reshape(-1, columns)[:rows]
    results = q.astype(dtype), scale.astype(x.dtype), zero
    return tuple(jnp.asarray(a) for a in results)


def scale_and_zero(
    x, bits, symmetric=False, per_channel=True, group_size=-1, epsilon=0.0, signed=False
):
    """Return the scale and the zero point of each row of a matrix, or of its groups.

    Args:
        x: the matrix, `(rows, columns)`.
        bits: the number of bits of the integers.
        symmetric: whether the range is symmetric about zero.
        per_channel: whether each row has its own scale.
        group_size: how many columns of a row share a scale; -1 for all.
        epsilon: added to the range of the values.
        signed: whether the integers begin below zero.

    Returns:
        The scale, and the zero point as int8 or uint8, both `(rows, groups)`.
    """
    rows, columns = x.shape
    groups = -(-columns // group_size) if per_channel and group_size > 0 else 1
    if groups > 1:
        x = jnp.pad(x, ((0, 0), (0, -columns % group_size)))
    x = x.reshape(rows if per_channel else 1, groups, -1)
    least, most = x.min(axis=2), x.max(axis=2)
    if symmetric:
        bound = jnp.maximum(jnp.abs(least), most)
        least, most = jnp.where(least < 0, -bound, least), bound
    constant = least == most
    least, most = (
        jnp.where(constant, least - 1, least),
        jnp.where(constant, most + 1, most),
    )
    levels = 2**bits - 1
    spread = most - least
    scale = (spread + epsilon if epsilon else spread) / levels
    scale = jnp.where(scale <= 0, 1e-8, scale)
    lowest = -(2 ** (bits - 1)) if signed else 0
    if symmetric:
        zero = jnp.full_like(scale, (levels + 1) / 2 + lowest)
    else:
        zero = jnp.round(-least / scale) + lowest
    if signed:
        zero = jnp.clip(zero, lowest, lowest + levels)
    zero = zero.astype("int8" if signed else "uint8")
    return tuple(jnp.broadcast_to(a, (rows, groups)) for a in (scale, zero))


@boundary
def pack_int4(arr, axis=0, dtype="int8"):
    """Put each two neighbouring integers of 4 bits into one of 8 bits.

    The first of two is in the lower half; an odd length is filled up with a zero.

    Args:
        arr: integers from -8 to 7 as int8, or from 0 to 15 as uint8.
        axis: the axis that gets shorter.
        dtype: the dtype of both arrays, `"int8"` or `"uint8"`.

    Returns:
        The packed array, its shape, and the length that the axis had.

    Raises:
        ValueError: `dtype` is neither of the two.
        TypeError: the array has another dtype.

    >>> import lamina, numpy as np
    >>> x = np.array([-3, 7, 2], "int8")
    >>> packed, shape, length = lamina.quantizers.pack_int4(x)
    >>> packed.tolist(), shape, length
    ([125, 2], (2,), 3)
    >>> lamina.quantizers.unpack_int4(packed, length).tolist()
    [-3, 7, 2]
    """
    _check_bytes("pack_int4", dtype, arr.dtype, (dtype,))
    # NumPy: shifting an int8 beyond its range is not defined on every device.
    x = np.moveaxis(np.asarray(arr), axis, 0).view("uint8")
    length = len(x)
    if length % 2:
        x = np.concatenate([x, np.zeros_like(x[:1])])
    packed = (x[::2] & 15) | (x[1::2] << 4)
    packed = jnp.asarray(np.moveaxis(packed.view(dtype), 0, axis))
    return packed, packed.shape, length


@boundary
def unpack_int4(packed, orig_len, axis=0, dtype="int8"):
    """Return the integers of 4 bits that `pack_int4` put together.

    Args:
        packed: the packed array, int8 or uint8.
        orig_len: the length that the axis had.
        axis: the axis that was packed.
        dtype: `"int8"` for integers from -8 to 7, `"uint8"` for 0 to 15.

    Raises:
        ValueError: `dtype` is neither of the two.
        TypeError: the array has another dtype.

    >>> import lamina, numpy as np
    >>> lamina.quantizers.unpack_int4(np.array([125, 2], "int8"), 3).tolist()
    [-3, 7, 2]
    """
    _check_bytes("unpack_int4", dtype, packed.dtype, ("int8", "uint8"))
    x = jnp.moveaxis(jnp.asarray(packed), axis, 0)
    halves = jnp.stack([x & 15, (x >> 4) & 15], axis=1)
    if dtype == "int8":
        halves = (halves ^ 8).astype("int8") - 8
    x = halves.reshape(2 * len(x), *x.shape[1:])[:orig_len].astype(dtype)
    return jnp.moveaxis(x, 0, axis)


def _check_bytes(function, dtype, found, allowed):
    if dtype not in ("int8", "uint8"):
        raise ValueError(
            f"`{function}` expected dtype to be 'int8' or 'uint8'. "
            f"Received: dtype={dtype!r}"
        )
    if standardize_dtype(found) not in allowed:
        raise TypeError(
            f"`{function}` expected {' or '.join(allowed)} tensor. "
            f"Received: an array of dtype {standardize_dtype(found)}"
        )


@op(
    config=("num_bits", "narrow_range", "axis"),
    module="keras.src.quantizers.quantizers",
)
def fake_quant_with_min_max_vars(
    inputs, min_vals, max_vals, num_bits=8, narrow_range=False, axis=None
):
    """Clip an array and round it to as many values as integers of few bits have.

    The range is moved so that zero is one of the values. Gradients pass to `inputs`
    inside of the range, and to the end of the range that an entry was clipped to.

    Args:
        inputs: the array.
        min_vals: the lower end of the range, one number or one for each channel.
        max_vals: the upper end.
        num_bits: the number of bits.
        narrow_range: whether the lowest integer is left out.
        axis: the axis of the channels; None for one range.

    >>> import lamina, numpy as np
    >>> x = np.array([-2.0, 0.3, 0.9], "float32")
    >>> y = lamina.quantizers.fake_quant_with_min_max_vars(x, -1.0, 2.0, num_bits=2)
    >>> y.tolist()
    [-1.0, 0.0, 1.0]
    """
    x = jnp.asarray(inputs)
    ends = [jnp.asarray(v) for v in (min_vals, max_vals)]
    wide = jnp.result_type(ends[0].dtype, "float32")
    if axis is not None:
        shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
        ends = [v.reshape(shape) for v in ends]
    low, high = (jnp.broadcast_to(v.astype(wide), x.shape) for v in ends)
    most, least = 2 ** int(num_bits) - 1, int(narrow_range)
    return _fake_quantized(least, most, x.astype(wide), low, high).astype(x.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _fake_quantized(least, most, x, low, high):
    low, high, scale, inverse = _nudged(least, most, low, high)
    zero = jnp.floor(-low * inverse + 0.5)
    steps = (jnp.clip(x, low, high) - low) * inverse
    return jnp.floor(steps - zero + 0.5) * scale


@_fake_quantized.defjvp
def _fake_quantized_jvp(least, most, values, tangents):
    x, low, high = values
    nudged_low, nudged_high, *_ = _nudged(least, most, low, high)
    dx, dlow, dhigh = tangents
    change = jnp.where((x >= nudged_low) & (x <= nudged_high), dx, 0)
    change += jnp.where(x <= nudged_low, dlow, 0) + jnp.where(
        x >= nudged_high, dhigh, 0
    )
    return _fake_quantized(least, most, *values), change


def _nudged(least, most, low, high):
    """Return a range with zero among its values, their distance and its inverse."""
    scale = (high - low) / (most - least)
    zero = jnp.round(jnp.clip(least - low / scale, least, most))
    inverse = (most - least) / (high - low)
    return (least - zero) * scale, (most - zero) * scale, scale, inverse


@boundary
def compute_float8_scale(amax, scale, dtype_max, margin=0):
    """Return the scale with which values up to `amax` fill the range of a dtype.

    As in NVIDIA's Transformer Engine; this scale is what values are divided by.

    Args:
        amax: the largest magnitude that was seen.
        scale: the scale of before, kept where `amax` is 0 or not finite.
        dtype_max: the largest number of the dtype.
        margin: the exponent of two by which the range is left unfilled.

    >>> import lamina
    >>> float(lamina.quantizers.compute_float8_scale(896.0, 1.0, dtype_max=448.0))
    2.0
    """
    amax, inverse = jnp.asarray(amax), 1 / jnp.asarray(scale)
    found = (dtype_max / amax) / 2**margin
    return 1 / jnp.where((amax > 0) & jnp.isfinite(amax), found, inverse)


@boundary
def compute_float8_amax_history(x, amax_history):
    """Return the largest magnitudes of the last steps, with that of `x` first.

    Args:
        x: the array of this step.
        amax_history: the largest magnitudes of the steps before; the oldest goes.

    >>> import lamina, numpy as np
    >>> history = np.array([3.0, 2.0, 1.0], "float32")
    >>> step = lamina.quantizers.compute_float8_amax_history
    >>> step(np.array([-5.0]), history).tolist()
    [5.0, 1.0, 3.0]
    """
    history = jnp.asarray(amax_history)
    newest = jnp.max(jnp.abs(jnp.asarray(x))).astype(history.dtype)
    return jnp.roll(history, -1).at[0].set(newest)


@boundary
def quantize_and_dequantize(inputs, scale, quantized_dtype, compute_dtype):
    """Round an array to what a float8 dtype can hold at a scale.

    Args:
        inputs: the array.
        scale: what the values are divided by before they are rounded.
        quantized_dtype: such as `"float8_e4m3fn"`.
        compute_dtype: the dtype of the result.

    >>> import lamina, numpy as np
    >>> x = np.array([0.3, 500.0], "float32")
    >>> rounded = lamina.quantizers.quantize_and_dequantize
    >>> rounded(x, 1.0, "float8_e4m3fn", "float32").tolist()
    [0.3125, 448.0]
    """
    bound = jnp.asarray(float(jnp.finfo(quantized_dtype).max), compute_dtype)
    scale = jnp.asarray(scale).astype(compute_dtype)
    x = jnp.clip(jnp.asarray(inputs) / scale, -bound, bound)
    return x.astype(quantized_dtype).astype(compute_dtype) * scale
