"""The area under a curve of rates over all thresholds."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.budget import listed
from lamina.core.types import DType
from lamina.losses.loss import as_array, divide_no_nan, widened
from lamina.metrics.confusion import CELLS, count, evenly_spaced
from lamina.metrics.metric import Metric, zeros


class AUC(Metric):
    """The area under the ROC curve, or under the curve of precision over recall.

    The curve is sampled at thresholds; more of them come nearer to the true area.

    Args:
        num_thresholds: how many thresholds, evenly spaced, at least 2.
        curve: `"ROC"` (true over false positive rate), `"PR"` (precision over
            recall) or `"PRGAIN"` (the same, corrected for the share of ones).
        summation_method: `"interpolation"`, `"minoring"` (from below) or
            `"majoring"` (from above).
        name: its name.
        dtype: the dtype to compute in.
        thresholds: thresholds between 0 and 1, in place of even ones.
        multi_label: whether each column is a label with a curve of its own, and the
            result the mean of their areas.
        num_labels: the number of labels; None reads it from the first batch.
        label_weights: weights of the labels.
        from_logits: whether predictions are logits.

    Raises:
        ValueError: an unknown curve or method, or fewer than two thresholds.

    >>> import lamina
    >>> float(lamina.metrics.AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9]))
    0.75
    """

    _direction = "up"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: DType = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ):
        if str(curve).upper() not in ("ROC", "PR", "PRGAIN"):
            raise ValueError(
                f'Invalid AUC curve value: "{curve}". Expected "ROC", "PR" or "PRGAIN".'
            )
        methods = ("interpolation", "majoring", "minoring")
        if str(summation_method).lower() not in methods:
            raise ValueError(
                f'Invalid AUC summation method value: "{summation_method}". Expected '
                f"one of {methods}."
            )
        if thresholds is None and num_thresholds <= 1:
            raise ValueError(
                "Argument `num_thresholds` must be an integer > 1. "
                f"Received: num_thresholds={num_thresholds}"
            )
        if num_labels and not multi_label:
            raise ValueError(
                "`num_labels` is needed only when `multi_label` is True. "
                f"Received: num_labels={num_labels}"
            )
        super().__init__(dtype, name)
        self.curve = str(curve).upper()
        self.summation_method = str(summation_method).lower()
        self._given = None if thresholds is None else sorted(thresholds)
        listed(num_thresholds)
        inner = np.linspace(0, 1, num_thresholds)[1:-1].tolist()
        self._even = self._given is None or evenly_spaced([0.0, *self._given, 1.0])
        inner = inner if self._given is None else self._given
        beyond = settings.epsilon()
        self._thresholds = np.array([-beyond, *inner, 1.0 + beyond])
        self.num_thresholds = len(self._thresholds)
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.label_weights = label_weights
        self.from_logits = from_logits
        self._built = False
        if not multi_label or num_labels:
            self._build((None, num_labels))

    @property
    def thresholds(self) -> list:
        """The thresholds, with one below 0 and one above 1."""
        return list(self._thresholds)

    def _build(self, shape):
        if self.multi_label and len(shape) != 2:
            raise ValueError(
                "`AUC` with `multi_label=True` expected `y_pred` of shape (batch, "
                f"labels). Received: y_pred.shape={tuple(shape)}"
            )
        labels = (shape[1],) if self.multi_label else ()
        for cell in CELLS:
            variable = self.add_variable(
                (self.num_thresholds, *labels), zeros, name=cell
            )
            setattr(self, cell, variable)
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch at every threshold."""
        y_pred = widened(as_array(y_pred))
        if not self._built:
            self._build(y_pred.shape)
        if self.from_logits:
            y_pred = jax.nn.sigmoid(y_pred)
        at = self._thresholds, self.variables[0].dtype, self._even, sample_weight
        weights = None if self.multi_label else self.label_weights
        several = {"per_label": self.multi_label, "label_weights": weights}
        counts = count(CELLS, y_true, y_pred, *at, **several)
        for cell in CELLS:
            getattr(self, cell).assign_add(counts[cell])

    def result(self):
        """Return the area."""
        interpolates = self.summation_method == "interpolation"
        if self.curve == "PR" and interpolates:
            return self.interpolate_pr_auc()
        x, y = self._points()
        if interpolates:
            heights = (y[:-1] + y[1:]) / 2.0
        elif self.summation_method == "minoring":
            heights = jnp.minimum(y[:-1], y[1:])
        else:
            heights = jnp.maximum(y[:-1], y[1:])
        return self._area((x[:-1] - x[1:]) * heights)

    def _points(self):
        tp, fp, tn, fn = (getattr(self, cell).value for cell in CELLS)
        recall = divide_no_nan(tp, tp + fn)
        if self.curve == "ROC":
            return divide_no_nan(fp, fp + tn), recall
        if self.curve == "PR":
            return recall, divide_no_nan(tp, tp + fp)
        odds = divide_no_nan(tp + fn, tn + fp)
        recall_gain = jnp.where(tp == 0, 0.0, 1.0 - odds * divide_no_nan(fn, tp))
        precision_gain = jnp.where(tp == 0, 1.0, 1.0 - odds * divide_no_nan(fp, tp))
        return jnp.maximum(recall_gain, 0.0), precision_gain

    def _area(self, parts):
        if not self.multi_label:
            return jnp.sum(parts)
        areas = jnp.sum(parts, axis=0)
        if self.label_weights is None:
            return jnp.mean(areas)
        weights = as_array(self.label_weights, areas.dtype)
        return divide_no_nan(jnp.sum(areas * weights), jnp.sum(weights))

    def interpolate_pr_auc(self):
        """Return the area under the curve of precision over recall.

        Between two thresholds true and false positives grow in a straight line, and
        precision does not (Davis and Goadrich, 2006): with `P = tp + fp` the area of
        a piece is the integral of `slope + intercept / P` over the true positives.
        """
        tp, fp, _, fn = (getattr(self, cell).value for cell in CELLS)
        predicted = tp + fp
        gain = tp[:-1] - tp[1:]
        slope = divide_no_nan(gain, jnp.maximum(predicted[:-1] - predicted[1:], 0))
        intercept = tp[1:] - slope * predicted[1:]
        both = (predicted[:-1] > 0) & (predicted[1:] > 0)
        ratio = divide_no_nan(predicted[:-1], jnp.maximum(predicted[1:], 0))
        ratio = jnp.where(both, ratio, 1.0)
        pieces = slope * (gain + intercept * jnp.log(ratio))
        return self._area(divide_no_nan(pieces, jnp.maximum(tp[1:] + fn[1:], 0)))

    def get_config(self):
        """Return the constructor's arguments, ready to be saved."""
        config = super().get_config()
        config.pop("thresholds")
        if self._given is not None:
            config["thresholds"] = self._given
        return config
