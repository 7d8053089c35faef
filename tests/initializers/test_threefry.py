"""Numbers drawn in NumPy are those that JAX draws, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import eval_context

from lamina.initializers import draws, threefry

SHAPES = [(), (0,), (1,), (7, 5), (3, 3, 4, 8), (16384,), (200, 200)]
KEYS = [(0, 0), (1337, 0), (2**32 - 1, 2**31), (123456789, 987654321)]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_bits(key):
    expected = jax.random.bits(jnp.array(key, jnp.uint32), (40000,), "uint32")
    np.testing.assert_array_equal(
        threefry.bits(np.array(key, "uint32"), 40000), expected
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("limits", [(0, 1), (-0.05, 0.05), (-3.7, 1.3), (1.1, 1.2)])
def test_uniform(shape, limits):
    key = jnp.array(KEYS[2], jnp.uint32)
    expected = jax.random.uniform(key, shape, "float32", *limits)
    drawn = threefry.uniform(key, *limits, shape)
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("mean", [0.0, -0.3])
def test_normal(shape, mean):
    given = jnp.array(KEYS[3], jnp.uint32), mean, 0.7, shape, "float32"
    np.testing.assert_array_equal(draws._normal(*given), draws._normal_by_jax(*given))
    np.testing.assert_array_equal(
        draws._cut_normal(*given), draws._cut_normal_by_jax(*given)
    )


def test_what_jax_draws_itself(monkeypatch):
    assert threefry.draws_alike(10, "float32")
    assert not threefry.draws_alike(10, "float16")
    assert not threefry.draws_alike(2**28, "float32")
    with jax.threefry_partitionable(False):
        assert not threefry.draws_alike(10, "float32")


@pytest.mark.parametrize("draw", ["_uniform", "_normal", "_cut_normal"])
def test_a_large_draw_is_no_constant_of_its_program(draw, monkeypatch):
    monkeypatch.setattr(threefry, "_MOST", 100)
    shape, key = (300, 400), jnp.array(KEYS[3], jnp.uint32)
    by_jax = getattr(draws, f"{draw}_by_jax")
    expected = by_jax(key, -0.3, 0.7, shape, "float32")
    with eval_context():  # as Variables are made
        drawn = getattr(draws, draw)(key, -0.3, 0.7, shape, "float32")
        program = by_jax.lower(key, -0.3, 0.7, shape, "float32").as_text()
    np.testing.assert_array_equal(drawn, expected)
    # The numbers themselves are 480 kB.
    assert len(program) < 100_000 and 'dense<"0x' not in program
