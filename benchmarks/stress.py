"""Runs that are killed, interrupted and fed damaged files; memory over many calls.

    python benchmarks/stress.py            # everything, in forty minutes
    python benchmarks/stress.py --share 0.1

The damaged files, 20,000 of them, are those of `fuzz.py`, and the runs of several
processes those of `lost.py`.

Each part prints how many cases came out right; the exit code is 1 if one did not.
"""

import argparse
import contextlib
import gc
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from fuzz import fuzz
from lost import lost

KINDS = ("dense", "convolutional", "recurrent")
EPOCHS = 6


def model_and_data(kind):
    """Return a compiled model with dropout, and data to shuffle."""
    import lamina
    from lamina import layers

    lamina.utils.set_random_seed(1)
    draw = np.random.default_rng(0)
    if kind == "dense":
        x = draw.normal(size=(2048, 16)).astype("float32")
        stack = [layers.Input((16,)), layers.Dense(32, "relu"), layers.Dropout(0.2)]
    elif kind == "convolutional":
        x = draw.normal(size=(512, 12, 12, 1)).astype("float32")
        stack = [
            layers.Input((12, 12, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.SpatialDropout2D(0.2),
            layers.GlobalAveragePooling2D(),
        ]
    else:
        x = draw.normal(size=(512, 10, 4)).astype("float32")
        stack = [layers.Input((10, 4)), layers.LSTM(16, dropout=0.2)]
    y = x.reshape(len(x), -1)[:, :1] ** 2
    model = lamina.Sequential([*stack, layers.Dense(1)])
    model.compile("adam", "mse")
    return model, x, y


def digest(model, *more):
    """Return a text that differs when one bit of the weights does."""
    found = hashlib.sha256(repr(more).encode())
    for weight in model.get_weights():
        found.update(weight.tobytes())
    return found.hexdigest()


def train_and_tell(kind, folder):
    """Train with snapshots; tell when it begins, and what came out."""
    import lamina

    model, x, y = model_and_data(kind)
    keep = lamina.callbacks.BackupAndRestore(folder, 3, delete_checkpoint=False)
    begin = lamina.callbacks.LambdaCallback(
        on_train_begin=lambda logs: print("begun", flush=True)
    )
    history = model.fit(
        x, y, epochs=EPOCHS, verbose=0, callbacks=[begin], resume=keep
    ).history
    print("done", digest(model, history), flush=True)


def start(kind, folder):
    command = [sys.executable, __file__, "--train", kind, "--folder", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kills(count):
    """Kill runs at random moments; the last one must end as one left alone."""
    right = done = 0
    draw = random.Random(0)
    share = -(-count // len(KINDS))
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            alone = start(kind, Path(folder, "alone"))
            alone.stdout.readline()
            began = time.perf_counter()
            expected = alone.communicate()[0].strip()
            seconds = time.perf_counter() - began
            killed = 0
            while killed < min(share, count - done):
                place = Path(folder, f"killed {killed}")
                times = 0
                while True:
                    process = start(kind, place)
                    process.stdout.readline()
                    if times < 3 and killed + times < share:
                        time.sleep(draw.uniform(0, seconds * 0.6))
                        process.kill()
                        times += 1
                        process.communicate()
                        continue
                    outcome = process.communicate()[0].strip()
                    break
                killed += times
                right += times if outcome == expected else 0
            done += killed
    return right, done


def interrupts(count):
    """Press Ctrl-C at random moments; the model must be at a finished step."""
    right = 0
    draw = random.Random(0)
    for kind in KINDS:
        model, x, y = model_and_data(kind)
        steps = {digest(model)}
        import lamina

        record = lamina.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs, m=model, s=steps: s.add(digest(m))
        )
        model.fit(x, y, epochs=2, verbose=0, callbacks=[record])
        began = time.perf_counter()
        model.fit(x, y, epochs=2, verbose=0)
        seconds = time.perf_counter() - began
        for _ in range(count // len(KINDS) + (kind == KINDS[0]) * (count % len(KINDS))):
            model, x, y = model_and_data(kind)
            model.fit(x[:1], y[:1], epochs=0, verbose=0)
            press = threading.Timer(
                draw.uniform(0.05, 1.0) * seconds,
                lambda: os.kill(os.getpid(), signal.SIGINT),
            )
            np.random.seed(1)
            press.start()
            with contextlib.suppress(KeyboardInterrupt):
                try:
                    model.fit(x, y, epochs=2, verbose=0)
                finally:
                    press.cancel()
            model.predict(x[:4], verbose=0)
            right += digest(model) in steps
    return right, count


def damages(count):
    """Damage the newest snapshot in many ways; each must be found out."""
    from lamina.callbacks import snapshot

    draw = random.Random(0)
    right = 0
    with tempfile.TemporaryDirectory() as place:
        train = start("dense", place)
        train.communicate()
        folder = snapshot.Folder(place)
        newest, older = folder.files()
        data = newest.read_bytes()
        before = snapshot.dumps(snapshot.loads(older.read_bytes()))
        for case in range(count):
            if case % 3 == 0:
                newest.write_bytes(data[: draw.randrange(len(data))])
            elif case % 3 == 1:
                at = draw.randrange(len(data))
                newest.write_bytes(
                    data[:at]
                    + bytes([data[at] ^ 1 << draw.randrange(8)])
                    + data[at + 1 :]
                )
            else:
                at, size = draw.randrange(len(data) - 64), draw.randrange(1, 64)
                newest.write_bytes(data[:at] + data[at + size :])
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                found = snapshot.dumps(folder.read())
            right += found == before and any("damaged" in str(w.message) for w in said)
    return right, count


def resident():
    """Return the resident memory of this process in bytes."""
    gc.collect()
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def memory_of(action, warm, count):
    """Return by which share memory grew over `count` calls after `warm` of them."""
    for _ in range(warm):
        action()
    before = resident()
    for _ in range(count):
        action()
    return resident() / before - 1


def predicts(count):
    model, x, _ = model_and_data("dense")
    return memory_of(lambda: model.predict(x[:32], verbose=0), 500, count)


def models(count):
    import lamina

    def once():
        model, x, y = model_and_data("dense")
        model.fit(x[:64], y[:64], verbose=0)
        del model
        lamina.utils.clear_session()

    return memory_of(once, 40, count)


def main():
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("--share", type=float, default=1.0, help="of all cases")
    cli.add_argument("--train", help=argparse.SUPPRESS)
    cli.add_argument("--folder", help=argparse.SUPPRESS)
    options = cli.parse_args()
    if options.train:
        train_and_tell(options.train, options.folder)
        return

    def many(count):
        return max(3, int(count * options.share))

    good = True
    for name, run, count in (
        ("killed runs that ended bit for bit alike", kills, many(50)),
        ("lost processes whose runs ended as those left alone", lost, many(20)),
        ("interrupted models at a finished step", interrupts, many(50)),
        ("damaged snapshots found out", damages, many(20)),
        ("files opened, or refused in words", fuzz, many(20_000)),
    ):
        right, of = run(count)
        good &= right == of
        print(f"{name}: {right} of {of}", flush=True)
    for name, run, count in (
        ("calls of predict", predicts, many(10_000)),
        ("models built, fitted and dropped", models, many(200)),
    ):
        growth = run(count)
        good &= growth < 0.02
        print(f"memory after {count} {name}: {growth:+.1%}", flush=True)
    sys.exit(not good)


if __name__ == "__main__":
    main()
