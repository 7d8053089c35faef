"""`TerminateOnNaN`."""

import math

from lamina.callbacks.callback import Callback


class TerminateOnNaN(Callback):
    """Stop the training when the loss is NaN or infinite.

    It looks at every batch, so every step waits for its loss.

    Args:
        raise_error: whether to raise instead of only ending the training.

    Raises:
        RuntimeError: the loss is not finite and `raise_error` is set.

    >>> import lamina
    >>> stop = lamina.callbacks.TerminateOnNaN(raise_error=True)
    >>> stop.on_train_batch_end(3, {"loss": float("nan")})
    Traceback (most recent call last):
        ...
    RuntimeError: NaN or Inf loss encountered at batch 3: the loss is nan.
    """

    def __init__(self, raise_error: bool = False):
        super().__init__()
        self.raise_error = raise_error

    def on_batch_end(self, batch, logs=None):
        """Look at the loss."""
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(float(loss)):
            return
        if self.raise_error:
            raise RuntimeError(
                f"NaN or Inf loss encountered at batch {batch}: the loss is "
                f"{float(loss)}."
            )
        self._say(f"Batch {batch}: Invalid loss, terminating training")
        self._model.stop_training = True
