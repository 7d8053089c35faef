"""Writing models and weights to files: whole or not at all, and read again."""

import json
import os
import pathlib
from typing import Any

from lamina.core.config import serialize_keras_object, serialize_shared
from lamina.core.context import context, having
from lamina.core.files import writable
from lamina.core.references import References
from lamina.core.tracebacks import boundary, warn
from lamina.saving import formats, shards
from lamina.saving.building import FIX, blamed, prove
from lamina.saving.state import values_of
from lamina.training.alone import until_end
from lamina.training.together import gathered

_NO_SAVE_FORMAT = (
    "The `save_format` argument is deprecated and has no effect: the ending of the "
    "file name says the format, `.keras` or `.h5`. Received: save_format={!r}"
)


@boundary
@until_end()
def save_model(model, filepath, overwrite=True, zipped=None, **kwargs):
    """Save a whole model: architecture, weights, compile and optimizer state.

    The file is written beside `filepath`, read back, compared, and only then takes its
    place: whatever happens meanwhile, a file that was there stays whole. Keras 3 reads
    it too.

    Args:
        model: the model.
        filepath: where to, ending in `.keras`; or a binary file open for writing.
            `.h5` and `.hdf5` give the format of Keras 2, where that is still needed.
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
    found: Any = formats.KERAS
    if not hasattr(filepath, "write"):
        found = _format_of(os.fspath(filepath), zipped, save_format)
    if save_format:
        warn(_NO_SAVE_FORMAT.format(save_format))
    if not model.built:
        warn(
            "You are saving a model that has not yet been built. It might not contain "
            "any weights yet. Consider building the model first by calling it on some "
            "data."
        )
    held = References(things=False)
    optimized = getattr(model, "optimizer", None)  # layers are saved as well
    variables = [*model.variables, *getattr(optimized, "variables", ())]
    with gathered(variables) as first:
        if first:
            if not hasattr(filepath, "write"):
                writable(filepath, overwrite, folder=zipped is False)
            config = written_config(model, held)
            values = values_of(model, seeds=True)
            found.save(filepath, model, config, values, zipped, optimizer)
            prove(model, config, held, values)


def _format_of(name, zipped, save_format):
    """Return the format to save a whole model in."""
    found = formats.of(name, "save")
    if zipped is False:
        if found is not None:
            raise ValueError(
                "When using `zipped=False`, the `filepath` argument should not end in "
                f"`{pathlib.Path(name).suffix}`, as it names a folder. Received: "
                f"filepath={name}"
            )
        return formats.KERAS
    if found is None:
        note = f" {_NO_SAVE_FORMAT.format(save_format)}" if save_format else ""
        raise ValueError(
            "Invalid filepath extension for saving: a model is saved as "
            f"{formats.endings('save')}. Received: filepath={name}{note}"
        )
    return found


def written_config(model, held):
    """Return the config of a model as text, see `References` for `held`."""
    try:
        with having(context.configs, references=held):
            return json.dumps(serialize_shared(model))
    except Exception as error:
        name = blamed(model, lambda x: json.dumps(serialize_keras_object(x)))
        raise ValueError(
            f"{name} cannot be saved, because its config is no "
            f"plain data: {error}{FIX} To save the weights alone: "
            "`model.save_weights('model.weights.h5')`."
        ) from error


@boundary
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

    >>> import lamina, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "model.weights.h5")
    >>> model = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(1)])
    >>> lamina.saving.save_weights(model, path)
    >>> path.stat().st_size > 0
    True
    """
    skip = kwargs.pop("objects_to_skip", None) or ()
    if kwargs:
        raise ValueError(f"Invalid keyword arguments: {kwargs}")
    name, split = os.fspath(filepath), max_shard_size is not None
    if split:
        name = _listing_name(name, max_shard_size)
    found: Any = formats.of(name, "write")
    if found is None or found.split != split:
        one, several = (formats.endings("write", split=x) for x in (False, True))
        expected = f"The filename must end in {one}; {several} needs `max_shard_size`."
        if split:
            expected = f"With `max_shard_size`, the filename must end in {several}."
        raise ValueError(f"{expected} Received: filepath={name}")
    if not model.built:
        raise ValueError(
            "You are saving a model that has not yet been built. Try building the "
            "model first by calling it on some data or by using `build()`."
        )
    optimizer = getattr(model, "optimizer", None)
    with gathered([*model.variables, *getattr(optimizer, "variables", ())]) as first:
        if first:
            writable(name, overwrite)
            values = values_of(model, skip=skip)
            found.write(name, model, values, max_shard_size)


def _listing_name(name, max_shard_size):
    if not isinstance(max_shard_size, (int, float)) or not max_shard_size > 0:
        raise ValueError(
            "`save_weights` expected `max_shard_size` to be a positive number, in GiB. "
            f"Received: max_shard_size={max_shard_size!r}"
        )
    if not name.endswith(shards.PART):
        return name
    new = name.removesuffix(shards.PART) + shards.ENDING
    warn(f"Weights in several files are listed in JSON: {name!r} becomes {new!r}.")
    return new
