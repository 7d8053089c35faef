"""The share of the variance that predictions explain."""

import jax.numpy as jnp

from lamina.core.types import DType
from lamina.losses.loss import as_array, pair, weights_for
from lamina.metrics.metric import Metric, zeros


class R2Score(Metric):
    """The coefficient of determination: 1 is perfect, 0 as good as the mean.

    `1 - sum (y_true - y_pred)^2 / sum (y_true - mean)^2` for each output.

    Args:
        class_aggregation: `"uniform_average"` for the mean over outputs,
            `"variance_weighted_average"`, or None for each by itself.
        num_regressors: the number of predictors, for the adjusted score; 0 for the
            plain one, which also holds while there are too few samples.
        name: its name.
        dtype: the dtype to compute in.

    Raises:
        ValueError: an argument that is none of these, or inputs that are not 2D.

    >>> import lamina
    >>> metric = lamina.metrics.R2Score()
    >>> float(metric([[1.0], [2.0], [3.0]], [[1.0], [2.0], [4.0]]))
    0.5
    """

    _direction = "up"

    def __init__(
        self,
        class_aggregation: str = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: DType = None,
    ):
        super().__init__(dtype, name)
        known = (None, "uniform_average", "variance_weighted_average")
        if class_aggregation not in known:
            raise ValueError(
                "Invalid value for argument `class_aggregation`. Expected one of "
                f"{known}. Received: class_aggregation={class_aggregation}"
            )
        if num_regressors < 0:
            raise ValueError(
                "Invalid value for argument `num_regressors`. Expected a value >= 0. "
                f"Received: num_regressors={num_regressors}"
            )
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self.num_samples = self.add_variable((), zeros, name="num_samples")
        self._built = False

    def _build(self, true_shape, pred_shape):
        if len(true_shape) != 2 or len(pred_shape) != 2:
            raise ValueError(
                "R2Score expects 2D inputs with shape (batch_size, output_dim). "
                f"Received input shapes: y_pred.shape={pred_shape} and "
                f"y_true.shape={true_shape}."
            )
        shape = pred_shape[1:]
        self.squared_sum = self.add_variable(shape, zeros, name="squared_sum")
        self.sum = self.add_variable(shape, zeros, name="sum")
        self.total_mse = self.add_variable(shape, zeros, name="residual")
        self.count = self.add_variable(shape, zeros, name="count")
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take in a batch."""
        y_pred = as_array(y_pred, self.dtype)
        y_true, y_pred = pair(y_true, y_pred)
        if not self._built:
            self._build(y_true.shape, y_pred.shape)
        weights = jnp.ones((), y_true.dtype)
        if sample_weight is not None:
            weights = as_array(sample_weight, self.dtype)
        weights = weights_for(y_true.shape, weights)
        weighted = y_true * weights
        self.sum.assign_add(jnp.sum(weighted, axis=0))
        self.squared_sum.assign_add(jnp.sum(y_true * weighted, axis=0))
        squared = jnp.square(y_true - y_pred)
        self.total_mse.assign_add(jnp.sum(squared * weights, axis=0))
        self.count.assign_add(jnp.sum(weights, axis=0))
        self.num_samples.assign_add(jnp.sum(jnp.any(weights != 0, axis=-1)))

    def result(self):
        """Return the score, or one for each output."""
        total = self.squared_sum.value - self.sum.value**2 / self.count.value
        # Outputs of one value only: perfect if hit, else as good as their mean.
        constant = total == 0
        hit = (self.total_mse.value == 0).astype(total.dtype)
        score = 1 - self.total_mse.value / jnp.where(constant, 1, total)
        score = jnp.where(constant, hit, score)
        if self.class_aggregation == "uniform_average":
            score = jnp.mean(score)
        elif self.class_aggregation is not None:
            shares = jnp.where(jnp.all(constant), 1, total)
            score = jnp.sum(shares * score) / jnp.sum(shares)
        if self.num_regressors == 0:
            return score
        samples = self.num_samples.value
        free = samples - self.num_regressors - 1
        few = free <= 0
        adjusted = 1 - (1 - score) * (samples - 1) / jnp.where(few, 1, free)
        return jnp.where(few, score, adjusted)
