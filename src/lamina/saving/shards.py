"""Weights in an HDF5 file, or in several with a JSON file that lists them."""

import contextlib
import json
import math
import pathlib
import re

from lamina.core import bounds
from lamina.core.budget import readable
from lamina.core.files import replacing
from lamina.core.texts import parsed
from lamina.saving import hdf5
from lamina.saving.state import Places, compare

ENDING = ".weights.json"
PART = ".weights.h5"
_GIB = 1 << 30


class Shards(contextlib.AbstractContextManager):
    """The values in all files that a JSON file lists, as if they were in one.

    Args:
        path: the path of the JSON file; the others are beside it.

    Raises:
        ValueError: it is not such a list, or names files elsewhere.
    """

    def __init__(self, path):
        path = pathlib.Path(path)
        self.name = repr(str(path))
        self._stack = contextlib.ExitStack()
        self.parts = []
        with self._stack:
            for part in _listed(path, self.name):
                if not _there(part):
                    raise ValueError(
                        f"{self.name} lists a file {part.name!r} that is not beside it."
                    )
                self.parts.append(self._stack.enter_context(hdf5.opened(part)))
            self._stack = self._stack.pop_all()

    def __exit__(self, *exception):
        self._stack.close()

    def section(self, path):
        """Return the values of one object, by key; None where no file has it."""
        parts = [s for w in self.parts if (s := w.section(path)) is not None]
        places = {}
        for part in parts:
            for key in part:
                if key in places:
                    raise ValueError(
                        f"Two files hold the value {key!r} of {self.name}, {path!r}."
                    )
                places[key] = part, key
        return Places(places) if parts else None


def _listed(path, name):
    """Return the paths of the files that a JSON file lists."""
    if path.stat().st_size > bounds.TEXT:
        raise ValueError(f"Not allowed: {name} is larger than {readable(bounds.TEXT)}.")
    try:
        text = path.read_text(encoding="utf-8")
        found = parsed(text, "it")["weight_map"].values()
        parts = list(dict.fromkeys(part for value in found for part in _strings(value)))
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        raise ValueError(
            f"{name} does not list files of weights, as `save_weights` with "
            f"`max_shard_size` writes it: {type(e).__name__}: {e}"
        ) from e
    for part in parts:
        # One plain name: nothing leads out of the folder.
        if not re.fullmatch(r"[^/\\:\0]+", part) or not part.endswith(PART):
            raise ValueError(
                f"Not allowed: {name} lists {part!r}. Files of weights are beside "
                f"their list and end in `{PART}`; this list may be meant to do harm."
            )
    if len(parts) > bounds.SHARDS:
        raise ValueError(
            f"Not allowed: {name} lists {len(parts)} files; "
            f"{bounds.SHARDS} are allowed."
        )
    return [path.with_name(part) for part in parts]


def _there(part):
    try:
        return part.is_file()
    except (OSError, ValueError):  # a name that no file has
        return False


def _strings(value):
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
        raise TypeError(f"no list of file names: {value!r}")
    return value


@contextlib.contextmanager
def _written(path, values):
    """Write one file, which takes its place at the end of a `with` block."""

    def check(part):
        with hdf5.opened(part) as weights:
            compare(weights, values)

    with replacing(path, check) as file:
        hdf5.write(file, values)
        yield


def save_one(path, model, values, max_shard_size=None):
    """Write values into one file, whole or not at all.

    Args:
        path: where to.
        model: is not looked at.
        values: a dict from path to `(name, values by key)`.
        max_shard_size: is not looked at.
    """
    with _written(path, values):
        pass


def save(path, model, values, max_shard_size):
    """Write values into files of at most `max_shard_size` GiB, and their list.

    All are written and checked before the first takes its place, the list last.

    Args:
        path: where the list shall be, ending in `.weights.json`.
        model: is not looked at.
        values: a dict from path to `(name, values by key)`.
        max_shard_size: the limit, in GiB.

    Raises:
        ValueError: a value is larger than the limit.
    """
    path = pathlib.Path(path)
    stem = path.name.removesuffix(ENDING)
    shards = _divided(values, max_shard_size * _GIB)
    listed = {}
    with contextlib.ExitStack() as stack:
        # What is entered first leaves last.
        listing = stack.enter_context(replacing(path))
        for i, shard in enumerate(shards):
            name = f"{stem}_{i:05}{PART}"
            stack.enter_context(_written(path.with_name(name), shard))
            for place, (_, own) in shard.items():
                if own:
                    listed.setdefault(f"/{place}/vars".replace("//", "/"), []).append(
                        name
                    )
        size = sum(v.nbytes for _, own in values.values() for v in own.values())
        text = {"metadata": {"total_size": float(size)}, "weight_map": listed}
        listing.write(json.dumps(text, indent=4).encode())


def _divided(values, limit):
    """Divide values among as few files as their order allows."""
    shards, used = [{}], 0.0
    for path, (name, own) in values.items():
        shards[-1].setdefault(path, (name, {}))
        for key, value in own.items():
            if value.nbytes > limit:
                raise ValueError(
                    f"The size of the weight {path}/vars/{key} is "
                    f"{readable(value.nbytes)}, which exceeds the maximum shard size "
                    f"{readable(math.floor(limit))}. Increase `max_shard_size`, which "
                    "is in GiB."
                )
            if used + value.nbytes > limit:
                shards.append({path: (name, {})})
                used = 0.0
            used += value.nbytes
            shards[-1][path][1][key] = value
    return shards
