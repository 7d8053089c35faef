"""Sources of batches: arrays in memory, and anything that yields batches."""

import itertools

import jax
import numpy as np

from lamina.core import structure
from lamina.data.arrays import as_arrays, count_rows, unpack


def open_source(
    x,
    y=None,
    sample_weight=None,
    *,
    batch_size=None,
    shuffle=False,
    steps=None,
    seed=None,
):
    """Return a source of `(x, y, sample_weight)` batches for whatever came in.

    Args:
        x: arrays or frames in any structure, or something that yields batches.
        y: targets, likewise; not with something that yields batches.
        sample_weight: weights, likewise.
        batch_size: rows in one batch; 32 when None.
        shuffle: whether rows come in a new order each epoch.
        steps: batches in one epoch; None means all there are.
        seed: the first seed of the order of rows.

    Raises:
        ValueError: different numbers of rows, no rows, or arguments that do not go
            together.
    """
    if _yields_batches(x):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise ValueError(
                    f"When `x` yields batches, `{name}` comes with them and must not "
                    f"be given. Received: x={type(x).__name__}, "
                    f"{name}={type(value).__name__}"
                )
        return IterableSource(x, steps)
    x = as_arrays(x, "x")
    y = as_arrays(y, "y")
    sample_weight = as_arrays(sample_weight, "sample_weight")
    return ArraySource(x, y, sample_weight, batch_size, shuffle, steps, seed)


def _yields_batches(x):
    if x is None or isinstance(x, (list, tuple, dict, np.ndarray, jax.Array)):
        return False
    if hasattr(x, "__array__") or hasattr(x, "to_numpy") or hasattr(x, "dtypes"):
        return False
    return (
        hasattr(x, "__iter__")
        or hasattr(x, "__next__")
        or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))
    )


class ArraySource:
    """Batches of rows of arrays in memory.

    Attributes:
        rows: the number of rows.
        batch_size: rows in one batch; the last may have fewer.
        batches: batches in one epoch.
    """

    def __init__(self, x, y, sample_weight, batch_size, shuffle, steps, seed=None):
        self.rows = count_rows(x, y, sample_weight)
        batch_size = 32 if batch_size is None else batch_size
        whole = hasattr(batch_size, "__index__") and not isinstance(batch_size, bool)
        if not whole or batch_size <= 0:
            raise ValueError(
                f"`batch_size` must be a positive integer. Received: {batch_size!r}"
            )
        self.arrays = (x, y, sample_weight)
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.all_batches = -(-self.rows // self.batch_size)
        self.batches = self.all_batches if steps is None else int(steps)
        self._random = np.random.default_rng(seed)
        self._left = None

    def order(self):
        """Return the rows of one epoch in order, or None for as they are."""
        if not self.shuffle:
            return None
        if self.shuffle == "batch":
            # A shorter last batch stays the last, so that each keeps its own rows.
            whole = self.rows // self.batch_size
            starts = self._random.permutation(whole) * self.batch_size
            parts = starts[:, None] + np.arange(self.batch_size)
            rest = np.arange(whole * self.batch_size, self.rows)
            return np.concatenate([parts.ravel(), rest])
        return self._random.permutation(self.rows)

    def _endless(self):
        while True:
            yield from self._pass()

    def _pass(self):
        order = self.order()
        for start in range(0, self.rows, self.batch_size):
            stop = min(start + self.batch_size, self.rows)
            yield self.take(slice(start, stop) if order is None else order[start:stop])

    def take(self, rows):
        """Return the batch of some rows: a slice or an array of indices."""
        return structure.map_leaves(
            lambda a: None if a is None else a[rows], self.arrays
        )

    def epoch(self):
        """Yield the batches of one epoch."""
        if self.batches >= self.all_batches:
            yield from self._pass()
            return
        # `steps_per_epoch`: an epoch ends in the middle of the data, and the next
        # one goes on from there.
        if self._left is None:
            self._left = self._endless()
        yield from itertools.islice(self._left, self.batches)

    def first(self):
        """Return a batch like those of an epoch, without moving on."""
        return self.take(slice(0, min(self.batch_size, self.rows)))


class IterableSource:
    """Batches from an iterable, an iterator, or indexable data sets.

    Attributes:
        batches: batches in one epoch, or None until an epoch has ended.
        batch_size: rows in the first batch.
    """

    rows = None
    arrays = None

    def __init__(self, iterable, steps):
        self._iterable = iterable
        self._steps = steps
        self._is_iterator = hasattr(iterable, "__next__")
        self._running = None
        self._peeked = None
        self.batches = steps
        if steps is None and hasattr(iterable, "__len__"):
            self.batches = len(iterable)
        if steps is None and getattr(iterable, "num_batches", None) is not None:
            self.batches = iterable.num_batches
        self.batch_size = None

    def _begin(self):
        if self._is_iterator:
            return self._iterable
        if not hasattr(self._iterable, "__iter__") or _is_dataset(self._iterable):
            length = self.batches if self.batches is not None else len(self._iterable)
            return (self._iterable[i] for i in range(length))
        return iter(self._iterable)

    def _convert(self, batch, step):
        names = ("x", "y", "sample_weight")
        parts = tuple(
            as_arrays(v, f"{name} of batch {step}")
            for name, v in zip(names, unpack(batch), strict=True)
        )
        # JAX reads a NumPy array later, when a generator may have filled it again.
        return structure.map_leaves(
            lambda a: a.copy() if isinstance(a, np.ndarray) else a, parts
        )

    def first(self):
        """Return the first batch of the coming epoch, which will still yield it.

        Raises:
            ValueError: there is none.
        """
        if self._peeked is None:
            self._running = self._running or self._begin()
            try:
                self._peeked = self._convert(next(self._running), 0)
            except StopIteration:
                self._running = None
                raise ValueError(
                    "The data set is empty: it yielded no batch. (A generator that was "
                    "run through once is empty afterwards; pass a new one, or an "
                    "object that can be iterated again.)"
                ) from None
            leaves = [a for a in structure.flatten(self._peeked[0]) if a is not None]
            self.batch_size = leaves[0].shape[0] if leaves and leaves[0].ndim else None
        return self._peeked

    def epoch(self):
        """Yield the batches of one epoch."""
        count = 0
        running = self._running or self._begin()
        self._running = None
        while self._steps is None or count < self._steps:
            if self._peeked is not None:
                batch, self._peeked = self._peeked, None
            else:
                try:
                    batch = self._convert(next(running), count)
                except StopIteration:
                    break
            yield batch
            count += 1
        else:
            # A source longer than the epoch goes on where it is.
            self._running = running
        if self._steps is None and self.batches is None:
            self.batches = count
        end = getattr(self._iterable, "on_epoch_end", None)
        if callable(end):
            end()


def _is_dataset(x):
    """Tell data sets that are indexed by batch, such as `PyDataset`."""
    return (
        hasattr(x, "__getitem__")
        and hasattr(x, "__len__")
        and hasattr(x, "on_epoch_end")
    )


def split(x, y, sample_weight, share):
    """Split arrays in two: the last `share` of the rows is the second part.

    Raises:
        ValueError: `share` is not between 0 and 1, or a part would be empty.
    """
    if not 0 < share < 1:
        raise ValueError(
            "`validation_split` must be between 0 and 1, excluding both. Received: "
            f"validation_split={share}"
        )
    if _yields_batches(x):
        raise ValueError(
            "`validation_split` needs arrays. For data that yields batches, give "
            "`validation_data`."
        )
    parts = tuple(
        as_arrays(v, name)
        for name, v in (("x", x), ("y", y), ("sample_weight", sample_weight))
    )
    rows = count_rows(*parts)
    at = int(np.floor(rows * (1 - share)))
    if at == 0 or at == rows:
        raise ValueError(
            f"Training data contains {rows} samples, which is not sufficient to split "
            f"it into a training and a validation part with validation_split={share}. "
            "Give more data or another share."
        )

    def cut(rows):
        return tuple(
            structure.map_leaves(lambda a: None if a is None else a[rows], part)
            for part in parts
        )

    return cut(slice(0, at)), cut(slice(at, None))
