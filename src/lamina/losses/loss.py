"""`Loss`: how a batch is scored; and what every loss needs beside its formula.

A loss is a function of `(y_true, y_pred)` that gives one value per sample. `Loss`
weighs the values, leaves out the masked ones and reduces the rest to a number.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.config import (
    Constructed,
    arguments_of,
    serialize_keras_object,
)
from lamina.core.constructor import parameters_of
from lamina.core.masks import get_mask, set_mask
from lamina.core.naming import automatic_name, snake_case
from lamina.core.policy import get_policy
from lamina.core.structure import flatten, is_nested, map_leaves
from lamina.core.tracebacks import boundary, warn
from lamina.core.types import DType
from lamina.core.variable import Variable

REDUCTIONS = (
    "sum_over_batch_size",
    "sum",
    "mean",
    "mean_with_sample_weight",
    "none",
    None,
)


def as_array(x, dtype=None):
    """Return `x` as an array; a dtype that JAX has turned off gives its narrow twin."""
    if isinstance(x, Variable):
        x = x.value
    if dtype is not None:
        dtype = jax.dtypes.canonicalize_dtype(dtype)
    return jnp.asarray(x, dtype)


def as_float(x):
    """Return `x` as an array of floats; integers get the default float type."""
    x = as_array(x)
    return (
        x if jnp.issubdtype(x.dtype, jnp.floating) else as_array(x, settings.floatx())
    )


def widened(x):
    """Return half-precision floats in float32, with their mask; all else as it is.

    Squares of float16 overflow from 256 on, and sums of bfloat16 stop growing there.
    """
    dtype = getattr(x, "dtype", None)
    if dtype is None or not is_half(dtype):
        return x
    wide = as_array(x, "float32")
    set_mask(wide, get_mask(x))
    return wide


def is_half(dtype) -> bool:
    """Tell whether a dtype is of floats narrower than float32."""
    return jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype).itemsize < 4


def score_dtype(dtype=None) -> str:
    """Return the dtype that a score is computed in: what was asked for, or `floatx()`.

    Where `floatx()` is a half type, float32.
    """
    if dtype is None:
        dtype = "float32" if is_half(settings.floatx()) else settings.floatx()
    return get_policy(dtype).compute_dtype


def divide_no_nan(a, b):
    """Return `a / b`, and 0 where `b` is 0."""
    zero = b == 0
    return jnp.where(zero, 0, a / jnp.where(zero, 1, b))


def same_rank(a, b):
    """Give two arrays one rank where a last axis of length one tells them apart.

    `(n,)` beside `(n, 1)` becomes `(n, 1)`; from rank two on the longer one loses
    its last axis. All else stays as it is.
    """
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b[:, None]) if b.ndim == 1 else (a[..., 0], b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a[:, None], b) if a.ndim == 1 else (a, b[..., 0])
    return a, b


def align(values, weights):
    """Give weights the rank of the values, so that they multiply along its front."""
    values, weights = same_rank(values, weights)
    missing = values.ndim - weights.ndim
    if weights.ndim and missing > 0 and values.shape[: weights.ndim] == weights.shape:
        weights = weights.reshape(weights.shape + (1,) * missing)
    return values, weights


def weights_for(shape, weights, what="the targets"):
    """Return weights of an array's shape, from one for each row, step or entry.

    Raises:
        ValueError: weights of a shape that does not fit.
    """
    spread = weights
    while spread.ndim > len(shape) and spread.shape[-1] == 1:
        spread = spread[..., 0]
    front = zip(spread.shape, shape, strict=False)
    if spread.ndim < len(shape) and all(n == size or n == 1 for n, size in front):
        spread = spread.reshape(spread.shape + (1,) * (len(shape) - spread.ndim))
    try:
        return jnp.broadcast_to(spread, shape)
    except (TypeError, ValueError) as error:
        raise ValueError(misfit(weights.shape, what, shape)) from error


def misfit(weights, what, shape):
    """Return the message for weights of a shape that does not fit."""
    return (
        f"`sample_weight` or the mask, of shape {weights}, does not fit {what} of "
        f"shape {shape}. Give one weight per sample, or per time step of a sequence."
    )


def by_step(function, y_true, y_pred, *weights):
    """Give targets `(n, t)` of predictions `(n, t, 1)` an axis where steps are weighed.

    A mean over the last axis then leaves one value for each step.
    """
    if getattr(function, "targets", None) != "elements":
        return y_true
    true, pred = np.shape(y_true), np.shape(y_pred)
    finest = max((np.ndim(w) for w in weights if w is not None), default=0)
    if 1 < len(true) <= finest and len(pred) == len(true) + 1 and pred[-1] == 1:
        return as_array(y_true)[..., None]
    return y_true


def pair(y_true, y_pred):
    """Make two float arrays of one dtype and shape, to compare element by element.

    Raises:
        ValueError: the shapes differ by more than a last axis of length one.
    """
    y_pred = as_float(y_pred)
    return same_shape(as_array(y_true, y_pred.dtype), y_pred)


def same_shape(y_true, y_pred):
    """Give two arrays one rank, and refuse them if their shapes still differ."""
    y_true, y_pred = same_rank(y_true, y_pred)
    true, pred = y_true.shape, y_pred.shape
    if true and pred and not (_agree(true, pred) or _broadcast(true, pred)):
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape: they are compared element "
            f"by element. Received: y_true.shape={true}, y_pred.shape={pred}"
        )
    return y_true, y_pred


def _broadcast(a, b):
    # Off unless asked for: it hides targets that are not those of the predictions.
    return settings.get("broadcast_targets") and _agree(a, b, ones=True)


def _agree(a, b, ones=False):
    # A dimension that is None or symbolic agrees with any; so does a one, if asked.
    return len(a) == len(b) and all(
        m == n
        or (ones and 1 in (m, n))
        or not (isinstance(m, int) and isinstance(n, int))
        for m, n in zip(a, b, strict=True)
    )


def compares(targets):
    """Mark a loss function with what its `y_true` is.

    `"elements"`: an array like `y_pred`; `"classes"`: the same, one probability per
    class; `"labels"`: the number of the class, without the class axis.
    """

    def mark(function):
        function.targets = targets
        return function

    return mark


def by_shape(y_true, y_pred, binary, sparse, dense):
    """Choose by the shapes of targets and predictions, for "crossentropy" and such.

    One prediction is binary; labels have an axis less than the predictions, or one of
    length one in its place.
    """
    if len(y_pred) < 2 or y_pred[-1] == 1:
        return binary
    if len(y_true) < len(y_pred) or y_true[-1] == 1:
        return sparse
    return dense


def weigh_by_mask(weights, mask, dtype, scaled=False):
    """Fold a mask into weights; None when there is neither.

    Args:
        weights: weights of the values, or None.
        mask: true where a value counts, or None.
        dtype: the dtype of the result.
        scaled: whether what counts makes up for what does not, so that a mean over
            all values is the mean over those that count.
    """
    if mask is None:
        return weights
    mask = as_array(mask, dtype)
    if scaled:
        mask = mask * divide_no_nan(jnp.asarray(mask.size, mask.dtype), jnp.sum(mask))
    if weights is None:
        return mask
    mask, weights = align(mask, as_array(weights, dtype))
    weights, mask = align(weights, mask)
    return weights * mask


def reduce_weighted(values, sample_weight, mask, reduction):
    """Weigh the values of a loss and reduce them.

    Raises:
        ValueError: weights of a shape that does not fit the values.
    """
    values = as_array(values)
    if sample_weight is not None:
        sample_weight = as_array(sample_weight, values.dtype)
    if mask is not None and mask.ndim > values.ndim > 0:
        # A value for a whole sequence counts where one of the steps does.
        mask = jnp.any(mask, axis=tuple(range(values.ndim, mask.ndim)))
    scaled = reduction in ("mean", "sum_over_batch_size")
    weights = weigh_by_mask(sample_weight, mask, values.dtype, scaled)
    if weights is not None:
        given, shape = weights.shape, values.shape
        values, weights = align(values, weights)
        try:
            if weights.ndim > values.ndim > 0:
                raise ValueError(f"{weights.ndim} axes for {values.ndim}")
            values = values * weights
        except (TypeError, ValueError) as error:
            raise ValueError(misfit(given, "the values of the loss,", shape)) from error
    if reduction in (None, "none") or values.shape in ((), (0,)):
        return values
    if reduction == "sum":
        return jnp.sum(values)
    if reduction == "mean_with_sample_weight" and weights is not None:
        return divide_no_nan(jnp.sum(values), jnp.sum(weights))
    return jnp.mean(values) if 0 not in values.shape else jnp.sum(values)


class Loss(Constructed):
    """A score of predictions to make small. Subclass it and write `call`.

    Args:
        name: its name; made from the class' when None.
        reduction: what becomes of the values of a batch: `"sum_over_batch_size"` or
            `"mean"` (their mean), `"sum"`, `"mean_with_sample_weight"` (their sum
            over the sum of the weights), `"none"` or None (left as they are).
        dtype: the dtype to compute in, or a policy; None takes `floatx()`, or float32
            where that is a half type.

    Raises:
        ValueError: `reduction` is none of these.

    >>> import lamina
    >>> class Cubic(lamina.losses.Loss):
    ...     def call(self, y_true, y_pred):
    ...         return abs(y_true - y_pred) ** 3
    >>> float(Cubic()([0.0, 0.0], [1.0, 2.0]))
    4.5
    """

    _saved_first = ("name", "reduction")
    _saved_never = ("dtype",)
    _may_forget = True

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: DType = None,
    ):
        if reduction not in REDUCTIONS:
            raise ValueError(
                "Invalid value for argument `reduction`. Expected one of "
                f"{REDUCTIONS}. Received: reduction={reduction!r}"
            )
        self.name = name or automatic_name(snake_case(type(self).__name__))
        self.reduction = reduction
        self._dtype = score_dtype(dtype)

    @property
    def dtype(self) -> str:
        """The dtype it computes in."""
        return self._dtype

    @boundary
    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the loss of a batch, weighted, masked and reduced."""
        mask = get_mask(y_pred)
        values = self.call(_arrays(y_true, self.dtype), _arrays(y_pred, self.dtype))
        if values is None:
            raise ValueError(
                f"Loss `{self.name}` gave None. Let it end in `return ...`, with one "
                "value per sample."
            )
        own_mask = get_mask(values)
        if own_mask is not None:
            mask = own_mask if mask is None else mask & own_mask
        values = as_array(values, self.dtype)
        return reduce_weighted(values, sample_weight, mask, self.reduction)

    def call(self, y_true, y_pred):
        """Return the values of the loss, one per sample.

        Args:
            y_true: what is right, as an array of `dtype`.
            y_pred: what was predicted, as an array of `dtype`.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` must have a method `call(self, y_true, y_pred)`."
        )


def _arrays(x, dtype):
    if is_nested(x) and any(hasattr(leaf, "shape") for leaf in flatten(x)):
        return map_leaves(lambda leaf: as_array(leaf, dtype), x)
    return as_array(x, dtype)


class LossFunctionWrapper(Loss):
    """A function `(y_true, y_pred, **settings)` as a `Loss`.

    Args:
        fn: the function; it gives one value per sample.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.
        **kwargs: settings that `fn` is called with.
    """

    _saved_as = ("keras.src.losses.losses", "LossFunctionWrapper")
    _saved_never = (*Loss._saved_never, "fn")

    def __init__(
        self,
        fn: Callable,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: DType = None,
        **kwargs,
    ):
        super().__init__(name, reduction, dtype)
        self.fn = fn
        self._settings = kwargs
        vars(self).update(kwargs)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the loss of a batch, weighted, masked and reduced."""
        y_true = by_step(self.fn, y_true, y_pred, sample_weight, get_mask(y_pred))
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        """Return the values of the function."""
        if not is_nested(y_true) and not is_nested(y_pred):
            y_true, y_pred = same_rank(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._settings)

    def get_config(self):
        """Return the constructor's arguments, ready to be saved."""
        config = super().get_config()
        if "fn" in parameters_of(type(self)):
            settings = {"fn": self.fn, **self._settings}
            config.update({k: serialize_keras_object(v) for k, v in settings.items()})
        return config

    @classmethod
    def from_config(cls, config):
        """Make a loss from what `get_config` returned."""
        return cls(**(arguments_of(config, cls) if "fn" in config else config))


def check_shapes(loss, y_true_shape, y_pred_shape, where) -> None:
    """Refuse targets that a loss would compare with the wrong predictions.

    Args:
        loss: a loss function or object; one that is not Lamina's is not checked.
        y_true_shape: the shape of the targets; None for an unknown dimension.
        y_pred_shape: the shape of the predictions, likewise.
        where: what the targets are for, such as `"output 'price'"`.

    Raises:
        ValueError: the shapes do not belong together.

    >>> from lamina.losses import mean_squared_error
    >>> from lamina.losses.loss import check_shapes
    >>> check_shapes(mean_squared_error, (None, 3), (None, 1), "output 'price'")
    Traceback (most recent call last):
    ValueError: `mean_squared_error` ... y_true.shape=(None, 3)...
    """
    true, pred = tuple(y_true_shape), tuple(y_pred_shape)
    targets, name = targets_of(loss, true, pred)
    if targets is None or not pred:
        return
    if targets == "labels":
        axis = getattr(loss, "axis", -1) % len(pred)
        front = pred[:axis] + pred[axis + 1 :]
        one = pred[:axis] + (1,) + pred[axis + 1 :]
        if _agree(true, front) or (_agree(true, one) and true[axis] in (1, None)):
            return
        expects = f"one integer label per prediction, so targets of shape {front}"
        fix = _too_deep(true, front) or "Check the shape of the targets."
        if _agree(true, pred):
            fix = (
                "These look like one-hot targets: use `categorical_crossentropy`, or "
                "give `y.argmax(-1)`."
            )
    else:
        if _agree(_squeezed(true, pred), _squeezed(pred, true)):
            return
        expects = f"targets of the predictions' shape, {pred}"
        fix = _fix(targets, true, pred)
    text = (
        f"`{name}` of {where} expected {expects}. Received: y_true.shape={true}, "
        f"y_pred.shape={pred}. {fix}"
    )
    if targets == "elements" and _broadcast(true, pred):
        warn(f"{text} They are broadcast, as in Keras.")
        return
    raise ValueError(text)


def targets_of(loss, y_true_shape, y_pred_shape):
    """Return what the targets of a loss are, as it declares, and the loss' name.

    Returns:
        `(targets, name)`; the first is `"elements"`, `"classes"`, `"labels"` (see
        `compares`), or None for a loss that does not declare it.
    """
    function = getattr(loss, "fn", loss)
    if hasattr(loss, "chosen"):
        function = loss.chosen(y_true_shape, y_pred_shape)
    name = getattr(function, "__name__", type(loss).__name__)
    return getattr(function, "targets", None), name


def _squeezed(shape, other):
    longer = len(shape) == len(other) + 1 and shape[-1] == 1
    return shape[:-1] if longer else shape


def _fix(targets, true, pred):
    labels = _agree(true, pred[:-1]) or (_agree(true, (*pred[:-1], 1)))
    if labels and targets == "classes":
        return (
            "These look like integer labels: use `sparse_categorical_crossentropy`, or "
            f"`lamina.utils.to_categorical(y, {pred[-1]})`."
        )
    if len(true) == len(pred) and _agree(true[:-1], pred[:-1]):
        return (
            f"Make the last layer give {true[-1]} values per sample, or give targets "
            f"with {pred[-1]} column{'' if pred[-1] == 1 else 's'}."
        )
    return _too_deep(true, pred) or "Reshape the targets, or change the last layer."


def _too_deep(true, pred):
    """Return what may be missing where predictions have axes that targets lack."""
    if len(pred) < 3 or len(pred) <= len(true):
        return ""
    return (
        "Is a `Flatten` or a global pooling missing before the last layer, or does a "
        "recurrent one have `return_sequences=True`?"
    )


def check_labels(loss, y_true, num_classes, where) -> None:
    """Refuse integer labels that name no class.

    Args:
        loss: a loss function or object; only losses that take labels are checked.
        y_true: the labels, as a NumPy array.
        num_classes: how many classes the predictions have.
        where: what the labels are for, such as `"output 'digit'"`.

    Raises:
        ValueError: a label below 0, or not below `num_classes`, other than the
            loss' `ignore_class`.

    >>> import numpy as np
    >>> from lamina.losses import sparse_categorical_crossentropy
    >>> from lamina.losses.loss import check_labels
    >>> check_labels(sparse_categorical_crossentropy, np.array([1, 3]), 3, "y")
    Traceback (most recent call last):
    ValueError: `sparse_categorical_crossentropy` of y expected labels from 0 to 2...
    """
    labels = np.asarray(y_true)
    targets, name = targets_of(loss, labels.shape, (*labels.shape, num_classes))
    if targets != "labels":
        return
    ignored = getattr(loss, "ignore_class", None)
    if ignored is not None:
        labels = labels[labels != ignored]
    if np.all((labels >= 0) & (labels < num_classes)):
        return
    low, high = labels.min(), labels.max()
    if low < 0:
        fix = f"If {low} marks what does not count, pass `ignore_class={low}`."
    elif low == 1 and high == num_classes:
        fix = "Labels count from 0: subtract 1."
    elif high >= num_classes:
        fix = f"Give the last layer {int(high) + 1} units, or check the labels."
    else:
        fix = "Every label must be an integer."
    raise ValueError(
        f"`{name}` of {where} expected labels from 0 to {num_classes - 1}, as there "
        f"are {num_classes} classes. Received: smallest label {low}, largest {high}. "
        f"{fix}"
    )


def classes_of(losses, y_true, y_pred_shape):
    """Return the class of each target: labels or one-hot rows, as a loss declares.

    Where none declares it, or the targets are compared entry by entry, those with one
    value for each prediction are labels, and the rest must be one-hot rows. A row of
    zeros is of the first class, as in Keras.

    Args:
        losses: the losses that the targets are for; the first that declares decides.
        y_true: the targets, as a NumPy array.
        y_pred_shape: the shape of the predictions.

    Returns:
        `(classes, ignored)`: integers, and the label that the loss ignores, or None.

    Raises:
        ValueError: targets that may have several classes.

    >>> import numpy as np
    >>> from lamina.losses import categorical_crossentropy
    >>> from lamina.losses.loss import classes_of
    >>> classes_of([categorical_crossentropy], np.eye(3)[[2, 0]], (2, 3))[0].tolist()
    [2, 0]
    """
    kind, name, loss = None, "The loss", None
    for one in losses:
        if kind is None:
            (kind, name), loss = targets_of(one, y_true.shape, y_pred_shape), one
    axis = getattr(loss, "axis", -1)
    if kind == "classes":
        return y_true.argmax(axis), None
    if kind == "labels":
        labels = y_true.squeeze(axis) if y_true.ndim == len(y_pred_shape) else y_true
        return labels, getattr(loss, "ignore_class", None)
    if y_true.ndim == 1 or y_true.shape[1:] == tuple(y_pred_shape[1:-1]):
        return y_true, None
    if y_true.shape[-1] == 1:
        return y_true[..., 0], None
    if ((y_true == 0) | (y_true == 1)).all() and (y_true.sum(axis=-1) <= 1).all():
        return y_true.argmax(axis=-1), None
    raise ValueError(
        "`class_weight` needs one class for each target: integer labels or one-hot "
        f"rows. `{name}` takes targets entry by entry, and these are not one-hot rows. "
        f"Received: y_true.shape={y_true.shape}, y_pred.shape={tuple(y_pred_shape)}. "
        "Give `sample_weight`, with a weight for each row or time step."
    )
