"""Penalties on the size of weights or outputs, added to the loss."""

import math as _math
import numbers as _numbers

import jax.numpy as _jnp
import numpy as _np

from lamina._imports import offer as _offer
from lamina.core import settings as _settings
from lamina.core.config import Constructed as _Constructed
from lamina.core.config import names_of as _names_of
from lamina.core.config import resolver as _resolver
from lamina.core.config import serialize_keras_object as _serialize_keras_object
from lamina.core.tracebacks import boundary as _boundary


class Regularizer(_Constructed):
    """A callable that gives the penalty for an array.

    Subclasses write `__call__(x)` and `get_config`.

    >>> import lamina
    >>> class Largest(lamina.regularizers.Regularizer):
    ...     def __call__(self, x):
    ...         return lamina.ops.max(x)
    >>> float(Largest()(lamina.ops.ones((2,))))
    1.0
    """

    _abstract, _reads_signatures = True, False

    def __call__(self, x):
        """Return the penalty for an array."""
        return 0.0


def _factor(owner, name, value):
    ok = isinstance(value, _numbers.Real) and not isinstance(value, bool)
    if not ok or not _math.isfinite(value) or value < 0:
        raise ValueError(
            f"`{owner}` expected `{name}` to be a finite non-negative number. "
            f"Received: {name}={value!r}"
        )
    return float(value)


def _single(value):
    # Keras keeps this factor as a float32 tensor, and so it stands in its configs.
    return float(_np.float32(value))


class L1L2(Regularizer):
    r"""The penalty $l_1 \sum |x| + l_2 \sum x^2$.

    Args:
        l1: the factor of the magnitudes.
        l2: the factor of the squares.

    Raises:
        ValueError: a factor is negative or not finite.

    >>> import lamina
    >>> float(lamina.regularizers.L1L2(0.5, 2.0)(lamina.ops.ones((4,))))
    10.0
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1 = _factor("L1L2", "l1", 0.0 if l1 is None else l1)
        self.l2 = _factor("L1L2", "l2", 0.0 if l2 is None else l2)

    def __call__(self, x):
        """Return the penalty for an array."""
        x = _jnp.asarray(x)
        penalty = _jnp.asarray(0.0, x.dtype)
        if self.l1:
            penalty += self.l1 * _jnp.sum(_jnp.abs(x))
        if self.l2:
            penalty += self.l2 * _jnp.sum(_jnp.square(x))
        return penalty


class L1(Regularizer):
    r"""The penalty $l_1 \sum |x|$.

    Args:
        l1: the factor.

    Raises:
        ValueError: the factor is negative or not finite.

    >>> import lamina
    >>> float(lamina.regularizers.L1(0.5)(lamina.ops.ones((4,))))
    2.0
    """

    def __init__(self, l1: float = 0.01):
        self.l1 = _single(_factor("L1", "l1", 0.01 if l1 is None else l1))

    def __call__(self, x):
        """Return the penalty for an array."""
        return self.l1 * _jnp.sum(_jnp.abs(_jnp.asarray(x)))


class L2(Regularizer):
    r"""The penalty $l_2 \sum x^2$.

    Args:
        l2: the factor.

    Raises:
        ValueError: the factor is negative or not finite.

    >>> import lamina
    >>> float(lamina.regularizers.L2(0.5)(lamina.ops.ones((4,))))
    2.0
    """

    def __init__(self, l2: float = 0.01):
        self.l2 = _factor("L2", "l2", 0.01 if l2 is None else l2)

    def __call__(self, x):
        """Return the penalty for an array."""
        return self.l2 * _jnp.sum(_jnp.square(_jnp.asarray(x)))


class OrthogonalRegularizer(Regularizer):
    r"""Push the rows (or columns) of a matrix to be orthogonal.

    With $u_i$ the rows scaled to length one, the penalty is `factor` times the mean
    of $|u_i \cdot u_j|$ over the pairs.

    Args:
        factor: the factor.
        mode: `"rows"` or `"columns"`.

    Raises:
        ValueError: a bad factor or mode, or called on other than a matrix.

    >>> import lamina
    >>> float(lamina.regularizers.OrthogonalRegularizer(0.5)(lamina.ops.ones((3, 2))))
    0.5
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        self.factor = _single(_factor("OrthogonalRegularizer", "factor", factor))
        if mode not in ("rows", "columns"):
            wanted = '{"rows", "columns"}'
            raise ValueError(
                f"Invalid value for argument `mode`. Expected one of {wanted}. "
                f"Received: mode={mode}"
            )
        self.mode = mode

    def __call__(self, inputs):
        """Return the penalty for an array."""
        x = _jnp.asarray(inputs)
        if x.ndim != 2:
            raise ValueError(
                "Inputs to OrthogonalRegularizer must have rank 2. "
                f"Received: inputs.shape={x.shape}"
            )
        if self.mode == "columns":
            x = x.T
        squares = _jnp.sum(_jnp.square(x), axis=1, keepdims=True)
        unit = x / _jnp.sqrt(_jnp.maximum(squares, _settings.epsilon() ** 2))
        size = x.shape[0]
        products = unit @ unit.T * (1.0 - _jnp.eye(size, dtype=x.dtype))
        pairs = size * (size - 1.0) / 2.0
        return self.factor * 0.5 * _jnp.sum(_jnp.abs(products)) / pairs


l1 = L1
l1_l2 = L1L2
l2 = L2
orthogonal_regularizer = OrthogonalRegularizer

_CLASSES = (L1, L1L2, L2, OrthogonalRegularizer, Regularizer)
_TABLE = {"l1_l2": L1L2} | _names_of({cls.__name__: cls for cls in _CLASSES})

_EXAMPLE = {"class_name": "L2", "config": {"l2": 0.5}}
get, deserialize = _resolver("regularizer", lambda: _TABLE, Regularizer, _EXAMPLE)


@_boundary
def serialize(regularizer):
    """Return the config of a regularizer.

    >>> import lamina
    >>> lamina.regularizers.serialize(lamina.regularizers.L2(0.5))["config"]
    {'l2': 0.5}
    """
    return _serialize_keras_object(regularizer)


_offer(globals())
