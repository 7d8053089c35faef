"""Every compiled program of a model, and the one cache that keeps them.

A model runs compiled in two forms: as its forward pass (`model(x)`, `predict`), a
function of all Variables' values and the inputs; and as a step of training or
evaluation, a function of the State and a batch. Both are kept while the model's layers
stay as they are, and both find out by being traced which Variables they reach besides
the model's own.
"""

import copy
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lamina.core import structure
from lamina.core.context import context, having
from lamina.core.masks import get_mask, masks_of, put_masks
from lamina.core.operation import graph_of
from lamina.core.registry import ours
from lamina.core.variable import Unbound, pure
from lamina.training import step
from lamina.training.compiled import named
from lamina.training.recompiles import watched
from lamina.training.step import State, own_step

_NUMBERS = frozenset("fiubV")  # kinds of dtypes; V is bfloat16 and the like
_ROUNDS = 8  # traces on end that may make Variables, each reached by way of the last
_LAYOUTS = 8  # states of `trainable` and the like whose programs are kept


class Programs:
    """The compiled programs of one model.

    Attributes:
        adopted: Variables that its programs reach and that are not its own, such as
            the slots of a second optimizer or a generator of the module.
        adopts: how programs are traced, see `binding`.
    """

    def __init__(self):
        self.adopted: tuple = ()
        self.adopts = "all"
        self._kept: dict = {}
        self._seen, self._now = None, None
        self._rounds = 0  # traces on end that made Variables

    def __reduce__(self):
        return Programs, ()

    def adopt(self, found, before):
        """Note more Variables that a program reaches.

        Args:
            found: the `Unbound` that tracing it raised.
            before: the Variables that the trace before this one made.
        """
        self._rounds = self._rounds + 1 if before and found.made else 0
        if self._rounds > _ROUNDS:
            raise ValueError(
                "Each call of the model makes new weights, which would never be "
                f"trained: {sorted(v.path for v in found.made)[:4]}. Make weights and "
                "layers in `__init__()` or in `build()`, once."
            )
        adopted = dict.fromkeys((*self.adopted, *found.variables))
        lost = before - found.used
        if lost:  # each trace makes Variables of its own
            self.adopts = "old"
            adopted = [v for v in adopted if v not in lost | found.made]
        self.adopted = tuple(adopted)

    def forget(self):
        """Drop what was made for what `compile` was told before."""
        self.adopted, self.adopts = (), "all"
        for kept in self._kept.values():
            made = kept.made.items() if kept.whole else ()
            kept.made = {k: f for k, f in made if isinstance(f, Forward)}

    def of(self, model) -> "Kept":
        """Return what is kept for the model's present layers."""
        seen, kept = model._changes.last, self._now
        # Code that a user wrote may change anything, and nobody is told.
        if kept is None or seen != self._seen or not kept.whole:
            layers = model._flatten_layers()
            of = (
                tuple((id(x), x.trainable, x._changed_at) for x in layers),
                tuple(map(id, model.variables)),
            )
            # Assigned at once: other threads may be using the one from before.
            kept = self._kept.pop(of, None) or Kept(model, layers)
            self._kept[of] = self._now = kept
            if len(self._kept) > _LAYOUTS:
                self._kept.pop(next(iter(self._kept)))
            self._seen = seen
        return kept


class Kept:
    """The programs of a model whose layers stay as they are.

    Args:
        model: the model.
        layers: all layers in it, itself included.

    Attributes:
        made: programs and other things that are worked out once, by a key.
        whole: whether a call outside of compiled code may run as one program: no layer,
            function or activity regularizer in it is one that a user may watch at work.
        trains: whether some layer trains unless it is told otherwise.
    """

    def __init__(self, model, layers):
        self._layers = layers  # held, so that no other layer gets the `id` of one
        self.made: dict = {}
        self.whole = model.built and _is_ours(model, layers)
        self.trains = any(layer._trains_by_default for layer in layers)


# ---- the forward pass ----------------------------------------------------------


class Forward:
    """The forward pass of a model, compiled for each shape of its inputs.

    Args:
        model: the model.
        kind: the training flag, or `"predict"` for a `predict_step` of the user's.

    Attributes:
        by_row: whether each row's outputs follow from that row alone.
    """

    def __init__(self, model, kind):
        self._model, self._kind = model, kind
        self.by_row = kind is False and model._rows_apart()
        self._made = self._make(model, kind)

    def _make(self, model, kind):
        """Return the Variables, and the program of their values and the inputs."""
        trained, others = model._split_variables()
        adopted = model._programs.adopted
        variables = tuple(dict.fromkeys((*trained, *others, *adopted)))
        eager = model._compiled.run_eagerly
        predicts = step.step_of(model, kind) if kind == "predict" else None

        def run(inputs):
            if predicts is not None:
                return predicts((inputs, None, None))
            return model(inputs, training=kind)

        def call(values, inputs):
            adopts = not eager and model._programs.adopts
            explicit = pure(run, variables, adopts=adopts)
            with having(losses=[]):
                outputs, new = explicit(values, inputs)
            changed = {i: a for i, a in enumerate(new) if a is not values[i]}
            masks = masks_of(outputs)
            masks = [] if all(mask is None for mask in masks) else masks
            return outputs, masks, changed

        return variables, call if eager else jax.jit(call)

    def __call__(self, inputs, before: Any = frozenset()):
        """Return `(outputs, masks)`."""
        variables, program = self._made
        values = tuple([v._value for v in variables])
        program = watched(program, self._model, "call", (variables,))
        try:
            outputs, masks, changed = program(values, inputs)
        except Unbound as found:
            self._model._programs.adopt(found, before)
            self._made = self._make(self._model, self._kind)
            return self(inputs, found.made)
        for i, value in changed.items():
            variables[i]._store(value)
        return outputs, masks


def forward(model, kind: Any) -> Forward:
    """Return the compiled forward pass of a model, from the cache.

    Args:
        model: the model.
        kind: the training flag, or `"predict"` for what `predict` runs.
    """
    if kind == "predict" and own_step(model, kind) is None:
        kind = False
    kept, eager = model._programs.of(model), model._compiled.run_eagerly
    key = kind if kept.whole and not eager else (kind, eager, model.built)
    found = kept.made.get(key)
    if found is None:
        found = kept.made[key] = Forward(model, kind)
    return found


def called(model, args, kwargs):
    """Return what a call gives that runs as one program, as `(outputs,)`, or None.

    Args:
        model: the model that is called.
        args: its positional arguments.
        kwargs: its keyword arguments.
    """
    inside = context.calling or context.frames or context.symbolic
    if inside or context.losses is not None or context.remat is not None:
        return None
    kept = model._programs.of(model)
    if not kept.whole or model._compiled.run_eagerly:
        return None
    if len(args) != 1 or any(name != "training" for name in kwargs):
        return None
    training = kwargs.get("training")
    if not (training is None or isinstance(training, bool)) or not all_arrays(args[0]):
        return None
    if training is None and not kept.trains:
        training = False
    run = kept.made.get(training) or forward(model, training)
    outputs, masks = run(args[0])
    return (put_masks(outputs, masks) if masks else outputs,)


def all_arrays(inputs) -> bool:
    """Tell whether all inputs are arrays of numbers, without masks."""
    if not isinstance(inputs, (list, tuple, dict)):
        return _is_array(inputs)
    leaves = structure.flatten(inputs)
    return bool(leaves) and all(map(_is_array, leaves))


def _is_array(x):
    if isinstance(x, np.ndarray):
        return x.dtype.kind in _NUMBERS and get_mask(x) is None
    concrete = isinstance(x, jax.Array) and not isinstance(x, Tracer)
    return concrete and get_mask(x) is None


def _is_ours(model, layers):
    """Tell whether a graph holds no code that a user may want to watch at work."""
    graph = graph_of(model)
    if graph is None or model._takes_text or not ours(type(model).call):
        return False
    graphs = [graph for x in layers if (graph := graph_of(x)) is not None]
    parts = [*layers, *(x for graph in graphs for x in graph.operations)]
    return (
        ours(type(model).__call__)
        and all(ours(type(x)) for x in parts if x is not model)
        and not any(x._holds_function or x.activity_regularizer for x in layers)
    )


# ---- steps ---------------------------------------------------------------------


class Program:
    """A compiled step: a function of a State and more that takes Variables in.

    Args:
        make: a function that returns the step as it is for the present Variables.
        cells: the Variables that it reads and changes.
    """

    def __init__(self, make, cells):
        self._make, self._cells = make, cells
        self._groups: Any = None  # those that it was last made for
        self._made: Any = None

    def __call__(self, state, *rest):
        """Run it; the State it returns may have more Variables than the one given."""
        return self._with("__call__", state, *rest)

    def trace(self, state, *rest):
        """Trace it, as `jax.jit(...).trace` does; the first call uses the trace."""
        return self._with("trace", state, *rest)

    def _with(self, name, state, *rest, before: Any = frozenset()):
        cells = self._cells
        if cells.groups is not self._groups:
            self._groups, self._made = cells.groups, self._make()
        try:
            return getattr(self._made, name)(cells.complete(state), *rest)
        except Unbound as found:
            cells.adopt(found, before)
            return self._with(name, state, *rest, before=found.made)


def compiled_step(model, kind, cells, donate=False, several=False):
    """Return the compiled step of a kind for these Variables, from the cache.

    Args:
        model: the model.
        kind: `"train"`, `"slopes"`, `"test"`, `"predict"` or `"results"`.
        cells: the Variables that it reads and changes.
        donate: whether it may overwrite the State it is given.
        several: whether it takes several batches, as `in_turn` says.
    """
    eager = model._compiled.run_eagerly

    def make():
        steps = model._programs.of(model).made
        optimizer = model.optimizer
        key = (kind, cells.key(), donate, several, id(optimizer), eager)
        if key not in steps:
            # A copy: these groups stay when the Variables become more.
            made: Any = _bound(model, kind, copy.copy(cells), eager)
            if several:
                made = in_turn(made, step.gives_logs(model, kind))
            if not eager:
                made.__name__ = f"{kind}_step"
                made = jax.jit(made, donate_argnums=(0,) if donate else ())
            steps[key] = made, optimizer  # held, so that no other one gets its `id`
        return watched(steps[key][0], model, kind, cells.groups, donate, several)

    return Program(make, cells)


def _bound(model, kind, cells, eager):
    """Make a function of the State of a step that assigns Variables."""
    run = step.step_of(model, kind, cells)

    def call(state, *batch):
        with having(losses=[]):
            adopts = not eager and model._programs.adopts
            result, new = pure(run, cells.groups, adopts=adopts)(state, *batch)
        if kind not in ("train", "test"):
            return result
        return new if result is None else (new, result)

    return call


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
            return advance(call, state, jax.tree.map(at, batches))

        last = None
        if logs:
            shapes = jax.eval_shape(lambda: one(0, state)[1])
            last = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        made = jax.lax.fori_loop(0, count, lambda i, c: one(i, c[0]), (state, last))
        return made if logs else made[0]

    return run


def advance(run, state, *batch):
    """Run one step; return the State and the logs, if the step gave some."""
    result = run(state, *batch)
    return (result, None) if isinstance(result, State) else result


class Logs:
    """The State of an epoch and its logs so far, computed when somebody reads them."""

    def __init__(self, model, cells, state, given=None):
        self._read = compiled_step(model, "results", cells)
        self.cells, self.state, self.given = cells, state, given

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
