"""Runs the tests that need several devices, or JAX not started yet.

Each in one process of its own: the number of CPU devices is set before JAX starts.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lamina.kernels.native import library

HERE = Path(__file__).parent


@pytest.mark.parametrize("devices", [8])
def test_on_so_many_devices(devices):
    flags = f"--xla_force_host_platform_device_count={devices}"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0"]
        + [f"{HERE.name}/on_{devices}_devices.py"],
        env={**os.environ, "XLA_FLAGS": flags, "LAMINA_DEVICES": str(devices)},
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        timeout=300,
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


def test_two_processes_do_what_one_does():
    one, two = (run_processes(n) for n in (1, 2))
    for found in two[1:]:
        assert found == two[0]
    assert two[0]["native"] == 1 - one[0]["native"] or not library()
    del one[0]["native"], two[0]["native"]
    for name, value in one[0].items():
        if isinstance(value, str):
            assert two[0][name].startswith(value), name
        else:
            assert two[0][name] == pytest.approx(value, abs=1e-5), name


def run_processes(count):
    """Run `together.py` in so many processes of two devices in all; return results."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = []
    for i in range(count):
        mine = {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
            "KERAS_DISTRIBUTION_PROCESS_ID": str(i),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={2 // count}",
        }
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", HERE / "together.py"],
            env={**os.environ, **mine},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
    try:
        results = [process.communicate(timeout=200) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (_, errors) in zip(started, results, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [json.loads(text.splitlines()[-1]) for text, _ in results]
