"""Files from the net: fetched, checked against a hash, unpacked, never trusted."""

import contextlib
import errno
import hashlib
import io
import itertools
import lzma
import os
import pathlib
import posixpath
import re
import shutil
import stat
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from typing import Any

from lamina.core import bounds, settings
from lamina.core.extras import load_rich
from lamina.core.files import replacing, replacing_folder
from lamina.core.naming import shortened
from lamina.core.tracebacks import boundary, warn

_CHUNK = 1 << 18
_PATIENCE = 60  # seconds without a byte
_DEEP = 10  # folders around an entry that take as long as the entry
# What Python's readers raise for an archive that is cut short, damaged or encrypted.
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    RuntimeError,  # a zip with a password
    NotImplementedError,  # a zip packed in a way that Python has no reader for
    OverflowError,  # a time that the system has not
    lzma.LZMAError,
    zlib.error,
)
# What the system says of names that no file can have, or of a file that is a folder.
_BY_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EILSEQ)


@boundary
def get_file(
    fname: Any = None,
    origin: Any = None,
    untar: bool = False,
    md5_hash: Any = None,
    file_hash: Any = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: str = "auto",
    cache_dir: Any = None,
    force_download: bool = False,
):
    """Return the path of a file from the net, which is fetched if it is not there.

    A file appears under its name only when it is complete and its hash is right. An
    archive is unpacked beside it, wholly or not at all; one with an entry that leads
    out of the folder (an absolute path, `..`, a link), or with a device, is refused.

    Args:
        fname: the name to give it; the last part of `origin` when None. With
            `extract` it names the folder: `a` is unpacked to `a`, `a.zip` to
            `a_extracted`.
        origin: the URL: `https`, `http`, `ftp` or `file`.
        untar: like `extract`, for tar only.
        md5_hash: the MD5 that the file must have.
        file_hash: the SHA256 or MD5 that the file must have. It is checked whenever
            it is given, for a file that is already there too.
        cache_subdir: the folder below `cache_dir`, or an absolute one.
        hash_algorithm: `"sha256"`, `"md5"`, or `"auto"` to go by the length.
        extract: whether to unpack a tar or zip archive.
        archive_format: `"tar"`, `"zip"`, a list of them, `"auto"` for both, or None.
        cache_dir: where to keep files; when None, the environment variable
            `KERAS_HOME`, or `~/.keras`.
        force_download: fetch it even when it is there.

    Returns:
        The path of the file, or of the folder with `extract`, as a string.

    Raises:
        ValueError: a wrong hash, a name that is a path, or a hostile archive.
        OSError: it could not be fetched.

    >>> import pathlib, tempfile, lamina
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "here.txt").write_text("text")
    >>> path = lamina.utils.get_file(
    ...     "there.txt", (folder / "here.txt").as_uri(), cache_dir=folder
    ... )
    Downloading data from file://...here.txt
    >>> path == str(folder / "datasets" / "there.txt")
    True
    """
    if origin is None:
        raise ValueError('Please specify the "origin" argument: the URL of the file.')
    unpack = extract or untar
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, "md5"
    expected = _expected(file_hash, hash_algorithm)
    formats = _formats("tar" if untar else archive_format)
    given, name = fname is not None, _name(fname, origin)
    folder = _folder(cache_dir, cache_subdir)
    target = goal = folder / name
    if unpack:
        stem, dot, _ = name.partition(".")
        if given and dot and stem:
            goal = folder / f"{stem}_extracted"
        else:
            target = folder / f"{name}_archive"
    fetch = force_download or not target.exists()
    if not fetch and expected is not None and _hash(target, expected[0]) != expected[1]:
        _say(
            f"A local file was found, but its {expected[0]} is not {expected[1]}: it "
            "is incomplete or outdated, and will be fetched again."
        )
        fetch = True
    if fetch:
        _download(origin, target, expected)
    if not unpack:
        return str(target)
    if fetch or not goal.exists():
        _extract(target, goal, formats)
    return str(goal)


# ---- names -------------------------------------------------------------------


def _name(fname, origin):
    """Return the name of the file, which is never taken from an answer of the net."""
    if fname is not None:
        name = os.fspath(fname)
    else:
        name = posixpath.basename(urllib.parse.urlsplit(origin).path)
    if not name:
        raise ValueError(
            f"`origin` ends in no name of a file: {origin!r}. Please specify the "
            "`fname` argument."
        )
    if re.search(r"[/\\:\x00]", name) or name in (".", ".."):
        raise ValueError(
            "`fname` must be a name, not a path; the folder is told by `cache_dir` and "
            "`cache_subdir`, or by the environment variable KERAS_HOME. Received: "
            f"fname={name!r}"
        )
    return name


def _folder(cache_dir, cache_subdir):
    if cache_dir is None:
        cache_dir = os.environ.get("KERAS_HOME") or "~/.keras"
    root = pathlib.Path(cache_dir).expanduser()
    with contextlib.suppress(OSError):
        root.mkdir(parents=True, exist_ok=True)
    if not os.access(root, os.W_OK) and not pathlib.Path(cache_subdir).is_absolute():
        root = _private_folder()
    folder = root / cache_subdir
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _private_folder():
    """Return a folder among the temporary ones that nobody else can have filled."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = pathlib.Path(tempfile.gettempdir()) / f"keras-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (user != "user" and found.st_uid != user):
        raise PermissionError(
            f"The cache folder cannot be written, and {str(folder)!r} belongs to "
            "somebody else. Give `cache_dir`."
        )
    return folder


# ---- hashes ------------------------------------------------------------------


def _expected(file_hash, algorithm):
    """Return the algorithm and the hash to expect, or None."""
    if file_hash is None:
        return None
    text = str(file_hash).lower()
    if algorithm == "auto":
        algorithm = "sha256" if len(text) == 64 else "md5"
    if {"sha256": 64, "md5": 32}.get(algorithm) != len(text) or not re.fullmatch(
        "[0-9a-f]+", text
    ):
        raise ValueError(
            "`file_hash` must be the SHA256 of the file (64 hexadecimal digits) or its "
            f"MD5 (32), and `hash_algorithm` must agree. Received: {file_hash!r}"
        )
    return algorithm, text


def _hash(path, algorithm):
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


# ---- fetching ----------------------------------------------------------------


def _download(origin, target, expected):
    """Fetch a file beside its place, check it, and only then put it there."""
    _say(f"Downloading data from {origin}")

    def check(part):
        if expected is not None and (found := _hash(part, expected[0])) != expected[1]:
            raise ValueError(
                f"Incomplete or corrupted file detected: the {expected[0]} of {origin} "
                f"is {found}, not {expected[1]}. Nothing was kept."
            )

    with replacing(target, check, follow=False) as file:
        try:
            _receive(origin, file)
        except OSError as error:
            raise OSError(
                f"URL fetch failure on {origin}: {error}. Without a network, put the "
                f"file from there at {target}."
            ) from error


def _receive(origin, file):
    try:
        with urllib.request.urlopen(origin, timeout=_PATIENCE) as answer:
            length = answer.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else None
            with _progress(total) as advance:
                received = 0
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    received += len(chunk)
                    advance(len(chunk))
    except urllib.error.HTTPError as error:
        reason = f"{error.code} -- {error.reason}"
        error.close()
        raise OSError(reason) from None
    except urllib.error.URLError as error:
        raise OSError(error.reason) from error
    if total is not None and received != total:
        raise OSError(f"the connection ended after {received} of {total} bytes")


@contextlib.contextmanager
def _progress(total):
    """Draw a bar where there is a terminal; yield what moves it on."""
    load_rich()
    from rich import progress

    columns = (
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    quiet = not settings.get("interactive_logging")
    with progress.Progress(*columns, transient=True, disable=quiet) as bar:
        if not bar.console.is_terminal:
            bar.disable = True
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)


def _say(text):
    if settings.get("interactive_logging"):
        print(text)


# ---- unpacking ---------------------------------------------------------------


def _formats(given):
    if given == "auto":
        return ("tar", "zip")
    formats = (given,) if isinstance(given, str) else tuple(given or ())
    unknown = set(formats) - {"tar", "zip"}
    if unknown:
        raise NotImplementedError(
            '`archive_format` must be "tar", "zip", a list of them, "auto" or None. '
            f"Received: {sorted(map(str, unknown))}"
        )
    return formats


def _extract(path, goal, formats):
    """Unpack an archive into a new folder, which then takes its place at once."""
    kinds = {"tar": _is_tar, "zip": zipfile.is_zipfile}
    with _telling(path):
        kind = next((name for name in formats if kinds[name](path)), None)
    if kind is None:
        tried = " or ".join(formats) or "any"
        warn(f"Could not extract archive {path}: it is no {tried} file.")
        return
    if goal.exists() and not goal.is_dir():
        raise FileExistsError(
            f"The archive cannot be unpacked to {str(goal)!r}: there is a file of this "
            "name. Give another `fname`, or remove it."
        )
    with replacing_folder(goal) as fresh, _telling(path):
        (_untar if kind == "tar" else _unzip)(path, fresh)


@contextlib.contextmanager
def _telling(path):
    """Say of what Python's readers raise that the archive is damaged."""
    try:
        yield
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _BY_NAME:
            raise
        said = shortened(str(error), bounds.MESSAGE)
        raise ValueError(
            f"The archive {str(path)!r} cannot be read: {said}. It is cut short, "
            "damaged or encrypted. Nothing was unpacked."
        ) from None


class _Header(tarfile.TarInfo):
    """An entry's header, whose extensions are not read at any length."""

    def _proc_gnulong(self, archive):
        self._check_length(archive)
        return super()._proc_gnulong(archive)  # pyright: ignore

    def _proc_pax(self, archive):
        self._check_length(archive)
        data = archive.fileobj.read(self._block(self.size))  # pyright: ignore
        # Python 3.11 seeks a word after each run of digits from each of them on.
        if re.search(rb"\d{%d}" % (bounds.FILE_NUMBER + 1), data):
            what = f"its header holds a number of more than {bounds.FILE_NUMBER} digits"
            _refuse(self.name, what)
        # It also takes for a key whatever stands before the next `=`.
        if not _are_records(data[: self.size]):
            _refuse(self.name, "its header is damaged")
        if self.type == tarfile.XGLTYPE:
            # Each entry that follows gets a copy of what holds for all.
            archive.shared = getattr(archive, "shared", 0) + self.size
            if archive.shared > bounds.FILE_SHARED:
                what = f"it and others say {archive.shared} bytes of all entries"
                _refuse(self.name, what)
        archive.fileobj = _Again(archive, data)
        return super()._proc_pax(archive)  # pyright: ignore

    def _proc_sparse(self, archive):
        # The list of its parts goes on block after block, without a length.
        _refuse(self.name, "it is a sparse file")

    def _proc_gnusparse_10(self, member, headers, archive):
        self._proc_sparse(archive)

    def _check_length(self, archive):
        if not 0 <= self.size <= bounds.FILE_NAME:
            _refuse(
                self.name,
                f"its header goes on for {self.size} bytes; at most {bounds.FILE_NAME} "
                "are read",
            )
        archive.extended = getattr(archive, "extended", 0) + self.size
        stored = pathlib.Path(archive.name).stat().st_size
        if archive.extended > max(bounds.FLOOR, 4 * stored):
            what = f"with it, headers go on for {archive.extended} bytes"
            _refuse(self.name, what)


def _are_records(data):
    """Tell whether each line is a pair after its length: `12 key=value`."""
    at = 0
    while at < len(data):
        length, space, _ = data[at : at + bounds.FILE_NUMBER].partition(b" ")
        size = int(length) if space and length.isdigit() else 0
        record = data[at : at + size]
        if len(record) != size or b"=" not in record or not record.endswith(b"\n"):
            return False
        at += size
    return True


class _Again:
    """Gives an archive once more what was read of it, then its own file."""

    def __init__(self, archive, data):
        self._archive, self._file, self._data = archive, archive.fileobj, data

    def read(self, size):
        """Return the bytes, whatever is asked for."""
        self._archive.fileobj = self._file
        return self._data


class _Tar(tarfile.TarFile):
    """A tar, plain or packed; what LZMA has packed is read by `_Unpacked`."""

    OPEN_METH = {k: v for k, v in tarfile.TarFile.OPEN_METH.items() if k != "xz"}


class _Unpacked(io.RawIOBase):
    """What LZMA has packed: a file says how much memory it takes to unpack it.

    Args:
        file: the packed file.
    """

    def __init__(self, file):
        self._file = file
        self._begin()

    def _begin(self):
        self._file.seek(0)
        self._at, self._unpack = 0, self._unpacker()

    @staticmethod
    def _unpacker():
        return lzma.LZMADecompressor(memlimit=bounds.WINDOW)

    def readable(self):
        return True

    def seekable(self):
        return True

    def readinto(self, buffer):
        data = b""
        while not data:
            given = self._unpack.unused_data if self._unpack.eof else b""
            if not given and (self._unpack.eof or self._unpack.needs_input):
                given = self._file.read(_CHUNK)
                if not given and self._unpack.eof:
                    return 0
                if not given:
                    raise EOFError("it ends before what was packed does")
            if self._unpack.eof:  # another one may follow, after some zeros
                given = given.lstrip(b"\0")
                self._unpack = self._unpacker() if given else self._unpack
                if not given:
                    continue
            data = self._unpack.decompress(given, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset, whence=os.SEEK_SET):
        goal = offset + (self._at if whence == os.SEEK_CUR else 0)
        if goal < self._at:
            self._begin()
        while self._at < goal and self.read(min(_CHUNK, goal - self._at)):
            pass
        return self._at


@contextlib.contextmanager
def _opened(path):
    """Open a tar for the time of a context."""
    with path.open("rb") as file:
        unpacked: Any = io.BufferedReader(_Unpacked(file), _CHUNK)
        try:
            unpacked.peek(1)
        except (lzma.LZMAError, EOFError) as error:
            if "limit" in str(error):
                raise ValueError(
                    f"The archive {str(path)!r} takes more than {bounds.WINDOW} bytes "
                    "of memory to unpack. It was not unpacked."
                ) from None
            file.seek(0)
            unpacked = file
        with _Tar.open(path, fileobj=unpacked, tarinfo=_Header) as archive:
            yield archive


def _is_tar(path):
    try:
        with _opened(path):
            return True
    except tarfile.TarError:
        return False


def _headers(archive, path):
    """Return the headers of a tar; refuse too many as they come."""
    stored = path.stat().st_size
    headers, count = [], _Count(stored)
    for header in archive:
        if header.size < 0:
            _refuse(header.name, f"its size is {header.size}")
        header.pax_headers = {}  # what they say of it has been taken
        headers.append(header)
        _check_growth(stored, archive.offset)  # where the next one is sought
        count(header.name)
    return headers


class _Count:
    """Counts entries and the folders that they lie in; refuses too many as they come.

    Args:
        stored: the bytes of the archive.
    """

    def __init__(self, stored):
        self._stored, self._most = stored, bounds.FILES + stored // bounds.FILE
        self._count, self._folders = 0, {}

    def __call__(self, name):
        """Count the entry of a name."""
        *folders, _ = name.split("/")
        if len(folders) > bounds.DEPTH:
            _refuse(name, f"it lies in more than {bounds.DEPTH} folders")
        # The system goes through all of them for each entry.
        self._count += 1 + len(folders) // _DEEP
        inside = self._folders
        for folder in folders:
            if folder not in inside:
                self._count += 1
                inside[folder] = {}
            inside = inside[folder]
        if self._count > self._most:
            raise ValueError(
                f"The archive of {self._stored} bytes holds more than {self._most} "
                "entries and folders. It was not unpacked."
            )


def _untar(path, folder):
    with _opened(path) as archive:
        members = _headers(archive, path)
        links = {_parts(m.name) for m in members if m.issym()}
        files = {_parts(m.name) for m in members if m.isfile()}
        for member in members:
            _check_member(member, links, files)
        _check_size(path, sum(m.size for m in members if m.isfile()), folder)
        # The interpreter's own checks come on top.
        archive.extractall(folder, members, filter="data")


def _check_member(member, links, files):
    parts = _parts(member.name)
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        _refuse(member.name, "it is a device or a pipe, not a file")
    if any(parts[:end] in links for end in range(1, len(parts))):
        _refuse(member.name, "it lies behind a link of the archive")
    if member.issym():
        at = posixpath.dirname("/".join(parts))
        led = _parts(member.linkname, member.name, at)
        if any(led[:end] in links for end in range(1, len(led) + 1)):
            _refuse(member.name, "it is a link to a link")
    if member.islnk():
        led = _parts(member.linkname, member.name)
        # Of an entry that became a link, Python seeks the file in the whole archive.
        if led not in files or led in links:
            _refuse(member.name, "it is a link to what is not a file of the archive")


def _unzip(path, folder):
    with zipfile.ZipFile(path) as archive:
        members, count = archive.infolist(), _Count(path.stat().st_size)
        for member in members:
            count(member.orig_filename)
            # `filename` has been cut at a NUL and had its separators changed.
            _parts(member.orig_filename)
            if stat.S_IFMT(member.external_attr >> 16) == stat.S_IFLNK:
                _refuse(member.filename, "it is a link")
            # Python's other readers unpack all that they were given at once.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                what = f"it is compressed with method {member.compress_type}"
                _refuse(member.filename, f"{what}; stored and deflate are read")
        _check_size(path, sum(member.file_size for member in members), folder)
        archive.extractall(folder, members)


def _parts(name, link=None, at=""):
    """Return the parts of a path within the archive; refuse one that leads out.

    Args:
        name: the path.
        link: the entry that is a link to it; None for an entry's own path.
        at: the folder that it starts from.
    """
    member = name if link is None else link
    if re.search(r"[\\\x00]|^[A-Za-z]:", name):
        _refuse(member, "its path has a drive, a backslash or a NUL")
    if name.startswith("/"):
        _refuse(member, "its path is absolute")
    if name.count("/") > bounds.DEPTH:
        _refuse(member, f"its path has more than {bounds.DEPTH} folders")
    steps = [step for step in name.split("/") if step not in ("", ".")]
    # A link may go up before it goes down: `..` after a name may follow a link.
    up = len(list(itertools.takewhile(lambda step: step == "..", steps)))
    if ".." in steps[0 if link is None else up :]:
        _refuse(member, "its path has `..`")
    parts = tuple(posixpath.normpath(posixpath.join(at, name)).split("/"))
    if parts[0] == "..":
        _refuse(member, "it leads out of the folder")
    return () if parts == (".",) else parts


def _check_growth(stored, size):
    if size > bounds.LARGE and size > bounds.GROWTH * stored:
        raise ValueError(
            f"The archive of {stored} bytes would unpack to {size} bytes, more than "
            f"{bounds.GROWTH} times as many. It was not unpacked."
        )


def _check_size(path, size, folder):
    _check_growth(path.stat().st_size, size)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(
            f"The archive unpacks to {size} bytes, but only {free} bytes are free."
        )


def _refuse(name, reason):
    raise ValueError(
        f"The archive holds the entry {name[:100]!r}, which is refused: {reason}. "
        "Nothing was unpacked."
    )
