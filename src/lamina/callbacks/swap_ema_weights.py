"""`SwapEMAWeights`."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.callbacks.callback import Callback
from lamina.callbacks.snapshot import is_value
from lamina.optimizers.optimizer import trained_by
from lamina.optimizers.parts import averages_of


class SwapEMAWeights(Callback):
    """Evaluate and predict with the moving average of the weights.

    The optimizer keeps the average (`use_ema=True`). During an evaluation or a
    prediction the model holds it in place of its weights; at the end of the
    training it keeps it.

    Args:
        swap_on_epoch: whether the model holds the average at the end of each epoch
            as well, so that callbacks after this one, such as `ModelCheckpoint`,
            save it.

    Raises:
        ValueError: the optimizer keeps no average.

    >>> import lamina, numpy as np
    >>> model = lamina.Sequential([lamina.layers.Dense(1)])
    >>> model.compile(lamina.optimizers.SGD(use_ema=True), "mse")
    >>> x = np.ones((4, 2))
    >>> swap = lamina.callbacks.SwapEMAWeights()
    >>> history = model.fit(x, x[:, :1], callbacks=[swap], verbose=0)
    """

    def __init__(self, swap_on_epoch: bool = False):
        super().__init__()
        self.swap_on_epoch = swap_on_epoch
        self._aside: Any = None  # the weights while the model holds the average

    def on_train_begin(self, logs=None):
        """Check the optimizer."""
        self._aside = None
        self._optimizer()

    def on_epoch_begin(self, epoch, logs=None):
        """Go on training with the weights themselves."""
        if self.swap_on_epoch:
            self._hold_average(False)

    def on_epoch_end(self, epoch, logs=None):
        """Hold the average, if it was told to."""
        if self.swap_on_epoch:
            self._hold_average(True)

    def on_train_end(self, logs=None):
        """Keep the average."""
        self._hold_average(True)
        self._aside = None

    def on_test_begin(self, logs=None):
        """Hold the average."""
        self._hold_average(True)

    def on_test_end(self, logs=None):
        """Hold the weights themselves again."""
        self._hold_average(False)

    on_predict_begin, on_predict_end = on_test_begin, on_test_end

    def _may_become(self, name, value):
        if name != "_aside" or value is None:
            return super()._may_become(name, value)
        kinds = [(w.shape, w.value.dtype) for w, _ in self._pairs()]
        return (
            isinstance(value, list)
            and all(map(is_value, value))
            and [(np.shape(v), np.asarray(v).dtype) for v in value] == kinds
        )

    def _hold_average(self, wanted):
        if wanted == (self._aside is not None):
            return
        pairs = self._pairs()
        if wanted:
            self._aside = [weight.value for weight, _ in pairs]
            for weight, average in pairs:
                # A copy: a step gives both buffers up, so they must be two.
                weight.assign(jnp.array(average.value, copy=True))
        else:
            for (weight, _), value in zip(pairs, self._aside, strict=True):
                weight.assign(value)
            self._aside = None

    def _optimizer(self):
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        if not getattr(optimizer, "use_ema", False):
            raise ValueError(
                "SwapEMAWeights must be used when `use_ema=True` is set on the "
                f"optimizer. Received: {type(optimizer).__name__} without it."
            )
        return optimizer

    def _pairs(self):
        optimizer = self._optimizer()
        averages = averages_of(optimizer)
        if not averages:
            return []  # it has made no step
        return list(zip(trained_by(optimizer) or (), averages, strict=True))
