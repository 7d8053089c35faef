"""Random masks from a counter hash: cheap, stateless, the same everywhere."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax


def keep_mask(key: jax.Array, keep: float, shape: Sequence[int]) -> jax.Array:
    """Draw a mask that is True with probability `keep`.

    Position and key pass through two rounds of a 32-bit integer hash, and the
    result is compared with keep * 2**32. This is not a generator for secrets,
    and positions repeat after 2**32 elements.

    Args:
        key: two uint32 words.
        keep: the share of True, from 0 to 1.
        shape: shape of the mask; dimensions may be symbolic.

    Example:
        >>> import jax
        >>> from lamina.kernels import keep_mask
        >>> mask = keep_mask(jax.numpy.array([0, 7], "uint32"), 0.75, (100, 100))
        >>> round(float(mask.mean()), 1)
        0.8
    """
    shape = tuple(shape)
    threshold = round(keep * 2**32)
    if threshold >= 2**32:
        return jnp.ones(shape, bool)
    key = jnp.asarray(key, jnp.uint32)
    # Both words go into both rounds, hashed: adding a raw key would only shift
    # the mask from one key to the next.
    first = _scramble(key[0] + _scramble(key[1] ^ jnp.uint32(0x9E3779B9)))
    second = _scramble(key[1] + _scramble(first))
    position = lax.iota(jnp.uint32, math.prod(shape))
    draw = _scramble(_scramble(position + first) ^ second)
    return (draw < jnp.uint32(threshold)).reshape(shape)


def dropout(
    x: jax.Array,
    rate: float,
    key: jax.Array,
    noise_shape: Sequence[int | None] | None = None,
) -> jax.Array:
    """Set a random share of `x` to zero and scale the rest by 1 / (1 - rate).

    Args:
        x: floating point values.
        rate: the share to drop, from 0 to 1.
        key: two uint32 words.
        noise_shape: shape of the mask, broadcast over `x`; None in it means the
            size of `x`, and None instead of it the shape of `x`.

    Source: Srivastava et al., 2014, "Dropout: a simple way to prevent neural
    networks from overfitting".

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import dropout
        >>> y = dropout(jnp.ones(8), 0.5, jnp.array([0, 1], "uint32"))
        >>> sorted(set(y.tolist()))
        [0.0, 2.0]
    """
    if rate <= 0:
        return x
    if rate >= 1:
        return jnp.zeros_like(x)
    shape = x.shape
    if noise_shape is not None:
        offset = x.ndim - len(noise_shape)
        shape = tuple(
            x.shape[offset + axis] if size is None else size
            for axis, size in enumerate(noise_shape)
        )
    mask = keep_mask(key, 1 - rate, shape)
    # A product in float32: division comes out differently inside and outside of
    # jit, and 1 / (1 - rate) rounded to half precision is off for all elements.
    scaled = x.astype(jnp.promote_types(x.dtype, jnp.float32)) * (1 / (1 - rate))
    return jnp.where(mask, scaled.astype(x.dtype), jnp.zeros((), x.dtype))


def _scramble(word):
    """Mix the bits of 32-bit words; a bijection with very little bias.

    Constants: C. Wellons, "Prospecting for hash functions", 2018.
    """
    word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * jnp.uint32(0x846CA68B)
    return word ^ (word >> 16)
