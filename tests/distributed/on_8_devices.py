"""What needs eight devices; `test_devices.py` runs it."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import lamina
from lamina import initializers
from lamina.kernels import native

DRAWS = ["GlorotUniform", "RandomNormal", "TruncatedNormal", "Orthogonal"]


def test_there_are_eight_devices():
    assert jax.device_count() == 8
    assert not native.available()


# ---- Variables, sharded from the start ---------------------------------------------


def sharding(*spec):
    return NamedSharding(
        Mesh(np.array(jax.devices()).reshape(2, 4), ("a", "b")), P(*spec)
    )


@pytest.mark.parametrize("name", [*DRAWS, "Zeros", "Ones", "Identity"])
@pytest.mark.parametrize("spec", [("a",), (None, "b"), ("b", "a"), ()], ids=str)
def test_a_variable_is_made_in_its_layout_with_the_same_bits(name, spec):
    first = initializers.get(name)
    config = first.get_config()
    first = type(first).from_config({**config, "seed": 3} if "seed" in config else {})
    layout = sharding(*spec)
    variable = lamina.Variable(first, (24, 24), layout=layout)
    assert variable.value.sharding.is_equivalent_to(layout, 2)
    np.testing.assert_array_equal(variable.numpy(), first((24, 24)))
    compiled = jax.jit(lambda: first((24, 24)), out_shardings=layout)()
    np.testing.assert_array_equal(variable.numpy(), compiled)


def test_no_part_is_drawn_twice_and_none_but_the_parts(monkeypatch):
    drawn = []
    uniform = initializers.threefry.uniform

    def watched(key, low, high, shape, part):
        found = uniform(key, low, high, shape, part)
        drawn.append(found.shape)
        return found

    monkeypatch.setattr(initializers.threefry, "uniform", watched)
    lamina.Variable(initializers.GlorotUniform(1), (8, 16), layout=sharding(None, "b"))
    assert drawn == [(8, 4)] * 4


def test_an_initializer_of_a_user_may_draw_other_shapes():
    def twice(shape, dtype=None):
        half = initializers.RandomNormal(seed=1)((shape[0] // 2, *shape[1:]), dtype)
        return jax.numpy.concatenate([half, half])

    variable = lamina.Variable(twice, (10, 4), layout=sharding(None, "b"))
    assert variable.value.sharding.is_equivalent_to(sharding(None, "b"), 2)
    np.testing.assert_array_equal(variable.numpy(), twice((10, 4)))


def test_values_given_and_assigned_take_the_layout():
    layout = sharding("b")
    x = np.arange(32.0, dtype="float32").reshape(8, 4)
    variable = lamina.Variable(x, layout=layout)
    for value in (x + 1, jax.numpy.asarray(x) + 2, (x + 3).astype("float64")):
        variable.assign(value)
        assert variable.value.sharding.is_equivalent_to(layout, 2)
        np.testing.assert_array_equal(variable.numpy(), value)
    assert variable.dtype == "float32" == variable.value.dtype
