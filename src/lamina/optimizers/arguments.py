"""The arguments that every optimizer takes."""

import functools
import inspect

from lamina.optimizers.optimizer import Optimizer

_, _RATE, *_SHARED, _KWARGS = inspect.signature(Optimizer.__init__).parameters.values()
SHARED = {p.name: p for p in _SHARED}


def shared_arguments(init):
    """Give an `__init__` the arguments of all optimizers, behind its positional ones.

    They reach it in `**kwargs`, which it hands to `Optimizer`. One that it names
    itself keeps its default and, if it is positional, its place.
    """
    own = inspect.signature(init).parameters
    first = [p for p in own.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    taken = {p.name for p in first}
    shared = [own.get(n, p) for n, p in SHARED.items() if n not in taken]
    last = [
        p for p in own.values() if p.kind is p.KEYWORD_ONLY and p.name not in SHARED
    ]
    listed = [p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in (*first, *shared, *last)]
    signature = inspect.Signature([*listed, own["kwargs"]])

    @functools.wraps(init)
    def wrapper(self, *args, **kwargs):
        given = signature.bind(self, *args, **kwargs).arguments
        others = given.pop("kwargs", {})
        init(**given, **others)

    wrapper.__signature__ = signature  # pyright: ignore
    return wrapper
