"""Batches of numbers or text alone, as layers read them that learn before training."""

import itertools

import jax
import numpy as np

from lamina.data.arrays import unpack


def batches(data, steps=None):
    """Yield the batches of `data`, numbers or text, as NumPy or JAX arrays.

    Arrays, tensors, DataFrames and Series are one batch, and so is a list of numbers
    or of text. A list of arrays, a generator, a loader or a data set yields its
    batches; targets in them (`(x, y)`) are left out.

    Args:
        data: what to read.
        steps: how many batches at most; None for all. Not for what is one batch.

    Raises:
        ValueError: there is no batch.
        TypeError: no data that `adapt` could read.
    """
    if not yields_batches(data):
        yield as_host(data)
        return
    empty = True
    for batch in itertools.islice(_each(data), steps):
        empty = False
        yield as_host(_inputs_of(batch))
    if empty:
        raise ValueError(
            "`adapt` received an empty iterable: it yielded no batch. (A generator "
            "that was run through once is empty afterwards.)"
        )


def as_host(value):
    """Return an array of numbers or text for whatever holds some.

    Raises:
        TypeError: it holds neither.
    """
    if isinstance(value, (np.ndarray, jax.Array)):
        return value
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    for name in ("to_numpy", "numpy"):
        if hasattr(value, name):
            value = getattr(value, name)()
    array = np.asarray(value)
    if array.dtype.kind == "O" and not all(
        isinstance(x, (str, bytes, int, float)) for x in array.flat
    ):
        raise TypeError(
            "`adapt` expected arrays of numbers or text, or an iterable of batches of "
            f"them. Received: {type(value).__name__}"
        )
    return array


def _inputs_of(batch):
    """Return a batch without targets; a list of numbers or text has none."""
    several = isinstance(batch, list) and batch and yields_batches(batch)
    return unpack(batch)[0] if several or isinstance(batch, tuple) else batch


def yields_batches(data) -> bool:
    """Tell whether data yields batches, and is not one batch itself."""
    if isinstance(data, (list, tuple)):
        if not data:
            return True
        while isinstance(data, (list, tuple)) and data:
            data = data[0]
        return hasattr(data, "shape") and not isinstance(data, np.generic)
    if isinstance(data, (str, bytes)) or hasattr(data, "shape"):
        return False
    return hasattr(data, "__iter__") or hasattr(data, "__getitem__")


def _each(data):
    """Yield what an iterable holds; data sets indexed by batch end at their length."""
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return (data[i] for i in range(len(data)))
    return iter(data)
