import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.core.masks import get_mask, set_mask


def data(shapes):
    random = np.random.default_rng(0)
    return [random.normal(size=s).astype("float32") for s in shapes]


MERGES = [
    ("Add", {}, [(2, 3, 4), (2, 3, 4), (2, 3, 4)]),
    ("Add", {}, [(2, 3, 4), (2, 4)]),
    ("Subtract", {}, [(2, 3, 4), (2, 1, 4)]),
    ("Multiply", {}, [(2, 4), (2, 3, 4)]),
    ("Average", {}, [(2, 3), (2, 3), (2, 1)]),
    ("Maximum", {}, [(2, 3), (2, 3)]),
    ("Minimum", {}, [(2, 3), (2, 3), (2, 3)]),
    ("Concatenate", {}, [(2, 3, 4), (2, 3, 1)]),
    ("Concatenate", {"axis": 1}, [(2, 3, 4), (2, 1, 4), (2, 2, 4)]),
    ("Dot", {"axes": 1}, [(2, 3), (2, 3)]),
    ("Dot", {"axes": (2, 1)}, [(2, 3, 4), (2, 4, 5)]),
    ("Dot", {"axes": -1, "normalize": True}, [(2, 3, 4), (2, 5, 4)]),
    ("Dot", {"axes": [1, 3]}, [(2, 3), (2, 4, 5, 3)]),
]


@pytest.mark.parametrize(("name", "kwargs", "shapes"), MERGES)
def test_same_as_keras(same_as_keras, name, kwargs, shapes):
    same_as_keras(name, kwargs, shapes)


FIRST = np.array([[1, 0, 1], [1, 1, 0]], bool)
SECOND = np.array([[0, 0, 1], [1, 1, 1]], bool)
THIRD = np.array([[1, 1, 0], [0, 1, 0]], bool)


@pytest.mark.parametrize(
    "masks",
    [(FIRST, SECOND), (FIRST, None), (None, SECOND, None), (FIRST, SECOND, THIRD)],
)
@pytest.mark.parametrize(
    "name", ["Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"]
)
def test_masks_as_in_keras(name, masks):
    kwargs = {"axes": 2} if name == "Dot" else {}
    masks = masks[:2] if name == "Dot" else masks
    values = data([(2, 3, 2)] * len(masks))
    ours = [jnp.asarray(v) for v in values]
    theirs = [keras.ops.convert_to_tensor(v.copy()) for v in values]
    for x, y, mask in zip(ours, theirs, masks, strict=True):
        if mask is not None:
            set_mask(x, jnp.asarray(mask))
            y._keras_mask = jnp.asarray(mask)
    found = getattr(layers, name)(**kwargs)(ours)
    expected = getattr(keras.layers, name)(**kwargs)(theirs)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    wanted = getattr(expected, "_keras_mask", None)
    if wanted is None:
        assert get_mask(found) is None
    else:
        np.testing.assert_array_equal(get_mask(found), wanted)


def test_joined_masks_of_steps():
    x = np.ones((2, 3, 2), "float32")
    ours = layers.Concatenate(axis=1).compute_mask([x, x], [FIRST, None])
    theirs = keras.layers.Concatenate(axis=1).compute_mask([x, x], [FIRST, None])
    np.testing.assert_array_equal(ours, theirs)


def test_functions():
    a, b = np.array([[1.0, 2.0]]), np.array([[3.0, 5.0]])
    for name, expected in (
        ("add", [[4, 7]]), ("subtract", [[-2, -3]]), ("multiply", [[3, 10]]),
        ("average", [[2, 3.5]]), ("maximum", [[3, 5]]), ("minimum", [[1, 2]]),
        ("concatenate", [[1, 2, 3, 5]]),
    ):  # fmt: skip
        found = getattr(layers, name)([a, b], name=name)
        np.testing.assert_array_equal(found, expected, err_msg=name)
    np.testing.assert_array_equal(layers.dot([a, b], axes=1), [[13]])
    assert layers.add([lamina.Input((3,)), lamina.Input((3,))]).shape == (None, 3)


X = np.ones((2, 8, 4), "float32")
BAD = [
    (lambda: layers.Add()(X), ValueError, "called on a list of inputs"),
    (lambda: layers.Add()([]), ValueError, "called on a list of inputs"),
    (lambda: layers.Add(name="sum")([X, X[:, 1:]]), ValueError,
     "'sum'.*incompatible shapes.*axis 1.*(2, 8, 4), (2, 7, 4)"),
    (lambda: layers.Add()([X, X[1:]]), ValueError, "different batch sizes"),
    (lambda: layers.Add()([lamina.Input((3,)), lamina.Input((4,))]), ValueError,
     "(None, 3), (None, 4)"),
    (lambda: layers.Subtract()([X, X, X]), ValueError, "exactly 2 inputs"),
    (lambda: layers.Concatenate(axis=1)([X, X[..., 1:]]), ValueError,
     "matching shapes except.*axis=1"),
    (lambda: layers.Concatenate(axis=5)([X, X]), ValueError, "3 axes.*axis=5"),
    (lambda: layers.Concatenate()([X, X[:, 0]]), ValueError, "matching shapes"),
    (lambda: layers.Concatenate()(X), ValueError, "list of inputs"),
    (lambda: layers.Dot(axes=1)([X, X[:, 1:]]), ValueError, "8 (at axis 1.*7 (at"),
    (lambda: layers.Dot(axes="a"), TypeError, "`axes`"),
    (lambda: layers.Dot(axes=(1, 2, 3)), ValueError, "two elements"),
    (lambda: layers.Dot(axes=1)([X]), ValueError, "exactly 2 inputs"),
    (lambda: layers.Dot(axes=0)([X, X]), ValueError, "counts the samples"),
    (lambda: layers.Add().compute_mask([X, X], FIRST), ValueError,
     "`mask` should be a list"),
    (lambda: layers.Add().compute_mask(X, [None, FIRST]), ValueError,
     "`inputs` should be a list"),
    (lambda: layers.Add().compute_mask([X, X], [FIRST]), ValueError, "same length"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message.replace("(", r"\(").replace(")", r"\)")):
        make()


def test_shapes_are_checked_at_every_call():
    layer = layers.Add()
    layer([X, X])
    with pytest.raises(ValueError, match="incompatible shapes"):
        layer([X, X[:, 1:]])


@pytest.mark.parametrize("kind", ["array", "Variable"])
def test_masks_of_all_axes_are_concatenated(kind):
    inputs, masks = np.ones((2, 2, 3)), np.array([[[1, 1, 0], [0, 0, 0]]] * 2)
    results = []
    for module in (lamina, keras):
        make = module.Variable if kind == "Variable" else jnp.asarray
        layer = module.layers.Concatenate(axis=1)
        mask = layer.compute_mask(
            [module.KerasTensor(x[None].shape) for x in inputs],
            [make(m[None]) for m in masks],
        )
        results.append(np.asarray(mask))
    np.testing.assert_array_equal(*results)
