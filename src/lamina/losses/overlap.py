"""Losses for regions: how little two of them overlap."""

import jax.numpy as jnp

from lamina.core import settings
from lamina.core.arguments import given
from lamina.core.tracebacks import boundary
from lamina.core.types import Axes, DType
from lamina.losses.loss import LossFunctionWrapper, compares, pair


def _axis(axis):
    return tuple(axis) if isinstance(axis, list) else axis


@boundary
@compares("elements")
def dice(y_true, y_pred, axis=None):
    """Return `1 - 2 |A B| / (|A| + |B|)`, sums over `axis`.

    Args:
        y_true: the true region, 0 or 1.
        y_pred: the predicted one, probabilities, of the same shape.
        axis: the axes to sum over; None means all.

    >>> import lamina
    >>> float(lamina.losses.dice([1.0, 1.0], [1.0, 0.0]))
    0.3333333
    """
    y_true, y_pred = pair(y_true, y_pred)
    axis = _axis(axis)
    both = jnp.sum(y_true * y_pred, axis=axis)
    sizes = jnp.sum(y_true, axis=axis) + jnp.sum(y_pred, axis=axis)
    return 1 - 2.0 * both / (sizes + settings.epsilon())


@boundary
@compares("elements")
def tversky(y_true, y_pred, alpha=0.5, beta=0.5, axis=None):
    """Return `1 - |A B| / (|A B| + alpha |B - A| + beta |A - B|)`, sums over `axis`.

    `A` is the true region, `B` the predicted one; halves give the Dice loss
    (Salehi et al., 2017).

    Args:
        y_true: the true region, 0 or 1.
        y_pred: the predicted one, probabilities, of the same shape.
        alpha: the weight of what was wrongly found (false positives).
        beta: the weight of what was missed (false negatives).
        axis: the axes to sum over; None means all.

    >>> import lamina
    >>> float(lamina.losses.tversky([1.0, 1.0], [1.0, 0.0], beta=1.0))
    0.5
    """
    y_true, y_pred = pair(y_true, y_pred)
    axis = _axis(axis)
    both = jnp.sum(y_true * y_pred, axis=axis)
    missed = jnp.sum((1 - y_pred) * y_true, axis=axis)
    extra = jnp.sum(y_pred * (1 - y_true), axis=axis)
    return 1 - both / (both + alpha * extra + beta * missed + settings.epsilon())


class Dice(LossFunctionWrapper):
    """One minus the Dice coefficient of two regions; see `dice`.

    >>> import lamina
    >>> float(lamina.losses.Dice()([[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]))
    0.3333
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis: Axes | None = None,
        dtype: DType = None,
    ):
        super().__init__(dice, **given(locals()))


class Tversky(LossFunctionWrapper):
    """One minus the Tversky index of two regions; see `tversky`.

    >>> import lamina
    >>> loss = lamina.losses.Tversky(alpha=0.0, beta=1.0)
    >>> float(loss([[1.0, 1.0, 0.0]], [[1.0, 0.0, 1.0]]))
    0.5
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: Axes | None = None,
        dtype: DType = None,
    ):
        super().__init__(tversky, **given(locals()))
