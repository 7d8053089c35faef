"""Statistics of columns with compiled kernels, and what is made of them.

`moments` and `scaled` are what batch normalization is made of; between them and their
derivatives, each array is read as few times as can be.
"""

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from lamina.kernels import native

# Smaller arrays are done before a compiled kernel has begun.
_LEAST = 1 << 14


def fits(x: jax.Array) -> bool:
    """Return whether the compiled kernels are there, and pay for this array.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.reduction import fits
        >>> fits(jnp.ones((2, 3)))
        False
    """
    return (
        native.available()
        and x.dtype == jnp.float32
        and x.ndim > 1
        and all(type(size) is int and size > 0 for size in x.shape)
        and x.shape[-1] >= 4
        and x.size >= _LEAST
    )


def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return mean and variance of the last dimension's entries, over all others.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.reduction import moments
        >>> [a.tolist() for a in moments(jnp.array([[1.0, 2.0], [3.0, 2.0]]))]
        [[2.0, 2.0], [1.0, 0.0]]
    """
    mean, variance = _moments.bind(x)
    return mean, variance


def scaled(
    x: jax.Array, mean: jax.Array, factor: jax.Array, offset: jax.Array
) -> jax.Array:
    """Return (x - mean) * factor + offset.

    Args:
        x: (..., channels), float32.
        mean: (channels,), like `factor` and `offset`.
        factor: what it is multiplied by.
        offset: the result where `x` is `mean`.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.reduction import scaled
        >>> x, one = jnp.array([[1.0], [3.0]]), jnp.ones(1)
        >>> scaled(x, one, 2 * one, one).tolist()
        [[1.0], [5.0]]
    """
    return _scaled.bind(factor, offset, x, mean)


def _rows(x):
    return tuple(range(x.ndim - 1))


def _plain_moments(x):
    mean = jnp.mean(x, _rows(x))
    return mean, jnp.mean(jnp.square(x - mean), _rows(x))


def _plain_sums(y, x, mean):
    return jnp.sum(y, _rows(y)), jnp.sum(y * (x - mean), _rows(y))


_moments = native.primitive("moments", _plain_moments, several=True)
_sums = native.primitive("sums", _plain_sums, several=True)


def _moments_jvp(primals, tangents):
    (x,), (tangent,) = primals, tangents
    tangent = ad.instantiate_zeros(tangent)
    mean, variance = _moments.bind(x)
    # The mean's own tangent adds nothing: deviations from it sum up to zero.
    return [mean, variance], [
        jnp.mean(tangent, _rows(x)),
        2 * jnp.mean((x - mean) * tangent, _rows(x)),
    ]


ad.primitive_jvps[_moments] = _moments_jvp


# A primitive because of its gradients for `factor` and `offset`, in which it is
# linear: both come from one reading. XLA fuses the value itself with what follows.
def _plain_scaled(factor, offset, x, mean):
    return (x - mean) * factor + offset


def _scaled_jvp(primals, tangents):
    factor, _, x, mean = primals
    t_factor, t_offset, t_x, t_mean = tangents
    t_factor, t_offset = map(ad.instantiate_zeros, (t_factor, t_offset))
    if type(t_mean) is not ad.Zero:
        t_offset = t_offset - t_mean * factor
    tangent = _scaled.bind(t_factor, t_offset, x, mean)
    if type(t_x) is not ad.Zero:
        tangent = tangent + t_x * factor
    return _scaled.bind(*primals), tangent


def _scaled_back(gradient, factor, offset, x, mean):
    if type(gradient) is ad.Zero:
        return [None] * 4
    total, product = _sums.bind(gradient, x, mean)
    return [
        product if ad.is_undefined_primal(factor) else None,
        total if ad.is_undefined_primal(offset) else None,
        None,
        None,
    ]


_scaled = Primitive("lamina_scaled")
_scaled.def_impl(jax.jit(_plain_scaled))
_scaled.def_abstract_eval(lambda factor, offset, x, mean: ShapedArray(x.shape, x.dtype))
mlir.register_lowering(_scaled, mlir.lower_fun(_plain_scaled, multiple_results=False))
batching.primitive_batchers[_scaled] = lambda operands, places: (
    jax.vmap(_plain_scaled, places)(*operands),
    0,
)
ad.primitive_jvps[_scaled] = _scaled_jvp
ad.primitive_transposes[_scaled] = _scaled_back
