"""The loop: drives steps over the batches of a source.

Logs stay on the device until somebody reads them. The model's Variables are
written back at the end of an epoch, before a callback that listens to batches, and
always at the end: after an error or Ctrl-C the model holds the last finished step.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lamina.core import settings, structure
from lamina.core.context import having
from lamina.core.symbolic import SymbolicTensor, infer
from lamina.data import ArraySource, as_arrays, open_source, pack, split, unpack
from lamina.training import checks, step
from lamina.training.callbacks import CallbackList
from lamina.training.step import Cells, State

# ---- preparing ---------------------------------------------------------------


def prepare(model, batch, training=True):
    """Build the model, its losses, metrics and optimizer for batches like this one."""
    x, y, weight = unpack(batch)
    y_pred = outputs_for(model, x)
    compiled = model._compiled
    if not compiled.compiled:
        return
    if step.own_method(model, "compute_loss") is not None:
        # The user's own loss may hand other parts to the compiled one.
        arguments = {"x": x, "y": y, "sample_weight": weight}
        specs = {name: _specs(value) for name, value in arguments.items()}
        with having(losses=[]):
            infer(model.compute_loss, y_pred=y_pred, training=True, **specs)
        compiled.prepare_metrics(model, _specs(y), y_pred)
    elif _uses_compiled_loss(model):
        compiled.prepare(model, _specs(y), y_pred)
    _build_metrics(model, y, y_pred, weight)
    if training and model.optimizer is not None:
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)


def _uses_compiled_loss(model):
    return model._compiled.given.get("loss") is not None or any(
        model._compiled.given.get(key) for key in ("metrics", "weighted_metrics")
    )


def outputs_for(model, x):
    """Return the outputs for a batch as symbolic tensors; builds the model."""
    specs = _specs(x)
    if not model.built:
        model(_zeros(specs)) if _runs_eagerly(model) else _build(model, specs)
    return infer(lambda *a: model(*a, training=False), specs)


def _runs_eagerly(model):
    return model._compiled.run_eagerly


def _build(model, specs):
    infer(model, specs)


def _zeros(specs):
    return structure.map_leaves(
        lambda t: None if t is None else jnp.zeros(t.shape, t.dtype), specs
    )


def _specs(value):
    """Return symbolic tensors of the shapes of a batch."""

    def spec(a):
        if a is None:
            return None
        if isinstance(a, np.ndarray) and a.dtype.kind in "SU":
            _place(a)
        return SymbolicTensor(a.shape, jax.dtypes.canonicalize_dtype(a.dtype).name)

    return structure.map_leaves(spec, value)


def _build_metrics(model, y, y_pred, weight):
    """Let metrics make their Variables, from the shapes of one batch."""
    if not model._compiled.outputs or y is None:
        return

    def update(y, y_pred, weight):
        model._compiled.update_metrics(y, y_pred, weight)
        return jnp.zeros(())

    fresh = [m for m in model._compiled.metrics() if not m.variables]
    if fresh:
        infer(update, _specs(y), y_pred, _specs(weight))


def _on_device(batch):
    """Place a batch; the one place where data meets the device."""
    return structure.map_leaves(_place, tuple(batch))


def _place(array):
    if array is None:
        return None
    if isinstance(array, np.ndarray) and array.dtype.kind in "SU":
        raise ValueError(
            f"The model was given text (dtype {array.dtype}, shape {array.shape}) "
            "where it takes numbers. Turn words into integers first, for instance with "
            "`lamina.layers.StringLookup` or `TextVectorization`."
        )
    return jnp.asarray(array)


# ---- compiled steps ----------------------------------------------------------


def compiled_step(model, kind, cells, donate=False):
    """Return the compiled step of a kind for these Variables, from a cache."""
    steps = model._compiled.steps
    key = (kind, cells.key(), donate, id(model.optimizer))
    if key not in steps:
        own = None if kind == "results" else step.own_method(model, f"{kind}_step")
        run = _foreign(own, kind) if own else getattr(step, kind)

        def call(*args):
            return run(model, cells, *args)

        if _runs_eagerly(model):
            steps[key] = call
        else:
            call.__name__ = f"{kind}_step"
            steps[key] = jax.jit(call, donate_argnums=(0,) if donate else ())
    return steps[key]


def _foreign(own, kind):
    """Make a Step of a user's `(state, data) -> (logs, state)`."""

    def run(model, cells, state, batch):
        data = pack(*batch)
        if kind == "predict":
            return own((state.trainable, state.non_trainable), data)[0]
        if kind == "test":
            given = (state.trainable, state.non_trainable, state.metrics)
            logs, (trainable, frozen, metrics) = own(given, data)
            new = State(
                tuple(trainable), tuple(frozen), state.optimizer, tuple(metrics)
            )
        else:
            logs, parts = own(tuple(state), data)
            new = State(*(tuple(part) for part in parts))
        return new, logs

    return run


def _advance(run, state, batch):
    """Run one step; return the State and the logs, if the step gave some."""
    result = run(state, batch)
    if isinstance(result, State):
        return result, None
    return result


class _Logs:
    """The logs of an epoch so far: computed only when somebody reads them."""

    def __init__(self, model, cells, state):
        self._read = compiled_step(model, "results", cells)
        self.state = state
        self.given = None

    def __call__(self) -> dict:
        logs = self.given
        if logs is None:
            logs = self._read(self.state.metrics)
        logs = jax.device_get(logs)
        return {name: _number(value) for name, value in sorted(logs.items())}


def _number(value):
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array


# ---- fit ---------------------------------------------------------------------


def fit(
    model,
    x,
    y,
    batch_size,
    epochs,
    verbose,
    callbacks,
    validation_split,
    validation_data,
    shuffle,
    class_weight,
    sample_weight,
    initial_epoch,
    steps_per_epoch,
    validation_steps,
    validation_batch_size,
    validation_freq,
):
    """Train; see `Model.fit`."""
    compiled = model._compiled
    compiled.require("fit")
    limit = settings.get("max_epochs")
    epochs = min(epochs, limit) if limit is not None else epochs
    if validation_split and validation_data is None:
        (x, y, sample_weight), validation_data = split(
            x, y, sample_weight, validation_split
        )
    source = open_source(
        x, y, sample_weight, batch_size=batch_size, shuffle=shuffle,
        steps=_limited(steps_per_epoch), seed=_order_seed(),
    )  # fmt: skip
    first = source.first()
    prepare(model, first)
    if class_weight is not None:
        source = checks.with_class_weight(model, source, class_weight)
        first = source.first()
    checks.check_targets(model, source)
    checks.check_numbers(model, source)
    held_out = None
    if validation_data is not None:
        held_out = _validation(validation_data, validation_batch_size or batch_size,
                               validation_steps)  # fmt: skip
        checks.check_alike(first, held_out.first())
    compiled.stop_training = False
    callbacks = _callbacks(
        model, callbacks, verbose, source, history=True, epochs=epochs
    )
    listens = callbacks.listens_to_batches("train")
    try:
        callbacks.on_train_begin()
        logs = {}
        for epoch in range(initial_epoch, epochs):
            model.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            logs = _train_epoch(model, source, callbacks, listens, epoch)
            if held_out is not None and _due(epoch, validation_freq):
                found = _run_test(model, held_out, callbacks)
                logs |= {f"val_{name}": value for name, value in found.items()}
            callbacks.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        if getattr(model.optimizer, "use_ema", False) and epochs > 0:
            model.optimizer.finalize_variable_values(model.trainable_weights)
        callbacks.on_train_end(logs)
    finally:
        callbacks.close()
    return model.history


def _callbacks(model, given, verbose, source, history=False, epochs=1):
    if isinstance(given, CallbackList):
        return given
    return CallbackList(
        given, add_history=history, add_progbar=verbose != 0, model=model,
        verbose=verbose, epochs=epochs, steps=source.batches,
    )  # fmt: skip


def _order_seed():
    """Draw the seed of the order of rows from NumPy's generator, which users seed."""
    return int(np.random.randint(0, 2**31 - 1))


def _limited(steps):
    limit = settings.get("max_steps_per_epoch")
    if limit is None:
        return steps
    return limit if steps is None else min(steps, limit)


def _due(epoch, frequency):
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return (epoch + 1) in frequency


def _validation(data, batch_size, steps):
    x, y, weight = (
        unpack(data) if isinstance(data, (list, tuple)) else (data, None, None)
    )
    return open_source(x, y, weight, batch_size=batch_size, steps=steps)


def _train_epoch(model, source, callbacks, listens, epoch):
    cells = Cells(model)
    # A step may overwrite its State in place unless somebody holds on to it.
    run = compiled_step(model, "train", cells, donate=not listens)
    state = cells.read() if listens else cells.copy()
    logs = _Logs(model, cells, state)
    count = 0
    try:
        for index, batch in enumerate(source.epoch()):
            if listens:
                callbacks.on_train_batch_begin(index)
                state = cells.read()
            new = _advance(run, state, _on_device(batch))
            state, logs.given = new
            logs.state = state
            count = index + 1
            if listens:
                cells.write(state)
            callbacks.on_train_batch_end(index, logs)
            if listens:
                state = logs.state = cells.read()
            if model.stop_training:
                break
    finally:
        cells.write(state)
    if count == 0:
        raise ValueError(
            f"Epoch {epoch + 1} had no batch: the data ran out. A generator that was "
            "run through is empty afterwards; give `steps_per_epoch`, or an object "
            "that can be iterated again."
        )
    if (
        source.batches is not None
        and count < source.batches
        and not model.stop_training
    ):
        _warn_short(source, count)
    return logs()


def _warn_short(source, count):
    import warnings

    warnings.warn(
        f"Your input ran out of data; interrupting the epoch. It gave {count} of "
        f"{source.batches} batches. Make sure that your dataset or generator can "
        "generate enough batches, or lower `steps_per_epoch`.",
        stacklevel=5,
    )
    source.batches = count


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
        x, y, sample_weight, batch_size=batch_size, steps=_limited(steps)
    )
    prepare(model, source.first(), training=False)
    checks.check_targets(model, source)
    callbacks = _callbacks(model, callbacks, verbose, source)
    model.stop_training = False
    try:
        logs = _run_test(model, source, callbacks)
    finally:
        callbacks.close()
    return logs if return_dict else _in_order(model, logs)


def _run_test(model, source, callbacks):
    prepare(model, source.first(), training=False)
    model.reset_metrics()
    cells = Cells(model)
    run = compiled_step(model, "test", cells)
    state = cells.read()
    logs = _Logs(model, cells, state)
    callbacks.on_test_begin()
    try:
        for index, batch in enumerate(source.epoch()):
            callbacks.on_test_batch_begin(index)
            state, logs.given = _advance(run, state, _on_device(batch))
            logs.state = state
            callbacks.on_test_batch_end(index, logs)
    finally:
        cells.write(state)
    found = logs()
    callbacks.on_test_end(found)
    return found


def _in_order(model, logs):
    """Return results as Keras' list: the loss, the metrics, the outputs' losses."""
    names = list(model.get_metrics_result()) if logs else []
    values = [logs[name] for name in names if name in logs]
    values += [logs[name] for name in logs if name not in names]
    return values[0] if len(values) == 1 else values


# ---- predict -----------------------------------------------------------------


def predict(model, x, batch_size, verbose, steps, callbacks):
    """Predict; see `Model.predict`."""
    source = open_source(x, batch_size=batch_size, steps=_limited(steps))
    first = source.first()
    if not model.built:
        outputs_for(model, first[0])
    cells = Cells(model, optimizer=False)
    run = compiled_step(model, "predict", cells)
    state = cells.read()
    callbacks = _callbacks(model, callbacks, verbose, source)
    model.stop_training = False
    parts = []
    try:
        callbacks.on_predict_begin()
        for index, (x, _, _) in enumerate(source.epoch()):
            callbacks.on_predict_batch_begin(index)
            outputs = _predict_batch(run, state, x, source)
            parts.append(outputs)
            callbacks.on_predict_batch_end(index, {"outputs": outputs})
            if model.stop_training:
                break
        callbacks.on_predict_end()
    finally:
        callbacks.close()
    return _joined(parts)


def _predict_batch(run, state, x, source):
    count, size = step.rows(x), source.batch_size
    if not isinstance(source, ArraySource) or source.rows < size or count == size:
        return run(state, _on_device((x, None, None)))
    outputs = run(state, _on_device((_padded(x, size), None, None)))
    return structure.map_leaves(lambda a: a[:count], outputs)


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
    batch = _batch(x, y, sample_weight)
    prepare(model, batch)
    checks.check_batch(model, batch)
    model.reset_metrics()
    cells = Cells(model)
    state, logs = _advance(
        compiled_step(model, "train", cells), cells.read(), _on_device(batch)
    )
    cells.write(state)
    return _batch_logs(model, cells, state, logs, return_dict)


def test_on_batch(model, x, y, sample_weight, return_dict):
    """Evaluate one step; see `Model.test_on_batch`."""
    model._compiled.require("test_on_batch")
    batch = _batch(x, y, sample_weight)
    prepare(model, batch, training=False)
    checks.check_batch(model, batch)
    model.reset_metrics()
    cells = Cells(model)
    state, logs = _advance(
        compiled_step(model, "test", cells), cells.read(), _on_device(batch)
    )
    cells.write(state)
    return _batch_logs(model, cells, state, logs, return_dict)


def predict_on_batch(model, x):
    """Predict one batch; see `Model.predict_on_batch`."""
    batch = _batch(x, None, None)
    if not model.built:
        outputs_for(model, batch[0])
    cells = Cells(model, optimizer=False)
    outputs = compiled_step(model, "predict", cells)(cells.read(), _on_device(batch))
    return structure.map_leaves(np.array, outputs)


def _batch(x, y, weight):
    return as_arrays(x, "x"), as_arrays(y, "y"), as_arrays(weight, "sample_weight")


def _batch_logs(model, cells, state, given, return_dict):
    logs = _Logs(model, cells, state)
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
    return step.predict(model, cells, given, unpack(data)), state
