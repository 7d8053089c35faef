"""One library with one workload, in a process of its own, told by lines what to do.

usage: python worker.py MODULE WORKLOAD          answers commands on its input
       python worker.py MODULE WORKLOAD --first  runs one step and ends
       python worker.py MODULE TASK --data       the same for a task of `data.py`
"""

import importlib
import json
import os
import re
import sys
import time
from pathlib import Path

from workloads import MANY, WORKLOADS, arrays, taken

ALL = WORKLOADS | MANY


def load(module, name, steps):
    """Return a model and its data; libraries come in here, not before."""
    workload = ALL[name]
    peer = importlib.import_module(f"peers.{module}").Peer
    return peer, arrays(workload, workload.batch * steps)


def first_step(module, name):
    """Return the seconds for building a model and for its first step."""
    peer, data = load(module, name, 1)
    start = time.perf_counter()
    model = peer(name, *data)
    built = time.perf_counter()
    model.train(1)
    done = time.perf_counter()
    return {"build": built - start, "compile": done - built}


def peak():
    """Return the most memory that this process ever had, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


class Session:
    """Ways to use one model, each of which is timed for a while when asked."""

    def __init__(self, module, name):
        workload = ALL[name]
        peer, data = load(module, name, workload.steps)
        model = peer(name, *data)
        x, _ = arrays(workload, workload.rows)
        many, one = model.convert(x), model.convert(taken(x, 1))
        self.uses = {
            "train": (len(data[1]), model.train),
            "predict": (workload.rows, repeated(model.predict, many)),
            "single": (1, repeated(model.predict, one)),
            "call": (1, repeated(model.call, one)),
        }
        model.train(1)
        self.begun = {"memory": peak(), "parameters": model.parameters()}
        self.spent = {}
        for use in self.uses:
            for _ in range(2):  # the second is free of compilation
                self.measure(use, 0)

    def measure(self, use, seconds):
        """Return how many samples per second a use of the model takes."""
        samples, run = self.uses[use]
        times = max(1, round(seconds / self.spent.get(use, 1)))
        start = time.perf_counter()
        run(times)
        self.spent[use] = (time.perf_counter() - start) / times
        return samples / self.spent[use]


class DataSession(Session):
    """One way of getting data ready, timed when asked: things per second."""

    def __init__(self, module, name):
        items, run = importlib.import_module(f"peers.{module}").task(name)
        self.uses = {"data": (items, lambda times: [run() for _ in range(times)])}
        self.begun, self.spent = {}, {}
        for _ in range(2):
            self.measure("data", 0)


def repeated(function, x):
    def run(times):
        for _ in range(times):
            function(x)

    return run


def main():
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(value):
        print(json.dumps(value), file=answers, flush=True)

    module, name, *how = sys.argv[1:]
    if how == ["--first"]:
        return answer(first_step(module, name))
    session = (DataSession if how else Session)(module, name)
    answer(session.begun)
    for line in sys.stdin:
        use, seconds = json.loads(line)
        answer(session.measure(use, seconds))
    return None


if __name__ == "__main__":
    main()
