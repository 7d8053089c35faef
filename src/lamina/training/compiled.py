"""What `compile` was told, and how it maps onto the outputs of a model.

Outputs, losses, metrics, targets and weights are matched by name wherever a dict is
given; lists are matched to lists. What does not match is an error that shows both
sides.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp

from lamina import metrics as metrics_module
from lamina import optimizers as optimizers_module
from lamina.core import structure
from lamina.core.checks import positive_int
from lamina.core.config import serialize_keras_object
from lamina.core.naming import snake_case
from lamina.losses.loss import by_shape, check_shapes, widened
from lamina.metrics import Mean, Metric
from lamina.metrics.metric import update_weighted
from lamina.training.matching import match_targets, match_weights, slots_of
from lamina.training.terms import Term, each_loss, make_loss, terms_of

METRICS = ("metrics", "weighted_metrics")


@dataclasses.dataclass
class Output:
    """One output of the model, and the metrics of it."""

    name: str | None
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
        self.stop_training = self.stop_evaluating = self.stop_predicting = False
        self.history = None
        self.names: list | None = None
        self.terms: list[Term] = []
        self.outputs: list[Output] = []
        self.loss_tracker: Any = None
        self.metrics: Any = None
        self.settings = None  # the optimizer's, when the last run began and ended

    def compile(
        self,
        model,
        optimizer,
        run_eagerly,
        steps_per_execution,
        jit_compile,
        auto_scale_loss,
        **given,
    ):
        """Take the arguments of `Model.compile`; names are checked at once."""
        optimizer = optimizers_module.get(optimizer)
        half = model.dtype_policy.name == "mixed_float16"
        if auto_scale_loss and half and optimizer is not None:
            scaled = optimizers_module.LossScaleOptimizer
            if not isinstance(optimizer, scaled):
                optimizer = scaled(optimizer, name="loss_scale_optimizer")
        for one in each_loss(given["loss"]):
            make_loss(one)
        for one in structure.flatten([given[k] for k in METRICS]):
            _check_metric(one)
        self.__init__()
        self.optimizer = optimizer
        self.given = given
        self.run_eagerly = bool(run_eagerly)
        self.jit_compile = jit_compile
        if steps_per_execution != "auto":
            positive_int("compile", "steps_per_execution", steps_per_execution)
        self.steps_per_execution = steps_per_execution
        self.loss_tracker = Mean(name="loss")
        self.metrics = CompileMetrics(self, model)
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
        self.prepare_losses(model, y_pred)
        self.prepare_metrics(model, y, y_pred)
        self._check(y, y_pred)

    def prepare_losses(self, model, y_pred):
        """Make the terms of the loss, once the outputs' structure is known."""
        if self.names is None:
            slots = slots_of(model, y_pred)
            self.terms = terms_of(self.given["loss"], self.given["loss_weights"], slots)
            self.names = slots.names

    def prepare_metrics(self, model, y, y_pred):
        """Make the metrics, once the outputs' structure is known."""
        if self.outputs:
            return
        slots = slots_of(model, y_pred)
        names, outputs = slots.names, [Output(name) for name in slots.names]
        kinds = {
            kind: [
                [one for one in structure.flatten(some) if one is not None]
                for some in slots.each(self.given[kind], kind, lists=True)
            ]
            for kind in METRICS
        }
        self.outputs = outputs
        if not any(some for chosen in kinds.values() for some in chosen):
            return
        targets = match_targets(y, y_pred, names, self.takers(len(names)))
        for kind, chosen in kinds.items():
            for output, some, true, pred in zip(
                outputs, chosen, targets, structure.flatten(y_pred), strict=True
            ):
                setattr(output, kind, tuple(_metric(m, true, pred) for m in some))

    def takers(self, count) -> list:
        """Return which of `count` outputs have a loss, by their places."""
        takers = {i for term in self.terms for i in structure.flatten(term.places)}
        return sorted(takers & {*range(count)})

    def _check(self, y, y_pred):
        names = self.names or []
        targets = match_targets(y, y_pred, names, self.takers(len(names)))
        for term, true, pred in self.alone(targets, y_pred):
            check_shapes(term.loss, true.shape, pred.shape, self.where(term))

    def alone(self, targets, y_pred):
        """Yield each term of one output that has targets, with these and the output."""
        predictions = structure.flatten(y_pred)
        for term in self.terms:
            if term.alone and targets[term.places] is not None:
                yield term, targets[term.places], predictions[term.places]

    def where(self, term):
        """Say which output a term is taken of."""
        name = (self.names or [None])[term.places]
        return f"output {name!r}" if name else "the model"

    @property
    def prepared(self) -> bool:
        """Whether the losses and metrics are made."""
        return self.names is not None and bool(self.outputs)

    def prefix(self, output):
        """Return what the names of an output's metrics begin with."""
        alone = len(self.outputs) == 1 or output.name is None
        return "" if alone else f"{output.name}_"

    def trackers(self) -> list:
        """Return what is kept of the loss and the metrics that were given.

        The metrics as one come first, then the means of the loss's terms, where there
        are several.
        """
        trackers = [t.tracker for t in self.terms if t.tracker is not None]
        if any(self.given.get(kind) is not None for kind in METRICS):
            trackers = [self.metrics, *trackers]
        return list(dict.fromkeys(trackers))

    # ---- computing -----------------------------------------------------------

    def loss(self, model, y, y_pred, sample_weight):
        """Return the weighted sum of the outputs' losses, or None without any."""
        if self.names is None:
            self.prepare_losses(model, y_pred)
            self._check(y, y_pred)
        names = self.names or []
        if not self.terms:
            return None
        targets = match_targets(y, y_pred, names, self.takers(len(names)))
        weights = match_weights(sample_weight, y_pred, names)
        predictions = structure.flatten(y_pred)
        values = {}
        total = None
        for term in self.terms:
            true, pred = term.of(targets), term.of(predictions)
            if all(one is None for one in structure.flatten(true)):
                continue
            weight = structure.flatten(term.of(weights))[0]
            value = jnp.asarray(term.loss(true, pred, weight))
            values[term.label] = values.get(term.label, 0) + value
            if term.weight is not None:
                value = value * term.weight
            total = value if total is None else total + value
        # The running means are those of terms without their weights.
        trackers = {term.label: term.tracker for term in self.terms}
        for label, value in values.items():
            tracker = trackers[label]
            if tracker is not None:
                tracker.update_state(value, sample_weight=predictions[0].shape[0])
        return total

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


class CompileMetrics(Metric):
    """The metrics that `compile` was given, as one; its result is a dict by name.

    Args:
        compiled: what `compile` was told.
        model: the model that it was told.
    """

    def __init__(self, compiled, model):
        super().__init__(name="compile_metrics")
        self._compiled, self._model = compiled, model

    @property
    def metrics(self) -> list:
        """The metrics, output by output."""
        found = self._compiled.outputs
        return [m for o in found for m in (*o.metrics, *o.weighted_metrics)]

    @property
    def variables(self) -> list:
        """The Variables of all of them."""
        return list(dict.fromkeys(v for m in self.metrics for v in m.variables))

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take in a batch: the targets and outputs of the whole model."""
        if not any(self._compiled.given[kind] for kind in METRICS):
            return
        self._compiled.prepare_metrics(self._model, y_true, y_pred)
        outputs = self._compiled.outputs
        names = [output.name for output in outputs]
        # A metric of an output without targets is passed over.
        takers = self._compiled.takers(len(names))
        targets = match_targets(y_true, y_pred, names, takers, required=False)
        weights = match_weights(sample_weight, y_pred, names)
        for output, true, pred, weight in zip(
            outputs, targets, structure.flatten(y_pred), weights, strict=True
        ):
            if true is None:
                continue
            true, pred = widened(true), widened(pred)
            for metric in output.metrics:
                update_weighted(metric, true, pred, None)
            for metric in output.weighted_metrics:
                update_weighted(metric, true, pred, weight)

    def reset_state(self):
        """Forget all batches."""
        for metric in self.metrics:
            metric.reset_state()

    def result(self) -> dict:
        """Return the results by name; those of several outputs after their output."""
        found = []
        for output in self._compiled.outputs:
            prefix = self._compiled.prefix(output)
            plain = {metric.name for metric in output.metrics}
            found += [(prefix + m.name, m.result()) for m in output.metrics]
            for m in output.weighted_metrics:
                name = f"weighted_{m.name}" if m.name in plain else m.name
                found.append((prefix + name, m.result()))
        return named(found)


def named(results) -> dict:
    """Return results by name, dicts of them opened; a name met again is numbered.

    Args:
        results: pairs of a name and a result.
    """
    found = {}
    for name, value in results:
        for key, one in (value if isinstance(value, dict) else {name: value}).items():
            unique, i = key, 0
            while unique in found:
                i += 1
                unique = f"{key}_{i}"
            found[unique] = one
    return found


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
        true = (y_true if y_true is not None else y_pred).shape
        return by_shape(true, y_pred.shape, binary, sparse, dense)(name=name)
    found = metrics_module.get(identifier)
    if isinstance(found, Metric):
        if name is not None:
            found.name = name
        return found
    word = getattr(found, "__name__", type(found).__name__)
    word = "lambda" if word == "<lambda>" else snake_case(word)
    name = name or getattr(found, "name", None) or word
    return metrics_module.MeanMetricWrapper(found, name=name)
