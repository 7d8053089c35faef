"""The cache of compiled programs on disk: entries that are whole, or not there."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

import lamina
from lamina.core.disk_cache import AtomicCache, ReplacingCache

RUN = """
import lamina, numpy as np
model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
print(model.predict(np.ones((2, 3)), verbose=0).shape)
"""


def entries(folder):
    return {p.name: p.read_bytes() for p in folder.rglob("*-cache")}


def test_a_broken_entry_is_replaced_without_a_word(tmp_path):
    source = pathlib.Path(lamina.__file__).parents[1]
    environment = {
        "PYTHONPATH": ":".join([str(source), *filter(None, sys.path)]),
        "LAMINA_CACHE_DIR": str(tmp_path),
        "JAX_PLATFORMS": "cpu",
    }

    def run():
        code = [sys.executable, "-W", "error", "-c", RUN]
        subprocess.run(code, env=environment, check=True)
        return entries(tmp_path)

    first = run()
    assert first
    for number, path in enumerate(sorted(tmp_path.rglob("*-cache"))):
        path.write_bytes(path.read_bytes()[: number * 100])  # the first one is empty
    again = run()
    assert again.keys() == first.keys()
    for name, entry in again.items():  # JAX notes in it how long the compilation took
        assert abs(len(entry) - len(first[name])) < 100
    assert run() == again


def test_an_entry_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    cache = AtomicCache(str(tmp_path))
    old, new = tmp_path / ".a-cache.0.part", tmp_path / ".a-cache.1.part"
    old.write_bytes(b"left by a kill")
    new.write_bytes(b"being written")
    os.utime(old, (time.time() - 9999,) * 2)
    seen = []

    def full(path, target):
        seen.append(path.read_bytes()[:7])
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "replace", full)
        with pytest.raises(OSError, match="no space"):
            cache.put("a", b"program")
    assert seen == [b"program"] and cache.get("a") is None
    assert list(tmp_path.iterdir()) == [new]
    cache.put("a", b"program")
    cache.put("a", b"another")
    assert cache.get("a") == b"program"
    (tmp_path / "a-cache").write_bytes(b"prog")
    assert cache.get("a") is None
    cache.put("a", b"another")
    assert cache.get("a") == b"another"


def test_in_a_folder_of_others_an_entry_that_did_not_help_is_replaced(tmp_path):
    cache, file = ReplacingCache(str(tmp_path)), tmp_path / "a-cache"
    cache.put("a", b"program")
    assert file.read_bytes() == b"program"  # as JAX itself writes it
    cache.put("a", b"another")
    assert cache.get("a") == b"program"
    file.write_bytes(b"")
    assert cache.get("a") == b""  # JAX warns of it, and compiles the program
    cache.put("a", b"program")
    assert file.read_bytes() == b"program"
    cache.put("a", b"another")
    assert file.read_bytes() == b"program"
