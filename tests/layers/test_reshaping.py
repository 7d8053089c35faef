import numpy as np
import pytest

import lamina
from lamina import layers

FIRST = {"data_format": "channels_first"}

RESHAPINGS = [
    ("Flatten", {}, (2, 3, 4)),
    ("Flatten", FIRST, (2, 3, 4, 5)),
    ("Flatten", {}, (3,)),
    ("Reshape", {"target_shape": (2, -1)}, (3, 4, 3)),
    ("Reshape", {"target_shape": [12]}, (3, 4, 3)),
    ("Permute", {"dims": (3, 1, 2)}, (2, 3, 4, 5)),
    ("RepeatVector", {"n": 3}, (2, 4)),
    ("Cropping1D", {"cropping": (1, 2)}, (2, 6, 3)),
    ("Cropping1D", {"cropping": 0}, (2, 6, 3)),
    ("Cropping2D", {"cropping": ((1, 0), (2, 1))}, (2, 5, 6, 3)),
    ("Cropping2D", {"cropping": (1, 2), **FIRST}, (2, 3, 5, 6)),
    ("Cropping3D", {"cropping": ((1, 0), (0, 2), (1, 1))}, (1, 3, 4, 5, 2)),
    ("Cropping3D", {"cropping": 1, **FIRST}, (1, 2, 3, 4, 5)),
    ("ZeroPadding1D", {"padding": (1, 2)}, (2, 3, 4)),
    ("ZeroPadding1D", {"padding": 2, **FIRST}, (2, 3, 4)),
    ("ZeroPadding2D", {"padding": ((1, 2), (3, 0))}, (2, 3, 4, 2)),
    ("ZeroPadding2D", {"padding": (1, 2), **FIRST}, (2, 3, 4, 2)),
    ("ZeroPadding3D", {}, (1, 2, 3, 2, 2)),
    ("UpSampling1D", {"size": 3}, (2, 4, 3)),
    ("UpSampling2D", {"size": (2, 3)}, (2, 3, 4, 2)),
    ("UpSampling2D", {"size": 2, "interpolation": "bilinear", **FIRST}, (2, 2, 3, 4)),
    ("UpSampling2D", {"size": (1, 3), "interpolation": "bicubic"}, (2, 3, 4, 2)),
    ("UpSampling3D", {"size": (1, 2, 3)}, (1, 2, 3, 2, 2)),
]


@pytest.mark.parametrize(("name", "kwargs", "shape"), RESHAPINGS)
def test_same_as_keras(same_as_keras, name, kwargs, shape):
    same_as_keras(name, kwargs, shape)


def test_integers_stay_integers():
    x = np.arange(12, dtype="int32").reshape(1, 3, 4)
    for layer, expected in (
        (layers.Reshape((4, 3)), x.reshape(1, 4, 3)),
        (layers.Flatten(), x.reshape(1, 12)),
        (layers.Cropping1D(1), x[:, 1:-1]),
    ):
        assert layer(x).dtype == "int32"
        np.testing.assert_array_equal(layer(x), expected)
        assert layer(lamina.Input((3, 4), dtype="int32")).dtype == "int32"


def test_unknown_sizes():
    x = lamina.Input((None, 6))
    assert layers.Reshape((-1, 2, 3))(x).shape == (None, None, 2, 3)
    assert layers.Flatten()(x).shape == (None, None)
    assert layers.UpSampling1D(2)(x).shape == (None, None, 6)
    assert layers.ZeroPadding1D(2)(x).shape == (None, None, 6)
    image = lamina.Input((None, None, 3))
    layer = layers.UpSampling2D(2, interpolation="bilinear")
    assert layer(image).shape == (None, None, None, 3)


X = np.ones((2, 8, 4), "float32")
BAD = [
    (lambda: layers.Reshape((3,))(X), ValueError, "total size.*(8, 4).*(3,)"),
    (lambda: layers.Reshape((-1, 5))(X), ValueError, "total size"),
    (lambda: layers.Reshape((-1, -1)), ValueError, "at most one unknown dimension"),
    (lambda: layers.Reshape((-2, 5)), ValueError, "non-negative integer"),
    (lambda: layers.Permute((0, 1)), ValueError, "dims=(0, 1)"),
    (lambda: layers.Permute((1, 3)), ValueError, "dims=(1, 3)"),
    (lambda: layers.Permute((2, 1))(X[0]), ValueError, "ndim=3, found ndim=2"),
    (lambda: layers.RepeatVector("3"), TypeError, "`n`.*'3'"),
    (lambda: layers.RepeatVector(0), ValueError, "positive integer"),
    (lambda: layers.Cropping1D((5, 4))(X), ValueError, "nothing of axis 1"),
    (lambda: layers.Cropping1D(-1), ValueError, "`cropping`.*cropping=-1"),
    (lambda: layers.Cropping2D((1, 2, 3)), ValueError, "`cropping`"),
    (lambda: layers.Cropping3D("1"), ValueError, "`cropping`"),
    (lambda: layers.UpSampling1D(0), ValueError, "`size`"),
    (lambda: layers.UpSampling1D((2,)), TypeError, "`size`"),
    (lambda: layers.UpSampling2D(2, interpolation="linear"), ValueError, "bilinear"),
    (lambda: layers.ZeroPadding1D((1, 2, 3)), ValueError, "`padding`"),
    (lambda: layers.ZeroPadding2D(((1, 2), (3,))), ValueError, "`padding`"),
    (lambda: layers.ZeroPadding2D(-1), ValueError, "`padding`"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message.replace("(", r"\(").replace(")", r"\)")):
        make()


def test_a_shape_that_is_an_array():
    layer = lamina.layers.Reshape(np.array([3, 2]))
    assert layer(np.ones((4, 6))).shape == (4, 3, 2)
    assert layer.get_config()["target_shape"] == (3, 2)
