"""What a model holds, and the place of each thing in a file.

What has `save_own_variables` is met: layers, models, optimizers. The place of
each is made of the attributes that lead to it, in the order and with the names of
Keras' files: the layers of a graph come first, then attributes by name, private
ones last; an entry of a container is named after its class and counted.
"""

import collections
import functools

from lamina.core.naming import snake_case
from lamina.core.random import SeedGenerator


def walk(root, named=()) -> list:
    """Return `(path, object)` for everything with state of its own, `root` first.

    An object that is held twice comes twice, and is opened the first time.

    Args:
        root: where to begin.
        named: a dict from the `id` of an object, or from a class, to the class name
            that a file has for it.
    """
    found = []
    _open(root, "", found, set(), dict(named))
    return found


def objects(root) -> dict:
    """Return a dict from path to object, where each has its first path only."""
    first = {}
    for path, thing in walk(root):
        first.setdefault(id(thing), (path, thing))
    return dict(first.values())


def generators(thing) -> dict:
    """Return the SeedGenerators that an object holds as attributes, by name."""
    held = sorted(vars(thing).items())
    return {name: x for name, x in held if isinstance(x, SeedGenerator)}


@functools.lru_cache(1 << 12)
def _has_state(cls):
    return hasattr(cls, "save_own_variables") and hasattr(cls, "load_own_variables")


def _open(thing, path, found, opened, named):
    found.append((path, thing))
    if id(thing) in opened:
        return
    opened.add(id(thing))
    for name, child in _attributes(thing):
        where = f"{path}/{name}" if path else name
        if _has_state(type(child)):
            _open(child, where, found, opened, named)
        elif isinstance(child, (list, tuple, dict)) and child:
            _open_container(child, where, found, opened, named, set())


def _open_container(container, path, found, opened, named, inside):
    if id(container) in inside:
        return
    inside.add(id(container))
    names = collections.Counter()
    for child in container.values() if isinstance(container, dict) else container:
        kind = type(child)
        state = _has_state(kind)
        if not state and not isinstance(child, (list, tuple, dict)):
            continue
        name = named.get(id(child)) or named.get(kind, kind.__name__)
        name = snake_case(name) if state else "container"
        count = names[name]
        names[name] += 1
        where = f"{path}/{name}_{count}" if count else f"{path}/{name}"
        if state:
            _open(child, where, found, opened, named)
        else:
            _open_container(child, where, found, opened, named, inside)


def _attributes(thing):
    """Return `(name, value)` of all attributes that may hold something with state."""
    drawn = getattr(thing, "_drawn_layers", None)
    found = [] if drawn is None else [("layers", drawn)]
    skipped = _kept_names(type(thing))
    ranked = [(f"~{n}" if n[:1] == "_" else n, n) for n in dir(thing)]
    for _, name in sorted(ranked):
        if name.startswith("__") or name in skipped:
            continue
        # A property that a user wrote may need what is not there yet.
        try:
            found.append((name, getattr(thing, name)))
        except Exception:
            continue
    return found


@functools.cache
def _kept_names(cls) -> frozenset:
    """Return the names that the base class of a kind keeps for itself."""
    base = [c for c in cls.__mro__ if "save_own_variables" in c.__dict__][-1]
    more = [c.__dict__.get("_not_walked", ()) for c in cls.__mro__]
    return frozenset(dir(base)).union(*more)
