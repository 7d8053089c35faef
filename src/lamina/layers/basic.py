"""The layers that everything begins with: Input, Dense, and the plainest ones."""

from typing import Any

import jax.numpy as jnp

from lamina.core.arguments import given
from lamina.core.checks import number, positive_int
from lamina.core.dtypes import standardize_dtype
from lamina.core.input_spec import InputSpec
from lamina.core.symbolic import Node, SymbolicTensor, standardize_shape
from lamina.core.tracebacks import boundary, warn
from lamina.core.types import DType, Identifier, Initializer, Shape
from lamina.kernels.adapted import biased, dense
from lamina.layers import weights
from lamina.layers.layer import Layer
from lamina.layers.lora import Adaptable, replaceable
from lamina.layers.parallel import AXIS, Division
from lamina.ops import numpy as ops


class InputLayer(Layer):
    """Where a graph begins: it names the shape and dtype of one input.

    Args:
        shape: the shape without the batch.
        batch_size: the number of rows, when it is fixed.
        dtype: the dtype.
        sparse: not supported; must be False.
        ragged: not supported; must be False.
        batch_shape: the shape with the batch, in place of `shape`.
        input_tensor: a symbolic tensor to take as the input.
        optional: whether None may be passed for it.
        name: its name.

    Raises:
        ValueError: no shape, or two.

    >>> import lamina
    >>> lamina.layers.InputLayer(shape=(3,)).output.shape
    (None, 3)
    """

    rows_independent = True
    _moves_entries = True

    def __init__(
        self,
        shape: Shape | None = None,
        batch_size: int | None = None,
        dtype: DType = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Shape | None = None,
        input_tensor: Any = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs,
    ):
        super().__init__(name=name)
        if "input_shape" in kwargs:
            warn("Argument `input_shape` is deprecated. Use `shape` instead.")
            older = kwargs.pop("input_shape")
            shape = older if shape is None else shape
        if "batch_input_shape" in kwargs:
            batch_shape = kwargs.pop("batch_input_shape")
        if kwargs:
            raise ValueError(f"Unrecognized keyword arguments: {sorted(kwargs)}")
        if (sparse or ragged) and input_tensor is None:
            raise ValueError(
                f"`{'sparse' if sparse else 'ragged'}=True` is not supported. Use "
                "dense arrays, with a mask for missing entries."
            )
        if input_tensor is not None:
            if not isinstance(input_tensor, SymbolicTensor):
                raise ValueError(
                    "Argument `input_tensor` must be a KerasTensor. Received: "
                    f"input_tensor={input_tensor!r} (of type "
                    f"{type(input_tensor).__name__})"
                )
            dtype = dtype or input_tensor.dtype
            if standardize_dtype(dtype) != input_tensor.dtype:
                raise ValueError(
                    "Beside `input_tensor` you cannot provide an incompatible `dtype` "
                    f"argument. Received: dtype={dtype}, "
                    f"input_tensor.dtype={input_tensor.dtype}"
                )
            own = tuple(input_tensor.shape)
            for word, given, has in (
                ("shape", shape and tuple(shape), own[1:]),
                ("batch_shape", batch_shape and tuple(batch_shape), own),
                ("batch_size", batch_size, own[0] if own else None),
                ("sparse", sparse, False),
                ("ragged", ragged, False),
            ):
                if given is not None and given != has:
                    raise ValueError(
                        "Beside `input_tensor` you cannot provide an incompatible "
                        f"`{word}` argument. Received: {word}={given}, "
                        f"input_tensor.shape={own}"
                    )
            batch_shape = shape = None
            self._batch_shape = tuple(input_tensor.shape)
        elif shape is not None and batch_shape is not None:
            raise ValueError(
                "You cannot pass both `shape` and `batch_shape` at the same time. "
                f"Received: shape={shape}, batch_shape={batch_shape}"
            )
        elif shape is not None:
            if batch_size is not None:
                positive_int("InputLayer", "batch_size", batch_size)
            self._batch_shape = (batch_size, *standardize_shape(shape))
        elif batch_shape is not None:
            if batch_size is not None:
                raise ValueError(
                    "You cannot pass both `batch_size` and `batch_shape` at the same "
                    f"time. Received: batch_size={batch_size}, "
                    f"batch_shape={batch_shape}"
                )
            self._batch_shape = standardize_shape(batch_shape)
        else:
            raise ValueError("You must pass a `shape` argument.")
        self.optional = optional
        self.sparse = self.ragged = False
        self._dtype = standardize_dtype(dtype)
        self.supports_masking = True
        if input_tensor is None:
            input_tensor = SymbolicTensor(self._batch_shape, self._dtype, name=name)
        self._input_tensor = input_tensor
        Node(self, outputs=input_tensor)
        self.built = True

    def call(self):
        """Return None: an input has nothing to compute."""

    @property
    def dtype(self):
        """The dtype of the input."""
        return self._dtype

    @property
    def batch_shape(self):
        """The shape with the batch."""
        return self._batch_shape

    def get_config(self):
        return {
            "name": self.name,
            "optional": self.optional,
            "batch_shape": self.batch_shape,
            "dtype": self.dtype,
            **dict.fromkeys(("sparse", "ragged"), False),
        }


@boundary
def Input(
    shape: Shape | None = None,
    batch_size: int | None = None,
    dtype: DType = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Shape | None = None,
    name: str | None = None,
    tensor: Any = None,
    optional: bool = False,
) -> SymbolicTensor:
    """Make a symbolic tensor for one input of a model.

    Args:
        shape: the shape without the batch; None in it is any size.
        batch_size: the number of rows, when it is fixed.
        dtype: the dtype.
        sparse: not supported; must be False.
        ragged: not supported; must be False.
        batch_shape: the shape with the batch, in place of `shape`.
        name: the key by which data is given.
        tensor: a symbolic tensor to take as the input.
        optional: whether None may be passed for it.

    >>> import lamina
    >>> x = lamina.Input(shape=(32,), name="table")
    >>> lamina.layers.Dense(4)(x).shape
    (None, 4)
    """
    named = given(locals())
    layer: Any = InputLayer(input_tensor=named.pop("tensor"), **named)
    return layer.output


class Dense(Adaptable):
    """Every output is a weighted sum of all inputs: `activation(x @ kernel + bias)`.

    Input `(..., features)`, output `(..., units)`.

    Args:
        units: the size of the last axis of the output.
        activation: a function of the sums, or its name.
        use_bias: whether a bias is added.
        kernel_initializer: the first values of the kernel `(features, units)`.
        bias_initializer: the first values of the bias `(units,)`.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output.
        kernel_constraint: what the kernel is projected with after each step.
        bias_constraint: likewise for the bias.
        lora_rank: the rank of LoRA, see `enable_lora`; None trains the whole kernel.
        lora_alpha: the weight of LoRA; `lora_rank` when None.
        quantization_config: how a dtype such as `"int8_from_float32"` quantizes, a
            config of `lamina.quantizers`.

    Raises:
        ValueError: `units` is not a positive integer.

    >>> import lamina, numpy as np
    >>> lamina.layers.Dense(4, activation="relu")(np.ones((2, 3))).shape
    (2, 4)
    """

    rows_independent = _ends_in_activation = True
    _quantizes = True
    kernel = replaceable("kernel")
    _kernel: Any
    activation: Any

    def __init__(
        self,
        units: int,
        activation: Identifier = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._take_variants(lora_rank, lora_alpha, quantization_config)
        self.units = positive_int("Dense", "units", units)
        self.use_bias = use_bias
        weights.keep(self, locals())
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape):
        features = input_shape[-1]
        self.kernel = weights.make(self, "kernel", (features, self.units))
        self.bias = None
        if self.use_bias:
            self.bias = weights.make(self, "bias", (self.units,))
        self.input_spec = InputSpec(min_ndim=2, axes={-1: features})

    def _divisions(self):
        features, units = self._kernel.shape
        return {
            "outputs": Division({"_kernel": 1, "bias": 0}, units, (AXIS,)),
            "inputs": Division({"_kernel": 0, "bias": None}, features),
        }

    def call(self, inputs, training=None):
        kernel = self.kernel
        x = biased(dense(inputs, kernel), kernel, self.bias)
        return self.activation(x) if self.activation is not None else x


class Identity(Layer):
    """Returns its input.

    >>> import lamina, numpy as np
    >>> lamina.layers.Identity()(np.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """

    rows_independent = True
    _moves_entries = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        return inputs


class Masking(Layer):
    """Marks steps of sequences that do not count, and sets them to zero.

    A step of `(batch, steps, features)` is masked where all its features equal
    `mask_value`. Layers after it that support masks pass over it.

    Args:
        mask_value: the value that padding has.

    >>> import lamina, numpy as np
    >>> x = np.array([[[1.0, 2.0], [9.0, 9.0]]])
    >>> layer = lamina.layers.Masking(mask_value=9.0)
    >>> layer(x).tolist(), layer.compute_mask(x).tolist()
    ([[[1.0, 2.0], [0.0, 0.0]]], [[True, False]])
    """

    rows_independent = True
    _moves_entries = True

    def __init__(self, mask_value: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.mask_value = number("Masking", "mask_value", mask_value)
        self.supports_masking = True

    def call(self, inputs):
        counts = jnp.any(inputs != self.mask_value, -1, keepdims=True)
        return jnp.where(counts, inputs, 0)

    def compute_mask(self, inputs, previous_mask=None):
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)


class Wrapper(Layer):
    """Holds another layer; the base of layers that change how one is used.

    Args:
        layer: the layer.

    Raises:
        ValueError: it is not a layer.

    >>> import lamina
    >>> wrapped = lamina.layers.Wrapper(lamina.layers.Dense(2))
    >>> wrapped.build((None, 3))
    >>> wrapped.count_params()
    8
    """

    def __init__(self, layer: Any, **kwargs):
        if not isinstance(layer, Layer):
            raise ValueError(
                f"Layer {layer!r} supplied to {type(self).__name__} isn't a supported "
                "layer type. Please ensure wrapped layer is a valid Keras layer. "
                f"Received: layer={layer!r} (of type {type(layer).__name__})"
            )
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: Any = None):
        """Build the layer inside, unless it is built."""
        if not self.layer.built:
            self.layer.build(input_shape)
