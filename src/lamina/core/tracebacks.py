"""Errors and warnings at the user's line, without the library's own frames."""

import functools
import inspect
import re
import sys
import sysconfig
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import jax

from lamina.core import bounds, settings
from lamina.core.naming import nearest, shortened

_F = TypeVar("_F", bound=Callable)

# What is to be written instead, where an error of JAX's does not say it.
_CURES = {
    jax.errors.TracerBoolConversionError: "What decides an `if` or a `while` has no "
    "value while code is compiled. Use `lamina.ops.where` or `lamina.ops.cond`.",
    jax.errors.TracerArrayConversionError: "NumPy cannot compute with what is compiled "
    "or drawn as a graph. Use `lamina.ops` in its place.",
    AttributeError: "A tensor has no value while code is compiled. Use `lamina.ops` on "
    "the tensor itself.",
}

# Frames of these packages say nothing about the program that called them.
_PACKAGES = ("lamina", "jax", "jaxlib")
_JAX_NOTICE = "JAX has removed its internal frames"


def boundary(function: _F) -> _F:
    """Hide the library's frames in errors that leave `function`.

    Example:
        >>> import traceback
        >>> from lamina.core.tracebacks import boundary
        >>> @boundary
        ... def check(units):
        ...     raise ValueError(f"Received: units={units}")
        >>> try:
        ...     check(-3)
        ... except ValueError as error:
        ...     print(error)
        Received: units=-3
    """

    @functools.wraps(function)
    def wrapper(*args, **kwargs) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            _suggest(error, function, args)
            hide_frames(error)
            raise  # adds no frame: this one was in the traceback and is not now

    return cast(_F, wrapper)


def _suggest(error, function, args):
    """Say in the error of a call that does not fit which class was made.

    To a misspelt argument the nearest one is added, and where tensors were given to a
    layer's constructor, how it is called.
    """
    at = error.__traceback__  # what is asked below may hide it
    _note_tensors(error, function, args)
    if not isinstance(error, TypeError) or at is None or at.tb_next is not None:
        return
    made = type(args[0]) if args else None
    if made and getattr(made.__init__, "__wrapped__", None) is function:
        own = f"{made.__qualname__}.__init__()"
        error.args = (str(error).replace(f"{function.__qualname__}()", own),)
    if found := re.search(r"unexpected keyword argument '(\w+)'$", str(error)):
        known = inspect.signature(function).parameters
        error.args = (f"{error}.{nearest(found[1], known)}",)


def _note_tensors(error, function, args):
    """Note that a layer's constructor was given what its call takes."""
    made = args[0] if args and function.__name__ == "__init__" else None
    if not hasattr(made, "compute_mask") or hasattr(made, "fit"):
        return
    given = [x for a in args[1:] for x in (a if isinstance(a, (list, tuple)) else [a])]
    if any(getattr(x, "is_symbolic", False) for x in given):
        begin = "Give tensors to a layer, not to its class"
        notes = getattr(error, "__notes__", [])  # of a layer inside, too
        notes[:] = [note for note in notes if not note.startswith(begin)]
        error.add_note(f"{begin}: `{type(made).__name__}(...)(x)`.")


def hide_frames(error: BaseException) -> None:
    """Take the library's frames and JAX's notice out of an error and its causes.

    An error of JAX's that does not say what to do gets a note that does.

    Frames of Python's own modules that the library called go with it. Nothing is done
    after `config.disable_traceback_filtering()`.
    """
    _note_cure(error)
    if not settings.get("traceback_filtering"):
        return
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        # The class may refuse attributes; neither of these sets one.
        # A cause that begins in Python's own modules was met there, on our errand.
        cause = link is not error
        BaseException.with_traceback(link, _shown(link.__traceback__, cause))
        notes = getattr(link, "__notes__", None)
        if isinstance(notes, list):
            notes[:] = [note for note in notes if _JAX_NOTICE not in note]
        link = link.__cause__ or link.__context__


def _note_cure(error):
    """Note what to write instead on an error that JAX has while it traces."""
    cure = f"\n{_CURES.get(type(error), '')}"
    if type(error) is AttributeError and "Tracer has no attribute" not in str(error):
        return
    if len(cure) > 1 and cure not in getattr(error, "__notes__", ()):
        error.add_note(cure)


def enable(value: bool) -> None:
    """Hide frames from now on, or show all of them, JAX's included."""
    settings.put("traceback_filtering", value)
    jax.config.update("jax_traceback_filtering", "auto" if value else "off")


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called the library, in words of bounded length."""
    level, frame = 1, sys._getframe()
    while frame is not None and is_hidden(frame.f_code.co_filename, called=True):
        level, frame = level + 1, frame.f_back
    # In a thread that runs nothing else there is no such line.
    level = level if frame is not None else 2
    warnings.warn(shortened(text, bounds.MESSAGE), category, stacklevel=level)


@functools.cache
def _folders() -> tuple[tuple[str, ...], str, str]:
    """Return the folders of the packages, of Python's modules, and of what is added."""
    files = (sys.modules[name].__file__ for name in _PACKAGES if name in sys.modules)
    packages = tuple(f"{Path(file).parent}/" for file in files if file)
    standard = sysconfig.get_path("stdlib")
    return packages, f"{standard}/", f"{standard}/site-packages/"


def is_hidden(file: str, called: bool) -> bool:
    """Tell whether a file is one of the packages, or of Python where they called it."""
    packages, standard, added = _folders()
    of_python = file.startswith((standard, "<frozen ")) and not file.startswith(added)
    return file.startswith(packages) or (called and of_python)


def _shown(traceback: TracebackType | None, hidden: bool) -> TracebackType | None:
    """Return a traceback's frames but the library's; `hidden`: that before them was."""
    kept: list[TracebackType] = []
    while traceback is not None:
        hidden = is_hidden(traceback.tb_frame.f_code.co_filename, called=hidden)
        if not hidden:
            kept.append(traceback)
        traceback = traceback.tb_next
    shown = None
    for one in reversed(kept):
        shown = TracebackType(shown, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return shown
