"""Whole models and weights in the HDF5 format of Keras 2, which Keras 3 still writes.

The architecture is JSON in an attribute; weights are in one group per layer, in the
order that attributes list.
"""

import itertools
import json
import pathlib
import re
from typing import Any

import numpy as np

from lamina.core.files import replacing
from lamina.core.owner import layers_in, unique
from lamina.core.texts import parsed
from lamina.core.tracebacks import warn
from lamina.layers.owner import own_variables
from lamina.saving import hdf5
from lamina.saving.hdf5 import BFLOAT16, FORMAT, write_value
from lamina.saving.migration import migrated
from lamina.saving.state import compare_one

_TOP = "top_level_model_weights"
# Where Keras writes the state of the random layers of 2021 among the weights.
_NO_WEIGHT = "StateVar:0"
# A name and the number that makes it unique.
_NUMBERED = re.compile(r"(.*?)(?:_(\d{1,9}))?", re.DOTALL)
_COMPILED = ("loss", "metrics", "loss_weights", "weighted_metrics")


def load(filepath, build, compile):
    """Load a whole model.

    Args:
        filepath: a path.
        build: a function that makes a model of its config, the bytes that the file
            holds for its weights, and a name for errors.
        compile: whether to compile it.

    Raises:
        ValueError: the weights are not those of the model.
    """
    with hdf5.opened(pathlib.Path(filepath)) as weights:
        config: Any = config_of(weights, compile)
        model = build(config, weights.declared, weights.name)
        put_weights(model, weights)
        if "compile_config" in config and model.optimizer is not None and model.built:
            _put_optimizer(model.optimizer, weights)
    return model


def config_of(weights, compile=True):
    """Return the config of the model in a file, as today's Keras would write it.

    Args:
        weights: the file's `Weights`.
        compile: whether what `compile` was given is a part of it.

    Raises:
        ValueError: the file has none, or one that is not JSON.
    """
    config = _json(weights, "model_config")
    if config is None:
        raise ValueError(
            f"No model config found in the file: {weights.name} holds weights alone. "
            "Make the model and call `model.load_weights(path)`."
        )
    training = _json(weights, "training_config") if compile else None
    if training is not None:
        settings = {key: training[key] for key in _COMPILED if key in training}
        settings["optimizer"] = training.get("optimizer_config")
        config["compile_config"] = settings
    return migrated(config)


def _json(weights, name):
    found = weights.texts("", name)
    if not found:
        return None
    config = parsed(found[0], f"{weights.name} is damaged or hostile: {name}")
    if not isinstance(config, dict):
        raise ValueError(f"{weights.name} is damaged: {name} describes no model.")
    return config


def put_weights(model, weights, by_name=False, skip_mismatch=False):
    """Put the weights of a file into a model: layer by layer in order, or by name.

    Args:
        model: the model, built.
        weights: the file's `Weights`.
        by_name: whether layers are matched by name; others keep their values.
        skip_mismatch: warn of what does not fit and leave it as it is.

    Raises:
        ValueError: the file and the model do not hold the same; nothing is assigned.
    """
    root = "model_weights" if weights.values("model_weights") is not None else ""
    names = weights.texts(root, "layer_names")
    if names is None:
        raise ValueError(
            f"{weights.name} is not a file of weights in the legacy HDF5 format: it "
            "does not list the names of its layers. A file that `save_weights` wrote "
            "ends in `.weights.h5`."
        )
    saved = {name: _group(weights, root, name) for name in dict.fromkeys(names)}
    saved = {name: values for name, values in saved.items() if values}
    layers = [layer for layer in unique(model.layers) if layer.weights]
    failed, todo = [], []
    for layer, name in _pairs(model, layers, saved, by_name, weights):
        try:
            todo += _fitting(layer, _legacy_order(layer), saved[name])
        except ValueError as error:
            failed.append(error)
    own = own_variables(model)
    top = _group(weights, root, _TOP)
    if top and (own or not by_name):
        try:
            todo += _fitting(model, own, top)
        except ValueError as error:
            failed.append(error)
    if failed and not skip_mismatch:
        raise ValueError(f"{weights.name} does not fit the model: {failed[0]}")
    for error in failed:
        warn(f"Skipping loading of weights: {error}")
    for variable, read in todo:
        variable.assign(read())


def _pairs(model, layers, saved, by_name, weights):
    known = {layer.name: layer for layer in layers}
    if by_name:
        return [(known[name], name) for name in saved if name in known]
    if len(saved) != len(layers):
        raise ValueError(
            f"Layer count mismatch when loading weights from file. Model "
            f"{model.name!r} expected {len(layers)} layers with weights, found "
            f"{len(saved)} saved layers in {weights.name}. Model: {list(known)[:20]}. "
            f"File: {list(saved)[:20]}. `by_name=True` loads those of equal names."
        )
    return list(zip(layers, saved, strict=True))


def _legacy_order(layer):
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _group(weights, root, layer):
    """Return the values of one layer in order: `(path, shape, function that reads)`."""
    place = f"{root}/{layer}" if root else layer
    if weights.values(place) is None:
        if layer == _TOP:
            return []
        raise ValueError(f"{weights.name} lists a layer {layer!r} and does not hold it")
    found = []
    for name in weights.texts(place, "weight_names") or []:
        if name.endswith(_NO_WEIGHT):
            continue
        group, _, key = f"{place}/{name}".rpartition("/")
        section = weights.values(group)
        if section is None or key not in section:
            raise ValueError(
                f"{weights.name} lists a weight {name!r} and does not hold it."
            )
        found.append((name, section.shape(key), lambda s=section, k=key: s[k]))
    return found


def _fitting(layer, variables, values):
    """Return pairs of a Variable and the function that reads its value."""
    if len(variables) != len(values):
        raise ValueError(
            f"Weight count mismatch for layer {layer.name!r} "
            f"({type(layer).__name__}). It expects {len(variables)} weight(s), "
            f"{[v.path for v in variables]}. The file holds {len(values)}: "
            f"{[name for name, _, _ in values]}."
        )
    wrong: Any = None
    for found in _pairings(layer, variables, values):
        misfits = [(v, x) for v, x in found if tuple(v.shape) != x[1]]
        if not misfits:
            return [(v, lambda r=read: _numbers(r())) for v, (_, _, read) in found]
        wrong = misfits[0]
    variable, (name, shape, _) = wrong
    raise ValueError(
        f"Shape mismatch in layer {layer.name!r} ({type(layer).__name__}) for "
        f"weight {variable.path!r}: it expects shape {tuple(variable.shape)}. "
        f"The file holds {name!r} of shape {shape}."
    )


def _pairings(layer, variables, values):
    """Yield ways to pair Variables and values: by name where names fit, then in order.

    In order trained weights come before frozen ones, so that a file of a layer with
    layers inside, or of a model, has another order where something else is frozen.
    """
    saved = [name.removesuffix(":0").split("/") for name, _, _ in values]
    paths, short = _paths(layer, variables)
    place = {id(v): i for i, v in enumerate(layer.weights)}
    for theirs, ours in (saved, paths), ([name[-2:] for name in saved], short):
        known = dict(zip(_ranked(theirs), values, strict=True))
        keys = _ranked(ours)
        if len(known) < len(values) or {*keys} != {*known}:
            continue
        same = {*map(tuple, theirs)} == {*map(tuple, ours)}
        found = [(v, known[key]) for v, key in zip(variables, keys, strict=True)]
        order = {id(x): place.get(id(v), 0) for v, x in found}
        places = [order[id(x)] for x in values]
        # Names with other numbers count where freezing explains the file's order.
        if same or sum(a > b for a, b in itertools.pairwise(places)) < 2:
            yield found
    yield list(zip(variables, values, strict=True))


def _paths(layer, variables):
    """Return the path of each Variable, and one of the layer that owns it alone."""
    owners = {id(v): x.name for x in layers_in(layer) for v in own_variables(x)}
    short = [[owners.get(id(v), layer.name), v.name] for v in variables]
    paths = [v.path.split("/") for v in variables]
    # What a constructor makes has no path of layers.
    return [p if p[1:] else s for p, s in zip(paths, short, strict=True)], short


def _ranked(paths):
    """Return paths whose automatic numbers are replaced by their rank: 0, 1, ..."""
    keys: list[list] = [[] for _ in paths]
    # Paths that begin alike have the same number here, so that none is compared again.
    begins, known = [0] * len(paths), {}
    left, depth = list(range(len(paths))), 0
    while left := [i for i in left if len(paths[i]) > depth]:
        found, numbers = [], {}
        for i in left:
            parts: Any = _NUMBERED.fullmatch(paths[i][depth])
            found.append((i, (begins[i], parts[1]), int(parts[2] or 0)))
            numbers.setdefault(found[-1][1], set()).add(found[-1][2])
        ranks = {
            (group, number): rank
            for group, several in numbers.items()
            for rank, number in enumerate(sorted(several))
        }
        for i, group, number in found:
            rank = ranks[group, number]
            keys[i] += group[1], rank
            begins[i] = known.setdefault((group, rank), len(known) + 1)
        depth += 1
    return list(map(tuple, keys))


def _numbers(value):
    if value.dtype.kind not in "biufc" and value.dtype != BFLOAT16:
        raise ValueError(f"The file holds values of dtype {value.dtype} for a weight.")
    return value


# ---- the optimizer -----------------------------------------------------------------


def _put_optimizer(optimizer, weights):
    """Give an optimizer its state, or say why it starts afresh."""
    if weights.values("optimizer_weights") is None:
        return
    values = _group(weights, "", "optimizer_weights")
    variables = optimizer.variables
    values = _interleaved(values, variables)
    shapes = [shape for _, shape, _ in values]
    if shapes != [tuple(v.shape) for v in variables]:
        warn(
            f"The optimizer {optimizer.name!r} starts without the state in "
            f"{weights.name}, which is that of another version: it has "
            f"{len(variables)} variables and the file {len(values)}."
        )
        return
    for variable, (_, _, read) in zip(variables, values, strict=True):
        variable.assign(_numbers(read()))


def _interleaved(values, variables):
    """Bring the state of an optimizer of Keras 2 into the order of Keras 3.

    Then it was the number of steps, and one kind of value after the other: first that
    of all weights, then the next. Now the learning rate comes second, and all values
    of the first weight, then those of the next.
    """
    scalar = [v for v in variables[:2] if tuple(v.shape) == ()]
    if len(scalar) != 2 or len(values) != len(variables) - 1:
        return values
    slots = values[1:]
    rate = variables[1]
    kept = ("learning_rate", (), lambda: np.asarray(rate.raw_value))
    names = [name.rpartition("/")[2] for name, _, _ in slots]
    kinds = len(dict.fromkeys(names)) if len(slots) else 1
    each = len(slots) // max(kinds, 1)
    if kinds * each == len(slots) and names == sorted(names, key=names.index):
        slots = [slots[k * each + i] for i in range(each) for k in range(kinds)]
    return [values[0], kept, *slots]


# ---- writing -----------------------------------------------------------------------


def save(filepath, model, config, values, zipped=None, optimizer=True):
    """Save a whole model as Keras 3 writes it into `.h5` files, and read it again.

    Args:
        filepath: a path.
        model: the model.
        config: its config, as text.
        values: are not looked at: here they have other names.
        zipped: is not looked at.
        optimizer: whether the state of the optimizer is written.
    """

    def check(part):
        with hdf5.opened(part) as weights:
            _compare(weights, model, optimizer)

    with replacing(filepath, check) as file:
        _write(file, model, json.loads(config), optimizer)


def _write(file, model, config, optimizer):
    import h5py

    compiled = config.pop("compile_config", None)
    with h5py.File(file, "w") as f:
        f.attrs["model_config"] = json.dumps(config)
        if compiled and optimizer:
            settings = {key: compiled.get(key) for key in _COMPILED}
            settings["optimizer_config"] = compiled.get("optimizer")
            f.attrs["training_config"] = json.dumps(settings)
        weights = f.create_group("model_weights")
        for owner in (f, weights):
            owner.attrs["keras_version"] = FORMAT
            owner.attrs["backend"] = "jax"
        names = [layer.name for layer in unique(model.layers)]
        _write_texts(weights, "layer_names", names)
        for place, variables in _groups(model, optimizer):
            group = f.create_group(place)
            for path, variable in variables.items():
                write_value(group, path, np.asarray(variable.raw_value))
            _write_texts(group, "weight_names", list(variables))


def _groups(model, optimizer):
    """Yield `(group, Variables by path)` for all that a file holds of a model."""
    for layer in unique(model.layers):
        variables = _legacy_order(layer)
        paths = list(map("/".join, _paths(layer, variables)[0]))
        yield f"model_weights/{layer.name}", _by_path(variables, paths)
    yield f"model_weights/{_TOP}", _by_path(own_variables(model))
    if optimizer and model.optimizer is not None and model.optimizer.built:
        yield "optimizer_weights", _by_path(model.optimizer.variables)


def _by_path(variables, paths=None):
    paths = paths or [v.path for v in variables]
    found = {}
    for variable, path in zip(variables, paths, strict=True):
        while path in found:
            path += "_"
        found[path] = variable
    return found


def _compare(weights, model, optimizer):
    """Raise unless a file holds exactly the values of a model."""
    for place, variables in _groups(model, optimizer):
        root, _, name = place.rpartition("/")
        read = {path: value for path, _, value in _group(weights, root, name)}
        for path, variable in variables.items():
            value = np.asarray(variable.raw_value)
            held = {path: read[path]()} if path in read else {}
            compare_one(held, path, value, f"{place}/{path}")


def _write_texts(group, name, texts):
    """Write texts as one attribute, or as several when they are too long for one."""
    encoded = np.array([text.encode() for text in texts], dtype="S")
    parts = max(1, -(-encoded.nbytes // 60_000))
    if parts == 1:
        group.attrs[name] = encoded if texts else np.zeros(0)
        return
    for i, part in enumerate(np.array_split(encoded, parts)):
        group.attrs[f"{name}{i}"] = part
