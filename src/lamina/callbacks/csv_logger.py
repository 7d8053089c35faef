"""`CSVLogger`."""

import csv
import os
import pathlib
from os import PathLike
from typing import Any

import numpy as np

from lamina.callbacks.callback import Callback


class CSVLogger(Callback):
    """Write the values of each epoch to a CSV file.

    Columns are `epoch` and the sorted names; what an epoch does not have is `NA`.
    Each line is on the disk when its epoch is over.

    Args:
        filename: the file.
        separator: what stands between two values.
        append: whether to add to a file that is there instead of replacing it.

    >>> import lamina, pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "log.csv")
    >>> log = lamina.callbacks.CSVLogger(file)
    >>> log.on_train_begin()
    >>> log.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.75})
    >>> log.on_train_end()
    >>> print(file.read_text())
    epoch,loss,val_loss
    0,0.5,0.75
    """

    on_every_process = False

    def __init__(
        self, filename: str | PathLike, separator: str = ",", append: bool = False
    ):
        super().__init__()
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys: Any = None
        self._start = 0  # bytes of the file that are none of this training's

    def get_state(self):
        """Return what was written."""
        path = pathlib.Path(self.filename)
        text = path.read_bytes()[self._start :].decode() if self.keys else ""
        return {"start": self._start, "keys": self.keys, "text": text}

    def _check_state(self, state):
        start, keys, text = map(state.get, ("start", "keys", "text"))
        names = keys is None or isinstance(keys, list)
        names = names and all(isinstance(key, str) for key in keys or ())
        if type(start) is not int or start < 0 or not names or type(text) is not str:
            raise ValueError(
                "The state of `CSVLogger` is its place in the file, names and text. "
                f"Received: start={start!r:.50}, keys={keys!r:.50}, text={text!r:.50}"
            )

    def set_state(self, state):
        """Make the file what it was."""
        self._check_state(state)
        self._start, self.keys = state["start"], state["keys"]
        if self.keys:
            self._cut()
            with self._open() as file:
                file.write(state["text"])

    def on_train_begin(self, logs=None):
        """Note where the lines of this training begin."""
        self.keys = None
        path = pathlib.Path(self.filename)
        there = self.append and path.exists()
        self._start = path.stat().st_size if there else 0

    def on_epoch_end(self, epoch, logs=None):
        """Write one line."""
        logs = logs or {}
        begins = self.keys is None
        if begins:
            self.keys = sorted(logs)
            if not any(key.startswith("val_") for key in self.keys):
                # Validation may begin with a later epoch, when the header is written.
                self.keys += [f"val_{key}" for key in self.keys]
            # Not before: a run that never gets here leaves an old file alone.
            self._cut()
        row = {key: _cell(logs[key]) if key in logs else "NA" for key in self.keys}
        with self._open() as file:
            writer = csv.DictWriter(
                file, ["epoch", *self.keys], delimiter=self.sep, lineterminator="\n"
            )
            if begins and not self._start:
                writer.writeheader()
            writer.writerow({"epoch": epoch, **row})

    def _open(self):
        return pathlib.Path(self.filename).open("a", encoding="utf-8", newline="")

    def _cut(self):
        """Take away what is in the file after its beginning."""
        path = pathlib.Path(self.filename)
        if path.exists() and path.stat().st_size > self._start:
            os.truncate(path, self._start)


def _cell(value):
    if isinstance(value, str):
        return value
    if np.ndim(value) > 0:
        return f'"[{", ".join(map(str, np.asarray(value).tolist()))}]"'
    return value
