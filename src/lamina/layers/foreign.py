"""What layers around another engine share: its package, safe mode, and result shapes.

Such a layer computes on the host. NumPy arrays go in and out, by way of
`jax.pure_callback` where the arrays are traced.
"""

import collections.abc

import jax
import numpy as np
from jax.core import Tracer

from lamina.core import structure
from lamina.core.context import context
from lamina.core.dtypes import is_float
from lamina.core.extras import extra

_ANY = 240  # a size that most models can do with


def other_engine(layer) -> str | None:
    """Return the name of the engine that a layer computes in; None for JAX."""
    return getattr(layer, "_other_engine", None)


def engine_for(layer, module):
    """Return another engine's module.

    Args:
        layer: the name of the class that needs it.
        module: the name of the module and of its package.

    Raises:
        ImportError: it is not installed.
    """
    note = (
        "Or write the computation as a `lamina.layers.Layer`, or wrap a function of "
        "JAX in `lamina.layers.JaxLayer`."
    )
    return extra(module, f"`{layer}`", module, note)


def refuse_in_safe_mode(what, safe_mode):
    """Raise unless the caller, or the call that loads a file, allows a file's code.

    Args:
        what: what the file's author could have run, as a clause.
        safe_mode: what the caller says; None for what the loading call says.

    Raises:
        ValueError: code is not allowed.
    """
    copied = (
        safe_mode is None and context.configs.references is not None
    )  # within this process
    safe_mode = context.configs.safe_mode if safe_mode is None else safe_mode
    if safe_mode is not False and not copied:
        raise ValueError(
            f"{what} This allows arbitrary code execution on this machine. If you "
            "trust where it comes from, pass `safe_mode=False` to the call that loads "
            "it, or call `lamina.config.enable_unsafe_deserialization()`."
        )


def parted(nested, is_array=lambda x: isinstance(x, (jax.Array, np.ndarray))):
    """Part a structure, such as the arguments of a call, into arrays and the rest.

    Args:
        nested: the structure.
        is_array: tells which leaves are arrays.

    Returns:
        `(arrays, rebuild)`, where `rebuild(values)` gives the structure with other
        values in place of the arrays.
    """
    if isinstance(nested, collections.abc.Mapping):
        nested = dict(nested)  # also where the engine's libraries have their own kind
    leaves = structure.flatten(nested)
    places = [i for i, x in enumerate(leaves) if is_array(x)]
    rest = [None if is_array(x) else x for x in leaves]

    def rebuild(values):
        new = list(rest)
        for place, value in zip(places, values, strict=True):
            new[place] = value
        return structure.pack_like(nested, new)

    return [leaves[i] for i in places], rebuild


def is_traced(arrays) -> bool:
    """Tell whether any of some arrays is being traced."""
    return any(isinstance(x, Tracer) for x in arrays)


def foresee(run, arrays):
    """Let a run find out what it gives for arrays of these shapes and dtypes.

    Args:
        run: has a `layer`, and `foresee(shapes, dtypes)`, which raises what the engine
            has to say against them.
        arrays: the arrays, traced.

    Raises:
        TypeError: a shape is symbolic; shape inference goes on with numbers in its
            place, and keeps the first error if none of them will do.
    """
    shapes = [tuple(x.shape) for x in arrays]
    symbolic = any(not isinstance(n, int) for shape in shapes for n in shape)
    known = [
        tuple(n if isinstance(n, int) else _ANY for n in shape) for shape in shapes
    ]
    run.foresee(known, [x.dtype for x in arrays])
    if symbolic:
        raise TypeError(
            f"Layer {run.layer.name!r} ({type(run.layer).__name__}) computes outside "
            f"of JAX, for arrays of a known shape. Received: shapes {shapes}"
        )


def result_of(layer, shape, dtype):
    """Return what JAX gets for another engine's array of this shape and NumPy dtype.

    Floats are given in the layer's compute dtype; JAX may have no 64 bits.
    """
    if is_float(dtype) and layer.autocast:
        dtype = layer.compute_dtype
    return jax.ShapeDtypeStruct(tuple(shape), jax.dtypes.canonicalize_dtype(dtype))


def as_expected(array, expected, layer):
    """Return an array in the dtype that was foreseen for it.

    Raises:
        ValueError: it has another shape than was foreseen.
    """
    if array.shape != expected.shape:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) gave an array of shape "
            f"{array.shape}, where it had given {expected.shape} for arrays of the "
            "same shapes. In a compiled model the shape may not depend on the values."
        )
    return array.astype(expected.dtype)
