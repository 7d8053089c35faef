"""Layers and models inside of `tf.data` maps, where TensorFlow draws a graph.

AutoGraph would rewrite all that they call; what has an `autograph_info__`, its own sign
for what it has made, it leaves as it is.
"""

import functools
import sys

import numpy as np

from lamina.core import structure
from lamina.core.random import loaded
from lamina.core.symbolic import SymbolicTensor, infer


def in_tensorflow_graph(args, kwargs):
    """Tell whether a call is to be a part of a graph that TensorFlow draws."""
    eager = loaded("tensorflow", "executing_eagerly")  # None as the import runs
    if eager is None or eager():
        return False
    tf = sys.modules["tensorflow"]
    return any(tf.is_tensor(x) for x in structure.flatten((args, kwargs)))


def as_symbols(args, kwargs):
    """Return arguments with symbolic tensors in place of TensorFlow's."""
    return structure.map_leaves(
        lambda x: SymbolicTensor(x.shape, x.dtype.name) if _is_tensor(x) else x,
        (args, kwargs),
    )


def _is_tensor(x):
    return sys.modules["tensorflow"].is_tensor(x)


def drawn(function, specs, args, kwargs):
    """Draw a call into TensorFlow's graph: NumPy in, NumPy out, shapes kept.

    `specs` are what the function gives, as symbolic tensors.
    """
    tf = sys.modules["tensorflow"]
    tensors = [x for x in structure.flatten((args, kwargs)) if tf.is_tensor(x)]

    def run(*values):
        arrays = map(np.asarray, values)
        given, named = structure.map_leaves(
            lambda x: next(arrays) if tf.is_tensor(x) else x, (args, kwargs)
        )
        outputs = structure.flatten(function(*given, **named))
        return [np.asarray(x, s.dtype) for x, s in zip(outputs, flat, strict=True)]

    flat = structure.flatten(specs)
    outputs = tf.numpy_function(run, tensors, [tf.as_dtype(s.dtype) for s in flat])
    for output, like in zip(outputs, flat, strict=True):
        output.set_shape(like.shape)
    outputs = iter(outputs)
    return structure.map_leaves(lambda _: next(outputs), specs)


def drawn_in_graphs(method):
    """Let a method that is not a call, too, run inside `tf.data` maps."""

    @functools.wraps(method)
    def run(self, *args, **kwargs):
        if not in_tensorflow_graph(args, kwargs):
            return method(self, *args, **kwargs)
        bound = functools.partial(method, self)
        given, named = as_symbols(args, kwargs)
        return drawn(bound, infer(bound, *given, **named), args, kwargs)

    run.autograph_info__ = None  # type: ignore
    return run
