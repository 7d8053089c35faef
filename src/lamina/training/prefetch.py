"""Batches made ahead of the step, in the background."""

import contextlib
import queue
import threading
import time

_END = object()
_PATIENCE = 0.005  # seconds between two looks at who waits for whom
_LAST = 1.0  # seconds that the last batch may take, which nobody will use


class Prefetched:
    """Iterates over batches that a thread prepares, two of them ahead.

    Args:
        batches: an iterable of batches.
        place: what makes a batch ready for the step.
        wait: a function of the seconds spent waiting for a batch.

    >>> from lamina.training.prefetch import Prefetched
    >>> with Prefetched(range(3), lambda batch: batch + 10) as batches:
    ...     list(batches)
    [10, 11, 12]
    """

    def __init__(self, batches, place, wait=lambda seconds: None):
        self._batches, self._place, self._wait = iter(batches), place, wait
        self._ready = queue.Queue(maxsize=2)
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._work, name="lamina-batches", daemon=True
        )

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        """Stop, and wait a while for the batch that the thread is making.

        It may draw from the global generators, which the next run seeds anew.
        """
        self._stopped.set()
        end = time.monotonic() + _LAST
        while self._thread.is_alive() and time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                self._ready.get_nowait()
            self._thread.join(0.01)
        if not self._thread.is_alive() and hasattr(self._batches, "close"):
            self._batches.close()

    def __iter__(self):
        return self

    def __next__(self):
        """Return the next batch; raise what making it raised."""
        while True:
            try:
                batch, error = self._ready.get(timeout=_PATIENCE)
                break
            except queue.Empty:
                self._wait(_PATIENCE)
        if error is not None:
            self._ready.put((_END, error))
            raise error
        if batch is _END:
            self._ready.put((_END, None))
            raise StopIteration
        return batch

    def _work(self):
        try:
            for batch in self._batches:
                if not self._hand_over(self._place(batch)):
                    return
            self._hand_over(_END)
        except BaseException as error:
            self._hand_over(_END, error)

    def _hand_over(self, batch, error=None):
        while not self._stopped.is_set():
            try:
                self._ready.put((batch, error), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
