"""Right and wrong answers counted at thresholds, and the rates made from them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.types import DType
from lamina.core.variable import Variable
from lamina.losses.loss import as_array, divide_no_nan, same_shape, weights_for
from lamina.metrics.metric import Metric, zeros

CELLS = ("true_positives", "false_positives", "true_negatives", "false_negatives")
# Below every score, so that what is not among the top k counts as "no".
NEVER = -1e10


def thresholds_of(thresholds, default=0.5) -> list:
    """Return thresholds as a list.

    Raises:
        ValueError: one of them is not between 0 and 1.
    """
    if thresholds is None:
        return [default]
    found = list(thresholds) if isinstance(thresholds, (list, tuple)) else [thresholds]
    wrong = [t for t in found if t is None or t < 0 or t > 1]
    if wrong:
        raise ValueError(f"Threshold values must be in [0, 1]. Received: {wrong}")
    return found


def evenly_spaced(thresholds) -> bool:
    """Tell whether thresholds go from 0 to 1 in even steps, at least two of them."""
    even = np.linspace(0, 1, len(thresholds), dtype=np.float32)
    return len(even) > 2 and np.allclose(thresholds, even, atol=settings.epsilon())


def count(
    cells,
    y_true,
    y_pred,
    thresholds,
    dtype,
    even=False,
    sample_weight=None,
    top_k=None,
    class_id=None,
    per_label=False,
    label_weights=None,
) -> dict:
    """Count a batch's right and wrong answers at every threshold.

    A prediction above the threshold says "yes". At even thresholds each prediction
    falls into a bucket, and sums over buckets give all counts at once.

    Args:
        cells: which to count, of `CELLS`.
        y_true: 0 or 1, shape `(n,)` or `(n, labels)`.
        y_pred: predictions between 0 and 1, of the same shape.
        thresholds: the thresholds, in rising order.
        dtype: the dtype of the counts.
        even: whether the thresholds are evenly spaced from 0 to 1.
        sample_weight: weights of the samples.
        top_k: how many of the largest predictions of a sample may say "yes".
        class_id: the only class to look at.
        per_label: whether to count each label by itself.
        label_weights: weights of the labels.

    Returns:
        A dict from `cells` to counts, of shape `(thresholds,)` or
        `(thresholds, labels)`.
    """
    y_true, y_pred = same_shape(as_array(y_true, dtype), as_array(y_pred, dtype))
    if top_k is not None:
        y_pred = _only_top(y_pred, top_k)
    if class_id is not None:
        if y_pred.ndim == 1:
            raise ValueError(
                "When class_id is provided, y_pred must be a 2D array with shape "
                f"(num_samples, num_classes), found shape: {y_pred.shape}"
            )
        y_true, y_pred = (y[..., class_id, None] for y in (y_true, y_pred))
    weights = jnp.ones((), y_pred.dtype)
    if label_weights is not None:
        weights = as_array(label_weights, dtype)
    if sample_weight is not None:
        given = as_array(sample_weight, dtype)
        weights = weights * weights_for(y_true.shape, given)
    weights = jnp.broadcast_to(weights, y_pred.shape)
    if not per_label:
        y_true, y_pred, weights = (x.reshape(-1, 1) for x in (y_true, y_pred, weights))
    positive = jnp.where(y_true != 0, weights, 0)
    negative = jnp.where(y_true != 0, 0, weights)
    by = _by_bucket if even else _by_comparison
    counts = by(cells, positive, negative, y_pred, thresholds)
    return {k: counts[k] if per_label else counts[k][:, 0] for k in cells}


def _by_comparison(cells, positive, negative, y_pred, thresholds):
    yes = y_pred > jnp.asarray(thresholds, y_pred.dtype)[:, None, None]
    parts = {
        "true_positives": (yes, positive),
        "false_positives": (yes, negative),
        "true_negatives": (~yes, negative),
        "false_negatives": (~yes, positive),
    }
    return {k: jnp.sum(jnp.where(*parts[k], 0), axis=1) for k in cells}


def _by_bucket(cells, positive, negative, y_pred, thresholds):
    number, labels = len(thresholds), y_pred.shape[1]
    bucket = jnp.ceil(jnp.clip(y_pred, 0, 1) * (number - 1)) - 1
    if thresholds[0] < 0 or thresholds[-1] > 1:
        bucket = jnp.maximum(bucket, 0)
    # A prediction of exactly 0 is above no threshold: the index past the end.
    bucket = jnp.where(bucket < 0, number, bucket).astype(jnp.int32)
    both = jnp.stack([positive, negative], axis=-1)
    sums = jnp.zeros((number, labels, 2), both.dtype)
    sums = sums.at[bucket, jnp.arange(labels)].add(both, mode="drop")
    sums = jax.lax.cumsum(sums, axis=0, reverse=True)
    counts = {"true_positives": sums[..., 0], "false_positives": sums[..., 1]}
    counts["true_negatives"] = jnp.sum(negative, axis=0) - sums[..., 1]
    counts["false_negatives"] = jnp.sum(positive, axis=0) - sums[..., 0]
    return counts


def _only_top(x, k):
    _, chosen = jax.lax.top_k(x, k)
    places = jax.lax.broadcasted_iota(
        chosen.dtype, (*chosen.shape, x.shape[-1]), x.ndim
    )
    return jnp.where(jnp.any(places == chosen[..., None], axis=-2), x, NEVER)


class Counts(Metric):
    """What all metrics over counts share: thresholds, and the counts as Variables."""

    _saved_from = {"thresholds": "init_thresholds"}
    init_thresholds = None  # as they were given

    def count_at(self, thresholds, cells, even=None):
        """Make the Variables; `cells` maps each cell to the name of its own."""
        self.thresholds = thresholds
        self._even = evenly_spaced(thresholds) if even is None else even
        self._cells = {}
        for cell, name in cells.items():
            variable = self.add_variable((len(thresholds),), zeros, name=name)
            setattr(self, name, variable)
            self._cells[cell] = variable

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch."""
        at = self.thresholds, self.variables[0].dtype, self._even, sample_weight
        rows = getattr(self, "top_k", None), getattr(self, "class_id", None)
        counts = count(self._cells, y_true, y_pred, *at, *rows)
        for cell, variable in self._cells.items():
            variable.assign_add(counts[cell])

    def rate(self, right, wrong):
        """Return the share of one cell in two."""
        right, wrong = getattr(self, right).value, getattr(self, wrong).value
        return divide_no_nan(right, right + wrong)

    def _single(self, values):
        return values[0] if len(self.thresholds) == 1 else values


def by_name(*cells):
    """Return cells whose Variables are called as they are."""
    return dict(zip(cells, cells, strict=True))


class _OneCount(Counts):
    _cell = ""
    accumulator: Variable

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        name: str | None = None,
        dtype: DType = None,
    ):
        super().__init__(dtype, name)
        self.init_thresholds = thresholds
        self.count_at(thresholds_of(thresholds), {self._cell: "accumulator"})

    def result(self):
        """Return the count, or one for each threshold."""
        return self._single(self.accumulator.value)


class TruePositives(_OneCount):
    """How many ones were predicted as ones.

    Args:
        thresholds: a number in [0, 1], or several; 0.5 when None.
        name: its name.
        dtype: the dtype to compute in.

    >>> import lamina
    >>> float(lamina.metrics.TruePositives()([0, 1, 1], [0.9, 0.9, 0.1]))
    1.0
    """

    _cell = "true_positives"


class FalsePositives(_OneCount):
    """How many zeros were predicted as ones; see `TruePositives`.

    >>> import lamina
    >>> float(lamina.metrics.FalsePositives()([1, 1, 0, 1], [0.9, 0.2, 0.8, 0.1]))
    1.0
    """

    _cell = "false_positives"


class TrueNegatives(_OneCount):
    """How many zeros were predicted as zeros; see `TruePositives`.

    >>> import lamina
    >>> float(lamina.metrics.TrueNegatives()([1, 0, 0, 0], [0.9, 0.2, 0.8, 0.1]))
    2.0
    """

    _cell = "true_negatives"


class FalseNegatives(_OneCount):
    """How many ones were predicted as zeros; see `TruePositives`.

    >>> import lamina
    >>> float(lamina.metrics.FalseNegatives()([1, 1, 0, 1], [0.9, 0.2, 0.8, 0.1]))
    2.0
    """

    _cell = "false_negatives"


class _ShareOfRight(Counts):
    """The right ones among these and what `_cell` counts."""

    _direction = "up"
    _cell = ""

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DType = None,
    ):
        super().__init__(dtype, name)
        self.init_thresholds, self.top_k, self.class_id = thresholds, top_k, class_id
        default = 0.5 if top_k is None else NEVER
        cells = by_name("true_positives", self._cell)
        self.count_at(thresholds_of(thresholds, default), cells)

    def result(self):
        """Return the share, or one for each threshold."""
        return self._single(self.rate("true_positives", self._cell))


class Precision(_ShareOfRight):
    """The share of right ones among the predicted ones.

    Args:
        thresholds: a number in [0, 1], or several; 0.5 when None.
        top_k: how many of the largest predictions of a sample may count as ones.
        class_id: the only class to look at.
        name: its name.
        dtype: the dtype to compute in.

    Raises:
        ValueError: a threshold outside [0, 1].

    >>> import lamina
    >>> float(lamina.metrics.Precision()([0, 1, 1, 1], [1, 0, 1, 1]))
    0.6666667
    """

    _cell = "false_positives"


class Recall(_ShareOfRight):
    """The share of ones that were predicted as ones; arguments as in `Precision`.

    >>> import lamina
    >>> float(lamina.metrics.Recall()([0, 1, 1, 1], [1, 0, 1, 1]))
    0.6666667
    """

    _cell = "false_negatives"
