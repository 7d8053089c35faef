"""KerasFileEditor: weights changed in a file, which Keras reads afterwards."""

import h5py
import keras
import numpy as np
import pytest

import lamina

Editor = lamina.saving.KerasFileEditor


def stack(k, *names):
    layers = [k.layers.Dense(3, name=name) for name in names]
    return k.Sequential([k.Input((2,)), *layers])


@pytest.fixture
def path(tmp_path):
    stack(lamina, "a", "b").save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def test_what_a_file_holds(path, capsys):
    editor = Editor(path)
    assert editor.metadata["keras_version"] == "3.15.1"
    assert editor.config["class_name"] == "Sequential"
    assert list(editor.weights_dict["layers"]) == ["dense", "dense_1"]
    assert editor.weights_dict["layers"]["dense"]["0"].shape == (2, 3)
    editor.summary()
    assert "0: shape=(2, 3), dtype=float32" in capsys.readouterr().out


def test_a_file_of_keras_with_an_optimizer(tmp_path):
    model = stack(keras, "a")
    model.compile("adam", "mse")
    model.fit(np.ones((2, 2)), np.ones((2, 3)), verbose=0)
    model.save(tmp_path / "m.keras")
    editor = Editor(tmp_path / "m.keras")
    assert len(editor.weights_dict["optimizer"]) == 6
    assert editor.compare(stack(lamina, "a"))["status"] == "success"


def test_edits_that_make_a_file_fit(path, tmp_path, capsys):
    editor = Editor(path)
    other = stack(lamina, "a", "b", "c")
    assert editor.compare(other)["error_count"] == 1
    assert "Object /layers/dense_2 is missing in the file" in capsys.readouterr().out
    editor.add_object("layers/new", {"0": np.ones((3, 3), "float32")})
    assert editor.compare(other)["error_count"] == 2
    editor.rename_object("new", "newer")
    editor.rename_object("layers/newer", "dense_2")
    assert editor.compare(other)["error_count"] == 1
    editor.add_weights("dense_2", {"1": np.ones(7, "float32")})
    assert editor.compare(other)["error_count"] == 1
    assert "has the shape (3,) in the model and (7,)" in capsys.readouterr().out
    editor.delete_weight("dense_2", "1")
    editor.add_weights("dense_2", {"1": np.zeros(3, "float32")})
    found = editor.compare(other)
    assert found == {"status": "success", "error_count": 0, "match_count": 6}
    editor.save(tmp_path / "e.weights.h5")
    for k in (lamina, keras):
        model = stack(k, "a", "b", "c")
        model.load_weights(tmp_path / "e.weights.h5")
        np.testing.assert_array_equal(model.get_weights()[4], np.ones((3, 3)))
    with h5py.File(tmp_path / "e.weights.h5") as file:
        assert file["layers/dense/vars"].attrs["name"] == "a"
    editor.delete_object("dense_2")
    assert editor.compare(stack(lamina, "a", "b"))["status"] == "success"
    assert Editor(tmp_path / "e.weights.h5").compare(other)["status"] == "success"


def test_names_travel_with_what_is_renamed(path, tmp_path):
    editor = Editor(path)
    editor.rename_object("dense_1", "dense_9")
    editor.resave_weights(tmp_path / "e.weights.h5")
    with h5py.File(tmp_path / "e.weights.h5") as file:
        assert sorted(file["layers"]) == ["dense", "dense_9"]
        assert file["layers/dense_9/vars"].attrs["name"] == "b"


@pytest.mark.parametrize(
    "act, match",
    [
        (lambda e: e.rename_object("nope", "x"), "no object 'nope'"),
        (lambda e: e.rename_object("dense", "dense_1"), "There is an object 'dense_1'"),
        (lambda e: e.rename_object("dense", "../x"), "one name without '/'"),
        (lambda e: e.delete_object("denze"), "Did you mean"),
        (lambda e: e.delete_weight("dense", "7"), r"Weights found: \['0', '1'\]"),
        (lambda e: e.add_object("layers/dense", {}), "already"),
        (lambda e: e.add_object("nope/dense", {}), "no object 'nope'"),
        (lambda e: e.add_object("layers/x", [1]), "is a dict"),
        (lambda e: e.save("x.keras"), "`.weights.h5` extension"),
        (lambda e: Editor("x.h5"), "expected a `.keras` or `.weights.h5`"),
    ],
)
def test_errors(path, act, match):
    with pytest.raises(ValueError, match=match):
        act(Editor(path))


def test_two_of_one_name(tmp_path):
    inner = stack(lamina, "a")
    lamina.Sequential([lamina.Input((2,)), inner, lamina.layers.Dense(1)]).save_weights(
        tmp_path / "m.weights.h5"
    )
    with pytest.raises(ValueError, match="Several objects are called 'dense'"):
        Editor(tmp_path / "m.weights.h5").delete_object("dense")


def test_the_same_guard(path, tmp_path):
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["layers"] = h5py.SoftLink("/x")
    with pytest.raises(ValueError, match="SoftLink"):
        Editor(tmp_path / "m.weights.h5")
