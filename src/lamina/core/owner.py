"""`Owner`: what holds Variables, and others of its kind that hold more.

Layers, models, metrics and optimizers are owners. What one owns is read from its
attributes: nothing has to be declared.
"""

import itertools
import operator
from typing import TYPE_CHECKING, Any

from lamina.core.context import having
from lamina.core.tracebacks import boundary
from lamina.core.variable import Variable

# Most attributes are of these types: a quick way to pass them over.
_PLAIN = frozenset({str, int, float, bool, type(None)})
_PLAIN_TYPES = tuple(_PLAIN)
_CONTAINERS = (list, tuple, set, dict)
_made_at = operator.attrgetter("made_at")


class Owner:
    """What holds Variables. A subclass sets `_variables` to `[]` in `__init__`."""

    # Attributes that hold Variables or owners without owning them.
    _not_owned: frozenset = frozenset()
    # The attributes whose lists, tuples, sets and dicts are opened; None for all.
    _owned_lists: tuple | None = None
    # The class of others, held by attributes, whose Variables are its own as well.
    _owns: Any = ()
    # Those that it made by `add_weight` and its like.
    _variables: list
    # What other rooms ask of layers and models, by the functions below and those of
    # `core.operation`, `core.walk` and `core.budget`.
    _changed_at = 0
    _trains_by_default: Any = False
    _keeps_masks: Any = False
    _drawn_graph: Any
    _drawn_layers: Any = None
    _numbers_are_sizes: bool | None = None

    def _check_constructed(self, error: type[Exception] = RuntimeError):
        if "_variables" not in self.__dict__:
            name = type(self).__name__
            raise error(
                f"In class {name!r}, you forgot to call `super().__init__()` as the "
                f"first statement of `__init__()`:\n\n"
                f"    class {name}(...):\n"
                f"        def __init__(self, ..., **kwargs):\n"
                f"            super().__init__(**kwargs)   # first\n"
            )

    if not TYPE_CHECKING:

        @boundary
        def __getattr__(self, name):
            # Reached where there is no such attribute, or a property raised that.
            self._check_constructed(AttributeError)
            return object.__getattribute__(self, name)

    def _make_own_variable(self, scopes, *args, **settings) -> Variable:
        """Make a Variable, its path beginning with `scopes`, and own it."""
        with having(scopes=scopes):
            variable = Variable(*args, **settings)
        self._variables.append(variable)
        return variable

    def _track_variable(self, variable):
        """Own a Variable that was made elsewhere."""
        self._variables.append(variable)

    def _untrack_variable(self, variable):
        """Give a Variable up: it is trained and saved no more."""
        self._variables = [v for v in self._variables if v is not variable]

    def _inner_layers(self) -> list:
        """Return the owners of its kind directly inside."""
        return []

    def _owned(self) -> list[tuple[str, Any]]:
        """Return `(attribute, thing)` for all that attributes and containers hold."""
        found, lists, others = [], self._owned_lists, self._not_owned
        for name, value in list(self.__dict__.items()):
            if type(value) in _PLAIN or name in others:
                continue
            if not isinstance(value, _CONTAINERS):
                found.append((name, value))
            elif value and (lists is None or name in lists):
                found += zip(itertools.repeat(name), leaves_of(value))
        return found

    @property
    def variables(self) -> list:
        """Its Variables in the order in which they were made, then those of others."""
        self._check_constructed()
        own, others = [], []
        for _, thing in self._owned():
            if isinstance(thing, Variable):
                own.append(thing)
            elif isinstance(thing, self._owns):
                others += thing.variables
        return unique([*sorted(own, key=_made_at), *others])


class _Changes:
    """When anything was last assigned that compiled programs may hang on."""

    last = 0


changes = _Changes()


def changed_at(owner) -> int:
    """Return when anything of it was last assigned, but for `trainable`."""
    return owner._changed_at


def layers_in(owner, include_self=True, recursive=True) -> list:
    """Return a layer and those inside, each once: what a layer holds follows it."""
    found = {id(owner): owner}
    queue = list(owner._inner_layers())
    while queue:
        layer = queue.pop(0)
        if id(layer) in found:
            continue
        found[id(layer)] = layer
        if recursive:
            queue = layer._inner_layers() + queue
    return list(found.values())[0 if include_self else 1 :]


def held_in(owners) -> list:
    """Return all that the attributes of some owners hold."""
    return [x for owner in owners for _, x in owner._owned()]


def split(owner, variables) -> tuple[list, list]:
    """Return those of a layer's Variables that are trained, and the others."""
    if not owner.trainable:
        return [], variables
    trained, others = [], []
    for v in variables:
        (trained if v.trainable else others).append(v)
    return trained, others


def trains_by_default(layer) -> bool:
    """Tell whether its calls train unless they are told otherwise."""
    return layer._trains_by_default


def leaves_of(container, outer=()) -> list:
    """Return what a container holds, opened to any depth."""
    if id(container) in outer:
        return []
    found = []
    for item in container.values() if isinstance(container, dict) else container:
        if isinstance(item, _CONTAINERS):
            found += leaves_of(item, (*outer, id(container)))
        elif not isinstance(item, _PLAIN_TYPES):
            found.append(item)
    return found


def unique(items) -> list:
    """Return each item once, by identity, in order."""
    items = list(items)
    return list(dict(zip(map(id, items), items, strict=True)).values())
