"""Says what made a step compile again, where `lamina.config` asks for it.

XLA compiles a step for the shapes and dtypes of its arguments. Whatever differs from
the call before is named on stderr, in one line for each new executable.
"""

import sys
import weakref
from typing import Any, NamedTuple

import jax

from lamina.core.naming import listed
from lamina.training.compiled import training_of
from lamina.training.step import State

_PARTS = ("x", "y", "sample_weight")
_MOST = 4  # differences that are listed; the rest is counted

# By model: what its steps were last compiled for. Kept apart from the model because
# `compile` throws away all that the model knows of its steps.
_past: Any = weakref.WeakKeyDictionary()


def watched(made, model, kind, groups, donate=False, several=False):
    """Return a compiled program that tells why it compiles again.

    Args:
        made: the program, from `jax.jit`.
        model: the model that it belongs to.
        kind: what the step is called, such as `"train"`; `"call"` for a function of
            the values of one group of Variables and the inputs.
        groups: the Variables that it reads and changes.
        donate: whether it may overwrite the State it is given.
        several: whether it takes several batches.
    """
    if not hasattr(made, "lower"):  # it runs uncompiled
        return made
    return _Watched(made, model, kind, groups, donate, several)


class _Leaf(NamedTuple):
    """What an executable depends on of one argument."""

    shape: tuple
    dtype: str
    weak: bool
    place: Any

    def __str__(self):
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


class _Setup(NamedTuple):
    """What a step depends on besides its arguments."""

    groups: dict  # from `id` of a Variable to its path and its group
    donate: bool
    optimizer: Any  # weak references
    compiled: Any


class _Call(NamedTuple):
    """A call that was compiled for."""

    made: Any  # a weak reference
    setup: _Setup
    leaves: dict  # from the name of an argument to its _Leaf, for one batch
    rows: int | None  # that a call takes where several steps share it


class _Watched:
    """A compiled program that looks at its arguments before each call."""

    def __init__(self, made, model, kind, groups, donate, several):
        self._made, self._groups, self._several = made, groups, several
        self._calls = kind == "call"
        what = "call" if self._calls else f"{kind} step"
        self._what = f"the {what} of {model.name!r}"
        self._past = _past.setdefault(model, {}).setdefault(kind, [])
        # A call hangs on nothing that `compile` says, nor on what is trained.
        owners = (model.optimizer, training_of(model).settings.loss_tracker)
        owners = (None, None) if self._calls else map(_reference, owners)
        self._setup = _Setup(_places(groups), donate, *owners)

    def __getattr__(self, name):
        return getattr(self._made, name)

    def __call__(self, *args):
        self._look(*(((a,) for a in args) if self._calls else args))
        return self._made(*args)

    def _look(self, *args):
        past = self._past
        new = _Call(weakref.ref(self._made), self._setup, *self._leaves(*args))
        if new in past:
            return
        if past:
            # The nearest call says most clearly what is new; the last one of several.
            alike = [c for c in past if c.setup == new.setup] or past[-1:]
            old = min(reversed(alike), key=lambda c: _distance(c, new))
            print(
                f"lamina: {self._what} is compiled again: {_reason(old, new)}",
                file=sys.stderr,
                flush=True,
            )
        past.append(new)

    def _leaves(self, state, batch, count=None):
        """Return what the executable depends on, by the name of the argument."""
        variables = (v for group in self._groups for v in group)
        values = (a for group in state for a in group)
        # A path may be there twice, as with two optimizers.
        found = {
            f"Variable {i} {v.path!r}": _leaf(a)
            for i, (v, a) in enumerate(zip(variables, values, strict=True))
        }
        # All batches of a call are alike; or it takes arrays of them.
        batch, rows = (batch[0] if self._several and count is None else batch), None
        for name, part in zip(_PARTS, batch, strict=False):
            for path, a in jax.tree_util.tree_leaves_with_path(part):
                leaf = _leaf(a)
                if count is not None:
                    rows = leaf.shape[0] * leaf.shape[1]
                    leaf = leaf._replace(shape=leaf.shape[1:])
                found[name + jax.tree_util.keystr(path)] = leaf
        return found, rows


def _places(groups):
    return {
        id(v): (v.path, group)
        for group, variables in zip(State._fields, groups, strict=False)
        for v in variables
    }


def _distance(old, new):
    return len(old.leaves.items() ^ new.leaves.items()), old.rows != new.rows


def _reference(thing):
    return None if thing is None else weakref.ref(thing)


def _leaf(a):
    committed = getattr(a, "committed", False)
    aval = jax.typeof(a)
    return _Leaf(
        tuple(aval.shape),
        aval.dtype.name,
        getattr(aval, "weak_type", False),
        a.sharding if committed else None,
    )


# ---- reasons -------------------------------------------------------------------


def _reason(old, new):
    """Say what changed from one call to another, and what to do."""
    changes = _changed_setup(old.setup, new.setup) if old.setup != new.setup else None
    changes = changes or _changed_leaves(old.leaves, new.leaves)
    if changes:
        return changes
    if None not in (old.rows, new.rows) and old.rows != new.rows:
        return (
            f"a call takes {new.rows} rows at once, not {old.rows}. Steps that share a "
            "call have an executable for 4 of them, for 8, 16, 32 and 64."
        )
    if old.rows != new.rows:
        return (
            "steps that run alone, and steps that share a call, have executables of "
            "their own."
        )
    return "its executable was thrown away (`force=True`, or a layer was changed)."


def _changed_setup(old, new):
    """Say what changed about the model, or return None."""
    if old.compiled != new.compiled:
        return "`compile` was called. Call it once, before the first `fit`."
    if old.optimizer != new.optimizer:
        return "the optimizer was replaced."
    moved = [
        f"{path} is now {'trained' if group == 'trainable' else 'frozen'}"
        for i, (path, group) in new.groups.items()
        if i in old.groups
        and old.groups[i][1] != group
        and "trainable" in (group, old.groups[i][1])
    ]
    if moved:
        return f"`trainable` was changed: {listed(moved, _MOST)}."
    names = [new.groups[i][0] for i in new.groups.keys() - old.groups.keys()]
    if names:
        return f"there are new Variables: {listed(sorted(names), _MOST)}."
    names = [old.groups[i][0] for i in old.groups.keys() - new.groups.keys()]
    if names:
        return f"Variables are gone: {listed(sorted(names), _MOST)}."
    if old.donate != new.donate:
        return (
            "steps that something listens to one by one (a callback with "
            "`on_train_batch_end`, `train_on_batch`) have an executable of their own."
        )
    return None


def _changed_leaves(old, new):
    """Say which arguments changed, and what to do, or return None."""
    changed = {k: (old[k], new[k]) for k in new if k in old and old[k] != new[k]}
    texts = [f"{name} {_change(*pair)}" for name, pair in changed.items()]
    came = [name for name in new if name not in old]
    gone = [name for name in old if name not in new]
    texts += [f"{name} {new[name]} was not given before" for name in came]
    texts += [f"{name} {old[name]} is not given now" for name in gone]
    if not texts:
        return None
    if came or gone:
        advice = "Give the same arguments in every call."
    else:
        advice = _advice(list(changed.values()))
    return f"{listed(texts, _MOST)}. {advice}"


def _change(before, after):
    if (before.shape, before.dtype) != (after.shape, after.dtype):
        return f"{before} -> {after}"
    if before.weak != after.weak:
        kinds = ("an array's dtype", "a Python number's dtype")
        return f"{before} from {kinds[before.weak]} -> {kinds[after.weak]}"
    return f"{before} placed {before.place} -> {after.place}"


def _advice(changed):
    if any(a.dtype != b.dtype for a, b in changed):
        return "Cast the data to one dtype."
    if any(len(a.shape) != len(b.shape) for a, b in changed):
        return "Give arrays with the same number of axes."
    if any(a.shape[1:] != b.shape[1:] for a, b in changed):
        return "Pad to one size, or to a few."
    if any(a.shape != b.shape for a, b in changed):
        if all(a.shape[0] > b.shape[0] for a, b in changed):
            return (
                "Pad or drop the short batch, or choose a batch size that divides the "
                "number of rows."
            )
        return "Keep to one batch size."
    if any(a.weak != b.weak for a, b in changed):
        return "Give arrays with a dtype in place of Python numbers."
    return "Keep the data on the same devices."
