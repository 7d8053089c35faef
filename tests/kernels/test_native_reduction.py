"""Column statistics by compiled kernels, and batch normalization made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lamina.kernels import moments, native
from lamina.kernels.native import reduction

pytestmark = pytest.mark.skipif(
    not native.available(), reason="needs the compiled kernels"
)


def numbers(shape, seed=0):
    random = np.random.default_rng(seed)
    return jnp.asarray(random.normal(size=shape), jnp.float32)


def plain(x, factor, offset):
    mean = jnp.mean(x, tuple(range(x.ndim - 1)))
    variance = jnp.mean(jnp.square(x - mean), tuple(range(x.ndim - 1)))
    return (x - mean) * (factor * jax.lax.rsqrt(variance + 1e-3)) + offset


def compiled(x, factor, offset):
    mean, variance = reduction.moments(x)
    factor = factor * jax.lax.rsqrt(variance + 1e-3)
    return reduction.scaled(x, mean, factor, offset)


@pytest.mark.parametrize(
    "shape", [(4, 6, 8, 16), (33, 1000), (5000, 5), (700, 3, 33), (9, 1), (1, 8)]
)
@pytest.mark.parametrize("center", [0.0, 1000.0])
def test_moments(shape, center):
    x = numbers(shape) + center
    exact = np.asarray(x, np.float64).reshape(-1, shape[-1])
    mean, variance = reduction.moments(x)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variance, exact.var(0), rtol=2e-6)


def test_odd_values():
    x = (
        numbers((40, 20))
        .at[0, 3]
        .set(np.inf)
        .at[7, 4]
        .set(np.nan)
        .at[9, 5]
        .set(-np.inf)
    )
    mean, variance = reduction.moments(x)
    np.testing.assert_array_equal(mean[3:6], [np.inf, np.nan, -np.inf])
    assert np.isnan(variance[3:6]).all()
    assert np.isfinite(np.delete(variance, [3, 4, 5])).all()


@pytest.mark.parametrize("shape", [(3, 5, 17), (65, 4)])
def test_gradients(shape):
    arguments = numbers(shape), numbers(shape[-1:], 1), numbers(shape[-1:], 2)

    def total(form, *arguments):
        return jnp.sum(jnp.sin(form(*arguments)))

    @jax.jit
    def all_of(*arguments):
        found = []
        for form in compiled, plain:
            slope = jax.grad(lambda *a, form=form: total(form, *a), (0, 1, 2))

            def size(*a, slope=slope):
                return sum(jnp.sum(jnp.cos(s)) for s in slope(*a))

            twice = jax.grad(size, (0, 1, 2))
            forward = jax.jvp(slope, arguments, arguments)[1]
            found.append([*slope(*arguments), *twice(*arguments), *forward])
        return found

    for got, right in zip(*all_of(*arguments), strict=True):
        np.testing.assert_allclose(got, right, rtol=0, atol=2e-5 * jnp.abs(right).max())
    check_grads(compiled, arguments, 1, ["fwd", "rev"], atol=0.03, rtol=0.03)


def test_under_vmap_and_for_one_argument():
    x, factor = numbers((3, 30, 8)), numbers((8,), 1)
    many = jax.jit(jax.vmap(compiled, (0, None, None)))(x, factor, factor)
    np.testing.assert_allclose(many[1], plain(x[1], factor, factor), atol=1e-5)
    grads = jax.jit(jax.vmap(jax.grad(lambda f, x: compiled(x, f, f).sum()), (None, 0)))
    expected = jax.grad(lambda f: plain(x[2], f, f).sum())(factor)
    np.testing.assert_allclose(grads(factor, x)[2], expected, atol=2e-4)
    only = jax.linear_transpose(
        lambda f: reduction.scaled(x[0], factor, f, jnp.zeros(8)), factor
    )
    expected = jnp.sum(x[0] - factor, 0)
    np.testing.assert_allclose(only(jnp.ones((30, 8)))[0], expected, atol=1e-4)


def test_the_same_bits_again():
    x, factor = numbers((64, 20, 20, 17)), numbers((17,), 1)
    run = jax.jit(jax.grad(lambda x, f: jnp.sum(jnp.sin(compiled(x, f, f))), (0, 1)))
    first = run(x, factor)
    for _ in range(5):
        for a, b in zip(first, run(x, factor), strict=True):
            assert a.tobytes() == b.tobytes()


def test_what_fits():
    assert reduction.fits(jnp.ones((2048, 8)))
    assert not reduction.fits(jnp.ones((2048, 8), jnp.bfloat16))
    assert not reduction.fits(jnp.ones((8192, 2)))
    text = jax.jit(lambda x: moments(x, (0, 1), keepdims=True))
    x = jnp.ones((64, 32, 8))
    assert "lamina_moments" in text.lower(x).as_text()
    assert [a.shape for a in text(x)] == [(1, 1, 8)] * 2
    assert "stablehlo.custom_call" not in jax.export.export(text)(x).mlir_module()
