"""`CSVLogger`."""

import csv
import os
import pathlib
from typing import Any

import numpy as np

from lamina.training.callbacks.callback import Callback


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

    def __init__(self, filename, separator=",", append=False):
        super().__init__()
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys: Any = None
        self.csv_file: Any = None
        self.writer: Any = None
        self._header = True

    def on_train_begin(self, logs=None):
        """Open the file."""
        path = pathlib.Path(self.filename)
        self._header = not (self.append and path.exists() and path.stat().st_size)
        self.writer = None
        self.keys = None
        if self.csv_file is not None:
            self.csv_file.close()
        self.csv_file = path.open("a" if self.append else "w", newline="")

    def on_epoch_end(self, epoch, logs=None):
        """Write one line."""
        logs = logs or {}
        if self.writer is None:
            self.writer = self._begin(logs)
        row = {key: _cell(logs[key]) if key in logs else "NA" for key in self.keys}
        self.writer.writerow({"epoch": epoch, **row})
        self.csv_file.flush()

    def on_train_end(self, logs=None):
        """Close the file."""
        if self.csv_file is not None:
            self.csv_file.close()
        self.csv_file = None
        self.writer = None

    def _begin(self, logs):
        self.keys = sorted(logs)
        if not any(key.startswith("val_") for key in self.keys):
            # Validation may begin with a later epoch, when the header is written.
            self.keys += [f"val_{key}" for key in self.keys]
        writer = csv.DictWriter(
            self.csv_file,
            fieldnames=["epoch", *self.keys],
            delimiter=self.sep,
            lineterminator="\n",
        )
        if self._header:
            writer.writeheader()
        return writer


def _cell(value):
    if isinstance(value, str):
        return value
    if np.ndim(value) > 0:
        return f'"[{", ".join(map(str, np.asarray(value).tolist()))}]"'
    return value
