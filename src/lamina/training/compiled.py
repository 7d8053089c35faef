"""What `compile` was told, and how it maps onto the outputs of a model.

Outputs, losses, metrics, targets and weights are matched by name wherever a dict is
given; lists are matched to lists. What does not match is an error that shows both
sides.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lamina import losses as losses_module
from lamina import metrics as metrics_module
from lamina import optimizers as optimizers_module
from lamina.core import structure
from lamina.core.config import serialize_keras_object
from lamina.core.naming import nearest
from lamina.losses.loss import Loss, LossFunctionWrapper, check_shapes
from lamina.metrics import Mean, Metric


@dataclasses.dataclass
class Output:
    """One output of the model, and what is computed of it."""

    name: str | None
    loss: Any = None
    weight: float | None = None
    tracker: Mean | None = None
    metrics: tuple = ()
    weighted_metrics: tuple = ()


class Compiled:
    """What `compile` was told. Made empty with the model and filled by `compile`."""

    def __init__(self):
        self.compiled = False
        self.given = {}
        self.optimizer = None
        self.run_eagerly = False
        self.jit_compile = "auto"
        self.steps_per_execution = 1
        self.stop_training = False
        self.history = None
        self.prepared = False
        self.outputs: list[Output] = []
        self.single = True
        self.loss_tracker = None
        self.steps = {}

    def compile(
        self,
        optimizer,
        loss,
        loss_weights,
        metrics,
        weighted_metrics,
        run_eagerly,
        steps_per_execution,
        jit_compile,
        auto_scale_loss,
        policy,
    ):
        """Take the arguments of `Model.compile`; names are checked at once."""
        optimizer = optimizers_module.get(optimizer)
        if auto_scale_loss and policy.name == "mixed_float16" and optimizer is not None:
            scaled = optimizers_module.LossScaleOptimizer
            if not isinstance(optimizer, scaled):
                optimizer = scaled(optimizer, name="loss_scale_optimizer")
        for one in structure.flatten(loss):
            if one is not None:
                _loss(one)
        for one in structure.flatten((metrics, weighted_metrics)):
            _check_metric(one)
        self.__init__()
        self.optimizer = optimizer
        self.given = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
        }
        self.run_eagerly = bool(run_eagerly)
        self.jit_compile = jit_compile
        self.steps_per_execution = steps_per_execution
        self.loss_tracker = Mean(name="loss")
        self.compiled = True

    def require(self, what):
        """Raise unless `compile` was called."""
        if not self.compiled:
            raise ValueError(
                f"You must call `compile()` before calling `{what}()`. For instance: "
                'model.compile(optimizer="adam", loss="mse", metrics=["mae"])'
            )

    # ---- matching to outputs -------------------------------------------------

    def prepare(self, model, y, y_pred):
        """Make the losses and metrics, once the outputs' structure is known.

        Args:
            model: the model.
            y: the targets of a batch, or their shapes.
            y_pred: the outputs for it, or their shapes.

        Raises:
            ValueError: what `compile` was told does not match the outputs, or the
                targets do not match a loss.
        """
        names = names_of(model, y_pred)
        given = self.given
        if not self.prepared:
            single = len(names) == 1
            told = _each(given["loss"], y_pred, names)
            found = [_loss(one) for one in told]
            outputs = [Output(name) for name in names]
            weights = match(given["loss_weights"], y_pred, names, "loss_weights")
            labels = _labels(names, told, found)
            kinds = {
                kind: _metrics_for(given[kind], y_pred, names, kind)
                for kind in ("metrics", "weighted_metrics")
            }
            y_list = match(y, y_pred, names, "y", optional=found)
            for output, loss, weight in zip(outputs, found, weights, strict=True):
                output.loss, output.weight = loss, weight
            for kind, chosen in kinds.items():
                for output, some, true, pred in zip(
                    outputs, chosen, y_list, structure.flatten(y_pred), strict=True
                ):
                    made = tuple(_metric(m, true, pred) for m in some)
                    setattr(output, kind, made)
            if not single and sum(loss is not None for loss in found) > 1:
                for output, label in zip(outputs, labels, strict=True):
                    if output.loss is not None:
                        output.tracker = Mean(name=f"{label}_loss")
            self.outputs = outputs
            self.prepared = True
            self.single = single
        self._check(y, y_pred, names)

    def _check(self, y, y_pred, names):
        losses = [output.loss for output in self.outputs]
        y_list = match(y, y_pred, names, "y", optional=losses)
        for output, true, pred in zip(
            self.outputs, y_list, structure.flatten(y_pred), strict=True
        ):
            if true is not None and output.loss is not None:
                where = f"output {output.name!r}" if output.name else "the model"
                check_shapes(output.loss, true.shape, pred.shape, where)

    def prefix(self, output):
        """Return what the names of an output's metrics begin with."""
        return "" if self.single or output.name is None else f"{output.name}_"

    def metrics(self) -> list:
        """Return the loss tracker, then the outputs' trackers, then the metrics."""
        if self.loss_tracker is None:
            return []
        outputs = self.outputs
        found = [self.loss_tracker]
        found += [o.tracker for o in outputs if o.tracker is not None]
        for output in outputs:
            found += [*output.metrics, *output.weighted_metrics]
        return found

    # ---- computing -----------------------------------------------------------

    def loss(self, model, y, y_pred, sample_weight):
        """Return the weighted sum of the outputs' losses, or None without any."""
        if not self.prepared:
            self.prepare(model, y, y_pred)
        names = [output.name for output in self.outputs]
        losses = [output.loss for output in self.outputs]
        if all(loss is None for loss in losses):
            return None
        targets = match(y, y_pred, names, "y", optional=losses)
        weights = match_weights(sample_weight, y_pred, names)
        total = None
        for output, true, pred, weight in zip(
            self.outputs, targets, structure.flatten(y_pred), weights, strict=True
        ):
            if output.loss is None or true is None:
                continue
            value = output.loss(true, pred, weight)
            value = (
                jnp.asarray(value, "float32") if not hasattr(value, "dtype") else value
            )
            if output.tracker is not None:
                output.tracker.update_state(value, sample_weight=pred.shape[0])
            if output.weight is not None:
                value = value * output.weight
            total = value if total is None else total + value
        return total

    def update_metrics(self, y, y_pred, sample_weight):
        """Update the metrics with one batch."""
        names = [output.name for output in self.outputs]
        # A metric of an output without targets is passed over.
        targets = match(y, y_pred, names, "y", optional=[None] * len(names))
        weights = match_weights(sample_weight, y_pred, names)
        for output, true, pred, weight in zip(
            self.outputs, targets, structure.flatten(y_pred), weights, strict=True
        ):
            if true is None:
                continue
            for metric in output.metrics:
                metric.update_state(true, pred)
            for metric in output.weighted_metrics:
                metric.update_state(true, pred, sample_weight=weight)

    def results(self, extra=()) -> dict:
        """Return the metrics' results by name: the loss first."""
        logs = {}

        def put(name, value):
            if isinstance(value, dict):
                for key, one in value.items():
                    put(key, one)
                return
            unique, i = name, 0
            while unique in logs:
                i += 1
                unique = f"{name}_{i}"
            logs[unique] = value

        if self.loss_tracker is not None:
            put("loss", self.loss_tracker.result())
        for output in self.outputs:
            if output.tracker is not None:
                put(output.tracker.name, output.tracker.result())
        for output in self.outputs:
            plain = {metric.name for metric in output.metrics}
            for metric in output.metrics:
                put(self.prefix(output) + metric.name, metric.result())
            for metric in output.weighted_metrics:
                name = metric.name
                name = f"weighted_{name}" if name in plain else name
                put(self.prefix(output) + name, metric.result())
        for metric in extra:
            put(metric.name, metric.result())
        return logs

    def get_config(self) -> dict:
        """Return the arguments of `compile`, ready to be saved."""
        settings = {
            "optimizer": self.optimizer,
            **self.given,
            "run_eagerly": self.run_eagerly,
            "steps_per_execution": self.steps_per_execution,
            "jit_compile": self.jit_compile == "auto" or bool(self.jit_compile),
        }
        return {k: serialize_keras_object(v) for k, v in settings.items()}


def names_of(model, y_pred) -> list:
    """Return a name for each output, in the order of `structure.flatten`."""
    pairs = structure.flatten_with_names(y_pred)
    drawn = getattr(model, "output_names", None)
    if not structure.is_nested(y_pred):
        return [drawn[0] if drawn else None]
    names = []
    for position, (path, _) in enumerate(pairs):
        parts = list(map(str, path))
        if isinstance(path[-1], int):
            if not drawn:
                names.append(None if len(path) == 1 else "/".join(parts))
                continue
            parts[-1] = drawn[position]
        names.append("/".join(parts))
    return names


def _labels(names, told, losses):
    """Name outputs that have no name after their losses, as Keras does."""
    labels = []
    for name, word, loss in zip(names, told, losses, strict=True):
        word = word if isinstance(word, str) else getattr(loss, "name", "output")
        label = name or word
        unique, i = label, 0
        while unique in labels:
            i += 1
            unique = f"{label}_{i}"
        labels.append(unique)
    return labels


def match(value, struct, names, what, optional=None) -> list:
    """Return one entry of `value` for each output.

    Args:
        value: anything given by output: an array, a list, a dict, or nestings.
        struct: the outputs.
        names: their names.
        what: the argument's name, for messages.
        optional: a list that holds None where an entry may be missing; None means
            that all may.

    Raises:
        ValueError: the keys or the lengths differ; both sides are shown.
    """
    count = len(names)
    if value is None:
        return [None] * count
    if not structure.is_nested(struct):
        return [_unwrap(value, names[0], what)]
    found = {}
    _descend(value, struct, (), names, what, found, _positions(struct))
    entries = [found.get(i) for i in range(count)]
    if optional is not None:
        missing = [
            names[i] or i
            for i in range(count)
            if entries[i] is None and optional[i] is not None
        ]
        if missing:
            keys = sorted(map(str, value)) if isinstance(value, dict) else len(value)
            raise ValueError(
                f"`{what}` has nothing for the output(s) {missing}. The model's "
                f"outputs: {[n or i for i, n in enumerate(names)]}. Received: {keys}"
            )
    return entries


def _positions(struct):
    """Return a structure like `struct` that holds the position of each output."""
    return structure.pack_like(struct, list(range(len(structure.flatten(struct)))))


def _unwrap(value, name, what):
    if isinstance(value, dict):
        if len(value) == 1 and (name is None or name in value):
            return next(iter(value.values()))
        if name is not None and name not in value:
            raise ValueError(
                f"`{what}` is a dict with the keys {sorted(map(str, value))}, but the "
                f"model's only output is {name!r}.{nearest(name, value)}"
            )
        unknown = sorted(str(k) for k in value if k != name)
        raise ValueError(
            f"`{what}` has keys that are no outputs: {unknown}. The model's only "
            f"output is {name or 'unnamed'!r}."
        )
    if isinstance(value, (list, tuple)) and len(value) == 1:
        return value[0]
    if isinstance(value, (list, tuple)):
        raise ValueError(
            f"`{what}` has {len(value)} entries, but the model has one output"
            f"{f', {name!r}' if name else ''}."
        )
    return value


def _descend(value, struct, path, names, what, found, places):
    if not structure.is_nested(struct):
        found[places] = value
        return
    if value is None:
        return
    where = f" at {'/'.join(map(str, path))!r}" if path else ""
    if len(names) == 1 and not structure.is_nested(value):
        found[0] = value  # one output in a container takes a bare value
        return
    if len(names) == 1 and isinstance(value, (list, tuple)) and len(value) == 1:
        found[0] = value[0]
        return
    if isinstance(struct, dict):
        if not isinstance(value, dict):
            raise ValueError(
                f"`{what}` must be a dict with the keys {sorted(map(str, struct))}, "
                f"like the model's outputs{where}. Received: {_brief(value)}. Names "
                "bind, order does not."
            )
        _refuse_unknown(value, list(struct), what, where)
        for key in struct:
            _descend(
                value.get(key),
                struct[key],
                (*path, key),
                names,
                what,
                found,
                places[key],
            )
        return
    if isinstance(value, dict):
        own = {names[i]: i for i in structure.flatten(places)}
        if path or None in own:
            raise ValueError(
                f"`{what}` must be a list of {len(struct)} entries, like the model's "
                f"outputs{where}. Received a dict with the keys "
                f"{sorted(map(str, value))}."
                + (" Its outputs have no names." if None in own else "")
            )
        _refuse_unknown(value, list(own), what, where)
        for key, one in value.items():
            found[own[key]] = one
        return
    if not isinstance(value, (list, tuple)):
        raise ValueError(
            f"`{what}` is one {type(value).__name__}, but the model has {len(struct)} "
            f"outputs{where}: {names}. Give a list of {len(struct)}, or a dict by name."
        )
    if len(value) != len(struct):
        raise ValueError(
            f"`{what}` has {len(value)} entries, but the model has {len(struct)} "
            f"outputs{where}: {names}."
        )
    for i, (one, inner) in enumerate(zip(value, struct, strict=True)):
        _descend(one, inner, (*path, i), names, what, found, places[i])


def _refuse_unknown(value, known, what, where):
    unknown = [key for key in value if key not in known]
    if unknown:
        raise ValueError(
            f"Invalid `{what}`: Expected keys {sorted(map(str, known))} in {what} dict "
            f"(the model's outputs{where}), but found {what}.keys()="
            f"{sorted(map(str, value))}. Unknown: {sorted(map(str, unknown))}."
            f"{nearest(str(unknown[0]), known)}"
        )


def _brief(value):
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"one {type(value).__name__}"


def match_weights(value, struct, names) -> list:
    """Return sample weights for each output: one array serves all of them."""
    if value is None:
        return [None] * len(names)
    if not structure.is_nested(value):
        return [value] * len(names)
    return match(value, struct, names, "sample_weight")


def _each(loss, struct, names):
    """Return what was told for each output; one loss alone is told for all."""
    if not isinstance(loss, (list, tuple, dict)) or _is_config(loss):
        return [loss] * len(names)
    return match(loss, struct, names, "loss")


def _is_config(x):
    return isinstance(x, dict) and "class_name" in x


def _loss(identifier):
    if isinstance(identifier, (list, tuple)) and len(identifier) == 1:
        identifier = identifier[0]
    if identifier is None or isinstance(identifier, Loss):
        return identifier
    found = losses_module.get(identifier)
    if isinstance(found, Loss):
        return found
    name = getattr(found, "__name__", type(found).__name__)
    return LossFunctionWrapper(found, name=name)


def _metrics_for(metrics, struct, names, what):
    """Return a list of metrics for each output."""

    def as_list(x):
        if x is None:
            return []
        return list(x) if isinstance(x, (list, tuple)) else [x]

    if metrics is None:
        return [[] for _ in names]
    if not structure.is_nested(struct) or len(names) == 1:
        if isinstance(metrics, dict):
            return [as_list(_unwrap(metrics, names[0], what))]
        if len(metrics) == 1 and isinstance(metrics, (list, tuple)):
            return [as_list(metrics[0])]
        return [as_list(metrics)]
    if not structure.is_nested(metrics):
        metrics = [metrics]
    return [as_list(m) for m in match(metrics, struct, names, what)]


def _check_metric(identifier):
    if identifier is None or isinstance(identifier, Metric) or callable(identifier):
        return
    if isinstance(identifier, str) and identifier.lower() in _BY_SHAPE:
        return
    metrics_module.get(identifier)


_ACCURACY = (
    metrics_module.BinaryAccuracy,
    metrics_module.SparseCategoricalAccuracy,
    metrics_module.CategoricalAccuracy,
)
_CROSSENTROPY = (
    metrics_module.BinaryCrossentropy,
    metrics_module.SparseCategoricalCrossentropy,
    metrics_module.CategoricalCrossentropy,
)
_BY_SHAPE = {
    "accuracy": _ACCURACY,
    "acc": _ACCURACY,
    "crossentropy": _CROSSENTROPY,
    "ce": _CROSSENTROPY,
}


def _metric(identifier, y_true, y_pred):
    """Make one metric; accuracies are chosen by the shapes of targets and outputs."""
    if isinstance(identifier, Metric):
        return identifier
    name = identifier if isinstance(identifier, str) else None
    if name is not None and name.lower() in _BY_SHAPE:
        binary, sparse, dense = _BY_SHAPE[name.lower()]
        return _by_shape(y_true, y_pred, binary, sparse, dense)(name=name)
    found = metrics_module.get(identifier)
    if isinstance(found, Metric):
        if name is not None:
            found.name = name
        return found
    name = name or getattr(found, "__name__", type(found).__name__)
    if name == "<lambda>":
        name = "lambda"
    return metrics_module.MeanMetricWrapper(found, name=name)


def _by_shape(y_true, y_pred, binary, sparse, dense):
    pred = y_pred.shape
    true = y_true.shape if y_true is not None else pred
    if len(pred) == 0 or pred[-1] == 1 or len(pred) == 1:
        return binary
    if len(true) < len(pred) or (true[-1] == 1 and pred[-1] != 1):
        return sparse
    return dense


def sum_of(losses):
    """Return the sum of all entries of some losses."""
    return sum(jnp.sum(jnp.asarray(x)) for x in losses)


def as_specs(value):
    """Return the shapes and dtypes of arrays, with rows left unknown."""
    return structure.map_leaves(
        lambda a: (
            None
            if a is None
            else jax.ShapeDtypeStruct(a.shape, jax.dtypes.canonicalize_dtype(a.dtype))
        ),
        value,
    )
