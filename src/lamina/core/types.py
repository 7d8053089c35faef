"""What arguments may be, for editors and type checkers."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import jax
import numpy as np

if TYPE_CHECKING:
    from lamina.core.random import SeedGenerator


class _Named(Protocol):
    """What says its dtype by a name: a policy, a dtype of NumPy's."""

    @property
    def name(self) -> str: ...


class Computes:
    """What computes as arrays do: its operators are set once they can be."""

    __slots__ = ()
    __add__: Any
    __radd__: Any
    __sub__: Any
    __rsub__: Any
    __mul__: Any
    __rmul__: Any
    __matmul__: Any
    __rmatmul__: Any
    __truediv__: Any
    __rtruediv__: Any
    __floordiv__: Any
    __rfloordiv__: Any
    __mod__: Any
    __rmod__: Any
    __pow__: Any
    __rpow__: Any
    __and__: Any
    __rand__: Any
    __or__: Any
    __ror__: Any
    __xor__: Any
    __rxor__: Any
    __neg__: Any
    __pos__: Any
    __abs__: Any
    __invert__: Any
    __lt__: Any
    __le__: Any
    __gt__: Any
    __ge__: Any
    __getitem__: Any


DType: TypeAlias = str | type | dict | _Named | None

# A name, a config, or the thing itself; None for none, or for the default.
Identifier: TypeAlias = str | dict | Callable | None
# The same, or the values themselves.
Initializer: TypeAlias = str | dict | Callable | np.ndarray | jax.Array | None

# One number for all dimensions, or one for each.
Sizes: TypeAlias = int | Sequence[int]
# None is any size.
Shape: TypeAlias = Sequence[int | None]
Axes: TypeAlias = int | Sequence[int]

# Two limits, or one that stands for both sides of zero.
Factor: TypeAlias = float | Sequence[float]
Seed: TypeAlias = "int | SeedGenerator | None"
# From 0 to 1.
Share: TypeAlias = float
Rate: TypeAlias = float | Callable
