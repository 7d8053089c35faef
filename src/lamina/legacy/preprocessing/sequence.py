"""Windows of time series, and pairs of words."""

import json
import random
from typing import Any

import numpy as np

from lamina.utils import PyDataset

__all__ = ["TimeseriesGenerator", "make_sampling_table", "skipgrams"]


class TimeseriesGenerator(PyDataset):
    """Batches of windows of a series, each with what comes after it.

    Args:
        data: the series, (steps, ...).
        targets: one for each step; that of a window is the one at its end.
        length: how many steps a window covers.
        sampling_rate: every how many of its steps are taken.
        stride: how many steps lie between the windows' begins.
        start_index: the first step that is used.
        end_index: the last one; None for all.
        shuffle: windows in random places, drawn by NumPy.
        reverse: windows run backwards.
        batch_size: windows in a batch.
        kwargs: see `PyDataset`.

    Raises:
        ValueError: `data` and `targets` differ in length, or no window fits.

    >>> import numpy as np
    >>> from lamina.legacy.preprocessing.sequence import TimeseriesGenerator
    >>> x, y = TimeseriesGenerator(np.arange(6), np.arange(6), length=2)[0]
    >>> x.tolist(), y.tolist()
    ([[0, 1], [1, 2], [2, 3], [3, 4]], [2, 3, 4, 5])
    """

    def __init__(
        self,
        data: Any,
        targets: Any,
        length: int,
        sampling_rate: int = 1,
        stride: int = 1,
        start_index: int = 0,
        end_index: int | None = None,
        shuffle: bool = False,
        reverse: bool = False,
        batch_size: int = 128,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if len(data) != len(targets):
            raise ValueError(
                "`data` and `targets` expected one length. Received: lengths "
                f"{len(data)} and {len(targets)}"
            )
        self.data, self.targets, self.length = data, targets, length
        self.sampling_rate, self.stride = sampling_rate, stride
        self.start_index = start_index + length
        self.end_index = len(data) - 1 if end_index is None else end_index
        self.shuffle, self.reverse, self.batch_size = shuffle, reverse, batch_size
        if self.start_index > self.end_index:
            raise ValueError(
                "`start_index + length` expected to be at most `end_index`, so that a "
                f"window fits. Received: {self.start_index} and {self.end_index}"
            )

    def __len__(self):
        span = self.batch_size * self.stride
        return (self.end_index - self.start_index + span) // span

    def __getitem__(self, index):
        first, end = self.start_index, self.end_index + 1
        if self.shuffle:
            ends = np.random.randint(first, end, size=self.batch_size)
        else:
            span = self.batch_size * self.stride
            first += span * index
            ends = range(first, min(first + span, end), self.stride)
        windows = [self.data[i - self.length : i : self.sampling_rate] for i in ends]
        x, y = np.array(windows), np.array([self.targets[i] for i in ends])
        return (x[:, ::-1] if self.reverse else x), y

    def get_config(self):
        """Return the settings and the data, as `to_json` writes them."""
        names = "length sampling_rate stride start_index end_index shuffle reverse"
        data = {
            name: json.dumps(np.asarray(getattr(self, name)).tolist())
            for name in ("data", "targets")
        }
        return data | {
            name: getattr(self, name) for name in (*names.split(), "batch_size")
        }

    def to_json(self, **kwargs):
        """Return it as a string.

        Args:
            kwargs: handed on to `json.dumps`.
        """
        return json.dumps(
            {"class_name": type(self).__name__, "config": self.get_config()}, **kwargs
        )


def make_sampling_table(size, sampling_factor=1e-5):
    """Return how likely each word is kept, by its rank, as word2vec does.

    `p = min(1, sqrt(sampling_factor / frequency))`, frequencies being Zipf's.

    Args:
        size: the number of words, the most frequent first.
        sampling_factor: smaller keeps less of the frequent words.

    >>> from lamina.legacy.preprocessing.sequence import make_sampling_table
    >>> make_sampling_table(4).round(4).tolist()
    [0.0032, 0.0032, 0.0055, 0.0074]
    """
    rank = np.arange(size)
    rank[0] = 1
    inverse = rank * (np.log(rank) + 0.577) + 0.5 - 1.0 / (12.0 * rank)
    share = sampling_factor * inverse
    return np.minimum(1.0, share / np.sqrt(share))


def skipgrams(
    sequence,
    vocabulary_size: int,
    window_size: int = 4,
    negative_samples: float = 1.0,
    shuffle: bool = True,
    categorical: bool = False,
    sampling_table=None,
    seed: int | None = None,
):
    """Return pairs of words near each other, with label 1, and random pairs, with 0.

    Draws come from Python's `random`.

    Args:
        sequence: numbers of words; 0 stands for no word.
        vocabulary_size: the number of words, 0 included.
        window_size: how far apart two words may be.
        negative_samples: random pairs for each true one.
        shuffle: mix the pairs.
        categorical: labels are `[0, 1]` and `[1, 0]` instead.
        sampling_table: how likely a word is kept: `make_sampling_table`.
        seed: the order's seed.

    Returns:
        A list of pairs, and a list of their labels.

    >>> from lamina.legacy.preprocessing.sequence import skipgrams
    >>> skipgrams([1, 2, 3], 4, window_size=1, negative_samples=0, shuffle=False)
    ([[1, 2], [2, 1], [2, 3], [3, 2]], [1, 1, 1, 1])
    """
    no, yes = ([1, 0], [0, 1]) if categorical else (0, 1)
    pairs = []
    for i, word in enumerate(sequence):
        if not word:
            continue
        if sampling_table is not None and sampling_table[word] < random.random():
            continue
        near = range(max(0, i - window_size), min(len(sequence), i + window_size + 1))
        pairs += [[word, sequence[j]] for j in near if j != i and sequence[j]]
    labels = [yes] * len(pairs)
    if negative_samples > 0:
        words = [word for word, _ in pairs]
        random.shuffle(words)
        for i in range(int(len(labels) * negative_samples)):
            other = random.randint(1, vocabulary_size - 1)
            pairs.append([words[i % len(words)], other])
            labels.append(no)
    if shuffle:
        seed = random.randint(0, 10**7) if seed is None else seed
        for mixed in (pairs, labels):
            random.seed(seed)
            random.shuffle(mixed)
    return pairs, labels
