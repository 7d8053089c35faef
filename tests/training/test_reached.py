"""What a step reaches besides the model's own Variables is read and updated."""

import jax
import numpy as np
import pytest

import lamina
from lamina import layers, ops
from lamina.training.compiled import training_of

X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Reaching(layers.Layer):
    """Counts its calls, scales, and draws, with what is not its own."""

    def __init__(self, counter, scale, seed, **kwargs):
        super().__init__(**kwargs)
        # In a function, where no layer looks for Variables.
        self.reached = lambda: (counter, scale, seed)

    def call(self, x):
        counter, scale, seed = self.reached()
        counter.assign_add(1)
        return x * scale + 0 * lamina.random.normal(ops.shape(x), seed=seed)


@pytest.fixture
def reached():
    counter = lamina.Variable(0, dtype="int32", trainable=False, name="counter")
    scale = lamina.Variable(2.0, trainable=False, name="scale")
    return counter, scale, lamina.random.SeedGenerator(3)


def net(layer=None, units=1, kind=lamina.Model):
    inputs = lamina.Input((3,))
    hidden = inputs if layer is None else layer(inputs)
    return kind(inputs, layers.Dense(units, name="last")(hidden))


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("settings", [{}, {"steps_per_execution": 4}])
def test_is_updated_by_every_step(reached, eager, settings):
    counter, scale, seed = reached
    before = np.array(seed.state)
    model = net(Reaching(*reached))
    model.compile("sgd", "mse", run_eagerly=eager, **settings)
    counter.assign(0)
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    assert int(counter) == 16
    assert (np.array(seed.state) != before).any()
    model.evaluate(X, Y, batch_size=16, verbose=0)
    model.predict(X, batch_size=32, verbose=0)
    model.train_on_batch(X[:8], Y[:8])
    assert int(counter) == 16 + 4 + 2 + 1


def test_is_read_each_time(reached):
    _, scale, _ = reached
    model = net(Reaching(*reached))
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    scale.assign(0.0)
    bias = model.get_layer("last").bias.numpy()
    np.testing.assert_allclose(model.predict(X, verbose=0), np.tile(bias, (64, 1)))
    loss = model.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(loss, ((bias - Y) ** 2).mean(), rtol=1e-5)


def test_is_what_callbacks_see(reached):
    class Seen(lamina.callbacks.Callback):
        counts = ()

        def on_train_batch_end(self, batch, logs=None):
            self.counts = (*self.counts, int(reached[0]))

    seen, model = Seen(), net(Reaching(*reached))
    model.compile("sgd", "mse")
    reached[0].assign(0)
    model.fit(X, Y, batch_size=16, verbose=0, callbacks=[seen])
    assert seen.counts == (1, 2, 3, 4)


def test_steps_that_overwrite_their_state(reached):
    model = lamina.Sequential(
        [lamina.Input((3,)), layers.Dense(1200), layers.Dense(1000), layers.Dense(1)]
    )
    model.add(Reaching(*reached))
    model.compile("sgd", "mse")
    reached[0].assign(0)
    model.fit(X, Y, epochs=2, verbose=0)
    reached[1].assign(3.0)
    model.fit(X, Y, verbose=0)
    assert (int(reached[0]), float(reached[1])) == (6, 3.0)


def test_losses_metrics_and_regularizers(reached):
    counter, scale, _ = reached

    def loss(y, y_pred):
        counter.assign_add(1)
        return scale * ops.mean((y - y_pred) ** 2)

    def error(y, y_pred):
        return scale * ops.mean(ops.abs(y - y_pred), axis=-1)

    class Weighed(lamina.regularizers.Regularizer):
        def __call__(self, x):
            return scale * ops.sum(x * x)

    inputs = lamina.Input((3,))
    dense = layers.Dense(1, kernel_regularizer=Weighed())
    model = lamina.Model(inputs, dense(inputs))
    model.compile(lamina.optimizers.SGD(0.0), loss, metrics=[error])
    first = model.fit(X, Y, batch_size=64, verbose=0).history
    counter.assign(0)
    scale.assign(4.0)
    second = model.fit(X, Y, batch_size=64, verbose=0).history
    np.testing.assert_allclose(second["loss"], 2 * np.array(first["loss"]), rtol=1e-6)
    np.testing.assert_allclose(second["error"], 2 * np.array(first["error"]), rtol=1e-6)
    assert int(counter) == 1


class Explicit(lamina.Model):
    """Hands the steps on in Keras' form."""

    def train_step(self, state, data):
        return super().train_step(state, data)

    def test_step(self, state, data):
        return super().test_step(state, data)

    def predict_step(self, state, data):
        return super().predict_step(state, data)


def test_steps_in_keras_form(reached):
    model = net(Reaching(*reached), kind=Explicit)
    model.compile("adam", "mse", metrics=["mae"])
    reached[0].assign(0)
    model.fit(X, Y, batch_size=8, verbose=0)
    model.evaluate(X, Y, batch_size=8, verbose=0)
    model.predict(X, batch_size=8, verbose=0)
    assert int(reached[0]) == 24


class Two(lamina.Model):
    """Two parts with an optimizer each, which nobody builds; `call` is never run."""

    def __init__(self):
        super().__init__()
        self.parts = [net(units=1), net(units=1)]

    def compile(self, *optimizers):
        super().compile()
        self.optimizers = optimizers

    def call(self, x):
        raise AssertionError("no step needs it")

    def train_step(self, data):
        x, y = data
        logs = {}
        for i, (part, optimizer) in enumerate(
            zip(self.parts, self.optimizers, strict=True)
        ):

            def loss(part=part, i=i):
                return ops.mean((part(x) - y[i]) ** 2)

            value, grads = lamina.value_and_grad(loss, part.trainable_variables)()
            optimizer.apply(grads, part.trainable_variables)
            logs[f"loss_{i}"] = value
        return logs


def test_two_optimizers_train_as_each_alone():
    adam = lamina.optimizers.Adam
    model = Two()
    model.compile(adam(0.01), adam(0.1))
    alone = [lamina.models.clone_model(part) for part in model.parts]
    for part, copy in zip(model.parts, alone, strict=True):
        copy.set_weights(part.get_weights())
    model.fit(X, [Y, -Y], batch_size=8, epochs=2, shuffle=False, verbose=0)
    for part, copy, rate, sign in zip(
        model.parts, alone, (0.01, 0.1), (1, -1), strict=True
    ):
        copy.compile(adam(rate), "mse")
        copy.fit(X, sign * Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        for one, other in zip(part.get_weights(), copy.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert [int(o.iterations) for o in model.optimizers] == [16, 16]


def test_a_run_goes_on_bit_for_bit(reached, tmp_path):
    counter, _, seed = reached

    class Noisy(layers.Layer):
        def __init__(self):
            super().__init__()
            self.reached = lambda: (counter, seed)

        def call(self, x):
            counter.assign_add(1)
            return x + lamina.random.normal(ops.shape(x), seed=seed)

    class Stop(lamina.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise InterruptedError

    def run(folder, *callbacks):
        lamina.utils.set_random_seed(1)
        model = net(Noisy())
        model.compile("adam", "mse")
        counter.assign(0)
        seed.state.assign([3, 0])
        model.fit(
            X, Y, batch_size=16, epochs=4, verbose=0, resume=folder, callbacks=callbacks
        )
        return [int(counter), *model.get_weights()]

    whole = run(tmp_path / "whole")
    with pytest.raises(InterruptedError):
        run(tmp_path / "parts", Stop())
    for one, other in zip(run(tmp_path / "parts"), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_has_no_place_to_go_is_named(reached):
    counter = reached[0]

    class Cell(layers.Layer):
        state_size = output_size = 1

        def call(self, x, states):
            counter.assign(counter + ops.cast(ops.sum(x), "int32"))
            return x, states

    inputs = lamina.Input((3, 1))
    with pytest.raises(ValueError, match="Variable 'counter' was .* Make it an attri"):
        layers.RNN(Cell())(inputs)


def test_compute_metrics_reaches_the_logs():
    class Ranged(lamina.Model):
        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            logs = super().compute_metrics(x, y, y_pred, sample_weight)
            return {**logs, "range": ops.max(y_pred) - ops.min(y_pred)}

    model = net(kind=Ranged)
    model.compile(lamina.optimizers.SGD(0.0), "mse", metrics=["mae"])
    y_pred = model.predict(X, verbose=0)
    whole = {"batch_size": 64, "verbose": 0}
    history = model.fit(X, Y, validation_data=(X, Y), **whole).history
    expected = np.ptp(y_pred)
    found = [
        *history["range"], *history["val_range"],
        model.evaluate(X, Y, return_dict=True, **whole)["range"],
        model.train_on_batch(X, Y, return_dict=True)["range"],
        model.test_on_batch(X, Y, return_dict=True)["range"],
    ]  # fmt: skip
    np.testing.assert_allclose(found, [expected] * 5, rtol=1e-5)
    names = ("loss", "mae", "range")
    assert set(history) == {f"{v}{k}" for v in ("", "val_") for k in names}


def test_metrics_of_ones_own_without_the_loss():
    class Own(lamina.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.tracker = lamina.metrics.Mean(name="own")

        def compute_loss(self, x, y, y_pred, sample_weight, training=True):
            loss = ops.mean((y - y_pred) ** 2)
            self.tracker.update_state(loss)
            return loss

        @property
        def metrics(self):
            return [self.tracker]

    model = net(kind=Own)
    model.compile("sgd")
    history = model.fit(X, Y, epochs=3, validation_data=(X, Y), verbose=0).history
    assert set(history) == {"own", "val_own"}
    assert history["own"][-1] < history["own"][0]
    found = model.evaluate(X, Y, batch_size=64, verbose=0)
    np.testing.assert_allclose(
        found, ((model.predict(X, verbose=0) - Y) ** 2).mean(), rtol=1e-5
    )


def test_the_compiled_metrics_are_one():
    model = net()
    assert model.metrics == [] and model._loss_tracker is None
    model.compile("sgd", "mse", metrics=["mae"])
    assert model.metrics_names == ["loss", "compile_metrics"]
    assert model.metrics == [model._loss_tracker, model.compiled_metrics]
    model.compiled_metrics.update_state(Y, 0 * Y)
    mae = model.compiled_metrics.result()["mae"]
    np.testing.assert_allclose(mae, np.abs(Y).mean(), rtol=1e-6)
    model.reset_metrics()
    assert float(model.get_metrics_result()["mae"]) == 0


@pytest.mark.parametrize("kind", [lamina.Model, Explicit])
def test_is_found_once(reached, kind):
    class Traced(Reaching):
        traces = 0

        def call(self, x):
            self.traces += 1
            return super().call(x)

    layer = Traced(*reached)
    model = net(layer, kind=kind)
    model.compile("sgd", "mse")
    layer.traces = 0
    model.predict(X, batch_size=4, verbose=0)
    assert layer.traces <= 2


@pytest.mark.parametrize(
    "make",
    [
        lambda q, training: layers.Dropout(0.5)(q, training=training),
        lambda q, training: layers.Dense(3)(q),
        lambda q, training: lamina.random.dropout(
            q, 0.5, seed=lamina.random.SeedGenerator(1)
        ),
    ],
)
def test_what_each_call_makes_is_its_own(make):
    class Making(lamina.Model):
        def __init__(self):
            super().__init__()
            self.last = layers.Dense(1)

        def call(self, q, training=None):
            return self.last(make(q, training))

    model = Making()
    model(X)
    model.compile("sgd", "mse")
    before = model.last.kernel.numpy()
    model.fit(X, Y, verbose=0)
    assert (model.last.kernel.numpy() != before).any()
    model.evaluate(X, Y, verbose=0)
    assert model.predict(X, verbose=0).shape == Y.shape
    assert training_of(model).programs.adopted == ()


class Guide(lamina.Model):
    """A step in Keras' form, with JAX's own derivative and the compiled metrics."""

    def train_step(self, state, data):
        trained, frozen, optimizer, metrics = state
        x, y = data

        def loss_of(trained, frozen):
            y_pred, frozen = self.stateless_call(trained, frozen, x, training=True)
            return self.compute_loss(x, y, y_pred), (y_pred, frozen)

        slope = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (y_pred, frozen)), grads = slope(trained, frozen)
        trained, optimizer = self.optimizer.stateless_apply(optimizer, grads, trained)
        new, logs = [], {}
        for metric in self.metrics:
            own = metrics[len(new) : len(new) + len(metric.variables)]
            args = (loss,) if metric.name == "loss" else (y, y_pred)
            own = metric.stateless_update_state(own, *args)
            logs[metric.name] = metric.stateless_result(own)
            new += own
        return logs, (trained, frozen, optimizer, new)


@pytest.mark.parametrize("settings", [{}, {"run_eagerly": True}])
def test_compiled_metrics_in_a_step_in_keras_form(settings):
    found = []
    for kind in (Guide, lamina.Model):
        lamina.utils.set_random_seed(0)
        model = net(kind=kind)
        model.compile("adam", "mse", metrics=["mae"], **settings)
        data = {"validation_data": (X, Y), "batch_size": 16, "shuffle": False}
        found.append(model.fit(X, Y, verbose=0, **data).history)
    assert set(found[0]) == set(found[1])
    for name, value in found[1].items():
        np.testing.assert_allclose(found[0][name], value, rtol=1e-5)


def test_compile_makes_programs_anew_and_forgets_the_old():
    class Flagged(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.factor = layers.Dense(1), 1.0

        def call(self, x):
            return self.dense(x) * self.factor

    model, counts = Flagged(), []
    for factor in (1.0, 2.0, 3.0):
        model.factor = factor
        model.compile("adam", "mse")
        for found in (model.predict(X, verbose=0), model.predict_on_batch(X)):
            np.testing.assert_allclose(found, model(X), rtol=1e-5)
        model.fit(X, Y, verbose=0)
        counts.append(
            sum(
                len(kept.made) + len(kept.forward)
                for kept in training_of(model).programs._kept.values()
            )
        )
    assert counts[0] == counts[2]


def test_metrics_of_a_compiled_model_inside_are_its_own():
    inner = lamina.Sequential([lamina.Input((3,)), layers.Dense(1)])
    inner.compile("sgd", "mse", metrics=["mae"])
    inner.train_on_batch(X, Y)
    inputs = lamina.Input((3,))
    model = lamina.Model(inputs, inner(inputs))
    model.compile("sgd", "mse")
    assert model.metrics_names == ["loss"]
    assert set(model.fit(X, Y, verbose=0).history) == {"loss"}
    assert isinstance(model.train_on_batch(X, Y), float)


def test_an_eager_first_fit_runs_no_other_data():
    found = []
    for eager in (True, False):

        class Normed(lamina.Model):
            def __init__(self):
                super().__init__()
                self.norm = layers.BatchNormalization(momentum=0.5)

            def call(self, x):
                return self.norm(x, training=True)

        model = Normed()
        model.compile(lamina.optimizers.SGD(0.0), "mse", run_eagerly=eager)
        model.fit(X + 5, X, batch_size=64, verbose=0)
        found.append(model.norm.moving_variance.numpy())
    np.testing.assert_allclose(*found, rtol=1e-5)
    np.testing.assert_allclose(found[0], 0.5 + 0.5 * X.var(axis=0), rtol=1e-4)


def test_a_loop_of_ops_takes_no_assignment_out(reached):
    class Looping(layers.Layer):
        def call(self, x):
            def step(carry, row):
                reached[0].assign_add(1)
                return carry, row

            return ops.scan(step, 0.0, x)[1]

    with pytest.raises(ValueError, match="Variable 'counter' was assigned inside"):
        Looping()(X)
