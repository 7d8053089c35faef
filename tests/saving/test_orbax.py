"""`OrbaxCheckpoint`, and the folders that it writes: read here and by Keras."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.saving import orbax_checkpoint
from lamina.saving.inspection import inspect

pytest.importorskip("orbax.checkpoint")
X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = X[:, :1] * 2


def made(units=4):
    lamina.utils.set_random_seed(1)
    model = lamina.Sequential(
        [
            layers.Input((3,), name="in"),
            layers.Dense(units, "relu", name="one"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.3, seed=5, name="drop"),
            layers.Dense(1, name="two"),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    return model


def trained(folder, epochs=3, model=None, **given):
    model = model or made()
    keep = lamina.callbacks.OrbaxCheckpoint(folder, **given)
    say = lamina.callbacks.LambdaCallback(  # better in the second epoch, then worse
        on_epoch_end=lambda epoch, logs: logs.update(epoch_is=[1, 2, 0, 0, 0][epoch])
    )
    model.fit(X, Y, 8, epochs, verbose=0, shuffle=False, callbacks=[say, keep])
    return model


def steps(folder):
    return sorted(int(path.name) for path in pathlib.Path(folder).iterdir())


@pytest.mark.parametrize("background", [True, False])
def test_a_loaded_model_goes_on_bit_for_bit(tmp_path, background):
    model = trained(tmp_path / "run", 2, save_on_background=background)
    loaded = lamina.saving.load_model(tmp_path / "run")
    assert int(loaded.optimizer.iterations) == 6
    model.fit(X, Y, 8, verbose=0, shuffle=False)
    loaded.fit(X, Y, 8, verbose=0, shuffle=False)
    for mine, theirs in zip(loaded.variables, model.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_training_does_not_change_what_is_being_written(tmp_path):
    model, folder = made(), tmp_path / "run"
    seen = []
    keep = lamina.callbacks.OrbaxCheckpoint(folder, save_freq=1, max_to_keep=None)
    watch = lamina.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(model.get_weights())
    )
    model.fit(X, Y, 4, 2, verbose=0, callbacks=[keep, watch])
    assert steps(folder) == list(range(1, 13))
    other = made()
    for number, values in enumerate(seen, 1):
        other.load_weights(folder / str(number))
        for mine, theirs in zip(other.get_weights(), values, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_which_are_kept(tmp_path):
    trained(tmp_path / "two", 5, max_to_keep=2)
    assert steps(tmp_path / "two") == [3, 4]
    trained(tmp_path / "every", 2, save_freq=2, max_to_keep=None)
    assert steps(tmp_path / "every") == [2, 4, 6]
    model = trained(tmp_path / "again", 2, max_to_keep=None)
    trained(tmp_path / "again", 1, model, max_to_keep=None)  # over the first epoch's
    np.testing.assert_array_equal(
        lamina.saving.load_model(tmp_path / "again" / "0").get_weights()[0],
        model.get_weights()[0],
    )


def test_the_best_alone(tmp_path):
    trained(tmp_path / "best", 3, monitor="epoch_is", save_best_only=True, mode="max")
    assert steps(tmp_path / "best") == [1]
    trained(tmp_path / "none", 1, monitor="loss", save_best_only=True,
            mode="min", initial_value_threshold=-1.0)  # fmt: skip
    assert not steps(tmp_path / "none")
    with pytest.warns(UserWarning, match="It is not saved"):
        trained(tmp_path / "unknown", 1, save_best_only=True, mode="min")
    with pytest.raises(ValueError, match="Unrecognized save_freq"):
        lamina.callbacks.OrbaxCheckpoint(tmp_path, save_freq="batch")


def test_weights_alone(tmp_path):
    model = trained(tmp_path / "run", 1, save_weights_only=True)
    fresh = made()
    fresh.load_weights(tmp_path / "run")
    np.testing.assert_array_equal(fresh.get_weights()[0], model.get_weights()[0])
    with pytest.raises(ValueError, match="does not contain model configuration"):
        lamina.saving.load_model(tmp_path / "run")
    with pytest.raises(ValueError, match="shape"):
        made(units=5).load_weights(tmp_path / "run")
    with pytest.raises(ValueError, match="`by_name` only supports"):
        fresh.load_weights(tmp_path / "run", by_name=True)


def test_files_of_layers_go_with_it(tmp_path):
    inputs = lamina.Input((1,), dtype="string")
    words = layers.StringLookup(name="words")
    words.adapt(["b", "a", "b"])
    outputs = layers.Dense(1)(layers.Embedding(4, 2)(words(inputs)))
    model = lamina.Model(inputs, layers.Flatten()(outputs))
    model.compile("sgd", "mse")
    texts = np.array([["a"], ["b"]], object)
    keep = lamina.callbacks.OrbaxCheckpoint(tmp_path / "run")
    model.fit(texts, Y[:2], verbose=0, callbacks=[keep])
    loaded = lamina.saving.load_model(tmp_path / "run")
    assert loaded.get_layer("words").get_vocabulary() == ["[UNK]", "b", "a"]
    np.testing.assert_array_equal(
        loaded.predict(texts, verbose=0), model.predict(texts, verbose=0)
    )


def test_what_a_folder_holds_is_told(tmp_path, capsys):
    trained(tmp_path / "run", 1)
    report = inspect(tmp_path / "run")
    assert report.kind == "Orbax checkpoint"
    assert ("trainable_variables/sequential/one", [(4,), (3, 4)]) in [
        (row.name, row.shapes) for row in report.rows
    ]
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="File format not supported"):
        lamina.saving.load_model(tmp_path / "other")


FUNCTIONAL = """
def functional(package):
    inputs = package.Input((3,), name="in")
    x = package.layers.Dense(4, "relu", name="one")(inputs)
    x = package.layers.BatchNormalization(name="norm")(x)
    x = package.layers.Dropout(0.3, seed=5, name="drop")(x)
    model = package.Model(inputs, package.layers.Dense(1, name="two")(x))
    model.compile("adam", "mse", metrics=["mae"])
    return model
"""


def test_keras_reads_and_writes_the_same(tmp_path):
    names: dict = {}
    exec(FUNCTIONAL, names)
    model = trained(tmp_path / "ours", 2, names["functional"](lamina))
    code = (
        FUNCTIONAL
        + f"""
import os
os.environ["KERAS_BACKEND"] = "jax"
import keras, numpy as np
model, x = functional(keras), np.load({str(tmp_path / "x.npy")!r})
model.load_weights({str(tmp_path / "ours")!r})
np.save({str(tmp_path / "y.npy")!r}, model.predict(x, verbose=0))
keep = keras.callbacks.OrbaxCheckpoint({str(tmp_path / "theirs")!r})
model.fit(x, x[:, :1], verbose=0, callbacks=[keep])
np.save({str(tmp_path / "z.npy")!r}, model.predict(x, verbose=0))
"""
    )
    np.save(tmp_path / "x.npy", X)
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    expected = np.load(tmp_path / "y.npy")
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, atol=1e-5)
    theirs = lamina.saving.load_model(tmp_path / "theirs")
    expected = np.load(tmp_path / "z.npy")
    np.testing.assert_allclose(theirs.predict(X, verbose=0), expected, atol=1e-5)


def test_without_orbax_the_package_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"lamina\[orbax\]"):
        orbax_checkpoint.OrbaxCheckpoint(tmp_path)
