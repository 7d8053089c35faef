"""Losses for numbers: mean errors, and likeness of directions."""

import jax
import jax.numpy as jnp

from lamina.core import settings
from lamina.core.arguments import given
from lamina.core.checks import number
from lamina.core.tracebacks import boundary
from lamina.core.types import DType
from lamina.losses.loss import LossFunctionWrapper, compares, pair


@boundary
@compares("elements")
def mean_squared_error(y_true, y_pred):
    """Return the mean of `(y_true - y_pred)^2` over the last axis.

    >>> import lamina
    >>> float(lamina.losses.mean_squared_error([0.0, 0.0], [1.0, 3.0]))
    5.0
    """
    y_true, y_pred = pair(y_true, y_pred)
    return jnp.mean(jnp.square(y_true - y_pred), axis=-1)


@boundary
@compares("elements")
def mean_absolute_error(y_true, y_pred):
    """Return the mean of `|y_true - y_pred|` over the last axis.

    >>> import lamina
    >>> float(lamina.losses.mean_absolute_error([0.0, 0.0], [1.0, -3.0]))
    2.0
    """
    y_true, y_pred = pair(y_true, y_pred)
    return jnp.mean(jnp.abs(y_true - y_pred), axis=-1)


@boundary
@compares("elements")
def mean_absolute_percentage_error(y_true, y_pred):
    """Return the mean of `100 |y_true - y_pred| / |y_true|` over the last axis.

    The divisor is at least `epsilon()`.

    >>> import lamina
    >>> float(lamina.losses.mean_absolute_percentage_error([2.0, 4.0], [1.0, 4.0]))
    25.0
    """
    y_true, y_pred = pair(y_true, y_pred)
    size = jnp.maximum(jnp.abs(y_true), settings.epsilon())
    return 100.0 * jnp.mean(jnp.abs(y_true - y_pred) / size, axis=-1)


@boundary
@compares("elements")
def mean_squared_logarithmic_error(y_true, y_pred):
    """Return the mean of `(log(1 + y_true) - log(1 + y_pred))^2` over the last axis.

    Values below `epsilon()` count as `epsilon()`.

    >>> import lamina
    >>> float(lamina.losses.mean_squared_logarithmic_error([0.0], [1.718282]))
    1.0
    """
    true, pred = (
        jnp.log(jnp.maximum(y, settings.epsilon()) + 1.0) for y in pair(y_true, y_pred)
    )
    return jnp.mean(jnp.square(pred - true), axis=-1)


@boundary
@compares("elements")
def huber(y_true, y_pred, delta=1.0):
    """Return the Huber loss: squared for small errors, straight for large ones.

    With `e = y_true - y_pred`, the mean over the last axis of `e^2 / 2` where
    `|e| <= delta` and `delta |e| - delta^2 / 2` elsewhere (Huber, 1964).

    >>> import lamina
    >>> float(lamina.losses.huber([0.0, 0.0], [1.0, 3.0]))
    1.5
    """
    y_true, y_pred = pair(y_true, y_pred)
    delta = jnp.asarray(delta, y_pred.dtype)
    size = jnp.abs(y_pred - y_true)
    values = jnp.where(
        size <= delta, 0.5 * jnp.square(size), delta * size - 0.5 * jnp.square(delta)
    )
    return jnp.mean(values, axis=-1)


@boundary
@compares("elements")
def log_cosh(y_true, y_pred):
    """Return the mean of `log(cosh(y_pred - y_true))` over the last axis.

    >>> import lamina
    >>> float(lamina.losses.log_cosh([0.0], [1.0]))
    0.4337808
    """
    y_true, y_pred = pair(y_true, y_pred)
    error = y_pred - y_true
    log2 = jnp.log(jnp.asarray(2.0, error.dtype))
    return jnp.mean(error + jax.nn.softplus(-2.0 * error) - log2, axis=-1)


@boundary
@compares("elements")
def poisson(y_true, y_pred):
    """Return the mean of `y_pred - y_true log(y_pred)` over the last axis.

    It is the negative log-likelihood of a count `y_true` under a Poisson law of
    mean `y_pred`, up to a constant. `epsilon()` is added inside the logarithm.

    >>> import lamina
    >>> float(lamina.losses.poisson([2.0], [1.0]))
    1.0
    """
    y_true, y_pred = pair(y_true, y_pred)
    return jnp.mean(y_pred - y_true * jnp.log(y_pred + settings.epsilon()), axis=-1)


def likeness(y_true, y_pred, axis=-1):
    """Return the cosine of the angle between `y_true` and `y_pred` along `axis`."""
    axis = tuple(axis) if isinstance(axis, list) else axis
    y_true, y_pred = (_unit(y, axis) for y in pair(y_true, y_pred))
    return jnp.sum(y_true * y_pred, axis=axis)


def _unit(x, axis):
    square = jnp.sum(jnp.square(x), axis=axis, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, settings.epsilon() ** 2))


@boundary
@compares("elements")
def cosine_similarity(y_true, y_pred, axis=-1):
    """Return minus the cosine of the angle between `y_true` and `y_pred`.

    -1 for the same direction, 0 for orthogonal or zero vectors, 1 for opposite ones.

    >>> import lamina
    >>> float(lamina.losses.cosine_similarity([3.0, 4.0], [6.0, 8.0]))
    -1.0
    """
    return -likeness(y_true, y_pred, axis)


class MeanSquaredError(LossFunctionWrapper):
    """The mean of squared errors; see `mean_squared_error`.

    >>> import lamina
    >>> loss = lamina.losses.MeanSquaredError()
    >>> float(loss([[0.0], [0.0]], [[1.0], [3.0]], sample_weight=[1.0, 0.0]))
    0.5
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_error",
        dtype: DType = None,
    ):
        super().__init__(mean_squared_error, **given(locals()))


class MeanAbsoluteError(LossFunctionWrapper):
    """The mean of absolute errors; see `mean_absolute_error`.

    >>> import lamina
    >>> float(lamina.losses.MeanAbsoluteError()([[0.0], [0.0]], [[1.0], [-3.0]]))
    2.0
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_error",
        dtype: DType = None,
    ):
        super().__init__(mean_absolute_error, **given(locals()))


class MeanAbsolutePercentageError(LossFunctionWrapper):
    """The mean error in per cent; see `mean_absolute_percentage_error`.

    >>> import lamina
    >>> float(lamina.losses.MeanAbsolutePercentageError()([[10.0]], [[8.0]]))
    20.0
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_percentage_error",
        dtype: DType = None,
    ):
        super().__init__(mean_absolute_percentage_error, **given(locals()))


class MeanSquaredLogarithmicError(LossFunctionWrapper):
    """The mean squared error of logarithms; see `mean_squared_logarithmic_error`.

    >>> import lamina
    >>> loss = lamina.losses.MeanSquaredLogarithmicError()
    >>> float(loss([[0.0]], [[1.71828]]))
    1.0
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_logarithmic_error",
        dtype: DType = None,
    ):
        super().__init__(mean_squared_logarithmic_error, **given(locals()))


class Huber(LossFunctionWrapper):
    """Squared for errors up to `delta`, straight beyond; see `huber`.

    >>> import lamina
    >>> loss = lamina.losses.Huber(delta=1.0, reduction=None)
    >>> loss([[0.0], [0.0]], [[0.5], [3.0]]).tolist()
    [0.125, 2.5]
    """

    _saved_if_changed = ("delta",)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: DType = None,
    ):
        if float(number("Huber", "delta", delta)) <= 0:
            raise ValueError(f"`Huber` expected `delta` above 0. Received: {delta}")
        super().__init__(huber, **given(locals()))


class LogCosh(LossFunctionWrapper):
    """The logarithm of the error's hyperbolic cosine; see `log_cosh`.

    >>> import lamina
    >>> float(lamina.losses.LogCosh()([[0.0], [0.0]], [[1.0], [-1.0]]))
    0.4338
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "log_cosh",
        dtype: DType = None,
    ):
        super().__init__(log_cosh, **given(locals()))


class Poisson(LossFunctionWrapper):
    """The negative log-likelihood of counts; see `poisson`.

    >>> import lamina
    >>> float(lamina.losses.Poisson()([[2.0]], [[1.0]]))
    1.0
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "poisson",
        dtype: DType = None,
    ):
        super().__init__(poisson, **given(locals()))


class CosineSimilarity(LossFunctionWrapper):
    """Minus the cosine of the angle between vectors; see `cosine_similarity`.

    >>> import lamina
    >>> float(lamina.losses.CosineSimilarity()([[3.0, 4.0]], [[6.0, 8.0]]))
    -1.0
    """

    _saved_if_changed = ("axis",)

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: DType = None,
    ):
        super().__init__(cosine_similarity, **given(locals()))
