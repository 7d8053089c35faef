"""`Function`: the calls between some symbolic tensors, run on others.

A graph is found by walking back from the outputs. Operations are ordered as Keras
orders them (by depth, then by the order in which the walk meets them), because the
order of layers is the order of weights in files.
"""

import collections
import functools
from typing import Any

from lamina.core import structure
from lamina.core.context import context
from lamina.core.matching import Slots
from lamina.core.naming import automatic_name
from lamina.core.op import OpCall
from lamina.core.operation import Operation, graph_of, moves_entries, takes_integers
from lamina.core.rows import least_rank, weakest
from lamina.core.symbolic import (
    HALF,
    Node,
    SymbolicTensor,
    in_drawn_dtype,
    infer,
)
from lamina.core.tracebacks import boundary
from lamina.layers.basic import InputLayer
from lamina.layers.building import spec_of
from lamina.layers.call import plain_shape
from lamina.layers.layer import Layer
from lamina.models.text_prefix import Prefix, Prepared


class Function(Operation):
    """The computation from some symbolic tensors to others, as a callable.

    Args:
        inputs: symbolic tensors in any structure.
        outputs: symbolic tensors in any structure.
        name: its name.

    Attributes:
        inputs: the input tensors, flat.
        outputs: the output tensors, flat.
        nodes: the calls between them, in order.
        operations: the layers and ops that are called, in order.

    Raises:
        ValueError: an output does not follow from the inputs, or two operations
            share a name.

    >>> import lamina, numpy as np
    >>> x = lamina.Input((2,))
    >>> double = lamina.Function(x, x * 2.0)
    >>> double(np.ones((1, 2))).tolist()
    [[2.0, 2.0]]
    """

    inputs: Any = ()
    outputs: Any = ()
    operations: Any = ()

    @boundary
    def __init__(self, inputs: Any, outputs: Any, name: str | None = None):
        super().__init__(name)
        self._inputs_struct = inputs
        self._outputs_struct = outputs
        self.inputs = structure.flatten(inputs)
        self.outputs = structure.flatten(outputs)
        _check_tensors(self.inputs, "inputs")
        _check_tensors(self.outputs, "outputs")
        for what, tensors in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not tensors:
                raise ValueError(
                    f"`{what}` argument cannot be empty. Received:\n"
                    f"inputs={inputs}\noutputs={outputs}"
                )
        self.nodes, self.operations, self._depths = _sort(self.inputs, self.outputs)
        self._check_connected()
        self._check_names()

    @property
    def _nodes_by_depth(self):
        """The nodes by how far they are from the outputs, as converters read them."""
        found = {}
        for node in self.nodes:
            found.setdefault(self._depths[node], []).append(node)
        return found

    @property
    def input(self):
        """The input tensors, in the caller's structure."""
        return self._inputs_struct

    @property
    def output(self):
        """The output tensors, in the caller's structure."""
        return self._outputs_struct

    def __call__(self, *inputs):
        """Run it on arrays, or record it on symbolic tensors."""
        return super().__call__(inputs[0] if len(inputs) == 1 else inputs)

    def call(self, inputs):
        """Run it on arrays in the structure of the inputs."""
        return self.run(self.leaves(inputs))

    def layers(self) -> list:
        """Return the layers among its operations, in order."""
        return [op for op in self.operations if isinstance(op, Layer)]

    def leaves(self, inputs):
        """Return one value for each input, in order; dicts are matched by name."""
        if isinstance(inputs, (list, tuple)) and not _has_names(inputs):
            inputs = structure.flatten(inputs)
        return self.slots.each(inputs, "inputs", needed=self.needed)

    @functools.cached_property
    def slots(self) -> Slots:
        """What it takes: a place for each input, by the name of its layer."""
        names = [_name(tensor) for tensor in self.inputs]
        return Slots(self._inputs_struct, names, f"function {self.name!r}", "input")

    @functools.cached_property
    def needed(self) -> list:
        """The places of the inputs that are not optional."""
        layers = [getattr(t.node, "operation", None) for t in self.inputs]
        return [i for i, x in enumerate(layers) if not getattr(x, "optional", False)]

    def run(self, leaves):
        """Run it on flat inputs.

        A flag that a layer was called with when the graph was drawn holds; other layers
        take that of the call around them.

        Args:
            leaves: one array for each input, in order; or `Prepared` ones.
        """
        if isinstance(leaves, Prepared):
            made = zip(self.prefix.gives, leaves.made, strict=True)
            given = {id(tensor): x for tensor, x in made}
            values = self.follow(self.prefix.rest, leaves.inputs, given)
        else:
            values = self.follow(self.nodes, leaves)
        # A graph around this one knows what takes its outputs.
        inside = self.moves_entries and any(
            graph_of(layer) for layer in context.calling[:-1]
        )
        return structure.map_leaves(
            lambda t: values[id(t)] if inside else in_drawn_dtype(t, values[id(t)]),
            self._outputs_struct,
        )

    @functools.cached_property
    def halves(self) -> bool:
        """Whether a call that takes integers computes in half precision."""
        return any(
            getattr(op, "compute_dtype", None) in HALF and takes_integers(op)
            for op in self.operations
        )

    @functools.cached_property
    def moves_entries(self) -> bool:
        """Whether no call computes with the entries of its inputs."""
        return all(map(moves_entries, self.operations))

    @functools.cached_property
    def prefix(self) -> Prefix:
        """The calls at the beginning that run on the host, because of text."""
        return Prefix(self)

    def follow(self, nodes, leaves, given=None, instead=None) -> dict:
        """Return the values of symbolic tensors, by `id`, after some calls.

        Args:
            nodes: the calls, in order.
            leaves: one array for each input, in order.
            given: values of inner tensors that are known, by `id`.
            instead: a function from an operation to what is called in its place.
        """
        values = {id(tensor): x for tensor, x in zip(self.inputs, leaves, strict=True)}
        values |= given or {}
        for node in nodes:
            if all(id(t) in values for t in node.outputs):
                continue  # an input, or an inner tensor that was given
            args, kwargs = node.fill(values)
            operation = instead(node.operation) if instead else node.operation
            outputs = operation(*args, **kwargs)
            for tensor, x in zip(node.outputs, structure.flatten(outputs), strict=True):
                values[id(tensor)] = x
        return values

    @property
    def rows_independent(self):
        """What holds of all its calls.

        No where one was drawn to train: random numbers hang on the batch's shape.
        """
        return weakest(*map(_rows_of, self.nodes))

    def compute_output_spec(self, inputs):
        """Return what a call would give, as symbolic tensors."""
        return infer(self.call, inputs)

    def compute_output_shape(self, input_shape):
        """Return the shape of the outputs for the shape of the inputs."""
        inputs = spec_of(input_shape, self.inputs[0].dtype)
        return structure.map_leaves(plain_shape, infer(self.call, inputs))

    def get_config(self):
        """Return the name; a Function is saved as part of a model."""
        return {"name": self.name}

    def _check_connected(self):
        known = {id(t) for t in self.inputs}
        self._check_outputs()
        for node in self.nodes:
            if node.is_input:
                continue
            for tensor in node.input_tensors:
                if id(tensor) in known:
                    continue
                made_by = tensor.node.operation.name if tensor.node else tensor.name
                raise ValueError(
                    f"The graph is disconnected: {node.operation.name!r} takes the "
                    f"output of {made_by!r}, of shape {tensor.shape}, which does not "
                    "follow from the inputs "
                    f"{[_name(t) for t in self.inputs]}. Add what it comes from to "
                    "`inputs`."
                )
            known.update(id(t) for t in node.outputs)

    def _check_outputs(self):
        """Raise for an output that follows from none of the inputs."""
        from_inputs = {id(t) for t in self.inputs}
        for node in self.nodes:
            if any(id(t) in from_inputs for t in node.input_tensors):
                from_inputs.update(id(t) for t in node.outputs)
        for path, tensor in structure.flatten_with_names(self._outputs_struct):
            if id(tensor) not in from_inputs:
                where = f" with path `{'.'.join(map(str, path))}`" if path else ""
                raise ValueError(
                    f"Output{where} is not connected to `inputs`: "
                    f"{_name(tensor)!r} of shape {tensor.shape} follows from none of "
                    f"{[_name(t) for t in self.inputs]}."
                )

    def _check_names(self):
        counts = collections.Counter(op.name for op in self.operations)
        for name, count in counts.items():
            if count > 1:
                raise ValueError(
                    f'The name "{name}" is used {count} times in the model. All '
                    "operation names should be unique. Give the layers other names "
                    "(`name=`), or none."
                )


def _rows_of(node):
    """Return what one call declares of its rows."""
    if node.is_input:
        return all(t.shape[:1] == (None,) for t in node.outputs)
    ranks = {len(t.shape) for t in node.input_tensors}
    leaves = structure.flatten((node.args, node.kwargs))
    # The last of one axis, or an array of as many rows, is the axis of rows itself.
    operation = node.operation
    if min(ranks) < least_rank(operation) or any(
        getattr(x, "shape", ()) and not isinstance(x, SymbolicTensor) for x in leaves
    ):
        return False
    if isinstance(operation, OpCall):
        return getattr(operation.function, "elementwise", False) and len(ranks) == 1
    return False if node.kwargs.get("training") else operation.rows_independent


def _has_names(inputs):
    """Tell whether there is a dict in a structure."""
    return any(
        not isinstance(key, int)
        for path, _ in structure.flatten_with_names(inputs)
        for key in path
    )


def _name(tensor):
    return tensor.node.operation.name if tensor.node is not None else tensor.name


def _check_tensors(tensors, what):
    for x in tensors:
        if not isinstance(x, SymbolicTensor):
            raise ValueError(
                f"All `{what}` values must be KerasTensors: a graph is drawn from "
                "`lamina.Input(...)` by calling layers on it. Received among them: "
                f"{_received(x, what)}"
            )


def _received(x, what):
    if isinstance(x, Operation):
        return f"{x!r}, which was not called. Give what `{x.name}(...)` returns"
    if hasattr(x, "shape"):
        cure = "Call the layers on `lamina.Input(...)`"
        if what == "inputs":
            cure = f"Write `lamina.Input(shape={tuple(x.shape[1:])})`"
        return (
            f"an array of shape {tuple(x.shape)}. {cure}, and give arrays to `fit` and "
            "`predict`"
        )
    return f"{x!r} of type {type(x)}"


def _sort(inputs, outputs):
    """Return nodes in the order to run them, operations in Keras' order, and depths."""
    finished, met = _walk({id(t) for t in inputs}, outputs)
    reached = set(finished)
    depth_of_node = {}
    depth_of = {}
    for node in reversed(finished):
        depth = max(depth_of_node.get(node, 0), depth_of.get(node.operation, 0))
        depth_of_node[node] = depth_of[node.operation] = depth
        for parent in node.parent_nodes:
            if parent in reached:
                depth_of_node[parent] = max(depth + 1, depth_of_node.get(parent, 0))
    for tensor in inputs:
        node = tensor.node
        if node is None or not node.is_input:
            continue
        if node.operation not in depth_of:
            depth_of[node.operation] = depth_of_node[node] = 0
            met[node.operation] = -1
            finished.append(node)
    place = {node: i for i, node in enumerate(finished)}
    nodes = sorted(finished, key=lambda n: (-depth_of_node[n], place[n]))
    operations = sorted(depth_of, key=lambda op: (-depth_of[op], met[op]))
    return nodes, operations, depth_of_node


def _walk(given, outputs):
    """Walk back from the outputs: nodes after all they need, operations as met."""
    finished, met, seen = [], {}, set()
    for output in outputs:
        stack = [(output, False)]
        while stack:
            tensor, done = stack.pop()
            node = tensor.node
            if node is None or (id(tensor) in given and not node.is_input):
                continue  # what made a given tensor is not part of the graph
            if done:
                finished.append(node)
            elif node not in seen:
                seen.add(node)
                met.setdefault(node.operation, len(met))
                stack.append((tensor, True))
                stack.extend((t, False) for t in reversed(node.input_tensors))
    return finished, met


def cut_at(inputs, outputs):
    """Return a graph's ends with new Inputs where inner tensors were given.

    A model that begins in the middle of another's graph gets Inputs of its own; the
    calls between are noted again, on the same layers.

    Args:
        inputs: symbolic tensors in any structure.
        outputs: symbolic tensors in any structure.
    """
    flat = structure.flatten(inputs)
    symbolic = [t for t in flat if isinstance(t, SymbolicTensor)]
    if all(_is_input(t) for t in symbolic) or len(symbolic) != len(flat):
        return inputs, outputs
    swapped = {}
    for tensor in flat:
        if _is_input(tensor):
            swapped[id(tensor)] = tensor
            continue
        layer = InputLayer(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            name=automatic_name(f"{tensor.name}".replace("/", "_")),
        )
        swapped[id(tensor)] = layer.output
    nodes, _, _ = _sort(flat, structure.flatten(outputs))
    for node in nodes:
        if all(id(t) in swapped for t in node.outputs):
            continue
        if node.is_input or not any(id(t) in swapped for t in node.input_tensors):
            swapped.update({id(t): t for t in node.outputs if id(t) not in swapped})
            continue
        for tensor in node.input_tensors:
            swapped.setdefault(id(tensor), tensor)
        args, kwargs = node.fill(swapped)
        copies = [SymbolicTensor(t.shape, t.dtype, name=t.name) for t in node.outputs]
        Node(node.operation, args, kwargs, copies)
        for tensor, copy in zip(node.outputs, copies, strict=True):
            swapped.setdefault(id(tensor), copy)

    def swap(structure_):
        return structure.map_leaves(lambda t: swapped.get(id(t), t), structure_)

    return swap(inputs), swap(outputs)


def _is_input(tensor):
    return tensor.node is not None and isinstance(tensor.node.operation, InputLayer)
