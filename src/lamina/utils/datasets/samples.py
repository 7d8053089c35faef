"""A data set of samples that can be taken by their rows."""

import copy
from collections.abc import Callable

import numpy as np

from lamina.data.pydataset import PyDataset


class Samples(PyDataset):
    """Samples in batches, in a new order for each pass when they are shuffled.

    Args:
        take: returns the batch of an array of rows; picklable, if worker processes
            are to use it.
        count: the number of samples.
        batch_size: samples in a batch, of which the last may have fewer; None gives
            samples one by one, without an axis for the batch.
        shuffle: whether each pass has its own order.
        seed: from which the orders follow; drawn from NumPy when None.
        workers: threads that take batches ahead of their use in `fit`.

    Attributes:
        class_names: the names of the classes, or None.
        file_paths: the files of the samples, or None.

    >>> import numpy as np
    >>> from lamina.utils.datasets.samples import Rows, Samples
    >>> samples = Samples(Rows((np.arange(5), np.arange(5) ** 2)), 5, batch_size=3)
    >>> [y.tolist() for x, y in samples]
    [[0, 1, 4], [9, 16]]
    """

    def __init__(
        self,
        take: Callable,
        count: int,
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int | None = None,
        workers: int = 1,
    ):
        super().__init__(workers=workers)
        self.count = count
        self.batch_size = batch_size
        self.class_names: list[str] | None = None
        self.file_paths: list[str] | None = None
        self.take_rows = take
        self._shuffle = shuffle
        self._seed = int(np.random.randint(10**6)) if seed is None else seed
        self._pass = 0

    def __len__(self):
        return -(-self.count // (self.batch_size or 1))

    def __getitem__(self, index):
        return self._batch(self._order(), range(len(self))[index])

    def __iter__(self):
        order = self._order()
        self._pass += 1
        return (self._batch(order, index) for index in range(len(self)))

    def on_epoch_end(self):
        """Go on to the order of the next pass."""
        self._pass += 1

    def _order(self):
        if not self._shuffle:
            return np.arange(self.count)
        return np.random.default_rng((self._seed, self._pass)).permutation(self.count)

    def _batch(self, order, index):
        if self.batch_size is None:
            return each(lambda column: column[0], self.take_rows(order[[index]]))
        start = index * self.batch_size
        return self.take_rows(order[start : start + self.batch_size])

    def batch(self, batch_size: int) -> "Samples":
        """Return the same samples in batches of another size."""
        other = copy.copy(self)
        other.batch_size = batch_size
        return other

    def part(self, rows) -> "Samples":
        """Return a data set of some of the rows, as they are stored."""
        other = copy.copy(self)
        other.take_rows, other.count = (
            _Part(self.take_rows, np.asarray(rows)),
            len(rows),
        )
        if self.file_paths is not None:
            other.file_paths = [self.file_paths[row] for row in rows]
        return other


class _Part:
    def __init__(self, take, rows):
        self.take, self.rows = take, rows

    def __call__(self, rows):
        return self.take(self.rows[rows])


class Rows:
    """Takes rows of arrays in any structure."""

    def __init__(self, arrays):
        self.arrays = arrays

    def __call__(self, rows):
        """Return the batch of an array of rows."""
        """Return the batch of an array of rows."""
        return each(lambda column: column[rows], self.arrays)


def each(fn, value):
    """Apply `fn` to the leaves of tuples, lists and dicts."""
    if isinstance(value, dict):
        return type(value)((key, each(fn, item)) for key, item in value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(each(fn, item) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(each(fn, item) for item in value)
    return fn(value)
