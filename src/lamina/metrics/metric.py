"""`Metric`: a number that grows with every batch, held in Variables."""

import inspect

import jax
import numpy as np

from lamina.core.config import Constructed
from lamina.core.context import context
from lamina.core.masks import get_mask
from lamina.core.naming import automatic_name, printable, snake_case
from lamina.core.owner import Owner
from lamina.core.types import DType
from lamina.core.variable import binding, from_host
from lamina.losses.loss import (
    as_array,
    score_dtype,
    weigh_by_mask,
)


def zeros(shape, dtype=None):
    """Return the state of a metric that has seen nothing."""
    kind = jax.dtypes.canonicalize_dtype(dtype or score_dtype())
    return from_host(np.zeros(shape, kind))


def direction_of(metric) -> str | None:
    """Return which way a metric is better, `"up"` or `"down"`; None for unknown."""
    return getattr(metric, "_direction", None)


class Metric(Constructed, Owner):
    """A number that is gathered over batches. Subclass it and write three methods.

    `__init__` makes the state with `add_weight`, `update_state` assigns to it,
    `result` reads it. The stateless methods are the same as functions of the values
    of `variables`, for use under `jax.jit`.

    Args:
        dtype: the dtype to compute in, or a policy; None takes `floatx()`, or float32
            where that is a half type.
        name: its name; made from the class' when None.

    >>> import lamina
    >>> class Largest(lamina.metrics.Metric):
    ...     def __init__(self, name="largest"):
    ...         super().__init__(name=name)
    ...         self.top = self.add_weight(shape=(), initializer="zeros", name="top")
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.top.assign(max(self.top.value, y_pred.max()))
    ...     def result(self):
    ...         return self.top.value
    >>> import numpy as np
    >>> float(Largest()(None, np.array([1.0, 4.0, 2.0])))
    4.0
    """

    _saved_first = ("name", "dtype")
    _may_forget = True
    _numbers_are_sizes = True
    _direction: str | None = None  # "up" or "down": which way is better

    def __init__(self, dtype: DType = None, name: str | None = None):
        self.name = name or automatic_name(snake_case(type(self).__name__))
        self._dtype = score_dtype(dtype)
        self._variables = []

    @property
    def dtype(self) -> str:
        """The dtype it computes in."""
        return self._dtype

    def add_variable(
        self, shape, initializer, dtype=None, aggregation="sum", name=None
    ):
        """Make a Variable that holds a part of the state.

        Args:
            shape: its shape.
            initializer: a name, an initializer or a function `(shape, dtype=...)`
                for its first value. `reset_state` sets zeros.
            dtype: its dtype; None takes that of metrics by default.
            aggregation: how copies on several devices combine.
            name: its name.
        """
        from lamina import initializers

        self._check_constructed()
        return self._make_own_variable(
            (*context.scopes, self.name.replace("/", ">")),
            initializers.get(initializer or "zeros"),
            shape,
            dtype or score_dtype(),
            trainable=False,
            autocast=False,
            aggregation=aggregation,
            synchronization="on_read",
            name=name,
        )

    def add_weight(self, shape=(), initializer=None, dtype=None, name=None):
        """Make a Variable that holds a part of the state; see `add_variable`."""
        return self.add_variable(shape, initializer, dtype, name=name)

    def update_state(self, *args, **kwargs):
        """Take in a batch.

        Args:
            *args: usually `y_true`, `y_pred` and `sample_weight=None`.
            **kwargs: the same by name.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` must have a method `update_state`."
        )

    def result(self):
        """Return the number for all batches since the last reset."""
        raise NotImplementedError(
            f"`{type(self).__name__}` must have a method `result`."
        )

    def reset_state(self):
        """Forget all batches."""
        for variable in self.variables:
            variable.assign(zeros(variable.shape, variable.raw_value.dtype))

    def __call__(self, *args, **kwargs):
        """Take in a batch and return the result so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def _explicit(self, function, values, *args, **kwargs):
        # Open, so that a metric may make its Variables from the first batch's shape.
        variables = self.variables
        if len(values) != len(variables):
            raise ValueError(
                "`metric_variables` must hold one array for each of "
                f"`{type(self).__name__}.variables`: {len(variables)} of them. "
                f"Received: {len(values)}"
            )
        with binding(variables, [as_array(v) for v in values], open=True):
            result = function(*args, **kwargs)
            return result, [v.raw_value for v in self.variables]

    def stateless_update_state(self, metric_variables, *args, **kwargs):
        """Return the state after a batch, given the state before.

        Args:
            metric_variables: the values of `variables`.
            *args: as in `update_state`.
            **kwargs: as in `update_state`.

        Raises:
            ValueError: not one value per Variable.

        >>> import lamina
        >>> mean = lamina.metrics.Mean()
        >>> state = mean.stateless_reset_state()
        >>> state = mean.stateless_update_state(state, [1.0, 3.0])
        >>> float(mean.stateless_result(state)), float(mean.result())
        (2.0, 0.0)
        """
        return self._explicit(self.update_state, metric_variables, *args, **kwargs)[1]

    def stateless_result(self, metric_variables):
        """Return the result for a given state."""
        return self._explicit(self.result, metric_variables)[0]

    def stateless_reset_state(self):
        """Return the state after a reset."""
        values = [v.raw_value for v in self.variables]
        return self._explicit(self.reset_state, values)[1]

    def __repr__(self):
        return f"<{type(self).__name__} name={printable(self.name)}>"


Metric._owns = Metric


def is_built(metric) -> bool:
    """Tell whether a metric that makes Variables as it is updated has done so."""
    return getattr(metric, "_built", True) is not False


def update_weighted(metric, y_true, y_pred, weight):
    """Update a metric; the mask of `y_pred` becomes a part of the weights.

    A metric whose `update_state` takes no `sample_weight` sees every entry.

    Raises:
        ValueError: weights for a metric that takes none.
    """
    mask = get_mask(y_pred)
    known = inspect.signature(metric.update_state).parameters
    takes = "sample_weight" in known
    if not takes and all(p.kind is not p.VAR_KEYWORD for p in known.values()):
        if weight is not None:
            raise ValueError(
                f"`{metric.name}` is one of the `weighted_metrics`, but its "
                "`update_state` takes no `sample_weight`. Give it that argument, or "
                "list the metric under `metrics`."
            )
        mask = None
    dtype = metric.dtype if weight is None else weight.dtype
    weight = weigh_by_mask(weight, mask, dtype)
    given = {"sample_weight": weight} if takes or weight is not None else {}
    try:
        metric.update_state(y_true, y_pred, **given)
    except Exception as error:
        if mask is not None:
            error.add_note(
                f"The mask of the predictions, of shape {mask.shape}, is in the "
                f"`sample_weight` that the metric `{metric.name}` was given."
            )
        raise
