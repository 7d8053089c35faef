"""`fit(resume=)`: a run that is cut off goes on as if nothing had happened."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import jax
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.callbacks import snapshot
from lamina.callbacks.backup_and_restore import random_state, set_random_state
from lamina.data.pydataset import drawing
from lamina.utils.datasets.samples import Rows, Samples
from tests.training.runs import Own, Stop

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(52, 6)).astype("float32")
Y = X[:, :1] * 2
STEPS = 7  # in an epoch of 8 rows a batch


class Indexed(lamina.utils.PyDataset):
    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        x = np.random.normal(size=(8, 6)).astype("float32")
        return x, x[:, :1]


class Repeated:
    """Other batches in every pass."""

    def __iter__(self):
        for _ in range(STEPS):
            x = np.random.normal(size=(8, 6)).astype("float32")
            yield x, x[:, :1]


def endless():
    while True:
        yield from Repeated()


def noisy(x, y):
    return x + np.random.normal(size=x.shape).astype("float32"), y


def verbs(change=noisy):
    rows = Samples(Rows((X, Y)), len(X))
    return rows.shuffle(seed=1).map(change).batch(8)


def stream():
    return verbs().unbatch().filter(lambda x, y: y[0] > -1).shuffle(9, seed=2).batch(4)


SOURCES = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": 8},
    "parts of arrays": lambda: {"x": X, "y": Y, "batch_size": 4, "steps_per_epoch": 7},
    "indexed": lambda: {"x": Indexed()},
    "repeated": lambda: {"x": Repeated()},
    "endless": lambda: {"x": endless(), "steps_per_epoch": STEPS},
    "verbs": lambda: {"x": verbs()},
    "parts of verbs": lambda: {
        "x": verbs(lambda *e: e).prefetch(2),
        "steps_per_epoch": 5,
    },
    "endless verbs": lambda: {"x": verbs().repeat(), "steps_per_epoch": 5},
    "stream": lambda: {"x": stream()},
    "parts of a stream": lambda: {"x": stream().repeat(), "steps_per_epoch": 5},
}
AHEAD = ("repeated", "endless", "stream", "parts of a stream")


def made():
    lamina.utils.set_random_seed(3)
    model = lamina.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(5, "relu"),
            layers.Dropout(0.3),
            layers.BatchNormalization(),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    return model


def run(folder, source, die_at=None, epochs=3, every=2, **more):
    """Train; return all that must be the same."""
    model = made()
    keep = lamina.callbacks.BackupAndRestore(folder, every, delete_checkpoint=False)
    slow = lamina.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=1.0)
    history = model.fit(
        **SOURCES[source](), epochs=epochs, verbose=0, validation_data=(X[:9], Y[:9]),
        callbacks=[slow, Stop(die_at)], resume=keep, **more,
    )  # fmt: skip
    values = [*model.get_weights(), *(np.asarray(v) for v in model.optimizer.variables)]
    return history.history, [v.tolist() for v in values], np.random.random()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The runs that were left alone, by source."""
    found = {}

    def of(source):
        if source not in found:
            found[source] = run(tmp_path_factory.mktemp("whole"), source)
        return found[source]

    return of


# In the first epoch before any snapshot, between two, at an epoch's end, later.
@pytest.mark.parametrize(
    ("source", "die_at"),
    [("arrays", n) for n in (1, 3, 7, 8, 12)]
    + [(s, n) for s in list(SOURCES)[1:5] for n in (3, 12)]
    + [(s, 8) for s in list(SOURCES)[5:]],
)
def test_goes_on_bit_for_bit(tmp_path, uninterrupted, source, die_at):
    with pytest.raises(RuntimeError, match="cut off"):
        run(tmp_path, source, die_at)
    history, values, number = run(tmp_path, source)
    expected = uninterrupted(source)
    assert history == expected[0]
    assert values == expected[1]
    # NumPy's generator is where it would have been, unless batches come from it in
    # the background, where it may be ahead.
    assert number == expected[2] or source in AHEAD


def test_the_generators_are_saved_as_they_are_outside_of_an_item():
    begun, end = threading.Event(), threading.Event()

    def item():
        with drawing(7):
            begun.set()
            end.wait(10)

    np.random.seed(1)
    outside = np.random.get_state()[1].tolist()
    thread = threading.Thread(target=item)
    thread.start()
    begun.wait(10)
    threading.Timer(0.1, end.set).start()
    saved = random_state()["numpy"][1].tolist()
    thread.join()
    assert saved == outside == np.random.get_state()[1].tolist()


def test_cut_off_twice(tmp_path, uninterrupted):
    for die_at in (4, 11):
        with pytest.raises(RuntimeError, match="cut off"):
            run(tmp_path, "arrays", die_at)
    assert run(tmp_path, "arrays")[:2] == uninterrupted("arrays")[:2]


def test_complete_run_is_only_read(tmp_path, uninterrupted):
    first = run(tmp_path, "arrays")
    before = {p.name for p in tmp_path.iterdir()}
    assert run(tmp_path, "arrays", die_at=1)[:2] == first[:2]  # no batch is run
    assert {p.name for p in tmp_path.iterdir()} == before


def test_more_epochs_go_on(tmp_path, uninterrupted):
    run(tmp_path, "arrays", epochs=2)
    assert run(tmp_path, "arrays", epochs=3)[:2] == uninterrupted("arrays")[:2]


def test_two_snapshots_are_kept(tmp_path):
    run(tmp_path, "arrays")
    files = sorted(p.name for p in tmp_path.iterdir())
    assert len(files) == 2
    assert all(name.endswith(".snapshot") for name in files)


DAMAGE = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "a flipped bit": lambda data: data[:-100] + bytes([data[-100] ^ 1]) + data[-99:],
    "a head of something else": lambda data: b"PK" + data[2:],
    "a longer tail": lambda data: data + b"\0",
    "more values than any has": lambda data: with_head("[" + "1," * 1_000_001 + "1]"),
    "a long name": lambda data: with_head(json.dumps({"array": ["x" * 10**6, []]})),
}


def with_head(text):
    body = snapshot._bytes(text, [])
    assert hashlib.sha256(body[:-32]).digest() == body[-32:]
    return body


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_snapshot_is_passed_over(tmp_path, uninterrupted, damage):
    with pytest.raises(RuntimeError, match="cut off"):
        run(tmp_path, "arrays", 12)
    newest = max(tmp_path.glob("*.snapshot"))
    newest.write_bytes(DAMAGE[damage](newest.read_bytes()))
    said = f"{newest.name}.*damaged and was passed over"
    with pytest.warns(UserWarning, match=said) as warned:
        again = run(tmp_path, "arrays")
    assert again[:2] == uninterrupted("arrays")[:2]
    assert len(str(warned[0].message)) < 5000


def test_all_snapshots_damaged(tmp_path, uninterrupted):
    with pytest.raises(RuntimeError, match="cut off"):
        run(tmp_path, "arrays", 12)
    for path in tmp_path.iterdir():
        path.write_bytes(b"lamina snapshot 1\n")
    with pytest.warns(UserWarning, match="damaged"):
        again = run(tmp_path, "arrays")
    assert again[:2] == uninterrupted("arrays")[:2]
    assert run(tmp_path, "arrays", die_at=1)[:2] == again[:2]  # the new ones are kept


SHAPES = {
    "logs": lambda tree: tree.pop("logs"),
    "stopper": lambda tree: tree.update(stopper=[1]),
    "random": lambda tree: tree["random"].pop("python"),
    "began": lambda tree: tree["began"].update(numpy=("MT19937", [1], 0, 0, 0.0)),
    "state` has": lambda tree: tree["state"][2].pop(),
    "state": lambda tree: tree.update(state=tree["state"][:2]),
    "state` holds .*kernel": lambda tree: tree["state"][0].__setitem__(
        0, np.zeros((9, 9), "float32")
    ),
    "state` holds": lambda tree: tree["state"][2].__setitem__(-1, np.zeros((), "bool")),
    "metrics": lambda tree: tree.update(metrics=[["loss"]] * len(tree["metrics"])),
    "marks": lambda tree: tree.update(marks=["x"]),
    "marks` names": lambda tree: tree["marks"][0].update(random={}),
    "marks` .* no batch": lambda tree: tree["marks"][0].update(at=10**9),
    "names": lambda tree: tree["names"].__setitem__(0, [[]]),
    "step|of epoch 1, step": lambda tree: tree.update(step=10**30),
    "callbacks": lambda tree: tree["callbacks"][0].update({3: 1}),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(folder, "arrays", epochs=1)


@pytest.mark.parametrize("part", SHAPES)
def test_a_part_of_another_form_is_passed_over(tmp_path, finished, part):
    (newest,) = finished[0].glob("*3.snapshot")
    older = tmp_path / newest.name
    shutil.copy(newest, older)
    tree = snapshot.loads(newest.read_bytes())
    SHAPES[part](tree)
    (tmp_path / "000000000009.snapshot").write_bytes(snapshot.dumps(tree))
    said = rf"09\.snapshot' is damaged and was passed over: .*({part})"
    with pytest.warns(UserWarning, match=said) as told:
        again = run(tmp_path, "arrays", epochs=1)
    assert len(told) == 1
    assert again == finished[1]


def test_a_place_before_the_first_epoch(tmp_path, uninterrupted):
    run(tmp_path, "arrays", epochs=1)
    for path in tmp_path.glob("*.snapshot"):
        tree = snapshot.loads(path.read_bytes())
        path.write_bytes(snapshot.dumps({**tree, "epoch": -(10**20)}))
    with pytest.warns(UserWarning, match="passed over.*epoch -1000"):
        again = run(tmp_path, "arrays")
    assert again[:2] == uninterrupted("arrays")[:2]


def test_more_batches_than_there_are(tmp_path):
    """Of a source without end they would be taken without end."""
    run(tmp_path, "endless", epochs=1)
    for path in tmp_path.glob("*.snapshot"):
        tree = snapshot.loads(path.read_bytes())
        tree["marks"][0]["taken"] = 10**15
        path.write_bytes(snapshot.dumps(tree))
    with pytest.raises(ValueError, match="0 batches were taken before epoch 2"):
        run(tmp_path, "endless")


def test_parts_of_other_files_are_left_alone(tmp_path):
    """A callback may write its own file into the folder of the snapshots just now."""
    mine, old = tmp_path / ".best.keras.0a.part", tmp_path / ".1.snapshot.0a.part"
    folder = snapshot.Folder(tmp_path)
    for act in (lambda: folder.write(0, {"a": 1}), folder.clear):
        mine.touch()
        old.touch()
        act()
        folder.wait()
        assert mine.exists() and not old.exists()


def test_other_run_is_refused(tmp_path):
    run(tmp_path, "arrays", epochs=1)
    with pytest.raises(ValueError, match="another run:\n  batch_size was 8 and is 4"):
        run(tmp_path, "parts of arrays")
    model = lamina.Sequential([layers.Input((6,)), layers.Dense(2), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    with pytest.raises(
        ValueError,
        match=r"(?s)layers was .*weights.trainable\[0\] was 'kernel .*\(6, 5",
    ):
        model.fit(X, Y, 8, verbose=0, resume=tmp_path)
    weights = model.get_weights()
    model.compile("sgd", "mae")
    with pytest.raises(ValueError, match="loss was 'mse' and is 'mae'"):
        model.fit(X, Y, 8, verbose=0, resume=tmp_path)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def plain(units=5, activation="relu", rate=0.2):
    return lamina.Sequential(
        [layers.Dense(units, activation), layers.Dropout(rate), layers.Dense(1)]
    )


def train(folder, model=None, **changed):
    """Train a model that is not built; return its history."""
    told = {"optimizer": "adam", "loss": "mse", "metrics": ["mae"]}
    told |= {k: changed.pop(k) for k in told if k in changed}
    given = {"x": X, "y": Y, "batch_size": 8, "epochs": 2, "verbose": 0} | changed
    lamina.utils.set_random_seed(3)
    model = plain() if model is None else model
    model.compile(**told)
    return model.fit(**given, resume=folder).history


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, train(folder)


OTHER = X.copy()
OTHER[7, 2] += 1
schedules, losses = lamina.optimizers.schedules, lamina.losses
REFUSED = {
    "learning rate": (
        {"optimizer": lamina.optimizers.Adam(0.01)},
        r"optimizer Adam.learning_rate was 0.001 and is 0.01\n",
    ),
    "schedule": (
        {"optimizer": lamina.optimizers.Adam(schedules.CosineDecay(0.01, 9))},
        r"optimizer Adam.learning_rate was 0.001 and is CosineDecay\n",
    ),
    "optimizer": ({"optimizer": "sgd"}, r"optimizer was Adam and is SGD\n"),
    "clipping": (
        {"optimizer": lamina.optimizers.Adam(clipnorm=1.0)},
        "optimizer Adam.clipnorm was None and is 1\n",
    ),
    "loss": ({"loss": losses.Huber(2.0)}, "loss was 'mse' and is Huber\n"),
    "batch size": ({"batch_size": 4}, "batch_size was 8 and is 4\n"),
    "steps": ({"steps_per_epoch": 3}, "steps_per_epoch was None and is 3\n"),
    "order": ({"shuffle": False}, "shuffle was 'True' and is 'False'\n"),
    "class weight": (
        {"y": np.zeros((52, 1)), "class_weight": {0: np.float32(2)}},
        r"data.y was .*\n  class_weight was None and is {'0': 2.0}\n",
    ),
    "sample weight": (
        {"sample_weight": np.ones(52)},
        r"data.sample_weight was 'not there' and is 'float32 \(52,\), digest \w+'\n",
    ),
    "one number": (
        {"x": OTHER},
        r"data.x was 'float32 \(52, 6\), digest \w+' and is 'float32 \(52, 6\), dig",
    ),
    "rows": (
        {"x": X[:40], "y": Y[:40]},
        r"data.x was 'float32 \(52, 6\).* and is 'float32 \(40, 6\).*\n  data.y was",
    ),
    "other data": (
        {"x": iter([(X, Y)]), "y": None, "batch_size": None},
        r"batch_size was 8 and is 52\n(.*\n)*  data.x was .*is 'float32 with 2 axes'",
    ),
    "activation": (
        {"model": lambda: plain(activation="tanh")},
        r"layers\[2\] Dense.activation was 'relu' and is 'tanh'\n",
    ),
    "rate": (
        {"model": lambda: plain(rate=0.4)},
        r"layers\[3\] Dropout.rate was 0.2 and is 0.4\n",
    ),
    "units": (
        {"model": lambda: plain(4)},
        r"layers\[2\] Dense.units was 5 and is 4\n(.*\n)*  weights.trainable\[0\] was",
    ),
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_changes_the_numbers_is_refused_by_name(trained, change):
    changed, message = REFUSED[change]
    changed = {k: v() if k == "model" else v for k, v in changed.items()}
    with pytest.raises(ValueError, match=rf"another run:\n  {message}"):
        train(trained[0], **changed)


def test_another_wiring_is_refused(tmp_path):
    def drawn(swapped):
        x = lamina.Input((6,))
        pair = [layers.Dense(1)(x)]
        pair.append(layers.Dense(1)(pair[0]))
        return lamina.Model(x, layers.Subtract()(pair[::-1] if swapped else pair))

    train(tmp_path, drawn(False))
    train(tmp_path, drawn(False))  # the layers have other names
    with pytest.raises(ValueError, match=r"layers\[0\] Functional.wiring was"):
        train(tmp_path, drawn(True))


class Heavy(layers.Layer):
    """Its settings cannot be saved."""

    def __init__(self, units):
        super().__init__()
        self.dense = layers.Dense(units)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        raise TypeError("no")


def test_settings_that_cannot_be_saved(tmp_path):
    train(tmp_path, lamina.Sequential([Heavy(1)]))
    train(tmp_path, lamina.Sequential([Heavy(1)]))
    with pytest.raises(ValueError, match=r"layers\[3\] Dense.units was 1 and is 2"):
        train(tmp_path, lamina.Sequential([Heavy(2)]), y=np.ones((52, 2)))


UNHARMED = {
    "nothing": {},
    "no validation": {"validation_data": None},
    "other validation": {"validation_data": Indexed(), "validation_freq": 2},
    "a later first epoch": {"initial_epoch": 1},
    "a callback more": {"callbacks": [lamina.callbacks.TerminateOnNaN()]},
    "a metric more": {"metrics": ["mse", "mae"]},
    "no metric": {"metrics": None},
}


@pytest.mark.parametrize("change", UNHARMED)
def test_what_leaves_the_numbers_alone_goes_on(tmp_path, trained, change):
    cut = Stop(4)
    with pytest.raises(RuntimeError, match="cut off"):
        train(tmp_path, callbacks=[cut])  # before the first snapshot
    train(tmp_path, epochs=1, validation_data=(X[:4], Y[:4]))
    history = train(tmp_path, **{"validation_data": (X, Y)} | UNHARMED[change])
    assert history["loss"] == trained[1]["loss"]


def test_a_metric_more_in_the_middle_of_an_epoch(tmp_path):
    def run(folder, at=None, metrics=("mae",)):
        keep = lamina.callbacks.BackupAndRestore(folder, 1, delete_checkpoint=False)
        return train(keep, epochs=1, callbacks=[Stop(at)], metrics=list(metrics))

    with pytest.raises(RuntimeError, match="cut off"):
        run(tmp_path / "cut", 6)
    whole = run(tmp_path / "whole", metrics=["mse", "mae"])
    with pytest.warns(UserWarning, match=r"\['mse'\] are new.*epoch 1"):
        history = run(tmp_path / "cut", metrics=["mse", "mae"])
    assert history["loss"] == whole["loss"]
    assert history["mae"] == whole["mae"]
    assert history["mse"] != whole["mse"]


class Counts(lamina.callbacks.Callback):
    """Counts epochs from a number on."""

    def __init__(self, start=0):
        super().__init__()
        self.start, self.count = start, start

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1


class CountsToo(Counts):
    pass


def test_callbacks_are_found_by_class_and_arguments(tmp_path):
    train(tmp_path, callbacks=[Counts(), CountsToo(5), Counts(10)], epochs=2)
    # Another order, one more, none gone.
    now = [lamina.callbacks.TerminateOnNaN(), Counts(10), Counts(), CountsToo(5)]
    train(tmp_path, callbacks=now, epochs=3)
    assert [c.count for c in now[1:]] == [13, 3, 8]
    # One gone, one that is new, one with another argument.
    now = [Counts(10), Counts(20), Counts(30), CountsToo(6)]
    train(tmp_path, callbacks=now, epochs=4)
    assert [c.count for c in now] == [14, 21, 31, 9]
    assert now[3].start == 6


def test_a_callback_that_is_gone_ends_nothing(tmp_path):
    class Ends(Counts):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch >= self.start

    def epochs(*callbacks, **more):
        return len(train(tmp_path, callbacks=callbacks, epochs=4, **more)["loss"])

    assert epochs(Counts(), Ends(), verbose=2) == 1
    assert epochs(CountsToo(), Ends()) == 1  # it ended, and nothing of that changed
    assert epochs(Ends(1), Counts()) == 2
    assert epochs(Counts()) == 4


def test_a_learning_rate_that_a_callback_changed(tmp_path):
    def run(folder, model=None, at=None):
        keep = lamina.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
        slow = lamina.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
        if model is None:
            lamina.utils.set_random_seed(3)
            model = plain()
            model.compile("adam", "mse")
        history = model.fit(
            X, Y, 8, epochs=3, verbose=0, callbacks=[slow, keep, Stop(at)]
        ).history
        return history, model

    whole, _ = run(tmp_path / "whole")
    lamina.utils.set_random_seed(3)
    model = plain()
    model.compile("adam", "mse")
    with pytest.raises(RuntimeError, match="cut off"):
        run(tmp_path / "cut", model, 17)
    assert float(model.optimizer.learning_rate) == np.float32(0.001 / 8)
    assert run(tmp_path / "cut", model)[0] == whole  # the same model once more
    assert run(tmp_path / "cut")[0] == whole  # a new one
    model.optimizer.learning_rate = 0.5
    with pytest.raises(ValueError, match="learning_rate was 0.001 and is 0.5"):
        run(tmp_path / "cut", model)


@pytest.mark.parametrize("data", [(X, Y), Repeated(), Indexed()], ids=["a", "b", "c"])
@pytest.mark.parametrize("die_at", [3, 9])
def test_parts_of_validation_data(tmp_path, data, die_at):
    if not isinstance(data, tuple):
        data = list(data)  # the same numbers each time

    def validated(folder, at=None):
        keep = lamina.callbacks.BackupAndRestore(folder, 2, delete_checkpoint=False)
        return train(
            keep, epochs=3, validation_steps=2, validation_batch_size=8,
            validation_data=data if isinstance(data, tuple) else iter(data),
            callbacks=[Stop(at)],
        )  # fmt: skip

    with pytest.raises(RuntimeError, match="cut off"):
        validated(tmp_path / "cut", die_at)
    assert validated(tmp_path / "cut") == validated(tmp_path / "whole")


def test_torchs_generator_goes_with_the_others(monkeypatch):
    class Torch:
        state = np.arange(4, dtype="uint8")

        def get_rng_state(self):
            class Tensor:
                numpy = self.state.copy

            return Tensor()

        def set_rng_state(self, state):
            self.state = state

        def from_numpy(self, array):
            return array

    torch = Torch()
    monkeypatch.setitem(sys.modules, "torch", torch)
    saved = snapshot.loads(snapshot.dumps(random_state()))
    torch.state = np.zeros(4, "uint8")
    set_random_state(saved)
    assert torch.state.tolist() == [0, 1, 2, 3]
    monkeypatch.delitem(sys.modules, "torch")
    set_random_state(saved)  # it is not needed to go on
    assert random_state()["torch"] is None


def test_disk_that_cannot_be_written(tmp_path):
    place = tmp_path / "file"
    place.write_text("not a folder")
    with pytest.warns(UserWarning, match="could not be written.*run goes on"):
        history, *_ = run(place, "arrays", epochs=1)
    assert len(history["loss"]) == 1


def test_callback_with_its_own_state(tmp_path):
    class Counts(lamina.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.thing = object()  # not in a snapshot
            self.best = {"loss": [np.inf, np.float32(2)], "at": (1, None)}

        def on_epoch_end(self, epoch, logs=None):
            self.best["loss"].append(logs["loss"])

    def train(epochs):
        callback = Counts()
        made().fit(
            X, Y, 8, epochs=epochs, verbose=0, callbacks=[callback], resume=tmp_path
        )
        return callback.best

    first = train(2)
    again = train(2)
    assert len(first["loss"]) == 4
    assert again == first
    assert again["at"] == (1, None)
    assert isinstance(again["loss"][1], np.float32)


def test_callback_form_removes_its_snapshots(tmp_path):
    folder = tmp_path / "backup"
    keep = lamina.callbacks.BackupAndRestore(folder, save_freq=1)
    with pytest.raises(RuntimeError, match="cut off"):
        made().fit(X, Y, 8, verbose=0, callbacks=[keep, Stop(3)])
    assert list(folder.glob("*.snapshot"))
    Stop.at = None
    made().fit(X, Y, 8, verbose=0, callbacks=[keep, Stop(None)])
    assert not folder.exists()


@pytest.mark.parametrize("save_freq", ["batch", 0, -1, 0.5, True])
def test_bad_frequency(save_freq):
    with pytest.raises(ValueError, match="Invalid value.*save_freq"):
        lamina.callbacks.BackupAndRestore("folder", save_freq)


TREES = [
    None,
    {"a": [1, 2.5, float("inf"), True, "text", None], "b": ((), [], {})},
    {1: "a number is a key", (2, 3): "so is a tuple"},
    {"big": 2**100, "tiny": 5e-324, "array": np.arange(6).reshape(2, 3)},
    [np.float32(0.1), np.zeros((0, 3)), np.array(True), np.array("text")],
]


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_snapshot_round_trip(tree):
    again = snapshot.loads(snapshot.dumps(tree))
    assert repr(again) == repr(tree)


def test_snapshot_of_half_floats():
    import jax.numpy as jnp

    (again,) = snapshot.loads(snapshot.dumps([jnp.ones(3, "bfloat16")]))
    assert again.dtype == jnp.bfloat16
    assert again.tolist() == [1, 1, 1]


def test_snapshot_of_what_changes_meanwhile(tmp_path, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(snapshot, "_bytes", held_up(snapshot._bytes, go))
    tree = {"history": [1, 2], "array": np.zeros(3)}
    folder = snapshot.Folder(tmp_path)
    folder.write(0, tree)
    tree["history"].append(3)
    tree["array"] += 1
    go.set()
    folder.wait()
    again = folder.read()
    assert again["history"] == [1, 2]
    assert again["array"].tolist() == [0, 0, 0]


def held_up(function, event):
    """Return the function, which runs once the event is set."""

    def run(*args):
        assert event.wait(60)
        return function(*args)

    return run


@pytest.mark.parametrize(
    "thing", [object(), {1, 2}, np.array([object()]), len, jax.random.key(0)]
)
def test_snapshot_holds_no_objects(thing):
    assert not snapshot.holds(thing)
    with pytest.raises(TypeError, match="cannot hold|no Python objects"):
        snapshot.dumps(thing)


SCRIPT = """
    import sys
    import numpy as np
    import lamina
    from lamina import layers

    lamina.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(size=(640, 8)).astype("float32")
    y = x[:, :1] ** 2
    model = lamina.Sequential([
        layers.Input((8,)), layers.Dense(16, "relu"), layers.Dropout(0.2),
        layers.Dense(1),
    ])
    model.compile("adam", "mse")
    keep = lamina.callbacks.BackupAndRestore(sys.argv[1], 5, delete_checkpoint=False)

    class Tell(lamina.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            print("epoch", epoch, flush=True)

    history = model.fit(
        x, y, 8, epochs=6, verbose=0, callbacks=[Tell()], resume=keep
    ).history
    print(history, [w.tobytes().hex() for w in model.get_weights()])
"""


def start(folder):
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder)]
    source = str(pathlib.Path(lamina.__file__).parents[1])
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_process(tmp_path):
    whole = start(tmp_path / "whole")
    expected = whole.communicate()[0].splitlines()[-1]
    # A process that gets SIGTERM stores the run first.
    for line, end, code in (
        ("epoch 0", "kill", -signal.SIGKILL),
        ("epoch 3", "terminate", 128 + signal.SIGTERM),
    ):
        process = start(tmp_path / "killed")
        while process.stdout.readline().strip() < line:
            pass
        time.sleep(0.01)
        getattr(process, end)()
        process.communicate()
        assert process.returncode in (code, 0)
    process = start(tmp_path / "killed")
    output = process.communicate()[0].splitlines()
    assert output[-1] == expected
    assert "epoch 0" not in output


def test_no_warning_of_a_healthy_run(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tmp_path, "arrays", epochs=1)


@pytest.mark.parametrize("die_at", [4, 7, 8])
def test_logs_of_a_step_of_ones_own(tmp_path, die_at):
    def train(folder, at=None):
        lamina.utils.set_random_seed(3)
        model = Own([layers.Input((6,)), layers.Dense(1)])
        model.compile("sgd", "mse")
        keep = lamina.callbacks.BackupAndRestore(folder, 1, delete_checkpoint=False)
        return model.fit(
            X, Y, 8, epochs=2, verbose=0, callbacks=[Stop(at)], resume=keep
        ).history

    with pytest.raises(RuntimeError, match="cut off"):
        train(tmp_path / "cut", die_at)
    assert train(tmp_path / "cut") == train(tmp_path / "whole")


@pytest.mark.parametrize("verbose", [0, 2])
def test_a_finished_run_says_so(tmp_path, capsys, verbose):
    def train(epochs, **more):
        lamina.utils.set_random_seed(0)
        model = lamina.Sequential([lamina.Input((2,)), layers.Dense(1)])
        model.compile("sgd", "mse")
        x = np.ones((4, 2))
        model.fit(x, x[:, :1], epochs=epochs, resume=tmp_path / "run", **more)

    train(2, verbose=0)
    train(2, verbose=verbose)
    said = capsys.readouterr().out
    assert ("is finished after epoch 2 of 2" in said) == bool(verbose)
    train(3, verbose=2)
    assert "finished" not in capsys.readouterr().out
    stopper = lamina.callbacks.EarlyStopping("loss", mode="max", patience=0)
    for _ in range(2):
        train(9, verbose=verbose, callbacks=[stopper])
    assert ("it was stopped there" in capsys.readouterr().out) == bool(verbose)
