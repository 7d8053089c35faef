"""Measures an accelerator: the same numbers as a CPU, how fast, and in what memory.

usage: benchmarks/device.sh [--seconds 450] [--only WORKLOAD ...] [--layers NUMBER]

Every layer computes an output and gradients on the CPU and on the device, from the same
weights, with products in full precision, and the two are compared. Then the nine
workloads train and predict in float32 and bfloat16: Lamina, steps written by hand in
JAX, Keras on JAX, and PyTorch. Each peer has one process for all workloads of a dtype.
What the time does not suffice for is left out, and named. The table is printed, and
written to build/bench/device.md.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from workloads import MEASURED, WORKLOADS, arrays

HERE = Path(__file__).parent
TABLE = HERE.parent / "build" / "bench" / "device.md"
CLOSE = 1e-3  # of the largest number: sums go in another order on a device

# Each peer: its module, the package it needs, its settings.
PEERS = {
    "lamina": ("keras_peer", "lamina", {"BENCH_PACKAGE": "lamina"}),
    "jax": ("jax_peer", "jax", {}),
    "keras-jax": (
        "keras_peer", "keras", {"BENCH_PACKAGE": "keras", "KERAS_BACKEND": "jax"},
    ),
    "torch": ("torch_peer", "torch", {}),
}  # fmt: skip
SHARE = 0.35  # of the time, for the layers


# ---- every layer ---------------------------------------------------------------


def layer_results(most):
    """Yield the name of each layer, and its output and gradients or what it raised."""
    import jax
    import jax.numpy as jnp

    import lamina
    from tests.models import test_one_way as table

    def both(model):
        def loss(trained, held, x):
            outputs, _ = model.stateless_call(trained, held, x, training=False)
            floats = [
                y.astype(jnp.float32)
                for y in jax.tree.leaves(outputs)
                if jnp.issubdtype(y.dtype, jnp.floating)
            ]
            return sum((jnp.square(y).mean() for y in floats), jnp.zeros(())), outputs

        return jax.jit(jax.value_and_grad(loss, has_aux=True))

    for name, cases in list(table.TABLE.items())[:most]:
        usable = (
            c
            for c in cases
            if not c.refuses and "string" not in jax.tree.leaves(table.dtypes_of(c))
        )
        case = next(usable, None)
        if case is None:
            continue
        lamina.utils.clear_session()
        lamina.utils.set_random_seed(0)
        try:
            model = table.Variant(case, None).model
            x = table.data_of(case, case.rows or case.only or 3)
            weights = [
                [v.value for v in group]
                for group in (model.trainable_variables, model.non_trainable_variables)
            ]
            results = jax.tree.leaves(both(model)(*weights, x))
            yield name, [np.asarray(a, "float64") for a in results]
        except Exception as error:
            yield name, f"{type(error).__name__}: {str(error):.200}"


def write_layers(folder, most):
    """Compute all layers and write what they give."""
    for name, results in layer_results(most):
        file = folder / name
        if isinstance(results, str):
            file.with_suffix(".txt").write_text(results)
        else:
            aside = file.with_suffix(".part")
            with aside.open("wb") as out:
                np.savez(out, *results)
            aside.rename(file.with_suffix(".npz"))


def compare_layers(here, there):
    """Return what to say of the layers on the CPU and on the device."""
    worst, wrong, raised = {}, [], []
    expected = sorted(here.glob("*.npz"))
    for file in expected:
        error = there / f"{file.stem}.txt"
        if error.exists():
            raised.append(f"{file.stem}: {error.read_text()}")
        if not (there / file.name).exists():
            continue
        one, two = (np.load(folder / file.name) for folder in (here, there))
        far = 0.0
        for key in one.files:
            a, b = one[key], two[key]
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            size = max(np.abs(a[np.isfinite(a)]).max(initial=0), 1e-3)
            far = max(far, np.where(same, 0, np.abs(a - b) / size).max(initial=0))
        worst[file.stem] = far
        if not far <= CLOSE:
            wrong.append(f"{file.stem}: {far:.1e} of its largest number apart")
    missing = len(expected) - len(worst) - len(raised)
    most = sorted(worst.items(), key=lambda pair: -pair[1])[:5]
    lines = [
        f"{len(worst)} layers computed on the device; {len(wrong)} of them more than "
        f"{CLOSE} of their largest number from the CPU, gradients included. The "
        "farthest: " + ", ".join(f"{name} {far:.0e}" for name, far in most) + ".",
        *[f"- differs: {text}" for text in wrong],
        *[f"- raised on the device alone: {text}" for text in raised],
    ]
    if missing:
        lines.append(f"- left out, because the time was over: {missing} layers")
    return lines, bool(wrong or raised)


# ---- workloads -----------------------------------------------------------------


def measure_workloads(module, names, seconds):
    """Print a line of JSON for each workload: samples per second and memory."""
    from worker import peak

    peer = importlib.import_module(f"peers.{module}").Peer

    def rate(run, samples):
        run()  # compiles
        run()
        times, start = 0, time.perf_counter()
        while not times or time.perf_counter() - start < seconds:
            run()
            times += 1
        return samples * times / (time.perf_counter() - start)

    for name in names:
        workload = WORKLOADS[name]
        x, y = arrays(workload, workload.batch * workload.steps)
        model = peer(name, x, y)
        many = model.convert(arrays(workload, 512)[0])
        found = {
            "name": name,
            "train": rate(lambda model=model: model.train(1), len(y)),
            "predict": rate(lambda m=model, many=many: m.predict(many), 512),
            "memory": device_peak() or peak(),
        }
        print(json.dumps(found), flush=True)


def device_peak():
    """Return the most memory that this process had on the device, in MB."""
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    if (jax := sys.modules.get("jax")) is not None:
        stats = jax.local_devices()[0].memory_stats() or {}
        return stats.get("peak_bytes_in_use", 0) / 2**20
    return None


# ---- all of it -----------------------------------------------------------------


def child(arguments, environment, end):
    """Run a part of this program until the time is over; return what it printed."""
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, *map(str, arguments)],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=max(end - time.monotonic(), 1),
        )
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
        return said.decode() if isinstance(said, bytes) else said, "the time was over"
    last = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    return done.stdout, "".join(last)[:200]


def device_name():
    """Return the kind of the device and its name, asked in a process of its own."""
    code = "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return said.stdout.strip().partition(" ")[::2]


def layers_part(arguments, end):
    exact = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    with tempfile.TemporaryDirectory() as folder:
        here, there = Path(folder, "cpu"), Path(folder, "device")
        for where, more in ((here, {"JAX_PLATFORMS": "cpu"}), (there, {})):
            where.mkdir()
            given = ["--part", "layers", where, arguments.layers]
            half = (end - time.monotonic()) / (2 if where is here else 1)
            child(given, exact | more, time.monotonic() + half)
        return compare_layers(here, there)


def workloads_part(arguments, platform, end):
    """Return the lines of the table of workloads."""
    found, left = {}, []
    peers = [p for p, (_, x, _) in PEERS.items() if importlib.util.find_spec(x)]
    runs = [(peer, dtype) for dtype in ("", "bfloat16") for peer in peers]
    for i, (peer, dtype) in enumerate(runs):
        module, _, settings = PEERS[peer]
        settings = settings | {
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "BENCH_DTYPE": dtype,
            "BENCH_DEVICE": "cuda" if platform == "gpu" else "cpu",
        }
        share = (end - time.monotonic()) / (len(runs) - i)
        given = ["--part", "workloads", module, arguments.each, *arguments.only]
        text, problem = child(given, settings, time.monotonic() + share)
        for line in text.splitlines():
            if line.startswith("{"):
                one = json.loads(line)
                found[one["name"], dtype or "float32", peer] = one
        if problem:
            left.append(f"- {peer}, {dtype or 'float32'}: {problem}")
    lines = [
        "| workload | dtype | " + " | ".join(peers) + " |",
        "|---|---|" + "---|" * len(peers),
    ]
    for name in arguments.only:
        for dtype in ("float32", "bfloat16"):
            cells = [cell(found.get((name, dtype, peer))) for peer in peers]
            lines.append(f"| {WORKLOADS[name].title} | {dtype} | {' | '.join(cells)} |")
    return [*lines, "", *left]


def cell(one):
    if one is None:
        return "-"
    return f"{one['train']:,.0f} / {one['predict']:,.0f} / {one['memory']:,.0f} MB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=450)
    parser.add_argument("--only", nargs="*", default=MEASURED, choices=MEASURED)
    parser.add_argument("--layers", type=int, default=10**6)
    parser.add_argument("--each", type=float, default=0.4)
    parser.add_argument("--part", nargs="*")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.part:
        part, *given = arguments.part
        if part == "layers":
            return write_layers(Path(given[0]), int(given[1]))
        return measure_workloads(given[0], given[2:], float(given[1]))
    begin = time.monotonic()
    platform, name = device_name()
    said, failed = layers_part(arguments, begin + SHARE * arguments.seconds)
    rows = workloads_part(arguments, platform, begin + arguments.seconds)
    lines = [
        f"# {name} ({platform})",
        "",
        *said,
        "",
        "Samples a second in `fit` / in `predict` / the most memory that the peer's "
        "process has had by then. Workloads come in the order of the table.",
        "",
        *rows,
        "",
        f"It took {time.monotonic() - begin:.0f} seconds.",
    ]
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n")
    print(TABLE.read_text())
    sys.exit(failed)


if __name__ == "__main__":
    main()
