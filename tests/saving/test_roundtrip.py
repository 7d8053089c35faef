"""`.keras` and `.weights.h5` both ways between Lamina and real Keras."""

import pathlib
import zipfile

import keras
import numpy as np
import pytest
from table import MODELS, inputs_for, outputs_of

import lamina


@pytest.fixture(autouse=True)
def no_leftovers():
    yield
    keras.saving.get_custom_objects().clear()


def same(first, second, x, tolerance=1e-6):
    for a, b in zip(outputs_of(first, x), outputs_of(second, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


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
