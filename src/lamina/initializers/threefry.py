"""JAX's default generator in NumPy: the same bits without compiling anything.

XLA takes longer to compile a draw, anew for each shape, than a model takes for its
first step. The bits are those of Threefry-2x32 with 20 rounds (Salmon et al., 2011,
https://doi.org/10.1145/2063384.2063405), keyed and counted as JAX does it: the number
at a place hangs on the key and the place alone.
"""

import functools
import math

import jax
import numpy as np

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_BLOCK = 2**15  # numbers that fit into a core's cache together with what they need
_ROW = 2**14  # numbers in a call of the one program for quantiles
_CUT = 2.0  # deviations


def draws_alike(dtype) -> bool:
    """Tell whether a draw here gives what JAX would give."""
    return (
        dtype == "float32"
        and jax.config.jax_threefry_partitionable  # pyright: ignore
        and jax.config.jax_default_prng_impl == "threefry2x32"  # pyright: ignore
    )


def uniform(key, low, high, shape, part=()):
    """Draw float32 from [low, high), as `jax.random.uniform` does.

    Args:
        key: two integers.
        low: the lower limit.
        high: the upper limit.
        shape: the shape of the array.
        part: slices, of step 1, of the part of the array to return; those of further
            axes may be left out.
    """
    return _drawn(key, shape, part, lambda random: _between(random, low, high))


def normal(key, mean, stddev, shape, part=()):
    """Draw float32 from a normal distribution, as `jax.random.normal` does."""
    low = np.nextafter(np.float32(-1), np.float32(0))

    def turned(random):
        return _scaled(_quantiles(_between(random, low, 1)), stddev, mean)

    return _drawn(key, shape, part, turned)


def cut_normal(key, mean, stddev, shape, part=()):
    """Draw from a normal distribution within two deviations of its mean."""
    edge = np.float32(math.erf(_CUT / math.sqrt(2)))
    inside = np.nextafter(np.float32(_CUT), np.float32(0))

    def turned(random):
        draws = _quantiles(_between(random, -edge, edge))
        return _scaled(np.clip(draws, -inside, inside), stddev, mean)

    return _drawn(key, shape, part, turned)


def _between(random, low, high):
    """Turn random bits into numbers in [low, high); the bits are lost."""
    low, high = np.float32(low), np.float32(high)
    # 23 bits are the mantissa of a number in [1, 2).
    random >>= 9
    random |= np.uint32(0x3F800000)
    unit = random.view(np.float32)
    unit -= np.float32(1)
    return np.maximum(low, _scaled(unit, high - low, low))


def _scaled(x, factor, offset):
    # Processors multiply and add with one rounding; so does a double in between.
    wide = x.astype(np.float64)
    wide *= np.float64(np.float32(factor))
    wide += np.float64(np.float32(offset))
    return wide.astype(np.float32)


def _quantiles(x):
    """Return the normal quantiles of numbers in (-1, 1)."""
    # In rows, so that one program serves all shapes.
    rows = np.zeros((-(-x.size // _ROW), _ROW), np.float32)
    rows.reshape(-1)[: x.size] = x
    for row in rows:
        row[:] = _quantile_row(row)
    return rows.reshape(-1)[: x.size]


@jax.jit
def _quantile_row(x):
    return np.float32(np.sqrt(2)) * jax.lax.erf_inv(x)


def bits(key, count):
    """Draw numbers of 32 bits.

    Args:
        key: two integers.
        count: how many.
    """
    return _drawn(key, (count,), (), lambda random: random, "uint32")


def _drawn(key, shape, part, turned, dtype="float32"):
    """Return a part of an array, made block by block by `turned` of random bits."""
    first, second = (np.uint32(k) for k in np.asarray(key))
    keys = (first, second, first ^ second ^ _PARITY)
    sizes, places = _box(shape, part)
    result = np.empty(math.prod(sizes), dtype)
    for start in range(0, result.size, _BLOCK):
        end = min(start + _BLOCK, result.size)
        result[start:end] = turned(_block(keys, places(start, end)))
    return result.reshape(sizes)


def _box(shape, part):
    """Return the sizes of a part of an array, and where its numbers lie in the array.

    The latter is a function of a first number of the part and the one after the last.
    """
    kind = np.uint32 if math.prod(shape) <= 2**32 else np.uint64
    if not part:
        return shape, functools.partial(np.arange, dtype=kind)
    whole = (slice(None),) * (len(shape) - len(part))
    ends = [p.indices(n)[:2] for p, n in zip((*part, *whole), shape, strict=True)]
    sizes = tuple(end - start for start, end in ends)
    axes, stride = [], 1  # the size, first place and stride of each, the last one first
    for n, (start, _), size in zip(shape[::-1], ends[::-1], sizes[::-1], strict=True):
        if axes and axes[-1][0] * axes[-1][2] == stride:  # whole so far
            inner, first, step = axes.pop()
            axes.append((inner * size, first + start * stride, step))
        else:
            axes.append((size, start * stride, stride))
        stride *= n

    *outer, (_, first, step) = axes or [(1, 0, 1)]
    outer = [tuple(map(kind, axis)) for axis in outer]
    first, step = kind(first), kind(step)

    def places(start, end):
        left = np.arange(start, end, dtype=kind)
        found = first
        for size, first_of, step_of in outer:
            left, here = np.divmod(left, size)
            found = found + first_of + here * step_of
        return found + (left if step == 1 else left * step)

    return sizes, places


def _block(keys, places):
    y = places.astype(np.uint32, copy=False) + keys[1]
    x = np.full(len(y), keys[0], np.uint32)
    if places.dtype == np.uint64:
        x += (places >> np.uint64(32)).astype(np.uint32)
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
