import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina.kernels import add_bias, dense, embedding


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 1, 3), (2, 5, 4, 3), (0, 3)])
def test_dense_is_a_product_over_the_last_axis(shape, rng, agree):
    x = rng.normal(size=shape).astype("float32")
    kernel = rng.normal(size=(3, 4)).astype("float32")
    agree(dense, lambda x, kernel: x @ kernel, x, kernel)


def test_dense_without_inputs_is_zero():
    np.testing.assert_array_equal(dense(jnp.ones((2, 0)), jnp.ones((0, 3))), 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_dense_sums_half_precision_in_float32(dtype):
    # Added up in half precision, the ones would be lost beside the first term.
    large = 1 / float(jnp.finfo(dtype).eps)
    x = jnp.ones((1, 513), dtype).at[0, 0].set(4 * large)
    y, pullback = jax.vjp(dense, x, jnp.ones((513, 1), dtype))
    assert y.dtype == dtype
    assert y.item() == jnp.asarray(4 * large + 512, dtype).item()
    assert [g.dtype for g in pullback(y)] == [dtype, dtype]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_gradient_of_a_bias_is_summed_in_float32(dtype, rng):
    y = jnp.asarray(rng.normal(size=(5, 7, 3)), dtype)
    bias = jnp.asarray(rng.normal(size=3), dtype)
    total, pullback = jax.vjp(add_bias, y, bias)
    assert total.tobytes() == (y + bias).tobytes()
    to_y, to_bias = pullback(y)
    assert to_y.tobytes() == y.tobytes()
    exact = np.asarray(y, "float64").sum((0, 1))
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(to_bias, "float64"), exact, rtol=4 * eps)
    sums = [
        e for e in jax.make_jaxpr(pullback)(y).eqns if e.primitive.name == "reduce_sum"
    ]
    assert {e.invars[0].aval.dtype.name for e in sums} == {"float32"}


def test_dense_takes_the_common_dtype(rng):
    x = jnp.asarray(rng.normal(size=(2, 3)), "bfloat16")
    assert dense(x, jnp.ones((3, 4), "float32")).dtype == "float32"
    y = dense(jnp.arange(3), jnp.ones((3, 4)))
    np.testing.assert_array_equal(y, [3, 3, 3, 3])
    y = dense(jnp.arange(3), jnp.arange(3)[:, None])
    assert y.dtype == "int32" and y.item() == 5


def test_dense_forward_mode_and_vmap(rng):
    x, kernels = rng.normal(size=(2, 3)), rng.normal(size=(5, 3, 4))
    x, kernels = jnp.asarray(x, "float32"), jnp.asarray(kernels, "float32")
    y, tangent = jax.jvp(lambda x: dense(x, kernels[0]), (x,), (x,))
    np.testing.assert_allclose(y, tangent, atol=1e-6)
    mapped = jax.vmap(dense, (None, 0))(x, kernels)
    np.testing.assert_allclose(mapped, x @ kernels, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_embedding_agrees_with_keras(dtype, rng, agree):
    table = jnp.asarray(rng.normal(size=(4, 3)), dtype)
    indices = jnp.array([[0, 3, 3, -1], [4, -4, -5, 100]])
    layer = keras.layers.Embedding(4, 3, dtype=dtype)
    layer.build()
    agree(
        lambda table: embedding(table, indices),
        lambda table: layer.stateless_call([table], [], indices)[0],
        table,
    )


def test_embedding_outside_of_the_table_is_nan():
    rows = embedding(jnp.ones((2, 3)), jnp.array([1, 2, -3]))
    np.testing.assert_array_equal(jnp.isnan(rows).all(1), [False, True, True])


def test_symbolic_shapes():
    (b,) = jax.export.symbolic_shape("b", constraints=["b>=2"])
    x = jax.ShapeDtypeStruct((b, b, 3), "float32")
    assert jax.eval_shape(dense, x, jnp.ones((3, 4))).shape == (b, b, 4)
    indices = jax.ShapeDtypeStruct((b, b), "int32")
    assert jax.eval_shape(embedding, jnp.ones((5, 3)), indices).shape == (b, b, 3)
