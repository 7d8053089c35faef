"""The `lamina` command, as one types it."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.__main__ import main

SOURCE = pathlib.Path(lamina.__file__).parents[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that holds `net.keras`, and is the working one."""
    monkeypatch.chdir(tmp_path)
    x = lamina.Input((4,), name="table")
    inner = lamina.Sequential([layers.Input((4,)), layers.Dense(3)], name="inner")
    model = lamina.Model(x, layers.Dense(2, name="last")(inner(x)), name="net")
    model.compile("adam", "mse")
    model.save("net.keras")
    return tmp_path


def weights_of(path):
    return lamina.saving.load_model(path).get_weights()


def test_inspect(folder, capsys):
    assert main(["inspect", "net.keras"]) == 0
    assert "Functional" in capsys.readouterr().out
    assert main(["inspect", "none.keras"]) == 2
    assert "No such file" in capsys.readouterr().err


def test_help_names_each_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for name in ("inspect", "summary", "plot", "convert"):
        assert f"\n    {name}" in shown
    with pytest.raises(SystemExit):
        main([])


def test_summary(folder, capsys):
    assert main(["summary", "net.keras"]) == 0
    shown = capsys.readouterr().out
    assert 'Model: "net"' in shown and "└ dense" not in shown
    assert main(["summary", "net.keras", "--nested"]) == 0
    assert "└ dense" in capsys.readouterr().out


@pytest.mark.parametrize("output", [None, "other.svg"])
def test_plot(folder, capsys, output):
    assert main(["plot", "net.keras", *(["-o", output] if output else [])]) == 0
    path = output or "net.svg"
    assert capsys.readouterr().out == f"{path}\n"
    assert ">table<" in pathlib.Path(path).read_text()


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_convert_a_model(folder, ending):
    assert main(["convert", "net.keras", f"out.{ending}"]) == 0
    for a, b in zip(weights_of(f"out.{ending}"), weights_of("net.keras"), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("ending", ["weights.h5", "safetensors"])
def test_convert_to_weights(folder, ending):
    assert main(["convert", "net.keras", f"out.{ending}"]) == 0
    model = lamina.saving.load_model("net.keras")
    expected = model.get_weights()
    model.set_weights([0 * w for w in expected])
    model.load_weights(f"out.{ending}")
    for a, b in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_convert_to_a_program(folder):
    assert main(["convert", "net.keras", "out.stablehlo"]) == 0
    x = np.ones((2, 4), "float32")
    model = lamina.saving.load_model("net.keras")
    program = lamina.export.load("out.stablehlo")
    np.testing.assert_allclose(program(x), model(x), rtol=1e-6)
    assert main(["convert", "net.keras", "out.onnx"]) == 0


def test_a_file_that_is_there_is_not_replaced(folder, capsys):
    (folder / "out.h5").write_text("mine")
    assert main(["convert", "net.keras", "out.h5"]) == 1
    assert "--force" in capsys.readouterr().err
    assert (folder / "out.h5").read_text() == "mine"
    assert main(["convert", "net.keras", "out.h5", "--force"]) == 0
    assert len(weights_of("out.h5")) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["summary", "none.keras"], 1, "File not found"),
        (["summary", "net.onnx"], 1, "a program that was exported"),
        (
            ["convert", "net.keras", "out.foo"],
            1,
            "`.hdf5` for a model, in `.weights.h5`",
        ),
        (["plot", "net.keras", "-o", "out.foo"], 1, "'svg'"),
        (["plot", "net.keras", "-o", "none/out.svg"], 2, "No such file"),
        (["summary", "net.keras", "--import", "absent"], 1, "No module named 'absent'"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(folder, capsys, arguments, code, words):
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert error.startswith(f"lamina {arguments[0]}: ") and words in error
    assert error.count("\n") == 1


def test_a_layer_of_ones_own_is_imported(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import lamina\n"
        "@lamina.saving.register_keras_serializable('mine')\n"
        "class Twice(lamina.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return 2 * x\n"
    )
    made = (
        "import lamina, mine\n"
        "layers = [lamina.Input((4,)), mine.Twice()]\n"
        "lamina.Sequential(layers).save('own.keras')\n"
    )
    settings = {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "80"}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path, env=settings, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert run("-c", made).returncode == 0
    command = ("-m", "lamina", "summary", "own.keras")
    refused = run(*command)
    assert refused.returncode == 1 and "--import MODULE" in refused.stderr
    assert "Traceback" not in refused.stderr
    shown = run(*command, "--import", "mine")
    assert shown.returncode == 0 and "Twice" in shown.stdout


def test_names_cannot_command_the_terminal(tmp_path, capsys):
    path = tmp_path / "m.keras"
    name = "a\x1b[31mb"
    lamina.Sequential([layers.Input((2,)), layers.Dense(1, name=name)]).save(path)
    assert main(["summary", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b[31m" not in shown and r"a\x1b[31mb" in shown


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"lamina {lamina.__version__}\n"


def test_convert_offers_only_what_it_writes(folder, capsys):
    main(["convert", "net.keras", "out.none"])
    offered = re.findall(r"`(\.\S+)`", capsys.readouterr().err)
    assert len(offered) == 7
    for ending in offered:
        assert main(["convert", "net.keras", f"out{ending}"]) == 0
