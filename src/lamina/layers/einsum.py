"""`EinsumDense`: a dense layer over any axes, written as an Einstein sum."""

import math
import re
from typing import Any, SupportsIndex

from lamina.core.checks import described
from lamina.core.types import Identifier, Initializer, Shape
from lamina.core.variable import Variable
from lamina.initializers import VarianceScaling
from lamina.kernels import dense
from lamina.kernels.adapted import Layout, biased, einsum, spelled
from lamina.layers import weights
from lamina.layers.lora import Adaptable, replaceable
from lamina.layers.parallel import AXIS, Division


class EinsumDense(Adaptable):
    """Sums products of input and kernel over the axes that an equation names.

    `activation(einsum(equation, x, kernel) + bias)`. `"ab,bc->ac"` is `Dense` on
    rows, `"...x,xy->...y"` on anything.

    Args:
        equation: letters of the input's axes, the kernel's and the output's, as
            in `"abc,cd->abd"`; `...` stands for any axes before or after.
        output_shape: the output's shape without the batch (and without what `...`
            stands for); None for sizes that the input gives.
        activation: a function of the sums, or its name.
        bias_axes: letters of the output's axes that the bias has, or None for no
            bias.
        kernel_initializer: the first values of the kernel.
        bias_initializer: the first values of the bias.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: what the kernel is projected with after each step.
        bias_constraint: likewise for the bias.
        lora_rank: the rank of LoRA, see `enable_lora`; None trains the whole kernel.
        lora_alpha: the weight of LoRA; `lora_rank` when None.
        gptq_unpacked_column_size: for files of Keras; the kernel's shape says it.
        quantization_config: how a dtype such as `"int8_from_float32"` quantizes, a
            config of `lamina.quantizers`.

    Raises:
        ValueError: the equation cannot be read, does not fit the input or
            `output_shape`, or the output has no axis of a letter in `bias_axes`.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d")
    >>> layer(np.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    _saved_last = ("activity_regularizer",)
    _saved_if_changed = (*Adaptable._saved_if_changed, "gptq_unpacked_column_size")
    _quantizes = True
    kernel = replaceable("kernel")
    _zero_name = "zero_point"
    activation: Any
    _ends_in_activation = True
    kernel_initializer: Any
    kernel_regularizer: Any
    kernel_constraint: Any

    def __init__(
        self,
        equation: str,
        output_shape: int | Shape,
        activation: Identifier = None,
        bias_axes: str | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        gptq_unpacked_column_size: int | None = None,
        quantization_config: Any = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._take_variants(lora_rank, lora_alpha, quantization_config)
        self.equation = equation
        *_, outputs = _parts(equation)
        if not set(bias_axes or "") <= set(outputs):
            raise ValueError(
                f"`EinsumDense` expected `bias_axes` to name axes of the output, "
                f"{outputs!r}. Received: bias_axes={bias_axes!r}"
            )
        one = isinstance(output_shape, SupportsIndex)
        self.output_shape = (output_shape,) if one else tuple(output_shape)
        self.bias_axes = bias_axes
        weights.keep(self, locals())

    @property
    def rows_independent(self):
        given, kernel, outputs = _parts(self.equation)
        first = given[:1]
        return given[:3] == outputs[:3] == "..." or (
            first == outputs[:1] and first not in kernel
        )

    @property
    def _least_rank(self):
        letters = _parts(self.equation)[0].replace("...", "-")
        return max(2, len(letters)) if letters[0] == "-" else 2

    def build(self, input_shape):
        kernel, bias = _weight_shapes(self, tuple(input_shape))
        self.kernel = self.add_weight(
            name="kernel",
            shape=kernel,
            initializer=self._kernel_initializer(),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None if bias is None else weights.make(self, "bias", bias)

    def _kernel_initializer(self):
        """Return the initializer, told which axes of the kernel are summed over."""
        first = self.kernel_initializer
        if not isinstance(first, VarianceScaling):
            return first
        if first.input_axes is not None and first.output_axes is not None:
            return first
        _, kernel, outputs = _parts(self.equation)
        ends = {"input_axes": [], "output_axes": []}
        for axis, letter in enumerate(kernel):
            ends["output_axes" if letter in outputs else "input_axes"].append(axis)
        # With the seed that it has drawn: what uses it elsewhere gets the same numbers.
        config = {**first.get_config(), "seed": first.seed, **ends}
        return type(first).from_config(config)

    def call(self, inputs, training=None):
        y = biased(self._product(inputs), self.kernel, self.bias)
        return self.activation(y) if self.activation is not None else y

    def _divisions(self):
        left, kernel, right = _parts(self.equation)
        if right.endswith("..."):  # places are counted from the end
            return {}
        right = right.removeprefix("...")
        ways = {}
        for axis, letter in enumerate(kernel):
            size, bias = self._kernel.shape[axis], (self.bias_axes or "").find(letter)
            if letter in left:
                way = Division({"_kernel": axis, "bias": None}, size)
                ways.setdefault("inputs", way)
            else:
                at = right.index(letter)
                output = (AXIS, *[None] * (len(right) - at - 1))
                weights = {"_kernel": axis, "bias": bias if bias >= 0 else None}
                ways.setdefault("outputs", Division(weights, size, output))
        return ways

    def _product(self, x):
        """Return the Einstein sum, as one 2-D product where the axes lie in order.

        XLA's sums over several axes, and their gradients, move whole arrays about.
        """
        left, letters, right = spelled(self.equation, x.ndim)
        made = [axis for axis in letters if axis in right]
        free, summed = len(right) - len(made), len(letters) - len(made)
        axes = left[:free], left[free:], "".join(made)
        in_order = letters == axes[1] + axes[2] and right == axes[0] + axes[2]
        if not (isinstance(self.kernel, Variable) and in_order and summed):
            return einsum(self.equation, x, self.kernel)
        kernel = self.kernel.value
        ends = math.prod(kernel.shape[:summed]), math.prod(kernel.shape[summed:])
        flat = x.reshape(*x.shape[:free], ends[0])
        y = dense(flat, kernel.reshape(ends))
        return y.reshape(*x.shape[:free], *kernel.shape[summed:])

    @property
    def gptq_unpacked_column_size(self):
        """The number of outputs of a kernel that GPTQ fits; None of other kernels."""
        gptq = self.quantization_mode == "gptq" and "kernel" in self._encodings
        return self._encodings["kernel"].flat[0] if gptq else None

    def _layout(self, name, shape):
        ndim = len(next(iter((self._build_shapes or {}).values())))
        _, kernel, output = spelled(self.equation, ndim)
        shared = [i for i, axis in enumerate(kernel) if axis not in output]
        order = [kernel.index(axis) for axis in output if axis in kernel]
        kept = [shape[kernel.index(a)] if a in kernel else 1 for a in output]
        return Layout(shape, shared, order, kept)


def _parts(equation):
    """Return the letters of input, kernel and output, `...` still in them."""
    found = isinstance(equation, str) and re.fullmatch(
        r"((?:\.\.\.)?[a-zA-Z]+|[a-zA-Z]+\.\.\.),([a-zA-Z]+)->"
        r"((?:\.\.\.)?[a-zA-Z]+|[a-zA-Z]+\.\.\.)",
        re.sub(r"\s", "", equation),
    )
    dots = (
        [
            part.strip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
            for part in (found.group(1), found.group(3))
        ]
        if found
        else []
    )
    if not found or dots[0] != dots[1]:
        raise ValueError(
            "`EinsumDense` could not read `equation`: invalid einsum equation. "
            f"Received: equation={equation!r}. Write it as 'ab,bc->ac', "
            "'...b,bc->...c' or 'ab...,bc->ac...'."
        )
    return found.groups()


def _weight_shapes(layer, input_shape):
    """Return the shapes of kernel and bias (None without one)."""
    left, kernel, right = _parts(layer.equation)
    trailing = left.endswith("...")
    inputs, outputs = left.strip("."), right.strip(".")

    def refuse(why):
        raise ValueError(
            f"{described(layer)}: {why}. Received: equation={layer.equation!r}, "
            f"output_shape={layer.output_shape}, input shape {input_shape}"
        )

    count = len(inputs)
    dots = len(input_shape) - count
    if dots < 0 or (dots and "." not in left):
        refuse(f"the equation names {count} axes, the input has {len(input_shape)}")
    known = input_shape[:count] if trailing else input_shape[dots:]
    sizes = dict(zip(inputs, known, strict=True))

    # The first axis of the output is the batch, which `output_shape` leaves out:
    # a letter, or part of `...` where that comes first.
    named = outputs if left.startswith("...") else outputs[1:]
    if len(layer.output_shape) != len(named):
        target = layer.output_shape[-len(named) :] if named else ()
        if len(target) != len(named) or "." not in left:
            refuse(
                f"`output_shape` must have {len(named)} entries, one for each of "
                f"{named!r}"
            )
        target = layer.output_shape[: len(named)] if trailing else target
    else:
        target = layer.output_shape
    for letter, size in zip(named, target, strict=True):
        from_input = sizes.get(letter)
        if size is None:
            if letter not in sizes:
                refuse(f"`output_shape` must give the size of axis {letter!r}")
        elif from_input is not None and from_input != size:
            refuse(
                f"axis {letter!r} has size {from_input} in the input and {size} in "
                "`output_shape`"
            )
        else:
            sizes[letter] = size

    shape = tuple(sizes.get(letter) for letter in kernel)
    for letter, size in zip(kernel, shape, strict=True):
        if size is None:
            refuse(f"the size of the kernel's axis {letter!r} is not known")
    if not layer.bias_axes:
        return shape, None
    first = min(outputs.index(letter) for letter in layer.bias_axes)
    bias = [sizes[a] if a in layer.bias_axes else 1 for a in outputs[first:]]
    if trailing:
        bias += [1] * dots
    return shape, tuple(bias)
