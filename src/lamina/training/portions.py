"""How much of an epoch one call of compiled code takes.

To start a step costs up to some hundred microseconds, whatever it computes. Where
steps are small, nobody is to hear of single batches and the data are in memory, a
call runs many of them. Elsewhere it takes one batch, or as many as
`steps_per_execution` says. The numbers are the same, bit for bit.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import jaxprs_in_params

from lamina.core import structure
from lamina.data import ArraySource
from lamina.kernels import native
from lamina.training.ahead import Ahead, Now, alike, in_groups
from lamina.training.prepare import checked, on_device
from lamina.training.programs import Several, advance, compiled_step, in_stack
from lamina.training.step import gives_logs

_SPAN = 0.02  # seconds that a call of many steps should last at most
_MOST, _BYTES = 64, 2**22  # steps in one call, and what their batches may take
_FEW = 4  # less would not pay
_SMALL = 1_000_000  # numbers in the State of a small step

# `steps_per_execution="auto"`, where batches come one by one: so many of them in one
# call for so small a State.
_AUTO, _TINY = 16, 100_000


class Portion(NamedTuple):
    """Some batches of an epoch, for one call.

    Attributes:
        count: how many.
        told: how many callbacks hear of: a group as a whole one, also where the data
            end.
        data: the arrays that hold the batches.
        batches: a function that returns the batches.
        run: a function from a State to the next one and the last step's logs, if it
            gives any.
    """

    count: int
    told: int
    data: Any
    batches: Callable
    run: Callable

    def last(self, count):
        """Return the number of the last step to tell of, given how many there were."""
        return count - self.count + self.told - 1


def portions(model, kind, cells, source, *, donate, single, skip=0, counted=False):
    """Return a context that iterates over the Portions of an epoch.

    Args:
        model: the model.
        kind: `"train"` or `"test"`.
        cells: its Variables.
        source: the source of batches.
        donate: whether a step may overwrite the State it is given.
        single: whether somebody wants to hear of each batch.
        skip: how many batches to leave out.
        counted: whether somebody counts the batches after each call.
    """
    if not single and not counted and not model._compiled.run_eagerly:
        many = _most(model, cells, source)
        if many >= _FEW:
            in_rows = InRows(model, kind, cells, source, donate, skip, many)
            if not in_rows.convolves:
                return in_rows
    return Grouped(model, kind, cells, source, donate, single, skip)


def _most(model, cells, source):
    """Return how many steps a call may take."""
    if not isinstance(source, ArraySource) or source.change is not None:
        return 1
    # Saves tracing a step that turns out to have convolutions.
    if not native.available() and any(
        hasattr(layer, "kernel_size") for layer in model._flatten_layers()
    ):
        return 1
    leaves = jax.tree.leaves(source.arrays)
    if not all(isinstance(a, np.ndarray) for a in leaves) or not is_small(cells):
        return 1
    row = sum(a.nbytes // source.rows for a in leaves)
    most = min(_MOST, source.whole, _BYTES // max(row * source.batch_size, 1))
    # Some numbers serve all sizes of data: each is compiled.
    return 1 << (most.bit_length() - 1) if most else 0


def is_small(cells) -> bool:
    """Tell whether starting a step costs more than copying what it changes."""
    return _numbers(cells) <= _SMALL


def _numbers(cells):
    return sum(v.size for group in cells.groups for v in group)


def _convolves(jaxpr):
    return any(
        eqn.primitive.name == "conv_general_dilated"
        or any(map(_convolves, jaxprs_in_params(eqn.params)))
        for eqn in jaxpr.eqns
    )


class InRows:
    """Iterates over Portions of many batches, cut out of arrays together.

    Attributes:
        convolves: whether the step has a convolution, and a device that is very slow
            at those inside of loops: a CPU, on which the loop runs them unthreaded.
    """

    waited = 0.0

    def __init__(self, model, kind, cells, source, donate, skip, most):
        self._source, self._skip, self._most = source, skip, most
        several = Several(source.batch_size, gives_logs(model, kind))
        self._several = compiled_step(model, kind, cells, donate, several)
        self._rest: Any = lambda: compiled_step(model, kind, cells, donate)
        self._now = 1
        self._calls = 0
        known = model._programs.of(model).made
        key = ("convolves", kind, cells.key(), several)
        if key not in known:
            known[key] = jax.default_backend() == "cpu" and self._has_one(cells)
        self.convolves = known[key]

    def _has_one(self, cells):
        # The first call of the step uses what is traced here.
        given = self._cut(0, 1), 1
        return _convolves(self._several.trace(cells.read(), given).jaxpr.jaxpr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Do nothing: there is no thread to stop."""

    def __iter__(self):
        source = self._source
        for at, count in source.spans(self._skip, lambda: self._now):
            if at == source.whole:  # the short last batch
                batch = checked(source.batch(at))
                yield Portion(
                    1, 1, batch, lambda b=batch: [b],
                    lambda s, b=batch: advance(self._rest(), s, b),
                )  # fmt: skip
                continue
            given = self._cut(at, count), count
            yield Portion(
                count, count, given[0], lambda g=given: self._parts(*g),
                lambda s, g=given: self._run(s, g),
            )  # fmt: skip

    def _parts(self, arrays, count):
        size = self._source.batch_size

        def part(i):
            rows = slice(i * size, (i + 1) * size)
            return structure.map_leaves(
                lambda a: None if a is None else a[rows], arrays
            )

        return [part(i) for i in range(count)]

    def _cut(self, at, count):
        """Return batches as rows one after the other, in arrays of always one size."""
        size = self._most * self._source.batch_size

        def fill(a):
            if a is None or len(a) == size:
                return a
            whole = np.zeros((size, *a.shape[1:]), a.dtype)
            whole[: len(a)] = a
            return whole

        return checked(structure.map_leaves(fill, self._source.batch(at, count)))

    def _run(self, state, given):
        begin = time.perf_counter()
        result = advance(self._several, state, given)
        # The first call may compile; the second one is timed. How many steps run in a
        # call changes nothing but the time.
        if self._calls < 2:
            jax.block_until_ready(result)
            spent = (time.perf_counter() - begin) / given[-1]
            self._now = max(1, min(int(_SPAN / spent), self._most))
            self._calls += 1
        return result


class Grouped:
    """Iterates over the Portions of batches that come one by one."""

    def __init__(self, model, kind, cells, source, donate, single, skip):
        self._size, self._eager = _size(model, cells, single), model.run_eagerly
        self._one = compiled_step(model, kind, cells, donate)
        self._many: Any = lambda: compiled_step(model, kind, cells, donate, in_stack)
        self._state: Any = ()
        batches = source.epoch(skip)
        # Arrays need no thread: a batch is cut while the step before is running.
        if model._compiled.run_eagerly:
            self._batches = Now(batches, on_device)
        elif isinstance(source, ArraySource):
            self._batches = Now(batches, checked)
        else:
            self._batches = Ahead(batches, on_device, self._idle)

    @property
    def waited(self):
        """Seconds spent waiting for batches while nothing else was running."""
        return self._batches.waited

    @waited.setter
    def waited(self, value):
        self._batches.waited = value

    def __enter__(self):
        self._batches.__enter__()
        return self

    def __exit__(self, *exception):
        self._batches.__exit__(*exception)

    def __iter__(self):
        for group in in_groups(self._batches, self._size):
            yield Portion(
                len(group), self._size, group, lambda g=group: g,
                lambda s, g=group: self._run(s, g),
            )  # fmt: skip

    def _run(self, state, group):
        if 1 < len(group) == self._size and not self._eager and alike(group):
            result = advance(self._many(), state, tuple(group))
        else:
            logs = None
            for batch in group:
                state, logs = advance(self._one, state, batch)
            result = state, logs
        self._state = result[0]
        return result

    def _idle(self):
        leaves = jax.tree.leaves(self._state)
        return not leaves or leaves[0].is_ready()


def _size(model, cells, single):
    """Return how many steps run in one call at most."""
    size = model._compiled.steps_per_execution
    if size != "auto":
        return size
    # Not by the clock: callbacks hear of so many batches at once.
    return _AUTO if _numbers(cells) < _TINY and not single else 1
