"""Means of the losses, as metrics."""

import jax.numpy as jnp

from lamina import losses
from lamina.core.arguments import given
from lamina.core.types import DType
from lamina.losses.loss import as_array, pair
from lamina.losses.regression import likeness
from lamina.metrics.reduction import Mean, MeanMetricWrapper


class MeanSquaredError(MeanMetricWrapper):
    """The mean squared error.

    >>> import lamina
    >>> float(lamina.metrics.MeanSquaredError()([[0.0], [0.0]], [[1.0], [3.0]]))
    5.0
    """

    def __init__(self, name: str | None = "mean_squared_error", dtype: DType = None):
        super().__init__(losses.mean_squared_error, name, dtype)


class RootMeanSquaredError(Mean):
    """The square root of the mean squared error.

    >>> import lamina
    >>> float(lamina.metrics.RootMeanSquaredError()([0.0, 0.0], [3.0, 3.0]))
    3.0
    """

    _direction = "down"

    def __init__(
        self, name: str | None = "root_mean_squared_error", dtype: DType = None
    ):
        super().__init__(name, dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take in the squared errors of a batch."""
        y_true, y_pred = pair(y_true, as_array(y_pred, self.dtype))
        super().update_state(jnp.square(y_pred - y_true), sample_weight)

    def result(self):
        """Return the root of their mean."""
        return jnp.sqrt(super().result())


class MeanAbsoluteError(MeanMetricWrapper):
    """The mean absolute error."""

    def __init__(self, name: str | None = "mean_absolute_error", dtype: DType = None):
        super().__init__(losses.mean_absolute_error, name, dtype)


class MeanAbsolutePercentageError(MeanMetricWrapper):
    """The mean error in per cent of the true value."""

    def __init__(
        self, name: str | None = "mean_absolute_percentage_error", dtype: DType = None
    ):
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


class MeanSquaredLogarithmicError(MeanMetricWrapper):
    """The mean squared error of `log(1 + y)`."""

    def __init__(
        self, name: str | None = "mean_squared_logarithmic_error", dtype: DType = None
    ):
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


class LogCoshError(MeanMetricWrapper):
    """The mean of the error's `log(cosh(e))`."""

    def __init__(self, name: str | None = "logcosh", dtype: DType = None):
        super().__init__(losses.log_cosh, name, dtype)


class CosineSimilarity(MeanMetricWrapper):
    """The mean cosine of the angle between targets and predictions; 1 is best.

    >>> import lamina
    >>> float(lamina.metrics.CosineSimilarity()([[3.0, 4.0]], [[6.0, 8.0]]))
    1.0
    """

    _direction = "up"
    _saved_if_changed = ("axis",)

    def __init__(
        self,
        name: str | None = "cosine_similarity",
        dtype: DType = None,
        axis: int = -1,
    ):
        super().__init__(likeness, **given(locals()))


class Poisson(MeanMetricWrapper):
    """The mean of the Poisson loss."""

    def __init__(self, name: str | None = "poisson", dtype: DType = None):
        super().__init__(losses.poisson, name, dtype)


class KLDivergence(MeanMetricWrapper):
    """The mean Kullback-Leibler divergence."""

    def __init__(self, name: str | None = "kl_divergence", dtype: DType = None):
        super().__init__(losses.kl_divergence, name, dtype)


class BinaryCrossentropy(MeanMetricWrapper):
    """The mean cross-entropy of yes-or-no answers."""

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: DType = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ):
        super().__init__(losses.binary_crossentropy, **given(locals()))


class CategoricalCrossentropy(MeanMetricWrapper):
    """The mean cross-entropy of one-hot targets."""

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: DType = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ):
        super().__init__(losses.categorical_crossentropy, **given(locals()))


class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """The mean cross-entropy of integer labels."""

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: DType = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        super().__init__(losses.sparse_categorical_crossentropy, **given(locals()))


class Hinge(MeanMetricWrapper):
    """The mean shortfall from a margin of 1."""

    def __init__(self, name: str | None = "hinge", dtype: DType = None):
        super().__init__(losses.hinge, name, dtype)


class SquaredHinge(MeanMetricWrapper):
    """The mean squared shortfall from a margin of 1."""

    def __init__(self, name: str | None = "squared_hinge", dtype: DType = None):
        super().__init__(losses.squared_hinge, name, dtype)


class CategoricalHinge(MeanMetricWrapper):
    """The mean shortfall of the right class' lead over the best other."""

    def __init__(self, name: str | None = "categorical_hinge", dtype: DType = None):
        super().__init__(losses.categorical_hinge, name, dtype)
