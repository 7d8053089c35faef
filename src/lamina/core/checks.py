"""Checks of constructor arguments, worded in one way."""

import numbers
import operator
from typing import Any

from lamina.core.naming import nearest, shortened


def bad_argument(owner, name, value, wanted) -> ValueError:
    """Return the error of an argument; `owner` is an object or its name."""
    owner = owner if isinstance(owner, str) else type(owner).__name__
    return ValueError(
        f"`{owner}` expected `{name}` to be {wanted}. Received: "
        f"{name}={shortened(repr(value), 500)}"
    )


def is_integer(value) -> bool:
    """Tell whether a value is one integer, of whatever library, and no bool."""
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)


def positive_int(owner, name, value) -> int:
    """Return `value` as an int, or raise: it must be a positive integer."""
    if not is_integer(value) or value <= 0:
        error = bad_argument(owner, name, value, "a positive integer")
        if isinstance(value, float) and value.is_integer():
            error.args = (f"{error}. Write {int(value)}; `//` divides into integers",)
        raise error
    return int(value)


def number(owner, name, value, *, least=None) -> Any:
    """Return `value`, or raise: it must be a number, not below `least`."""
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Real)
        or (least is not None and not value >= least)
    ):
        above = "" if least is None else f" of at least {least}"
        raise bad_argument(owner, name, value, f"a number{above}")
    return value


def int_tuple(owner, name, value, n, *, zero=False) -> tuple[int, ...]:
    """Return one integer n times, or n integers, as a tuple; else raise."""
    values = (value,) * n if is_integer(value) else value
    try:
        values = tuple(values)
        good = len(values) == n and all(
            is_integer(v) and v >= (0 if zero else 1) for v in values
        )
    except TypeError:
        good = False
    if not good:
        least = "non-negative" if zero else "positive"
        what = f"a {least} integer" if n == 1 else f"one {least} integer or {n} of them"
        raise bad_argument(owner, name, value, what)
    return tuple(int(v) for v in values)


def one_of(owner, name, value, choices) -> str:
    """Return `value` in lower case, or raise: it must be one of `choices`."""
    lowered = value.lower() if isinstance(value, str) else value
    if lowered not in choices:
        shown = ", ".join(repr(c) for c in choices)
        error = bad_argument(owner, name, value, f"one of {shown}")
        raise ValueError(f"{error}.{nearest(str(value), choices)}")
    return lowered


def fraction(owner, name, value) -> float:
    """Return `value`, or raise: it must be a number from 0 to 1."""
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Real)
        or not (0 <= float(value) <= 1)
    ):
        raise ValueError(
            f"`{owner}`: Invalid value received for argument `{name}`. Expected a "
            f"float value between 0 and 1. Received: {name}={value!r}"
        )
    return value if isinstance(value, (int, float)) else float(value)


def axis_within(owner, axis, ndim) -> int:
    """Return `axis` counted from the front, or raise: there is no such axis."""
    if not is_integer(axis) or not -ndim <= axis < ndim:
        raise ValueError(
            f"{owner} expected `axis` to be one of its input, which has {ndim} axes "
            f"(from {-ndim} to {ndim - 1}). Received: axis={axis!r}"
        )
    return axis % ndim


def axes_argument(owner, axis, name="axis") -> Any:
    """Return `axis`, or raise: it must be an integer or a list of them."""
    axes = axis if isinstance(axis, (list, tuple)) else (axis,)
    if not axes or not all(map(is_integer, axes)):
        raise TypeError(
            f"`{owner}` expected `{name}` to be an int or a list/tuple of ints. "
            f"Received: {name}={axis!r}"
        )
    return axis


def described(layer) -> str:
    """Return how a message names a layer: its name, its class."""
    return f"Layer {layer.path or layer.name!r} ({type(layer).__name__})"
