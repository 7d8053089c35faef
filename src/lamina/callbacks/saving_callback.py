"""What the callbacks share that save models while they are trained."""

from typing import Any

from lamina.callbacks.monitor import MonitorCallback
from lamina.core.tracebacks import warn


class SavingCallback(MonitorCallback):
    """A callback that saves after epochs or batches, each time or the best alone.

    Args:
        monitor: the value that decides what is best.
        verbose: 1 tells what is saved.
        save_best_only: whether to save only when `monitor` improves.
        mode: `"min"`, `"max"`, or `"auto"` to ask the metric of that name.
        save_freq: `"epoch"`, or after how many batches to save.
        initial: the value to beat at first.
    """

    # Whether to save where there is no value to tell the best by.
    _saves_unknown = True

    def __init__(
        self,
        monitor: str,
        verbose: Any,
        save_best_only: Any,
        mode: str,
        save_freq: str | int,
        initial: Any,
    ):
        super().__init__(monitor, mode, initial)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_freq = save_freq
        if save_freq != "epoch" and not (isinstance(save_freq, int) and save_freq > 0):
            raise ValueError(
                f"Unrecognized save_freq: {save_freq}. Expected save_freq are 'epoch' "
                "or a positive number of batches."
            )
        self._current_epoch = 0
        self._batches_seen_since_last_saving = self._total_batches_seen = 0
        self._last_batch_seen = None

    def _listens(self, hook):
        # Its method is there, but has nothing to do unless it counts batches.
        if hook == "on_train_batch_end" and type(self)._is_plain():
            return self.save_freq != "epoch"
        return super()._listens(hook)

    @classmethod
    def _is_plain(cls):
        own = ("on_train_batch_end", "on_batch_end", "_should_save_on_batch")
        return all(getattr(cls, n) is getattr(SavingCallback, n) for n in own)

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

    def _save_model(self, epoch, batch, logs):
        raise NotImplementedError

    def _should_save_on_batch(self, batch):
        if self.save_freq == "epoch":
            return False
        last, self._last_batch_seen = self._last_batch_seen, batch
        new = batch + 1 if last is None or batch <= last else batch - last
        self._total_batches_seen += new
        seen = self._batches_seen_since_last_saving + new
        self._batches_seen_since_last_saving = 0 if seen >= self.save_freq else seen
        return seen >= self.save_freq

    def _should_save_model(self, epoch, batch, logs, filepath):
        if not self.save_best_only:
            self._tell(epoch, f"saving model to {filepath}")
            return True
        current = logs.get(self.monitor)
        if current is None:
            warn(
                f"Can save best model only with {self.monitor} available. "
                + (
                    "It is saved whatever its value."
                    if self._saves_unknown
                    else "It is not saved."
                )
                + f" Available: {','.join(logs)}"
            )
            return self._saves_unknown
        self._set_monitor_op(logs)
        best = None if self.best is None else f"{self.best:.5f}"
        if not self._is_improvement(current, self.best):
            self._tell(epoch, f"{self.monitor} did not improve from {best}")
            return False
        self._tell(
            epoch,
            f"{self.monitor} improved from {best} to {current:.5f}, saving model to "
            f"{filepath}",
        )
        self.best = current
        return True

    def _tell(self, epoch, message):
        if self.verbose > 0:
            self._say(f"Epoch {epoch + 1}: {message}")
