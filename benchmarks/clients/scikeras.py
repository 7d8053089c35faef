"""scikeras: fit, parameters, a grid search, pickle."""

import pickle

import keras
import numpy as np
from scikeras.wrappers import KerasClassifier, KerasRegressor
from sklearn.model_selection import GridSearchCV

X = np.random.default_rng(0).normal(size=(60, 4))
LABELS = np.arange(60) % 3


def network(units=4, last=3, end="softmax"):
    layers = [keras.layers.Dense(units, "relu"), keras.layers.Dense(last, end)]
    return keras.Sequential([keras.Input((4,)), *layers])


def classifier():
    return KerasClassifier(
        network, loss="sparse_categorical_crossentropy", optimizer="adam", units=8,
        optimizer__learning_rate=0.05, epochs=3, verbose=0,
    )  # fmt: skip


def classify():
    return classifier().fit(X, LABELS).predict(X).shape


def regress():
    made = KerasRegressor(network, loss="mse", last=1, end=None, verbose=0)
    return made.fit(X, X[:, 0]).predict(X).shape


def search():
    found = GridSearchCV(classifier(), {"units": [2, 4]}, cv=2, refit=False)
    return sorted(found.fit(X, LABELS).best_params_)


def copy():
    made = classifier().fit(X, LABELS)
    again = pickle.loads(pickle.dumps(made))
    return bool((again.predict(X) == made.predict(X)).all())


CASES = (classify, regress, search, copy)
