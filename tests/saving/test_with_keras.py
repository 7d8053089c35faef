"""Models of Keras in Lamina and models of Lamina in Keras, through files."""

import importlib.util
import json
import logging
import zipfile

import h5py
import jax
import keras
import numpy as np
import pytest
from families import LINE, TABLE, custom
from table import inputs_for

import lamina


@pytest.fixture(autouse=True)
def no_leftovers():
    logging.getLogger("absl").setLevel(logging.ERROR)  # a word on `.h5` each time
    yield
    keras.saving.get_custom_objects().clear()


def layout(path):
    """Return what values a `.keras` file holds: shape, dtype, attributes by path."""
    found = {}

    def note(name, thing):
        if isinstance(thing, h5py.Dataset):
            found[name] = thing.shape, str(thing.dtype), dict(thing.attrs)

    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file:
        h5py.File(file).visititems(note)
    return {k: v for k, v in found.items() if "generator/" not in k}


def config_of(path):
    with zipfile.ZipFile(path) as archive:
        return without_numbers(json.loads(archive.read("config.json")))


def without_numbers(config):
    """Drop what differs without meaning anything.

    Keras numbers repeated objects by memory address, leaves the shapes of a graph to
    its inputs, and names the module of a custom class, which nobody imports.
    """
    if isinstance(config, dict):
        dropped = {"shared_object_id"}
        shapes = (config.get("build_config") or {}).get("input_shape", ())
        if config.get("class_name") == "Functional" or shapes is None:
            dropped.add("build_config")
        if config.get("registered_name"):
            dropped.add("module")
        kept = {k: v for k, v in config.items() if k not in dropped}
        return {k: without_numbers(v) for k, v in kept.items()}
    return [without_numbers(x) for x in config] if isinstance(config, list) else config


def reread(config):
    """Drop what Keras itself changes when it reads and writes its own file.

    It forgets the dtype and the freezing of a Sequential (not of its layers), makes a
    list of one axis, and writes a mask that is None.
    """
    if isinstance(config, list):
        return [reread(x) for x in config]
    if not isinstance(config, dict):
        return config
    kept = {k: reread(v) for k, v in config.items()}
    own = kept.get("config")
    if isinstance(own, dict) and kept.get("class_name") == "Sequential":
        kept["config"] = {
            k: v for k, v in own.items() if k not in ("dtype", "trainable")
        }
    if kept.get("mask", 0) is None:
        del kept["mask"]
    if isinstance(kept.get("axis"), int):
        kept["axis"] = [kept["axis"]]
    return kept


def same_config(first, second, path=""):
    """Compare all but what one side leaves out because it says nothing.

    That is the shapes of layers without weights, and `training` in a call where it is
    the layer's own default.

    Raises:
        AssertionError: with the place of what differs.
    """
    if isinstance(first, dict) and isinstance(second, dict):
        for key in first.keys() | second.keys():
            if key in first and key in second:
                same_config(first[key], second[key], f"{path}/{key}")
            else:
                default = key == "training" and path.endswith("/kwargs")
                assert default or key == "build_config", f"{path}/{key}"
    elif isinstance(first, list) and isinstance(second, list):
        assert len(first) == len(second), path
        for i, (a, b) in enumerate(zip(first, second, strict=True)):
            same_config(a, b, f"{path}/{i}")
    else:
        assert first == second, path


def without_shapes(config):
    """Drop the shapes to build with and what is shared: Keras' `.h5` keeps neither."""
    if isinstance(config, (list, tuple)):
        return [without_shapes(x) for x in config]
    if not isinstance(config, dict):
        return config
    left_out = ("build_config", "shared_object_id")
    return {k: without_shapes(v) for k, v in config.items() if k not in left_out}


def data_for(row, model):
    return row.data(np.random.default_rng(1)) if row.data else inputs_for(model)


def predicted(model, x):
    found = jax.tree.leaves(model.predict(x, verbose=0))
    return [np.asarray(y, "float32") for y in found]


def layer_by_layer(model, x):
    layers = [layer for layer in model.layers if "Input" not in type(layer).__name__]
    given = tuple(x) if isinstance(x, list) else x
    return [np.asarray(layer(given), "float32") for layer in layers]


def close(first, second, bound=1e-6):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=bound * np.abs(a).max())


def weights_equal(first, second):
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", TABLE)
def test_files_go_both_ways(name, tmp_path):
    row = TABLE[name]
    if row.tensorflow and importlib.util.find_spec("tensorflow") is None:
        pytest.skip("Keras makes this model only where TensorFlow is installed")
    theirs, ours = row.make(keras), row.make(lamina)
    x = data_for(row, ours)
    outputs = layer_by_layer if row.tensorflow else predicted
    first, second = outputs(theirs, x), outputs(ours, x)

    def load(k, file):
        return k.saving.load_model(tmp_path / file, custom_objects=row.lent(k))

    theirs.save(tmp_path / "a.keras")
    loaded = load(lamina, "a.keras")
    close(first, outputs(loaded, x))
    loaded.save(tmp_path / "b.keras")
    same_config(config_of(tmp_path / "b.keras"), config_of(tmp_path / "a.keras"))
    assert layout(tmp_path / "b.keras") == layout(tmp_path / "a.keras")

    ours.save(tmp_path / "c.keras")
    back = load(keras, "c.keras")
    close(second, outputs(back, x))
    back.save(tmp_path / "d.keras")
    written, again = (config_of(tmp_path / f"{n}.keras") for n in "cd")
    same_config(reread(again), reread(written))

    loaded.save_weights(tmp_path / "a.weights.h5")
    back.load_weights(tmp_path / "a.weights.h5")
    close(first, outputs(back, x))
    theirs.save_weights(tmp_path / "b.weights.h5")
    ours.load_weights(tmp_path / "b.weights.h5")
    close(first, outputs(ours, x))

    if not row.never:
        theirs.save(tmp_path / "a.h5")
        old = load(lamina, "a.h5")
        weights_equal(old, theirs)
        kept, known = (without_shapes(m.get_config()) for m in (old, loaded))
        assert kept == known
    if not (row.never or row.legacy):
        old.save(tmp_path / "b.h5")
        weights_equal(load(keras, "b.h5"), theirs)


# ---- training goes on --------------------------------------------------------------


def _schedules(k):
    s = k.optimizers.schedules
    return {
        "cosine": s.CosineDecay(0.1, 6, alpha=0.1, warmup_target=0.2, warmup_steps=2),
        "restarts": s.CosineDecayRestarts(0.1, 2, t_mul=1.5, m_mul=0.5),
        "exponential": s.ExponentialDecay(0.1, 2, 0.5, staircase=True),
        "inverse": s.InverseTimeDecay(0.1, 2, 0.5),
        "piecewise": s.PiecewiseConstantDecay([2, 4], [0.1, 0.05, 0.01]),
        "polynomial": s.PolynomialDecay(0.1, 4, 0.01, power=2.0),
    }


def _scheduled(name):
    return lambda k: k.optimizers.SGD(_schedules(k)[name], momentum=0.5)


OPTIMIZERS = {
    "adadelta": lambda k: k.optimizers.Adadelta(1.0),
    "adafactor": lambda k: k.optimizers.Adafactor(0.1, beta_2_decay=-0.7),
    "adagrad": lambda k: k.optimizers.Adagrad(0.1, gradient_accumulation_steps=2),
    "adam": lambda k: k.optimizers.Adam(0.01, amsgrad=True, weight_decay=0.01),
    "adamax": lambda k: k.optimizers.Adamax(0.01, clipnorm=0.5),
    "adamw": lambda k: k.optimizers.AdamW(0.01, weight_decay=0.1),
    "ftrl": lambda k: k.optimizers.Ftrl(0.1, l1_regularization_strength=0.01),
    "lamb": lambda k: k.optimizers.Lamb(0.01),
    "lion": lambda k: k.optimizers.Lion(0.01, clipvalue=0.5),
    "loss_scale": lambda k: k.optimizers.LossScaleOptimizer(
        k.optimizers.Adam(0.01), initial_scale=256.0, dynamic_growth_steps=2
    ),
    "muon": lambda k: k.optimizers.Muon(0.01),
    "nadam": lambda k: k.optimizers.Nadam(0.01),
    "rmsprop": lambda k: k.optimizers.RMSprop(0.01, centered=True, momentum=0.5),
    "schedule_free": lambda k: k.optimizers.ScheduleFreeAdamW(0.01, warmup_steps=3),
    "sgd": lambda k: k.optimizers.SGD(0.1, 0.9, nesterov=True, global_clipnorm=1.0),
    "ema": lambda k: k.optimizers.SGD(
        0.1, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=2
    ),
    **{name: _scheduled(name) for name in _schedules(keras)},
}


def _goes_on(model, x, y, target, path, bound):
    """Save `model`, load it as `target`, train both; return the loaded one."""
    model.save(path)
    loaded = target.saving.load_model(path)
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations)
    variables = loaded.optimizer.variables, model.optimizer.variables
    for a, b in zip(*variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    model.reset_metrics()
    loaded.reset_metrics()
    for _ in range(3):
        a, b = (m.train_on_batch(x, y, return_dict=True) for m in (loaded, model))
        assert a.keys() == b.keys()
        for key, value in b.items():
            np.testing.assert_allclose(a[key], value, rtol=bound, atol=bound / 100)
    return loaded


def goes_on(model, x, y, tmp_path, bound=1e-5):
    """Train with Keras, go on with Lamina beside it, and from there with Keras."""
    for _ in range(2):
        model.train_on_batch(x, y)
    loaded = _goes_on(model, x, y, lamina, tmp_path / "a.keras", bound)
    _goes_on(loaded, x, y, keras, tmp_path / "b.keras", bound)


def normal(*shape):
    return np.random.default_rng(2).normal(size=shape).astype("float32")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_go_on(name, tmp_path):
    model = TABLE["dense"].make(keras)
    model.compile(OPTIMIZERS[name](keras), "mse")
    goes_on(model, normal(6, 4), normal(6, 2), tmp_path)


def test_losses_and_metrics_by_name_go_on(tmp_path):
    model = TABLE["multi_loss"].make(keras)
    metrics = keras.metrics
    model.compile(
        "adam",
        {
            "kind": "sparse_categorical_crossentropy",
            "size": keras.losses.LogCosh(reduction="sum"),
        },
        loss_weights={"kind": 0.5, "size": 2.0},
        metrics={
            "kind": ["accuracy", metrics.SparseTopKCategoricalAccuracy(2)],
            "size": ["mae", metrics.RootMeanSquaredError(name="root")],
        },
        weighted_metrics={"size": [metrics.MeanAbsolutePercentageError()]},
    )
    y = {"kind": np.array([0, 1, 2, 1, 0, 2]), "size": normal(6, 1)}
    goes_on(model, normal(6, 4), y, tmp_path)


def own(k):
    """What of one's own `compile` can take, registered."""

    def gap(y, y_pred):
        return k.ops.mean(k.ops.abs(y - y_pred) ** 1.5, axis=-1)

    class Gap(k.losses.Loss):
        def __init__(self, power=1.5, **kwargs):
            super().__init__(**kwargs)
            self.power = power

        def call(self, y, y_pred):
            return k.ops.mean(k.ops.abs(y - y_pred) ** self.power, axis=-1)

        def get_config(self):
            return {**super().get_config(), "power": self.power}

    class Largest(k.metrics.Metric):
        def __init__(self, name="largest", **kwargs):
            super().__init__(name=name, **kwargs)
            self.value = self.add_weight(shape=(), initializer="zeros", name="value")

        def update_state(self, y, y_pred, sample_weight=None):
            gap = k.ops.max(k.ops.abs(y - y_pred))
            self.value.assign(k.ops.maximum(self.value, gap))

        def result(self):
            return self.value + 0.0

    class Falling(k.optimizers.schedules.LearningRateSchedule):
        def __init__(self, first):
            self.first = first

        def __call__(self, step):
            return self.first / (1.0 + k.ops.cast(step, "float32"))

        def get_config(self):
            return {"first": self.first}

    return [custom(k, cls) for cls in (gap, Gap, Largest, Falling)]


def test_what_compile_takes_of_ones_own_goes_on(tmp_path):
    gap, Gap, Largest, Falling = own(keras)  # noqa: N806
    own(lamina)
    model = TABLE["dense"].make(keras)
    model.compile(
        keras.optimizers.Adam(Falling(0.1)), Gap(1.3), metrics=[Largest(), gap]
    )
    goes_on(model, normal(6, 4), normal(6, 2), tmp_path)


def test_half_precision_goes_on_with_its_scale(tmp_path):
    model = TABLE["mixed_float16"].make(keras)
    model.compile("adam", "mse", auto_scale_loss=True)
    # Losses of half-precision layers: the roundings of other kernels.
    goes_on(model, normal(6, *LINE), normal(6, 2), tmp_path, 2e-3)


@pytest.mark.parametrize("name", ["several", "frozen", "lora", "noise"])
def test_what_trains_is_kept(name, tmp_path):
    trained = {}
    for source, target in ((keras, lamina), (lamina, keras)):
        model = TABLE[name].make(source)
        model.save(tmp_path / "m.keras")
        loaded = target.saving.load_model(tmp_path / "m.keras")
        trained[source] = [w.path for w in model.trainable_weights]
        assert [w.shape for w in loaded.trainable_weights] == [
            w.shape for w in model.trainable_weights
        ]
    assert trained[keras] == trained[lamina]


def test_a_model_shared_by_a_model_and_its_part(tmp_path):
    # Keras loads its own file of this without the weights.
    x, y = lamina.Input((4,)), lamina.Input((4,))
    block = lamina.Model(x, x + lamina.layers.Dense(4)(x), name="block")
    outer = lamina.Sequential([lamina.Input((4,)), block, lamina.layers.Dense(3)])
    model = lamina.Model(y, [outer(y), block(y)])
    model.save(tmp_path / "m.keras")
    loaded = lamina.saving.load_model(tmp_path / "m.keras")
    close(predicted(model, normal(3, 4)), predicted(loaded, normal(3, 4)), 0)
    assert len(loaded.weights) == len(model.weights) == 4
