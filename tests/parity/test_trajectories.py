"""Fifty steps of training beside real Keras: the same losses, the same weights.

Dropout off, rows in order, the same first weights. What differs at all is the order
in which floats are added.
"""

import keras
import numpy as np
import pytest

import lamina

STEPS, BATCH = 50, 8


def dense(k):
    layers = k.layers
    return k.Sequential(
        [
            k.Input((6,)),
            layers.Dense(12, activation="tanh", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def convolutional(k):
    layers = k.layers
    return k.Sequential(
        [
            k.Input((8, 8, 2)),
            layers.Conv2D(4, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(),
            layers.Conv2D(6, 3, strides=2),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def recurrent(k):
    layers = k.layers
    words = k.Input((7,), dtype="int32")
    x = layers.Embedding(20, 5, mask_zero=True)(words)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.GRU(5)(x)
    return k.Model(words, layers.Dense(3, activation="softmax")(x))


def rows(shape, words=False):
    random = np.random.default_rng(1)
    n = STEPS * BATCH
    if words:
        x = random.integers(0, 20, (n, *shape)).astype("int32")
        x[:, 0] = 3  # a row of padding alone is another story
    else:
        x = random.normal(size=(n, *shape)).astype("float32")
    labels = random.integers(0, 3, n)
    return x, np.eye(3, dtype="float32")[labels]


CASES = {
    "dense sgd": (dense, ((6,), False), "SGD", {"momentum": 0.9, "nesterov": True}),
    "dense adam": (dense, ((6,), False), "Adam", {"learning_rate": 0.01}),
    "convolutional adam": (convolutional, ((8, 8, 2), False), "Adam", {}),
    "recurrent rmsprop": (recurrent, ((7,), True), "RMSprop", {"clipnorm": 1.0}),
    "recurrent adamw": (recurrent, ((7,), True), "AdamW", {}),
}


@pytest.mark.parametrize("name", CASES)
def test_fifty_steps_as_keras(name):
    build, data, optimizer, settings = CASES[name]
    x, y = rows(*data)
    ours, theirs = build(lamina), build(keras)
    ours.set_weights(theirs.get_weights())
    runs = []
    for package, model in ((lamina, ours), (keras, theirs)):
        model.compile(
            getattr(package.optimizers, optimizer)(**settings),
            loss="categorical_crossentropy",
            metrics=["accuracy"],
        )
        losses = [
            model.train_on_batch(x[i : i + BATCH], y[i : i + BATCH], return_dict=True)
            for i in range(0, len(x), BATCH)
        ]
        runs.append(losses)
    for mine, real in zip(*runs, strict=True):
        assert mine.keys() == real.keys()
    np.testing.assert_allclose(
        [logs["loss"] for logs in runs[0]],
        [logs["loss"] for logs in runs[1]],
        atol=1e-4,
    )
    np.testing.assert_allclose(
        [logs["accuracy"] for logs in runs[0]], [logs["accuracy"] for logs in runs[1]],
        atol=1e-6,
    )  # fmt: skip
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def two_outputs(k):
    x = k.Input((6,), name="table")
    h = k.layers.Dense(8, activation="relu")(x)
    return k.Model(
        x,
        {
            "age": k.layers.Dense(1)(h),
            "mood": k.layers.Dense(3, activation="softmax")(h),
        },
    )


def test_fit_with_everything_as_keras():
    """`fit`, `evaluate`, `predict` with weights per output, validation and names."""
    random = np.random.default_rng(2)
    x = random.normal(size=(40, 6)).astype("float32")
    y = {
        "age": random.normal(size=(40, 1)).astype("float32"),
        "mood": random.integers(0, 3, 40),
    }
    weights = {
        "age": random.uniform(0.5, 2, 40).astype("float32"),
        "mood": random.uniform(0.5, 2, 40).astype("float32"),
    }
    ours, theirs = two_outputs(lamina), two_outputs(keras)
    ours.set_weights(theirs.get_weights())
    results = []
    for model in (ours, theirs):
        model.compile(
            "sgd",
            loss={"age": "mse", "mood": "sparse_categorical_crossentropy"},
            loss_weights={"age": 0.3, "mood": 2.0},
            metrics={"age": ["mae"], "mood": ["accuracy"]},
            weighted_metrics={"age": ["mae"]},
        )
        history = model.fit(
            x, y, sample_weight=weights, batch_size=16, epochs=3, shuffle=False,
            validation_data=(x[:10], {k: v[:10] for k, v in y.items()}), verbose=0,
        )  # fmt: skip
        results.append(
            (
                history.history,
                model.evaluate(x, y, return_dict=True, verbose=0),
                model.evaluate(x, y, verbose=0),
                model.predict(x, verbose=0, batch_size=16),
            )
        )
    (h1, e1, l1, p1), (h2, e2, l2, p2) = results
    assert h1.keys() == h2.keys()
    for key in h2:
        np.testing.assert_allclose(h1[key], h2[key], rtol=1e-4, err_msg=key)
    assert e1.keys() == e2.keys()
    for key in e2:
        np.testing.assert_allclose(e1[key], e2[key], rtol=1e-4, err_msg=key)
    np.testing.assert_allclose(l1, l2, rtol=1e-4)
    for key in p2:
        np.testing.assert_allclose(p1[key], p2[key], rtol=1e-4, atol=1e-6)


def test_class_weight_and_split_as_keras():
    x, y = rows((6,))
    x, y = x[:60], y[:60]
    ours, theirs = dense(lamina), dense(keras)
    ours.set_weights(theirs.get_weights())
    histories = []
    for model in (ours, theirs):
        model.compile(
            "adam",
            "categorical_crossentropy",
            metrics=["accuracy", "AUC"],
            weighted_metrics=["accuracy"],
        )
        history = model.fit(
            x, y, class_weight={0: 1.0, 1: 3.0, 2: 0.5}, validation_split=0.25,
            epochs=2, batch_size=8, shuffle=False, verbose=0,
        )  # fmt: skip
        histories.append(history.history)
    assert histories[0].keys() == histories[1].keys()
    for key, values in histories[1].items():
        np.testing.assert_allclose(histories[0][key], values, rtol=1e-4, err_msg=key)


@pytest.mark.filterwarnings("ignore:Targets out of reach")
def test_loss_scaling_as_keras():
    """Half floats under a scale that overflows at first, shrinks, and grows again."""
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    begin, ends = None, []
    for package in (keras, lamina):
        package.utils.set_random_seed(1)
        stack = [package.layers.Dense(n, "tanh", dtype="mixed_float16") for n in (8, 1)]
        model = package.Sequential([package.Input((6,)), *stack])
        optimizer = package.optimizers.LossScaleOptimizer(
            package.optimizers.Adam(0.01), 2.0**30, dynamic_growth_steps=5
        )
        model.compile(optimizer, "mse")
        begin = begin or model.get_weights()
        model.set_weights(begin)
        fit = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0}
        losses = model.fit(x, 3 * x[:, :1], **fit).history["loss"]
        ends.append((model.get_weights(), losses, float(optimizer.dynamic_scale)))
    theirs, ours = ends
    assert ours[2] == theirs[2] == 2.0**14
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)
    for a, b in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
