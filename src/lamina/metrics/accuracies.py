"""How often the prediction is right."""

import jax.numpy as jnp

from lamina.core.arguments import given
from lamina.core.tracebacks import boundary
from lamina.core.types import DType
from lamina.losses.loss import as_array, as_float, same_shape, score_dtype
from lamina.metrics.reduction import MeanMetricWrapper


def _hits(right):
    return right.astype(score_dtype())


def accuracy(y_true, y_pred):
    """Return 1 where `y_pred` equals `y_true`, else 0."""
    y_pred = as_array(y_pred)
    y_true, y_pred = same_shape(as_array(y_true, y_pred.dtype), y_pred)
    return _hits(y_true == y_pred)


@boundary
def binary_accuracy(y_true, y_pred, threshold=0.5):
    """Return 1 where `y_pred > threshold` agrees with `y_true`, else 0.

    >>> import lamina
    >>> [float(x) for x in lamina.metrics.binary_accuracy([1.0, 0.0], [0.9, 0.6])]
    [1.0, 0.0]
    """
    y_true, y_pred = same_shape(as_array(y_true), as_array(y_pred))
    return _hits(y_true == (y_pred > threshold).astype(y_true.dtype))


@boundary
def categorical_accuracy(y_true, y_pred):
    """Return 1 where the largest of `y_pred` stands where that of `y_true` does.

    >>> import lamina
    >>> float(lamina.metrics.categorical_accuracy([0.0, 1.0], [0.3, 0.7]))
    1.0
    """
    y_true, y_pred = same_shape(as_array(y_true), as_array(y_pred))
    return _hits(jnp.argmax(y_true, axis=-1) == jnp.argmax(y_pred, axis=-1))


@boundary
def sparse_categorical_accuracy(y_true, y_pred):
    """Return 1 where the largest of `y_pred` stands at the label, else 0.

    >>> import lamina
    >>> float(lamina.metrics.sparse_categorical_accuracy(1, [0.3, 0.7]))
    1.0
    """
    y_pred, y_true = as_array(y_pred), as_array(y_true)
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    chosen = jnp.argmax(y_pred, axis=-1)
    y_true, chosen = same_shape(y_true, chosen)
    hits = _hits(y_true == chosen.astype(y_true.dtype))
    return hits[..., 0] if hits.ndim > 1 and hits.shape[-1] == 1 else hits


def _in_top(labels, scores, k):
    """Tell whether fewer than `k` scores are above the label's."""
    at = jnp.take_along_axis(scores, labels[..., None], axis=-1)
    above = jnp.sum(scores > at, axis=-1)
    return _hits((above < k) & ~jnp.isnan(at[..., 0]))


@boundary
def top_k_categorical_accuracy(y_true, y_pred, k=5):
    """Return 1 where the right class is among the `k` largest of `y_pred`, else 0.

    >>> import lamina
    >>> y_true, y_pred = [0.0, 1.0, 0.0], [0.5, 0.3, 0.2]
    >>> float(lamina.metrics.top_k_categorical_accuracy(y_true, y_pred, k=2))
    1.0
    """
    y_true, y_pred = same_shape(as_array(y_true), as_float(y_pred))
    return _in_top(jnp.argmax(y_true, axis=-1), y_pred, k)


@boundary
def sparse_top_k_categorical_accuracy(y_true, y_pred, k=5, from_sorted_ids=False):
    """Return 1 where the label is among the `k` largest of `y_pred`, else 0.

    With `from_sorted_ids`, `y_pred` holds classes, the most likely first.

    >>> import lamina
    >>> metric = lamina.metrics.sparse_top_k_categorical_accuracy
    >>> float(metric(1, [0.5, 0.3, 0.2], k=1))
    0.0
    """
    y_pred, y_true = as_array(y_pred), as_array(y_true)
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        hits = sparse_top_k_categorical_accuracy(
            y_true[..., 0], y_pred, k, from_sorted_ids
        )
        return hits[..., None]
    if from_sorted_ids:
        found = y_true[..., None] == y_pred[..., :k].astype(y_true.dtype)
        return _hits(jnp.any(found, axis=-1))
    return _in_top(y_true.astype(jnp.int32), as_float(y_pred), k)


class Accuracy(MeanMetricWrapper):
    """How often predictions equal the labels.

    >>> import lamina
    >>> float(lamina.metrics.Accuracy()([1, 2, 3, 4], [0, 2, 3, 4]))
    0.75
    """

    _direction = "up"

    def __init__(self, name: str | None = "accuracy", dtype: DType = None):
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """How often a probability falls on the right side of `threshold`.

    Args:
        name: its name.
        dtype: the dtype to compute in.
        threshold: a prediction above it says 1.

    Raises:
        ValueError: `threshold` is not between 0 and 1.

    >>> import lamina
    >>> metric = lamina.metrics.BinaryAccuracy(threshold=0.7)
    >>> float(metric([1, 1, 0, 0], [0.8, 0.6, 0.6, 0.2]))
    0.75
    """

    _direction = "up"

    def __init__(
        self,
        name: str | None = "binary_accuracy",
        dtype: DType = None,
        threshold: float = 0.5,
    ):
        if threshold is not None and not 0 < threshold < 1:
            raise ValueError(
                "`BinaryAccuracy` expected `threshold` to be between 0 and 1. "
                f"Received: threshold={threshold}"
            )
        super().__init__(binary_accuracy, **given(locals()))


class CategoricalAccuracy(MeanMetricWrapper):
    """How often the most likely class is the right one, for one-hot targets.

    >>> import lamina
    >>> metric = lamina.metrics.CategoricalAccuracy()
    >>> float(metric([[0, 1], [1, 0]], [[0.3, 0.7], [0.4, 0.6]]))
    0.5
    """

    _direction = "up"

    def __init__(self, name: str | None = "categorical_accuracy", dtype: DType = None):
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """How often the most likely class is the right one, for integer labels.

    >>> import lamina
    >>> metric = lamina.metrics.SparseCategoricalAccuracy()
    >>> float(metric([1, 0], [[0.3, 0.7], [0.4, 0.6]]))
    0.5
    """

    _direction = "up"

    def __init__(
        self, name: str | None = "sparse_categorical_accuracy", dtype: DType = None
    ):
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the right class is among the `k` likeliest, for one-hot targets.

    Args:
        k: how many to look at.
        name: its name.
        dtype: the dtype to compute in.

    >>> import lamina
    >>> metric = lamina.metrics.TopKCategoricalAccuracy(k=2)
    >>> float(metric([[0, 1, 0], [0, 0, 1]], [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]))
    0.5
    """

    _direction = "up"

    def __init__(
        self,
        k: int = 5,
        name: str | None = "top_k_categorical_accuracy",
        dtype: DType = None,
    ):
        super().__init__(top_k_categorical_accuracy, **given(locals()))


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the right class is among the `k` likeliest, for integer labels.

    Args:
        k: how many to look at.
        name: its name.
        dtype: the dtype to compute in.
        from_sorted_ids: whether predictions are classes, the likeliest first, and not
            a score for each class.

    >>> import lamina
    >>> metric = lamina.metrics.SparseTopKCategoricalAccuracy(k=2)
    >>> float(metric([1, 2], [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]))
    0.5
    """

    _direction = "up"
    _saved_if_changed = ("from_sorted_ids",)

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: DType = None,
        from_sorted_ids: bool = False,
    ):
        super().__init__(sparse_top_k_categorical_accuracy, **given(locals()))
