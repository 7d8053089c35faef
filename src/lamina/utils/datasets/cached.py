"""Elements of data sets that are kept, in memory or in a folder."""

import json
from typing import Any

import numpy as np

from lamina.core.files import replacing
from lamina.core.texts import parsed


class Memory:
    """Elements in memory."""

    def __init__(self):
        self._kept: dict[int, Any] = {}
        self._whole = False

    def get(self, place, make):
        """Return the element of a place, which `make` makes the first time."""
        if place not in self._kept:
            self._keep(place, make())
        return self._load(place)

    def all(self, elements):
        """Yield elements: those that are kept, once all of them were."""
        if self._complete():
            yield from map(self._load, range(self._count()))
            return
        count = 0
        for count, element in enumerate(elements, 1):
            self._keep(count - 1, element)
            yield element
        self._finish(count)

    def _keep(self, place, element):
        self._kept[place] = element

    def _load(self, place):
        return self._kept[place]

    def _complete(self):
        return self._whole

    def _count(self):
        return len(self._kept)

    def _finish(self, count):
        self._whole = True


class Folder(Memory):
    """Elements in a folder, a file for each.

    Args:
        path: the folder, which is made.
        dataset: what the elements are of.

    Raises:
        ValueError: the folder holds another number of elements.
    """

    def __init__(self, path, dataset):
        super().__init__()
        path.mkdir(parents=True, exist_ok=True)
        self._path, self._about = path, path / "about.json"
        said = {"elements": dataset.cardinality()}
        exists = self._about.exists()
        found = (
            parsed(self._about.read_text(), repr(str(self._about))) if exists else said
        )
        if found != said:
            raise ValueError(
                f"The folder {str(path)!r} keeps another data set: of "
                f"{found.get('elements')} elements, and not of {said['elements']}. "
                "Give another folder, or delete this one."
            )
        self._write(self._about, json.dumps(said).encode())

    def _write(self, path, data):
        with replacing(path) as file:
            file.write(data)

    def _file(self, place):
        return self._path / f"{place:08}.npz"

    def get(self, place, make):
        """Return the element of a place, which `make` makes the first time."""
        if not self._file(place).exists():
            self._keep(place, make())
        return self._load(place)

    def _keep(self, place, element):
        arrays: list = []
        form = json.dumps(_form(element, arrays))
        with replacing(self._file(place)) as file:
            np.savez(file, *arrays, form=np.array(form))

    def _load(self, place):
        with np.load(self._file(place), allow_pickle=False) as file:
            return _formed(parsed(str(file["form"]), f"the form in {file.fid}"), file)

    def _complete(self):
        return (self._path / "whole").exists()

    def _count(self):
        return int((self._path / "whole").read_text())

    def _finish(self, count):
        self._write(self._path / "whole", str(count).encode())


def _form(element, arrays):
    """Return the structure of an element in plain values; its leaves go to `arrays`."""
    if isinstance(element, dict):
        return {"dict": [[str(k), _form(v, arrays)] for k, v in element.items()]}
    if isinstance(element, (tuple, list)):
        kind = "tuple" if isinstance(element, tuple) else "list"
        return {kind: [_form(value, arrays) for value in element]}
    array = np.asarray(element)
    texts = array.dtype.kind == "O"
    if texts and not all(isinstance(text, str) for text in array.flat):
        raise ValueError(
            "A folder keeps arrays of numbers and texts, no other objects."
        )
    arrays.append(array.astype("U") if texts else array)
    return [len(arrays) - 1, texts]


def _formed(form, arrays):
    if isinstance(form, list):
        array = arrays[f"arr_{form[0]}"]
        return array.astype(object) if form[1] else array
    ((kind, parts),) = form.items()
    if kind == "dict":
        return {name: _formed(part, arrays) for name, part in parts}
    return (tuple if kind == "tuple" else list)(_formed(part, arrays) for part in parts)
