"""`.safetensors`: weights by name, and headers that are not true."""

import json
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from table import MODELS

import lamina
from lamina.saving import safetensors


@pytest.mark.parametrize("name", ["dense", "half", "recurrent", "images", "custom"])
def test_round_trips(name, tmp_path):
    model, fresh = MODELS[name](lamina), MODELS[name](lamina)
    path = tmp_path / "m.safetensors"
    model.save_weights(path)
    fresh.load_weights(path)
    for a, b in zip(model.get_weights(), fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_bytes_are_those_of_the_format(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = {
        "b": np.arange(6, dtype="float32").reshape(2, 3),
        "a": np.array(7, "int64"),
        "c": np.array([1.5], jnp.bfloat16),
    }
    with path.open("wb") as file:
        safetensors.write(file, tensors, {"format": "np"})
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    assert length % 8 == 0
    assert json.loads(data[8 : 8 + length]) == {
        "__metadata__": {"format": "np"},
        "a": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]},
        "c": {"dtype": "BF16", "shape": [1], "data_offsets": [32, 34]},
    }
    numbers = struct.pack("<q6f", 7, 0, 1, 2, 3, 4, 5)
    assert data[8 + length :] == numbers + b"\xc0\x3f"
    read = safetensors.Tensors(path)
    assert read.metadata == {"format": "np"}
    for name, value in tensors.items():
        assert read[name].dtype == value.dtype
        np.testing.assert_array_equal(read[name], value)


@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "int8", "uint16", "int16", "float16", "uint32", "int32",
     "uint64", "float64", "float8_e4m3fn", "float8_e5m2", "complex64"],
)  # fmt: skip
def test_dtypes(dtype, tmp_path):
    value = np.array([[0, 1, 2]], getattr(jnp, dtype))
    with (tmp_path / "x.safetensors").open("wb") as file:
        safetensors.write(file, {"x": value})
    read = safetensors.Tensors(tmp_path / "x.safetensors")["x"]
    assert read.dtype == value.dtype
    np.testing.assert_array_equal(read, value)


def stack(units=3):
    return lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(units)])


@pytest.fixture
def foreign(tmp_path):
    """Return a file with names of another library."""
    path = tmp_path / "foreign.safetensors"
    tensors = {
        "fc.weight": np.arange(12, dtype="float16").reshape(4, 3),
        "fc.bias": np.ones(3, "float32"),
        "fc.extra": np.ones(5, "float32"),
    }
    with path.open("wb") as file:
        safetensors.write(file, tensors)
    return path


def test_rename(foreign):
    table = {
        "fc.weight": "layers/dense/kernel",
        "fc.bias": "layers/dense/bias",
        "fc.extra": None,
    }
    for rename in (table, table.get):
        model = stack()
        model.load_weights(foreign, rename=rename)
        kernel, bias = model.get_weights()
        np.testing.assert_array_equal(kernel, np.arange(12.0).reshape(4, 3))
        np.testing.assert_array_equal(bias, np.ones(3))


def test_names_that_do_not_fit(foreign):
    model = stack()
    with pytest.raises(
        ValueError, match=r"Missing in the file: .*kernel.*Without a place.*fc\.bias"
    ):
        model.load_weights(foreign)
    with pytest.raises(ValueError, match="two tensors .* the name 'x'"):
        model.load_weights(foreign, rename=lambda name: "x")
    rename = {"fc.weight": "layers/dense/kernel", "fc.bias": "layers/dense/bias"}
    with pytest.warns(UserWarning, match=r"Without a place in the model: \['fc.extra"):
        model.load_weights(foreign, rename=rename, skip_mismatch=True)
    np.testing.assert_array_equal(model.get_weights()[1], np.ones(3))
    rename["fc.extra"] = None
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4, 3\)"):
        stack(5).load_weights(foreign, rename=rename)
    with pytest.raises(ValueError, match="`rename` only supports"):
        model.load_weights(foreign.with_suffix(".weights.h5"), rename=rename)


def test_a_part_is_loaded_and_the_rest_told(tmp_path):
    two = lamina.Sequential([*stack().layers, lamina.layers.Dense(2)])
    two.build((None, 4))
    one = stack()
    one.save_weights(tmp_path / "m.safetensors")
    before = two.get_weights()[2]
    with pytest.warns(UserWarning, match="Missing in the file: .*dense_1/bias"):
        two.load_weights(tmp_path / "m.safetensors", skip_mismatch=True)
    np.testing.assert_array_equal(two.get_weights()[0], one.get_weights()[0])
    np.testing.assert_array_equal(two.get_weights()[2], before)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    stack().save_weights(path)
    before = path.read_bytes()
    monkeypatch.setattr("lamina.saving.state.checksum", lambda value: object())
    with pytest.raises(OSError, match="reads back as something else"):
        stack().save_weights(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def entry(shape=(2,), dtype="F32", offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "header, match",
    [
        (b"[]", "is not a dict"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"x": 3, "x": 3}', "comes twice"),
        ({"x": 3}, "the entry of 'x'"),
        ({"x": entry(dtype="O")}, "the entry of 'x'"),
        ({"x": entry(shape=[-2])}, "the entry of 'x'"),
        ({"x": entry(shape=[True] * 2)}, "the entry of 'x'"),
        ({"x": entry(shape=[1] * 33)}, "the entry of 'x'"),
        ({"x": entry(shape=[1 << 40])}, "declares the shape .* 4 TiB"),
        ({"x": entry(shape=[1 << 40], offsets=[0, 1 << 42])}, "take 4 TiB, and 8 b"),
        ({"x": entry(offsets=[8, 0])}, "declares the shape"),
        ({"x": entry(offsets=[4, 12])}, "no tensor begins where one ends"),
        ({"x": entry(), "y": entry()}, "no tensor begins where one ends"),
        ({"x": entry(shape=[1], offsets=[0, 4])}, "take 4 bytes, and 8 bytes"),
        ({}, "take 0 bytes, and 8 bytes"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_headers_that_are_not_true(header, match, tmp_path):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(ValueError, match=match):
        stack().load_weights(path)


@pytest.mark.parametrize("data", [b"", b"1234", struct.pack("<Q", 1 << 60) + b"{}"])
def test_lengths_that_are_not_true(data, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="its header takes"):
        stack().load_weights(tmp_path / "x.safetensors")
