"""What tests of training share: a run that is cut off, and a step with its own logs."""

import lamina


class Stop(lamina.callbacks.Callback):
    """Cuts a run off after a number of batches in all; not a part of what it does."""

    def __init__(self, at=None):
        super().__init__()
        Stop.at = at  # not on the instance, which snapshots hold
        self.seen = 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen == Stop.at:
            raise RuntimeError("cut off")


class Own(lamina.Sequential):
    """A model whose step gives its own logs, which are no metric's result."""

    def train_step(self, data):
        x, y = data
        loss, grads = lamina.value_and_grad(
            lambda: self.compute_loss(y=y, y_pred=self(x)), self.trainable_variables
        )()
        self.optimizer.apply(grads, self.trainable_variables)
        return {"own": 2 * loss}
