"""Work that is done in NumPy on the host.

Its data may be text; and outside of a trace, XLA would compile each operation anew for
every shape of numbers.
"""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from lamina.core.variable import from_host


def run_on_host(function, *inputs):
    """Return, as a JAX array, what a NumPy function gives element by element.

    Numbers may be traced: then the compiled program calls back into Python.

    Args:
        function: takes NumPy arrays of one shape, gives int32 of that shape.
        inputs: arrays of one shape.
    """
    if any(isinstance(x, Tracer) for x in inputs):
        result = jax.ShapeDtypeStruct(inputs[0].shape, "int32")
        return jax.pure_callback(
            lambda *xs: function(*map(np.asarray, xs)),
            result,
            *inputs,
            vmap_method="broadcast_all",
        )
    return from_host(function(*map(np.asarray, inputs)))


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
    elif kind in "iu":
        values = values.astype("S")
    elif kind == "f" or values.dtype.name == "bfloat16":
        values = values.astype("int64").astype("S")
    flat = values.reshape(-1).tolist()
    result = np.empty(len(flat), object)
    result[:] = [x if isinstance(x, bytes) else str(x).encode() for x in flat]
    return result.reshape(values.shape)
