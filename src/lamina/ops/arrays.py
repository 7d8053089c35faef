"""Arguments of ops to arrays, in the dtypes that Keras computes in."""

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.dtypes import result_type, standardize_dtype
from lamina.core.sparse import refuse_sparse
from lamina.core.variable import Variable


def tensor(x, dtype=None):
    """Return `x` as an array; Python floats become `floatx()`."""
    if isinstance(x, Variable):
        x = x.value
    if dtype is not None:
        dtype = canonical(dtype)
        if isinstance(x, jax.Array):
            return x if x.dtype == dtype and not x.weak_type else x.astype(dtype)
        refuse_sparse(x)
        _refuse_text(x)
        return jnp.asarray(x, dtype)
    if isinstance(x, jax.Array):
        return x
    if isinstance(x, (bool, int, float)):
        return jnp.asarray(x, result_type(type(x)))
    if isinstance(x, (list, tuple)):
        x = _from_list(x)
    refuse_sparse(x)
    _refuse_text(x)
    return jnp.asarray(x)


def _refuse_text(x):
    kind = getattr(getattr(x, "dtype", None), "kind", "")
    if isinstance(x, (str, bytes)) or kind in ("O", "S", "T", "U"):
        raise TypeError(
            "Ops take numbers. Received: text or objects, such as "
            f"{next(iter(np.ravel(x)), None)!r}. Turn words into integers first, for "
            "instance with `lamina.layers.StringLookup`."
        )


def _from_list(x):
    leaves = jax.tree.leaves(x)
    if any(hasattr(leaf, "dtype") for leaf in leaves):
        return jnp.asarray(jax.tree.map(tensor, x))
    value = np.asarray(x)
    return value.astype(settings.floatx()) if value.dtype.kind == "f" else value


def canonical(dtype):
    """Return the dtype JAX has for `dtype`: 64-bit ones only in 64-bit mode."""
    return jax.dtypes.canonicalize_dtype(standardize_dtype(dtype))


def kind(x):
    """Return what `x` counts as in `result_type`: weak for Python numbers."""
    if isinstance(x, (bool, int, float)) and not isinstance(x, np.generic):
        return "bool" if isinstance(x, bool) else type(x)
    if isinstance(x, complex):
        return "complex64"
    if isinstance(x, (np.ndarray, np.generic)):
        _refuse_text(x)
    return (x if hasattr(x, "dtype") else tensor(x)).dtype


def promoted(*xs, also=()):
    """Return arrays of the one dtype that all of `xs` combine to.

    Args:
        xs: arrays, Python numbers or lists.
        also: dtypes that take part; `float` makes the result inexact.
    """
    dtype = result_type(*map(kind, xs), *also)
    return tuple(tensor(x, dtype) for x in xs)


def inexact(x):
    """Return `x` as an array, integers and booleans as floats."""
    x = tensor(x)
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return x
    return x.astype(settings.floatx())


def number(x):
    """Return `x` as an array, booleans as integers."""
    x = tensor(x)
    return x.astype("int32") if x.dtype == bool else x


def truth(x):
    """Return `x` as an array of booleans."""
    return tensor(x, "bool")


def axes(axis):
    """Return `axis` as JAX takes it: a list, as files hold it, as a tuple."""
    return tuple(axis) if isinstance(axis, list) else axis


def dense_only(name, asked):
    """Raise if a sparse or ragged result is asked for."""
    if asked:
        raise ValueError(
            f"`{name}` has no sparse or ragged results. Leave `sparse` and `ragged` "
            "out, and use a mask for what is missing."
        )
