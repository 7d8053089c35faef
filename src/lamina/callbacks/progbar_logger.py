"""`ProgbarLogger`: the progress bar as a callback."""

from typing import Any

from lamina.callbacks.callback import Callback
from lamina.callbacks.progress import Progress


class ProgbarLogger(Callback):
    """Show the progress of the loop, as `verbose` says.

    `fit`, `evaluate` and `predict` add it by themselves.

    Attributes:
        progress: the bar, or None before it begins.

    >>> import lamina
    >>> bar = lamina.callbacks.ProgbarLogger()
    >>> bar.set_params({"epochs": 1, "steps": 2, "verbose": 2})
    >>> bar.on_train_begin()
    >>> bar.on_epoch_begin(0)
    >>> bar.on_train_batch_end(1, {"loss": 0.5})
    >>> bar.on_epoch_end(0, {"loss": 0.5})
    Epoch 1/1 - 2/2 - ... - loss: 0.5000
    """

    on_every_process = False
    _takes_lazy_logs = True

    def __init__(self):
        super().__init__()
        self.progress: Any = None
        self.verbose = 1
        self.epochs = 1
        self.note = ""
        self._training = False

    def get_state(self):
        """Return nothing: where a bar was drawn is not part of a run."""
        return {}

    def set_params(self, params):
        """Take `verbose`, `epochs` and `steps` for the bar."""
        super().set_params(params)
        self.verbose = params.get("verbose", 1)
        self.epochs = params.get("epochs", 1)

    def close(self):
        """Give the terminal back."""
        self._training = False
        if self.progress is not None:
            self.progress.close()

    _close = close

    def on_train_begin(self, logs=None):
        """Make the bar of the training."""
        self._training = True
        self._start(epochs=self.epochs)

    def on_epoch_begin(self, epoch, logs=None):
        """Start a new line."""
        self.progress.begin(epoch)

    def on_train_batch_end(self, batch, logs=None):
        """Show the step, if it is time to."""
        self.progress.update(self._count(batch), logs)

    def on_epoch_end(self, epoch, logs=None):
        """Draw the last line of the epoch."""
        history = getattr(self._model, "history", None) if self._training else None
        self.progress.end(logs, self.note, getattr(history, "draw_live", None))
        self.note = ""

    def on_train_end(self, logs=None):
        """Give the terminal back."""
        self.close()

    def on_test_begin(self, logs=None):
        """Start a line, unless it is a validation inside a training."""
        if not self._training:
            self._start()
            self.progress.begin()

    def on_test_batch_end(self, batch, logs=None):
        """Show the step, if it is time to."""
        if not self._training:
            self.progress.update(self._count(batch), logs)

    def on_test_end(self, logs=None):
        """Draw the last line of the evaluation."""
        if not self._training:
            self.progress.end(logs)

    def on_predict_begin(self, logs=None):
        """Start a line."""
        self._start()
        self.progress.begin()

    def on_predict_batch_end(self, batch, logs=None):
        """Show the step, if it is time to; outputs are not numbers to show."""
        self.progress.update(self._count(batch))

    def on_predict_end(self, logs=None):
        """Draw the last line of the prediction."""
        self.progress.end()

    def _count(self, batch):
        """Return how many batches are done; the last of several may not be there."""
        steps = (self.params or {}).get("steps")
        return batch + 1 if steps is None else min(batch + 1, steps)

    def _start(self, epochs=None):
        steps = (self.params or {}).get("steps")
        self.progress = Progress(steps, epochs, self.verbose)
