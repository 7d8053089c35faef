"""Looks at data before the first step, where a mistake can still be explained."""

import numpy as np

from lamina.core import structure
from lamina.core.operation import graph_of
from lamina.core.placement import is_here
from lamina.core.tracebacks import warn
from lamina.data import ArraySource, unpack
from lamina.losses.loss import check_labels, classes_of, targets_of
from lamina.training import step
from lamina.training.by_output import match_weights, names_of
from lamina.training.compiled import training_of
from lamina.training.mapped import Mapped
from lamina.training.prepare import outputs_for


def check_targets(model, source) -> None:
    """Check the labels of all rows in memory, or of the first batch.

    Raises:
        ValueError: naming the output and what is wrong with its targets.
    """
    x, y, _ = source.first()
    check_batch(model, (x, source.arrays[1] if source.arrays else y))


def check_batch(model, batch) -> None:
    """Check one batch as `check_targets` does."""
    x, y, _ = unpack(batch)
    compiled = training_of(model).settings
    if y is None:
        own = step.own_method(model, "compute_metrics") is not None
        measured = compiled.compiled and compiled.compiled_metrics.given and not own
        if (compiled.loss is not None or measured) and not step.own_loss(model):
            needing = "metrics, which need" if measured else "a loss, which needs"
            raise ValueError(
                f"`compile` was given {needing} targets, but no `y` was "
                "passed. Pass `fit(x, y)`, or data that yields `(x, y)`."
            )
        return
    if not compiled.prepared:
        return
    outputs = outputs_for(model, x)
    loss = compiled.compiled_loss
    if names_of(model, outputs) != loss.names:
        return  # the user's loss, on other parts than the outputs
    for term, true, pred in loss.alone(y, outputs):
        if not is_here(true):
            continue
        labels, shape = np.asarray(true), pred.shape
        if targets_of(term.loss, labels.shape, shape)[0] == "labels":
            classes = shape[getattr(term.loss, "axis", -1)]
            if classes is not None:
                check_labels(term.loss, labels, classes, loss.where(term))


def check_numbers(model, source) -> None:
    """Refuse NaN in the data, unless the model makes finite numbers of it.

    Arrays that are divided among processes are not looked at.

    Raises:
        ValueError: naming the array, how many entries are NaN, and the first row.
    """
    if not isinstance(source, ArraySource):
        return
    for name, part in zip(("x", "y"), source.arrays[:2], strict=True):
        for path, array in structure.flatten_with_names(part):
            if array is None or not is_here(array) or not _has_nan(array):
                continue
            where = "".join(f"[{p!r}]" for p in path)
            bad = np.isnan(np.asarray(array))
            rows = np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))
            if name == "x" and _copes(model, source, rows[:4]):
                continue
            raise ValueError(
                f"`{name}{where}` holds {int(bad.sum())} NaN in {len(rows)} of "
                f"{len(bad)} rows (the first is row {rows[0]}), which would turn the "
                "loss and all weights into NaN. Drop these rows or fill the gaps "
                "(`numpy.nan_to_num`, or the column's mean)."
            )


def _has_nan(array):
    if np.asarray(array).dtype.kind != "f":
        return False
    return bool(np.isnan(np.sum(np.asarray(array), dtype=np.float64)))


def _copes(model, source, rows):
    """Tell whether the outputs for some rows are finite all the same."""
    x = source.take(rows)[0]
    outputs = model(x, training=False)
    return all(np.isfinite(np.asarray(a)).all() for a in structure.flatten(outputs))


def check_alike(training, validation, model=None) -> None:
    """Refuse validation data of another structure than the training data.

    Args:
        training: the first batch.
        validation: the first batch of the validation data.
        model: when given, also refuse what it cannot take, before it is trained.

    Raises:
        ValueError: showing both.
    """
    for name, a, b in zip(("x", "y"), training[:2], validation[:2], strict=True):
        if a is None or b is None:
            if (a is None) != (b is None):
                raise ValueError(
                    f"The training data have {'no' if a is None else 'a'} `{name}`, "
                    f"the validation data have {'none' if b is None else 'one'}. Give "
                    "`validation_data=(x_val, y_val)`."
                )
            continue
        if not isinstance(a, dict) or not isinstance(b, dict):
            continue
        graph = graph_of(model) if name == "x" else None
        if graph is not None:  # what it ignores may differ
            a, b = map(graph.slots.trimmed, (a, b))
        if set(a) != set(b):
            raise ValueError(
                f"The validation data's `{name}` has the keys {sorted(map(str, b))}, "
                f"the training data's has {sorted(map(str, a))}."
            )
    if model is not None and _shapes(training[0]) != _shapes(validation[0]):
        try:
            outputs_for(model, validation[0])
        except Exception as error:
            error.add_note("It was given the validation data's `x`.")
            raise


def _shapes(value):
    """Return the structure and the shapes of a batch, without its rows."""
    return [
        (path, getattr(a, "shape", ())[1:])
        for path, a in structure.flatten_with_names(value)
    ]


def with_class_weight(model, source, weights):
    """Return the source with class weights multiplied into the sample weights."""
    if not isinstance(source, ArraySource):
        return Mapped(source, lambda batch: class_weighted(model, batch, weights))
    _, y, sample_weight = source.arrays
    batch = source.first()[0], y, sample_weight
    source.hold((source.arrays[0], *class_weighted(model, batch, weights)[1:]))
    return source


def class_weighted(model, batch, weights):
    """Return a batch with class weights multiplied into its sample weights.

    Args:
        model: the model, prepared.
        batch: `(x, y, sample_weight)`; `y` may be all labels, `x` a part of the rows.
        weights: a dict from class to weight, or a dict of these by output.

    Raises:
        TypeError: it is not a dict.
        ValueError: several outputs without a dict by name, no targets, targets that
            may have several classes or that no process has whole, or classes or
            weights that are not numbers.
    """
    x, y, sample_weight = batch
    if not isinstance(weights, dict):
        raise TypeError(
            "`class_weight` must be a dict from class to weight: class_weight={0: 1.0, "
            f"1: 2.0}}. Received: {weights!r}"
        )
    if y is None:
        raise ValueError("`class_weight` needs targets `y`.")
    # A model that has only its own steps may make anything of its inputs.
    outputs = outputs_for(model, x) if model.has_call else y
    names = names_of(model, outputs)
    if any(isinstance(w, dict) for w in weights.values()):
        unknown = sorted(str(k) for k in weights if k not in names)
        if unknown:
            raise ValueError(
                f"`class_weight` has keys that are not outputs: {unknown}. The "
                f"outputs: {names}"
            )
    elif len(names) > 1:
        raise ValueError(
            "`class_weight` of a model with several outputs must be a dict by output: "
            f"class_weight={{{names[0]!r}: {{0: 1.0, 1: 2.0}}}}. The outputs: {names}"
        )
    else:
        weights = {names[0]: weights}
    loss = training_of(model).settings.compiled_loss
    targets = loss.targets(y, outputs, names)
    given = match_weights(sample_weight, outputs, names)
    for i, output in enumerate(structure.flatten(outputs)):
        if targets[i] is not None and names[i] in weights:
            if not is_here(targets[i]):
                raise ValueError(
                    f"`class_weight` needs all targets of output {names[i]!r} in this "
                    f"process. Those given, of shape {targets[i].shape}, are divided "
                    "among several: give `sample_weight`, divided as they are."
                )
            losses = [t.loss for t in loss.terms if t.places == i]
            found = classes_of(losses, np.asarray(targets[i]), output.shape)
            factor = _looked_up(*found, weights[names[i]])
            given[i] = factor if given[i] is None else _times(given[i], factor)
        elif given[i] is None:
            given[i] = np.ones(len(structure.flatten(y)[0]), "float32")
    return x, y, structure.pack_like(outputs, given)


def _times(a, b):
    """Multiply weights of rows with weights of steps."""
    a, b = np.asarray(a), np.asarray(b)
    rank = max(a.ndim, b.ndim)
    return np.multiply(*(w.reshape(w.shape + (1,) * (rank - w.ndim)) for w in (a, b)))


def _is_class(key):
    try:
        return float(key).is_integer()
    except (TypeError, ValueError):
        return False


def _is_weight(value):
    return np.asarray(value).dtype.kind in "biuf" and np.isfinite(value)


def _looked_up(classes, ignored, weights):
    """Return the weight of each class."""
    bad = {k: w for k, w in weights.items() if not (_is_class(k) and _is_weight(w))}
    if bad:
        raise ValueError(
            "`class_weight` must have the classes' numbers as keys and finite numbers "
            f"as values: class_weight={{0: 1.0, 1: 2.0}}. Received: {bad}"
        )
    labels = np.round(classes).astype("int64")
    result = np.ones(labels.shape, "float32")
    known = {*map(int, weights), ignored}
    missing = sorted({*np.unique(labels).tolist()} - known)
    if missing:
        warn(
            f"`class_weight` has no weight for the classes {missing[:10]}, which are "
            f"in `y`; their rows count once. It has: {sorted(map(int, weights))}",
        )
    for label, weight in weights.items():
        result[labels == int(label)] = weight
    return result
