"""Data sets whose verbs give new data sets, which make elements when they are asked."""

import copy
import itertools
import math
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np

from lamina.core.checks import positive_int
from lamina.core.tracebacks import boundary
from lamina.data.pydataset import PyDataset
from lamina.data.worker_pool import WorkerPool
from lamina.utils.datasets import looks
from lamina.utils.datasets.cached import Folder, Memory

_ENDLESS, _UNKNOWN = -1, -2  # as `tf.data` says it


def each(fn, value):
    """Apply `fn` to the leaves of tuples, lists and dicts."""
    if isinstance(value, dict):
        return type(value)((key, each(fn, item)) for key, item in value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(each(fn, item) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(each(fn, item) for item in value)
    return fn(value)


def leaves_of(value) -> list:
    """Return the leaves of tuples, lists and dicts."""
    found: list = []
    each(found.append, value)
    return found


def stacked(elements):
    """Return elements of one structure as one, with a new first axis.

    Raises:
        ValueError: their shapes differ.
    """
    first = elements[0]
    if isinstance(first, dict):
        return type(first)((k, stacked([e[k] for e in elements])) for k in first)
    if isinstance(first, (tuple, list)):
        columns = [stacked(list(column)) for column in zip(*elements, strict=True)]
        named = hasattr(first, "_fields")
        return type(first)(*columns) if named else type(first)(columns)
    if isinstance(first, str):
        return strings(elements)
    arrays = [np.asarray(element) for element in elements]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ValueError(
            "All samples of a batch must have the same shape; `map` can bring them to "
            f"one. Received shapes: {sorted(shapes)}"
        )
    return np.stack(arrays)


def strings(texts):
    """Return an array of strings, each as long as it is."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def _called(function, element):
    return function(*element) if isinstance(element, tuple) else function(element)


class Verbs:
    """What can be done with a data set.

    Attributes:
        class_names: the names of the classes, or None.
        file_paths: the files of the samples, or None.
        passes_begun: how many passes were begun.
    """

    # Always lists for type checkers: data sets from folders have them.
    class_names: list[str] = cast(Any, None)
    file_paths: list[str] = cast(Any, None)
    passes_begun = 0
    workers, max_queue_size = 1, 10
    _count: Any = None  # of elements: infinity without end, None if nobody knows
    batched = False

    def _at(self, index: int, turn: int) -> Any:
        """Return an element of a pass; streams cannot."""
        raise NotImplementedError

    def _elements(self, turn: int) -> Iterable:
        """Yield the elements of a pass."""
        raise NotImplementedError

    def _derived(self, at, count, elements, parents=(), batched=None):
        """Return a data set made of this one, and of `parents`.

        Args:
            at: a function of a place and a pass that returns an element, or None.
            count: how many there are, see `_count`.
            elements: a function of a pass that yields them, for where there are no
                places.
            parents: the other data sets.
            batched: whether an element is a batch; as here when None.
        """
        parents = (self, *parents)
        placed = at is not None and all(isinstance(p, Dataset) for p in parents)
        made = _Placed(at, count) if placed else Stream(elements, count)
        made.class_names = self.class_names
        made.batched = self.batched if batched is None else batched
        for name in ("workers", "max_queue_size"):
            setattr(made, name, max(getattr(parent, name) for parent in parents))
        return made

    # ---- verbs ---------------------------------------------------------------------

    @boundary
    def map(self, function: Callable, num_parallel_calls=None, deterministic=None):
        """Return a data set of what `function` makes of each element.

        Args:
            function: takes the parts of an element that is a tuple, else the element.
            num_parallel_calls: threads that call it; -1 for one on each core.
            deterministic: kept for compatibility: the order always stays.
        """
        _check_function("map", function)
        made = self._derived(
            lambda place, turn: _called(function, self._at(place, turn)),
            self._count,
            lambda turn: (_called(function, e) for e in self._elements(turn)),
        )
        made.file_paths = self.file_paths
        if num_parallel_calls is not None:
            wanted = os.cpu_count() if num_parallel_calls == -1 else num_parallel_calls
            made.workers = max(
                made.workers, positive_int("Dataset.map", "num_parallel_calls", wanted)
            )
        return made

    @boundary
    def filter(self, predicate: Callable):
        """Return a data set of the elements for which `predicate` is true."""
        _check_function("filter", predicate)
        return self._derived(
            None,
            None,
            lambda turn: (
                e
                for e in self._elements(turn)
                if bool(np.asarray(_called(predicate, e)))
            ),
        )

    @boundary
    def batch(self, batch_size: int, drop_remainder: bool = False):
        """Return a data set of batches: elements with a new first axis.

        Args:
            batch_size: elements in a batch.
            drop_remainder: whether to leave out a shorter last one.
        """
        size = positive_int("Dataset.batch", "batch_size", batch_size)
        rest = 0 if drop_remainder else size - 1
        count = self._count
        if count not in (None, math.inf):
            count = (count + rest) // size

        def at(place, turn):
            places = range(place * size, min((place + 1) * size, self._count))
            return stacked([self._at(i, turn) for i in places])

        def elements(turn):
            running = iter(self._elements(turn))
            while found := list(itertools.islice(running, size)):
                if len(found) == size or not drop_remainder:
                    yield stacked(found)

        return self._derived(at, count, elements, batched=True)

    @boundary
    def unbatch(self):
        """Return a data set of the rows of each element."""

        def elements(turn):
            for element in self._elements(turn):
                for row in range(len(leaves_of(element)[0])):
                    yield each(lambda leaf, row=row: leaf[row], element)

        return self._derived(None, None, elements, batched=False)

    @boundary
    def shuffle(
        self,
        buffer_size: int | None = None,
        seed: int | None = None,
        reshuffle_each_iteration: bool = True,
    ):
        """Return a data set of the elements in another order.

        Args:
            buffer_size: from how many elements each is drawn where nobody knows how
                many there are; elsewhere all are mixed.
            seed: from which the orders follow; drawn from NumPy when None.
            reshuffle_each_iteration: whether each pass has an order of its own.
        """
        seed = int(np.random.randint(2**31 - 1)) if seed is None else int(seed)
        size = (
            1
            if buffer_size is None
            else positive_int("Dataset.shuffle", "buffer_size", buffer_size)
        )

        def drawn(turn):
            return np.random.default_rng((seed, turn * reshuffle_each_iteration))

        order = Order()

        def elements(turn):
            draw, buffer = drawn(turn), []
            for element in self._elements(turn):
                buffer.append(element)
                if len(buffer) >= size:
                    place = draw.integers(len(buffer))
                    buffer[place], buffer[-1] = buffer[-1], buffer[place]
                    yield buffer.pop()
            yield from (buffer[place] for place in draw.permutation(len(buffer)))

        def at(place, turn):
            places = order.of(turn, lambda t, n: drawn(t).permutation(n), self._count)
            return self._at(int(places[place]), turn)

        endless = self._count == math.inf
        return self._derived(None if endless else at, self._count, elements)

    @boundary
    def repeat(self, count: int | None = None):
        """Return a data set that goes through this one `count` times, or without end.

        Args:
            count: how often; None or -1 without end.
        """
        times = _number("repeat", -1 if count is None else count)
        if times == 0:
            return self.take(0)
        if self._count == math.inf:
            return self
        passes = 1 if times == math.inf else times

        def at(place, turn):
            time, place = divmod(place, self._count)
            return self._at(place, turn * passes + time)

        def elements(turn):
            for time in itertools.count() if times == math.inf else range(times):
                empty = True
                for element in self._elements(turn * passes + time):
                    empty = False
                    yield element
                if empty:
                    return  # as it would be every time

        endless = times == math.inf and self._count != 0
        whole = times if endless else self._count and self._count * passes
        return self._derived(at, whole, elements)

    @boundary
    def take(self, count: int):
        """Return a data set of the first `count` elements; all for -1."""
        most = _number("take", count)
        stop = None if most == math.inf else most
        return self._derived(
            self._at,
            None if self._count is None else min(most, self._count),
            lambda turn: itertools.islice(self._elements(turn), stop),
        )

    @boundary
    def skip(self, count: int):
        """Return a data set without the first `count` elements; of none for -1."""
        first = _number("skip", count)
        if first == math.inf:
            return self.take(0)
        return self._derived(
            lambda place, turn: self._at(place + first, turn),
            None if self._count is None else max(0, self._count - first),
            lambda turn: itertools.islice(self._elements(turn), first, None),
        )

    @boundary
    def enumerate(self, start: int = 0):
        """Return a data set of pairs: the number of an element, and the element."""
        return self._derived(
            lambda place, turn: (start + place, self._at(place, turn)),
            self._count,
            lambda turn: enumerate(self._elements(turn), start),
        )

    @boundary
    def zip(self, *others: "Dataset"):
        """Return a data set of tuples of elements, as long as the shortest.

        It may be called on the class too, with a tuple of data sets as in `tf.data`.
        """
        first, *rest = every = leaves_of((self, *others))
        for data in every:
            _checked(data)
        counts = [d._count for d in every]
        return first._derived(
            lambda place, turn: tuple(d._at(place, turn) for d in every),
            None if None in counts else min(counts),
            lambda turn: zip(*(d._elements(turn) for d in every), strict=False),
            rest,
        )

    @boundary
    def concatenate(self, other: "Dataset"):
        """Return a data set of this one's elements, then the other's."""
        mine, more = self._count, _checked(other)._count

        def at(place, turn):
            if place < mine:
                return self._at(place, turn)
            return other._at(place - mine, turn)

        return self._derived(
            at,
            None if None in (mine, more) else mine + more,
            lambda turn: itertools.chain(self._elements(turn), other._elements(turn)),
            (other,),
        )

    @boundary
    def cache(self, folder: str | os.PathLike | None = None):
        """Return a data set that makes each element once, and keeps it.

        What comes before it, shuffling among it, is that of the first pass. What
        should be new in each pass (an order, random changes) comes after it.

        Args:
            folder: where elements are kept, a file for each; in memory when None. A
                folder holds one data set: delete it when the data or the functions
                before `cache` change.
        """
        kept = Memory() if folder is None else Folder(pathlib.Path(folder), self)
        made = self._derived(
            lambda place, turn: kept.get(place, lambda: self._at(place, 0)),
            self._count,
            lambda turn: kept.all(self._elements(0)),
        )
        made.file_paths = self.file_paths
        return made

    @boundary
    def prefetch(self, buffer_size: int = -1):
        """Return a data set that threads make ahead of its use.

        Args:
            buffer_size: how many elements may wait; -1 leaves it as it is. Where nobody
                knows how many there are, elements are made where they are used.
        """
        made = copy.copy(self)
        made.workers = max(2, self.workers)
        if buffer_size != -1:
            made.max_queue_size = positive_int(
                "Dataset.prefetch", "buffer_size", buffer_size
            )
        return made

    # ---- what is in it -------------------------------------------------------------

    def cardinality(self) -> int:
        """Return the number of elements; -1 without end, -2 where nobody knows."""
        if self._count is None:
            return _UNKNOWN
        return _ENDLESS if self._count == math.inf else self._count

    def as_numpy_iterator(self):
        """Yield the elements of a pass as NumPy arrays."""
        return (each(np.asarray, element) for element in self)

    def __len__(self):
        if self._count == math.inf:
            raise TypeError("The data set has no end, and so no length.")
        if self._count is None:
            raise TypeError(
                "Nobody knows how many elements `filter` or `unbatch` leave before "
                "they are made. `sum(1 for _ in data)` makes them and counts."
            )
        return self._count

    def __iter__(self):
        turn, self.passes_begun = self.passes_begun, self.passes_begun + 1
        return iter(self._elements(turn))

    @property
    def element_spec(self):
        """The shapes and dtypes of an element, as `KerasTensor`s in its structure.

        The first axis of a batch is None. The first element is made for it.
        """
        from lamina.core.symbolic import SymbolicTensor

        def spec(leaf):
            array = np.asarray(leaf)
            dtype = "string" if array.dtype.kind in "OUS" else array.dtype.name
            shape = (None, *array.shape[1:]) if self.batched else array.shape
            return SymbolicTensor(shape, dtype)

        return each(spec, self._first())

    def _first(self):
        for element in self._elements(0):
            return element
        raise ValueError(
            "The data set is empty, so that nobody knows what an element looks like."
        )

    @boundary
    def show(self, rows: int = 9):
        """Show the first element: a picture of images, a table of anything else.

        Args:
            rows: how many rows of a batch.

        Raises:
            ImportError: it holds images, and matplotlib is not installed.
        """
        looks.show(self, self._first(), rows)

    def _repr_html_(self):
        # Without an element there is nothing to draw, and the line is shown.
        return next((looks.html(self, e) for e in self._elements(0)), None)

    def __repr__(self):
        return looks.line(self)

    def __bool__(self):
        return True  # whatever its length


class Dataset(Verbs, PyDataset):
    """Elements that are made when they are asked for, and verbs that make others.

    An element is what one step of a loop gets: mostly a batch `(x, y)`. Each verb
    returns a new data set and leaves this one as it is. The names are those of
    `tf.data`; what they do differs in one point: `shuffle` mixes all elements, where
    `tf.data` mixes those in its buffer, unless nobody knows how many there are.

    Data sets are given to `fit`, `evaluate` and `predict`, or looped over. Each loop,
    and each epoch of `fit`, is a pass; orders follow from the seed and the number of
    the pass, so that `fit(resume=)` goes on bit for bit.

    >>> import numpy as np
    >>> from lamina.utils.datasets.samples import Rows, Samples
    >>> numbers = Samples(Rows(np.arange(10)), 10)
    >>> even = numbers.map(lambda x: x * 10).filter(lambda x: x % 20 == 0)
    >>> [x.tolist() for x in even.batch(2).skip(1)]
    [[40, 60], [80]]
    """

    @property
    def num_batches(self):
        """The number of elements, or None without end."""
        return None if self._count == math.inf else self._count

    @boundary
    def __getitem__(self, index):
        if isinstance(index, slice):
            raise TypeError(
                "A data set takes no slices. `data.skip(start).take(count)` gives "
                "the elements from `start` on."
            )
        if self._count != math.inf:
            if not -self._count <= index < self._count:
                raise IndexError(
                    f"The data set has {self._count} elements. Received: index {index}"
                )
            index %= self._count
        return self._at(index, self.passes_begun)

    def _elements(self, turn):
        places = itertools.count() if self._count == math.inf else range(self._count)
        return (self._at(place, turn) for place in places)

    def __iter__(self):
        if self.workers < 2 or self._count in (0, math.inf):
            return super().__iter__()
        turn, self.passes_begun = self.passes_begun, self.passes_begun + 1
        return self._ahead(turn)

    def _ahead(self, turn):
        """Yield the elements of a pass, which threads make ahead of their use."""
        now = copy.copy(self)
        now.passes_begun = turn
        seeds = np.random.randint(2**31 - 1, size=self._count).tolist()
        pool = WorkerPool(now, min(self.workers, len(seeds)), False)
        try:
            yield from pool.make(enumerate(seeds), self.max_queue_size)
        finally:
            pool.stop()

    def all_passes(self) -> "Dataset":
        """Return the passes from the next one on, one after the other, without end."""
        return _OnEnd(self)

    def on_epoch_end(self):
        """Go on to the next pass."""
        self.passes_begun += 1


class _Placed(Dataset):
    """A data set whose elements a function makes, by their places."""

    def __init__(self, at, count):
        super().__init__()
        self._made_at, self._count = at, count

    def _at(self, index, turn):
        return self._made_at(index, turn)


class _OnEnd(Dataset):
    """The passes of a data set from its next one on; picklable if that is."""

    _count = math.inf

    def __init__(self, data):
        super().__init__()
        self._data, self._first_pass = data, data.passes_begun

    def _at(self, index, turn):
        more, place = self._place(index)
        return self._data._at(place, self._first_pass + more)

    def _place(self, index):
        count = self._data._count
        return (0, index) if count == math.inf else divmod(index, count)

    def name_of(self, index):
        """Return what an error calls an item."""
        return f"item {self._place(index)[1]} of the data set"


class Stream(Verbs):
    """A data set whose elements come one by one.

    Args:
        elements: a function of the number of a pass that yields its elements.
        count: infinity if they have no end; whatever else, nobody knows how many come.
    """

    def __init__(self, elements, count):
        self._made_elements = elements
        self._count = math.inf if count == math.inf else None

    def _elements(self, turn):
        return self._made_elements(turn)


class Order:
    """The order of a pass, which is worked out once for elements on end."""

    def __init__(self):
        self._last = None, None

    def of(self, turn, make, count) -> Any:
        """Return the places of the elements of a pass: `make(turn, count)`."""
        last = self._last
        if last[0] != turn:
            last = self._last = turn, make(turn, count)
        return last[1]


def _number(name, count) -> Any:
    if not isinstance(count, (int, np.integer)) or count < -1:
        raise ValueError(
            f"`{name}` takes a number of elements, or -1 for all. Received: {count!r}"
        )
    return math.inf if count == -1 else int(count)


def _check_function(verb, function):
    if not callable(function):
        raise TypeError(f"`{verb}` takes a function. Received: {function!r}")


def _checked(other):
    if not isinstance(other, Verbs):
        raise TypeError(
            "Only data sets that `lamina.utils` makes can be joined. Received: "
            f"{type(other).__name__}"
        )
    return other
