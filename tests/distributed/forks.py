"""Forks the processes of runs, so that JAX and Lamina are imported once for all.

Reads runs as JSON, one a line: the command, whether to show warnings, and for each
process its environment and the two files that it writes to. Answers with their exit
statuses. What is forked has computed nothing yet, and ends as any Python does.
"""

import contextlib
import json
import os
import runpy
import signal
import sys
import time
import warnings

import jax  # noqa: F401

from lamina import distribution, layers, losses, models, optimizers, saving  # noqa: F401
from lamina.diagnostics import advice  # noqa: F401

with contextlib.suppress(ImportError):
    import orbax.checkpoint  # noqa: F401

LIMIT = 200  # seconds that a run may take


def forked(run):
    """Fork the processes of a run; return their numbers, or None in one of them."""
    pids = []
    for environment, files in run["processes"]:
        if (pid := os.fork()) == 0:
            os.environ.update(environment)
            for number, path in enumerate((os.devnull, *files)):
                os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
            warnings.simplefilter(run["warnings"], UserWarning)
            sys.argv = run["command"]
            return None
        pids.append(pid)
    return pids


def statuses(pids):
    """Return the exit statuses of processes, minus the signal of a killed one."""
    found, end = {}, time.monotonic() + LIMIT
    while waiting := [pid for pid in pids if pid not in found]:
        for pid in waiting:
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                found[pid] = os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    return [found[pid] for pid in pids]


for line in sys.stdin:
    pids = forked(json.loads(line))
    if pids is None:
        break
    print(json.dumps(statuses(pids)), flush=True)
else:
    sys.exit()
sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123
runpy.run_path(sys.argv[0], run_name="__main__")
