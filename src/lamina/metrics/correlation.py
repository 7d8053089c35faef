"""How far predictions go up and down with the targets."""

import jax.numpy as jnp

from lamina.core import settings
from lamina.core.tracebacks import boundary
from lamina.core.types import Axes, DType
from lamina.losses.loss import pair
from lamina.metrics.reduction import MeanMetricWrapper


def _centred(x, axis):
    mean = jnp.mean(x, axis=axis, keepdims=True)
    return x - mean, mean


@boundary
def pearson_correlation(y_true, y_pred, axis=-1):
    """Return `cov(y_true, y_pred) / (std(y_true) std(y_pred))` along `axis`.

    >>> import lamina
    >>> float(lamina.metrics.pearson_correlation([0.0, 1.0, 2.0], [1.0, 3.0, 5.0]))
    1.0
    """
    true, pred = (_centred(y, axis)[0] for y in pair(y_true, y_pred))
    true, pred = (y / jnp.std(y, axis=axis, keepdims=True) for y in (true, pred))
    return jnp.mean(true * pred, axis=axis)


@boundary
def concordance_correlation(y_true, y_pred, axis=-1):
    """Return Lin's concordance coefficient along `axis`.

    It is `2 cov / (var(y_true) + var(y_pred) + (mean difference)^2)`: 1 only where
    predictions equal the targets (Lin, 1989).

    >>> import lamina
    >>> y = [0.0, 1.0, 2.0]
    >>> float(lamina.metrics.concordance_correlation(y, y))
    1.0
    """
    y_true, y_pred = pair(y_true, y_pred)
    (true, true_mean), (pred, pred_mean) = (
        _centred(y_true, axis),
        _centred(y_pred, axis),
    )
    spread = jnp.mean(jnp.square(true) + jnp.square(pred), axis=axis)
    apart = jnp.mean(jnp.square(true_mean - pred_mean), axis=axis)
    both = jnp.mean(true * pred, axis=axis)
    return 2 * both / (spread + apart + settings.epsilon())


class PearsonCorrelation(MeanMetricWrapper):
    """The mean Pearson correlation; see `pearson_correlation`.

    >>> import lamina
    >>> metric = lamina.metrics.PearsonCorrelation()
    >>> float(metric([[0.0, 1.0, 2.0]], [[1.0, 3.0, 5.0]]))
    1.0
    """

    _direction = "up"

    def __init__(
        self,
        name: str | None = "pearson_correlation",
        dtype: DType = None,
        axis: Axes = -1,
    ):
        super().__init__(pearson_correlation, name, dtype, axis=axis)


class ConcordanceCorrelation(MeanMetricWrapper):
    """The mean concordance coefficient; see `concordance_correlation`.

    >>> import lamina
    >>> metric = lamina.metrics.ConcordanceCorrelation()
    >>> float(metric([[0.0, 1.0, 2.0]], [[1.0, 3.0, 5.0]]))
    0.3636
    """

    _direction = "up"

    def __init__(
        self,
        name: str | None = "concordance_correlation",
        dtype: DType = None,
        axis: Axes = -1,
    ):
        super().__init__(concordance_correlation, name, dtype, axis=axis)
