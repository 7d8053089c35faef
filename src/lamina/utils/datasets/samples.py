"""A data set of samples that can be taken by their rows."""

import copy
from collections.abc import Callable

import numpy as np

from lamina.core.checks import positive_int
from lamina.utils.datasets.dataset import Dataset, Order, each


class Samples(Dataset):
    """Samples in batches, in a new order for each pass when they are shuffled.

    Args:
        take: returns the batch of an array of rows; picklable, if worker processes
            are to use it.
        count: the number of samples.
        batch_size: samples in a batch, of which the last may have fewer; None gives
            samples one by one, without an axis for the batch.
        shuffle: whether each pass has its own order.
        seed: from which the orders follow; drawn from NumPy when None.
        workers: threads that take batches ahead of their use.

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
        self.take_rows = take
        self._drop = False
        seed = int(np.random.randint(10**6)) if seed is None else seed
        self._shuffled = _Shuffled(seed) if shuffle else None
        self._order = Order()

    @property
    def _count(self):
        size = self.batch_size or 1
        return self.count // size if self._drop else -(-self.count // size)

    @property
    def batched(self):
        """Whether an element is a batch."""
        return self.batch_size is not None

    def _at(self, index, turn):
        size = self.batch_size or 1
        rows = np.arange(index * size, min((index + 1) * size, self.count))
        if self._shuffled is not None:
            rows = self._order.of(turn, self._shuffled, self.count)[rows]
        batch = self.take_rows(rows)
        return batch if self.batched else each(lambda column: column[0], batch)

    def batch(self, batch_size: int, drop_remainder: bool = False):
        """Return a data set of batches, see `Dataset.batch`."""
        if self.batched:
            return super().batch(batch_size, drop_remainder)
        other = copy.copy(self)
        other.batch_size = positive_int("Dataset.batch", "batch_size", batch_size)
        other._drop = drop_remainder
        return other

    def unbatch(self):
        """Return the samples one by one."""
        if self._drop:
            return super().unbatch()
        other = copy.copy(self)
        other.batch_size = None
        return other

    def part(self, rows) -> "Samples":
        """Return a data set of some of the rows, as they are stored."""
        other = copy.copy(self)
        other.take_rows = _Part(self.take_rows, np.asarray(rows))
        other.count, other._order = len(rows), Order()
        if self.file_paths is not None:
            other.file_paths = [self.file_paths[row] for row in rows]
        return other


class _Shuffled:
    """Makes the order of a pass."""

    def __init__(self, seed):
        self._seed = seed

    def __call__(self, turn, count):
        return np.random.default_rng((self._seed, turn)).permutation(count)


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
        return each(lambda column: column[rows], self.arrays)
