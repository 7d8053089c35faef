"""What a model holds, and the place of each thing in a file.

Whoever has `save_own_variables` is met: layers, models, optimizers. The place of
each is made of the attributes that lead to it, in the order and with the names of
Keras' files: the layers of a graph come first, then attributes by name, private
ones last; an entry of a container is named after its class and counted.
"""

import collections
import contextlib
import functools

from lamina.core.naming import snake_case
from lamina.core.random import SeedGenerator


def walk(root, named=()):
    """Yield `(path, object)` for everything with state of its own, `root` first.

    An object that is held twice comes twice, and is opened the first time.

    Args:
        root: where to begin.
        named: a dict from the `id` of an object, or from a class, to the class name
            that a file has for it.
    """
    yield from _walk(root, "", set(), dict(named))


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


def _has_state(thing):
    cls = type(thing)
    return hasattr(cls, "save_own_variables") and hasattr(cls, "load_own_variables")


def _walk(thing, path, opened, named):
    yield path, thing
    if id(thing) in opened:
        return
    opened.add(id(thing))
    for name, child in _attributes(thing):
        where = f"{path}/{name}" if path else name
        if _has_state(child):
            yield from _walk(child, where, opened, named)
        elif isinstance(child, (list, tuple, dict)):
            yield from _walk_container(child, where, opened, named, set())


def _walk_container(container, path, opened, named, inside):
    if id(container) in inside:
        return
    inside.add(id(container))
    names = collections.Counter()
    for child in container.values() if isinstance(container, dict) else container:
        state = _has_state(child)
        if not state and not isinstance(child, (list, tuple, dict)):
            continue
        kind = type(child)
        name = named.get(id(child)) or named.get(kind, kind.__name__)
        name = snake_case(name) if state else "container"
        count = names[name]
        names[name] += 1
        where = f"{path}/{name}_{count}" if count else f"{path}/{name}"
        if state:
            yield from _walk(child, where, opened, named)
        else:
            yield from _walk_container(child, where, opened, named, inside)


def _attributes(thing):
    drawn = getattr(thing, "_drawn_layers", None)
    if drawn is not None:
        yield "layers", drawn
    skipped = _kept_names(type(thing))
    for name in sorted(dir(thing), key=lambda n: f"~{n}" if n[0] == "_" else n):
        if name.startswith("__") or name in skipped:
            continue
        # A property of the user's may need what is not there yet.
        child = None
        with contextlib.suppress(Exception):
            child = getattr(thing, name)
        yield name, child


@functools.cache
def _kept_names(cls) -> frozenset:
    """Return the names that the base class of a kind keeps for itself."""
    base = [c for c in cls.__mro__ if "save_own_variables" in c.__dict__][-1]
    more = [c.__dict__.get("_not_walked", ()) for c in cls.__mro__]
    return frozenset(dir(base)).union(*more)
