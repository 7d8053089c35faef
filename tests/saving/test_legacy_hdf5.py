"""Whole models and weights in the HDF5 format of Keras 2, read and written."""

import json
import logging

import h5py
import keras
import numpy as np
import pytest
from table import MODELS, inputs_for, outputs_of, same, targets_for

import lamina
from lamina.saving import legacy_hdf5
from lamina.saving.migration import migrated

load = lamina.saving.load_model


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("absl").setLevel(logging.ERROR)


def compiled(model, k, x):
    model.compile(k.optimizers.Adam(0.01), k.losses.MeanSquaredError())
    y = targets_for(outputs_of(model, x))
    model.train_on_batch(x, y)
    return y


# ---- both ways with Keras 3 --------------------------------------------------------


@pytest.mark.parametrize("name", ["dense", "recurrent", "images", "attention"])
def test_whole_models_go_both_ways(name, tmp_path):
    model = MODELS[name](keras)
    x = inputs_for(model, rows=4)
    y = compiled(model, keras, x)
    model.save(tmp_path / "theirs.h5")
    loaded = load(tmp_path / "theirs.h5")
    same(model, loaded, x)
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    a = np.asarray(model.train_on_batch(x, y))
    np.testing.assert_allclose(loaded.train_on_batch(x, y), a, rtol=1e-5)
    loaded.save(tmp_path / "ours.hdf5")
    same(loaded, keras.saving.load_model(tmp_path / "ours.hdf5"), x)
    again = load(tmp_path / "ours.hdf5")
    for a, b in zip(loaded.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_ops_are_told_from_layers_of_their_name(tmp_path):
    # `Multiply` of a file without modules; Keras itself takes it for the layer.
    model = MODELS["nested"](keras)
    model.save(tmp_path / "m.h5")
    same(model, load(tmp_path / "m.h5"), inputs_for(model))


def test_several_inputs_and_half_precision_within_lamina(tmp_path):
    for name in ("several", "half", "mixed"):
        model = MODELS[name](lamina)
        model.save(tmp_path / "m.h5")
        same(model, load(tmp_path / "m.h5"), inputs_for(model), 0)


def test_the_optimizer_stays_out_when_told(tmp_path):
    model = MODELS["dense"](lamina)
    compiled(model, lamina, inputs_for(model))
    model.save(tmp_path / "m.h5", include_optimizer=False)
    assert not load(tmp_path / "m.h5").compiled
    model.save(tmp_path / "m.h5")
    assert load(tmp_path / "m.h5").compiled
    assert not load(tmp_path / "m.h5", compile=False).compiled


@pytest.mark.parametrize(("k", "other"), [(lamina, keras), (keras, lamina)])
def test_many_layers_with_names_beyond_ascii(tmp_path, k, other):
    """HDF5 keeps their links in a heap."""
    layers = [k.layers.Dense(2, name=f"größe_{i}") for i in range(12)]
    model = k.Sequential([k.Input((3,)), *layers])
    model.save(tmp_path / "a.h5")
    for again in (load(tmp_path / "a.h5"), other.saving.load_model(tmp_path / "a.h5")):
        for one, two in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.h5"
    MODELS["dense"](lamina).save(path)
    before = path.read_bytes()
    monkeypatch.setattr("lamina.saving.state.checksum", lambda value: object())
    with pytest.raises(OSError, match="reads back as something else"):
        MODELS["dense"](lamina).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# ---- files of Keras 2 --------------------------------------------------------------


def texts(values):
    return np.array([v.encode() for v in values], "S") if values else np.zeros(0)


def old_file(path, config, groups, training=None, optimizer=None):
    """Write a file as Keras 2 does: `groups` is layer -> {weight name: value}."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.4.0"
        file.attrs["backend"] = b"tensorflow"
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
        if training:
            file.attrs["training_config"] = json.dumps(training).encode()
        root = file.create_group("model_weights") if config is not None else file
        root.attrs["layer_names"] = texts(list(groups))
        for name, values in groups.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = texts(list(values))
            for key, value in values.items():
                group[key] = value
        if optimizer:
            group = file.create_group("optimizer_weights")
            group.attrs["weight_names"] = texts(list(optimizer))
            for key, value in optimizer.items():
                group[key] = value
    return path


def glorot(kind="GlorotUniform"):
    return {"class_name": kind, "config": {"seed": None, "dtype": "float32"}}


def zeros():
    return {"class_name": "Zeros", "config": {"dtype": "float32"}}


def dense(name, units, **more):
    config = {
        "name": name, "trainable": True, "dtype": "float32", "units": units,
        "activation": "linear", "use_bias": True, "kernel_initializer": glorot(),
        "bias_initializer": zeros(), "kernel_regularizer": None,
        "bias_regularizer": None, "activity_regularizer": None,
        "kernel_constraint": None, "bias_constraint": None, **more,
    }  # fmt: skip
    return {"class_name": "Dense", "config": config}


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def pair(name, n, m, seed=0):
    return {f"{name}/kernel:0": numbers(n, m, seed=seed), f"{name}/bias:0": numbers(m)}


X = numbers(3, 4, seed=7)


@pytest.mark.parametrize("as_list", [True, False])
def test_a_stack_of_keras_2(as_list, tmp_path):
    first = dense("a", 3, batch_input_shape=[None, 4], activation="relu")
    layers = [first, dense("b", 2)]
    config = layers if as_list else {"name": "old", "layers": layers}
    a, b = pair("a", 4, 3), pair("b", 3, 2, seed=1)
    momenta = {
        "training/Adam/iter:0": np.int64(7),
        **{f"Adam/{k[:-2]}/m:0": v + 1 for k, v in (a | b).items()},
        **{f"Adam/{k[:-2]}/v:0": v * v for k, v in (a | b).items()},
    }
    training = {
        "loss": {
            "class_name": "MeanSquaredError",
            "config": {"reduction": "auto", "name": "mean_squared_error", "fn": None},
        },
        "metrics": [
            [{"class_name": "MeanMetricWrapper",
              "config": {"name": "mae", "fn": "mean_absolute_error"}}]
        ],
        "sample_weight_mode": None,
        "loss_weights": None,
        "optimizer_config": {
            "class_name": "Adam",
            "config": {"name": "Adam", "lr": 0.05, "decay": 0.0, "beta_1": 0.9,
                       "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False},
        },
    }  # fmt: skip
    training["loss"]["config"].pop("fn")
    model = load(
        old_file(
            tmp_path / "m.h5",
            {"class_name": "Sequential", "config": config},
            {"a": a, "b": b},
            training,
            momenta,
        )
    )
    hidden = np.maximum(X @ a["a/kernel:0"] + a["a/bias:0"], 0)
    expected = hidden @ b["b/kernel:0"] + b["b/bias:0"]
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5)
    optimizer = model.optimizer
    assert int(optimizer.iterations) == 7
    assert float(optimizer.learning_rate) == pytest.approx(0.05)
    state = [np.asarray(v) for v in optimizer.variables[2:]]
    for i, value in enumerate([*a.values(), *b.values()]):
        np.testing.assert_allclose(state[2 * i], value + 1, rtol=1e-6)
        np.testing.assert_allclose(state[2 * i + 1], value * value, rtol=1e-6)
    model.fit(X, np.ones((3, 2)), verbose=0)
    assert "mean_absolute_error" in model.evaluate(
        X, np.ones((3, 2)), verbose=0, return_dict=True
    )


def graph_of_keras_2(first_node):
    """Return a graph with a shared layer, a nested stack, keyword tensors."""
    inner = {
        "class_name": "Sequential",
        "config": {
            "name": "inner",
            "layers": [
                dense("c", 3, batch_input_shape=[None, 3]),
                {
                    "class_name": "BatchNormalizationV1",
                    "config": {"name": "bn", "axis": [1], "momentum": 0.9,
                               "epsilon": 1e-3, "fused": None,
                               "virtual_batch_size": None},
                },
            ],
        },
        "name": "inner",
        "inbound_nodes": [[["shared", 0, 0, {}]]],
    }  # fmt: skip
    data = {
        "class_name": "InputLayer",
        "config": {
            "batch_input_shape": [None, 4], "dtype": "float32", "sparse": False,
            "name": "x",
        },
    }  # fmt: skip
    layers = [
        {**data, "name": "x", "inbound_nodes": []},
        {
            **dense("shared", 3),
            "name": "shared",
            "inbound_nodes": [[["x", 0, 0, {}]], [["x", 0, 0, {}]]],
        },
        inner,
        {
            "class_name": "Add",
            "config": {"name": "add"},
            "name": "add",
            "inbound_nodes": [[["inner", first_node, 0, {}], ["shared", 1, 0, {}]]],
        },
        {
            "class_name": "LeakyReLU",
            "config": {"name": "leaky", "alpha": 0.25},
            "name": "leaky",
            "inbound_nodes": [[["add", 0, 0, {}]]],
        },
    ]
    config = {
        "name": "graph",
        "layers": layers,
        "input_layers": [["x", 0, 0]],
        "output_layers": [["leaky", 0, 0]],
    }
    return {"class_name": "Model", "config": config}


@pytest.mark.parametrize("first_node", [0, 1])
def test_a_graph_of_keras_2(first_node, tmp_path):
    shared, c = pair("shared", 4, 3), pair("c", 3, 3, seed=2)
    bn = {
        f"bn/{k}:0": np.abs(numbers(3, seed=i)) + 0.5
        for i, k in enumerate(("gamma", "beta", "moving_mean", "moving_variance"))
    }
    groups = {"x": {}, "shared": shared, "inner": c | bn, "add": {}, "leaky": {}}
    config = graph_of_keras_2(first_node)
    model = load(old_file(tmp_path / "m.hdf5", config, groups))
    one = X @ shared["shared/kernel:0"] + shared["shared/bias:0"]
    two = one @ c["c/kernel:0"] + c["c/bias:0"]
    two = (two - bn["bn/moving_mean:0"]) / np.sqrt(bn["bn/moving_variance:0"] + 1e-3)
    two = one + two * bn["bn/gamma:0"] + bn["bn/beta:0"]
    expected = np.where(two > 0, two, 0.25 * two)
    found = model.predict(X, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first_node", [0, 1])
def test_a_graph_of_keras_2_that_ends_with_a_model(first_node, tmp_path):
    data = {"batch_input_shape": [None, 4], "dtype": "float32"}

    def graph(name, last, *calls, node=0):
        first = f"{name}_in"
        begin = {"class_name": "InputLayer", "config": {**data, "name": first},
                 "name": first, "inbound_nodes": []}  # fmt: skip
        calls = [[[*place, {}]] for place in ([first, 0, 0], *calls)]
        key = last["config"]["name"]
        layers = [begin, {**last, "name": key, "inbound_nodes": calls}]
        ends = {"input_layers": [[first, 0, 0]], "output_layers": [[key, node, 0]]}
        config = {"name": name, "layers": layers, **ends}
        return {"class_name": "Model", "config": config}

    inner = graph("inner", dense("a", 4))
    again = ["inner", first_node, 0]
    config = graph("outer", inner, again, node=first_node + 1)
    a = pair("a", 4, 4)
    model = load(old_file(tmp_path / "m.hdf5", config, {"outer_in": {}, "inner": a}))
    assert model.get_config()["output_layers"] == ["inner", 2, 0]
    found, (kernel, bias) = X, a.values()
    for _ in range(2):
        found = found @ kernel + bias
    np.testing.assert_allclose(model.predict(X, verbose=0), found, rtol=1e-5, atol=1e-5)


RECURRENT = {
    "implementation": 2, "unroll": False, "time_major": False, "stateful": False,
    "go_backwards": False, "return_sequences": False, "return_state": False,
}  # fmt: skip


@pytest.mark.parametrize(
    "name, config, shape",
    [
        ("LSTM", {"units": 2, "unit_forget_bias": True, **RECURRENT}, (5, 4)),
        ("GRU", {"units": 2, "reset_after": True, **RECURRENT}, (5, 4)),
        ("Embedding", {"input_dim": 9, "output_dim": 2, "input_length": 5}, (5,)),
        ("DepthwiseConv2D",
         {"kernel_size": [2, 2], "groups": 1, "depthwise_initializer": glorot()},
         (4, 4, 2)),
        ("SeparableConv2D",
         {"filters": 2, "kernel_size": [2, 2], "groups": 1,
          "kernel_initializer": glorot()}, (4, 4, 2)),
        ("Conv2DTranspose", {"filters": 2, "kernel_size": [2, 2], "groups": 1},
         (4, 4, 2)),
        ("Conv2D", {"filters": 2, "kernel_size": [2, 2], "groups": 2}, (4, 4, 2)),
        ("ThresholdedReLU", {"theta": 0.5}, (4,)),
        ("Dense",
         {"units": 2, "dtype": {"class_name": "Policy",
                                "config": {"name": "mixed_float16"}}}, (4,)),
        ("Dense",
         {"units": 2, "kernel_initializer": {
             "class_name": "VarianceScaling",
             "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "normal",
                        "seed": None, "dtype": "float32"}}}, (4,)),
    ],
)  # fmt: skip
def test_layers_of_keras_2(name, config, shape):
    layer = {"class_name": name, "config": {"name": "it", **config}}
    layer["config"]["batch_input_shape"] = [None, *shape]
    text = json.dumps({"class_name": "Sequential", "config": [layer]})
    model = lamina.models.model_from_json(text)
    assert model.layers[0].name == "it"
    assert model.input_shape == (None, *shape)
    assert model.built


def test_decay_is_the_schedule_that_computes_the_same():
    config = {"class_name": "SGD", "config": {"lr": 0.5, "decay": 0.25}}
    optimizer = lamina.saving.deserialize_keras_object(migrated(config))
    variable = lamina.Variable([0.0])
    steps = []
    for _ in range(3):
        before = float(variable.numpy()[0])
        optimizer.apply([np.ones(1, "float32")], [variable])
        steps.append(before - float(variable.numpy()[0]))
    np.testing.assert_allclose(steps, [0.5, 0.4, 1 / 3], rtol=1e-6)


def test_todays_configs_stay_as_they_are():
    for name in ("dense", "several", "recurrent", "images", "attention"):
        config = json.loads(MODELS[name](keras).to_json())
        assert migrated(config) == config


def test_what_is_gone_and_meant_something_is_not_dropped():
    layer = {"class_name": "Conv2DTranspose", "config": {"groups": 2}}
    assert migrated(layer) == layer


def test_an_old_lambda_is_code_and_stays_out(tmp_path):
    layer = {
        "class_name": "Lambda",
        "config": {
            "name": "f", "function": ["4wEAAAA=", None, None], "module": "os",
            "function_type": "lambda", "output_shape": None,
            "output_shape_type": "raw", "arguments": {},
            "batch_input_shape": [None, 4],
        },
    }  # fmt: skip
    config = {"class_name": "Sequential", "config": [layer]}
    path = old_file(tmp_path / "m.h5", config, {})
    for safe_mode in (True, None):
        with pytest.raises(ValueError, match="arbitrary code execution"):
            load(path, safe_mode=safe_mode)
    with pytest.raises(ValueError, match="arbitrary code execution"):
        lamina.models.model_from_json(json.dumps(config))


# ---- weights alone -----------------------------------------------------------------


def stack(*units, names=("a", "b")):
    layers = [lamina.layers.Dense(n, name=m) for n, m in zip(units, names, strict=True)]
    return lamina.Sequential([lamina.Input((4,)), *layers])


@pytest.fixture
def weights(tmp_path):
    groups = {"a": pair("a", 4, 3), "b": pair("b", 3, 2, seed=1)}
    return old_file(tmp_path / "w.h5", None, groups)


def test_weights_in_order(weights):
    model = stack(3, 2, names=("x", "y"))
    model.load_weights(weights)
    np.testing.assert_array_equal(model.get_weights()[0], numbers(4, 3))
    np.testing.assert_array_equal(model.get_weights()[2], numbers(3, 2, seed=1))


def test_weights_by_name(weights):
    model = stack(3, 5, names=("a", "other"))
    before = model.get_weights()[2]
    model.load_weights(weights, by_name=True)
    np.testing.assert_array_equal(model.get_weights()[0], numbers(4, 3))
    np.testing.assert_array_equal(model.get_weights()[2], before)


def test_weights_of_a_whole_model(tmp_path):
    model = MODELS["dense"](keras)
    model.save(tmp_path / "m.h5")
    fresh = MODELS["dense"](lamina)
    fresh.load_weights(tmp_path / "m.h5")
    same(model, fresh, inputs_for(model))


def test_what_does_not_fit_is_told_and_nothing_assigned(weights, tmp_path):
    model = stack(3, 5)
    before = model.get_weights()
    match = r"Shape mismatch in layer 'b' .*\(3, 5\).*\(3, 2\)"
    with pytest.raises(ValueError, match=match):
        model.load_weights(weights)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    with pytest.warns(UserWarning, match="Skipping loading.*'b'"):
        model.load_weights(weights, skip_mismatch=True)
    np.testing.assert_array_equal(model.get_weights()[0], numbers(4, 3))
    with pytest.raises(ValueError, match="expected 3 layers with weights, found 2"):
        stack(3, 3, 2, names="abc").load_weights(weights)
    with pytest.raises(ValueError, match="No model config found"):
        load(weights)
    model.save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "m.weights.h5").rename(tmp_path / "m.h5")
    with pytest.raises(ValueError, match="does not list the names of its layers"):
        model.load_weights(tmp_path / "m.h5")


# ---- models inside, with other layers frozen -----------------------------------------


def inside(k, frozen, names=(None, None, None)):
    """A model whose parts, all of one shape, are in a model inside."""

    class Block(k.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.scale = self.add_weight(shape=(4,), name="w", initializer="ones")
            self.dense = k.layers.Dense(4)

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x):
            return self.dense(x) * self.scale

    first, second, third = names
    layers = [
        k.layers.Dense(4, name=first),
        k.layers.BatchNormalization(name=second),
        k.layers.Dense(4, name=third),
        Block(),
        Block(),
    ]
    for i in frozen:
        layers[i].trainable = False
    net = k.Sequential([k.Input((4,)), *layers], name="net")
    x = k.Input((4,))
    model = k.Model(x, k.layers.Dense(2)(net(x)))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.weights])
    return model


@pytest.mark.parametrize("writer", [lamina, keras], ids=["lamina", "keras"])
@pytest.mark.parametrize("names", [(None, None, None), ("c", "b", "a")])
@pytest.mark.parametrize("before, now", [((0,), ()), ((), (0, 3)), ((0, 3), (2,))])
def test_weights_find_their_layers_whatever_is_frozen(
    writer, names, before, now, tmp_path
):
    model = inside(writer, before, names)
    model.save(tmp_path / "m.h5")
    other = inside(lamina, now, names)
    other.set_weights([np.zeros(w.shape) for w in other.weights])
    other.load_weights(tmp_path / "m.h5")
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_names_that_say_nothing_leave_the_order(tmp_path):
    model = inside(lamina, (0,), ("c", "b", "a"))
    model.save(tmp_path / "m.h5")
    other = inside(lamina, (0,), ("x", "y", "z"))
    other.load_weights(tmp_path / "m.h5")
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_numbers_that_no_freezing_explains_leave_the_order(tmp_path):
    def numbered(*numbers):
        layers = [lamina.layers.Dense(4, name=f"part_{n}") for n in numbers]
        net = lamina.Sequential([lamina.Input((4,)), *layers])
        return lamina.Sequential([lamina.Input((4,)), net])

    model, other = numbered(7, 5, 8, 6), numbered(1, 2, 3, 4)
    model.save(tmp_path / "m.h5")
    other.load_weights(tmp_path / "m.h5")
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- hostile files -----------------------------------------------------------------


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda f: f.attrs.__setitem__("model_config", "{"), "is not JSON"),
        (lambda f: f.attrs.__setitem__("model_config", "[" * 9**5), "is not JSON"),
        (lambda f: f.attrs.__setitem__("model_config", "[]"), "describes no model"),
        (lambda f: f.attrs.__setitem__("model_config", 3), "that is not text"),
        (
            lambda f: [f.attrs.create(f"layer_names{i}", 0) for i in range(1001)],
            "more than 1000 attributes",
        ),
        (lambda f: f.__setitem__("more", h5py.SoftLink("/x")), "SoftLink"),
        (
            lambda f: f.__setitem__("more", h5py.ExternalLink("/tmp/x.h5", "/")),
            "ExternalLink",
        ),
        (
            lambda f: f.create_dataset("more", (1 << 40,), "f4", chunks=(1024,)),
            "shape bomb",
        ),
        (
            lambda f: f["model_weights/a"].attrs.__setitem__(
                "weight_names", texts(["../../x"])
            ),
            "does not hold it",
        ),
        (
            lambda f: f["model_weights"].attrs.__setitem__(
                "layer_names", texts(["../a", "b"])
            ),
            "does not hold it",
        ),
    ],
)  # fmt: skip
def test_hostile_files(change, match, tmp_path):
    config = {
        "class_name": "Sequential",
        "config": [dense("a", 3, batch_input_shape=[None, 4])],
    }
    path = old_file(tmp_path / "m.h5", config, {"a": pair("a", 4, 3)})
    assert load(path).layers[0].units == 3
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(ValueError, match=match):
        load(path)


def test_a_long_text_says_nothing_of_the_others(tmp_path):
    """A large model's configuration is not what each of its many names takes."""
    dense = keras.layers.Dense
    model = keras.Sequential([keras.Input((1,)), dense(1), dense(1), dense(1)])
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file.attrs.create("notes", "b" * (1 << 25), dtype=h5py.string_dtype())
    same(load(tmp_path / "m.h5"), model, np.ones((2, 1), "float32"))


def test_a_config_larger_than_the_file(tmp_path):
    config = {
        "class_name": "Sequential",
        "config": [dense("a", 10**9, batch_input_shape=[None, 10**9])],
    }
    path = old_file(tmp_path / "m.h5", config, {"a": pair("a", 4, 3)})
    with pytest.raises(ValueError, match="Not allowed: the architecture.*TiB"):
        load(path)


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "Dense", "config": {}, "registered_name": 3},
        {"class_name": "Model", "config": {"layers": [{"inbound_nodes": [[[]]]}]}},
        {"class_name": "Model", "config": {"layers": [{"inbound_nodes": 3}]}},
    ],
)
def test_configs_of_the_wrong_kinds(config, tmp_path):
    path = old_file(tmp_path / "m.h5", config, {})
    match = "describes no model|could not be made from its config"
    with pytest.raises((ValueError, TypeError), match=match):
        load(path)


def test_a_layer_that_is_listed_again_and_again_is_read_once(tmp_path, monkeypatch):
    config = {
        "class_name": "Sequential",
        "config": [dense("a", 3, batch_input_shape=[None, 4])],
    }
    path = old_file(tmp_path / "m.h5", config, {"a": pair("a", 4, 3)})
    with h5py.File(path, "a") as file:
        group = file["model_weights"]
        group.attrs["layer_names"] = np.array([b"a"] * 1000)
    seen = []
    real = legacy_hdf5._group
    monkeypatch.setattr(legacy_hdf5, "_group", lambda *a: seen.append(a[2]) or real(*a))
    load(path)
    assert seen.count("a") == 1


@pytest.mark.parametrize("module", ["os", "keras.utils", None])
def test_names_stay_in_the_registry(module, tmp_path):
    layer = {"class_name": "system", "config": {"name": "x"}, "module": module}
    path = old_file(
        tmp_path / "m.h5", {"class_name": "Sequential", "config": [layer]}, {}
    )
    with pytest.raises(TypeError, match="Could not locate class 'system'"):
        load(path)


def test_numbers_in_names_become_ranks():
    paths = [["a_7", "w"], ["a_3", "w"], ["a_7", "v_2"], ["b", "w_1"], ["a_3"]]
    assert legacy_hdf5._ranked(paths) == [
        ("a", 1, "w", 0),
        ("a", 0, "w", 0),
        ("a", 1, "v", 0),
        ("b", 0, "w", 0),
        ("a", 0),
    ]
    assert legacy_hdf5._ranked([]) == []


def test_ranks_of_many_names_are_counted_once(monkeypatch):
    looked = []

    def counted(values):
        looked.append(len(values))
        return sorted(values)

    monkeypatch.setattr(legacy_hdf5, "sorted", counted, raising=False)
    paths = [["a"] * 20 + [f"w_{i}"] for i in range(500)]
    assert [key[-1] for key in legacy_hdf5._ranked(paths)] == list(range(500))
    assert sum(looked) == 520
