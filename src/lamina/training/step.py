"""The Step: what happens to a model's Variables in one batch.

A step here is a function of the model and a batch that assigns Variables as it goes,
as a user's `train_step(self, data)` does; `pure` makes a function of the State and the
batch out of it. State is what training changes, as four flat tuples of arrays:
trainable Variables, other Variables, the optimizer's, the metrics'.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamina.core import structure
from lamina.core.context import context
from lamina.core.naming import listed
from lamina.core.owner import split
from lamina.core.placement import is_here
from lamina.core.registry import ours
from lamina.core.tracebacks import warn
from lamina.core.variable import pure, store, value_and_grad
from lamina.data import pack, unpack
from lamina.optimizers.optimizer import trained_by
from lamina.training.compiled import training_of


class State(NamedTuple):
    """Values of all Variables that training changes, group by group."""

    trainable: tuple
    non_trainable: tuple
    optimizer: tuple
    metrics: tuple


def copied(state):
    """Return a copy of a State; nothing is compiled for it on one process."""
    if all(map(is_here, jax.tree.leaves(state))):
        return jax.device_put(state, may_alias=False)
    return _copied(state)


@jax.jit
def _copied(state):
    return jax.tree.map(jnp.copy, state)


class StateVariables:
    """The Variables behind a State: where values are read from and written to.

    The other Variables end with those that are not the model's own, and that a step of
    it reaches: the slots of a second optimizer, a generator of the module.

    Args:
        model: the model.
        names: the groups that count; others are empty.
    """

    def __init__(self, model, names=State._fields):
        self._model, self._names = model, names
        self._earlier = ()
        self.groups = self._sorted()

    def _sorted(self):
        model = self._model
        metrics = dict.fromkeys(model.metrics_variables)
        trained, others = split_variables(model)
        groups = (
            tuple(trained),
            tuple(v for v in others if v not in metrics),
            tuple(model.optimizer.variables if model.optimizer else ()),
            tuple(metrics),
        )
        own = {v for group in groups for v in group}
        adopted = tuple(v for v in training_of(model).programs.adopted if v not in own)
        self.own = len(groups[1])
        groups = State(groups[0], groups[1] + adopted, *groups[2:])
        left_out = {name: () for name in State._fields if name not in self._names}
        return groups._replace(**left_out)

    def adopt(self, found, before):
        """Take in Variables that a step reaches; see `Programs.adopt`.

        Some may be the model's own and new: a layer, an optimizer or a metric made
        them while the step was traced.
        """
        training_of(self._model).programs.adopt(found, before)
        self._earlier = ((self.groups, self.own), *self._earlier)
        self.groups = self._sorted()

    def complete(self, state) -> State:
        """Return a State with present values in place of those that it leaves out.

        These may be whole groups, and what was adopted.
        """
        sizes = [len(values) for values in state]
        if sizes == [len(group) for group in self.groups]:
            return state
        for groups, own in ((self.groups, self.own), *self._earlier):
            fits = [n in (0, len(g)) for n, g in zip(sizes, groups, strict=True)]
            if all(fits) or (sizes[1] == own and all(fits[:1] + fits[2:])):
                known = dict(_pairs(groups, state))
                break
        else:
            wanted = dict(zip(State._fields, map(len, self.groups), strict=True))
            raise ValueError(
                f"A State of this model has {wanted} values. Received: "
                f"{dict(zip(State._fields, sizes, strict=True))}"
            )

        def value(variable):
            found = known.get(variable)
            return copied(variable.raw_value) if found is None else found

        return State(*(tuple(map(value, group)) for group in self.groups))

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
        for variables, values in zip(self.groups, self.complete(state), strict=True):
            store(variables, values)

    def pairs(self, state):
        """Return the Variables with the values that `state` has for them."""
        return _pairs(self.groups, self.complete(state))


def _pairs(groups, state):
    for group, values in zip(groups, state, strict=True):
        yield from zip(group, values, strict=False)


def rows(x) -> int:
    """Return the number of rows of a batch."""
    leaves = [a for a in structure.flatten(x) if a is not None]
    return leaves[0].shape[0] if leaves and leaves[0].ndim else 1


def gradients(model, batch):
    """Run a model on a batch for training.

    Returns:
        `(loss, outputs, gradients)`; loss and gradients are scaled where the optimizer
        scales the loss.
    """
    x, y, weight = unpack(batch)

    def forward():
        y_pred = model(x, training=True)
        loss = loss_of(model, x, y, y_pred, weight, training=True)
        _track(model, loss, rows(x))
        return model.optimizer.scale_loss(loss), y_pred

    trained, _ = split_variables(model)
    before = [v.raw_value for v in trained]
    (loss, y_pred), found = value_and_grad(forward, trained)()
    # What a call assigns to a weight that is trained holds for that call.
    store(trained, before)
    return loss, y_pred, found


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


def train(model, batch):
    """Train on one batch; return the logs if the model makes its own."""
    loss, y_pred, found = gradients(model, batch)
    check_trained(model, len(found))
    model.optimizer.apply(found)
    return _measured(model, batch, y_pred)


def split_variables(model) -> tuple[list, list]:
    """Return the trained Variables and the others, and look for them once."""
    names = "trainable_variables", "non_trainable_variables"
    if not all(ours(getattr(getattr(type(model), n), "fget", None)) for n in names):
        return model.trainable_variables, model.non_trainable_variables
    return split(model, model.variables)


def check_trained(model, count=None):
    """Refuse an optimizer that was built for other weights than are trained now.

    Args:
        model: the model.
        count: how many gradients there are, where only that is to be checked.
    """
    known = trained_by(model.optimizer)
    if known is None or len(known) == count:
        return
    now = model.trainable_variables
    if {id(v) for v in known} == {id(v) for v in now}:
        return
    changes = []
    for word, some, others in (("new", now, known), ("gone", known, now)):
        ids = {id(v) for v in others}
        paths = [v.path for v in some if id(v) not in ids]
        changes += [f"{word}: {listed(paths, 3)}"] if paths else []
    raise ValueError(
        f"The weights that `{model.name}` trains are not those that its optimizer was "
        f"built for ({'; '.join(changes)}). Call `compile()` again, with a new "
        "optimizer, after `trainable` or the layers have changed. What a `call` makes "
        "anew each time would never be trained: make weights and layers in "
        "`__init__()` or in `build()`, once."
    )


def test(model, batch):
    """Evaluate one batch; return the logs if the model makes its own."""
    x, y, weight = unpack(batch)
    y_pred = model(x, training=False)
    loss = loss_of(model, x, y, y_pred, weight, training=False)
    _track(model, loss, rows(x))
    return _measured(model, batch, y_pred)


def predict(model, batch):
    """Return the outputs for one batch."""
    return model(unpack(batch)[0], training=False)


def results(model):
    """Return the metrics' results."""
    return model.get_metrics_result()


def _measured(model, batch, y_pred):
    x, y, weight = unpack(batch)
    logs = model.compute_metrics(x, y, y_pred, sample_weight=weight)
    # Those of the library follow from the metrics' state whenever somebody asks.
    return None if own_method(model, "compute_metrics") is None else logs


def _track(model, loss, count):
    """Put the loss of a batch into the running mean that logs show."""
    tracker = training_of(model).settings.loss_tracker
    if tracker is not None:
        tracker.update_state(loss, sample_weight=count)


# ---- steps that users wrote ----------------------------------------------------

# By the kind of step they stand for.
_OWN = {"train": "train_step", "test": "test_step", "predict": "predict_step"}


def own_method(model, name):
    """Return a user's `train_step` or the like, or None where it is Lamina's."""
    built_in = getattr(getattr(type(model), name), "is_built_in", False)
    return None if built_in else getattr(model, name)


def runs_eagerly(model, kept=None) -> bool:
    """Tell whether the code of a model runs as it is written, uncompiled.

    That is so with `run_eagerly`; and where a user says that their code cannot be
    compiled, by `jit_compile=False` or a layer's `supports_jit`. Where all code is ours
    nobody would notice but by the time it takes.

    Args:
        model: the model.
        kept: what is kept for its present layers, if that is at hand.
    """
    training = training_of(model)
    flags = training.flags
    if flags.run_eagerly:
        return True
    kept = kept or training.programs.of(model)
    if flags.jit_compile:
        return flags.jit_compile == "auto" and kept.refuses
    given = jax.tree.leaves(training.settings.given)
    own = any(own_method(model, name) for name in (*_OWN.values(), "compute_loss"))
    plain = (str, int, float)
    return own or not (
        kept.one_program and all(isinstance(x, plain) or ours(type(x)) for x in given)
    )


def own_loss(model) -> bool:
    """Tell whether a user wrote the loss of a step, or may have."""
    names = ("compute_loss", "train_step")
    return any(own_method(model, name) is not None for name in names)


def own_step(model, kind):
    """Return the step of a kind that a user wrote, or None."""
    return own_method(model, _OWN[kind]) if kind in _OWN else None


def gives_logs(model, kind) -> bool:
    """Tell whether a step of a kind gives logs of its own."""
    own = own_step(model, kind) or own_method(model, "compute_metrics")
    return own is not None


def warn_of_unused(model):
    """Warn of methods that a user overrides, Keras calls, and nothing here calls."""
    for kind, own in _OWN.items():
        name = f"make_{kind}_function"
        if own_method(model, name) is not None:
            warn(
                f"`{type(model).__name__}.{name}` is not called: steps are compiled "
                f"from `{own}`. Override that instead."
            )


def built_in(method: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a step of Model's own, so that the loop can tell a user's from it.

    A subclass writes it as `(self, state, data)` or `(self, data)`: a type checker is
    told that any arguments fit.
    """
    method.is_built_in = True
    return method


def in_keras_form(own) -> bool:
    """Tell whether a step takes the state and returns it, and assigns nothing."""
    parameters = inspect.signature(own).parameters.values()
    return len(parameters) != 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters)


def step_of(model, kind, variables=None):
    """Return the step of a kind: the user's, in either form, or the library's."""
    own = own_step(model, kind)
    if own is None:
        return functools.partial(globals()[kind], model)
    if in_keras_form(own):
        return functools.partial(
            _explicit, own, kind, variables or StateVariables(model, _PARTS[kind])
        )

    def run(batch):
        result = own(pack(*batch))
        if kind != "predict" and not isinstance(result, dict):
            raise TypeError(
                f"`{type(model).__name__}.{_OWN[kind]}(self, data)` expected to return "
                f"a dict of logs. Received: {result!r} (of type "
                f"{type(result).__name__})"
            )
        return result

    return run


# What Keras' form of the steps, `(state, data) -> (logs, state)`, takes and returns.
_PARTS = {
    "train": ("trainable", "non_trainable", "optimizer", "metrics"),
    "test": ("trainable", "non_trainable", "metrics"),
    "predict": ("trainable", "non_trainable"),
}


def _explicit(own, kind, variables, batch):
    """Run a step in Keras' form as one that assigns."""
    names = _PARTS[kind]
    logs, parts = own(_parts(variables, variables.read(), names), pack(*batch))
    if kind != "predict":
        parts = {name: tuple(p) for name, p in zip(names, parts, strict=True)}
        variables.write(variables.read()._replace(**parts))
    return logs


def _parts(variables, state, names):
    # Lists, as in Keras: steps put groups together by `+` and assign single values.
    state = state._replace(non_trainable=state.non_trainable[: variables.own])
    return tuple(list(getattr(state, name)) for name in names)


def one_step(model, kind, state, data):
    """Run the library's step for users who call it, mostly from their own step.

    In Keras' form with the state and the data; as a step that assigns with one of them.
    """
    if data is None:
        logs = globals()[kind](model, unpack(state))
        return model.get_metrics_result() if logs is None else logs
    names, variables = _PARTS[kind], StateVariables(model, _PARTS[kind])
    given = {name: tuple(p) for name, p in zip(names, state, strict=False)}
    # Inside of a step that is traced, the program around it learns what this reaches.
    adopts = next((f.adopts for f in context.frames if f.adopts), False)
    run = functools.partial(globals()[kind], model)
    whole = variables.complete(variables.read()._replace(**given))
    logs, new = pure(run, variables.groups, adopts=adopts)(whole, unpack(data))
    adopted = slice(variables.own, None)
    store(variables.groups.non_trainable[adopted], new.non_trainable[adopted])
    if kind == "predict":
        return logs, state
    if logs is None:
        logs = pure(model.get_metrics_result, variables.groups)(new)[0]
    return logs, _parts(variables, new, names)


def total_loss(model, y, y_pred, sample_weight, training):
    """Return the compiled loss and all added and regularization losses, summed.

    Without any of them it is 0 where metrics alone are measured.

    Raises:
        ValueError: there is no loss at all, and nothing else to measure.
    """
    parts, settings = [], training_of(model).settings
    loss = settings.compiled_loss(model, y, y_pred, sample_weight)
    if loss is not None:
        parts.append(loss)
    added = model.losses
    if added:
        parts.append(sum(jnp.sum(jnp.asarray(loss)) for loss in added))
    if not parts:
        if not training and settings.compiled_metrics.given:
            return jnp.zeros(())
        raise ValueError(
            "There is no loss to minimise. Give `compile` a `loss`, or call "
            "`self.add_loss(...)` in a layer."
        )
    return functools.reduce(jnp.add, parts)
