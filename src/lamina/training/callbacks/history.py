"""`History`: what `fit` returns."""

from lamina.training.callbacks.callback import Callback


class History(Callback):
    """The values of each epoch; what `fit` returns.

    Attributes:
        epoch: the numbers of the epochs, from 0.
        history: a dict from names to lists, one value for each epoch.

    >>> import lamina
    >>> history = lamina.callbacks.History()
    >>> history.on_train_begin()
    >>> history.on_epoch_end(0, {"loss": 0.5})
    >>> history.on_epoch_end(1, {"loss": 0.25})
    >>> history.history
    {'loss': [0.5, 0.25]}
    """

    def __init__(self):
        super().__init__()
        self.epoch = []
        self.history = {}

    def on_train_begin(self, logs=None):
        """Forget the epochs of the training before."""
        self.epoch = []
        # A new dict: the caller may still hold the one of the training before.
        self.history = {}

    def on_epoch_end(self, epoch, logs=None):
        """Note the values of the epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        if self._model is not None:
            self._model.history = self
