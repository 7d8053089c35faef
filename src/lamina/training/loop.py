"""The loops over batches that do not train, and the single batches.

Logs stay on the device until somebody reads them. The model's Variables are
written back at the end, however the loop ends.
"""

import jax
import numpy as np

from lamina.core import settings, structure
from lamina.data import ArraySource, as_arrays, open_source, unpack
from lamina.training import checks, step
from lamina.training.ahead import in_groups
from lamina.training.callbacks import CallbackList
from lamina.training.execute import Logs, advance, compiled_step, own_step
from lamina.training.mapped import prepared
from lamina.training.portions import portions
from lamina.training.prepare import checked, on_device, outputs_for, prepare
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
    state = cells.read()
    logs = Logs(model, cells, state)
    listens = callbacks.listens_to_batches("test")
    parts = portions(model, "test", cells, source, donate=False, single=listens)
    model._compiled.stop_evaluating = False
    count = 0
    try:
        with parts:
            for part in parts:
                if listens:
                    callbacks.on_test_batch_begin(count)
                    state = cells.read()
                state, logs.given = part.run(state)
                logs.state = state
                count += part.count
                if listens:
                    cells.write(state)
                callbacks.on_test_batch_end(part.last(count), logs)
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
    if callbacks is None and steps is None and verbose == 0:
        outputs = _at_once(model, x, batch_size)
        if outputs is not None:
            return outputs[0]
    source = open_source(x, batch_size=batch_size, steps=limited(steps))
    source = prepared(model, source)
    first = source.first()
    if not model.built:
        outputs_for(model, first[0])
    callbacks = callbacks_for(model, callbacks, verbose, source)
    model._compiled.stop_predicting = False
    parts = []
    count, size = 0, _steps_per_call(model)
    try:
        callbacks.on_predict_begin()
        run = _forward(model, callbacks.listens_to_batches("predict"))
        for group in in_groups(source.epoch(), size):
            callbacks.on_predict_batch_begin(count)
            made = [_predict_batch(run, x, source) for x, _, _ in group]
            parts += made
            count += size
            callbacks.on_predict_batch_end(count - 1, {"outputs": _together(made)})
            if model._compiled.stop_predicting:
                break
        callbacks.on_predict_end()
    finally:
        callbacks.close()
    return _joined(parts)


def _whole(model):
    """Return the model's compiled calls, or None where a user wrote a part."""
    whole = model._calls.now(model)
    own = own_step(model, "predict") is not None
    if not whole.able or own or model._compiled.run_eagerly:
        return None
    return whole


def _forward(model, listens=False):
    """Return a function from a batch to the outputs."""
    whole = _whole(model)
    if whole is None:
        return _Forward(model, listens)
    return lambda x: whole.run(model, checked((x,))[0], False)[0]


class _Forward:
    """A function from a batch to the outputs, by the model's step of prediction.

    Args:
        model: the model.
        listens: whether callbacks may change Variables between two batches.
    """

    def __init__(self, model, listens):
        self._cells = Cells(model, optimizer=False)
        self._run = compiled_step(model, "predict", self._cells)
        self._place = on_device if model._compiled.run_eagerly else checked
        self._listens = listens
        self._state = self._cells.read()

    def __call__(self, x):
        state = self._cells.read() if self._listens else self._state
        outputs, changed = self._run(state, self._place((x, None, None)))
        if changed:  # the seeds of random numbers, for instance
            frozen = list(state.non_trainable)
            for i, value in changed.items():
                frozen[i] = value
            state = state._replace(non_trainable=tuple(frozen))
            self._cells.write(state)
        self._state = state
        return outputs


def _at_once(model, x, batch_size):
    """Return `(outputs,)` for arrays of numbers, or None for other data."""
    whole = _whole(model)
    if whole is None or not whole.takes(x):
        return None
    leaves = [x] if isinstance(x, np.ndarray) else structure.flatten(x)
    counts = {a.shape[:1] for a in leaves}
    count = sum(max(counts))  # no rows where there is no axis of them
    most = 32 if batch_size is None else batch_size
    if len(counts) != 1 or not isinstance(most, int) or not (0 < count and 0 < most):
        return None
    if count > most:
        if limited(None) is not None or not all(type(a) is np.ndarray for a in leaves):
            return None
        return _in_turn(model, whole, x, count, most)
    # Some sizes serve all, so that not each number of rows is compiled.
    size = min(1 << (count - 1).bit_length(), most) if whole.by_row else count
    if size > count:
        x = _padded(x, size)
    outputs, _ = whole.run(model, x, False)
    if isinstance(outputs, jax.Array):
        return (np.array(outputs)[:count],)
    return (structure.map_leaves(lambda a: np.array(a)[:count], outputs),)


def _in_turn(model, whole, x, count, size):
    """Return `(outputs,)` for arrays of more than one batch."""

    def rows(at, end):
        if isinstance(x, np.ndarray):
            return x[at:end]
        return structure.map_leaves(lambda a: a[at:end], x)

    left = count % size
    parts = [
        whole.run(model, rows(at, at + size), False)[0]
        for at in range(0, count - left, size)
    ]
    if left:
        last = whole.run(model, _padded(rows(count - left, count), size), False)[0]
        parts.append(structure.map_leaves(lambda a: np.asarray(a)[:left], last))
    return (_joined(parts),)


def _together(made):
    return made[0] if len(made) == 1 else _joined(made)


def _predict_batch(run, x, source):
    """Return the outputs for a batch; a shorter last one is filled up."""
    count, size = step.rows(x), source.batch_size
    whole = not isinstance(source, ArraySource) or source.rows < size or count == size
    outputs = run(x if whole else _padded(x, size))
    if not whole:
        outputs = structure.map_leaves(lambda a: a[:count], outputs)
    return outputs


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
    if class_weight is not None and sample_weight is not None:
        raise ValueError(
            "Arguments `sample_weight` and `class_weight` cannot be given at the same "
            "time."
        )
    batch = _batch(model, x, y, sample_weight)
    prepare(model, batch)
    if class_weight is not None:
        batch = checks.class_weighted(model, batch, class_weight)
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
    return structure.map_leaves(np.array, _forward(model)(batch[0]))


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
