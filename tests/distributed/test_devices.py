"""Runs the tests that need several devices, or JAX not started yet.

Each in one process of its own: the number of CPU devices is set before JAX starts.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import lamina
from lamina.core import processes
from lamina.kernels.native import library
from lamina.training.together import brief

HERE = Path(__file__).parent
# Programs run for a moment here and compile for long, most of it in LLVM.
QUICK = "--xla_backend_optimization_level=0"


@pytest.mark.timeout(700)  # a file of tests
@pytest.mark.parametrize("devices", [8])
@pytest.mark.parametrize(
    ("which", "flag"),
    [("same_bits", ""), ("not same_bits", QUICK)],  # the last bit is LLVM's
    ids=["bits", "rest"],
)
def test_on_so_many_devices(devices, which, flag):
    flags = f"--xla_force_host_platform_device_count={devices} {flag}"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-k", which]
        + [f"{HERE.name}/on_{devices}_devices.py"],
        env={**os.environ, "XLA_FLAGS": flags, "LAMINA_DEVICES": str(devices)},
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]


def test_a_seed_starts_no_backend():
    # It may have to come before `jax.distributed.initialize`, which refuses then.
    program = """
import jax, socket, lamina
lamina.utils.set_random_seed(7)
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
jax.distributed.initialize(f"127.0.0.1:{port}", 1, 0)
print(lamina.random.uniform((1,))[0])
lamina.utils.set_random_seed(7)
with lamina.name_scope("inner"):
    print(lamina.random.uniform((1,))[0])
print(lamina.core.random.global_seed_generator().state.path)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr[-2000:]
    first, again, path = result.stdout.split()
    assert first == again
    assert path == "global_seed_generator/seed_generator_state"


@pytest.mark.parametrize(
    ("shape", "order", "changed"),
    [
        ((32, 8, 8), "C", (17, 3, 5)),  # any number
        ((), "C", ()),
        ((64, 3 * 2**14), "C", (23, slice(3000))),  # a part of any row
        ((64, 3 * 2**14), "F", (slice(20, 35),)),  # 5 rows are looked at
    ],
)
def test_a_checksum_sees_what_differs(shape, order, changed):
    first = np.zeros(shape, "float32", order)
    other = first.copy(order="K")
    assert brief((first,)) == brief((other,))
    other[changed] = 1
    assert brief((first,)) != brief((other,))


@pytest.mark.parametrize(
    ("number", "of", "backlog", "words"),
    [
        (1, 2, None, r"process 0, and nothing listens at 127.0.0.1:\d+: process 0 has"),
        (0, 2, 1, "process 1, which has not come to `initialize`. JAX"),
        (1, 3, 1, "others: at least one has not come to `initialize`, and does"),
    ],
)
def test_a_process_says_whom_it_waits_for_to_join(
    number, of, backlog, words, monkeypatch, capfd
):
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        if backlog is not None:
            first.listen(backlog)
        known = {"process_id": number, "num_processes": of, "client": "not joined"}
        address = f"127.0.0.1:{first.getsockname()[1]}"
        state = SimpleNamespace(**known, coordinator_address=address)
        monkeypatch.setattr(processes.distributed, "global_state", state)
        monkeypatch.setattr(processes, "_WAIT", 0.1)
        with processes.joining(300):
            time.sleep(0.3)
    said = capfd.readouterr().err
    assert re.match(rf"Process {number} of {of} has waited 0 s for {words}", said)
    assert "JAX gives up after 300 s." in said


def test_two_processes_do_what_one_does(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    one, two = (run_processes(n, tmp_path) for n in (1, 2))
    waits = "waits at `get_weights`, `numpy` or `save` for process 1, which last called"
    assert waits in two[0][2]
    one, two = results_of(one), results_of(two)
    assert two[1] == two[0]
    told, steps = zip(*(two[0][name] for name in AGREED), strict=True)
    assert list(map(len, told)) == [2, 1, 2, 1, 1]
    assert two[0]["other folders"]
    assert two[0]["interrupted"] == "raised"
    assert steps == (10, 2, 6, 3, 3)
    log = (tmp_path / "log.csv").read_text().splitlines()
    assert [line[0] for line in log] == ["e", "0", "1"]
    files = {
        "log.csv",
        "alone.keras",
        "1.keras",
        "2.keras",
        "last.keras",
        "last.h5",
        "last.weights.h5",
        "last.lamina",
        "orbax",
    }
    assert {path.name for path in tmp_path.iterdir()} == files
    for name in ("last.keras", "last.h5"):
        model = lamina.saving.load_model(tmp_path / name)
        outputs = model.predict(together_data(), verbose=0).ravel()
        np.testing.assert_allclose(outputs, two[0]["saved"], atol=1e-6)
    assert two[0]["of Orbax"] == two[0]["saved"]
    outputs = lamina.export.load(tmp_path / "last.lamina").serve(together_data())
    np.testing.assert_allclose(np.ravel(outputs), two[0]["saved"], atol=1e-6)
    assert "process 0 has epochs[1]=1, and process 1 has epochs[1]=2" in (
        two[0].pop("other epochs")
    )
    assert "have compiled different steps" in two[0].pop("other programs")
    for name in ("other epochs", "other programs"):
        assert one[0].pop(name) == ""
    for name, words in TOLD.items():
        assert words in two[0]["told"][name], name
    assert two[0]["native"] == 1 - one[0]["native"] or not library()
    del one[0]["native"], two[0]["native"]
    for name, value in one[0].items():
        if isinstance(value, str):
            assert two[0][name].startswith(value), name
        else:
            assert two[0][name] == pytest.approx(value, abs=1e-5), name


TOLD = {
    "orbax": "Not all processes see the same folder",
    "shuffled": "process 1 had others than process 0",
    "rate": "Process 1 has other values of 'adam",
    "evaluate": "x of process 0 is (37, 6) float32",
    "predict": "that of process 1 is (36, 6) float32",
    "train_on_batch": "do not do the same in `train_on_batch`: the x of process 0",
    "own weights": "process 1 has global batch.sample_weight='(64,) float32'",
    "own batch": "x of process 0 is (8, 6) float32, and that of process 1 is (7, 6)",
    "last": "In batch 1, process 0 has x (8, 6) float32, and process 1 has x (7, 6) ",
    "ran out": "The data of process 1 ran out after 3 batches, and other",
    "whole": "process 1 has x (7, 6) float32. Each has to give the same whole batch.",
    "no rows": "The data set is empty: there are 0 rows",
    "no validation": "without validation, so no log begins with 'val_'. The validation",
    "shared rows": "process 1 had others than process 0. What",
    "mesh": "into 1 parts, of which process 0 has 0, process 1 has none. They",
    "distribution": "distribution of process 0 is DataParallel, mesh {'batch': 2}, and",
}
AGREED = ("on_epoch_end", "on_train_batch_end", "fewer", "endless", "all end early")


def together_data():
    return np.random.default_rng(0).normal(size=(37, 6)).astype("float32")


def test_a_process_that_fails_outside_of_fit_leaves_no_other_waiting():
    first, second = run_processes(2, "early", program="failing.py")
    assert "OSError: no data here" in second[2]
    assert first[0] == 1
    assert "Process 1 failed: OSError: no data here" in first[2]


def test_a_process_that_is_told_to_end_ends_those_that_work_alone():
    first, second = run_processes(2, "told", program="failing.py")
    assert first[0] == 128 + signal.SIGTERM
    # 1 where a busy machine takes it longer than `failing.py` allows.
    assert second[0] in (-signal.SIGINT, 1), second[2]
    assert "Process 0 was told to end, by SIGTERM.\nProcess 1 ends." in second[2]


def test_a_process_that_ends_early_leaves_no_other_waiting():
    first, _ = run_processes(2, "exits", program="failing.py")
    assert first[0] == 1
    assert "Process 1 ended: it has no `fit` number 1." in first[2]


@pytest.mark.parametrize("where", [(), ("inside",)])
def test_a_process_that_goes_astray_leaves_no_other_waiting(where):
    first, second = run_processes(2, "astray", *where, program="failing.py")
    inside = r"process 0 calls `evaluate`|no `evaluate` number 1"
    words = inside if where else r"process 0 calls `get_weights`|process 1 calls `fit`"
    assert re.search(words, first[2] + second[2])
    assert {first[0], second[0]} != {0}


def test_a_process_that_is_killed_is_missed():
    first, second = run_processes(2, "dies", program="failing.py")
    assert second[0] == -signal.SIGKILL
    assert first[0] != 0
    assert "A process of this run that was killed" in first[2]
    assert "1\nThe tasks have crashed" in first[2]  # JAX names it


@pytest.mark.skipif(not library(), reason="a compiled function says it")
def test_the_first_process_is_named_where_it_is_killed():
    first, second = run_processes(2, "lost", program="failing.py")
    assert first[0] == -signal.SIGKILL
    assert second[0] == -signal.SIGABRT
    assert (
        "Process 0, which joins the processes of this run, is gone: it ended, or"
        in second[2]
    )


def test_processes_that_jax_joined_train_what_lies_on_all_their_devices(tmp_path):
    [(code, printed, errors)] = run_processes(1, tmp_path, program="by_hand.py")
    assert code == 0, errors[-3000:]
    one = json.loads(printed.splitlines()[-1])
    first, second = run_processes(2, tmp_path, program="by_hand.py")
    assert second[0] == 1
    assert second[2].endswith("It was item 5 of `Batches`.\n")
    assert first[0] == 1
    assert "Process 1 failed: OSError: the disk is gone" in first[2]
    assert first[1].count("Epoch") == 2
    assert second[1].count("Epoch") == 0
    two, other = (json.loads(p[1].splitlines()[-1]) for p in (first, second))
    assert two == other
    assert two.pop("first") != one.pop("first")  # drawn anew in each run
    del one["parts"]  # what XLA found best
    assert two.pop("parts") == [48, 48, 8, 8, 16, 16, 1, 1]
    log = (tmp_path / "log.csv").read_text().splitlines()
    assert [line[0] for line in log] == ["e", "0", "1"]
    for name, value in one.items():
        assert two[name] == pytest.approx(value, abs=1e-5), name


def test_processes_that_jax_joined_and_that_train_alone_are_told(tmp_path):
    first, second = run_processes(
        2, tmp_path, "alone", program="by_hand.py", warnings="default"
    )
    for code, _, errors in (first, second):
        assert code == 0
        assert "each of them trains a 'sequential' of its own" in errors
    assert first[1].splitlines()[-1] == second[1].splitlines()[-1]  # the first values


def test_a_run_that_two_processes_began_goes_on_in_one(tmp_path):
    run = tmp_path / "run"
    for code, _, errors in run_processes(2, run, "begins", program="killed.py"):
        assert code == 128 + signal.SIGTERM, errors[-3000:]
    assert [path.suffix for path in run.iterdir()] == [".snapshot"]
    again = run_processes(1, run, "goes on", program="killed.py")
    again, whole = results_of(again)[0]
    for name, value in whole.items():
        assert again[name] == pytest.approx(value, abs=1e-5), name


PAGE = HERE.parents[1] / "docs" / "distribution.md"


def slurm(i, port):
    # SLURM names a job, and JAX makes a port of the number.
    job = port % 2**12
    return {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(i),
        "SLURM_LOCALID": str(i),
    }


def jobset(i, port):
    text = PAGE.read_text()
    host = re.search(r'JOB_ADDRESSES\s+value: "(.+):1234"', text)[1]
    processes = re.search(r'NUM_PROCESSES\s+value: "(.+)"', text)[1]
    assert host == "train-workers-0-0.train"  # set, job, number of job and pod
    return {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"localhost:{port}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": processes,
        "KERAS_DISTRIBUTION_PROCESS_ID": str(i),
    }


def ray(i, port):
    return {"JOINED": f"localhost:{port}", "NUMBER": str(i)}


JOINED = """
import jax, os
os.chdir(os.path.dirname(__file__))
if "JOINED" in os.environ:  # as a launcher does it that joins processes itself
    jax.distributed.initialize(os.environ["JOINED"], 2, int(os.environ["NUMBER"]))
"""


@pytest.mark.parametrize("launcher", [slurm, jobset, ray])
def test_the_script_of_the_page_runs_as_launchers_run_it(launcher, tmp_path):
    script = re.search(r"^```py\n(.*?)^```", PAGE.read_text(), re.S | re.M)[1]
    (tmp_path / "train.py").write_text(JOINED + script)
    flags = f"--xla_force_host_platform_device_count=2 {QUICK}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environments = [{"XLA_FLAGS": flags} | launcher(i, port) for i in range(2)]
    found = forked(environments, [tmp_path / "train.py"], "error")
    assert [code for code, *_ in found] == [0, 0], found[0][2] + found[1][2]
    losses = [output.splitlines()[-1] for _, output, _ in found]
    assert losses[0] == losses[1]
    assert len(json.loads(losses[0])) == 2


def results_of(processes):
    for code, _, errors in processes:
        assert code == 0, errors[-3000:]
    printed = [
        [line for line in text.splitlines() if not line.startswith("[Gloo]")]
        for _, text, _ in processes
    ]
    # The first process prints for all.
    assert all(len(lines) == 1 for lines in printed[1:])
    return [json.loads(lines[-1]) for lines in printed]


def run_processes(count, *arguments, program="together.py", warnings="ignore"):
    """Run a program in several processes with two devices in all.

    Returns:
        For each process its exit status, and what it wrote.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environments = [
        {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
            "KERAS_DISTRIBUTION_PROCESS_ID": str(i),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={2 // count} {QUICK}",
        }
        for i in range(count)
    ]
    return forked(environments, [HERE / program, *arguments], warnings)


@pytest.fixture(scope="module", autouse=True)
def forks():
    """A process that forks those of the runs."""
    process = subprocess.Popen(
        [sys.executable, HERE / "forks.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    RUNNING[:] = [process]
    yield
    process.communicate()  # its input ends


RUNNING: list = []


def forked(environments, command, warnings="ignore"):
    """Run a program in a process for each environment; see `run_processes`."""
    with tempfile.TemporaryDirectory() as folder:
        files = [
            [f"{folder}/{i}.{name}" for name in ("out", "err")]
            for i in range(len(environments))
        ]
        run = {
            "command": list(map(str, command)),
            "warnings": warnings,
            "processes": list(zip(environments, files, strict=True)),
        }
        [process] = RUNNING
        process.stdin.write(json.dumps(run) + "\n")
        process.stdin.flush()
        codes = json.loads(process.stdout.readline())
        written = [[Path(path).read_text() for path in pair] for pair in files]
    return [(code, *texts) for code, texts in zip(codes, written, strict=True)]
