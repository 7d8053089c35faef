"""What callbacks and a model's own methods change takes effect."""

import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.training import step

X, Y = np.ones((12, 2), "float32"), np.ones((12, 1), "float32")


def made(optimizer="sgd", cls=lamina.Sequential, stack=None):
    lamina.utils.set_random_seed(1)
    model = cls([layers.Input((2,)), *(stack or [layers.Dense(1)])])
    model.compile(optimizer, "mse")
    return model


def setting(hook, value):
    """Return a callback that sets the kernel in a hook."""

    def act(*_):
        callback.model.layers[0].kernel.assign([[value], [value]])

    callback = lamina.callbacks.LambdaCallback(**{hook: act})
    return callback


def kernel(model):
    return np.asarray(model.layers[0].kernel).ravel().tolist()


@pytest.mark.parametrize("hook", ["on_test_begin", "on_test_batch_begin"])
def test_weights_set_before_a_test(hook):
    model = made()
    model.layers[0].bias.assign([0.0])
    found = model.evaluate(X, Y, 6, verbose=0, callbacks=[setting(hook, 1.0)])
    assert found == 1.0  # (1 + 1 - 1)^2
    assert kernel(model) == [1, 1]


@pytest.mark.parametrize("hook", ["on_test_batch_end", "on_test_end"])
def test_weights_set_after_a_test(hook):
    model = made()
    model.evaluate(X, Y, 6, verbose=0, callbacks=[setting(hook, 3.0)])
    assert kernel(model) == [3, 3]


@pytest.mark.parametrize("hook", ["on_predict_begin", "on_predict_batch_begin"])
def test_weights_set_before_a_prediction(hook):
    model = made()
    outputs = model.predict(X, 6, verbose=0, callbacks=[setting(hook, 2.0)])
    assert outputs.ravel().tolist() == [4.0] * 12
    assert kernel(model) == [2, 2]


def test_average_inside_a_loss_scale():
    inner = lamina.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    model = made(lamina.optimizers.LossScaleOptimizer(inner))
    model.fit(X, Y, 6, epochs=2, verbose=0)
    plain = made(lamina.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))
    plain.fit(X, Y, 6, epochs=2, verbose=0)
    np.testing.assert_allclose(kernel(model), kernel(plain), rtol=1e-6)


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_stopping(method):
    def endless():
        while True:
            yield (X, Y) if method == "evaluate" else (X,)

    seen = []

    def stop(batch, logs):
        seen.append(batch)
        setattr(model, f"stop_{'evaluating' if method == 'evaluate' else 'predicting'}",
                batch == 2)  # fmt: skip

    name = "test" if method == "evaluate" else "predict"
    callback = lamina.callbacks.LambdaCallback(**{f"on_{name}_batch_end": stop})
    model = made()
    getattr(model, method)(endless(), verbose=0, callbacks=[callback])
    assert seen == [0, 1, 2]


def test_an_evaluation_does_not_let_a_stopped_training_go_on():
    model = made()

    def stop(epoch, logs):
        model.stop_training = True
        model.evaluate(X, Y, verbose=0)

    history = model.fit(
        X, Y, epochs=5, verbose=0,
        callbacks=[lamina.callbacks.LambdaCallback(on_epoch_end=stop)],
    )  # fmt: skip
    assert history.epoch == [0]


class Noisy(layers.Layer):
    """Draws in `predict` too."""

    def __init__(self):
        super().__init__()
        self.seeds = lamina.random.SeedGenerator(3)

    def call(self, x):
        return x + lamina.random.normal(x.shape, seed=self.seeds)


def test_seeds_move_on_in_a_prediction():
    model = made(stack=[Noisy()])
    first = model.predict(X, 6, verbose=0)
    assert (first[:6] != first[6:]).all()
    assert int(model.layers[0].seeds.state.value[1]) == 2
    assert (model.predict(X, 6, verbose=0) != first).all()


def test_loss_of_a_model_without_training():
    class Own(lamina.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return lamina.ops.mean(lamina.ops.abs(y - y_pred))

    model = made(cls=Own)
    model.fit(X, Y, verbose=0)
    expected = np.abs(Y - model.predict(X, verbose=0)).mean()
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), expected, rtol=1e-5)


def test_the_name_loss_is_free_for_scripts():
    class Own(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense = lamina.layers.Dense(1, kernel_initializer="ones")
            self.loss = "of my own"

        def call(self, x):
            return self.dense(x)

    model = Own()
    assert model.loss == "of my own"
    model.compile("sgd", "mse")
    assert model.loss == "mse"
    model.loss = lamina.losses.MeanAbsoluteError()  # what is trained stays as it is
    x = np.ones((4, 2), "float32")
    assert model.fit(x, np.full((4, 1), 5.0), verbose=0).history["loss"] == [9.0]


def test_step_with_any_arguments_is_kerass():
    class Own(lamina.Sequential):
        def train_step(self, *args):
            return super().train_step(*args)

    model, plain = made(cls=Own), made()
    model.fit(X, Y, verbose=0)
    plain.fit(X, Y, verbose=0)
    assert kernel(model) == kernel(plain)


def test_data_set_that_does_not_know_its_length():
    class Unknown:
        def __len__(self):
            raise TypeError("the length is unknown")

        def __iter__(self):
            yield X, Y

    assert len(made().fit(Unknown(), epochs=2, verbose=0).epoch) == 2


class Watched(lamina.layers.Layer):
    """Reads numbers, which no compiled code can."""

    def call(self, x):
        return x * float(np.asarray(x).max())

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.parametrize("where", ["layer", "compile", "step"])
def test_what_cannot_be_compiled_runs_as_it_is_written(where):
    class Own(lamina.Model):
        def train_step(self, data):
            seen.append(float(data[0].max()))
            return {"loss": 0.0}

    seen = []
    inputs = lamina.Input((3,))
    if where == "step":
        model = Own(inputs, inputs * 2)
    else:
        layer = Watched()
        layer.supports_jit = where != "layer"
        model = lamina.Model(inputs, layer(inputs))
    model.compile("sgd", "mse", jit_compile="auto" if where == "layer" else False)
    x = np.arange(12.0, dtype="float32").reshape(4, 3)
    if where == "step":
        model.fit(x, x, batch_size=2, shuffle=False, verbose=0)
        assert seen == [5.0, 11.0]
        return
    expected = np.concatenate([x[:2] * 5, x[2:] * 11])
    np.testing.assert_allclose(model.predict(x, 2, verbose=0), expected)
    found = model.evaluate(x, x, 2, verbose=0)
    np.testing.assert_allclose(found, np.mean((expected - x) ** 2), rtol=1e-5)


def test_layers_of_ours_are_compiled_whatever_jit_compile_says(monkeypatch):
    model = made()
    model.compile("sgd", "mse", metrics=["mae"], jit_compile=False)
    assert not step.runs_eagerly(model)
    model.compile("sgd", lambda y, p: (y - p) ** 2, jit_compile=False)
    assert step.runs_eagerly(model)
    model.compile("sgd", lambda y, p: (y - p) ** 2, steps_per_execution=3)
    assert (step.runs_eagerly(model), model.steps_per_execution) == (False, 3)


def test_a_function_that_nothing_calls_is_told():
    class Own(lamina.Sequential):
        def make_train_function(self, force=False):
            return None

    with pytest.warns(UserWarning, match=r"Own.make_train_function.*`train_step`"):
        made(cls=Own)
