"""The lock of Python's and NumPy's global generators.

It is held while they are not as everybody should see them: items of a data set may be
made in the background, each with seeds of its own, while a snapshot is taken.

And draws from Lamina's own generators: each thread notes its own.
"""

import threading
import weakref
from collections.abc import Callable


class _Lock:
    """A lock that a thread may hold again, and that outlives one that never ends.

    Attributes:
        restore: what the holder undoes when it is done, and another one in its place
            when it was given up.
    """

    def __init__(self):
        self.restore: Callable[[], None] | None = None
        self._changed = threading.Condition()
        self._given_up = weakref.WeakSet()
        self._holder, self._depth = None, 0

    def __enter__(self):
        me = threading.current_thread()
        with self._changed:
            if self._holder is not me:
                self._changed.wait_for(
                    lambda: self._holder is None or self._holder in self._given_up
                )
                if self._holder is not None and self.restore is not None:
                    self.restore()
                self._holder, self._depth, self.restore = me, 0, None
            self._depth += 1
        return self

    def __exit__(self, *error):
        with self._changed:
            if self.held:
                self._depth -= 1
                if self._depth == 0:
                    self._holder = None
                    self._changed.notify_all()

    @property
    def held(self) -> bool:
        """Whether this thread holds it, and was not given up meanwhile."""
        return self._holder is threading.current_thread()

    def give_up(self, threads):
        """Let others have it, whatever these threads are still at."""
        with self._changed:
            self._given_up.update(threads)
            self._changed.notify_all()


lock = _Lock()


class _Draws(threading.local):
    """What this thread draws.

    Attributes:
        noted: the `SeedGenerator`s that it drew from, while somebody wants to know.
    """

    noted: list | None = None


draws = _Draws()
