"""The values of a model: taken out for a file, put back from one."""

import collections.abc
import contextlib
import pathlib
import tempfile
import zlib

import numpy as np

from lamina.core.placement import fetched
from lamina.core.registry import ours
from lamina.core.tracebacks import warn
from lamina.core.walk import generators, objects, walk
from lamina.layers.layer import Layer
from lamina.layers.owner import saved_variables


def values_of(root, seeds=False, skip=()) -> dict:
    """Return what to write of `root`: path -> (name, values by key).

    Args:
        root: a model.
        seeds: whether the states of its random generators are among them. Keras
            passes over them.
        skip: objects to leave out.

    Raises:
        ValueError: an object gives values that are not numbers.
    """
    skipped = {id(thing) for thing in skip}
    found = {}
    for path, thing in objects(root).items():
        if id(thing) in skipped:
            continue
        own = {}
        thing.save_own_variables(own)
        name = getattr(thing, "name", None)
        own = {str(key): fetched(value) for key, value in own.items()}
        for key, value in own.items():
            if value.dtype.kind in "OUM":
                raise ValueError(
                    f"{type(thing).__name__} {name!r} gave a value of dtype "
                    f"{value.dtype} for {key!r} in `save_own_variables`. Files hold "
                    "numbers; texts belong into `save_assets`."
                )
        found[path] = (name if isinstance(name, str) else None), own
        if seeds:
            for attribute, generator in generators(thing).items():
                where = f"{path}/{attribute}" if path else attribute
                state = {"0": fetched(generator.state.raw_value)}
                found.setdefault(where, (None, state))
    return found


def checksum(value) -> int:
    """Return a checksum of an array's bytes."""
    return zlib.crc32(np.ascontiguousarray(value).view(np.uint8).reshape(-1).data)


def compare(weights, values) -> None:
    """Raise unless a file on the disk holds exactly `values`.

    Args:
        weights: the file's `Weights`, opened again.
        values: what `values_of` gave.

    Raises:
        OSError: a value is missing, or reads back as another.
    """
    for path, (_, own) in values.items():
        section = weights.section(path) or {}
        for key, value in own.items():
            compare_one(section, key, value, f"{path}/vars/{key}")


def compare_one(held, key, value, place) -> None:
    """Raise unless what a file holds under a key is exactly a value.

    Args:
        held: the values in the file, by key.
        key: the key.
        value: the array that was written.
        place: what to call it in errors.

    Raises:
        OSError: it is missing, or reads back as another.
    """
    if key not in held:
        raise OSError(f"{place} is missing from the file that was just written.")
    read = held[key]
    if read.shape != value.shape or checksum(read) != checksum(value):
        raise OSError(f"{place} reads back as something else than was written.")


class Places(collections.abc.Mapping):
    """Values by key that lie in other mappings, read when they are asked for.

    Args:
        places: a dict from key to `(mapping, key there)`. A mapping tells the shape
            of a value without reading it: `shape(key)`.
    """

    def __init__(self, places):
        self._places = places

    def __len__(self):
        return len(self._places)

    def __iter__(self):
        return iter(self._places)

    def __getitem__(self, key):
        held, there = self._places[key]
        return held[there]

    def shape(self, key) -> tuple:
        """Return the shape of a value without reading it."""
        held, there = self._places[key]
        return held.shape(there)


def put_values(
    root,
    weights,
    archive=None,
    skip_mismatch=False,
    objects_to_skip=(),
    replaced=(),
) -> None:
    """Put the values of a file into a model.

    Args:
        root: the model.
        weights: the file's `Weights`.
        archive: the Archive it is a member of, for vocabularies and other assets.
        skip_mismatch: warn of what does not fit and leave it as it is.
        objects_to_skip: objects to leave out.
        replaced: `(object, class name in the file)` where that is not its class' own.

    Raises:
        ValueError: something does not fit; the first such is told in full, all by name.
    """
    skipped = {id(thing) for thing in objects_to_skip}
    places = {}
    for named in _names(replaced):
        for path, thing in walk(root, named):
            places.setdefault(id(thing), (thing, []))[1].append(path)
    failed = {}
    for key, (thing, paths) in places.items():
        if key in skipped:
            continue
        try:
            _put_one(thing, paths, weights, archive)
        except Exception as error:
            failed[key] = thing, error
    if not failed:
        return
    message = _failures(list(failed.values()), weights)
    if skip_mismatch:
        warn(message)
        return
    raise ValueError(message) from next(iter(failed.values()))[1]


def _names(replaced):
    """Return the names to find objects by, the likelier ones first.

    What classes make themselves, in the place of those in the file, may have the name
    of either.
    """
    names = {id(thing): name for thing, name in replaced}
    return [names, names | {type(x): name for x, name in replaced}][: 1 + bool(names)]


def _put_one(thing, paths, weights, archive):
    """Fill one object from the first of its places that fits."""
    found = [(p, s) for p in paths if (s := weights.section(p)) is not None]
    filled = [(p, s) for p, s in found if s]
    errors = []
    for place, section in filled or found or [(paths[0], {})]:
        try:
            _load(thing, section)
            path = place
            break
        except Exception as error:
            errors.append(error)
    else:
        raise errors[0]
    for attribute, generator in generators(thing).items():
        section = weights.section(f"{path}/{attribute}" if path else attribute)
        if section is not None and "0" in section and section.shape("0") == (2,):
            generator.state.assign(section["0"])
    if archive is not None and hasattr(type(thing), "load_assets"):
        # Built-in layers keep no folders: those below belong to the layers inside.
        deep = not ours(type(thing).load_assets)
        with archive.assets(path, deep) as folder:
            if folder is not None:
                thing.load_assets(folder)


def _load(thing, section):
    if not isinstance(thing, Layer):
        if section:  # an optimizer that was not saved keeps its first state
            thing.load_own_variables(section)
        return
    if takes_all(thing):
        own = saved_variables(thing)
        if len(section) == len(own):
            _check_shapes(thing, own, section)
    thing.load_own_variables(section)


def state_groups(model) -> dict:
    """Return all Variables of a model and of what trains it, by kind."""
    return {
        "trainable_variables": model.trainable_variables,
        "non_trainable_variables": model.non_trainable_variables,
        "optimizer_variables": model.optimizer.variables if model.optimizer else [],
        "metrics_variables": model.metrics_variables,
    }


def takes_all(thing) -> bool:
    """Tell whether an object is sure to load all its values, or to raise."""
    return ours(type(thing).load_own_variables)


def _check_shapes(layer, own, section):
    for name, variable in own.items():
        if name not in section:
            raise ValueError(
                f"Layer {layer.name!r} ({type(layer).__name__}) has a weight "
                f"{variable.path!r}, number {name}. The file holds {sorted(section)}."
            )
        shape = section.shape(name)
        if shape != tuple(variable.shape):
            raise ValueError(
                f"The shapes must match: layer {layer.name!r} "
                f"({type(layer).__name__}) has a weight {variable.path!r} of shape "
                f"{tuple(variable.shape)}. The file holds shape {shape} for it."
            )


def _failures(failed, weights):
    thing, error = failed[0]
    names = [getattr(one, "name", type(one).__name__) for one, _ in failed]
    return (
        f"{weights.name} does not fit the model: {len(failed)} object(s) could not be "
        f"loaded. The first, {type(thing).__name__} {names[0]!r}:\n\n{error}\n\n"
        f"All of them: {names}. "
        "`load_weights(..., skip_mismatch=True)` passes over what does not fit."
    )


@contextlib.contextmanager
def written_assets(root):
    """Give a list of `(name, path)` of the files that layers write for themselves."""
    with tempfile.TemporaryDirectory() as temporary:
        top = pathlib.Path(temporary)
        for path, thing in objects(root).items():
            if hasattr(type(thing), "save_assets"):
                folder = top / path
                folder.mkdir(parents=True, exist_ok=True)
                thing.save_assets(str(folder))
        files = sorted(p for p in top.rglob("*") if p.is_file())
        yield [(p.relative_to(top).as_posix(), p) for p in files]
