"""Projections that optimizers apply to weights after each step."""

import jax.numpy as _jnp

from lamina._imports import offer as _offer
from lamina.core import settings as _settings
from lamina.core.config import (
    Constructed as _Constructed,
)
from lamina.core.config import (
    names_of as _names_of,
)
from lamina.core.config import (
    resolver as _resolver,
)
from lamina.core.config import (
    serialize_keras_object as _serialize_keras_object,
)
from lamina.core.tracebacks import boundary as _boundary
from lamina.core.types import Axes as _Axes


class Constraint(_Constructed):
    """A callable that gives the allowed array nearest to a weight.

    Subclasses write `__call__(w)`.

    >>> import lamina
    >>> class Small(lamina.constraints.Constraint):
    ...     def __call__(self, w):
    ...         return lamina.ops.clip(w, -1, 1)
    >>> Small()(lamina.ops.array([0.5, 3.0])).tolist()
    [0.5, 1.0]
    """

    def __call__(self, w):
        """Return the allowed array for a weight."""
        return w


def _lengths(w, axis):
    axis = tuple(axis) if isinstance(axis, list) else axis
    return _jnp.sqrt(_jnp.sum(_jnp.square(w), axis=axis, keepdims=True))


class MaxNorm(Constraint):
    """Shorten weight vectors that are longer than `max_value`.

    Args:
        max_value: the greatest length.
        axis: the axis or axes along which a vector runs: 0 for the kernel of Dense,
            `[0, 1, 2]` for that of Conv2D.

    >>> import lamina
    >>> w = lamina.ops.array([[3.0], [4.0]])
    >>> lamina.constraints.MaxNorm(1)(w).round(2).ravel().tolist()
    [0.6, 0.8]
    """

    def __init__(self, max_value: float = 2, axis: _Axes = 0):
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w):
        """Return the allowed array for a weight."""
        w = _jnp.asarray(w)
        norms = _lengths(w, self.axis)
        wanted = _jnp.clip(norms, 0, self.max_value)
        return w * (wanted / (_settings.epsilon() + norms))


class NonNeg(Constraint):
    """Put zero in place of negative weights.

    >>> import lamina
    >>> lamina.constraints.NonNeg()(lamina.ops.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __call__(self, w):
        """Return the allowed array for a weight."""
        return _jnp.maximum(_jnp.asarray(w), 0)


class UnitNorm(Constraint):
    """Scale weight vectors to length one.

    Args:
        axis: the axis or axes along which a vector runs.

    >>> import lamina
    >>> w = lamina.ops.array([[3.0], [4.0]])
    >>> lamina.constraints.UnitNorm()(w).round(2).ravel().tolist()
    [0.6, 0.8]
    """

    def __init__(self, axis: _Axes = 0):
        self.axis = axis

    def __call__(self, w):
        """Return the allowed array for a weight."""
        w = _jnp.asarray(w)
        return w / (_settings.epsilon() + _lengths(w, self.axis))


class MinMaxNorm(Constraint):
    """Bring the lengths of weight vectors between two bounds.

    Args:
        min_value: the least length.
        max_value: the greatest length.
        rate: how much of the way to go at each step, from 0 to 1.
        axis: the axis or axes along which a vector runs.

    >>> import lamina
    >>> w = lamina.ops.array([[3.0], [4.0]])
    >>> lamina.constraints.MinMaxNorm(0.0, 1.0, rate=0.5)(w).round(2).ravel().tolist()
    [1.8, 2.4]
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: _Axes = 0,
    ):
        self.min_value, self.max_value = min_value, max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w):
        """Return the allowed array for a weight."""
        w = _jnp.asarray(w)
        norms = _lengths(w, self.axis)
        bounded = _jnp.clip(norms, self.min_value, self.max_value)
        wanted = self.rate * bounded + (1 - self.rate) * norms
        return w * (wanted / (_settings.epsilon() + norms))


max_norm = MaxNorm
min_max_norm = MinMaxNorm
non_neg = NonNeg
unit_norm = UnitNorm

_CLASSES = (Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm)
_TABLE = _names_of({cls.__name__: cls for cls in _CLASSES})

_EXAMPLE = {"class_name": "MaxNorm", "config": {"max_value": 2}}
get, deserialize = _resolver("constraint", lambda: _TABLE, Constraint, _EXAMPLE)


@_boundary
def serialize(constraint):
    """Return the config of a constraint.

    >>> import lamina
    >>> lamina.constraints.serialize(lamina.constraints.NonNeg())["class_name"]
    'NonNeg'
    """
    return _serialize_keras_object(constraint)


_offer(globals())
