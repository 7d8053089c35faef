"""Keras' scopes, as thin forms of `binding`."""

import contextlib
from typing import Any

import jax

from lamina.core.context import Scope, context, having
from lamina.core.tracebacks import boundary
from lamina.core.variable import Frame, Variable, marked


class StatelessScope(Scope):
    """Collect assignments to Variables instead of making them.

    Args:
        state_mapping: `(variable, value)` pairs that stand in for values.
        collect_losses: whether `add_loss` inside the block is collected too.
        initialize_variables: kept for compatibility.

    Raises:
        ValueError: a key is not a Variable, or a value has another shape.

    >>> import lamina
    >>> v = lamina.Variable(1.0)
    >>> with lamina.StatelessScope() as scope:
    ...     _ = v.assign(2.0)
    >>> float(scope.get_current_value(v)), float(v.value)
    (2.0, 1.0)
    """

    @boundary
    def __init__(
        self,
        state_mapping: Any = None,
        collect_losses: bool = False,
        initialize_variables: bool = True,
    ):
        self.collect_losses = collect_losses
        self.initialize_variables = initialize_variables
        self.losses = []
        pairs: list[Any] = list(state_mapping or ())
        for variable, value in pairs:
            if not isinstance(variable, Variable):
                raise ValueError(
                    "Invalid reference variable in `StatelessScope`: all keys in "
                    f"`state_mapping` must be Variables. Received: {variable!r}"
                )
            if value is not None and tuple(variable.shape) != tuple(value.shape):
                raise ValueError(
                    "Invalid variable value in `StatelessScope`: all values in "
                    "`state_mapping` must match the shape of their Variable. Received: "
                    f"{variable!r} and a value of shape {tuple(value.shape)}"
                )
        pairs = [(v, x) for v, x in pairs if x is not None]
        self._frame = Frame([v for v, _ in pairs], [x for _, x in pairs], True)

    def _block(self):
        losses = self.losses if self.collect_losses else context.losses
        return having(frames=(*context.frames, self._frame), losses=losses)

    def add_loss(self, loss):
        """Collect one loss."""
        self.losses.append(loss)

    def add_update(self, update):
        """Note a `(variable, value)` pair as an assignment."""
        variable, value = update
        self._frame.values[variable] = value

    def get_current_value(self, variable):
        """Return the value that stands in for the Variable, or None."""
        return self._frame.values.get(variable)


class SymbolicScope(Scope):
    """Mark a block as shape inference: nothing in it holds data.

    >>> import lamina
    >>> x = lamina.KerasTensor((None, 3))
    >>> with lamina.SymbolicScope():
    ...     y = lamina.layers.Dense(2).compute_output_spec(x)
    >>> y.shape
    (None, 2)
    """

    def _block(self):
        return marked("symbolic")


@contextlib.contextmanager
def device(device_name):
    """Place what is computed in the block on a device such as `"cpu:0"`.

    Raises:
        ValueError: `device_name` is neither a string nor a JAX device.

    >>> import lamina
    >>> with lamina.device("cpu:0"):
    ...     x = lamina.ops.ones(2)
    >>> [str(place.platform) for place in x.devices()]
    ['cpu']
    """
    if isinstance(device_name, str):
        kind, _, index = device_name.lower().partition(":")
        kind = {"gpu": "cuda"}.get(kind, kind)
        place = jax.devices(kind)[int(index or 0)]
    elif device_name is None or hasattr(device_name, "platform"):
        place = device_name
    else:
        raise ValueError(
            f"Invalid value for argument `device_name`. Expected a string like 'gpu:0' "
            f"or a `jax.Device`. Received: device_name={device_name!r}"
        )
    with jax.default_device(place):
        yield
