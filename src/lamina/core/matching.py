"""Whatever is given by name or by place, matched to what is expected.

Inputs, targets, losses, metrics, weights and shapes all come in the same ways: in a
dict by name, in a list by place, or bare where there is one. `Slots` says what is
expected. What does not match is an error that shows both sides.
"""

import jax

from lamina.core import structure
from lamina.core.naming import nearest
from lamina.core.tracebacks import warn


class Slots:
    """Places in a structure, each with a name, that something is given for.

    Args:
        struct: what is expected, in any structure.
        names: a name or None for each of its leaves, as `structure.flatten` orders
            them.
        owner: what expects it, for messages.
        kind: `"input"` or `"output"`. A key that names no input is ignored, with a
            warning the first time: data often have more columns. A key that names no
            output is an error.
        ordered: whether dicts in `struct` have their keys in the order in which
            somebody wrote them; otherwise that order is not known.

    >>> slots = Slots({"a": 1, "b": [2, 3]}, ["a", "b/x", "b/y"])
    >>> slots.each({"b": ["left", "right"], "a": "first"}, "loss")
    ['first', 'left', 'right']
    """

    def __init__(self, struct, names, owner="the model", kind="output", ordered=True):
        self.names, self.owner, self.kind = list(names), owner, kind
        self.expected = structure.flatten(struct)
        self.places, self.ordered = filled(struct, range(len(self.names))), ordered
        self.warned = set()

    def each(self, given, what, **rules) -> list:
        """Return what is given for each leaf, None where there is nothing.

        Args:
            given: a dict by name, a list by place, nestings of them, or one value.
            what: the argument's name, for messages.
            rules: as for `pairs`.

        Raises:
            ValueError: it does not match; the message shows both sides.
        """
        entries = [None] * len(self.names)
        for places, part in self.pairs(given, what, **rules):
            for i in structure.flatten(places):
                entries[i] = part
        return entries

    def pairs(self, given, what, needed=(), whole=False, lists=False, by_place=True):
        """Yield `(places, part)`: a part of what is given, and what it is for.

        Args:
            given: as for `each`.
            what: as for `each`.
            needed: the leaves that a dict must not leave out.
            whole: whether one value may serve several leaves.
            lists: whether a leaf takes a list. If so and `whole`, a list of another
                kind than what it is for, with an entry of that kind, holds several
                for all of it.
            by_place: whether a list may stand for a dict, whose keys must then be
                written in the order of their names, so that there is one order.
        """

        def walk(part, node, path):
            own, kind = structure.flatten(node), type(node)
            if part is None:
                return
            if isinstance(part, dict):
                for key, one, child in self._by_name(part, node, path, what, needed):
                    yield from walk(one, child, (*path, key))
            elif len(own) == 1 and _is_list(part) and len(part) == 1:
                inner = node[0] if _is_list(node) and len(node) == 1 else node
                yield from walk(part[0], inner, (*path, 0))
            elif len(own) == 1 and (lists or not _is_list(part)):
                yield own[0], part
            elif whole and not _is_list(part):
                yield node, part
            elif whole and lists and type(part) is not kind and kind in map(type, part):
                for one in part:
                    yield from walk(one, node, path)
            else:
                children = self._by_place(part, node, path, what, by_place)
                for i, (one, child) in enumerate(zip(part, children, strict=True)):
                    yield from walk(one, child, (*path, i))

        return walk(given, self.places, ())

    def trimmed(self, given):
        """Return a dict without the keys that name nothing here."""
        parts = self._by_name(given, self.places, (), "inputs", ())
        return {key: part for key, part, _ in parts}

    def label(self, i):
        """Return the name of a leaf, or its place where it has none."""
        return i if self.names[i] is None else self.names[i]

    def _by_name(self, part, node, path, what, needed):
        """Return `(key, part, places)` for each key that is given and expected."""
        own = structure.flatten(node)
        named = {self.names[i]: i for i in own}
        known = node if isinstance(node, dict) else named
        keyed = self.kind == "input" and len(known) == len(own)
        if not (keyed or known.keys() & part) and part.keys() >= set(named):
            known = named
        if None in known:
            raise ValueError(
                f"`{what}`{_at(path)} must be a list of {len(own)} entries, in the "
                f"order of the {self.kind}s of {self.owner}, which have no names. "
                f"Received a dict with the keys {_sorted(part)}."
            )
        unknown = [key for key in part if key not in known]
        absent = [key for key in known if key not in part]
        missing = [k for k in absent if set(structure.flatten(known[k])) & set(needed)]
        hint = next(filter(None, (nearest(str(key), absent) for key in unknown)), "")
        if missing or hint or (unknown and self.kind != "input"):
            lead = f"{_capital(self.owner)} takes inputs by the names {_sorted(known)}"
            if self.kind != "input":
                lead = f"Invalid `{what}`: Expected keys {_sorted(known)} in {what} "
                lead += f"dict, by the names of the outputs of {self.owner}"
            raise ValueError(
                f"{lead}{_at(path)}. Received a dict with the keys {_sorted(part)}."
                + (f" Missing: {_sorted(missing)}." if missing else "")
                + (f" Unknown: {_sorted(unknown)}." if unknown else "")
                + hint
            )
        if unknown:
            self._warn(
                f"{_lead(what, path)}. {_capital(self.owner)} has no inputs by the "
                f"names {_sorted(unknown)}: they are ignored. Its inputs: "
                f"{_sorted(known)}. Leave the others out to silence this warning."
            )
        order = part if known is node else known  # losses are logged as written
        return [(k, part[k], known[k]) for k in order if k in part and k in known]

    def _by_place(self, part, node, path, what, allowed):
        """Return the places for the entries of a list."""
        own = structure.flatten(node)
        children = list(node.values()) if isinstance(node, dict) else node
        count = len(part) if _is_list(part) else -1
        if not structure.is_nested(node) or count != len(children):
            children = own
        written = list(_written(node))
        mixed = isinstance(node, dict) and (
            not allowed or (self.ordered and written != sorted(written))
        )
        if count != len(children) or mixed:
            self._refuse_count(part, node, path, what)
        if isinstance(node, dict) and (self.kind == "input" or not self.ordered):
            self._warn(
                f"{_lead(what, path)}. Expected a dict with the keys {_sorted(node)}, "
                f"like the {self.kind}s of {self.owner}. Received: {_described(part)}. "
                "It is taken in the order of these keys."
            )
        return children

    def _warn(self, text):
        """Warn of something for the first time."""
        if text not in self.warned:
            self.warned.add(text)
            warn(text)

    def _refuse_count(self, part, node, path, what):
        own, count = structure.flatten(node), len(structure.flatten(part))
        keys = f"keys {_sorted(node)}" if isinstance(node, dict) else ""
        if what == "inputs" and count != len(own):
            shown = [(self.label(i), tuple(self.expected[i].shape)) for i in own]
            kind = f"named input(s) with {keys}" if keys else "input(s)"
            table = keys and not structure.is_nested(part) and hasattr(part, "shape")
            pair = _is_list(part) and len(own) == 1 and count == 2
            raise ValueError(
                f"{_capital(self.owner)} expects {len(own)} {kind}{_at(path)}, but it "
                f"received {count} input tensors. Expected: "
                f"{structure.pack_like(node, shown)}. Received: {_described(part)}"
                + (". A table gives its columns by name as `dict(table)`" * bool(table))
                + (". Data and targets are two arguments: `fit(x, y)`" * pair)
            )
        form = f"one entry for each of the {self.kind}s of {self.owner}, "
        form += f"{list(map(self.label, own))}"
        if keys:
            form = f"it must be a dict with the {keys}"
        raise ValueError(
            f"{_lead(what, path)}. `{what}`{_at(path)} must have the same structure as "
            f"model.{self.kind}: {form}. Received: {_described(part)}"
        )


def filled(struct, leaves, is_leaf=None):
    """Return a structure like `struct` with other leaves.

    Leaves go by the order of `structure.flatten`, and dicts stay as written.
    """
    form = jax.tree.structure(struct, is_leaf or (lambda x: x is None))

    def as_written(x, new):
        if isinstance(new, dict):
            return {key: as_written(x[key], new[key]) for key in x}
        if not _is_list(new):
            return new
        parts = map(as_written, x, new)
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)

    return as_written(struct, form.unflatten(leaves))


def _written(node):
    """Yield the numbers in the order in which dicts are written."""
    if structure.is_nested(node):
        for one in node.values() if isinstance(node, dict) else node:
            yield from _written(one)
    else:
        yield node


def _lead(what, path):
    return f"The structure of `{what}`{_at(path)} doesn't match the expected structure"


def _is_list(x):
    return isinstance(x, (list, tuple))


def _sorted(keys):
    return sorted(map(str, keys))


def _at(path):
    return f" at {'/'.join(map(str, path))!r}" if path else ""


def _capital(text):
    return text[:1].upper() + text[1:]


def _described(x):
    """Say what a part is: `"a list of 2 (one array of shape (4, 1), None)"`."""
    if _is_list(x):
        return f"a {type(x).__name__} of {len(x)} ({', '.join(map(_described, x))})"
    if hasattr(x, "shape"):
        return f"one array of shape {tuple(x.shape)}"
    return repr(x)
