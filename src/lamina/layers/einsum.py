"""`EinsumDense`: a dense layer over any axes, written as an Einstein sum."""

import re

from lamina import activations
from lamina.layers import weights
from lamina.layers.checks import described
from lamina.layers.lora import Adaptable, replaceable
from lamina.layers.replaced import Scales, einsum, spelled


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
        gptq_unpacked_column_size: for files of Keras; not used.
        quantization_config: how `dtype="int8_from_float32"` quantizes, an
            `Int8QuantizationConfig`.

    Raises:
        ValueError: the equation cannot be read, does not fit the input or
            `output_shape`, or the output has no axis of a letter in `bias_axes`.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d")
    >>> layer(np.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    kernel = replaceable("kernel")

    def __init__(
        self, equation, output_shape, activation=None, bias_axes=None,
        kernel_initializer="glorot_uniform", bias_initializer="zeros",
        kernel_regularizer=None, bias_regularizer=None, kernel_constraint=None,
        bias_constraint=None, lora_rank=None, lora_alpha=None,
        gptq_unpacked_column_size=None, quantization_config=None, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self._take_variants(lora_rank, lora_alpha, quantization_config)
        self.equation = equation
        _parts(equation)
        if hasattr(output_shape, "__index__"):
            output_shape = (output_shape,)
        self.output_shape = tuple(output_shape)
        self.bias_axes = bias_axes
        self.activation = activations.get(activation)
        weights.keep(
            self,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )

    def build(self, input_shape):
        """Make the kernel, and the bias if there is one."""
        kernel, bias = _weight_shapes(self, tuple(input_shape))
        self.kernel = weights.make(self, "kernel", kernel)
        self.bias = None if bias is None else weights.make(self, "bias", bias)

    def call(self, inputs, training=None):
        """Return the sums."""
        y = einsum(self.equation, inputs, self.kernel)
        if self.bias is not None:
            y = y + self.bias.value
        return self.activation(y) if self.activation is not None else y

    def get_config(self):
        """Return the constructor's arguments."""
        return weights.with_activity(self, super().get_config())

    def _scales(self, name, shape):
        ndim = len(next(iter((self._build_shapes or {}).values())))
        _, kernel, output = spelled(self.equation, ndim)
        shared = [i for i, axis in enumerate(kernel) if axis not in output]
        order = [kernel.index(axis) for axis in output if axis in kernel]
        kept = [shape[kernel.index(a)] if a in kernel else 1 for a in output]
        return Scales(shape, shared, order, kept)


def _parts(equation):
    """Return the letters of input, kernel and output, `...` still in them."""
    found = re.fullmatch(
        r"((?:\.\.\.)?[a-zA-Z]+|[a-zA-Z]+\.\.\.),([a-zA-Z]+)->"
        r"((?:\.\.\.)?[a-zA-Z]+|[a-zA-Z]+\.\.\.)",
        re.sub(r"\s", "", equation),
    )
    dots = [part.strip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
            for part in (found.group(1), found.group(3))] if found else []  # fmt: skip
    if not found or dots[0] != dots[1]:
        raise ValueError(
            f"`EinsumDense` could not read `equation`: invalid einsum equation "
            f"{equation!r}. Write it as 'ab,bc->ac', '...b,bc->...c' or "
            "'ab...,bc->ac...'."
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
            refuse(f"`output_shape` must have {len(named)} entries, one for each of "
                   f"{named!r}")  # fmt: skip
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
    for letter in layer.bias_axes:
        if letter not in outputs:
            refuse(f"`bias_axes` asks for axis {letter!r}, which the output has not")
    first = min(outputs.index(letter) for letter in layer.bias_axes)
    bias = [sizes[a] if a in layer.bias_axes else 1 for a in outputs[first:]]
    if trailing:
        bias += [1] * dots
    return shape, tuple(bias)
