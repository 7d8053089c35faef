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
_trained: dict[int, tuple[threading.Thread, Any]] = {}  # models, by their `id`
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
    """A `with` block in which no other thread trains the model.

    Entering it raises a RuntimeError where another thread does.
    """

    def __init__(self, model):
        self._model = model

    def __enter__(self):
        model = self._model
        with _changed:
            check_alone(model, "fit")
            self._outermost = id(model) not in _trained
            _trained[id(model)] = threading.current_thread(), model

    def __exit__(self, *exception):
        if self._outermost:
            del _trained[id(self._model)]


def check_alone(model, what):
    """Raise where another thread trains a model.

    Args:
        model: the model.
        what: what this thread is about to do, for the message.

    Raises:
        RuntimeError: another thread trains it.
    """
    other, _ = _trained.get(id(model), (None, None))
    if other not in (None, threading.current_thread()):
        raise RuntimeError(
            f"`{what}` of model {model.name!r} was called while `fit` of it runs in "
            f"thread {other.name!r}: both would change the same weights and metrics. "
            "Call one after the other, or give each thread a model of its own, made "
            "by `lamina.models.clone_model(model)`."
        )


def _stop():
    """Let threads end their step, or the call that they are in."""
    with _changed:
        _here["ending"] = True
        trained = [m for t, m in _trained.values() if t is not threading.main_thread()]
        for model in itertools.chain(*_running.values()):
            if hasattr(model, "stop_training"):
                flags = training_of(model).flags
                flags.stop_evaluating = flags.stop_predicting = True
                model.stop_training = True
        if _running:
            _changed.wait_for(lambda: not _running, _PATIENCE)
    for model in trained:
        warn(
            f"The program ended while a daemon thread trained {model.name!r}, whose "
            "training was stopped after a step. Call `join()` of the thread to wait "
            "for the rest of it."
        )


atexit.register(_stop)
