"""Layers of plain JAX functions, against Keras; of Flax modules where it is there."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import layers

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


@lamina.saving.register_keras_serializable("tests")
def init(rng, inputs, training):
    one, two = jax.random.split(rng)
    params = {
        "w": jax.random.normal(one, (inputs.shape[-1], 2)),
        "b": [jax.random.normal(two, (2,))],
    }
    return params, {"calls": jnp.zeros((), "int32"), "kind": None}


@lamina.saving.register_keras_serializable("tests")
def apply(inputs, training, rng, state, params):
    y = inputs @ params["w"] + params["b"][0]
    if training:
        y += jax.random.normal(rng, y.shape)
        state = {**state, "calls": state["calls"] + 1}
    return y, state


def test_keras_gives_the_same_outputs_and_state():
    ours = layers.JaxLayer(apply, init, seed=1)
    ours.build((None, 3))
    params, state = jax.tree.map(np.asarray, (ours.params, ours.state))
    theirs = keras.layers.JaxLayer(apply, init, params, state, seed=1)
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    for a, b in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a.value), np.asarray(b.value))
    for training in (False, True, True):
        one, two = ours(X, training=training), theirs(X, training=training)
        np.testing.assert_allclose(one, np.asarray(two), rtol=1e-6)
    assert int(ours.state["calls"]) == 2 and ours.state["kind"] is None


def test_it_trains_and_comes_back_from_a_file(tmp_path):
    model = lamina.Sequential([lamina.Input((3,)), layers.JaxLayer(apply, init)])
    before = np.array(model.layers[0].params["w"].value)
    model.compile("sgd", "mse")
    model.fit(X, X[:, :2], epochs=2, batch_size=2, verbose=0)
    assert int(model.layers[0].state["calls"]) == 4
    assert abs(before - model.layers[0].params["w"].value).max() > 0
    model.save(tmp_path / "model.keras")
    again = lamina.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(X), model(X))
    config = model.layers[0].get_config()
    assert not {"params", "state", "seed"} & set(config)


def test_a_lambda_in_a_file_is_refused():
    layer = layers.JaxLayer(lambda inputs: inputs * 2)
    config = lamina.layers.serialize(layer)
    with pytest.raises(ValueError, match="safe_mode=False"):
        lamina.layers.deserialize(config)


def test_weights_that_are_given():
    layer = layers.JaxLayer(
        lambda params, inputs: inputs * params[0] + params[1],
        params=[2.0, np.float16(1)],
        dtype="mixed_bfloat16",
    )
    assert layer.built and [w.dtype for w in layer.weights] == ["float32"] * 2
    assert layer(X).dtype == "bfloat16"
    both = layers.JaxLayer(lambda inputs: (inputs["a"], inputs["b"][0]))
    one, two = both({"a": X, "b": [X + 1]})
    np.testing.assert_array_equal(one, X)
    np.testing.assert_array_equal(two, X + 1)


def test_two_layers_in_one_model_begin_differently():
    class Pair(lamina.Model):
        def __init__(self):
            super().__init__()
            self.one = layers.JaxLayer(apply, init)
            self.two = layers.JaxLayer(apply, init)

        def call(self, x):
            return self.one(x) + self.two(x)

    pair = Pair()
    pair.compile("sgd", "mse")
    pair.fit(X, X[:, :2], verbose=0)  # builds while tracing
    values = [pair.one.params["w"].numpy(), pair.two.params["w"].numpy()]
    assert abs(values[0] - values[1]).max() > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((lambda params, inputs: inputs,), "needs an `init_fn`"),
        ((lambda params: 0, init), "`call_fn` to take `inputs`"),
        ((lambda inputs, mode: 0,), "`call_fn` to take arguments.*`mode`"),
        ((apply, lambda rng: 0), "`init_fn` to take `inputs`"),
    ],
)
def test_bad_functions(arguments, message):
    with pytest.raises(ValueError, match=message):
        layers.JaxLayer(*arguments)


@pytest.mark.parametrize("state", [[0.0], {"s": {"a": 0.0}}, {"s": {}}, None])
def test_state_of_another_structure(state):
    layer = layers.JaxLayer(
        lambda params, state, inputs: (inputs, {"s": [jnp.ones(())]}),
        params={},
        state=state,
    )
    with pytest.raises(ValueError, match="must return the state in the structure"):
        layer(X)


def test_flax_module(tmp_path):
    linen = pytest.importorskip("flax.linen")

    @lamina.saving.register_keras_serializable("tests")
    class Net(linen.Module):
        @linen.compact
        def forward(self, inputs, training=False):
            x = linen.Dense(4)(inputs)
            x = linen.BatchNorm(use_running_average=not training)(x)
            return linen.Dropout(0.5, deterministic=not training)(x)

        def get_config(self):
            return {}

        @classmethod
        def from_config(cls, config):
            return cls(**config)

    net = Net()
    variables = net.init(jax.random.key(0), X, method="forward")
    given = {"method": net.forward, "variables": variables, "seed": 3}
    ours = layers.FlaxLayer(net, **given)
    theirs = keras.layers.FlaxLayer(net, **given)
    assert ours.built and len(ours.trainable_weights) == 4
    for training in (True, True, False):
        one, two = ours(X, training=training), theirs(X, training=training)
        np.testing.assert_allclose(one, np.asarray(two), rtol=1e-5, atol=1e-6)
    model = lamina.Sequential([lamina.Input((3,)), ours])
    model.save(tmp_path / "model.keras")
    again = lamina.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(X), model(X))
    fresh = layers.FlaxLayer(net, method=net.forward)
    fresh(X)
    assert len(fresh.non_trainable_weights) == 2
