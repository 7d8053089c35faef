"""Gradients of tables by row: of the rows that were looked up, not of the whole.

While code is differentiated, a `Lookup` stands in the place of the value of each
Variable with `sparse_gradient`. It adds zeros to what is looked up, one array for each
time; the gradients of these zeros are those of the rows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state


class RowGradient(NamedTuple):
    """The gradient of some rows of a table; a row that comes twice counts twice.

    Attributes:
        indices: integers `(n,)`; those from the end are negative, and those outside of
            the table stand for nothing.
        values: floats `(n, features)`.
    """

    indices: jax.Array
    values: jax.Array

    def __truediv__(self, divisor):
        return self._replace(values=self.values / divisor)

    def summed(self, rows):
        """Return it with each row once, in order, and `rows` where there is none.

        Args:
            rows: the number of rows of the table.

        >>> import jax.numpy as jnp
        >>> from lamina.core.row_gradients import RowGradient
        >>> twice = RowGradient(jnp.array([4, -1, 9]), jnp.array([[1.0], [2.0], [3.0]]))
        >>> gradient = twice.summed(5)
        >>> gradient.indices.tolist(), gradient.values.ravel().tolist()
        ([4, 5, 5], [3.0, 3.0, 0.0])
        """
        at = jnp.where(self.indices < 0, self.indices + rows, self.indices)
        at = jnp.where((at < 0) | (at >= rows), rows, at)
        size = len(at)
        places, where = jnp.unique(at, return_inverse=True, size=size, fill_value=rows)
        return RowGradient(places, jax.ops.segment_sum(self.values, where, size))

    @classmethod
    def of(cls, indices, taps):
        """Return the gradient of all lookups together.

        Args:
            indices: the indices of each, of any shape.
            taps: the gradients of what each found, of that shape and features.
        """
        flat = [t.reshape(-1, t.shape[-1]) for t in taps]
        return cls(
            jnp.concatenate([i.reshape(-1) for i in indices]), jnp.concatenate(flat)
        )


class Lookup:
    """What stands for the value of a table while code is differentiated.

    Args:
        path: the path of its Variable, for errors.
        value: the value.
        taps: the zeros to add, one array for each time that rows are looked up; None to
            find out how often that is.

    Attributes:
        indices: those that were looked up, each time.
    """

    def __init__(self, path, value, taps=None):
        self._path, self._value, self._taps = path, value, taps
        self.shape, self.dtype, self.ndim = value.shape, value.dtype, value.ndim
        self.indices = []
        self._trace = get_opaque_trace_state(convention="flax")

    def rows(self, look_up, indices):
        """Return rows of the table.

        Args:
            look_up: a function of the table and indices.
            indices: integers of any shape.
        """
        if get_opaque_trace_state(convention="flax") != self._trace:
            raise ValueError(
                f"Rows of {self._path!r} are looked up inside of a loop or another "
                "function that JAX transforms, such as a cell of `RNN` or a layer in a "
                "`RematScope`, where an `Embedding(sparse=True)` cannot be. Look them "
                "up before that, or leave `sparse=True` out."
            )
        found = look_up(jax.lax.stop_gradient(self._value), indices)
        if self._taps is not None:
            found = found + self._taps[len(self.indices)]
        self.indices.append(indices)
        return found

    def zeros(self, indices):
        """Return zeros for what is looked up each time, given the indices' shapes."""
        return [jnp.zeros((*i.shape, self.shape[-1]), self.dtype) for i in indices]

    def _refuse(self, *_):
        raise ValueError(
            f"The table {self._path!r} belongs to an `Embedding(sparse=True)`, whose "
            "gradients are those of single rows. In training its layer may look rows "
            "up; a regularizer, a loss or another layer may not read the whole. Leave "
            "`sparse=True` out."
        )

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse()

    __jax_array__ = __array__ = __getitem__ = __len__ = __iter__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __matmul__ = __rmatmul__ = __neg__ = __pow__ = _refuse


def look_up(table, indices, function):
    """Return `function(table, indices)`, where `table` may be a `Lookup`."""
    if isinstance(table, Lookup):
        return table.rows(function, indices)
    return function(table, indices)
