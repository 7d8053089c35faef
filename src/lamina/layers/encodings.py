"""How the Variables of a quantized layer stand for the floats of its kernel.

Each quantization mode is one `Encoding`: it names its Variables, makes their values
from floats, and computes with them. A `kernels.adapted.AdaptedWeight` puts it in the
kernel's place; layers do not know which one it is.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina import kernels, quantizers
from lamina.kernels.adapted import Layout, aligned, check_scale

# In half precision, numbers of groups would be rounded.
_EXACT = {"trainable": False, "autocast": False}


class Part(NamedTuple):
    """One Variable of an encoding; a `dtype` of None is that of the layer's weights."""

    attribute: str
    name: str
    shape: tuple
    dtype: str | None = None
    initializer: Any = "zeros"
    more: dict = {"trainable": False}


class Encoding:
    """The base of the encodings; a subclass says how floats are kept.

    Args:
        layout: the axes of the kernel.
        name: the name of the kernel among the layer's attributes.
        numbers: what has settings such as `block_size`: a config or a policy.
        zero_name: the name of the Variable with the zero points, where it has one.
    """

    mode = ""
    # Names of the attributes in the order of files; `{}` is the name of the kernel.
    attributes = ("{}",)
    # Whether the kernel stays a Variable of floats beside the others.
    keeps_floats = False
    # Whether LoRA can be added, and whether values are fitted to data.
    adds_lora, calibrated = True, False

    def __init__(self, layout: Layout, name, numbers=None, zero_name=None):
        self.layout, self.name = layout, name
        self.zero_name = zero_name or f"{name}_zero"
        self.variables: list = []
        self._read(numbers)

    def _read(self, numbers):
        """Take the settings of the mode."""

    @property
    def parts(self) -> list[Part]:
        """What Variables there are, the one that holds the kernel first."""
        raise NotImplementedError

    @property
    def values(self):
        """The values of its Variables."""
        return [v.value for v in self.variables]

    @property
    def dtype(self):
        """The dtype of the floats."""
        return self.variables[1].dtype

    def encode(self, floats, quantizer) -> tuple:
        """Return values for the Variables; fewer leave the others as they are."""
        return ()

    def floats(self, *values) -> Any:
        """Return the floats that values of the Variables stand for."""
        raise NotImplementedError

    def bias(self, value):
        """Return a bias as it is added to the products."""
        return value

    def product(self, axes, quantizer, x):
        """Return the Einstein sum of an input and the kernel."""
        return _sums(self, axes, quantizer, x, tuple(self.values))

    def sums(self, axes, quantizer, x, values):
        """Return the Einstein sum of an input and the floats of `values`."""
        left, letters, right = axes
        floats = self.floats(*values).astype(x.dtype)
        if quantizer is None:
            return jnp.einsum(f"{left},{letters}->{right}", x, floats)
        q, own = quantizer(x, axis=_summed(left, right))
        y = jnp.einsum(f"{left},{letters}->{right}", q.astype(x.dtype), floats)
        return y / aligned(own, left, right)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _sums(encoding, axes, quantizer, x, values):
    return encoding.sums(axes, quantizer, x, values)


@_sums.defjvp
def _straight_through(encoding, axes, quantizer, given, tangents):
    """Take the rounding of the input for none, and the kernel for a constant."""
    left, letters, right = axes
    floats = encoding.floats(*given[1]).astype(given[0].dtype)
    change = jnp.einsum(f"{left},{letters}->{right}", tangents[0], floats)
    return encoding.sums(axes, quantizer, *given), change


def _summed(left, right):
    return tuple(i for i, c in enumerate(left) if c not in right)


class Int8(Encoding):
    """Integers of 8 bits with a scale for each output: $w = q / s$."""

    mode = "int8"
    attributes = ("{}", "{}_scale")

    @property
    def parts(self):
        name, layout = self.name, self.layout
        return [
            Part(name, name, layout.shape, "int8"),
            Part(f"{name}_scale", f"{name}_scale", layout.kept, initializer="ones"),
        ]

    def encode(self, floats, quantizer):
        quantizer = quantizer or quantizers.AbsMaxQuantizer(axis=self.layout.shared)
        integers, scale = quantizer(np.asarray(floats), to_numpy=True)
        return integers, self.layout.keep(scale)

    def floats(self, integers, scale):
        return integers.astype(scale.dtype) / self.layout.spread(scale)

    def sums(self, axes, quantizer, x, values):
        integers, scale = values
        left, letters, right = axes
        factor = aligned(self.layout.spread(scale.astype(x.dtype)), letters, right)
        equation = f"{left},{letters}->{right}"
        if quantizer is None:
            return jnp.einsum(equation, x, integers.astype(x.dtype)) / factor
        q, own = quantizer(x, axis=_summed(left, right))
        y = jnp.einsum(equation, q, integers, preferred_element_type=jnp.int32)
        return y.astype(x.dtype) / (factor * aligned(own, left, right))

    def rows(self, indices, integers, scale):
        # An index outside of the table has the scale NaN, and so the row is.
        found = _rows_of(integers, indices)
        own = kernels.embedding(self.layout.spread(scale), indices)
        return found.astype(scale.dtype) / own


class Int4(Encoding):
    """Integers of 4 bits, two to a byte: $w = q / s$, or $w = (q - z) s$ in blocks."""

    mode = "int4"
    attributes = ("{}", "{}_scale", "{}_zero", "g_idx")
    bits, signed, dtype_of_bytes = 4, True, "int8"

    def _read(self, numbers):
        block = getattr(numbers, "block_size", None)
        self.block = None if block == -1 else block
        self.flat, self.grouped = self.layout.flat, self.layout.grouped
        self.packed = self.layout.packed

    def _grouped_shape(self):
        """Return the shape of the scales: one for each group along an axis."""
        shape = list(self.flat)
        size = shape[self.grouped]
        shape[self.grouped] = -(-size // (self.block or size))
        return tuple(shape)

    def _packed_shape(self):
        shape = list(self.flat)
        if self.bits == 4:
            shape[self.packed] = -(-shape[self.packed] // 2)
        return tuple(shape)

    @property
    def parts(self):
        name, size = self.name, self.flat[self.grouped]
        kernel = Part(name, name, self._packed_shape(), "int8")
        scales = self._grouped_shape()
        scale = Part(f"{name}_scale", f"{name}_scale", scales, initializer="ones")
        if self.block is None:
            shape = (math.prod(scales),)
            return [kernel, scale._replace(shape=shape)]
        # Keras keeps the zero points of the way back in the dtype of the weights.
        dtype = None if name == "reverse_embeddings" else "int8"
        return [
            kernel,
            scale,
            Part(f"{name}_zero", f"{name}_zero", scales, dtype),
            Part("g_idx", "g_idx", (size,), "float32", self._groups, _EXACT),
        ]

    def _groups(self, shape, dtype=None):
        return jnp.asarray(np.arange(*shape) // self.block, dtype)

    def encode(self, floats, quantizer):
        floats = np.asarray(floats).reshape(self.flat)
        if self.block is None:
            axis = self.grouped
            quantizer = quantizer or quantizers.AbsMaxQuantizer(axis, (-8, 7))
            integers, scale = quantizer(floats, to_numpy=True)
            check_scale(scale, (axis,), self._grouped_shape())
            rest = (scale.reshape(-1),)
        else:
            turned = floats.T if self.grouped == -1 else floats
            found = quantizers.abs_max_quantize_grouped_with_zero_point(
                turned, self.block, to_numpy=True
            )
            integers, *rest = (a.T if self.grouped == -1 else a for a in found)
        return (quantizers.pack_int4(np.asarray(integers), self.packed)[0], *rest)

    def _decoded(self, packed, scale, zero=None, groups=None):
        """Return floats in the shape of the integers, unpacked."""
        integers = packed
        if self.bits == 4:
            length = self.flat[self.packed]
            integers = quantizers.unpack_int4(
                packed, length, self.packed, self.dtype_of_bytes
            )
        if zero is None or groups is None:
            return integers.astype(scale.dtype) / scale
        groups = groups.astype("int32")
        scale, zero = (jnp.take(a, groups, axis=self.grouped) for a in (scale, zero))
        return (integers.astype(scale.dtype) - zero.astype(scale.dtype)) * scale

    def floats(self, packed, scale, zero=None, groups=None):
        if zero is None:
            scale = scale.reshape(self._grouped_shape())
        return self._decoded(packed, scale, zero, groups).reshape(self.layout.shape)

    def rows(self, indices, packed, scale, zero=None, groups=None):
        if zero is None:
            scale = scale.reshape(self._grouped_shape())
        else:
            zero = _rows_of(zero, indices)
        packed = _rows_of(packed, indices)
        # An index outside of the table has the scale NaN, and so the row is.
        return self._decoded(packed, kernels.embedding(scale, indices), zero, groups)


class GPTQ(Int4):
    """Integers of few bits, fitted to data: $w = (q - z) s$, outputs first."""

    mode = "gptq"
    attributes = ("quantized_{}", "{}_scale", "{}_zero", "g_idx")
    adds_lora, calibrated, keeps_floats = False, True, True
    dtype_of_bytes = "uint8"

    def _read(self, numbers):
        self.bits = getattr(numbers, "weight_bits", 4)
        group = getattr(numbers, "group_size", None)
        if group is None:
            raise ValueError(
                f"Mode {self.mode!r} needs a group size: a dtype policy such as "
                f"'{self.mode}/4/128_from_float32', or a config. "
                f"Received: {numbers!r}"
            )
        self.block = None if group == -1 else group
        self.flat = self.layout.flat[::-1]
        self.grouped, self.packed = -1, -2

    @property
    def parts(self):
        name, size = self.name, self.flat[-1]
        scales, zero = self._grouped_shape(), self.zero_name
        return [
            Part(f"quantized_{name}", name, self._packed_shape(), "uint8"),
            Part(f"{name}_scale", f"{name}_scale", scales, initializer="ones"),
            Part(f"{name}_zero", zero, scales, "uint8"),
            Part("g_idx", "g_idx", (size,), "float32", more=_EXACT),
        ]

    def floats(self, packed, scale, zero=None, groups=None):
        decoded = self._decoded(packed, scale, zero, groups)
        return self.layout.from_matrix(decoded.T)

    def encode(self, floats, quantizer):
        return ()

    def fitted(self, integers, *rest):
        """Return values for the Variables, from integers `(outputs, inputs)`."""
        integers = np.asarray(integers).astype("uint8")
        if self.bits == 4:
            integers, *_ = quantizers.pack_int4(integers, self.packed, "uint8")
        return (integers, *rest)


class AWQ(GPTQ):
    """Integers of 4 bits whose inputs have a scale each: $w = (q - z) s / t$."""

    mode = "awq"
    attributes = ("quantized_{}", "{}_scale", "{}_zero", "awq_scales", "g_idx")

    @property
    def parts(self):
        *first, groups = super().parts
        scales = Part("awq_scales", "awq_scales", (self.flat[-1],), initializer="ones")
        return [*first, scales, groups]

    def floats(self, packed, scale, zero, inputs, groups):
        decoded = self._decoded(packed, scale, zero, groups) / inputs
        return self.layout.from_matrix(decoded.T)


_SCALED = ("inputs", "{}", "outputs_grad")
_TAKES_GRADIENT = {
    "trainable": True,
    "autocast": False,
    "overwrite_with_gradient": True,
}


class Float8(Encoding):
    """Floats that are rounded to float8 in products, and their gradients likewise.

    Micikevicius et al., "FP8 Formats for Deep Learning", 2022. Scales follow the
    largest magnitudes of the last steps; their "gradients" are the next values.
    """

    mode = "float8"
    attributes = (
        "{}",
        *(f"{n}_{kind}" for n in _SCALED for kind in ("scale", "amax_history")),
    )
    adds_lora, keeps_floats = False, True

    def _read(self, numbers):
        self.length = getattr(numbers, "amax_history_length", 1024)

    @property
    def parts(self):
        found = []
        for name in self.attributes[1:]:
            name = name.format(self.name)
            scale = name.endswith("scale")
            shape, first = ((), "ones") if scale else ((self.length,), "zeros")
            found.append(Part(name, name, shape, "float32", first, _TAKES_GRADIENT))
        return found

    @property
    def dtype(self):
        return self.variables[0].dtype

    def floats(self, kernel, *rest):
        return kernel

    def bias(self, value):
        # Hardware adds a bias of half precision to such products.
        wide = value.dtype == "float32"
        return value.astype("bfloat16").astype("float32") if wide else value

    def product(self, axes, quantizer, x):
        left, letters, right = axes
        kernel, *rest = self.values
        x = _in_float8(x, *rest[:2])
        kernel = _in_float8(kernel.astype(x.dtype), *rest[2:4])
        y = jnp.einsum(f"{left},{letters}->{right}", x, kernel)
        return _gradient_in_float8(y, *rest[4:])


def _next(x, scale, history, dtype):
    """Return the next scale and history, after a step with `x`."""
    bound = jnp.float32(jnp.finfo(dtype).max)
    scale = quantizers.compute_float8_scale(jnp.max(history), scale, bound)
    return scale, quantizers.compute_float8_amax_history(x, history)


@jax.custom_vjp
def _in_float8(x, scale, history):
    return quantizers.quantize_and_dequantize(x, scale, "float8_e4m3fn", x.dtype)


def _in_float8_forward(x, scale, history):
    rounded = _in_float8(x, scale, history)
    return rounded, _next(x, scale, history, "float8_e4m3fn")


_in_float8.defvjp(_in_float8_forward, lambda after, gradient: (gradient, *after))


@jax.custom_vjp
def _gradient_in_float8(y, scale, history):
    return y


def _gradient_in_float8_backward(before, gradient):
    scale, history = before
    rounded = quantizers.quantize_and_dequantize(
        gradient, scale, "float8_e5m2", gradient.dtype
    )
    return (rounded, *_next(gradient, scale, history, "float8_e5m2"))


_gradient_in_float8.defvjp(
    lambda y, scale, history: (y, (scale, history)), _gradient_in_float8_backward
)


def _rows_of(table, indices):
    """Return rows of a table of integers, which has no NaN for what is outside."""
    indices = jnp.where(indices < 0, indices + len(table), indices)
    return jnp.take(table, indices, axis=0, mode="clip")


ENCODINGS = {cls.mode: cls for cls in (Int8, Int4, Float8, GPTQ, AWQ)}
