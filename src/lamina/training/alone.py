"""Threads that train: a model in one of them at a time, and in none as Python ends."""

import atexit
import contextlib
import functools
import threading
from typing import Any

from lamina.core.tracebacks import warn
from lamina.training.compiled import training_of

_PATIENCE = 10  # seconds that the end of Python waits for a step to end

_changed = threading.Condition()
_trained: dict[int, tuple[threading.Thread, Any]] = {}  # models, by their `id`
_here = {"ending": False}


def alone(fit):
    """Keep other threads from training the model for the time of a function.

    What it makes raises a RuntimeError where another thread trains the model, and a
    SystemExit, which ends the thread, where Python ends.
    """

    @functools.wraps(fit)
    def wrapped(model, **arguments):
        with _noted(model):
            return fit(model, **arguments)

    return wrapped


@contextlib.contextmanager
def _noted(model):
    me = threading.current_thread()
    with _changed:
        if _here["ending"] and me is not threading.main_thread():
            raise SystemExit
        check_alone(model, "fit")
        outermost = id(model) not in _trained
        _trained[id(model)] = me, model
    try:
        yield
    finally:
        if outermost:
            with _changed:
                del _trained[id(model)]
                _changed.notify_all()


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


def _stop_training():
    """Let threads end their step, which would abort the interpreter as it ends."""
    with _changed:
        _here["ending"] = True
        running = [m for t, m in _trained.values() if t is not threading.main_thread()]
        for model in running:
            model.stop_training = True
            training_of(model).flags.stop_evaluating = True
        if running:
            _changed.wait_for(lambda: not _trained, _PATIENCE)
    for model in running:
        warn(
            f"The program ended while a daemon thread trained {model.name!r}, whose "
            "training was stopped after a step. Call `join()` of the thread to wait "
            "for the rest of it."
        )


atexit.register(_stop_training)
