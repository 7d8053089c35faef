"""One process of a run; prints what it found as JSON. `test_devices.py` starts it."""

import json
import sys

import jax
import numpy as np

import lamina
from lamina import distribution as D
from lamina.kernels import native

lamina.utils.set_random_seed(3)
D.initialize()
ME, ALL = jax.process_index(), jax.process_count()
r = np.random.default_rng(0)
X = r.normal(size=(37, 6)).astype("float32")
Y = X.sum(1, keepdims=True)
found = {"native": int(native.available())}


def network(seed=3):
    if seed is not None:
        lamina.utils.set_random_seed(seed)
    layers = [lamina.layers.Dense(256, "relu"), lamina.layers.Dropout(0.2)]
    layers += [lamina.layers.Dense(1)]
    model = lamina.Sequential([lamina.Input((6,)), *layers])
    model.compile(lamina.optimizers.Adam(1e-2), "mse")
    return model


def refused(run):
    try:
        run()
    except ValueError as error:
        return str(error)
    return ""


with D.FullyShardedDataParallel().scope():
    model = network()
    found["fit"] = model.fit(X, Y, batch_size=8, epochs=2, verbose=0).history["loss"]
    found["evaluate"] = model.evaluate(X, Y, batch_size=8, verbose=0)
    found["predict"] = model.predict(X, batch_size=8, verbose=0).ravel().tolist()
    found["weights"] = [float(w.sum()) for w in model.get_weights()]

# Rows of its own.
rows = 8 // ALL


class Mine(lamina.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        at = slice(8 * index + rows * ME, 8 * index + rows * ME + rows)
        return X[at], Y[at]


with D.DataParallel(auto_shard_dataset=False).scope():
    model = network()
    history = model.fit(Mine(), shuffle=False, epochs=2, verbose=0).history
    found["own rows"] = history["loss"]

# What would train two models in silence.
with D.DataParallel().scope():
    model = network()
    words = refused(lambda: model.fit(X + ME, Y, verbose=0))
    found["other batches"] = words and "The processes give different batches"
    model = network(seed=ME)
    words = refused(lambda: model.fit(X, Y, batch_size=36, verbose=0))
    found["other weights"] = words and "The processes start with different weights"
    assert (ALL == 1) == (not words), words
print(json.dumps(found))
sys.stdout.flush()
