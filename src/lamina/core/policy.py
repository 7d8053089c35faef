"""Dtype policies: in what dtype a layer keeps its weights and computes."""

import re
from operator import attrgetter
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import settings
from lamina.core.config import Constructed
from lamina.core.dtypes import ALLOWED, is_float, standardize_dtype
from lamina.core.naming import nearest
from lamina.core.tracebacks import boundary

_default: dict[str, Any] = {"policy": None}
QUANTIZATION_MODES = ("int8", "float8", "int4", "gptq", "awq")
_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}


class DTypePolicy(Constructed):
    """In what dtype a layer keeps its weights and in what it computes.

    `"mixed_float16"` and `"mixed_bfloat16"` keep weights in float32 and compute in
    the half type. Any dtype's name uses it for both.

    Args:
        name: the policy's name.

    Raises:
        TypeError: `name` is not a string.
        ValueError: there is no such policy.

    >>> import lamina
    >>> policy = lamina.DTypePolicy("mixed_bfloat16")
    >>> policy.variable_dtype, policy.compute_dtype
    ('float32', 'bfloat16')
    """

    _quantization_mode = None

    def __init__(self, name: str | None = None):
        if name is None:
            name = dtype_policy().name
        if not isinstance(name, str):
            raise TypeError(
                "'name' must be a string, such as 'mixed_float16'. "
                f"Received: name={name} (of type {type(name)})"
            )
        self._name = name
        if name in _MIXED:
            self._compute_dtype, self._variable_dtype = _MIXED[name], "float32"
            return
        try:
            self._compute_dtype = self._variable_dtype = standardize_dtype(name)
        except ValueError:
            choices = [*_MIXED, "float16", "bfloat16", "float32", "float64"]
            raise ValueError(
                f"Cannot convert '{name}' to a mixed precision `DTypePolicy`. Valid "
                f"policies include: {', '.join(choices)}.{nearest(name, choices)}"
            ) from None

    @property
    def name(self) -> str:
        """The policy's name."""
        return self._name

    # Read in each call of a layer, and so without a call of their own.
    compute_dtype = property(
        attrgetter("_compute_dtype"), doc="The dtype that layers compute in."
    )
    variable_dtype = property(
        attrgetter("_variable_dtype"), doc="The dtype that weights are kept in."
    )
    quantization_mode = property(
        attrgetter("_quantization_mode"),
        doc='How layers keep their kernels, such as "int8", or None.',
    )

    def convert_input(self, x, autocast, dtype):
        """Make an array of `x`; floats get `dtype` when `autocast` is true."""
        if getattr(x, "is_symbolic", False):
            if autocast and is_float(x.dtype) and x.dtype != dtype:
                return cast_symbolic(x, dtype)
            return x
        if not hasattr(x, "dtype"):
            x = jnp.asarray(x)
        if autocast and is_float(x.dtype):
            return jnp.asarray(x, jax.dtypes.canonicalize_dtype(dtype))
        return jnp.asarray(x)

    def _kind(self):
        return DTypePolicy if type(self) is FloatDTypePolicy else type(self)

    def __eq__(self, other):
        if not isinstance(other, DTypePolicy) or self._kind() is not other._kind():
            return False
        return self.get_config() == other.get_config()

    def __hash__(self):
        return hash(self.name)

    def __repr__(self):
        return f'<{self._kind().__name__} "{self._name}">'


class FloatDTypePolicy(DTypePolicy):
    """The same as `DTypePolicy`, under the name that older files have.

    >>> import lamina
    >>> lamina.FloatDTypePolicy("float16").compute_dtype
    'float16'
    """


class QuantizedDTypePolicy(DTypePolicy):
    """A policy of layers whose kernels are small integers, see `Layer.quantize`.

    Which modes a layer has is up to the layer: embeddings have int8 and int4.

    Args:
        mode: the quantization mode: `"int8"`, `"int4"`, `"float8"`, `"gptq"` or
            `"awq"`.
        source_name: the policy of everything else; the default policy when None.

    Raises:
        ValueError: there is no such mode, or it is not supported with float16.

    >>> import lamina
    >>> policy = lamina.dtype_policies.QuantizedDTypePolicy("int8", "float32")
    >>> policy.name, policy.compute_dtype
    ('int8_from_float32', 'float32')
    """

    _saved_from = {"mode": "_written_mode", "source_name": "_source_name"}
    # Subclasses whose mode is spelled with numbers: the mode, and for each number
    # its name with the values that it may have, () for -1 or what is positive.
    _mode_of_numbers = None
    _numbers: dict[str, tuple] = {}

    def __init__(self, mode: str, source_name: str | None = None):
        if source_name is None:
            default = dtype_policy()
            source_name = getattr(default, "_source_name", default.name)
        self._quantization_mode = self._read(mode)
        super().__init__(source_name)
        if mode == "int8" and self._compute_dtype == "float16":
            raise ValueError(
                f"Quantization mode {mode!r} doesn't work well with float16, in which "
                "sums of int8 overflow. Use bfloat16 or float32. Received: "
                f"source_name={source_name!r}"
            )
        self._written_mode, self._source_name = mode, source_name
        self._name = f"{mode}_from_{source_name}"

    def _read(self, mode):
        """Return the mode without its numbers; they become attributes."""
        if self._mode_of_numbers is None:
            return check_mode(mode)
        cls = type(self).__name__
        given, *texts = str(mode).split("/")
        form = "/".join([self._mode_of_numbers, *(f"<{n}>" for n in self._numbers)])
        integers = all(re.fullmatch(r"[+-]?\d+", t) for t in texts)
        known = given == self._mode_of_numbers and len(texts) == len(self._numbers)
        if not (known and integers):
            raise ValueError(
                f"Invalid mode for `{cls}`. Expected '{form}' with integers. "
                f"Received: mode={mode!r}"
            )
        for (name, allowed), text in zip(self._numbers.items(), texts, strict=True):
            number = int(text)
            if allowed and number not in allowed:
                bits = ", ".join(f"{n}-bit" for n in allowed)
                raise ValueError(
                    f"Invalid {name} in mode: `{cls}` only supports {bits} weights. "
                    f"Received: mode={mode!r}"
                )
            if not allowed and number != -1 and number < 1:
                raise ValueError(
                    f"Invalid {name} in mode: `{cls}` expected -1, for all inputs of "
                    f"an output, or a positive integer. Received: mode={mode!r}"
                )
            setattr(self, name, number)
        self.mode = given
        return given


class QuantizedFloat8DTypePolicy(QuantizedDTypePolicy):
    """A policy of layers that are trained in float8, see `Layer.quantize`.

    Args:
        mode: `"float8"`.
        source_name: the policy of everything else; the default policy when None.
        amax_history_length: the number of steps whose largest magnitudes give the
            scale.

    Raises:
        TypeError: `amax_history_length` is not an integer.

    >>> import lamina
    >>> lamina.dtype_policies.get("float8_from_float32").amax_history_length
    1024
    """

    default_amax_history_length = 1024

    def __init__(
        self, mode: str, source_name: str | None = None, amax_history_length: int = 1024
    ):
        super().__init__(mode, source_name)
        if not isinstance(amax_history_length, int):
            raise TypeError(
                "`amax_history_length` must be an integer. Received: "
                f"amax_history_length={amax_history_length!r}"
            )
        self._amax_history_length = amax_history_length

    @property
    def amax_history_length(self) -> int:
        """The number of steps whose largest magnitudes give the scale."""
        return self._amax_history_length


class Int4DTypePolicy(QuantizedDTypePolicy):
    """A policy of layers with kernels of 4 bits, see `Layer.quantize`.

    Args:
        mode: `"int4/<block_size>"`; a block of inputs shares a scale, -1 for all.
        source_name: the policy of everything else; the default policy when None.

    Raises:
        ValueError: `mode` is not of that form.

    >>> import lamina
    >>> lamina.dtype_policies.Int4DTypePolicy("int4/64", "float32").block_size
    64
    """

    _mode_of_numbers = "int4"
    _numbers = {"block_size": ()}


class GPTQDTypePolicy(QuantizedDTypePolicy):
    """A policy of layers with kernels fitted by GPTQ, see `Model.quantize`.

    Args:
        mode: `"gptq/<weight_bits>/<group_size>"`, with 2, 3, 4 or 8 bits; a group
            of inputs shares a scale, -1 for all.
        source_name: the policy of everything else; the default policy when None.

    Raises:
        ValueError: `mode` is not of that form.

    >>> import lamina
    >>> lamina.dtype_policies.GPTQDTypePolicy("gptq/3/128", "float32").weight_bits
    3
    """

    _mode_of_numbers = "gptq"
    _numbers = {"weight_bits": (2, 3, 4, 8), "group_size": ()}


class AWQDTypePolicy(QuantizedDTypePolicy):
    """A policy of layers with kernels fitted by AWQ, see `Model.quantize`.

    Args:
        mode: `"awq/4/<group_size>"`; a group of inputs shares a scale, -1 for all.
        source_name: the policy of everything else; the default policy when None.

    Raises:
        ValueError: `mode` is not of that form.

    >>> import lamina
    >>> lamina.dtype_policies.AWQDTypePolicy("awq/4/-1", "float32").group_size
    -1
    """

    _mode_of_numbers = "awq"
    _numbers = {"weight_bits": (4,), "group_size": ()}


def check_mode(mode) -> str:
    """Return `mode`, or raise: it must be a quantization mode of Keras."""
    if mode not in QUANTIZATION_MODES:
        raise ValueError(
            f"Invalid quantization mode. Expected one of {QUANTIZATION_MODES}. "
            f"Received: mode={mode}"
        )
    return mode


def cast_symbolic(x, dtype):
    """Return a symbolic tensor like `x` in another dtype, with x's history."""
    from lamina.core.symbolic import SymbolicTensor

    y = SymbolicTensor(x.shape, dtype, name=x.name)
    y.node, y.index = x.node, x.index
    return y


def dtype_policy() -> DTypePolicy:
    """Return the policy of layers that are given none.

    >>> import lamina
    >>> lamina.config.dtype_policy().name
    'float32'
    """
    if _default["policy"] is None:
        return DTypePolicy(settings.floatx())
    return _default["policy"]


@boundary
def set_dtype_policy(policy) -> None:
    """Set the policy of layers that are given none.

    Args:
        policy: a `DTypePolicy`, a name or a config.

    Raises:
        ValueError: `policy` is nothing of that kind.

    >>> import lamina
    >>> lamina.config.set_dtype_policy("mixed_bfloat16")
    >>> lamina.layers.Dense(2).compute_dtype
    'bfloat16'
    >>> lamina.config.set_dtype_policy("float32")
    """
    if not isinstance(policy, (str, dict, DTypePolicy)):
        raise ValueError(
            "Invalid `policy` argument. Expected a policy or a name, such as "
            f"'mixed_float16'. Received: policy={policy} (of type {type(policy)})"
        )
    _default["policy"] = get_policy(policy)


@boundary
def get_policy(identifier) -> DTypePolicy:
    """Return a policy for a policy, its name, a dtype, its config or None.

    >>> import lamina
    >>> lamina.dtype_policies.get("mixed_float16").compute_dtype
    'float16'
    """
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        from lamina.core.config import deserialize_keras_object

        return deserialize_keras_object(identifier)
    if isinstance(identifier, str):
        mode, quantized, source = identifier.partition("_from_")
        if quantized and mode.partition("/")[0] in QUANTIZATION_MODES:
            return _quantized_class(mode)(mode, source)
        if identifier.startswith(QUANTIZATION_MODES) and identifier not in ALLOWED:
            raise ValueError(
                "Cannot convert `policy` into a valid pair of a mode and a source, "
                f"such as 'int8_from_float32'. Received: policy={identifier}"
            )
        return DTypePolicy(identifier)
    try:
        return DTypePolicy(standardize_dtype(identifier))
    except (ValueError, TypeError):
        raise ValueError(
            "Cannot interpret `dtype` argument. Expected a string or an instance of "
            f"DTypePolicy. Received: dtype={identifier}"
        ) from None


def _quantized_class(mode):
    kind, numbers, _ = mode.partition("/")
    if kind == "float8":
        return QuantizedFloat8DTypePolicy
    for cls in (Int4DTypePolicy, GPTQDTypePolicy, AWQDTypePolicy):
        # "int4" alone is a policy too; the other two cannot do without numbers.
        if kind == cls._mode_of_numbers and (numbers or kind != "int4"):
            return cls
    return QuantizedDTypePolicy


def forget_policy() -> None:
    """Go back to the policy that follows `floatx()`."""
    _default["policy"] = None
