"""What stands in a layer in place of a kernel: LoRA, and integers with a scale.

A layer asks `dense`, `einsum` or `rows` for the product of its input with its kernel.
For a Variable they take its value; an object in its place has its own way.
"""

import functools
import string
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina import kernels
from lamina.core.dtypes import is_float
from lamina.core.variable import Variable


def dense(x, kernel, transposed=False):
    """Return `x @ kernel`, or with the kernel transposed and in the dtype of x."""
    if isinstance(kernel, Replaced):
        return kernel.product("...a,ba->...b" if transposed else "...a,ab->...b", x)
    value = kernel.value
    return kernels.dense(x, value.T.astype(x.dtype) if transposed else value)


def einsum(equation, x, kernel):
    """Return the Einstein sum of an input and a kernel."""
    if isinstance(kernel, Replaced):
        return kernel.product(equation, x)
    return jnp.einsum(equation, x, kernel.value)


def rows(table, indices):
    """Return rows of a table."""
    if isinstance(table, Replaced):
        return table.rows(indices)
    return kernels.embedding(table.value, indices)


class Scales:
    """How a layer keeps the scales of its integers.

    Args:
        shape: the shape of the kernel.
        shared: the axes of the kernel that share a scale.
        order: the other axes, in the order in which they are kept.
        kept: the shape that is kept.
    """

    def __init__(self, shape, shared, order, kept):
        self.wide = tuple(1 if i in shared else n for i, n in enumerate(shape))
        self.sizes = tuple(shape[i] for i in order)
        self.shared, self.order, self.kept = tuple(shared), tuple(order), tuple(kept)

    def keep(self, scale):
        """Return a scale in the shape that is kept, from one with the kernel's axes.

        Raises:
            ValueError: its shape shows that other axes share it.
        """
        if tuple(scale.shape) != self.wide:
            raise ValueError(
                "The quantizer of the weights must give one scale for each output: "
                f"axis={self.shared}, and so the shape {self.wide}. Received: a scale "
                f"of shape {tuple(scale.shape)}"
            )
        ranks = np.argsort(np.argsort(self.order))
        return jnp.squeeze(scale, self.shared).transpose(ranks).reshape(self.kept)

    def spread(self, scale):
        """Return a kept scale with the kernel's axes."""
        back = np.argsort(self.order)
        return scale.reshape(self.sizes).transpose(back).reshape(self.wide)

    def floats(self, integers, scale):
        """Return floats for the integers of a kernel."""
        return integers.astype(scale.dtype) / self.spread(scale)


class Replaced:
    r"""Stands for a Variable W: $q / s$ for integers, with $c A B$ added for LoRA.

    Args:
        variable: the Variable with the floats or the integers.
        scale: the Variable with the scale s of the integers, or None.
        scales: the shape in which the scale is kept.
        quantizer: what turns inputs into integers, or None.
        lora: the Variables A and B and the number c, or None.
    """

    __array_priority__ = 100
    constraint = regularizer = None

    scales: Any

    def __init__(self, variable, scale=None, scales=None, quantizer=None, lora=None):
        self.variable = variable
        self.scale = scale
        self.scales = scales
        self.quantizer = quantizer
        self.lora = lora

    @property
    def base(self):
        """The floats without LoRA."""
        if self.scale is None:
            return self.variable.value
        return self.scales.floats(self.variable.value, self.scale.value)

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
        return self.variable.shape

    @property
    def dtype(self):
        """The dtype of the floats."""
        return (self.variable if self.scale is None else self.scale).dtype

    @property
    def ndim(self):
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self):
        """The number of elements."""
        return self.variable.size

    def numpy(self):
        """Return the floats as a NumPy array."""
        return np.array(self.value)

    def product(self, equation, x):
        """Return the Einstein sum of an input and what it stands for."""
        if not is_float(x.dtype):
            x = x.astype(self.dtype)
        left, letters, right = spelled(equation, x.ndim)
        if self.scale is None:
            base = self.variable.value.astype(x.dtype)
            y = jnp.einsum(f"{left},{letters}->{right}", x, base)
        else:
            scale = self.scale.value.astype(x.dtype)
            how = self.scales, self.quantizer, (left, letters, right)
            y = _quantized(*how, x, self.variable.value, scale)
        if self.lora is None:
            return y
        a, b, factor = self.lora
        r = _unused(left + letters + right)[0]
        steps = f"{left},{letters[:-1]}{r},{r}{letters[-1]}->{right}"
        lora = jnp.einsum(steps, x, a.value.astype(x.dtype), b.value.astype(x.dtype))
        return y + factor * lora

    def rows(self, indices):
        """Return rows of the table that it stands for."""
        if self.scale is None:
            found = kernels.embedding(self.variable.value, indices)
        else:
            scale = self.scale.value
            # An index outside of the table has the scale NaN, and so the row is.
            integers = jnp.take(self.variable.value, indices, axis=0, mode="wrap")
            own = kernels.embedding(self.scales.spread(scale), indices)
            found = integers.astype(scale.dtype) / own
        if self.lora is None:
            return found
        a, b, factor = self.lora
        lora = kernels.dense(kernels.embedding(a.value, indices), b.value)
        return (found + factor * lora).astype(found.dtype)

    def __repr__(self):
        kind = "int8" if self.scale is not None else self.dtype
        lora = ", LoRA" if self.lora is not None else ""
        return f"<Replaced {self.variable.path}, shape={self.shape}, {kind}{lora}>"


# Whatever reads a Variable through its value reads what stands for one alike.
for _name in (
    "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "matmul",
    "rmatmul", "pow", "neg", "abs", "getitem", "len", "iter", "array", "jax_array",
):  # fmt: skip
    setattr(Replaced, f"__{_name}__", getattr(Variable, f"__{_name}__"))

jax.tree_util.register_pytree_node(
    Replaced, lambda r: ((r.value,), None), lambda _, children: children[0]
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


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _quantized(scales, quantizer, axes, x, integers, scale):
    """Sum integers for `x` with the kernel's, and scale the sums."""
    left, letters, right = axes
    factor = _aligned(scales.spread(scale), letters, right)
    if quantizer is None:
        y = jnp.einsum(f"{left},{letters}->{right}", x, integers.astype(x.dtype))
        return y / factor
    summed = tuple(i for i, c in enumerate(left) if c not in right)
    q, own = quantizer(x, axis=summed)
    y = jnp.einsum(
        f"{left},{letters}->{right}", q, integers, preferred_element_type=jnp.int32
    )
    return y.astype(x.dtype) / (factor * _aligned(own, left, right))


@_quantized.defjvp
def _straight_through(scales, quantizer, axes, values, tangents):
    """Take the rounding of the input for none, and the kernel for a constant."""
    x, integers, scale = values
    left, letters, right = axes
    floats = scales.floats(integers, scale)
    change = jnp.einsum(f"{left},{letters}->{right}", tangents[0], floats)
    return _quantized(scales, quantizer, axes, x, integers, scale), change


def _aligned(scale, letters, right):
    """Return a scale with the axes of the output, 1 where it has no such axis."""
    kept = sorted((c for c in letters if c in right), key=right.index)
    sizes = dict(zip(letters, scale.shape, strict=True))
    scale = jnp.einsum(f"{letters}->{''.join(kept)}", scale)
    return scale.reshape([sizes[c] if c in kept else 1 for c in right])
