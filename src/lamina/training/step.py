"""The Step: a pure function of State and one batch.

State is what training changes, as four flat tuples of arrays: trainable
Variables, other Variables, the optimizer's, the metrics'.
"""

import functools
import inspect
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lamina.core import structure
from lamina.core.context import having
from lamina.core.masks import masks_of, put_masks
from lamina.core.variable import binding
from lamina.data import unpack
from lamina.optimizers import Optimizer


class State(NamedTuple):
    """Values of all Variables that training changes, group by group."""

    trainable: tuple
    non_trainable: tuple
    optimizer: tuple
    metrics: tuple


def copied(state):
    """Return a copy of a State; unlike `jnp.copy` it compiles nothing."""
    return jax.device_put(state, may_alias=False)


class Cells:
    """The Variables behind a State: where values are read from and written to."""

    def __init__(self, model, optimizer=True):
        metrics = {id(v): v for v in model.metrics_variables}
        own = list(model.optimizer.variables) if optimizer and model.optimizer else []
        if optimizer and assigns(own_method(model, "train_step")):
            held = [o for o in vars(model).values() if isinstance(o, Optimizer)]
            others = {id(v): v for o in held for v in o.variables}
            own += [v for i, v in others.items() if i not in set(map(id, own))]
        trained, others = model._split_variables()
        self.groups = State(
            tuple(trained),
            tuple(v for v in others if id(v) not in metrics),
            tuple(own),
            tuple(metrics.values()),
        )

    def key(self):
        """Identify the groups, for caches of compiled steps."""
        return tuple(tuple(map(id, group)) for group in self.groups)

    def read(self) -> State:
        """Return the present values."""
        return State(*(tuple(v.raw_value for v in group) for group in self.groups))

    def copy(self) -> State:
        """Return copies of the present values, which a step may overwrite."""
        return copied(self.read())

    def write(self, state) -> None:
        """Make `state` the Variables' values."""
        for group, values in zip(self.groups, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable._store(value)


def rows(x) -> int:
    """Return the number of rows of a batch."""
    leaves = [a for a in structure.flatten(x) if a is not None]
    return leaves[0].shape[0] if leaves and leaves[0].ndim else 1


def slopes(model, cells, state, batch):
    """Return the loss, its gradients, and what else the forward pass made.

    Returns:
        `(loss, gradients, (outputs, non_trainable, metrics))`; loss and gradients
        are scaled where the optimizer scales the loss.
    """
    x, y, weight = unpack(batch)
    groups = cells.groups
    bound = (*groups.trainable, *groups.non_trainable, *groups.metrics)
    a = len(groups.trainable)
    b = a + len(groups.non_trainable)

    def forward(trainable):
        values = (*trainable, *state.non_trainable, *state.metrics)
        with binding(bound, values) as frame, having(losses=[]):
            y_pred = model(x, training=True)
            loss = loss_of(model, x, y, y_pred, weight, training=True)
            _track(model, loss, rows(x))
            new = frame.current()
        made = y_pred, new[a:b], new[b:]
        return _scaled(model, state, loss), (made, masks_of(y_pred))

    slope = jax.value_and_grad(forward, has_aux=True)
    (loss, (made, masks)), gradients = slope(state.trainable)
    put_masks(made[0], masks)
    return loss, gradients, made


def loss_of(model, x, y, y_pred, weight, training):
    """Return the loss of a batch, from `compute_loss` in its form of today or older."""
    given = {"x": x, "y": y, "y_pred": y_pred, "sample_weight": weight}
    own = own_method(model, "compute_loss")
    if own is None or _takes(own, "training"):
        given["training"] = training
    return model.compute_loss(**given)


def _takes(function, name):
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def train(model, cells, state, batch) -> State:
    """Return the State after one step of training."""
    return updated(model, cells, state, batch, *slopes(model, cells, state, batch))


def updated(model, cells, state, batch, loss, gradients, made) -> State:
    """Return the State after a step, given what `slopes` returned."""
    x, y, weight = unpack(batch)
    y_pred, non_trainable, metrics = made
    groups = cells.groups
    trainable, optimizer = model.optimizer.stateless_apply(
        list(state.optimizer), list(gradients), list(state.trainable)
    )
    bound = (*groups.trainable, *groups.non_trainable, *groups.metrics)
    everything = (*trainable, *non_trainable, *metrics)
    with binding(bound, everything) as frame:
        model.compute_metrics(x, y, y_pred, sample_weight=weight)
        metrics = frame.current()[len(trainable) + len(non_trainable) :]
    return State(tuple(trainable), non_trainable, tuple(optimizer), metrics)


def _scaled(model, state, loss):
    optimizer = model.optimizer
    with binding(tuple(optimizer.variables), state.optimizer):
        return optimizer.scale_loss(loss)


def _track(model, loss, count):
    """Put the loss of a batch into the running mean that logs show."""
    tracker = model._compiled.loss_tracker
    if tracker is not None:
        tracker.update_state(loss, sample_weight=count)


def test(model, cells, state, batch) -> State:
    """Return the State after one step of evaluation."""
    x, y, weight = unpack(batch)
    groups = cells.groups
    bound = (*groups.trainable, *groups.non_trainable, *groups.metrics)
    values = (*state.trainable, *state.non_trainable, *state.metrics)
    a = len(groups.trainable) + len(groups.non_trainable)
    with binding(bound, values) as frame, having(losses=[]):
        y_pred = model(x, training=False)
        loss = loss_of(model, x, y, y_pred, weight, training=False)
        _track(model, loss, rows(x))
        model.compute_metrics(x, y, y_pred, sample_weight=weight)
        new = frame.current()
    frozen, metrics = new[len(groups.trainable) : a], new[a:]
    return state._replace(non_trainable=frozen, metrics=metrics)


def predict(model, cells, state, batch):
    """Return the outputs for one batch, and what changed of `state.non_trainable`.

    Returns:
        `(outputs, changed)`; `changed` is a dict by position.
    """
    x, _, _ = unpack(batch)
    groups = cells.groups
    bound = (*groups.trainable, *groups.non_trainable)
    given = (*state.trainable, *state.non_trainable)
    with binding(bound, given) as frame, having(losses=[]):
        outputs = model(x, training=False)
        new = frame.current()[len(groups.trainable) :]
    old = state.non_trainable
    return outputs, {i: a for i, a in enumerate(new) if a is not old[i]}


def results(model, cells, metrics) -> dict:
    """Return the metrics' results, given their state."""
    with binding(cells.groups.metrics, metrics):
        return model.get_metrics_result()


def own_method(model, name):
    """Return a user's `train_step` or the like, or None where it is Lamina's."""
    built_in = getattr(getattr(type(model), name), "is_built_in", False)
    return None if built_in else getattr(model, name)


def assigns(method) -> bool:
    """Tell a user's `step(self, data)`, which assigns Variables as it pleases.

    The other form, Keras' own, takes the state as well and returns it.
    """
    if method is None:
        return False
    kinds = [p.kind for p in inspect.signature(method).parameters.values()]
    return len(kinds) == 1 and kinds[0] is not inspect.Parameter.VAR_POSITIONAL


def built_in(method):
    """Mark a step of Model's own, so that the loop can tell a user's from it."""
    method.is_built_in = True
    return method


def total_loss(model, y, y_pred, sample_weight):
    """Return the compiled loss and all added and regularization losses, summed.

    Raises:
        ValueError: there is no loss at all.
    """
    parts = []
    loss = model._compiled.loss(model, y, y_pred, sample_weight)
    if loss is not None:
        parts.append(loss)
    added = model.losses
    if added:
        parts.append(sum(jnp.sum(jnp.asarray(loss)) for loss in added))
    if not parts:
        raise ValueError(
            "There is no loss to minimise. Give `compile` a `loss`, or call "
            "`self.add_loss(...)` in a layer."
        )
    return functools.reduce(jnp.add, parts)
