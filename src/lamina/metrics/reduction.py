"""Sums and means of what is given, weighted, and means of functions."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from lamina import losses
from lamina.core.config import (
    arguments_of,
    serialize_keras_object,
)
from lamina.core.constructor import parameters_of
from lamina.core.masks import get_mask
from lamina.core.tracebacks import warn
from lamina.core.types import DType
from lamina.losses.loss import (
    as_array,
    by_step,
    divide_no_nan,
    same_rank,
    weigh_by_mask,
    weights_for,
    widened,
)
from lamina.metrics.metric import Metric, zeros


def _per_sample(values, sample_weight, reduce, dtype):
    """Return weighted values and weights, one per sample; no weights give None."""
    mask = get_mask(values)
    values = as_array(values, dtype)
    weights = sample_weight
    if weights is not None:
        weights = weigh_by_mask(as_array(weights, dtype), mask, dtype)
        values, weights = same_rank(values, weights)
        values = _reduced(values, reduce, weights.ndim)
        weights = weights_for(values.shape, weights, "the metric's values,")
        values, weights = values * weights, _reduced(weights, reduce, 1)
    return _reduced(values, reduce, 1), weights


def _reduced(x, reduce, first):
    axes = tuple(range(first, x.ndim))
    return reduce(x, axis=axes) if axes else x


class Sum(Metric):
    """The weighted sum of all values.

    >>> import lamina
    >>> float(lamina.metrics.Sum()([1.0, 3.0], sample_weight=[1.0, 0.5]))
    2.5
    """

    def __init__(self, name: str | None = "sum", dtype: DType = None):
        super().__init__(dtype, name)
        self.total = self.add_variable((), zeros, self.dtype, name="total")

    def update_state(self, values, sample_weight=None):
        """Add values, weighted, to the sum."""
        values, _ = _per_sample(values, sample_weight, jnp.sum, self.dtype)
        self.total.assign_add(jnp.sum(values))

    def result(self):
        """Return the sum."""
        return self.total.value


class Mean(Metric):
    """The weighted mean of all values; 0 before the first.

    >>> import lamina
    >>> float(lamina.metrics.Mean()([1.0, 3.0], sample_weight=[3.0, 1.0]))
    1.5
    """

    def __init__(self, name: str | None = "mean", dtype: DType = None):
        super().__init__(dtype, name)
        self.total = self.add_variable((), zeros, self.dtype, name="total")
        self.count = self.add_variable((), zeros, self.dtype, name="count")

    def update_state(self, values, sample_weight=None):
        """Take in values, averaged over all axes but the first."""
        values, weights = _per_sample(values, sample_weight, jnp.mean, self.dtype)
        self.total.assign_add(jnp.sum(values))
        number = values.shape[0] if values.ndim else 1
        self.count.assign_add(number if weights is None else jnp.sum(weights))

    def result(self):
        """Return the mean."""
        return divide_no_nan(self.total.value, self.count.value)


class MeanMetricWrapper(Mean):
    """The mean of a function `(y_true, y_pred, **settings)` over all samples.

    Args:
        fn: the function; it gives one value per sample.
        name: its name.
        dtype: the dtype to compute in.
        **kwargs: settings that `fn` is called with.

    >>> import lamina
    >>> metric = lamina.metrics.MeanMetricWrapper(lamina.losses.huber, delta=2.0)
    >>> float(metric([[0.0]], [[5.0]]))
    8.0
    """

    def __init__(
        self, fn: Callable, name: str | None = None, dtype: DType = None, **kwargs
    ):
        super().__init__(name, dtype)
        self._fn = fn
        self._settings = kwargs
        vars(self).update(kwargs)
        named = getattr(losses, getattr(fn, "__name__", ""), None)
        if self._direction is None and (isinstance(fn, losses.Loss) or named is fn):
            self._direction = "down"

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take in the function's values for a batch; the mask of `y_pred` counts."""
        y_true, y_pred = widened(y_true), widened(y_pred)
        weights = weigh_by_mask(sample_weight, get_mask(y_pred), self.dtype)
        if isinstance(self._fn, losses.Loss):
            # It weighs and reduces by itself.
            super().update_state(self._fn(y_true, y_pred, weights))
            return
        y_true = by_step(self._fn, y_true, y_pred, weights)
        values = self._fn(y_true, y_pred, **self._settings)
        if weights is not None and np.ndim(values) == 0:
            warn(
                f"The function of the metric `{self.name}` gives one number for a "
                "batch, which no sample weight or mask can change. Return one value "
                "for each sample or time step, so that the padded ones do not count."
            )
            weights = None
        super().update_state(values, sample_weight=weights)

    def get_config(self):
        """Return the constructor's arguments, ready to be saved."""
        config = super().get_config()
        if "fn" in parameters_of(type(self)):
            settings = {"fn": self._fn, **self._settings}
            config.update({k: serialize_keras_object(v) for k, v in settings.items()})
        return config

    @classmethod
    def from_config(cls, config):
        """Make a metric from what `get_config` returned."""
        return cls(**(arguments_of(config, cls) if "fn" in config else config))
