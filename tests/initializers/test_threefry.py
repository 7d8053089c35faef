"""Numbers drawn in NumPy are those that JAX draws, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import eval_context
from jax.extend.random import threefry_2x32

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


def test_what_jax_draws_itself():
    assert threefry.draws_alike("float32")
    assert not threefry.draws_alike("float16")
    with jax.threefry_partitionable(False):
        assert not threefry.draws_alike("float32")


@pytest.mark.parametrize(
    "part",
    [
        (),
        (slice(2, 5),),
        (slice(None), slice(3, 4)),
        (slice(None), slice(None), slice(1, 3)),
        (slice(1, 2), slice(None), slice(0, 7)),
        (slice(4, 4),),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(6, 5, 7), (6, 100, 700)])
def test_a_part_is_a_part_of_the_whole(shape, part):
    for draw in (threefry.normal, threefry.cut_normal, threefry.uniform):
        drawn = draw(KEYS[3], -0.3, 0.7, shape, part)
        np.testing.assert_array_equal(
            drawn, draw(KEYS[3], -0.3, 0.7, shape)[part], strict=True
        )


def test_places_beyond_32_bits():
    # JAX counts with two words of 32 bits, and so lets them wrap alike.
    start, n = 2**32 - 3, 6
    drawn = threefry.uniform(KEYS[2], 0, 1, (2**34,), (slice(start, start + n),))
    high = jnp.array([0] * 3 + [1] * 3, jnp.uint32)
    low = jnp.array([*range(start, 2**32), 0, 1, 2], jnp.uint32)
    counts = jnp.concatenate([high, low])
    first, second = threefry_2x32(jnp.array(KEYS[2], jnp.uint32), counts).reshape(2, n)
    bits = (first ^ second) >> 9 | 0x3F800000
    expected = jax.lax.bitcast_convert_type(bits, jnp.float32) - 1
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("draw", ["_uniform", "_normal", "_cut_normal"])
def test_a_large_draw_is_no_constant_of_its_program(draw, monkeypatch):
    monkeypatch.setattr(threefry, "draws_alike", lambda dtype: False)
    shape, key = (300, 400), jnp.array(KEYS[3], jnp.uint32)
    by_jax = getattr(draws, f"{draw}_by_jax")
    expected = by_jax(key, -0.3, 0.7, shape, "float32")
    with eval_context():  # as Variables are made
        drawn = getattr(draws, draw)(key, -0.3, 0.7, shape, "float32")
        program = by_jax.lower(key, -0.3, 0.7, shape, "float32").as_text()
    np.testing.assert_array_equal(drawn, expected)
    # The numbers themselves are 480 kB.
    assert len(program) < 100_000 and 'dense<"0x' not in program
