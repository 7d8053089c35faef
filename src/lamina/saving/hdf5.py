"""HDF5 files of weights: the one way in, which trusts nothing, and the way out.

Every link of a file is looked at before any value is read. Hard links to groups and
to plain numeric datasets that the file itself stores are let in; what is left out
(external and soft links, external storage, virtual datasets, objects, references,
unknown filters, more declared than a file of its size can hold) is refused with its
path and the reason.
"""

import collections.abc
import math

import jax.numpy as jnp
import numpy as np

BFLOAT16 = np.dtype(jnp.bfloat16)
FLOOR = 1 << 24  # bytes that any file may declare
RATIO = 16  # how much more than what it stores a larger file may declare
_OBJECTS = 1_000_000
_DEPTH = 256
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 32000: "lzf"}


def readable(size) -> str:
    """Return a number of bytes for people: `1.5 GiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.4g} {unit}"


class Weights:
    """The datasets of an HDF5 file, by the path of their group.

    Args:
        file: a path, or a binary file that is open for reading.
        stored: how many bytes it takes on the disk.
        name: what to call it in errors.

    Raises:
        ValueError: the file is damaged, or holds what is never read.
    """

    def __init__(self, file, stored, name):
        import h5py

        self.name = name
        self.declared = 0
        self._limit = max(FLOOR, RATIO * stored)
        self._seen = set()
        self._groups = {}
        self._names = {}
        try:
            self._file = h5py.File(file, "r")
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{name} is no HDF5 file, or damaged: {error}") from error
        try:
            self._scan(self._file.id, "", 0)
        except (OSError, RuntimeError, KeyError, TypeError) as error:
            self.close()
            raise ValueError(f"{name} is damaged: {error}") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Close the file."""
        self._file.close()

    def paths(self) -> list:
        """Return the paths of all groups that hold values."""
        return [path for path, found in self._groups.items() if found]

    def section(self, path):
        """Return the values of one object, by key; None where there is no group."""
        path = f"{path}/vars" if path else "vars"
        if path not in self._groups:
            return None
        return Section(self, path, self._groups[path])

    def saved_name(self, path):
        """Return the name that an object had when it was saved, or None."""
        return self._names.get(f"{path}/vars" if path else "vars")

    def _refuse(self, path, reason):
        raise ValueError(
            f"Not allowed: {self.name} holds at {path or '/'!r} {reason}. Files of "
            "weights store numbers, in themselves; this one may be meant to do harm."
        )

    def _scan(self, group, path, depth):
        from h5py import h5d, h5g, h5l, h5o  # pyright: ignore

        key = self._identity(h5o.get_info(group))
        if key in self._seen:
            self._refuse(path, "a group that has another path as well")
        self._seen.add(key)
        if depth > _DEPTH:
            self._refuse(path, f"groups more than {_DEPTH} levels deep")
        found = self._groups[path] = {}
        self._note_name(group, path)
        for raw in group:
            name = raw.decode("utf-8", "backslashreplace")
            where = f"{path}/{name}" if path else name
            kind = group.links.get_info(raw).type
            if kind != h5l.TYPE_HARD:
                kinds = {h5l.TYPE_SOFT: "SoftLink", h5l.TYPE_EXTERNAL: "ExternalLink"}
                self._refuse(
                    where, f"a link of the kind {kinds.get(kind, f'number {kind}')}"
                )
            if len(self._groups) + sum(map(len, self._groups.values())) > _OBJECTS:
                self._refuse(where, f"more than {_OBJECTS} objects")
            thing = h5o.open(group, raw)
            if isinstance(thing, h5g.GroupID):
                self._scan(thing, where, depth + 1)
            elif isinstance(thing, h5d.DatasetID):
                self._check_dataset(thing, where)
                found[name] = thing
            else:
                self._refuse(where, "a named type instead of values")

    @staticmethod
    def _identity(info):
        return getattr(info, "token", None) or (info.fileno, info.addr)

    def _note_name(self, group, path):
        name = _small_text(group, b"name")
        if name is not None:
            self._names[path] = name

    def _check_dataset(self, dataset, path):
        from h5py import h5d, h5t  # pyright: ignore

        plan = dataset.get_create_plist()
        if plan.get_external_count():
            where = plan.get_external(0)[0].decode("utf-8", "backslashreplace")
            self._refuse(path, f"a dataset whose values are in another file, {where!r}")
        if plan.get_layout() == h5d.VIRTUAL:
            self._refuse(path, "a virtual dataset, made of parts of other files")
        for i in range(plan.get_nfilters()):
            if plan.get_filter(i)[0] not in _FILTERS:
                self._refuse(path, f"a dataset with the filter {plan.get_filter(i)[0]}")
        kind = dataset.get_type()
        text = kind.get_class() == h5t.STRING and not kind.is_variable_str()
        plain = kind.get_class() in (h5t.INTEGER, h5t.FLOAT, h5t.ENUM) or text
        half = kind.get_class() == h5t.OPAQUE and kind.get_size() <= 2
        if not plain and not half:
            shown = kind.dtype if kind.get_class() != h5t.OPAQUE else "opaque"
            self._refuse(path, f"values of the dtype {shown}, which are no numbers")
        if any(n < 0 for n in dataset.shape) or len(dataset.shape) > 32:
            self._refuse(path, f"a dataset of the shape {dataset.shape}")
        declared = math.prod(dataset.shape) * kind.get_size()
        self.declared += declared
        if self.declared > self._limit:
            self._refuse(
                path,
                f"a shape bomb: {dataset.shape} declares {readable(declared)} with "
                f"{readable(dataset.get_storage_size())} stored, and with it the file "
                f"declares {readable(self.declared)}, more than the "
                f"{readable(self._limit)} that a file of its size may",
            )


class Section(collections.abc.Mapping):
    """The values of one object, read when they are asked for."""

    def __init__(self, weights, path, found):
        self._weights = weights
        self._path = path
        self._found = found

    def __len__(self):
        return len(self._found)

    def __iter__(self):
        return iter(self._found)

    def __contains__(self, key):
        return key in self._found

    def shape(self, key) -> tuple:
        """Return the shape of a value without reading it."""
        return tuple(self._found[key].shape)

    def __getitem__(self, key):
        import h5py

        dataset = h5py.Dataset(self._found[key])
        try:
            value = dataset[()]
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"{self._weights.name} is damaged: the values at "
                f"{self._path}/{key} cannot be read. {error}"
            ) from error
        value = np.asarray(value)
        if value.dtype.kind == "V":
            named = _small_text(self._found[key], b"dtype")
            if named != "bfloat16" or value.dtype.itemsize != 2:
                self._weights._refuse(
                    f"{self._path}/{key}", f"values of the unknown dtype {named}"
                )
            value = value.view(BFLOAT16)
        return value


def _small_text(owner, name):
    """Return an attribute if it is one short text."""
    from h5py import h5a, h5t  # pyright: ignore

    if not h5a.exists(owner, name):
        return None
    attribute = h5a.open(owner, name)
    kind = attribute.get_type()
    if attribute.shape != () or kind.get_class() != h5t.STRING:
        return None
    if not kind.is_variable_str():
        return None
    value = np.empty((), dtype=object)
    attribute.read(value)
    text = value[()]
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def write(file, values) -> None:
    """Write values into a new HDF5 file, in the layout of Keras.

    Args:
        file: a path, or a binary file that is open for writing.
        values: a dict from path to `(name, values by key)`; the name may be None.
    """
    import h5py

    with h5py.File(file, "w") as f:
        for path, (name, own) in values.items():
            if name is None and not own:
                continue
            group = f.require_group(f"{path}/vars" if path else "vars")
            if name is not None:
                group.attrs["name"] = name
            for key, value in own.items():
                if value.dtype == BFLOAT16:
                    group[key] = value.view("V2")
                    group[key].attrs["dtype"] = "bfloat16"
                else:
                    group[key] = value
