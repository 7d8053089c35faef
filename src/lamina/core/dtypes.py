"""Dtypes as strings, and how they combine."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings

ALLOWED = (
    "float16 bfloat16 float32 float64 uint8 uint16 uint32 uint64 int8 int16 int32 "
    "int64 bool string complex64 complex128 float8_e4m3fn float8_e5m2 int4 uint4"
).split()
_FLOATS = {"float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"}
_PYTHON = {bool: "bool", int: "int32", str: "string"}
_SHORT = {"int": "int32", "str": "string"}


def standardize_dtype(dtype) -> str:
    """Return the name of a dtype however it was given; None means `floatx()`.

    >>> import numpy as np
    >>> from lamina.core.dtypes import standardize_dtype
    >>> standardize_dtype(np.float16)
    'float16'

    Raises:
        ValueError: there is no such dtype.
    """
    if dtype is None or dtype is float or dtype == "float":
        return settings.floatx()
    if type(dtype) is str:
        name = _SHORT.get(dtype, dtype)
    elif dtype in _PYTHON:
        return _PYTHON[dtype]
    else:
        name = getattr(dtype, "name", None) or str(dtype)
        if name.startswith("torch."):
            name = name.split(".")[-1]
        elif name not in ALLOWED:
            name = _numpy_name(dtype) or name
    if name.startswith("str"):
        name = "string"
    if name not in ALLOWED:
        from lamina.core.naming import nearest

        raise ValueError(f"Invalid dtype: {dtype!r}.{nearest(name, ALLOWED)}")
    return name


def _numpy_name(dtype):
    try:
        return np.dtype(dtype).name
    except TypeError:
        return None


def is_float(dtype) -> bool:
    """Tell whether a dtype is a floating point one.

    >>> import lamina
    >>> lamina.backend.is_float_dtype("bfloat16"), lamina.backend.is_float_dtype("int8")
    (True, False)
    """
    return standardize_dtype(dtype) in _FLOATS


def is_int(dtype) -> bool:
    """Tell whether a dtype is an integer one (bool is not).

    >>> import lamina
    >>> lamina.backend.is_int_dtype("uint8"), lamina.backend.is_int_dtype("bool")
    (True, False)
    """
    return "int" in standardize_dtype(dtype)


def dtype_of(x) -> str:
    """Return the dtype of an array, a tensor, a Variable or a Python number."""
    if hasattr(x, "dtype"):
        return standardize_dtype(x.dtype)
    if isinstance(x, (bool, int, float, complex)):
        return standardize_dtype(type(x) if type(x) is not complex else "complex64")
    return standardize_dtype(jnp.asarray(x).dtype)


def result_type(*dtypes) -> str:
    """Return the dtype that values of the given dtypes combine to.

    The lattice is JAX's: Python's `int` and `float` are weak, floats win over
    integers, None is `floatx()`. Without JAX's 64-bit mode there are no 64-bit
    results.

    >>> import lamina
    >>> lamina.backend.result_type("int32", "float16")
    'float16'
    """
    wide = jax.config.jax_enable_x64  # pyright: ignore
    return _result_type(settings.floatx(), wide, dtypes)


@functools.cache
def _result_type(floatx, wide, dtypes):
    kinds = [
        d if d in (int, float) and isinstance(d, type) else standardize_dtype(d)
        for d in dtypes
    ]
    weak = [d for d in kinds if isinstance(d, type)]
    if not kinds or (float in weak and not any(map(_inexact, kinds))):
        kinds.append(floatx)
    if len(weak) == len(kinds):
        return "int32"
    if "uint64" in kinds and any(str(k).startswith("int") for k in kinds):
        kinds.append(floatx)  # no integer type holds both
    narrow = jax.dtypes.canonicalize_dtype
    kinds = [k if isinstance(k, type) else narrow(k) for k in kinds]
    return narrow(jnp.result_type(*kinds)).name


def _inexact(kind):
    return not isinstance(kind, type) and "float" in kind or "complex" in str(kind)
