"""The loss that `compile` was given, taken of the outputs of a model."""

import jax.numpy as jnp

from lamina.core import structure
from lamina.losses.loss import check_shapes
from lamina.training.by_output import match_targets, match_weights, slots_of
from lamina.training.loss_terms import Term, each_loss, make_loss, terms_of


class CompiledLoss:
    """The weighted sum of the losses of a model's outputs.

    Args:
        loss: a loss for all outputs, or a structure of losses.
        loss_weights: numbers in a structure alike, or by output, or None.

    Attributes:
        names: the names of the outputs; None until their structure is known.
        terms: which loss is taken of which outputs; made with `names`.

    Raises:
        ValueError: there is no loss of a name.
    """

    def __init__(self, loss=None, loss_weights=None):
        for one in each_loss(loss):
            make_loss(one)
        words = [w for w in structure.flatten(loss_weights) if isinstance(w, str)]
        if words:
            raise ValueError(
                "`loss_weights` of `compile` holds numbers. Received: "
                f"{loss_weights!r}. Metrics are given by name: `metrics=[...]`."
            )
        self._given = loss, loss_weights
        self.forget()

    def forget(self):
        """Let the terms be made anew, for other targets."""
        self.names: list | None = None
        self.terms: list[Term] = []

    def make(self, model, y_pred):
        """Make the terms, once the outputs' structure is known.

        Args:
            model: the model.
            y_pred: the outputs for a batch, or their shapes.

        Raises:
            ValueError: what `compile` was given does not match the outputs.
        """
        if self.names is None:
            slots = slots_of(model, y_pred)
            self.terms = terms_of(*self._given, slots)
            self.names = slots.names

    def check(self, y, y_pred):
        """Refuse targets that do not match a loss.

        Args:
            y: the targets of a batch, or their shapes.
            y_pred: the outputs for it, or their shapes.

        Raises:
            ValueError: naming the output; both sides are shown.
        """
        for term, true, pred in self.alone(y, y_pred, required=True):
            check_shapes(term.loss, true.shape, pred.shape, self.where(term))

    def __call__(self, model, y, y_pred, sample_weight):
        """Return the loss of a batch, or None where no loss was given."""
        if self.names is None:
            self.make(model, y_pred)
            self.check(y, y_pred)
        if not self.terms:
            return None
        names = self.names or []
        targets = self.targets(y, y_pred, names, required=True)
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
            values[term.tracker] = values.get(term.tracker, 0) + value
            if term.weight is not None:
                value = value * term.weight
            total = value if total is None else total + value
        # The running means are those of terms without their weights.
        for tracker, value in values.items():
            if tracker is not None:
                tracker.update_state(value, sample_weight=predictions[0].shape[0])
        return total

    def targets(self, y, y_pred, names, required=False) -> list:
        """Return the targets for each output, None for those without any.

        Args:
            y: the targets of a batch.
            y_pred: the outputs for it.
            names: the names of the outputs.
            required: whether outputs with a loss must have targets.
        """
        takers = {i for term in self.terms for i in structure.flatten(term.places)}
        takers = sorted(takers & {*range(len(names))})
        return match_targets(y, y_pred, names, takers, required)

    def alone(self, y, y_pred, required=False):
        """Yield each term of one output that has targets, with these and the output."""
        targets = self.targets(y, y_pred, self.names or [], required)
        predictions = structure.flatten(y_pred)
        for term in self.terms:
            if term.alone and targets[term.places] is not None:
                yield term, targets[term.places], predictions[term.places]

    def where(self, term):
        """Say which output a term is taken of."""
        name = (self.names or [None])[term.places]
        return f"output {name!r}" if name else "the model"

    def trackers(self) -> list:
        """Return the running means of the terms, where there are several."""
        trackers = (t.tracker for t in self.terms if t.tracker is not None)
        return list(dict.fromkeys(trackers))
