"""Measures Lamina beside other libraries, in turn, and writes docs/benchmarks.md.

usage: python benchmarks/run.py [--quick] [--only WORKLOAD ...] [--peers PEER ...]
       python benchmarks/run.py --before CHECKOUT [--quick] [--only WORKLOAD ...]
                                           compare with another checkout of Lamina
       python benchmarks/run.py --table    write the table again from the last numbers
       python benchmarks/run.py --check    is the hand-written limit the same network?

The libraries of one workload wait in processes of their own and are asked in rounds
(A B C, C B A, ...), so that all of them meet the same moods of the machine. Only
ratios within a round mean anything; the table shows their median and extremes.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from workloads import MANY, MEASURED

HERE = Path(__file__).parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "bench"
RESULTS = BUILD / "results.json"
ROOM = 900  # seconds after which a silent process is given up

KEPT = {  # what Lamina sets up for itself: freed memory stays, programs are kept
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(2**26), "MALLOC_ARENA_MAX": "1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}  # fmt: skip

# Each peer: its module, its import, its settings.
PEERS = {
    "lamina": ("keras_peer", "import lamina", {"BENCH_PACKAGE": "lamina"}),
    "keras-jax": ("keras_peer", "import keras", {"KERAS_BACKEND": "jax"}),
    "keras-tensorflow": ("keras_peer", "import keras", {"KERAS_BACKEND": "tensorflow"}),
    "keras-torch": ("keras_peer", "import keras", {"KERAS_BACKEND": "torch"}),
    "torch": ("torch_peer", "import torch", {}),
    "torch-compile": ("torch_peer", "import torch", {"BENCH_COMPILE": "1"}),
    "jax": ("jax_peer", "import jax, jax.numpy", KEPT),
}
# Those that get data ready, and their modules.
DATA_PEERS = {
    "lamina": "keras_data_peer", "keras-tensorflow": "keras_data_peer",
    "torch": "torch_data_peer",
}  # fmt: skip
FULL = {
    "rounds": 7, "train": 3.0, "predict": 1.5, "single": 0.3, "call": 0.3,
    "data": 1.0, "starts": 5, "imports": 7,
}  # fmt: skip
QUICK = {
    "rounds": 3, "train": 0.5, "predict": 0.3, "single": 0.1, "call": 0.1,
    "data": 0.2, "starts": 1, "imports": 3,
}  # fmt: skip


def environment(peer, cache):
    """Return the variables that a peer's processes run with."""
    settings = {
        "BENCH_PACKAGE": "keras", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2",
        "TF_NUM_INTRAOP_THREADS": "2", "TF_NUM_INTEROP_THREADS": "2",
        "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT / "src"),
        "KERAS_HOME": str(BUILD / "keras"),
        # Installed packages have their bytecode beside them; so should this one.
        "PYTHONDONTWRITEBYTECODE": "",
        "LAMINA_CACHE_DIR": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache),
    }  # fmt: skip
    if peer == "jax":
        settings["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    return os.environ | settings | PEERS[peer][2]


def emptied(peer):
    """Return a folder for the programs that a peer compiles, with nothing in it."""
    cache = BUILD / "cold" / peer
    shutil.rmtree(cache, ignore_errors=True)
    return cache


class Worker:
    """A process that holds one model of one library."""

    def __init__(self, python, peer, *arguments, cache, module=None):
        log = BUILD / "logs" / f"{peer}-{arguments[0]}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log, self.peer = log, peer
        cache.mkdir(parents=True, exist_ok=True)
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [python, HERE / "worker.py", module or PEERS[peer][0], *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
                text=True, env=environment(peer, cache),
            )  # fmt: skip

    def answer(self):
        """Return what the process says next; RuntimeError if it died."""
        alarm = threading.Timer(ROOM, self.process.kill)
        alarm.start()
        line = self.process.stdout.readline()
        alarm.cancel()
        if line:
            return json.loads(line)
        code = self.process.wait()
        said = [s for s in self.log.read_text().splitlines() if s.strip()]
        raise RuntimeError(said[-1][:200] if said else f"ended with code {code}")

    def ask(self, *question):
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return self.answer()

    def close(self):
        self.process.communicate()


class Bench:
    """A measurement: the pairs (Lamina's number, the peer's) of each round."""

    def __init__(self, python, peers, share, results=RESULTS):
        self.python, self.peers, self.share = python, peers, share
        self.results = results
        self.found = json.loads(results.read_text()) if results.exists() else {}
        for part in ("pairs", "errors", "parameters"):
            self.found.setdefault(part, {})
        self.fresh = set()

    def keep(self):
        self.results.parent.mkdir(parents=True, exist_ok=True)
        self.results.write_text(json.dumps(self.found, indent=1))

    def note(self, metric, name, numbers):
        """Add one round of a metric; an older run's rounds make way."""
        if "lamina" not in numbers:
            return
        table = self.found["pairs"].setdefault(metric, {}).setdefault(name, {})
        for peer, number in numbers.items():
            if (metric, name, peer) not in self.fresh:
                self.fresh.add((metric, name, peer))
                table[peer] = []
            table[peer].append([numbers["lamina"], number])

    def fail(self, peer, name, error):
        print(f"  {peer}: {error}", flush=True)
        self.found["errors"].setdefault(name, {})[peer] = str(error)

    def workload(self, name):
        """Train and predict with all peers, in rounds."""
        self.found["errors"].pop(name, None)
        # All compile: to read a program from a cache takes less memory.
        workers = {
            p: Worker(self.python, p, name, cache=emptied(p))
            for p in self.peers
            if name in MEASURED or PEERS[p][0] == "keras_peer"
        }
        begun = self.each(workers, name, Worker.answer)
        if "lamina" not in workers:
            return
        sizes = {peer: said["parameters"] for peer, said in begun.items()}
        self.found["parameters"].setdefault(name, {}).update(sizes)
        for peer, size in sizes.items():
            if size != sizes["lamina"]:
                self.fail(peer, name, f"{size} parameters, not {sizes['lamina']}")
                workers.pop(peer).close()
        memory = {peer: begun[peer]["memory"] for peer in workers}
        self.note("memory", name, memory)
        for _ in range(self.share["rounds"]):
            workers = dict(reversed(workers.items()))
            for use in ("train", "predict", "single", "call"):
                self.round(workers, name, use)
        for worker in workers.values():
            worker.close()

    def each(self, workers, name, what):
        """Return what each worker says; one that died is left out from now on."""
        found = {}
        for peer in list(workers):
            try:
                found[peer] = what(workers[peer])
            except (RuntimeError, OSError) as error:
                self.fail(peer, name, error)
                workers.pop(peer).close()
        return found

    def round(self, workers, name, use):
        seconds = self.share[use]
        self.note(use, name, self.each(workers, name, lambda w: w.ask(use, seconds)))

    def data(self):
        """Get data ready in all ways with those peers that can, in rounds."""
        import data

        data.prepare()
        for name in data.TASKS:
            self.found["errors"].pop(name, None)
            workers = {
                peer: Worker(
                    self.python, peer, name, "--data", cache=BUILD / "cache" / peer,
                    module=module,
                )
                for peer, module in DATA_PEERS.items()
                if peer in self.peers and (peer != "torch" or name == "images")
            }  # fmt: skip
            self.each(workers, name, Worker.answer)
            for _ in range(self.share["rounds"]):
                workers = dict(reversed(workers.items()))
                self.round(workers, name, "data")
            for worker in workers.values():
                worker.close()

    def imports(self):
        """Time the imports; Lamina's also with all that a script needs."""
        self.found["errors"].pop("import", None)
        lines = {peer: PEERS[peer][1] for peer in self.peers}
        lines["whole"] = "import lamina.layers, lamina.models, lamina.optimizers"
        for _ in range(self.share["imports"]):
            numbers = {}
            for peer, line in lines.items():
                timed = f"import time; t = time.perf_counter(); {line}; "
                owner = "lamina" if peer == "whole" else peer
                done = subprocess.run(
                    [self.python, "-c", timed + "print(time.perf_counter() - t)"],
                    capture_output=True, text=True,
                    env=environment(owner, BUILD / "cache" / owner),
                )  # fmt: skip
                if done.returncode:
                    self.fail(owner, "import", done.stderr.splitlines()[-1])
                else:
                    numbers[peer] = float(done.stdout.splitlines()[-1])
            whole = numbers.pop("whole", None)
            self.note("import", "import", numbers)
            if whole is not None:
                self.note("import", "whole", numbers | {"lamina": whole})

    def starts(self, name, twice):
        """Time a script up to its first step: with an empty cache, perhaps again."""
        self.found["errors"].pop(f"start {name}", None)
        for _ in range(self.share["starts"]):
            rounds = {"cold": {}, "again": {}, "build": {}, "compile": {}}
            for peer in self.peers:
                cache = emptied(peer)
                try:
                    for which in ("cold", "again")[: 1 + twice]:
                        start = time.perf_counter()
                        worker = Worker(self.python, peer, name, "--first", cache=cache)
                        said = worker.answer()
                        rounds[which][peer] = time.perf_counter() - start
                        worker.close()
                        if which == "cold":
                            rounds["build"][peer] = said["build"]
                            rounds["compile"][peer] = sum(said.values())
                except RuntimeError as error:
                    self.fail(peer, f"start {name}", error)
            for which, numbers in rounds.items():
                self.note(which, name, numbers)


def installed():
    """Return the Python of an environment with all peers, made at the first run."""
    python = BUILD / "peers" / "bin" / "python"
    if not (BUILD / "peers" / "made").exists():
        print("Installing the peers (some GB) ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", BUILD / "peers"], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "-e", f"{ROOT}[bench]"], check=True
        )
        (BUILD / "peers" / "made").touch()
    return str(python)


def machine(python):
    """Describe where the numbers come from."""
    names = ["jax", "keras", "numpy", "tensorflow_cpu", "torch"]
    code = f"""
import importlib.metadata as m, json, platform
found = {{"Python": platform.python_version()}}
for name in {names}:
    try: found[name] = m.version(name)
    except m.PackageNotFoundError: pass
print(json.dumps(found))"""
    done = subprocess.run([python, "-c", code], capture_output=True, check=True)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((s.split(":")[1].strip() for s in lines if "model name" in s), "?")
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        system = platform.platform()
    compiler = shutil.which("g++") or shutil.which("clang++")
    return {
        "cpu": model, "cores": os.cpu_count(), "system": system,
        "compiler": bool(compiler),
        "day": datetime.date.today().isoformat(), "versions": json.loads(done.stdout),
    }  # fmt: skip


def main():
    parts = [*MEASURED, *MANY, "many", "data", "imports", "starts"]
    cli = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cli.add_argument("--quick", action="store_true", help="in less than 15 minutes")
    cli.add_argument(  # fmt: skip
        "--only",
        nargs="+",
        choices=parts,
        metavar="PART",
        help=f"of these: {', '.join(parts)}",
    )
    cli.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    cli.add_argument("--before", metavar="CHECKOUT", help="Lamina's only peer")
    cli.add_argument("--python", help="a Python that has all peers installed")
    cli.add_argument("--table", action="store_true", help="measure nothing")
    cli.add_argument("--check", action="store_true", help="compare with the limit")
    options = cli.parse_args()
    if not options.table:
        python = options.python or installed()
    if options.check:
        done = subprocess.run(
            [python, HERE / "check.py"], env=environment("lamina", BUILD / "cache")
        )
        raise SystemExit(done.returncode)
    if not options.table:
        if hasattr(os, "sched_setaffinity"):  # XLA has no other setting for it
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
        # Lamina is always there: a ratio is only good within one run.
        peers = [p for p in PEERS if p in options.peers or p == "lamina"]
        results = RESULTS
        if options.before:
            source = {"PYTHONPATH": str(Path(options.before).resolve() / "src")}
            PEERS["before"] = (*PEERS["lamina"][:2], PEERS["lamina"][2] | source)
            peers, results = ["lamina", "before"], BUILD / "before.json"
            results.unlink(missing_ok=True)
        bench = Bench(python, peers, QUICK if options.quick else FULL, results)
        bench.found["machine"] = machine(python)
        began = time.perf_counter()
        usual = [*MEASURED, "data", "imports", "starts"]
        asked = options.only or (usual if options.quick else [*usual, "many"])
        for part in [p for a in asked for p in (MANY if a == "many" else [a])]:
            print(f"{time.perf_counter() - began:5.0f} s  {part}", flush=True)
            if part == "imports":
                bench.imports()
            elif part == "data":
                bench.data()
            elif part == "starts":
                bench.starts("digits", twice=True)
                bench.starts("deep", twice=False)
            else:
                bench.workload(part)
            bench.keep()
        print(f"{time.perf_counter() - began:5.0f} s  done")
    import table

    if options.before:
        table.compare(bench.found["pairs"])
    else:
        table.write(json.loads(RESULTS.read_text()), ROOT / "docs" / "benchmarks.md")


if __name__ == "__main__":
    main()
