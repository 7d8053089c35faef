"""Normalization over axes, and the statistics it needs."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from lamina.kernels.native import reduction, rows

# Keeps the mean of nothing (everything masked) at zero rather than NaN.
TINY = 1e-7


def layer_norm(
    x: jax.Array,
    gamma: jax.Array | None = None,
    beta: jax.Array | None = None,
    *,
    axes: Sequence[int] = (-1,),
    epsilon: float = 1e-3,
) -> jax.Array:
    """Shift and scale `x` to mean 0 and variance 1 over `axes`.

    y = gamma * (x - mean) / sqrt(variance + epsilon) + beta

    Statistics are taken in float32 at least; the result has the dtype of `x`.

    Args:
        x: values of any shape.
        gamma: factors of the shape of `axes`, or anything that broadcasts.
        beta: offsets, likewise.
        axes: the axes to normalize over.
        epsilon: added to the variance.

    Source: Ba et al., 2016, "Layer normalization".

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import layer_norm
        >>> layer_norm(jnp.array([[1.0, 3.0]]), epsilon=0.0).tolist()
        [[-1.0, 1.0]]
    """
    axes = _axes(x, axes)
    y = _standardize(x.astype(_wide(x)), axes, float(epsilon), True)
    return _affine(y, gamma, beta, axes).astype(x.dtype)


def rms_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    *,
    axes: Sequence[int] = (-1,),
    epsilon: float = 1e-6,
) -> jax.Array:
    """Scale `x` to mean square 1 over `axes`.

    y = scale * x / sqrt(mean(x**2) + epsilon)

    Args:
        x: values of any shape.
        scale: factors of the shape of `axes`, or anything that broadcasts.
        axes: the axes to normalize over.
        epsilon: added to the mean square.

    Source: Zhang and Sennrich, 2019, "Root mean square layer normalization".

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import rms_norm
        >>> rms_norm(jnp.array([[2.0, -2.0]]), epsilon=0.0).tolist()
        [[1.0, -1.0]]
    """
    axes = _axes(x, axes)
    y = _standardize(x.astype(_wide(x)), axes, float(epsilon), False)
    return _affine(y, scale, None, axes).astype(x.dtype)


def softmax(x: jax.Array, axes: int | Sequence[int] | None = -1) -> jax.Array:
    """Return exp(x) / Σ exp(x) over `axes`.

    Args:
        x: values of any shape.
        axes: one axis, several, or None for all.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import softmax
        >>> softmax(jnp.array([0.0, 0.0])).tolist()
        [0.5, 0.5]
    """
    if axes in (-1, (-1,), x.ndim - 1) and rows.fits(x):
        return rows.softmax(x)
    return jax.nn.softmax(x, axes)


def moments(
    x: jax.Array,
    axes: Sequence[int],
    mask: jax.Array | None = None,
    *,
    keepdims: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Return mean and variance over `axes`, in float32 at least.

    Args:
        x: values of any shape.
        axes: the axes to reduce.
        mask: weights (or True and False) of the shape of the first dimensions
            of `x`; all masked gives mean 0 and variance 0.
        keepdims: keep the reduced axes with size 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import moments
        >>> mean, variance = moments(jnp.array([1.0, 3.0]), (0,))
        >>> float(mean), float(variance)
        (2.0, 1.0)
    """
    axes = _axes(x, axes)
    x = x.astype(_wide(x))
    if mask is None and axes == tuple(range(x.ndim - 1)) and reduction.fits(x):
        mean, variance = reduction.moments(x)
        if keepdims:
            shape = (1,) * len(axes) + mean.shape
            return mean.reshape(shape), variance.reshape(shape)
        return mean, variance
    average = partial(jnp.mean, axis=axes, keepdims=True)
    if mask is not None:
        average = partial(_weighted_mean, _over(mask, x), axes)
    mean = average(x)
    variance = average(jnp.square(x - mean))
    if keepdims:
        return mean, variance
    return jnp.squeeze(mean, axes), jnp.squeeze(variance, axes)


def rescale(
    x: jax.Array,
    mean: jax.Array,
    factor: jax.Array,
    offset: jax.Array | None = None,
    *,
    axis: int = -1,
) -> jax.Array:
    """Return (x - mean) * factor + offset, each of one number along `axis`.

    Args:
        x: values of any shape.
        mean: (size of the axis,), like `factor` and `offset`.
        factor: what differences from the mean are multiplied with.
        offset: what is added; None for nothing.
        axis: the axis that the numbers lie along.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.normalization import rescale
        >>> x, one = jnp.array([[1.0], [3.0]]), jnp.ones(1)
        >>> rescale(x, one, 2 * one).tolist()
        [[0.0], [4.0]]
    """
    axis = axis % x.ndim
    terms = [mean, factor] if offset is None else [mean, factor, offset]
    alike = all(term.dtype == x.dtype for term in terms)
    if offset is not None and axis == x.ndim - 1 and alike and reduction.fits(x):
        return reduction.scaled(x, mean, factor, offset)
    shape = [1] * x.ndim
    shape[axis] = -1
    mean, factor, *more = (term.reshape(shape) for term in terms)
    y = (x - mean) * factor
    return y + more[0] if more else y


def _over(mask, x):
    weights = mask.astype(x.dtype).reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim))
    return jnp.broadcast_to(weights, x.shape)


def _weighted_mean(weights, axes, values):
    total = jnp.sum(weights, axes, keepdims=True) + TINY
    return jnp.sum(weights * values, axes, keepdims=True) / total


def _wide(x):
    return jnp.promote_types(x.dtype, jnp.float32)


def _axes(x, axes):
    return tuple(sorted(axis % x.ndim for axis in axes))


def _affine(y, gamma, beta, axes):
    shape = [size if axis in axes else 1 for axis, size in enumerate(y.shape)]
    for term, combine in ((gamma, jnp.multiply), (beta, jnp.add)):
        if term is not None:
            # Weights list only the normalized axes; the others are 1 wide.
            term = term.reshape(shape) if term.ndim != y.ndim else term
            y = combine(y, term.astype(y.dtype))
    return y


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def _standardize(x, axes, epsilon, center):
    return _standardized(x, axes, epsilon, center)[0]


def _standardized(x, axes, epsilon, center):
    if axes == (x.ndim - 1,) and rows.fits(x):
        return rows.standardized(x, epsilon, center)
    average = partial(jnp.mean, axis=axes, keepdims=True)
    if center:
        x = x - average(x)
    scale = jax.lax.rsqrt(average(jnp.square(x)) + epsilon)
    return x * scale, scale


@_standardize.defjvp
def _standardize_jvp(axes, epsilon, center, primals, tangents):
    # The Jacobian is symmetric, so this one rule is also the short form of the
    # gradient; plain differentiation walks back through both means.
    (x,), (t,) = primals, tangents
    y, scale = _standardized(x, axes, epsilon, center)
    average = partial(jnp.mean, axis=axes, keepdims=True)
    tangent = t - y * average(t * y)
    if center:
        tangent = tangent - average(t)
    return y, tangent * scale
