"""`ModelCheckpoint`."""

import os
import pathlib
from os import PathLike

from lamina.callbacks.saving_callback import SavingCallback


class ModelCheckpoint(SavingCallback):
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
        filepath: str | PathLike,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
    ):
        super().__init__(
            monitor, verbose, save_best_only, mode, save_freq, initial_value_threshold
        )
        self.filepath = os.fspath(filepath)
        self.save_weights_only = save_weights_only
        _check_ending(self.filepath, save_weights_only)

    # The private names are those of Keras: subclasses override them.

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
        self._tell(epoch, f"finished saving model to {path}")

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
