"""Files that were damaged on purpose: each is opened or refused in words, no more.

`LAMINA_FUZZ=1000 pytest tests/saving/test_fuzz.py -n0` tries that many at each door;
`make stress` does it in processes that may be lost, see `benchmarks/fuzz.py`.
"""

import dataclasses
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import fuzz  # noqa: E402

COUNT = int(os.environ.get("LAMINA_FUZZ", "12"))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    fuzz.make_files(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("door", fuzz.doors())
def test_a_door(door, good, tmp_path, monkeypatch):
    monkeypatch.chdir(good)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    opener = fuzz.Opener(door, good, tmp_path)
    for number in range(COUNT):
        outcome, said = opener.tried(*opener.mutated(f"0 {door} {number}"))
        assert outcome in fuzz.KINDS, f"file {number}: {outcome}: {said}"


def test_what_a_door_may_not_do_is_found_out(good, tmp_path, monkeypatch):
    opener = fuzz.Opener("texts", good, tmp_path)

    def tried(open, **more):
        opener.door = dataclasses.replace(opener.door, open=open, **more)
        return opener.tried(b"", ".txt")[0]

    def refuses(path):
        raise ValueError("in words")

    assert tried(lambda path: None) == "accepted"
    assert tried(refuses) == "refused"
    assert tried(lambda path: {}["key"]) == "wrong error"
    assert tried(lambda path: None + 1) == "wrong error"
    assert tried(lambda path: (good / fuzz.mutations.SECRET).read_text()) == "reached"
    assert tried(lambda path: pathlib.Path("/etc/passwd").read_text()) == "reached"
    assert tried(lambda path: subprocess.run(["true"])) == "reached"
    assert tried(lambda path: np.ones(1 << 24), memory=50) == "memory"
    monkeypatch.setattr(fuzz, "SECONDS", 0.01)
    assert tried(lambda path: time.sleep(0.02)) == "slow"


@pytest.mark.parametrize(
    ("end", "outcome"), [("os.abort()", "crash"), ("time.sleep(60)", "slow")]
)
def test_a_process_that_is_lost_is_counted(end, outcome, tmp_path, monkeypatch, capsys):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        "first, last = map(int, sys.argv[-2:])\n"
        "print('ready', flush=True)\n"
        "for number in range(first, last):\n"
        "    print(number, flush=True)\n"
        "    pathlib.Path(sys.argv[4], 'file.x').write_text(str(number))\n"
        f"    if number == 2: {end}\n"
        "    print('refused', '0.1 3', sep='\\t', flush=True)\n"
    )
    monkeypatch.setattr(fuzz, "__file__", str(script))
    monkeypatch.setattr(fuzz, "PATIENCE", 1)
    count = fuzz.fuzz_door("door", 5, tmp_path, tmp_path / "kept", 0)
    assert dict(count.of) == {"refused": 4, outcome: 1}
    assert (count.slowest, count.largest) == (0.1, 3)
    assert (tmp_path / "kept" / "door-2.x").read_text() == "2"
    assert f"door, file 2: {outcome}" in capsys.readouterr().out
