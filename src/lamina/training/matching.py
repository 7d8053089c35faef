"""Whatever is given by output, matched to the outputs of a model.

Dicts are matched by key and lists to lists; what does not match is an error that
shows both sides.
"""

from lamina.core import structure
from lamina.core.naming import nearest


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
        return [unwrap(value, names[0], what)]
    found = {}
    _descend(value, struct, (), names, what, found, positions(struct))
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


def positions(struct):
    """Return a structure like `struct` that holds the position of each output."""
    return structure.pack_like(struct, list(range(len(structure.flatten(struct)))))


def unwrap(value, name, what):
    """Return what is given for the only output, out of a list or dict of one."""
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
        refuse_unknown(value, list(struct), what, where)
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
        refuse_unknown(value, list(own), what, where)
        for key, one in value.items():
            found[own[key]] = one
        return
    if not isinstance(value, (list, tuple)):
        raise ValueError(
            f"`{what}` is one {_kind(value)}, but the model has {len(struct)} "
            f"outputs{where}: {names}. Give a list of {len(struct)}, or a dict by name."
        )
    if len(value) != len(struct):
        raise ValueError(
            f"`{what}` has {len(value)} entries, but the model has {len(struct)} "
            f"outputs{where}: {names}."
        )
    for i, (one, inner) in enumerate(zip(value, struct, strict=True)):
        _descend(one, inner, (*path, i), names, what, found, places[i])


def refuse_unknown(value, known, what, where):
    """Raise for keys that name no output."""
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
    return f"one {_kind(value)}"


def _kind(value):
    return "array" if hasattr(value, "shape") else type(value).__name__


def match_weights(value, struct, names) -> list:
    """Return sample weights for each output: one array serves all of them."""
    if value is None:
        return [None] * len(names)
    if not structure.is_nested(value):
        return [value] * len(names)
    return match(value, struct, names, "sample_weight")
