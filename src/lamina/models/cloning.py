"""Models made again from others, and from JSON."""

import contextlib
import functools
from typing import Any

from lamina.core import structure
from lamina.core.budget import budgeted
from lamina.core.config import (
    deserialize_keras_object,
    numbering_of,
    serialize_keras_object,
)
from lamina.core.context import context, having
from lamina.core.owner import layers_in
from lamina.core.references import References, make_again
from lamina.core.texts import parsed
from lamina.core.tracebacks import boundary
from lamina.layers.basic import Input, InputLayer
from lamina.layers.layer import Layer
from lamina.models.graph_config import takes_graph
from lamina.models.model import Functional, Model
from lamina.models.sequential import Sequential
from lamina.saving.migration import migrated


@boundary
def clone_model(
    model,
    input_tensors: Any = None,
    clone_function: Any = None,
    call_function: Any = None,
    recursive: bool = False,
    **kwargs,
) -> Model:
    """Make a model of new layers in the form of another; weights start afresh.

    Args:
        model: the model; its functions are shared, never turned into bytecode.
        input_tensors: symbolic tensors to draw the graph on, in the structure of the
            model's inputs; new ones when None.
        clone_function: `layer -> layer` for each layer but the inputs; when None a
            layer is made again from its config.
        call_function: `(layer, *args, **kwargs) -> outputs` for each call in a
            Functional model.
        recursive: whether models inside are cloned by the same functions.
        kwargs: `cache`, a dict from `id(layer)` to the layer to use for it.

    Raises:
        ValueError: an argument that this kind of model does not take, or inputs of
            another structure.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
    >>> copy = lamina.models.clone_model(model)
    >>> copy.layers[0].units, copy.layers[0] is model.layers[0]
    (2, False)
    """
    cache = kwargs.pop("cache", None)
    if kwargs:
        raise ValueError(f"Unexpected keyword argument(s): {sorted(kwargs)}")
    cloning = _Cloning(model, clone_function, call_function, recursive, cache)
    cloned = cloning.clone(model, input_tensors)
    if isinstance(model, Model) and model.compiled:
        cloned.compile_from_config(model.get_compile_config())
    return cloned


@boundary
def model_from_json(json_string, custom_objects=None):
    """Make a model from what `model.to_json()` returned; weights start afresh.

    JSON of Keras 2 and 3 is read as well.

    Args:
        json_string: the JSON.
        custom_objects: a dict from names to your own classes and functions.

    Raises:
        ValueError: it is not JSON, describes no model, holds a lambda, which is code,
            or makes weights that this machine has no memory for.
        TypeError: it needs a class or function that was not lent.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
    >>> lamina.models.model_from_json(model.to_json()).output_shape
    (None, 2)
    """
    afresh = having(context.configs, references=None, budget=None, shared={})
    with afresh, budgeted("the JSON"):
        config = migrated(parsed(json_string, "the JSON"))
        model = deserialize_keras_object(config, custom_objects=custom_objects)
        if not isinstance(model, Layer):
            raise ValueError(
                f"The JSON describes no model, but a {type(model).__name__}."
            )
        return model


class _Cloning:
    """How layers are cloned and called, the same at every depth."""

    def __init__(self, model, clone_function, call_function, recursive, cache):
        self.clone_function = clone_function
        self.call_function = call_function
        self.recursive = recursive
        self.cache = {} if cache is None else cache
        # What layers of the model share with each other, and its clones.
        self.numbering = numbering_of(lambda: _mention(model))
        self.shared = {}

    def clone(self, model, input_tensors=None):
        # What is shared first, and the smallest: what holds it finds its clone.
        shared = filter(self.numbering, getattr(model, "layers", ()))
        for layer in sorted(shared, key=lambda x: len(layers_in(x))):
            self.layer(layer)
        if isinstance(model, Sequential):
            return self.sequential(model, input_tensors)
        custom = self.clone_function is not None or self.call_function is not None
        drawn = custom and isinstance(model, Model) and model._drawn_graph is not None
        if isinstance(model, Functional) or drawn:
            return self.functional(model, input_tensors)
        for name in ("clone_function", "call_function"):
            if getattr(self, name) is not None:
                raise ValueError(
                    "Arguments `clone_function` and `call_function` are only supported "
                    f"for Sequential and Functional models. Received: {model!r}, a "
                    f"{type(model).__name__}, with `{name}`."
                )
        if input_tensors is not None:
            raise ValueError(
                "Argument `input_tensors` is only supported for Sequential and "
                f"Functional models. Received: {model!r}"
            )
        return make_again(model)

    def layer(self, layer):
        """Return the new layer for an old one: always the same one, at any depth."""
        key = self.numbering(layer) or -id(layer), layer.name
        if id(layer) not in self.cache:
            new = self.shared[key] if key in self.shared else self._new_layer(layer)
            self.cache[id(layer)] = new
        self.shared[key] = self.cache[id(layer)]
        return self.shared[key]

    def called(self, operation):
        """Return what is called in the place of an old operation."""
        if isinstance(operation, Layer):
            operation = self.layer(operation)
        if self.call_function is None:
            return operation
        return functools.partial(self.call_function, operation)

    def _new_layer(self, layer):
        if self.recursive and isinstance(layer, (Functional, Sequential)):
            return self.clone(layer)
        if self.clone_function is None or isinstance(layer, InputLayer):
            return make_again(layer, self.numbering, self.shared)
        with having(context.configs, numbering=self.numbering, shared=self.shared):
            return self.clone_function(layer)

    def sequential(self, model, input_tensors):
        if self.call_function is not None and not self.recursive:
            raise ValueError(
                "`call_function` is for Functional models. Received a Sequential one, "
                f"{model.name!r}."
            )
        layers = [self.layer(layer) for layer in model.layers]
        first = _input_like(model, input_tensors)
        layers = layers if first is None else [first, *layers]
        new = type(model)(layers, name=model.name, trainable=model.trainable)
        new.dtype_policy = model.dtype_policy
        return new

    def functional(self, model, input_tensors):
        graph = model._drawn_graph
        if input_tensors is None:
            inputs = structure.map_leaves(_input_again, graph.input)
        else:
            rules = {"needed": range(len(graph.inputs)), "by_place": False}
            flat = graph.slots.each(input_tensors, "input_tensors", **rules)
            inputs = structure.pack_like(graph.input, flat)
        leaves = structure.flatten(inputs)
        values = graph.follow(graph.nodes, leaves, instead=self.called)
        outputs = structure.map_leaves(lambda t: values[id(t)], graph.output)
        kind = type(model) if takes_graph(type(model)) else Functional
        new = kind(inputs=inputs, outputs=outputs, name=model.name)
        new.trainable = model.trainable
        return new


def _mention(model):
    """Serialize each layer of a graph whose config can be written."""
    for layer in model.layers if isinstance(model, (Functional, Sequential)) else ():
        with (
            having(context.configs, references=References()),
            contextlib.suppress(Exception),
        ):
            serialize_keras_object(layer)


def _input_again(tensor):
    layer = tensor.node.operation
    if isinstance(layer, InputLayer):
        return make_again(layer).output
    return Input(batch_shape=tensor.shape, dtype=tensor.dtype)


def _input_like(model, input_tensors):
    """Return what a new stack begins with, or None where the old one has no Input."""
    if input_tensors is not None:
        flat = structure.flatten(input_tensors)
        if len(flat) != 1:
            raise ValueError(
                "Argument `input_tensors` must contain a single tensor for a "
                f"Sequential model. Received: {input_tensors}"
            )
        return flat[0]
    first = model._stack[0] if model._stack else None
    return make_again(first) if isinstance(first, InputLayer) else None
