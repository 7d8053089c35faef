"""Good files and random damage to them, for the tests and for `make stress`."""

import io
import json
import random
import zipfile

import numpy as np

import lamina

# What the documentation of the loaders names; OSError is for the disk.
KINDS = (ValueError, TypeError, NotImplementedError)


def stack():
    return lamina.Sequential(
        [
            lamina.Input((4,)),
            lamina.layers.Dense(3, activation="relu"),
            lamina.layers.BatchNormalization(),
            lamina.layers.Dense(2, kernel_regularizer="l2"),
        ]
    )


def damaged(data, rng):
    """Return bytes with one to four kinds of damage."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) or 1)
        end = min(len(data), at + rng.choice((1, 1, 2, 4, 8, 64)))
        match rng.randrange(6):
            case 0:
                data[at:end] = rng.randbytes(end - at)
            case 1:
                data[at:end] = b"\xff" * (end - at)
            case 2:
                data[at:end] = bytes(end - at)
            case 3:
                del data[at:end]
            case 4:
                source = rng.randrange(len(data) or 1)
                data[at:end] = data[source : source + end - at]
            case 5 if rng.random() < 0.2:
                del data[at:]
    return bytes(data)


_VALUES = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 1e308, float("nan"), "", "x", "../x",
    "/etc/passwd", "http://localhost/x", [], {}, [None], [[]], "os", "system",
    {"class_name": "__lambda__", "config": {"value": ["AAAA", None, None]}},
    {"class_name": "function", "config": "eval", "module": "builtins"},
    {"class_name": "__numpy__", "config": {"value": [1], "dtype": "object"}},
    {"class_name": "__slice__", "config": {"start": 0, "stop": 9, "step": 0}},
    {"class_name": "Dense", "config": {"units": 2**40}},
)  # fmt: skip


def altered(config, rng):
    """Return a config in which some places hold something else."""
    config = json.loads(json.dumps(config))
    for _ in range(rng.randint(1, 3)):
        places, todo = [], [config]
        while todo:
            value = todo.pop()
            keys = value if isinstance(value, dict) else range(len(value))
            for key in keys:
                places.append((value, key))
                if isinstance(value[key], (dict, list)):
                    todo.append(value[key])
        if not places:
            return config
        value, key = rng.choice(places)
        other, source = rng.choice(places)
        match rng.randrange(4):
            case 0 | 1:
                value[key] = rng.choice(_VALUES)
            case 2:
                value[key] = json.loads(json.dumps(other[source]))
            case 3:
                del value[key]
    return config


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(found):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, value in found.items():
            archive.writestr(name, value)
    return data.getvalue()


def wide():
    """A model with a graph, shared and nested layers, and a vocabulary."""
    layers = lamina.layers
    words = lamina.Input((3,), dtype="int32")
    image = lamina.Input((6, 6, 1))
    x = layers.LSTM(3)(layers.Embedding(9, 4)(words))
    y = layers.MaxPooling2D()(layers.Conv2D(2, 3, activation="relu")(image))
    shared = layers.Dense(3)
    y = layers.Dense(3)(layers.Dropout(0.1)(layers.Flatten()(y)))
    nested = lamina.Sequential([lamina.Input((3,)), layers.Dense(3, "tanh")])
    outputs = layers.Concatenate()([nested(x), shared(nested(shared(y)))])
    return lamina.Model([words, image], layers.LayerNormalization()(outputs))


def good_files(folder):
    """Write good files; return their names and bytes."""
    lamina.utils.set_random_seed(0)
    model = stack()
    model.compile("adam", "mse", metrics=["mae"])
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    found = {}
    for name, thing in (("stack", model), ("wide", wide())):
        for ending in (".keras", ".h5"):
            thing.save(folder / f"{name}{ending}")
            found[f"{name}{ending}"] = (folder / f"{name}{ending}").read_bytes()
    return found


def mutation(files, seed):
    """Return `(ending, bytes)`: one of the files, changed as the seed says."""
    rng = random.Random(seed)
    names = sorted(files)
    name = names[seed % len(names)]
    data = files[name]
    ending = name[name.index(".") :]
    part = rng.randrange(3)
    if ending == ".h5":
        return ending, _other_config(data, rng) if part == 0 else damaged(data, rng)
    found = members(io.BytesIO(data))
    if part == 0:
        return ending, damaged(data, rng)
    if part == 1:
        config = altered(json.loads(found["config.json"]), rng)
        return ending, zipped({**found, "config.json": json.dumps(config)})
    weights = damaged(found["model.weights.h5"], rng)
    return ending, zipped({**found, "model.weights.h5": weights})


def _other_config(data, rng):
    import h5py

    file = io.BytesIO(data)
    with h5py.File(file, "a") as f:
        config = altered(json.loads(f.attrs["model_config"]), rng)
        text = json.dumps(config)
        f.attrs["model_config"] = text[:60_000]
    return file.getvalue()
