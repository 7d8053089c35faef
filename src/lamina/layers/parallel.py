"""Layouts for tensor parallelism, found from how layers are connected.

A product can be divided by its outputs or by its inputs. Divided by outputs, each
device computes some features from all inputs; divided by inputs, each computes a part
of every sum, and the parts are added up. One after the other costs a single sum over
the devices, and nothing between them is collected: Shoeybi et al., 2019, "Megatron-LM".

Layers say how they can be divided (`_divisions`, `_divided_inside`), and which of them
leave features where they are (`_featurewise`): their weights lie as their input does.
Why a layer is never divided, it says (`_never_divided`). A `Plan` puts it together.
"""

from typing import Any, NamedTuple

from lamina.core.operation import graph_of
from lamina.core.placement import output_path
from lamina.core.variable import Variable

AXIS = "model"  # the axis of a mesh whose devices share the work on one row


class Division(NamedTuple):
    """A way to divide what a layer multiplies.

    Attributes:
        weights: the axis that is divided, by the attribute that holds a weight; None
            for one that stays whole.
        size: the size of that axis.
        output: how the last axes of the output lie: axes of the mesh, or None.
    """

    weights: dict[str, int | None]
    size: int
    output: tuple = (None,)


class _Mark(NamedTuple):
    """The layers by whose outputs a tensor's last axis is divided, and its size."""

    layers: frozenset
    size: int


_WHOLE = _Mark(frozenset(), 0)


class Plan:
    """How the weights of a model and what its layers return are divided.

    Args:
        model: the model, built.
        parts: the number of devices that share the work on one row.

    Attributes:
        axes: for each Variable that is divided, the place of the axis.
        outputs: how the last axes of an output lie, by its path.
        reasons: why a Variable is whole.
    """

    def __init__(self, model, parts: int):
        self._parts = parts
        self._by: dict[Any, str] = {}  # layers and how they are divided
        self._why: dict[Any, str] = {}  # layers and why they are not
        self._broken: set = set()  # whose features must be whole in what follows
        self._between: dict[Any, _Mark] = {}  # layers that have weights by feature
        self.axes: dict[Variable, int] = {}
        self.outputs: dict[str, tuple] = {}
        self.reasons: dict[Variable, str] = {}
        ends = self._follow(model, [_WHOLE])
        # A last layer may stay divided: a loss needs no more than sums over it.
        ends = frozenset().union(*(mark.layers for mark in ends))
        for layer, way in self._by.items():
            broken = layer in self._broken and layer not in ends
            self._divide(layer, way, broken)
        for layer, mark in self._between.items():
            made = [self.outputs[output_path(x)][-1] for x in mark.layers]
            for variable in layer.variables if None not in made else ():
                if variable.shape[-1:] == (mark.size,):
                    self.axes[variable] = len(variable.shape) - 1
        for variable in model.variables:
            if variable not in self.axes:
                self.reasons.setdefault(variable, "its layer divides nothing")

    def _follow(self, layer, given) -> list[_Mark]:
        """Go through a layer, and return the marks of what it returns."""
        if (graph := graph_of(layer)) is not None:
            return self._through(graph, given)
        if (inside := getattr(layer, "_divided_inside", None)) is not None:
            self._break(given)
            self._take_inside(inside() if layer.built else [])
            return [_WHOLE]
        if _divisions(layer):
            return [self._product(layer, given)]
        if getattr(layer, "_featurewise", False) or _keeps_elements(layer):
            if given and all(mark.layers for mark in given):
                together = frozenset().union(*(mark.layers for mark in given))
                mark = _Mark(together, given[0].size)
                if getattr(layer, "_featurewise", False):
                    self._between.setdefault(layer, mark)
                return [mark]
        self._break(given)
        if why := getattr(layer, "_never_divided", None):
            self.reasons |= dict.fromkeys(layer.variables, why)
            return [_WHOLE]
        self._one_by_one(layer)
        return [_WHOLE]

    def _through(self, graph, given):
        """Go through a graph, one call after the other."""
        marks = {id(t): _WHOLE for t in graph.inputs}
        if len(given) == len(graph.inputs):
            marks |= {id(t): m for t, m in zip(graph.inputs, given, strict=True)}
        for node in graph.nodes:
            if node.is_input:
                continue
            found = [marks.get(id(t), _WHOLE) for t in node.input_tensors]
            made = self._follow(node.operation, found)
            made = made if len(made) == len(node.outputs) else [_WHOLE]
            for i, tensor in enumerate(node.outputs):
                marks[id(tensor)] = made[i] if len(made) > 1 else made[0]
        return [marks.get(id(t), _WHOLE) for t in graph.outputs]

    def _one_by_one(self, layer):
        """Go through layers whose connections are not drawn, in their order.

        A product whose input is as long as the output of one before takes it.
        """
        open_: dict[int, _Mark] = {}
        for inner in layer._inner_layers() if hasattr(layer, "_inner_layers") else ():
            ways = _divisions(inner)
            if not ways:
                self._follow(inner, [_WHOLE])
                continue
            summed = ways.get("inputs")
            mark = open_.pop(summed.size, _WHOLE) if summed else _WHOLE
            made = self._product(inner, [mark])
            if made.layers:
                before = open_.get(made.size, _WHOLE)
                open_[made.size] = _Mark(before.layers | made.layers, made.size)
        self._break(open_.values())

    def _product(self, layer, given):
        """Choose how a layer is divided, and return the mark of its output."""
        ways, n = _divisions(layer), self._parts
        taken = next((m for m in given if m.layers), _WHOLE)
        way = self._by.get(layer)
        if way is None:
            fitting = [k for k in ("outputs", "inputs") if _fits(ways.get(k), n)]
            follows = taken.layers and "inputs" in fitting
            way = "inputs" if follows else next(iter(fitting), "")
            self._by[layer] = way
        if way != "inputs":
            self._break(given)
        if way != "outputs" or ways[way].output[-1] is None:
            return _WHOLE
        return _Mark(frozenset([layer]), ways[way].size)

    def _take_inside(self, inside):
        """Divide layers that go together: all of them, or none."""
        if not all(_divisions(layer) for layer, _ in inside):
            return
        sizes = [_divisions(layer)[way].size for layer, way in inside]
        misfits = dict.fromkeys(size for size in sizes if size % self._parts)
        for layer, way in inside:
            self._by.setdefault(layer, "" if misfits else way)
            if misfits:
                heads = " or ".join(map(str, misfits))
                self._why[layer] = f"{self._parts} does not divide {heads} heads"

    def _break(self, marks):
        for mark in marks:
            self._broken |= mark.layers

    def _divide(self, layer, way, broken):
        ways, n = _divisions(layer), self._parts
        if broken and _fits(ways.get("inputs"), n):
            way = "inputs"  # rather added up here than collected
        sizes = " or ".join(str(way.size) for way in ways.values())
        why = self._why.get(layer, f"{n} does not divide {sizes}")
        if way:
            output = ways[way].output
            output = (None,) * len(output) if broken else output
            self.outputs[output_path(layer)] = output
            why = "added once, to the sum"
        for name, variable in _weights(layer, ways):
            axis = ways[way].weights.get(name) if way else None
            if axis is None:
                self.reasons[variable] = why
            else:
                self.axes[variable] = axis


def _divisions(layer) -> dict[str, Division]:
    """Return the ways in which a layer can be divided, `"outputs"` and `"inputs"`."""
    ways = getattr(layer, "_divisions", None)
    if ways is None or not layer.built or layer.quantization_mode is not None:
        return {}
    return ways()


def _fits(way, parts):
    return way is not None and way.size % parts == 0


def _weights(layer, ways):
    names = dict.fromkeys(name for way in ways.values() for name in way.weights)
    found = [(name, getattr(layer, name, None)) for name in names]
    return [(name, v) for name, v in found if isinstance(v, Variable)]


def _keeps_elements(operation):
    """Tell whether an op of a graph computes each element by itself."""
    return getattr(getattr(operation, "function", None), "masks", False)
