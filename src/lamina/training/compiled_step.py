"""The steps of a model, compiled, and what they say of themselves: the logs."""

import copy
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.context import having
from lamina.core.placement import Distribution, own_layout
from lamina.core.threads import check_fork
from lamina.core.variable import Unbound, pure
from lamina.training import step
from lamina.training.compiled import training_of
from lamina.training.compiled_metrics import named
from lamina.training.together import check_program


class Program:
    """A compiled step: a function of a State and more that takes Variables in.

    Args:
        make: a function that returns the step as it is for the present Variables.
        variables: the Variables that it reads and changes.
        together: whether all processes of a run run it at once.
    """

    def __init__(self, make, variables, together=True):
        self._make, self._variables, self._together = make, variables, together
        self._groups: Any = None  # those that it was last made for
        self._made: Any = None

    def __call__(self, state, *rest, trace=False, before: Any = frozenset()):
        """Run it.

        Args:
            state: the State.
            rest: a batch, or several and their number.
            trace: whether to trace it only.
            before: the Variables that the trace before this one made.

        Returns:
            The next State, which may have more Variables than the one given, and the
            logs; these are None where they follow from the State.
        """
        check_fork()
        variables = self._variables
        fresh = variables.groups is not self._groups
        if fresh:
            self._groups, self._made = variables.groups, self._make()
        run = self._made.trace if trace else self._made
        try:
            if fresh and self._together and Distribution.any_made:
                check_program(self._made, variables.complete(state), rest)
            return run(variables.complete(state), *rest)
        except Unbound as found:
            variables.adopt(found, before)
            return self(state, *rest, trace=trace, before=found.made)

    def trace(self, state, *rest):
        """Trace it, as `jax.jit(...).trace` does; the first call uses the trace."""
        return self(state, *rest, trace=True)


def compiled_step(model, kind, variables, donate=False, several=False):
    """Return the compiled step of a kind for these Variables, from the cache.

    Args:
        model: the model.
        kind: `"train"`, `"gradients"`, `"test"`, `"predict"` or `"results"`.
        variables: the Variables that it reads and changes.
        donate: whether it may overwrite the State it is given.
        several: whether it takes several batches, as `in_turn` says.
    """
    eager = step.runs_eagerly(model)

    def make():
        steps = training_of(model).programs.of(model).made
        optimizer = model.optimizer
        shardings = () if eager else _shardings(kind, variables)
        key = (kind, variables.key(), donate, several, id(optimizer), eager, shardings)
        if key not in steps:
            # A copy: these groups stay when the Variables become more.
            made: Any = _bound(model, kind, copy.copy(variables), eager)
            if several:
                made = in_turn(made, step.gives_logs(model, kind))
            if not eager:
                made.__name__ = f"{kind}_step"
                lying: Any = {"out_shardings": (shardings, None)} if shardings else {}
                made = jax.jit(made, donate_argnums=(0,) if donate else (), **lying)
            steps[key] = made, optimizer  # held, so that no other one gets its `id`
        made = steps[key][0]
        watched = settings.get("explain_recompiles")
        if watched and kind != "results":
            return watched(made, model, kind, variables.groups, donate, several)
        return made

    return Program(make, variables, together=kind != "results")


def step_laid_out(model, variables, shardings):
    """Return the training step for devices that are not here, to be compiled only.

    Args:
        model: the model.
        variables: the Variables that it changes.
        shardings: how they lie, in the groups of the State.
    """
    made = _bound(model, "train", copy.copy(variables), eager=False)
    return jax.jit(made, donate_argnums=0, out_shardings=(shardings, None))


def _bound(model, kind, variables, eager):
    """Make a function of the State of a step that assigns Variables."""
    run = step.step_of(model, kind, variables)

    def call(state, *batch):
        with having(losses=[]):
            adopts = not eager and training_of(model).programs.adopts
            result, new = pure(run, variables.groups, adopts=adopts)(state, *batch)
        return (new, result) if kind in ("train", "test") else result

    return call


def _shardings(kind, variables):
    """Return how the State that a step returns lies: as its Variables do.

    Empty where none of them has a layout.
    """
    found = [tuple(map(own_layout, group)) for group in variables.groups]
    lies = kind in ("train", "test") and any(map(any, found))
    return step.State(*found) if lies else ()


def in_turn(call, logs):
    """Make a step of one batch into one of several, all of one shape.

    It takes a tuple of batches, or one batch of arrays that hold several along a new
    first axis, and how many of these to take.

    Args:
        call: the step.
        logs: whether it gives logs; those of the last batch are kept.
    """

    def run(state, batches, count=None):
        if count is None:
            count = len(batches)
            batches = jax.tree.map(lambda *arrays: jnp.stack(arrays), *batches)

        def one(i, state):
            at = partial(jax.lax.dynamic_index_in_dim, index=i, keepdims=False)
            return call(state, jax.tree.map(at, batches))

        last = None
        if logs:
            shapes = jax.eval_shape(lambda: one(0, state)[1])
            last = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        return jax.lax.fori_loop(0, count, lambda i, c: one(i, c[0]), (state, last))

    return run


class Logs:
    """The State of an epoch and its logs so far, computed when somebody reads them."""

    def __init__(self, model, variables, state, given=None):
        self._read = compiled_step(model, "results", variables)
        self.variables, self.state, self.given = variables, state, given

    def __call__(self) -> dict:
        """Return the values by name, fetched from the device."""
        logs = self.given
        if logs is None:
            logs = self._read(self.state)
        logs = named(jax.device_get(logs).items())
        return {name: _number(value) for name, value in sorted(logs.items())}


def _number(value):
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array
