"""How steps are run: several in one call, a user's own, interrupted ones."""

import contextlib
import os
import signal
import threading
import time

import numpy as np
import pytest

import lamina
from lamina import layers, ops
from lamina.training.interrupt import Interrupts
from lamina.training.prefetch import Prefetched

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(52, 6)).astype("float32")
Y = X[:, :1] * 2


def parts():
    return [
        layers.Input((6,)),
        layers.Dense(5, "relu"),
        layers.Dropout(0.3),
        layers.BatchNormalization(),
        layers.Dense(1),
    ]


def made(cls=lamina.Sequential, **more):
    lamina.utils.set_random_seed(3)
    model = cls(parts())
    model.compile("adam", "mse", metrics=["mae"], **more)
    return model


def result(model, *args, **more):
    history = model.fit(*args, epochs=2, verbose=0, **more)
    return history.history, [w.tolist() for w in model.get_weights()]


# ---- several steps in one call -----------------------------------------------


# 52 rows are 6 batches of 8 and one of 4, which no call of several can take.
@pytest.mark.parametrize("count", [2, 3, 7, 50, "auto"])
def test_steps_per_execution(count):
    expected = result(made(), X, Y, 8)
    assert result(made(steps_per_execution=count), X, Y, 8) == expected


def test_callbacks_hear_of_whole_groups():
    heard = []
    watch = lamina.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: heard.append(("begin", batch)),
        on_train_batch_end=lambda batch, logs: heard.append(("end", batch)),
    )
    made(steps_per_execution=3).fit(X, Y, 8, verbose=0, callbacks=[watch])
    assert heard == [
        ("begin", 0), ("end", 2), ("begin", 3), ("end", 5), ("begin", 6), ("end", 8)
    ]  # fmt: skip


# ---- a user's own step -------------------------------------------------------


class Stateful(lamina.Sequential):
    """The built-in step, written as one writes it without thinking of state."""

    def train_step(self, data):
        x, y = data

        def loss():
            y_pred = self(x, training=True)
            return self.compute_loss(x=x, y=y, y_pred=y_pred), y_pred

        (loss, y_pred), gradients = lamina.value_and_grad(
            loss, self.trainable_variables
        )()
        self.optimizer.apply(gradients, self.trainable_variables)
        self._loss_tracker.update_state(loss, sample_weight=len(x))
        return self.compute_metrics(x, y, y_pred)

    def test_step(self, data):
        x, y = data
        y_pred = self(x, training=False)
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred, training=False)
        self._loss_tracker.update_state(loss, sample_weight=len(x))
        return self.compute_metrics(x, y, y_pred)

    def predict_step(self, data):
        return self(data[0] if isinstance(data, tuple) else data, training=False) + 0


def test_stateful_steps():
    expected = made()
    first = result(expected, X, Y, 8, validation_data=(X, Y))
    ours = made(Stateful)
    second = result(ours, X, Y, 8, validation_data=(X, Y))
    for name, values in first[0].items():
        np.testing.assert_allclose(second[0][name], values, rtol=1e-6)
    for a, b in zip(first[1], second[1], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        ours.predict(X, verbose=0), ours(X, training=False), rtol=1e-5
    )
    np.testing.assert_allclose(
        ours.evaluate(X, Y, verbose=0), expected.evaluate(X, Y, verbose=0), rtol=1e-5
    )


def test_a_step_may_call_the_built_in_one_with_its_data():
    class Adds(lamina.Sequential):
        def train_step(self, data):
            return {**super().train_step(data), "one": 1.0}

        def test_step(self, data):
            return {**super().test_step(data), "two": 2.0}

        def predict_step(self, data):
            return super().predict_step(data) + 1

    plain = made()
    history, weights = result(plain, X, Y, 8, validation_data=(X, Y))
    model = made(Adds)
    logs, own_weights = result(model, X, Y, 8, validation_data=(X, Y))
    assert own_weights == weights
    assert logs == {**history, "one": [1.0, 1.0], "val_two": [2.0, 2.0]}
    np.testing.assert_array_equal(
        model.predict(X, verbose=0), plain.predict(X, verbose=0) + 1
    )
    for run in (model.train_on_batch, model.test_on_batch):
        assert run(X[:8], Y[:8], return_dict=True).keys() - {"one", "two"} == {
            "loss", "mae",
        }  # fmt: skip


class Batches(lamina.metrics.Metric):
    """Gives its Variable itself, not what that holds."""

    def __init__(self):
        super().__init__(name="batches")
        self.count = self.add_weight(initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(1.0)

    def result(self):
        return self.count


@pytest.mark.parametrize("eager", (False, True))
def test_a_variable_in_the_logs_stands_for_what_it_holds(eager):
    class Own(lamina.Sequential):
        def train_step(self, data):
            return {**super().train_step(data), "step": self.optimizer.iterations}

    for cls in (lamina.Sequential, Own):
        model = cls([layers.Input((6,)), layers.Dense(1)])
        model.compile("sgd", "mse", metrics=[Batches()], run_eagerly=eager)
        history = model.fit(X, Y, 26, epochs=2, verbose=0).history
        assert history["batches"] == [2.0, 2.0]
        assert model.fit(X[:6], Y[:6], 2, verbose=0).history["batches"] == [3.0]
        assert model.evaluate(X, Y, 13, verbose=0, return_dict=True)["batches"] == 4.0
    assert history["step"] == [2, 4]


@pytest.mark.parametrize("eager", (False, True))
def test_a_step_makes_the_weights_that_it_trains(eager):
    class Own(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def train_step(self, data):
            x, y = data

            def loss():
                return lamina.ops.mean((self.dense(x) - y) ** 2)

            self.dense.built or self.dense.build(x.shape)
            value, gradients = lamina.value_and_grad(loss, self.trainable_variables)()
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": value}

    model = Own()
    model.compile("adam", run_eagerly=eager)
    found = model.fit(X, Y, 26, epochs=3, verbose=0).history["loss"]
    assert found[0] > found[-1]


def test_stateful_step_returns_logs():
    class Wrong(Stateful):
        def train_step(self, data):
            return 3.0

    with pytest.raises(TypeError, match=r"`Wrong.train_step\(self, data\)`.*dict.*3.0"):
        made(Wrong).fit(X, Y, verbose=0)


class Adversaries(lamina.Model):
    """Two networks with an optimizer each."""

    def __init__(self):
        super().__init__()
        self.maker = lamina.Sequential([layers.Input((2,)), layers.Dense(3)])
        self.judge = lamina.Sequential([layers.Input((3,)), layers.Dense(1)])
        self.seeds = lamina.random.SeedGenerator(1)

    def compile(self, maker, judge):
        super().compile()
        self.maker_optimizer, self.judge_optimizer = maker, judge
        maker.build(self.maker.trainable_variables)
        judge.build(self.judge.trainable_variables)

    def train_step(self, data):
        noise = lamina.random.normal((len(data), 2), seed=self.seeds)

        def judge_loss():
            real, made = self.judge(data), self.judge(self.maker(noise))
            return ops.mean(ops.softplus(made) + ops.softplus(-real))

        def maker_loss():
            return ops.mean(ops.softplus(-self.judge(self.maker(noise))))

        logs = {}
        for name, loss in (("judge", judge_loss), ("maker", maker_loss)):
            variables = getattr(self, name).trainable_variables
            logs[name], gradients = lamina.value_and_grad(loss, variables)()
            getattr(self, f"{name}_optimizer").apply(gradients, variables)
        return logs


def test_two_optimizers():
    model = Adversaries()
    model.compile(lamina.optimizers.Adam(0.1), lamina.optimizers.SGD(0.1))
    before = [np.array(w) for w in model.get_weights()]
    history = model.fit(RANDOM.normal(size=(40, 3)), epochs=2, verbose=0)
    assert set(history.history) == {"judge", "maker"}
    after = model.get_weights()
    assert all((a != b).any() for a, b in zip(before, after, strict=True))
    assert int(model.maker_optimizer.iterations) == 4
    assert int(model.seeds.state.value[1]) == 4


def test_value_and_grad_outside_of_a_step():
    model = made()
    norm = model.layers[2]
    before = np.array(norm.moving_mean)

    def loss():
        return ops.mean(ops.square(model(X, training=True) - Y))

    value, gradients = lamina.value_and_grad(loss, model.trainable_variables)()
    assert len(gradients) == len(model.trainable_variables)
    assert (np.array(norm.moving_mean) != before).any()
    step = 1e-3
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        variable.assign(variable - step * gradient)
    again, _ = lamina.value_and_grad(loss, [])()
    assert np.isfinite(float(again))
    assert float(value) != float(again)


def test_value_and_grad_with_more_results():
    w = lamina.Variable([1.0, 2.0])
    (loss, twice), (slope,) = lamina.value_and_grad(
        lambda x: (ops.sum(w * w * x), 2 * w), [w]
    )(3.0)
    assert float(loss) == 15
    assert twice.tolist() == [2, 4]
    assert slope.tolist() == [6, 12]


# ---- Ctrl-C --------------------------------------------------------------------


def press():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("where", ["begin", "end"])
def test_interrupt(where):
    ended = []

    class Press(lamina.callbacks.Callback):
        def on_train_end(self, logs=None):
            ended.append(True)

    def at_third(batch, logs=None):
        if batch == 2:
            press()

    callback = Press()
    setattr(callback, f"on_train_batch_{where}", at_third)
    model, same = made(), made()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, 8, verbose=0, shuffle=False, callbacks=[callback])
    assert ended == [True]
    rows = 16 if where == "begin" else 24
    same.fit(X[:rows], Y[:rows], 8, verbose=0, shuffle=False)
    for ours, expected in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, expected)
    model.fit(X, Y, 8, verbose=0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_first_interrupt_waits_for_the_step():
    steps = []
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        with interrupts.held:
            press()
            steps.append("finished")
        steps.append("next")
    assert steps == ["finished"]


def test_second_interrupt_is_immediate():
    steps = []
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        with interrupts.held:
            press()
            press()
            steps.append("finished")
    assert steps == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_handlers_are_left_alone():
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        with Interrupts() as interrupts, interrupts.held:
            press()
        assert pressed == [True]
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_another_thread():
    model = made()
    thread = threading.Thread(target=lambda: model.fit(X, Y, 8, verbose=0))
    thread.start()
    thread.join()
    assert int(model.optimizer.iterations) == 7


# ---- batches in the background -------------------------------------------------


def test_error_of_a_generator_arrives():
    def batches():
        yield X[:8], Y[:8]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        made().fit(batches(), verbose=0)
    assert not [t for t in threading.enumerate() if t.name == "lamina-batches"]


def test_stopping_early_ends_the_thread():
    closed = []

    def numbers():
        try:
            yield from range(100)
        finally:
            closed.append(True)

    source = numbers()
    with Prefetched(source, lambda n: n) as batches:
        assert next(batches) == 0
    batches._thread.join(5)
    assert not batches._thread.is_alive()
    source.close()
    assert closed == [True]


def endless(read):
    while True:
        read.append(len(read))
        yield X[:8], np.full((8, 1), read[-1], "float32")


@pytest.mark.parametrize("weight", [None, dict.fromkeys(range(99), 1.0)])
@pytest.mark.parametrize("end", ["stop_training", "an exception"])
def test_batches_that_were_read_ahead_come_in_the_next_run(end, weight):
    read, options = [], {"steps_per_epoch": 9, "verbose": 0, "class_weight": weight}

    def on_batch(batch, logs):
        while batch == 2 and len(read) < 5:  # two of them nobody will use
            time.sleep(0.001)
        model.stop_training = batch == 2
        if batch == 2 and end == "an exception":
            raise OSError(end)

    model = lamina.Sequential([layers.Input((6,)), layers.Dense(1)])
    model.compile(lamina.optimizers.SGD(0.0), "mae")
    model.layers[0].set_weights([np.zeros((6, 1)), np.zeros(1)])
    source = endless(read)
    stop = lamina.callbacks.LambdaCallback(on_train_batch_end=on_batch)
    with contextlib.suppress(OSError):
        model.fit(source, callbacks=[stop], **options)
    options["steps_per_epoch"] = 1
    for number in (3.0, 4.0):
        assert model.fit(source, **options).history == {"loss": [number]}
    assert model.evaluate(source, steps=2, verbose=0) == 5.5
    assert next(source)[1][0, 0] == len(read) - 1 == 7


def test_end_is_told_again():
    with Prefetched([], lambda n: n) as batches:
        assert list(batches) == []
        assert list(batches) == []


def test_waiting_is_shown(capsys):
    def slow():
        for _ in range(6):
            time.sleep(0.1)
            yield X[:8], Y[:8]

    model = made()
    model.fit(X[:8], Y[:8], verbose=0)  # compiled now
    model.fit(slow(), verbose=2)
    assert "of the time for data" in capsys.readouterr().out
    made().fit(X, Y, verbose=2)
    assert "of the time for data" not in capsys.readouterr().out
