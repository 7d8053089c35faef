"""Writing models and weights to files: whole or not at all, and read again."""

import contextlib
import datetime
import io
import json
import math
import os
import pathlib
import random
import shutil
import tempfile
import warnings
import weakref
import zipfile

import numpy as np

from lamina._version import __version__
from lamina.core import naming
from lamina.core.budget import Budget
from lamina.core.config import serialize_keras_object, serialize_shared
from lamina.core.context import having
from lamina.core.files import replacing, writable
from lamina.core.held import Held
from lamina.core.walk import objects
from lamina.saving import hdf5, legacy, safetensors, shards
from lamina.saving.archive import (
    CONFIG,
    METADATA,
    WEIGHTS,
    Archive,
)
from lamina.saving.hdf5 import Weights
from lamina.saving.reading import build
from lamina.saving.state import checksum, values_of, written_assets

# Architectures that were made again from their config once.
_proven = weakref.WeakKeyDictionary()

_NO_SAVE_FORMAT = (
    "The `save_format` argument is deprecated and has no effect: the ending of the "
    "file name says the format, `.keras` or `.h5`. Received: save_format={!r}"
)


def save_model(model, filepath, overwrite=True, zipped=None, **kwargs):
    """Save a whole model: architecture, weights, compile and optimizer state.

    The file is written beside `filepath`, read back, compared, and only then takes its
    place: whatever happens meanwhile, a file that was there stays whole. Keras 3 reads
    it too.

    Args:
        model: the model.
        filepath: where to, ending in `.keras`; or a binary file open for writing.
            `.h5` and `.hdf5` give the format of Keras 2, for whoever still needs it.
        overwrite: whether a file that is there is replaced.
        zipped: False writes a folder with the same members.
        kwargs: `include_optimizer`, whether an `.h5` file gets the compile and
            optimizer state; `save_format`, which has no effect but a warning; other
            arguments are refused by name.

    Raises:
        ValueError: another ending, or a model with what no file can hold; the message
            names the layer. A model that could not be loaded again is saved with a
            warning that does.
        FileExistsError: the file is there and `overwrite` is False.

    >>> import lamina, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "model.keras")
    >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
    >>> lamina.saving.save_model(model, path)
    >>> path.exists()
    True
    """
    save_format = kwargs.pop("save_format", None)
    optimizer = kwargs.pop("include_optimizer", True)
    if kwargs:
        raise ValueError(
            f"The following argument(s) are not supported: {sorted(kwargs)}"
        )
    opened = hasattr(filepath, "write")
    if not opened:
        _check_model_path(filepath, zipped, overwrite, save_format)
    if save_format:
        warnings.warn(_NO_SAVE_FORMAT.format(save_format), stacklevel=2)
    if not model.built:
        warnings.warn(
            "You are saving a model that has not yet been built. It might not contain "
            "any weights yet. Consider building the model first by calling it on some "
            "data.",
            stacklevel=2,
        )
    held = Held(things=False)
    config = _written_config(model, held)
    if not opened and os.fspath(filepath).endswith((".h5", ".hdf5")):
        _save_legacy(model, filepath, config, held, optimizer)
        return
    values = values_of(model, seeds=True)

    def check(path):
        _compare(path, values)

    with written_assets(model) as assets:
        if opened:
            data = io.BytesIO()
            _write_archive(data, config, values, assets)
            check(io.BytesIO(data.getbuffer()))
            filepath.write(data.getbuffer())
        elif zipped is False:
            _write_folder(pathlib.Path(filepath), config, values, assets)
            check(filepath)
        else:
            with replacing(filepath, check) as file:
                _write_archive(file, config, values, assets)
    _prove(model, config, held, values)


def _save_legacy(model, filepath, config, held, optimizer):
    def check(path):
        with Weights(path, path.stat().st_size, repr(str(filepath))) as weights:
            legacy.compare(weights, model, optimizer)

    with replacing(filepath, check) as file:
        legacy.write_model(file, model, json.loads(config), optimizer)
    _prove(model, config, held, values_of(model))


def _check_model_path(filepath, zipped, overwrite, save_format):
    name = os.fspath(filepath)
    if zipped is False and name.endswith(".keras"):
        raise ValueError(
            "When using `zipped=False`, the `filepath` argument should not end in "
            f"`.keras`. Received: filepath={name}"
        )
    if zipped is False and name.endswith((".h5", ".hdf5")):
        raise ValueError(
            "When using `zipped=False`, the `filepath` argument is a folder, and HDF5 "
            f"is one file. Received: filepath={name}"
        )
    if zipped is not False and not name.endswith((".keras", ".h5", ".hdf5")):
        note = f" {_NO_SAVE_FORMAT.format(save_format)}" if save_format else ""
        raise ValueError(
            "Invalid filepath extension for saving: a model is saved as `.keras`. "
            f"Received: filepath={name}{note}"
        )
    writable(filepath, overwrite, folder=zipped is False)


def _written_config(model, held):
    try:
        with having(held=held):
            return json.dumps(serialize_shared(model))
    except Exception as error:
        culprit = _culprit(model, lambda x: json.dumps(serialize_keras_object(x)))
        raise ValueError(
            f"{_named(culprit or model)} cannot be saved, because its config is no "
            f"plain data: {error}{_FIX} To save the weights alone: "
            "`model.save_weights('model.weights.h5')`."
        ) from error


_FIX = (
    "\nA layer of your own keeps each argument of `__init__` as an attribute of its "
    "name, or has `get_config` and `from_config` that match."
)


def _culprit(model, attempt):
    """Return the innermost object for which `attempt` fails, or None."""
    for thing in reversed(objects(model).values()):
        if thing is not model:
            try:
                attempt(thing)
            except Exception:
                return thing
    return None


def _named(thing):
    kind = "Model" if hasattr(thing, "fit") else "Layer"
    return f"{kind} {getattr(thing, 'name', '')!r} ({type(thing).__name__})"


# ---- the members -----------------------------------------------------------------


def _metadata():
    now = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    return json.dumps(
        {"keras_version": hdf5.FORMAT, "date_saved": now, "lamina_version": __version__}
    )


def _write_archive(file, config, values, assets):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(METADATA, _metadata())
        archive.writestr(CONFIG, config)
        with tempfile.TemporaryFile() as weights:
            hdf5.write(weights, values)
            weights.seek(0)
            with archive.open(WEIGHTS, "w", force_zip64=True) as member:
                shutil.copyfileobj(weights, member, 1 << 20)
        for name, path in assets:
            archive.write(path, name)


def _write_folder(folder, config, values, assets):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((METADATA, _metadata()), (CONFIG, config)):
        with replacing(folder / name) as file:
            file.write(text.encode())
    with replacing(folder / WEIGHTS) as file:
        hdf5.write(file, values)
    for name, path in assets:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as file:
            file.write(path.read_bytes())


# ---- the proof -------------------------------------------------------------------


def _compare(source, values):
    """Raise unless a file on the disk holds exactly `values`."""
    with Archive(source) as archive, archive.open(WEIGHTS) as (file, stored):
        with Weights(file, stored, WEIGHTS) as weights:
            _compare_weights(weights, values)


def _compare_weights(weights, values):
    for path, (_, own) in values.items():
        section = weights.section(path) or {}
        for key, value in own.items():
            place = f"{path}/vars/{key}"
            if key not in section:
                raise OSError(
                    f"{place} is missing from the file that was just written."
                )
            read = section[key]
            if read.shape != value.shape or checksum(read) != checksum(value):
                raise OSError(f"{place} reads back as something else than was written.")


def _prove(model, config, held, values):
    """Warn, once, unless the config makes a model into which the values fit.

    No weight is computed for it, and nothing outside notices.
    """
    parsed = json.loads(config)
    parsed.pop("compile_config", None)
    kind = json.dumps(parsed, sort_keys=True)
    if _proven.get(model) == kind:
        return
    _proven[model] = kind
    problem = _problem(model, parsed, held, values)
    if problem:
        warnings.warn(
            f"The model was saved with all its weights, but `load_model` cannot make "
            f"it again from the file. {problem} Until that is mended, make the model "
            "by its own code and call `model.load_weights(path)`.",
            stacklevel=4,
        )


def _problem(model, config, held, values):
    """Return why a config does not make its model again, and what to do, or None."""

    def remade(config):
        with _unnoticed():
            return build(config, held.classes, False, _Blank(), "The model")

    try:
        fresh = remade(config)
    except Exception as error:
        noted = getattr(error.__cause__ or error, "_lamina_noted", None)
        culprit = _culprit(model, lambda x: remade(serialize_keras_object(x)))
        return (
            f"{_named(culprit or noted or model)} cannot be made again from its "
            f"config: {error}{'' if isinstance(error.__cause__, NameError) else _FIX}"
        )
    made = objects(fresh)
    for path, thing in objects(model).items():
        if not hasattr(thing, "_saved_variables"):
            continue
        if path not in made:
            return (
                f"{_named(thing)} at {path!r} is missing from the model that its "
                f"config makes.{_FIX}"
            )
        problem = _layer_problem(thing, made[path], values[path][1])
        if problem:
            return problem
    return None


def _layer_problem(thing, made, own):
    ours = type(thing).load_own_variables.__module__.startswith("lamina.")
    if not ours or not all(map(str.isdigit, own)):
        return None  # what it makes of its values is known to itself alone
    expected = {str(i): tuple(v.shape) for i, v in enumerate(made._saved_variables())}
    saved = {key: value.shape for key, value in own.items()}
    if expected == saved or not (own or expected):
        return None
    return (
        f"{_named(thing)} is saved with weights of the shapes {list(saved.values())}, "
        f"but the layer that its config makes has {list(expected.values())}. Make all "
        f"weights in `__init__` or `build`.{_FIX}"
    )


class _Blank(Budget):
    """Room for all, and first values that take no memory and are never used."""

    def __init__(self):
        super().__init__("the model", math.inf)

    def first_value(self, initializer, shape, dtype):
        return np.broadcast_to(np.zeros((), dtype), shape)


@contextlib.contextmanager
def _unnoticed():
    """Leave automatic names, Python's random numbers and warnings as they are."""
    counts, state = naming._counts.copy(), random.getstate()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        naming._counts.clear()
        naming._counts.update(counts)
        random.setstate(state)


def save_weights(model, filepath, overwrite=True, max_shard_size=None, **kwargs):
    """Save the weights of a model that is built, in the layout of Keras 3.

    Args:
        model: the model.
        filepath: where to, ending in `.weights.h5` or, without the state of the
            optimizer, in `.safetensors`.
        overwrite: whether a file that is there is replaced.
        max_shard_size: the size in GiB of the files among which the weights are
            divided; the name of their list ends in `.weights.json`. None makes one
            file.
        kwargs: `objects_to_skip`, a list of layers to leave out.

    Raises:
        ValueError: another ending, or the model is not built.
        FileExistsError: the file is there and `overwrite` is False.
    """
    skip = kwargs.pop("objects_to_skip", None) or ()
    if kwargs:
        raise ValueError(f"Invalid keyword arguments: {kwargs}")
    name = os.fspath(filepath)
    if max_shard_size is not None:
        name = _listing_name(name, max_shard_size)
    elif not name.endswith((".weights.h5", ".safetensors")):
        raise ValueError(
            "The filename must end in `.weights.h5` or `.safetensors`; `.weights.json` "
            f"needs `max_shard_size`, in GiB. Received: filepath={name}"
        )
    if not model.built:
        raise ValueError(
            "You are saving a model that has not yet been built. Try building the "
            "model first by calling it on some data or by using `build()`."
        )
    writable(name, overwrite)
    values = values_of(model, skip=skip)
    if max_shard_size is not None:
        shards.write(name, values, max_shard_size, _compare_weights)
        return
    if name.endswith(".safetensors"):
        safetensors.save(model, name, values)
        return

    def check(path):
        with Weights(path, path.stat().st_size, name) as weights:
            _compare_weights(weights, values)

    with replacing(name, check) as file:
        hdf5.write(file, values)


def _listing_name(name, max_shard_size):
    if not isinstance(max_shard_size, (int, float)) or not max_shard_size > 0:
        raise ValueError(
            "`save_weights` expected `max_shard_size` to be a positive number, in GiB. "
            f"Received: max_shard_size={max_shard_size!r}"
        )
    if name.endswith(shards.ENDING):
        return name
    if not name.endswith(".weights.h5"):
        raise ValueError(
            "With `max_shard_size`, the filename must end in `.weights.json`. "
            f"Received: filepath={name}"
        )
    new = name.removesuffix(".weights.h5") + shards.ENDING
    warnings.warn(
        f"Weights in several files are listed in JSON: {name!r} becomes {new!r}.",
        stacklevel=4,
    )
    return new
