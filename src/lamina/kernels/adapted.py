"""What stands in a layer in place of a kernel: LoRA, and other encodings of floats.

A layer asks `dense`, `einsum` or `rows` for the product of its input with its kernel.
For a Variable they take its value; an object in its place has its own way.
"""

import math
import string
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import kernels
from lamina.core.dtypes import is_float
from lamina.core.naming import printable
from lamina.core.row_gradients import look_up
from lamina.core.variable import Variable


def dense(x, kernel, transposed=False):
    """Return `x @ kernel`, or with the kernel transposed and in the dtype of x."""
    if isinstance(kernel, AdaptedWeight):
        return kernel.product("...a,ba->...b" if transposed else "...a,ab->...b", x)
    value = kernel.value
    return kernels.dense(x, value.T.astype(x.dtype) if transposed else value)


def einsum(equation, x, kernel):
    """Return the Einstein sum of an input and a kernel."""
    if isinstance(kernel, AdaptedWeight):
        return kernel.product(equation, x)
    return jnp.einsum(equation, x, kernel.value)


def rows(table, indices):
    """Return rows of a table."""
    if isinstance(table, AdaptedWeight):
        return table.rows(indices)
    return look_up(table.value, indices, kernels.embedding)


def biased(y, kernel, bias):
    """Return sums with the bias added, as precisely as the kernel's products are."""
    if bias is None:
        return y
    value = bias.value
    adapts = isinstance(kernel, AdaptedWeight)
    return kernels.add_bias(y, kernel.bias(value) if adapts else value)


class Layout:
    """How a layer keeps the integers of a kernel and their scales.

    Args:
        shape: the shape of the kernel.
        shared: the axes of the kernel that share a scale.
        order: the other axes, in the order in which scales of 8 bits are kept.
        kept: the shape in which scales of 8 bits are kept.
        flat: the kernel as a matrix, as integers of 4 bits are kept; rows are summed
            over when None.
        grouped: the axis of that matrix along which groups share a scale, negative.
        packed: the axis of that matrix along which integers of 4 bits are packed.
    """

    def __init__(self, shape, shared, order, kept, flat=None, grouped=-2, packed=-1):
        self.shape = tuple(shape)
        self.wide = tuple(1 if i in shared else n for i, n in enumerate(shape))
        self.sizes = tuple(shape[i] for i in order)
        self.shared, self.order, self.kept = tuple(shared), tuple(order), tuple(kept)
        rows = math.prod(shape[i] for i in shared)
        self.flat = flat or (rows, math.prod(shape) // rows)
        self.grouped, self.packed = grouped, packed
        self.axes = (*self.shared, *(i for i in range(len(shape)) if i not in shared))

    def keep(self, scale):
        """Return a scale of 8 bits as it is kept, from one with the kernel's axes."""
        check_scale(scale, self.shared, self.wide)
        ranks = np.argsort(np.argsort(self.order))
        return jnp.squeeze(scale, self.shared).transpose(ranks).reshape(self.kept)

    def spread(self, scale):
        """Return a kept scale with the kernel's axes."""
        back = np.argsort(self.order)
        return scale.reshape(self.sizes).transpose(back).reshape(self.wide)

    def matrix(self, kernel):
        """Return a kernel as a matrix whose rows are summed over, wherever they lie."""
        rows = math.prod(self.shape[i] for i in self.shared)
        return kernel.transpose(self.axes).reshape(rows, -1)

    def from_matrix(self, matrix):
        """Return the kernel that `matrix` gave a matrix of."""
        moved = matrix.reshape([self.shape[i] for i in self.axes])
        return moved.transpose(np.argsort(self.axes))


def check_scale(scale, shared, wide) -> None:
    """Raise unless a scale has the shape that one for each output has.

    Raises:
        ValueError: its shape shows that other axes share it.
    """
    if tuple(scale.shape) != tuple(wide):
        raise ValueError(
            "The quantizer of the weights must give one scale for each output: "
            f"axis={shared}, and so the shape {tuple(wide)}. Received: a scale "
            f"of shape {tuple(scale.shape)}"
        )


class AdaptedWeight:
    r"""Stands for a Variable W: what an encoding stands for, plus $c A B$ for LoRA.

    Args:
        variable: the Variable with the floats or the integers.
        encoding: how several Variables stand for the floats; None for `variable`.
        quantizer: what turns inputs into integers, or None.
        lora: the Variables A and B and the number c, or None.
    """

    __array_priority__ = 100
    constraint = regularizer = None

    encoding: Any

    def __init__(self, variable, encoding=None, quantizer=None, lora=None):
        self.variable = variable
        self.encoding = encoding
        self.quantizer = quantizer
        self.lora = lora

    @property
    def base(self):
        """The floats without LoRA."""
        if self.encoding is None:
            return self.variable.value
        return self.encoding.floats(*self.encoding.values)

    @property
    def value(self):
        """The floats that it stands for."""
        base = self.base
        if self.lora is None:
            return base
        a, b, factor = self.lora
        return (base + factor * jnp.matmul(a.value, b.value)).astype(base.dtype)

    @property
    def shape(self):
        """The shape."""
        return (self.encoding.layout if self.encoding else self.variable).shape

    @property
    def dtype(self):
        """The dtype of the floats."""
        return (self.encoding or self.variable).dtype

    @property
    def ndim(self):
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self):
        """The number of elements."""
        return math.prod(self.shape)

    def numpy(self):
        """Return the floats as a NumPy array."""
        return np.array(self.value)

    def bias(self, value):
        """Return a bias as it is added to the products."""
        return self.encoding.bias(value) if self.encoding else value

    def product(self, equation, x):
        """Return the Einstein sum of an input and what it stands for."""
        if not is_float(x.dtype):
            x = x.astype(self.dtype)
        left, letters, right = axes = spelled(equation, x.ndim)
        if self.encoding is None:
            base = self.variable.value.astype(x.dtype)
            y = jnp.einsum(f"{left},{letters}->{right}", x, base)
        else:
            y = self.encoding.product(axes, self.quantizer, x)
        if self.lora is None:
            return y
        a, b, factor = self.lora
        r = _unused(left + letters + right)[0]
        steps = f"{left},{letters[:-1]}{r},{r}{letters[-1]}->{right}"
        lora = jnp.einsum(steps, x, a.value.astype(x.dtype), b.value.astype(x.dtype))
        return y + factor * lora

    def rows(self, indices):
        """Return rows of the table that it stands for."""
        if self.encoding is None:
            found = look_up(self.variable.value, indices, kernels.embedding)
        else:
            found = self.encoding.rows(indices, *self.encoding.values)
        if self.lora is None:
            return found
        a, b, factor = self.lora
        lora = kernels.dense(kernels.embedding(a.value, indices), b.value)
        return (found + factor * lora).astype(found.dtype)

    def __repr__(self):
        kind = self.encoding.mode if self.encoding else self.dtype
        lora = ", LoRA" if self.lora is not None else ""
        path = printable(self.variable.path)
        return f"<AdaptedWeight {path}, shape={self.shape}, {kind}{lora}>"


# Whatever reads a Variable through its value reads what stands for one alike.
for _name in (
    "add radd sub rsub mul rmul truediv rtruediv matmul rmatmul pow neg abs "
    "getitem len iter array jax_array"
).split():
    setattr(AdaptedWeight, f"__{_name}__", getattr(Variable, f"__{_name}__"))

jax.tree_util.register_pytree_node(
    AdaptedWeight, lambda r: ((r.value,), None), lambda _, children: children[0]
)


def spelled(equation, ndim):
    """Return the axes of input, kernel and output as letters, `...` spelled out.

    Args:
        equation: the equation.
        ndim: the number of axes of the input.
    """
    left, rest = "".join(equation.split()).split(",")
    kernel, right = rest.split("->")
    named = left.replace("...", "")
    dots = "".join(_unused(named + rest)[: ndim - len(named)])
    return left.replace("...", dots), kernel, right.replace("...", dots)


def _unused(letters):
    return [c for c in string.ascii_letters if c not in letters]


def aligned(scale, letters, right):
    """Return a scale with the axes of the output, 1 where it has no such axis."""
    kept = sorted((c for c in letters if c in right), key=right.index)
    sizes = dict(zip(letters, scale.shape, strict=True))
    scale = jnp.einsum(f"{letters}->{''.join(kept)}", scale)
    return scale.reshape([sizes[c] if c in kept else 1 for c in right])
