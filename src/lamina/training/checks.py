"""Looks at data before the first step, where a mistake can still be explained."""

import warnings

import numpy as np

from lamina.core import structure
from lamina.data import ArraySource, unpack
from lamina.losses.loss import check_labels
from lamina.training import step
from lamina.training.mapped import Mapped
from lamina.training.matching import match, names_of
from lamina.training.prepare import outputs_for


def check_targets(model, source) -> None:
    """Check the labels of all rows in memory, or of the first batch.

    Raises:
        ValueError: naming the output and what is wrong with its targets.
    """
    if isinstance(source, ArraySource):
        _, y, weight = source.arrays
    else:
        _, y, weight = source.first()
    _check(model, source.first()[0], y, weight)


def check_batch(model, batch) -> None:
    """Check one batch as `check_targets` does."""
    x, y, weight = unpack(batch)
    _check(model, x, y, weight)


def _check(model, x, y, weight):
    compiled = model._compiled
    if y is None:
        if compiled.given.get("loss") is not None and not _custom_loss(model):
            raise ValueError(
                "`compile` was given a loss, which needs targets, but no `y` was "
                "passed. Pass `fit(x, y)`, or data that yields `(x, y)`."
            )
        return
    if not compiled.prepared:
        return
    outputs = _outputs(model, x)
    names = names_of(model, outputs)
    if names != compiled.names:
        return  # a loss of the user's own, on other parts than the outputs
    targets = match(y, outputs, names, "y")
    predictions = structure.flatten(outputs)
    for term in compiled.terms:
        if not term.alone or targets[term.places] is None:
            continue
        if getattr(getattr(term.loss, "fn", None), "targets", None) == "labels":
            classes = predictions[term.places].shape[getattr(term.loss, "axis", -1)]
            if classes is not None:
                labels = np.asarray(targets[term.places])
                check_labels(term.loss, labels, classes, compiled.where(term))


def _custom_loss(model):
    own = (step.own_method(model, name) for name in ("compute_loss", "train_step"))
    return any(method is not None for method in own)


def _outputs(model, x):
    return outputs_for(model, x)


def check_numbers(model, source) -> None:
    """Refuse NaN in the data, unless the model makes finite numbers of it.

    Raises:
        ValueError: naming the array, how many entries are NaN, and the first row.
    """
    if not isinstance(source, ArraySource):
        return
    for name, part in zip(("x", "y"), source.arrays[:2], strict=True):
        for path, array in structure.flatten_with_names(part):
            if array is None or not _has_nan(array):
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
        graph = getattr(model, "_graph", None) if name == "x" else None
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

    def weighted(batch):
        x, y, sample_weight = batch
        return x, y, _times(sample_weight, class_weights(model, y, weights))

    if not isinstance(source, ArraySource):
        return Mapped(source, weighted)
    x, y, sample_weight = source.arrays
    factor = class_weights(model, y, weights)
    source.arrays = (x, y, _times(sample_weight, factor))
    return source


def _times(sample_weight, factor):
    if sample_weight is None:
        return factor
    if structure.is_nested(sample_weight) or structure.is_nested(factor):
        raise ValueError(
            "`class_weight` and `sample_weight` for several outputs cannot be "
            "combined. Multiply them yourself and give `sample_weight` alone."
        )
    sample_weight = np.asarray(sample_weight)
    return sample_weight * factor.reshape(factor.shape[: sample_weight.ndim])


def class_weights(model, y, weights):
    """Return a weight for each row, from a weight for each class.

    Args:
        model: the compiled model.
        y: labels, or one-hot rows; by output when `weights` is.
        weights: a dict from class to weight, or a dict of these by output.

    Raises:
        TypeError: it is no dict.
        ValueError: several outputs without a dict by name, no targets, or classes or
            weights that are no numbers.
    """
    if not isinstance(weights, dict):
        raise TypeError(
            "`class_weight` must be a dict from class to weight: class_weight={0: 1.0, "
            f"1: 2.0}}. Received: {weights!r}"
        )
    outputs = model._compiled.outputs
    by_output = isinstance(weights, dict) and any(
        isinstance(v, dict) for v in weights.values()
    )
    names = [output.name for output in outputs]
    if by_output:
        unknown = sorted(str(k) for k in weights if k not in names)
        if unknown:
            raise ValueError(
                f"`class_weight` has keys that are no outputs: {unknown}. The outputs: "
                f"{names}"
            )
        if isinstance(y, dict):
            return {
                name: _row_weights(y[name], weights[name])
                if name in weights
                else np.ones(len(y[name]), "float32")
                for name in y
            }
        if not isinstance(y, (list, tuple)):
            return _row_weights(y, weights[names[0]])
        return [
            _row_weights(one, weights[name]) if name in weights
            else np.ones(len(one), "float32")
            for name, one in zip(names, y, strict=True)
        ]  # fmt: skip
    if len(outputs) > 1:
        raise ValueError(
            "`class_weight` of a model with several outputs must be a dict by output: "
            f"class_weight={{{names[0]!r}: {{0: 1.0, 1: 2.0}}}}. The outputs: {names}"
        )
    while structure.is_nested(y) and len(y) == 1:
        y = next(iter(y.values())) if isinstance(y, dict) else y[0]
    return _row_weights(y, weights)


def _is_class(key):
    try:
        return float(key).is_integer()
    except (TypeError, ValueError):
        return False


def _is_weight(value):
    return np.asarray(value).dtype.kind in "biuf" and np.isfinite(value)


def _row_weights(y, weights):
    if y is None:
        raise ValueError("`class_weight` needs targets `y`.")
    bad = {k: w for k, w in weights.items() if not (_is_class(k) and _is_weight(w))}
    if bad:
        raise ValueError(
            "`class_weight` must have the classes' numbers as keys and finite numbers "
            f"as values: class_weight={{0: 1.0, 1: 2.0}}. Received: {bad}"
        )
    y = np.asarray(y)
    if y.ndim > 1 and y.shape[-1] != 1:
        y = y.argmax(axis=-1)
    elif y.ndim > 1:
        y = y[..., 0]
    labels = np.round(y).astype("int64")
    result = np.ones(labels.shape, "float32")
    missing = sorted({*np.unique(labels).tolist()} - {int(k) for k in weights})
    if missing:
        warnings.warn(
            f"`class_weight` has no weight for the classes {missing[:10]}, which are "
            f"in `y`; their rows count once. It has: {sorted(map(int, weights))}",
            stacklevel=2,
        )
    for label, weight in weights.items():
        result[labels == int(label)] = weight
    return result
