"""F scores: precision and recall in one number."""

import jax.numpy as jnp

from lamina.core import settings
from lamina.core.types import DType
from lamina.losses.loss import as_array, weights_for
from lamina.metrics.metric import Metric, zeros

_PARTS = (
    "true_positives",
    "false_positives",
    "false_negatives",
    "intermediate_weights",
)


class FBetaScore(Metric):
    """The weighted harmonic mean of precision and recall.

    `(1 + beta^2) precision recall / (beta^2 precision + recall)`.

    Args:
        average: None for a score of each class, `"micro"` to count all classes
            together, `"macro"` for the mean over classes, `"weighted"` for the mean
            by the number of right ones.
        beta: how many times recall matters as much as precision, a float.
        threshold: what a prediction must exceed to count, a float in (0, 1]; None
            takes the largest of each sample.
        name: its name.
        dtype: the dtype to compute in.

    Raises:
        ValueError: an argument that is none of these, or inputs that are not 2D.

    >>> import lamina
    >>> metric = lamina.metrics.FBetaScore(average="micro", beta=2.0)
    >>> float(metric([[1.0, 0.0], [0.0, 1.0]], [[0.9, 0.1], [0.6, 0.4]]))
    0.5
    """

    _direction = "up"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: DType = None,
    ):
        super().__init__(dtype, name)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(
                "Invalid `average` argument value. Expected one of: {None, 'micro', "
                f"'macro', 'weighted'}}. Received: average={average}"
            )
        _check_float("beta", beta)
        if beta <= 0.0:
            raise ValueError(
                "Invalid `beta` argument value. It should be > 0. "
                f"Received: beta={beta}"
            )
        if threshold is not None:
            _check_float("threshold", threshold)
            if not 0.0 < threshold <= 1.0:
                raise ValueError(
                    "Invalid `threshold` argument value. It should verify "
                    f"0 < threshold <= 1. Received: threshold={threshold}"
                )
        self.average, self.beta, self.threshold = average, beta, threshold
        self._built = False

    def _build(self, true_shape, pred_shape):
        if len(true_shape) != 2 or len(pred_shape) != 2:
            raise ValueError(
                "FBetaScore expects 2D inputs with shape (batch_size, output_dim). "
                f"Received input shapes: y_pred.shape={pred_shape} and "
                f"y_true.shape={true_shape}."
            )
        shape = () if self.average == "micro" else pred_shape[1:]
        for part in _PARTS:
            setattr(self, part, self.add_variable(shape, zeros, self.dtype, name=part))
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch."""
        y_true, y_pred = as_array(y_true, self.dtype), as_array(y_pred, self.dtype)
        if not self._built:
            self._build(y_true.shape, y_pred.shape)
        if self.threshold is None:
            top = jnp.max(y_pred, axis=-1, keepdims=True)
            chosen = (y_pred >= top) & (jnp.abs(y_pred) > 1e-9)
        else:
            chosen = y_pred > self.threshold
        chosen = chosen.astype(y_pred.dtype)
        weights = jnp.ones((), y_pred.dtype)
        if sample_weight is not None:
            weights = weights_for(y_true.shape, as_array(sample_weight, self.dtype))
        parts = (chosen * y_true, chosen * (1 - y_true), (1 - chosen) * y_true, y_true)
        axis = None if self.average == "micro" else 0
        for name, part in zip(_PARTS, parts, strict=True):
            getattr(self, name).assign_add(jnp.sum(part * weights, axis=axis))

    def result(self):
        """Return the score, or one for each class."""
        small, square = settings.epsilon(), self.beta**2
        tp, fp, fn, ones = (getattr(self, part).value for part in _PARTS)
        precision, recall = tp / (tp + fp + small), tp / (tp + fn + small)
        score = (1 + square) * precision * recall
        score = score / (square * precision + recall + small)
        if self.average == "weighted":
            return jnp.sum(score * (ones / (jnp.sum(ones) + small)))
        return score if self.average is None else jnp.mean(score)


def _check_float(name, value):
    if not isinstance(value, float):
        raise ValueError(
            f"Invalid `{name}` argument value. It should be a Python float. "
            f"Received: {name}={value} of type '{type(value)}'"
        )


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall; `FBetaScore` with `beta=1`.

    >>> import lamina
    >>> metric = lamina.metrics.F1Score(threshold=0.5)
    >>> [float(x) for x in metric([[1.0, 0.0]], [[0.9, 0.6]])]
    [1.0, 0.0]
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: DType = None,
    ):
        super().__init__(average, 1.0, threshold, name, dtype)
