"""One process of a run that is ended by SIGTERM, or of the run that goes on from it."""

import json
import os
import signal
import sys
import time

import jax
import numpy as np

import lamina
from lamina import distribution as D

folder, last = sys.argv[1], sys.argv[2] == "goes on"
D.initialize()
r = np.random.default_rng(0)
X = r.normal(size=(37, 6)).astype("float32")
Y = X.sum(1, keepdims=True)


class End(lamina.callbacks.Callback):
    """The second process is told to end in the middle of the second epoch."""

    def on_train_batch_end(self, batch, logs=None):
        steps = int(self.model.optimizer.iterations)
        if steps == 7 and jax.process_index():
            os.kill(os.getpid(), signal.SIGTERM)
        if steps >= 7 and jax.process_count() > 1:
            time.sleep(0.5)  # the other process hears of it meanwhile


def trained(**options):
    lamina.utils.set_random_seed(3)
    layers = [lamina.layers.Dense(256, "relu"), lamina.layers.Dropout(0.2)]
    layers += [lamina.layers.BatchNormalization(), lamina.layers.Dense(1)]
    model = lamina.Sequential([lamina.Input((6,)), *layers])
    model.compile(lamina.optimizers.Adam(1e-2), "mse", metrics=["mae"])
    history = model.fit(X, Y, batch_size=8, epochs=3, verbose=0, **options).history
    return {"loss": history["loss"][-1], "mae": history["mae"][-1]} | {
        f"weight {i}": w.ravel().tolist() for i, w in enumerate(model.get_weights())
    }


kinds = [D.FullyShardedDataParallel, D.DataParallel]
with kinds[last]().scope():  # another layout
    again = trained(callbacks=[End()], resume=folder)
    print(json.dumps([again, trained()]))
