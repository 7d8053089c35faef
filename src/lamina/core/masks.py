"""Masks: which entries of a tensor count.

A symbolic tensor and a JAX array carry their mask as the attribute `_keras_mask`.
Tracers and NumPy arrays refuse attributes, so theirs stand in a side table by
identity, and leave it with them.
"""

import threading
import weakref
from collections.abc import Callable

import jax

_table = threading.local()
# What is done once, before the first array of the process gets a mask.
before_first: list[Callable[[], None]] = []


def get_mask(x):
    """Return the mask of `x`, or None."""
    mask = getattr(x, "_keras_mask", None)
    if mask is not None:
        return mask
    entries = getattr(_table, "entries", None)
    if not entries:
        return None
    entry = entries.get(id(x))
    return entry[1] if entry is not None and entry[0]() is x else None


def masks_of(tree):
    """Return the masks of a tree of arrays, for `put_masks`."""
    return [get_mask(x) for x in jax.tree.leaves(tree)]


def put_masks(tree, masks):
    """Return a tree of arrays, given masks: JAX hands out others than were made."""
    for x, mask in zip(jax.tree.leaves(tree), masks, strict=True):
        set_mask(x, mask)
    return tree


def set_mask(x, mask) -> None:
    """Give `x` a mask; None takes it away."""
    if x is None:
        return
    while before_first and mask is not None and isinstance(x, jax.Array):
        before_first.pop()()
    try:
        x._keras_mask = mask
        return
    except (AttributeError, TypeError):
        pass  # it refuses attributes
    entries = _table.__dict__.setdefault("entries", {})
    key = id(x)
    if mask is None:
        entries.pop(key, None)
        return
    try:
        reference = weakref.ref(x, lambda _: entries.pop(key, None))
    except TypeError:
        return  # a value without identity, such as a Python number
    entries[key] = (reference, mask)
