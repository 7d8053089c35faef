"""What a constructor takes, and what it was given."""

import functools
import inspect
from typing import TYPE_CHECKING, Any

from lamina.core.registry import ours
from lamina.core.tracebacks import boundary

_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def parameters_of(cls) -> list[str]:
    """Return the names of a constructor's own parameters."""
    _, *found = inspect.signature(cls.__init__).parameters.values()
    return [p.name for p in found if p.kind not in _MANY]


@functools.cache
def all_parameters(cls) -> dict[str, Any]:
    """Return a constructor's parameters with their defaults.

    Where it takes `**kwargs`, those of the class below it follow.
    """
    found = {}
    for base in cls.__mro__:
        if base is object or "__init__" not in base.__dict__:
            continue
        _, *parameters = inspect.signature(base.__init__).parameters.values()
        for p in parameters:
            if p.kind not in _MANY:
                found.setdefault(p.name, p.default)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


class Bounded:
    """Errors of the library's constructors stand at the user's line."""

    # What the constructors of a family share: a `SharedArguments`.
    _arguments: Any = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if not ours(cls):
            return
        if "__init__" in cls.__dict__:
            _bound(cls)
        if cls._arguments is not None:
            cls._arguments.document(cls)


def _bound(made):
    # In a method of the class, editors would take this for what `__init__` is.
    made.__init__ = boundary(made.__init__)


class Captured:
    """Keeps what its constructor was given."""

    _given: tuple

    # Type checkers read what `__init__` takes.
    if not TYPE_CHECKING:

        def __new__(cls, *args, **kwargs):
            """Keep the constructor's arguments: configs are read from them."""
            made = super().__new__(cls)
            made.__dict__["_given"] = (args, kwargs)
            return made

    def _bound_arguments(self):
        args, kwargs = self._given
        bound = inspect.signature(self.__init__).bind(*args, **kwargs)
        bound.apply_defaults()
        return bound

    def _given_arguments(self) -> dict:
        """Return the arguments by name, with those of `**kwargs` and without `*args`.

        It is empty where the constructor was called in another way than the class.
        """
        try:
            bound = self._bound_arguments()
        except TypeError:
            return {}
        given = dict(bound.arguments)
        for name, parameter in bound.signature.parameters.items():
            if parameter.kind in _MANY:
                rest = given.pop(name)
                given.update(rest if isinstance(rest, dict) else {})
        return given

    def _names_all_given(self) -> bool:
        """Tell whether `_given_arguments` has all that the constructor was given."""
        try:
            parameters = self._bound_arguments().signature.parameters.values()
        except TypeError:
            return False
        return all(p.kind is not p.VAR_POSITIONAL for p in parameters)
