"""Sources over data sets that are indexed by batch."""

from typing import Any

import jax
import numpy as np

from lamina.core import structure
from lamina.data.arrays import EmptyData, as_arrays, is_count, unpack
from lamina.data.pydataset import PyDataset, drawing, fetch
from lamina.data.worker_pool import WorkerPool

EMPTY = (
    "The data set is empty: it yielded no batch. (A generator that was run through "
    "once is empty afterwards; pass a new one, or an object that can be iterated "
    "again.)"
)


def endless(name, reason="") -> str:
    """Return what to say of data without end when nobody said where to stop."""
    return (
        f"`{name}` has no end{reason}, so tell how many batches to take: "
        "`steps_per_epoch` in `fit`, `validation_steps` for validation data, `steps` "
        "elsewhere."
    )


def is_indexed(x) -> bool:
    """Tell `PyDataset` and what has its methods."""
    return (
        hasattr(x, "__getitem__")
        and hasattr(x, "on_epoch_end")
        and (hasattr(x, "__len__") or hasattr(type(x), "num_batches"))
    )


class BatchLayout:
    """The form of a source's batches, which is that of the first one.

    Rows and the sizes of other axes may change; names, dtypes and the number of axes
    may not.
    """

    def __init__(self):
        self.first = None

    def check(self, batch, step):
        """Return a batch, or raise: it is of another form than the first one.

        Raises:
            ValueError: its structure, a dtype or a number of axes changed.
        """
        form = {
            name: None if leaf is None else (_kind(leaf.dtype), leaf.ndim)
            for name, leaf in named(batch)
        }
        if self.first is None:
            self.first = form
        if form == self.first:
            return batch
        for name in dict.fromkeys((*self.first, *form)):
            before, now = (_said(f, name) for f in (self.first, form))
            if before != now:
                raise ValueError(
                    f"The data changed at batch {step} of the epoch: {name} is {now}, "
                    f"and was {before} in the first batch. All batches must have the "
                    "same names, dtypes and numbers of axes."
                )
        return batch


def _kind(dtype):
    """Return the dtype as the device will have it."""
    return (
        jax.dtypes.canonicalize_dtype(dtype).name if dtype.kind in "iuf" else dtype.kind
    )


def named(batch):
    """Yield the names and the arrays of a batch."""
    for part, value in zip(("x", "y", "sample_weight"), batch, strict=True):
        for path, leaf in structure.flatten_with_names(value):
            yield part + "".join(f"[{key!r}]" for key in path), leaf


def _said(form, name):
    if form.get(name) is None:
        return "not there"
    dtype, ndim = form[name]
    return f"{dtype} with {ndim} axes"


def as_batch(batch, step):
    """Return `(x, y, sample_weight)` with arrays that nobody else will write to."""
    names = ("x", "y", "sample_weight")
    parts = tuple(
        as_arrays(v, f"{name} of batch {step}")
        for name, v in zip(names, unpack(batch), strict=True)
    )
    if parts[1] is not None and rows_of(parts) == 0:
        raise ValueError(
            f"Batch {step} of the data has 0 rows, and so no loss. Leave it out."
        )
    # JAX reads a NumPy array later, when its owner may have filled it again.
    return structure.map_leaves(
        lambda a: a.copy() if isinstance(a, np.ndarray) else a, parts
    )


def rows_of(batch):
    """Return the rows of a batch, or None when it has no array with rows."""
    leaves = [a for a in structure.flatten(batch[0]) if a is not None]
    return leaves[0].shape[0] if leaves and leaves[0].ndim else None


def described(batch, length, **more) -> dict:
    """Return what is known of data that come in batches like one, in plain values."""
    form = BatchLayout()
    form.check(batch, 0)
    data = {name: _said(form.first, name) for name, _ in named(batch)}
    return {"batch_size": rows_of(batch), "data": {"batches": length, **data}, **more}


class IndexedSource:
    """Batches of a `PyDataset`, made by as many workers as it asks for.

    Which batches come, in which order, and how the global generators are seeded for
    each follows from the seed and the place in the data, not from the workers.

    Attributes:
        batches: batches in one epoch.
        batch_size: rows in the first batch.
        replays: whether `go_to` and `skip` make batches again to get to a place.

    >>> import lamina, numpy as np
    >>> class Squares(lamina.utils.PyDataset):
    ...     def __len__(self):
    ...         return 2
    ...     def __getitem__(self, index):
    ...         return np.full((3, 1), index), np.full(3, index**2)
    >>> source = lamina.data.IndexedSource(Squares(), shuffle=False, steps=None)
    >>> [y.tolist() for _, y, _ in source.epoch()]
    [[0, 0, 0], [1, 1, 1]]
    """

    rows = None
    arrays = None
    replays = False

    def __init__(
        self,
        dataset: Any,
        shuffle: bool | str,
        steps: int | None,
        seed: int | None = None,
        restarts: bool = False,
    ):
        self._dataset = dataset
        self._own_order = hasattr(dataset, "all_passes")
        # An item of such a data set has a number of its own in each run.
        self._items_of = dataset.all_passes() if self._own_order else dataset
        self._shuffle = bool(shuffle) and not self._own_order
        self._always_restarts = restarts
        # Drawn from the generator that users seed.
        self._seed = int(np.random.randint(2**31 - 1)) if seed is None else seed
        self._epoch, self._begun = 0, False
        self._start = self._next = (0, 0)  # run through the data, place in it
        self._draws = None  # whether items draw from the global generators
        self._pool = None
        self._running = None
        self._peeked = None
        self._layout = BatchLayout()
        self.batch_size = None
        self.limit(steps)

    def limit(self, steps):
        """End each epoch after `steps` batches; None for all there are."""
        self._steps = steps
        self._restarts = self._always_restarts or steps is None
        self.batches = self._count()

    def _length(self):
        """Return the batches in one run through the data; None without end."""
        if hasattr(type(self._dataset), "num_batches"):
            return self._dataset.num_batches
        return len(self._dataset)

    def _count(self):
        length = self._length()
        if length is None and self._steps is None:
            raise ValueError(
                endless(type(self._dataset).__name__, " (`num_batches` is None)")
            )
        return int(min(n for n in (length, self._steps) if n is not None))

    # ---- which batches -----------------------------------------------------------

    def _seeded(self, *place):
        return int(np.random.SeedSequence((self._seed, *place)).generate_state(1)[0])

    def _order(self, run, length):
        if not self._shuffle or length is None:
            return None
        return np.random.default_rng((self._seed, run)).permutation(length)

    def _items(self, skip):
        """Yield the index and the seed of the batches of one epoch."""
        length, (run, at) = self._length(), self._start
        order = self._order(run, length)
        for count in range(self.batches):
            if at == length:
                run, at = run + 1, 0
                order = self._order(run, length)
            index = at if order is None else int(order[at])
            if count >= skip:
                number = run * length + index if self._own_order and length else index
                yield number, self._seeded(run, index)
            at += 1
        # With steps an epoch may end in the middle of the data; the next goes on there.
        self._next = (run + 1, 0) if self._restarts else (run, at)

    # ---- making them -------------------------------------------------------------

    def _here(self, items):
        for index, seed in items:
            if self._draws is False:
                # Seeding would only disturb draws of other threads.
                yield fetch(self._items_of, index, None)
                continue
            with drawing(seed) as drawn:
                batch = fetch(self._items_of, index, None)
                self._draws = self._draws or drawn()
            yield batch

    def _made(self, items, count):
        workers = getattr(self._dataset, "workers", 1) or 0
        processes = getattr(self._dataset, "use_multiprocessing", False)
        if workers < 1 or (workers == 1 and not processes):
            return self._here(items)
        if self._pool is None:
            self._pool = WorkerPool(
                self._items_of, max(1, min(workers, count)), processes
            )
        ahead = getattr(self._dataset, "max_queue_size", 10)
        return self._pool.make(items, max(1, ahead))

    def _batches(self, skip=0):
        self._begin()
        self.batches = self._count()
        finished = False
        try:
            made = self._made(self._items(skip), self.batches - skip)
            for step, batch in enumerate(made, skip):
                yield self._layout.check(as_batch(batch, step), step)
            finished = True
        finally:
            if not finished and self._pool is not None:
                self._pool.stop()
                self._pool = None
        self._start = self._next
        self._end()

    def _begin(self):
        if not self._begun:
            self._call("on_epoch_begin")
            self._begun = True

    def _end(self):
        self._call("on_epoch_end")
        self._epoch, self._begun = self._epoch + 1, False

    def _call(self, event):
        """Tell the data set, whose new order may come from the global generators."""
        own = getattr(type(self._dataset), event, None)
        if own is not None and own is not getattr(PyDataset, event):
            with drawing(self._seeded(self._epoch)):
                getattr(self._dataset, event)()

    # ---- what the loop asks for ----------------------------------------------------

    def first(self):
        """Return the first batch of the coming epoch, which will still yield it.

        Raises:
            EmptyData: there is none.
        """
        if self._peeked is None:
            self._running = self._batches()
            self._peeked = next(self._running, None)
            if self._peeked is None:
                raise EmptyData(EMPTY)
            self.batch_size = rows_of(self._peeked)
        return self._peeked

    def epoch(self, skip=0, noted=False):
        """Yield the batches of one epoch, without the first `skip` of them.

        An epoch that is cut short comes again, so that there is nothing to note.
        """
        if skip:
            self._forget()
            yield from self._batches(skip)
            return
        batch, running = self.first(), self._running
        self._running = self._peeked = None
        yield batch
        yield from running  # type: ignore[misc]

    def used(self, count):
        """See `IterableSource`."""

    def give_back(self):
        """See `IterableSource`."""

    def mark(self) -> dict:
        """Return where the next epoch begins, in plain values."""
        return {"seed": self._seed, "epoch": self._epoch, "start": list(self._start)}

    def described(self) -> dict:
        """Return what decides the batches, in plain values, as far as one can tell."""
        return described(self.first(), self._length(), shuffle=str(self._shuffle))

    def check_mark(self, mark):
        """Raise unless `go_to` can go to a mark that somebody else may have written."""
        counts = [mark["seed"], mark["epoch"], *mark["start"]]
        if len(counts) != 4 or not all(map(is_count, counts)):
            raise ValueError(f"it counts {counts!r:.80}")

    def go_to(self, mark):
        """Let the next epoch begin where `mark()` was called.

        The data set hears of the epochs in between, as it may change with them.
        """
        self._forget()
        self._seed = mark["seed"]
        while self._epoch < mark["epoch"]:
            self._begin()
            self._end()
        self._start = tuple(mark["start"])

    def _forget(self):
        if self._running is not None:
            self._running.close()
        self._running = self._peeked = None
