"""Python's operators and array methods on symbolic tensors.

Each records the op that Keras records for it: `x + 1` an `Add`, `x[0]` a
`GetItem`. Importing `lamina.ops` puts them in place. Between JAX's arrays they are
JAX's own, and carry masks from the first mask of a process on.
"""

import functools

import jax
from jax.core import ShapedArray

from lamina.core.context import context
from lamina.core.masks import before_first, get_mask
from lamina.core.op import carry_mask
from lamina.core.registry import ours
from lamina.core.symbolic import SymbolicTensor
from lamina.ops import numpy

_BINARY = {
    "add": numpy.add,
    "sub": numpy.subtract,
    "mul": numpy.multiply,
    "matmul": numpy.matmul,
    "div": numpy.divide,
    "truediv": numpy.true_divide,
    "floordiv": numpy.floor_divide,
    "mod": numpy.mod,
    "pow": numpy.power,
    "and": numpy.logical_and,
    "or": numpy.logical_or,
    "xor": numpy.logical_xor,
}
_COMPARISONS = {
    "ne": numpy.not_equal,
    "lt": numpy.less,
    "le": numpy.less_equal,
    "gt": numpy.greater,
    "ge": numpy.greater_equal,
}
_UNARY = {"neg": numpy.negative, "abs": numpy.absolute, "invert": numpy.logical_not}


def _plain(op):
    return lambda self, other: op(self, other)


def _swapped(op):
    return lambda self, other: op(other, self)


def _unary(op):
    return lambda self: op(self)


def _one_or_many(values):
    return values[0] if len(values) == 1 else values


def _equal(a, b):
    """Compare entries; as a condition, as `in` asks, whether the two are one."""
    try:
        result = NotImplemented if isinstance(b, str) else numpy.equal(a, b)
    except (TypeError, ValueError):
        return NotImplemented
    if isinstance(b, SymbolicTensor):
        result.identical = a is b
    return result


def install():
    """Give `SymbolicTensor` its operators and methods."""
    for name, op in _BINARY.items():
        setattr(SymbolicTensor, f"__{name}__", _plain(op))
        setattr(SymbolicTensor, f"__r{name}__", _swapped(op))
    for name, op in _COMPARISONS.items():
        setattr(SymbolicTensor, f"__{name}__", _plain(op))
    for name, op in _UNARY.items():
        setattr(SymbolicTensor, f"__{name}__", _unary(op))
    methods = {
        "__eq__": _equal,
        # A tensor is a key by identity.
        "__hash__": lambda self: id(self),
        "__getitem__": lambda self, key: numpy.get_item(self, key),
        "__round__": lambda self, ndigits=None: numpy.round(self, ndigits or 0),
        "reshape": lambda self, *shape: numpy.reshape(self, _one_or_many(shape)),
        "squeeze": lambda self, axis=None: numpy.squeeze(self, axis),
    }
    for name, method in methods.items():
        setattr(SymbolicTensor, name, method)


def _carrying(operator):
    """Return an operator of JAX's arrays whose result has the mask of its operands.

    The library's own layers say themselves what becomes of a mask.
    """

    @functools.wraps(operator)
    def carrying(*operands):
        result = operator(*operands)
        for x in operands:
            if get_mask(x) is not None:
                break
        else:
            return result
        calling = context.calling
        if not calling or not ours(type(calling[-1]).call):
            carry_mask(result, operands)
        return result

    return carrying


def carry_masks_of_arrays():
    """Let elementwise operators between arrays carry masks, as those of ops do.

    An array, and the shape that a tracer refers to, have them as attributes of their
    class. Nothing but the mask of the result differs from JAX's own.
    """
    with jax.ensure_compile_time_eval():  # the first mask may be that of a tracer
        array = type(jax.numpy.zeros(()))
    ops = {**_BINARY, **_COMPARISONS, **_UNARY, "eq": numpy.equal}
    names = [name for name, op in ops.items() if op.masks]
    names += [f"r{name}" for name in names if name in _BINARY]
    for name in names:
        for cls, key in ((array, f"__{name}__"), (ShapedArray, f"_{name}")):
            if key in vars(cls):
                found = _carrying(getattr(cls, key))
                setattr(cls, key, staticmethod(found) if cls is ShapedArray else found)


install()
before_first.append(carry_masks_of_arrays)
