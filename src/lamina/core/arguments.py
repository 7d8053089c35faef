"""Arguments that a family of classes shares: defaults and words written once."""

import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar, is_typeddict

_F = TypeVar("_F", bound=Callable)

_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
# Where the arguments of a docstring end.
_LATER = ("Call", "Raises", "Source", "Sources", ">>>")
# The words of an argument in a docstring without its indentation.
_FILLED = textwrap.TextWrapper(
    84,
    initial_indent=" " * 4,
    subsequent_indent=" " * 8,
    break_long_words=False,
    break_on_hyphens=False,
)


def family(cls):
    r"""Let the docstrings of a class's subclasses have its words for their arguments.

    >>> import lamina
    >>> print(lamina.layers.MaxPooling2D.__doc__.partition("Args:")[2].split("\n")[3])
        strides: the distance of neighbouring windows; None for `pool_size`.
    """
    cls._arguments = SharedArguments(cls, cls._arguments)
    return cls


def given(scope) -> dict:
    """Return by name what an `__init__` was given, from its `locals()`.

    >>> class Circle:
    ...     def __init__(self, radius=1, **kwargs):
    ...         print(given(locals()))
    >>> _ = Circle(color="red")
    {'radius': 1, 'color': 'red'}
    """
    named = {k: v for k, v in scope.items() if k not in ("self", "__class__", "kwargs")}
    return named | scope.get("kwargs", {})


class SharedArguments:
    """The arguments of a family of classes.

    A class that takes some of them gets their words in its docstring. Where a
    constructor leaves them to its base class, `shared` puts them into its signature:

        @shared("factor value_range seed")
        def __init__(self, factor: Factor, *_, **kwargs: Unpack[Shared]):
            super().__init__(factor=factor, **kwargs)

    Args:
        described: a function or class whose signature has the defaults, or a TypedDict.
            Its docstring has the words, in which `{cls}` is the class.
        more: other shared arguments of the family.
        defaults: the defaults of a TypedDict's that are not None.
    """

    def __init__(self, described, more=None, **defaults):
        parts = _paragraphs(described.__doc__)
        if is_typeddict(described):
            hints = described.__annotations__.items()
            self.parameters = {n: _optional(n, t, defaults.get(n)) for n, t in hints}
        else:
            self.parameters = _listed(inspect.signature(described))
        self.texts, name = {}, ""
        for line in parts.get("Args", "").split("\n    ")[1:]:
            # What is indented further goes on with the one before.
            if line[0] != " ":
                name = line.partition(":")[0]
            self.texts[name] = f"{self.texts.get(name, '')} {line.strip()}".strip()
        if more:
            self.parameters = more.parameters | self.parameters
            self.texts = more.texts | self.texts
        self.raises = parts.get("Raises", "")

    def __call__(self, order: str | None = None) -> Callable[[_F], _F]:
        """Return a decorator that gives a method the arguments named in `order`.

        Those that it names itself keep their defaults; the ones that are not in
        `order` come first. Without `order` it gets them all: behind its own positional
        ones, and before those that it takes by name only.
        """

        def give(init, /):
            taken = inspect.signature(init)
            own, names = taken.parameters, [*_listed(taken)]
            if order is None:
                names += [name for name in self.parameters if name not in names]
                names += [n for n, p in own.items() if p.kind is p.KEYWORD_ONLY]
            else:
                named = order.split()
                names = [*(name for name in names if name not in named), *named]
            listed = [
                (own.get(name) or self.parameters[name]).replace(kind=_POSITIONAL)
                for name in dict.fromkeys(names)
            ]
            rest = own["kwargs"].replace(annotation=inspect.Parameter.empty)
            return _spelled_out(init, inspect.Signature([*listed, rest]))

        return give

    def given(self, scope) -> dict:
        """Return by name which of them an `__init__` was given, with its `kwargs`.

        Args:
            scope: its `locals()`.
        """
        named = {name: scope[name] for name in self.texts if name in scope}
        return named | scope["kwargs"]

    def document(self, cls) -> None:
        """Add to a docstring the shared arguments that it leaves out."""
        if not cls.__doc__:
            return
        parts = _paragraphs(cls.__doc__)
        said = own = parts.pop("Args", "Args:")
        for name in inspect.signature(cls.__init__).parameters:
            if name in self.texts and f"\n    {name}: " not in said:
                said += "\n" + _FILLED.fill(self.texts[name].format(cls=cls))
        if said == own and not self.raises:
            return
        before = [text for head, text in parts.items() if head not in _LATER]
        parts.setdefault("Raises", self.raises)
        after = [parts[head] for head in _LATER if parts.get(head)]
        listed = [said] if said != "Args:" else []
        cls.__doc__ = "\n\n".join([*before, *listed, *after])


def _spelled_out(init, signature) -> Any:
    """Return `init` as a function of a signature, which hands all on by name."""
    bind = signature.bind

    @functools.wraps(init)
    def made(self, *args, **kwargs):
        try:
            bound = bind(self, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}.__init__() {error}") from None
        bound.apply_defaults()
        others = bound.arguments.pop("kwargs")
        return init(**bound.arguments, **others)

    made.__signature__ = signature  # pyright: ignore
    return made


def _optional(name, hint, default):
    """Return a parameter; a TypedDict keeps a text as what refers to a type."""
    hint = getattr(hint, "__forward_arg__", hint)
    return inspect.Parameter(name, _POSITIONAL, default=default, annotation=hint)


def _listed(signature):
    """Return the parameters of a signature that may be given by their places."""
    found = signature.parameters
    return {name: p for name, p in found.items() if p.kind is _POSITIONAL}


def _paragraphs(doc):
    """Return the paragraphs of a docstring by their headings, others by number."""
    parts = inspect.cleandoc(doc or "").split("\n\n")
    named = {}
    for number, part in enumerate(parts):
        head = re.split("[: ]", part, maxsplit=1)[0]
        named[head if head in ("Args", *_LATER) else number] = part
    return named
