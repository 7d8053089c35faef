"""One process of a run that JAX joined, with weights on devices by JAX's shardings.

The last one stops the first training, and the second one fails in the next. With
`alone` nothing is put anywhere.
"""

import json
import os
import sys

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

jax.distributed.initialize(
    os.environ["KERAS_DISTRIBUTION_JOB_ADDRESSES"],
    int(os.environ["KERAS_DISTRIBUTION_NUM_PROCESSES"]),
    int(os.environ["KERAS_DISTRIBUTION_PROCESS_ID"]),
)
import lamina  # noqa: E402, a backend that is there already is not to be asked for

ME, ALL = jax.process_index(), jax.process_count()
MESH = Mesh(np.array(jax.devices()), ("rows",))
X = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
Y = X.sum(1, keepdims=True)
first = float(lamina.layers.Dropout(0.5)(np.ones((8, 8)), training=True).sum())
model = lamina.Sequential([lamina.Input((6,)), lamina.layers.Dense(16)])
model.add(lamina.layers.Dense(1))
model.compile(lamina.optimizers.Adam(1e-2), "mse")
found = {"first": [first, *(float(w.sum()) for w in model.get_weights())]}
for i, weight in enumerate(model.weights):
    weight.assign(np.linspace(-0.1, 0.1 * i, weight.size).reshape(weight.shape))


def divided(array, *axes):
    sharding = NamedSharding(MESH, PartitionSpec(*axes))
    return jax.make_array_from_callback(array.shape, sharding, array.__getitem__)


if "alone" not in sys.argv:
    for weight in model.weights:
        value = np.asarray(weight)
        last = ("rows",) if weight.shape[-1] == 16 else ()
        weight.assign(divided(value, *[None] * (value.ndim - 1), *last))


class Batches(lamina.utils.PyDataset):
    def __init__(self, fails=False):
        super().__init__()
        self.fails = fails

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if self.fails and ME == 1 and index == 5:
            raise OSError("the disk is gone")
        at = slice(8 * index, 8 * index + 8)
        return divided(X[at], "rows"), divided(Y[at], "rows")


class Stop(lamina.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 1


if "alone" in sys.argv:
    model.fit(X, Y, verbose=0)
else:
    log = lamina.callbacks.CSVLogger(f"{sys.argv[1]}/log.csv")
    callbacks = [log, *([Stop()] if ME == ALL - 1 else [])]
    options = {"epochs": 4, "shuffle": False, "verbose": 2}
    found["loss"] = model.fit(Batches(), callbacks=callbacks, **options).history["loss"]
    whole = divided(X, "rows"), divided(Y, "rows")
    options = {"batch_size": 8, "shuffle": False, "verbose": 0}
    found["in memory"] = model.fit(*whole, **options).history["loss"]
    slots = model.optimizer.variables[2:]
    found["parts"] = [v.value.addressable_shards[0].data.size for v in slots]
    found["predict"] = model.predict(Batches(), verbose=0).ravel().tolist()
    found["weights"] = [float(w.sum()) for w in model.get_weights()]
print(json.dumps(found), flush=True)
if ALL > 1 and "alone" not in sys.argv:
    model.fit(Batches(fails=True), verbose=0)
