"""Decorators for ops that are a conversion of arguments and one function of JAX.

@unary(jnp.sin, inexact)
def sin(x):
    '''Return sin x, with x in radians.'''

What they decorate has the name, the signature and the docstring, and no body.
"""

import functools

from lamina.core.op import Decorator, op
from lamina.ops.arrays import axes, promoted


def computed_by(function, **declared) -> Decorator:
    """Return a decorator for an op that `function` computes.

    Args:
        function: takes the arguments of what is decorated, by the same names.
        declared: what else `@op` takes.
    """
    return lambda drawn: op(functools.update_wrapper(function, drawn), **declared)


def unary(function, convert) -> Decorator:
    """Return a decorator: `function(convert(x))`, entry by entry."""

    def compute(x):
        return function(convert(x))

    return computed_by(compute, elementwise=True)


def binary(function, also=(), convert=None, elementwise=True) -> Decorator:
    """Return a decorator: `function(x1, x2)` in their common dtype.

    Args:
        function: the function.
        also: dtypes that the result is made wide enough for.
        convert: what each of them is converted by.
        elementwise: as in `@op`.
    """

    def compute(x1, x2):
        x1, x2 = promoted(x1, x2, also=also)
        if convert is not None:
            x1, x2 = convert(x1), convert(x2)
        return function(x1, x2)

    return computed_by(compute, elementwise=elementwise)


def reduction(function, convert) -> Decorator:
    """Return a decorator: `function(convert(x), axis, keepdims=keepdims)`."""

    def compute(x, axis=None, keepdims=False):
        return function(convert(x), axes(axis), keepdims=keepdims)

    return computed_by(compute, config=("axis", "keepdims"))
