"""Steps as compiled functions of the State and a batch, kept for the next time."""

import copy
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core import settings
from lamina.core.context import having
from lamina.core.placement import own_layout
from lamina.core.variable import pure
from lamina.training import step
from lamina.training.compiled import training_of


def made_step(model, kind, variables, donate, several, eager):
    """Return the step of a kind for the present Variables, from the cache.

    Args:
        model: the model.
        kind: as for a `CompiledStep`.
        variables: the Variables that it reads and changes.
        donate: whether it may overwrite the State it is given.
        several: whether it takes several batches, as `in_turn` says.
        eager: whether it is left uncompiled.
    """
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
