"""Threads that run models: one trains a model at a time, and none as Python ends."""

import atexit
import contextlib
import itertools
import threading
from typing import Any

from lamina.core.tracebacks import warn
from lamina.training.compiled import training_of

_PATIENCE = 10  # seconds that the end of Python waits for a step to end

_changed = threading.Condition()
# Models whose state is being changed, by their `id`: where, by what, and the model.
_changing: dict[int, tuple[threading.Thread, str, Any]] = {}
_running: dict[threading.Thread, list] = {}  # the models that other threads run
_here = {"ending": False}


class until_end(contextlib.ContextDecorator):  # noqa: N801
    """A `with` block of a thread, or a function, that the end of Python waits for.

    A daemon thread that computes would abort the interpreter. Where Python ends, what
    is entered raises a SystemExit, which ends the thread.

    Args:
        model: the model that is run, which is then stopped; or None.
    """

    def __init__(self, model=None):
        self._model = model

    def __enter__(self):
        thread = threading.current_thread()
        if thread is threading.main_thread():
            return
        with _changed:
            if _here["ending"]:
                raise SystemExit
            _running.setdefault(thread, []).append(self._model)

    def __exit__(self, *exception):
        thread = threading.current_thread()
        if thread is threading.main_thread():
            return
        with _changed:
            models = _running[thread]
            models.pop()
            if not models:
                del _running[thread]
            _changed.notify_all()


class alone:  # noqa: N801
    """A `with` block in which no other thread trains or evaluates the model.

    It waits for the end of a batch that another thread runs, and raises a RuntimeError
    where that thread is in `fit` or `evaluate`.

    Args:
        model: the model.
        what: what this thread is about to do, for the message.
    """

    def __init__(self, model, what):
        self._model, self._what = model, what

    def __enter__(self):
        key, me = id(self._model), threading.current_thread()
        with _changed:
            while key in _changing and _changing[key][0] is not me:
                self._check(*_changing[key][:2])
                _changed.wait()
                if _here["ending"] and me is not threading.main_thread():
                    raise SystemExit
            self._outermost = key not in _changing
            if self._outermost:
                _changing[key] = me, self._what, self._model

    def __exit__(self, *exception):
        if self._outermost:
            with _changed:
                del _changing[id(self._model)]
                _changed.notify_all()

    def _check(self, other, doing):
        if doing not in ("fit", "evaluate"):
            return
        model, what = self._model, self._what
        raise RuntimeError(
            f"`{what}` of model {model.name!r} was called while `{doing}` of it runs "
            f"in thread {other.name!r}: both would change the same weights or metrics. "
            "What makes its batches runs in threads of its own. Call one after the "
            "other, or give each thread its own model, made by "
            "`lamina.models.clone_model(model)`."
        )


def _stop():
    """Let threads end their step, or the call that they are in."""
    with _changed:
        _here["ending"] = True
        main = threading.main_thread()
        trained = [m for t, w, m in _changing.values() if t is not main and w == "fit"]
        for model in itertools.chain(*_running.values()):
            if hasattr(model, "stop_training"):
                flags = training_of(model).flags
                flags.stop_evaluating = flags.stop_predicting = True
                model.stop_training = True
        _changed.notify_all()
        if _running:
            _changed.wait_for(lambda: not _running, _PATIENCE)
    for model in trained:
        warn(
            f"The program ended while a daemon thread trained {model.name!r}, whose "
            "training was stopped after a step. Call `join()` of the thread to wait "
            "for the rest of it."
        )


atexit.register(_stop)
