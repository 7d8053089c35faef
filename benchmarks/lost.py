"""Runs of several processes that lose one again and again; `stress.py` calls it.

    python benchmarks/lost.py 20    # kills; prints how many cases came out right

Each is started again in the next layout, and goes on from its last snapshot.
"""

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TURNS = (2, 2), (1, 8), (1, 1), (2, 1)  # processes, and devices of each
LIMIT = 30  # seconds that those that are left may take to end
EPOCHS = 20


def train(folder):
    """Train with snapshots; tell when it begins, and what came out."""
    import jax

    import lamina

    lamina.distribution.initialize()
    lamina.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(515, 16)).astype("float32")
    layers = lamina.layers
    with lamina.distribution.FullyShardedDataParallel().scope():
        stack = [layers.Dense(256, "relu"), layers.BatchNormalization()]
        stack += [layers.Dropout(0.2), layers.Dense(1)]
        model = lamina.Sequential([layers.Input((16,)), *stack])
        model.compile("adam", "mse")
    steps = model.optimizer.iterations

    def tell(batch, logs):
        print("step", int(steps), flush=True)
        time.sleep(0.02)

    tell = lamina.callbacks.LambdaCallback(on_train_batch_end=tell)
    keep = lamina.callbacks.BackupAndRestore(folder, 5, delete_checkpoint=False)
    history = model.fit(
        x, x[:, :1] ** 2, 16, EPOCHS, verbose=0, callbacks=[tell], resume=keep
    ).history
    weights = [w.tolist() for w in model.get_weights()]
    if jax.process_index() == 0:  # a pipe holds little, and nobody reads the others'
        print(json.dumps([history["loss"][-1:], weights]), flush=True)


def start(folder, processes, devices):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(processes),
    }
    return [
        subprocess.Popen(
            [sys.executable, __file__, "--train", str(folder)],
            env={**environment, "KERAS_DISTRIBUTION_PROCESS_ID": str(i)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for i in range(processes)
    ]


def outcome(running):
    """Return what the first process of a run prints last."""
    said = [process.communicate(timeout=120)[0] for process in running]
    return said[0].splitlines()[-1]


def killed(folder, turns, count, draw):
    """Kill a run so often; return what it comes to, how often the others ended in time,
    and at which steps it went on.
    """
    ended, begun = 0, []
    for i in range(count):
        running = start(folder, *turns[i % len(turns)])
        for process in running:
            while (line := process.stdout.readline()) and line[:5] != "step ":
                pass
        begun.append(line.split()[-1] if line else "none")  # none were left
        time.sleep(draw.uniform(0, 2.5))
        draw.choice(running).kill()
        end = time.monotonic() + LIMIT
        for process in running:
            try:
                process.communicate(timeout=max(end - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                ended -= 1
        ended += 1
    return outcome(start(folder, *turns[count % len(turns)])), ended, begun


def lost(count):
    """Kill runs so often in turns of layouts, and a quarter as often in one."""
    draw, right, of = random.Random(0), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        alone = outcome(start(Path(folder, "alone"), *TURNS[0]))
        for name, turns, kills in (
            ("one", TURNS[:1], count // 4),
            ("turns", TURNS, count),
        ):
            found, ended, begun = killed(Path(folder, name), turns, kills, draw)
            (a, mine), (b, whole) = map(json.loads, (found, alone))
            apart = abs(a[0] - b[0])
            furthest = max(
                np.abs(np.subtract(*pair)).max()
                for pair in zip(mine, whole, strict=True)
            )
            print(
                f"  {name}: {kills} kills, the others ended within {LIMIT} s {ended} "
                f"times; loss {apart:.1e} apart, weights {furthest:.1e}; went on at "
                f"steps {' '.join(begun)}",
                flush=True,
            )
            good = found == alone if len(turns) == 1 else apart < 1e-5
            right += ended if good else 0
            of += kills
    return right, of


if __name__ == "__main__":
    if sys.argv[1] == "--train":
        train(sys.argv[2])
    else:
        right, of = lost(int(sys.argv[1]))
        print(f"lost processes whose runs ended as those left alone: {right} of {of}")
        sys.exit(right != of)
