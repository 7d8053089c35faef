"""HDF5 files of weights: the one way in, which trusts nothing, and the way out.

Every link of a file is looked at before any value is read. Hard links to groups and
to plain numeric datasets that the file itself stores are let in; what is left out
(external and soft links, external storage, virtual datasets, objects, references,
unknown filters, more declared than a file of its size can hold) is refused with its
path and the reason.
"""

import collections.abc
import contextlib
import math
import zlib

import jax.numpy as jnp
import numpy as np

from lamina.core import bounds
from lamina.core.budget import readable
from lamina.saving.headers import Headers

# The version of Keras whose formats these are.
FORMAT = "3.15.1"
BFLOAT16 = np.dtype(jnp.bfloat16)
_OPEN = 4096  # datasets that stay open; each takes 14 KiB
_LINK = 16  # bytes that a link takes at least
_GZIP, _SHUFFLE, _FLETCHER = 1, 2, 3
# What h5py raises for files that are damaged.
_ERRORS = (
    OSError,
    RuntimeError,
    LookupError,
    TypeError,
    MemoryError,
    OverflowError,
)


class Weights(contextlib.AbstractContextManager):
    """The datasets of an HDF5 file, by the path of their group.

    Args:
        file: a path, or a binary file that is open for reading.
        stored: how many bytes it takes on the disk.
        name: what to call it in errors.
        archive: the Archive that it is a member of, if any.

    Raises:
        ValueError: the file is damaged, or holds what is never read.
    """

    def __init__(self, file, stored, name, archive=None):
        import h5py
        from h5py import h5o  # pyright: ignore

        self.name = name
        self.archive = archive
        self.declared = 0
        self._limit = max(bounds.FLOOR, bounds.RATIO * stored)
        self._seen = set()
        self._groups = {}
        self._heaps_are_good = False
        self._longest = self._texts_read = self._objects = self._named = 0
        with contextlib.ExitStack() as stack:
            raw = file if hasattr(file, "read") else stack.enter_context(_raw(file))
            try:
                self._headers = Headers(raw)
                self._file = stack.enter_context(h5py.File(file, "r"))
            except (*_ERRORS, ValueError) as error:
                raise ValueError(
                    f"{name} is not an HDF5 file, or damaged: {error}"
                ) from error
            with self._readable(""):
                root = h5o.get_info(self._file.id)
                self._check_agrees(root, "")
                self._scan(self._file.id, root.addr, "", 0)
            self._stack = stack.pop_all()

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Close the file."""
        self._stack.close()

    def paths(self) -> list:
        """Return the paths of all groups that hold values."""
        return [path for path, found in self._groups.items() if found]

    def places(self) -> list:
        """Return the places of all objects: the groups that have values of their own.

        The root's is empty.
        """
        found = [p for p in self._groups if p == "vars" or p.endswith("/vars")]
        return [path.removesuffix("vars").removesuffix("/") for path in found]

    def section(self, path):
        """Return the values of one object, by key; None where there is no group."""
        return self.values(f"{path}/vars" if path else "vars")

    def values(self, path):
        """Return the datasets of the group at `path` itself, or None."""
        if path not in self._groups:
            return None
        return Section(self, path, self._groups[path])

    def texts(self, path, name):
        """Return an attribute of a group as a list of texts, or None.

        Keras splits what is too long for one attribute: `name0`, `name1`, ...
        """
        group = self.at(path or "/")
        with self._readable(path):
            found = self._texts(group, path, name)
            if found is not None:
                return found
            parts = []
            while (part := self._texts(group, path, f"{name}{len(parts)}")) is not None:
                parts.append(part)
                if (listed := sum(map(len, parts))) > bounds.OBJECTS:
                    self._refuse(path, f"a list of {listed} names, {name!r}")
            return [text for part in parts for text in part] if parts else None

    def at(self, path):
        """Open the object at a path that was found in the file."""
        from h5py import h5o  # pyright: ignore

        with self._readable(path):
            return h5o.open(self._file.id, path.encode())

    @contextlib.contextmanager
    def _readable(self, path):
        """Say of HDF5's own errors that the file is damaged."""
        try:
            yield
        except _ERRORS as error:
            raise ValueError(
                f"{self.name} is damaged at {path or '/'!r}: {error}"
            ) from error

    def _texts(self, group, path, name):
        from h5py import h5a, h5t  # pyright: ignore

        if not h5a.exists(group, name.encode()):
            return None
        attribute = h5a.open(group, name.encode())
        count, kind = math.prod(attribute.shape), attribute.get_type()
        if not count:
            return []
        if kind.get_class() != h5t.STRING:
            self._refuse(path, f"an attribute {name!r} that is not text")
        if count * kind.get_size() > bounds.ATTRIBUTE:
            size = readable(count * kind.get_size())
            self._refuse(path, f"an attribute {name!r} of {size}")
        if kind.is_variable_str():
            self._count_texts(group, path, name.encode(), count, kind)
        value = np.empty(attribute.shape, kind.dtype)
        attribute.read(value)
        return [_text_of(x) for x in value.reshape(-1).tolist()]

    def saved_name(self, path):
        """Return the name that an object had when it was saved, or None."""
        path = f"{path}/vars" if path else "vars"
        if path not in self._groups:
            return None
        return self._text(self.at(path), b"name")

    def _text(self, owner, name):
        """Return an attribute if it is one text, or None."""
        from h5py import h5a, h5t  # pyright: ignore

        with self._readable(""):
            if not h5a.exists(owner, name):
                return None
            attribute = h5a.open(owner, name)
            kind = attribute.get_type()
            if attribute.shape != () or kind.get_class() != h5t.STRING:
                return None
            if not kind.is_variable_str():
                return None
            self._count_texts(owner, "", name, 1, kind)
            value = np.empty((), dtype=object)
            attribute.read(value)
            return _text_of(value[()])

    def _count_texts(self, owner, path, name, count, kind):
        """Bound what texts take, many of which may point to one large one."""
        from h5py import h5o  # pyright: ignore

        if (each := kind.get_super().get_size()) != 1:
            self._refuse(
                path, f"texts of characters of {readable(each)} each, {name.decode()!r}"
            )
        self._check_heaps()
        key = h5o.get_info(owner).addr, name
        self._texts_read += self._headers.texts.get(key, count * self._longest)
        if self._texts_read > bounds.READ:
            self._refuse(
                path,
                f"an attribute {name.decode()!r} of {count} texts, with which the "
                f"texts of the file may take {readable(self._texts_read)}; "
                f"{readable(bounds.READ)} are allowed",
            )

    def _check_heaps(self):
        """Look at what texts are kept in before HDF5 does, which may never return.

        A collection of texts is a row of entries. HDF5 walks it by the sizes that are
        written there, and stays for ever where one is zero.
        """
        if self._heaps_are_good:
            return
        total, walked = self._headers.size, 0
        for at in self._headers.places(b"GCOL\x01"):
            size = int.from_bytes(self._headers.read(at + 8, 8), "little")
            walked += size
            if not 16 <= size <= total - at or walked > 2 * total:
                self._refuse("", f"a collection of texts of {readable(size)}")
            data, here = self._headers.read(at + 16, size - 16), 0
            while here + 16 <= len(data):
                length = int.from_bytes(data[here + 8 : here + 16], "little")
                used = data[here : here + 2] != b"\0\0"
                if used:
                    self._longest = max(self._longest, length)
                step = 16 + -(-length // 8) * 8 if used else length
                if step < 16 or step > len(data) - here:
                    self._refuse("", f"a damaged collection of texts at byte {at}")
                here += step
        self._heaps_are_good = True

    def _refuse(self, path, reason):
        raise ValueError(
            f"Not allowed: {self.name} holds at {path or '/'!r} {reason}. Files of "
            "weights store numbers, in themselves; this one may be meant to do harm."
        )

    def _scan(self, group, at, path, depth):
        from h5py import h5d, h5g, h5l, h5o  # pyright: ignore

        if at in self._seen:
            self._refuse(path, "a group that has another path as well")
        self._seen.add(at)
        if depth > bounds.DEPTH:
            self._refuse(path, f"groups more than {bounds.DEPTH} levels deep")
        found = self._groups[path] = {}
        for raw, kind, address in self._links(group, path):
            name = raw.decode("utf-8", "backslashreplace")
            where = f"{path}/{name}" if path else name
            if kind != h5l.TYPE_HARD:
                kinds = {h5l.TYPE_SOFT: "SoftLink", h5l.TYPE_EXTERNAL: "ExternalLink"}
                kind = kinds.get(kind, f"number {kind}")
                self._refuse(where, f"a link of the kind {kind}")
            self._named += len(where)
            if self._named > self._limit:
                self._refuse(where, f"paths that take {readable(self._named)} together")
            self._check_header(address, where)
            thing = h5o.open(group, raw)
            self._check_agrees(h5o.get_info(thing), where)
            if isinstance(thing, h5g.GroupID):
                self._scan(thing, address, where, depth + 1)
            elif isinstance(thing, h5d.DatasetID):
                self._check_dataset(thing, where)
                found[name] = thing if self._objects <= _OPEN else None
            else:
                self._refuse(where, "a named type instead of values")

    def _links(self, group, path):
        """Return `(name, kind, address)` of a group's links."""
        most = min(bounds.OBJECTS, self._headers.size // _LINK)
        found = []

        def take(raw, link):
            self._objects += 1
            if len(raw) > bounds.NAME:
                return f"a name of {readable(len(raw))}"
            if self._objects > most:
                return f"more than the {most} objects that a file of its size may hold"
            return found.append((raw, link.type, link.u))

        reason, _ = group.links.iterate(take, info=True)
        if reason is not None:
            self._refuse(path, reason)
        return found

    def _check_header(self, at, path):
        try:
            self._headers.check(at)
        except ValueError as error:
            self._refuse(path, str(error))

    def _check_agrees(self, info, path):
        if not self._headers.agrees(info.addr, info.hdr.mesg.present):
            self._refuse(path, "a header that can be read in two ways")

    def _check_dataset(self, dataset, path):
        from h5py import h5d, h5t  # pyright: ignore

        plan = dataset.get_create_plist()
        if plan.get_external_count():
            where = plan.get_external(0)[0].decode("utf-8", "backslashreplace")
            self._refuse(path, f"a dataset whose values are in another file, {where!r}")
        if plan.get_layout() == h5d.VIRTUAL:
            self._refuse(path, "a virtual dataset, made of parts of other files")
        filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
        for number in filters:
            if number not in (_GZIP, _SHUFFLE, _FLETCHER):
                self._refuse(path, f"a dataset with the filter {number}")
        # Only what gzip gives last can be measured before it is inflated.
        if _GZIP in filters and set(filters[filters.index(_GZIP) + 1 :]) - {_FLETCHER}:
            self._refuse(path, f"a dataset with the filters {filters}, in this order")
        kind = dataset.get_type()
        text = kind.get_class() == h5t.STRING and not kind.is_variable_str()
        plain = kind.get_class() in (h5t.INTEGER, h5t.FLOAT, h5t.ENUM) or text
        half = kind.get_class() == h5t.OPAQUE and kind.get_size() <= 2
        if not plain and not half:
            shown = kind.dtype if kind.get_class() != h5t.OPAQUE else "opaque"
            self._refuse(path, f"values of the dtype {shown}, which are not numbers")
        if any(n < 0 for n in dataset.shape) or len(dataset.shape) > 32:
            self._refuse(path, f"a dataset of the shape {dataset.shape}")
        declared = math.prod(dataset.shape) * kind.get_size()
        if plan.get_layout() == h5d.CHUNKED:
            # A whole chunk is taken into memory for a part of it.
            chunk = math.prod(plan.get_chunk()) * kind.get_size()
            if chunk > max(bounds.FLOOR, 4 * declared):
                self._refuse(
                    path,
                    f"a shape bomb: {dataset.shape} declares {readable(declared)} in "
                    f"chunks {plan.get_chunk()} of {readable(chunk)}",
                )
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
        self._last: tuple = None, None  # the last one that was opened for a while

    def __len__(self):
        return len(self._found)

    def __iter__(self):
        return iter(self._found)

    def __contains__(self, key):
        return key in self._found

    def shape(self, key) -> tuple:
        """Return the shape of a value without reading it."""
        return tuple(self._opened(key).shape)

    def dtype(self, key) -> str:
        """Return the name of the dtype of a value without reading it."""
        dataset = self._opened(key)
        return self._weights._text(dataset, b"dtype") or str(dataset.dtype)

    def size(self, key) -> int:
        """Return the bytes of a value without reading it."""
        return math.prod(self.shape(key)) * self._opened(key).dtype.itemsize

    def _opened(self, key):
        if (dataset := self._found[key]) is not None:
            return dataset
        if self._last[0] != key:
            self._last = key, self._weights.at(f"{self._path}/{key}")
        return self._last[1]

    def __getitem__(self, key):
        from h5py import h5s  # pyright: ignore

        dataset = self._opened(key)
        try:
            self._check_chunks(dataset, key)
            value = np.zeros(dataset.shape, dataset.dtype)
            dataset.read(h5s.ALL, h5s.ALL, value)
        except _ERRORS as error:
            raise ValueError(
                f"{self._weights.name} is damaged: the values at "
                f"{self._path}/{key} cannot be read. {error}"
            ) from error
        if value.dtype.kind == "V":
            named = self._weights._text(dataset, b"dtype")
            if named != "bfloat16" or value.dtype.itemsize != 2:
                self._weights._refuse(
                    f"{self._path}/{key}", f"values of the unknown dtype {named}"
                )
            value = value.view(BFLOAT16)
        return value

    def _check_chunks(self, dataset, key):
        """Let no gzip chunk inflate to more than its shape, which HDF5 would allow."""
        plan = dataset.get_create_plist()
        filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
        if _GZIP not in filters:
            return
        size = math.prod(plan.get_chunk()) * dataset.get_type().get_size()
        size += 4 * filters.count(_FLETCHER)
        whole = zip(dataset.shape, plan.get_chunk(), strict=True)
        most = math.prod(-(-n // m) for n, m in whole)
        chunks = []
        # One walk: to ask for the place of each takes a walk each.
        dataset.chunk_iter(lambda c: chunks.append(c) if len(chunks) < most else True)
        for chunk in chunks:
            if chunk.filter_mask & 1 << filters.index(_GZIP):
                continue
            if chunk.size > self._weights._headers.size:
                raise OSError(f"a chunk takes {readable(chunk.size)}")
            stored = dataset.read_direct_chunk(chunk.chunk_offset)[1]
            try:
                inflated = zlib.decompressobj().decompress(stored, size + 1)
            except zlib.error as error:
                raise OSError(f"a chunk is not gzip: {error}") from error
            if len(inflated) > size:
                self._weights._refuse(
                    f"{self._path}/{key}",
                    f"a decompression bomb: a chunk of {readable(len(stored))} inflates"
                    f" to more than the {readable(size)} of its shape",
                )


def opened(path) -> Weights:
    """Open a file."""
    return Weights(path, path.stat().st_size, repr(str(path)))


def _raw(path):
    return open(path, "rb", buffering=0)  # noqa: PTH123


def _text_of(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


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
                write_value(group, key, value)


def write_value(group, key, value) -> None:
    """Write one array into a group; HDF5 has no bfloat16 and is told its bytes."""
    if value.dtype == BFLOAT16:
        group[key] = value.view("V2")
        group[key].attrs["dtype"] = "bfloat16"
    else:
        group[key] = value
