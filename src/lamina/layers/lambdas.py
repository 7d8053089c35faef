"""`Lambda`: a function as a layer."""

import inspect
from collections.abc import Callable
from typing import Any

from lamina.core import structure
from lamina.core.config import (
    deserialize_keras_object,
    function_from_bytecode,
    serialize_keras_object,
)
from lamina.core.context import context, having
from lamina.core.symbolic import infer
from lamina.layers.building import map_shapes, spec_of
from lamina.layers.call import plain_shape
from lamina.layers.layer import Layer

_CODE = ("code", "defaults", "closure")


class Lambda(Layer):
    """Wraps a function of arrays as a layer.

    For what needs no weights. A Python `lambda` can be saved only as bytecode,
    which loads with `safe_mode=False` alone: register a named function with
    `lamina.saving.register_keras_serializable()`, or write a Layer.

    Args:
        function: the function; it is passed `mask` and `training` if it takes them.
        output_shape: the output's shape without the batch, or a structure of them;
            or a function of the input's shapes; found out by itself when None.
        mask: the output's mask, or a function of inputs and mask that gives it.
        arguments: keyword arguments for the function.

    Raises:
        TypeError: `function` is not callable.

    >>> import lamina, numpy as np
    >>> lamina.layers.Lambda(lambda x: x**2)(np.array([[3.0]])).tolist()
    [[9.0]]
    """

    _runs_given_code = True

    def __init__(
        self,
        function: Callable,
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not callable(function):
            raise TypeError(
                "`Lambda` expected `function` to be callable. "
                f"Received: function={function!r} (of type {type(function).__name__})"
            )
        self.function = function
        self.arguments = arguments or {}
        self.mask = mask
        self._output_shape = output_shape
        self.supports_masking = mask is not None
        takes = inspect.signature(function).parameters
        self._passed = [name for name in ("mask", "training") if name in takes]

    def call(self, inputs, mask=None, training=None):
        outer = {"mask": mask, "training": training}
        passed = {name: outer[name] for name in self._passed}
        return self.function(inputs, **{**self.arguments, **passed})

    def compute_output_shape(self, input_shape):
        if self._output_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self._output_shape):
            return self._output_shape(input_shape)
        batch = structure.flatten(input_shape)[:1]
        return map_shapes(lambda shape: (*batch, *shape), self._output_shape)

    def compute_output_spec(self, inputs, *args, **kwargs):
        if self._output_shape is None:
            return infer(self.call, inputs, *args, **kwargs)
        shapes = self.compute_output_shape(structure.map_leaves(plain_shape, inputs))
        return spec_of(shapes, self.compute_dtype)

    def compute_mask(self, inputs, mask=None):
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def get_config(self):
        config = super().get_config()
        config["function"] = _written(self.function)
        config["arguments"] = serialize_keras_object(self.arguments)
        config.pop("mask", None)
        config.pop("output_shape", None)
        for name, value in (("mask", self.mask), ("output_shape", self._output_shape)):
            if value is not None:
                config[name] = _written(value)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None, safe_mode=None):
        """Make the layer from its config.

        Raises:
            ValueError: the config holds bytecode and `safe_mode` is not False.
        """
        config = dict(config)
        for name in ("function", "mask", "output_shape"):
            if isinstance(config.get(name), dict):
                config[name] = _read(config[name], custom_objects, safe_mode)
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = deserialize_keras_object(config["dtype"])
        if "arguments" in config:
            config["arguments"] = deserialize_keras_object(config["arguments"])
        return cls(**config)


def _written(value):
    """Return the config of a function, lambdas in the form of Keras' `Lambda`."""
    config = serialize_keras_object(value)
    if isinstance(config, dict) and config["class_name"] == "__lambda__":
        config["config"] = dict(zip(_CODE, config["config"]["value"], strict=True))
    return config


def _read(config, custom_objects, safe_mode):
    if config.get("class_name") != "__lambda__":
        # A class would be called with the arguments in the config.
        with having(context.configs, taker=Lambda):
            return deserialize_keras_object(config, custom_objects, safe_mode)
    if (context.configs.safe_mode if safe_mode is None else safe_mode) is not False:
        raise ValueError(
            "The config of this `Lambda` layer holds a Python lambda as bytecode, "
            "which is code from its author: loading it allows arbitrary code "
            "execution on this machine. If you trust where it comes from, pass "
            "`safe_mode=False` to the call that loads it; better, replace the lambda "
            "by a named function registered with "
            "`@lamina.saving.register_keras_serializable()`."
        )
    return function_from_bytecode([config["config"].get(part) for part in _CODE])
