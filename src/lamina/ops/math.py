"""Segments, the largest entries, distances and Fourier transforms.

Complex signals are pairs (real part, imaginary part), as in Keras.
"""

import jax as _jax
import jax.numpy as _jnp
from jax import lax as _lax

from lamina.core.context import context as _context
from lamina.core.op import op as _op
from lamina.core.symbolic import unknown_size as _unknown_size
from lamina.kernels.padding import padded as _padded
from lamina.ops.arrays import inexact as _inexact
from lamina.ops.arrays import promoted as _promoted
from lamina.ops.arrays import tensor as _tensor
from lamina.ops.elementwise import computed_by as _computed_by
from lamina.ops.elementwise import reduction as _reduction
from lamina.ops.elementwise import unary as _unary


def _segments(reduce):
    def compute(data, segment_ids, num_segments=None, sorted=False):
        data, ids = _tensor(data), _tensor(segment_ids).astype("int32")
        if ids.ndim != 1:
            raise ValueError(
                f"`{reduce.__name__}` expected `segment_ids` to have one axis. "
                f"Received: shape {ids.shape}"
            )
        if data.shape[0] != ids.shape[0]:
            raise ValueError(
                "Argument `segment_ids` and `data` should have same leading dimension. "
                f"Received: {ids.shape} and {data.shape}"
            )
        if num_segments is None and _context.runs("symbolic"):
            return _jnp.zeros((_unknown_size(), *data.shape[1:]), data.dtype)
        return reduce(data, ids, num_segments, indices_are_sorted=bool(sorted))

    def give(drawn):
        summary, _, example = (drawn.__doc__ or "").partition("\n\n")
        drawn.__doc__ = f"{summary}\n\n{_SEGMENTS}\n{example}"
        return _computed_by(compute, config=("num_segments", "sorted"))(drawn)

    return give


_SEGMENTS = """\
    Args:
        data: rows along the first axis.
        segment_ids: a number for each row.
        num_segments: how many results; the largest number + 1 when None, which is
            not known inside `jax.jit`.
        sorted: promise that the numbers never fall.
"""


@_segments(_jax.ops.segment_sum)
def segment_sum(data, segment_ids, num_segments=None, sorted=False):
    """Sum rows that have the same number.

    >>> from lamina import ops
    >>> ops.segment_sum([1, 2, 3], [0, 1, 0]).tolist()
    [4, 2]
    """


@_segments(_jax.ops.segment_max)
def segment_max(data, segment_ids, num_segments=None, sorted=False):
    """Take the largest of rows that have the same number.

    >>> from lamina import ops
    >>> ops.segment_max([1, 2, 3], [0, 1, 0]).tolist()
    [3, 2]
    """


@_segments(_jax.ops.segment_min)
def segment_min(data, segment_ids, num_segments=None, sorted=False):
    """Take the smallest of rows that have the same number.

    >>> from lamina import ops
    >>> ops.segment_min([1, 2, 3], [0, 1, 0]).tolist()
    [1, 2]
    """


@_segments(_jax.ops.segment_prod)
def segment_prod(data, segment_ids, num_segments=None, sorted=False):
    """Multiply rows that have the same number.

    >>> from lamina import ops
    >>> ops.segment_prod([1, 2, 3], [0, 1, 0]).tolist()
    [3, 2]
    """


@_op(config=("k", "sorted"))
def top_k(x, k, sorted=True):
    """Return the `k` largest entries along the last axis, and their positions.

    >>> from lamina import ops
    >>> values, positions = ops.top_k([3, 9, 5], 2)
    >>> values.tolist(), positions.tolist()
    ([9, 5], [1, 2])
    """
    return tuple(_lax.top_k(_tensor(x), k))


@_op(config=("k",))
def in_top_k(targets, predictions, k):
    """Tell which targets are among the `k` most likely classes; ties count as in.

    Args:
        targets: the numbers of classes, (batch,).
        predictions: a score for each class, (batch, classes).
        k: how many to look at.

    >>> from lamina import ops
    >>> ops.in_top_k([0, 2], [[0.1, 0.2, 0.7], [0.1, 0.2, 0.7]], k=2).tolist()
    [False, True]
    """
    targets, scores = _tensor(targets).astype("int32"), _tensor(predictions)
    own = _jnp.take_along_axis(scores, targets[:, None], -1, mode="fill")
    better = _jnp.sum(scores > own, -1)
    return (better < k) & _jnp.isfinite(own[:, 0]) & (targets >= 0)


@_reduction(_jax.nn.logsumexp, _inexact)
def logsumexp(x, axis=None, keepdims=False):
    """Return ln Σ eˣ over `axis`, without overflow.

    >>> from lamina import ops
    >>> float(ops.logsumexp([1000.0, 1000.0]))
    1000.6932
    """


@_op(name="CDist")
def cdist(x, y):
    """Return the Euclidean distances of the rows of `x` to those of `y`.

    Args:
        x: (..., n, size).
        y: (..., m, size).

    Returns:
        (..., n, m).

    >>> from lamina import ops
    >>> ops.cdist([[0.0, 0.0]], [[3.0, 4.0], [0.0, 2.0]]).tolist()
    [[5.0, 2.0]]
    """
    x, y = _promoted(x, y, also=(float,))
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1]:
        raise ValueError(
            "`cdist` expected matrices with rows of one size. Received: x.shape="
            f"{x.shape}, y.shape={y.shape}"
        )
    return _jnp.sqrt(_jnp.sum(_jnp.square(x[..., :, None, :] - y[..., None, :, :]), -1))


@_op(config=("sequence_length", "sequence_stride"), integers=True)
def extract_sequences(x, sequence_length, sequence_stride):
    """Cut the last axis into windows of `sequence_length`, `sequence_stride` apart.

    >>> from lamina import ops
    >>> ops.extract_sequences([1, 2, 3, 4], 2, 1).tolist()
    [[1, 2], [2, 3], [3, 4]]
    """
    return _frames(_tensor(x), sequence_length, sequence_stride)


def _positive(name, value):
    if not isinstance(value, int) or value <= 0:
        raise ValueError(f"`{name}` must be a positive integer. Received: {value!r}")


def _frames(x, length, stride):
    _positive("sequence_stride", stride)
    count = (x.shape[-1] - length) // stride + 1
    starts = _jnp.arange(count) * stride
    return x[..., starts[:, None] + _jnp.arange(length)]


def _complex(x):
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(
            "Input `x` should be a tuple of two tensors - real and imaginary. "
            f"Received: x={x}"
        )
    real, imag = _promoted(*x)
    if real.shape != imag.shape:
        raise ValueError(
            "Both the real and imaginary parts should have the same shape. Received: "
            f"x[0].shape = {real.shape}, x[1].shape = {imag.shape}"
        )
    if not _jnp.issubdtype(real.dtype, _jnp.floating):
        raise ValueError(
            "At least one tensor in input `x` is not of type float. Received: "
            f"x[0].dtype={real.dtype}, x[1].dtype={imag.dtype}"
        )
    return _lax.complex(real, imag)


def _parts(x):
    return _jnp.real(x), _jnp.imag(x)


@_op(name="FFT")
def fft(x):
    """Return the discrete Fourier transform along the last axis.

    Args:
        x: a pair, real and imaginary part, of one shape.

    Returns:
        Such a pair.

    Raises:
        ValueError: `x` is not such a pair.

    >>> from lamina import ops
    >>> real, imag = ops.fft(([1.0, 2.0], [0.0, 0.0]))
    >>> real.tolist(), imag.tolist()
    ([3.0, -1.0], [0.0, 0.0])
    """
    return _parts(_jnp.fft.fft(_complex(x)))


@_op(name="FFT2")
def fft2(x):
    """Return the Fourier transform over the last two axes, of pairs as in `fft`.

    >>> from lamina import ops
    >>> real, imag = ops.fft2(([[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]))
    >>> real.tolist()
    [[10.0, -2.0], [-4.0, 0.0]]
    """
    return _parts(_jnp.fft.fft2(_complex(x)))


@_op(name="IFFT2")
def ifft2(x):
    """Return the inverse of `fft2`, of pairs as in `fft`.

    >>> from lamina import ops
    >>> zeros = [[0.0, 0.0], [0.0, 0.0]]
    >>> real, imag = ops.ifft2(([[10.0, -2.0], [-4.0, 0.0]], zeros))
    >>> real.tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    return _parts(_jnp.fft.ifft2(_complex(x)))


@_op(config=("fft_length",), name="RFFT")
def rfft(x, fft_length=None):
    """Return the non-negative frequencies of a real signal, as a pair.

    Args:
        x: real, transformed along the last axis.
        fft_length: cut or fill it up to this length first.

    >>> from lamina import ops
    >>> real, imag = ops.rfft([1.0, 0.0, -1.0, 0.0])
    >>> real.tolist()
    [0.0, 2.0, 0.0]
    """
    return _parts(_jnp.fft.rfft(_inexact(x), fft_length))


@_op(config=("fft_length",), name="IRFFT")
def irfft(x, fft_length=None):
    """Return the real signal whose `rfft` is `x`.

    Args:
        x: a pair of (..., frequencies).
        fft_length: the length of the signal; 2 · (frequencies - 1) when None.

    >>> from lamina import ops
    >>> ops.irfft(([0.0, 2.0, 0.0], [0.0, 0.0, 0.0])).tolist()
    [1.0, 0.0, -1.0, 0.0]
    """
    return _jnp.fft.irfft(_complex(x), fft_length)


def _window(window, sequence_length, fft_length, dtype):
    """Return the window in the middle of `fft_length` zeros."""
    if window is None:
        return _jnp.ones(fft_length, dtype)
    if isinstance(window, str):
        shapes = {"hann": _jnp.hanning, "hamming": _jnp.hamming}
        if window not in shapes:
            raise ValueError(
                "If a string is passed to `window`, it must be one of 'hann', "
                f"'hamming'. Received: window={window}"
            )
        window = shapes[window](sequence_length + 1)[:-1]
    window = _tensor(window, dtype)
    if window.shape != (sequence_length,):
        raise ValueError(
            "The shape of `window` must be equal to [sequence_length]. Received: "
            f"window shape={window.shape}"
        )
    before = (fft_length - sequence_length) // 2
    return _jnp.pad(window, (before, fft_length - sequence_length - before))


@_op(data=("x",), name="STFT")
def stft(x, sequence_length, sequence_stride, fft_length, window="hann", center=True):
    """Return the `rfft` of windows along the last axis: (..., windows, frequencies).

    Args:
        x: a real signal.
        sequence_length: the length of the window.
        sequence_stride: the distance of windows.
        fft_length: the length of the transform, at least `sequence_length`.
        window: `"hann"`, `"hamming"`, a vector, or None for ones.
        center: reflect half a window at both ends, so that window t is centred
            at t · sequence_stride.

    Raises:
        TypeError: `x` is not real.
        ValueError: `fft_length` is too short, or there is no such window.

    >>> from lamina import ops
    >>> real, imag = ops.stft(ops.ones(8), 4, sequence_stride=2, fft_length=4)
    >>> real.shape
    (5, 3)
    """
    x = _tensor(x)
    if not _jnp.issubdtype(x.dtype, _jnp.floating):
        raise TypeError(
            f"Invalid input type. Expected `float32` or `float64`. Received: {x.dtype}"
        )
    if fft_length < sequence_length:
        raise ValueError(
            "`fft_length` must equal or larger than `sequence_length`. Received: "
            f"sequence_length={sequence_length}, fft_length={fft_length}"
        )
    if center:
        side = fft_length // 2
        x = _padded(x, [(0, 0)] * (x.ndim - 1) + [(side, side)], "reflect")
    shape = _window(window, sequence_length, fft_length, x.dtype)
    return _parts(_jnp.fft.rfft(_frames(x, fft_length, sequence_stride) * shape))


@_op(data=("x",), name="ISTFT")
def istft(
    x,
    sequence_length,
    sequence_stride,
    fft_length,
    length=None,
    window="hann",
    center=True,
):
    """Return the signal whose `stft` is nearest to `x`.

    y = Σ window · irfft(x) / Σ window², both sums over the windows at a place.

    Args:
        x: a pair of (..., windows, frequencies).
        sequence_length: as for `stft`, like the next two.
        sequence_stride: as told.
        fft_length: as told.
        length: the length of the result; what the windows cover when None.
        window: as for `stft`.
        center: as for `stft`.

    >>> from lamina import ops
    >>> x = ops.cast(ops.arange(8), "float32")
    >>> ops.istft(ops.stft(x, 4, 2, 4), 4, 2, 4).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    """
    _positive("sequence_stride", sequence_stride)
    frames = _jnp.fft.irfft(_complex(x), fft_length)
    shape = _window(window, sequence_length, fft_length, frames.dtype)
    y = _overlap(frames * shape, sequence_stride)
    weight = _overlap(_jnp.broadcast_to(shape**2, frames.shape[-2:]), sequence_stride)
    y = y / _jnp.where(weight > 1e-10, weight, 1)
    if window is None:
        y = y * (fft_length / sequence_stride)
    start = fft_length // 2 if center else 0
    stop = y.shape[-1] - start if length is None else start + length
    return y[..., start:stop]


def _overlap(frames, stride):
    count, length = frames.shape[-2:]
    places = _jnp.arange(count)[:, None] * stride + _jnp.arange(length)
    total = _jnp.zeros(
        (*frames.shape[:-2], (count - 1) * stride + length), frames.dtype
    )
    return total.at[..., places].add(frames)


@_unary(_lax.rsqrt, _inexact)
def rsqrt(x):
    """Return 1 / √x.

    >>> from lamina import ops
    >>> ops.rsqrt([4.0, 16.0]).tolist()
    [0.5, 0.25]
    """


@_unary(_lax.erf, _inexact)
def erf(x):
    """Return 2 / √π · ∫ e^(-t²) dt from 0 to x.

    >>> from lamina import ops
    >>> ops.erf([0.0, 1.0]).tolist()
    [0.0, 0.8427]
    """


@_unary(_lax.erfc, _inexact)
def erfc(x):
    """Return 1 - erf(x), exact for large x.

    >>> from lamina import ops
    >>> ops.erfc([0.0, 1.0]).tolist()
    [1.0, 0.1573]
    """


@_unary(_lax.erf_inv, _inexact)
def erfinv(x):
    """Return the inverse of `erf`, for x in [-1, 1].

    >>> from lamina import ops
    >>> ops.erfinv([0.0, 0.5]).tolist()
    [0.0, 0.4769]
    """


@_op
def logdet(x):
    """Return ln of the determinants of positive definite matrices.

    >>> from lamina import ops
    >>> float(ops.logdet([[2.0, 0.0], [0.0, 3.0]]))
    1.7918
    """
    return _jnp.linalg.slogdet(_inexact(x))[1]


@_op
def view_as_complex(x):
    """Read pairs along the last axis as complex numbers.

    >>> from lamina import ops
    >>> ops.view_as_complex([[1.0, 2.0], [3.0, -4.0]]).tolist()
    [(1+2j), (3-4j)]
    """
    x = _tensor(x)
    if x.ndim < 1 or x.shape[-1] != 2:
        raise ValueError(
            "Last dimension of input must be size 2 in `view_as_complex`. Received: "
            f"shape {x.shape}"
        )
    return _lax.complex(x[..., 0], x[..., 1])


@_op
def view_as_real(x):
    """Return real and imaginary part side by side along a new last axis.

    >>> from lamina import ops
    >>> ops.view_as_real([1 + 2j, 3 - 4j]).tolist()
    [[1.0, 2.0], [3.0, -4.0]]
    """
    return _jnp.stack(_parts(_tensor(x)), -1)
