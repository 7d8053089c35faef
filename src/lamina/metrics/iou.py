"""Intersection over union: how well regions of pixels agree."""

from collections.abc import Sequence

import jax.numpy as jnp

from lamina.core import settings
from lamina.core.arguments import given
from lamina.core.budget import listed
from lamina.core.tracebacks import warn
from lamina.core.types import DType
from lamina.losses.loss import as_array, weights_for
from lamina.metrics.metric import Metric, zeros


class IoU(Metric):
    """The mean overlap of true and predicted regions over some classes.

    For a class, `true positives / (true positives + false positives + false
    negatives)`, from a confusion matrix over all pixels.

    Args:
        num_classes: how many classes there are.
        target_class_ids: the classes to average over.
        name: its name.
        dtype: the dtype of the counts; int32 when None.
        ignore_class: a label whose pixels do not count.
        sparse_y_true: whether `y_true` holds integer labels, not one per class.
        sparse_y_pred: the same for `y_pred`.
        axis: the axis of the classes where there is one.

    Raises:
        ValueError: a target class that is none of the classes.

    >>> import lamina
    >>> metric = lamina.metrics.IoU(num_classes=2, target_class_ids=[0])
    >>> float(metric([0, 0, 1, 1], [0, 1, 0, 1]))
    0.3333333
    """

    _direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: DType = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__("int32" if dtype in (None, "int") else dtype, name)
        if max(target_class_ids) >= num_classes:
            raise ValueError(
                f"Target class id {max(target_class_ids)} is out of range, which is "
                f"[0, {num_classes})."
            )
        self.num_classes = num_classes
        self.target_class_ids = list(target_class_ids)
        self.ignore_class = ignore_class
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred
        self.axis = axis
        self.total_cm = self.add_variable(
            (num_classes, num_classes), zeros, self.dtype, name="total_confusion_matrix"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch's pixels. Labels that are not a class do not count."""
        true, pred = as_array(y_true), as_array(y_pred)
        if not self.sparse_y_true:
            true = jnp.argmax(true, axis=self.axis)
        if not self.sparse_y_pred:
            pred = jnp.argmax(pred, axis=self.axis)
        true, pred = true.astype(jnp.int32), pred.astype(jnp.int32)
        weights = jnp.ones((), self.total_cm.raw_value.dtype)
        if sample_weight is not None:
            weights = as_array(sample_weight)
            if _is_float(weights) and not _is_float(self.total_cm.raw_value):
                warn(
                    f"`{type(self).__name__}` got `sample_weight` of float type, but "
                    f"counts in {self.dtype}: casting cuts the fractions off. Pass "
                    "integer weights, or `dtype='float32'` to the metric."
                )
            if weights.size == true.size:
                weights = weights.reshape(true.shape)
        weights = weights.astype(self.total_cm.raw_value.dtype)
        weights = weights_for(true.shape, weights)
        true, pred, weights = true.reshape(-1), pred.reshape(-1), weights.reshape(-1)
        valid = (true >= 0) & (true < self.num_classes)
        valid = valid & (pred >= 0) & (pred < self.num_classes)
        if self.ignore_class is not None:
            valid = valid & (true != self.ignore_class)
        cell = jnp.where(valid, true * self.num_classes + pred, self.num_classes**2)
        counts = self.total_cm.raw_value.reshape(-1)
        counts = counts.at[cell].add(weights, mode="drop")
        self.total_cm.assign(counts.reshape(self.total_cm.shape))

    def result(self):
        """Return the mean overlap over the target classes that occur."""
        counts = self.total_cm.value
        hits = jnp.diagonal(counts)
        union = jnp.sum(counts, axis=0) + jnp.sum(counts, axis=1) - hits
        targets = jnp.asarray(self.target_class_ids)
        hits, union = (x[targets].astype(jnp.float32) for x in (hits, union))
        occurs = union > 1e-9
        small = settings.epsilon()
        overlap = jnp.where(occurs, hits / (union + small), 0.0)
        return jnp.sum(overlap) / (jnp.sum(occurs) + small)


def _is_float(x):
    return jnp.issubdtype(x.dtype, jnp.floating)


class BinaryIoU(IoU):
    """The overlap of two classes, told apart by a threshold.

    Args:
        target_class_ids: the classes to average over, of 0 and 1.
        threshold: a prediction from here on says 1.
        name: its name.
        dtype: the dtype of the counts.

    >>> import lamina
    >>> metric = lamina.metrics.BinaryIoU(threshold=0.3)
    >>> float(metric([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7]))
    0.3333333
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: DType = None,
    ):
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch's pixels."""
        y_pred = as_array(y_pred, "float32") >= self.threshold
        super().update_state(y_true, y_pred, sample_weight)


class MeanIoU(IoU):
    """The mean overlap over all classes; arguments as in `IoU`.

    >>> import lamina
    >>> metric = lamina.metrics.MeanIoU(num_classes=2)
    >>> float(metric([0, 0, 1, 1], [0, 1, 0, 1]))
    0.3333
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: DType = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        listed(num_classes)
        super().__init__(target_class_ids=range(num_classes), **given(locals()))


class OneHotIoU(IoU):
    """`IoU` for one-hot targets and scores of each class; arguments as there.

    >>> import lamina
    >>> metric = lamina.metrics.OneHotIoU(num_classes=2, target_class_ids=[0])
    >>> y_true, y_pred = [[1, 0], [1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]
    >>> float(metric(y_true, y_pred))
    0.5
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: DType = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(sparse_y_true=False, **given(locals()))


class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` for one-hot targets and scores of each class; arguments as in `IoU`.

    >>> import lamina
    >>> metric = lamina.metrics.OneHotMeanIoU(num_classes=2)
    >>> y_true, y_pred = [[1, 0], [1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]
    >>> float(metric(y_true, y_pred))
    0.5
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: DType = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(sparse_y_true=False, **given(locals()))
