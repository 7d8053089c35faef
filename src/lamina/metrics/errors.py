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
    """The mean absolute error.

    >>> import lamina
    >>> float(lamina.metrics.MeanAbsoluteError()([[0.0], [0.0]], [[1.0], [-3.0]]))
    2.0
    """

    def __init__(self, name: str | None = "mean_absolute_error", dtype: DType = None):
        super().__init__(losses.mean_absolute_error, name, dtype)


class MeanAbsolutePercentageError(MeanMetricWrapper):
    """The mean error in per cent of the true value.

    >>> import lamina
    >>> float(lamina.metrics.MeanAbsolutePercentageError()([[10.0]], [[8.0]]))
    20.0
    """

    def __init__(
        self, name: str | None = "mean_absolute_percentage_error", dtype: DType = None
    ):
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


class MeanSquaredLogarithmicError(MeanMetricWrapper):
    """The mean squared error of `log(1 + y)`.

    >>> import lamina
    >>> metric = lamina.metrics.MeanSquaredLogarithmicError()
    >>> float(metric([[0.0]], [[1.71828]]))
    1.0
    """

    def __init__(
        self, name: str | None = "mean_squared_logarithmic_error", dtype: DType = None
    ):
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


class LogCoshError(MeanMetricWrapper):
    """The mean of the error's `log(cosh(e))`.

    >>> import lamina
    >>> float(lamina.metrics.LogCoshError()([[0.0], [0.0]], [[1.0], [-1.0]]))
    0.4338
    """

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
    """The mean of the Poisson loss.

    >>> import lamina
    >>> float(lamina.metrics.Poisson()([[2.0]], [[1.0]]))
    1.0
    """

    def __init__(self, name: str | None = "poisson", dtype: DType = None):
        super().__init__(losses.poisson, name, dtype)


class KLDivergence(MeanMetricWrapper):
    """The mean Kullback-Leibler divergence.

    >>> import lamina
    >>> float(lamina.metrics.KLDivergence()([[0.5, 0.5]], [[0.25, 0.75]]))
    0.1438
    """

    def __init__(self, name: str | None = "kl_divergence", dtype: DType = None):
        super().__init__(losses.kl_divergence, name, dtype)


class BinaryCrossentropy(MeanMetricWrapper):
    """The mean cross-entropy of yes-or-no answers.

    Args:
        name: its name.
        dtype: the dtype to compute in.
        from_logits: whether predictions are logits rather than probabilities.
        label_smoothing: how far targets are drawn towards 1/2, in [0, 1].

    >>> import lamina
    >>> float(lamina.metrics.BinaryCrossentropy()([[1.0], [0.0]], [[0.5], [0.5]]))
    0.6931
    """

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: DType = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ):
        super().__init__(losses.binary_crossentropy, **given(locals()))


class CategoricalCrossentropy(MeanMetricWrapper):
    """The mean cross-entropy of one-hot targets.

    Args:
        name: its name.
        dtype: the dtype to compute in.
        from_logits: whether predictions are logits rather than probabilities.
        label_smoothing: how far targets are drawn towards equal shares, in [0, 1].
        axis: the axis of the classes.

    >>> import lamina
    >>> metric = lamina.metrics.CategoricalCrossentropy()
    >>> float(metric([[0.0, 1.0]], [[0.5, 0.5]]))
    0.6931
    """

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
    """The mean cross-entropy of integer labels.

    Args:
        name: its name.
        dtype: the dtype to compute in.
        from_logits: whether predictions are logits rather than probabilities.
        ignore_class: a label whose samples cost 0. As in Keras they count in the mean
            all the same, unless there are sample weights.
        axis: the axis of the classes.

    >>> import lamina
    >>> metric = lamina.metrics.SparseCategoricalCrossentropy()
    >>> float(metric([1], [[0.5, 0.5]]))
    0.6931
    """

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
    """The mean shortfall from a margin of 1.

    >>> import lamina
    >>> float(lamina.metrics.Hinge()([[1.0, -1.0]], [[0.5, -3.0]]))
    0.25
    """

    def __init__(self, name: str | None = "hinge", dtype: DType = None):
        super().__init__(losses.hinge, name, dtype)


class SquaredHinge(MeanMetricWrapper):
    """The mean squared shortfall from a margin of 1.

    >>> import lamina
    >>> float(lamina.metrics.SquaredHinge()([[1.0, -1.0]], [[0.5, -3.0]]))
    0.125
    """

    def __init__(self, name: str | None = "squared_hinge", dtype: DType = None):
        super().__init__(losses.squared_hinge, name, dtype)


class CategoricalHinge(MeanMetricWrapper):
    """The mean shortfall of the right class' lead over the best other.

    >>> import lamina
    >>> metric = lamina.metrics.CategoricalHinge()
    >>> float(metric([[0.0, 1.0, 0.0]], [[0.2, 0.5, 0.3]]))
    0.8
    """

    def __init__(self, name: str | None = "categorical_hinge", dtype: DType = None):
        super().__init__(losses.categorical_hinge, name, dtype)
