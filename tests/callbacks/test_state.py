"""What callbacks hold survives a run that is cut off, and what they change counts."""

import hashlib

import numpy as np
import pytest

import lamina
from lamina.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    ModelCheckpoint,
    snapshot,
)
from tests.training.runs import Stop

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(12, 3)).astype("float32")
Y = X[:, :1]
STEPS = 3  # in an epoch of 4 rows a batch
EPOCHS = 6


class Score(Callback):
    """A value that is best in the third epoch."""

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = -abs(epoch - 2.0)


def compiled(rate=0.1):
    lamina.utils.set_random_seed(1)
    model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(1)])
    model.compile(lamina.optimizers.SGD(rate), "mse")
    return model


def run(folder, callback, die_at=None, every=2):
    """Train with snapshots; return the model."""
    model = compiled()
    keep = lamina.callbacks.BackupAndRestore(
        folder / "snapshots", every, delete_checkpoint=False
    )
    model.fit(
        X, Y, 4, epochs=EPOCHS, verbose=0, validation_data=(X[:2], Y[:2]), resume=keep,
        callbacks=[Score(), callback, Stop(die_at)],
    )  # fmt: skip
    return model


# Before any snapshot; with a line that no snapshot knows of; much later.
CUTS = (1, 4, 8, 17)


def cut_and_resumed(folder, make, die_at, every=2):
    with pytest.raises(RuntimeError, match="cut off"):
        run(folder, make(), die_at, every)
    callback = make()
    return run(folder, callback, every=every), callback


@pytest.mark.parametrize("every", [2, "epoch"])
@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("die_at", CUTS)
def test_a_csv_file_has_each_epoch_once(tmp_path, die_at, append, every):
    texts = []
    for cut in (None, die_at):
        folder = tmp_path / str(cut)
        folder.mkdir()
        file = folder / "log.csv"
        if append:
            file.write_text("epoch,loss,score,val_loss\n0,1.0,0.0,1.0\n")

        def make(file=file):
            return CSVLogger(file, append=append)

        if cut is None:
            run(folder, make())
        else:
            cut_and_resumed(folder, make, cut, every)
        texts.append(file.read_text())
    assert texts[0] == texts[1]
    assert texts[0].count("\n") == EPOCHS + 1 + append


def test_a_csv_file_that_was_lost_is_written_again(tmp_path):
    file = tmp_path / "log.csv"
    with pytest.raises(RuntimeError, match="cut off"):
        run(tmp_path, CSVLogger(file), 17)
    file.unlink()
    run(tmp_path, CSVLogger(file))
    assert [line[0] for line in file.read_text().splitlines()] == list("e012345")


def test_a_run_that_is_refused_leaves_the_csv_file_alone(tmp_path):
    file = tmp_path / "log.csv"
    run(tmp_path, CSVLogger(file))
    text = file.read_text()
    model = compiled(rate=0.5)
    with pytest.raises(
        ValueError, match="^Cannot go on: the snapshot in .* is of another run"
    ):
        model.fit(
            X, Y, 4, verbose=0, resume=tmp_path / "snapshots",
            callbacks=[Score(), CSVLogger(file), Stop()],
        )  # fmt: skip
    assert file.read_text() == text


@pytest.mark.parametrize("die_at", [8, 11, 15])
def test_early_stopping_remembers_the_best_weights(tmp_path, die_at):
    def make():
        return EarlyStopping("score", mode="max", patience=2, restore_best_weights=True)

    whole = make()
    expected = run(tmp_path / "whole", whole).get_weights()
    model, stop = cut_and_resumed(tmp_path / "cut", make, die_at)
    for now, best in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(now, best)
    assert (stop.best, stop.best_epoch, stop.stopped_epoch) == (0.0, 2, 4)
    assert (whole.best, whole.best_epoch, whole.stopped_epoch) == (0.0, 2, 4)


@pytest.mark.parametrize("die_at", [8, 11, 17])
def test_a_checkpoint_remembers_what_is_best(tmp_path, die_at):
    def make():
        return ModelCheckpoint(
            tmp_path / "{epoch}.weights.h5", "score", save_best_only=True,
            save_weights_only=True, mode="max",
        )  # fmt: skip

    _, keep = cut_and_resumed(tmp_path, make, die_at)
    assert keep.best == 0.0
    names = sorted(path.name for path in tmp_path.glob("*.h5"))
    assert names == ["1.weights.h5", "2.weights.h5", "3.weights.h5"]


@pytest.mark.parametrize("die_at", [4, 11])
def test_a_checkpoint_goes_on_counting_batches(tmp_path, die_at):
    def make(folder):
        return lambda: ModelCheckpoint(
            folder / "{epoch}-{batch}.weights.h5", save_freq=4, save_weights_only=True
        )

    run(tmp_path / "whole", make(tmp_path / "whole")())
    cut_and_resumed(tmp_path / "cut", make(tmp_path / "cut"), die_at)
    whole, cut = (
        sorted(path.name for path in (tmp_path / name).glob("*.h5"))
        for name in ("whole", "cut")
    )
    assert cut == whole
    assert whole == [f"{e}-{b}.weights.h5" for e, b in ((2, 1), (3, 2), (4, 3), (6, 1))]


def test_tensorboard_goes_on_counting_batches(tmp_path):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    def make():
        return lamina.callbacks.TensorBoard(tmp_path / "logs", update_freq=1)

    cut_and_resumed(tmp_path, make, 8)
    _, second = sorted((tmp_path / "logs" / "train").iterdir())
    steps = [
        event.step
        for event in EventFileLoader(str(second)).Load()
        for value in event.summary.value
        if value.tag == "batch_loss"
    ]
    assert steps == list(range(7, EPOCHS * STEPS + 1))


# ---- what a callback changes takes effect at once --------------------------------


class Edit(Callback):
    """Notes the weights after each batch, and changes something once."""

    def __init__(self, hook, change):
        super().__init__()
        self.seen, self.epoch_of, self.change = [], [], change
        self.hook = hook

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.model.get_weights()[0])
        if self.hook == "batch" and len(self.seen) == 2:
            self.change(self.model)

    def on_epoch_end(self, epoch, logs=None):
        if self.hook == "epoch" and epoch == 0:
            self.change(self.model)


@pytest.mark.parametrize(("hook", "at"), [("batch", 2), ("epoch", STEPS)])
def test_a_learning_rate_counts_from_the_next_batch(hook, at):
    def change(model):
        model.optimizer.learning_rate = 0.0

    edit = Edit(hook, change)
    compiled().fit(X, Y, 4, epochs=2, verbose=0, callbacks=[edit])
    moved = [
        bool((before != after).any())
        for before, after in zip(edit.seen, edit.seen[1:], strict=False)
    ]
    assert moved == [i < at for i in range(1, 2 * STEPS)]


@pytest.mark.parametrize(("hook", "at"), [("batch", 2), ("epoch", STEPS)])
def test_weights_count_from_the_next_batch(hook, at):
    def change(model):
        # With no rate, what is assigned stays.
        model.optimizer.learning_rate = 0.0
        model.layers[0].kernel.assign(np.full((3, 1), 7.0))

    edit = Edit(hook, change)
    model = compiled()
    model.fit(X, Y, 4, epochs=2, verbose=0, callbacks=[edit])
    is_seven = [bool((weights == 7.0).all()) for weights in edit.seen]
    assert is_seven == [i >= at for i in range(2 * STEPS)]
    assert (model.get_weights()[0] == 7.0).all()


def test_momentum_counts_as_well():
    class Rest(Callback):
        def on_train_batch_end(self, batch, logs=None):
            for variable in self.model.optimizer.variables:
                if "momentum" in variable.name:
                    variable.assign(np.zeros(variable.shape))

    weights = []
    for momentum, callbacks in ((0.9, [Rest()]), (0.0, [])):
        model = compiled()
        model.compile(lamina.optimizers.SGD(0.1, momentum), "mse")
        model.fit(X, Y, 4, epochs=2, verbose=0, shuffle=False, callbacks=callbacks)
        weights.append(model.get_weights()[0])
    np.testing.assert_array_equal(*weights)


# ---- callbacks of the user's own -----------------------------------------------------


class Patient(Callback):
    """Holds an argument that stays, one that the run changes, and a count."""

    def __init__(self, patience=3, speed=1.0):
        super().__init__()
        self.patience = patience
        self._speed = speed
        self.count = 0

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1
        self._speed *= 0.5


def test_arguments_are_those_of_the_script(tmp_path):
    with pytest.raises(RuntimeError, match="cut off"):
        run(tmp_path, Patient(patience=3), 8)  # after four snapshots
    other = Patient(patience=5)
    run(tmp_path, other)
    assert (other.patience, other._speed, other.count) == (5, 0.5**EPOCHS, EPOCHS)


def test_what_the_run_changed_stays_changed(tmp_path):
    with pytest.raises(RuntimeError, match="cut off"):
        run(tmp_path, Patient(speed=1.0), 8)
    other = Patient(speed=8.0)
    run(tmp_path, other)
    assert other._speed == 0.5**EPOCHS


def test_another_patience_of_early_stopping(tmp_path):
    def stop(patience):
        return EarlyStopping("score", mode="max", patience=patience)

    with pytest.raises(RuntimeError, match="cut off"):
        run(tmp_path, stop(9), 14)  # in the fifth epoch, two after the best one
    other = stop(3)
    run(tmp_path, other)
    assert (other.patience, other.stopped_epoch) == (3, 5)


def test_a_state_that_cannot_be_stored_names_the_callback(tmp_path):
    class Odd(Callback):
        def get_state(self):
            return {"lock": object()}

    with pytest.raises(TypeError, match=r"get_state\(\)` of the callback `Odd`.*lock"):
        run(tmp_path, Odd())


class Listed(Callback):
    """Its state is a list."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(epoch)

    def get_state(self):
        return self.seen

    def set_state(self, state):
        self.seen = list(state)


class Nested(lamina.Model):
    """Its step gives logs within logs, and reaches a metric that it does not list."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.tracker = lamina.metrics.Mean(name="loss")

    def compute_loss(self, x=None, y=None, y_pred=None, **kwargs):
        loss = lamina.ops.mean((y_pred - y) ** 2)
        self.tracker.update_state(loss)
        return loss

    def train_step(self, data):
        logs = super().train_step(data)
        return {**logs, "parts": {"loss": logs["loss"], "halves": [logs["loss"] / 2]}}

    metrics = property(lambda self: [self.tracker])


def test_states_of_any_form_and_nested_logs_come_back(tmp_path):
    def train(stop=None):
        lamina.utils.set_random_seed(0)
        x = lamina.Input((3,))
        model, listed = Nested(x, lamina.layers.Dense(1)(x)), Listed()
        model.compile("adam")
        keep = lamina.callbacks.BackupAndRestore(tmp_path, save_freq=2)
        history = model.fit(
            X, Y, 4, epochs=4, verbose=0, resume=keep, callbacks=[listed, Stop(stop)]
        )
        return history.epoch, listed.seen

    with pytest.raises(RuntimeError, match="cut off"):
        train(8)
    with pytest.warns(UserWarning, match="reaches . Variables that are not"):
        assert train() == ([0, 1, 2, 3], [0, 1, 2, 3])


# ---- bad input ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("callback", "kind", "message"),
    [
        (EarlyStopping, ValueError, "is no such value"),
        (lamina.callbacks.ReduceLROnPlateau, ValueError, "is no such value"),
        (EarlyStopping, UserWarning, "not available"),
        (ModelCheckpoint, UserWarning, "only with val_acuracy available"),
    ],
)
def test_a_value_that_is_not_there(tmp_path, callback, kind, message):
    kwargs = {"monitor": "val_acuracy"}
    if kind is UserWarning:
        kwargs["mode"] = "max"
    if callback is ModelCheckpoint:
        kwargs |= {"filepath": tmp_path / "a.keras", "save_best_only": True}
    with pytest.raises(kind, match=f"{message}.*vailable.*: .*loss") as caught:
        compiled().fit(X, Y, verbose=0, callbacks=[callback(**kwargs)])
    (note,) = caught.value.__notes__
    assert note == f"Raised by the callback `{callback.__name__}` in `on_epoch_end`(0)."


def test_the_nearest_value_is_named():
    stop = EarlyStopping("val_lss")
    with pytest.raises(ValueError, match="no such value. Did you mean 'val_loss'"):
        stop.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})


# ---- a folder that somebody else wrote ---------------------------------------


class Writer(Callback):
    """Has a path, a list of texts, a function and numbers of its own."""

    def __init__(self, patience=3):
        super().__init__()
        self.patience = patience
        self.path = "mine.txt"
        self.names = ["a"]
        self.write = print
        self.best = None
        self.seen = {"epochs": 0}
        self.sums = np.zeros(2)

    def on_epoch_end(self, epoch, logs=None):
        self.best = logs["loss"]
        self.seen["epochs"] = epoch
        self.sums = self.sums + 1


def changed(folder, change):
    """Change the newest snapshot, with a checksum that fits."""
    for file in snapshot.Folder(folder).files():
        tree = snapshot.loads(file.read_bytes())
        change(tree)
        file.write_bytes(snapshot.dumps(tree))


def fit_with(folder, callback, epochs):
    compiled().fit(
        X, Y, 4, epochs=epochs, verbose=0, callbacks=[callback], resume=folder
    )
    return callback


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", "theirs.txt"),
        ("path", None),
        ("names", ["b"]),
        ("names", [1]),
        ("write", None),
        ("write", 3),
        ("new", "theirs.txt"),
        ("new", {"deep": ["theirs.txt"]}),
        ("seen", {"epochs": "theirs.txt"}),
        ("seen", 3),
        ("patience", "9"),
        ("sums", 1.0),
        ("params", {"epochs": 99}),
        ("_model", None),
        ("on_epoch_end", 3),  # a method
        ("model", 3),  # a property
    ],
)
def test_a_snapshot_sets_no_text_and_nothing_of_another_kind(tmp_path, name, value):
    folder = tmp_path / "run"
    fit_with(folder, Writer(), 2)
    changed(folder, lambda tree: tree["callbacks"][0].update({name: value}))
    with pytest.warns(UserWarning, match=rf"`Writer\.{name}` was passed over"):
        after = fit_with(folder, Writer(), 3)
    assert (after.path, after.names, after.write) == ("mine.txt", ["a"], print)
    assert not hasattr(after, "new")
    assert after.patience == 3
    assert after.params["epochs"] == 3


C = lamina.callbacks


@pytest.mark.parametrize(
    "make, name, value",
    [
        (lambda: C.EarlyStopping("loss"), "best", []),
        (lambda: C.EarlyStopping("loss"), "best", 10**400),
        (lambda: C.EarlyStopping("loss"), "best", np.ones(2)),
        (lambda: C.EarlyStopping("loss"), "monitor_op", []),
        (lambda: C.EarlyStopping("loss"), "wait", -(10**30)),
        (lambda: C.EarlyStopping("loss"), "best_weights", [np.ones(2)]),
        (lambda: C.EarlyStopping("loss"), "best_weights", 3),
        (lambda: C.EarlyStopping("loss"), "best_weights", [[[1], 2]] * 2),
        (lambda: C.EarlyStopping("loss"), "wait", None),
        (lambda: C.EarlyStopping("loss"), "wait", float("nan")),
        (lambda: C.EarlyStopping("loss"), "best", "x"),
        (lambda: C.EarlyStopping("loss"), "best", [[0.5]]),
        (lambda: C.ReduceLROnPlateau("loss"), "best", {}),
        (lambda: C.ReduceLROnPlateau("loss"), "min_delta", 10**400),
        (C.History, "history", {"loss": 3}),
        (C.History, "history", {"loss": [{}]}),
        (C.History, "history", {3: [1.0]}),
        (C.History, "epoch", [None]),
        (C.History, "epoch", (0, 1)),
        (C.History, "_drawn_in", 3),
    ],
)
def test_callbacks_take_back_only_what_a_run_makes(tmp_path, make, name, value):
    folder = tmp_path / "run"
    fit_with(folder, make(), 2)
    changed(folder, lambda tree: tree["callbacks"][0].update({name: value}))
    with pytest.warns(UserWarning, match=rf"`\w+\.{name}` was passed over"):
        after = fit_with(folder, make(), 3)
    assert repr(getattr(after, name)) != repr(value)


def test_a_flag_of_numpy_stops_a_run_that_is_stored(tmp_path):
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = np.bool_(epoch == 1)

    fit_with(tmp_path / "run", Stop(), 5)
    assert fit_with(tmp_path / "run", Stop(), 5).model.stop_training is True


def test_numbers_of_a_callback_come_back(tmp_path):
    fit_with(tmp_path / "run", Writer(), 2)
    after = fit_with(tmp_path / "run", Writer(), 3)
    assert after.seen == {"epochs": 2}
    assert after.sums.tolist() == [3, 3]


@pytest.mark.parametrize("value", [-3, [1, 2], {"a": 1}, -1.5, np.ones(2)])
@pytest.mark.parametrize("key", ["start", "keys", "text"])
def test_a_state_of_another_form_is_refused(tmp_path, key, value):
    log = tmp_path / "log.csv"
    log.write_text("kept")
    state = {"start": 0, "keys": ["loss"], "text": "epoch,loss\n", key: value}
    with pytest.raises(ValueError, match="The state of `CSVLogger`"):
        lamina.callbacks.CSVLogger(log).set_state(state)
    assert log.read_text() == "kept"


def test_the_state_of_tensorboard_is_numbers(tmp_path):
    callback = lamina.callbacks.TensorBoard(tmp_path)
    with pytest.raises(ValueError, match="numbers of batches"):
        callback.set_state({"step": 1, "before": [], "traced": True})


def test_text_that_a_run_changes_is_told_once(tmp_path):
    class Talker(Callback):
        phase = "warm-up"

        def on_epoch_end(self, epoch, logs=None):
            self.phase = f"epoch {epoch}"

    with pytest.warns(UserWarning, match=r"do not keep `Talker\.phase`") as told:
        fit_with(tmp_path / "run", Talker(), 1)
    assert len(told) == 1


BAD = {
    "no dict": lambda tree: [tree],
    "nothing": lambda tree: None,
    "another type": lambda tree: {**tree, "epoch": "x"},
    "a name missing": lambda tree: {k: v for k, v in tree.items() if k != "state"},
    "a flag for a number": lambda tree: {**tree, "epoch": True},
    "fewer callbacks": lambda tree: {**tree, "callbacks": []},
    "callbacks of another type": lambda tree: {**tree, "callbacks": [3, 3, 3, 3]},
}


@pytest.mark.parametrize("kind", BAD)
def test_a_snapshot_of_another_form_is_passed_over(tmp_path, kind):
    folder = tmp_path / "run"
    fit_with(folder, Writer(), 2)
    newest = snapshot.Folder(folder).files()[0]
    tree = snapshot.loads(newest.read_bytes())
    newest.write_bytes(snapshot.dumps(BAD[kind](tree)))
    with pytest.warns(UserWarning, match="damaged and was passed over"):
        after = fit_with(folder, Writer(), 3)
    assert after.seen == {"epochs": 2}


def head(text):
    body = b"lamina snapshot 1\n" + len(text).to_bytes(8, "little") + text
    return body + hashlib.sha256(body).digest()


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b"{}",
        b'{"dict": 3}',
        b'{"dict": [[1]]}',
        b'{"a": 1, "b": 2}',
        b'{"array": ["f4", [-1]]}',
        b'{"array": ["f4", [1000000000000]]}',
        b'{"array": ["f4", [99999999999999999999999]]}',
        b'{"array": ["O", [1]]}',
        b'{"array": [3]}',
        b'{"array": ["V999999999999", [1]]}',
        b"\xff",
    ],
)
def test_a_head_that_says_nothing_is_passed_over(tmp_path, text):
    folder = tmp_path / "run"
    fit_with(folder, Writer(), 1)
    (folder / "000000999999.snapshot").write_bytes(head(text))
    with pytest.warns(UserWarning, match="damaged and was passed over"):
        fit_with(folder, Writer(), 2)
