import json
import sys

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina.core.config import Constructed

saving = lamina.saving
dump, load = saving.serialize_keras_object, saving.deserialize_keras_object


def doubled(x):
    return 2 * x


class Mine(lamina.layers.Layer):
    def __init__(self, units, mode="plain", parts=(), **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.mode = mode
        self.parts = list(parts)

    def call(self, x):
        return x * self.units


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 2.5, "a", [1, (2, None)], {"a": {"b": [1.5]}}, b"bytes", ...,
     slice(1, None, 2), slice(None)],
    ids=repr,
)  # fmt: skip
def test_plain_values(value):
    text = json.dumps(dump(value))
    back = load(json.loads(text))
    assert json.dumps(dump(back)) == text
    assert json.loads(text) == json.loads(
        json.dumps(keras.saving.serialize_keras_object(value))
    )


def test_arrays():
    config = json.loads(json.dumps(dump(np.array([[1, 2]], "int16"))))
    back = load(config)
    assert isinstance(back, np.ndarray) and back.dtype == "int16"
    back = load(dump(jnp.array([1.5])))
    assert back.tolist() == [1.5] and not isinstance(back, np.ndarray)
    assert dump(np.float32(0.5)) == 0.5 and dump(np.dtype("int8")) == "int8"
    with pytest.raises(ValueError, match="numbers or text"):
        load({"class_name": "__numpy__", "config": {"value": [[1], []], "dtype": "O"}})


def test_what_has_no_config_is_named():
    with pytest.raises(ValueError, match="type object.*get_config"):
        dump(object())


@pytest.mark.parametrize(
    "make",
    [lambda k: k.layers.Dense(3, activation="relu", kernel_regularizer="l2"),
     lambda k: k.optimizers.Adam(k.optimizers.schedules.CosineDecay(0.1, 10)),
     lambda k: k.losses.CategoricalCrossentropy(label_smoothing=0.1),
     lambda k: k.metrics.MeanSquaredError(),
     lambda k: k.initializers.HeNormal(seed=3), lambda k: k.constraints.MaxNorm(3),
     lambda k: k.activations.relu, lambda k: k.DTypePolicy("mixed_float16"),
     lambda k: k.layers.TimeDistributed(k.layers.Dense(2))],
)  # fmt: skip
def test_objects_go_both_ways(make):
    lamina.utils.clear_session()
    keras.utils.clear_session()
    ours, theirs = dump(make(lamina)), keras.saving.serialize_keras_object(make(keras))
    ours, theirs = json.loads(json.dumps(ours)), json.loads(json.dumps(theirs))
    assert ours == theirs
    assert json.loads(json.dumps(dump(load(theirs)))) == theirs


# ---- a closed registry -------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"module": "os", "class_name": "system", "config": "true"},
        {"module": "os", "class_name": "system", "config": {}},
        {"module": "builtins", "class_name": "function", "config": "eval"},
        {"module": "builtins", "class_name": "function", "config": "os.system"},
        {"module": "builtins", "class_name": "class", "config": "object"},
        {"module": "builtins", "class_name": "eval", "config": {}},
        {"module": "a_module_of_a_file", "class_name": "Thing", "config": {}},
        {"module": "lamina.core.config", "class_name": "Constructed", "config": {}},
        {"module": "lamina.layers.layer", "class_name": "np", "config": {}},
        {"module": "keras.utils", "class_name": "get_file", "config": {}},
        {"module": "keras.layers", "class_name": "__class__", "config": {}},
        {"module": None, "class_name": "Mine", "config": {}, "registered_name": "Mine"},
        {"class_name": ["Dense"], "config": {}},
        {"class_name": "Dense", "config": "text"},
    ],
    ids=str,
)
def test_no_other_names(config, tmp_path, monkeypatch):
    (tmp_path / "a_module_of_a_file.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises((TypeError, ValueError)):
        load(config)
    assert "a_module_of_a_file" not in sys.modules


def test_the_message_has_the_fix():
    with pytest.raises(TypeError, match="Could not locate class 'Dens'") as error:
        load({"module": "keras.layers", "class_name": "Dens", "config": {}})
    assert "Did you mean 'Dense'?" in str(error.value)
    with pytest.raises(TypeError, match=r"custom_objects=\{'Custom>Mine': Mine\}"):
        load({"class_name": "Mine", "config": {}, "registered_name": "Custom>Mine"})
    with pytest.raises(TypeError, match="'Dense' could not be made.*'unit'"):
        load({"class_name": "Dense", "config": {"unit": 3}})


@pytest.mark.filterwarnings("ignore:.*includes a `lambda`:UserWarning")
def test_lambdas_need_consent_for_each_call():
    config = json.loads(json.dumps(dump(lambda x, n=2: x + n)))
    for refused in ({}, {"safe_mode": True}, {"safe_mode": None}):
        with pytest.raises(ValueError, match="safe_mode=False"):
            load(config, **refused)
    assert load(config, safe_mode=False)(3) == 5
    with pytest.raises(ValueError, match="safe_mode=False"):
        load(config)
    theirs = keras.saving.serialize_keras_object(lambda x: x * 3)
    assert load(json.loads(json.dumps(theirs)), safe_mode=False)(2) == 6


def test_a_lambda_inside_a_layer_needs_consent_too():
    config = lamina.layers.Lambda(lambda x: x + 1).get_config()
    with pytest.raises(ValueError, match="safe_mode=False"):
        lamina.layers.Lambda.from_config(config)


def test_custom_objects():
    config = dump(Mine(2, mode="x"))
    with pytest.raises(TypeError, match="Could not locate class 'Mine'"):
        load(config)
    back = load(config, custom_objects={"Mine": Mine})
    assert (type(back), back.units, back.mode) == (Mine, 2, "x")
    with saving.custom_object_scope({"Mine": Mine}):
        with saving.custom_object_scope({"doubled": doubled}):
            assert load(config).units == 2
            assert load(dump(doubled)) is doubled
        with pytest.raises(TypeError):
            load(dump(doubled))
    with pytest.raises(TypeError):
        load(config)


def test_a_scope_ends_with_an_error():
    with pytest.raises(KeyError):
        with saving.custom_object_scope({"Mine": Mine}):
            raise KeyError
    with pytest.raises(TypeError):
        load(dump(Mine(2)))


def test_registered_objects():
    saving.register_keras_serializable("shop", "own")(Mine)
    saving.register_keras_serializable("shop")(doubled)
    assert saving.get_registered_name(Mine) == "shop>own"
    assert saving.get_registered_object("shop>own") is Mine
    config = json.loads(json.dumps(dump(Mine(2))))
    assert config["registered_name"] == "shop>own"
    assert load(config).units == 2
    assert load(json.loads(json.dumps(dump(doubled)))) is doubled
    dense = lamina.layers.Dense(2, activation=doubled)
    assert load(dump(dense)).activation is doubled
    with pytest.raises(ValueError, match="get_config"):
        saving.register_keras_serializable()(type("Bare", (), {}))


def test_custom_objects_reach_inner_objects():
    x = lamina.Input((2,))
    model = lamina.Model(x, Mine(3)(lamina.layers.Dense(2, activation=doubled)(x)))
    config = json.loads(json.dumps(dump(model)))
    names = {"Mine": Mine, "doubled": doubled}
    for copy in (
        load(config, custom_objects=names),
        lamina.Model.from_config(config["config"], custom_objects=names),
    ):
        copy.set_weights(model.get_weights())
        data = np.ones((1, 2))
        assert copy(data).tolist() == model(data).tolist()


def test_layers_in_lists_come_back():
    layer = Mine(2, parts=[lamina.layers.Dense(1), Mine(3)])
    config = json.loads(json.dumps(layer.get_config()))
    with saving.custom_object_scope({"Mine": Mine}):
        back = Mine.from_config(config)
    assert [type(p).__name__ for p in back.parts] == ["Dense", "Mine"]
    assert json.loads(json.dumps(back.get_config())) == config


def test_the_constructor_contract():
    class Kept(Constructed):
        def __init__(self, a, b=2):
            self.a, self.b = a, b

    class Lost(Constructed):
        def __init__(self, a):
            self.other = a

    assert Kept(1).get_config() == {"a": 1, "b": 2}
    assert Kept.from_config({"a": 5}).b == 2
    with pytest.raises(NotImplementedError, match="`self.a = a`"):
        Lost(1).get_config()


NEARLY = {
    "losses": "mean_squared_eror",
    "metrics": "acuracy",
    "optimizers": "adan",
    "layers": "Dens",
    "initializers": "glorot_unifor",
    "regularizers": "orthogonal_regulariser",
    "activations": "rellu",
}


@pytest.mark.parametrize("space", NEARLY)
def test_unknown_names_are_answered_with_the_nearest(space):
    module = getattr(lamina, space)
    with pytest.raises((ValueError, TypeError), match="Did you mean '"):
        if space == "layers":
            module.deserialize({"class_name": NEARLY[space], "config": {}})
        else:
            module.get(NEARLY[space])


def test_arrays_of_text():
    config = json.loads(json.dumps(dump(np.array(["a", "bc"]))))
    assert load(config).tolist() == ["a", "bc"]


@pytest.mark.parametrize("keys", ["kept", "written"])
@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("losses.BinaryCrossentropy", {"label_smoothing": 0.1}),
        ("metrics.Precision", {"top_k": 2}),
        ("optimizers.Adam", {"beta_1": 0.5}),
        ("optimizers.schedules.CosineDecay", {"initial_learning_rate": 0.1,
                                              "decay_steps": 5, "alpha": 0.5}),
        ("constraints.MaxNorm", {"max_value": 3}),
    ],
)  # fmt: skip
def test_a_subclass_keeps_what_it_hands_on(path, given, keys):
    space, name = path.rsplit(".", 1)
    configs = []
    for module in (lamina, keras):
        for part in space.split("."):
            module = getattr(module, part)

        class Own(getattr(module, name)):
            def __init__(self, own=1, **kwargs):
                super().__init__(**kwargs)
                self.own = own

        def get_config(self):
            return {**super(type(self), self).get_config(), "own": self.own}

        if keys == "written" or module.__name__.startswith("keras"):
            Own.get_config = get_config
        made = Own(own=2, **given)
        configs.append({**made.get_config(), "name": None})
        assert Own.from_config(made.get_config()).get_config() == made.get_config()
    assert configs[0] == configs[1]
