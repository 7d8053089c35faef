"""Columns of numbers from the tables of pandas and polars."""

import numpy as np

from lamina.core import settings


def is_text(array) -> bool:
    """Tell whether an array holds text, going by its first entry."""
    kind = array.dtype.kind if isinstance(array, np.ndarray) else ""
    if kind == "O":
        return isinstance(next(array.flat, None), (str, bytes))
    return kind != "" and kind in "SUT"


# ---- pandas ------------------------------------------------------------------


def pandas_frame(frame, path):
    """Return the array of a DataFrame.

    Args:
        frame: the DataFrame.
        path: what it was given as, for messages.

    Raises:
        ValueError: columns that are not numbers, or that have missing values.
    """
    bad = {c: t for c, t in frame.dtypes.items() if t.kind not in "biufc"}
    if bad:
        raise ValueError(
            f"`{path}` is a DataFrame with columns that are not numbers: "
            f"{_dtypes(bad)}. Encode words (for instance `pandas.get_dummies`, or "
            "`.cat.codes`), turn numbers that are kept as objects into such "
            "(`pandas.to_numeric`), or drop the columns."
        )
    array = frame.to_numpy()
    if array.dtype.kind != "O":
        return array
    # Columns of truths beside numbers, or of pandas' own types, which know no NaN.
    _refuse_missing(frame.columns[frame.isna().any()], path, "DataFrame")
    floats = any(dtype.kind == "f" for dtype in frame.dtypes)
    return array.astype(settings.floatx() if floats else "int64")


def pandas_series(series, path):
    """Return the array of a Series, a column; categories become their codes.

    Args:
        series: the Series.
        path: what it was given as, for messages.

    Raises:
        ValueError: it is not of numbers (words are left to `x`), or has missing
            values.
    """
    if str(series.dtype) == "category":
        _refuse_missing([series.name] if series.isna().any() else [], path, "Series")
        series = series.cat.codes
    if series.dtype.kind not in "biufc":
        text = series.to_numpy(object)
        if path.startswith("x") and is_text(text):
            return text[:, None]
        raise ValueError(
            f"`{path}` is a Series of {series.dtype}, not of numbers. Encode words "
            "(for instance `.astype('category').cat.codes`), or turn numbers that are "
            "kept as objects into such (`pandas.to_numeric`)."
        )
    array = series.to_numpy()
    if array.dtype.kind == "O":
        _refuse_missing([series.name] if series.isna().any() else [], path, "Series")
        array = series.to_numpy(dtype=series.dtype.numpy_dtype)
    return array[:, None]


# ---- polars ------------------------------------------------------------------


def polars_frame(frame, path):
    """Return the array of a polars DataFrame.

    Args:
        frame: the DataFrame.
        path: what it was given as, for messages.

    Raises:
        ValueError: columns that are not numbers, or that have missing values.
    """
    bad = {c.name: c.dtype for c in frame if not _counts(c.dtype)}
    if bad:
        raise ValueError(
            f"`{path}` is a DataFrame with columns that are not numbers: "
            f"{_dtypes(bad)}. Encode words (for instance `.to_dummies()`), or drop "
            "the columns; give columns of vectors as inputs of their own."
        )
    missing = [c.name for c in frame if c.null_count()]
    _refuse_missing(missing, path, "DataFrame", "fill_null", "drop_nulls")
    return np.concatenate([_numbers(c)[:, None] for c in frame], axis=1)


def polars_series(series, path):
    """Return the array of a polars Series, a column; an `Enum` becomes its codes.

    Args:
        series: the Series.
        path: what it was given as, for messages.

    Raises:
        ValueError: it is not of numbers (words are left to `x`), or has missing
            values.
    """
    missing = [series.name] if series.null_count() else []
    _refuse_missing(missing, path, "Series", "fill_null", "drop_nulls")
    kind = str(series.dtype.base_type())
    if kind == "Enum":
        series = series.to_physical()
    elif kind == "Array":
        return series.to_numpy()
    elif not _counts(series.dtype):
        if path.startswith("x") and kind == "String":
            return series.to_numpy()[:, None]
        raise ValueError(
            f"`{path}` is a Series of {series.dtype}, not of numbers. Encode words "
            "(for instance `.cast(polars.Enum(words))`, whose codes are taken)."
        )
    return _numbers(series)[:, None]


def _counts(dtype):
    return dtype.is_numeric() or str(dtype) == "Boolean"


def _numbers(series):
    if series.dtype.is_decimal():
        return series.to_numpy().astype("float64")
    return series.to_numpy()


# ---- messages ----------------------------------------------------------------


def _dtypes(columns):
    dtypes = dict.fromkeys(map(str, columns.values()))
    return f"{list(map(str, columns))} (of {', '.join(dtypes)})"


def _refuse_missing(columns, path, what, fill="fillna", drop="dropna"):
    if len(columns):
        names = [str(c) for c in columns if c is not None]
        raise ValueError(
            f"`{path}` is a {what} with missing values{f' in {names}' * bool(names)}. "
            f"Fill them (`.{fill}(...)`) or drop their rows (`.{drop}()`)."
        )
