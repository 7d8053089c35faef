"""Dtype policies: in what dtype a layer keeps its weights and computes."""

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import settings
from lamina.core.dtypes import is_float, standardize_dtype
from lamina.core.naming import nearest

_default: dict[str, Any] = {"policy": None}
QUANTIZATION_MODES = ("int8", "float8", "int4", "gptq", "awq")
_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}


class DTypePolicy:
    """In what dtype a layer keeps its weights and in what it computes.

    `"mixed_float16"` and `"mixed_bfloat16"` keep weights in float32 and compute in
    the half type. Any dtype's name uses it for both.

    Args:
        name: the policy's name.

    Raises:
        TypeError: `name` is no string.
        ValueError: there is no such policy.

    >>> import lamina
    >>> policy = lamina.DTypePolicy("mixed_bfloat16")
    >>> policy.variable_dtype, policy.compute_dtype
    ('float32', 'bfloat16')
    """

    _quantization_mode = None

    def __init__(self, name=None):
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

    @property
    def compute_dtype(self) -> str:
        """The dtype that layers compute in."""
        return self._compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype that weights are kept in."""
        return self._variable_dtype

    @property
    def quantization_mode(self):
        """How layers keep their kernels, such as "int8", or None."""
        return self._quantization_mode

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

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config):
        """Make a policy from `get_config()`."""
        return cls(**config)

    def __eq__(self, other):
        if self.__class__ in (DTypePolicy, FloatDTypePolicy):
            if type(other) not in (DTypePolicy, FloatDTypePolicy):
                return False
        elif type(other) is not type(self):
            return False
        return self._name == other._name

    def __hash__(self):
        return hash(self._name)

    def __repr__(self):
        return f'<DTypePolicy "{self._name}">'


class FloatDTypePolicy(DTypePolicy):
    """A policy of one floating point type, or a mixed one."""

    def __repr__(self):
        return f'<FloatDTypePolicy "{self._name}">'


class QuantizedDTypePolicy(DTypePolicy):
    """A policy of layers whose kernels are small integers, see `Layer.quantize`.

    Args:
        mode: the quantization mode; `"int8"`.
        source_name: the policy of everything else; the default policy when None.

    Raises:
        ValueError: there is no such mode, or it is not supported with float16.

    >>> import lamina
    >>> policy = lamina.dtype_policies.QuantizedDTypePolicy("int8", "float32")
    >>> policy.name, policy.compute_dtype
    ('int8_from_float32', 'float32')
    """

    def __init__(self, mode, source_name=None):
        if check_mode(mode) != "int8":
            raise ValueError(
                f"Quantization mode {mode!r} is left out. Use mode='int8'."
            )
        super().__init__(source_name)
        if self._compute_dtype == "float16":
            raise ValueError(
                "`QuantizedDTypePolicy` does not take float16, in which sums of int8 "
                "overflow. Use bfloat16 or float32. Received: "
                f"mode={mode!r}, source_name={source_name!r}"
            )
        self._source_name = self._name
        self._quantization_mode = mode
        self._name = f"{mode}_from_{self._source_name}"

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {"mode": self._quantization_mode, "source_name": self._source_name}

    def __repr__(self):
        return f'<QuantizedDTypePolicy "{self._name}">'


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
    """Return the policy of layers that are given none."""
    if _default["policy"] is None:
        return DTypePolicy(settings.floatx())
    return _default["policy"]


def set_dtype_policy(policy) -> None:
    """Set the policy of layers that are given none.

    Args:
        policy: a `DTypePolicy`, a name or a config.
    """
    _default["policy"] = get_policy(policy)


def get_policy(identifier) -> DTypePolicy:
    """Return a policy for a policy, its name, a dtype, its config or None."""
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
            return QuantizedDTypePolicy(mode.partition("/")[0], source)
        return DTypePolicy(identifier)
    try:
        return DTypePolicy(standardize_dtype(identifier))
    except (ValueError, TypeError):
        raise ValueError(
            "Cannot interpret `dtype` argument. Expected a string or an instance of "
            f"DTypePolicy. Received: dtype={identifier}"
        ) from None


def forget_policy() -> None:
    """Go back to the policy that follows `floatx()`."""
    _default["policy"] = None
