"""Data sets that users write: batches by index. Nothing here imports JAX."""

import contextlib
import itertools
import random
import threading
from collections.abc import Iterator

import numpy as np

from lamina import _generators
from lamina.data.draws import SharedDraws


class PyDataset:
    """Batches that your own class makes, one for each index.

    Write `__getitem__`, which returns the batch of an index as `(x,)`, `(x, y)` or
    `(x, y, sample_weight)`, and `__len__` (or the property `num_batches`, None for
    data without end), and give the object to `fit`, `evaluate` or `predict`.

    Whatever the number of workers, batches come in order and training is the same
    bit for bit. For that, `random` and `numpy.random` are seeded anew for each item
    that draws from them, and for `on_epoch_end`. Threads share these generators, so
    items that draw from them are made one after the other, with a warning. Draw from a
    generator of your own, seeded by the index, to have them made at once. What several
    workers draw from a generator that the data set keeps or its code names (a global of
    the script), or from `lamina.random` without a seed, depends on which item is made
    first, and a warning says so.

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
        fresh, outer = _place(), _generators.lock.restore

        def restore():
            random.setstate(before[0])
            np.random.set_state(before[1])

        _generators.lock.restore = outer or restore
        try:
            yield lambda: _place() != fresh
        finally:
            if _generators.lock.held:
                restore()
                _generators.lock.restore = outer


def _place():
    numbers = [np.asarray(part).tobytes() for part in np.random.get_state()]
    return random.getstate(), numbers


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
        name = getattr(dataset, "name_of", None)
        place = name(index) if name else f"item {index} of `{type(dataset).__name__}`"
        error.add_note(f"It was {place}.")
        raise


class Turns:
    """Makes items in threads: at once, or in turns where they draw, each with its seed.

    The global generators cannot say who drew. While nobody does, no item has; an item
    during which somebody did is made again, alone.

    Attributes:
        found: whether an item drew from the global generators; None before the first.
        shared: whether an item drew from what items share.

    Args:
        dataset: what has the items.
    """

    _ALARMS = 64  # in vain, after which somebody else is known to draw all the time

    def __init__(self, dataset):
        self.found: bool | None = None
        self.shared = False
        self._draws = SharedDraws(dataset)
        self._alarms = 0
        self._running = 0  # items that are made at once
        self._changed = threading.Condition()

    def fetch(self, dataset, index, seed):
        """Return an item, see `fetch`."""
        with self._draws.watched() as drew:
            item = self._fetch(dataset, index, seed)
            self.shared = drew() or self.shared
        return item

    def _fetch(self, dataset, index, seed):
        with self._changed:  # whoever is alone holds it
            together = self.found is False
            self._running += together
        if together:
            before = _place()
            try:
                item = fetch(dataset, index, None)
            finally:
                drawn = _place() != before
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()
            if not drawn or self._alarms >= self._ALARMS:
                return item
            self._alarms += 1
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0)
            with drawing(seed) as drew:
                item = fetch(dataset, index, None)
                self.found = self.found or drew()
        return item
