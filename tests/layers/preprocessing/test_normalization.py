"""Normalization and Rescaling: Keras' numbers, weights and files."""

import json

import keras
import numpy as np
import pandas as pd
import pytest

import lamina
from lamina.layers import Normalization, Rescaling

DATA = np.random.default_rng(0).normal(2.0, 3.0, (6, 4, 3)).astype("float32")


@pytest.mark.parametrize("axis", [-1, 1, (1, 2), None])
@pytest.mark.parametrize("invert", [False, True])
def test_adapt(axis, invert):
    pair = []
    for layers in (lamina.layers, keras.layers):
        layer = layers.Normalization(axis=axis, invert=invert, name="one")
        layer.adapt(DATA)
        pair.append(layer)
    ours, theirs = pair
    assert ours.get_config() == theirs.get_config()
    assert ours.get_build_config() == theirs.get_build_config()
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-5)
    np.testing.assert_allclose(ours(DATA), theirs(DATA), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "kind",
    [
        lambda x: [x[:1], x[1:4], x[4:]],
        lambda x: ((part, 0) for part in (x[:5], x[5:])),
        lambda x: ([part] for part in (x[:5], x[5:])),
        lambda x: lamina.ops.convert_to_tensor(x),
    ],
)
def test_sources(kind):
    whole, layer = Normalization(), Normalization()
    whole.adapt(DATA)
    layer.adapt(DATA + 100)
    layer.adapt(kind(DATA))
    np.testing.assert_allclose(layer(DATA), whole(DATA), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [-1, 1, (1, 2), (0, 2), None])
def test_data_of_several_parts(axis):
    data = np.random.default_rng(1).normal(50.0, 2.0, (911, 20, 30)).astype("float32")
    data = data * np.arange(1, 31, dtype="float32") + np.arange(20)[:, None]
    layer = Normalization(axis=axis)
    layer.adapt(data)
    kept = () if axis is None else np.atleast_1d(axis) % 3
    over = tuple(a for a in range(3) if a not in kept)
    mean, variance = data.mean(over, dtype="f8"), data.var(over, dtype="f8")
    np.testing.assert_allclose(layer.adapt_mean.value, mean, rtol=2e-7)
    np.testing.assert_allclose(layer.adapt_variance.value, variance, rtol=2e-7)


def test_tables():
    table = pd.DataFrame({"a": [1, 2, 3], "b": [4.0, 6.0, 8.0]})
    layer = Normalization()
    layer.adapt(table)
    np.testing.assert_allclose(layer.adapt_mean.value, [2, 6])
    single = Normalization(axis=None)
    single.adapt(table["a"])
    edge = 1.5**0.5
    np.testing.assert_allclose(single(table["a"]), [-edge, 0, edge], rtol=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        {"mean": 3.0, "variance": 4.0},
        {"mean": [1.0, 2.0, 3.0], "variance": [4.0, 0.0, 9.0], "invert": True},
        {"mean": [1.0, 2.0, 3.0], "variance": [4.0, 5.0, 9.0], "axis": (1, 2)},
    ],
)
def test_given(same_as_keras, given):
    same_as_keras("Normalization", given, DATA)


def test_files_go_both_ways(tmp_path):
    pair = []
    for package in (lamina, keras):
        inputs = package.Input((4, 3))
        layer = package.layers.Normalization()
        pair.append(package.Model(inputs, layer(inputs)))
    ours, theirs = pair
    ours.layers[1].adapt(DATA)
    assert ours.layers[1].built
    ours.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(DATA), ours(DATA), rtol=1e-6, atol=1e-6)
    theirs.layers[1].adapt(DATA * 2)
    theirs.save_weights(tmp_path / "model.weights.h5")
    ours.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(ours(DATA), theirs(DATA), rtol=1e-5, atol=1e-6)


def test_in_a_compiled_model():
    model = lamina.Sequential([Normalization(), lamina.layers.Dense(1)])
    model.layers[0].adapt(DATA)
    model.compile("sgd", "mse")
    model.fit(DATA, np.ones((6, 4, 1)), verbose=0)
    before = model.predict(DATA, verbose=0)
    model.layers[0].adapt(DATA + 5)
    after = model.predict(DATA + 5, verbose=0)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"mean": 1.0}, "must be set"),
        ({"mean": 1.0, "variance": [1.0]}, "same shape"),
        ({"mean": [[1.0]], "variance": [[1.0]]}, "rank of `mean`"),
    ],
)
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        Normalization(**kwargs)


def test_bad_data():
    layer = Normalization()
    with pytest.raises(ValueError, match=r"\[-ndim, ndim\)"):
        Normalization(axis=3).build((2, 3))
    with pytest.raises(ValueError, match="known shape"):
        layer.build((None, None))
    for empty in ([], iter(())):
        with pytest.raises(ValueError, match="empty iterable"):
            layer.adapt(empty)
    with pytest.raises(TypeError, match="arrays of numbers"):
        layer.adapt(np.array([["a"]]))
    layer.adapt(DATA)
    with pytest.raises(ValueError, match="incompatible shape"):
        layer.adapt(DATA[..., :2])
    with pytest.raises(ValueError, match="Cannot adapt"):
        Normalization(mean=1.0, variance=1.0).adapt(DATA)


@pytest.mark.parametrize(
    ("kwargs", "shape"),
    [
        ({"scale": 0.5, "offset": -1.0}, (2, 3)),
        ({"scale": [0.5, 2.0], "offset": [1, 2]}, (2, 3, 2)),
    ],
)
def test_rescaling(same_as_keras, kwargs, shape):
    same_as_keras("Rescaling", kwargs, shape)


@pytest.mark.parametrize("array", [np.array, list])
def test_factors_for_channels_first(array):
    lamina.config.set_image_data_format("channels_first")
    keras.config.set_image_data_format("channels_first")
    try:
        kwargs = {"scale": array([1.0, 2.0, 3.0]), "name": "one"}
        ours, theirs = Rescaling(**kwargs), keras.layers.Rescaling(**kwargs)
        assert ours.get_config() == theirs.get_config()
        images = np.ones((2, 3, 4, 4), "float32")
        again = Rescaling.from_config(theirs.get_config())
        for layer in (ours, again):
            np.testing.assert_array_equal(layer(images), theirs(images))
    finally:
        lamina.config.set_image_data_format("channels_last")
        keras.config.set_image_data_format("channels_last")


def test_no_axis_comes_back_from_json():
    layer = Normalization(axis=None, mean=2.0, variance=4.0)
    config = json.loads(json.dumps(layer.get_config()))
    again = Normalization.from_config(config)
    np.testing.assert_array_equal(again(np.array([[6.0]])), [[2.0]])
