"""The metrics that `compile` was given, and what is measured by each."""

import dataclasses

from lamina import metrics as metrics_module
from lamina.core import structure
from lamina.core.naming import snake_case
from lamina.core.tracebacks import warn
from lamina.losses.loss import by_shape, widened
from lamina.metrics import Metric
from lamina.metrics.metric import update_weighted
from lamina.training.by_output import match_weights, slots_of

KINDS = ("metrics", "weighted_metrics")


@dataclasses.dataclass
class Output:
    """One output of the model, and the metrics of it."""

    name: str | None
    metrics: tuple = ()
    weighted_metrics: tuple = ()


class CompileMetrics(Metric):
    """The metrics that `compile` was given, as one; its result is a dict by name.

    Args:
        given: a dict from `"metrics"` and `"weighted_metrics"` to what `compile` was
            given for them.
        loss: the `CompiledLoss`, which says what outputs have targets.
        model: the model.

    Attributes:
        outputs: each `Output` with its metrics; empty until they are made.

    Raises:
        ValueError: there is no metric of a name.
    """

    def __init__(self, given, loss, model):
        super().__init__(name="compile_metrics")
        for one in structure.flatten(list(given.values())):
            _check_metric(one)
        self.outputs: list[Output] = []
        self._given, self._loss, self._model = given, loss, model

    def make(self, y, y_pred):
        """Make the metrics, once the outputs' structure is known.

        Nothing is measured of an output that has no targets.

        Args:
            y: the targets of a batch, or their shapes; None where only the user's own
                step knows them.
            y_pred: the outputs for it, or their shapes.

        Raises:
            ValueError: what `compile` was given does not match the outputs.
        """
        if self.outputs:
            return
        slots = slots_of(self._model, y_pred)
        names, outputs = slots.names, [Output(name) for name in slots.names]
        kinds = {
            kind: [
                [one for one in structure.flatten(some) if one is not None]
                for some in slots.each(given, kind, lists=True)
            ]
            for kind, given in self._given.items()
        }
        self.outputs = outputs
        if not any(some for chosen in kinds.values() for some in chosen):
            return
        targets = self._loss.targets(y, y_pred, names, required=True)
        unmeasured = []
        for kind, chosen in kinds.items():
            for i, (some, true, pred) in enumerate(
                zip(chosen, targets, structure.flatten(y_pred), strict=True)
            ):
                if true is not None or y is None:
                    setattr(
                        outputs[i], kind, tuple(_metric(m, true, pred) for m in some)
                    )
                elif some:
                    unmeasured.append(slots.label(i))
        if unmeasured:
            warn(
                f"`compile` was given metrics of the output(s) {unmeasured}, for which "
                "there are no targets: they are not measured, and not in the logs."
            )

    def forget(self):
        """Let the metrics be made anew, for other targets."""
        self.outputs = []

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return any(self._given.values())

    @property
    def metrics(self) -> list:
        """The metrics, output by output."""
        return [m for o in self.outputs for m in (*o.metrics, *o.weighted_metrics)]

    @property
    def variables(self) -> list:
        """The Variables of all of them."""
        return list(dict.fromkeys(v for m in self.metrics for v in m.variables))

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take in a batch: the targets and outputs of the whole model."""
        if not self.given:
            return
        self.make(y_true, y_pred)
        names = [output.name for output in self.outputs]
        # A metric of an output without targets is passed over.
        targets = self._loss.targets(y_true, y_pred, names)
        weights = match_weights(sample_weight, y_pred, names)
        for output, true, pred, weight in zip(
            self.outputs, targets, structure.flatten(y_pred), weights, strict=True
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
        for output in self.outputs:
            alone = len(self.outputs) == 1 or output.name is None
            prefix = "" if alone else f"{output.name}_"
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


# Names that mean one of several metrics, by the shapes of targets and outputs.
_BY_SHAPE = {
    "accuracy": "Accuracy",
    "acc": "Accuracy",
    "crossentropy": "Crossentropy",
    "ce": "Crossentropy",
}
_SHAPES = ("Binary", "SparseCategorical", "Categorical")


def _metric(identifier, y_true, y_pred):
    """Make one metric; accuracies are chosen by the shapes of targets and outputs."""
    if isinstance(identifier, Metric):
        return identifier
    name = identifier if isinstance(identifier, str) else None
    if name is not None and name.lower() in _BY_SHAPE:
        word = _BY_SHAPE[name.lower()]
        kinds = [getattr(metrics_module, f"{shape}{word}") for shape in _SHAPES]
        true = (y_true if y_true is not None else y_pred).shape
        return by_shape(true, y_pred.shape, *kinds)(name=name)
    found = metrics_module.get(identifier)
    if isinstance(found, Metric):
        if name is not None:
            found.name = name
        return found
    word = getattr(found, "__name__", type(found).__name__)
    word = "lambda" if word == "<lambda>" else snake_case(word)
    name = name or getattr(found, "name", None) or word
    return metrics_module.MeanMetricWrapper(found, name=name)
