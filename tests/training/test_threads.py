"""Models in several threads and processes: it works, or an error says what to do."""

import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest

import lamina
from lamina import layers

X = np.random.default_rng(0).normal(size=(20, 8)).astype("float32")


def in_threads(function, count):
    """Run a function in threads that begin together; return results and errors."""
    results, errors, begin = [], [], threading.Barrier(count)

    def run():
        begin.wait()
        try:
            results.append(function())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results, errors


class Slow(layers.Dense):
    def build(self, input_shape):
        threading.Event().wait(0.01)  # lets the other threads in
        super().build(input_shape)


class Own(lamina.Model):
    def __init__(self, traceable):
        super().__init__()
        self.first, self.second, self.traceable = Slow(4), Slow(2), traceable

    def call(self, x):
        if not self.traceable:
            np.asarray(x)
        return self.second(self.first(x))


MODELS = {
    "traced": lambda: Own(True),
    "not traceable": lambda: Own(False),
    "sequential": lambda: lamina.Sequential([Slow(4), Slow(2)]),
}


@pytest.mark.parametrize("kind", MODELS)
def test_first_calls_from_several_threads_build_a_model_once(kind):
    for _ in range(3):
        model = MODELS[kind]()
        results, errors = in_threads(lambda model=model: np.asarray(model(X)), 6)
        assert not errors
        assert len(model.weights) == 4
        assert all(np.array_equal(r, results[0]) for r in results)
    layer = Slow(3)
    results, errors = in_threads(lambda: layer(X).shape, 4)
    assert (results, errors) == ([(20, 3)] * 4, [])


def small():
    model = lamina.Sequential([lamina.Input((8,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


class Waits(lamina.callbacks.Callback):
    """Evaluates the model while it is trained, then waits until it may go on."""

    def __init__(self):
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def on_epoch_end(self, epoch, logs=None):
        self.model.evaluate(X, X[:, :2], verbose=0)
        self.begun.set()
        self.go.wait(60)


def test_a_model_is_trained_in_one_thread_at_a_time():
    model, other, waits = small(), small(), Waits()
    logs = []

    def train():
        logs.append(model.fit(X, X[:, :2], verbose=0, callbacks=[waits]).history)

    thread = threading.Thread(target=train, name="first")
    thread.start()
    assert waits.begun.wait(60)
    for method in (model.fit, model.evaluate, model.train_on_batch):
        more = {} if method == model.train_on_batch else {"verbose": 0}
        with pytest.raises(RuntimeError, match="runs in thread 'first'.*clone_model"):
            method(X, X[:, :2], **more)
    other.fit(X, X[:, :2], verbose=0)
    assert model.predict(X, verbose=0).shape == (20, 2)
    waits.go.set()
    thread.join(60)
    assert logs and "loss" in logs[0]
    model.fit(X, X[:, :2], verbose=0)  # the thread before has ended


def test_no_step_of_several_threads_is_lost():
    model = small()
    model.optimizer.learning_rate = 1e-3

    def steps():
        for _ in range(20):
            model.train_on_batch(X, X[:, :2])
        return model.test_on_batch(X, X[:, :2])

    first = model.get_weights()
    results, errors = in_threads(steps, 4)
    assert not errors and len(results) == 4
    assert int(model.optimizer.iterations) == 80
    found = model.get_weights()
    model.set_weights(first)
    for _ in range(80):
        model.train_on_batch(X, X[:, :2])
    for now, then in zip(model.get_weights(), found, strict=True):
        np.testing.assert_array_equal(now, then)


def test_what_makes_batches_of_evaluate_cannot_run_its_model():
    model = small()

    def batches():
        for _ in range(3):
            model.test_on_batch(X, X[:, :2])
            yield X, X[:, :2]

    with pytest.raises(RuntimeError, match="while `evaluate` of it runs.*batches"):
        model.evaluate(batches(), verbose=0)
    model.evaluate(X, X[:, :2], verbose=0)


def script(text, **options):
    source = pathlib.Path(lamina.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", text],
        env={
            "PYTHONPATH": ":".join([str(source), *filter(None, sys.path)]),
            "JAX_PLATFORMS": "cpu",
        },
        capture_output=True,
        text=True,
        timeout=100,
        **options,
    )


MODEL = """
import os, sys, threading, time
import numpy as np, lamina
model = lamina.Sequential([lamina.Input((300,)), lamina.layers.Dense(900),
                           lamina.layers.Dense(900), lamina.layers.Dense(2)])
model.compile("adam", "mse")
x = np.ones((3000, 300), "float32")
"""


def test_the_end_of_a_program_stops_a_daemon_thread_that_trains():
    done = script(
        MODEL + "begun = threading.Event()\n"
        "class Begins(lamina.callbacks.Callback):\n"
        "    def on_epoch_begin(self, epoch, logs=None): begun.set()\n"
        "def train():\n"
        "    while True:\n"
        "        model.fit(x, x[:, :2], epochs=99, batch_size=500, verbose=0,\n"
        "                  callbacks=[Begins()])\n"
        "threading.Thread(target=train, daemon=True).start()\n"
        "begun.wait(60); time.sleep(0.3)\n"
    )
    assert done.returncode == 0, done.stderr
    assert "daemon thread trained 'sequential'" in done.stderr


def test_the_end_of_a_program_ends_what_daemon_threads_run():
    calls = (
        "model.predict(x, batch_size=500, verbose=0)",
        "trained.train_on_batch(x, x[:, :2])",
        "program(x[:500])",
        "lamina.saving.load_model(filepath=path)",
        "model(x)",
        "lamina.ops.matmul(np.ones((500, 500)), np.ones((500, 500)))",
        "value.assign(value + 1)",
        "np.asarray(model.weights[0])",
        "lamina.Sequential([lamina.Input((9,)), lamina.layers.Dense(9)])",
        "lamina.random.normal((500, 500))",
    )
    done = script(
        MODEL + "import tempfile, pathlib\n"
        "folder = pathlib.Path(tempfile.mkdtemp()); path = folder / 'm.keras'\n"
        "model.save(path); model.export(folder / 'm.lamina', verbose=False)\n"
        "program = lamina.export.load(folder / 'm.lamina')\n"
        "trained = lamina.saving.load_model(path)\n"
        "value = lamina.Variable(np.ones((500, 500)))\n"
        "def run(call, begun):\n"
        "    while True: call(); begun.set()\n"
        f"for call in [{', '.join(f'lambda: {call}' for call in calls)}]:\n"
        "    begun = threading.Event()\n"
        "    threading.Thread(target=run, args=(call, begun), daemon=True).start()\n"
        "    assert begun.wait(60)\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_end_of_a_program_leaves_other_daemon_threads_alone():
    """A thread that never used the library may have to finish what others wait for."""
    done = script(
        "import atexit, queue, threading\n"
        "jobs, done = queue.Queue(), []\n"
        "def work():\n"
        "    while True: done.append(jobs.get()); jobs.task_done()\n"
        "def last(): jobs.put(1); jobs.join(); print(done)\n"
        "atexit.register(last)\n"
        "threading.Thread(target=work, daemon=True).start()\n" + MODEL + "model(x)\n"
    )
    assert (done.returncode, done.stdout) == (0, "[1]\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="systems without a fork")
def test_a_forked_process_says_that_jax_cannot_run_in_it():
    done = script(
        MODEL + "model.predict(x[:3], verbose=0)\n"
        "import tempfile, pathlib\n"
        "path = pathlib.Path(tempfile.mkdtemp(), 'm')\n"
        "model.export(path, verbose=False)\n"
        "program = lamina.export.load(path)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    for f in (model.predict, model, lambda x: model.evaluate(x, x[:, :2]),\n"
        "              model.layers[0], lamina.ops.sin, program,\n"
        "              lambda x: lamina.export.load(path)):\n"
        "        try: f(x[:3])\n"
        "        except RuntimeError as error: print(error, flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(model.predict(x[:3], verbose=0).shape)\n"
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert all("forked" in line and "'spawn'" in line for line in lines[:7])
    assert lines[7] == "(3, 2)"
