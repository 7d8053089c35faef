"""The search for the first number that went wrong: `fit(check_numerics=True)`.

Nothing is added to the step. Now and then the State is looked at and, while it is
finite, copied. Once it is not, the steps since the last good copy run again, which
gives the same numbers, up to the one that went wrong; that one is replayed one
operation at a time.
"""

import re
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

from lamina.core import structure
from lamina.core.context import having
from lamina.core.naming import listed
from lamina.core.variable import marked, pure
from lamina.optimizers import LossScaleOptimizer
from lamina.training import step
from lamina.training.drive import CompiledStep

# Batches are held until their steps are known to be good: at most this many steps and
# bytes, for at most this many seconds.
_STEPS, _BYTES, _SECONDS = 1024, 2**26, 0.5
_ROWS = 8  # of a batch that are named

# Operations that only hold a program, by the parameter that holds it.
_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
# What programs are called that are made here, operation by operation.
_UNNAMED = jax.make_jaxpr(lambda: ())().jaxpr.debug_info.with_unknown_names()


class Guard:
    """Watches the State of a training for numbers that are not finite.

    Args:
        model: the model that is trained.
        variables: its Variables.
        state: the State to begin with.
        count: how many steps of the epoch are done.
        each: whether to look after each step: where something else than the step
            changes the State, or where clipping hides a bad gradient.
        overwritten: whether steps overwrite the State that they are given.

    Attributes:
        each: see above.
        good: the State before the step that went wrong, once one has.
    """

    def __init__(self, model, variables, state, count=0, each=False, overwritten=True):
        self.model, self.variables = model, variables
        self.good = None
        self.each, self._overwritten = each, overwritten
        self._unsure = None  # what was looked at and not yet seen
        self._count = count
        self._begin(state)

    def _begin(self, state):
        self._good = step.copied(state) if self._overwritten else state
        self._chunks, self._steps, self._bytes = [], 0, 0
        self._since = time.monotonic()

    def take(self, chunk, state):
        """Note the Chunk of the steps to come, and the State before them."""
        if self.each:
            self._begin(state)
        self._chunks.append(chunk)
        self._steps += chunk.count
        self._bytes += sum(a.nbytes for a in jax.tree.leaves(chunk.data))

    def check(self, state, last=False):
        """Look at the State after a step, when it is time to.

        Args:
            state: the State.
            last: whether this was the epoch's last step, so that nothing may wait.

        Raises:
            FloatingPointError: a loss, a gradient or a weight is infinite or NaN.
        """
        full = (
            self._steps >= _STEPS
            or self._bytes >= _BYTES
            or time.monotonic() - self._since >= _SECONDS
        )
        if self._chunks and (full or last or self.each):
            finite = _finite(state)
            self._look()
            self._unsure = (self._good, self._chunks, self._steps, finite)
            self._begin(state)
        if last or self.each:
            self._look()

    def _look(self):
        if self._unsure is None:
            return
        good, chunks, steps, finite = self._unsure
        self._unsure = None
        if not finite or self.each:
            all_chunks = (*chunks, *self._chunks)
            batches = [batch for chunk in all_chunks for batch in chunk.batches()]
            self._find(good, batches, always=not finite)
        self._count += steps

    def _find(self, state, batches, always):
        run = CompiledStep(self.model, "train", self.variables)
        for number, batch in enumerate(batches, self._count + 1):
            new, _ = run(state, batch)
            if not _finite((new, self._gradients(state, batch))):
                self.good = state
                message = explain(self.model, self.variables, state, batch, number)
                raise FloatingPointError(message)
            state = new
        if always:
            raise FloatingPointError(
                "The training made numbers that are not finite, yet not when its last "
                f"{len(batches)} steps ran again."
            )

    def _gradients(self, state, batch):
        if step.own_method(self.model, "train_step") is not None:
            return ()
        if isinstance(self.model.optimizer, LossScaleOptimizer):
            return ()  # it expects such gradients, and leaves the step out
        run = CompiledStep(self.model, "gradients", self.variables)
        loss, _, gradients = run(state, batch)
        return loss, gradients


@jax.jit
def _finite(tree):
    """Tell whether all floats of a tree are finite."""
    floats = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(a).all() for a in floats]).all()


def explain(model, variables, state, batch, number) -> str:
    """Say which layer and operation made the first number that is not finite.

    Args:
        model: the model.
        variables: its Variables.
        state: the State before the step.
        batch: the batch `(x, y, sample_weight)` of the step.
        number: the step's number in its epoch, from 1.
    """

    def train(batch):
        loss, _, gradients = step.gradients(model, batch)
        model.optimizer.apply(gradients)
        return loss, gradients

    def run(state, batch):
        (loss, gradients), new = pure(train, variables.groups)(state, batch)
        return loss, gradients, new.trainable

    state = variables.complete(state)
    with marked("named"), having(losses=[]):
        program = jax.make_jaxpr(run)(state, batch)
    leaves = jax.tree.leaves((state, batch))
    results = _run(program.jaxpr, program.consts, [_Value(a) for a in leaves], "")
    paths = [repr(v.path) for v in variables.groups.trainable]
    names = ["loss", *(f"gradient of {p}" for p in paths), *(f"new {p}" for p in paths)]
    held = _inputs_of_batch(batch)
    lines = [
        f"Step {number} of the epoch made a loss or gradient that is not finite when "
        "compiled, yet not when replayed one operation at a time."
    ]
    for name, value in zip(names, results, strict=True):
        if not value.finite:
            lines = [f"The {name} is not finite in step {number} of the epoch."]
            lines += _blame(name, value, held)
            break
    lines += ["The batch:", *(f"  {name}  {_range(array)}" for name, array in held)]
    lines.append("The model keeps the weights of the step before.")
    return "\n".join(lines)


class _Value:
    """An array of the replay, and the operation that made it."""

    def __init__(self, array, maker=None):
        self.array, self.maker = array, maker

    @property
    def finite(self):
        array = self.array
        return not jnp.issubdtype(array.dtype, jnp.inexact) or bool(
            jnp.isfinite(array).all()
        )


class _Maker:
    """One operation of the replay: its name, its place, what it took."""

    def __init__(self, name, place, inputs):
        self.name, self.place, self.inputs = name, place, inputs


def _run(jaxpr, consts, inputs, place):
    """Evaluate a program one operation at a time; return its `_Value`s."""
    consts = [_Value(jnp.asarray(a)) for a in consts]
    held = dict(zip(jaxpr.constvars, consts, strict=True))
    held |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom):
        return _Value(jnp.asarray(atom.val)) if hasattr(atom, "val") else held[atom]

    for equation in jaxpr.eqns:
        taken = [read(atom) for atom in equation.invars]
        where = "/".join(p for p in (place, str(equation.source_info.name_stack)) if p)
        body = _body(equation)
        if body is not None:
            made = _run(body.jaxpr, body.consts, taken, where)
        else:
            made = _apply(equation, taken, where)
        held |= dict(zip(equation.outvars, made, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _body(equation):
    """Return the program inside an operation that does nothing but run it once."""
    if equation.primitive.name in ("scan", "while", "cond"):
        return None
    for key in _BODIES:
        inner = equation.params.get(key)
        if hasattr(inner, "jaxpr") and len(inner.jaxpr.invars) == len(equation.invars):
            return inner
        if hasattr(inner, "eqns") and len(inner.invars) == len(equation.invars):
            return ClosedJaxpr(inner, ())
    return None


def _apply(equation, taken, where):
    """Run one operation, as a program of its own."""
    given = {
        atom: value.array
        for atom, value in zip(equation.invars, taken, strict=True)
        if not hasattr(atom, "val")
    }
    alone = Jaxpr((), [*given], equation.outvars, [equation], debug_info=_UNNAMED)
    made = jaxpr_as_fun(ClosedJaxpr(alone, ()))(*given.values())
    maker = _Maker(equation.primitive.name, where, taken)
    return [_Value(array, maker) for array in made]


def _blame(name, value, batch):
    """Walk back to the operation that made non-finite numbers of finite ones."""
    while value.maker is not None:
        earlier = next((v for v in value.maker.inputs if not v.finite), None)
        if earlier is None:
            break
        value = earlier
    array = np.asarray(value.array)
    if value.maker is None:
        what = next((n for n, a in batch if a is value.array), "a weight")
        return [f"It came in: {what} holds {_count(array)}."]
    maker = value.maker
    lines = [
        f"It began in {_place(name, maker.place)}, in the operation `{maker.name}`, "
        f"which made {_count(array)} (shape {array.shape})."
    ]
    for v in maker.inputs:
        if v.array.size and jnp.issubdtype(v.array.dtype, jnp.inexact):
            lines.append(f"  it took  {_range(v.array)}")
        elif maker.name == "gather":  # beyond the rows it gives NaN
            lines.append(f"  at the indices  {_range(v.array)}")
    if array.ndim:
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        count = next((len(a) for _, a in batch if getattr(a, "ndim", 0)), None)
        if len(array) == count:
            lines.append(f"  in the batch's rows  {listed(bad, _ROWS)}")
    return lines


def _place(name, stack):
    """Turn JAX's name stack into words: forward or backward, and the layer's path."""
    names = re.sub(r"\b(transpose|jvp|vmap|jit|checkpoint)\(|\)", "", stack)
    path = "/".join(p for p in names.split("/") if p)
    if not path:
        return "the optimizer" if name.startswith("new ") else "the loss"
    backward = name != "loss" or "transpose(" in stack
    return f"the {'backward' if backward else 'forward'} pass of layer {path!r}"


def _inputs_of_batch(batch):
    named = []
    for name, part in zip(("x", "y", "sample_weight"), batch, strict=True):
        for path, leaf in structure.flatten_with_names(part):
            if leaf is not None:
                named.append((name + "".join(f"[{key!r}]" for key in path), leaf))
    return named


def _range(array):
    array = np.asarray(array)
    text = f"{array.dtype} {array.shape}"
    numbers = array.astype(np.float64) if array.dtype.kind not in "SUO" else array
    good = numbers[np.isfinite(numbers)]
    if good.size:
        text += f" from {good.min():.6g} to {good.max():.6g}"
    if good.size < array.size:
        text += f", {_count(numbers)}"
    return text


def _count(array):
    nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    parts = [f"{n} {what}" for n, what in ((nan, "NaN"), (infinite, "infinite")) if n]
    return f"{' and '.join(parts)} of {array.size} numbers"
