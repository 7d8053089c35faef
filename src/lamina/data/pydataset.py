"""Data sets that users write: batches by index. Nothing here imports JAX."""

import contextlib
import itertools
import random
from collections.abc import Iterator

import numpy as np

from lamina import _generators


class PyDataset:
    """Batches that a class of yours makes, one for each index.

    Write `__getitem__`, which returns the batch of an index as `(x,)`, `(x, y)` or
    `(x, y, sample_weight)`, and `__len__` (or the property `num_batches`, None for
    data without end), and give the object to `fit`, `evaluate` or `predict`.

    Whatever the number of workers, batches come in order and training is the same
    bit for bit. For that, `random` and `numpy.random` are seeded anew for each item
    that draws from them, and for `on_epoch_end`. Threads share these generators, so
    with threads draw from a generator of your own, seeded by the index.

    Args:
        workers: how many items are made at once; 0 or 1 without processes makes
            them where they are needed.
        use_multiprocessing: make them in processes instead of threads. The class
            must then be importable (defined at the top of a module) and its
            attributes picklable.
        max_queue_size: how many items may be asked for ahead of their use.

    >>> import lamina, numpy as np
    >>> class Squares(lamina.utils.PyDataset):
    ...     def __len__(self):
    ...         return 2
    ...     def __getitem__(self, index):
    ...         x = np.arange(3) + 3 * index
    ...         return x, x**2
    >>> [y.tolist() for x, y in Squares(workers=2)]
    [[0, 1, 4], [9, 16, 25]]
    """

    workers = 1
    use_multiprocessing = False
    max_queue_size = 10

    def __init__(
        self,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
    ):
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index):
        raise NotImplementedError(
            f"`{type(self).__name__}` needs a method `__getitem__(self, index)` that "
            "returns the batch of an index."
        )

    def __iter__(self) -> Iterator:
        try:
            length = self.num_batches
        except NotImplementedError:
            length = None
        indices = itertools.count() if length is None else range(length)
        return (self[index] for index in indices)

    @property
    def num_batches(self) -> int | None:
        """The number of batches, or None when there is no end."""
        if hasattr(self, "__len__"):
            return len(self)  # type: ignore[arg-type]
        raise NotImplementedError(
            f"`{type(self).__name__}` needs `__len__`, or the property `num_batches`, "
            "which may be None for data without end."
        )

    def on_epoch_begin(self):
        """Do what is needed before the first batch of an epoch."""

    def on_epoch_end(self):
        """Do what is needed after the last batch of an epoch, such as a new order."""


@contextlib.contextmanager
def drawing(seed: int):
    """Seed the global generators for a while; then they are as they were before.

    Yields:
        A function that tells whether somebody has drawn from them.
    """
    with _generators.lock:
        before = random.getstate(), np.random.get_state(legacy=False)
        random.seed(seed)
        np.random.seed(seed)
        fresh = random.getstate(), _place()
        try:
            yield lambda: (random.getstate(), _place()) != fresh
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


def _place():
    return [np.asarray(part).tobytes() for part in np.random.get_state()]


def fetch(dataset, index: int, seed: int | None):
    """Return an item; an exception gets a note that tells which.

    Args:
        dataset: what has the items.
        index: which one.
        seed: seeds the global generators for this item; None leaves them alone.
    """
    try:
        with contextlib.nullcontext() if seed is None else drawing(seed):
            return dataset[index]
    except Exception as error:
        error.add_note(f"It was item {index} of `{type(dataset).__name__}`.")
        raise
