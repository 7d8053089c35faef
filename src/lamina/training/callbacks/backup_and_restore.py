"""`BackupAndRestore`: a run that goes on where it was killed."""

import inspect
import random
import time
from itertools import zip_longest
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import _generators
from lamina.core.random import global_seed_generator
from lamina.training.callbacks.callback import Callback
from lamina.training.snapshot import Folder, dumps, holds

_SHOWN = 8  # differences in a message


class BackupAndRestore(Callback):
    """Store the whole state of a run, and go on from it when the run was killed.

    `fit` called again by the same script, with the same arguments, takes up the run
    at the last snapshot, in the middle of an epoch too: weights, optimizer, metrics,
    random generators, the callbacks' own values and the place in the data. What it
    ends with is, bit for bit, what the run would have ended with. The snapshots are
    written in the background, each whole or not at all, and the last two are kept;
    a damaged one is passed over.

    A callback's own values are what `get_state()` returns and `set_state(state)`
    takes, where it has them, else its attributes that are numbers, strings, arrays,
    and lists, tuples and dicts of these. Of those that have the name of an argument
    of its constructor, only the ones that the run has changed: another `patience` in
    the script counts.

    Args:
        backup_dir: the folder of the snapshots.
        save_freq: `"epoch"` for one after each epoch, or every so many batches.
        double_checkpoint: taken for Keras' sake: two snapshots are always kept.
        delete_checkpoint: whether to remove the snapshots when the run is complete.
        seconds: with `save_freq=None`, how many seconds snapshots are apart.

    Raises:
        ValueError: `save_freq` is something else, or, in `fit`, the snapshots belong
            to another model or to other arguments.

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
        backup_dir,
        save_freq: Any = "epoch",
        double_checkpoint=False,
        delete_checkpoint=True,
        *,
        seconds=30.0,
    ):
        super().__init__()
        if not backup_dir:
            raise ValueError("Empty `backup_dir` argument passed")
        whole = hasattr(save_freq, "__index__") and not isinstance(save_freq, bool)
        if not (whole and save_freq > 0) and save_freq not in ("epoch", None):
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
        self._given = []

    def get_state(self):
        """Return nothing: it is part of no snapshot."""
        return {}

    # ---- what the loop calls ---------------------------------------------------

    @property
    def counts(self) -> bool:
        """Whether snapshots come by the number of batches."""
        return self.save_freq not in ("epoch", None)

    def open(self, run, callbacks=()):
        """Read the newest snapshot.

        Args:
            run: what must be the same for a run to go on: names and plain values.
            callbacks: all callbacks of the run, as the script made them.

        Returns:
            The snapshot: a dict, or None when there is none.

        Raises:
            ValueError: the snapshots belong to another run.
        """
        self._last = time.monotonic()
        self._run = run
        self._given = [_given(callback) for callback in callbacks]
        found, path = self._folder.read()
        if found is None or path is None:
            return None
        differences = _differences(found["run"], run)
        if differences:
            shown = [f"  {line}" for line in differences[:_SHOWN]]
            if len(differences) > _SHOWN:
                shown.append(f"  and {len(differences) - _SHOWN} more")
            raise ValueError(
                f"The snapshots in {str(self.backup_dir)!r} belong to another run:\n"
                + "\n".join(shown)
                + "\nGive this run another folder, or remove that one to start anew."
            )
        self._number = int(path.stem) + 1
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
        self._folder.write(
            self._number,
            {
                "run": self._run,
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


def put_back(found, cells, callbacks):
    """Give the Variables and the callbacks their stored values.

    Args:
        found: a snapshot.
        cells: the Variables that the loop changes.
        callbacks: all callbacks of the run, as many as when it was stored.
    """
    cells.write(
        type(cells.groups)(*(tuple(map(jnp.asarray, g)) for g in found["state"]))
    )
    for callback, state in zip(callbacks, found["callbacks"], strict=True):
        set_state_of(callback, state)


def described(model, cells, callbacks, **arguments) -> dict:
    """Return what must be the same for a run to go on."""
    # Without the layers' names, which count up when a script makes a model again.
    weights = {
        f"{kind}[{i}]": f"{v.name if kind != 'optimizer' else ''} {v.dtype} {v.shape}"
        for kind, group in cells.groups._asdict().items()
        for i, v in enumerate(group)
    }
    optimizer = model.optimizer.get_config() if model.optimizer else {}
    optimizer.pop("name", None)
    return {
        "model": type(model).__name__,
        "optimizer": _plain(optimizer),
        "loss": _plain(model._compiled.given.get("loss")),
        "callbacks": [type(c).__name__ for c in callbacks],
        **arguments,
        "weights": weights,
    }


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
    own = {k: v for k, v in vars(callback).items() if k not in ("params", "_model")}
    own = {k: v for k, v in own.items() if holds(v)}
    given = given or {}
    return {k: v for k, v in own.items() if k not in given or given[k] != dumps(v)}


def _given(callback) -> dict:
    """Return the values, as bytes, that a callback has from its constructor."""
    names = inspect.signature(type(callback)).parameters
    return {
        k: dumps(v)
        for k, v in vars(callback).items()
        if k.removeprefix("_") in names and holds(v)
    }


def set_state_of(callback, state):
    """Give a callback its own values again."""
    if hasattr(callback, "set_state"):
        callback.set_state(state)
    else:
        vars(callback).update(state)


def random_state() -> dict:
    """Return the states of the generators that everybody shares."""
    with _generators.lock:
        return {
            "python": random.getstate(),
            "numpy": np.random.get_state(),
            "lamina": np.asarray(global_seed_generator().state.value),
        }


def set_random_state(state):
    """Set the generators that everybody shares."""
    with _generators.lock:
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        global_seed_generator().state.assign(state["lamina"])


def _plain(value):
    """Return a text of a value that is the same in another process."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__name__", type(value).__name__)


def _differences(before, now, name=""):
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for key in dict.fromkeys((*before, *now))
            for line in _differences(
                before.get(key, "not there"),
                now.get(key, "not there"),
                f"{name}.{key}" if name else str(key),
            )
        ]
    return [] if before == now else [f"{name} was {before!r} and is {now!r}"]
