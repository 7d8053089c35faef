"""What the callbacks that watch one value share."""

from typing import Any

import numpy as np

from lamina import ops
from lamina.callbacks.callback import Callback
from lamina.callbacks.snapshot import is_value
from lamina.core.naming import nearest
from lamina.core.tracebacks import warn
from lamina.metrics.metric import direction_of

# What those of Lamina count, and numbers that may be None.
_COUNTS = {
    "best_epoch",
    "cooldown_counter",
    "stopped_epoch",
    "wait",
    "_batches_seen_since_last_saving",
    "_current_epoch",
    "_total_batches_seen",
}
_NUMBERS = {"best", "baseline", "_last_batch_seen"}


class MonitorCallback(Callback):
    """A callback that watches one value and knows what is better.

    Args:
        monitor: the name of the value, such as `"val_loss"`.
        mode: `"min"`, `"max"`, or `"auto"` to ask the metric of that name.
        baseline: the value to beat at first, or None.
        min_delta: the least change that counts.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
        baseline: float | None = None,
        min_delta: float = 0,
    ):
        super().__init__()
        if mode not in ("auto", "min", "max"):
            warn(
                f"{type(self).__name__} mode '{mode}' is unknown, fallback to auto "
                "mode."
            )
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta = abs(min_delta)
        self.monitor_op: Any = None

    def _set_monitor_op(self, logs=None):
        """Settle which direction is better; the metrics exist only by now."""
        if self.monitor_op is None:
            mode = self._direction(logs or {}) if self.mode == "auto" else self.mode
            self.monitor_op = ops.less if mode == "min" else ops.greater
            # As Keras has it: subclasses compare with what is left of a value.
            self.min_delta = abs(self.min_delta) * (-1 if mode == "min" else 1)

    def _direction(self, logs):
        name = self.monitor.removeprefix("val_")
        if name == "loss" or name.endswith("_loss"):
            return "min"
        for metric in self._metrics():
            # With several outputs a value is called `output_metric`.
            if name != metric.name and not name.endswith("_" + metric.name):
                continue
            direction = direction_of(metric)
            if direction:
                return "max" if direction == "up" else "min"
        message = f"{type(self).__name__} callback received monitor={self.monitor}, "
        if logs and self.monitor not in logs:
            raise ValueError(
                f"{message}and there is no such value.{nearest(self.monitor, logs)} "
                f"Available: {', '.join(logs)}"
            )
        raise ValueError(
            f"{message}and it cannot be told whether more of it is better. Pass "
            "`mode='max'` or `mode='min'`."
        )

    def _absent(self, logs):
        """Say that the value is not there, and how it comes to be."""
        validates = any(name.startswith("val_") for name in logs)
        hint = ". Values of `val_` come with `validation_data` or `validation_split`"
        wanted = self.monitor.startswith("val_") and not validates
        return (
            f"metric `{self.monitor}` which is not available. Available metrics are: "
            f"{','.join(logs)}{hint * wanted}"
        )

    def _metrics(self):
        for metric in getattr(self._model, "metrics", None) or ():
            yield from getattr(metric, "metrics", None) or (metric,)

    def _may_become(self, name, value):
        if name in _COUNTS:
            return type(value) is int and value >= 0
        if name in _NUMBERS:
            return value is None or (is_value(value) and np.ndim(value) == 0)
        if name == "save_freq":
            return type(value) is int and value > 0
        return name != "monitor_op" or value is None

    # Its name, and those of its arguments, are what subclasses take from Keras.
    def _is_improvement(self, monitor_value, reference_value):
        if reference_value is None:
            return True
        return bool(self.monitor_op(monitor_value - self.min_delta, reference_value))
