"""The callbacks, driven by hand beside Keras' own, and in a real training."""

import json
import socket
import threading
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import lamina
from lamina.callbacks import (
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ProgbarLogger,
    ReduceLROnPlateau,
    RemoteMonitor,
    SwapEMAWeights,
    TerminateOnNaN,
)


class Metric:
    def __init__(self, name, direction):
        self.name = name
        self._direction = direction


class FakeModel:
    """What callbacks know of a model."""

    def __init__(self):
        self.stop_training = False
        self.optimizer = SimpleNamespace(learning_rate=0.125)
        self.metrics = [Metric("loss", "down"), Metric("acc", "up")]
        self.weights = [0.0]
        self.saved = []

    def get_weights(self):
        return list(self.weights)

    def set_weights(self, weights):
        self.weights = list(weights)

    def save(self, path, overwrite):
        self.saved.append(path)

    save_weights = save


def drive(callback, epochs, before_epoch=None):
    """Run the hooks of a training with given logs; return what happened."""
    model = FakeModel()
    callback.set_model(model)
    callback.set_params({"epochs": len(epochs), "steps": 1, "verbose": 0})
    callback.on_train_begin({})
    story = []
    for epoch, logs in enumerate(epochs):
        model.weights = [float(epoch)]
        callback.on_epoch_begin(epoch, {})
        logs = dict(logs)
        callback.on_epoch_end(epoch, logs)
        rate = float(model.optimizer.learning_rate)
        story.append((logs, rate, model.stop_training, getattr(callback, "wait", None)))
        if model.stop_training:
            break
    callback.on_train_end({})
    return story, model.weights, model.saved


def losses(*values, name="val_loss"):
    return [{"loss": v, name: v} for v in values]


SERIES = {
    "down": losses(1.0, 0.9, 0.8, 0.7),
    "up": losses(1.0, 1.1, 1.2, 1.3, 1.4),
    "bumps": losses(1.0, 1.1, 0.8, 0.9, 0.95, 0.7, 0.7, 0.7, 0.7, 0.69995),
    "nan": losses(1.0, float("nan"), 0.5, 0.6, 0.7),
}


@pytest.mark.parametrize("series", ["down", "up", "bumps", "nan"])
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"patience": 2},
        {"patience": 1, "min_delta": 0.15},
        {"patience": 2, "mode": "max"},
        {"patience": 3, "baseline": 0.75},
        {"patience": 1, "restore_best_weights": True},
        {"patience": 1, "restore_best_weights": True, "start_from_epoch": 2},
        {"patience": 0, "restore_best_weights": True, "baseline": -1.0},
    ],
    ids=str,
)
def test_early_stopping_does_what_keras_does(series, kwargs, capsys):
    results = []
    for cls in (EarlyStopping, keras.callbacks.EarlyStopping):
        callback = cls(verbose=1, **kwargs)
        story, weights, _ = drive(callback, SERIES[series])
        state = (callback.wait, callback.stopped_epoch, callback.best)
        results.append(repr((story, weights, state, capsys.readouterr().out)))
    assert results[0] == results[1]


@pytest.mark.parametrize("series", ["down", "up", "bumps", "nan"])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"patience": 0},
        {"patience": 2},
        {"patience": 1, "cooldown": 2},
        {"patience": 1, "min_lr": 0.05, "factor": 0.5},
        {"patience": 1, "min_delta": 0.15},
        {"patience": 1, "mode": "max"},
    ],
    ids=str,
)
def test_reduce_on_plateau_does_what_keras_does(series, kwargs, capsys):
    results = []
    for cls in (ReduceLROnPlateau, keras.callbacks.ReduceLROnPlateau):
        callback = cls(verbose=1, **kwargs)
        story, _, _ = drive(callback, SERIES[series])
        state = (callback.wait, callback.cooldown_counter, callback.best)
        printed = [x for x in capsys.readouterr().out.splitlines() if x]
        results.append(repr((story, state, printed)))
    assert results[0] == results[1]


@pytest.mark.parametrize("series", ["bumps", "up"])
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"save_best_only": True},
        {"save_best_only": True, "mode": "max", "initial_value_threshold": 1.2},
        {"save_best_only": True, "initial_value_threshold": 0.75},
    ],
    ids=str,
)
def test_checkpoints_are_those_of_keras(series, kwargs, capsys, tmp_path):
    results = []
    for cls in (ModelCheckpoint, keras.callbacks.ModelCheckpoint):
        path = str(tmp_path / "{epoch:02d}-{val_loss:.2f}.keras")
        callback = cls(path, verbose=1, **kwargs)
        _, _, saved = drive(callback, SERIES[series])
        printed = [x for x in capsys.readouterr().out.splitlines() if x]
        results.append((saved, printed))
    assert results[0] == results[1]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_subclasses_compare_as_in_keras(mode):
    results = []
    for cls in (EarlyStopping, keras.callbacks.EarlyStopping):
        callback = cls("loss", min_delta=0.25, mode=mode)
        callback._set_monitor_op()
        better = [callback._is_improvement(x, 1.0) for x in (0.5, 0.8, 1.2, 1.5)]
        results.append((callback.min_delta, [*map(bool, better)]))
    assert results[0] == results[1]


@pytest.mark.parametrize("cls", [EarlyStopping, ReduceLROnPlateau])
def test_the_metric_tells_which_direction_is_better(cls):
    callback = cls("val_acc", patience=0)
    drive(callback, losses(0.5, 0.6, 0.7, name="val_acc"))
    assert callback.best == 0.7
    callback = cls("out_acc", patience=0)
    drive(callback, losses(0.5, 0.6, 0.7, name="out_acc"))
    assert callback.best == 0.7
    with pytest.raises(ValueError, match="monitor=val_other.*mode='max'"):
        drive(cls("val_other"), losses(0.5, name="val_other"))


@pytest.mark.parametrize(
    "cls, message",
    [
        (EarlyStopping, "Early stopping conditioned on metric `val_loss`"),
        (ReduceLROnPlateau, "Learning rate reduction is conditioned on metric"),
    ],
)
def test_a_missing_value_warns_with_those_there_are(cls, message):
    with pytest.warns(UserWarning, match=message + ".*loss,acc"):
        drive(cls(), [{"loss": 1.0, "acc": 0.5}])


def test_an_unknown_mode_warns():
    with pytest.warns(UserWarning, match="mode 'up' is unknown"):
        assert EarlyStopping(mode="up").mode == "auto"


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: ReduceLROnPlateau(factor=1.0), ValueError, "factor=1.0"),
        (lambda: ReduceLROnPlateau(epsilon=1.0), TypeError, "epsilon"),
        (lambda: ModelCheckpoint("a.txt"), ValueError, "must end in `.keras`"),
        (
            lambda: ModelCheckpoint("a.keras", save_weights_only=True),
            ValueError,
            "must end in `.weights.h5`",
        ),
        (lambda: ModelCheckpoint("a.keras", save_freq="x"), ValueError, "save_freq: x"),
        (lambda: ModelCheckpoint("a.keras", save_freq=0), ValueError, "save_freq: 0"),
        (lambda: LearningRateScheduler(0.1), TypeError, "schedule=0.1"),
        (
            lambda: LambdaCallback(on_epoch_over=print),
            TypeError,
            "no hook 'on_epoch_over'",
        ),
        (lambda: LambdaCallback(on_epoch_end=3), TypeError, "on_epoch_end=3"),
        (lambda: CallbackList([3]), TypeError, "Received: 3"),
        (lambda: CallbackList([History]), TypeError, r"Write History\(\)"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


class TestModelCheckpoint:
    def batches(self, callback, epochs, batches):
        model = FakeModel()
        callback.set_model(model)
        for epoch in range(epochs):
            callback.on_epoch_begin(epoch)
            for batch in range(batches):
                callback.on_train_batch_end(batch, {"loss": 0.5})
            callback.on_epoch_end(epoch, {"loss": 0.5})
        return [path.rpartition("/")[2] for path in model.saved]

    @pytest.mark.parametrize("freq", [1, 3, 4, 5, 100])
    def test_batches_are_counted_as_in_keras(self, freq, tmp_path):
        saved = []
        for cls in (ModelCheckpoint, keras.callbacks.ModelCheckpoint):
            path = str(tmp_path / "{epoch}_{batch}.keras")
            saved.append(self.batches(cls(path, save_freq=freq), 3, 4))
        assert saved[0] == saved[1]

    def test_subclasses_override_the_names_of_keras(self, tmp_path):
        calls = []

        class Own(ModelCheckpoint):
            def _should_save_on_batch(self, batch):
                return batch == 1

            def _get_file_path(self, epoch, batch, logs):
                return super()._get_file_path(epoch, batch, {**logs, "tag": "x"})

            def _save_model(self, epoch, batch, logs):
                calls.append((epoch, batch, logs["loss"] > 0))
                super()._save_model(epoch, batch, logs)

        model = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(1)])
        model.compile("sgd", "mse")
        path = tmp_path / "{epoch}_{tag}.keras"
        data = np.ones((6, 2), "float32"), np.zeros((6, 1), "float32")
        model.fit(*data, batch_size=2, epochs=2, verbose=0, callbacks=[Own(path)])
        assert calls == [(0, 1, True), (0, None, True), (1, 1, True), (1, None, True)]
        assert sorted(p.name for p in tmp_path.iterdir()) == ["1_x.keras", "2_x.keras"]

    def test_the_best_batch_is_kept(self, tmp_path):
        callback = ModelCheckpoint(
            tmp_path / "best.keras", "loss", save_best_only=True, save_freq=1
        )
        assert self.batches(callback, 1, 3) == ["best.keras"]

    def test_folders_are_made(self, tmp_path):
        callback = ModelCheckpoint(tmp_path / "a" / "b" / "{epoch}.keras")
        drive(callback, losses(1.0))
        assert (tmp_path / "a" / "b").is_dir()

    def test_a_folder_in_place_of_a_file_is_refused(self, tmp_path):
        (tmp_path / "m.keras").mkdir()
        with pytest.raises(IsADirectoryError, match="which is a folder"):
            drive(ModelCheckpoint(tmp_path / "m.keras"), losses(1.0))

    def test_an_unknown_name_in_the_path_shows_the_known_ones(self):
        with pytest.raises(KeyError, match="'nope'.*epoch, loss, val_loss"):
            drive(ModelCheckpoint("{nope}.keras"), losses(1.0))

    def test_without_the_value_the_model_is_saved_all_the_same(self, tmp_path):
        callback = ModelCheckpoint(tmp_path / "m.keras", save_best_only=True)
        with pytest.warns(UserWarning, match="Can save best model only with val_loss"):
            _, _, saved = drive(callback, [{"loss": 1.0}])
        assert len(saved) == 1

    def test_weights_alone(self, tmp_path):
        path = tmp_path / "{epoch}.weights.h5"
        _, _, saved = drive(ModelCheckpoint(path, save_weights_only=True), losses(1.0))
        assert saved == [str(tmp_path / "1.weights.h5")]


class TestLearningRateScheduler:
    @pytest.mark.parametrize(
        "schedule", [lambda e, lr: lr * 0.5, lambda e: 0.5 ** (e + 4)]
    )
    def test_it_sets_and_logs(self, schedule, capsys):
        results = []
        for cls in (LearningRateScheduler, keras.callbacks.LearningRateScheduler):
            story, _, _ = drive(cls(schedule, verbose=1), losses(1.0, 1.0))
            printed = [x for x in capsys.readouterr().out.splitlines() if x]
            results.append((story, printed))
        assert results[0] == results[1]

    def test_an_error_of_the_schedule_is_not_hidden(self):
        def broken(epoch, rate):
            return rate + "text"

        with pytest.raises(TypeError, match="unsupported operand"):
            drive(LearningRateScheduler(broken), losses(1.0))

    def test_no_number_is_refused(self):
        with pytest.raises(ValueError, match="should be a float. Got: 'a'"):
            drive(LearningRateScheduler(lambda epoch: "a"), losses(1.0))


class TestCSVLogger:
    EPOCHS = (
        [{"loss": 1.5, "acc": 0.5}, {"loss": 1.0, "acc": 0.6, "val_loss": 2.0}],
        [{"loss": 1.5, "val_loss": 2.0}, {"loss": 1.0}],
        [{"loss": 1.5, "text": "hello, you", "list": np.arange(3)}],
    )

    @pytest.mark.parametrize("epochs", EPOCHS, ids=["late", "gone", "odd"])
    @pytest.mark.parametrize("separator", [",", ";"])
    def test_the_file_is_that_of_keras(self, epochs, separator, tmp_path):
        texts = []
        for i, cls in enumerate((CSVLogger, keras.callbacks.CSVLogger)):
            path = tmp_path / f"{i}.csv"
            if i == 0:
                drive(cls(path, separator), epochs)
                drive(cls(path, separator, append=True), epochs)
            else:
                drive(cls(str(path), separator), epochs)
                drive(cls(str(path), separator, append=True), epochs)
            texts.append(path.read_text())
        assert texts[0] == texts[1]

    def test_a_line_is_on_the_disk_when_its_epoch_is_over(self, tmp_path):
        path = tmp_path / "log.csv"
        log = CSVLogger(path)
        log.on_train_begin()
        log.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.5})
        assert path.read_text() == "epoch,loss,val_loss\n0,0.5,0.5\n"
        log.on_train_end()


class TestTerminateOnNaN:
    @pytest.mark.parametrize("loss", [float("nan"), float("inf"), np.float32("-inf")])
    def test_it_stops(self, loss, capsys):
        model = FakeModel()
        callbacks = CallbackList([TerminateOnNaN()], model=model)
        callbacks.on_train_batch_end(3, {"loss": 1.0})
        assert not model.stop_training
        callbacks.on_train_batch_end(4, {"loss": loss})
        assert model.stop_training
        assert (
            capsys.readouterr().out == "Batch 4: Invalid loss, terminating training\n"
        )

    def test_it_raises(self):
        callbacks = CallbackList([TerminateOnNaN(raise_error=True)], model=FakeModel())
        with pytest.raises(RuntimeError, match="at batch 4: the loss is nan"):
            callbacks.on_train_batch_end(4, {"loss": float("nan")})


class TestCallbackList:
    def test_only_those_who_listen_cost_values(self):
        def never():
            raise AssertionError("the values were fetched")

        silent = CallbackList(
            [Callback(), History(), ModelCheckpoint("a.keras"), EarlyStopping()],
            add_progbar=True, verbose=0, epochs=1, steps=1,
        )  # fmt: skip
        silent.set_model(FakeModel())
        silent.on_train_begin({})
        silent.on_epoch_begin(0, {})
        silent.on_train_batch_begin(0, never)
        silent.on_train_batch_end(0, never)
        assert not silent.listens_to_batches("train")

    @pytest.mark.parametrize(
        "callback, phases",
        [
            (TerminateOnNaN(), {"train"}),
            (ModelCheckpoint("a.keras", save_freq=2), {"train"}),
            (LambdaCallback(on_test_batch_end=print), {"test"}),
            (LambdaCallback(on_batch_end=print), {"train"}),
            (LambdaCallback(on_predict_batch_begin=print), {"predict"}),
            (LambdaCallback(on_epoch_end=print), set()),
            (SwapEMAWeights(), set()),
            (ProgbarLogger(), set()),
        ],
        ids=lambda x: type(x).__name__,
    )
    def test_it_knows_who_listens(self, callback, phases):
        callbacks = CallbackList([callback])
        known = ("train", "test", "predict")
        assert {p for p in known if callbacks.listens_to_batches(p)} == phases
        with pytest.raises(ValueError, match="phase='fit'"):
            callbacks.listens_to_batches("fit")

    def test_a_subclass_of_a_checkpoint_listens(self):
        class Loud(ModelCheckpoint):
            def on_train_batch_end(self, batch, logs=None):
                super().on_train_batch_end(batch, logs)

        assert CallbackList([Loud("a.keras")]).listens_to_batches("train")

    def test_values_are_fetched_once_and_shared(self):
        fetched, seen = [], []
        each = [LambdaCallback(on_epoch_end=lambda e, logs: seen.append(logs))] * 2

        def logs():
            fetched.append(1)
            return {"loss": 1.0}

        CallbackList(each).on_epoch_end(0, logs)
        assert len(fetched) == 1
        assert seen[0] is seen[1]

    def test_what_one_adds_the_next_sees(self):
        callbacks = CallbackList(
            [LearningRateScheduler(lambda epoch: 0.5)],
            add_history=True,
            model=FakeModel(),
        )
        callbacks.on_train_begin()
        callbacks.on_epoch_begin(0)
        callbacks.on_epoch_end(0, {"loss": 1.0})
        history = callbacks._model.history
        assert history.history == {"loss": [1.0], "learning_rate": [0.5]}

    def test_hooks_come_in_order_and_without_logs(self):
        heard = []

        class Named(Callback):
            def __init__(self, name):
                super().__init__()
                self.name = name

            def on_test_begin(self, logs=None):
                heard.append((self.name, logs))

        CallbackList([Named("a"), [Named("b"), None]]).on_test_begin()
        assert heard == [("a", {}), ("b", {})]

    @pytest.mark.parametrize(
        "hook, place, note",
        [
            ("on_epoch_end", (3,), "`Bad` in `on_epoch_end`(3)."),
            ("on_train_batch_end", (7,), "`Bad` in `on_train_batch_end`(7)."),
            ("on_train_end", (), "`Bad` in `on_train_end`."),
        ],
    )
    def test_an_error_says_whose_it_is(self, hook, place, note):
        def fail(self, *args):
            raise KeyError("mine")

        bad = type("Bad", (Callback,), {hook: fail})()
        with pytest.raises(KeyError, match="mine") as caught:
            getattr(CallbackList([History(), bad]), hook)(*place, {})
        assert caught.value.__notes__ == [f"Raised by the callback {note}"]

    def test_a_history_that_was_given_is_not_doubled(self):
        mine = History()
        callbacks = CallbackList([mine], add_history=True, model=FakeModel())
        assert callbacks.callbacks == [mine]
        assert callbacks._model.history is mine

    def test_callbacks_of_keras_are_taken(self):
        theirs = keras.callbacks.EarlyStopping(patience=0)
        model = FakeModel()
        callbacks = CallbackList([theirs], model=model, epochs=2)
        callbacks.on_train_begin()
        for epoch, loss in enumerate((1.0, 2.0)):
            callbacks.on_epoch_end(epoch, {"val_loss": loss})
        assert model.stop_training


class TestRemoteMonitor:
    @pytest.mark.parametrize("as_json", [False, True])
    def test_it_posts(self, as_json):
        got = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                got.append((self.path, self.headers["X-Key"], body.decode()))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            monitor = RemoteMonitor(
                f"http://127.0.0.1:{server.server_port}",
                path="/here/",
                headers={"X-Key": "k"},
                send_as_json=as_json,
            )
            monitor.on_epoch_end(2, {"loss": np.float32(0.5)})
            thread.join()
        ((path, key, body),) = got
        assert (path, key) == ("/here/", "k")
        if as_json:
            assert json.loads(body) == {"epoch": 2, "loss": 0.5}
        else:
            assert body == "data=%7B%22epoch%22%3A+2%2C+%22loss%22%3A+0.5%7D"

    @pytest.mark.parametrize("root", ["http://127.0.0.1:9", "127.0.0.1:9", "nowhere"])
    def test_no_server_costs_a_warning(self, root):
        with pytest.warns(UserWarning, match="Could not reach RemoteMonitor"):
            RemoteMonitor(root).on_epoch_end(0, {})

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (b"HTTP/1.0 500 Broken\r\n\r\n", "HTTP Error 500"),
            (b"hello\r\n", "hello"),
            (b"", "closed connection"),
        ],
    )
    def test_a_broken_server_costs_a_warning(self, answer, said):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve():
                with server.accept()[0] as connection:
                    # All of it: to close before that would reset the connection.
                    asked = b""
                    while not asked.endswith(b"}"):
                        asked += connection.recv(100_000)
                    connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            root = f"http://127.0.0.1:{server.getsockname()[1]}"
            with pytest.warns(UserWarning, match=f"Could not reach.*{said}"):
                RemoteMonitor(root, send_as_json=True).on_epoch_end(0, {"loss": 0.5})
            thread.join()


def regression(rows=20):
    rng = np.random.default_rng(0)
    x = rng.random((rows, 3), "float32")
    return x, x[:, :1]


def compiled(lib=lamina, **kwargs):
    model = lib.Sequential([lib.Input((3,)), lib.layers.Dense(1)])
    model.set_weights([np.full((3, 1), 0.5, "float32"), np.zeros(1, "float32")])
    model.compile(lib.optimizers.SGD(0.5, **kwargs), "mse", metrics=["mae"])
    return model


class Notes(Callback):
    """Writes down what each hook is given."""

    def __init__(self):
        super().__init__()
        self.heard = []


def _note(hook):
    def method(self, *args):
        *place, logs = args
        self.heard.append((hook, *place, sorted(logs)))

    return method


for _hook in (h for h in dir(Callback) if h.startswith("on_") and "on_batch" not in h):
    setattr(Notes, _hook, _note(_hook))


class TestInATraining:
    def test_hooks_come_as_in_keras(self):
        x, y = regression()

        class KerasNotes(keras.callbacks.Callback):
            def __init__(self):
                super().__init__()
                self.heard = []

        for hook in dir(Callback):
            if hook.startswith("on_") and "on_batch" not in hook:
                method = _note(hook)
                setattr(
                    KerasNotes,
                    hook,
                    lambda self, *place, logs=None, m=method: m(
                        self, *(place if logs is None else (*place, logs))
                    ),
                )
        heard = []
        for lib, notes in ((lamina, Notes()), (keras, KerasNotes())):
            model = compiled(lib)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # Keras' own
                model.fit(x, y, batch_size=8, epochs=2, validation_split=0.2,
                          verbose=0, callbacks=[notes])  # fmt: skip
                model.evaluate(x, y, verbose=0, callbacks=[notes])
                model.predict(x, verbose=0, callbacks=[notes])
            heard.append(notes.heard)
        assert heard[0] == heard[1]

    def test_early_stopping_gives_the_best_weights_back(self):
        x, y = regression()
        model = compiled()
        kept = []

        class Worsen(Callback):
            def on_epoch_end(self, epoch, logs=None):
                kept.append(self.model.get_weights())
                logs["score"] = -abs(epoch - 2)

        stop = EarlyStopping("score", mode="max", patience=2, restore_best_weights=True)
        history = model.fit(x, y, epochs=9, verbose=0, callbacks=[Worsen(), stop])
        assert len(history.epoch) == 5
        for now, best in zip(model.get_weights(), kept[2], strict=True):
            np.testing.assert_array_equal(now, best)

    def test_a_new_learning_rate_takes_effect(self):
        x, y = regression()
        model = compiled()
        freeze = LearningRateScheduler(lambda epoch: 0.0)
        before = model.get_weights()
        model.fit(x, y, epochs=2, verbose=0, callbacks=[freeze])
        for now, then in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, then)

    def test_the_average_is_swapped_in_as_in_keras(self):
        x, y = regression()
        seen = []
        for lib in (lamina, keras):
            for swap_on_epoch in (False, True):
                notes = []

                def note(lib=lib, notes=notes):
                    class Look(lib.callbacks.Callback):
                        def look(self, *args, **kwargs):
                            bias = self.model.get_weights()[1]
                            notes.append(float(np.asarray(bias)[0]))

                        on_epoch_begin = on_epoch_end = on_test_begin = look

                    return Look()

                model = compiled(lib, use_ema=True, ema_momentum=0.5)
                swap = lib.callbacks.SwapEMAWeights(swap_on_epoch)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # Keras' own
                    model.fit(
                        x, y, epochs=3, verbose=0, shuffle=False, validation_split=0.2,
                        callbacks=[swap, note()],
                    )  # fmt: skip
                    notes.append(float(np.asarray(model.get_weights()[1])[0]))
                seen.append(notes)
        np.testing.assert_allclose(seen[:2], seen[2:], rtol=1e-5)
        assert len(set(seen[0])) > 3

    def test_the_average_needs_an_optimizer_that_keeps_one(self):
        x, y = regression()
        with pytest.raises(ValueError, match="use_ema=True"):
            compiled().fit(x, y, verbose=0, callbacks=[SwapEMAWeights()])

    def test_the_weights_go_on_after_the_average(self):
        x, y = regression()
        model = compiled(use_ema=True)
        for _ in range(2):
            model.fit(x, y, epochs=2, verbose=0, callbacks=[SwapEMAWeights(True)])
        assert np.isfinite(model.evaluate(x, y, verbose=0)).all()

    def test_a_line_for_each_epoch(self, capsys):
        x, y = regression()
        compiled().fit(x, y, batch_size=10, epochs=2, verbose=2)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(" - ")[:2] for line in lines] == [
            ["Epoch 1/2", "2/2"],
            ["Epoch 2/2", "2/2"],
        ]
        assert "loss: " in lines[0]
        assert "mae: " in lines[0]

    def test_silence(self, capsys):
        x, y = regression()
        model = compiled()
        model.fit(x, y, verbose=0)
        model.evaluate(x, y, verbose=0)
        model.predict(x, verbose=0)
        assert capsys.readouterr().out == ""

    def test_evaluate_and_predict_show_one_line(self, capsys):
        x, y = regression()
        model = compiled()
        model.evaluate(x, y, batch_size=5)
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("4/4 - ")
        assert "mae: " in line
        model.predict(x, batch_size=5)
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("4/4 - ")
