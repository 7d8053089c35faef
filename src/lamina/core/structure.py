"""Nested lists, tuples and dicts, walked in one way everywhere.

`jax.tree` drops `None`; Keras keeps it as a leaf. Here `None` is a leaf. Dicts
are walked in the order of their sorted keys, as JAX does.
"""

import jax


def _is_none(x):
    return x is None


def flatten(structure) -> list:
    """Return the leaves of `structure`, `None` included."""
    return jax.tree.leaves(structure, is_leaf=_is_none)


def flatten_with_names(structure) -> list:
    """Return `(path, leaf)` pairs; a path is a tuple of keys and positions."""
    pairs = jax.tree_util.tree_leaves_with_path(structure, is_leaf=_is_none)
    return [(tuple(_key(k) for k in path), leaf) for path, leaf in pairs]


def _key(entry):
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return getattr(entry, attribute)
    return str(entry)


def pack_like(structure, leaves):
    """Put `leaves` into the shape of `structure`."""
    return jax.tree.unflatten(jax.tree.structure(structure, is_leaf=_is_none), leaves)


def map_leaves(fn, structure, *rest):
    """Apply `fn` to the leaves of structures of one shape, `None` included."""
    return jax.tree.map(fn, structure, *rest, is_leaf=_is_none)


def same_shape(a, b) -> bool:
    """Tell whether two structures nest alike."""
    return jax.tree.structure(a, is_leaf=_is_none) == jax.tree.structure(
        b, is_leaf=_is_none
    )


def is_nested(structure) -> bool:
    """Tell whether `structure` is a container rather than a leaf."""
    return isinstance(structure, (list, tuple, dict))
