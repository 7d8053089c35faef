"""Nested lists, tuples and dicts: walked in the order of sorted keys.

`None` is a leaf like any other, unless `none_is_leaf=False`.
"""

import collections as _collections

import jax as _jax

from lamina.core.structure import flatten, is_nested
from lamina.core.structure import flatten_with_names as flatten_with_path
from lamina.core.structure import map_leaves as _map_leaves
from lamina.core.tracebacks import boundary as _boundary

__all__ = [
    "MAP_TO_NONE",
    "assert_same_paths",
    "assert_same_structure",
    "flatten",
    "flatten_with_path",
    "is_nested",
    "lists_to_tuples",
    "map_shape_structure",
    "map_structure",
    "map_structure_up_to",
    "pack_sequence_as",
    "traverse",
]


class MAP_TO_NONE:
    """What a function given to `traverse` returns to put None in place.

    >>> from lamina import tree
    >>> tree.traverse(lambda x: tree.MAP_TO_NONE if x == 2 else None, [1, 2])
    [1, None]
    """


def _children(x):
    """Return the keys and values right below a container, sorted as JAX does."""
    if isinstance(x, dict):
        keys = x if hasattr(x, "move_to_end") else sorted(x)
        return [(k, x[k]) for k in keys]
    if hasattr(x, "_fields"):
        return list(zip(x._fields, x, strict=True))
    return list(enumerate(x))


def _rebuild(x, values):
    """Return a container like `x` with other values."""
    if isinstance(x, dict):
        keys = [k for k, _ in _children(x)]
        new = dict(zip(keys, values, strict=True))
        ordered = {k: new[k] for k in x}
        if isinstance(x, _collections.defaultdict):
            return type(x)(x.default_factory, ordered)
        return type(x)(ordered)
    return type(x)(*values) if hasattr(x, "_fields") else type(x)(values)


@_boundary
def map_structure(func, *structures, none_is_leaf=True):
    """Apply `func` to the leaves of structures that nest alike.

    Raises:
        TypeError: `func` is not callable.
        ValueError: no structures, or they differ.

    >>> import lamina
    >>> lamina.tree.map_structure(lambda a, b: a + b, {"x": 1}, {"x": 2})
    {'x': 3}
    """
    if not callable(func):
        raise TypeError(f"`func` must be callable, got {func!r}")
    if not structures:
        raise ValueError("Must provide at least one structure")
    for other in structures[1:]:
        assert_same_structure(structures[0], other)

    def apply(*leaves):
        return None if not none_is_leaf and leaves[0] is None else func(*leaves)

    return _map_leaves(apply, *structures)


@_boundary
def map_structure_up_to(shallow_structure, func, *structures):
    """Apply `func` to what stands in `structures` at the leaves of the shallow one.

    Raises:
        ValueError: the structures do not nest like it.

    >>> import lamina
    >>> lamina.tree.map_structure_up_to([1, 2], len, [[5, 6], [7]])
    [2, 1]
    """
    if not structures:
        raise ValueError("Cannot map over no sequences")
    parts = [_up_to(shallow_structure, s) for s in structures]
    return pack_sequence_as(
        shallow_structure, [func(*leaves) for leaves in zip(*parts, strict=True)]
    )


def _up_to(shallow, deep):
    if not is_nested(shallow):
        return [deep]
    if type(shallow) is not type(deep):
        raise ValueError(
            "The two structures don't have the same nested type. Received: "
            f"{type(shallow).__name__} and {type(deep).__name__}"
        )
    inner, outer = _children(shallow), _children(deep)
    if [k for k, _ in inner] != [k for k, _ in outer]:
        raise ValueError(
            "The two structures don't have the same keys. Received: "
            f"{[k for k, _ in inner]} and {[k for k, _ in outer]}"
        )
    pairs = zip(inner, outer, strict=True)
    return [leaf for (_, a), (_, b) in pairs for leaf in _up_to(a, b)]


@_boundary
def pack_sequence_as(structure, flat_sequence):
    """Put the values of `flat_sequence` in place of the leaves of `structure`.

    Raises:
        TypeError: `flat_sequence` is not a sequence.
        ValueError: there are more or fewer values than leaves.

    >>> import lamina
    >>> lamina.tree.pack_sequence_as({"a": 0, "b": [0, 0]}, [1, 2, 3])
    {'a': 1, 'b': [2, 3]}
    """
    if not is_nested(flat_sequence) or isinstance(flat_sequence, dict):
        raise TypeError(
            "Attempted to pack value into a structure, but found a value of type "
            f"{type(flat_sequence).__name__} instead of a sequence: {flat_sequence!r}"
        )
    leaves, values = flatten(structure), list(flat_sequence)
    if len(leaves) != len(values):
        raise ValueError(
            "Could not pack sequence. Structure had "
            f"{len(leaves)} atoms, but flat_sequence had {len(values)} items. "
            "Received: "
            f"structure={structure}, flat_sequence={flat_sequence}"
        )
    remaining = iter(values)
    return _fill(structure, remaining)


def _fill(structure, values):
    if not is_nested(structure):
        return next(values)
    return _rebuild(structure, [_fill(v, values) for _, v in _children(structure)])


@_boundary
def assert_same_structure(a, b, check_types=None):
    """Raise unless two structures nest alike.

    Args:
        a: a structure.
        b: another.
        check_types: kept for compatibility; types are always compared.

    Raises:
        ValueError: they differ.

    >>> import lamina
    >>> lamina.tree.assert_same_structure({"x": 1}, {"x": 2})
    """
    try:
        same = _jax.tree.structure(a, is_leaf=lambda x: x is None)
        if same == _jax.tree.structure(b, is_leaf=lambda x: x is None):
            return
    except (TypeError, ValueError):
        pass  # keys that do not sort; the error below shows both
    raise ValueError(
        "`a` and `b` don't have the same structure. Expected one of type "
        f"{type(a).__name__} as in a={a}. Received: b={b} of type {type(b).__name__}"
    )


@_boundary
def assert_same_paths(a, b):
    """Raise unless the same paths lead to leaves in both; containers may differ.

    Raises:
        ValueError: they differ.

    >>> import lamina
    >>> lamina.tree.assert_same_paths([1, (2, 3)], [4, [5, 6]])
    """
    first = {path for path, _ in flatten_with_path(a)}
    second = {path for path, _ in flatten_with_path(b)}
    if first != second:
        raise ValueError(
            "`a` and `b` don't have the same paths. Missing in `b`: "
            f"{sorted(first - second, key=str)}; missing in `a`: "
            f"{sorted(second - first, key=str)}"
        )


@_boundary
def lists_to_tuples(structure):
    """Return the structure with every list turned into a tuple.

    >>> import lamina
    >>> lamina.tree.lists_to_tuples([1, [2]])
    (1, (2,))
    """
    if not is_nested(structure):
        return structure
    values = [lists_to_tuples(v) for _, v in _children(structure)]
    return tuple(values) if type(structure) is list else _rebuild(structure, values)


def _is_shape(x):
    return isinstance(x, (list, tuple)) and all(
        isinstance(n, (int, type(None))) for n in x
    )


@_boundary
def map_shape_structure(func, structure):
    """Apply `func` to the shapes in a structure: lists or tuples of int and None.

    >>> import lamina
    >>> lamina.tree.map_shape_structure(len, {"x": (None, 3)})
    {'x': 2}
    """
    if not callable(func):
        raise TypeError(f"`func` must be callable, got {func!r}")
    if _is_shape(structure) or not is_nested(structure):
        return func(structure)
    return _rebuild(
        structure, [map_shape_structure(func, v) for _, v in _children(structure)]
    )


@_boundary
def traverse(func, structure, top_down=True):
    """Apply `func` to every container and leaf.

    Args:
        func: what it returns stands in place of its argument; None keeps the
            argument (top down: and goes into it), `MAP_TO_NONE` puts None.
        structure: any structure.
        top_down: containers before what they hold, or after.

    >>> import lamina
    >>> lamina.tree.traverse(lambda x: x + 1 if isinstance(x, int) else None, [1, [2]])
    [2, [3]]
    """
    if not callable(func):
        raise TypeError(f"`func` must be callable, got {func!r}")
    if top_down:
        result = func(structure)
        if result is None:
            return _below(func, structure, top_down)
    else:
        structure = _below(func, structure, top_down)
        result = func(structure)
        if result is None:
            return structure
    return None if result is MAP_TO_NONE else result


def _below(func, structure, top_down):
    if not is_nested(structure):
        return structure
    return _rebuild(
        structure, [traverse(func, v, top_down) for _, v in _children(structure)]
    )
