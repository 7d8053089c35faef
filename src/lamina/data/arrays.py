"""Columns of numbers from what users hold: arrays, frames, tensors, lists.

Foreign types are recognised through `sys.modules`, never imported: a value can only
be a pandas DataFrame if pandas is loaded already.
"""

import hashlib
import inspect
import sys
from typing import Any

import jax
import numpy as np

from lamina.core import settings, structure
from lamina.core.naming import listed, shortened
from lamina.core.sparse import refuse_sparse
from lamina.data import frames
from lamina.data.frames import is_text

_WHOLE = 2**26  # bytes of an array that is compared as a whole


class EmptyData(ValueError):
    """Data have no row or no batch.

    >>> import lamina, numpy as np
    >>> try:
    ...     lamina.data.open_source(np.ones((0, 3)))
    ... except lamina.data.EmptyData as error:
    ...     print(error)
    The data set is empty: there are 0 rows. Check how it was loaded or filtered.
    """


def unpack(data) -> tuple:
    """Return `(x, y, sample_weight)` from a batch of one, two or three parts.

    >>> import lamina
    >>> lamina.utils.unpack_x_y_sample_weight(([1, 2], [0, 1]))
    ([1, 2], [0, 1], None)
    """
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(
            "Data is expected to be `x`, `(x, y)` or `(x, y, sample_weight)`. Received "
            f"a tuple of {len(data)} parts."
        )
    return (*data, None, None)[:3]


def pack(x, y=None, sample_weight=None):
    """Return `x`, `(x, y)` or `(x, y, sample_weight)`, as short as it can be.

    >>> import lamina
    >>> lamina.utils.pack_x_y_sample_weight([1, 2], [0, 1])
    ([1, 2], [0, 1])
    """
    if y is None and sample_weight is None:
        return x if not isinstance(x, (tuple, list)) else (x,)
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def as_arrays(value, what="x") -> Any:
    """Return arrays in the structure of `value`, floats in the default float type.

    Args:
        value: an array, a frame, a tensor, a list of numbers, or lists, tuples and
            dicts of them.
        what: its name, for messages.

    Raises:
        ValueError: an array of objects or text that cannot be numbers.
        TypeError: something that is not data at all.

    >>> import lamina
    >>> x = lamina.data.as_arrays({"age": [1.0, 2.0]})["age"]
    >>> x.shape, str(x.dtype)
    ((2,), 'float32')
    """
    if value is None:
        return None
    if isinstance(value, (np.ndarray, jax.Array)):
        return _finish(value, what)
    if isinstance(value, dict):
        return {k: as_arrays(v, f"{what}[{k!r}]") for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(as_arrays(v, what) for v in value))
    if isinstance(value, (list, tuple)):
        if _is_numbers(value):
            return _finish(_from_list(value, what), what)
        return type(value)(as_arrays(v, f"{what}[{i}]") for i, v in enumerate(value))
    return _finish(_one(value, what), what)


def _is_numbers(value):
    """Tell a list of numbers (one array) from a list of arrays (several)."""
    first = value[0] if value else 0.0
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    kinds = (int, float, bool, complex, str, bytes, np.generic, list, tuple)
    return isinstance(first, kinds)  # a list is left where it is empty


def _from_list(value, path):
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"`{path}` is a list of rows of different lengths, so it is not an array. "
            "Pad the rows to one length, as `lamina.utils.pad_sequences` does."
        ) from error


def _loaded(module, name):
    """Return a class of a package that is loaded, or an empty tuple."""
    found = sys.modules.get(module)
    return getattr(found, name, ()) if found is not None else ()


def _one(value, path):
    refuse_sparse(value)
    if isinstance(value, _loaded("pandas", "DataFrame")):
        return frames.pandas_frame(value, path)
    if isinstance(value, _loaded("pandas", "Series")):
        return frames.pandas_series(value, path)
    if isinstance(value, _loaded("polars", "DataFrame")):
        return frames.polars_frame(value, path)
    if isinstance(value, _loaded("polars", "Series")):
        return frames.polars_series(value, path)
    if isinstance(value, _loaded("polars", "LazyFrame")):
        raise TypeError(f"`{path}` is a LazyFrame. Give `{path}.collect()`.")
    if isinstance(value, _loaded("torch", "Tensor")):
        return _from_torch(value)
    if hasattr(value, "to_numpy"):
        return np.asarray(value.to_numpy())
    if hasattr(value, "numpy"):
        return np.asarray(value.numpy())
    if hasattr(value, "__array__"):
        return np.asarray(value)
    if isinstance(value, (int, float, bool)):
        return np.asarray(value)
    cure = "Pass arrays, DataFrames, or something that yields batches."
    if inspect.isgeneratorfunction(value):
        cure = f"Call it: `{value.__name__}()`."
    raise TypeError(
        f"`{path}` is not data that can be trained on. Received: "
        f"{shortened(repr(value), 200)} (of type {type(value).__name__}). {cure}"
    )


def _from_torch(tensor):
    if str(tensor.dtype) == "torch.bfloat16":  # which NumPy alone does not have
        return tensor.float().numpy(force=True).astype(jax.numpy.bfloat16)
    return tensor.numpy(force=True)


def _finish(array, path):
    """Check the dtype; bring floats to the default float type, once and for all."""
    kind = array.dtype.kind if isinstance(array, np.ndarray) else None
    if kind == "O" and not is_text(array):
        raise ValueError(
            f"`{path}` is an array of objects (shape {array.shape}), not of numbers. "
            "Mostly it is a list of rows of different lengths: pad them "
            "(`lamina.utils.pad_sequences`) or `numpy.stack` them."
        )
    if is_text(array) and path.startswith(("y", "sample_weight")):
        raise ValueError(
            f"`{path}` holds text (dtype {array.dtype}, shape {array.shape}), not "
            "numbers. Words for classes become integers with "
            "`numpy.unique(words, return_inverse=True)[1]`."
        )
    if kind == "f" and array.dtype.name in ("float64", "float32", "float16"):
        wanted = settings.floatx()
        if array.dtype.name == "float64" and wanted != "float64":
            return array.astype(wanted if wanted != "bfloat16" else "float32")
    return array


def digest(array) -> str:
    """Return a short text that is another one for other contents.

    Args:
        array: an array or a list. Of one that has more than 64 MiB, 1024 rows count,
            evenly spread.
    """
    if getattr(array, "nbytes", 0) > _WHOLE:
        array = array[np.linspace(0, len(array) - 1, 1024).astype(int)]
    if hasattr(array, "dtype"):
        array = np.asarray(array)
        array = array.tolist() if is_text(array) else array.tobytes()
    data = array if isinstance(array, bytes) else repr(array).encode()
    return hashlib.blake2b(data, digest_size=6).hexdigest()


def count_rows(x, y=None, sample_weight=None) -> int:
    """Return the number of rows that all arrays of the structures have.

    Raises:
        EmptyData: there are none.
        ValueError: they differ (the message has each).
    """
    counts = {}
    for what, value in (("x", x), ("y", y), ("sample_weight", sample_weight)):
        for place, array in structure.flatten_with_names(value):
            if array is not None:
                name = ".".join((what, *map(str, place)))
                counts[name] = array.shape[0] if array.ndim else None
    if not counts or None in counts.values():
        scalars = [name for name, rows in counts.items() if rows is None]
        raise ValueError(
            "Data must have rows: arrays of at least one axis. Received: "
            f"{'scalars for ' + ', '.join(scalars) if scalars else 'nothing'}"
        )
    if len(set(counts.values())) > 1:
        shown = listed([f"{name}: {n}" for name, n in counts.items()], 6)
        lists = [w for w, value in (("x", x), ("y", y)) if isinstance(value, list)]
        lists = [w for w in lists if len({"x": x, "y": y}[w]) in counts.values()]
        raise ValueError(
            "Data cardinality is ambiguous: x, y and sample_weight need the same "
            f"number of rows. Received rows: {shown}"
            + "".join(f". A list of rows is given as `numpy.stack({w})`" for w in lists)
        )
    rows = next(iter(counts.values()))
    if rows == 0:
        raise EmptyData(
            "The data set is empty: there are 0 rows. Check how it was loaded or "
            "filtered."
        )
    return rows


def is_count(value) -> bool:
    """Tell whether a value is a number of batches, epochs or passes."""
    return type(value) is int and 0 <= value < 1 << 62
