"""`Callback`: what a loop calls at its turning points."""

from typing import Any

from lamina.core.constructor import Bounded
from lamina.core.naming import printable
from lamina.core.placement import distribution, is_first

HOOKS = tuple(
    f"on_{event}_{moment}"
    for event in (
        "epoch",
        "train",
        "test",
        "predict",
        "train_batch",
        "test_batch",
        "predict_batch",
    )
    for moment in ("begin", "end")
)


class Callback(Bounded):
    """Something that watches a loop and may steer it; a base class.

    A subclass writes the hooks it needs. `logs` holds the values of the epoch or
    batch by name; during `fit` the loop reads `self.model.stop_training` after
    each call.

    Attributes:
        model: the model that runs.
        params: a dict with `verbose`, `epochs` and `steps`.
        on_every_process: whether it is called in each of several processes that train
            together; a class that prints or writes a file says False, and is called in
            the first of them.

    >>> import lamina, numpy as np
    >>> class Shout(lamina.callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print("epoch", epoch, "is over:", sorted(logs))
    >>> model = lamina.Sequential([lamina.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(
    ...     np.ones((4, 2)), np.ones((4, 1)), callbacks=[Shout()], verbose=0
    ... )
    epoch 0 is over: ['loss']
    """

    on_every_process = True
    # Whether hooks get `logs` as a function that fetches them from the device.
    _takes_lazy_logs = False

    def __init__(self):
        self.params: Any = None
        self._model: Any = None

    @property
    def model(self):
        """The model that runs, its Variables up to date."""
        sync = getattr(self._model, "jax_state_sync", None)
        if sync is not None:
            sync()
        return self._model

    def set_params(self, params):
        """Receive the settings of the loop."""
        self.params = params

    def set_model(self, model):
        """Receive the model."""
        self._model = model

    def on_epoch_begin(self, epoch, logs=None):
        """Called when an epoch of training begins."""

    def on_epoch_end(self, epoch, logs=None):
        """Called when an epoch of training, validation included, is over."""

    def on_train_begin(self, logs=None):
        """Called when training begins."""

    def on_train_end(self, logs=None):
        """Called when training is over."""

    def on_test_begin(self, logs=None):
        """Called when an evaluation, or a validation in `fit`, begins."""

    def on_test_end(self, logs=None):
        """Called when an evaluation, or a validation in `fit`, is over."""

    def on_predict_begin(self, logs=None):
        """Called when a prediction begins."""

    def on_predict_end(self, logs=None):
        """Called when a prediction is over."""

    def on_batch_begin(self, batch, logs=None):
        """The same as `on_train_batch_begin`."""

    def on_batch_end(self, batch, logs=None):
        """The same as `on_train_batch_end`."""

    def on_train_batch_begin(self, batch, logs=None):
        """Called before a batch of training."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch, logs=None):
        """Called after a batch of training; `logs` are the epoch's means so far."""
        self.on_batch_end(batch, logs=logs)

    def on_test_batch_begin(self, batch, logs=None):
        """Called before a batch of an evaluation."""

    def on_test_batch_end(self, batch, logs=None):
        """Called after a batch of an evaluation."""

    def on_predict_batch_begin(self, batch, logs=None):
        """Called before a batch of a prediction."""

    def on_predict_batch_end(self, batch, logs=None):
        """Called after a batch of a prediction; `logs["outputs"]` holds the outputs."""

    def _say(self, text):
        """Print a line, in the first of several processes alone."""
        if is_first(distribution()):
            print(printable(text))

    def _close(self):
        """Let go of what the loop must not leave behind, however it ends."""

    def _may_become(self, name, value) -> bool:
        """Tell whether a run may have made a value of an attribute.

        Asked of a snapshot's values, whose kinds are those of the attributes.
        """
        return True

    def _listens(self, hook):
        """Tell whether calling `hook` has any effect."""
        names = (hook, hook.replace("train_batch", "batch"))
        return any(map(self._writes, names))

    def _writes(self, hook):
        method = getattr(self, hook)
        return getattr(method, "__func__", method) is not getattr(Callback, hook)
