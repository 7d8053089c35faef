"""Hashing and HashedCrossing: the bins that Keras gives with TensorFlow."""

import jax
import keras
import numpy as np
import pytest

import lamina
from lamina.layers import Dense, HashedCrossing, Hashing

WORDS = np.array([["omar", "stringer"], ["marlo", "wire"], ["", "naïve"]])
INTEGERS = np.array([[-3, 0], [2**40, 7]], "int64")


def floats(vectors):
    return [[[float(x) for x in row] for row in rows] for rows in vectors]


@pytest.mark.parametrize(
    ("kwargs", "inputs", "expected"),
    [
        ({"num_bins": 7}, WORDS, [[1, 6], [2, 1], [6, 4]]),
        ({"num_bins": 7, "mask_value": ""}, WORDS, [[3, 3], [4, 5], [0, 4]]),
        ({"num_bins": 7, "salt": 133}, WORDS, [[1, 3], [0, 4], [6, 2]]),
        ({"num_bins": 7, "salt": [133, 137]}, WORDS, [[4, 1], [5, 1], [6, 1]]),
        ({"num_bins": 1, "mask_value": ""}, WORDS, [[0, 0], [0, 0], [0, 0]]),
        ({"num_bins": 3, "output_mode": "one_hot"}, WORDS, floats(
            [[[0, 0, 1], [0, 0, 1]], [[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 0, 0]]]
        )),
        ({"num_bins": 3, "output_mode": "multi_hot"}, WORDS,
         [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]),
        ({"num_bins": 3, "output_mode": "count", "salt": 1}, WORDS,
         [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 2.0]]),
        ({"num_bins": 7}, INTEGERS, [[4, 2], [0, 2]]),
        ({"num_bins": 7, "mask_value": 0}, INTEGERS, [[4, 0], [3, 5]]),
        ({"num_bins": 7, "salt": [1, 2]}, INTEGERS, [[2, 3], [6, 5]]),
        ({"num_bins": 7}, np.array([-3.7, 2.2]), [4, 5]),
        ({"num_bins": 7}, np.array([True, False]), [3, 0]),
    ],
)  # fmt: skip
def test_bins_of_keras(kwargs, inputs, expected):
    layer = Hashing(**kwargs)
    outputs = layer(inputs)
    assert isinstance(outputs, jax.Array)
    assert outputs.tolist() == expected
    if inputs is WORDS:
        assert layer(inputs.astype(object)).tolist() == expected
    dtype = "string" if inputs is WORDS else inputs.dtype.name
    spec = layer(lamina.Input(inputs.shape[1:], dtype=dtype))
    assert (spec.shape[1:], spec.dtype) == (outputs.shape[1:], layer.dtype)


@pytest.mark.parametrize("text", ["omar", b"omar", ["omar"], np.array("omar", object)])
def test_kinds_of_text(text):
    assert np.ravel(Hashing(7)(text)).tolist() == [1]


@pytest.mark.parametrize(
    ("kwargs", "features", "expected"),
    [
        ({"num_bins": 9}, (["A", "B", "é"], [101, -1, 2**40]), [6, 1, 2]),
        ({"num_bins": 9},
         ([["A"], ["B"], ["é"]], [["x"], ["y"], ["z"]], [[1], [2], [3]]),
         [[2], [0], [7]]),
        ({"num_bins": 4, "output_mode": "one_hot"}, (["A", "B"], [101, -1]),
         [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]]),
        ({"num_bins": 9}, ("A", 101), 6),
    ],
)  # fmt: skip
def test_crosses_of_keras(kwargs, features, expected):
    layer = HashedCrossing(**kwargs)
    assert layer(features).tolist() == expected
    arrays = [np.asarray(x) for x in features]
    assert layer(arrays).tolist() == expected
    if arrays[0].ndim:
        kinds = {"U": "string", "i": "int64"}
        spec = layer(
            [lamina.Input(x.shape[1:], dtype=kinds[x.dtype.kind]) for x in arrays]
        )
        assert spec.shape == (None, *np.shape(expected)[1:])


def test_integers_in_compiled_code():
    small = np.array([[1], [2], [3]], "int32")
    for layer, inputs in (
        (Hashing(5, output_mode="one_hot"), small),
        (HashedCrossing(5), (small, small)),
    ):
        np.testing.assert_array_equal(jax.jit(layer)(inputs), layer(inputs))
    model = lamina.Sequential([Hashing(5, output_mode="one_hot"), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(small, np.ones((3, 1)), verbose=0)
    np.testing.assert_allclose(model.predict(small, verbose=0), model(small), rtol=1e-6)


@pytest.mark.parametrize("dtype", [str, object])
def test_text_where_numbers_belong(dtype):
    with pytest.raises(ValueError, match="text .*Turn words into integers first"):
        Dense(1)(WORDS.astype(dtype))


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("Hashing", {"num_bins": 4, "salt": 5, "mask_value": "x"}),
        ("Hashing", {"num_bins": 4, "output_mode": "count", "dtype": "float16"}),
        ("HashedCrossing", {"num_bins": 4}),
        ("HashedCrossing", {"num_bins": 4, "output_mode": "one_hot"}),
    ],
)
def test_configs(name, kwargs):
    # Keras' own layers need TensorFlow, so what they give stands here.
    kwargs = {"name": "one", **kwargs}
    config = getattr(lamina.layers, name)(**kwargs).get_config()
    whole = kwargs.get("output_mode", "int") == "int"
    dtype = kwargs.get("dtype", "int64" if whole else "float32")
    expected = {"output_mode": "int", "sparse": False, **kwargs}
    if name == "Hashing":
        policy = keras.dtype_policies.serialize(keras.DTypePolicy(dtype))
        expected = {"mask_value": None, "trainable": True, "salt": None, **expected}
        expected |= {"dtype": policy, "salt": [5, 5] if expected["salt"] else None}
    assert config == {"dtype": dtype, **expected}
    again = getattr(lamina.layers, name).from_config(config)
    assert again.get_config() == config


@pytest.mark.parametrize(
    ("cls", "kwargs", "match"),
    [
        (Hashing, {"num_bins": 0}, "num_bins=0"),
        (Hashing, {"num_bins": 2, "salt": "x"}, "size 2 integers.*salt='x"),
        (Hashing, {"num_bins": 2, "salt": (1, 2, 3)}, "size 2 integers"),
        (Hashing, {"num_bins": 2, "output_mode": "tf_idf"}, "output_mode='tf_idf'"),
        (Hashing, {"num_bins": 2, "dtype": "float32"}, "integer type"),
        (Hashing, {"num_bins": 2, "sparse": True}, "dense vectors"),
        (HashedCrossing, {"num_bins": -1}, "num_bins=-1"),
        (HashedCrossing, {"num_bins": 2, "output_mode": "count"}, "'one_hot'"),
        (HashedCrossing, {"num_bins": 2, "sparse": True}, "dense vectors"),
    ],
)
def test_bad_arguments(cls, kwargs, match):
    with pytest.raises(ValueError, match=match):
        cls(**kwargs)


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        (np.ones(3, int), "list or tuple"),
        ([np.ones(3, int)], "at least two"),
        ([np.ones((2, 2), int)] * 2, "should have shape"),
        ([np.ones(3, int), np.ones(2, int)], "equal shape"),
        ([np.ones(3, int), np.ones(3)], "integer or string"),
    ],
)
def test_bad_crosses(inputs, match):
    with pytest.raises(ValueError, match=match):
        HashedCrossing(3)(inputs)
