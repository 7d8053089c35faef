"""Good files with random damage: each loads cleanly or is refused, nothing else.

`LAMINA_FUZZ=20000 pytest tests/saving/test_fuzz.py -n0` tries that many of each kind.
"""

import io
import json
import os
import random
import resource
import sys
import warnings
import zipfile

import numpy as np
import pytest

import lamina

COUNT = int(os.environ.get("LAMINA_FUZZ", "60"))
# What the documentation of the loaders names; OSError is for the disk.
KINDS = (ValueError, TypeError, NotImplementedError)
_FORBIDDEN = {
    "os.exec", "os.fork", "os.posix_spawn", "os.system", "socket.connect",
    "socket.getaddrinfo", "subprocess.Popen", "urllib.Request",
}  # fmt: skip
_watching = []


def _hook(event, args):
    if _watching and event in _FORBIDDEN:
        _watching.append((event, args))


sys.addaudithook(_hook)


@pytest.fixture
def watched():
    """Let no file reach beyond itself, nor take much memory."""
    _watching.append("on")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    seen = _watching[1:]
    _watching.clear()
    assert not seen
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 512 << 10  # KiB


def stack():
    return lamina.Sequential(
        [
            lamina.Input((4,)),
            lamina.layers.Dense(3, activation="relu"),
            lamina.layers.BatchNormalization(),
            lamina.layers.Dense(2, kernel_regularizer="l2"),
        ]
    )


def damaged(data, rng):
    """Return bytes with one to four kinds of damage."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) or 1)
        end = min(len(data), at + rng.choice((1, 1, 2, 4, 8, 64)))
        match rng.randrange(6):
            case 0:
                data[at:end] = rng.randbytes(end - at)
            case 1:
                data[at:end] = b"\xff" * (end - at)
            case 2:
                data[at:end] = bytes(end - at)
            case 3:
                del data[at:end]
            case 4:
                source = rng.randrange(len(data) or 1)
                data[at:end] = data[source : source + end - at]
            case 5 if rng.random() < 0.2:
                del data[at:]
    return bytes(data)


_VALUES = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 1e308, float("nan"), "", "x", "../x",
    "/etc/passwd", "http://localhost/x", [], {}, [None], [[]], "os", "system",
    {"class_name": "__lambda__", "config": {"value": ["AAAA", None, None]}},
    {"class_name": "function", "config": "eval", "module": "builtins"},
    {"class_name": "__numpy__", "config": {"value": [1], "dtype": "object"}},
    {"class_name": "__slice__", "config": {"start": 0, "stop": 9, "step": 0}},
    {"class_name": "Dense", "config": {"units": 2**40}},
)  # fmt: skip


def altered(config, rng):
    """Return a config in which some places hold something else."""
    config = json.loads(json.dumps(config))
    for _ in range(rng.randint(1, 3)):
        places, todo = [], [config]
        while todo:
            value = todo.pop()
            keys = value if isinstance(value, dict) else range(len(value))
            for key in keys:
                places.append((value, key))
                if isinstance(value[key], (dict, list)):
                    todo.append(value[key])
        if not places:
            return config
        value, key = rng.choice(places)
        other, source = rng.choice(places)
        match rng.randrange(4):
            case 0 | 1:
                value[key] = rng.choice(_VALUES)
            case 2:
                value[key] = json.loads(json.dumps(other[source]))
            case 3:
                del value[key]
    return config


def attempt(load, seen):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            load()
            seen["loaded"] += 1
        except KINDS as error:
            assert str(error)
            seen["refused"] += 1


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(found):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, value in found.items():
            archive.writestr(name, value)
    return data.getvalue()


@pytest.fixture
def good(tmp_path):
    model = stack()
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    # What happens once in a process (modules, the processor's name) happens now.
    model.save(tmp_path / "first.h5")
    model.save(tmp_path / "first.keras")
    for name in ("first.h5", "first.keras"):
        lamina.saving.load_model(tmp_path / name)
    return model, tmp_path


@pytest.mark.parametrize("part", ["archive", "config.json", "model.weights.h5"])
def test_keras_archives(part, good, watched):
    model, folder = good
    path = folder / "m.keras"
    model.save(path)
    data, found, seen = path.read_bytes(), members(path), {"loaded": 0, "refused": 0}
    for seed in range(COUNT):
        rng = random.Random(seed)
        if part == "archive":
            new = damaged(data, rng)
        elif part == "config.json":
            config = altered(json.loads(found[part]), rng)
            new = zipped({**found, part: json.dumps(config).encode()})
        else:
            new = zipped({**found, part: damaged(found[part], rng)})
        path.write_bytes(new)
        attempt(lambda: lamina.saving.load_model(path), seen)
    assert all(seen.values()), seen


@pytest.mark.parametrize("ending", [".h5", ".weights.h5", ".safetensors"])
def test_other_files(ending, good, watched):
    model, folder = good
    path = folder / f"m{ending}"
    (model.save if ending == ".h5" else model.save_weights)(path)
    data, seen = path.read_bytes(), {"loaded": 0, "refused": 0}
    for seed in range(COUNT):
        path.write_bytes(damaged(data, random.Random(seed)))
        if ending == ".h5":
            attempt(lambda: lamina.saving.load_model(path), seen)
        else:
            attempt(lambda: model.load_weights(path), seen)
    assert all(seen.values()), seen
