"""The formats of files: one row each, for all that reads, writes or looks at them."""

import dataclasses
from collections.abc import Callable

from lamina.saving import (
    archive,
    hdf5,
    headers,
    legacy_hdf5,
    orbax,
    report,
    safetensors,
    shards,
)
from lamina.saving.state import put_values


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of files. What it cannot do is None.

    Attributes:
        endings: what the names of its files end in.
        files: what to call them in errors.
        begins: the first bytes of all of them, where they have any in common.
        takes: the arguments of `load_weights` that not all formats know.
        open: opens the weights at a path, for a `with` block.
        put: puts opened weights into a model.
        edited: whether an editor may change the weights: they are `hdf5.Weights` and
            lie by their place in the model.
        write: writes the weights of a model to a path.
        split: whether it writes several files, so that `max_shard_size` is needed.
        load: makes the whole model of a file.
        save: writes a whole model.
        describe: tells a report what is in a file.
    """

    endings: tuple[str, ...]
    files: str
    open: Callable
    put: Callable
    describe: Callable
    begins: bytes = b""
    takes: tuple[str, ...] = ()
    edited: bool = False
    write: Callable | None = None
    split: bool = False
    load: Callable | None = None
    save: Callable | None = None


KERAS = Format(
    endings=(".keras",),
    files="'.keras' files",
    begins=b"PK",
    open=archive.opened,
    put=put_values,
    edited=True,
    load=archive.load,
    save=archive.save,
    describe=report.archive,
)
FORMATS = (
    KERAS,
    Format(
        endings=(".weights.h5",),
        files="'.weights.h5' files",
        begins=headers.SIGNATURE,
        takes=("objects_to_skip",),
        open=hdf5.opened,
        put=put_values,
        edited=True,
        write=shards.save_one,
        describe=report.hdf5,
    ),
    Format(
        endings=(shards.ENDING,),
        files="'.weights.json' lists of them",
        takes=("objects_to_skip",),
        open=shards.Shards,
        put=put_values,
        write=shards.save,
        split=True,
        describe=report.shards,
    ),
    Format(
        endings=(".safetensors",),
        files="'.safetensors' files, whose tensors are found by name",
        takes=("rename",),
        open=safetensors.Tensors,
        put=safetensors.put,
        write=safetensors.save,
        describe=report.tensors,
    ),
    Format(
        endings=(".h5", ".hdf5"),
        files="legacy '.h5' or '.hdf5' files",
        begins=headers.SIGNATURE,
        takes=("by_name",),
        open=hdf5.opened,
        put=legacy_hdf5.put_weights,
        load=legacy_hdf5.load,
        save=legacy_hdf5.save,
        describe=report.hdf5,
    ),
)
# Folders have no ending to be known by.
ORBAX = Format(
    endings=(),
    files="folders of Orbax checkpoints",
    open=orbax.opened,
    put=orbax.put,
    load=orbax.load,
    describe=orbax.describe,
)


def of(name, able) -> Format | None:
    """Return the format that the name of a file says, or None.

    Args:
        name: the name.
        able: the attribute of a format that must be there, such as `"load"`. Of
            several formats the one with the longer ending is meant.
    """
    found = [
        (len(ending), i)
        for i, row in enumerate(FORMATS)
        for ending in row.endings
        if getattr(row, able) and name.endswith(ending)
    ]
    return FORMATS[max(found)[1]] if found else None


def of_folder(path) -> Format | None:
    """Return the format of a folder, or None."""
    if (path / archive.CONFIG).is_file():
        return KERAS
    return ORBAX if orbax.is_checkpoint(path) else None


def of_start(start) -> Format | None:
    """Return the format that the first bytes of a file say, or None."""
    rows = (row for row in FORMATS if row.begins and start.startswith(row.begins))
    return next(rows, None)


def endings(able, **values) -> str:
    """List the endings of all formats that can do something, for errors.

    Args:
        able: the attribute of a format that must be there.
        values: what other attributes must be.
    """
    rows = [
        row
        for row in FORMATS
        if getattr(row, able) and all(getattr(row, k) == v for k, v in values.items())
    ]
    *first, last = (f"`{end}`" for row in rows for end in row.endings)
    return f"{', '.join(first)} or {last}" if first else last


def takers(option) -> str:
    """List the formats that know an argument of `load_weights`, for errors."""
    return " and ".join(row.files for row in FORMATS if option in row.takes)
