"""One process of a run; prints what it found as JSON. `test_devices.py` starts it."""

import json
import sys
import tempfile
import time
import warnings

import jax
import numpy as np

import lamina
from lamina import distribution as D
from lamina.core import processes
from lamina.kernels import native

lamina.utils.set_random_seed(3)
D.initialize()
ME, ALL = jax.process_index(), jax.process_count()
r = np.random.default_rng(0)
X = r.normal(size=(37, 6)).astype("float32")
Y = X.sum(1, keepdims=True)
found: dict = {"native": int(native.available())}


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
    except (ValueError, RuntimeError) as error:
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
    # Each gets what its own rows give, also where it has fewer rows or batches.
    one = lamina.layers.Dense(1, kernel_initializer="ones")
    model = lamina.Sequential([lamina.Input((6,)), one])

    def parts(x):
        return (x[i : i + 3] for i in range(0, len(x), 3))

    for at in (20, 30):
        mine = X[at:] if ME else X[: at if ALL > 1 else None]
        sums = mine.sum(1, keepdims=True)
        for predict in (
            lambda x: model.predict(x, batch_size=8, verbose=0),
            lambda x: model.predict(parts(x), verbose=0),
            model.predict_on_batch,
        ):
            np.testing.assert_allclose(predict(mine), sums, atol=1e-5)

# Two devices that share the work on each row: their processes give the same rows.
with D.FullyShardedDataParallel(model=2, auto_shard_dataset=False).scope():
    lamina.config.disable_interactive_logging()
    model = network()
    found["shared rows"] = model.fit(X, Y, batch_size=8, verbose=0).history["loss"]
    found["shared rows predicted"] = model.predict(X, verbose=0).ravel().tolist()
    lamina.config.enable_interactive_logging()

# What would train two models in silence.
with D.DataParallel().scope():
    model = network()
    words = refused(lambda: model.fit(X + ME, Y, verbose=0))
    found["other batches"] = words and "The processes give different batches"
    model = network(seed=ME)
    words = refused(lambda: model.fit(X, Y, batch_size=36, verbose=0))
    found["other weights"] = words and "The processes start with different weights"
    assert (ALL == 1) == (not words), words


@lamina.saving.register_keras_serializable()
class Apart(lamina.layers.Layer):
    """Computes something else in each process, which no setting says."""

    def call(self, x):
        return x * (1.0 + ME)


with D.FullyShardedDataParallel().scope():
    words = refused(lambda: network().fit(X, Y, epochs=1 + ME, verbose=0))
    found["other epochs"] = words
    model = lamina.Sequential([lamina.Input((6,)), lamina.layers.Dense(1), Apart()])
    model.compile("sgd", "mse")
    found["other programs"] = refused(lambda: model.fit(X, Y, verbose=0))


class Stop(lamina.callbacks.Callback):
    """The last process alone stops the training."""

    def __init__(self, after):
        super().__init__()
        setattr(self, after, self.stop)

    def stop(self, number, logs=None):
        self.model.stop_training = ME == ALL - 1 and number == 1


class Interrupted(lamina.callbacks.Callback):
    """What it does at the end, others may have to come for; they do not."""

    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt

    def on_train_end(self, logs=None):
        found["interrupted"] += " end"


class Fewer(Mine):
    """The last process has one batch less than the others."""

    def __len__(self):
        return 4 - (ME == ALL - 1)


def slower_in_one():
    """Read ahead in the first process further than in the last."""
    for i in range(16):
        time.sleep(0.05 * (ME == ALL - 1))
        yield X[2 * i : 2 * i + 8], Y[2 * i : 2 * i + 8]


def some(count):
    yield from (Mine()[i] for i in range(count))


class Given(lamina.utils.PyDataset):
    """Batches of any shapes."""

    def __init__(self, *batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


class Shuffled(Mine):
    """Whole batches, in an order that is drawn from a seed."""

    def __init__(self, seed):
        super().__init__()
        self.order, self.seed = np.arange(32), seed

    def __getitem__(self, index):
        at = self.order[8 * index : 8 * index + 8]
        return X[at], Y[at]

    def on_epoch_end(self):
        np.random.default_rng(self.seed).shuffle(self.order)


class Slower(lamina.callbacks.Callback):
    """The last process alone trains in smaller steps after an epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 1e-2 / ALL


if ALL > 1:  # what differs in one process is told in all
    orbax = lamina.callbacks.OrbaxCheckpoint(tempfile.mkdtemp())
    slower, few = [Slower()] if ME else [], 37 - ME
    given, four = (
        Given((X[:8], Y[:8]), (X[: 8 - ME], Y[: 8 - ME])),
        {"steps_per_epoch": 4, "verbose": 0},
    )
    one = X[:8], Y[:8]
    kinds = [D.DataParallel, D.FullyShardedDataParallel]
    with D.DataParallel().scope():
        model = network()
        options = {"shuffle": False, "epochs": 3, "verbose": 0}
        told = {
            "orbax": lambda: model.fit(X, Y, callbacks=[orbax], verbose=0),
            "shuffled": lambda: model.fit(Shuffled(ME), **options),
            "rate": lambda: model.fit(Shuffled(0), callbacks=slower, **options),
            "evaluate": lambda: model.evaluate(X[:few], Y[:few], verbose=0),
            "predict": lambda: model.predict(X[:few], verbose=0),
            "whole": lambda: network().fit(given, **options),
            "train_on_batch": lambda: model.train_on_batch(X[:8] + ME, Y[:8]),
            "ran out": lambda: network().fit(iter([one] * (4 - ME)), **four),
        }
        found["told"] = {name: refused(run) for name, run in told.items()}
        found["interrupted"] = ""
        try:
            network().fit(X, Y, callbacks=[Interrupted()], verbose=0)
        except (KeyboardInterrupt, RuntimeError):
            found["interrupted"] += "raised"
        found["told"]["orbax"] = found["told"]["orbax"].split(" '")[0]
    weights = {"sample_weight": np.ones(37)} if ME else {}
    with D.DataParallel(auto_shard_dataset=False).scope():
        told = {
            "own weights": lambda: network().fit(X, Y, verbose=0, **weights),
            "last": lambda: network().evaluate(given, verbose=0),
            "own batch": lambda: network().train_on_batch(X[: 8 - ME], Y[: 8 - ME]),
        }
        found["told"] |= {name: refused(run) for name, run in told.items()}
        words = refused(lambda: network().fit(X[: 8 - 8 * ME], Y[: 8 - 8 * ME]))
        assert words.startswith("Process 1 failed: ") == (not ME)
        found["told"]["no rows"] = words.rpartition("EmptyData: ")[2]
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            network().fit(some(4 - ME), **four)
            held_out = some(1 - ME)
            network().fit(X[:8], Y[:8], validation_data=held_out, verbose=0)
        ended = "The data of process 1 ran out after 3 batches. This epoch ends there"
        assert str(said[0].message).startswith(ended) == (not ME)
        words = str(said[-1].message).replace("The data set is empty", "Process 1")
        found["told"]["no validation"] = words.partition("Process 1")[0]
    with D.FullyShardedDataParallel(model=2, auto_shard_dataset=False).scope():
        words = refused(lambda: network().train_on_batch(X[:8] + ME, Y[:8]))
        found["told"]["shared rows"] = words
    model, own = network(), {"devices": D.list_devices()[:1]}
    with D.DataParallel(**own, auto_shard_dataset=False).scope():
        found["told"]["mesh"] = refused(lambda: model.predict_on_batch(X))
    with kinds[ME]().scope():
        words = refused(lambda: model.test_on_batch(X[:8], Y[:8]))
        found["told"]["distribution"] = words

if ALL > 1:  # what one process does alone, all hear of
    folder = sys.argv[1]
    with D.DataParallel().scope():
        for after in ("on_epoch_end", "on_train_batch_end"):
            model = network()
            lone = [Stop(after)] if ME else []
            history = model.fit(X, Y, batch_size=8, epochs=4, callbacks=lone, verbose=0)
            found[after] = history.history["loss"], int(model.optimizer.iterations)
        batches = slower_in_one()  # go on in all processes after the same batch
        for _ in range(2):
            model.fit(batches, steps_per_epoch=6, callbacks=lone, verbose=0)
        if not ME:  # it has all weights, and what the others do later is not disturbed
            model.save(f"{folder}/alone.keras")
    with D.FullyShardedDataParallel().scope():
        model = network()
        csv = lamina.callbacks.CSVLogger(f"{folder}/log.csv")
        keep = lamina.callbacks.ModelCheckpoint(f"{folder}/{{epoch}}.keras", verbose=1)
        orbax = lamina.callbacks.OrbaxCheckpoint(f"{folder}/orbax", monitor="loss")
        callbacks = [csv, keep, orbax]
        model.fit(X, Y, batch_size=8, epochs=2, callbacks=callbacks, verbose=2)
        again = lamina.saving.load_model(f"{folder}/orbax")
        apart = tempfile.mkdtemp()  # as of hosts that share none
        words = refused(lambda: network().fit(X, Y, verbose=0, resume=apart))
        found["other folders"] = words.startswith("Not all processes see the same")
        processes._WAIT = 0.5  # seconds until one says for whom it waits
        time.sleep(2 * ME)
        model.get_weights()
        found["of Orbax"] = again.predict(X, verbose=0).ravel().tolist()
    # Outside of the scope, too, these are parts of one model.
    model.save(f"{folder}/last.keras")
    model.save(f"{folder}/last.h5")
    model.save_weights(f"{folder}/last.weights.h5")
    model.export(f"{folder}/last.lamina", verbose=False)
    found["saved"] = model.predict(X, verbose=0).ravel().tolist()
    with D.DataParallel(auto_shard_dataset=False).scope():
        for name, data, more in (
            ("fewer", Fewer(), {"epochs": 2}),
            ("endless", some(4 - ME), {}),
            ("all end early", some(3), {"steps_per_epoch": 4}),
        ):
            model = network()
            history = model.fit(data, shuffle=False, verbose=0, **more)
            found[name] = history.history["loss"], int(model.optimizer.iterations)
print(json.dumps(found))
sys.stdout.flush()
