"""Copies: deepcopy, pickle, clone_model, JSON."""

import copy
import pickle

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from table import CUSTOM, MODELS, inputs_for, outputs_of

import lamina


def again(x):
    return pickle.loads(pickle.dumps(x))


@pytest.mark.parametrize("name", ["dense", "nested", "several", "recurrent", "custom"])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, again])
def test_models(name, duplicate):
    model = MODELS[name](lamina)
    if name == "custom" and duplicate is again:
        with pytest.raises((AttributeError, pickle.PicklingError), match="local"):
            duplicate(model)  # Python pickles classes by the place they are found at
        return
    other = duplicate(model)
    x = inputs_for(model)
    for a, b in zip(outputs_of(model, x), outputs_of(other, x), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not {id(w) for w in model.weights} & {id(w) for w in other.weights}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, again])
def test_training_goes_on_in_a_copy(duplicate):
    model = MODELS["normalized"](lamina)
    model.compile(lamina.optimizers.Adam(0.1), "mse")
    x, y = np.ones((4, 4), "float32"), np.ones((4, 1), "float32")
    model.fit(x, y, epochs=2, verbose=0)
    other = duplicate(model)
    for one in (model, other):
        one.fit(x, y, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers():
    layer = lamina.layers.Dense(3, activation="relu", kernel_regularizer="l2")
    layer.build((None, 4))
    for other in (copy.deepcopy(layer), again(layer), copy.deepcopy([layer])[0]):
        assert other.get_config() == layer.get_config()
        np.testing.assert_array_equal(other.kernel.numpy(), layer.kernel.numpy())
        assert other.kernel is not layer.kernel
    unbuilt = copy.deepcopy(lamina.layers.Dense(3))
    assert not unbuilt.built


def test_functions_are_shared_and_never_bytecode(monkeypatch):
    from lamina.core import config

    monkeypatch.setattr(config, "_bytecode", None)
    double = lambda x: x * 2  # noqa: E731
    model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Lambda(double)])
    assert copy.deepcopy(model).layers[0].function is double
    assert lamina.models.clone_model(model).layers[0].function is double


def test_classes_of_one_name_are_told_apart():
    def make(factor):
        class Dense(lamina.layers.Layer):
            def call(self, x):
                return x * factor

        return Dense

    layers = [make(2.0)(name="a"), make(5.0)(name="b"), lamina.layers.Dense(1)]
    model = lamina.Sequential([lamina.Input((4,)), *layers])
    x = np.ones((1, 4), "float32")
    for other in (copy.deepcopy(model), lamina.models.clone_model(model)):
        other.set_weights(model.get_weights())
        np.testing.assert_array_equal(other(x), model(x))


@pytest.mark.parametrize("name", MODELS)
def test_clone_model(name):
    model = MODELS[name](lamina)
    other = lamina.models.clone_model(model)
    x = inputs_for(model)
    outputs_of(other, x)  # builds the custom one
    other.set_weights(model.get_weights())
    for a, b in zip(outputs_of(model, x), outputs_of(other, x), strict=True):
        np.testing.assert_array_equal(a, b)
    if name not in CUSTOM:  # whose layers name themselves
        assert [a.name for a in other.layers] == [b.name for b in model.layers]


def renamed(layer):
    config = {**layer.get_config(), "name": layer.name + "_new"}
    return type(layer).from_config(config)


def test_clone_with_functions():
    model = MODELS["nested"](lamina)
    other = lamina.models.clone_model(model, clone_function=renamed)
    assert other.layers[2].name == model.layers[2].name + "_new"
    calls = []

    def call(layer, *args, **kwargs):
        calls.append(layer.name)
        return layer(*args, **kwargs)

    lamina.models.clone_model(model, call_function=call)
    assert calls == [model.layers[1].name] * 2 + [model.layers[2].name]
    deep = lamina.models.clone_model(model, clone_function=renamed, recursive=True)
    assert deep.layers[1].layers[1].layers[0].name.endswith("_new")


def test_clone_keeps_the_compilation():
    model = MODELS["dense"](lamina)
    model.compile("adam", "mse", metrics=["mae"])
    other = lamina.models.clone_model(model)
    assert other.compiled and other.optimizer is not model.optimizer


def test_clone_refuses():
    clone = lamina.models.clone_model
    with pytest.raises(
        ValueError, match="only supported for Sequential and Functional"
    ):
        clone(MODELS["custom"](lamina), clone_function=lambda x: x)
    with pytest.raises(ValueError, match="same structure as model.input"):
        clone(MODELS["several"](lamina), input_tensors=lamina.Input((4,)))
    with pytest.raises(ValueError, match="Unexpected keyword"):
        clone(MODELS["dense"](lamina), deep=True)


@pytest.mark.parametrize("name", sorted({*MODELS} - CUSTOM))
def test_json(name):
    model = MODELS[name](lamina)
    other = lamina.models.model_from_json(model.to_json())
    assert other.to_json() == model.to_json()
    other.set_weights(model.get_weights())
    x = inputs_for(model)
    for a, b in zip(outputs_of(model, x), outputs_of(other, x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_first_parameter_may_have_any_name(tmp_path):
    class Wide(lamina.layers.Layer):
        def __init__(this, units, self=2, **kwargs):
            super().__init__(**kwargs)
            this.dense = lamina.layers.Dense(units * self)

        def call(this, x):
            return this.dense(x)

    class Box(lamina.constraints.Constraint):
        def __init__(this, high):
            this.high = high

        def __call__(this, x):
            return lamina.ops.minimum(x, this.high)

    box = lamina.layers.Dense(1, bias_constraint=Box(0.5))
    model = lamina.Sequential([lamina.Input((3,)), Wide(2, self=3), box])
    model.save(tmp_path / "m.keras")
    lent = {"Wide": Wide, "Box": Box}
    x = np.arange(6, dtype="float32").reshape(2, 3)
    loaded = lamina.models.load_model(tmp_path / "m.keras", custom_objects=lent)
    text = lamina.models.model_from_json(model.to_json(), custom_objects=lent)
    text.set_weights(model.get_weights())
    for other in (loaded, text, copy.deepcopy(model)):
        assert other.layers[0].get_config()["self"] == 3
        assert other.layers[1].bias_constraint.high == 0.5
        np.testing.assert_array_equal(other(x), model(x))
    assert lamina.models.clone_model(model).count_params() == model.count_params()


# ---- one layer in several places -----------------------------------------------------


def tied(k, name):
    """A model with one layer (or model) in two places, and its number of weights."""
    layers, x, y = k.layers, k.Input((4,)), k.Input((4,))
    one = layers.Dense(4, name="one")
    if name == "before":
        part = k.Model(x, layers.Dense(4)(one(x)), name="part")
        return k.Model(y, part(one(y))), 4
    if name == "after":
        part = k.Sequential([x, one, layers.Dense(4)], name="part")
        return k.Model(y, one(part(y))), 4
    if name == "siblings":
        first = k.Model(x, one(x), name="first")
        second = k.Sequential([k.Input((4,)), layers.Dense(4), one], name="second")
        return k.Model(y, second(first(y))), 4
    if name == "deep":
        inner = k.Model(x, one(x), name="inner")
        z = k.Input((4,))
        outer = k.Model(z, inner(z), name="outer")
        return k.Model(y, inner(one(outer(y)))), 2
    if name == "wrapped":
        rows = layers.TimeDistributed(one)
        return k.Model(y, layers.Flatten()(rows(layers.Reshape((1, 4))(one(y))))), 2
    if name == "stacked":
        part = k.Sequential([k.Input((4,)), one, layers.Dense(4)], name="part")
        return k.Sequential([y, one, part]), 4
    assert name == "twice"
    return k.Sequential([y, one, layers.Activation("tanh"), one]), 2


TIED = ["before", "after", "siblings", "deep", "wrapped", "stacked", "twice"]


def by_config(layer):
    return type(layer).from_config(layer.get_config())


@pytest.mark.parametrize("name", TIED)
def test_one_layer_in_several_places_stays_one(name, tmp_path):
    model, count = tied(lamina, name)
    assert len(model.weights) == count
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    clone = lamina.models.clone_model
    copies = [
        clone(model),
        clone(model, clone_function=by_config),
        clone(model, clone_function=by_config, recursive=True),
        lamina.models.model_from_json(model.to_json()),
        by_config(model),
        copy.deepcopy(model),
    ]
    for ending in (".keras", ".h5"):
        model.save(tmp_path / f"m{ending}")
        copies.append(lamina.models.load_model(tmp_path / f"m{ending}"))
        np.testing.assert_array_equal(copies[-1](x), model(x))
    for other in copies:
        assert len(other.weights) == count
        assert not {id(w) for w in model.weights} & {id(w) for w in other.weights}
        assert other.to_json() == model.to_json()
        other.set_weights(model.get_weights())
        np.testing.assert_array_equal(other(x), model(x))


def test_a_clone_function_that_renames_keeps_what_is_tied():
    for name in ("before", "after"):
        model, count = tied(lamina, name)
        other = lamina.models.clone_model(model, clone_function=renamed)
        assert {"one_new", "part_new"} < {layer.name for layer in other.layers}
        assert len(other.weights) == count


def test_a_clone_of_a_class_of_ones_own_ties_what_its_config_mentions_twice():
    class Ends(lamina.Model):
        def __init__(self, first, last, **kwargs):
            super().__init__(**kwargs)
            self.first, self.last = first, last

        def call(self, x):
            return self.last(self.first(x))

        def get_config(self):
            parts = {"first": self.first, "last": self.last}
            return lamina.saving.serialize_keras_object(parts)

        @classmethod
        def from_config(cls, config):
            return cls(**lamina.saving.deserialize_keras_object(config))

    one = lamina.layers.Dense(4)
    model = Ends(lamina.Sequential([lamina.Input((4,)), one]), one)
    other = lamina.models.clone_model(model)
    x = np.ones((2, 4), "float32")
    model(x), other(x)
    assert len(model.weights) == len(other.weights) == 2


@pytest.mark.parametrize("name", ["twice", "stacked"])
def test_keras_reads_a_layer_that_comes_twice(name, tmp_path):
    model, count = tied(lamina, name)
    model.save(tmp_path / "m.keras")
    theirs = keras.saving.load_model(tmp_path / "m.keras")
    x = np.ones((2, 4), "float32")
    np.testing.assert_allclose(theirs(x), model(x), rtol=1e-5, atol=1e-6)
    assert len(theirs.weights) == count


def test_layers_of_one_name_at_different_depths_are_not_tied():
    def pair():
        return [lamina.layers.Dense(4, name=n) for n in ("a", "b")]

    part = lamina.Sequential([lamina.Input((4,)), *pair()], name="part")
    model = lamina.Sequential([lamina.Input((4,)), *pair(), part])
    for other in (
        lamina.models.clone_model(model),
        lamina.models.clone_model(model, clone_function=by_config, recursive=True),
        by_config(model),
        lamina.models.model_from_json(model.to_json()),
    ):
        assert len(other.weights) == 8


def test_configs_that_are_numbered_apart_do_not_mix():
    class Two(lamina.layers.Layer):
        """Takes configs as they are, and makes both models of them."""

        def __init__(self, first, second, **kwargs):
            super().__init__(**kwargs)
            self.configs = first, second
            made = map(lamina.Sequential.from_config, (dict(first), dict(second)))
            self.first, self.second = made

        def call(self, x):
            return self.second(self.first(x))

        def get_config(self):
            first, second = self.configs
            return {"name": self.name, "first": first, "second": second}

        @classmethod
        def from_config(cls, config):
            return cls(**config)

    def config(name):
        one = lamina.layers.Dense(4, name=name)
        return lamina.Sequential([lamina.Input((4,)), one, one]).get_config()

    model = lamina.Sequential([lamina.Input((4,)), Two(config("a"), config("b"))])
    other = lamina.models.model_from_json(model.to_json(), custom_objects={"Two": Two})
    x = np.ones((1, 4), "float32")
    assert len(model.weights) == 4
    model(x), other(x)
    assert len(other.weights) == 4


def test_a_sequential_model_trains_a_layer_that_comes_twice():
    model, _ = tied(lamina, "twice")
    one, middle = model.layers[:2]
    assert model.layers == [one, middle, one] and model.count_params() == 20
    model.compile(lamina.optimizers.SGD(0.1), "mse")
    x, y = np.ones((4, 4), "float32"), np.zeros((4, 4), "float32")
    before = one.get_weights()

    def loss(kernel, bias):
        return jnp.mean((jnp.tanh(x @ kernel + bias) @ kernel + bias) ** 2)

    grads = jax.grad(loss, argnums=(0, 1))(*before)
    model.fit(x, y, batch_size=4, verbose=0)
    for value, old, slope in zip(one.get_weights(), before, grads, strict=True):
        np.testing.assert_allclose(value, old - 0.1 * slope, rtol=1e-5, atol=1e-6)
    assert model.pop() is one and model.layers == [one, middle]
    np.testing.assert_allclose(model(x), np.tanh(one(x)), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="should have unique names"):
        model.add(lamina.layers.Dense(4, name="one"))
