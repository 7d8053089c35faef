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


def drawn(function, spec, args, kwargs):
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


def drawn_in_graphs(method):
    """Let a method that is not a call, too, run inside `tf.data` maps."""

    @functools.wraps(method)
    def run(self, *args, **kwargs):
        if not in_tensorflow_graph(args, kwargs):
            return method(self, *args, **kwargs)
        bound = functools.partial(method, self)
        return drawn(bound, functools.partial(infer, bound), args, kwargs)

    run.autograph_info__ = None  # type: ignore
    return run
