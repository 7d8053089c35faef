"""`BackupAndRestore`: a run that goes on where it was killed."""

import inspect
import numbers
import operator
import random
import sys
import time
from itertools import zip_longest
from os import PathLike
from typing import Any

import jax
import numpy as np

from lamina import _generators
from lamina.callbacks.callback import Callback
from lamina.callbacks.snapshot import Folder, check_run, dumps, holds
from lamina.core.checks import is_integer
from lamina.core.naming import shortened
from lamina.core.random import global_state, loaded, set_global_state
from lamina.core.tracebacks import warn
from lamina.data.arrays import digest

# Attributes of callbacks that are not part of a run.
_OF_THE_SESSION = ("params", "_model", "_drawn_in")
_SHOWN = 8  # differences in a message
_MISSING = object()
_LARGEST = 1 << 63  # beyond it an integer is no number that a run counts or compares


class BackupAndRestore(Callback):
    """Store the whole state of a run, and go on from it when the run was killed.

    `fit` called again by the same script, with the same arguments, takes up the run
    at the last snapshot, in the middle of an epoch too: weights, optimizer, metrics,
    random generators, the callbacks' own values and the place in the data. What it
    ends with is, bit for bit, what the run would have ended with. The snapshots are
    written in the background, each whole or not at all, and the last two are kept;
    a damaged one is passed over.

    Both runs must compute the same from the same data. Compared are the settings of
    layers and optimizer, the wiring of a graph, the loss (functions by their names),
    the shapes of the weights, `batch_size`, `steps_per_epoch`, `shuffle` and
    `class_weight`; of arrays their numbers (1024 rows of an array of more than 64 MiB);
    of data that come in batches how many, and their names, dtypes and axes. An error
    names each difference. All else may change: `epochs`, `initial_epoch`, `verbose`,
    validation, metrics, callbacks. A learning rate that a callback changed is none.

    A new callback begins anew; the values of one that is gone are dropped. Callbacks of
    one class are told apart by their constructors' arguments, else by their order. A
    callback's own values are what `get_state()` returns and `set_state(state)`
    takes, where it has them, else its attributes that are numbers, strings, arrays,
    and lists, tuples and dicts of these. Of those that have the name of an argument
    of its constructor, only the ones that the run has changed: another `patience` in
    the script counts.

    Args:
        backup_dir: the folder of the snapshots.
        save_freq: `"epoch"` for one after each epoch, or a number of batches.
        double_checkpoint: taken for Keras' sake: two snapshots are always kept.
        delete_checkpoint: whether to remove the snapshots when the run is complete.
        seconds: with `save_freq=None`, how many seconds snapshots are apart.

    Raises:
        ValueError: `save_freq` is something else, or, in `fit`, the snapshots belong
            to another model or to other data or settings.

    >>> import lamina, numpy as np, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> def train():
    ...     lamina.utils.set_random_seed(1)
    ...     model = lamina.Sequential([lamina.layers.Dense(1)])
    ...     model.compile("adam", "mse")
    ...     keep = lamina.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
    ...     data = np.ones((8, 2)), np.ones((8, 1))
    ...     return model.fit(*data, epochs=2, callbacks=[keep], verbose=0).history
    >>> train() == train()  # the second one only reads what the first one stored
    True
    """

    def __init__(
        self,
        backup_dir: str | PathLike,
        save_freq: Any = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
        *,
        seconds: float = 30.0,
    ):
        super().__init__()
        if not backup_dir:
            raise ValueError("Empty `backup_dir` argument passed")
        often = is_integer(save_freq) and save_freq > 0
        if not often and save_freq not in ("epoch", None):
            raise ValueError(
                "Invalid value for argument `save_freq`. Expected 'epoch' or a "
                f"positive integer of batches. Received: save_freq={save_freq!r}"
            )
        self.backup_dir = backup_dir
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self.seconds = seconds
        self._folder = Folder(backup_dir)
        self._current_epoch = 0
        self._last_batch_seen = -1
        self._number = 0
        self._batches = 0
        self._last = 0.0
        self._given, self._texts = [], []

    def get_state(self):
        """Return nothing: it is part of no snapshot."""
        return {}

    # ---- what the loop calls ---------------------------------------------------

    @property
    def counts(self) -> bool:
        """Whether snapshots come by the number of batches."""
        return self.save_freq not in ("epoch", None)

    def open(self, run, callbacks=(), groups=(), check=None):
        """Read the newest snapshot.

        Args:
            run: what must be the same for a run to go on: names and plain values.
            callbacks: all callbacks of the run, as the script made them.
            groups: the Variables of its State, group by group.
            check: a function that raises for a snapshot of this run that no run wrote.

        Returns:
            The snapshot: a dict, or None when there is none.

        Raises:
            ValueError: the snapshots belong to another run.
        """
        self._last = time.monotonic()
        self._run = run
        self._given = [_given(callback) for callback in callbacks]
        self._names = list(map(_named, callbacks, self._given))
        self._texts = [_texts(callback) for callback in callbacks]
        self._number = self._folder.next()
        lines, own = [], list(callbacks)

        def checked(tree):
            nonlocal lines
            check_run(tree)
            lines = differences(tree["run"], run)
            # Of another run they belong to other Variables.
            if not lines:
                for name in ("random", "began"):
                    _check_random_state(name, tree[name])
                for k, i in _paired(tree["names"], self._names).items():
                    _check_state_of(own[k], tree["callbacks"][i])
                if check is not None:
                    check(tree)

        found = self._folder.read(checked, groups)
        if found is None:
            return None
        # What an optimizer keeps follows from the rest.
        lines = [t for t in lines if not t.startswith("weights.optimizer")] or lines
        if lines:
            shown = [f"  {line}" for line in lines[:_SHOWN]]
            if len(lines) > _SHOWN:
                shown.append(f"  and {len(lines) - _SHOWN} more")
            raise ValueError(
                f"Cannot go on: the snapshot in {str(self.backup_dir)!r} is of another "
                "run:\n"
                + "\n".join(shown)
                + "\nGive this run another folder, or remove that one to start anew."
            )
        pairs = _paired(found["names"], self._names)
        kept = {i for k, i in pairs.items() if found["names"][i] == self._names[k]}
        # Without the callback that ended the run, it goes on.
        found["stop"] = found["stop"] and found["stopper"] in {None, *kept}
        found["callbacks"] = {k: found["callbacks"][i] for k, i in pairs.items()}
        return found

    def due(self) -> bool:
        """Tell, after a batch, whether it is time for a snapshot."""
        self._batches += 1
        if self.save_freq is None:
            waited = time.monotonic() - self._last
            return waited >= self.seconds and not self._folder.busy()
        return self.counts and self._batches % int(self.save_freq) == 0

    def due_after_epoch(self) -> bool:
        """Tell, after an epoch, whether it is time for a snapshot."""
        if self.save_freq is None:
            return time.monotonic() - self._last >= self.seconds
        return self.save_freq == "epoch"

    def store(self, state, callbacks, **place):
        """Write a snapshot in the background.

        Args:
            state: the State; the arrays must not be overwritten.
            callbacks: all callbacks of the run.
            place: where the run is: plain values.
        """
        self._last = time.monotonic()
        for callback, before in zip(callbacks, self._texts, strict=False):
            _warn_of_texts(callback, before)
        self._folder.write(
            self._number,
            {
                "run": self._run,
                "names": self._names,
                "state": [list(group) for group in state],
                "random": random_state(),
                "callbacks": [
                    state_of(callback, given)
                    for callback, given in zip_longest(callbacks, self._given)
                ],
                **place,
            },
        )
        self._number += 1

    def close(self, complete):
        """Wait for the last snapshot; remove them all after a complete run."""
        self._folder.wait()
        if complete and self.delete_checkpoint:
            self._folder.clear()


def _named(callback, given):
    return [type(callback).__name__, digest(list(given.items()))]


def _paired(before, now):
    """Return, by the places of callbacks, those of what they were in a snapshot.

    Args:
        before: names of the snapshot's callbacks, from `_named`.
        now: names of the callbacks of this run.
    """
    pairs, free = {}, dict(enumerate(before))
    for alike in (operator.eq, lambda a, b: a[0] == b[0] and _as_many(a, before, now)):
        for k, name in enumerate(now):
            i = next((i for i, old in free.items() if alike(name, old)), None)
            if k not in pairs and i is not None:
                pairs[k] = i
                del free[i]
    return pairs


def _as_many(name, *lists):
    return len({sum(n[0] == name[0] for n in names) for names in lists}) == 1


def state_of(callback, given=None) -> dict:
    """Return a callback's own values.

    Args:
        callback: the callback.
        given: what `_given` returned for it when the run began.

    Raises:
        TypeError: its `get_state()` returns what a snapshot cannot hold.
    """
    if hasattr(callback, "get_state"):
        state = callback.get_state()
        if not holds(state):
            raise TypeError(
                f"`get_state()` of the callback `{type(callback).__name__}` must "
                "return numbers, strings, arrays, or lists, tuples and dicts of "
                f"these, which a snapshot can hold. Received: {state!r}"
            )
        return state
    given = given or {}
    return {
        k: v
        for k, v in _own(callback).items()
        if not _has_text(v) and (k not in given or given[k] != dumps(v))
    }


def _texts(callback):
    """Return the texts of a callback that no snapshot keeps."""
    if hasattr(callback, "get_state"):
        return {}
    return {k: dumps(v) for k, v in _own(callback).items() if _has_text(v)}


def _warn_of_texts(callback, before):
    """Warn, once a callback, of text that the run has changed."""
    changed = [k for k, v in _texts(callback).items() if before.get(k) != v]
    if changed:
        before.update(_texts(callback))
        warn(
            f"Snapshots do not keep `{type(callback).__name__}.{changed[0]}`, which "
            "holds text. Give the callback `get_state` and `set_state`."
        )


def _own(callback):
    """Return the attributes of a callback that a snapshot could hold."""
    own = {k: v for k, v in vars(callback).items() if k not in _OF_THE_SESSION}
    return {k: v for k, v in own.items() if holds(v)}


def _has_text(value):
    """Tell whether a value holds text that is more than the name of a number."""
    if isinstance(value, dict):
        return any(map(_has_text, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_text, value))
    return (
        isinstance(value, str) or getattr(value, "dtype", np.dtype("u1")).kind in "SU"
    )


def _given(callback) -> dict:
    """Return the values, as bytes, that a callback has from its constructor."""
    names = inspect.signature(type(callback)).parameters
    return {
        k: dumps(v)
        for k, v in vars(callback).items()
        if k.removeprefix("_") in names and holds(v)
    }


def set_state_of(callback, state):
    """Give a callback its own values again.

    Without `set_state`, these are numbers and arrays that take the place of their
    like. Text is none of them: with a path or an address, the author of a file would
    say where the callback writes.
    """
    if hasattr(callback, "set_state"):
        callback.set_state(state)
        return
    own = vars(callback)
    for name, value in state.items():
        # A method, or a first value, may be an attribute of the class.
        now = own.get(name, getattr(type(callback), str(name), _MISSING))
        if name in _OF_THE_SESSION:
            refused = "because the run sets it"
        elif now is not _MISSING and not _alike(now, value):
            refused = f"which is {shortened(repr(now), 200)}"
        elif _has_text(value):
            refused = "because a snapshot sets no text"
        elif hasattr(callback, "_may_become") and not callback._may_become(name, value):
            refused = f"because no run makes it {shortened(repr(value), 200)}"
        else:
            own[name] = value
            continue
        warn(
            f"The snapshot's value for `{type(callback).__name__}.{name}` was passed "
            f"over, {refused}. A callback with other values of its own has `get_state` "
            "and `set_state`."
        )


def _check_state_of(callback, state):
    """Raise unless a callback may take a state back."""
    try:
        if hasattr(callback, "_check_state"):
            callback._check_state(state)
        elif not hasattr(callback, "set_state") and not (
            isinstance(state, dict) and all(isinstance(name, str) for name in state)
        ):
            raise TypeError("it is not a dict of attributes by their names")
    except Exception as error:
        raise ValueError(
            f"`callbacks` holds no state of `{type(callback).__name__}`: {error}"
        ) from error


def _alike(now, then):
    """Tell whether a run may have made one value of another."""
    if _has_text(now) or (isinstance(then, int) and abs(then) > _LARGEST):
        return False
    if now is None:
        return True
    kinds = (numbers.Real, np.bool_), (np.ndarray, jax.Array), (list, tuple), dict
    return any(isinstance(now, kind) and isinstance(then, kind) for kind in kinds)


def differences(before, now, name="") -> list[str]:
    """Return a line for each plain value that is another one."""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [x for i, (a, b) in pairs for x in differences(a, b, f"{name}[{i}]")]
    if isinstance(before, dict) and isinstance(now, dict):
        kind = now.get("class_name")
        if before.get("class_name") == kind:
            name += f" {kind}" if kind and name else ""
            return [
                line
                for key in dict.fromkeys((*before, *now))
                for line in differences(
                    before.get(key, "not there"),
                    now.get(key, "not there"),
                    f"{name}.{key}" if name else str(key),
                )
            ]
    if before == now:
        return []
    return [f"{name} was {_shown(before)} and is {_shown(now)}"]


def _shown(value):
    if isinstance(value, dict):
        return str(value.get("class_name", repr(value)))
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return f"{value:.7g}" if isinstance(value, float) else repr(value)


def random_state() -> dict:
    """Return the states of the generators that everybody shares."""
    torch = loaded("torch", "get_rng_state")  # its loaders draw from it
    with _generators.lock:
        return {
            "python": random.getstate(),
            "numpy": np.random.get_state(),
            "lamina": global_state(),
            "torch": torch and torch().numpy(),
        }


def _check_random_state(name, state):
    """Raise unless generators like those that everybody shares take a state."""
    try:
        rest = state["python"][2]
        if not (rest is None or isinstance(rest, float)):
            raise TypeError(f"{rest!r:.80} is no number")
        random.Random().setstate(state["python"])
        np.random.RandomState().set_state(state["numpy"])
        seed = state["lamina"]
        if seed is not None and (seed.shape, seed.dtype) != ((2,), np.uint32):
            raise TypeError(f"a seed is of shape {seed.shape} and dtype {seed.dtype}")
        if state["torch"] is not None and "torch" in sys.modules:
            torch = sys.modules["torch"]
            torch.Generator().set_state(torch.from_numpy(state["torch"]))
    except Exception as error:  # whatever the generators' libraries raise
        raise ValueError(
            f"`{name}` holds no state of the generators: "
            f"{type(error).__name__}: {error}"
        ) from error


def set_random_state(state):
    """Set the generators that everybody shares."""
    with _generators.lock:
        set_global_state(state["lamina"])  # which may draw from Python's generator
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
    torch = sys.modules.get("torch")
    if torch is not None and state["torch"] is not None:
        torch.set_rng_state(torch.from_numpy(state["torch"]))
