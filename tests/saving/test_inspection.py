"""`lamina inspect`: what a file holds, with nothing in it built or run."""

import io
import json
import os
import zipfile

import h5py
import keras
import numpy as np
import pytest
from rich.console import Console
from table import MODELS

import lamina
from lamina.__main__ import main
from lamina.saving.inspection import draw, inspect


@pytest.fixture(autouse=True)
def nothing_is_made(monkeypatch, request):
    """Let no layer be made while a test looks at files."""

    def made(*args, **kwargs):
        raise AssertionError("a layer was made")

    def forbid():
        monkeypatch.setattr(lamina.layers.Layer, "__new__", made)

    request.node.forbid = forbid


def facts(report):
    return dict(report.facts)


def rows(report):
    return {row.name: row for row in report.rows}


def text_of(report, width=80):
    file = io.StringIO()
    draw(report, Console(file=file, width=width, highlight=False))
    return file.getvalue()


@pytest.fixture
def model():
    model = MODELS["nested"](lamina)
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 1)))
    return model


def test_a_whole_model(model, tmp_path, request):
    model.save(tmp_path / "m.keras")
    request.node.forbid()
    report = inspect(tmp_path / "m.keras")
    assert not report.notes
    assert not report.refused
    shown = facts(report)
    assert shown["Keras version"] == "3.15.1"
    assert shown["Optimizer"] == "Adam"
    assert shown["Loss"] == "mse"
    assert shown["Values"] == "137 in 20 arrays, 548 bytes"
    last = [row for row in report.rows if row.kind == "Dense"][-1]
    assert (last.depth, last.shapes, last.size) == (0, [(4, 1), (1,)], 20)
    inner = [row for row in report.rows if row.depth == 2 and row.kind == "Dense"]
    assert [row.shapes for row in inner] == [[(4, 4), (4,)]] * 2
    assert len(rows(report)["optimizer"].shapes) == 14
    shown = text_of(report)
    assert max(map(len, shown.splitlines())) <= 80
    assert "4×4  4" in shown
    assert "Nothing suspicious." in shown


def test_a_folder(model, tmp_path):
    model.save(tmp_path / "m", zipped=False)
    report = inspect(tmp_path / "m")
    assert not report.refused
    assert "optimizer" in rows(report)


@pytest.mark.parametrize(
    "name, kind, count",
    [
        ("m.h5", "legacy HDF5, a whole model", 20),
        ("m.weights.h5", "weights, HDF5", 20),
        ("m.weights.json", "list of weights in several HDF5 files", 20),
        ("m.safetensors", "weights, safetensors", 6),
    ],
)
def test_every_format(name, kind, count, model, tmp_path, request):
    if name == "m.h5":
        model.save(tmp_path / name)
    else:
        limit = {"max_shard_size": 2e-7} if name.endswith("json") else {}
        model.save_weights(tmp_path / name, **limit)
    request.node.forbid()
    report = inspect(tmp_path / name)
    assert report.kind == kind
    assert not report.notes
    assert not report.refused
    assert f" in {count} arrays, " in facts(report)["Values"]


def test_files_of_keras(tmp_path):
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.LSTM(2)(keras.layers.Reshape((2, 2))(x)))
    model.save(tmp_path / "m.keras")
    report = inspect(tmp_path / "m.keras")
    assert not report.notes
    assert rows(report)[model.layers[-1].name].shapes == [(2, 8), (2, 8), (8,)]


def config_file(path, *layers, **more):
    config = {"class_name": "Sequential", "config": {"layers": list(layers)}, **more}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps(config))
    return path


def layer(name="Dense", module="keras.layers", **config):
    return {"module": module, "class_name": name, "config": config}


@pytest.mark.parametrize(
    "entry, match",
    [
        (
            layer("Lambda", function={"class_name": "__lambda__", "config": {}}),
            "bytecode, 1 time",
        ),
        (layer("system", "os"), "not Lamina's: system"),
        (
            {**layer("Mine", "me"), "registered_name": "shop>Mine"},
            "not Lamina's: shop>Mine",
        ),
        (
            layer(f={"class_name": "function", "config": "eval", "module": "builtins"}),
            "not Lamina's: eval",
        ),
        (layer("TextVectorization", vocabulary="/etc/passwd"), "vocabulary=/etc/pass"),
        (layer("StringLookup", vocabulary="http://x.y/z"), "vocabulary=http://x.y/z"),
    ],
)
def test_what_is_suspicious(entry, match, tmp_path):
    report = inspect(config_file(tmp_path / "m.keras", entry))
    assert any(match in note for note in report.notes), report.notes
    assert "Look out: " in text_of(report)
    assert "no model.weights.h5" in report.refused[0]


def test_more_members(model, tmp_path):
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras", "a") as archive:
        archive.writestr("setup.py", "")
    assert "members that no Keras file has: ['setup.py']" in str(
        inspect(tmp_path / "m.keras").notes
    )


def test_what_would_be_refused(model, tmp_path, capsys):
    model.save(tmp_path / "bomb.keras")
    with zipfile.ZipFile(tmp_path / "bomb.keras", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/x", bytes(100 << 20))
    with h5py.File(tmp_path / "link.weights.h5", "w") as file:
        file["layers"] = h5py.SoftLink("/x")
    (tmp_path / "x.safetensors").write_bytes(b"12345678")
    (tmp_path / "x.txt").write_text("hello")
    (tmp_path / "x.onnx").write_text("hello")
    for name, match in {
        "bomb.keras": "decompression bomb",
        "link.weights.h5": "SoftLink",
        "x.safetensors": "no `.safetensors` file",
        "x.txt": "not in a format that Lamina reads",
        "x.onnx": "onnxruntime runs them",
    }.items():
        assert match in inspect(tmp_path / name).refused[0]
        assert main(["inspect", str(tmp_path / name)]) == 1
        assert "Refused: " in capsys.readouterr().out


def test_many_names_and_pipes(tmp_path):
    header = {
        f"{'a/' * 50}{i}/b": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        for i in range(2500)
    }
    data = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(data).to_bytes(8, "little") + data)
    report = inspect(path)
    assert len(report.rows) == 2500
    assert report.rows[7].name == f"{'a/' * 50}7"
    assert "and 500 more" in text_of(report, width=200)
    os.mkfifo(tmp_path / "x.weights.h5")
    assert "a pipe" in inspect(tmp_path / "x.weights.h5").refused[0]


def test_unknown_names_are_not_compared_with_all(tmp_path, monkeypatch):
    def compared(*args):
        raise AssertionError("a name was compared")

    monkeypatch.setattr("lamina.core.registry.nearest", compared)
    report = inspect(
        config_file(tmp_path / "m.keras", {"class_name": "X", "config": {}})
    )
    assert "names that are not Lamina's: X" in report.notes[0]


def test_names_cannot_command_the_terminal(tmp_path):
    path = config_file(tmp_path / "m.keras", layer(name="a\x1b[31m\n[red]b"))
    shown = text_of(inspect(path), width=200)
    assert "\x1b" not in shown
    assert r"a\x1b[31m\n[red]b" in shown
