"""What the data sets share: where their files are, splits, and sequences of words."""

import pathlib

import numpy as np

from lamina.core import settings
from lamina.datasets.pickled import read
from lamina.utils.files import get_file

STORE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"


def stored(name, file_hash, path=None):
    """Return the path of a file of the common store, under `path` in the cache."""
    return get_file(path or name, origin=STORE + name, file_hash=file_hash)


def split_table(path, test_split, seed, rows=None):
    """Return a table's shuffled rows and targets, those for training first.

    Args:
        path: an `.npz` file with arrays `x` and `y`.
        test_split: the share of the rows that is kept for testing.
        seed: what the order of the rows is drawn from.
        rows: how many rows to take, or None for all.

    Raises:
        ValueError: `test_split` is not between 0 and 1.
    """
    with np.load(path, allow_pickle=False) as file:
        x, y = file["x"][:rows], file["y"][:rows]
    order = shuffled(len(x), seed)
    cut = int(len(x) * (1 - check_split(test_split)))
    first, rest = order[:cut], order[cut:]
    return (x[first], y[first]), (x[rest], y[rest])


def check_split(test_split):
    """Return a share of test rows; ValueError unless it is in [0, 1)."""
    if not 0 <= test_split < 1:
        raise ValueError(
            "`load_data` expected `test_split` to be 0 or more, and less than 1. "
            f"Received: test_split={test_split!r}"
        )
    return test_split


def shuffled(count, seed):
    """Return the numbers below `count`, shuffled by a seed or a generator."""
    random = seed if hasattr(seed, "shuffle") else np.random.RandomState(seed)
    order = np.arange(count)
    random.shuffle(order)
    return order


def shifted(texts, start_char, index_from):
    """Return lists of word numbers moved by `index_from`, after a start number."""
    start = [] if start_char is None else [start_char]
    shift = index_from or 0
    return [start + [word + shift for word in text] for text in texts]


def shorter(texts, labels, maxlen):
    """Return the texts shorter than `maxlen`, and their labels.

    Raises:
        ValueError: there is none.
    """
    if not maxlen:
        return texts, labels
    kept = [i for i, text in enumerate(texts) if len(text) < maxlen]
    if not kept:
        raise ValueError(
            f"No text is shorter than `maxlen`: maxlen={maxlen}. Increase it."
        )
    return [texts[i] for i in kept], labels[kept]


def limited(texts, num_words, skip_top, oov_char):
    """Return an object array of lists in which rare and common words are replaced.

    Args:
        texts: lists of word numbers.
        num_words: numbers from here on are replaced; when None, the largest is.
        skip_top: numbers below it are replaced.
        oov_char: by what; None leaves them out.
    """
    end = num_words or max(map(max, texts))
    found = np.empty(len(texts), object)
    for i, text in enumerate(texts):
        if oov_char is None:
            found[i] = [word for word in text if skip_top <= word < end]
        else:
            found[i] = [w if skip_top <= w < end else oov_char for w in text]
    return found


def cifar(name, file_hash, parts, labels):
    """Return images and labels of each part of a CIFAR archive.

    Args:
        name: the archive's name, without its ending.
        file_hash: its SHA256.
        parts: lists of file names, one list for each part.
        labels: the key of the labels in each file.

    Returns:
        For each part a pair of uint8 arrays: images `(n, 32, 32, 3)`, or
        `(n, 3, 32, 32)` where `image_data_format()` is `"channels_first"`, and labels
        `(n, 1)`.
    """
    inner = "cifar-10-batches-py" if name == "cifar-10-python" else name
    folder = get_file(
        f"{inner}-target",
        origin=f"https://www.cs.toronto.edu/~kriz/{name}.tar.gz",
        extract=True,
        file_hash=file_hash,
    )
    found = []
    for files in parts:
        batches = [read(pathlib.Path(str(folder), inner, file)) for file in files]
        x = np.concatenate([batch[b"data"] for batch in batches])
        x = x.astype("uint8").reshape(-1, 3, 32, 32)
        if settings.get("image_data_format") == "channels_last":
            x = x.transpose(0, 2, 3, 1)
        y = np.concatenate([batch[labels.encode()] for batch in batches])
        found.append((x, y.astype("uint8").reshape(-1, 1)))
    return tuple(found)
