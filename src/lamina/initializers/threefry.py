"""JAX's default generator in NumPy: the same bits without compiling anything.

XLA takes longer to compile a draw, anew for each shape, than a model takes for its
first step. The bits are those of Threefry-2x32 with 20 rounds (Salmon et al., 2011,
https://doi.org/10.1145/2063384.2063405), keyed and counted as JAX does it: the number
at a place hangs on the key and the place alone.
"""

import math

import jax
import numpy as np

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_BLOCK = 2**14  # numbers that fit into a core's cache together with what they need
_CUT = 2.0  # deviations
_MOST = 2**22  # more are drawn faster by a compiled program, its compilation included


def draws_alike(count, dtype) -> bool:
    """Tell whether a draw here gives, and soon, what JAX would give."""
    return (
        dtype == "float32"
        and count <= _MOST
        and jax.config.jax_threefry_partitionable  # pyright: ignore
        and jax.config.jax_default_prng_impl == "threefry2x32"  # pyright: ignore
    )


def uniform(key, low, high, shape):
    """Draw float32 from [low, high), as `jax.random.uniform` does.

    Args:
        key: two integers.
        low: the lower limit.
        high: the upper limit.
        shape: the shape of the result.
    """
    low, high = np.float32(low), np.float32(high)
    random = bits(key, int(np.prod(shape, dtype=np.int64)))
    # 23 bits are the mantissa of a number in [1, 2).
    unit = ((random >> 9) | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
    # Processors multiply and add with one rounding; so does a double in between.
    scaled = unit.astype(np.float64) * np.float64(high - low) + np.float64(low)
    return np.maximum(low, scaled.astype(np.float32)).reshape(shape)


def normal(key, mean, stddev, shape):
    """Draw float32 from a normal distribution, as `jax.random.normal` does."""
    low = np.nextafter(np.float32(-1), np.float32(0))
    return _spread(_quantiles(uniform(key, low, 1, shape)), mean, stddev)


def cut_normal(key, mean, stddev, shape):
    """Draw from a normal distribution within two deviations of its mean."""
    edge = np.float32(math.erf(_CUT / math.sqrt(2)))
    draws = _quantiles(uniform(key, -edge, edge, shape))
    inside = np.nextafter(np.float32(_CUT), np.float32(0))
    return _spread(np.clip(draws, -inside, inside), mean, stddev)


def _spread(draws, mean, stddev):
    stddev, mean = np.float32(stddev), np.float32(mean)
    scaled = draws.astype(np.float64) * np.float64(stddev) + np.float64(mean)
    return scaled.astype(np.float32)


def _quantiles(x):
    """Return the normal quantiles of numbers in (-1, 1)."""
    # In blocks, so that one program serves all shapes.
    flat = np.zeros(-(-x.size // _BLOCK) * _BLOCK, np.float32)
    flat[: x.size] = x.ravel()
    parts = [np.asarray(_quantile_block(b)) for b in flat.reshape(-1, _BLOCK)]
    return np.concatenate([*parts, flat[:0]])[: x.size].reshape(x.shape)


@jax.jit
def _quantile_block(x):
    return np.float32(np.sqrt(2)) * jax.lax.erf_inv(x)


def bits(key, count):
    """Draw so many numbers of 32 bits."""
    first, second = (np.uint32(k) for k in np.asarray(key))
    keys = (first, second, first ^ second ^ _PARITY)
    result = np.empty(count, np.uint32)
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        result[start:end] = _block(keys, start, end)
    return result


def _block(keys, start, end):
    x = np.full(end - start, keys[0], np.uint32)
    y = np.arange(start, end, dtype=np.uint32) + keys[1]
    turned = np.empty_like(y)
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x += y
            np.left_shift(y, rotation, out=turned)
            y >>= 32 - rotation
            y |= turned
            y ^= x
        x += keys[(group + 1) % 3]
        y += keys[(group + 2) % 3]
        y += np.uint32(group + 1)
    return x ^ y
