"""A graph of Lamina's own layers, called on arrays: one compiled call.

Layer by layer a call is easy to follow and to debug, and costs some hundred
microseconds a layer. Where a graph holds nothing that a user wrote, there is nothing
to follow: it is compiled as a whole, once for each shape, and kept until a layer is
changed. Several threads may call a model at once.
"""

import jax
import numpy as np
from jax.core import Tracer

from lamina.core import structure
from lamina.core.context import context, having
from lamina.core.masks import get_mask, set_mask
from lamina.core.variable import binding
from lamina.layers.call import signature_of
from lamina.layers.layer import Layer
from lamina.layers.owner import changes
from lamina.training.recompiles import watched_call

# Layers of ours that run what a user wrote, or do more than give outputs.
_OTHER = frozenset({"Lambda", "JaxLayer", "FlaxLayer", "ActivityRegularization"})
_OURS = ("lamina.", "jax.")
# Attributes by these names are functions that no call runs.
_NOT_CALLED = ("_initializer", "_regularizer", "_constraint")
_NUMBERS = frozenset("fiubV")  # kinds of dtypes; V is bfloat16 and the like


class Calls:
    """The compiled calls of one model."""

    def __init__(self):
        self._seen, self._now = None, None

    def __deepcopy__(self, memo):
        return Calls()

    def __reduce__(self):
        return Calls, ()

    def now(self, model):
        """Return the `Whole` of the model's present layers."""
        seen, whole = changes.last, self._now
        if seen != self._seen or whole is None:
            layers = model._flatten_layers()
            of = tuple((id(layer), layer._changed_at) for layer in layers)
            # Assigned at once: other threads may be using the one from before.
            if whole is None or of != whole.of:
                self._now = whole = Whole(model, layers, of)
            self._seen = seen
        return whole


class Whole:
    """The compiled calls of a model whose layers stay as they are.

    Args:
        model: the model.
        layers: all layers in it, itself included.
        of: what tells these layers from others.

    Attributes:
        able: whether the model can be compiled as a whole.
        by_row: whether, besides, no row of a batch has an effect on another one.
    """

    def __init__(self, model, layers, of):
        self.of = of
        self._layers = layers  # held, so that no other layer gets the `id` of one
        self._variables = tuple(model.variables)
        self._compiled = {}
        self.able = model.built and _is_ours(model, layers)
        self.by_row = self.able and _is_by_row(layers)
        self._trains = any(_trains_unasked(layer) for layer in layers)

    @staticmethod
    def takes(inputs) -> bool:
        """Tell whether all inputs are arrays of numbers, without masks."""
        if not isinstance(inputs, (list, tuple, dict)):
            return _is_array(inputs)
        leaves = structure.flatten(inputs)
        return bool(leaves) and all(map(_is_array, leaves))

    def run(self, model, inputs, training):
        """Return `(outputs, masks)` for arrays."""
        if training is None and not self._trains:
            training = False
        variables = self._variables
        call = self._compiled.get(training)
        if call is None:
            call = self._compiled[training] = _compiled(model, variables, training)
        values = tuple([v._value for v in variables])
        call = watched_call(call, model, variables)
        outputs, masks, changed = call(values, inputs)
        for i, value in changed.items():
            variables[i]._store(value)
        return outputs, masks


def quick_call(model, args, kwargs):
    """Return what a compiled call gives, as `(outputs,)`, or None where none is due.

    Args:
        model: the model that is called.
        args: its positional arguments.
        kwargs: its keyword arguments.
    """
    inside = context.calling or context.frames or context.symbolic
    if inside or context.losses is not None or context.remat is not None:
        return None
    whole = model._calls.now(model)
    if not whole.able or model._compiled.run_eagerly:
        return None
    if len(args) != 1 or any(name != "training" for name in kwargs):
        return None
    training = kwargs.get("training")
    if not (training is None or isinstance(training, bool)) or not whole.takes(args[0]):
        return None
    outputs, masks = whole.run(model, args[0], training)
    if masks:
        for output, mask in zip(structure.flatten(outputs), masks, strict=True):
            set_mask(output, mask)
    return (outputs,)


def _compiled(model, variables, training):
    def call(values, inputs):
        with binding(variables, values) as frame, having(losses=[]):
            outputs = Layer.__call__(model, inputs, training=training)
            new = frame.current()
        masks = [get_mask(x) for x in structure.flatten(outputs)]
        if all(mask is None for mask in masks):
            masks = []
        return outputs, masks, {i: a for i, a in enumerate(new) if a is not values[i]}

    return jax.jit(call)


def _is_array(x):
    if isinstance(x, np.ndarray):
        return x.dtype.kind in _NUMBERS and get_mask(x) is None
    concrete = isinstance(x, jax.Array) and not isinstance(x, Tracer)
    return concrete and get_mask(x) is None


def _is_ours(model, layers):
    """Tell whether a graph holds nothing that a user wrote."""
    graph = model._graph
    if graph is None or model._takes_text or not _calls_its_graph(model):
        return False
    inner = [x for x in layers if x is not model]
    graphs = [x._graph for x in layers if getattr(x, "_graph", None) is not None]
    operations = [x for graph in graphs for x in graph.operations]
    return all(
        type(x).__module__.startswith("lamina.") and type(x).__name__ not in _OTHER
        for x in (*inner, *operations)
    ) and not any(x.activity_regularizer or _holds_function(x) for x in layers)


def _calls_its_graph(model):
    cls = type(model)
    return cls.call.__module__.startswith("lamina.") and (
        cls.__call__.__module__.startswith("lamina.")
    )


def _holds_function(layer):
    """Tell whether a layer's calls run a function or callable that is not ours."""
    return any(
        callable(value)
        and not isinstance(value, Layer)
        and not name.endswith(_NOT_CALLED)
        and not (getattr(value, "__module__", None) or "").startswith(_OURS)
        for name, value in vars(layer).items()
    )


def _is_by_row(layers):
    """Tell whether no row of a batch has an effect on another one.

    Operations that are no layers may do anything, and so may random numbers.
    """
    graphs = [x._graph for x in layers if getattr(x, "_graph", None) is not None]
    for graph in graphs:
        for node in graph.nodes:
            if not isinstance(node.operation, Layer) or node.kwargs.get("training"):
                return False
            if node.is_input and node.outputs[0].shape[:1] != (None,):
                return False
    return not any(getattr(x, "stateful", False) or _trains_unasked(x) for x in layers)


def _trains_unasked(layer):
    return bool(signature_of(layer.call).defaults.get("training"))
