"""The loops over batches that do not train, and the single batches.

Logs stay on the device until somebody reads them. The model's Variables are
written back at the end, however the loop ends.
"""

from contextlib import nullcontext

import jax
import numpy as np

from lamina.core import settings, structure
from lamina.data import as_arrays, open_source
from lamina.training import checks, step
from lamina.training.ahead import in_groups
from lamina.training.callbacks.callback_list import CallbackList
from lamina.training.mapped import prepared
from lamina.training.portions import portions
from lamina.training.prepare import checked, on_device, outputs_for, prepare
from lamina.training.programs import Logs, advance, all_arrays, compiled_step, forward
from lamina.training.step import Cells


def callbacks_for(model, given, verbose, source, history=False, epochs=1):
    """Return the `CallbackList` of a loop."""
    if isinstance(given, CallbackList):
        return given
    return CallbackList(
        given,
        add_history=history,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=source.batches,
    )


def limited(steps):
    """Return how many steps to run at most: a number, or None for all there are."""
    limit = settings.get("max_steps_per_epoch")
    if limit is None:
        return steps
    return limit if steps is None else min(steps, limit)


# ---- evaluate ----------------------------------------------------------------


def evaluate(
    model, x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict
):
    """Evaluate; see `Model.evaluate`."""
    model._compiled.require("evaluate")
    source = open_source(
        x, y, sample_weight, batch_size=batch_size, steps=limited(steps)
    )
    source = prepared(model, source)
    prepare(model, source.first(), training=False)
    checks.check_targets(model, source)
    callbacks = callbacks_for(model, callbacks, verbose, source)
    try:
        logs = run_test(model, source, callbacks)
    finally:
        callbacks.close()
    return logs if return_dict else _in_order(model, logs)


def run_test(model, source, callbacks):
    """Evaluate on the batches of a source; return the logs."""
    prepare(model, source.first(), training=False)
    model.reset_metrics()
    callbacks.on_test_begin()
    cells = Cells(model)
    logs = Logs(model, cells, cells.read())
    single = callbacks.listens_to_batches("test")
    model._compiled.stop_evaluating = False
    try:
        with portions(
            model, "test", cells, source, donate=False, single=single
        ) as parts:
            for _ in run_steps("test", parts, logs, callbacks, nullcontext()):
                if model._compiled.stop_evaluating:
                    break
    finally:
        cells.write(logs.state)
    found = logs()
    callbacks.on_test_end(found)
    return found


def run_steps(kind, parts, logs, callbacks, held, count=0, guard=None):
    """Run the steps of an epoch; yield each Portion, done, and how many steps are.

    Args:
        kind: `"train"` or `"test"`.
        parts: what `portions` gives.
        logs: the Logs, which hold the State.
        callbacks: the `CallbackList`.
        held: a context that a step is not interrupted in.
        count: how many were done before.
        guard: the Guard that looks for numbers that are not finite, or None.
    """
    cells, listens = logs.cells, callbacks.listens_to_batches(kind)
    begin = getattr(callbacks, f"on_{kind}_batch_begin")
    end = getattr(callbacks, f"on_{kind}_batch_end")
    for part in parts:
        if listens:
            begin(count)
            logs.state = cells.read()
        if guard is not None:
            guard.take(part, logs.state)
        with held:
            logs.state, logs.given = parts.run(logs.state, part)
            count += part.count
            if listens:
                cells.write(logs.state)
        if guard is not None:
            guard.check(logs.state)
        end(part.last(count), logs)
        if listens:
            logs.state = cells.read()
        yield part, count


def _in_order(model, logs):
    """Return results as Keras' list: the loss, the metrics, the rest by name."""
    names = [
        name
        for metric in model.metrics
        for name in (
            [m.name for m in metric.metrics]
            if metric is model.compiled_metrics
            else [metric.name]
        )
    ]
    names = dict.fromkeys((*(name for name in names if name in logs), *sorted(logs)))
    values = [logs[name] for name in names]
    return values[0] if len(values) == 1 else values


# ---- predict -----------------------------------------------------------------


def predict(model, x, batch_size, verbose, steps, callbacks):
    """Predict; see `Model.predict`."""
    if verbose == 0 and callbacks is None and steps is None and model.built:
        size = 32 if batch_size is None else batch_size
        count = _count(model, x, size)
        if count:
            run = _runner(model, count, size)
            if count <= size:
                return _joined([run(x, count)])
            ends = [(at, min(at + size, count)) for at in range(0, count, size)]
            return _joined([run(_rows(x, at, end), end - at) for at, end in ends])
    source = open_source(x, batch_size=batch_size, steps=limited(steps))
    source = prepared(model, source)
    first = source.first()
    if not model.built:
        outputs_for(model, first[0])
    callbacks = callbacks_for(model, callbacks, verbose, source)
    model._compiled.stop_predicting = False
    parts = []
    count, size = 0, model._compiled.steps_per_execution
    size = 1 if size == "auto" else size
    try:
        callbacks.on_predict_begin()
        run = _runner(model, source.rows, source.batch_size)
        for group in in_groups(source.epoch(), size):
            callbacks.on_predict_batch_begin(count)
            made = [run(checked((x,))[0], step.rows(x)) for x, _, _ in group]
            parts += made
            count += size
            callbacks.on_predict_batch_end(count - 1, {"outputs": _joined(made)})
            if model._compiled.stop_predicting:
                break
        callbacks.on_predict_end()
    finally:
        callbacks.close()
    return _joined(parts)


def _count(model, x, size):
    """Return the rows of arrays that need nothing but to be cut; None for others."""
    plain = isinstance(size, int) and size > 0 and limited(None) is None
    if not plain or model._takes_text or not all_arrays(x):
        return None
    leaves = [x] if isinstance(x, np.ndarray) else structure.flatten(x)
    counts = {a.shape[:1] for a in leaves}
    arrays = all(type(a) is np.ndarray for a in leaves)
    count = sum(max(counts))  # no rows where there is no axis of them
    return count if len(counts) == 1 and (arrays or count <= size) else None


def _rows(x, at, end):
    if isinstance(x, np.ndarray):
        return x[at:end]
    return structure.map_leaves(lambda a: a[at:end], x)


def _runner(model, rows=None, size=None):
    """Return a function from a batch to the outputs.

    It takes the number of rows too, where there are full batches to fill up to. Where
    rows are independent, short batches are filled up, so that not each number of rows
    is compiled: to a full batch, or to a power of two where there is none.

    Args:
        model: the model, built.
        rows: how many rows there are, or None.
        size: the rows of a full batch.
    """
    run = forward(model, "predict")
    full = 0
    if run.by_row and rows and size:
        full = min(1 << (rows - 1).bit_length(), size)

    def outputs(x, count=0):
        if count >= full:
            return run(x)[0]
        made = run(_padded(x, full))[0]
        return structure.map_leaves(lambda a: np.asarray(a)[:count], made)

    return outputs


def _padded(x, size):
    """Repeat the last row up to a full batch."""

    def pad(a):
        missing = size - a.shape[0]
        return np.concatenate([np.asarray(a), np.repeat(a[-1:], missing, axis=0)])

    return jax.tree.map(pad, x)


def _joined(parts):
    if len(parts) == 1 and isinstance(parts[0], jax.Array):
        return np.array(parts[0])

    def join(*arrays):
        arrays = [np.asarray(a) for a in arrays]
        return np.array(arrays[0]) if len(arrays) == 1 else np.concatenate(arrays)

    return structure.map_leaves(join, parts[0], *parts[1:])


# ---- single batches ----------------------------------------------------------


def on_batch(model, kind, x, y, sample_weight, class_weight, return_dict):
    """Train or evaluate one step; see `Model.train_on_batch`."""
    model._compiled.require(f"{kind}_on_batch")
    if class_weight is not None and sample_weight is not None:
        raise ValueError(
            "Arguments `sample_weight` and `class_weight` cannot be given at the same "
            "time."
        )
    batch = _batch(model, x, y, sample_weight)
    prepare(model, batch, training=kind == "train")
    if class_weight is not None:
        batch = checks.class_weighted(model, batch, class_weight)
    checks.check_batch(model, batch)
    model.reset_metrics()
    cells = Cells(model)
    run = compiled_step(model, kind, cells)
    state, given = advance(run, cells.read(), on_device(batch))
    cells.write(state)
    logs = Logs(model, cells, state, given)()
    return logs if return_dict else _in_order(model, logs)


def predict_on_batch(model, x):
    """Predict one batch; see `Model.predict_on_batch`."""
    batch = _batch(model, x, None, None)
    if not model.built:
        outputs_for(model, batch[0])
    return _joined([_runner(model)(*checked(batch[:1]))])


def _batch(model, x, y, weight):
    x = model._prepared(as_arrays(x, "x"))
    return x, as_arrays(y, "y"), as_arrays(weight, "sample_weight")
