"""What holds during a call: bound values, training flag, compute dtype, names.

One object per thread. Every field is set for the length of a `with` block by
`having` and falls back to what it was, so nothing leaks out of a call.
"""

import threading
from typing import Any

from lamina.core.tracebacks import warn


class _Context(threading.local):
    frames: tuple = ()  # bound values of Variables, innermost last
    training: bool | None = None
    calling: tuple = ()  # the layers being called, outermost first
    autocast: str | None = None  # dtype that float Variables are read in
    scopes: tuple[str, ...] = ()  # names that prefix the paths of new Variables
    losses: list | None = None  # where `add_loss` puts what it is given
    symbolic: bool = False  # inside shape inference
    custom_objects: dict | None = None  # names that the caller lent to a load
    safe_mode: bool | None = None  # None means safe
    shared: dict | None = None  # what was read already, by number in the config
    replaced: list | None = None  # what was read under another class' name, and that
    numbering: Any = None  # gives numbers to what a config mentions repeatedly
    held: Any = None  # what a config in memory may refer to, see `core.held`
    budget: Any = None  # what a config may make, see `core.budget`
    remat: Any = None  # which layers made now forget activations, see `core.remat`
    again: bool = False  # inside a call that is computed again backward
    named: bool = False  # whether compiled code says which layer made it
    passed: dict = {}  # call-context arguments besides `training`, for the calls inside


context = _Context()


class having:  # noqa: N801
    """Set fields of the context for the length of a `with` block."""

    __slots__ = ("_fields", "_saved")

    def __init__(self, **fields):
        self._fields = fields

    def __enter__(self):
        self._saved = saved = {}
        for name, value in self._fields.items():
            saved[name] = getattr(context, name)
            setattr(context, name, value)
        return context

    def __exit__(self, *exception):
        for name, value in self._saved.items():
            setattr(context, name, value)


def warn_once(kind, text):
    """Warn; inside the calls of a layer, once for each layer and kind of warning."""
    if context.calling:
        warned = context.calling[-1].__dict__.setdefault("_warned", set())
        if kind in warned:
            return
        warned.add(kind)
    warn(text)


class Scope:
    """A `with` block for the length of which fields of the context are set.

    A subclass says in `_fields` which ones. It may be entered again while it is open.
    """

    _open: tuple = ()

    def _fields(self) -> dict:
        raise NotImplementedError

    def __enter__(self):
        block = having(**self._fields())
        block.__enter__()
        self._open = (*self._open, block)
        return self

    def __exit__(self, *exception):
        self._open, block = self._open[:-1], self._open[-1]
        return block.__exit__(*exception)


class name_scope(Scope):
    """Prefix the paths of Variables made in a `with` block by `name`.

    >>> import lamina
    >>> with lamina.name_scope("encoder"):
    ...     v = lamina.Variable([1.0], name="scale")
    >>> v.path
    'encoder/scale'
    """

    def __init__(self, name, **kwargs):
        if not isinstance(name, str) or "/" in name:
            raise ValueError(
                "`name_scope` expected `name` to be a string without '/'. "
                f"Received: name={name!r}"
            )
        self.name = name

    def _fields(self):
        return {"scopes": (*context.scopes, self.name)}
