"""`predict`: the outputs for data."""

from typing import Any

import jax
import numpy as np

from lamina.core import settings, structure
from lamina.core.operation import takes_text
from lamina.core.placement import (
    Distribution,
    distribution,
    fetched,
    has_own_rows,
    own_rows,
    row_groups,
)
from lamina.data import open_source
from lamina.training import step, together
from lamina.training.alone import until_end
from lamina.training.compiled import training_of
from lamina.training.drive import drive, grouped
from lamina.training.forward import all_arrays, forward
from lamina.training.placing import distributed, filled_up, placing
from lamina.training.prepare import callbacks_for, limited, outputs_for, ready


def predict(model, x, batch_size, verbose, steps, callbacks):
    """Predict; see `Model.predict`."""
    with until_end(model), distributed(model, "predict", x=x):
        own = Distribution.any_made and has_own_rows(distribution())
        quiet = verbose == 0 and callbacks is None and steps is None
        if quiet and model.built and not own:
            size = 32 if batch_size is None else batch_size
            count = _count(model, x, size)
            if count:
                run = runner(model, count, size)
                if count <= size:
                    return joined([run(x, count)])
                ends = [(at, min(at + size, count)) for at in range(0, count, size)]
                return joined([run(_rows(x, at, end), end - at) for at, end in ends])
        with together.first_batch():
            source = open_source(x, batch_size=batch_size, steps=limited(steps))
            source.first()
        return _driven(model, ready(model, source, not own), verbose, callbacks)


def _driven(model, source, verbose, callbacks):
    """Return the outputs for the batches of a source, which callbacks hear of."""
    if not model.built:
        outputs_for(model, source.first()[0])
    callbacks = callbacks_for(model, callbacks, verbose, source)
    flags = training_of(model).flags
    flags.stop_predicting = False
    size = flags.steps_per_execution
    try:
        callbacks.on_predict_begin()
        place = placing()
        run = runner(model, source.rows, source.batch_size, place)
        batches = source.epoch()
        if has_own_rows(distribution()):
            batches = together.until_all_end(batches)
        else:
            batches = together.in_step(batches, source, place)
        outputs = _Outputs(run, batches, 1 if size == "auto" else size)
        each = together.any_of(callbacks.listens_to_batches("predict"))
        for _ in drive("predict", outputs, outputs, callbacks):
            if together.stopped(flags.stop_predicting, each):
                break
        else:
            together.check_batches(place)
        callbacks.on_predict_end()
    finally:
        callbacks.close()
    return joined(outputs.state)


class _Outputs:
    """The batches of a prediction in Chunks, and the outputs for them so far.

    Args:
        run: what `runner` returned.
        batches: the batches.
        size: how many batches callbacks hear of at once.
    """

    variables = None

    def __init__(self, run, batches, size):
        self._run, self._batches, self._size = run, batches, size
        self.state, self.given = [], []

    def __iter__(self):
        return grouped(self._batches, self._size)

    def run(self, state, chunk):
        """Return the outputs so far, and those for a Chunk."""
        made = [self._run(x, step.rows(x)) for x, _, _ in chunk.data]
        state += made
        return state, made

    def __call__(self) -> dict:
        """Return the last outputs, as callbacks take them."""
        return {"outputs": joined(self.given)}


def _count(model, x, size):
    """Return the rows of arrays that need nothing but to be cut; None for others."""
    if not isinstance(size, int) or size < 1 or takes_text(model) or not all_arrays(x):
        return None
    if settings.get("max_steps_per_epoch") is not None:
        return None
    if isinstance(x, np.ndarray):
        counts, arrays = {x.shape[:1]}, type(x) is np.ndarray
    else:
        leaves = structure.flatten(x)
        counts = {a.shape[:1] for a in leaves}
        arrays = all(type(a) is np.ndarray for a in leaves)
    count = sum(max(counts))  # no rows where there is no axis of them
    return count if len(counts) == 1 and (arrays or count <= size) else None


def _rows(x, at, end):
    if isinstance(x, np.ndarray):
        return x[at:end]
    return structure.map_leaves(lambda a: a[at:end], x)


def runner(model, rows=None, size=None, place: Any = None):
    """Return a function from a batch to the outputs.

    It takes the number of rows too, where there are full batches to fill up to. Where
    rows are independent, short batches are filled up, so that not each number of rows
    is compiled: to a full batch, or to a power of two where there is none. Where full
    batches come in many sizes, they are filled up as well.

    Args:
        model: the model, built.
        rows: how many rows there are, or None.
        size: the rows of a full batch.
        place: what places batches; None for `placing`.
    """
    run = forward(model, "predict")
    full, parts = 0, 1
    if run.by_row and rows and size:
        full = run.filled(min(1 << (rows - 1).bit_length(), size))
    now = distribution() if Distribution.any_made else None
    if now is not None:
        if has_own_rows(now):
            return _OfOwnRows(run, place or placing(), now)
        parts = now.row_parts if run.by_row else 1
        run = _Divided(run, place or placing())

    def outputs(x, count=0):
        missing = -count % parts if count >= full else full - count + -full % parts
        if not missing:
            return run(x)[0]
        try:
            made = run(filled_up(x, count + missing))[0]
        except ValueError:
            made = None
        if made is None:
            return run(x)[0]  # the error tells the shape that was given
        return structure.map_leaves(lambda a: fetched(a)[:count], made)

    return outputs


class _Divided:
    """A forward pass whose batches are divided among devices."""

    def __init__(self, run, place):
        self._run, self._place = run, place

    def __call__(self, x):
        return self._run(self._place((x,))[0])


class _OfOwnRows:
    """A function from a batch of rows of this process alone to their outputs.

    Where rows are independent, a process that has fewer fills its batch up.

    Args:
        run: the forward pass.
        place: what places batches.
        by: the `Distribution`.
    """

    def __init__(self, run, place, by):
        self._run, self._place, self._by = run, place, by
        self._full, self._groups = 0, len(row_groups(by))

    def __call__(self, x, count=None):
        count, by = step.rows(x), self._by
        size = together.most_rows(x, count, self._run.by_row)
        if self._run.by_row:
            parts = by.row_parts // self._groups
            self._full = size = max(self._full, size + -size % parts)
            x = filled_up(x, size)
        made = self._run(self._place((x,))[0])[0]

        def mine(array):
            if array is None:
                return None
            divided = array.ndim and array.shape[0] == size * self._groups
            return own_rows(array, by)[:count] if divided else fetched(array)

        return structure.map_leaves(mine, made)


def joined(parts):
    """Return the outputs for several batches as one, in NumPy."""
    if Distribution.any_made:
        parts = [structure.map_leaves(fetched, part) for part in parts]
    if len(parts) == 1 and isinstance(parts[0], jax.Array):
        return np.array(parts[0])

    def join(*arrays):
        if arrays[0] is None:
            return None
        arrays = [np.asarray(a) for a in arrays]
        if len(arrays) > 1 and not arrays[0].ndim:
            raise ValueError(
                "`predict` joins the rows of all batches, and an output of the model "
                "has none: it is one number for a batch. Return a number for each row, "
                "or call `predict_on_batch`."
            )
        return np.array(arrays[0]) if len(arrays) == 1 else np.concatenate(arrays)

    return structure.map_leaves(join, parts[0], *parts[1:])
