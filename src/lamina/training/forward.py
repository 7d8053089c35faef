"""The forward pass of a model, compiled: what `model(x)` and `predict` run."""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from lamina.core import settings, structure
from lamina.core.context import context, having
from lamina.core.masks import get_mask, masks_of, put_masks
from lamina.core.placement import is_of_all
from lamina.core.processes import meet, service
from lamina.core.rows import rows_apart
from lamina.core.runtime import keep_few
from lamina.core.threads import check_fork
from lamina.core.variable import Unbound, pure, store, stored
from lamina.training import step
from lamina.training.compiled import training_of

# Numbers of rows that `predict` runs as they are, before it fills batches up.
_SIZES = 16
_NUMBERS = frozenset("fiubV")  # kinds of dtypes; V is bfloat16 and the like


class Forward:
    """The forward pass of a model, compiled for each shape of its inputs.

    Args:
        model: the model.
        kind: the training flag, or `"predict"` for a `predict_step` that a user wrote.

    Attributes:
        by_row: whether each row's outputs follow from that row alone.
    """

    def __init__(self, model, kind):
        self._model, self._kind = model, kind
        self.by_row = kind is False and rows_apart(model)
        self._sizes: set[int] = set()
        self._made = self._make(model, kind)

    def _make(self, model, kind):
        """Return the Variables, and the program of their values and the inputs."""
        trained, others = step.split_variables(model)
        training = training_of(model)
        programs = training.programs
        variables = tuple(dict.fromkeys((*trained, *others, *programs.adopted)))
        eager = step.runs_eagerly(model)
        predicts = step.step_of(model, kind) if kind == "predict" else None

        def run(inputs):
            if predicts is not None:
                return predicts((inputs, None, None))
            return model(inputs, training=kind)

        def call(values, inputs):
            adopts = not eager and programs.adopts
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
        check_fork()
        variables, program = self._made
        values = stored(variables)
        if watched := settings.get("explain_recompiles"):
            program = watched(program, self._model, "call", (variables,))
        try:
            outputs, masks, changed = program(values, inputs)
        except Unbound as found:
            training_of(self._model).programs.adopt(found, before)
            self._made = self._make(self._model, self._kind)
            return self(inputs, found.made)
        keep_few(program)
        if changed:
            store([variables[i] for i in changed], changed.values())
        return outputs, masks

    def filled(self, count):
        """Return how many rows a batch is filled up to, so that sizes stay few.

        Args:
            count: how many there are; kept as it is unless many sizes came before.
        """
        if count not in self._sizes and len(self._sizes) >= _SIZES:
            power = 1 << (count - 1).bit_length()
            count = min([n for n in tuple(self._sizes) if n > count] + [power])
        self._sizes.add(count)
        return count


def forward(model, kind: Any) -> Forward:
    """Return the compiled forward pass of a model, from the cache.

    Args:
        model: the model.
        kind: the training flag, or `"predict"` for what `predict` runs.
    """
    if kind == "predict" and step.own_step(model, kind) is None:
        kind = False
    mine = model._lamina_training
    kept = mine.programs.of(model)
    eager = mine.flags.run_eagerly
    if not kept.one_program or kind == "predict":  # there is a user's code
        eager = step.runs_eagerly(model, kept)
    key = kind if kept.one_program and not eager else (kind, eager, model.built)
    found = kept.forward.get(key)
    if found is None:
        found = kept.forward[key] = Forward(model, kind)
    return found


def called(model, args, kwargs):
    """Return what a call gives that runs as one program, as `(outputs,)`, or None.

    Args:
        model: the model that is called.
        args: its positional arguments.
        kwargs: its keyword arguments.
    """
    inside = context.calling or context.frames or context.losses is not None
    if inside or context.remat is not None:
        return None
    if service() is not None:
        _meet(model, args)
    mine = model._lamina_training
    kept = mine.programs.of(model)
    if not kept.one_program or mine.flags.run_eagerly:
        return None
    if len(args) != 1 or (kwargs and list(kwargs) != ["training"]):
        return None
    training = kwargs.get("training")
    if not (training is None or isinstance(training, bool)) or not all_arrays(args[0]):
        return None
    if training is None and not kept.trains:
        training = False
    run = kept.forward.get(training) or forward(model, training)
    outputs, masks = run(args[0])
    if kept.order is not None:
        outputs = structure.in_order_of(kept.order, outputs)
    return (put_masks(outputs, masks) if masks else outputs,)


def _meet(model, args):
    """Wait for the other processes where weights are divided among them."""
    arrays = args and all_arrays(args[0])
    if arrays and any(is_of_all(v.raw_value) for v in model.variables):
        meet("call")


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
