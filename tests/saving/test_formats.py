"""The table of formats: what it says of names, and that a row is all a format needs."""

import contextlib
import pathlib

import numpy as np
import pytest

import lamina
from lamina.saving import formats
from lamina.saving.inspection import inspect


@pytest.fixture
def model():
    return lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(3)])


@pytest.mark.parametrize(
    ("name", "able", "ending"),
    [
        ("m.keras", "load", ".keras"),
        ("m.weights.h5", "put", ".weights.h5"),
        ("m.h5", "put", ".h5"),
        ("m.weights.h5", "load", ".h5"),  # a whole model may be called so
        ("m.weights.json", "write", ".weights.json"),
        ("m.hdf5", "save", ".h5"),
        ("m.safetensors", "load", None),
        ("m.keras", "write", None),
        ("m.txt", "put", None),
    ],
)
def test_the_longest_ending_that_can_is_meant(name, able, ending):
    found = formats.of(name, able)
    assert (found and found.endings[0]) == ending


def test_a_new_format_is_one_row(model, tmp_path, monkeypatch):
    """Weights as NumPy's `.npz`: written, read, described and named in errors."""

    def write(path, model, values, max_shard_size):
        with pathlib.Path(path).open("wb") as file:
            np.savez(file, *model.get_weights())

    def put(model, arrays, skip_mismatch=False, backwards=False):
        values = list(arrays.values())
        model.set_weights(values[::-1] if backwards else values)

    row = formats.Format(
        endings=(".npz",),
        files="'.npz' files",
        begins=b"PK\x03\x04-",
        takes=("backwards",),
        open=lambda path: contextlib.closing(np.load(path)),
        put=lambda model, opened, **options: put(model, opened, **options),
        write=write,
        describe=lambda report, path: report.tell("Arrays", len(np.load(path))),
    )
    monkeypatch.setattr(formats, "FORMATS", (row, *formats.FORMATS))
    path = tmp_path / "m.npz"
    model.save_weights(path)
    other = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(3)])
    other.load_weights(path)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="weight list|not that of the given weight"):
        other.load_weights(path, backwards=True)
    assert ("Arrays", "2") in inspect(path).facts
    with pytest.raises(ValueError, match="must end in `.npz`, `.weights.h5`"):
        model.save_weights(tmp_path / "m.bin")
    with pytest.raises(ValueError, match="reads `.npz`, `.keras`, "):
        model.load_weights(tmp_path / "m.bin")
    with pytest.raises(ValueError, match="`backwards` only supports loading '.npz'"):
        model.load_weights(tmp_path / "m.keras", backwards=True)


def test_errors_list_what_the_table_holds(model, tmp_path):
    path = tmp_path / "m.bin"
    with pytest.raises(ValueError, match="reads `.keras`, `.h5` or `.hdf5` files"):
        lamina.saving.load_model(path)
    with pytest.raises(ValueError, match="saved as `.keras`, `.h5` or `.hdf5`"):
        model.save(path)
    with pytest.raises(ValueError, match="a `.keras` or `.weights.h5` extension"):
        lamina.saving.KerasFileEditor(path)
    with pytest.raises(ValueError, match="not end in `.h5`, as it names a folder"):
        model.save(tmp_path / "m.h5", zipped=False)
    found = "'.weights.h5' files and '.weights.json' lists of them"
    with pytest.raises(ValueError, match=f"only supports loading {found}"):
        model.load_weights(tmp_path / "m.h5", objects_to_skip=[])
