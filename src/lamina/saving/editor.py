"""`KerasFileEditor`: weights looked at and changed in a file, no model made."""

import os
import pathlib
from typing import Any

import numpy as np

from lamina.core.budget import quoting
from lamina.core.extras import load_rich
from lamina.core.naming import nearest, printable
from lamina.core.tracebacks import boundary
from lamina.saving import formats, shards
from lamina.saving.archive import CONFIG, METADATA
from lamina.saving.state import values_of


class KerasFileEditor:
    """Look at the weights in a file and change them; nothing in it is run.

    An object is named by its place, `"layers/dense"`, or by the last part of that if
    no other ends so.

    Args:
        filepath: a `.keras` or `.weights.h5` file.

    Attributes:
        weights_dict: the weights: dicts by name, arrays at the ends. Yours to change.
        config: the architecture as plain data; None for `.weights.h5`.
        metadata: what the file says of itself; None for `.weights.h5`.

    Raises:
        ValueError: another ending, or a file that is damaged or meant to do harm.

    >>> import lamina, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "model.weights.h5")
    >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
    >>> model.save_weights(path)
    >>> editor = lamina.saving.KerasFileEditor(path)
    >>> editor.rename_object("dense", "other")
    >>> editor.summary()
    model.weights.h5
    └── layers
        └── other
            ├── 0: shape=(3, 2), dtype=float32
            └── 1: shape=(2,), dtype=float32
    """

    @boundary
    def __init__(self, filepath: str | os.PathLike):
        self.filepath = filepath
        self.config = self.metadata = None
        name = os.fspath(filepath)
        found: Any = formats.of(name, "edited")
        if found is None:
            raise ValueError(
                f"Invalid filename: expected a {formats.endings('edited')} extension. "
                f"Received: filepath={name}"
            )
        path = pathlib.Path(filepath)
        # A device or a pipe would be waited for.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ValueError(f"{name} is not a file. Received: filepath={name}")
        with quoting(), found.open(path) as weights:
            if weights.archive is not None:
                self.config = weights.archive.json(CONFIG)
                self.metadata = weights.archive.json(METADATA)
            self._names = {}
            values = {}
            for place in weights.places():
                section = weights.section(place) or {}
                self._names[place] = weights.saved_name(place)
                values[place] = {key: section[key] for key in section}
        self.weights_dict = _nested(values)

    # ---- looking -------------------------------------------------------------------

    def summary(self):
        """Print all objects with the shapes and dtypes of their weights."""
        load_rich()
        from rich.console import Console
        from rich.tree import Tree

        def grow(tree, content):
            for name, value in content.items():
                if isinstance(value, dict):
                    grow(tree.add(printable(name)), value)
                else:
                    value = np.asarray(value)
                    shown = f"shape={value.shape}, dtype={value.dtype}"
                    tree.add(f"{printable(name)}: {shown}")

        title = pathlib.Path(self.filepath).name
        if isinstance(self.metadata, dict):
            title += f" (Keras {self.metadata.get('keras_version')})"
        tree = Tree(printable(title), highlight=False)
        grow(tree, self.weights_dict)
        Console(highlight=False, markup=False).print(tree)

    def compare(self, reference_model):
        """Print what differs between the file and a model, and return the counts.

        Args:
            reference_model: a model, built. Its optimizer is compared if the file
                holds the state of one.

        Returns:
            A dict of `status` (`"success"` or `"error"`), `error_count` and
            `match_count`, the number of weights that agree in place and shape.
        """
        values = {place: own for place, (_, own) in values_of(reference_model).items()}
        wanted, held = _nested(values), dict(self.weights_dict)
        if "optimizer" not in held:
            wanted.pop("optimizer", None)
        if "optimizer" not in wanted:
            held.pop("optimizer", None)
        errors, matches = [], 0
        todo = [("", wanted, held)]
        while todo:
            place, ours, theirs = todo.pop()
            for name in {**ours, **theirs}:
                where = f"{place}/{name}"
                if name not in theirs or name not in ours:
                    kind = "Object" if _is_object(ours, theirs, name) else "Weight"
                    lacking = "the file" if name not in theirs else "the model"
                    errors.append(f"{kind} {where} is missing in {lacking}.")
                elif isinstance(ours[name], dict) and isinstance(theirs[name], dict):
                    todo.append((where, ours[name], theirs[name]))
                elif np.shape(ours[name]) != np.shape(theirs[name]):
                    errors.append(
                        f"Weight {where} has the shape {np.shape(ours[name])} in the "
                        f"model and {np.shape(theirs[name])} in the file."
                    )
                else:
                    matches += 1
        for line in errors:
            print(printable(line))
        print(f"{matches} weights agree, {len(errors)} things differ.")
        status = "error" if errors else "success"
        return {"status": status, "error_count": len(errors), "match_count": matches}

    # ---- changing ------------------------------------------------------------------

    def rename_object(self, object_name, new_name):
        """Give an object another name, in its place.

        Raises:
            ValueError: there is no such object, or one of the new name.
        """
        path = self._find(object_name)
        parent, old = self._parent(path)
        if "/" in new_name or not new_name:
            raise ValueError(
                "`rename_object` expected `new_name` to be one name without '/'. "
                f"Received: new_name={new_name!r}"
            )
        if new_name in parent:
            raise ValueError(
                f"There is an object {new_name!r} beside {path!r}. Delete it first."
            )
        renamed = {new_name if k == old else k: v for k, v in parent.items()}
        parent.clear()
        parent.update(renamed)
        new = "/".join([*path.split("/")[:-1], new_name])
        self._names = {
            new + place[len(path) :] if _within(place, path) else place: name
            for place, name in self._names.items()
        }

    def delete_object(self, object_name):
        """Delete an object with all that is in it."""
        path = self._find(object_name)
        parent, name = self._parent(path)
        del parent[name]
        self._names = {p: n for p, n in self._names.items() if not _within(p, path)}

    def add_object(self, object_path, weights):
        """Add an object.

        Args:
            object_path: its place, such as `"layers/dense_3"`.
            weights: a dict from name to array; names of Keras' layers are `"0"`, ...

        Raises:
            ValueError: no dict of arrays, the place is taken, or what it is in is not
                there.
        """
        weights = _arrays(weights)
        parent, name = self._parent(object_path)
        if name in parent:
            raise ValueError(f"There is an object {object_path!r} already.")
        parent[name] = weights

    def add_weights(self, object_name, weights):
        """Add weights to an object, or replace those of equal names.

        Args:
            object_name: the object.
            weights: a dict from name to array.
        """
        self._at(self._find(object_name)).update(_arrays(weights))

    def delete_weight(self, object_name, weight_name):
        """Delete one weight of an object."""
        own = self._at(self._find(object_name))
        if weight_name not in own or isinstance(own[weight_name], dict):
            found = [k for k, v in own.items() if not isinstance(v, dict)]
            raise ValueError(
                f"Weight {weight_name} not found in object {object_name}. Weights "
                f"found: {found}"
            )
        del own[weight_name]

    def save(self, filepath):
        """Write the weights as they are now, to a file ending in `.weights.h5`.

        Raises:
            ValueError: another ending.
        """
        name = os.fspath(filepath)
        if not name.endswith(shards.PART):
            raise ValueError(
                "Invalid `filepath` argument: expected a `.weights.h5` extension. "
                f"Received: filepath={name}"
            )
        shards.save_one(filepath, None, self._values())

    def resave_weights(self, filepath):
        """Do the same as `save`, under an older name."""
        self.save(filepath)

    # ---- places --------------------------------------------------------------------

    def _objects(self):
        """Return all objects by place."""
        found, todo = {}, [("", self.weights_dict)]
        while todo:
            place, content = todo.pop()
            for name, value in content.items():
                if isinstance(value, dict):
                    where = f"{place}/{name}" if place else name
                    found[where] = value
                    todo.append((where, value))
        return found

    def _find(self, name):
        name = name.strip("/")
        known = self._objects()
        if name in known:
            return name
        found = sorted(path for path in known if path.rpartition("/")[2] == name)
        if len(found) > 1:
            raise ValueError(f"Several objects are called {name!r}: {found}. Name one.")
        if not found:
            raise ValueError(
                f"There is no object {name!r} in the file. `summary()` lists all."
                + nearest(name, {path.rpartition("/")[2] for path in known})
            )
        return found[0]

    def _at(self, path):
        return self._objects()[path]

    def _parent(self, path):
        above, _, name = path.strip("/").rpartition("/")
        known = self._objects()
        if above and above not in known:
            raise ValueError(
                f"There is no object {above!r} in the file, which {path!r} would be "
                f"in. `summary()` lists all.{nearest(above, known)}"
            )
        return known[above] if above else self.weights_dict, name

    def _values(self):
        """Return the weights as files are written: place -> (name, values by key)."""
        places = {"": self.weights_dict, **self._objects()}
        values = {}
        for place in sorted(places):
            own = {
                str(key): np.asarray(value)
                for key, value in places[place].items()
                if not isinstance(value, dict)
            }
            if own or place in self._names:
                values[place] = self._names.get(place), own
        return values


def _nested(values):
    """Turn `place -> values` into dicts within dicts."""
    root = {}
    for place, own in values.items():
        if not own:
            continue
        content = root
        for part in place.split("/") if place else []:
            content = content.setdefault(part, {})
        content.update(own)
    return root


def _within(place, path):
    return place == path or place.startswith(f"{path}/")


def _is_object(ours, theirs, name):
    return isinstance({**ours, **theirs}[name], dict)


def _arrays(weights):
    if not isinstance(weights, dict):
        raise ValueError(
            "`weights` is a dict from the name of a weight to its array. Received: "
            f"weights={weights!r}"
        )
    return {str(key): np.asarray(value) for key, value in weights.items()}
