"""Reading models and weights from files, as if every file were a stranger's."""

import os
import pathlib
from typing import TYPE_CHECKING, Any

from lamina.core.budget import errors_about, quoting
from lamina.core.context import context, having
from lamina.core.tracebacks import boundary
from lamina.saving import formats
from lamina.saving.building import FileBudget, build
from lamina.training.alone import until_end

if TYPE_CHECKING:
    from lamina.models import Model


@boundary
@until_end()
def load_model(filepath, custom_objects=None, compile=True, safe_mode=True) -> "Model":
    """Load a whole model that `save_model` or Keras 3 saved.

    No code comes from the file: names in it mean Lamina's own classes, or what you
    lend here or registered.

    Args:
        filepath: a `.keras` file, a folder with its members, an open binary file, an
            `.h5` or `.hdf5` file of Keras 2 or 3, or the folder of an
            `OrbaxCheckpoint`, of which the latest is read.
        custom_objects: a dict from names to your own classes and functions, and to
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
    opened = hasattr(filepath, "read")
    found: Any = formats.KERAS if opened else _format_of(filepath)

    def make(config, declared, name, replaced=None):
        budget = FileBudget(declared, name, replaced)
        return build(config, budget, custom_objects, safe_mode)

    name = "the archive" if opened else str(filepath)
    with having(context.configs, budget=None), errors_about(name):
        return found.load(filepath, make, compile)


def _format_of(filepath):
    """Return the format of a file with a whole model."""
    path, name = pathlib.Path(filepath), str(filepath)
    if (folder := formats.of_folder(path)) is not None:
        return folder
    found = formats.of(name, "load")
    if found is None:
        raise ValueError(
            f"File format not supported: filepath={name}. `load_model` reads "
            f"{formats.endings('load')} files"
            + (", and this one does not exist." if not path.exists() else ".")
            + (
                " A folder that TensorFlow saved is run by `lamina.layers.TFSMLayer("
                "folder, call_endpoint='serving_default')`."
                if path.is_dir()
                else " For weights alone, make the model and call "
                "`model.load_weights(path)`."
            )
        )
    if not path.is_file():
        raise ValueError(
            f"File not found: filepath={name}. Please ensure the file is an accessible "
            f"`{path.suffix}` file.{_neighbours(path)}"
        )
    return found


def _neighbours(path):
    """Say which models are there, beside the one that is not."""
    folder = path.parent
    if not folder.is_dir():
        return f" There is no folder {str(folder)!r}."
    there = sorted(p.name for p in folder.iterdir() if formats.of(p.name, "load"))[:5]
    return f" In its folder there are: {', '.join(there)}." if there else ""


@boundary
def load_weights(model, filepath, skip_mismatch=False, **kwargs):
    """Load weights into a model that is built, by their place in it.

    Args:
        model: the model.
        filepath: a `.weights.h5` or `.keras` file, the `.weights.json` list of
            several, a `.safetensors` file, an `.h5` file of Keras 2, or the folder of
            an `OrbaxCheckpoint`.
        skip_mismatch: warn of layers that do not fit and leave them as they are.
        kwargs: `objects_to_skip`, a list of layers to leave out (`.weights.h5` only);
            `by_name`, whether layers are matched by name (`.h5` only); `rename`, a
            dict or a function from names in the file to names in the model
            (`.safetensors` only).

    Raises:
        ValueError: there is no such file, the model is not built, or a layer's weights
            have other shapes; the message names it and both shapes.

    >>> import lamina, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "model.weights.h5")
    >>> model = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(1)])
    >>> lamina.saving.save_weights(model, path)
    >>> model.set_weights([0 * w for w in model.get_weights()])
    >>> lamina.saving.load_weights(model, path)
    >>> bool(model.get_weights()[0].any())
    True
    """
    unknown = {k: v for k, v in kwargs.items() if not formats.takers(k)}
    if unknown:
        raise ValueError(f"Invalid keyword arguments: {unknown}")
    options = {k: v for k, v in kwargs.items() if v is not None}
    name = os.fspath(filepath)
    path = pathlib.Path(filepath)
    folder = formats.ORBAX if formats.of_folder(path) is formats.ORBAX else None
    found = folder or formats.of(name, "put")
    for option in options:
        if found is None or option not in found.takes:
            raise ValueError(
                f"`{option}` only supports loading {formats.takers(option)}. "
                f"Received: {name}"
            )
    if found is None:
        raise ValueError(
            f"File format not supported: filepath={name}. `load_weights` reads "
            f"{formats.endings('put')} files."
        )
    if folder is None and not path.is_file():
        raise ValueError(f"File not found: filepath={name}.")
    if not model.built:
        raise ValueError(
            "You are loading weights into a model that has not yet been built. Try "
            "building the model first by calling it on some data or by using `build()`."
        )
    with quoting(), found.open(path) as weights:
        found.put(model, weights, skip_mismatch=skip_mismatch, **options)
