"""Checkpoints in folders that Orbax writes and reads.

A folder has one folder for each step, and in it, as in Keras, `pytree` (the values of
all Variables by their paths), `model_config` (the architecture, as text) and `assets`
(the files of layers, as bytes). Orbax and TensorStore read them: unlike files, they are
to be opened only where their origin is trusted.
"""

import contextlib
import pathlib
import tempfile
from typing import Any

import jax
import numpy as np

from lamina.callbacks.sharded import is_complete, orbax
from lamina.core.texts import parsed
from lamina.core.walk import objects
from lamina.saving.report import Row
from lamina.saving.state import state_groups

# The groups of Variables that weights are, and the part with the order of all paths.
WEIGHTS, ORDER = ("trainable_variables", "non_trainable_variables"), "lamina_order"


def is_checkpoint(path) -> bool:
    """Tell whether a folder holds checkpoints, or is one."""
    path = pathlib.Path(path)
    return path.is_dir() and (bool(_steps(path)) or is_complete(path))


def _steps(path):
    return [int(p.name) for p in path.iterdir() if p.name.isdigit() and is_complete(p)]


class Checkpoint:
    """The latest checkpoint of a folder, or a checkpoint itself.

    Args:
        path: the folder.
    """

    def __init__(self, path):
        path = pathlib.Path(path).absolute()
        self.path = path if is_complete(path) else path / str(max(_steps(path)))
        self._orbax = orbax()
        self.parts = set(self._orbax.checkpointables_metadata(self.path).metadata)
        self.declared = self._orbax.pytree_metadata(self.path, "pytree").metadata

    def size(self) -> int:
        """Return the bytes of all values."""
        return sum(
            int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize
            for leaf in jax.tree.leaves(self.declared)
        )

    def read(self, part, like=None):
        """Return a part, its arrays laid out as `like` says."""
        return self._orbax.load_checkpointables(self.path, {part: like})[part]

    def put(self, model, groups):
        """Set the Variables of a model: those of the groups that the checkpoint has.

        Raises:
            ValueError: the checkpoint is of another model.
        """
        here = {group: order_of(model, [group])[group] for group in groups}
        saved = {group: dict(_leaves(self.declared.get(group, {}))) for group in groups}
        order = self.read(ORDER) if ORDER in self.parts else {}
        pairs = {
            group: _pairs(here[group], saved[group], order.get(group))
            for group in groups
            if saved[group]
        }
        for group, found in pairs.items():
            for variable, (_, theirs) in zip(
                state_groups(model)[group], found, strict=True
            ):
                shape = tuple(saved[group][theirs].shape)
                if shape != tuple(variable.shape):
                    raise ValueError(
                        f"The checkpoint in {str(self.path)!r} is of another model: "
                        f"{variable.path!r} has shape {tuple(variable.shape)}, and "
                        f"{shape} there."
                    )
        tree = model.get_state_tree()
        laid = {
            group: {theirs: dict(_leaves(tree[group]))[mine] for mine, theirs in found}
            for group, found in pairs.items()
        }
        like = {
            group: _like(part, laid.get(group, {}))
            for group, part in self.declared.items()
        }
        read = self.read("pytree", like)
        for group, found in pairs.items():
            values = dict(_leaves(read[group]))
            for variable, (_, theirs) in zip(
                state_groups(model)[group], found, strict=True
            ):
                variable.assign(values[theirs])


def order_of(model, groups):
    """Return the paths of a model's Variables in their order, by group."""
    found = state_groups(model)
    return {group: [v.path for v in found[group]] for group in groups}


def _leaves(tree, above=""):
    """Yield the path and the value of all leaves of nested dicts."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}/")
        else:
            yield above + key, value


def _pairs(here, saved, order):
    """Return which path of a checkpoint belongs to each Variable of a model.

    Names that a program numbers (`seed_generator_3`) are others in another model of the
    same kind. So checkpoints of Lamina hold the order of their paths. In those of Keras
    a name counts, but for that of the model itself.
    """
    if order is None:
        order = [path if path in saved else _within(path, saved) for path in here]
    if len(order) == len(here) and all(path in saved for path in order):
        return list(zip(here, order, strict=True))
    missing = sorted(set(here) - set(saved))[:3]
    raise ValueError(
        f"The checkpoint is of another model: it holds {len(saved)} values where this "
        f"one has {len(here)}. It has none for {missing}."
    )


def _within(path, saved):
    """Return the one path that differs in the name of the model alone, or None."""
    inner = path.partition("/")[2]
    found = [other for other in saved if inner in (other, other.partition("/")[2])]
    outer = [other for other in saved if other.partition("/")[2] == path]
    return (found + outer)[0] if len(found + outer) == 1 else None


def _like(declared, laid, above=""):
    """Return the forms of arrays, laid out as the values of some paths are."""
    if isinstance(declared, dict):
        return {k: _like(part, laid, f"{above}/{k}") for k, part in declared.items()}
    sharding = getattr(laid.get(above[1:]), "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(declared.shape, declared.dtype, sharding=sharding)


@contextlib.contextmanager
def opened(path):
    """Give the latest checkpoint of a folder."""
    yield Checkpoint(path)


def put(model, checkpoint, skip_mismatch=False):
    """Set the Variables of a model that a checkpoint has, by their paths.

    Raises:
        ValueError: a path that the model does not have, or another shape.
    """
    if skip_mismatch:
        raise ValueError("`skip_mismatch` is not known for Orbax checkpoints.")
    checkpoint.put(model, WEIGHTS)


def load(filepath, build, compile):
    """Load a whole model, see `archive.load`."""
    checkpoint = Checkpoint(filepath)
    if "model_config" not in checkpoint.parts:
        raise ValueError(
            f"{str(filepath)!r} does not contain model configuration: it was saved "
            "with `save_weights_only=True`. Make the model by its own code, and call "
            "`model.load_weights(...)`."
        )
    name = str(filepath)
    config = parsed(checkpoint.read("model_config")["config"], name)
    if not compile:
        config.pop("compile_config", None)
    model = build(config, checkpoint.size(), name)
    groups = [*WEIGHTS]
    if model.optimizer is not None:
        model.optimizer.build(model.trainable_variables)
        groups.append("optimizer_variables")
    # Metrics come to be in the first training, and begin at zero there.
    checkpoint.put(model, groups)
    if "assets" in checkpoint.parts:
        _put_assets(model, checkpoint.read("assets"))
    return model


def _put_assets(model, files):
    for path, thing in objects(model).items():
        inner: Any = files
        for folder in filter(None, path.split("/")):
            inner = inner.get(folder, {}) if isinstance(inner, dict) else {}
        found = {n: x for n, x in inner.items() if not isinstance(x, dict)}
        if not found or not hasattr(thing, "load_assets"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for file, data in found.items():
                target = pathlib.Path(folder, pathlib.PurePath(file).name)
                target.write_bytes(np.asarray(data, "uint8").tobytes())
            thing.load_assets(folder)


def describe(report, path):
    """Describe a folder of checkpoints."""
    report.kind = "Orbax checkpoint"
    checkpoint = Checkpoint(path)
    report.tell("Step", checkpoint.path.name)
    rows: dict = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(checkpoint.declared):
        place = "/".join(str(getattr(key, "key", key)) for key in keys[:-1])
        size = int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize
        rows.setdefault(place, Row(place)).add(leaf.shape, str(leaf.dtype), size)
    report.rows += rows.values()
