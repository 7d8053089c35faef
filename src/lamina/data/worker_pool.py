"""Workers that make items of a data set ahead of their use, in order."""

import collections
import hashlib
import itertools
import pickle
import queue
import threading
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import Future

from lamina import _generators
from lamina.core.registry import ours
from lamina.core.tracebacks import warn
from lamina.data.pydataset import Turns
from lamina.data.worker import Worker


class WorkerPool:
    """Threads that make items: each by itself, or by a worker process of its own.

    Args:
        dataset: what has the items.
        size: how many there are.
        processes: whether each has a process.
    """

    def __init__(self, dataset, size: int, processes: bool):
        self._dataset = dataset
        self._processes = processes
        self._turns = Turns(dataset)
        self._jobs = queue.SimpleQueue()
        self._warned = False
        name = type(dataset).__name__
        workers = [Worker(name) if processes else None for _ in range(size)]
        # One alone makes items in order.
        self._makers = [*filter(None, workers), self._turns] if size > 1 else []
        # Daemons: an item that never ends must not keep the program from ending.
        threads = [
            threading.Thread(
                target=_work,
                args=(self._jobs, dataset, worker, self._turns),
                daemon=True,
            )
            for worker in workers
        ]
        self._end = weakref.finalize(self, _end, self._jobs, workers, threads)
        for thread in threads:
            thread.start()

    def make(self, items: Iterable, ahead: int) -> Iterator:
        """Yield items in order.

        Args:
            items: pairs of an index and a seed.
            ahead: how many may be under way or waiting for their use.
        """
        version, pickled = self._pickled() if self._processes else (None, None)
        items, waiting = iter(items), collections.deque()
        try:
            while True:
                for index, seed in itertools.islice(items, ahead - len(waiting)):
                    waiting.append(Future())
                    self._jobs.put((waiting[-1], index, seed, version, pickled))
                if not waiting:
                    return
                result = waiting.popleft().result()
                self._say_draws()
                yield result
        finally:
            for future in waiting:
                future.cancel()

    def _say_draws(self):
        if any(maker.shared for maker in self._makers) and not self._warned:
            self._warned = True
            warn(
                f"Items of `{type(self._dataset).__name__}` draw from a generator that "
                "is kept between them, or from `lamina.random` without a seed. What an "
                "item draws depends on what was drawn before, by it or by others, so "
                "neither the same seed nor a run that is resumed trains the same. Make "
                "a generator in `__getitem__`, such as "
                "`np.random.default_rng((seed, index))`, or take one worker."
            )
        if self._turns.found and not self._warned:
            self._warned = True
            made = type(self._dataset)
            own = not ours(made)
            warn(
                f"{f'`{made.__name__}`' if own else 'The data set'} draws from `random`"
                " or `numpy.random`, which all threads share. For the same seed to "
                "train the same, its items are made one after the other. Draw from a "
                "generator of your own, such as `np.random.default_rng((seed, index))`"
                + (
                    ", or pass `use_multiprocessing=True`: each process has its own."
                    if own
                    else "."
                )
            )

    def _pickled(self):
        """Return the data set as it is now: `on_epoch_end` may have changed it."""
        try:
            pickled = pickle.dumps(self._dataset, protocol=5)
        except Exception as error:
            error.add_note(
                "`use_multiprocessing=True` sends the data set to other processes. Its "
                "class must be defined at the top of a module and its attributes must "
                "be picklable. Or use threads: `use_multiprocessing=False`."
            )
            raise
        return hashlib.sha256(pickled).digest(), pickled

    def stop(self):
        """End the workers at once; a thread ends with the item it is making."""
        self._end()


def _work(jobs, dataset, worker, turns):
    while (job := jobs.get()) is not None:
        future, index, seed, *sent = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            if worker is None:
                result = turns.fetch(dataset, index, seed)
            else:
                result = worker.fetch(index, seed, *sent)
            future.set_result(result)
        except BaseException as error:
            future.set_exception(error)
        del job, future, sent
        result = None
    if worker is not None:
        worker.close()


def _end(jobs, workers, threads):
    _generators.lock.give_up(threads)
    for worker in workers:
        jobs.put(None)
        if worker is not None:
            worker.stop()
