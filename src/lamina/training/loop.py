"""The loops over batches that do not train, and the single batches.

Logs stay on the device until somebody reads them. The model's Variables are
written back at the end, however the loop ends.
"""

import numpy as np

from lamina.core import settings, structure
from lamina.data import ArraySource, as_arrays, open_source, unpack
from lamina.training import checks, step
from lamina.training.ahead import in_groups
from lamina.training.callbacks import CallbackList
from lamina.training.execute import Logs, advance, compiled_step
from lamina.training.mapped import prepared
from lamina.training.prepare import on_device, outputs_for, prepare
from lamina.training.step import Cells, State


def callbacks_for(model, given, verbose, source, history=False, epochs=1):
    """Return the `CallbackList` of a loop."""
    if isinstance(given, CallbackList):
        return given
    return CallbackList(
        given, add_history=history, add_progbar=verbose != 0, model=model,
        verbose=verbose, epochs=epochs, steps=source.batches,
    )  # fmt: skip


def limited(steps):
    """Return how many steps to run at most: a number, or None for all there are."""
    limit = settings.get("max_steps_per_epoch")
    if limit is None:
        return steps
    return limit if steps is None else min(steps, limit)


# ---- evaluate ----------------------------------------------------------------


def evaluate(
    model,
    x,
    y,
    batch_size,
    verbose,
    sample_weight,
    steps,
    callbacks,
    return_dict,
    **kwargs,
):
    """Evaluate; see `Model.evaluate`."""
    if kwargs:
        raise ValueError(f"Arguments not recognized: {kwargs}")
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
    run = compiled_step(model, "test", cells)
    state = cells.read()
    logs = Logs(model, cells, state)
    listens = callbacks.listens_to_batches("test")
    model._compiled.stop_evaluating = False
    count, size = 0, _steps_per_call(model)
    try:
        for group in in_groups(map(on_device, source.epoch()), size):
            if listens:
                callbacks.on_test_batch_begin(count)
                state = cells.read()
            for batch in group:
                state, logs.given = advance(run, state, batch)
            logs.state = state
            count += size
            if listens:
                cells.write(state)
            callbacks.on_test_batch_end(count - 1, logs)
            if listens:
                state = logs.state = cells.read()
            if model._compiled.stop_evaluating:
                break
    finally:
        cells.write(state)
    found = logs()
    callbacks.on_test_end(found)
    return found


def _steps_per_call(model):
    """Return how many batches callbacks hear of at once."""
    size = model._compiled.steps_per_execution
    return 1 if size == "auto" else size


def _in_order(model, logs):
    """Return results as Keras' list: the loss, the metrics, the outputs' losses."""
    names = list(model.get_metrics_result()) if logs else []
    values = [logs[name] for name in names if name in logs]
    values += [logs[name] for name in logs if name not in names]
    return values[0] if len(values) == 1 else values


# ---- predict -----------------------------------------------------------------


def predict(model, x, batch_size, verbose, steps, callbacks):
    """Predict; see `Model.predict`."""
    source = open_source(x, batch_size=batch_size, steps=limited(steps))
    source = prepared(model, source)
    first = source.first()
    if not model.built:
        outputs_for(model, first[0])
    callbacks = callbacks_for(model, callbacks, verbose, source)
    listens = callbacks.listens_to_batches("predict")
    model._compiled.stop_predicting = False
    parts = []
    count, size = 0, _steps_per_call(model)
    try:
        callbacks.on_predict_begin()
        cells = Cells(model, optimizer=False)
        run = compiled_step(model, "predict", cells)
        state = cells.read()
        for group in in_groups(source.epoch(), size):
            callbacks.on_predict_batch_begin(count)
            if listens:
                state = cells.read()
            made = []
            for x, _, _ in group:
                outputs, state = _predict_batch(run, cells, state, x, source)
                made.append(outputs)
            parts += made
            count += size
            callbacks.on_predict_batch_end(count - 1, {"outputs": _together(made)})
            if model._compiled.stop_predicting:
                break
        callbacks.on_predict_end()
    finally:
        callbacks.close()
    return _joined(parts)


def _together(made):
    return made[0] if len(made) == 1 else _joined(made)


def _predict_batch(run, cells, state, x, source):
    """Return the outputs and the State after a batch; seeds may have moved on."""
    count, size = step.rows(x), source.batch_size
    whole = not isinstance(source, ArraySource) or source.rows < size or count == size
    x = x if whole else _padded(x, size)
    outputs, changed = run(state, on_device((x, None, None)))
    if changed:
        frozen = list(state.non_trainable)
        for i, value in changed.items():
            frozen[i] = value
        state = state._replace(non_trainable=tuple(frozen))
        cells.write(state)
    if not whole:
        outputs = structure.map_leaves(lambda a: a[:count], outputs)
    return outputs, state


def _padded(x, size):
    """Repeat the last row up to a full batch, so that one executable serves all."""

    def pad(a):
        if a is None:
            return None
        missing = size - a.shape[0]
        return np.concatenate([np.asarray(a), np.repeat(a[-1:], missing, axis=0)])

    return structure.map_leaves(pad, x)


def _joined(parts):
    def join(*arrays):
        arrays = [np.asarray(a) for a in arrays]
        return np.array(arrays[0]) if len(arrays) == 1 else np.concatenate(arrays)

    return structure.map_leaves(join, parts[0], *parts[1:])


# ---- single batches ----------------------------------------------------------


def train_on_batch(model, x, y, sample_weight, class_weight, return_dict):
    """Train one step; see `Model.train_on_batch`."""
    model._compiled.require("train_on_batch")
    if class_weight is not None:
        if sample_weight is not None:
            raise ValueError(
                "Arguments `sample_weight` and `class_weight` cannot be given at the "
                "same time."
            )
        sample_weight = checks.class_weights(model, as_arrays(y, "y"), class_weight)
    batch = _batch(model, x, y, sample_weight)
    prepare(model, batch)
    checks.check_batch(model, batch)
    model.reset_metrics()
    cells = Cells(model)
    state, logs = advance(
        compiled_step(model, "train", cells), cells.read(), on_device(batch)
    )
    cells.write(state)
    return _batch_logs(model, cells, state, logs, return_dict)


def test_on_batch(model, x, y, sample_weight, return_dict):
    """Evaluate one step; see `Model.test_on_batch`."""
    model._compiled.require("test_on_batch")
    batch = _batch(model, x, y, sample_weight)
    prepare(model, batch, training=False)
    checks.check_batch(model, batch)
    model.reset_metrics()
    cells = Cells(model)
    state, logs = advance(
        compiled_step(model, "test", cells), cells.read(), on_device(batch)
    )
    cells.write(state)
    return _batch_logs(model, cells, state, logs, return_dict)


def predict_on_batch(model, x):
    """Predict one batch; see `Model.predict_on_batch`."""
    batch = _batch(model, x, None, None)
    if not model.built:
        outputs_for(model, batch[0])
    cells = Cells(model, optimizer=False)
    run = compiled_step(model, "predict", cells)
    outputs, _ = run(cells.read(), on_device(batch))
    return structure.map_leaves(np.array, outputs)


def _batch(model, x, y, weight):
    x = model._prepared(as_arrays(x, "x"))
    return x, as_arrays(y, "y"), as_arrays(weight, "sample_weight")


def _batch_logs(model, cells, state, given, return_dict):
    logs = Logs(model, cells, state)
    logs.given = given
    found = logs()
    return found if return_dict else _in_order(model, found)


# ---- Keras' own form of the steps --------------------------------------------


def one_train_step(model, state, data):
    """Return `(logs, state)`: `Model.train_step`, for users who call it."""
    cells = Cells(model)
    new = step.train(model, cells, State(*map(tuple, state)), unpack(data))
    return step.results(model, cells, new.metrics), tuple(new)


def one_test_step(model, state, data):
    """Return `(logs, state)`: `Model.test_step`, for users who call it."""
    trainable, frozen, metrics = map(tuple, state)
    cells = Cells(model)
    given = State(trainable, frozen, (), metrics)
    new = step.test(model, cells, given, unpack(data))
    return step.results(model, cells, new.metrics), (trainable, frozen, new.metrics)


def one_predict_step(model, state, data):
    """Return `(outputs, state)`: `Model.predict_step`, for users who call it."""
    trainable, frozen = map(tuple, state[:2])
    cells = Cells(model, optimizer=False)
    given = State(trainable, frozen, (), ())
    return step.predict(model, cells, given, unpack(data))[0], state
