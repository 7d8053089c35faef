"""`.keras` and `.weights.h5` both ways between Lamina and real Keras."""

import json
import pathlib
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

import lamina

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from table import CUSTOM, MODELS, inputs_for, outputs_of, targets_for  # noqa: E402


@pytest.fixture(autouse=True)
def no_leftovers():
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
    return {k: v for k, v in found.items() if "seed_generator" not in k}


def config_of(path):
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    return without_numbers(config)


def without_numbers(config):
    """Drop what differs without meaning anything.

    Keras numbers repeated objects by memory address, leaves the shapes of a graph to
    its inputs, and names the module of a custom class, which nobody imports.
    """
    if isinstance(config, dict):
        dropped = {"shared_object_id"}
        if config.get("class_name") == "Functional":
            dropped.add("build_config")
        if ">" in (config.get("registered_name") or ""):
            dropped.add("module")
        kept = {k: v for k, v in config.items() if k not in dropped}
        return {k: without_numbers(v) for k, v in kept.items()}
    return [without_numbers(x) for x in config] if isinstance(config, list) else config


def same(first, second, x, tolerance=1e-6):
    for a, b in zip(outputs_of(first, x), outputs_of(second, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("source, target", [(keras, lamina), (lamina, keras)])
def test_predictions_and_layout(name, source, target, tmp_path):
    model = MODELS[name](source)
    if name in CUSTOM:
        MODELS[name](target)  # registers the class of the other side
    model.save(tmp_path / "a.keras")
    loaded = target.saving.load_model(tmp_path / "a.keras")
    tolerance = 2e-2 if name in ("mixed", "half") else 1e-6
    same(model, loaded, inputs_for(model), tolerance)
    loaded.save(tmp_path / "b.keras")
    assert layout(tmp_path / "a.keras") == layout(tmp_path / "b.keras")


@pytest.mark.parametrize("name", sorted({*MODELS} - CUSTOM))
def test_weights_alone_go_both_ways(name, tmp_path):
    ours, theirs = MODELS[name](lamina), MODELS[name](keras)
    x = inputs_for(ours)
    tolerance = 2e-2 if name in ("mixed", "half") else 1e-6
    ours.save_weights(tmp_path / "a.weights.h5")
    theirs.load_weights(tmp_path / "a.weights.h5")
    same(ours, theirs, x, tolerance)
    fresh = MODELS[name](lamina)
    theirs.save_weights(tmp_path / "b.weights.h5")
    fresh.load_weights(tmp_path / "b.weights.h5")
    for a, b in zip(ours.get_weights(), fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["dense", "nested", "several", "recurrent", "custom"])
def test_config_is_the_one_that_keras_writes(name, tmp_path):
    MODELS[name](keras).save(tmp_path / "keras.keras")
    theirs = config_of(tmp_path / "keras.keras")
    if name in CUSTOM:
        MODELS[name](lamina)
    loaded = lamina.saving.load_model(tmp_path / "keras.keras")
    loaded.save(tmp_path / "lamina.keras")
    assert config_of(tmp_path / "lamina.keras") == theirs


OPTIMIZERS = {
    "adam": lambda k: k.optimizers.Adam(0.01, amsgrad=True, weight_decay=0.01),
    "sgd": lambda k: k.optimizers.SGD(
        k.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5), momentum=0.9
    ),
    "rmsprop": lambda k: k.optimizers.RMSprop(0.01, use_ema=True),
    "adagrad": lambda k: k.optimizers.Adagrad(0.1, gradient_accumulation_steps=2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("source, target", [(keras, lamina), (lamina, keras)])
def test_training_goes_on(name, source, target, tmp_path):
    model = MODELS["several"](source)
    x = inputs_for(model, rows=4)
    y = targets_for(outputs_of(model, x))
    model.compile(OPTIMIZERS[name](source), ["mse", "mae"], metrics=[["mae"], []])
    for _ in range(3):
        model.train_on_batch(x, y)
    model.save(tmp_path / "m.keras")
    loaded = target.saving.load_model(tmp_path / "m.keras")
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations)
    model.reset_metrics()
    for _ in range(3):
        np.testing.assert_allclose(
            np.asarray(loaded.train_on_batch(x, y), "float32"),
            np.asarray(model.train_on_batch(x, y), "float32"),
            rtol=2e-5,
        )
    same(model, loaded, x, 1e-5)


def test_training_with_dropout_goes_on_identically(tmp_path):
    model = MODELS["normalized"](lamina)
    x = inputs_for(model, rows=8)
    model.compile("adam", "mse")
    model.fit(x, np.ones((8, 1)), verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = lamina.saving.load_model(tmp_path / "m.keras")
    for one in (model, loaded):
        one.fit(x, np.ones((8, 1)), epochs=2, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_loss_scaling_is_kept(tmp_path):
    model = lamina.Sequential(
        [lamina.Input((4,)), lamina.layers.Dense(1, dtype="mixed_float16")]
    )
    optimizer = lamina.optimizers.LossScaleOptimizer(lamina.optimizers.Adam(0.1))
    model.compile(optimizer, "mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 1)))
    model.save(tmp_path / "m.keras")
    for k in (lamina, keras):
        loaded = k.saving.load_model(tmp_path / "m.keras")
        for a, b in zip(optimizer.variables, loaded.optimizer.variables, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_compile_false_leaves_the_model_uncompiled(tmp_path):
    model = MODELS["dense"](lamina)
    model.compile("adam", "mse")
    model.save(tmp_path / "m.keras")
    assert lamina.saving.load_model(tmp_path / "m.keras").compiled
    assert not lamina.saving.load_model(tmp_path / "m.keras", compile=False).compiled


def test_one_layer_in_two_places_stays_one(tmp_path):
    shared = lamina.layers.Dense(4)
    a = lamina.Sequential([lamina.Input((4,)), shared])
    b = lamina.Sequential([lamina.Input((4,)), shared])
    x = lamina.Input((4,))
    model = lamina.Model(x, b(a(x)))
    model.save(tmp_path / "m.keras")
    loaded = lamina.saving.load_model(tmp_path / "m.keras")
    assert len(loaded.weights) == 2
    assert loaded.layers[1].layers[0] is loaded.layers[2].layers[0]


def test_a_folder_and_an_open_file_hold_the_same(tmp_path):
    model = MODELS["dense"](lamina)
    x = inputs_for(model)
    model.save(tmp_path / "folder", zipped=False)
    with (tmp_path / "open").open("w+b") as file:
        lamina.saving.save_model(model, file)
        file.seek(0)
        same(model, lamina.saving.load_model(file), x, 0)
    same(model, lamina.saving.load_model(tmp_path / "folder"), x, 0)
    same(model, keras.saving.load_model(tmp_path / "folder"), x)


def test_keras_weights_load_from_a_whole_model(tmp_path):
    model = MODELS["dense"](lamina)
    model.save(tmp_path / "m.keras")
    fresh = MODELS["dense"](lamina)
    fresh.load_weights(tmp_path / "m.keras")
    same(model, fresh, inputs_for(model), 0)


def test_assets_are_written_and_read(tmp_path):
    @lamina.saving.register_keras_serializable(package="tests")
    class Words(lamina.layers.Layer):
        words = None

        def call(self, x):
            return x

        def save_assets(self, dir_path):
            pathlib.Path(dir_path, "words.txt").write_text("a b c")

        def load_assets(self, dir_path):
            self.words = pathlib.Path(dir_path, "words.txt").read_text()

    lamina.Sequential([lamina.Input((2,)), Words()]).save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert "assets/layers/words/words.txt" in archive.namelist()
    assert lamina.saving.load_model(tmp_path / "m.keras").layers[0].words == "a b c"


def test_saving_leaves_no_trace():
    import random

    model = MODELS["normalized"](lamina)
    random.seed(5)
    expected = random.random()
    random.seed(5)
    import io

    lamina.saving.save_model(model, io.BytesIO())
    assert random.random() == expected
    assert lamina.layers.Dropout(0.1).name == "dropout_1"
