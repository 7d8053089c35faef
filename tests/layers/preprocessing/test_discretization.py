"""Discretization: Keras' ranges, given or found in data."""

import jax
import keras
import numpy as np
import pandas as pd
import pytest

import lamina
from lamina.layers import Discretization

NUMBERS = np.array([[-1.5, 1.0, 3.4], [0.0, 2.0, 1.999]], "float32")


@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count"])
def test_given_boundaries(mode):
    kwargs = {"bin_boundaries": [0.0, 1.0, 2.0], "output_mode": mode, "name": "one"}
    layer, theirs = Discretization(**kwargs), keras.layers.Discretization(**kwargs)
    assert layer.get_config() == theirs.get_config()
    expected = theirs(NUMBERS)
    for call in (layer, jax.jit(layer)):
        found = call(NUMBERS)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    spec = layer(lamina.Input(NUMBERS.shape[1:]))
    assert (spec.shape[1:], spec.dtype) == (found.shape[1:], found.dtype.name)


@pytest.mark.parametrize(("rows", "epsilon"), [(5, 0.01), (400, 0.01), (400, 0.3)])
@pytest.mark.parametrize("batches", [1, 4])
def test_found_boundaries(rows, epsilon, batches):
    data = np.random.default_rng(rows).normal(size=(rows, 3)).astype("float32")
    parts = np.array_split(data, batches)
    pair = []
    for layers in (lamina.layers, keras.layers):
        layer = layers.Discretization(num_bins=7, epsilon=epsilon, name="one")
        for part in parts:
            layer.update_state(part)
        layer.finalize_state()
        pair.append(layer)
    ours, theirs = pair
    assert ours.bin_boundaries == theirs.bin_boundaries
    assert ours.get_config() == theirs.get_config()
    again = Discretization.from_config(theirs.get_config())
    assert again.bin_boundaries == theirs.bin_boundaries
    np.testing.assert_array_equal(again(data), theirs(data))


@pytest.mark.parametrize(
    ("source", "steps", "parts"),
    [
        (lambda x: [x[:20], x[20:]], None, [slice(20), slice(20, None)]),
        (lambda x: ((part, 0) for part in np.split(x, 5)), 2,
         [slice(10), slice(10, 20)]),
        (pd.DataFrame, None, [slice(None)]),
        (lambda x: x.tolist(), None, [slice(None)]),
        (lambda x: np.split(x, 5), 1, [slice(10)]),
    ],
)  # fmt: skip
def test_adapt(source, steps, parts):
    data = np.random.default_rng(0).normal(size=(50, 2)).astype("float32")
    expected = Discretization(num_bins=4)
    for part in parts:
        expected.update_state(data[part])
    expected.finalize_state()
    layer = Discretization(num_bins=4)
    layer.adapt(data + 9)
    layer.adapt(source(data), steps=steps)
    assert layer.bin_boundaries == expected.bin_boundaries


def test_all_digits_of_numbers():
    layer = Discretization(bin_boundaries=[1.0001], dtype="float16")
    assert layer(np.array([1.0, 1.0002], "float32")).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({}, "set either"),
        ({"num_bins": -1}, "num_bins=-1"),
        ({"num_bins": 2, "bin_boundaries": [1.0]}, "should not be set"),
        ({"num_bins": 2, "output_mode": "tf_idf"}, "output_mode='tf_idf'"),
        ({"num_bins": 2, "output_mode": "one_hot", "sparse": True}, "dense vectors"),
    ],
)
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        Discretization(**kwargs)


def test_order_of_use():
    with pytest.raises(ValueError, match="call `adapt"):
        Discretization(num_bins=3)(NUMBERS)
    with pytest.raises(ValueError, match="Cannot adapt"):
        Discretization(bin_boundaries=[1.0]).adapt(NUMBERS)
    spec = Discretization(num_bins=3, output_mode="count").compute_output_shape((2, 5))
    assert spec == (2, 3)
