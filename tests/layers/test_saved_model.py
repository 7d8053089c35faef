"""TensorFlow SavedModels as layers; where TensorFlow is installed."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers, saving

tf = pytest.importorskip("tensorflow")
X = np.arange(8, dtype="float32").reshape(2, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(tf.reshape(tf.range(12.0), (4, 3)))

        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])
        def serve(self, x):
            return tf.matmul(x, self.w)

        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])
        def train(self, x):
            return {"y": tf.matmul(x, self.w) + 1.0, "x": x}

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.int64)])
        def rows(self, ids):
            return tf.gather(self.w, ids)

        @tf.function(
            input_signature=[
                {"a": tf.TensorSpec((None, 2)), "b": tf.TensorSpec((None, 2))}
            ]
        )
        def many(self, inputs):
            return inputs["a"] - inputs["b"], inputs["a"]

    module = Module()
    path = str(tmp_path_factory.mktemp("saved") / "model")
    tf.saved_model.save(
        module, path, signatures={"serving_default": module.serve, "t": module.train}
    )
    return path


W = np.arange(12, dtype="float32").reshape(4, 3)


def test_serves_eager_and_compiled(folder):
    layer = layers.TFSMLayer(folder)
    np.testing.assert_allclose(layer(X), X @ W)
    inputs = lamina.Input((4,))
    model = lamina.Model(inputs, layers.Dense(2)(layer(inputs)))
    assert layer.output.shape == (None, 3)
    assert layer.weights == []
    model.compile("sgd", "mse")
    model.fit(X, X[:, :2], verbose=0)
    kernel, bias = model.layers[-1].get_weights()
    found = model.predict(X, verbose=0)
    np.testing.assert_allclose(found, X @ W @ kernel + bias, rtol=1e-5)


def test_endpoints_and_training(folder):
    layer = layers.TFSMLayer(
        folder, call_endpoint="serving_default", call_training_endpoint="train"
    )
    np.testing.assert_allclose(layer(X)["output_0"], X @ W)
    np.testing.assert_allclose(layer(X, training=True)["y"], X @ W + 1)
    drawn = layer(lamina.Input((4,)), training=True)
    assert {k: v.shape for k, v in drawn.items()} == {"x": (None, 4), "y": (None, 3)}
    with pytest.raises(ValueError, match="'absent' is neither an attribute of.*'t'"):
        layers.TFSMLayer(folder, call_endpoint="absent")


def test_structures_and_dtypes(folder):
    rows = layers.TFSMLayer(folder, call_endpoint="rows")
    np.testing.assert_allclose(rows(np.array([3, 1])), W[[3, 1]])
    inputs = {"b": X[:, 2:], "a": X[:, :2]}
    for run in (lambda f, x: f(x), lambda f, x: jax.jit(f)(x)):
        first, second = run(layers.TFSMLayer(folder, call_endpoint="many"), inputs)
        np.testing.assert_allclose(first, X[:, :2] - X[:, 2:])
        np.testing.assert_allclose(second, X[:, :2])
    half = layers.TFSMLayer(folder, dtype="mixed_bfloat16")
    assert half(X).dtype == jnp.bfloat16


def test_gradients_are_refused_in_words(folder):
    model = lamina.Sequential([layers.Dense(4), layers.TFSMLayer(folder)])
    model.compile("sgd", "mse")
    with pytest.raises(NotImplementedError, match="TFSMLayer.*for inference"):
        model.fit(X, X[:, :3], verbose=0)


def test_files_and_copies(folder, tmp_path):
    model = lamina.Sequential([lamina.Input((4,)), layers.TFSMLayer(folder)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="SavedModel.*safe_mode=False"):
        saving.load_model(tmp_path / "model.keras")
    loaded = saving.load_model(tmp_path / "model.keras", safe_mode=False)
    for other in (loaded, copy.deepcopy(model), lamina.models.clone_model(model)):
        np.testing.assert_allclose(other.predict(X, verbose=0), X @ W)
    config = model.layers[0].get_config()
    with pytest.raises(ValueError, match="SavedModel.*safe_mode=False"):
        layers.TFSMLayer.from_config(config)
    again = layers.TFSMLayer.from_config(config, safe_mode=False)
    assert again.get_config() == config
