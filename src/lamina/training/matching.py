"""What is given by output, matched to the outputs of a model; see `core.matching`."""

from lamina.core import structure
from lamina.core.matching import Slots


def names_of(model, y_pred) -> list:
    """Return a name for each output, in the order of `structure.flatten`."""
    pairs = structure.flatten_with_names(y_pred)
    drawn = getattr(model, "output_names", None)
    if drawn and len(drawn) != len(pairs):
        drawn = None  # a loss of the user's own, on other parts than the outputs
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


def slots_of(model, y_pred) -> Slots:
    """Return what a model's losses and metrics are matched to, given its outputs."""
    drawn = getattr(getattr(model, "_graph", None), "output", None)
    known = drawn is not None and structure.same_shape(drawn, y_pred)
    struct, names = drawn if known else y_pred, names_of(model, y_pred)
    return Slots(struct, names, f"model {model.name!r}", ordered=known)


def match(value, struct, names, what, needed=()) -> list:
    """Return one entry of `value` for each output.

    Args:
        value: anything given by output: an array, a list, a dict, or nestings.
        struct: the outputs.
        names: their names.
        what: the argument's name, for messages.
        needed: the outputs, by their places, whose entries must not be missing.

    Raises:
        ValueError: the keys or the lengths differ; both sides are shown.
    """
    slots = Slots(struct, names)
    entries = slots.each(value, what, needed=needed, by_place=False)
    missing = [slots.label(i) for i in needed if entries[i] is None]
    if missing and value is not None:
        labels = [slots.label(i) for i in range(len(entries))]
        raise ValueError(
            f"`{what}` has nothing for the output(s) {missing}, which have a loss. The "
            f"model's outputs: {labels}."
        )
    return entries


def match_weights(value, struct, names) -> list:
    """Return sample weights for each output: one array serves all of them."""
    rules = {"whole": True, "by_place": False}
    return Slots(struct, names).each(value, "sample_weight", **rules)
