"""Random numbers: the same for the same seed as `keras.random` on JAX.

`seed` is an integer (always the same numbers), a `SeedGenerator` (others at every
call) or None (the global generator, which `lamina.utils.set_random_seed` seeds).
"""

import jax as _jax
import jax.numpy as _jnp

from lamina.core.dtypes import is_float as _is_float
from lamina.core.dtypes import is_int as _is_int
from lamina.core.dtypes import standardize_dtype as _standardize_dtype
from lamina.core.random import SeedGenerator
from lamina.core.random import draw_seed as _draw_seed
from lamina.core.symbolic import any_symbolic as _any_symbolic
from lamina.core.symbolic import infer as _infer
from lamina.core.tracebacks import boundary as _boundary
from lamina.ops.arrays import canonical as _canonical
from lamina.ops.arrays import tensor as _tensor

__all__ = [
    "SeedGenerator",
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]


def _float(name, dtype):
    if not _is_float(dtype):
        raise ValueError(
            f"`lamina.random.{name}` requires a floating point dtype. Received: "
            f"dtype={dtype}"
        )
    return _canonical(dtype)


@_boundary
def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Draw from the normal distribution.

    Args:
        shape: the shape of the result.
        mean: its mean.
        stddev: its standard deviation.
        dtype: a float dtype; `floatx()` when None.
        seed: see the module.

    >>> import lamina
    >>> lamina.random.normal((2, 3), seed=1).shape
    (2, 3)
    """
    dtype = _float("normal", dtype)
    sample = _jax.random.normal(_draw_seed(seed), tuple(shape), dtype)
    return (sample * _tensor(stddev) + _tensor(mean)).astype(dtype)


@_boundary
def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Draw from the normal distribution within two deviations of the mean.

    Args:
        shape: the shape of the result.
        mean: the mean.
        stddev: the standard deviation before the tails are cut.
        dtype: a float dtype; `floatx()` when None.
        seed: see the module.

    >>> import lamina
    >>> x = lamina.random.truncated_normal((100,), stddev=3.0, seed=1)
    >>> float(abs(x).max()) <= 6.0
    True
    """
    dtype = _float("truncated_normal", dtype)
    sample = _jax.random.truncated_normal(
        _draw_seed(seed), -2.0, 2.0, tuple(shape), dtype
    )
    return (sample * _tensor(stddev) + _tensor(mean)).astype(dtype)


@_boundary
def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Draw from [minval, maxval), each number as likely as the next.

    Args:
        shape: the shape of the result.
        minval: the lower limit.
        maxval: the upper limit.
        dtype: a float dtype; `floatx()` when None.
        seed: see the module.

    >>> import lamina
    >>> x = lamina.random.uniform((100,), -1.0, 1.0, seed=1)
    >>> x.shape, bool((x >= -1.0).all()), bool((x < 1.0).all())
    ((100,), True, True)
    """
    dtype = _float("uniform", dtype)
    key = _draw_seed(seed)
    return _jax.random.uniform(key, tuple(shape), dtype, minval, maxval)


@_boundary
def randint(shape, minval, maxval, dtype="int32", seed=None):
    """Draw integers from minval to maxval - 1, each as likely as the next.

    Args:
        shape: the shape of the result.
        minval: the lower limit.
        maxval: the upper limit, which never comes.
        dtype: an integer dtype.
        seed: see the module.

    >>> import lamina
    >>> x = lamina.random.randint((100,), 0, 3, seed=1)
    >>> sorted(set(x.tolist()))
    [0, 1, 2]
    """
    if not _is_int(dtype):
        raise ValueError(
            "`lamina.random.randint` requires an integer `dtype`. Received: "
            f"dtype={dtype}"
        )
    key = _draw_seed(seed)
    return _jax.random.randint(key, tuple(shape), minval, maxval, _canonical(dtype))


@_boundary
def categorical(logits, num_samples, dtype="int32", seed=None):
    """Draw classes with probabilities softmax(logits).

    Args:
        logits: (batch, classes).
        num_samples: how many to draw for each row.
        dtype: an integer dtype.
        seed: see the module.

    Returns:
        (batch, num_samples).

    >>> import lamina
    >>> logits = [[0.0, -100.0], [-100.0, 0.0]]
    >>> lamina.random.categorical(logits, 3, seed=1).tolist()
    [[0, 0, 0], [1, 1, 1]]
    """
    logits = _tensor(logits)
    if logits.ndim != 2:
        raise ValueError(
            "`logits` should be a 2-D tensor with shape [batch_size, num_classes]. "
            f"Received: logits.shape={logits.shape}"
        )
    shape = (logits.shape[0], num_samples)
    drawn = _jax.random.categorical(_draw_seed(seed), logits[..., None], 1, shape=shape)
    return drawn.astype(_canonical(dtype))


@_boundary
def gamma(shape, alpha, dtype=None, seed=None):
    """Draw from the gamma distribution of shape `alpha` and scale 1.

    Args:
        shape: the shape of the result.
        alpha: the shape parameter; broadcasts to `shape`.
        dtype: a float dtype; `floatx()` when None.
        seed: see the module.

    >>> import lamina
    >>> x = lamina.random.gamma((2, 3), alpha=2.0, seed=1)
    >>> x.shape, bool((x > 0.0).all())
    ((2, 3), True)
    """
    dtype = _float("gamma", dtype)
    return _jax.random.gamma(
        _draw_seed(seed), _tensor(alpha, dtype), tuple(shape), dtype
    )


@_boundary
def beta(shape, alpha, beta, dtype=None, seed=None):
    """Draw from the beta distribution, numbers in [0, 1].

    Args:
        shape: the shape of the result.
        alpha: the first parameter; broadcasts to `shape`.
        beta: the second parameter; broadcasts to `shape`.
        dtype: a float dtype; `floatx()` when None.
        seed: see the module.

    >>> import lamina
    >>> x = lamina.random.beta((2, 3), alpha=2.0, beta=5.0, seed=1)
    >>> x.shape, bool((x >= 0.0).all()), bool((x <= 1.0).all())
    ((2, 3), True, True)
    """
    dtype = _float("beta", dtype)
    key = _draw_seed(seed)
    a, b = _tensor(alpha, dtype), _tensor(beta, dtype)
    return _jax.random.beta(key, a, b, tuple(shape), dtype)


@_boundary
def binomial(shape, counts, probabilities, dtype=None, seed=None):
    """Draw how many of `counts` trials succeed.

    Args:
        shape: the shape of the result.
        counts: the number of trials; broadcasts to `shape`.
        probabilities: the probability of success; broadcasts to `shape`.
        dtype: a float dtype; `floatx()` when None.
        seed: see the module.

    >>> import lamina
    >>> lamina.random.binomial((2,), 5, [0.0, 1.0], seed=1).tolist()
    [0.0, 5.0]
    """
    dtype = _float("binomial", dtype)
    key = _draw_seed(seed)
    counts, odds = _tensor(counts), _tensor(probabilities)
    return _jax.random.binomial(key, counts, odds, tuple(shape), dtype)


@_boundary
def shuffle(x, axis=0, seed=None):
    """Put the entries along `axis` into random order, each row in its own.

    Args:
        x: any array.
        axis: the axis.
        seed: see the module.

    >>> import lamina
    >>> x = lamina.random.shuffle([1, 2, 3, 4], seed=1)
    >>> sorted(x.tolist())
    [1, 2, 3, 4]
    """
    if _any_symbolic((x,), {}):
        return _infer(lambda v: v, x)
    return _jax.random.permutation(_draw_seed(seed), _tensor(x), axis, independent=True)


@_boundary
def dropout(inputs, rate, noise_shape=None, seed=None):
    """Set a share `rate` of entries to 0 and divide the others by 1 - rate.

    Args:
        inputs: any array.
        rate: the share, in [0, 1].
        noise_shape: the shape of the mask, which broadcasts; None in it stands for
            the size of `inputs`.
        seed: see the module.

    >>> import lamina
    >>> x = lamina.random.dropout(lamina.ops.ones((100,)), rate=0.5, seed=1)
    >>> sorted(set(x.tolist()))
    [0.0, 2.0]
    """
    if _any_symbolic((inputs,), {}):
        return _infer(lambda v: v, inputs)
    if not 0 <= rate <= 1:
        raise ValueError(
            "`rate` should be a scalar number in the range [0, 1]. Received: "
            f"rate={rate}"
        )
    x = _tensor(inputs)
    if rate in (0, 1):
        return x if rate == 0 else _jnp.zeros_like(x)
    shape = x.shape
    if noise_shape is not None:
        sizes = zip(noise_shape, x.shape, strict=True)
        shape = tuple(n if size is None else size for size, n in sizes)
    kept = _jax.random.bernoulli(_draw_seed(seed), 1 - rate, shape)
    return _jnp.where(kept, x / (1 - rate), 0).astype(_standardize_dtype(x.dtype))
