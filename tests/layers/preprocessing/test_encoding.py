"""Indices as vectors, and the layer that does it: Keras' numbers in every mode."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina.kernels.categories import encode
from lamina.layers import CategoryEncoding

SHAPES = [(), (4,), (3, 1), (2, 3, 4)]


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("shape", SHAPES)
def test_modes(mode, shape):
    # Some are no categories: below 0, and from the depth on.
    indices = np.random.default_rng(0).integers(-1, 6, shape)
    expected = keras.layers.CategoryEncoding(5, mode)(jnp.asarray(indices))
    for found in (
        encode(indices, mode, 5, "float32"),
        encode(jnp.asarray(indices), mode, 5, "float32"),
        jax.jit(lambda x: encode(x, mode, 5, "float32"))(indices),
    ):
        assert found.dtype == "float32"
        np.testing.assert_array_equal(found, expected)
    assert isinstance(encode(indices, mode, 5, "int8"), np.ndarray)


def test_weights():
    indices = np.array([[0, 2, 0], [1, 1, 4]])
    weights = np.array([[0.5, 0.25, 1.0], [2.0, 4.0, 8.0]], "float16")
    for kind in (np.asarray, jnp.asarray):
        found = encode(kind(indices), "count", 3, "float32", kind(weights))
        assert found.dtype == "float16"
        assert found.tolist() == [[1.5, 0.0, 0.25], [0.0, 6.0, 0.0]]
        idf = np.array([1.0, 10.0, 100.0])
        found = encode(kind(indices), "tf_idf", 3, "float32", idf=idf)
        assert found.tolist() == [[2.0, 0.0, 100.0], [0.0, 20.0, 0.0]]
        assert encode(kind(indices), "int", 3, "int8").dtype == "int8"


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_layer(same_as_keras, mode):
    indices = np.array([[0, 3, 1], [2, 2, 0]], "int32")
    same_as_keras("CategoryEncoding", {"num_tokens": 4, "output_mode": mode}, indices)


def test_lists_and_weights():
    layer = CategoryEncoding(3, "count")
    assert layer([[0, 1], [2, 2]]).tolist() == [[1, 1, 0], [0, 0, 2]]
    weighted = layer([[0, 1], [2, 2]], count_weights=[[0.5, 2.0], [1.0, 3.0]])
    assert weighted.tolist() == [[0.5, 2.0, 0.0], [0.0, 0.0, 4.0]]
    assert CategoryEncoding(3, "binary").output_mode == "multi_hot"
    with pytest.raises(ValueError, match="`count_weights` is not used"):
        CategoryEncoding(3, "one_hot")([0, 1], count_weights=[1.0, 2.0])


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({}, "num_tokens must be set"),
        ({"num_tokens": 0}, "num_tokens=0"),
        ({"num_tokens": 2, "output_mode": "int"}, "output_mode=.int"),
        ({"num_tokens": 2, "sparse": True}, "dense vectors"),
    ],
)
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        CategoryEncoding(**kwargs)


def test_weights_in_a_symbolic_call():
    inputs = lamina.Input((2,), dtype="int32"), lamina.Input((2,))
    outputs = CategoryEncoding(3, "count")(inputs[0], count_weights=inputs[1])
    assert (outputs.shape, outputs.dtype) == ((None, 3), "float32")
    model = lamina.Model(inputs, outputs)
    weighted = model([np.array([[0, 2]]), np.array([[0.5, 2.0]])])
    assert weighted.tolist() == [[0.5, 0.0, 2.0]]


def test_outside_of_a_trace_nothing_is_compiled(caplog):
    made = [
        CategoryEncoding(4, "count"),
        lamina.layers.Discretization([0.0, 1.0, 2.0], output_mode="multi_hot"),
        lamina.layers.Hashing(4, output_mode="one_hot"),
    ]
    indices = jnp.asarray(np.arange(3 * 7 * 11).reshape(3, 7, 11) % 5)
    with jax.log_compiles():
        found = [layer(indices) for layer in made]
        assert not [r for r in caplog.records if r.msg.startswith("Compiling")]
        jax.jit(lambda x: x + 31)(indices)
        assert [r for r in caplog.records if r.msg.startswith("Compiling")]
    for layer, result in zip(made, found, strict=True):
        np.testing.assert_array_equal(result, jax.jit(layer)(indices))
