"""JSON from strangers: its size in memory is known before it is parsed."""

import json

from lamina.core import bounds
from lamina.core.budget import readable


def parsed(text, name, **options):
    """Parse JSON.

    Args:
        text: a str or UTF-8 bytes.
        name: what to call it in errors.
        options: for `json.loads`.

    Raises:
        ValueError: it is not JSON, nested too deeply, or holds too many values.
    """
    if isinstance(text, bytes):
        marks = sum(text.count(mark) for mark in (b"[", b"{", b",", b":"))
    else:
        marks = sum(text.count(mark) for mark in "[{,:")
    if marks > bounds.MARKS:
        raise ValueError(
            f"Not allowed: {name} holds {marks} values and keys in "
            f"{readable(len(text))} of JSON; {bounds.MARKS} are allowed."
        )
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError(f"{name} is not JSON: it is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
