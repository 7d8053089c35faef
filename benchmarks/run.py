"""Times training and prediction beside other libraries, and writes the table.

usage: python benchmarks/run.py [--rounds 5] [--quick] [--write docs/benchmarks.md]

Each library runs in processes of its own, in turn (A B A B ...), with the same
model, data, batch size and optimizer, on two threads. A figure is the median of the
rounds; only ratios within one run mean anything. Peers that are not installed are
left out and named.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

PEERS = {
    "lamina": ("lamina", {}),
    "keras-jax": ("keras", {"KERAS_BACKEND": "jax"}),
    "keras-tensorflow": ("keras", {"KERAS_BACKEND": "tensorflow"}),
    "keras-torch": ("keras", {"KERAS_BACKEND": "torch"}),
}
NEEDS = {"keras-tensorflow": "tensorflow", "keras-torch": "torch"}


def tabular(k):
    dense = k.layers.Dense
    stack = [dense(64, "relu"), dense(64, "relu"), dense(1)]
    return k.Sequential([k.Input((20,)), *stack]), (20,), "number", 32


def dropout(k):
    dense, drop = k.layers.Dense, k.layers.Dropout
    stack = [dense(512, "relu"), drop(0.2), dense(512, "relu"), drop(0.2)]
    last = dense(10, "softmax")
    return k.Sequential([k.Input((784,)), *stack, last]), (784,), 10, 64


def digits(k):
    layers = k.layers
    stack = [
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(128, "relu"),
        layers.Dense(10, "softmax"),
    ]
    return k.Sequential([k.Input((28, 28, 1)), *stack]), (28, 28, 1), 10, 64


def text(k):
    layers = k.layers
    stack = [
        layers.Embedding(5000, 64),
        layers.LSTM(128),
        layers.Dense(2, "softmax"),
    ]
    return k.Sequential([k.Input((64,), dtype="int32"), *stack]), "words", 2, 64


WORKLOADS = {
    "MLP 20-64-64-1, batch 32": (tabular, 6400),
    "MLP 784-512-512-10, dropout, batch 64": (dropout, 6400),
    "digits CNN, batch 64": (digits, 1920),
    "Embedding-LSTM(128), 64 steps, batch 64": (text, 640),
}


def measure(package, name, share):
    """Return samples per second of `fit` and `predict`, in this process."""
    import numpy as np

    k = importlib.import_module(package)
    build, rows = WORKLOADS[name]
    rows = max(int(rows * share), 128)
    model, shape, classes, batch = build(k)
    random = np.random.default_rng(0)
    if shape == "words":
        x = random.integers(1, 5000, (rows, 64)).astype("int32")
    else:
        x = random.normal(size=(rows, *shape)).astype("float32")
    if classes == "number":
        y, loss = x.sum(axis=1, keepdims=True), "mse"
    else:
        y, loss = random.integers(0, classes, rows), "sparse_categorical_crossentropy"
    model.compile("adam", loss)
    model.fit(x, y, batch_size=batch, verbose=0)
    model.predict(x, batch_size=256, verbose=0)
    start = time.perf_counter()
    model.fit(x, y, batch_size=batch, verbose=0)
    middle = time.perf_counter()
    model.predict(x, batch_size=256, verbose=0)
    end = time.perf_counter()
    return {"fit": rows / (middle - start), "predict": rows / (end - middle)}


def in_process(peer, name, share):
    package, settings = PEERS[peer]
    threads = {"OMP_NUM_THREADS": "2", "TF_CPP_MIN_LOG_LEVEL": "3"}
    arguments = ["--measure", package, name, str(share)]
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**os.environ, **threads, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{peer}, {name}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def table(results, peers):
    lines = [
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}. Samples per second, median of the rounds; in "
        "brackets how many times Lamina is as fast.",
        "",
        "| workload | | " + " | ".join(peers) + " |",
        "|---|---|" + "---:|" * len(peers),
    ]
    for name, by_peer in results.items():
        for kind in ("fit", "predict"):
            ours = statistics.median(r[kind] for r in by_peer["lamina"])
            cells = []
            for peer in peers:
                median = statistics.median(r[kind] for r in by_peer[peer])
                ratio = f" ({ours / median:.2f}x)" if peer != "lamina" else ""
                cells.append(f"{median:,.0f}{ratio}")
            lines.append(f"| {name} | {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    cli = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    cli.add_argument("--rounds", type=int, default=5)
    cli.add_argument("--quick", action="store_true", help="one short round")
    cli.add_argument("--write", type=Path, default=None)
    cli.add_argument("--measure", nargs=3, default=None, help=argparse.SUPPRESS)
    options = cli.parse_args()
    if options.measure:
        package, name, share = options.measure
        print(json.dumps(measure(package, name, float(share))))
        return
    absent = [p for p, need in NEEDS.items() if not importlib.util.find_spec(need)]
    peers = [p for p in PEERS if p not in absent]
    rounds, share = (1, 0.2) if options.quick else (options.rounds, 1.0)
    results = {name: {peer: [] for peer in peers} for name in WORKLOADS}
    for turn in range(rounds):
        for name in WORKLOADS:
            for peer in peers:
                print(f"round {turn + 1} of {rounds}: {name}, {peer}", file=sys.stderr)
                results[name][peer].append(in_process(peer, name, share))
    text = table(results, peers)
    if absent:
        text += f"\nNot installed, so not measured: {', '.join(absent)}.\n"
    print(text)
    if options.write:
        options.write.write_text("# Benchmarks\n\n" + text)


if __name__ == "__main__":
    main()
