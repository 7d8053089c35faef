"""The checks that constructors share."""

import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina.core.checks import is_integer


@pytest.mark.parametrize("value", [3, np.int8(-3), np.array(3), jnp.int32(3)])
def test_integers(value):
    assert is_integer(value)


@pytest.mark.parametrize(
    "value", [True, np.bool_(True), 3.0, "3", None, np.array([1, 2]), jnp.ones(3, int)]
)
def test_what_is_no_integer(value):
    assert not is_integer(value)


@pytest.mark.parametrize(
    "make",
    [
        lamina.layers.Dense,
        lamina.layers.GroupNormalization,
        lambda sizes: lamina.layers.Embedding(sizes, 2),
        lambda sizes: lamina.layers.Conv1D(sizes, 2),
    ],
)
def test_an_array_in_place_of_an_integer_is_refused_by_name(make):
    with pytest.raises((ValueError, TypeError), match=r"Received: .*array\(\[3, 4\]\)"):
        make(np.array([3, 4]))
