"""Losses for probabilities: cross-entropies and the divergence.

Probabilities are kept `epsilon()` away from 0 and 1, so a model that ends in a
softmax or a sigmoid has no gradient beyond; `from_logits=True` has no such edge.
"""

import numbers
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.arguments import given
from lamina.core.checks import fraction
from lamina.core.masks import set_mask
from lamina.core.tracebacks import boundary, warn
from lamina.core.types import DType
from lamina.losses.loss import (
    Loss,
    LossFunctionWrapper,
    as_array,
    as_float,
    by_shape,
    compares,
    pair,
)


def _clipped(p):
    return jnp.clip(p, settings.epsilon(), 1.0 - settings.epsilon())


def _binary(y_true, p):
    p = _clipped(p)
    return -(y_true * jnp.log(p) + (1.0 - y_true) * jnp.log(1.0 - p))


@boundary
@compares("elements")
def binary_crossentropy(
    y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1
):
    """Return the mean of `-y log p - (1 - y) log(1 - p)` over `axis`.

    Args:
        y_true: 0 or 1, or a probability, shape `(..., n)`.
        y_pred: probabilities, or logits, of the same shape.
        from_logits: whether `y_pred` holds logits, `p = sigmoid(y_pred)`.
        label_smoothing: `s` turns the targets 0 and 1 into `s/2` and `1 - s/2`.
        axis: the axis of the mean.

    >>> import lamina
    >>> float(lamina.losses.binary_crossentropy([1.0, 0.0], [0.5, 0.5]))
    0.6931472
    """
    y_true, y_pred = pair(y_true, y_pred)
    y_true = _smooth(y_true, label_smoothing, 2)
    if not from_logits:
        return jnp.mean(_binary(y_true, y_pred), axis=axis)
    # Both logarithms of the sigmoid from one exponential of a negative number.
    rest = jnp.log1p(jnp.exp(-jnp.abs(y_pred)))
    return jnp.mean(jnp.maximum(y_pred, 0.0) - y_true * y_pred + rest, axis=axis)


def _smooth(y_true, amount, classes):
    if isinstance(amount, numbers.Real):
        fraction("crossentropy", "label_smoothing", amount)
    return y_true * (1.0 - amount) + amount / classes if amount else y_true


@boundary
@compares("elements")
def binary_focal_crossentropy(
    y_true,
    y_pred,
    apply_class_balancing=False,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
):
    """Return the binary cross-entropy with less weight on what is already right.

    The cross-entropy times `(1 - q)^gamma`, `q` being the probability given to the
    right side (Lin et al., 2017).

    Args:
        y_true: 0 or 1, shape `(..., n)`.
        y_pred: probabilities, or logits, of the same shape.
        apply_class_balancing: whether to weigh ones by `alpha`, zeros by
            `1 - alpha`.
        alpha: the weight of ones.
        gamma: how strongly easy samples fade.
        from_logits: whether `y_pred` holds logits.
        label_smoothing: see `binary_crossentropy`.
        axis: the axis of the mean.

    >>> import lamina
    >>> float(lamina.losses.binary_focal_crossentropy([1.0], [0.5]))
    0.1732868
    """
    y_true, p = pair(y_true, y_pred)
    y_true = _smooth(y_true, label_smoothing, 2)
    if from_logits:
        p = jax.nn.sigmoid(p)
    p = _clipped(p)  # a power below 1 has no derivative at 0
    right = y_true * p + (1.0 - y_true) * (1.0 - p)
    values = jnp.power(1.0 - right, gamma) * _binary(y_true, p)
    if apply_class_balancing:
        values = (y_true * alpha + (1.0 - y_true) * (1.0 - alpha)) * values
    return jnp.mean(values, axis=axis)


def _class_pair(name, y_true, y_pred, label_smoothing, axis):
    if isinstance(axis, bool):
        raise ValueError(
            f"`{name}` expected `axis` to be an integer. Received: axis={axis}"
        )
    y_true, y_pred = pair(y_true, y_pred)
    if y_pred.shape[axis] == 1:
        warn(
            f"`{name}` got predictions of one class, whose loss is always 0. Received: "
            f"y_pred.shape={y_pred.shape}. For one yes-or-no output use "
            "`binary_crossentropy`.",
            SyntaxWarning,
        )
    return _smooth(y_true, label_smoothing, y_pred.shape[axis]), y_pred


@boundary
@compares("classes")
def categorical_crossentropy(
    y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1
):
    """Return the sum of `-y log p` over the classes.

    Args:
        y_true: one-hot targets, or probabilities, shape `(..., classes)`.
        y_pred: probabilities (made to sum to 1), or logits, of the same shape.
        from_logits: whether `y_pred` holds logits, `p = softmax(y_pred)`.
        label_smoothing: `s` turns 1 into `1 - s + s/classes` and 0 into `s/classes`.
        axis: the axis of the classes.

    >>> import lamina
    >>> float(lamina.losses.categorical_crossentropy([0.0, 1.0], [0.5, 0.5]))
    0.6931472
    """
    y_true, y_pred = _class_pair(
        "categorical_crossentropy", y_true, y_pred, label_smoothing, axis
    )
    if from_logits:
        return -jnp.sum(y_true * jax.nn.log_softmax(y_pred, axis=axis), axis=axis)
    p = y_pred / jnp.sum(y_pred, axis=axis, keepdims=True)
    return -jnp.sum(y_true * jnp.log(_clipped(p)), axis=axis)


@boundary
@compares("classes")
def categorical_focal_crossentropy(
    y_true,
    y_pred,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
):
    """Return the sum of `-alpha (1 - p)^gamma y log p` over the classes.

    Args:
        y_true: one-hot targets, shape `(..., classes)`.
        y_pred: probabilities, or logits, of the same shape.
        alpha: a weight, or one for each class.
        gamma: how strongly easy samples fade (Lin et al., 2017).
        from_logits: whether `y_pred` holds logits.
        label_smoothing: see `categorical_crossentropy`.
        axis: the axis of the classes.

    >>> import lamina
    >>> float(lamina.losses.categorical_focal_crossentropy([0.0, 1.0], [0.5, 0.5]))
    0.0433217
    """
    y_true, p = _class_pair(
        "categorical_focal_crossentropy", y_true, y_pred, label_smoothing, axis
    )
    if from_logits:
        p = jax.nn.softmax(p, axis=axis)
    p = _clipped(p / jnp.sum(p, axis=axis, keepdims=True))
    weight = jnp.power(1.0 - p, gamma) * jnp.asarray(alpha, p.dtype)
    return -jnp.sum(weight * y_true * jnp.log(p), axis=axis)


def _labels_like(y_true, y_pred, axis):
    """Return integer labels without the class axis, and the mask of right classes."""
    labels = as_array(y_true).astype(jnp.int32)
    front = y_pred.shape[:axis] + y_pred.shape[axis + 1 :]
    if labels.ndim == y_pred.ndim and labels.shape[axis] == 1:
        labels = jnp.squeeze(labels, axis=axis)
    if labels.shape != front:
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape but for the axis of the "
            "classes, which integer labels do not have. Received: y_true.shape="
            f"{jnp.shape(as_array(y_true))}, y_pred.shape={y_pred.shape}"
        )
    classes = jax.lax.broadcasted_iota(jnp.int32, y_pred.shape, axis)
    return labels, classes == jnp.expand_dims(labels, axis)


@boundary
@compares("labels")
def sparse_categorical_crossentropy(
    y_true, y_pred, from_logits=False, ignore_class=None, axis=-1
):
    """Return `-log p` of the right class, given by its number.

    A label that names no class costs nothing.

    Args:
        y_true: integer labels, shape `(...)`, or with an axis of length one where
            the classes are.
        y_pred: probabilities (made to sum to 1), or logits, shape `(..., classes)`.
        from_logits: whether `y_pred` holds logits, `p = softmax(y_pred)`.
        ignore_class: a label that costs nothing and does not count in a mean.
        axis: the axis of the classes.

    Raises:
        ValueError: the shapes do not belong together.

    >>> import lamina
    >>> float(lamina.losses.sparse_categorical_crossentropy(1, [0.5, 0.5]))
    0.6931472
    """
    y_pred = as_float(y_pred)
    if y_pred.ndim < 1:
        raise ValueError(
            "`sparse_categorical_crossentropy` expected `y_pred` to have an axis of "
            "classes. Received: y_pred.shape=()"
        )
    axis = axis % y_pred.ndim
    labels, right = _labels_like(y_true, y_pred, axis)
    if from_logits:
        top = jax.lax.stop_gradient(jnp.max(y_pred, axis=axis, keepdims=True))
        y_pred = y_pred - top
        log_p = _chosen(y_pred, right, axis) - jnp.log(
            jnp.sum(jnp.exp(y_pred), axis=axis)
        )
    else:
        # Only the right class needs its logarithm.
        p = _chosen(y_pred, right, axis) / jnp.sum(y_pred, axis=axis)
        log_p = jnp.log(_clipped(p))
    counts = (labels >= 0) & (labels < y_pred.shape[axis])
    valid = labels != ignore_class if ignore_class is not None else None
    values = jnp.where(counts if valid is None else counts & valid, -log_p, 0.0)
    if valid is not None:
        set_mask(values, valid)
    return values


def _chosen(x, right, axis):
    return jnp.sum(jnp.where(right, x, 0.0), axis=axis)


@boundary
@compares("labels")
def categorical_generalized_cross_entropy(y_true, y_pred, q):
    """Return `(1 - p^q) / q`, `p` being the probability of the right class.

    Between the cross-entropy (q near 0) and the absolute error (q near 1), it
    suffers less from wrong labels (Zhang and Sabuncu, 2018).

    Args:
        y_true: integer labels, shape `(...)`.
        y_pred: probabilities, shape `(..., classes)`.
        q: a number between 0 and 1.

    >>> import lamina
    >>> loss = lamina.losses.categorical_generalized_cross_entropy
    >>> float(loss(1, [0.75, 0.25], q=0.5))
    1.0
    """
    y_pred = as_float(y_pred)
    _, right = _labels_like(y_true, y_pred, y_pred.ndim - 1)
    return (1.0 - jnp.power(_chosen(y_pred, right, -1), q)) / q


@boundary
@compares("elements")
def kl_divergence(y_true, y_pred):
    """Return the sum of `y log(y / p)` over the last axis.

    >>> import lamina
    >>> float(lamina.losses.kl_divergence([1.0, 0.0], [0.5, 0.5]))
    0.6931456
    """
    y_true, y_pred = (jnp.clip(y, settings.epsilon(), 1) for y in pair(y_true, y_pred))
    return jnp.sum(y_true * jnp.log(y_true / y_pred), axis=-1)


class BinaryCrossentropy(LossFunctionWrapper):
    """The cross-entropy of yes-or-no answers; see `binary_crossentropy`.

    >>> import lamina
    >>> loss = lamina.losses.BinaryCrossentropy(from_logits=True)
    >>> float(loss([[1.0], [0.0]], [[0.0], [0.0]]))
    0.6931472
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: DType = None,
    ):
        super().__init__(binary_crossentropy, **given(locals()))


class BinaryFocalCrossentropy(LossFunctionWrapper):
    """The cross-entropy that fades easy samples; see `binary_focal_crossentropy`.

    >>> import lamina
    >>> loss = lamina.losses.BinaryFocalCrossentropy(gamma=2.0)
    >>> float(loss([[1.0], [1.0]], [[0.5], [0.9]]))
    0.0872
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_focal_crossentropy",
        dtype: DType = None,
    ):
        super().__init__(binary_focal_crossentropy, **given(locals()))


class CategoricalCrossentropy(LossFunctionWrapper):
    """The cross-entropy of one-hot targets; see `categorical_crossentropy`.

    >>> import lamina
    >>> loss = lamina.losses.CategoricalCrossentropy()
    >>> float(loss([[0.0, 1.0]], [[0.5, 0.5]]))
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: DType = None,
    ):
        super().__init__(categorical_crossentropy, **given(locals()))


class CategoricalFocalCrossentropy(LossFunctionWrapper):
    """Fades easy samples; see `categorical_focal_crossentropy`.

    >>> import lamina
    >>> loss = lamina.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0)
    >>> float(loss([[0.0, 1.0]], [[0.5, 0.5]]))
    0.1733
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: DType = None,
    ):
        super().__init__(categorical_focal_crossentropy, **given(locals()))


class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """The cross-entropy of labels; see `sparse_categorical_crossentropy`.

    >>> import lamina
    >>> loss = lamina.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    >>> float(loss([1, -1], [[0.5, 0.5], [1.0, 0.0]]))
    0.6931472
    """

    _saved_if_changed = ("axis",)

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: DType = None,
    ):
        super().__init__(sparse_categorical_crossentropy, **given(locals()))


class ShapedCrossentropy(Loss):
    """The cross-entropy that the shapes ask for: `compile(loss="crossentropy")`."""

    def __init__(
        self, reduction="sum_over_batch_size", name="crossentropy", dtype=None
    ):
        super().__init__(name, reduction, dtype)

    @staticmethod
    def chosen(y_true_shape, y_pred_shape):
        """Return the function for targets and predictions of given shapes."""
        return by_shape(
            y_true_shape,
            y_pred_shape,
            binary_crossentropy,
            sparse_categorical_crossentropy,
            categorical_crossentropy,
        )

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the loss of a batch, weighted, masked and reduced."""
        function = self.chosen(np.shape(y_true), np.shape(y_pred))
        loss = LossFunctionWrapper(function, self.reduction, self.name, self.dtype)
        return loss(y_true, y_pred, sample_weight)


class CategoricalGeneralizedCrossEntropy(LossFunctionWrapper):
    """Bears wrong labels; see `categorical_generalized_cross_entropy`.

    Raises:
        ValueError: `q` is not between 0 and 1.

    >>> import lamina
    >>> loss = lamina.losses.CategoricalGeneralizedCrossEntropy(q=0.5)
    >>> float(loss([1], [[0.75, 0.25]]))
    1.0
    """

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: DType = None,
    ):
        if not 0 < q < 1:
            raise ValueError(f"q must be in the interval (0, 1). Received: q={q}")
        super().__init__(categorical_generalized_cross_entropy, **given(locals()))


class KLDivergence(LossFunctionWrapper):
    """The Kullback-Leibler divergence; see `kl_divergence`.

    >>> import lamina
    >>> loss = lamina.losses.KLDivergence()
    >>> float(loss([[0.5, 0.5]], [[0.25, 0.75]]))
    0.1438
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "kl_divergence",
        dtype: DType = None,
    ):
        super().__init__(kl_divergence, **given(locals()))
