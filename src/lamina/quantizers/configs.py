"""How a layer is quantized: one class of config for each mode."""

import inspect
from typing import Any, Literal

from lamina.core.config import Constructed, arguments_of
from lamina.core.policy import check_mode
from lamina.core.types import Share
from lamina.quantizers.quantizer import AbsMaxQuantizer


class QuantizationConfig(Constructed):
    """How a layer is quantized; the base of the modes' own classes.

    Args:
        weight_quantizer: the quantizer of the weights; the mode's own when None.
        activation_quantizer: the quantizer of the inputs; None leaves them alone.

    >>> import lamina
    >>> class Sharper(lamina.quantizers.QuantizationConfig):
    ...     mode = "int8"
    >>> Sharper(lamina.quantizers.AbsMaxQuantizer(axis=0)).dtype_policy_string()
    'int8'
    """

    def __init__(self, weight_quantizer: Any = None, activation_quantizer: Any = None):
        self.weight_quantizer = weight_quantizer
        self.activation_quantizer = activation_quantizer

    @staticmethod
    def weight_quantizer_or_default(config, default):
        """Return the quantizer of weights that a config, which may be None, names."""
        return getattr(config, "weight_quantizer", None) or default

    @staticmethod
    def activation_quantizer_or_default(config, default):
        """Return the quantizer of inputs of a config, or `default` for no config."""
        return default if config is None else config.activation_quantizer

    @property
    def mode(self) -> str:
        """The quantization mode."""
        raise NotImplementedError(
            f"`{type(self).__name__}` has no `mode`. Use a class that has, such as "
            "`Int8QuantizationConfig`."
        )

    def dtype_policy_string(self) -> str:
        """Return the mode with its numbers, as dtype policies spell it."""
        return self.mode

    @classmethod
    def from_config(cls, config: dict):
        """Make a config object from what `get_config` returned."""
        return cls(**arguments_of(config, cls))


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

    def __init__(
        self, weight_quantizer: Any = None, activation_quantizer: Any = "default"
    ):
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


class Int4QuantizationConfig(QuantizationConfig):
    """Weights of 4 bits, two of which are kept in a byte.

    Args:
        weight_quantizer: the quantizer of the weights; None takes the largest
            magnitude of each output channel.
        activation_quantizer: the quantizer of the inputs; `"default"` and None leave
            them in floating point.
        block_size: how many inputs share a scale and a zero point; None and -1 give
            each output channel one scale and no zero point.

    Raises:
        ValueError: `block_size` is not positive, or goes with quantizers of your own,
            or `weight_quantizer` makes anything but int8 from -8 to 7.

    >>> import lamina
    >>> lamina.quantizers.Int4QuantizationConfig(block_size=64).mode
    'int4'
    """

    def __init__(
        self,
        weight_quantizer: Any = None,
        activation_quantizer: Any = "default",
        block_size: int = 128,
    ):
        if activation_quantizer == "default":
            activation_quantizer = None
        super().__init__(weight_quantizer, activation_quantizer)
        if block_size is not None and block_size != -1 and block_size <= 0:
            raise ValueError(
                "block_size must be None, -1, or a positive integer. "
                f"Received: block_size={block_size}"
            )
        self.block_size = block_size
        grouped = block_size not in (None, -1)
        if grouped and not (weight_quantizer is activation_quantizer is None):
            raise ValueError(
                "Int4 sub-channel quantization, with a positive block_size, does not "
                "support custom quantizers. Pass `block_size=None` or leave them out. "
                f"Received: block_size={block_size}"
            )
        if weight_quantizer is None:
            return
        for name, value in (("value_range", (-8, 7)), ("output_dtype", "int8")):
            if getattr(weight_quantizer, name) != value:
                raise ValueError(
                    "`Int4QuantizationConfig` expected a `weight_quantizer` with "
                    f"{name}={value!r}. Received: "
                    f"{name}={getattr(weight_quantizer, name)!r}"
                )

    @property
    def mode(self) -> str:
        """The quantization mode."""
        return "int4"

    def dtype_policy_string(self) -> str:
        """Return the mode with its block size, as dtype policies spell it."""
        return f"int4/{self.block_size or -1}"

    @classmethod
    def from_config(cls, config: dict):
        """Make a config object; one from before there were blocks has none."""
        return super().from_config({"block_size": None, **config})


class Float8QuantizationConfig(QuantizationConfig):
    """Training in float8; there is nothing to set.

    >>> import lamina
    >>> lamina.quantizers.Float8QuantizationConfig().mode
    'float8'
    """

    def __init__(self):
        super().__init__(None, None)

    @property
    def mode(self) -> str:
        """The quantization mode."""
        return "float8"


class GPTQConfig(QuantizationConfig):
    """Weights of few bits, chosen so that outputs on a data set change little.

    Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative
    Pre-trained Transformers", 2022.

    Args:
        dataset: texts or arrays that the quantization is fitted to.
        tokenizer: its `tokenize(text)` returns integers; arrays need none.
        weight_bits: 2, 3, 4 or 8.
        num_samples: how many samples to fit to.
        per_channel: whether each output has its own scale.
        sequence_length: the length of a sample.
        hessian_damping: what is added to the Hessian's diagonal, from 0 to 1.
        group_size: how many inputs share a scale; -1 for all.
        symmetric: whether the range is symmetric about zero.
        activation_order: whether to begin with the largest activations.
        quantization_layer_structure: a dict with the layers that run first,
            "pre_block_layers", and the blocks that are fitted one after the other,
            "sequential_blocks"; None asks the model's
            `get_quantization_layer_structure`.

    Raises:
        ValueError: a number is out of its range.

    >>> import lamina
    >>> lamina.quantizers.GPTQConfig(None, None).dtype_policy_string()
    'gptq/4/128'
    """

    def __init__(
        self,
        dataset: Any,
        tokenizer: Any,
        *,
        weight_bits: Literal[2, 3, 4, 8] = 4,
        num_samples: int = 128,
        per_channel: bool = True,
        sequence_length: int = 512,
        hessian_damping: Share = 0.01,
        group_size: int = 128,
        symmetric: bool = False,
        activation_order: bool = False,
        quantization_layer_structure: Any = None,
    ):
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
    """Weights of 4 bits, scaled so that those with large inputs are rounded least.

    Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and
    Acceleration", 2023.

    Args:
        dataset: texts or arrays that the quantization is fitted to.
        tokenizer: its `tokenize(text)` returns integers; arrays need none.
        weight_bits: 4.
        num_samples: how many samples to fit to.
        sequence_length: the length of a sample.
        group_size: how many inputs share a scale; -1 for all.
        num_grid_points: how many scales to try.
        quantization_layer_structure: a dict with the layers that run first,
            "pre_block_layers", and the blocks that are fitted one after the other,
            "sequential_blocks"; None asks the model's
            `get_quantization_layer_structure`.

    Raises:
        ValueError: a number is out of its range.

    >>> import lamina
    >>> lamina.quantizers.AWQConfig(None, None, group_size=-1).dtype_policy_string()
    'awq/4/-1'
    """

    def __init__(
        self,
        dataset: Any,
        tokenizer: Any,
        *,
        weight_bits: Literal[4] = 4,
        num_samples: int = 128,
        sequence_length: int = 512,
        group_size: int = 128,
        num_grid_points: int = 20,
        quantization_layer_structure: Any = None,
    ):
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


_OF_MODE = {
    "int8": Int8QuantizationConfig,
    "int4": Int4QuantizationConfig,
    "float8": Float8QuantizationConfig,
}


def resolve(mode, config, policy=None):
    """Return the config object that the arguments of `quantize` mean.

    Args:
        mode: the mode, or None.
        config: the config object, or None for that of the mode.
        policy: a dtype policy; its block size is taken where there is no config.

    Raises:
        ValueError: neither is given, they contradict each other, there is no such
            mode, or it needs a config.
    """
    if mode is None and config is None:
        raise ValueError("You must provide either `mode` or `config` to `quantize`.")
    if mode is not None:
        check_mode(mode)
    if config is None:
        if mode not in _OF_MODE:
            method = str(mode).upper()
            raise ValueError(
                f"Mode {mode!r} is fitted to data. Pass a `{method}Config` with the "
                "data as `config` to `quantize`; a dtype policy that is set on a built "
                f"layer is not enough. (Implicitly enabling {method} quantization is "
                "not supported.)"
            )
        block = getattr(policy, "block_size", None) if mode == "int4" else None
        return _OF_MODE[mode](**({} if block is None else {"block_size": block}))
    if not isinstance(config, QuantizationConfig):
        raise ValueError(
            "`quantize` expected `config` to be a `QuantizationConfig`. "
            f"Received: config={config!r} (of type {type(config).__name__})"
        )
    if mode not in (None, config.mode):
        raise ValueError(
            f"Contradictory arguments: mode={mode!r} but config.mode={config.mode!r}"
        )
    check_mode(config.mode)
    return config
