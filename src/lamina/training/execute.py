"""Compiled steps, from a cache on the model, and the logs they make."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core.context import having
from lamina.core.variable import binding
from lamina.data import pack
from lamina.training import step
from lamina.training.recompiles import watched
from lamina.training.step import State

# Steps that a user may write, by the kind of step they stand for.
_OWN = {"train": "train_step", "test": "test_step", "predict": "predict_step"}


def compiled_step(model, kind, cells, donate=False, several: Any = None):
    """Return the compiled step of a kind for these Variables, from a cache.

    Args:
        model: the model.
        kind: `"train"`, `"slopes"`, `"test"`, `"predict"` or `"results"`.
        cells: the Variables that it reads and changes.
        donate: whether it may overwrite the State it is given.
        several: what makes a step of one batch into one of several, `in_stack` or
            `Several(batch_size, logs)`, or None.
    """
    steps = model._compiled.steps
    key = (kind, cells.key(), donate, several, id(model.optimizer))
    if key not in steps:
        own = own_step(model, kind)
        run = _of_user(own, kind) if own else getattr(step, kind)

        def call(*args):
            return run(model, cells, *args)

        made: Any = call if several is None else several(call)
        if not model._compiled.run_eagerly:
            made.__name__ = f"{kind}_step"
            made = jax.jit(made, donate_argnums=(0,) if donate else ())
        steps[key] = made
    return watched(steps[key], model, kind, cells, donate, several)


def own_step(model, kind):
    """Return the step of a kind that a user wrote, or None."""
    return step.own_method(model, _OWN[kind]) if kind in _OWN else None


def in_stack(call):
    """Make a step of one batch into one of a tuple of batches, all of one shape."""

    def run(state, batches):
        def body(state, batch):
            return advance(call, state, batch)

        stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *batches)
        state, logs = jax.lax.scan(body, state, stacked)
        if logs is None:
            return state
        return state, jax.tree.map(lambda a: a[-1], logs)

    return run


class Several(NamedTuple):
    """Makes a step of one batch into one of several that lie one after the other.

    Attributes:
        size: rows in a batch.
        logs: whether the step gives logs; those of the last batch are kept.
    """

    size: int
    logs: bool

    def __call__(self, call):
        """Return a step that takes `(arrays, count)`: so many batches of the arrays."""

        def run(state, given):
            arrays, count = given

            def batch(i):
                return jax.tree.map(
                    lambda a: jax.lax.dynamic_slice_in_dim(a, i * self.size, self.size),
                    arrays,
                )

            def body(i, carry):
                return advance(call, carry[0], batch(i))

            logs = None
            if self.logs:
                shapes = jax.eval_shape(lambda: advance(call, state, batch(0))[1])
                logs = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
            state, logs = jax.lax.fori_loop(0, count, body, (state, logs))
            return (state, logs) if self.logs else state

        return run


def _of_user(own, kind):
    """Make a Step of a user's method, in either form."""
    if step.assigns(own):
        return _made_pure(own, kind)
    return _explicit(own, kind)


def _made_pure(own, kind):
    """Make a Step of a `data -> logs` that assigns Variables as it pleases."""

    def run(model, cells, state, batch):
        groups = cells.groups
        bound = [v for group in groups for v in group]
        values = [value for group in state for value in group]
        with binding(bound, values) as frame, having(losses=[]):
            result = own(pack(*batch))
            new = iter(frame.current())
        if kind == "predict":
            start = len(groups.trainable)
            frozen = frame.current()[start : start + len(groups.non_trainable)]
            old = state.non_trainable
            return result, {i: a for i, a in enumerate(frozen) if a is not old[i]}
        if not isinstance(result, dict):
            raise TypeError(
                f"`{type(model).__name__}.{_OWN[kind]}(self, data)` expected to return "
                f"a dict of logs. Received: {result!r} (of type "
                f"{type(result).__name__})"
            )
        return State(*(tuple(next(new) for _ in group) for group in groups)), result

    return run


def _explicit(own, kind):
    """Make a Step of Keras' `(state, data) -> (logs, state)`."""

    def run(model, cells, state, batch):
        data = pack(*batch)
        if kind == "predict":
            return own((state.trainable, state.non_trainable), data)[0], {}
        if kind == "test":
            given = (state.trainable, state.non_trainable, state.metrics)
            logs, (trainable, frozen, metrics) = own(given, data)
            new = State(
                tuple(trainable), tuple(frozen), state.optimizer, tuple(metrics)
            )
        else:
            logs, parts = own(tuple(state), data)
            new = State(*(tuple(part) for part in parts))
        return new, logs

    return run


def advance(run, state, batch):
    """Run one step; return the State and the logs, if the step gave some."""
    result = run(state, batch)
    if isinstance(result, State):
        return result, None
    return result


class Logs:
    """The logs of an epoch so far: computed only when somebody reads them."""

    def __init__(self, model, cells, state):
        self._read = compiled_step(model, "results", cells)
        self.state = state
        self.given = None

    def __call__(self) -> dict:
        """Return the values by name, fetched from the device."""
        logs = self.given
        if logs is None:
            logs = self._read(self.state.metrics)
        logs = jax.device_get(logs)
        return {name: _number(value) for name, value in sorted(logs.items())}


def _number(value):
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array
