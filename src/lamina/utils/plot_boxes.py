"""What a picture of a model shows: boxes, the lines between them, frames."""

import dataclasses

from lamina.core.naming import printable
from lamina.core.operation import graph_of
from lamina.core.registry import ours
from lamina.core.symbolic import nodes_of
from lamina.layers.basic import InputLayer
from lamina.layers.layer import Layer
from lamina.models.model import Model
from lamina.models.sequential import Sequential

# The room a layer is defined in tells its family; these classes are exceptions.
_FAMILIES = {
    "activation": "activation",
    "attention": "sequence",
    "convolution": "weights",
    "basic": "weights",
    "einsum": "weights",
    "embedding": "weights",
    "merging": "merge",
    "normalization": "normalization",
    "pooling": "shape",
    "recurrent": "sequence",
    "regularization": "normalization",
    "reshaping": "shape",
}
_OTHER = {"Identity", "Masking"}


@dataclasses.dataclass
class Box:
    """One layer, op or nested model.

    Args:
        kind: its type, the title of the box.
        name: its name.
        family: what its colour depends on.
        details: short lines for below the title.
        trained: True, False (frozen), or None where there is nothing to train.
        inner: the graph inside of a nested model that is opened.
    """

    kind: str
    name: str
    family: str
    details: tuple = ()
    trained: bool | None = None
    inner: "Graph | None" = None


@dataclasses.dataclass
class Graph:
    """Boxes and edges; a nested one has ends where lines cross its frame.

    Args:
        boxes: a list of Box; None stands for an end.
        edges: `(source, target, output of the source, input of the target)`.
        inputs: the positions of the ends where lines come in.
        outputs: the positions of the ends where lines go out.
    """

    boxes: list
    edges: list
    inputs: list
    outputs: list


@dataclasses.dataclass
class Options:
    """What is written into the boxes; the flags are those of `plot_model`."""

    shapes: bool
    dtype: bool
    activations: bool
    trainable: bool
    expand: bool


def read(model, options):
    """Return the graph of a model.

    Raises:
        ValueError: it is not a model, or has no shapes yet.
    """
    if not isinstance(model, Model):
        raise ValueError(
            f"Expected a `lamina.Model` to draw. Received: model={model!r}"
        )
    if not model.built:
        raise ValueError(
            "This model has not yet been built. Build the model first by calling "
            "`build()` or by calling the model on a batch of data, or begin it with "
            f"`lamina.Input(...)`. Received: model={model.name!r}"
        )
    if graph_of(model) is not None:
        return _Reader(graph_of(model), options, nested=False).graph
    layers = model.layers if isinstance(model, Sequential) else [model]
    boxes = [_box(layer, nodes_of(layer), options) for layer in layers]
    edges = [(i, i + 1, 0, 0) for i in range(len(boxes) - 1)]
    return Graph(boxes, edges, [], [])


class _Reader:
    """Follows the calls of one graph and notes who gives to whom."""

    def __init__(self, function, options, nested):
        self.options = options
        self.graph = Graph([], [], [], [])
        self._function = function
        self._nested = nested
        self._made_by = {}  # id of a tensor -> (position of its box, which output)
        self._place = {}
        known = {id(t) for t in function.inputs}
        self._calls = [
            node
            for node in function.nodes
            if any(id(t) not in known for t in node.outputs)
        ]
        self._each_call = self._has_cycle()
        for tensor in function.inputs:
            self._add_input(tensor)
        for node in self._calls:
            self._add_call(node)
        if nested:
            for tensor in function.outputs:
                place = self._add(None)
                self.graph.outputs.append(place)
                source, output = self._made_by[id(tensor)]
                self.graph.edges.append((source, place, output, 0))

    def _has_cycle(self):
        """Tell whether a layer takes what follows from itself.

        Then each of its calls has a box; else all calls of a layer share one.
        """
        below = {}  # operation -> operations whose outputs it takes
        for node in self._calls:
            parents = {parent.operation for parent in node.parent_nodes}
            below.setdefault(node.operation, set()).update(parents)
        left = set(below)
        while left:
            free = {op for op in left if not below[op] & left}
            if not free:
                return True
            left -= free
        return False

    def _add(self, box):
        self.graph.boxes.append(box)
        return len(self.graph.boxes) - 1

    def _add_input(self, tensor):
        node = tensor.node
        box = None if self._nested else _box(node.operation, [node], self.options)
        place = self._add(box)
        self._made_by[id(tensor)] = (place, 0)
        if self._nested:
            self.graph.inputs.append(place)

    def _add_call(self, node):
        operation = node.operation
        calls = [n for n in self._calls if n.operation is operation]
        # A frame holds the lines of one call.
        each = self._each_call or _is_opened(operation, self.options)
        key = node if each else operation
        if key not in self._place:
            box = _box(operation, [node] if each else calls, self.options)
            if len(calls) > 1:
                turn = f"call {calls.index(node) + 1} of {len(calls)}"
                turn = turn if self._each_call else f"shared by {len(calls)} calls"
                box = dataclasses.replace(box, details=(turn, *box.details))
            self._place[key] = self._add(box)
        place = self._place[key]
        inner = self.graph.boxes[place].inner
        for i, tensor in enumerate(node.input_tensors):
            source, output = self._made_by[id(tensor)]
            into = min(i, len(inner.inputs) - 1) if inner else 0
            self.graph.edges.append((source, place, output, into))
        for i, tensor in enumerate(node.outputs):
            self._made_by[id(tensor)] = (place, i if inner else 0)


def _is_opened(operation, options):
    drawn = isinstance(operation, Model) and graph_of(operation) is not None
    return drawn and options.expand


def _box(operation, nodes, options):
    inner = None
    if _is_opened(operation, options):
        inner = _Reader(graph_of(operation), options, nested=True).graph
    has_weights = isinstance(operation, Layer) and bool(operation.weights)
    return Box(
        kind=_kind(operation),
        name=printable(operation.name),
        family=_family(operation, nodes),
        details=() if inner else tuple(_details(operation, nodes, options)),
        trained=operation.trainable if options.trainable and has_weights else None,
        inner=inner,
    )


def _kind(operation):
    kind = type(operation).__name__
    if isinstance(operation, InputLayer):
        return "Input"
    for attribute in ("forward_layer", "layer"):
        wrapped = getattr(operation, attribute, None)
        if isinstance(wrapped, Layer):
            return f"{kind}({_kind(wrapped)})"
    return kind


def _family(operation, nodes):
    if isinstance(operation, InputLayer):
        return "input"
    if isinstance(operation, Model):
        return "model"
    if not isinstance(operation, Layer):
        several = any(len(node.input_tensors) > 1 for node in nodes)
        return "merge" if several else "op"
    for attribute in ("forward_layer", "layer"):
        wrapped = getattr(operation, attribute, None)
        if isinstance(wrapped, Layer):
            return _family(wrapped, [])
    for cls in type(operation).__mro__:
        if ours(cls) and cls.__name__ not in _OTHER:
            _, _, rest = cls.__module__.partition(".layers.")
            family = _FAMILIES.get(rest.partition(".")[0])
            if family:
                return family
    return "op"


def _details(operation, nodes, options):
    if options.activations:
        activation = getattr(operation, "activation", None)
        name = getattr(activation, "__name__", None) or getattr(
            activation, "name", None
        )
        if name:
            yield name
    if options.shapes:
        yield from dict.fromkeys(str(t.shape) for n in nodes for t in n.outputs)
    if options.dtype:
        if isinstance(operation, Layer):
            yield operation.dtype_policy.name
        else:
            yield from dict.fromkeys(str(t.dtype) for n in nodes for t in n.outputs)
