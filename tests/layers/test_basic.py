import json

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.core.masks import get_mask
from lamina.testing import check_layer, check_op

INTEGERS = np.array([[0, 3, 1], [4, 0, 2]], "int32")

LAYERS = [
    ("Dense", {"units": 3, "activation": "tanh", "bias_regularizer": "l2"}, (2, 5, 4)),
    ("Identity", {}, (2, 3)),
    ("Masking", {"mask_value": 0.5}, (2, 3, 4)),
    ("EinsumDense", {"equation": "ab,bc->ac", "output_shape": 3}, (2, 4)),
    ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": (None, 3),
                     "bias_axes": "d", "activation": "relu"}, (2, 5, 4)),
    ("EinsumDense", {"equation": "...x,xy->...y", "output_shape": 3, "bias_axes": "y"},
     (2, 2, 3, 4)),
    ("EinsumDense", {"equation": "ab...,bc->ac...", "output_shape": 3,
                     "bias_axes": "c"}, (2, 4, 3, 2)),
    ("EinsumDense", {"equation": "abc,cde->abde", "output_shape": (None, 2, 3),
                     "bias_axes": "de"}, (2, 5, 4)),
    ("EinsumDense", {"equation": "abde,deh->abh", "output_shape": (None, 6),
                     "bias_axes": "h", "bias_initializer": "ones"}, (2, 3, 2, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "shape"), LAYERS)
def test_same_as_keras(same_as_keras, name, kwargs, shape):
    same_as_keras(name, kwargs, shape)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("Embedding", {"input_dim": 5, "output_dim": 3, "mask_zero": True}),
        ("Embedding", {"input_dim": 6, "output_dim": 2,
                       "embeddings_constraint": "unit_norm"}),
        ("ReversibleEmbedding", {"input_dim": 5, "output_dim": 3}),
    ],
)  # fmt: skip
def test_embeddings(same_as_keras, name, kwargs):
    layer = same_as_keras(name, kwargs, INTEGERS)
    np.testing.assert_array_equal(layer(INTEGERS.astype("float32")), layer(INTEGERS))


@pytest.mark.parametrize("tied", [True, False])
def test_way_back(same_as_keras, tied):
    kwargs = {"input_dim": 5, "output_dim": 3, "tie_weights": tied,
              "logit_soft_cap": 0.05, "embeddings_initializer": "normal"}  # fmt: skip
    same_as_keras("ReversibleEmbedding", kwargs, (2, 4, 3), {"reverse": True})


def test_embedding_masks_zero():
    y = layers.Embedding(5, 2, mask_zero=True)(INTEGERS)
    np.testing.assert_array_equal(get_mask(y), INTEGERS != 0)
    assert get_mask(layers.Embedding(5, 2)(INTEGERS)) is None


def test_embedding_of_large_numbers_in_half_precision():
    # 300 and 301 are one number in bfloat16.
    table = np.arange(400, dtype="float32")[:, None] % 7
    layer = layers.Embedding(400, 1, weights=table, dtype="mixed_bfloat16")
    y = layer(np.array([300.0, 301.0]))
    np.testing.assert_array_equal(np.asarray(y, "float32").ravel(), [6, 0])


@pytest.mark.parametrize("wrap", [list, np.asarray])
def test_embedding_weights(wrap):
    table = np.arange(6, dtype="float32").reshape(3, 2)
    given = [table] if wrap is list else table
    layer = layers.Embedding(3, 2, weights=given, input_length=7)
    np.testing.assert_array_equal(layer(np.array([2])), [[4, 5]])
    assert "weights" not in layer.get_config()


def test_masking():
    x = jnp.array([[[1.0, 9.0], [9.0, 9.0]]])
    y = layers.Masking(9.0)(x)
    np.testing.assert_array_equal(y, [[[1, 9], [0, 0]]])
    np.testing.assert_array_equal(get_mask(y), [[True, False]])


@lamina.saving.register_keras_serializable(package="tests")
def halved(x, factor=0.5):
    return x * factor


def test_lambda_of_a_named_function():
    layer = layers.Lambda(halved, arguments={"factor": 0.25})
    y = check_layer(layers.Lambda, {"function": halved}, input_shape=(2, 3))
    assert y.get_config()["function"]["config"] == "tests>halved"
    config = json.loads(json.dumps(layer.get_config()))
    again = layers.Lambda.from_config(config)
    np.testing.assert_array_equal(again(np.ones((1, 2))), [[0.25, 0.25]])


def test_lambda_of_a_lambda_is_code():
    scale = 3
    function = lambda x, more=1: x * scale + more  # noqa: E731
    layer = layers.Lambda(function, name="one")
    reference = keras.layers.Lambda(function, name="one")
    config = json.loads(json.dumps(layer.get_config()))
    assert config == json.loads(json.dumps(reference.get_config()))
    whole = layers.serialize(layer)
    for load, saved in (
        (layers.Lambda.from_config, config),
        (layers.deserialize, whole),
    ):
        with pytest.raises(ValueError, match="safe_mode=False"):
            load(saved)
    again = layers.Lambda.from_config(config, safe_mode=False)
    np.testing.assert_array_equal(again(np.ones((1, 2))), [[4, 4]])
    other = lamina.saving.deserialize_keras_object(whole, safe_mode=False)
    np.testing.assert_array_equal(other(np.ones((1, 2))), [[4, 4]])


def test_lambda_shapes_masks_and_training():
    x = lamina.Input((4,))
    assert layers.Lambda(lambda x: x[:, :2])(x).shape == (None, 2)
    assert layers.Lambda(lambda x: x, output_shape=(7,))(x).shape == (None, 7)
    layer = layers.Lambda(lambda x, training: x * (2 if training else 1))
    np.testing.assert_array_equal(layer(np.ones((1, 1)), training=True), [[2]])
    masked = layers.Lambda(lambda x: x, mask=lambda inputs, mask: inputs[..., 0] > 0)
    y = masked(jnp.array([[[1.0], [-1.0]]]))
    np.testing.assert_array_equal(get_mask(y), [[True, False]])


def test_wrapper():
    layer = layers.Wrapper(layers.Dense(2, name="inner"), name="outer")
    layer.build((None, 3))
    assert [v.path for v in layer.weights] == ["outer/inner/kernel", "outer/inner/bias"]
    again = layers.deserialize(layers.serialize(layer))
    assert again.layer.units == 2
    assert again.get_config() == layer.get_config()


def test_aliases_and_names():
    assert layers.MaxPool2D is layers.MaxPooling2D
    assert layers.Convolution1DTranspose is layers.Conv1DTranspose
    assert layers.serialize(layers.AvgPool1D(2))["class_name"] == "AveragePooling1D"
    found = layers.deserialize({"class_name": "Dense", "config": {"units": 2}})
    assert isinstance(found, layers.Dense)
    with pytest.raises(TypeError, match="Did you mean 'Conv2D'"):
        layers.deserialize({"class_name": "Conv2d", "config": {}})


X = np.ones((2, 8, 4), "float32")
BAD = [
    (lambda: layers.Dense(-3), ValueError, "positive integer.*units=-3"),
    (lambda: layers.Embedding(0, 2), ValueError, "`input_dim` must be a positive"),
    (lambda: layers.Embedding(3, 3.7), ValueError, "`output_dim` must be a positive"),
    (lambda: layers.Embedding(3, 2, weights=np.ones((2, 2))), ValueError, "(3, 2)"),
    (lambda: layers.Embedding(3, 2, lora_rank=-2), ValueError, "`lora_rank`"),
    (lambda: layers.EinsumDense("ab->ac", 3), ValueError, "invalid einsum equation"),
    (lambda: layers.EinsumDense("ab,bc->ac", 3)(X), ValueError, "names 2 axes"),
    (
        lambda: layers.EinsumDense("ab,bc->ac", 3, bias_axes="z")(X[0]),
        ValueError,
        "'z'",
    ),
    (lambda: layers.EinsumDense("abc,cd->abd", (None,))(X), ValueError, "2 entries"),
    (
        lambda: layers.EinsumDense("abc,cd->abd", (7, 3))(X),
        ValueError,
        "8 in the input",
    ),
    (lambda: layers.Lambda(3), TypeError, "callable"),
    (lambda: layers.Wrapper(3), ValueError, "a supported layer type"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message.replace("(", r"\(").replace(")", r"\)")):
        make()


# What the checks themselves must catch.


class Jumpy(lamina.layers.Layer):
    def call(self, x):
        return x if isinstance(x, jax.core.Tracer) else x + 1


def test_check_layer_fails_where_it_should():
    with pytest.raises(AssertionError, match="compiled and eager"):
        check_layer(Jumpy, {}, input_shape=(2, 3))
    with pytest.raises(AssertionError, match="output shape is"):
        check_layer(layers.Dense, {"units": 2}, input_shape=(2, 3),
                    expected_output_shape=(2, 3))  # fmt: skip
    with pytest.raises(AssertionError, match="its reference"):
        check_layer(layers.ReLU, {}, input_shape=(2, 3), mixed_precision=False,
                    reference=keras.layers.ELU())  # fmt: skip


def test_check_op():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    check_op(lamina.ops.tanh, x, reference=np.tanh)
    with pytest.raises(AssertionError, match="gradient"):
        check_op(lamina.core.op.op(stuck), x)
    with pytest.raises(AssertionError, match="reference"):
        check_op(lamina.ops.tanh, x, reference=np.sin)


@jax.custom_jvp
def stuck(x):
    return x * 2


stuck.defjvp(lambda primals, tangents: (stuck(*primals), tangents[0] * 3))
