"""A step of Adam with a compiled kernel."""

import jax
import jax.numpy as jnp
import numpy as np

from lamina.kernels import native

# For smaller arrays XLA's loops cost about as much as a call.
_LEAST = 1 << 13


def fits(*arrays: jax.Array) -> bool:
    """Return whether the compiled kernel is there, and pays for these arrays.

    Args:
        arrays: the gradient, its averages and the weights.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.adam import fits
        >>> fits(jnp.ones(3), jnp.ones(3), jnp.ones(3), jnp.ones(3))
        False
    """
    return (
        native.available()
        and all(x.dtype == jnp.float32 for x in arrays)
        and all(type(size) is int for size in arrays[0].shape)
        and arrays[0].size >= _LEAST
    )


def adam(
    gradient: jax.Array,
    mean: jax.Array,
    square: jax.Array,
    weight: jax.Array,
    rate: jax.Array,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the mean, the mean square and the weights after a step.

    Args:
        gradient: of any shape, float32.
        mean: the mean gradient before, like `square` and `weight` of that shape.
        square: the mean of its squares.
        weight: the weights.
        rate: the learning rate, corrected for averages begun at zero; a scalar.
        beta_1: how much of the mean stays.
        beta_2: how much of the mean square stays.
        epsilon: what is added to the root.

    Source: Kingma and Ba, 2014 (https://arxiv.org/abs/1412.6980).

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.adam import adam
        >>> zero = jnp.zeros(1)
        >>> step = adam(zero + 2, zero, zero, zero, jnp.asarray(0.5), 0.5, 0.75, 0.0)
        >>> [x.tolist() for x in step]
        [[1.0], [1.0], [-0.5]]
    """
    mean, square, weight = _adam.bind(
        gradient,
        mean,
        square,
        weight,
        rate,
        new_mean=np.float32(1 - beta_1),
        new_square=np.float32(1 - beta_2),
        epsilon=np.float32(epsilon),
    )
    return mean, square, weight


def _plain(gradient, mean, square, weight, rate, *, new_mean, new_square, epsilon):
    mean = mean + (gradient - mean) * new_mean
    square = square + (jnp.square(gradient) - square) * new_square
    return mean, square, weight - mean * rate / (jnp.sqrt(square) + epsilon)


_adam = native.primitive("adam", _plain, several=True, in_place={1: 0, 2: 1, 3: 2})
