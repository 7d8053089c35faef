"""Models drawn as a graph: how they take inputs, and how they are written down."""

import functools
from typing import Any

import numpy as np
from jax import dtypes

from lamina.core import structure
from lamina.core.config import (
    deserialize_keras_object,
    numbered,
    serialize_keras_object,
)
from lamina.core.dtypes import is_float
from lamina.core.input_spec import InputSpec
from lamina.core.masks import get_mask, set_mask
from lamina.core.registry import ours
from lamina.core.symbolic import HALF, SymbolicTensor, is_wide_integer
from lamina.core.tracebacks import boundary
from lamina.layers.call import plain_shape, signature_of
from lamina.models.model import Model


class _Drawn(type):
    """Lets a model of a subclass of Model count as Functional if it has a graph."""

    def __instancecheck__(cls, model):
        if super().__instancecheck__(model) or cls is not Functional:
            return super().__instancecheck__(model)
        drawn = isinstance(model, Model) and model._graph is not None
        return drawn and type(model).layers is Model.layers


class Functional(Model, metaclass=_Drawn):
    """A model given by its inputs and outputs; made by `Model(inputs, outputs)`."""

    _saved_as = ("keras.src.models.functional", "Functional")

    @boundary
    def __init__(self, inputs, outputs, name=None, **kwargs):
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)


def standardize_inputs(model, inputs):
    """Return one array for each input of a graph model, in order.

    Dicts are matched by name, never by order. Missing axes of size 1 are added or
    taken away, dtypes are cast to those of the inputs.

    Raises:
        ValueError: naming what was expected and what came.
    """
    graph = model._graph
    leaves = graph.leaves(inputs)
    return [
        _fit(model, tensor, x) for tensor, x in zip(graph.inputs, leaves, strict=True)
    ]


def fit_inputs(model, leaves):
    """Return the inputs of a graph model in its ranks and dtypes; None stays None."""
    given = zip(model._graph.inputs, leaves, strict=True)
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
            + (
                " Is the axis of rows missing? One row is given as `x[None]`."
                if len(shape) == len(expected) - 1
                else ""
            )
        )
    if mask is not None and get_mask(x) is None:
        set_mask(x, mask)
    return x


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
    half = tensor.dtype in HALF or model._graph.halves
    if text or (half and is_float(tensor.dtype) and is_wide_integer(x)):
        return x
    # On the host integers keep their 64 bits.
    wanted = tensor.dtype if on_host else dtypes.canonicalize_dtype(tensor.dtype)
    return x.astype(wanted) if x.dtype != wanted else x


def _path_of(model, tensor):
    for path, other in structure.flatten_with_names(model._graph.input):
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


# ---- configs -----------------------------------------------------------------


@numbered
def graph_config(model):
    """Return the config of a graph model: its layers, their calls, its ends."""
    graph = model._graph
    used = set(graph.nodes)
    calls = {op: [n for n in op._inbound_nodes if n in used] for op in graph.operations}
    position = {node: i for nodes in calls.values() for i, node in enumerate(nodes)}

    def where(tensor):
        return [tensor.node.operation.name, position[tensor.node], tensor.index]

    layers = []
    for operation, nodes in calls.items():
        config = serialize_keras_object(operation)
        config["name"] = operation.name
        config["inbound_nodes"] = [
            _node_config(node, where) for node in nodes if not node.is_input
        ]
        layers.append(config)
    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": layers,
        "input_layers": structure.map_leaves(where, graph.input),
        "output_layers": structure.map_leaves(where, graph.output),
    }


def _node_config(node, where):
    def encode(x):
        if not isinstance(x, SymbolicTensor):
            return serialize_keras_object(x)
        return {
            "class_name": "__keras_tensor__",
            "config": {"shape": x.shape, "dtype": x.dtype, "keras_history": where(x)},
        }

    kwargs, default = node.kwargs, _usual_flag(node.operation)
    drawn = {"drawn": True} if default is not None and "training" in kwargs else {}
    if default is not None and not drawn:
        kwargs = {**kwargs, "training": default}  # as Keras writes it
    return {
        "args": structure.map_leaves(encode, node.args),
        "kwargs": {k: structure.map_leaves(encode, v) for k, v in kwargs.items()},
        **drawn,
    }


def _usual_flag(operation):
    """Return the training flag of a call that was given none; None without a default.

    Keras writes it whether it was given or not.
    """
    return signature_of(operation.call).defaults.get("training")


def graph_from_config(cls, config):
    """Make a graph model from `graph_config`.

    Raises:
        ValueError: the calls name layers or outputs that the config does not hold.
    """
    operations, waiting = {}, []
    for data in config["layers"]:
        operation = deserialize_keras_object(data)
        name = data.get("name", getattr(operation, "name", None))
        if not operation._inbound_nodes:  # else it has a name from where it was called
            operation.name = name
        operations[name] = operation
        waiting += [(operation, call) for call in data.get("inbound_nodes", [])]
    tensors = _Tensors(operations)
    while waiting:
        left, held = [], set()
        for operation, call in waiting:
            # Later calls of one layer wait for its earlier ones: places count them.
            if operation.name in held or not tensors.known(call):
                held.add(operation.name)
                left.append((operation, call))
                continue
            args, kwargs = tensors.arguments(call)
            drawn = isinstance(call, dict) and call.get("drawn")
            flag = kwargs.get("training")
            if flag is not None and not drawn and flag == _usual_flag(operation):
                del kwargs["training"]
            operation(*args, **kwargs)
        if len(left) == len(waiting):
            tensors.refuse(left)
        waiting = left
    # A subclass may have arguments of its own; ours have these.
    known = ("trainable", "dtype") if ours(cls) else config.keys() - set(GRAPH_KEYS)
    return cls(
        inputs=tensors.ends(config["input_layers"]),
        outputs=tensors.ends(config["output_layers"]),
        name=config.get("name"),
        **{
            key: value if key == "trainable" else deserialize_keras_object(value)
            for key, value in config.items()
            if key in known
        },
    )


GRAPH_KEYS = ("name", "layers", "input_layers", "output_layers")


class _Tensors:
    """The outputs that a graph's calls have given so far, by their place."""

    def __init__(self, operations):
        self.operations = operations
        # A layer that is shared with a model inside was called there already.
        self.earlier = {
            name: sum(not node.is_input for node in operation._inbound_nodes)
            for name, operation in operations.items()
        }

    def find(self, place):
        name, node, index = place[:3]
        operation = self.operations.get(name)
        node += self.earlier.get(name, 0)
        if operation is None or node >= len(operation._inbound_nodes):
            return None
        outputs = operation._inbound_nodes[node].outputs
        return outputs[index] if index < len(outputs) else None

    def places(self, x):
        if isinstance(x, list) and x and all(_is_old_place(p) for p in x):
            yield from x
        elif isinstance(x, dict):
            if x.get("class_name") == "__keras_tensor__":
                yield x["config"]["keras_history"]
                return
            for value in x.values():
                yield from self.places(value)
        elif isinstance(x, (list, tuple)):
            for value in x:
                yield from self.places(value)

    def known(self, call):
        return all(self.find(place) is not None for place in self.places(call))

    def refuse(self, waiting):
        """Raise for calls that can never run."""
        for operation, call in waiting:
            for place in self.places(call):
                if place[0] not in self.operations:
                    raise ValueError(
                        f"Missing node: {place[0]}, which {operation.name!r} takes. "
                        f"The config holds the layers {sorted(self.operations)}."
                    )
        names = sorted({operation.name for operation, _ in waiting})
        raise ValueError(
            f"The config's graph has a loop: the calls of {names} wait for each "
            "other's outputs."
        )

    def arguments(self, call):
        if not isinstance(call, dict):
            # Keras 2: a list of [name, node, tensor, keyword arguments].
            tensors = [self.find(place) for place in call]
            kwargs = call[0][3] if call and len(call[0]) > 3 else {}
            decoded = {k: self.decode(v) for k, v in kwargs.items()}
            return [tensors if len(tensors) > 1 else tensors[0]], decoded
        args = [self.decode(x) for x in call["args"]]
        return args, {k: self.decode(v) for k, v in call["kwargs"].items()}

    def decode(self, x):
        if isinstance(x, dict):
            if x.get("class_name") == "__keras_tensor__":
                return self.find(x["config"]["keras_history"])
            if "class_name" in x and "config" in x:
                return deserialize_keras_object(x)
            return {k: self.decode(v) for k, v in x.items()}
        if isinstance(x, (list, tuple)):
            return type(x)(self.decode(v) for v in x)
        return x

    def ends(self, places):
        """Return tensors for `[name, node, index]` entries in any structure."""
        if isinstance(places, dict):
            return {key: self.ends(value) for key, value in places.items()}
        if _is_place(places):
            found = self.find(places)
            if found is None:
                raise ValueError(
                    f"The config names {list(places)} as an input or output of the "
                    "model, which no call in it gives."
                )
            return found
        return type(places)(self.ends(value) for value in places)


def _is_old_place(x):
    return isinstance(x, list) and len(x) in (3, 4) and _is_place(x[:3])


def _is_place(x):
    return (
        isinstance(x, (list, tuple))
        and len(x) == 3
        and isinstance(x[0], str)
        and isinstance(x[1], int)
        and isinstance(x[2], int)
    )
