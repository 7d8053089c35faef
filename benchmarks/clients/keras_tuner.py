"""keras-tuner: a real search by each of its tuners."""

import keras
import keras_tuner
import numpy as np

X = np.random.default_rng(0).normal(size=(32, 3))


def build(hp):
    keras.utils.set_random_seed(0)
    units = hp.Int("units", 2, 8, step=2)
    layers = [keras.layers.Dense(units, "relu"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    rate = hp.Float("rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "mse", metrics=["mae"])
    return model


def search(tuner, **settings):
    made = tuner(
        build, objective="val_loss", directory="tuned", project_name=tuner.__name__,
        overwrite=True, seed=0, **settings,
    )  # fmt: skip
    made.search(X, X[:, :1], epochs=2, validation_split=0.25, verbose=0)
    best = made.get_best_models(1)[0].predict(X, verbose=0).shape
    return best, sorted(made.get_best_hyperparameters()[0].values)


def random():
    return search(keras_tuner.RandomSearch, max_trials=2)


def hyperband():
    return search(keras_tuner.Hyperband, max_epochs=3)


def grid():
    return search(keras_tuner.GridSearch, max_trials=2)


def bayesian():
    return search(keras_tuner.BayesianOptimization, max_trials=3)


def sklearn():
    from sklearn import linear_model

    def ridge(hp):
        return linear_model.Ridge(alpha=hp.Float("alpha", 1e-3, 1.0, sampling="log"))

    oracle = keras_tuner.oracles.RandomSearchOracle(
        keras_tuner.Objective("score", "max"), max_trials=2, seed=0
    )
    made = keras_tuner.SklearnTuner(
        oracle, ridge, directory="tuned", project_name="ridge", overwrite=True
    )
    made.search(X, X[:, 0])
    return sorted(made.get_best_hyperparameters()[0].values)


CASES = (random, hyperband, grid, bayesian, sklearn)
