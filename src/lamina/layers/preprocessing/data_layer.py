"""`DataLayer`: a layer that prepares data, in a model or before it."""

import contextlib
from typing import Any

import numpy as np

from lamina.core import structure
from lamina.core.registry import ours
from lamina.core.variable import Variable
from lamina.layers.layer import Layer

_PLAIN = frozenset({int, float, str, bytes})


class DataLayer(Layer):
    """The base of layers that prepare data: they also take lists of text."""

    _allow_non_tensor_positional_args = True
    _lists_are_arrays = True
    # What the constructors of a family share: a `SharedArguments`.
    _arguments: Any = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls._arguments and ours(cls):
            cls._arguments.document(cls)

    def __init__(self, **kwargs):
        kept = self._arguments.keep(self, kwargs) if self._arguments else kwargs
        super().__init__(**kept)

    def __call__(self, *args, **kwargs):
        """Run the layer, on lists of text or numbers too."""
        if self._lists_are_arrays:
            args = tuple(_array(x) for x in args)
        return super().__call__(*args, **kwargs)

    def convert_weight(self, weight):
        """Return the value of a weight as the array that `call` computes with."""
        return weight.value if isinstance(weight, Variable) else weight


def _array(value):
    """Return text and nested lists of text or numbers as an array, else `value`."""
    if isinstance(value, (str, bytes)):
        return np.asarray(value)
    if isinstance(value, (list, tuple)):
        flat = bool(value) and _PLAIN.issuperset(map(type, value))
        leaves = () if flat else structure.flatten(value)
        if flat or (leaves and all(isinstance(x, tuple(_PLAIN)) for x in leaves)):
            with contextlib.suppress(ValueError):  # the layer says what it takes
                return np.asarray(value)
    return value
