"""Layer normalization and softmax by compiled kernels, at each level of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina.kernels import layer_norm, native, softmax
from lamina.kernels.native import rows

pytestmark = pytest.mark.skipif(
    not native.available(), reason="needs the compiled kernels"
)
SHAPES = [(3, 16), (2, 5, 67), (9, 1), (1, 1000), (600, 33), (0, 20)]


def numbers(shape, seed=0):
    random = np.random.default_rng(seed)
    return jnp.asarray(random.normal(size=shape) * 4, jnp.float32)


def odd():
    x = numbers((8, 40))
    for row, value in enumerate([np.nan, np.inf, -np.inf, 3e38, -3e38, -0.0, 1e-42]):
        x = x.at[row, 35].set(value)
    return x.at[7].set(-np.inf)


def called(target, name, x, results, **settings):
    results = [jax.ShapeDtypeStruct(shape, "f4") for shape in results]
    return jax.ffi.ffi_call(target(name), results)(x, **settings)


@pytest.mark.parametrize("x", [*map(numbers, SHAPES), odd()], ids=lambda x: x.shape)
def test_every_library_agrees_with_the_plain_form(target, x):
    (mine,) = called(target, "softmax", x, [x.shape])
    np.testing.assert_allclose(mine, rows._plain_softmax(x), rtol=3e-6, atol=1e-37)
    for center in (True, False):
        settings = {"epsilon": np.float32(1e-3), "center": np.int64(center)}
        shapes = x.shape, (*x.shape[:-1], 1)
        mine = called(target, "standardize", x, shapes, **settings)
        right = rows._plain_standardized(x, epsilon=1e-3, center=center)
        for one, other in zip(mine, right, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def test_what_a_mask_puts_far_away_is_zero():
    x = jnp.full((2, 24), -1e9).at[0, 3].set(1.0)
    assert rows.softmax(x)[0].tolist() == [*[0.0] * 3, 1.0, *[0.0] * 20]
    np.testing.assert_allclose(rows.softmax(x)[1], 1 / 24, rtol=1e-6)


def test_gradients_and_vmap():
    x, weight = numbers((3, 5, 20)), numbers((3, 5, 20), 1)

    def results(x):
        made = []
        for form in softmax, layer_norm:

            def total(x, form=form):
                return jnp.sum(jnp.sin(form(x) * weight))

            slope = jax.grad(total)
            twice = jax.grad(lambda x, slope=slope: jnp.sum(jnp.cos(slope(x))))
            moved = jax.jvp(slope, (x,), (weight,))[1]
            made += [slope(x), twice(x), moved, jax.vmap(form)(x)]
        return made

    program = jax.jit(lambda x: results(x)).lower(x)
    assert "lamina_softmax" in program.as_text()
    assert "lamina_standardize" in program.as_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "fits", lambda x: False)
        plain = jax.jit(lambda x: results(x)).lower(x)
    assert "lamina" not in plain.as_text()
    for mine, right in zip(program.compile()(x), plain.compile()(x), strict=True):
        np.testing.assert_allclose(mine, right, atol=2e-5 * jnp.abs(right).max())


def test_the_same_bits_again():
    x = numbers((4000, 70))
    both = jax.jit(lambda x: (rows.softmax(x), *rows.standardized(x, 1e-3, True)))
    first = jax.tree.map(np.asarray, both(x))
    parts = [both(x[at : at + 500]) for at in range(0, 4000, 500)]  # in one thread
    for one, *some in zip(first, *parts, strict=True):
        assert one.tobytes() == np.concatenate(some).tobytes()


def test_what_fits():
    assert rows.fits(jnp.ones((3, 16)))
    assert not rows.fits(jnp.ones((3, 15)))
    assert not rows.fits(jnp.ones((3, 16), jnp.bfloat16))
    assert not rows.fits(jnp.ones(()))
