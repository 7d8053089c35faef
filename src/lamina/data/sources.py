"""Sources of batches: arrays in memory, and anything that yields batches."""

import contextlib
import itertools
import operator
import weakref
from collections import deque
from typing import Any

import jax
import numpy as np

from lamina.core import structure
from lamina.core.checks import is_integer
from lamina.core.placement import is_here
from lamina.core.sparse import refuse_sparse
from lamina.core.tracebacks import warn
from lamina.data.arrays import EmptyData, as_arrays, count_rows, digest, is_count
from lamina.data.indexed import (
    EMPTY,
    BatchLayout,
    IndexedSource,
    as_batch,
    described,
    endless,
    is_indexed,
    named,
    rows_of,
)
from lamina.data.worker import refuse_training

_MOST_KEPT = 2**28  # bytes of batches that are kept to come again


def open_source(
    x,
    y=None,
    sample_weight=None,
    *,
    batch_size=None,
    shuffle=False,
    steps=None,
    seed=None,
    restarts=False,
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
        restarts: whether each epoch begins at the first batch, though `steps` may have
            ended the one before in the middle of the data.

    Raises:
        EmptyData: there are no rows.
        ValueError: different numbers of rows, or arguments that do not go
            together.

    >>> import lamina, numpy as np
    >>> source = lamina.data.open_source(np.arange(5), batch_size=2)
    >>> [x.tolist() for x, _, _ in source.epoch()]
    [[0, 1], [2, 3], [4]]
    """
    refuse_training()
    if steps is not None and not (is_integer(steps) and steps > 0):
        raise ValueError(
            "The number of steps (`steps_per_epoch` or `validation_steps` in `fit`, "
            "`steps` elsewhere) must be a positive integer, or None for all there "
            f"are. Received: {steps!r}"
        )
    if _yields_batches(x):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise ValueError(
                    f"When `x` yields batches, `{name}` comes with them and must not "
                    f"be given. Received: x={type(x).__name__}, "
                    f"{name}={type(value).__name__}"
                )
        if is_indexed(x):
            return IndexedSource(x, shuffle, steps, seed, restarts)
        return IterableSource(x, steps, restarts)
    x = as_arrays(x, "x")
    y = as_arrays(y, "y")
    sample_weight = as_arrays(sample_weight, "sample_weight")
    return ArraySource(x, y, sample_weight, batch_size, shuffle, steps, seed, restarts)


def _yields_batches(x):
    given = (list, tuple, dict, str, bytes, np.ndarray, jax.Array)
    if x is None or isinstance(x, given):
        return False
    if hasattr(x, "__array__") or hasattr(x, "to_numpy") or hasattr(x, "dtypes"):
        return False
    refuse_sparse(x)
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
        full_batches: batches in one pass through the rows that have all their rows.
        replays: whether `go_to` and `skip` make batches again to get to a place.

    >>> import lamina, numpy as np
    >>> source = lamina.data.ArraySource(np.arange(5), None, None, 2, False, None)
    >>> source.batches, source.first()[0].tolist()
    (3, [0, 1])
    """

    replays = False

    def __init__(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int | None,
        shuffle: bool | str,
        steps: int | None,
        seed: int | None = None,
        restarts: bool = False,
    ):
        self.rows = count_rows(x, y, sample_weight)
        batch_size = 32 if batch_size is None else batch_size
        if not (is_integer(batch_size) and batch_size > 0):
            raise ValueError(
                f"`batch_size` must be a positive integer. Received: {batch_size!r}"
            )
        self.given = (x, y, sample_weight)
        self.hold(self.given)
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.all_batches = -(-self.rows // self.batch_size)
        self.batches = self.all_batches if steps is None else int(steps)
        self.full_batches = self.rows // self.batch_size
        self._order = None
        self._random = np.random.default_rng(seed)
        self._restarts = restarts
        self._at = 0  # the next batch of the pass through the rows
        self._drawn_from = None
        self.change: Any = None  # a function that batches go through

    def hold(self, arrays):
        """Give rows of these arrays, `(x, y, sample_weight)`, from now on."""
        self.arrays, self._in_order = arrays, structure.is_in_order(arrays)

    def limit(self, steps):
        """End each epoch after `steps` batches."""
        self.batches = steps

    def _drawn(self):
        """Return the rows of one pass in order, or None for as they are."""
        if not self.shuffle:
            return None
        if self.shuffle == "batch":
            # A shorter last batch stays the last, so that each keeps its own rows.
            starts = self._random.permutation(self.full_batches) * self.batch_size
            parts = starts[:, None] + np.arange(self.batch_size)
            rest = np.arange(self.full_batches * self.batch_size, self.rows)
            return np.concatenate([parts.ravel(), rest])
        return self._random.permutation(self.rows)

    def take(self, rows):
        """Return the batch of some rows: a slice or an array of indices."""
        batch = jax.tree.map(operator.itemgetter(rows), self.arrays)
        if not self._in_order:
            batch = structure.in_order_of(self.arrays, batch)
        return batch if self.change is None else self.change(batch)

    def epoch(self, skip=0):
        """Yield the batches of one epoch, without the first `skip` of them."""
        for at, _ in self.spans(skip, lambda: 1):
            yield self.batch(at)

    def spans(self, skip, most):
        """Yield `(place, count)` of batches of one epoch that follow each other.

        Args:
            skip: how many batches to leave out at the beginning.
            most: a function that returns the largest count. A shorter last batch,
                at the place `full_batches`, comes alone.
        """
        if self._restarts or self.batches >= self.all_batches:
            self._at = 0
        # With `steps_per_epoch` an epoch may end in the middle of the data; the next
        # one goes on from there.
        left = min(self.batches, self.all_batches)
        while left:
            if self._at == 0:
                self._begin_pass()
            at = self._at
            limit = skip or most()
            count = max(1, min(limit, left, self.full_batches - at))
            self._at = (at + count) % self.all_batches
            left -= count
            if skip:
                skip -= count
            else:
                yield at, count

    def _begin_pass(self):
        self._drawn_from = self._random.bit_generator.state
        self._order = self._drawn()

    def batch(self, at, count=1):
        """Return the batch at a place of the present pass, or several as one."""
        return self.take(self.rows_at(at, count))

    def rows_at(self, at, count=1):
        """Return the rows of a batch, or of several: a slice or an array of indices."""
        start, stop = (min(i * self.batch_size, self.rows) for i in (at, at + count))
        return slice(start, stop) if self._order is None else self._order[start:stop]

    def mark(self) -> dict:
        """Return where the next epoch begins, in plain values."""
        state = self._drawn_from if self._at else self._random.bit_generator.state
        return {"random": state, "at": self._at}

    def check_mark(self, mark):
        """Raise unless `go_to` can go to a mark that somebody else may have written."""
        type(self._random.bit_generator)().state = mark["random"]
        if not is_count(mark["at"]) or mark["at"] >= max(1, self.all_batches):
            raise ValueError(f"there is no batch {mark['at']!r:.80}")

    def go_to(self, mark):
        """Let the next epoch begin where `mark()` was called."""
        self._random.bit_generator.state = mark["random"]
        if mark["at"]:
            self._begin_pass()
        self._at = mark["at"]

    def described(self) -> dict:
        """Return what decides the batches, in plain values."""
        data = {
            name: f"{a.dtype} {a.shape}, digest {digest(a) if is_here(a) else 'none'}"
            for name, a in named(self.given)
            if a is not None
        }
        return {
            "batch_size": self.batch_size,
            "shuffle": str(self.shuffle),
            "data": data,
        }

    def first(self):
        """Return a batch like those of an epoch, without moving on."""
        return self.take(slice(0, min(self.batch_size, self.rows)))


# By iterator: batches that were read from it for a run that ended before it used them.
_LEFT: Any = weakref.WeakKeyDictionary()


def _left_of(iterator):
    try:
        return _LEFT.setdefault(iterator, deque())
    except TypeError:  # nothing can be noted of it, as of a `zip`
        return deque()


class IterableSource:
    """Batches from an iterable, an iterator, or indexable data sets.

    Attributes:
        batches: batches in one epoch, or None until an epoch has ended.
        batch_size: rows in the first batch.

    >>> import lamina, numpy as np
    >>> source = lamina.data.IterableSource([np.ones(2), np.zeros(2)], steps=None)
    >>> [x.tolist() for x, _, _ in source.epoch()]
    [[1.0, 1.0], [0.0, 0.0]]
    """

    rows = None
    arrays = None
    replays = True

    def __init__(self, iterable: Any, steps: int | None, restarts: bool = False):
        if restarts and hasattr(iterable, "__next__"):
            iterable = _kept(iterable, steps)
        self._iterable = iterable
        self._steps = steps
        self._is_iterator = hasattr(iterable, "__next__")
        self._restarts = restarts and not self._is_iterator
        self._running = None
        self._peeked = None
        self._left = _left_of(iterable) if self._is_iterator else deque()
        self._noted = deque()  # batches that were given, and not used yet
        self._layout = BatchLayout()
        self._taken = 0  # batches that `_running` has given
        self._length = getattr(iterable, "num_batches", None)
        if self._length is None and hasattr(iterable, "__len__"):
            with contextlib.suppress(TypeError):  # TensorFlow's and PyTorch's unknown
                self._length = len(iterable)
        self.batches = self._length if steps is None else steps
        self.batch_size = None
        # TensorFlow's data sets know when they are infinite, and say -1.
        count = getattr(iterable, "cardinality", None)
        if steps is None and callable(count) and int(count()) == -1:  # type: ignore
            raise ValueError(endless(type(iterable).__name__))

    def limit(self, steps):
        """End each epoch after `steps` batches."""
        self._steps = self.batches = steps

    def _begin(self):
        self._taken = 0
        if self._is_iterator:
            return self._iterable
        if not hasattr(self._iterable, "__iter__"):
            length = self.batches if self.batches is not None else len(self._iterable)
            return (self._iterable[i] for i in range(length))
        return iter(self._iterable)

    def _next(self, count):
        if self._peeked is not None:
            batch, self._peeked = self._peeked, None
        else:
            if self._running is None:
                self._running = self._begin()
            left = self._left
            batch = left.popleft() if left else as_batch(next(self._running), count)
            self._layout.check(batch, count)
        self._taken += 1
        return batch

    def first(self):
        """Return the first batch of the coming epoch, which will still yield it.

        Raises:
            EmptyData: there is none.
        """
        if self._peeked is None:
            self._restart()
            try:
                self._peeked = self._next(0)
                self._taken -= 1
            except StopIteration:
                self._running = None
                raise EmptyData(EMPTY) from None
            self.batch_size = rows_of(self._peeked)
        return self._peeked

    def epoch(self, skip=0, noted=False):
        """Yield the batches of one epoch, without the first `skip` of them.

        Args:
            skip: how many to leave out.
            noted: whether each is noted until `used` is told of it.
        """
        count = 0
        self._restart()
        # A source longer than the epoch goes on where it is.
        while self._steps is None or count < self._steps:
            try:
                batch = self._next(count)
            except StopIteration:
                self._running = None
                break
            count += 1
            if count > skip:
                if noted:
                    self._noted.append(batch)
                yield batch
        if self._steps is None and self.batches is None:
            self.batches = count
        end = getattr(self._iterable, "on_epoch_end", None)
        if callable(end):
            end()

    def used(self, count):
        """Forget the first `count` batches that are noted."""
        for _ in range(count):
            self._noted.popleft()

    def give_back(self):
        """Let the batches that are noted come again, also from the next source.

        Data that can be iterated again begin anew, unless an epoch has a number of
        steps.
        """
        left = list(self._noted)
        self._noted.clear()
        if left and not self._is_iterator and self._steps is None:
            self._running, self._taken = None, 0
            return
        self._taken = max(0, self._taken - len(left))
        self._left.extendleft(reversed(left))

    def _restart(self):
        if self._restarts and self._peeked is None:
            self._running = None
            self._left.clear()

    def mark(self) -> dict:
        """Return where the next epoch begins, in plain values."""
        begun = self._peeked if self._restarts else self._running
        mark = {"taken": self._taken, "begun": begun is not None}
        return mark | ({} if self._pass() is None else {"pass": self._pass()})

    def _pass(self):
        """Return the pass that goes on, of those a data set counts; or None."""
        begun = getattr(self._iterable, "passes_begun", None)
        return begun and begun - (self._running is not None)

    def described(self) -> dict:
        """Return what decides the batches, in plain values, as far as one can tell."""
        return described(self.first(), self._length)

    def check_mark(self, mark):
        """Raise unless `go_to` can go to a mark that somebody else may have written."""
        counts = mark["taken"], mark.get("pass", 0)
        if not all(map(is_count, counts)) or type(mark["begun"]) is not bool:
            raise ValueError(f"it counts {counts!r:.80}, begun {mark['begun']!r:.80}")

    def go_to(self, mark):
        """Let the next epoch begin where `mark()` was called."""
        if mark.get("pass") != self._pass():
            self._running, self._peeked, self._taken = None, None, 0
            self._left.clear()
            self._iterable.passes_begun = mark["pass"]
        if mark["begun"]:
            for count in range(mark["taken"] - self._taken):
                self._next(count)
        else:
            self._running = self._peeked = None


def _kept(iterator, steps) -> Any:
    """Return an iterator's first batches, so that they can come again.

    Where they would take too much memory: an iterator, which goes on where it is.
    """
    batches, size = [], 0
    for batch in itertools.islice(iterator, steps):
        batches.append(as_batch(batch, len(batches)))
        size += sum(a.nbytes for a in structure.flatten(batches[-1]) if a is not None)
        if size > _MOST_KEPT:
            warn(
                f"The validation data are a `{type(iterator).__name__}`, which cannot "
                f"begin again, and have more than {_MOST_KEPT >> 20} MiB, too much to "
                "keep: each validation goes on where the one before it ended. Give an "
                "object that can be iterated again, or fewer `validation_steps`."
            )
            return itertools.chain(batches, iterator)
    return batches


def split(x, y, sample_weight, share):
    """Split arrays in two: the last `share` of the rows is the second part.

    Raises:
        ValueError: `share` is not between 0 and 1, or the first part would be empty.

    >>> import lamina, numpy as np
    >>> (x, _, _), (held_out, _, _) = lamina.data.split(np.arange(5), None, None, 0.4)
    >>> x.tolist(), held_out.tolist()
    ([0, 1, 2], [3, 4])
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
    if at == 0:
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
