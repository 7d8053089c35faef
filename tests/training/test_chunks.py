"""Several steps in one call give, bit for bit, what single steps give."""

import jax
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.data import ArraySource
from lamina.training import drive
from lamina.training.step import StateVariables
from tests.training.runs import Own

ROWS = 44  # 5 batches of 8 and one of 4


def dense():
    return [layers.Input((6,)), layers.Dense(5, "tanh"), layers.Dense(2)]


def noisy():
    return [
        layers.Input((6,)),
        layers.GaussianNoise(0.1),
        layers.Dense(8, kernel_regularizer="l2"),
        layers.BatchNormalization(),
        layers.Dropout(0.3),
        layers.Dense(2),
    ]


def convolution():
    return [
        layers.Input((9, 9, 1)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.DepthwiseConv2D(3),
        layers.Flatten(),
        layers.Dense(2),
    ]


def recurrent():
    return [
        layers.Input((7,), dtype="int32"),
        layers.Embedding(9, 4, mask_zero=True),
        layers.Bidirectional(layers.GRU(3, return_sequences=True)),
        layers.LSTM(4),
        layers.LayerNormalization(),
        layers.Dense(2),
    ]


def halves():
    return [layers.Input((6,)), layers.Dense(5, dtype="mixed_float16"), layers.Dense(2)]


MODELS = {
    "dense": (dense, "adam"),
    "noisy": (noisy, "rmsprop"),
    "convolution": (convolution, "sgd"),
    "recurrent": (recurrent, "nadam"),
    "halves": (halves, "scaled"),
    "averages": (dense, "ema"),
}


def optimizer(name):
    if name == "scaled":
        return lamina.optimizers.LossScaleOptimizer(lamina.optimizers.Adam())
    if name == "ema":
        return lamina.optimizers.SGD(0.01, use_ema=True, ema_overwrite_frequency=4)
    return name


class EachBatch(lamina.callbacks.Callback):
    """Listens, so that steps are run one by one."""

    def on_train_batch_end(self, batch, logs=None):
        pass

    def on_test_batch_end(self, batch, logs=None):
        pass


def train(name, singly, cls=lamina.Sequential, **settings):
    parts, how = MODELS[name]
    lamina.utils.set_random_seed(5)
    model = cls(parts())
    model.compile(optimizer(how), "mse", metrics=["mae"])
    random = np.random.default_rng(0)
    shape = (ROWS, *model.input_shape[1:])
    x = random.normal(size=shape).astype("float32")
    if name == "recurrent":
        x = random.integers(0, 9, shape)
    y = random.normal(size=(ROWS, 2)).astype("float32")
    settings = {"batch_size": 8, "epochs": 2, **settings}
    settings["callbacks"] = [EachBatch()] if singly else []
    history = model.fit(x, y, verbose=0, **settings).history
    return history, [np.asarray(v).tolist() for v in model.variables]


@pytest.mark.parametrize("name", MODELS)
def test_same_bits(name):
    assert train(name, singly=False) == train(name, singly=True)


def test_same_bits_of_evaluation():
    settings = {"validation_split": 0.5}
    one = train("noisy", singly=False, **settings)
    assert one == train("noisy", singly=True, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"shuffle": False},
        {"shuffle": "batch"},
        {"steps_per_epoch": 4},
        {"batch_size": 100},
        {"batch_size": 1},
        {"batch_size": 11},
    ],
    ids=str,
)
def test_same_bits_of_any_batches(settings):
    one = train("dense", singly=False, **settings)
    assert one == train("dense", singly=True, **settings)


def test_same_bits_of_a_step_of_ones_own():
    settings = {"cls": Own}
    one = train("dense", singly=False, **settings)
    assert one == train("dense", singly=True, **settings)
    assert list(one[0]) == ["own"]


@pytest.mark.parametrize("span", [0, 1e3])
def test_however_many_steps_run_in_a_call(span, monkeypatch):
    expected = train("noisy", singly=True)
    monkeypatch.setattr(drive, "_SPAN", span)
    assert train("noisy", singly=False) == expected


def kind(model, x, y, batch_size):
    """Return how a model's steps are run."""
    model.compile("sgd", "mse")
    model.fit(x[:1], y[:1], verbose=0)
    source = ArraySource(x, y, None, batch_size, False, None)
    variables = StateVariables(model)
    rules = {"donate": False, "single": False}
    with drive.chunks(model, "train", variables, source, **rules) as made:
        return type(made).__name__


def test_which_steps_run_in_one_call():
    x, y = np.ones((64, 6), "float32"), np.ones((64, 2), "float32")
    assert kind(lamina.Sequential(dense()), x, y, 8) == "InRows"
    assert kind(lamina.Sequential(dense()), x, y, 32) == "Grouped"
    wide = np.ones((64, 60000), "float32")
    layer = layers.Dense(2, kernel_initializer="zeros")
    assert kind(lamina.Sequential([layer]), wide, y, 8) == "Grouped"


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about CPUs")
def test_a_convolution_that_no_layer_tells_of():
    class Hidden(layers.Layer):
        def call(self, x):
            return lamina.ops.conv(lamina.ops.stack([x, x], -1), np.ones((3, 2, 2)))

    x, y = np.ones((64, 6), "float32"), np.ones((64, 4, 2), "float32")
    assert kind(lamina.Sequential([layers.Dense(6), Hidden()]), x, y, 8) == "Grouped"


def test_batches_of_a_call_are_those_one_by_one():
    x = np.arange(48, dtype="float32").reshape(12, 4)
    model = lamina.Sequential([layers.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, x[:, :1], verbose=0)
    source = ArraySource(x, x[:, :1], None, 2, False, None)
    rules = {"donate": False, "single": False}
    with drive.chunks(model, "train", StateVariables(model), source, **rules) as made:
        seen = [batch for part in made for batch in part.batches()]
    assert type(made).__name__ == "InRows"
    np.testing.assert_array_equal(np.concatenate([b[0] for b in seen]), x)
    assert all(b[0].shape == (2, 4) and b[2] is None for b in seen)


def test_arrays_changed_between_epochs():
    """What a callback does to the data in place is seen by the next epoch."""

    def run(*more):
        x, y = np.ones((16, 2), "float32"), np.ones((16, 1), "float32")

        def change(epoch, logs):
            x[...] = 10.0 * (epoch + 1)

        lamina.utils.set_random_seed(1)
        model = lamina.Sequential([layers.Input((2,)), layers.Dense(1)])
        model.compile(lamina.optimizers.SGD(1e-4), "mse")
        hook = lamina.callbacks.LambdaCallback(on_epoch_end=change)
        callbacks = [hook, *more]
        return model.fit(x, y, 8, epochs=3, verbose=0, callbacks=callbacks).history

    assert run() == run(EachBatch())


@pytest.mark.parametrize("frequency", [3, np.int64(3)])
def test_callbacks_that_count_batches_are_heard(tmp_path, frequency):
    """A snapshot every third batch comes every third batch."""
    stored = []

    class Counting(lamina.callbacks.BackupAndRestore):
        def store(self, state, callbacks, **place):
            stored.append(place["step"])
            super().store(state, callbacks, **place)

    lamina.utils.set_random_seed(1)
    model = lamina.Sequential(dense())
    model.compile("sgd", "mse")
    x, y = np.ones((64, 6), "float32"), np.ones((64, 2), "float32")
    keep = Counting(tmp_path, save_freq=frequency)
    model.fit(x, y, 8, epochs=1, verbose=0, callbacks=[keep])
    assert stored[:2] == [3, 6]
