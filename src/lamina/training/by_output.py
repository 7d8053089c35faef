"""What is given by output, matched to the outputs of a model; see `core.matching`."""

from lamina.core import structure
from lamina.core.matching import Slots
from lamina.core.operation import graph_of


def names_of(model, y_pred) -> list:
    """Return a name for each output, in the order of `structure.flatten`."""
    pairs = structure.flatten_with_names(y_pred)
    drawn = getattr(model, "output_names", None)
    if drawn and len(drawn) != len(pairs):
        drawn = None  # the user's loss, on other parts than the outputs
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
    drawn = getattr(graph_of(model), "output", None)
    known = drawn is not None and structure.same_shape(drawn, y_pred)
    struct, names = drawn if known else y_pred, names_of(model, y_pred)
    return Slots(struct, names, f"model {model.name!r}", ordered=known)


def match_targets(y, struct, names, takers, required=True) -> list:
    """Return the targets of each output.

    Args:
        y: anything given by output: an array, a list, a dict, or nestings. One array
            alone is for the only output that has a loss.
        struct: the outputs.
        names: their names.
        takers: the outputs that have a loss, by their places.
        required: whether their targets must not be missing.

    Raises:
        ValueError: the keys or the lengths differ; both sides are shown.
    """
    slots = Slots(struct, names)
    needed = takers if required else ()
    one = y[0] if isinstance(y, (list, tuple)) and len(y) == 1 else y
    if len(takers) == 1 < len(names) and not structure.is_nested(one):
        return [one if i in takers else None for i in range(len(names))]
    entries = slots.each(y, "y", needed=needed, by_place=False)
    missing = [slots.label(i) for i in needed if entries[i] is None]
    if missing and y is not None:
        labels = [slots.label(i) for i in range(len(entries))]
        raise ValueError(
            f"`y` has nothing for the output(s) {missing}, which have a loss. The "
            f"model's outputs: {labels}."
        )
    return entries


def match_weights(value, struct, names) -> list:
    """Return sample weights for each output: one array serves all of them."""
    rules = {"whole": True, "by_place": False}
    return Slots(struct, names).each(value, "sample_weight", **rules)
