"""Threads and processes that JAX cannot run in, or must not run in as Python ends."""

import atexit
import ctypes
import gc
import itertools
import os
import sys
import threading
import time
import weakref

from lamina.core.tracebacks import is_hidden

_PATIENCE = 10  # seconds for threads that run code of the library or of JAX
_GRACE = 0.2  # for others, which may wait for what never comes
_LOOK, _AGAIN = 0.005, 100  # seconds between two looks; looks until they are told again


class _Mark:
    """Lives as long as the thread that it was made in."""


_known: weakref.WeakValueDictionary[int, _Mark] = weakref.WeakValueDictionary()


class Local(threading.local):
    """Attributes of each thread; one that looks at them is known to use the library."""

    def __init__(self):
        self._mark = _known[threading.get_ident()] = _Mark()


class _Process(Local):
    forked = False  # from one in which JAX ran


_process = _Process()


def _note_fork():
    bridge = sys.modules.get("jax._src.xla_bridge")
    _Process.forked = bridge is not None and bridge.backends_are_initialized()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def check_fork() -> None:
    """Raise in a process that was forked from one with JAX's, unless code is traced.

    JAX's threads do not survive a fork: a computation would never end.
    """
    if not _process.forked:
        return
    from jax._src.core import trace_state_clean

    if trace_state_clean():
        raise RuntimeError(
            "This process was forked from one in which JAX ran, and JAX cannot run in "
            "it. Start processes afresh: "
            "`multiprocessing.get_context('spawn')`, or in "
            "`concurrent.futures.ProcessPoolExecutor(mp_context=...)`; or fork before "
            "the first model is made."
        )


@atexit.register
def _end_threads():
    """End the daemon threads that use the library, each by a SystemExit.

    One that came back from JAX after Python has ended would abort the process.
    """
    begun = time.monotonic()
    for look in itertools.count():
        daemons = {t.ident for t in threading.enumerate() if t.daemon}
        left = [ident for ident in _known.copy() if ident in daemons]
        if not left:
            return
        if look % _AGAIN == 0:
            # What is raised in a callback of the collector would be lost.
            gc.disable()
            callbacks = [getattr(c, "__code__", None) for c in gc.callbacks]
            gc.callbacks.clear()  # a collection that runs has one more to call
            for _ in range(_AGAIN):
                running = sys._current_frames().values()
                if all(frame.f_code not in callbacks for frame in running):
                    break
                time.sleep(_LOOK)
            for ident in left:
                tell = ctypes.pythonapi.PyThreadState_SetAsyncExc
                tell(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))
        frames = sys._current_frames()
        files = [frames[i].f_code.co_filename for i in left if i in frames]
        busy = any(is_hidden(file, called=False) for file in files)
        if time.monotonic() - begun > (_PATIENCE if busy else _GRACE):
            return
        time.sleep(_LOOK)
