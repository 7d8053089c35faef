"""`.keras` files: archives whose members are checked first and read in place.

Nothing is ever extracted under a name that a file gives.
"""

import bisect
import contextlib
import datetime
import functools
import io
import json
import os
import pathlib
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from typing import Any

from lamina._version import __version__
from lamina.core import bounds
from lamina.core.budget import readable
from lamina.core.files import replacing
from lamina.core.texts import parsed
from lamina.saving import hdf5
from lamina.saving.hdf5 import Weights
from lamina.saving.state import compare, put_values, written_assets

CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"
ASSETS = "assets"
_CHUNK = 1 << 20
_DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError)


class Archive(contextlib.AbstractContextManager):
    """The members of a `.keras` file, or of a folder with the same files.

    Args:
        source: a path, or a binary file that is open for reading.

    Raises:
        ValueError: no zip file, or one with a member that is never read.
    """

    def __init__(self, source):
        self.name = repr(str(source)) if _is_path(source) else "The archive"
        self._zip: Any = None
        self._folder = None
        self._copies: Any = None  # of assets, while one object reads them
        if _is_path(source) and pathlib.Path(source).is_dir():
            self._folder = pathlib.Path(source)
            return
        try:
            self._zip = zipfile.ZipFile(source)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise ValueError(
                f"{self.name} is not a zip file, which a `.keras` file is, or it is "
                f"damaged: {error}"
            ) from error
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Close the file."""
        if self._zip is not None:
            self._zip.close()
        if self._copies is not None:
            self._copies.cleanup()

    def _check(self):
        members = self._zip.infolist()
        if len(members) > bounds.MEMBERS:
            self._refuse(f"{len(members)} members; {bounds.MEMBERS} are allowed")
        seen = set()
        for member in members:
            reason = _bad_name(member.orig_filename)
            if reason:
                self._refuse(f"a member of the name {member.orig_filename!r}, {reason}")
            if member.filename in seen:
                self._refuse(f"two members of the name {member.filename!r}")
            seen.add(member.filename)
            if stat.S_ISLNK(member.external_attr >> 16):
                self._refuse(f"a link, {member.filename!r}")
            if member.flag_bits & 1:
                self._refuse(f"an encrypted member, {member.filename!r}")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                self._refuse(
                    f"a member that is compressed with method {member.compress_type}, "
                    f"{member.filename!r}"
                )
            if member.compress_type == zipfile.ZIP_STORED:
                if member.file_size != member.compress_size:
                    self._refuse(
                        f"a member of two sizes, {member.filename!r}: it declares "
                        f"{member.file_size} bytes and stores {member.compress_size}"
                    )
            self._check_size(member.filename, member.file_size, member.compress_size)
        self._check_overlap(members)
        declared = sum(m.file_size for m in members)
        stored = sum(m.compress_size for m in members)
        self._check_size("all members together", declared, stored)

    def _check_overlap(self, members):
        """Let no two members share bytes, with which a small file holds much."""
        end, before = 0, None
        for member in sorted(members, key=lambda m: m.header_offset):
            if member.header_offset < end:
                self._refuse(
                    f"members that overlap, {before!r} and {member.filename!r}: the "
                    f"second begins at byte {member.header_offset}, the first ends at "
                    f"{end}"
                )
            # A local header is 30 bytes and a name, which may be written otherwise.
            end = member.header_offset + 30 + member.compress_size
            before = member.filename

    def _check_size(self, name, declared, stored):
        if declared > max(bounds.FLOOR, bounds.RATIO * stored):
            self._refuse(
                f"a decompression bomb, {name!r}: it declares {readable(declared)} "
                f"with {readable(stored)} stored"
            )

    def _refuse(self, reason):
        raise ValueError(
            f"Not allowed: {self.name} holds {reason}. No model is saved like this; "
            "the file may be meant to do harm."
        )

    @functools.cached_property
    def names(self) -> list:
        """The names of all members, in order."""
        if self._folder is None:
            return sorted(self._zip.namelist())
        found = (
            p for p in self._folder.rglob("*") if p.is_file() and not p.is_symlink()
        )
        return sorted(p.relative_to(self._folder).as_posix() for p in found)

    def text(self, name) -> str:
        """Return a member that is text.

        Raises:
            ValueError: it is missing, too large, damaged, or no UTF-8.
        """
        if name not in self.names:
            raise ValueError(
                f"{self.name} has no {name}, so it holds no model. It has: "
                f"{self.names[:10]}"
            )
        with self.open(name) as (file, _):
            data = self._guarded(name, file.read, bounds.TEXT + 1)
        if len(data) > bounds.TEXT:
            self._refuse(f"more than {readable(bounds.TEXT)} of text in {name!r}")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.name} is damaged: {name} is not UTF-8.") from error

    def json(self, name) -> Any:
        """Return what a member says in JSON.

        Raises:
            ValueError: it is missing, or no JSON.
        """
        return parsed(self.text(name), f"{self.name} is damaged: {name}")

    def config(self) -> dict:
        """Return the config of the model.

        Raises:
            ValueError: it describes none.
        """
        config = self.json(CONFIG)
        if not isinstance(config, dict) or "class_name" not in config:
            raise ValueError(f"{self.name} is damaged: {CONFIG} describes no model.")
        return config

    @contextlib.contextmanager
    def weights(self):
        """Give the weights, opened.

        Raises:
            ValueError: there are none.
        """
        if WEIGHTS not in self.names:
            raise ValueError(f"{self.name} has no {WEIGHTS}. It has: {self.names[:10]}")
        with self.open(WEIGHTS) as (file, stored):
            with Weights(file, stored, f"{WEIGHTS} in {self.name}", self) as weights:
                yield weights

    @contextlib.contextmanager
    def assets(self, path, deep=True):
        """Give a folder with copies of the assets of the object at `path`, or None.

        Args:
            path: the object's path.
            deep: whether folders in it are copied as well.
        """
        prefix = f"{ASSETS}/{path}/" if path else f"{ASSETS}/"
        # In order, "0" comes next to "/".
        ends = [bisect.bisect_left(self.names, x) for x in (prefix, prefix[:-1] + "0")]
        under = [n.removeprefix(prefix) for n in self.names[slice(*ends)]]
        names = [n for n in under if n[-1:] != "/" and (deep or "/" not in n)]
        if not names:
            yield None
            return
        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self._copies.name)
        try:
            for name in names:
                target = folder.joinpath(*name.split("/"))
                target.parent.mkdir(parents=True, exist_ok=True)
                with self.open(prefix + name) as (file, _):
                    target.write_bytes(file.read())
            yield str(folder)
        finally:  # one folder for all objects: some systems take long to remove one
            for copy in folder.iterdir():
                shutil.rmtree(copy) if copy.is_dir() else copy.unlink()

    @contextlib.contextmanager
    def open(self, name):
        """Give a member as `(binary file, bytes stored)`, its checksum tested."""
        if self._folder is not None:
            path = self._folder / name
            with path.open("rb") as file:
                yield file, path.stat().st_size
            return
        member = self._zip.getinfo(name)
        with self._guarded(name, self._zip.open, member) as file:
            # What is small is read many times: from memory, in the fewest calls.
            if member.compress_type != zipfile.ZIP_STORED or member.file_size <= _CHUNK:
                yield io.BytesIO(self._guarded(name, file.read)), member.compress_size
                return
            # The end of a member is where zipfile compares its checksum.
            while self._guarded(name, file.read, _CHUNK):
                pass
        yield _Window(self._zip.fp, *_place(self._zip.fp, member)), member.file_size

    def _guarded(self, name, read, *args):
        try:
            return read(*args)
        except _DAMAGES as error:
            raise ValueError(f"{self.name} is damaged at {name!r}: {error}") from error


class _Window(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, file, start, size):
        self._file = file
        self._start = start
        self._size = size
        self._at = 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=os.SEEK_SET):
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}
        self._at = max(0, base[whence] + offset)
        return self._at

    def tell(self):
        return self._at

    def readinto(self, buffer):
        count = max(0, min(len(buffer), self._size - self._at))
        self._file.seek(self._start + self._at)
        data = self._file.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _place(file, member):
    """Return where the bytes of a stored member begin, and how many there are."""
    file.seek(member.header_offset + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    return member.header_offset + 30 + name + extra, member.file_size


def _is_path(source):
    return isinstance(source, (str, os.PathLike))


def _bad_name(name):
    """Return why a member's name is refused, or None."""
    parts = name.removesuffix("/").split("/")
    if "\0" in name or "\\" in name:
        return "which holds a backslash or a zero byte"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "which is absolute"
    if ".." in parts:
        return "which leaves the archive"
    if "" in parts or "." in parts:
        return "which is not a plain path"
    return None


# ---- whole models ----------------------------------------------------------------


@contextlib.contextmanager
def opened(path):
    """Give the weights in a file."""
    with Archive(path) as archive, archive.weights() as weights:
        yield weights


def load(filepath, build, compile):
    """Load a whole model.

    Args:
        filepath: a path, or a binary file that is open for reading.
        build: a function that makes a model of its config, the bytes that the file
            holds for its weights, a name for errors, and a list that gets what has
            another class' name in the config, with that.
        compile: whether to compile it.
    """
    replaced: list = []
    with Archive(filepath) as archive, archive.weights() as weights:
        config = archive.config()
        if not compile:
            config.pop("compile_config", None)
        model = build(config, weights.declared, archive.name, replaced)
        put_values(model, weights, archive, replaced=replaced)
    return model


def save(filepath, model, config, values, zipped=None, optimizer=True):
    """Save a whole model and read it again.

    Args:
        filepath: a path, or a binary file that is open for writing.
        model: the model.
        config: its config, as text.
        values: what `values_of` gave for it.
        zipped: False for a folder with the members.
        optimizer: is not looked at: the state of the optimizer is in `values`.
    """

    def check(source):
        with opened(source) as weights:
            compare(weights, values)

    with written_assets(model) as assets:
        if hasattr(filepath, "write"):
            data = io.BytesIO()
            _write(data, config, values, assets)
            check(io.BytesIO(data.getbuffer()))
            filepath.write(data.getbuffer())
        elif zipped is False:
            _write_folder(pathlib.Path(filepath), config, values, assets)
            check(filepath)
        else:
            with replacing(filepath, check) as file:
                _write(file, config, values, assets)


def _metadata():
    now = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    return json.dumps(
        {"keras_version": hdf5.FORMAT, "date_saved": now, "lamina_version": __version__}
    )


def _write(file, config, values, assets):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(METADATA, _metadata())
        archive.writestr(CONFIG, config)
        with tempfile.TemporaryFile() as weights:
            hdf5.write(weights, values)
            weights.seek(0)
            with archive.open(WEIGHTS, "w", force_zip64=True) as member:
                shutil.copyfileobj(weights, member, 1 << 20)
        for name, path in assets:
            archive.write(path, f"{ASSETS}/{name}")


def _write_folder(folder, config, values, assets):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((METADATA, _metadata()), (CONFIG, config)):
        with replacing(folder / name) as file:
            file.write(text.encode())
    with replacing(folder / WEIGHTS) as file:
        hdf5.write(file, values)
    for name, path in assets:
        target = folder / ASSETS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as file:
            file.write(path.read_bytes())
