"""Getting data ready with Lamina, and with Keras on TensorFlow, which is tf.data."""

import importlib
import os

import data
import numpy as np

k = importlib.import_module(os.environ["BENCH_PACKAGE"])


def images():
    files = k.utils.image_dataset_from_directory(
        data.FOLDER / "images",
        image_size=(data.SIDE, data.SIDE),
        batch_size=data.BATCH,
        verbose=False,
    )
    return data.IMAGES, passes(files)


def text_adapt():
    texts = data.texts()
    return len(texts), lambda: k.layers.TextVectorization(20_000).adapt(texts)


def text():
    texts = data.texts()
    layer = k.layers.TextVectorization(20_000, output_sequence_length=20)
    layer.adapt(texts)
    return len(texts), lambda: np.asarray(layer(texts))


def lookup():
    words = data.words(300_000, 10_000)
    layer = k.layers.StringLookup(vocabulary=sorted(set(words)))
    return len(words), lambda: np.asarray(layer(words))


def normalization():
    rows = np.random.default_rng(0).normal(size=(200_000, 20)).astype("float32")
    return len(rows), lambda: k.layers.Normalization().adapt(rows)


def windows():
    series = np.random.default_rng(0).normal(size=(20_000, 8)).astype("float32")
    made = k.utils.timeseries_dataset_from_array(
        series, series[24:, 0], sequence_length=24, batch_size=64
    )
    return len(series) - 24, passes(made)


def augmentation():
    pixels = np.random.default_rng(0).uniform(0, 255, (128, 64, 64, 3))
    change = k.Sequential(
        [
            k.layers.RandomFlip(),
            k.layers.RandomRotation(0.1),
            k.layers.RandomZoom(0.1),
        ]
    )
    pixels = pixels.astype("float32")
    return len(pixels), lambda: np.asarray(change(pixels, training=True))


def passes(batches):
    """Return a function that goes over all batches, as arrays."""

    def run():
        for x, y in batches:
            np.asarray(x), np.asarray(y)

    return run


def task(name):
    """Return how many things a run makes ready, and the run."""
    return globals()[name.replace("-", "_")]()
