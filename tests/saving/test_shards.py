"""Weights in several files, both ways with Keras."""

import json

import keras
import numpy as np
import pytest
from table import MODELS, inputs_for, outputs_of

import lamina


def equal(first, second):
    x = inputs_for(first)
    for a, b in zip(outputs_of(first, x), outputs_of(second, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def listed(path):
    """Return what a list says; Keras writes one file as a text or as a list of one."""
    content = json.loads(path.read_text())
    for place, files in content["weight_map"].items():
        files = [files] if isinstance(files, str) else files
        content["weight_map"][place] = [file[1:] for file in files]
    return content


@pytest.mark.parametrize("name, size", [("nested", 1e-7), ("recurrent", 3e-7)])
def test_both_ways(name, size, tmp_path):
    ours, theirs = MODELS[name](lamina), MODELS[name](keras)
    ours.save_weights(tmp_path / "a.weights.json", max_shard_size=size)
    theirs.load_weights(tmp_path / "a.weights.json")
    equal(ours, theirs)
    theirs.save_weights(tmp_path / "b.weights.json", max_shard_size=size)
    fresh = MODELS[name](lamina)
    fresh.load_weights(tmp_path / "b.weights.json")
    for a, b in zip(ours.get_weights(), fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert listed(tmp_path / "a.weights.json") == listed(tmp_path / "b.weights.json")
    assert len(list(tmp_path.glob("a_*.weights.h5"))) > 1


@pytest.fixture
def saved(tmp_path):
    model = MODELS["dense"](lamina)
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=7e-8)
    assert len(list(tmp_path.glob("m_*.weights.h5"))) > 1
    return model, tmp_path / "m.weights.json"


def test_a_name_of_one_file_is_changed_with_a_warning(tmp_path):
    model = MODELS["dense"](lamina)
    with pytest.warns(UserWarning, match=r"becomes .*m\.weights\.json"):
        model.save_weights(tmp_path / "m.weights.h5", max_shard_size=1)
    model.load_weights(tmp_path / "m.weights.json")


def test_what_cannot_be_divided(tmp_path):
    model = MODELS["dense"](lamina)
    with pytest.raises(ValueError, match=r"weight .*/vars/0 is 48 bytes.*10 bytes"):
        model.save_weights(tmp_path / "m.weights.json", max_shard_size=1e-8)
    for size in (0, -1, "1GB"):
        with pytest.raises(ValueError, match="positive number, in GiB"):
            model.save_weights(tmp_path / "m.weights.json", max_shard_size=size)
    with pytest.raises(ValueError, match="must end in `.weights.json`"):
        model.save_weights(tmp_path / "m.json", max_shard_size=1)
    with pytest.raises(ValueError, match="needs `max_shard_size`"):
        model.save_weights(tmp_path / "m.weights.json")
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_old_files(saved, monkeypatch):
    model, path = saved
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    calls = []

    def fails(value):
        calls.append(value)
        return len(calls)

    monkeypatch.setattr("lamina.saving.state.checksum", fails)
    with pytest.raises(OSError, match="reads back as something else"):
        MODELS["dense"](lamina).save_weights(path, max_shard_size=7e-8)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before


@pytest.mark.parametrize(
    "part",
    ["../x.weights.h5", "/etc/x.weights.h5", "a/x.weights.h5", "..\\x.weights.h5",
     "C:x.weights.h5", "m.keras", "passwd"],
)  # fmt: skip
def test_names_that_lead_away(saved, part):
    model, path = saved
    listing = json.loads(path.read_text())
    listing["weight_map"]["/layers/dense/vars"] = [part]
    path.write_text(json.dumps(listing))
    with pytest.raises(ValueError, match="Not allowed:.*lists"):
        model.load_weights(path)


@pytest.mark.parametrize("part", ["x" * 500, "\ud800"])
def test_names_that_no_file_has(saved, part):
    model, path = saved
    text = json.dumps({"weight_map": {"a": f"{part}.weights.h5"}})
    path.write_text(text)
    with pytest.raises(ValueError, match="that is not beside it"):
        model.load_weights(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}',
     '{"weight_map": {"a": [3]}}', "[" * 100_000],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_lists_that_are_none(saved, text):
    model, path = saved
    path.write_text(text)
    with pytest.raises(ValueError, match="does not list files of weights"):
        model.load_weights(path)


def test_a_missing_file_and_a_value_in_two(saved):
    model, path = saved
    first, second = sorted(path.parent.glob("m_*.weights.h5"))[:2]
    kept = second.read_bytes()
    second.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match="Two files hold the value '0'"):
        model.load_weights(path)
    second.unlink()
    with pytest.raises(ValueError, match=f"lists a file '{second.name}'"):
        model.load_weights(path)
    second.write_bytes(kept[:100])
    with pytest.raises(ValueError, match="not an HDF5 file"):
        model.load_weights(path)
