"""The terms of a compiled loss: which loss is taken of which part of the outputs.

Mostly a term belongs to one output. A loss may also be told for a whole part of a
nested structure of outputs, beside or in place of its members.
"""

import dataclasses
from typing import Any

from lamina import losses as losses_module
from lamina.core import structure
from lamina.losses.loss import Loss, LossFunctionWrapper
from lamina.metrics import Mean
from lamina.training.matching import match, positions, refuse_unknown


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


def each_loss(told):
    """Yield every single loss in what `compile` was told."""
    if is_plain(told):
        yield told
        return
    for one in told.values() if isinstance(told, dict) else told:
        yield from each_loss(one)


def is_plain(told) -> bool:
    """Tell one loss from a structure of several."""
    if isinstance(told, dict):
        return "class_name" in told
    return not isinstance(told, (list, tuple))


def terms_of(told, weights, struct, names) -> list[Term]:
    """Return the terms for what `compile` was told.

    Args:
        told: a loss for all outputs, or a structure of losses.
        weights: a structure of numbers alike, or by output, or None.
        struct: the outputs.
        names: their names.

    Raises:
        ValueError: keys or lengths that do not belong to the outputs.
    """
    if told is None:
        return []
    places = positions(struct)
    if is_plain(told):
        each = match(weights, struct, names, "loss_weights")
        found = [(i, told, weight) for i, weight in enumerate(each)]
    else:
        found = list(_walk(told, weights, struct, places, names, ""))
    terms = []
    for where, one, weight in found:
        loss = make_loss(one)
        if loss is not None:
            terms.append(Term(where, loss, weight, _label(where, names, one, loss)))
    _tell_apart(terms, names)
    if len({term.label for term in terms}) > 1:
        trackers = {t.label: Mean(name=f"{t.label}_loss") for t in terms}
        for term in terms:
            term.tracker = trackers[term.label]
    return terms


def _walk(told, weight: Any, node, places, names, where):
    """Yield (places, loss, weight) for a structure of losses at a node."""
    if told is None:
        return
    if is_plain(told):
        if isinstance(weight, (list, tuple)) and len(weight) == 1:
            weight = weight[0]
        yield places, told, weight
        return
    for key, one, inner, spot in _members(told, node, places, names, where):
        below = f"{where}/{key}" if where else str(key)
        part = _part(weight, key, spot, names)
        yield from _walk(one, part, inner, spot, names, below)


def _members(told, node, places, names, where):
    """Yield (key, what is told, node, places) for the members of a structure."""
    at = f" at {where!r}" if where else ""
    if isinstance(told, dict):
        if isinstance(node, dict):
            refuse_unknown(told, list(node), "loss", at)
            for key, one in told.items():
                yield key, one, node[key], places[key]
            return
        named = {names[i]: i for i in structure.flatten(places)}
        if where or None in named:
            raise ValueError(
                f"`loss` is a dict with the keys {sorted(map(str, told))}{at}, where "
                "the model's outputs have no names: Expected keys of a dict of outputs."
            )
        refuse_unknown(told, list(named), "loss", at)
        flat = structure.flatten(node)
        for key, one in told.items():
            yield key, one, flat[_place(named[key], places)], named[key]
        return
    if _by_position(told, node):
        if len(told) != len(node):
            raise ValueError(
                f"`loss` has {len(told)} entries{at}, but the model has {len(node)} "
                f"outputs there: {[names[i] for i in structure.flatten(places)]}."
            )
        for i, one in enumerate(told):
            yield i, one, node[i], places[i]
        return
    if isinstance(node, dict) and all(one is None or is_plain(one) for one in told):
        if len(told) != 1 or len(node) != 1:
            raise ValueError(
                f"`loss` must be a dict with the keys {sorted(map(str, node))}, like "
                f"the model's outputs{at}. Received: a {type(told).__name__} of "
                f"{len(told)}. Names bind, order does not."
            )
        (key,) = node
        yield key, told[0], node[key], places[key]
        return
    for i, one in enumerate(told):  # several losses of the same part
        yield i, one, node, places


def _place(position, places):
    return structure.flatten(places).index(position)


def _by_position(told, node):
    if isinstance(node, dict) or not isinstance(node, (list, tuple)):
        return False
    if type(told) is type(node):
        return True
    return all(one is None or is_plain(one) for one in told)


def _part(weight, key, spot, names):
    """Return the weights of one member."""
    if weight is None or isinstance(weight, (int, float)):
        return weight
    if isinstance(weight, dict):
        name = key if structure.is_nested(spot) else names[spot]
        return weight.get(key, weight.get(name))
    if isinstance(key, int) and key < len(weight):
        return weight[key]
    return weight[spot] if not structure.is_nested(spot) else None


def _label(places, names, told, loss):
    """Return the name of a term: its output's, or those of its part."""
    if not structure.is_nested(places):
        word = told if isinstance(told, str) else getattr(loss, "name", "output")
        return names[places] or word
    inner = [names[i] or str(i) for i in structure.flatten(places)]
    heads = {name.split("/")[0] for name in inner}
    if len(heads) == 1 and all("/" in name for name in inner):
        return heads.pop()
    return "_".join(inner)


def _tell_apart(terms, names):
    """Number the labels of outputs that have no names."""
    if any(names):
        return
    seen: dict[str, int] = {}
    for term in terms:
        count = seen.get(term.label, 0)
        seen[term.label] = count + 1
        term.label = f"{term.label}_{count}" if count else term.label
