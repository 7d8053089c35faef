"""The loss for sequences without alignment: connectionist temporal classification."""

import jax
import jax.numpy as jnp

from lamina.core.tracebacks import boundary
from lamina.core.types import DType
from lamina.losses.loss import LossFunctionWrapper, as_array, as_float

# Stands for log 0 where a true infinity would make gradients undefined.
LOG_ZERO = -1e5


@boundary
def ctc(y_true, y_pred):
    """Return `-log` of the probability of the labels, summed over all alignments.

    A model that reads `t` frames gives scores for each; class 0 means "no label
    here". The alignments are summed by the forward recursion of Graves et al. (2006).

    Args:
        y_true: labels, shape `(batch, n)`, padded behind with 0.
        y_pred: logits, shape `(batch, t, classes)`.

    Returns:
        One value per sequence.

    Raises:
        ValueError: an input of another rank.

    >>> import lamina, numpy as np
    >>> float(lamina.losses.ctc([[1]], np.zeros((1, 2, 2), "float32"))[0])
    0.2876821
    """
    labels, logits = as_array(y_true).astype(jnp.int32), as_float(y_pred)
    if labels.ndim != 2:
        raise ValueError(
            "`ctc` expected `y_true` to have shape (batch_size, max_length). Received: "
            f"y_true.shape={labels.shape}"
        )
    if logits.ndim != 3:
        raise ValueError(
            "`ctc` expected `y_pred` to have shape (batch_size, max_length, "
            f"num_classes). Received: y_pred.shape={logits.shape}"
        )
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    log_p = jax.nn.log_softmax(logits.astype(dtype))
    batch, length = labels.shape

    # The states: nothing, first label, nothing, second label, ... nothing.
    states = jnp.zeros((batch, 2 * length + 1), jnp.int32).at[:, 1::2].set(labels)
    emitted = jnp.take_along_axis(log_p, states[:, None, :], axis=2)
    # The "nothing" between two labels may be left out unless they are the same.
    changes = jnp.pad(labels[:, 1:] != labels[:, :-1], ((0, 0), (1, 0)))
    skip = jnp.full(states.shape, LOG_ZERO, dtype)
    skip = skip.at[:, 1::2].set(jnp.where(changes, 0.0, LOG_ZERO))
    start = jnp.full(states.shape, LOG_ZERO, dtype).at[:, 0].set(0.0)

    def shifted(score, by):
        return jnp.pad(score, ((0, 0), (by, 0)), constant_values=LOG_ZERO)[:, :-by]

    def step(score, now):
        stay_or_next = jnp.logaddexp(score, shifted(score, 1))
        score = jnp.logaddexp(stay_or_next, shifted(score, 2) + skip) + now
        return score, None

    # The first frame emits nothing or the first label: one step from a state before.
    score, _ = jax.lax.scan(step, start, jnp.moveaxis(emitted, 1, 0))
    last = 2 * jnp.sum(labels != 0, axis=1, keepdims=True)
    end = jnp.take_along_axis(score, last, axis=1)
    label_end = jnp.take_along_axis(score, jnp.maximum(last - 1, 0), axis=1)
    label_end = jnp.where(last > 0, label_end, LOG_ZERO)
    return -jnp.logaddexp(end, label_end)[:, 0]


class CTC(LossFunctionWrapper):
    """The loss of labels without alignment; see `ctc`.

    >>> import lamina
    >>> loss = lamina.losses.CTC()
    >>> float(loss([[1]], lamina.ops.zeros((1, 1, 3))))
    1.0986
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "ctc",
        dtype: DType = None,
    ):
        super().__init__(ctc, reduction, name, dtype)
