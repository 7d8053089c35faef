"""Ops that are a conversion of arguments and one function of JAX.

_op, _one, _two, _bits, _reduction = families(__name__)
sin = _one("sin", jnp.sin, inexact, "Return sin x, with x in radians.")
"""

import inspect

from lamina.core.op import op
from lamina.ops.arrays import axes, promoted


def families(module):
    """Return the makers of any op, of ops of one argument, of two, and of reductions.

    Arguments with a default are settings; a maker of any op is told of others, and of
    what else `@op` takes.

    Args:
        module: the module the ops stand in.
    """

    def finish(name, function, doc, config="", **declared):
        parameters = inspect.signature(function).parameters.values()
        settings = [p.name for p in parameters if p.default is not p.empty]
        function.__name__ = function.__qualname__ = name
        function.__doc__ = doc
        function.__module__ = module
        return op(function, config=(*settings, *config.split()), **declared)

    def one(name, function, convert, doc):
        def elementwise(x):
            return function(convert(x))

        return finish(name, elementwise, doc, elementwise=True)

    def two(name, function, doc, also=(), convert=None, elementwise=True):
        def combine(x1, x2):
            x1, x2 = promoted(x1, x2, also=also)
            if convert is not None:
                x1, x2 = convert(x1), convert(x2)
            return function(x1, x2)

        return finish(name, combine, doc, elementwise=elementwise)

    def bits(name, function, doc):
        def elementwise(x, y):
            return function(*promoted(x, y))

        return finish(name, elementwise, doc, elementwise=True)

    def reduction(name, function, convert, doc):
        def reduce(x, axis=None, keepdims=False):
            return function(convert(x), axes(axis), keepdims=keepdims)

        return finish(name, reduce, doc)

    return finish, one, two, bits, reduction
