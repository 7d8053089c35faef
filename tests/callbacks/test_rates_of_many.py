"""Learning rates of a `MultiOptimizer`: each is set, and logged under a name."""

import keras
import numpy as np
import pytest

import lamina

X, Y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")


def fitted(library, make):
    optimizers, layers = library.optimizers, library.layers
    first = optimizers.SGD(0.1, name="a")
    second = optimizers.SGD(0.01, name="b")
    chosen = optimizers.OptimizerMap(second, {".*d1/.*": first})
    model = library.Sequential([layers.Dense(1, name="d1"), layers.Dense(1, name="d2")])
    model.compile(optimizers.MultiOptimizer(chosen), "mse")
    callback = make(library.callbacks)
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[callback]).history
    logged = {k: v for k, v in history.items() if k != "loss"}
    return logged, [float(np.asarray(o.learning_rate)) for o in (first, second)]


@pytest.mark.parametrize(
    "make",
    [
        lambda k: k.LearningRateScheduler(lambda epoch, rate: rate * 0.5),
        lambda k: k.ReduceLROnPlateau(
            "loss", factor=0.5, patience=1, min_delta=100.0, min_lr=0.004
        ),
    ],
)
def test_each_rate_is_that_of_keras(make):
    ours, theirs = fitted(lamina, make), fitted(keras, make)
    assert ours == theirs
