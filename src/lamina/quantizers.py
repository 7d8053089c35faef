"""Arrays as small integers and a scale: what quantized layers are made of."""

import inspect

import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.config import (
    Constructed,
    arguments_of,
    names_of,
    resolver,
    serialize_keras_object,
)
from lamina.core.dtypes import standardize_dtype
from lamina.core.policy import QUANTIZATION_MODES, check_mode


def abs_max_quantize(
    inputs,
    axis,
    value_range=(-127, 127),
    dtype="int8",
    epsilon=None,
    to_numpy=False,
):
    r"""Turn an array into small integers, scaled by the largest magnitude.

    $q = \mathrm{round}(s x)$ with $s = b / (\max |x| + \epsilon)$, where b is the
    upper end of the range. `q / s` is about `x` again.

    Args:
        inputs: the array.
        axis: the axes that share one scale.
        value_range: the least and the largest integer.
        dtype: the dtype of the integers.
        epsilon: keeps the scale finite; `lamina.config.epsilon()` when None.
        to_numpy: whether to compute with NumPy, outside of the device's memory.

    Returns:
        The integers, and the scale in the dtype of the input with 1 for `axis`.

    >>> import lamina, numpy as np
    >>> x = np.array([[3.0, -1.0, 2.0]], "float32")
    >>> q, scale = lamina.quantizers.abs_max_quantize(x, axis=-1)
    >>> q.tolist(), float(scale[0, 0]).__round__(2)
    ([[127, -42, 85]], 42.33)
    """
    epsilon = settings.epsilon() if epsilon is None else epsilon
    array = np if to_numpy else jnp
    x = array.asarray(inputs)
    axis = tuple(axis) if isinstance(axis, list) else axis
    low, high = value_range
    scale = high / (array.max(array.abs(x), axis=axis, keepdims=True) + epsilon)
    scale = scale.astype(x.dtype)
    q = array.clip(array.round(x * scale), low, high)
    return jnp.asarray(q.astype(dtype)), jnp.asarray(scale)


class Quantizer(Constructed):
    """A callable that gives the integers for an array; the base of quantizers.

    Args:
        output_dtype: the dtype of the integers.

    >>> import lamina
    >>> lamina.quantizers.Quantizer().output_dtype
    'int8'
    """

    _abstract, _reads_signatures = True, False

    def __init__(self, output_dtype="int8"):
        self.output_dtype = output_dtype

    def __call__(self, x):
        """Return the array as it is; subclasses quantize it."""
        return x


class AbsMaxQuantizer(Quantizer):
    """Quantizes by the largest magnitude, see `abs_max_quantize`.

    Args:
        axis: the axes that share one scale; the last when None.
        value_range: the least and the largest integer.
        epsilon: keeps the scale finite.
        output_dtype: the dtype of the integers.

    Raises:
        ValueError: the range does not fit `output_dtype="int8"`.

    >>> import lamina, numpy as np
    >>> q, scale = lamina.quantizers.AbsMaxQuantizer(axis=0)(np.eye(2))
    >>> q.tolist(), scale.shape
    ([[127, 0], [0, 127]], (1, 2))
    """

    def __init__(
        self, axis=None, value_range=(-127, 127), epsilon=None, output_dtype="int8"
    ):
        super().__init__(output_dtype)
        self.axis = (axis,) if isinstance(axis, int) else axis and tuple(axis)
        self.value_range = tuple(value_range)
        self.epsilon = settings.epsilon() if epsilon is None else epsilon
        low, high = self.value_range
        if standardize_dtype(output_dtype) == "int8" and (low < -128 or high > 127):
            raise ValueError(
                "`AbsMaxQuantizer` expected `value_range` to be within [-128, 127] "
                f"for output_dtype='int8'. Received: value_range={value_range}"
            )

    def __call__(self, x, axis=None, to_numpy=False):
        """Return integers and scale; `axis` goes before the constructor's."""
        axis = self.axis if axis is None else axis
        return abs_max_quantize(
            x,
            -1 if axis is None else axis,
            self.value_range,
            self.output_dtype,
            self.epsilon,
            to_numpy,
        )

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        config = super().get_config()
        axis = config.pop("axis")
        return config if axis is None else {**config, "axis": axis}


class QuantizationConfig(Constructed):
    """How a layer is quantized; the base of the modes' own classes.

    Args:
        weight_quantizer: the quantizer of the weights; the mode's own when None.
        activation_quantizer: the quantizer of the inputs; None leaves them alone.
    """

    def __init__(self, weight_quantizer=None, activation_quantizer=None):
        self.weight_quantizer = weight_quantizer
        self.activation_quantizer = activation_quantizer

    @property
    def mode(self) -> str:
        """The quantization mode."""
        raise NotImplementedError(
            f"`{type(self).__name__}` has no `mode`. Use a class that has, such as "
            "`Int8QuantizationConfig`."
        )

    @classmethod
    def from_config(cls, config: dict):
        """Make a config object from what `get_config` returned."""
        return cls(**arguments_of(config))


class Int8QuantizationConfig(QuantizationConfig):
    """Weights of 8 bits, and inputs that are rounded to 8 bits on the way.

    Args:
        weight_quantizer: the quantizer of the weights; None takes the largest
            magnitude of each output channel.
        activation_quantizer: the quantizer of the inputs; None leaves them in
            floating point.

    Raises:
        ValueError: `weight_quantizer` makes anything but int8.

    >>> import lamina
    >>> lamina.quantizers.Int8QuantizationConfig().mode
    'int8'
    """

    def __init__(self, weight_quantizer=None, activation_quantizer="default"):
        if activation_quantizer == "default":
            activation_quantizer = AbsMaxQuantizer()
        super().__init__(weight_quantizer, activation_quantizer)
        if weight_quantizer is not None and weight_quantizer.output_dtype != "int8":
            raise ValueError(
                "`Int8QuantizationConfig` expected a `weight_quantizer` with "
                "output_dtype='int8'. Received: "
                f"output_dtype={weight_quantizer.output_dtype}"
            )

    @property
    def mode(self) -> str:
        """The quantization mode."""
        return "int8"


class GPTQConfig(QuantizationConfig):
    """The settings of Keras' GPTQ, which Lamina leaves out: they are only checked.

    Args:
        dataset: texts or arrays that the quantization is fitted to.
        tokenizer: what turns texts into integers.
        weight_bits: 2, 3, 4 or 8.
        num_samples: how many samples to fit to.
        per_channel: whether each output has its own scale.
        sequence_length: the length of a sample.
        hessian_damping: what is added to the Hessian's diagonal, from 0 to 1.
        group_size: how many inputs share a scale; -1 for all.
        symmetric: whether the range is symmetric about zero.
        activation_order: whether to begin with the largest activations.
        quantization_layer_structure: which layers follow each other.

    Raises:
        ValueError: a number is out of its range.

    >>> import lamina
    >>> lamina.quantizers.GPTQConfig(None, None).dtype_policy_string()
    'gptq/4/128'
    """

    def __init__(
        self, dataset, tokenizer, *, weight_bits=4, num_samples=128, per_channel=True,
        sequence_length=512, hessian_damping=0.01, group_size=128, symmetric=False,
        activation_order=False, quantization_layer_structure=None,
    ):  # fmt: skip
        super().__init__()
        if weight_bits not in (2, 3, 4, 8):
            raise ValueError(
                "Unsupported weight_bits: use 2, 3, 4 or 8. Received: "
                f"weight_bits={weight_bits}"
            )
        if not 0 <= hessian_damping <= 1:
            raise ValueError(
                "hessian_damping must be between 0 and 1. Received: "
                f"hessian_damping={hessian_damping}"
            )
        self.dataset, self.tokenizer = dataset, tokenizer
        self.weight_bits, self.group_size = weight_bits, group_size
        self.num_samples, self.sequence_length = num_samples, sequence_length
        self.per_channel, self.symmetric = per_channel, symmetric
        self.hessian_damping = hessian_damping
        self.activation_order = activation_order
        self.quantization_layer_structure = quantization_layer_structure
        _check_calibration(self, "num_samples", "sequence_length")

    @property
    def mode(self) -> str:
        """The quantization mode."""
        return "gptq"

    def dtype_policy_string(self) -> str:
        """Return the mode with its numbers, as dtype policies spell it."""
        return f"{self.mode}/{self.weight_bits}/{self.group_size}"

    def get_config(self) -> dict:
        """Return the constructor's arguments, without data, tokenizer and layers."""
        return _settings(self)


class AWQConfig(QuantizationConfig):
    """The settings of Keras' AWQ, which Lamina leaves out: they are only checked.

    Args:
        dataset: texts or arrays that the quantization is fitted to.
        tokenizer: what turns texts into integers.
        weight_bits: 4.
        num_samples: how many samples to fit to.
        sequence_length: the length of a sample.
        group_size: how many inputs share a scale; -1 for all.
        num_grid_points: how many scales to try.
        quantization_layer_structure: which layers follow each other.

    Raises:
        ValueError: a number is out of its range.

    >>> import lamina
    >>> lamina.quantizers.AWQConfig(None, None, group_size=-1).dtype_policy_string()
    'awq/4/-1'
    """

    def __init__(
        self, dataset, tokenizer, *, weight_bits=4, num_samples=128,
        sequence_length=512, group_size=128, num_grid_points=20,
        quantization_layer_structure=None,
    ):  # fmt: skip
        super().__init__()
        if weight_bits != 4:
            raise ValueError(
                "AWQ only supports 4-bit quantization. Received: "
                f"weight_bits={weight_bits}"
            )
        self.dataset, self.tokenizer = dataset, tokenizer
        self.weight_bits, self.group_size = weight_bits, group_size
        self.num_samples, self.sequence_length = num_samples, sequence_length
        self.num_grid_points = num_grid_points
        self.quantization_layer_structure = quantization_layer_structure
        _check_calibration(self, "num_samples", "sequence_length", "num_grid_points")

    @property
    def mode(self) -> str:
        """The quantization mode."""
        return "awq"

    dtype_policy_string = GPTQConfig.dtype_policy_string
    get_config = GPTQConfig.get_config


def _check_calibration(config, *names):
    for name in names:
        if getattr(config, name) <= 0:
            raise ValueError(
                f"{name} must be a positive integer. Received: "
                f"{name}={getattr(config, name)}"
            )
    if config.group_size < -1 or config.group_size == 0:
        raise ValueError(
            "Invalid group_size. Supported values are -1, for all inputs, and positive "
            f"integers. Received: group_size={config.group_size}"
        )


def _settings(config):
    """Return the arguments of a constructor; data and layers are not written."""
    names = inspect.signature(type(config)).parameters
    apart = ("dataset", "tokenizer", "quantization_layer_structure")
    return {n: None if n in apart else getattr(config, n) for n in names}


def resolve(mode, config):
    """Return the mode and the config object that the arguments of `quantize` mean.

    Raises:
        ValueError: neither is given, they contradict each other, or there is no
            such mode.
    """
    if mode is None and config is None:
        raise ValueError("You must provide either `mode` or `config` to `quantize`.")
    if mode is not None:
        check_mode(mode)
    if config is None:
        return mode, Int8QuantizationConfig() if mode == "int8" else None
    if not isinstance(config, QuantizationConfig):
        raise ValueError(
            "`quantize` expected `config` to be a `QuantizationConfig`. "
            f"Received: config={config!r} (of type {type(config).__name__})"
        )
    if mode not in (None, config.mode):
        raise ValueError(
            f"Contradictory arguments: mode={mode!r} but config.mode={config.mode!r}"
        )
    return check_mode(config.mode), config


def refuse_other_modes(mode) -> None:
    """Raise for the modes that Keras has and Lamina leaves out."""
    if mode != "int8":
        left_out = [m for m in QUANTIZATION_MODES if m != "int8"]
        raise NotImplementedError(
            f"Quantization mode {mode!r} is left out, as are the others of {left_out}. "
            "Use mode='int8'."
        )


_TABLE = names_of(
    {
        "AWQConfig": AWQConfig,
        "AbsMaxQuantizer": AbsMaxQuantizer,
        "GPTQConfig": GPTQConfig,
        "Int8QuantizationConfig": Int8QuantizationConfig,
        "Quantizer": Quantizer,
    }
)

_get, _, deserialize = resolver("quantizer", lambda: _TABLE, None)


def get(identifier, **kwargs):
    """Return a quantizer for a name, a config, a class or the object itself.

    Args:
        identifier: what to interpret.
        kwargs: arguments for the constructor, where it is called.
    """
    cls = _TABLE.get(identifier) if isinstance(identifier, str) else identifier
    if isinstance(cls, type):
        return cls(**kwargs)
    return _get(identifier)


def serialize(initializer):
    """Return the config of a quantizer."""
    return serialize_keras_object(initializer)
