import numpy as np
import pytest

import lamina
from lamina import layers

ACTIVATIONS = [
    ("Activation", {"activation": "gelu"}, (2, 3)),
    ("Activation", {"activation": None}, (2, 3)),
    ("ReLU", {}, (2, 3, 4)),
    ("ReLU", {"max_value": 1.5, "negative_slope": 0.1, "threshold": 0.2}, (2, 3)),
    ("LeakyReLU", {"negative_slope": 0.1}, (2, 3)),
    ("PReLU", {"alpha_initializer": "ones", "alpha_regularizer": "l2"}, (2, 3, 4)),
    ("PReLU", {"shared_axes": [1, 2], "alpha_constraint": "non_neg"}, (2, 3, 2, 4)),
    ("ELU", {"alpha": 0.5}, (2, 3)),
    ("Softmax", {}, (2, 3, 4)),
    ("Softmax", {"axis": 1}, (2, 3, 4)),
    ("Softmax", {"axis": (1, 2)}, (2, 3, 4)),
]


@pytest.mark.parametrize(("name", "kwargs", "shape"), ACTIVATIONS)
def test_same_as_keras(same_as_keras, name, kwargs, shape):
    same_as_keras(name, kwargs, shape, supports_masking=True)


@pytest.mark.parametrize("axis", [-1, (1, 2)])
def test_masked_softmax(same_as_keras, axis):
    mask = np.arange(24).reshape(2, 3, 4) % 5 > 1
    mask[0] = False
    mask[0, 0, 0] = True
    same_as_keras("Softmax", {"axis": axis}, (2, 3, 4), {"mask": mask})


def test_softmax_masks_of_fewer_axes():
    x = np.zeros((2, 4, 4), "float32")
    entries = layers.Softmax()(x, mask=np.array([True, False, True, False]))
    np.testing.assert_array_equal(entries[0, 0], [0.5, 0, 0.5, 0])


def test_softmax_of_masked_steps_hangs_on_no_sizes():
    # As many rows as steps as features: sizes do not say which axes a mask is of.
    x = np.ones((4, 4, 4), "float32")
    x[0, 1] = x[2, 3] = 0
    y = layers.Softmax(axis=1)(layers.Masking()(x))
    for row in range(4):
        alone = layers.Softmax(axis=1)(layers.Masking()(x[row : row + 1]))
        np.testing.assert_array_equal(y[row], alone[0])
    np.testing.assert_allclose(y[0, :, 0], [1 / 3, 0, 1 / 3, 1 / 3], rtol=1e-6)
    with pytest.raises(ValueError, match=r"`mask\[..., None\]`"):
        layers.Softmax()(x[:2, :3], mask=np.ones((2, 3), bool))


def test_softmax_of_nothing_is_zero():
    y = layers.Softmax()(np.ones((1, 3)), mask=np.zeros((1, 3), bool))
    np.testing.assert_array_equal(y, np.zeros((1, 3)))


def test_older_name_of_the_slope():
    assert layers.LeakyReLU(alpha=0.2).negative_slope == 0.2


X = np.ones((2, 8, 4), "float32")
BAD = [
    (lambda: layers.Activation("reluu"), "Did you mean 'relu'"),
    (lambda: layers.ReLU(max_value=-1.0), "max_value of a ReLU"),
    (lambda: layers.ReLU(negative_slope=None), "negative_slope of a ReLU"),
    (lambda: layers.ReLU(threshold=-2), "threshold of a ReLU"),
    (lambda: layers.LeakyReLU(None), "negative_slope value of a Leaky ReLU"),
    (lambda: layers.PReLU(shared_axes=[5])(X), "3 axes.*axis=5"),
    (lambda: layers.PReLU()(lamina.Input((None, 3))), "`shared_axes`"),
    (lambda: layers.Softmax(axis=7)(X), "3 axes.*axis=7"),
    (lambda: layers.Softmax()(X, mask=np.ones((3, 4))), "broadcastable.*(3, 4)"),
    (lambda: layers.Softmax()(X, mask=np.ones((1,) * 4)), "not have more dimensions"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
