"""Arguments that a family of classes shares: defaults and words written once."""

import functools
import inspect
from typing import Any, NamedTuple

_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


class Argument(NamedTuple):
    """What docstrings say of an argument, its default, and its check.

    The text may be a function of the class; lines after the first are indented by 8.
    The check takes the object, the name and a value, and returns what is kept of it.
    """

    text: Any
    default: Any = None
    check: Any = None


def as_given(thing, name, value):
    """Keep an argument as it is: a check that checks nothing."""
    return value


class SharedArguments:
    """The arguments of a family of classes, by name.

    A constructor lists those that it takes, in the order of its signature. They reach
    it in `**kwargs`, which it hands to its base class:

        @shared("factor value_range seed")
        def __init__(self, factor, **kwargs):
            super().__init__(factor, **kwargs)

    Args:
        raises: what docstrings say of bad arguments, such as `"ValueError: ..."`.
        arguments: an `Argument` for each name.
    """

    def __init__(self, raises="", arguments=None):
        self.raises, self.arguments = raises, arguments or {}

    def __call__(self, order):
        """Return a decorator that gives an `__init__` the arguments named in `order`.

        Those that it names itself keep their defaults; the ones that are not in
        `order` come first.
        """
        names = order.split()

        def give(init):
            own = inspect.signature(init).parameters
            first = [p for p in own.values() if p.kind is _POSITIONAL]
            listed = [own.get(name) or self._parameter(name) for name in names]
            listed = [*(p for p in first if p.name not in names), *listed]
            signature = inspect.Signature([*listed, own["kwargs"]])

            @functools.wraps(init)
            def wrapper(self, *args, **kwargs):
                try:
                    bound = signature.bind(self, *args, **kwargs)
                except TypeError as error:
                    raise TypeError(f"`{type(self).__name__}`: {error}") from None
                bound.apply_defaults()
                others = bound.arguments.pop("kwargs")
                init(**bound.arguments, **others)

            wrapper.__signature__ = signature  # pyright: ignore
            return wrapper

        return give

    def _parameter(self, name):
        return inspect.Parameter(
            name, _POSITIONAL, default=self.arguments[name].default
        )

    def keep(self, thing, kwargs) -> dict:
        """Set what checks give of the arguments in `kwargs`; return the others."""
        taken, left = _parameters(type(thing)), dict(kwargs)
        for name, argument in self.arguments.items():
            if argument.check and name in taken and name in kwargs:
                setattr(thing, name, argument.check(thing, name, left.pop(name)))
        return left

    def document(self, cls) -> None:
        """Add to a docstring the arguments that it leaves out, and what they raise."""
        if not cls.__doc__:
            return
        parts = inspect.cleandoc(cls.__doc__).split("\n\n")
        heads = [part.partition(":")[0].partition(" ")[0] for part in parts]
        later = ("Call", "Raises", "Source", "Sources", ">>>")
        place = next((i for i, h in enumerate(heads) if h in later), len(parts))
        if "Args" not in heads:
            parts.insert(place, "Args:")
            place += 1
        at = next(i for i, part in enumerate(parts) if part.startswith("Args:"))
        for name in inspect.signature(cls.__init__).parameters:
            if name in self.arguments and f"\n    {name}: " not in parts[at]:
                text = self.arguments[name].text
                parts[at] += f"\n    {name}: {text(cls) if callable(text) else text}"
        if "Raises" not in heads:
            parts.insert(place, f"Raises:\n    {self.raises}")
        cls.__doc__ = "\n\n".join(parts)


@functools.cache
def _parameters(cls):
    """Return the names of constructor parameters, those of all base classes too."""
    inits = [vars(c)["__init__"] for c in cls.__mro__ if "__init__" in vars(c)]
    return list(
        dict.fromkeys(n for f in inits for n in inspect.signature(f).parameters)
    )
