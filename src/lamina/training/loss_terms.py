"""The terms of a compiled loss: which loss is taken of which part of the outputs.

Mostly a term belongs to one output. A loss may also be given for a whole part of a
nested structure of outputs, beside or in place of its members.
"""

import dataclasses
import os
from typing import Any

import jax

from lamina import losses as losses_module
from lamina.core import structure
from lamina.core.matching import Slots, filled
from lamina.losses.loss import Loss, LossFunctionWrapper
from lamina.metrics import Mean


@dataclasses.dataclass
class Term:
    """One loss, and the positions of the outputs that it is taken of.

    Args:
        places: a position among the flat outputs, or a structure of positions.
        loss: the loss.
        weight: what it is multiplied with, or None.
        label: what its value is called in logs.
        tracker: the running mean of its value, or None.
    """

    places: Any
    loss: Any
    weight: Any
    label: str
    tracker: Mean | None = None

    def of(self, leaves):
        """Return the leaves that it is taken of, in their structure."""
        return structure.map_leaves(lambda i: leaves[i], self.places)

    @property
    def alone(self) -> bool:
        """Whether it is taken of one output."""
        return not structure.is_nested(self.places)


@dataclasses.dataclass(repr=False)
class _Placed:
    """One of the losses that `compile` was given, and its place among them."""

    loss: Any
    place: int

    def __repr__(self):
        return repr(self.loss)


def make_loss(identifier):
    """Return a Loss for a Loss, its name, its config or a function.

    Raises:
        ValueError: there is no loss of that name.
    """
    if identifier is None or isinstance(identifier, Loss):
        return identifier
    found = losses_module.get(identifier)
    if isinstance(found, Loss):
        return found
    name = getattr(found, "__name__", type(found).__name__)
    return LossFunctionWrapper(found, name=name)


def each_loss(given) -> list:
    """Return every single loss in what `compile` was given."""
    return jax.tree.leaves(given, is_leaf=is_plain)


def is_plain(given) -> bool:
    """Tell one loss from a structure of several."""
    if isinstance(given, dict):
        return "class_name" in given
    return not isinstance(given, (list, tuple))


def terms_of(given, weights, slots) -> list[Term]:
    """Return the terms for what `compile` was given.

    Args:
        given: a loss for all outputs, or a structure of losses.
        weights: a structure of numbers alike, or by output, or None.
        slots: the outputs.

    Raises:
        ValueError: keys or lengths that do not belong to the outputs.
    """
    if given is None:
        return []
    names = slots.names
    if is_plain(given):
        losses, weighed = [given] * len(names), slots
        found = [(i, i) for i in range(len(names))]
    else:
        _refuse_several(given, slots)
        losses = each_loss(given)
        numbers = filled(given, range(len(losses)), is_plain)
        placed = filled(given, map(_Placed, losses, range(len(losses))), is_plain)
        pairs = slots.pairs(placed, "loss", whole=True, lists=True)
        found = [(p, one.place) for p, part in pairs for one in structure.flatten(part)]
        alone = {i: names[places] for places, i in found if isinstance(places, int)}
        named = [alone.get(i) for i in range(len(losses))]
        weighed = Slots(numbers, named, slots.owner)
    factors = weighed.each(weights, "loss_weights", whole=True)
    terms = []
    for places, i in found:
        loss = make_loss(losses[i])
        if loss is not None:
            label = _label(places, names, losses[i], loss)
            terms.append(Term(places, loss, factors[i], label))
    _tell_apart(terms, names)
    if len({term.label for term in terms}) > 1:
        trackers = {t.label: Mean(name=f"{t.label}_loss") for t in terms}
        for term in terms:
            term.tracker = trackers[term.label]
    return terms


def _refuse_several(given, slots):
    """Refuse a list of losses, one for each output, where there is one output."""
    if isinstance(given, (list, tuple)) and len(slots.names) == 1 < len(given):
        shown = [one if isinstance(one, str) else "..." for one in given]
        raise ValueError(
            f"A list in `loss` holds one loss for each output, and {slots.owner} has "
            f"one output, {slots.label(0)!r}. Received {len(given)}: loss={shown}. "
            f"Give one of them, or loss=[{shown}] to minimise their sum."
        )


def _label(places, names, given, loss):
    """Return the name of a term: its output's, or those of its part."""
    if not structure.is_nested(places):
        word = given if isinstance(given, str) else getattr(loss, "name", "output")
        return names[places] or word
    inner = [names[i] or str(i) for i in structure.flatten(places)]
    shared = os.path.commonprefix([name.split("/")[:-1] for name in inner])
    return "/".join(shared) or "_".join(inner)


def _tell_apart(terms, names):
    """Number the labels of outputs that have no names."""
    if any(names):
        return
    seen: dict[str, int] = {}
    for term in terms:
        count = seen.get(term.label, 0)
        seen[term.label] = count + 1
        term.label = f"{term.label}_{count}" if count else term.label
