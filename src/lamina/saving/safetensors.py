"""Weights in `.safetensors` files, the format of Hugging Face: read and written.

A file is the length of a header, the header in JSON, and the bytes of the tensors one
after the other. What a header declares must be what the file stores, byte for byte,
so a small file cannot ask for much memory. The format is small enough to be read here,
with nothing to install, and in bfloat16 and float8 too.
"""

import contextlib
import json
import math
import pathlib
import struct
import types

import jax.numpy as jnp
import numpy as np

from lamina.core import bounds
from lamina.core.budget import readable
from lamina.core.files import replacing
from lamina.core.texts import parsed
from lamina.core.tracebacks import warn
from lamina.core.walk import objects
from lamina.layers.layer import Layer
from lamina.layers.owner import saved_variables
from lamina.saving.state import Places, compare_one, put_values

_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
}
_KINDS = {name: np.dtype(getattr(jnp, kind)) for name, kind in _DTYPES.items()}
_NAMES = {kind: name for name, kind in _KINDS.items()}


class Tensors(contextlib.AbstractContextManager):
    """The tensors of a file, by name; read when they are asked for.

    Args:
        path: the file.

    Raises:
        ValueError: the file is damaged, or its header is not true.
    """

    def __init__(self, path):
        self.name = repr(str(path))
        self.path = pathlib.Path(path)
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, bounds.HEADER):
                self._damaged(
                    f"its header takes {readable(length)}, the file {readable(size)}"
                )
            header = self._parsed(file.read(length))
        self.metadata = header.pop("__metadata__", None) or {}
        if not isinstance(self.metadata, dict):
            self._damaged("its `__metadata__` is not a dict")
        self._start = 8 + length
        self.tensors = {name: self._entry(name, e) for name, e in header.items()}
        self._check_places(size - self._start)

    def __exit__(self, *exception):
        """Do nothing: no file stays open."""

    def _damaged(self, reason):
        raise ValueError(f"{self.name} is no `.safetensors` file, or damaged: {reason}")

    def _parsed(self, data):
        def once(pairs):
            if len({name for name, _ in pairs}) < len(pairs):
                raise ValueError("a name comes twice")
            return dict(pairs)

        try:
            header = parsed(data, "the header", object_pairs_hook=once)
        except ValueError as error:
            self._damaged(str(error))
        if not isinstance(header, dict):
            self._damaged("its header is not a dict")
        return header

    def _entry(self, name, entry):
        """Return `(dtype, shape, first byte, end)` of one tensor."""
        try:
            kind, shape = _KINDS[entry["dtype"]], tuple(entry["shape"])
            first, end = entry["data_offsets"]
        except (LookupError, TypeError, ValueError):
            self._damaged(f"the entry of {name!r} is {str(entry)[:200]}")
        numbers = (*shape, first, end)
        if len(shape) > 32 or any(type(n) is not int or n < 0 for n in numbers):
            self._damaged(f"the entry of {name!r} is {str(entry)[:200]}")
        declared = math.prod(shape) * kind.itemsize
        if declared != end - first:
            self._damaged(
                f"{name!r} declares the shape {shape}, which takes "
                f"{readable(declared)}, and {readable(end - first)} for it"
            )
        return kind, shape, first, end

    def _check_places(self, stored):
        """Every byte belongs to one tensor: none is shared, left over or missing."""
        at = 0
        places = sorted((first, end) for _, _, first, end in self.tensors.values())
        for first, end in places:
            if first != at:
                self._damaged(f"no tensor begins where one ends, at byte {at}")
            at = end
        if at != stored:
            self._damaged(
                f"its tensors take {readable(at)}, and {readable(stored)} are stored"
            )

    def __contains__(self, name):
        return name in self.tensors

    def shape(self, name) -> tuple:
        """Return the shape of a tensor without reading it."""
        return self.tensors[name][1]

    def __getitem__(self, name):
        with self.path.open("rb") as file:
            return self._read(file, name)

    def all(self):
        """Yield `(name, tensor)` of all of them, with the file opened once."""
        with self.path.open("rb") as file:
            for name in self.tensors:
                yield name, self._read(file, name)

    def _read(self, file, name):
        kind, shape, first, end = self.tensors[name]
        file.seek(self._start + first)
        return np.frombuffer(file.read(end - first), kind).reshape(shape)


def write(file, tensors, metadata=None):
    """Write tensors into a file.

    Args:
        file: a binary file that is open for writing.
        tensors: a dict from name to array.
        metadata: a dict from text to text, or None.

    Raises:
        ValueError: the format has no such dtype.
    """
    header: dict = {"__metadata__": metadata} if metadata else {}
    at = 0
    # Wide numbers come first, so that all are aligned.
    order = sorted(tensors, key=lambda n: (-tensors[n].dtype.itemsize, n))
    for name in order:
        value = tensors[name]
        if value.dtype not in _NAMES:
            raise ValueError(
                f"`.safetensors` files hold no values of dtype {value.dtype}, which "
                f"{name!r} has."
            )
        header[name] = {
            "dtype": _NAMES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [at, at + value.nbytes],
        }
        at += value.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for name in order:
        file.write(bytes_of(tensors[name]))


def bytes_of(array) -> memoryview:
    """Return the bytes of an array, not copied where they lie in order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


# ---- models ------------------------------------------------------------------------


def _names(model):
    """Return `path -> {key: name}` for the values of all layers.

    A name is the place of the layer in the model and the weight's own name:
    `layers/dense_1/kernel`. It does not depend on what the layers are called.
    """
    found = {}
    for path, thing in objects(model).items():
        if not isinstance(thing, Layer):
            continue
        own = {}
        thing.save_own_variables(own)
        variables = saved_variables(thing).values()
        named = [v.name for v in variables]
        if list(own) != [str(i) for i in range(len(variables))]:
            named = list(own)
        elif len(set(named)) < len(named):
            named = [f"{name}_{i}" for i, name in enumerate(named)]
        prefix = f"{path}/" if path else ""
        found[path] = {
            str(key): f"{prefix}{name}" for key, name in zip(own, named, strict=True)
        }
    return found


def save(path, model, values, max_shard_size=None):
    """Write the weights of a model, whole or not at all.

    Args:
        path: where to.
        model: the model.
        values: what `values_of` gave for it.
        max_shard_size: is not looked at.
    """
    tensors = {}
    for place, names in _names(model).items():
        own = values.get(place, (None, {}))[1]
        tensors |= {names[key]: np.asarray(value) for key, value in own.items()}

    def check(part):
        read = Tensors(part)
        for name, value in tensors.items():
            compare_one(read, name, value, name)

    with replacing(path, check) as file:
        write(file, tensors, {"format": "lamina"})


def put(model, tensors, rename=None, skip_mismatch=False):
    """Put the tensors of a file into a model, by name.

    Args:
        model: the model, built.
        tensors: the file's `Tensors`.
        rename: a dict from names in the file to names in the model, or a function from
            one to the other; None for a tensor leaves it out.
        skip_mismatch: warn of what does not fit and leave it as it is.

    Raises:
        ValueError: a tensor has no place in the model, a weight is missing in the
            file, or shapes differ.
    """
    names = _names(model)
    known = {name for own in names.values() for name in own.values()}
    source = _sources(tensors, rename)
    missing = sorted(known - set(source))
    unknown = sorted(set(source) - known)
    if missing or unknown:
        text = (
            f"{tensors.name} does not hold the weights of model {model.name!r}."
            + (f" Missing in the file: {missing[:10]}." if missing else "")
            + (f" Without a place in the model: {unknown[:10]}." if unknown else "")
            + f" ({len(missing)} and {len(unknown)} in all.) `rename=` takes a dict or "
            "a function from names in the file to those of the model."
        )
        if not skip_mismatch:
            raise ValueError(text)
        warn(text)
    whole = {
        path: {key: source[name] for key, name in own.items()}
        for path, own in names.items()
        if own and all(name in source for name in own.values())
    }
    skip = [
        thing
        for path, thing in objects(model).items()
        if names.get(path) and path not in whole
    ]

    def section(path):
        held = {key: (tensors, name) for key, name in whole.get(path, {}).items()}
        return Places(held) if path in whole else None

    view = types.SimpleNamespace(name=tensors.name, section=section)
    put_values(model, view, skip_mismatch=skip_mismatch, objects_to_skip=skip)


def _sources(tensors, rename):
    """Return a dict from a name in the model to the name in the file."""
    source = {}
    for name in tensors.tensors:
        new = rename(name) if callable(rename) else (rename or {}).get(name, name)
        if new is None:
            continue
        if new in source:
            raise ValueError(
                f"`rename` gives two tensors of {tensors.name} the name {new!r}: "
                f"{source[new]!r} and {name!r}."
            )
        source[new] = name
    return source
