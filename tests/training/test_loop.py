"""The loop: how often it compiles, what it leaves behind, what it yields."""

import jax
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.data import sources


def regression(n=40, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 4)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def small(**compile_arguments):
    model = lamina.Sequential(
        [lamina.Input((4,)), layers.Dense(8, "tanh"), layers.Dense(1)]
    )
    model.compile(**{"optimizer": "adam", "loss": "mse", **compile_arguments})
    return model


class Traces(layers.Layer):
    """Counts how often its `call` runs in Python: once for each compilation."""

    def __init__(self):
        super().__init__()
        self.trained = 0

    def call(self, x, training=False):
        self.trained += bool(training)
        return x


@pytest.mark.parametrize(("rows", "traces"), [(32, 1), (40, 2)])
def test_a_fit_compiles_the_training_step_once(rows, traces):
    count = Traces()
    model = lamina.Sequential([lamina.Input((4,)), count, layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    x, y = regression(rows)
    model.fit(x, y, batch_size=16, epochs=4, verbose=0)
    assert count.trained == traces  # a shorter last batch is compiled by itself
    model.fit(x, y, batch_size=16, epochs=2, verbose=0)
    assert count.trained == traces


def test_changing_what_is_trained_takes_effect_without_compile():
    model = small()
    x, y = regression()
    model.fit(x, y, verbose=0)
    model.layers[0].trainable = False
    frozen = model.layers[0].get_weights()
    last = model.layers[1].get_weights()
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    for before, after in zip(frozen, model.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert not np.array_equal(last[0], model.layers[1].get_weights()[0])


def test_same_seed_same_bits():
    def run():
        lamina.utils.set_random_seed(3)
        model = lamina.Sequential(
            [layers.Dense(16, "relu"), layers.Dropout(0.5), layers.Dense(1)]
        )
        model.compile("adam", "mse")
        x, y = regression()
        history = model.fit(x, y, epochs=3, batch_size=8, verbose=0)
        return history.history["loss"], model.get_weights()

    (loss_a, weights_a), (loss_b, weights_b) = run(), run()
    assert loss_a == loss_b
    for a, b in zip(weights_a, weights_b, strict=True):
        np.testing.assert_array_equal(a, b)


class Fails(lamina.callbacks.Callback):
    """Raises at the end of one batch, and remembers the weights then."""

    def __init__(self, at, error):
        super().__init__()
        self.at, self.error, self.weights = at, error, None

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.at:
            self.weights = self.model.get_weights()
            raise self.error


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt()])
def test_an_interruption_leaves_the_last_finished_step(error):
    model = small()
    x, y = regression()
    fails = Fails(2, error)
    with pytest.raises(type(error)) as caught:
        model.fit(x, y, batch_size=8, callbacks=[fails], verbose=0)
    assert "Fails" in "".join(getattr(caught.value, "__notes__", ["Fails"]))
    for held, seen in zip(model.get_weights(), fails.weights, strict=True):
        np.testing.assert_array_equal(held, seen)
    assert int(model.optimizer.iterations.value) == 3
    model.fit(x, y, verbose=0)  # and the model trains on


def test_data_that_fails_in_the_middle_leaves_a_usable_model():
    model = small()
    x, y = regression()

    def batches():
        yield x[:8], y[:8]
        yield x[8:16], y[8:16]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        model.fit(batches(), verbose=0)
    assert int(model.optimizer.iterations.value) == 2
    assert np.isfinite(model.predict(x, verbose=0)).all()


def test_a_kept_array_outlives_training():
    """Steps overwrite their own State, never arrays that a user holds."""
    model = small()
    x, y = regression()
    kept = model.layers[0].kernel.value
    before = np.array(kept)
    model.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(np.asarray(kept), before)


def test_callbacks_see_and_change_weights():
    seen = []

    class Zero(lamina.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(self.model.layers[1].bias.value[0]))
            self.model.layers[1].bias.assign([0.0])

    model = small()
    x, y = regression()
    model.fit(x, y, batch_size=8, callbacks=[Zero()], verbose=0)
    assert len(seen) == 5
    assert all(value != 0 for value in seen)
    assert float(model.layers[1].bias.value[0]) == 0


def test_stop_training_ends_after_the_step():
    class Stop(lamina.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    model = small()
    x, y = regression()
    history = model.fit(x, y, batch_size=8, epochs=5, callbacks=[Stop()], verbose=0)
    assert len(history.history["loss"]) == 1
    assert int(model.optimizer.iterations.value) == 2


@pytest.mark.parametrize("rows", [1, 7, 32, 33, 64])
def test_predict_pads_the_last_batch_away(rows):
    model = small()
    x, _ = regression(rows)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), np.asarray(model(x)), atol=1e-6
    )


@pytest.mark.parametrize("rows", [3, 8, 11])
def test_predict_keeps_structures_and_names(rows):
    a, b = lamina.Input((4,), name="a"), lamina.Input((2,), name="b")
    joined = layers.Concatenate()([a, b])
    model = lamina.Model(
        {"a": a, "b": b},
        {"sum": layers.Dense(1)(joined), "pair": [joined, layers.Dense(2)(b)]},
    )
    x, _ = regression(rows)
    given = {"b": x[:, :2], "a": x}
    outputs = model.predict(given, batch_size=4, verbose=0)
    assert sorted(outputs) == ["pair", "sum"]
    np.testing.assert_allclose(outputs["pair"][0], np.concatenate([x, x[:, :2]], 1))
    whole = model(given)
    np.testing.assert_allclose(outputs["pair"][1], whole["pair"][1], atol=1e-6)
    np.testing.assert_allclose(outputs["sum"], whole["sum"], atol=1e-6)
    assert outputs["sum"].flags.writeable


@pytest.mark.parametrize("batch_size", [2, 8])
def test_predict_of_an_output_that_is_not_there(batch_size):
    class Some(lamina.Model):
        def call(self, x):
            return {"twice": 2 * x, "nothing": None}

    x, _ = regression(3)
    outputs = Some().predict(x, batch_size=batch_size, verbose=0)
    assert outputs["nothing"] is None
    np.testing.assert_array_equal(outputs["twice"], 2 * x)


def test_predict_of_one_number_for_a_batch():
    class Total(lamina.Model):
        def call(self, x):
            return lamina.ops.sum(x)

    x, _ = regression(3)
    with pytest.raises(ValueError, match="one number for a batch.*predict_on_batch"):
        Total().predict(x, batch_size=2, verbose=0)
    assert Total().predict(x, verbose=0) == pytest.approx(x.sum(), abs=1e-5)


def test_predict_stops_at_the_most_steps_of_an_epoch():
    model = small()
    x, _ = regression(12)
    lamina.config.set_max_steps_per_epoch(2)
    try:
        found = model.predict(x, batch_size=4, verbose=0)
    finally:
        lamina.config.set_max_steps_per_epoch(None)
    whole = model.predict(x, batch_size=4, verbose=0)
    assert len(whole) == 12
    np.testing.assert_array_equal(found, whole[:8])


def test_generators_and_steps():
    model = small()
    x, y = regression()

    def endless():
        while True:
            yield x[:8], y[:8]

    history = model.fit(endless(), steps_per_epoch=3, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2
    assert int(model.optimizer.iterations.value) == 6
    assert model.predict(endless(), steps=2, verbose=0).shape == (16, 1)


def test_a_generator_that_ends_early_warns_and_trains():
    model = small()
    x, y = regression()
    with pytest.warns(UserWarning, match="ran out of data.*2 of 5"):
        model.fit(iter([(x[:8], y[:8])] * 2), steps_per_epoch=5, verbose=0)


class Steps(lamina.utils.PyDataset):
    """Batches whose mean squared target is their number, squared."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return np.ones((2, 1)), np.full((2, 1), float(index))


class Passes:
    def __iter__(self):
        return iter(Steps())


def endless():
    while True:
        yield from Steps()


ROWS = np.ones((8, 1)), np.repeat(np.arange(4.0), 2)[:, None]
HELD_OUT = {
    "arrays": lambda: ROWS,
    "data set": Steps,
    "iterable": Passes,
    "iterator": lambda: iter(Steps()),
    "endless": endless,
}


def unmoved():
    model = lamina.Sequential(
        [lamina.Input((1,)), layers.Dense(1, kernel_initializer="zeros")]
    )
    model.compile(lamina.optimizers.SGD(0.0), "mse")
    return model


@pytest.mark.parametrize("kind", HELD_OUT)
@pytest.mark.parametrize("frequency", [1, 2])
def test_validation_steps_are_the_same_in_each_epoch(kind, frequency):
    history = unmoved().fit(
        *ROWS, epochs=4, verbose=0, validation_data=HELD_OUT[kind](),
        validation_steps=3, validation_batch_size=2, validation_freq=frequency,
    ).history  # fmt: skip
    np.testing.assert_allclose(
        history["val_loss"], [5 / 3] * (4 // frequency), rtol=1e-6
    )


class Nothing(Steps):
    def __len__(self):
        return 0


EMPTY = {
    "arrays": lambda: (np.ones((0, 1)), np.ones((0, 1))),
    "data set": Nothing,
    "iterator": lambda: iter([]),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_empty_validation_data(kind):
    with pytest.warns(UserWarning, match="without validation, .*The data set is empty"):
        found = unmoved().fit(*ROWS, epochs=2, verbose=0, validation_data=EMPTY[kind]())
    assert {name: len(values) for name, values in found.history.items()} == {"loss": 2}
    given = EMPTY[kind]()
    with pytest.raises(ValueError, match="The data set is empty"):
        unmoved().evaluate(*(given if isinstance(given, tuple) else [given]), verbose=0)


def test_validation_data_that_run_out(monkeypatch):
    monkeypatch.setattr(sources, "_MOST_KEPT", 4)
    with (
        pytest.warns(UserWarning, match="too much to keep"),
        pytest.warns(UserWarning, match="without validation from epoch 3 on"),
    ):
        history = unmoved().fit(
            *ROWS, epochs=4, verbose=0, validation_data=iter(Steps()),
            validation_steps=2,
        ).history  # fmt: skip
    assert history["val_loss"] == [0.5, 6.5]
    assert len(history["loss"]) == 4


def test_a_split_that_leaves_no_row():
    with pytest.warns(UserWarning, match="without validation"):
        history = unmoved().fit(*ROWS, verbose=0, validation_split=1e-17).history
    assert list(history) == ["loss"]


def test_validation_frequency_and_initial_epoch():
    model = small()
    x, y = regression()
    history = model.fit(
        x, y, epochs=5, initial_epoch=1, validation_data=(x, y), validation_freq=2,
        verbose=0,
    )  # fmt: skip
    assert history.epoch == [1, 2, 3, 4]
    assert len(history.history["val_loss"]) == 2


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_and_keeps_float32_weights(policy):
    model = lamina.Sequential(
        [
            lamina.Input((4,)),
            layers.Dense(16, "relu", dtype=policy),
            layers.Dense(1, dtype=policy),
        ]
    )
    model.dtype_policy = lamina.DTypePolicy(policy)
    model.compile(lamina.optimizers.Adam(0.02), "mse")
    x, y = regression(64)
    losses = model.fit(x, y, epochs=15, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2
    assert {v.raw_value.dtype.name for v in model.trainable_weights} == {"float32"}
    assert model(x[:2]).dtype == policy.removeprefix("mixed_")
    scaled = isinstance(model.optimizer, lamina.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")


def test_run_eagerly_gives_the_same_numbers():
    x, y = regression()
    compiled, eager = small(), small(run_eagerly=True)
    eager.set_weights(compiled.get_weights())
    for model in (compiled, eager):
        model.fit(x, y, epochs=2, batch_size=16, shuffle=False, verbose=0)
    for a, b in zip(compiled.get_weights(), eager.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_losses_added_in_layers_count():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(3.0 + 0.0 * x.sum())
            return x

    model = lamina.Sequential([lamina.Input((4,)), Penalty(), layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = regression()
    model.optimizer.learning_rate = 0.0
    loss = model.evaluate(x, y, verbose=0)
    plain = float(np.mean((model.predict(x, verbose=0) - y) ** 2))
    assert loss == pytest.approx(plain + 3.0, rel=1e-5)


def test_own_train_step_in_keras_jax_form():
    class Own(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

        def train_step(self, state, data):
            trainable, frozen, optimizer, metrics = state
            x, y = data

            def loss_of(values):
                y_pred, new = self.stateless_call(values, frozen, x, training=True)
                return ((y_pred - y) ** 2).mean(), new

            (loss, frozen), grads = jax.value_and_grad(loss_of, has_aux=True)(trainable)
            trainable, optimizer = self.optimizer.stateless_apply(
                optimizer, grads, trainable
            )
            return {"mine": loss}, (trainable, frozen, optimizer, metrics)

    model = Own()
    model.compile(lamina.optimizers.Adam(0.05), "mse")
    x, y = regression()
    history = model.fit(x, y, epochs=20, batch_size=40, verbose=0).history
    assert list(history) == ["mine"]
    assert history["mine"][-1] < history["mine"][0] / 2


def test_groups_of_a_state_are_lists_as_in_keras():
    class Halving(lamina.Model):
        def train_step(self, state, data):
            logs, state = super().train_step(state, data)
            trainable, frozen, optimizer, metrics = state
            trainable[0] = trainable[0] / 2
            return logs, (trainable, frozen + [], optimizer, metrics[:1] + metrics[1:])

        def test_step(self, state, data):
            trainable, frozen, metrics = state
            return super().test_step((trainable + [], frozen + [], metrics + []), data)

        def predict_step(self, state, data):
            trainable, frozen = state
            trainable[1] = trainable[1] * 0
            return super().predict_step((trainable, frozen + []), data)

    inputs = lamina.Input((4,))
    model = Halving(inputs, layers.Dense(1, kernel_initializer="ones")(inputs))
    model.compile(lamina.optimizers.SGD(0.0), "mse", metrics=["mae"])
    x, y = np.ones((8, 4)), np.zeros((8, 1))
    assert model.fit(x, y, batch_size=4, verbose=0).history["mae"] == [3.0]
    assert model.evaluate(x, y, verbose=0) == [1.0, 1.0]
    np.testing.assert_allclose(model.predict(x, verbose=0), np.ones((8, 1)))


def test_metrics_alone_are_measured_without_a_loss():
    model = lamina.Sequential([layers.Dense(1, kernel_initializer="ones")])
    model.compile(metrics=["mae"])
    x, y = np.ones((5, 3)), np.zeros((5, 1))
    assert model.evaluate(x, y, batch_size=2, verbose=0) == [0.0, 3.0]
    assert model.test_on_batch(x, y) == [0.0, 3.0]
    with pytest.raises(ValueError, match="no loss to minimise"):
        model.fit(x, y, verbose=0)


def test_verbose_zero_prints_nothing(capfd):
    model = small()
    x, y = regression()
    model.fit(x, y, validation_data=(x, y), verbose=0)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    assert capfd.readouterr() == ("", "")


def test_a_metric_that_makes_variables_when_it_sees_data():
    x = np.linspace(0, 1, 24, dtype="float32").reshape(8, 3)
    y = x[:, :1] ** 2
    model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae", "r2_score"])
    model.fit(x, y, verbose=0)
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    errors = np.mean((model.predict(x, verbose=0) - y) ** 2)
    assert found["r2_score"] == pytest.approx(1 - errors / np.var(y), rel=1e-5)


def test_shapes_are_inferred_once_for_data_of_one_shape():
    seen = []

    class Watching(lamina.layers.Layer):
        def call(self, x):
            seen.append(x.shape)
            return x

    model = lamina.Sequential([lamina.Input((3,)), Watching(), lamina.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    model.fit(x, y, batch_size=4, verbose=0)
    seen.clear()
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    assert seen == []
    model.fit(x, y, batch_size=2, verbose=0)
    assert (2, 3) in seen
    model.add(lamina.layers.Dense(2))  # now the targets do not fit
    with pytest.raises(ValueError, match="shape"):
        model.fit(x, np.ones((8, 3), "float32"), batch_size=4, verbose=0)


def test_a_call_that_runs_eagerly_runs_each_time():
    seen = []

    class Model(lamina.Model):
        def call(self, x):
            seen.append(x.shape)
            return x

    model = Model()
    model.compile("sgd", "mse", run_eagerly=True)
    x = np.ones((4, 3), "float32")
    model.evaluate(x, x, batch_size=4, verbose=0)
    once = len(seen)
    seen.clear()
    model.evaluate(x, x, batch_size=4, verbose=0)
    assert 1 < len(seen) <= once


def test_weights_that_are_frozen_after_the_first_fit():
    model = lamina.Sequential(
        [lamina.Input((3,)), layers.Dense(4, name="a"), layers.Dense(1, name="b")],
        name="net",
    )
    model.compile("adam", "mse")
    x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    model.fit(x, y, verbose=0)
    model.layers[0].trainable = False
    with pytest.raises(ValueError, match="gone: net/a/kernel, net/a/bias.*compile"):
        model.fit(x, y, verbose=0)
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    model.layers[0].trainable = True
    with pytest.raises(ValueError, match=r"new: net/a/kernel, net/a/bias"):
        model.fit(x, y, verbose=0)
