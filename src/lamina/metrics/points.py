"""The best of one rate where another is high enough."""

import jax.numpy as jnp
import numpy as np

from lamina.core.budget import listed
from lamina.core.types import DType
from lamina.metrics.confusion import CELLS, Counts, by_name

_RATES = {
    "sensitivity": ("true_positives", "false_negatives"),
    "specificity": ("true_negatives", "false_positives"),
    "recall": ("true_positives", "false_negatives"),
    "precision": ("true_positives", "false_positives"),
}


class _BestPoint(Counts):
    """The best value of one rate over the thresholds where another is high enough."""

    _direction = "up"
    _best, _given = "", ""

    def _watch(self, least, num_thresholds, class_id):
        if least < 0 or least > 1:
            raise ValueError(
                f"Argument `{self._given}` must be in the range [0, 1]. "
                f"Received: {self._given}={least}"
            )
        if num_thresholds <= 0:
            raise ValueError(
                "Argument `num_thresholds` must be an integer > 0. "
                f"Received: num_thresholds={num_thresholds}"
            )
        setattr(self, self._given, least)
        self.num_thresholds, self.class_id = num_thresholds, class_id
        several = num_thresholds > 1
        listed(num_thresholds)
        levels = np.linspace(0, 1, num_thresholds).tolist() if several else [0.5]
        self.count_at(levels, by_name(*CELLS), even=several)

    def result(self):
        """Return the best value, or 0 if no threshold does."""
        best, given = self.rate(*_RATES[self._best]), self.rate(*_RATES[self._given])
        return jnp.max(jnp.where(given >= getattr(self, self._given), best, 0))


class SensitivityAtSpecificity(_BestPoint):
    """The best sensitivity where the specificity is at least a given one.

    Args:
        specificity: the least specificity, in [0, 1].
        num_thresholds: how many thresholds to try.
        class_id: the only class to look at.
        name: its name.
        dtype: the dtype to compute in.

    Raises:
        ValueError: `specificity` outside [0, 1], or no threshold.

    >>> import lamina
    >>> metric = lamina.metrics.SensitivityAtSpecificity(0.5)
    >>> float(metric([0, 0, 1, 1], [0.2, 0.6, 0.1, 0.8]))
    0.5
    """

    _best, _given = "sensitivity", "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DType = None,
    ):
        super().__init__(dtype, name)
        self._watch(specificity, num_thresholds, class_id)


class SpecificityAtSensitivity(_BestPoint):
    """The best specificity where the sensitivity is at least a given one.

    Arguments as in `SensitivityAtSpecificity`.

    >>> import lamina
    >>> metric = lamina.metrics.SpecificityAtSensitivity(0.5)
    >>> float(metric([0, 0, 1, 1], [0.2, 0.9, 0.1, 0.8]))
    0.5
    """

    _best, _given = "specificity", "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DType = None,
    ):
        super().__init__(dtype, name)
        self._watch(sensitivity, num_thresholds, class_id)


class PrecisionAtRecall(_BestPoint):
    """The best precision where the recall is at least a given one.

    Arguments as in `SensitivityAtSpecificity`.

    >>> import lamina
    >>> metric = lamina.metrics.PrecisionAtRecall(0.5)
    >>> float(metric([0, 0, 1, 1], [0.2, 0.6, 0.3, 0.8]))
    1.0
    """

    _best, _given = "precision", "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DType = None,
    ):
        super().__init__(dtype, name)
        self._watch(recall, num_thresholds, class_id)


class RecallAtPrecision(_BestPoint):
    """The best recall where the precision is at least a given one.

    Arguments as in `SensitivityAtSpecificity`.

    >>> import lamina
    >>> metric = lamina.metrics.RecallAtPrecision(1.0)
    >>> float(metric([0, 0, 1, 1], [0.2, 0.6, 0.3, 0.8]))
    0.5
    """

    _best, _given = "recall", "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DType = None,
    ):
        super().__init__(dtype, name)
        self._watch(precision, num_thresholds, class_id)
