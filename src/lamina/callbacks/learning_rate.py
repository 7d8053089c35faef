"""Callbacks that set the learning rate."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina.callbacks.callback import Callback
from lamina.callbacks.monitor import MonitorCallback
from lamina.core.tracebacks import warn


class ReduceLROnPlateau(MonitorCallback):
    """Lower the learning rate when a value no longer improves.

        learning_rate = max(learning_rate * factor, min_lr)

    Args:
        monitor: the name of the value.
        factor: what the learning rate is multiplied by; below 1.
        patience: after how many epochs without improvement to lower it.
        verbose: 1 tells each change.
        mode: `"min"`, `"max"`, or `"auto"` to ask the metric of that name.
        min_delta: the least change that counts as an improvement.
        cooldown: how many epochs to wait after a change before watching again.
        min_lr: the learning rate it does not go below.

    Raises:
        ValueError: `factor` is 1 or more.

    >>> import lamina, numpy as np
    >>> model = lamina.Sequential([lamina.layers.Dense(1)])
    >>> model.compile(lamina.optimizers.SGD(0.5), "mse")
    >>> lower = lamina.callbacks.ReduceLROnPlateau(
    ...     "loss", factor=0.5, patience=1, min_delta=100.0
    ... )
    >>> x = np.ones((4, 2))
    >>> history = model.fit(x, x[:, :1], epochs=3, callbacks=[lower], verbose=0)
    >>> history.history["learning_rate"]
    [0.5, 0.5, 0.25]
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **kwargs,
    ):
        if kwargs:
            raise TypeError(
                f"`ReduceLROnPlateau` got unknown arguments: {sorted(kwargs)}"
            )
        if factor >= 1.0:
            raise ValueError(
                "ReduceLROnPlateau does not support a factor >= 1.0. "
                f"Received factor={factor}"
            )
        super().__init__(monitor, mode, min_delta=min_delta)
        self.factor = factor
        self.patience = patience
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.verbose = verbose
        self.cooldown_counter = 0
        self.wait = 0

    def on_train_begin(self, logs=None):
        """Forget the training before."""
        self.best = None
        self.cooldown_counter = 0
        self.wait = 0

    def on_epoch_end(self, epoch, logs=None):
        """Compare the value with the best so far."""
        self._set_monitor_op(logs)
        logs = {} if logs is None else logs
        logs.update(learning_rates(self.model))
        current = logs.get(self.monitor)
        if current is None:
            warn(f"Learning rate reduction is conditioned on {self._absent(logs)}")
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(current, self.best):
            self.best, self.wait = current, 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                self._lower(epoch)

    def in_cooldown(self) -> bool:
        """Tell whether it waits after a change."""
        return self.cooldown_counter > 0

    def _lower(self, epoch):
        for optimizer, name in _rated(self._model):
            rate = _learning_rate(optimizer)
            # In float32, as the learning rate is: 0.01 read back is a bit less.
            if rate <= np.float32(self.min_lr):
                continue
            rate = max(rate * self.factor, self.min_lr)
            optimizer.learning_rate = rate
            if self.verbose > 0:
                self._say(
                    f"Epoch {epoch + 1}: ReduceLROnPlateau reducing {name}learning "
                    f"rate to {rate}."
                )
            self.cooldown_counter = self.cooldown
            self.wait = 0


class LearningRateScheduler(Callback):
    """Set the learning rate at the beginning of each epoch.

    Args:
        schedule: a function `(epoch, learning_rate)` or `(epoch)` that returns the
            learning rate of the epoch; epochs count from 0.
        verbose: 1 tells each change.

    Raises:
        ValueError: `schedule` returns no number, or the optimizer has no learning
            rate.

    >>> import lamina, numpy as np
    >>> model = lamina.Sequential([lamina.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> halve = lamina.callbacks.LearningRateScheduler(lambda epoch: 0.5**epoch)
    >>> x = np.ones((4, 2))
    >>> history = model.fit(x, x[:, :1], epochs=3, callbacks=[halve], verbose=0)
    >>> history.history["learning_rate"]
    [1.0, 0.5, 0.25]
    """

    def __init__(self, schedule: Callable, verbose: int = 0):
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "`LearningRateScheduler` expected `schedule` to be a function of the "
                f"epoch. Received: schedule={schedule!r}"
            )
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch, logs=None):
        """Set the learning rate of the epoch."""
        for optimizer, name in _rated(self.model):
            if not hasattr(optimizer, "learning_rate"):
                raise ValueError('Optimizer must have a "learning_rate" attribute.')
            now = [_learning_rate(optimizer)] if _takes_rate(self.schedule) else []
            rate: Any = self.schedule(epoch, *now)
            try:
                number = float(rate)
            except (TypeError, ValueError):
                raise ValueError(
                    "The output of the `schedule` function should be a float. "
                    f"Got: {rate!r}"
                ) from None
            optimizer.learning_rate = number
            if self.verbose > 0:
                self._say(
                    f"Epoch {epoch + 1}: LearningRateScheduler setting {name}learning "
                    f"rate to {rate}."
                )

    def on_epoch_end(self, epoch, logs=None):
        """Note the learning rate in the logs."""
        if logs is not None:
            logs.update(learning_rates(self.model))


def _learning_rate(optimizer):
    return float(np.asarray(optimizer.learning_rate))


def _rated(model):
    """Return the optimizers that have a learning rate, and what names them apart."""
    inner = getattr(model.optimizer, "optimizers", None)
    if inner is None:
        return [(model.optimizer, "")]
    return [(optimizer, f"{optimizer.name} ") for optimizer in inner]


def learning_rates(model):
    """Return the learning rates of a model's optimizers, by the names they log."""
    return {
        f"learning_rate_{name}".rstrip("_ "): _learning_rate(optimizer)
        for optimizer, name in _rated(model)
    }


def _takes_rate(schedule):
    try:
        parameters = inspect.signature(schedule).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = [p.kind for p in parameters]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return True
    return sum("POSITIONAL" in kind.name for kind in kinds) >= 2
