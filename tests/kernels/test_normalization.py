import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from keras import ops

from lamina.kernels import layer_norm, moments, rms_norm


def plain_layer_norm(x, gamma, beta, axes, epsilon):
    mean = x.mean(axes, keepdims=True)
    variance = ((x - mean) ** 2).mean(axes, keepdims=True)
    return gamma * (x - mean) / jnp.sqrt(variance + epsilon) + beta


@pytest.mark.parametrize(
    "shape, axes",
    [((4, 7), (-1,)), ((2, 3, 5), (1, 2)), ((2, 3, 5), (-1, 1)), ((3, 1), (-1,))],
)
def test_layer_norm(shape, axes, rng, agree):
    x = (3 + 2 * rng.normal(size=shape)).astype("float32")
    wide = [shape[axis] for axis in sorted(axis % len(shape) for axis in axes)]
    gamma, beta = rng.normal(size=(2, *wide)).astype("float32")
    agree(
        lambda *args: layer_norm(*args, axes=axes, epsilon=1e-2),
        lambda *args: plain_layer_norm(*args, axes, 1e-2),
        x,
        gamma,
        beta,
    )


@pytest.mark.parametrize("axis", [-1, [1, 2], 1])
def test_layer_norm_agrees_with_keras(axis, rng, agree):
    x = (3 + 2 * rng.normal(size=(2, 4, 5))).astype("float32")
    layer = keras.layers.LayerNormalization(axis=axis)
    layer.build(x.shape)
    weights = [rng.normal(size=w.shape).astype("float32") for w in layer.weights]
    axes = axis if isinstance(axis, list) else [axis]
    agree(
        lambda x, *weights: layer_norm(x, *weights, axes=axes, epsilon=1e-3),
        lambda x, *weights: layer.stateless_call(weights, [], x)[0],
        x,
        *weights,
    )


def test_rms_norm_agrees_with_keras(rng, agree):
    x = rng.normal(size=(2, 4, 5)).astype("float32")
    scale = rng.normal(size=5).astype("float32")
    agree(
        lambda x, s: rms_norm(x, s, axes=(-1,), epsilon=1e-6),
        lambda x, s: ops.rms_normalization(x, s, axis=-1, epsilon=1e-6),
        x,
        scale,
    )


@pytest.mark.parametrize("norm", [layer_norm, rms_norm])
def test_weights_are_optional(norm, rng):
    x = jnp.asarray(rng.normal(size=(3, 4)), "float32")
    plain = norm(x, axes=(-1,), epsilon=1e-3)
    ones = norm(x, jnp.ones(4), axes=(-1,), epsilon=1e-3)
    np.testing.assert_array_equal(plain, ones)
    shifted = layer_norm(x, None, jnp.ones(4), axes=(-1,), epsilon=1e-3)
    np.testing.assert_allclose(shifted - 1, layer_norm(x, epsilon=1e-3), atol=1e-6)


@pytest.mark.parametrize("norm", [layer_norm, rms_norm])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_float32_statistics(norm, dtype, rng):
    # The squares of these overflow float16.
    x = jnp.asarray(2000 * rng.normal(size=(3, 8)), dtype)
    scale = jnp.asarray(rng.normal(size=8), dtype)

    @jax.jit
    def run(x, scale):
        y, pullback = jax.vjp(lambda *a: norm(*a, axes=(-1,), epsilon=1e-3), x, scale)
        return y, norm(x.astype("float32"), scale, epsilon=1e-3), pullback(y)

    y, exact, gradients = run(x, scale)
    assert {a.dtype for a in (y, *gradients)} == {jnp.dtype(dtype)}
    np.testing.assert_array_equal(y, exact.astype(dtype))


@pytest.mark.parametrize("norm", [layer_norm, rms_norm])
def test_forward_mode_second_order_and_vmap(norm, rng):
    x = jnp.asarray(rng.normal(size=(2, 3)), "float32")

    def f(x):
        return (norm(x, axes=(-1,), epsilon=0.1) ** 3).sum()

    def plain(x):
        center = x - x.mean(-1, keepdims=True) if norm is layer_norm else x
        power = (center**2).mean(-1, keepdims=True)
        return ((center / jnp.sqrt(power + 0.1)) ** 3).sum()

    @jax.jit
    def run(x):
        mine = jax.jacfwd(f)(x), jax.hessian(f)(x), jax.vmap(jax.grad(f))(x)
        return mine, (jax.grad(plain)(x), jax.hessian(plain)(x), jax.grad(plain)(x))

    for mine, theirs in zip(*run(x), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize("axes", [(0,), (0, 1), (-1,), (0, 2)])
def test_moments_agree_with_keras(axes, rng, agree):
    x = (100 + rng.normal(size=(4, 3, 5))).astype("float32")
    for keepdims in (False, True):
        agree(
            lambda x, k=keepdims: moments(x, axes, keepdims=k),
            lambda x, k=keepdims: ops.moments(x, list(axes), keepdims=k),
            x,
            slope=1e-3,
        )


def test_masked_moments_agree_with_batch_normalization(rng):
    x = (5 + rng.normal(size=(4, 3, 2))).astype("float32")
    mask = rng.integers(0, 2, size=(4, 3)).astype(bool)
    layer = keras.layers.BatchNormalization(momentum=0.0, epsilon=1e-3)
    layer(x, training=True, mask=jnp.asarray(mask))
    mean, variance = moments(jnp.asarray(x), (0, 1), jnp.asarray(mask))
    np.testing.assert_allclose(mean, layer.moving_mean, rtol=1e-5)
    np.testing.assert_allclose(variance, layer.moving_variance, rtol=1e-5)
    np.testing.assert_allclose(mean, x[mask].mean(0), rtol=1e-5)


def test_moments_of_nothing_are_zero():
    mean, variance = moments(jnp.ones((2, 3)), (0,), jnp.zeros(2, bool))
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(variance, 0)


def test_moments_of_half_precision_are_float32():
    mean, variance = moments(jnp.full((4, 2), 6e4, "float16"), (0,))
    assert mean.dtype == variance.dtype == "float32"
    np.testing.assert_array_equal(mean, np.float32(np.float16(6e4)))
    np.testing.assert_array_equal(variance, 0)


def test_symbolic_shapes():
    (b,) = jax.export.symbolic_shape("b", constraints=["b>=2"])
    x, gamma = jax.ShapeDtypeStruct((b, b, 4), "float32"), jnp.ones(4)
    mask = jax.ShapeDtypeStruct((b, b), "bool")
    assert jax.eval_shape(lambda x: layer_norm(x, gamma, gamma), x).shape == x.shape
    assert jax.eval_shape(lambda x: rms_norm(x, gamma), x).shape == x.shape
    for m in (None, mask):
        mean, variance = jax.eval_shape(lambda x, m: moments(x, (0, 1), m), x, m)
        assert mean.shape == variance.shape == (4,)
