"""Good files with random damage: each loads cleanly or is refused, nothing else.

`LAMINA_FUZZ=20000 pytest tests/saving/test_fuzz.py -n0` tries that many of each kind.
"""

import json
import os
import random
import resource
import sys
import warnings

import numpy as np
import pytest
from mutations import (
    KINDS,
    altered,
    damaged,
    good_files,
    members,
    mutation,
    stack,
    zipped,
)

import lamina

COUNT = int(os.environ.get("LAMINA_FUZZ", "60"))
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


def attempt(load, seen):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            load()
            seen["loaded"] += 1
        except KINDS as error:
            assert str(error)
            seen["refused"] += 1


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


def test_what_make_stress_does(tmp_path, watched):
    files = good_files(tmp_path)
    seen = {"loaded": 0, "refused": 0}
    for seed in range(COUNT):
        ending, data = mutation(files, seed)
        path = tmp_path / f"m{ending}"
        path.write_bytes(data)
        attempt(lambda: lamina.saving.load_model(path), seen)  # noqa: B023
    assert all(seen.values()), seen
