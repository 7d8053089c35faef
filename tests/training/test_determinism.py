"""Two trainings with one seed are the same, bit for bit, however data are prepared."""

import numpy as np
import pytest

import lamina
from lamina import layers

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(0, 255, (24, 6, 6, 3)).astype("float32")
LABELS = RANDOM.integers(0, 3, 24)


class Rows(lamina.utils.PyDataset):
    """Draws a different noise for each item, from NumPy's shared generator."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        x = IMAGES[4 * index : 4 * index + 4]
        return x + np.random.normal(size=x.shape), LABELS[4 * index : 4 * index + 4]


class PlainRows(Rows):
    def __getitem__(self, index):
        return IMAGES[4 * index : 4 * index + 4], LABELS[4 * index : 4 * index + 4]


def train(x, y=None, **more):
    """Return all that training leaves behind."""
    lamina.utils.set_random_seed(5)
    model = lamina.Sequential(
        [
            layers.Input((6, 6, 3)),
            layers.RandomFlip("horizontal"),
            layers.RandomContrast(0.3),
            layers.GaussianNoise(1.0),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(3),
        ]
    )
    loss = lamina.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    history = model.fit(x() if callable(x) else x, y, epochs=2, verbose=0, **more)
    variables = [*model.variables, *model.optimizer.variables]
    return history.history, [np.asarray(v).tolist() for v in variables]


@pytest.fixture(scope="module")
def expected():
    return train(PlainRows)


def test_same_script_twice():
    assert train(IMAGES, LABELS, batch_size=4) == train(IMAGES, LABELS, batch_size=4)


@pytest.mark.parametrize(
    ("workers", "processes"), [(0, False), (1, False), (3, False), (2, True)]
)
def test_any_number_of_workers(expected, workers, processes):
    made = PlainRows(workers=workers, use_multiprocessing=processes)
    assert train(lambda: made) == expected


def test_items_that_draw():
    here = train(Rows)
    assert train(Rows) == here
    assert train(lambda: Rows(workers=2, use_multiprocessing=True)) == here


def test_another_seed_is_another_training(expected):
    def seeded():
        lamina.utils.set_random_seed(6)  # of the order of batches
        return PlainRows()

    assert train(seeded) != expected
