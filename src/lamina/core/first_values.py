"""The first values of an array as a table, for a notebook."""

import numpy as np

from lamina.core.dtypes import is_float

_ROWS, _COLUMNS = 5, 8


def table(value) -> str:
    """Return the first rows and columns of an array as HTML.

    Of more than two axes the first of each is taken.

    Args:
        value: an array of any shape.

    >>> import numpy as np
    >>> from lamina.core.first_values import table
    >>> table(np.ones((2, 1)))
    '<table style="color: inherit"><tr><td>1</td></tr><tr><td>1</td></tr></table>'
    """
    plane = value[(0,) * (value.ndim - 2)] if value.ndim > 2 else value
    flat = plane.reshape((1,) * (2 - plane.ndim) + tuple(plane.shape))
    rows = [
        "".join(f"<td>{_text(v)}</td>" for v in row)
        + "<td>...</td>" * (flat.shape[1] > _COLUMNS)
        for row in np.asarray(flat[:_ROWS, :_COLUMNS])
    ]
    if flat.shape[0] > _ROWS:
        rows.append("<td>...</td>")
    lines = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table style="color: inherit">{lines}</table>'


def _text(value):
    return f"{float(value):.4g}" if is_float(value.dtype) else str(value)
