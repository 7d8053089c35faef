import keras
import numpy as np
import pytest

import lamina
from lamina import activations

NAMES = [
    name
    for name in dir(keras.activations)
    if not name.startswith("_") and name not in ("get", "serialize", "deserialize")
]
RELUS = [
    {"max_value": 6},
    {"max_value": 2.0},
    {"negative_slope": 0.1},
    {"negative_slope": 0.1, "threshold": 0.5},
    {"threshold": 1.0, "max_value": 3.0},
    {"negative_slope": 0.2, "max_value": 1.0},
]
X = np.random.default_rng(0).normal(size=(5, 6)).astype("float32") * 3


# Keras 3.15 adds up the wrong sums in `sparsemax`, so that its rows are no
# probabilities.
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"threshold", "sparsemax"}))
def test_values_are_those_of_keras(name):
    ours = getattr(activations, name)(X)
    theirs = getattr(keras.activations, name)(X)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    drawn = getattr(activations, name)(lamina.KerasTensor((None, 6)))
    assert drawn.shape == (None, *theirs.shape[1:])
    assert drawn.dtype == "float32"


@pytest.mark.parametrize("kwargs", RELUS)
def test_relu_with_settings(kwargs):
    ours = activations.relu(X, **kwargs)
    np.testing.assert_array_equal(ours, keras.activations.relu(X, **kwargs))


def test_threshold():
    ours = activations.threshold(X, 1.0, 0.25)
    np.testing.assert_array_equal(ours, keras.activations.threshold(X, 1.0, 0.25))


def test_sparsemax_gives_probabilities():
    ours = np.asarray(activations.sparsemax(X))
    np.testing.assert_allclose(ours.sum(-1), 1, rtol=1e-6)
    assert (ours >= 0).all()
    assert (ours == 0).any()
    np.testing.assert_allclose(
        activations.sparsemax(X.T, axis=0), ours.T, rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_function_is_saved_by_its_bare_name(name):
    saved = keras.activations.serialize(getattr(keras.activations, name))
    assert activations.serialize(getattr(activations, name)) == saved
    assert activations.deserialize(saved) is getattr(activations, name)
    assert activations.get(name) is getattr(activations, name)


def squared(x):
    return x * x


def test_a_function_of_ones_own():
    assert activations.get(squared) is squared
    saved = activations.serialize(squared)
    assert saved == keras.activations.serialize(squared)
    assert activations.deserialize(saved, {"squared": squared}) is squared


def test_get():
    assert activations.get(None) is activations.linear
    with pytest.raises(ValueError, match="Did you mean 'relu'"):
        activations.get("relux")
    with pytest.raises(ValueError, match="identifier: 3"):
        activations.get(3)
