"""Threads that run models: one trains a model at a time, and none as Python ends."""

import atexit
import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from lamina.core.tracebacks import warn
from lamina.training.compiled import training_of

_F = TypeVar("_F", bound=Callable)
_PATIENCE = 10  # seconds that the end of Python waits for a step to end

_changed = threading.Condition()
_trained: dict[int, tuple[threading.Thread, Any]] = {}  # models, by their `id`
_running: dict[object, Any] = {}  # what other threads than the main one run, by call
_here = {"ending": False}


def until_end(run: _F) -> _F:
    """Have the end of Python wait for a function that another thread runs.

    A daemon thread that computes would abort the interpreter. What is made raises a
    SystemExit, which ends the thread, where Python ends.

    Args:
        run: the function; what comes first may be a model, which is then stopped.
    """

    @functools.wraps(run)
    def wrapped(*args, **kwargs):
        if threading.current_thread() is threading.main_thread():
            return run(*args, **kwargs)
        call = object()
        with _changed:
            if _here["ending"]:
                raise SystemExit
            _running[call] = args[0] if args else None
        try:
            return run(*args, **kwargs)
        finally:
            with _changed:
                del _running[call]
                _changed.notify_all()

    return cast(_F, wrapped)


def alone(fit):
    """Keep other threads from training the model for the time of a function.

    What it makes raises a RuntimeError where another thread trains the model.
    """

    @functools.wraps(fit)
    def wrapped(model, **arguments):
        with _changed:
            check_alone(model, "fit")
            outermost = id(model) not in _trained
            _trained[id(model)] = threading.current_thread(), model
        try:
            return fit(model, **arguments)
        finally:
            if outermost:
                del _trained[id(model)]

    return until_end(wrapped)


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
        for model in _running.values():
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
