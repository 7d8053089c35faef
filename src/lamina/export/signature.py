"""What an endpoint takes and gives: shapes with symbols, and names."""

from typing import Any

import jax
import numpy as np
from jax import export

from lamina.core import structure
from lamina.core.context import having
from lamina.core.dtypes import standardize_dtype
from lamina.core.operation import graph_of
from lamina.core.variable import binding
from lamina.layers.building import as_shape, built_on, spec_of


def signature_of(model) -> list:
    """Return what a model takes: one structure of symbolic tensors, in a list.

    Raises:
        ValueError: the model does not know its inputs.
    """
    if graph_of(model) is not None:
        return [model.input]
    shapes = built_on(model)
    if not shapes:
        raise ValueError(
            f"The inputs of model {model.name!r} are not known. Pass "
            "`input_signature`, such as "
            "`[lamina.InputSpec(shape=(None, 3), dtype='float32')]`."
        )
    tensors = [spec_of(as_shape(s), model.input_dtype) for s in shapes.values()]

    def of_any_batch(t):
        return jax.ShapeDtypeStruct((None, *t.shape[1:]), t.dtype)

    return [structure.map_leaves(of_any_batch, t) for t in tensors]


def checked(owner, signature) -> list:
    """Return a signature as a list of structures of `(shape, dtype)` leaves.

    Raises:
        ValueError: something in it has no shape, or text for a dtype.
    """
    if not isinstance(signature, (list, tuple)):
        signature = [signature]

    def leaf(x):
        shape = getattr(x, "shape", None)
        if shape is None:
            raise ValueError(
                f"`{owner}` expected `input_signature` to be a list with one "
                "`lamina.InputSpec(shape=..., dtype=...)`, or a structure of them, for "
                f"each argument. Received: {x!r}"
            )
        dtype = standardize_dtype(getattr(x, "dtype", None))
        if dtype == "string":
            raise ValueError(
                f"`{owner}` was given an input of text, and an exported program takes "
                "numbers alone. Export the part after the layers that take text, "
                "`lamina.Model(those_layers_output, model.output)`, and run these "
                "layers before it."
            )
        dtype = jax.dtypes.canonicalize_dtype(dtype)
        return jax.ShapeDtypeStruct(tuple(shape), dtype)

    return [structure.map_leaves(leaf, x) for x in signature]


def symbolic(signature, shared=False) -> list:
    """Return a signature with symbols in place of None.

    Args:
        signature: what `checked` returned.
        shared: whether all tensors have one symbol for each axis; otherwise only
            the first axis is the same in all.
    """
    scope = export.SymbolicScope()
    names = (f"size{i}" for i in range(1_000_000))

    def size(axis, dim):
        if dim is not None:
            return int(dim)
        name = "batch" if axis == 0 else f"axis{axis}" if shared else next(names)
        return export.symbolic_shape(name, scope=scope)[0]

    def leaf(x):
        shape = tuple(size(axis, dim) for axis, dim in enumerate(x.shape))
        return jax.ShapeDtypeStruct(shape, x.dtype)

    return [structure.map_leaves(leaf, x) for x in signature]


def traced(owner, signature, trace):
    """Return `trace(symbolic signature)`, with as few equal sizes as it takes.

    Raises:
        ValueError: the sizes that are None cannot stay open.
    """
    found = None
    for shared in (False, True):
        try:
            return trace(symbolic(signature, shared))
        except Exception as error:
            open_sizes = any(None in x.shape for x in structure.flatten(signature))
            if not open_sizes or not about_sizes(error):
                raise
            found = found or error
    raise ValueError(
        f"`{owner}` cannot leave these sizes open: "
        f"{[tuple(x.shape) for x in structure.flatten(signature)]}. Give "
        "`input_signature` with numbers in place of None, for all axes but the first "
        f"if that is enough. JAX says: {str(found).splitlines()[0]}"
    ) from found


def about_sizes(error):
    """Tell whether an error may be one of sizes that are not known."""
    text = f"{type(error).__name__} {error}"
    words = ("Inconclusive", "ymbolic", "_DimExpr", "onDimension", "shape", "divisible")
    return any(word in text for word in words)


def input_names(signature, model: Any = None) -> list:
    """Return a name for each input tensor of a signature."""
    if len(signature) == 1 and not isinstance(signature[0], dict):
        if graph_of(model) is not None:
            return _unique(model.input_names)
    tree = signature[0] if len(signature) == 1 else tuple(signature)
    return _names(tree, "input")


def output_names(outputs, model: Any = None) -> list:
    """Return a name for each output tensor of an endpoint."""
    if not isinstance(outputs, dict) and graph_of(model) is not None:
        return _unique(model.output_names)
    return _names(outputs, "output")


def _names(tree, default):
    pairs = structure.flatten_with_names(tree)
    if len(pairs) == 1 and not pairs[0][0]:
        return [default]
    named = (".".join(map(str, path)) for path, _ in pairs)
    return _unique([f"{default}_{n}" if n[:1].isdigit() else n for n in named])


def _unique(names):
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, -1) + 1
        result.append(f"{name}_{seen[name]}" if seen[name] else name)
    return result


def written(tree):
    """Return a structure as plain data for JSON, its leaves numbered in order.

    Raises:
        TypeError: a container that JSON has no way to say.
    """
    numbers = structure.pack_like(tree, range(len(structure.flatten(tree))))
    return _written(numbers)


def _written(x):
    if isinstance(x, dict) and all(isinstance(key, str) for key in x):
        return {"dict": {key: _written(value) for key, value in x.items()}}
    if type(x) in (list, tuple):
        return {type(x).__name__: [_written(value) for value in x]}
    if isinstance(x, int):
        return x
    raise TypeError(
        "An exported endpoint takes and gives arrays in lists, tuples and dicts with "
        f"names. Received: {type(x).__name__}"
    )


def read(data, depth=0):
    """Return the structure that `written` made data of.

    Raises:
        ValueError: it is not such data.
    """
    if type(data) is int:
        return data
    if isinstance(data, dict) and len(data) == 1 and depth < 50:
        ((kind, inside),) = data.items()
        if kind == "dict" and isinstance(inside, dict):
            return {key: read(value, depth + 1) for key, value in inside.items()}
        if kind in ("list", "tuple") and isinstance(inside, list):
            parts = [read(value, depth + 1) for value in inside]
            return parts if kind == "list" else tuple(parts)
    raise ValueError(f"no structure: {str(data)[:80]}")


def fit(owner, name, x, shape, dtype):
    """Return one input as an array of a dtype.

    Args:
        owner: who takes it, for messages.
        name: the name of the input.
        x: what was given.
        shape: the expected shape, with names for open sizes.
        dtype: the expected dtype.

    Raises:
        ValueError: another shape.
        TypeError: a dtype that would lose what the values mean.
    """
    array = x if isinstance(x, jax.Array) else np.asarray(x)
    fits = len(shape) == len(array.shape) and all(
        isinstance(a, str) or a == b for a, b in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{owner} expected input {name!r} of shape {shape}. Received: "
            f"shape={tuple(array.shape)}"
        )
    number = not isinstance(array, np.ndarray) or array.dtype.kind not in "OSUTV"
    if array.dtype != dtype and not (
        number and jax.numpy.can_cast(array.dtype, dtype, "same_kind")
    ):
        raise TypeError(
            f"{owner} expected input {name!r} of dtype {dtype}. Received: "
            f"dtype={array.dtype}"
        )
    return array.astype(dtype)


def called(fn, args, variables=(), values=()):
    """Return what a function gives in inference mode, its effects dropped."""
    inference = having(arguments={"training": False}, losses=[])
    with binding(variables, values, open=True), inference:
        outputs = fn(*args)
    for x in structure.flatten(outputs):
        if not hasattr(x, "shape"):
            raise TypeError(
                "An exported endpoint must return arrays. Received: "
                f"{x!r} (of type {type(x).__name__})"
            )
    return structure.map_leaves(jax.numpy.asarray, outputs)


def check_arguments(owner, given, taken=""):
    """Refuse arguments that there are not.

    Args:
        owner: who takes them, for messages.
        given: a dict of what is left of them.
        taken: the name of the one that there is.

    Raises:
        ValueError: something is left.
    """
    if given:
        takes = f" It takes: {taken}" if taken else ""
        raise ValueError(f"`{owner}` has no arguments {sorted(given)}.{takes}")
