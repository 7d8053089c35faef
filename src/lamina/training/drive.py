"""The loop over the batches of an epoch, under `fit`, `evaluate` and `predict`.

To start a step costs up to some hundred microseconds, whatever it computes. Where
steps are small, nobody is to hear of single batches and the data are in memory, a
call runs many of them. Elsewhere it takes one batch, or as many as
`steps_per_execution` says. The numbers are the same, bit for bit.

Logs stay on the device until somebody reads them. The model's Variables are written
back at the end, however the loop ends.
"""

import contextlib
import itertools
import time
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import jaxprs_in_params

from lamina.core import processes, structure
from lamina.core.owner import layers_in
from lamina.core.placement import Distribution
from lamina.core.runtime import keep_few
from lamina.core.threads import check_fork
from lamina.core.variable import Unbound
from lamina.data import ArraySource
from lamina.kernels import native
from lamina.training import step, together
from lamina.training.compiled import training_of
from lamina.training.compiled_metrics import named
from lamina.training.compiling import made_step
from lamina.training.placing import placing
from lamina.training.prefetch import Prefetched

_FREE: Any = contextlib.nullcontext()
_SPAN = 0.02  # seconds that a call of many steps should last at most
_MOST, _BYTES = 64, 2**22  # steps in one call, and what their batches may take
_FEW = 4  # less would not pay
_SMALL = 1_000_000  # numbers in the State of a small step

# `steps_per_execution="auto"`, where batches come one by one: this many of them in one
# call for so small a State.
_AUTO, _TINY = 16, 100_000


class CompiledStep:
    """A compiled step: a function of a State and more that takes Variables in.

    Args:
        model: the model.
        kind: `"train"`, `"gradients"`, `"test"`, `"predict"` or `"results"`.
        variables: the Variables that it reads and changes.
        donate: whether it may overwrite the State it is given.
        several: whether it takes several batches, as `compiling.in_turn` says.
    """

    def __init__(self, model, kind, variables, donate=False, several=False):
        eager = step.runs_eagerly(model)
        self._make = partial(made_step, model, kind, variables, donate, several, eager)
        self._variables = variables
        self._together = kind != "results"  # whether all processes run it at once
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
                together.check_program(self._made, variables.complete(state), rest)
            result = run(variables.complete(state), *rest)
        except Unbound as found:
            variables.adopt(found, before)
            return self(state, *rest, trace=trace, before=found.made)
        keep_few(self._made)
        return result

    def trace(self, state, *rest):
        """Trace it, as `jax.jit(...).trace` does; the first call uses the trace."""
        return self(state, *rest, trace=True)


class Chunk(NamedTuple):
    """Some batches of an epoch, for one call.

    Attributes:
        count: how many.
        reported: how many callbacks hear of: a group as a whole one, also where the
            data end.
        data: the batches in a list, or one of arrays that hold them along a new first
            axis.
    """

    count: int
    reported: int
    data: Any

    def batches(self) -> list:
        """Return the batches."""
        if isinstance(self.data, list):
            return self.data
        return [jax.tree.map(itemgetter(i), self.data) for i in range(self.count)]

    def last(self, count):
        """Return the number of the last step to report, given how many there were."""
        return count - self.count + self.reported - 1


def grouped(batches, size):
    """Yield Chunks of `size` batches; the last has fewer where the data end.

    >>> from lamina.training.drive import grouped
    >>> [chunk.data for chunk in grouped(range(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    batches = iter(batches)
    while group := list(itertools.islice(batches, size)):
        yield Chunk(len(group), size, group)


@contextlib.contextmanager
def chunks(model, kind, variables, source, *, donate, single, skip=0, counted=False):
    """Give, for the time of a context, what iterates over the Chunks of an epoch.

    Its `run(state, chunk)` returns the next State, and the logs of the last step if
    it gives any. `waited` are the seconds spent waiting for batches while nothing else
    was running, and `place` is what places them.

    Args:
        model: the model.
        kind: `"train"` or `"test"`.
        variables: its Variables.
        source: the source of batches.
        donate: whether a step may overwrite the State it is given.
        single: whether somebody wants to hear of each batch.
        skip: how many batches to leave out.
        counted: whether somebody counts the batches after each call.
    """
    eager = step.runs_eagerly(model)
    one = CompiledStep(model, kind, variables, donate)
    several = CompiledStep(model, kind, variables, donate, several=True)
    if not single and not counted and not eager:
        many = _most(model, variables, source)
        if many >= _FEW:
            in_rows = InRows(one, several, source, skip, many)
            if not in_rows.convolves(model, kind, variables):
                yield in_rows
                return
    # Uncompiled code is not made to run in a compiled loop.
    shared = None if eager else several
    made = Grouped(one, shared, _size(model, variables, single))
    # Arrays need no thread: a batch is cut while the step before is running.
    arrays = isinstance(source, ArraySource)
    batches = source.epoch(skip) if arrays else source.epoch(skip, noted=True)
    made.place = place = placing(early=eager or not arrays)
    with contextlib.ExitStack() as block:
        if not arrays:
            made.used = source.used
            block.callback(source.give_back)
        if eager or arrays:
            batches = batches if place is None else map(place, batches)
        else:
            batches = block.enter_context(Prefetched(batches, place, made.wait))
        made.batches = together.in_step(batches, source, place, skip, made.size)
        yield made


def _most(model, variables, source):
    """Return how many steps a call may take."""
    if not isinstance(source, ArraySource) or source.change is not None:
        return 1
    # Saves tracing a step that turns out to have convolutions.
    if not native.available() and any(
        hasattr(layer, "kernel_size") for layer in layers_in(model)
    ):
        return 1
    leaves = jax.tree.leaves(source.arrays)
    if not all(isinstance(a, np.ndarray) for a in leaves) or not is_small(variables):
        return 1
    row = sum(a.nbytes // source.rows for a in leaves)
    most = min(_MOST, source.full_batches, _BYTES // max(row * source.batch_size, 1))
    # Some numbers serve all sizes of data: each is compiled.
    return 1 << (most.bit_length() - 1) if most else 0


def is_small(variables) -> bool:
    """Tell whether starting a step costs more than copying what it changes."""
    return _numbers(variables) <= _SMALL


def _numbers(variables):
    return sum(v.size for group in variables.groups for v in group)


def _convolves(jaxpr):
    return any(
        eqn.primitive.name == "conv_general_dilated"
        or any(map(_convolves, jaxprs_in_params(eqn.params)))
        for eqn in jaxpr.eqns
    )


class InRows:
    """Iterates over Chunks of many batches, cut out of arrays together."""

    def __init__(self, one, several, source, skip, most):
        self._one, self._several = one, several
        self._source, self._skip, self._most = source, skip, most
        self.place = placing()
        # Processes that run together must not differ in how many steps a call takes.
        self._now, self._calls = (most, 2) if together.several() else (1, 0)
        self.waited = 0.0

    def convolves(self, model, kind, variables):
        """Tell whether the step has a convolution, on a device that is slow at them.

        That is a CPU: inside of a loop it runs them unthreaded.
        """
        known = training_of(model).programs.of(model).made
        key = ("convolves", kind, variables.key())
        if key not in known:
            # The first call of the step uses what is traced here.
            known[key] = jax.default_backend() == "cpu" and _convolves(
                self._several.trace(variables.read(), self._cut(0, 1), 1).jaxpr.jaxpr
            )
        return known[key]

    def __iter__(self):
        source, self.place = self._source, placing()  # which has seen nothing yet
        place = self.place
        for at, count in source.spans(self._skip, lambda: self._now):
            if at == source.full_batches:  # the short last batch
                batch = source.batch(at)
                yield Chunk(1, 1, [batch if place is None else place(batch)])
            else:
                yield Chunk(count, count, self._cut(at, count))

    def _cut(self, at, count):
        """Return batches one after the other, in arrays of always one size."""
        most, size = self._most, self._source.batch_size
        rows = self._source.rows_at(at, count)

        def cut(a):
            part = a[rows]
            whole = part
            if len(part) < most * size:
                whole = np.zeros((most * size, *a.shape[1:]), a.dtype)
                whole[: len(part)] = part
            return whole.reshape(most, size, *a.shape[1:])

        batches = jax.tree.map(cut, self._source.arrays)
        return batches if self.place is None else self.place(batches, before=1)

    def run(self, state, chunk):
        """Run the steps of a Chunk."""
        if isinstance(chunk.data, list):
            return self._one(state, *chunk.data)
        begin = time.perf_counter()
        result = self._several(state, chunk.data, chunk.count)
        # The first call may compile; the second one is timed. How many steps run in a
        # call changes nothing but the time.
        if self._calls < 2:
            jax.block_until_ready(result)
            spent = (time.perf_counter() - begin) / chunk.count
            self._now = max(1, min(int(_SPAN / spent), self._most))
            self._calls += 1
        return result


class Grouped:
    """Iterates over the Chunks of batches that come one by one."""

    def __init__(self, one, several, size):
        self._one, self._several, self.size = one, several, size
        self._state: Any = ()
        self.batches: Any = ()
        self.place: Any = None
        self.used: Any = None  # is told how many batches were taken
        self.waited = 0.0

    def __iter__(self):
        return grouped(self.batches, self.size)

    def run(self, state, chunk):
        """Run the steps of a Chunk."""
        if self.used is not None:
            self.used(chunk.count)
        logs, shares = None, self._several and 1 < chunk.count == self.size
        if shares and _alike(chunk.data):
            state, logs = self._several(state, tuple(chunk.data))
        else:
            for batch in chunk.data:
                state, logs = self._one(state, batch)
        self._state = state
        return state, logs

    def wait(self, seconds):
        """Count seconds of waiting for a batch, where nothing is being computed."""
        leaves = jax.tree.leaves(self._state)
        if not leaves or leaves[0].is_ready():
            self.waited += seconds


def _alike(group):
    """Tell whether all batches of a group have the same shapes."""
    shapes = [
        [getattr(a, "shape", None) for a in structure.flatten(batch)] for batch in group
    ]
    return all(shape == shapes[0] for shape in shapes)


def _size(model, variables, single):
    """Return how many steps run in one call at most."""
    size = training_of(model).flags.steps_per_execution
    if size != "auto":
        return size
    # Not by the clock: callbacks hear of that many batches at once.
    return _AUTO if _numbers(variables) < _TINY and not single else 1


def drive(kind, chunks, logs: Any, callbacks, held=_FREE, count=0, guard=None):
    """Run the Chunks of an epoch, one after the other.

    Args:
        kind: `"train"`, `"test"` or `"predict"`.
        chunks: the Chunks, and a method `run(state, chunk)` for one of them.
        logs: what holds the State, what the last call said (`given`), and the Variables
            of the State (`variables`; None where a run changes none). Called, it
            returns the logs.
        callbacks: the `CallbackList`.
        held: a context that a call is not interrupted in.
        count: how many steps were done before.
        guard: the Guard that looks for numbers that are not finite, or None.

    Yields:
        After each Chunk, how many steps are done.
    """
    variables = logs.variables
    listens = callbacks.listens_to_batches(kind)
    watched = listens and logs.variables is not None
    begin = getattr(callbacks, f"on_{kind}_batch_begin")
    end = getattr(callbacks, f"on_{kind}_batch_end")
    for chunk in chunks:
        processes.check_others()
        if listens:
            begin(count)
        if watched:
            logs.state = variables.read()
        if guard is not None:
            guard.take(chunk, logs.state)
        with held:
            logs.state, logs.given = chunks.run(logs.state, chunk)
            count += chunk.count
            if watched:
                variables.write(logs.state)
        if guard is not None:
            guard.check(logs.state)
        end(chunk.last(count), logs)
        if watched:
            logs.state = variables.read()
        yield count


class Logs:
    """The State of an epoch and its logs so far, computed when somebody reads them."""

    def __init__(self, model, variables, state, given=None):
        self._read = CompiledStep(model, "results", variables)
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
