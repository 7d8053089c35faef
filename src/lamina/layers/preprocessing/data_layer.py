"""`DataLayer`: a layer that prepares data, in a model or before it."""

import contextlib
import functools
import sys
from typing import Any

import numpy as np

from lamina.core import structure
from lamina.core.registry import ours
from lamina.core.symbolic import SymbolicTensor, infer
from lamina.core.variable import Variable
from lamina.layers.layer import Layer

_PLAIN = frozenset({int, float, str, bytes})


class DataLayer(Layer):
    """The base of layers that prepare data: they also run inside `tf.data` maps.

    There `dataset.map(layer)` calls them on TensorFlow's symbolic tensors; the work
    is done by the same code, on arrays, when the data set is read.
    """

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
        """Run the layer on arrays, on symbolic tensors, or in a graph of `tf.data`."""
        if _in_tensorflow_graph(args, kwargs):
            return _drawn(self, self.compute_output_spec, args, kwargs)
        if self._lists_are_arrays:
            args = tuple(_array(x) for x in args)
        return super().__call__(*args, **kwargs)

    def convert_weight(self, weight):
        """Return the value of a weight as the array that `call` computes with."""
        return weight.value if isinstance(weight, Variable) else weight


def drawn_in_graphs(method):
    """Let a method that is not a call, too, run inside `tf.data` maps."""

    @functools.wraps(method)
    def run(self, *args, **kwargs):
        if not _in_tensorflow_graph(args, kwargs):
            return method(self, *args, **kwargs)
        bound = functools.partial(method, self)
        return _drawn(bound, functools.partial(infer, bound), args, kwargs)

    return run


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


def _in_tensorflow_graph(args, kwargs):
    tf = sys.modules.get("tensorflow")
    if tf is None or tf.executing_eagerly():
        return False
    return any(tf.is_tensor(x) for x in structure.flatten((args, kwargs)))


def _drawn(function, spec, args, kwargs):
    # AutoGraph would rewrite all that is called from here.
    plain = sys.modules["tensorflow"].autograph.experimental.do_not_convert
    return plain(_as_tensorflow)(function, spec, args, kwargs)


def _as_tensorflow(function, spec, args, kwargs):
    """Draw a call into TensorFlow's graph: NumPy in, NumPy out, shapes kept.

    `spec` gives what `function` will, as symbolic tensors.
    """
    tf = sys.modules["tensorflow"]
    leaves = structure.flatten((args, kwargs))
    tensors = [x for x in leaves if tf.is_tensor(x)]

    def filled(values):
        values = iter(values)
        return structure.map_leaves(
            lambda x: next(values) if tf.is_tensor(x) else x, (args, kwargs)
        )

    given, named = filled(SymbolicTensor(x.shape, x.dtype.name) for x in tensors)
    specs = spec(*given, **named)

    def run(*values):
        given, named = filled(np.asarray(x) for x in values)
        outputs = structure.flatten(function(*given, **named))
        return [np.asarray(x, s.dtype) for x, s in zip(outputs, flat, strict=True)]

    flat = structure.flatten(specs)
    outputs = tf.numpy_function(run, tensors, [tf.as_dtype(s.dtype) for s in flat])
    for output, like in zip(outputs, flat, strict=True):
        output.set_shape(like.shape)
    outputs = iter(outputs)
    return structure.map_leaves(lambda _: next(outputs), specs)
