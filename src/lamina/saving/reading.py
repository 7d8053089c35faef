"""Reading models and weights from files, as if every file were a stranger's."""

import contextlib
import os
import pathlib
import zipfile
from traceback import walk_tb

import numpy as np

from lamina.core.budget import Budget, readable
from lamina.core.config import deserialize_keras_object
from lamina.core.context import context, having
from lamina.core.registry import public
from lamina.initializers.draws import _Random
from lamina.saving import legacy, safetensors, shards
from lamina.saving.archive import CONFIG, WEIGHTS, Archive
from lamina.saving.hdf5 import Weights
from lamina.saving.shards import Shards
from lamina.saving.state import put_values
from lamina.saving.texts import parsed

# Of each weight there is the value, and what an optimizer keeps of it.
_COPIES = 6
_SLACK = 1 << 25
_LEGACY = (".h5", ".hdf5")


def load_model(filepath, custom_objects=None, compile=True, safe_mode=True):
    """Load a whole model that `save_model` or Keras 3 saved.

    No code comes from the file: names in it mean Lamina's own classes, or what you
    lend here or registered.

    Args:
        filepath: a `.keras` file, a folder with its members, an open binary file, or
            an `.h5` or `.hdf5` file of Keras 2 or 3.
        custom_objects: a dict from names to classes and functions of yours, and to
            what lambdas in the file call by name.
        compile: whether to compile the model as it was when it was saved.
        safe_mode: False lets lambdas in, which are code from the file's author.

    Raises:
        ValueError: there is no such file; it is damaged or meant to do harm; a weight
            does not fit the architecture.
        TypeError: it needs a class or function that was not lent; the message shows
            what to pass.

    >>> import lamina, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "model.keras")
    >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
    >>> model.save(path)
    >>> lamina.models.load_model(path).layers[0].units
    2
    """
    if not hasattr(filepath, "read"):
        _check_model_path(filepath)
        path = pathlib.Path(filepath)
        if path.suffix in _LEGACY and not path.is_dir():
            return _load_legacy(filepath, custom_objects, compile, safe_mode)
    with Archive(filepath) as archive, _weights_in(archive) as weights:
        config = _parsed(archive)
        if not compile:
            config.pop("compile_config", None)
        held_to = FileBudget(weights.declared, archive.name)
        with having(replaced=[]) as reading:
            model = build(config, custom_objects, safe_mode, held_to, archive.name)
            replaced = reading.replaced
        with having(budget=None):
            put_values(model, weights, archive, replaced=replaced)
    return model


def _load_legacy(filepath, custom_objects, compile, safe_mode):
    path = pathlib.Path(filepath)
    with Weights(path, path.stat().st_size, repr(str(path))) as weights:
        config = legacy.config_of(weights)
        held_to = FileBudget(weights.declared, weights.name)
        model = build(config, custom_objects, safe_mode, held_to, weights.name)
        lent = {**(context.custom_objects or {}), **(custom_objects or {})}
        legacy.put_model(model, weights, lent, safe_mode is not False, compile)
    return model


def _check_model_path(filepath):
    path = pathlib.Path(filepath)
    name = str(filepath)
    if path.is_dir() and (path / CONFIG).is_file():
        return
    if name.endswith(_LEGACY):
        if not path.is_file():
            raise ValueError(f"File not found: filepath={name}.")
        return
    if not name.endswith(".keras"):
        raise ValueError(
            f"File format not supported: filepath={name}. `load_model` reads `.keras` "
            "files"
            + (", and this one does not exist." if not path.exists() else ".")
            + " For weights alone, make the model and call `model.load_weights(path)`."
        )
    if not path.is_file():
        raise ValueError(
            f"File not found: filepath={name}. Please ensure the file is an accessible "
            f"`.keras` zip file.{_neighbours(path)}"
        )
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"File not found: filepath={name} is not a zip file, which a `.keras` "
            "file is. Please ensure the file is an accessible `.keras` zip file."
        )


def _neighbours(path):
    """Say which models are there, beside the one that is not."""
    folder = path.parent
    if not folder.is_dir():
        return f" There is no folder {str(folder)!r}."
    there = sorted(p.name for p in folder.glob("*.keras"))[:5]
    return f" In its folder there are: {', '.join(there)}." if there else ""


@contextlib.contextmanager
def _weights_in(archive):
    if WEIGHTS not in archive.names():
        raise ValueError(
            f"{archive.name} has no {WEIGHTS}. It has: {sorted(archive.names())[:10]}"
        )
    with archive.open(WEIGHTS) as (file, stored):
        with Weights(file, stored, f"{WEIGHTS} in {archive.name}") as weights:
            yield weights


def _parsed(archive):
    config = parsed(archive.text(CONFIG), f"{archive.name} is damaged: {CONFIG}")
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError(f"{archive.name} is damaged: {CONFIG} describes no model.")
    return config


def build(config, custom_objects, safe_mode, budget, name):
    """Make a model from its config, with nothing but names from the registry.

    Args:
        config: the parsed config.
        custom_objects: names that the caller lends.
        safe_mode: False lets lambdas in.
        budget: a `Budget` for what it makes.
        name: what to call the file in errors.
    """
    lent = {**(context.custom_objects or {}), **(custom_objects or {})}
    public("ops")  # a graph may name any of them
    fields = {
        "custom_objects": lent,
        "safe_mode": safe_mode is not False,
        "held": None,
        "shared": {},
        "budget": budget,
    }
    try:
        with having(**fields):
            model = deserialize_keras_object(config)
    except (AttributeError, LookupError, RecursionError, OverflowError) as error:
        raise ValueError(
            f"{name} has a config that describes no model: "
            f"{type(error).__name__}: {error}"
        ) from error
    except NameError as error:
        if not _is_lambda(error.__traceback__):
            raise
        raise ValueError(
            f"{name} holds a lambda that uses {error.name!r}, a name of the program "
            "around it, which no file holds. Lend it to the call that loads the file, "
            f"`custom_objects={{{error.name!r}: {error.name}}}, safe_mode=False`; "
            "better, replace the lambda by a named function registered with "
            "`@lamina.saving.register_keras_serializable()`."
        ) from error
    if not hasattr(model, "load_own_variables"):
        raise ValueError(
            f"{name} holds a {type(model).__name__}, which is no model and no layer."
        )
    return model


def _is_lambda(traceback):
    """Tell whether an error comes from a function that was made of bytecode."""
    *_, (frame, _) = walk_tb(traceback)
    return "__name__" not in frame.f_globals


class FileBudget(Budget):
    """What a file's config may make: weights as large as those that it holds for them.

    The first values are zeros in place of random ones, since the file's replace them.
    """

    def __init__(self, declared, name):
        held = f"the file holds {readable(declared)} of them"
        super().__init__(name, _COPIES * declared + _SLACK, held)

    def first_value(self, initializer, shape, dtype):
        """Return zeros where the file's value is sure to come."""
        if isinstance(initializer, _Random) and _reads_all(context.calling):
            return np.zeros(shape, dtype)
        return initializer(shape, dtype=dtype)


def _reads_all(calling):
    """Tell whether the layer that makes a Variable is sure to load it, or to raise."""
    if not calling:
        return False
    method = type(calling[-1]).load_own_variables
    return method.__module__.startswith("lamina.")


def load_weights(model, filepath, skip_mismatch=False, **kwargs):
    """Load weights into a model that is built, by their place in it.

    Args:
        model: the model.
        filepath: a `.weights.h5` or `.keras` file, the `.weights.json` list of
            several, a `.safetensors` file, or an `.h5` file of Keras 2.
        skip_mismatch: warn of layers that do not fit and leave them as they are.
        kwargs: `objects_to_skip`, a list of layers to leave out (`.weights.h5` only);
            `by_name`, whether layers are matched by name (`.h5` only); `rename`, a
            dict or a function from names in the file to names in the model
            (`.safetensors` only).

    Raises:
        ValueError: there is no such file, the model is not built, or a layer's weights
            have other shapes; the message names it and both shapes.
    """
    skip = kwargs.pop("objects_to_skip", None)
    by_name = kwargs.pop("by_name", None)
    rename = kwargs.pop("rename", None)
    if kwargs:
        raise ValueError(f"Invalid keyword arguments: {kwargs}")
    name = os.fspath(filepath)
    old = name.endswith(_LEGACY) and not name.endswith(".weights.h5")
    if by_name is not None and not old:
        raise ValueError(
            "`by_name` only supports loading legacy '.h5' or '.hdf5' files. "
            f"Received: {name}"
        )
    if not name.endswith((".keras", ".safetensors", shards.ENDING, *_LEGACY)):
        raise ValueError(
            f"File format not supported: filepath={name}. `load_weights` reads "
            "`.weights.h5`, `.weights.json`, `.safetensors`, `.keras`, and the older "
            "`.h5` and `.hdf5` files."
        )
    if skip is not None and not name.endswith((".weights.h5", shards.ENDING)):
        raise ValueError(
            "`objects_to_skip` only supports loading '.weights.h5' files. "
            f"Received: {name}"
        )
    if rename is not None and not name.endswith(".safetensors"):
        raise ValueError(
            "`rename` only supports loading '.safetensors' files, whose tensors are "
            f"found by name. Received: {name}"
        )
    path = pathlib.Path(filepath)
    if not path.is_file():
        raise ValueError(f"File not found: filepath={name}.")
    if not model.built:
        raise ValueError(
            "You are loading weights into a model that has not yet been built. Try "
            "building the model first by calling it on some data or by using `build()`."
        )
    if name.endswith(".safetensors"):
        safetensors.load(model, path, rename, skip_mismatch)
        return
    with contextlib.ExitStack() as stack:
        if name.endswith(".keras"):
            archive = stack.enter_context(Archive(path))
            weights = stack.enter_context(_weights_in(archive))
        elif name.endswith(shards.ENDING):
            weights = stack.enter_context(Shards(path))
        else:
            weights = Weights(path, path.stat().st_size, repr(name))
            stack.enter_context(weights)
        if old:
            legacy.put_weights(model, weights, bool(by_name), skip_mismatch)
            return
        put_values(model, weights, skip_mismatch=skip_mismatch, skip=skip or ())
