"""`EarlyStopping`."""

import numpy as np

from lamina.callbacks.monitor import MonitorCallback
from lamina.callbacks.snapshot import is_value
from lamina.core.checks import number
from lamina.core.tracebacks import warn


class EarlyStopping(MonitorCallback):
    """Stop the training when a value no longer improves.

    Args:
        monitor: the name of the value.
        min_delta: the least change that counts as an improvement.
        patience: after how many epochs without improvement to stop.
        verbose: 1 tells when it stops.
        mode: `"min"`, `"max"`, or `"auto"` to ask the metric of that name.
        baseline: a value that must be beaten as well.
        restore_best_weights: whether the model gets back, at the end, the weights
            of the best epoch.
        start_from_epoch: how many epochs pass before it begins to watch.

    Raises:
        ValueError: `mode` is `"auto"` and the better direction is not known.

    >>> import lamina, numpy as np
    >>> model = lamina.Sequential([lamina.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> stop = lamina.callbacks.EarlyStopping("loss", min_delta=100.0, patience=2)
    >>> x = np.ones((4, 2))
    >>> history = model.fit(x, x[:, :1], epochs=9, callbacks=[stop], verbose=0)
    >>> len(history.epoch)
    3
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = number("EarlyStopping", "patience", patience, least=0)
        self.baseline = baseline
        self.start_from_epoch = start_from_epoch
        self.restore_best_weights = restore_best_weights
        self.verbose = verbose
        self._forget()

    def _forget(self):
        self.best = None
        self.best_epoch = 0
        self.best_weights = None
        self.stopped_epoch = 0
        self.wait = 0

    def on_train_begin(self, logs=None):
        """Forget the training before."""
        self._forget()

    def on_epoch_end(self, epoch, logs=None):
        """Compare the value with the best so far."""
        self._set_monitor_op(logs)
        current = self.get_monitor_value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            # Kept even if no epoch ever counts as an improvement.
            self._keep(epoch)
        self.wait += 1
        if self._is_improvement(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self._keep(epoch)
            if self.baseline is None or self._is_improvement(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        """Put the best weights back, if it was told to."""
        if self.stopped_epoch > 0 and self.verbose > 0:
            self._say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                self._say(
                    "Restoring model weights from the end of the best epoch: "
                    f"{self.best_epoch + 1}."
                )
            self.model.set_weights(self.best_weights)

    def get_monitor_value(self, logs):
        """Return the watched value, or None with a warning when it is not there."""
        logs = logs or {}
        value = logs.get(self.monitor)
        if value is None:
            warn(f"Early stopping conditioned on {self._absent(logs)}")
        return value

    def _may_become(self, name, value):
        if name == "best_weights" and value is not None:
            shapes = [v.shape for v in self.model.weights]
            arrays = isinstance(value, list) and all(map(is_value, value))
            return arrays and list(map(np.shape, value)) == shapes
        return super()._may_become(name, value)

    def _keep(self, epoch):
        self.best_weights = self.model.get_weights()
        self.best_epoch = epoch
