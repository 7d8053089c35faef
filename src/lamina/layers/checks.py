"""Checks of constructor arguments, worded in one way."""

from lamina.core.naming import nearest


def positive_int(owner, name, value) -> int:
    """Return `value` as an int, or raise: it must be a positive integer."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value <= 0:
        raise ValueError(
            f"`{owner}` expected `{name}` to be a positive integer. "
            f"Received: {name}={value!r}"
        )
    return int(value)


def int_tuple(owner, name, value, n, *, zero=False) -> tuple[int, ...]:
    """Return one integer n times, or n integers, as a tuple; else raise."""
    values = (value,) * n if hasattr(value, "__index__") else value
    try:
        values = tuple(values)
        good = len(values) == n and all(
            hasattr(v, "__index__") and v >= (0 if zero else 1) for v in values
        )
    except TypeError:
        good = False
    if not good or any(isinstance(v, bool) for v in values):
        least = "non-negative" if zero else "positive"
        what = f"a {least} integer" if n == 1 else f"one {least} integer or {n} of them"
        raise ValueError(
            f"`{owner}` expected `{name}` to be {what}. Received: {name}={value!r}"
        )
    return tuple(int(v) for v in values)


def one_of(owner, name, value, choices) -> str:
    """Return `value` in lower case, or raise: it must be one of `choices`."""
    lowered = value.lower() if isinstance(value, str) else value
    if lowered not in choices:
        shown = ", ".join(repr(c) for c in choices)
        raise ValueError(
            f"`{owner}` expected `{name}` to be one of {shown}. "
            f"Received: {name}={value!r}.{nearest(str(value), choices)}"
        )
    return lowered


def fraction(owner, name, value) -> float:
    """Return `value`, or raise: it must be a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (
        0 <= value <= 1
    ):
        raise ValueError(
            f"`{owner}` expected `{name}` to be a number from 0 to 1. "
            f"Received: {name}={value!r}"
        )
    return value
