"""Runs the tests that need several devices, or JAX not started yet.

Each in one process of its own: the number of CPU devices is set before JAX starts.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("devices", [8])
def test_on_so_many_devices(devices):
    flags = f"--xla_force_host_platform_device_count={devices}"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0"]
        + [f"{HERE.name}/on_{devices}_devices.py"],
        env={**os.environ, "XLA_FLAGS": flags},
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
