"""Calls in a graph of TensorFlow's, such as that of `dataset.map`."""

import functools
import sys

import numpy as np

from lamina.core import structure
from lamina.core.symbolic import SymbolicTensor, infer


def in_graph(args, kwargs) -> bool:
    """Tell whether a graph of TensorFlow's is drawn, and its tensors are given."""
    tf = sys.modules.get("tensorflow")
    # What stands in for TensorFlow, where there is none, lacks the function.
    if tf is None or vars(tf).get("executing_eagerly", lambda: True)():
        return False
    return any(tf.is_tensor(x) for x in structure.flatten((args, kwargs)))


def drawn_in_graphs(method):
    """Let a method that is not a call, too, run inside `tf.data` maps."""

    @functools.wraps(method)
    def run(self, *args, **kwargs):
        if not in_graph(args, kwargs):
            return method(self, *args, **kwargs)
        bound = functools.partial(method, self)
        return drawn(bound, functools.partial(infer, bound), args, kwargs)

    return run


def drawn(function, spec, args, kwargs):
    """Draw a call into TensorFlow's graph: NumPy in, NumPy out, shapes kept.

    Args:
        function: what runs, on arrays, each time the graph does.
        spec: gives what `function` will, as symbolic tensors.
        args: positional arguments, some of them TensorFlow's tensors.
        kwargs: keyword arguments.
    """
    # AutoGraph would rewrite all that is called from here.
    plain = sys.modules["tensorflow"].autograph.experimental.do_not_convert
    return plain(_as_tensorflow)(function, spec, args, kwargs)


def _as_tensorflow(function, spec, args, kwargs):
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
