"""Arrays as small integers and a scale: what quantized layers are made of."""

import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.config import (
    deserialize_keras_object,
    encode_parameter,
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


class Quantizer:
    """A callable that gives the integers for an array; the base of quantizers.

    Args:
        output_dtype: the dtype of the integers.

    >>> import lamina
    >>> lamina.quantizers.Quantizer().output_dtype
    'int8'
    """

    def __init__(self, output_dtype="int8"):
        self.output_dtype = output_dtype

    def __call__(self, x):
        """Return the array as it is; subclasses quantize it."""
        return x

    @classmethod
    def from_config(cls, config: dict):
        """Make a quantizer from what `get_config` returned."""
        return cls(**config)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement `get_config()` to be saved."
        )


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
        config = {
            "value_range": self.value_range,
            "epsilon": self.epsilon,
            "output_dtype": self.output_dtype,
        }
        return config if self.axis is None else {**config, "axis": self.axis}


class QuantizationConfig:
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

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {
            "weight_quantizer": encode_parameter(self.weight_quantizer),
            "activation_quantizer": encode_parameter(self.activation_quantizer),
        }

    @classmethod
    def from_config(cls, config: dict):
        """Make a config object from what `get_config` returned."""
        return cls(**{k: deserialize_keras_object(v) for k, v in config.items()})


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
        "AbsMaxQuantizer": AbsMaxQuantizer,
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
