"""`Sequential`: a plain stack of layers."""

import itertools
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lamina.core import structure
from lamina.core.budget import budgeted
from lamina.core.config import (
    deserialize_keras_object,
    dict_for,
    numbered,
    serialize_keras_object,
    sharing,
)
from lamina.core.context import context, having
from lamina.core.naming import of_keras
from lamina.core.registry import ours
from lamina.core.symbolic import SymbolicTensor, find_symbolic
from lamina.core.tracebacks import boundary
from lamina.layers.basic import Input, InputLayer
from lamina.layers.building import as_shape
from lamina.layers.call import signature_of
from lamina.layers.layer import Layer, given_shape
from lamina.models.model import Functional, Model


class Sequential(Model):
    """A stack of layers, each taking what the one before gives.

    Args:
        layers: the layers, in order; an `Input` may come first.
        trainable: whether its weights are trained.
        name: its name.

    Raises:
        ValueError: something that is not a layer, two layers of one name, or a layer
            in the middle that needs more than one input. One layer may come twice.

    >>> import lamina, numpy as np
    >>> model = lamina.Sequential([
    ...     lamina.Input((3,)),
    ...     lamina.layers.Dense(4, activation="relu"),
    ...     lamina.layers.Dense(1),
    ... ])
    >>> model(np.ones((2, 3))).shape
    (2, 1)
    """

    _saved_as = ("keras", "Sequential")
    input_dtype: Any = None
    _checks_sizes = False  # its layers do
    _is_stack = True
    _not_walked = frozenset({"_stack", "_functional"})

    if not TYPE_CHECKING:

        def __new__(cls, *args, **kwargs):
            """Never a graph: the first argument is a list of layers."""
            return Layer.__new__(cls, *args, **kwargs)

    def __init__(
        self,
        layers: Sequence | None = None,
        trainable: bool = True,
        name: str | None = None,
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self._stack = []
        if isinstance(layers, Layer):
            raise TypeError(
                "`Sequential` takes its layers in one list: `Sequential([a, b])`. "
                f"Received: {layers!r}"
            )
        for layer in layers or []:
            self.add(layer, rebuild=False)
        self._rebuild()
        if not trainable:
            self.trainable = False

    @boundary
    def add(self, layer: Any, rebuild: bool = True):
        """Put a layer on top of the stack."""
        if isinstance(layer, SymbolicTensor):
            origin = layer.node.operation if layer.node is not None else None
            if not isinstance(origin, InputLayer):
                raise ValueError(
                    "Only instances of `lamina.Layer` can be added to a Sequential "
                    f"model. Received: {layer!r}, the output of a call. Add the layer "
                    "itself."
                )
            layer = origin
        if not isinstance(layer, Layer):
            raise ValueError(
                "Only instances of `lamina.Layer` can be added to a Sequential model. "
                f"Received: {layer!r} (of type {type(layer)})."
                + (
                    f" Write `{layer.__name__}(...)`."
                    if isinstance(layer, type)
                    else of_keras(layer)
                )
            )
        given = given_shape(layer)
        if given is not None and not self._stack:
            first = InputLayer(batch_shape=given, dtype=layer.input_dtype)
            self.add(first, rebuild=False)
        same = layer.name in map(_name, self._stack)  # a tenth of the time
        if same and any(x.name == layer.name and x is not layer for x in self._stack):
            raise ValueError(
                "All layers added to a Sequential model should have unique names. Name "
                f"{layer.name!r} is already the name of a layer in this model. Update "
                "the `name` argument to pass a unique name."
            )
        if isinstance(layer, InputLayer) and self._stack:
            if isinstance(self._stack[0], InputLayer):
                raise ValueError(
                    f"Sequential model {self.name!r} has already been configured to "
                    f"use input shape {self._stack[0].batch_shape}. You cannot add a "
                    f"different Input layer to it.{_GRAPH}"
                )
            raise ValueError(
                "An `Input` must be the first layer of a Sequential model. Received "
                f"one after {self._stack[-1].name!r}.{_GRAPH}"
            )
        self._stack.append(layer)
        self._rebuild(rebuild)

    def pop(self, rebuild: bool = True):
        """Take the top layer off the stack and return it."""
        if not self._stack:
            raise IndexError(f"Sequential model {self.name!r} has no layers to pop.")
        layer = self._stack.pop()
        self._rebuild(rebuild)
        return layer

    def _rebuild(self, draw=True):
        self._drawn_graph = None
        self.built = False
        if not draw:
            return
        first = self._stack[0] if self._stack else None
        self._takes_text = getattr(first, "_takes_text", False)
        if isinstance(first, InputLayer):
            if len(self._stack) > 1:
                self._draw(first.batch_shape)
        elif isinstance(first, Model) and first._drawn_graph is not None:
            self._draw(first.input_shape)

    @boundary
    def build(self, input_shape: Any = None):
        """Draw the graph for inputs of a shape.

        Raises:
            ValueError: the model has no layers, or is drawn for another shape.
        """
        if self._drawn_graph is not None:
            if input_shape is not None and not _agree(self._drawn_shape, input_shape):
                raise ValueError(
                    f"Sequential model {self.name!r} has already been configured to "
                    f"use input shape {self.input_shape}. You cannot build it with "
                    f"input_shape {input_shape}."
                )
            return
        if input_shape is None:
            if self._stack and isinstance(self._stack[0], InputLayer):
                input_shape = self._stack[0].batch_shape
            else:
                raise ValueError(
                    "You must provide an `input_shape` argument to build a Sequential "
                    "model that has no `Input`."
                )
        self._draw(input_shape)

    def _draw(self, input_shape):
        """Call the layers one after the other on a symbolic input."""
        stack = self._stack
        if not stack:
            raise ValueError(
                f"Sequential model {self.name!r} cannot be built because it has no "
                "layers. Call `model.add(layer)`."
            )
        if isinstance(stack[0], InputLayer):
            inputs, stack = stack[0].output, stack[1:]
        elif isinstance(stack[0], Model) and stack[0]._drawn_graph is not None:
            inputs = structure.map_leaves(
                lambda t: Input(batch_shape=t.shape, dtype=t.dtype), stack[0].input
            )
        else:
            inputs = _inputs_of(input_shape, stack[0].input_dtype)
        x: Any = inputs
        for layer, following in itertools.zip_longest(stack, stack[1:]):
            try:
                with self._entered({**context.arguments, "training": None}):
                    x = layer(x)
            except NotImplementedError:
                # A layer without symbolic shapes runs on data only.
                return
            except TypeError as error:
                if "missing" in str(error) and "argument" in str(error):
                    raise ValueError(
                        "Layers added to a Sequential model can only have a single "
                        "positional argument, the output of the layer before. Layer "
                        f"{layer.name!r} ({type(layer).__name__}) needs more.{_GRAPH}"
                    ) from error
                raise
            if following is not None and len(find_symbolic(x)) > 1:
                self._refuse_several(layer, following, x)
        self._set_graph(inputs, x)
        if isinstance(inputs, SymbolicTensor) and inputs.node is not None:
            self._stack = [inputs.node.operation, *stack]

    @property
    def _drawn_shape(self):
        return structure.map_leaves(lambda t: t.shape, self.input)

    def _refuse_several(self, layer, following, outputs):
        several = following._allow_non_tensor_positional_args or (
            isinstance(following, Model) or signature_of(following.call).any_keyword
        )
        if several or not ours(type(following).call):
            return
        shapes = [t.shape for t in find_symbolic(outputs)]
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) gives {len(shapes)} "
            f"outputs, of shapes {shapes}, but {following.name!r} "
            f"({type(following).__name__}) takes one.{_GRAPH}"
        )

    def _build_once(self, call):
        if self.built:
            return
        shapes = list(call.shapes.values())
        if not self._stack:
            self.build(())  # raises: there are no layers
        if len(shapes) == 1:
            self._draw(shapes[0])
        self.built = True

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None):
        """Run the stack."""
        if self._drawn_graph is not None:
            return super().call(inputs, training=training, mask=mask)
        x = inputs
        for layer in self._stack:
            if not isinstance(layer, InputLayer):
                x = layer(x)
        return x

    @property
    def _functional(self):
        """The stack as a graph model of the same layers; None until it is drawn."""
        if self._drawn_graph is None:
            return None
        return Functional(self.input, self.output, name=self.name)

    @property
    def layers(self):
        """The layers, without the Input."""
        return [x for x in self._stack if not isinstance(x, InputLayer)]

    @layers.setter
    def layers(self, _):
        raise AttributeError(
            "`Sequential.layers` attribute is reserved and should not be used. Use "
            "`add()` and `pop()` to change the layers in this model."
        )

    def compute_output_spec(self, *args, **kwargs):
        """Return what a call would give, as symbolic tensors."""
        kwargs.pop("training", None)
        return super().compute_output_spec(*args, **kwargs)

    @numbered
    def get_config(self):
        """Return what it takes to make the model again, weights left out."""
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialize_keras_object(self.dtype_policy),
            "layers": [serialize_keras_object(layer) for layer in self._stack],
        }
        if self._drawn_graph is not None:
            config["build_input_shape"] = self._drawn_shape
        return config

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None):
        """Make a model from what `get_config` returned."""
        if "layers" not in dict_for(cls, config):
            return super().from_config(config)
        if not isinstance(config["layers"], (list, tuple)):
            raise ValueError(
                "The config of a Sequential model lists its layers. Received: "
                f"layers={config['layers']!r}"
            )
        with budgeted(), sharing():
            model = cls(name=config.get("name"))
            for data in config["layers"]:
                if not isinstance(data, dict) or "config" not in data:
                    raise ValueError(
                        f"A layer of {model.name!r} has no config. Expected a "
                        f"dictionary containing a 'config' key. Received: {data!r}"
                    )
                # The paths that `_draw` gives; a graph has its layers' own.
                graph = "input_layers" in data["config"]
                scopes = () if graph else (*context.scopes, model.name)
                with having(scopes=scopes):
                    layer = deserialize_keras_object(
                        data, custom_objects=custom_objects
                    )
                model.add(layer, rebuild=False)
            model._rebuild()
            if config.get("dtype") is not None:
                model.dtype_policy = config["dtype"]
            shape = config.get("build_input_shape")
            if model._drawn_graph is None and shape is not None and model._stack:
                model.build(as_shape(shape))
        if config.get("trainable") is False:
            model.trainable = False
        return model


_name = operator.attrgetter("name")

_GRAPH = """
A Sequential model is a plain stack. For several inputs or outputs draw a graph:

    a = lamina.Input(shape=(32,), name="a")
    b = lamina.Input(shape=(8,), name="b")
    x = lamina.layers.Concatenate()([a, b])
    model = lamina.Model(inputs=[a, b], outputs=lamina.layers.Dense(1)(x))
"""


def _agree(drawn, given):
    """Tell whether a shape may stand where another was drawn."""
    if not isinstance(drawn, tuple) or not isinstance(given, (list, tuple)):
        return True  # structures of shapes are compared when data come
    return len(drawn) == len(given) and all(
        a == b or a is None or b is None for a, b in zip(drawn, given, strict=True)
    )


def _inputs_of(shape, dtype):
    if isinstance(shape, dict):
        return {k: Input(batch_shape=v, dtype=dtype, name=k) for k, v in shape.items()}
    if shape and isinstance(shape[0], (list, tuple)):
        return type(shape)(Input(batch_shape=v, dtype=dtype) for v in shape)
    return Input(batch_shape=shape, dtype=dtype)
