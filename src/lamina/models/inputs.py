"""What a graph model is called on, in the order, ranks and dtypes of its inputs."""

import functools
from typing import Any

import numpy as np
from jax import dtypes

from lamina.core import structure
from lamina.core.dtypes import is_float
from lamina.core.input_spec import InputSpec
from lamina.core.masks import get_mask, set_mask
from lamina.core.operation import takes_text
from lamina.core.symbolic import HALF, SymbolicTensor, is_wide_integer
from lamina.data.arrays import is_text
from lamina.layers.call import plain_shape


def standardize_inputs(model, inputs):
    """Return one array for each input of a graph model, in order.

    Dicts are matched by name, never by order. Missing axes of size 1 are added or
    taken away, dtypes are cast to those of the inputs.

    Raises:
        ValueError: naming what was expected and what came.
    """
    graph = model._drawn_graph
    leaves = graph.leaves(inputs)
    return [
        _fit(model, tensor, x) for tensor, x in zip(graph.inputs, leaves, strict=True)
    ]


def on_host(model, inputs, drawn=False):
    """Return a batch's inputs as compiled code takes them: no text is left.

    Args:
        model: the model.
        inputs: what it is called on.
        drawn: whether the inputs are symbolic tensors.
    """
    if model._drawn_graph is None and model._is_stack and takes_text(model):
        if hasattr(inputs, "shape"):
            model._draw((None, *inputs.shape[1:]))
    graph = model._drawn_graph
    if graph is None or not takes_text(model):
        return trimmed(model, inputs)
    return graph.prefix.run(graph, standardize_inputs(model, inputs), drawn)


def trimmed(model, inputs):
    """Leave out the text of a dict that names no input: no device holds it."""
    graph = model._drawn_graph
    if graph is None or takes_text(model) or not isinstance(inputs, dict):
        return inputs
    text = any(is_text(x) for x in inputs.values())
    return graph.slots.trimmed(inputs) if text else inputs


def fit_inputs(model, leaves):
    """Return the inputs of a graph model in its ranks and dtypes; None stays None."""
    given = zip(model._drawn_graph.inputs, leaves, strict=True)
    return [x if x is None else _fit(model, tensor, x) for tensor, x in given]


def _optional(tensor):
    return getattr(tensor.node.operation, "optional", False)


def _fit(model, tensor, x):
    """Give one input the rank and dtype of the symbolic tensor it stands for."""
    operation = tensor.node.operation
    if x is None:
        if _optional(tensor):
            return None
        raise ValueError(
            f"Input {operation.name!r} of model {model.name!r} is not optional, but "
            "None was passed for it. Make it `Input(..., optional=True)` if it may be "
            "left out."
        )
    mask = get_mask(x)
    x = _cast(model, tensor, x)
    expected, shape = tensor.shape, plain_shape(x)
    if len(shape) == len(expected) + 1 and shape[-1] == 1:
        x = x[..., 0]
    elif len(shape) == len(expected) - 1 and expected and expected[-1] == 1:
        x = x[..., None]
    shape = plain_shape(x)
    differ = any(
        a is not None and b is not None and a != b
        for a, b in zip(expected[1:], shape[1:], strict=False)
    )
    if len(shape) != len(expected) or (differ and model._checks_sizes):
        path = _path_of(model, tensor)
        raise ValueError(
            f"Invalid input shape for input {operation.name!r}"
            + (f" at {path!r}" if "." in path else "")
            + f" of model {model.name!r}: expected shape={expected}, found "
            f"shape={shape}."
            + (_hint(shape, expected) if len(shape) == len(expected) - 1 else "")
        )
    if mask is not None and get_mask(x) is None:
        set_mask(x, mask)
    return x


def _hint(shape, expected):
    """Return what may be wrong with an array that has an axis too few."""
    row = all(
        None in pair or pair[0] == pair[1]
        for pair in zip(shape, expected[1:], strict=True)
    )
    one = " Is the axis of rows missing? One row is given as `x[None]`." if row else ""
    return f"{one} The shape of an `Input` is that of one row, without their number."


def _cast(model, tensor, x) -> Any:
    """Return an input in the dtype of its symbolic tensor."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    on_host = isinstance(x, np.ndarray)
    drawn = isinstance(x, SymbolicTensor)
    if drawn:  # a shape alone may be that of text
        text = tensor.dtype == "string" if x.node is None else x.dtype == "string"
    else:
        text = on_host and x.dtype.kind in "OSUT"
    if text != (tensor.dtype == "string"):
        raise ValueError(
            f"Input {tensor.node.operation.name!r} of model {model.name!r} takes "
            f"{'numbers' if text else 'text'}. Received: dtype={x.dtype}, "
            f"shape={plain_shape(x)}"
        )
    if drawn:
        return SymbolicTensor(x.shape, tensor.dtype)
    half = tensor.dtype in HALF or model._drawn_graph.halves
    if text or (half and is_float(tensor.dtype) and is_wide_integer(x)):
        return x
    # On the host integers keep their 64 bits.
    wanted = tensor.dtype if on_host else dtypes.canonicalize_dtype(tensor.dtype)
    return x.astype(wanted) if x.dtype != wanted else x


def _path_of(model, tensor):
    for path, other in structure.flatten_with_names(model._drawn_graph.input):
        if other is tensor:
            return ".".join(map(str, path))
    return ""


def input_specs(graph):
    """Return what a graph model takes, as InputSpecs in the structure of its inputs."""

    def spec(tensor, key=None):
        shape = (None, *tensor.shape[1:]) if tensor.shape else tensor.shape
        return InputSpec(
            shape=shape,
            allow_last_axis_squeeze=True,
            name=key or tensor.node.operation.name,
            optional=_optional(tensor),
        )

    if not isinstance(graph.input, dict):
        return structure.map_leaves(spec, graph.input)
    named = {key: functools.partial(spec, key=key) for key in graph.input}
    return {k: structure.map_leaves(named[k], x) for k, x in graph.input.items()}
