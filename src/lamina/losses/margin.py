"""Losses that want a margin: the hinges and the circle loss."""

import jax
import jax.numpy as jnp

from lamina.core.arguments import given
from lamina.core.masks import set_mask
from lamina.core.tracebacks import boundary
from lamina.core.types import DType
from lamina.losses.loss import LossFunctionWrapper, as_array, as_float, compares, pair


def _shortfall(y_true, y_pred):
    """Return `max(1 - y_true * y_pred, 0)`, with 0 and 1 read as -1 and 1."""
    y_true, y_pred = pair(y_true, y_pred)
    binary = jnp.all((y_true == 0) | (y_true == 1))
    y_true = jnp.where(binary, 2.0 * y_true - 1.0, y_true)
    return jnp.maximum(1.0 - y_true * y_pred, 0.0)


@boundary
@compares("elements")
def hinge(y_true, y_pred):
    """Return the mean of `max(1 - y_true * y_pred, 0)` over the last axis.

    Targets are -1 or 1; when all are 0 or 1, zeros count as -1.

    >>> import lamina
    >>> float(lamina.losses.hinge([-1.0, 1.0], [0.5, 0.5]))
    1.0
    """
    return jnp.mean(_shortfall(y_true, y_pred), axis=-1)


@boundary
@compares("elements")
def squared_hinge(y_true, y_pred):
    """Return the mean of `max(1 - y_true * y_pred, 0)^2` over the last axis.

    Targets are -1 or 1; when all are 0 or 1, zeros count as -1.

    >>> import lamina
    >>> float(lamina.losses.squared_hinge([-1.0, 1.0], [0.5, 0.5]))
    1.25
    """
    return jnp.mean(jnp.square(_shortfall(y_true, y_pred)), axis=-1)


@boundary
@compares("classes")
def categorical_hinge(y_true, y_pred):
    """Return `max(best wrong - right + 1, 0)` of the scores along the last axis.

    >>> import lamina
    >>> float(lamina.losses.categorical_hinge([0.0, 1.0], [0.75, 0.25]))
    1.5
    """
    y_true, y_pred = pair(y_true, y_pred)
    right = jnp.sum(y_true * y_pred, axis=-1)
    wrong = jnp.max((1.0 - y_true) * y_pred, axis=-1)
    return jnp.maximum(wrong - right + 1.0, 0.0)


@boundary
def circle(
    y_true,
    y_pred,
    ref_labels=None,
    ref_embeddings=None,
    remove_diagonal=True,
    gamma=80,
    margin=0.4,
):
    """Return the circle loss of embeddings: near to their class, far from others.

    With `d` the cosine distances, it is `softplus(P + N)`, where `P` and `N` are
    log-sums over pairs of one class and of two classes of
    `-gamma max(margin + d, 0) (margin - d)` and
    `gamma max(1 + margin - d, 0) (1 - margin - d)` (Sun et al., 2020).

    Args:
        y_true: integer labels, shape `(n,)` or `(n, 1)`.
        y_pred: embeddings of length one, shape `(n, d)`.
        ref_labels: labels to compare with; `y_true` when None.
        ref_embeddings: embeddings to compare with; `y_pred` when None.
        remove_diagonal: whether a sample is not compared with itself.
        gamma: the scale.
        margin: the margin, between 0 and 1.

    >>> import lamina
    >>> loss = lamina.losses.circle([0, 0, 1], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> [round(float(x), 3) for x in loss]
    [0.0, 0.0, 0.0]
    """
    y_pred = as_float(y_pred)
    labels = as_array(y_true).astype(jnp.int32).reshape(-1)
    others = (
        y_pred if ref_embeddings is None else as_array(ref_embeddings, y_pred.dtype)
    )
    names = labels
    if ref_labels is not None:
        names = as_array(ref_labels).astype(jnp.int32).reshape(-1)
    distance = jnp.maximum(1.0 - y_pred @ others.T, 0.0)
    alike = labels[:, None] == names[None, :]
    unlike = ~alike
    if remove_diagonal:
        alike = alike & ~jnp.eye(*alike.shape, dtype=bool)
    near = -gamma * jnp.maximum(margin + distance, 0.0) * (margin - distance)
    far = gamma * jnp.maximum(1 + margin - distance, 0.0) * (1 - margin - distance)
    pull = jax.nn.logsumexp(jnp.where(alike, near, -jnp.inf), axis=1)
    push = jax.nn.logsumexp(jnp.where(unlike, far, -jnp.inf), axis=1)
    values = jax.nn.softplus(pull + push)
    set_mask(values, values > 0)
    return values


class Hinge(LossFunctionWrapper):
    """How far answers fall short of a margin of 1; see `hinge`.

    >>> import lamina
    >>> float(lamina.losses.Hinge()([[1.0, -1.0]], [[0.5, -3.0]]))
    0.25
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "hinge",
        dtype: DType = None,
    ):
        super().__init__(hinge, **given(locals()))


class SquaredHinge(LossFunctionWrapper):
    """The same, squared; see `squared_hinge`.

    >>> import lamina
    >>> float(lamina.losses.SquaredHinge()([[1.0, -1.0]], [[0.5, -3.0]]))
    0.125
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "squared_hinge",
        dtype: DType = None,
    ):
        super().__init__(squared_hinge, **given(locals()))


class CategoricalHinge(LossFunctionWrapper):
    """The lead of the right class over the best other; see `categorical_hinge`.

    >>> import lamina
    >>> loss = lamina.losses.CategoricalHinge()
    >>> float(loss([[0.0, 1.0, 0.0]], [[0.2, 0.5, 0.3]]))
    0.8
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_hinge",
        dtype: DType = None,
    ):
        super().__init__(categorical_hinge, **given(locals()))


class Circle(LossFunctionWrapper):
    """The circle loss of embeddings within a batch; see `circle`.

    Rows that cost nothing do not count in the mean.

    >>> import lamina
    >>> loss = lamina.losses.Circle(gamma=1.0)
    >>> embeddings = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    >>> float(loss([0, 0, 1], embeddings))
    0.5459
    """

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
        dtype: DType = None,
    ):
        super().__init__(circle, **given(locals()))
