"""`ModelCheckpoint`."""

import os
import pathlib

from lamina.core.tracebacks import warn
from lamina.training.callbacks.monitor import MonitorCallback


class ModelCheckpoint(MonitorCallback):
    """Save the model, or its weights, while it is trained.

    Args:
        filepath: where to; it may hold `{epoch}`, `{batch}` and the names of values,
            with formats: `"runs/{epoch:02d}-{val_loss:.2f}.keras"`. It ends in
            `.keras`, or in `.weights.h5` for weights alone.
        monitor: the value that decides what is best.
        verbose: 1 tells what is saved.
        save_best_only: whether to save only when `monitor` improves.
        save_weights_only: whether to save the weights alone.
        mode: `"min"`, `"max"`, or `"auto"` to ask the metric of that name.
        save_freq: `"epoch"`, or after how many batches to save.
        initial_value_threshold: the value to beat at first.

    Raises:
        ValueError: `save_freq` or the ending of `filepath` is none of these.
        KeyError: `filepath` names a value that the logs do not have.

    >>> import lamina, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> keep = lamina.callbacks.ModelCheckpoint(
    ...     folder / "{epoch:02d}.weights.h5", save_weights_only=True
    ... )
    >>> pathlib.Path(keep.filepath).name
    '{epoch:02d}.weights.h5'
    """

    def __init__(
        self,
        filepath,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
    ):
        super().__init__(monitor, mode, initial_value_threshold)
        self.verbose = verbose
        self.filepath = os.fspath(filepath)
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        if save_freq != "epoch" and not (isinstance(save_freq, int) and save_freq > 0):
            raise ValueError(
                f"Unrecognized save_freq: {save_freq}. Expected save_freq are 'epoch' "
                "or a positive number of batches."
            )
        _check_ending(self.filepath, save_weights_only)
        self._current_epoch = 0
        self._batches_seen_since_last_saving = 0
        self._last_batch_seen = None

    def _listens(self, hook):
        # Its method is there, but has nothing to do unless it counts batches.
        if hook == "on_train_batch_end" and type(self)._is_plain():
            return self.save_freq != "epoch"
        return super()._listens(hook)

    @classmethod
    def _is_plain(cls):
        own = ("on_train_batch_end", "on_batch_end", "_should_save_on_batch")
        return all(getattr(cls, n) is getattr(ModelCheckpoint, n) for n in own)

    def on_epoch_begin(self, epoch, logs=None):
        """Note the epoch."""
        self._current_epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Save after every `save_freq` batches."""
        if self._should_save_on_batch(batch):
            self._save_model(epoch=self._current_epoch, batch=batch, logs=logs)

    def on_epoch_end(self, epoch, logs=None):
        """Save after the epoch."""
        if self.save_freq == "epoch":
            self._save_model(epoch=epoch, batch=None, logs=logs)

    # The private names are those of Keras: subclasses override them.

    def _should_save_on_batch(self, batch):
        if self.save_freq == "epoch":
            return False
        last, self._last_batch_seen = self._last_batch_seen, batch
        new = batch + 1 if last is None or batch <= last else batch - last
        seen = self._batches_seen_since_last_saving + new
        self._batches_seen_since_last_saving = 0 if seen >= self.save_freq else seen
        return seen >= self.save_freq

    def _save_model(self, epoch, batch, logs):
        logs = logs or {}
        path = self._get_file_path(epoch, batch, logs)
        if not self._should_save_model(epoch, batch, logs, path):
            return
        if pathlib.Path(path).is_dir():
            raise IsADirectoryError(
                f"`ModelCheckpoint` expected `filepath` to be a file. Received: "
                f"{path!r}, which is a folder."
            )
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)
        self._say(epoch, f"finished saving model to {path}")

    def _should_save_model(self, epoch, batch, logs, filepath):
        if not self.save_best_only:
            self._say(epoch, f"saving model to {filepath}")
            return True
        current = logs.get(self.monitor)
        if current is None:
            warn(
                f"Can save best model only with {self.monitor} available. It is saved "
                f"whatever its value. Available: {','.join(logs)}"
            )
            return True
        self._set_monitor_op(logs)
        best = None if self.best is None else f"{self.best:.5f}"
        if not self._is_better(current, self.best):
            self._say(epoch, f"{self.monitor} did not improve from {best}")
            return False
        self._say(
            epoch,
            f"{self.monitor} improved from {best} to {current:.5f}, saving model to "
            f"{filepath}",
        )
        self.best = current
        return True

    def _get_file_path(self, epoch, batch, logs):
        place = {"epoch": epoch + 1}
        if batch is not None:
            place["batch"] = batch + 1
        try:
            return self.filepath.format(**{**logs, **place})
        except KeyError as error:
            raise KeyError(
                f"Failed to format this callback filepath: {self.filepath!r}. There is "
                f"no {error}. Available: {', '.join([*place, *logs])}"
            ) from None

    def _say(self, epoch, message):
        if self.verbose > 0:
            print(f"Epoch {epoch + 1}: {message}")


def _check_ending(filepath, weights_only):
    if weights_only and not filepath.endswith(".weights.h5"):
        raise ValueError(
            "When using `save_weights_only=True` in `ModelCheckpoint`, the filepath "
            "provided must end in `.weights.h5` (Keras weights format). Received: "
            f"filepath={filepath}"
        )
    if not weights_only and not filepath.endswith((".keras", ".h5")):
        raise ValueError(
            "The filepath provided must end in `.keras` (Keras model format). "
            f"Received: filepath={filepath}"
        )
