"""Ctrl-C while training: the running step finishes first."""

import signal
import threading


class Interrupts:
    """Holds a first Ctrl-C back while a step runs; a second one is immediate.

    Outside the main thread, or where somebody else listens to Ctrl-C, nothing
    changes.

    >>> from lamina.training.interrupt import Interrupts
    >>> with Interrupts() as interrupts:
    ...     with interrupts.held:
    ...         pass  # Ctrl-C here is raised when this block ends
    """

    def __init__(self):
        self.held = _Held(self)
        self._busy = self._pressed = False
        self._before = None

    def __enter__(self):
        on_main = threading.current_thread() is threading.main_thread()
        if on_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_):
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _press(self, number, frame):
        if self._busy and not self._pressed:
            self._pressed = True
        else:
            raise KeyboardInterrupt


class _Held:
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
