"""Copies: deepcopy, pickle, clone_model, JSON."""

import copy
import pickle

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


def test_clone_with_functions():
    def renamed(layer):
        config = {**layer.get_config(), "name": layer.name + "_new"}
        return type(layer).from_config(config)

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
