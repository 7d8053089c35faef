"""Layers that prepare data, in a model or before it, and may learn from data.

Text and 64-bit integers are worked on in NumPy, where XLA would also compile each
operation anew for every shape of numbers.
"""

import contextlib
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from lamina.core import structure
from lamina.core.variable import Variable, from_host
from lamina.data.batches import batches, yields_batches
from lamina.layers.layer import Layer

_PLAIN = frozenset({int, float, str, bytes})


class DataLayer(Layer):
    """The base of layers that prepare data: they also run inside `tf.data` maps.

    There they get symbolic tensors; the work is done when the data set is read.
    """

    _allow_non_tensor_positional_args = True
    _lists_are_arrays = True

    def __call__(self, *args, **kwargs):
        """Run the layer on arrays, lists, symbolic tensors, or in a `tf.data` map."""
        if self._lists_are_arrays:
            args = tuple(_array(x) for x in args)
        return super().__call__(*args, **kwargs)

    def convert_weight(self, weight):
        """Return the value of a weight as the array that `call` computes with."""
        return weight.value if isinstance(weight, Variable) else weight


class Adapting:
    """The part of a layer that learns, before training, from batches on the host.

    It writes `reset_state()`, `update_state(batch)` and `finalize_state()`.
    """

    reset_state: Any
    update_state: Any
    finalize_state: Any
    # Whether each element of data that has a single axis is a sample.
    _elements_are_samples = False

    def adapt(self, data, steps=None):
        """Learn from data; what was learned before is forgotten.

        Args:
            data: an array, a list, a DataFrame, or an iterable of batches.
            steps: how many batches to read; None for all.

        Raises:
            ValueError: what it learns was given already, or there is no data.
        """
        self.reset_state()
        column = self._elements_are_samples and not yields_batches(data)
        for batch in batches(data, steps):
            self.update_state(batch[:, None] if column and batch.ndim == 1 else batch)
        self.finalize_state()


def learns(layer) -> bool:
    """Tell whether a layer has something to learn that it was not given."""
    return hasattr(layer, "adapt") and getattr(layer, "_learns", True)


def _array(value):
    """Return text and nested lists of text or numbers as an array, else `value`."""
    if isinstance(value, (str, bytes)):
        return np.asarray(value)
    if isinstance(value, (list, tuple)):
        flat = bool(value) and _PLAIN.issuperset(map(type, value))
        leaves = () if flat else structure.flatten(value)
        if flat or (leaves and all(isinstance(x, tuple(_PLAIN)) for x in leaves)):
            with contextlib.suppress(ValueError):  # the layer says what it takes
                return np.asarray(value)
    return value


def run_on_host(function, *inputs):
    """Return what a NumPy function gives for arrays of one shape: int32 of that shape.

    Numbers may be traced: then the compiled program calls back into Python.
    """

    def run(*xs):
        return function(*map(np.asarray, xs))

    if any(isinstance(x, Tracer) for x in inputs):
        result = jax.ShapeDtypeStruct(inputs[0].shape, "int32")
        return jax.pure_callback(run, result, *inputs, vmap_method="broadcast_all")
    return from_host(run(*inputs))


def known(*values) -> tuple[Any, ...]:
    """Return arrays as NumPy arrays where none of them is traced; else as they are."""
    if any(isinstance(x, Tracer) for x in values):
        return values
    return tuple(None if x is None else np.asarray(x) for x in values)


def as_bytes(values: np.ndarray) -> np.ndarray:
    """Return text in UTF-8, and numbers in decimal digits, as an array of bytes."""
    kind = values.dtype.kind
    if kind == "b":
        values = np.where(values, b"true", b"false")
    elif kind == "f" or values.dtype.name == "bfloat16":
        values = values.astype("int64")
    if values.dtype.kind in "iu":
        values = values.astype("S")
    flat = values.reshape(-1).tolist()
    texts = [x if isinstance(x, bytes) else str(x).encode() for x in flat]
    return np.array(texts, object).reshape(values.shape)
