"""Files that are whole or not there."""

import os
import stat

import pytest

from lamina.callbacks import snapshot
from lamina.core.files import replacing, writable


def put(path, data, **options):
    with replacing(path, **options) as file:
        file.write(data)


def test_a_link_stays_or_is_replaced(tmp_path):
    there, link = tmp_path / "there", tmp_path / "link"
    there.write_bytes(b"old")
    link.symlink_to(there)
    put(link, b"new")
    assert link.is_symlink()
    assert there.read_bytes() == b"new"
    put(link, b"own", follow=False)
    assert not link.is_symlink()
    assert (link.read_bytes(), there.read_bytes()) == (b"own", b"new")


def test_permissions_stay(tmp_path):
    path = tmp_path / "f"
    put(path, b"1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask()
    path.chmod(0o640)
    put(path, b"2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def umask():
    """Return this process' umask, which is read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_check_that_fails_keeps_the_old_file(tmp_path):
    path = tmp_path / "f"
    put(path, b"old")

    def check(part):
        assert part.read_bytes() == b"new"
        raise OSError("not what it should be")

    with pytest.raises(OSError, match="not what it should be"):
        put(path, b"new", check=check)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path):
    path = tmp_path / "f"
    assert writable(str(path)) == path
    put(path, b"")
    assert writable(path) == path
    with pytest.raises(FileExistsError, match="`overwrite=False` keeps it"):
        writable(path, overwrite=False)
    with pytest.raises(FileNotFoundError, match="There is no folder .*'g' in"):
        writable(tmp_path / "none" / "g")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        writable(tmp_path)
    assert writable(tmp_path, folder=True) == tmp_path


def test_a_snapshot_removes_what_a_killed_run_left(tmp_path):
    folder = snapshot.Folder(tmp_path)
    (tmp_path / ".000000000000.snapshot.0123.part").write_bytes(b"half")
    folder.write(0, {"a": 1})
    folder.wait()
    assert [p.name for p in tmp_path.iterdir()] == ["000000000000.snapshot"]
    assert folder.read() == {"a": 1}
