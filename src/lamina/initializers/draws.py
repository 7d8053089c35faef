"""Initializers that draw random numbers.

The numbers are those of Keras on JAX for the same seed: the key is `[seed, 0]`,
and a call with an integer seed always gives the same numbers.
"""

import functools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lamina.core.arguments import family
from lamina.core.config import deserialize_keras_object
from lamina.core.dtypes import standardize_dtype
from lamina.core.placement import from_parts
from lamina.core.random import SeedGenerator, draw_seed, make_default_seed
from lamina.core.types import Axes, Seed
from lamina.initializers import threefry
from lamina.initializers.initializer import Initializer

# The standard deviation of a unit normal cut off at two of its deviations.
_CUT_DEVIATION = 0.87962566103423978


def _uniform(key, low, high, shape, dtype):
    if _on_host(key, dtype):
        return from_parts(shape, partial(threefry.uniform, key, low, high, shape))
    return _uniform_by_jax(key, low, high, shape, dtype)


def _normal(key, mean, stddev, shape, dtype):
    if _on_host(key, dtype):
        return from_parts(shape, partial(threefry.normal, key, mean, stddev, shape))
    return _normal_by_jax(key, mean, stddev, shape, dtype)


def _cut_normal(key, mean, stddev, shape, dtype):
    if _on_host(key, dtype):
        return from_parts(shape, partial(threefry.cut_normal, key, mean, stddev, shape))
    return _cut_normal_by_jax(key, mean, stddev, shape, dtype)


def _orthogonal(key, gain, shape, dtype):
    rows, columns = math.prod(shape[:-1]), shape[-1]
    tall = max(rows, columns), min(rows, columns)
    if 0 not in tall and _on_host(key, dtype):
        draws = threefry.normal(key, 0.0, 1.0, tall)
        q, diagonal = _factors(draws)
        found = _turned(q, np.sign(diagonal), float(gain), shape)
        return from_parts(shape, found.__getitem__)
    return _orthonormal(_normal(key, 0.0, 1.0, tall, dtype), gain, shape)


def _on_host(key, dtype):
    """Tell whether NumPy draws: not inside of a function that JAX compiles."""
    return not isinstance(key, Tracer) and threefry.draws_alike(dtype)


def _factors(draws):
    """Return Q and the diagonal of R, as `jnp.linalg.qr` does on a CPU.

    JAX calls the same functions of SciPy, which it needs itself, but compiles a
    program for each shape.
    """
    from scipy.linalg import lapack

    def with_room(function, *arguments):
        room = int(function(*arguments, lwork=-1)[-2][0])  # it says how much it wants
        return function(*arguments, lwork=room)

    packed, scales, _, _ = with_room(lapack.sgeqrf, draws)  # pyright: ignore
    q, _, _ = with_room(lapack.sorgqr, packed, scales)  # pyright: ignore
    return q, np.diagonal(packed)


def _turned(q, signs, gain, shape):
    """Return Q as a kernel, with the signs that make the draw uniform."""
    q = q * signs
    return gain * (q.T if math.prod(shape[:-1]) < shape[-1] else q).reshape(shape)


@functools.partial(jax.jit, static_argnames=("shape", "dtype"))
def _uniform_by_jax(key, low, high, shape, dtype):
    return jax.random.uniform(key, shape, dtype, low, high)


@functools.partial(jax.jit, static_argnames=("shape", "dtype"))
def _normal_by_jax(key, mean, stddev, shape, dtype):
    # Without the barrier XLA multiplies the constants inside the draw with `stddev`
    # first, and the last bit differs from Keras.
    draw = jax.lax.optimization_barrier(jax.random.normal(key, shape, dtype))
    return draw * stddev + mean


@functools.partial(jax.jit, static_argnames=("shape", "dtype"))
def _cut_normal_by_jax(key, mean, stddev, shape, dtype):
    return jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype) * stddev + mean


@functools.partial(jax.jit, static_argnames="shape")
def _orthonormal(draws, gain, shape):
    q, r = jnp.linalg.qr(draws)
    return _turned(q, jnp.sign(jnp.diagonal(r)), gain, shape)


@family
class RandomInitializer(Initializer):
    """What initializers with a seed have in common.

    Args:
        seed: an integer, a SeedGenerator, or None for a seed drawn now.
    """

    _saved_first = ("seed",)
    _saved_from = {"seed": "_init_seed"}

    def __init__(self, seed: Seed = None):
        self._init_seed = int(seed) if isinstance(seed, np.integer) else seed
        if seed is None:
            seed = make_default_seed()
        elif isinstance(seed, dict):
            seed = deserialize_keras_object(seed)
        elif not isinstance(seed, (int, np.integer, SeedGenerator)):
            raise ValueError(
                f"`{type(self).__name__}` expected `seed` to be an integer, a "
                f"`lamina.random.SeedGenerator` or None. Received: seed={seed!r}"
            )
        self.seed = seed

    def _draw(self, function, *settings, shape, dtype):
        shape = tuple(int(d) for d in shape)
        key = draw_seed(self.seed)
        return function(key, *settings, shape=shape, dtype=standardize_dtype(dtype))


class RandomNormal(RandomInitializer):
    """Draw from a normal distribution.

    Args:
        mean: its mean.
        stddev: its standard deviation.

    >>> import lamina
    >>> lamina.initializers.RandomNormal(seed=1)((2, 3)).shape
    (2, 3)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None):
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        """Return an array of the given shape and dtype."""
        return self._draw(_normal, self.mean, self.stddev, shape=shape, dtype=dtype)


class TruncatedNormal(RandomInitializer):
    """Draw from a normal distribution cut off at two standard deviations.

    Args:
        mean: the mean before the cut.
        stddev: the standard deviation before the cut.

    >>> import lamina
    >>> draws = lamina.initializers.TruncatedNormal(stddev=1.0, seed=1)((100,))
    >>> bool(abs(draws).max() <= 2)
    True
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None):
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        """Return an array of the given shape and dtype."""
        return self._draw(_cut_normal, self.mean, self.stddev, shape=shape, dtype=dtype)


class RandomUniform(RandomInitializer):
    """Draw uniformly from `[minval, maxval)`.

    Args:
        minval: the lower end.
        maxval: the upper end.

    >>> import lamina
    >>> draws = lamina.initializers.RandomUniform(0.0, 1.0, seed=1)((100,))
    >>> bool(((0 <= draws) & (draws < 1)).all())
    True
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None):
        self.minval = minval
        self.maxval = maxval
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        """Return an array of the given shape and dtype."""
        return self._draw(_uniform, self.minval, self.maxval, shape=shape, dtype=dtype)


class Orthogonal(RandomInitializer):
    """A random matrix with orthonormal rows or columns, times `gain`.

    All axes but the last count as rows. Source: Saxe et al., 2013
    (https://arxiv.org/abs/1312.6120).

    Args:
        gain: the factor.

    Raises:
        ValueError: called with a shape of fewer than two axes.

    >>> import lamina
    >>> q = lamina.initializers.Orthogonal(seed=1)((3, 3))
    >>> bool(abs(q.T @ q - lamina.initializers.Identity()((3, 3))).max() < 1e-6)
    True
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None):
        self.gain = gain
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        """Return an array of the given shape and dtype."""
        if len(shape) < 2:
            raise ValueError(
                "`Orthogonal` expected a shape of at least two axes. "
                f"Received: shape={tuple(shape)}"
            )
        return self._draw(_orthogonal, self.gain, shape=shape, dtype=dtype)

    @staticmethod
    def _work(shape):
        """What drawing it takes, for a `Budget`."""
        rows = math.prod(shape[:-1])
        return rows * shape[-1] * min(rows, shape[-1]) >> 19


def compute_fans(shape, input_axes=None, output_axes=None) -> tuple[int, int]:
    """Return how many inputs and outputs one weight of a kernel connects.

    Args:
        shape: the kernel's shape; by default the last two axes are inputs and
            outputs, and the others the window, which counts for both.
        input_axes: the axes that are inputs; used when both are given.
        output_axes: the axes that are outputs.

    >>> from lamina.initializers.draws import compute_fans
    >>> compute_fans((3, 3, 8, 16))
    (72, 144)
    """
    shape = tuple(int(d) for d in shape)
    if input_axes is not None and output_axes is not None:
        ends = input_axes, output_axes
        return tuple(math.prod(shape[a] for a in axes) for axes in ends)  # pyright: ignore
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    window = math.prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


class VarianceScaling(RandomInitializer):
    r"""Draw with a variance that fits the kernel's shape.

    The variance is $\text{scale} / n$ with $n$ the number of inputs, of outputs, or
    their mean.

    Args:
        scale: a positive number.
        mode: `"fan_in"`, `"fan_out"` or `"fan_avg"`.
        distribution: `"truncated_normal"` (or `"normal"`), `"untruncated_normal"` or
            `"uniform"`.
        input_axes: the kernel's axes that are inputs; None for the usual layout.
        output_axes: the kernel's axes that are outputs.

    Raises:
        ValueError: `scale`, `mode` or `distribution` is none of these.

    >>> import lamina
    >>> lamina.initializers.VarianceScaling(2.0, "fan_out", seed=1)((4, 5)).shape
    (4, 5)
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Axes | None = None,
        output_axes: Axes | None = None,
    ):
        name = type(self).__name__
        if scale <= 0.0:
            raise ValueError(
                f"Argument `scale` must be positive float. Received: scale={scale}"
            )
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(
                f"`{name}` expected `mode` to be 'fan_in', 'fan_out' or 'fan_avg'. "
                f"Received: mode={mode!r}"
            )
        distribution = distribution.lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        if distribution not in ("uniform", "truncated_normal", "untruncated_normal"):
            raise ValueError(
                f"Invalid `distribution` argument: {distribution!r}. Use 'uniform', "
                "'truncated_normal' or 'untruncated_normal'."
            )
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self.input_axes, self.output_axes = input_axes, output_axes
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        """Return an array of the given shape and dtype."""
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fans = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
        }
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return self._draw(_uniform, -limit, limit, shape=shape, dtype=dtype)
        stddev = math.sqrt(variance)
        if self.distribution == "untruncated_normal":
            return self._draw(_normal, 0.0, stddev, shape=shape, dtype=dtype)
        stddev /= _CUT_DEVIATION
        return self._draw(_cut_normal, 0.0, stddev, shape=shape, dtype=dtype)


class _Named(VarianceScaling):
    """A VarianceScaling whose scale, mode and distribution have a name."""

    _rule: tuple[float, str, str]

    def __init__(
        self,
        seed: Seed = None,
        input_axes: Axes | None = None,
        output_axes: Axes | None = None,
    ):
        super().__init__(*self._rule, seed, input_axes, output_axes)


class GlorotUniform(_Named):
    """Draw uniformly with variance 2 / (inputs + outputs).

    Source: Glorot and Bengio, 2010 (https://proceedings.mlr.press/v9/glorot10a.html).

    Args:
        input_axes: the kernel's axes that are inputs; None for the usual layout.
        output_axes: the kernel's axes that are outputs.

    >>> import lamina
    >>> lamina.initializers.GlorotUniform(seed=1)((4, 5)).shape
    (4, 5)
    """

    _rule = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Named):
    """Draw from a cut normal with variance 2 / (inputs + outputs).

    Source: Glorot and Bengio, 2010 (https://proceedings.mlr.press/v9/glorot10a.html).

    Args:
        input_axes: the kernel's axes that are inputs; None for the usual layout.
        output_axes: the kernel's axes that are outputs.

    >>> import lamina
    >>> lamina.initializers.GlorotNormal(seed=1)((4, 5)).shape
    (4, 5)
    """

    _rule = (1.0, "fan_avg", "truncated_normal")


class LecunNormal(_Named):
    """Draw from a cut normal with variance 1 / inputs.

    Source: Klambauer et al., 2017 (https://arxiv.org/abs/1706.02515).

    Args:
        input_axes: the kernel's axes that are inputs; None for the usual layout.
        output_axes: the kernel's axes that are outputs.

    >>> import lamina
    >>> lamina.initializers.LecunNormal(seed=1)((4, 5)).shape
    (4, 5)
    """

    _rule = (1.0, "fan_in", "truncated_normal")


class LecunUniform(_Named):
    """Draw uniformly with variance 1 / inputs.

    Source: Klambauer et al., 2017 (https://arxiv.org/abs/1706.02515).

    Args:
        input_axes: the kernel's axes that are inputs; None for the usual layout.
        output_axes: the kernel's axes that are outputs.

    >>> import lamina
    >>> lamina.initializers.LecunUniform(seed=1)((4, 5)).shape
    (4, 5)
    """

    _rule = (1.0, "fan_in", "uniform")


class HeNormal(_Named):
    """Draw from a cut normal with variance 2 / inputs.

    Source: He et al., 2015 (https://arxiv.org/abs/1502.01852).

    Args:
        input_axes: the kernel's axes that are inputs; None for the usual layout.
        output_axes: the kernel's axes that are outputs.

    >>> import lamina
    >>> lamina.initializers.HeNormal(seed=1)((4, 5)).shape
    (4, 5)
    """

    _rule = (2.0, "fan_in", "truncated_normal")


class HeUniform(_Named):
    """Draw uniformly with variance 2 / inputs.

    Source: He et al., 2015 (https://arxiv.org/abs/1502.01852).

    Args:
        input_axes: the kernel's axes that are inputs; None for the usual layout.
        output_axes: the kernel's axes that are outputs.

    >>> import lamina
    >>> lamina.initializers.HeUniform(seed=1)((4, 5)).shape
    (4, 5)
    """

    _rule = (2.0, "fan_in", "uniform")
