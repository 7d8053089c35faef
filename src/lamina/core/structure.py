"""Nested lists, tuples and dicts, walked in one way everywhere.

`jax.tree` drops `None`; Keras keeps it as a leaf. Here `None` is a leaf. Dicts
are walked in the order of their sorted keys, as JAX does; what is made anew has its
keys in the order in which they were written.
"""

import functools
import operator
from typing import Any

import jax

_is_none = functools.partial(operator.is_, None)  # asked for every node of a tree


def flatten(structure) -> list:
    """Return the leaves of `structure`, `None` included.

    >>> import lamina
    >>> lamina.tree.flatten({"b": [1, None], "a": (2, 3)})
    [2, 3, 1, None]
    """
    return jax.tree.leaves(structure, is_leaf=_is_none)


def flatten_with_names(structure) -> list:
    """Return `(path, leaf)` pairs; a path is a tuple of keys and positions.

    >>> import lamina
    >>> lamina.tree.flatten_with_path({"a": [10, 20]})
    [(('a', 0), 10), (('a', 1), 20)]
    """
    pairs = jax.tree_util.tree_leaves_with_path(structure, is_leaf=_is_none)
    return [(tuple(_key(k) for k in path), leaf) for path, leaf in pairs]


def _key(entry):
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return getattr(entry, attribute)
    return str(entry)


def pack_like(structure, leaves) -> Any:
    """Put `leaves` into the shape of `structure`."""
    tree = jax.tree.structure(structure, is_leaf=_is_none)
    return in_order_of(structure, jax.tree.unflatten(tree, leaves))


def map_leaves(fn, structure, *rest) -> Any:
    """Apply `fn` to the leaves of structures of one shape, `None` included."""
    made = jax.tree.map(fn, structure, *rest, is_leaf=_is_none)
    return in_order_of(structure, made)


def in_order_of(like, made) -> Any:
    """Return `made`, its dicts with their keys in the order that `like` has."""
    if type(like) is dict:
        return {key: in_order_of(part, made[key]) for key, part in like.items()}
    if isinstance(like, (list, tuple)) and any(map(is_nested, like)):
        parts = map(in_order_of, like, made)
        named = hasattr(made, "_fields")
        return type(made)(*parts) if named else type(made)(parts)
    return made


def is_in_order(structure) -> bool:
    """Tell whether the keys of all dicts are in the order in which JAX has them."""
    if type(structure) is dict and list(structure) != sorted(structure):
        return False
    if not is_nested(structure):
        return True
    parts = structure.values() if isinstance(structure, dict) else structure
    return all(map(is_in_order, parts))


def same_shape(a, b) -> bool:
    """Tell whether two structures nest alike."""
    return jax.tree.structure(a, is_leaf=_is_none) == jax.tree.structure(
        b, is_leaf=_is_none
    )


def is_nested(structure) -> bool:
    """Tell whether `structure` is a container rather than a leaf.

    >>> import lamina
    >>> lamina.tree.is_nested([1]), lamina.tree.is_nested(1)
    (True, False)
    """
    return isinstance(structure, (list, tuple, dict))
