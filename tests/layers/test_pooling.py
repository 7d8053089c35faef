import keras
import numpy as np
import pytest

import lamina
from lamina import layers

FIRST = {"data_format": "channels_first"}

POOLINGS = [
    ("MaxPooling1D", {}, (2, 7, 3)),
    ("MaxPooling1D", {"pool_size": 3, "strides": 1, "padding": "same", **FIRST},
     (2, 3, 7)),
    ("MaxPooling2D", {"pool_size": (3, 2), "strides": (1, 2)}, (2, 7, 6, 3)),
    ("MaxPooling2D", {"pool_size": 2, "padding": "same", **FIRST}, (2, 3, 5, 7)),
    ("MaxPooling3D", {"pool_size": (1, 2, 3)}, (1, 2, 5, 6, 2)),
    ("AveragePooling1D", {"pool_size": 2, "padding": "same"}, (2, 7, 3)),
    ("AveragePooling2D", {"pool_size": (3, 2), "strides": 2, "padding": "same"},
     (2, 7, 6, 3)),
    ("AveragePooling2D", {"pool_size": 2, **FIRST}, (2, 3, 5, 7)),
    ("AveragePooling3D", {"pool_size": 2, "strides": (1, 2, 1)}, (1, 3, 4, 5, 2)),
    ("GlobalMaxPooling1D", {"keepdims": True}, (2, 7, 3)),
    ("GlobalMaxPooling2D", FIRST, (2, 3, 5, 7)),
    ("GlobalMaxPooling3D", {}, (1, 3, 4, 5, 2)),
    ("GlobalAveragePooling1D", FIRST, (2, 7, 3)),
    ("GlobalAveragePooling2D", {"keepdims": True}, (2, 3, 5, 7)),
    ("GlobalAveragePooling3D", {"keepdims": True, **FIRST}, (1, 3, 4, 5, 2)),
    ("AdaptiveMaxPooling1D", {"output_size": 3}, (2, 7, 3)),
    ("AdaptiveMaxPooling2D", {"output_size": (2, 3), **FIRST}, (2, 3, 5, 7)),
    ("AdaptiveMaxPooling3D", {"output_size": 2}, (1, 3, 4, 5, 2)),
    ("AdaptiveAveragePooling1D", {"output_size": 9}, (2, 7, 3)),
    ("AdaptiveAveragePooling2D", {"output_size": (3, 5)}, (2, 7, 5, 3)),
    ("AdaptiveAveragePooling3D", {"output_size": (1, 3, 2), **FIRST}, (1, 2, 3, 4, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "shape"), POOLINGS)
def test_same_as_keras(same_as_keras, name, kwargs, shape):
    same_as_keras(name, kwargs, shape)


@pytest.mark.parametrize("kwargs", [{}, {"keepdims": True}, FIRST])
def test_masked_mean(same_as_keras, kwargs):
    mask = np.array([[1, 0, 1, 0], [1, 1, 1, 1]], bool)
    shape = (2, 3, 4) if "data_format" in kwargs else (2, 4, 3)
    same_as_keras("GlobalAveragePooling1D", kwargs, shape, {"mask": mask})


def test_unknown_sizes():
    x = lamina.Input((None, None, 3))
    assert layers.MaxPooling2D(2)(x).shape == (None, None, None, 3)
    assert layers.AdaptiveAveragePooling2D((2, None))(x).shape == (None, 2, None, 3)
    assert layers.GlobalMaxPooling2D()(x).shape == (None, 3)


IMAGE = np.ones((1, 5, 5, 6), "float32")
BAD = [
    (lambda: layers.MaxPooling2D(0), "`pool_size`.*pool_size=0"),
    (lambda: layers.MaxPooling2D((2, 2, 2)), "`pool_size`.*2 of them"),
    (lambda: layers.MaxPooling2D(2, padding="sane"), "Did you mean 'same'"),
    (lambda: layers.MaxPooling2D(2, strides=0), "`strides`.*strides=0"),
    (lambda: layers.AveragePooling2D(6)(IMAGE), "larger than its input"),
    (lambda: layers.MaxPooling1D(2)(IMAGE), "ndim=3, found ndim=4"),
    (lambda: layers.AdaptiveMaxPooling1D(0), "`output_size`"),
    (lambda: layers.AdaptiveMaxPooling2D((2, None, 4)), "`output_size`"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_means_of_integers_over_equal_parts_have_fractions():
    x = np.arange(50).reshape(1, 5, 5, 2)
    y = layers.AdaptiveAveragePooling2D(2)(x)
    np.testing.assert_allclose(
        y, keras.layers.AdaptiveAveragePooling2D(2)(x), rtol=1e-6
    )
    assert layers.AdaptiveAveragePooling2D(2, dtype="bfloat16")(x).dtype == "bfloat16"
