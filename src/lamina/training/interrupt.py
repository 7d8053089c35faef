"""Ctrl-C and SIGTERM while training: the running step finishes first."""

import signal
import threading


class Interrupts:
    """Holds a first Ctrl-C back while a step runs; a second one is immediate.

    Outside the main thread, or where somebody else listens to Ctrl-C, nothing
    changes.

    Args:
        kept: whether the run is kept: then SIGTERM, with which cluster managers end a
            process, is only noted, so that a snapshot can be written first.

    Attributes:
        terminated: whether SIGTERM came.

    >>> from lamina.training.interrupt import Interrupts
    >>> with Interrupts() as interrupts:
    ...     with interrupts.held:
    ...         pass  # Ctrl-C here is raised when this block ends
    """

    def __init__(self, kept=False):
        self.held = _Finishing(self)
        self.terminated = False
        self._busy = self._pressed = False
        self._kept, self._before = kept, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._take(signal.SIGINT, signal.default_int_handler, self._press)
            if self._kept:
                self._take(signal.SIGTERM, signal.SIG_DFL, self._note)
        return self

    def _take(self, number, usual, handler):
        if signal.getsignal(number) == usual:
            self._before[number] = signal.signal(number, handler)

    def __exit__(self, *_):
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number, frame):
        self.terminated = True

    def _press(self, number, frame):
        if self._busy and not self._pressed:
            self._pressed = True
        else:
            raise KeyboardInterrupt


class _Finishing:
    """The block that a first Ctrl-C lets finish."""

    def __init__(self, owner):
        self._owner = owner

    def __enter__(self):
        self._owner._busy = True

    def __exit__(self, kind, *_):
        owner = self._owner
        owner._busy = False
        if owner._pressed and kind is None:
            owner._pressed = False
            raise KeyboardInterrupt
