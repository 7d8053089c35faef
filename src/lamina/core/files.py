"""Files that are whole or not there: written aside, flushed, checked, then renamed."""

import contextlib
import os
import pathlib
import secrets
import shutil
import stat
import tempfile


@contextlib.contextmanager
def replacing(path, check=lambda path: None, follow=True, flush=True):
    """Give a new binary file that takes the place of `path` at the end, whole.

    It is written beside `path`, flushed to the disk, checked and renamed. Whatever
    stops this, `path` is either the old file or the new one.

    Args:
        path: where the file shall be.
        check: is called with the path of the finished file before it takes its place.
        follow: whether a link at `path` stays, and the file that it leads to is
            replaced; otherwise the link is.
        flush: whether to wait for the disk, without which only what has a checksum of
            its own is known to be whole after the machine went down.
    """
    path = pathlib.Path(path).resolve() if follow else pathlib.Path(path)
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
    try:
        with part.open("x+b") as file:
            yield file
            file.flush()
            if flush:
                os.fsync(file.fileno())
        check(part)
        if path.exists():
            part.chmod(stat.S_IMODE(path.stat().st_mode))
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if flush:
        _sync_folder(path.parent)


@contextlib.contextmanager
def replacing_folder(path):
    """Give a new folder that takes the place of `path` at the end, all at once."""
    fresh = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield fresh
        fresh.chmod(0o755)
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
        fresh.replace(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _sync_folder(path):
    # Not every system opens folders; there the rename is safe without it.
    with contextlib.suppress(OSError):
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def writable(filepath, overwrite=True, folder=False) -> pathlib.Path:
    """Return the path that a file is to be written to, if it can be.

    Args:
        filepath: the path.
        overwrite: whether a file that is there may be replaced.
        folder: whether a folder is written there, not a file.

    Raises:
        FileExistsError: the file is there and shall not be replaced.
        FileNotFoundError: the folder that it would be in is missing.
        IsADirectoryError: there is a folder where a file is to be written.
    """
    path = pathlib.Path(os.fspath(filepath))
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{str(path)!r} exists, and `overwrite=False` keeps it. Save under another "
            "name, or pass `overwrite=True`."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(path.parent)!r} to write {path.name!r} in."
        )
    if path.is_dir() and not folder:
        raise IsADirectoryError(
            f"{str(path)!r} is a folder, and one file is to be written there."
        )
    return path
