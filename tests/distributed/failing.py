"""One process of a run in which the last one fails.

With the argument `dies` it is killed after three steps, and with `early` or `exits` it
does not come as far as to train. With `first` the first one
does not, and with `told` that is told to end while the others do something alone; with
`lost` it is killed then. With `astray` the last one does something else than others,
with `inside` too in a callback.
"""

import os
import signal
import sys
import time

import jax
import numpy as np

import lamina
from lamina import distribution as D
from lamina.core import processes

processes._PATIENCE = 3.0  # seconds until one ends that waits in compiled code, for 10
if "dies" in sys.argv:  # JAX is to miss it sooner than `initialize` lets it
    jax.distributed.initialize(
        os.environ["KERAS_DISTRIBUTION_JOB_ADDRESSES"],
        int(os.environ["KERAS_DISTRIBUTION_NUM_PROCESSES"]),
        int(os.environ["KERAS_DISTRIBUTION_PROCESS_ID"]),
        heartbeat_timeout_seconds=5,
    )
D.initialize()
ME = jax.process_index()
X = np.ones((4, 6), "float32")
if ME and "early" in sys.argv or not ME and "first" in sys.argv:
    raise OSError("no data here")
if ME and "exits" in sys.argv:
    sys.exit(0)
if "told" in sys.argv or "lost" in sys.argv:
    if not ME:
        os.kill(os.getpid(), signal.SIGTERM if "told" in sys.argv else signal.SIGKILL)
    time.sleep(60)


def some(count):
    yield from ((X, X[:, :1]) for _ in range(count))
    os.kill(os.getpid(), signal.SIGKILL)


class Own(lamina.callbacks.Callback):
    """Only the first process has it, and what it calls all have to call."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.evaluate(X, X[:, :1], verbose=0)


if "astray" in sys.argv:
    with D.FullyShardedDataParallel().scope():
        model = lamina.Sequential([lamina.Input((6,)), lamina.layers.Dense(256)])
        model.add(lamina.layers.Dense(1))
        model.compile("sgd", "mse")
        own = [] if ME else [Own()]
        if "inside" in sys.argv:
            model.fit(X, X[:, :1], epochs=2, callbacks=own, verbose=0)
        elif ME:
            model.fit(X, X[:, :1], verbose=0)
        else:
            model.get_weights()
    sys.exit()

with D.DataParallel(auto_shard_dataset=False).scope():
    model = lamina.Sequential([lamina.Input((6,)), lamina.layers.Dense(1)])
    model.compile("sgd", "mse")
    try:
        model.fit(some(4 - ME), steps_per_epoch=4, verbose=0)
    except Exception as error:
        print(*error.__notes__, file=sys.stderr, flush=True)
        time.sleep(60)  # JAX ends it earlier
        raise
