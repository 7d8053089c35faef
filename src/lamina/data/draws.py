"""Generators of random numbers that the items of a data set share. Imports no JAX."""

import collections
import contextlib
import functools
import itertools
import pickle
import random
import sys
import types

import numpy as np

from lamina import _generators

_KINDS = (
    random.Random,
    np.random.Generator,
    np.random.RandomState,
    np.random.BitGenerator,
    np.random.SeedSequence,
)
# The global ones are seeded anew for each item; one of the system has no state.
_SEEDED = random.random.__self__, np.random.rand.__self__  # type: ignore
_OTHERS = {"jax", "jaxlib", "lamina", "numpy", *sys.stdlib_module_names}
_MOST = 4_000  # objects that are looked at
_ENTRIES = 100  # of one list or dict


class SharedDraws:
    """Looks for draws from generators that items share, and that nobody seeds for them.

    They are what the data set keeps, at any depth, what the code that makes an item
    keeps or names, and that of `lamina.random`. They are looked for once, but for the
    attributes of the data set, which may come later.

    Args:
        dataset: what has the items.
    """

    def __init__(self, dataset):
        self._dataset = dataset
        self._found = list(_reached(dataset))

    @contextlib.contextmanager
    def watched(self):
        """Look, for the time of a context.

        Yields:
            A function that tells whether somebody drew. Of Lamina's generators it knows
            that this thread did.
        """
        before, noted = self._places(), []

        def drew():
            if noted:
                from_all = sys.modules["lamina.core.random"].global_seed_generator()
                shared = {id(from_all), *map(id, self._kept())}
                if not shared.isdisjoint(map(id, noted)):
                    return True
            return self._places() != before

        _generators.draws.noted = noted
        try:
            yield drew
        finally:
            _generators.draws.noted = None

    def _kept(self):
        now = getattr(self._dataset, "__dict__", {}).values()
        return [*self._found, *filter(_is_generator, [*now])]

    def _places(self):
        return [
            v.n_children_spawned
            if isinstance(v, np.random.SeedSequence)
            else pickle.dumps(getattr(v, "bit_generator", v))
            for v in self._kept()
            if isinstance(v, _KINDS)
        ]


def _is_generator(value):
    ours = sys.modules.get("lamina.core.random")
    if ours is not None and isinstance(value, ours.SeedGenerator):
        return True
    seeded = any(value is one for one in _SEEDED)
    return (
        isinstance(value, _KINDS)
        and not seeded
        and not isinstance(value, random.SystemRandom)
    )


def _reached(thing):
    """Yield the generators that an object holds, or that its code names."""
    waiting, seen = collections.deque([thing]), {}
    while waiting and len(seen) < _MOST:
        value = waiting.popleft()
        if id(value) in seen:
            continue
        seen[id(value)] = value  # held, so that no other one gets its `id`
        if _is_generator(value):
            yield value
        else:
            waiting.extend(_parts(value))


def _parts(value):
    """Return what an object consists of, where that may be a generator."""
    if isinstance(value, dict):
        return [*itertools.islice(value.values(), _ENTRIES)]
    if isinstance(value, (list, tuple, set, frozenset, collections.deque)):
        return [*itertools.islice(value, _ENTRIES)]
    if isinstance(value, types.FunctionType):
        return [] if _is_of_others(value.__module__) else _of_function(value)
    if isinstance(value, (types.MethodType, types.BuiltinMethodType)):
        return [value.__self__, getattr(value, "__func__", None)]
    if isinstance(value, (classmethod, staticmethod)):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, type):
        some = value.__mro__
        return [v for c in some if not _is_of_others(c.__module__) for v in _own(c)]
    if isinstance(value, (types.ModuleType, np.ndarray, str, bytes, int, float)):
        return []
    slots = (getattr(c, "__slots__", ()) for c in type(value).__mro__)
    names = [name for one in slots for name in ([one] if isinstance(one, str) else one)]
    return [
        type(value),
        *_own(value),
        *(getattr(value, name, None) for name in names if not name.startswith("__")),
    ]


def _own(value):
    found = getattr(value, "__dict__", {})
    return [*found.values()] if len(found) < _MOST else []


def _is_of_others(module):
    return str(module).partition(".")[0] in _OTHERS


def _of_function(function):
    """Return what a function holds, and the globals that its code names."""
    names, codes = {}, [function.__code__]
    for code in codes:
        names.update(dict.fromkeys(code.co_names))
        codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    found = [function.__globals__[n] for n in names if n in function.__globals__]
    for module in [v for v in found if isinstance(v, types.ModuleType)]:
        if not _is_of_others(module.__name__):
            found += [vars(module)[n] for n in names if n in vars(module)]
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # it is empty yet
            found.append(cell.cell_contents)
    defaults = function.__defaults__ or (), (function.__kwdefaults__ or {}).values()
    # What decorators keep is among these, and `__wrapped__` as well.
    return [*found, *itertools.chain(*defaults), *_own(function)]
