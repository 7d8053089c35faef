"""Matrix products and table look-ups."""

import math

import jax
import jax.numpy as jnp


def dense(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiply the last dimension of `x` with a matrix, as one 2-D product.

    XLA's products of more dimensions have a much slower weight gradient on a
    CPU. Half precision is accumulated in float32.

    Args:
        x: (..., inputs).
        kernel: (inputs, outputs).

    Returns:
        (..., outputs), in the common dtype of both.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import dense
        >>> dense(jnp.ones((2, 5, 3)), jnp.ones((3, 4))).shape
        (2, 5, 4)
    """
    dtype = jnp.result_type(x, kernel)
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    y = jnp.matmul(rows, kernel, preferred_element_type=_accumulator(dtype))
    return y.astype(dtype).reshape(*x.shape[:-1], kernel.shape[-1])


def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    """Return y + bias, with the bias' gradient in bfloat16 summed in float32.

    XLA's sums of bfloat16 over many rows are slow on a CPU, and round each term
    elsewhere.

    Args:
        y: of any shape.
        bias: of a shape that broadcasts to it.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import add_bias
        >>> add_bias(jnp.ones((1, 2)), jnp.array([1.0, 2.0])).tolist()
        [[2.0, 3.0]]
    """
    if y.dtype == bias.dtype == jnp.bfloat16:
        # The same numbers, and a sum of float32 where it is differentiated.
        wide = bias.astype(jnp.float32)
        bias = jnp.broadcast_to(wide, y.shape).astype(y.dtype)
    return y + bias


def embedding(table: jax.Array, indices: jax.Array) -> jax.Array:
    """Look up rows of a table.

    A negative index counts from the end; an index outside of the table gives
    NaN and no gradient.

    Args:
        table: (rows, features).
        indices: integers of any shape.

    Returns:
        (*indices.shape, features).

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import embedding
        >>> embedding(jnp.eye(3), jnp.array([2, 0])).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    return jnp.take(table, indices, axis=0)


def _accumulator(dtype):
    half = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4
    return jnp.float32 if half else dtype
