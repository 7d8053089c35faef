"""`get_file`: from a local server, and archives that mean harm."""

import bz2
import gzip
import hashlib
import http.server
import io
import lzma
import pathlib
import random
import stat
import tarfile
import threading
import tracemalloc
import zipfile
import zlib

import pytest

from lamina.utils import get_file

TEXT = b"Der Worte sind genug gewechselt."
SHA256, MD5 = hashlib.sha256(TEXT).hexdigest(), hashlib.md5(TEXT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    asked = []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/evil/..%2f..%2fname.txt")
        elif self.path == "/none.txt":
            self.send_response(404)
        else:
            self.send_response(200)
            if self.path == "/named":
                self.send_header("Content-Disposition", 'attachment; filename="../x"')
            short = 10 if self.path == "/short.txt" else 0
            self.send_header("Content-Length", str(len(TEXT) + short))
        self.end_headers()
        if self.path not in ("/away", "/none.txt"):
            self.wfile.write(TEXT)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    Handler.asked.clear()
    return tmp_path / "home"


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def test_fetched_once(server, home, capsys):
    for file_hash in (None, SHA256, MD5.upper()):
        path = get_file(origin=f"{server}/a.txt?x=/y", file_hash=file_hash)
        assert path == str(home / "datasets" / "a.txt")
        assert pathlib.Path(path).read_bytes() == TEXT
    assert get_file("a.txt", f"{server}/a.txt", md5_hash=MD5) == path
    assert len(Handler.asked) == 1
    assert capsys.readouterr().out == f"Downloading data from {server}/a.txt?x=/y\n"
    get_file(origin=f"{server}/a.txt", force_download=True)
    assert len(Handler.asked) == 2


def test_a_damaged_file_is_fetched_again(server, home, capsys):
    path = pathlib.Path(get_file(origin=f"{server}/a.txt", cache_subdir="texts"))
    assert path.parent == home / "texts"
    path.write_bytes(b"damaged")
    get_file(origin=f"{server}/a.txt", cache_subdir="texts", file_hash=SHA256)
    assert path.read_bytes() == TEXT
    assert "fetched again" in capsys.readouterr().out


def test_a_failure_leaves_what_was_there(server, home):
    path = pathlib.Path(get_file("a.txt", f"{server}/a.txt"))
    for url, error, message in (
        ("/a.txt", ValueError, "Incomplete or corrupted file detected"),
        ("/none.txt", OSError, "URL fetch failure .*404"),
        ("/short.txt", OSError, "ended after 32 of 42 bytes|IncompleteRead"),
    ):
        with pytest.raises(error, match=message):
            get_file("a.txt", server + url, force_download=True, file_hash="0" * 64)
    assert path.read_bytes() == TEXT
    assert files_in(home) == ["datasets", "datasets/a.txt"]


def test_no_name_comes_from_the_answer(server, home):
    assert pathlib.Path(get_file(origin=f"{server}/away")).name == "away"
    assert pathlib.Path(get_file(origin=f"{server}/named")).name == "named"
    assert files_in(home) == ["datasets", "datasets/away", "datasets/named"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, '"origin"'),
        ({"origin": "http://h/"}, "specify the `fname`"),
        ({"origin": "http://h/.."}, "a name, not a path"),
        ({"fname": "../a", "origin": "http://h/a"}, "a name, not a path"),
        ({"fname": "a\\b", "origin": "http://h/a"}, "a name, not a path"),
        ({"fname": "C:a", "origin": "http://h/a"}, "a name, not a path"),
        ({"origin": "http://h/a", "file_hash": "12"}, "64 hexadecimal digits"),
        (
            {"origin": "http://h/a", "file_hash": MD5, "hash_algorithm": "sha256"},
            "must agree",
        ),
    ],
)
def test_bad_arguments(arguments, message, home):
    with pytest.raises(ValueError, match=message):
        get_file(**arguments)
    assert not home.exists()


# ---- archives ----------------------------------------------------------------


def entry(name, kind=tarfile.REGTYPE, link="", data=b"text"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, io.BytesIO(data)


def tar(path, *entries, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for info, data in entries:
            archive.addfile(info, data)
    return path.as_uri()


def test_tar_and_zip_are_unpacked(tmp_path, home):
    good = [
        entry("d", tarfile.DIRTYPE),
        entry("d/a.txt"),
        entry("d/b.txt", tarfile.SYMTYPE, "a.txt"),
        entry("c.txt", tarfile.LNKTYPE, "d/a.txt"),
    ]
    origin = tar(tmp_path / "some.tar.gz", *good)
    folder = pathlib.Path(get_file("some.tar.gz", origin, untar=True))
    assert folder == home / "datasets" / "some_extracted"
    assert files_in(folder) == ["c.txt", "d", "d/a.txt", "d/b.txt"]
    assert (folder / "d" / "b.txt").read_text() == "text"
    assert (folder.stat().st_mode & 0o777, (folder / "c.txt").is_file()) == (
        0o755,
        True,
    )
    # The names that Keras gives.
    named = pathlib.Path(get_file("other", origin, extract=True))
    with pytest.raises(FileExistsError, match="Give another `fname`"):
        get_file(origin=origin, extract=True)
    (home / "datasets" / "some.tar.gz").unlink()
    unnamed = pathlib.Path(get_file(origin=origin, extract=True))
    assert (named.name, unnamed.name) == ("other", "some.tar.gz")
    assert files_in(home / "datasets")[:2] == ["other", "other/c.txt"]
    assert (home / "datasets" / "some.tar.gz_archive").is_file()

    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("d/a.txt", "zipped")
    origin = (tmp_path / "z.zip").as_uri()
    folder = pathlib.Path(get_file("z.zip", origin, extract=True))
    (folder / "d" / "a.txt").unlink()
    assert not (folder / "d" / "a.txt").exists()
    get_file("z.zip", origin, extract=True, force_download=True)
    assert (folder / "d" / "a.txt").read_text() == "zipped"


@pytest.mark.parametrize(
    "entries, reason",
    [
        ([entry("../out.txt")], r"`\.\.`"),
        ([entry("d/../../out.txt")], r"`\.\.`"),
        ([entry("d/../in.txt")], r"`\.\.`"),
        ([entry("/tmp/out.txt")], "absolute"),
        ([entry("C:/out.txt")], "drive"),
        ([entry("..\\out.txt")], "backslash"),
        ([entry("l", tarfile.SYMTYPE, "../out")], "leads out"),
        ([entry("l", tarfile.SYMTYPE, "/etc")], "absolute"),
        ([entry("d/l", tarfile.SYMTYPE, "../../out")], "leads out"),
        ([entry("l", tarfile.SYMTYPE, "."), entry("l/a")], "behind a link"),
        (
            [entry("a", tarfile.SYMTYPE, "d"), entry("b", tarfile.SYMTYPE, "a/..")],
            r"`\.\.`",
        ),
        (
            [entry("a", tarfile.SYMTYPE, "d"), entry("b", tarfile.SYMTYPE, "a/c")],
            "link to a link",
        ),
        ([entry("l", tarfile.LNKTYPE, "/etc/passwd")], "absolute"),
        ([entry("l", tarfile.LNKTYPE, "../out")], "leads out"),
        (
            [entry("s", tarfile.SYMTYPE, "x"), entry("l", tarfile.LNKTYPE, "s")],
            "not a file of the archive",
        ),
        (
            [
                entry("f"),
                entry("f", tarfile.SYMTYPE, "gone"),
                entry("l", tarfile.LNKTYPE, "f"),
            ],
            "not a file of the archive",
        ),
        ([entry("l", tarfile.SYMTYPE, "a/" * 300)], "more than 256 folders"),
        ([entry("p", tarfile.FIFOTYPE)], "device or a pipe"),
        ([entry("n", tarfile.CHRTYPE)], "device or a pipe"),
        ([entry("n", tarfile.BLKTYPE)], "device or a pipe"),
    ],
)
def test_hostile_tar(entries, reason, tmp_path, home):
    origin = tar(tmp_path / "evil.tar", entry("first.txt"), *entries, mode="w")
    with pytest.raises(ValueError, match=f"refused: .*({reason})"):
        get_file("evil.tar", origin, extract=True)
    assert files_in(home) == ["datasets", "datasets/evil.tar"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.tar", "home"]


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize("name", ["../a", "/a", "C:\\a", "d\\..\\a", link("l")])
def test_hostile_zip(name, tmp_path, home):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("first.txt", "text")
        archive.writestr(name, "/etc/passwd")
    with pytest.raises(ValueError, match="is refused"):
        get_file("evil.zip", path.as_uri(), extract=True)
    assert files_in(home) == ["datasets", "datasets/evil.zip"]


def test_bombs_and_what_is_no_archive(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    monkeypatch.setattr("lamina.core.bounds.LARGE", 1 << 19)
    with pytest.raises(ValueError, match="more than 100 times"):
        get_file("b.zip", (tmp_path / "b.zip").as_uri(), extract=True)
    (tmp_path / "a.txt").write_bytes(TEXT)
    with pytest.warns(UserWarning, match="Could not extract archive"):
        get_file("a.txt", (tmp_path / "a.txt").as_uri(), extract=True)
    with pytest.raises(NotImplementedError, match="rar"):
        get_file(origin="http://h/a", extract=True, archive_format="rar")


def of_large_words(data):
    """Return an `.xz` file that says that it takes 1.5 GiB to unpack it."""
    packed = bytearray(lzma.compress(data))
    assert packed[14] == 0x21  # the filter; the size of its dictionary is next but one
    packed[16], end = 37, 12 + 4 * packed[12]
    packed[end : end + 4] = zlib.crc32(packed[12:end]).to_bytes(4, "little")
    return bytes(packed)


@pytest.mark.parametrize(
    "pack, refused",
    [
        (lzma.compress, ""),
        (lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE), ""),
        (
            lambda data: lzma.compress(data[:99]) + bytes(8) + lzma.compress(data[99:]),
            "",
        ),
        (of_large_words, "takes more than 268435456 bytes of memory"),
        (lambda d: lzma.compress(d[:99]) + of_large_words(d[99:]), "limit exceeded"),
        (lambda data: lzma.compress(data)[:150], "cut short"),
    ],
)
def test_what_lzma_has_packed(tmp_path, home, pack, refused):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for i in range(3):
            entry = tarfile.TarInfo(f"f{i}")
            entry.size = 5000
            archive.addfile(entry, io.BytesIO(bytes([i]) * 5000))
    path = tmp_path / "a.tar.xz"
    path.write_bytes(pack(made.getvalue()))
    if refused:
        with pytest.raises(ValueError, match=refused):
            get_file("a.tar.xz", path.as_uri(), extract=True)
        return
    folder = pathlib.Path(get_file("a.tar.xz", path.as_uri(), extract=True))
    found = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert found == {f"f{i}": bytes([i]) * 5000 for i in range(3)}


def header(name, kind, size):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    "kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE]
)
@pytest.mark.parametrize("first", [True, False])
def test_a_header_of_gigabytes_is_not_read(kind, first, tmp_path, home):
    path = tmp_path / "long.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(b"" if first else header("a.txt", tarfile.REGTYPE, 0))
        file.write(header("long", kind, 3 << 30))
        for _ in range(64):  # 64 MB of it are there
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"goes on for {3 << 30} bytes"):
        get_file("long.tar.gz", path.as_uri(), extract=True)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert files_in(home) == ["datasets", "datasets/long.tar.gz"]


@pytest.mark.parametrize(
    "kind, body, reason",
    [
        # Python 3.11 takes for a key all that stands before the next `=`.
        ("x", b"3 x" * 500 + b"=", "its header is damaged"),
        ("x", b"9 a=b\n", "its header is damaged"),
        ("x", b"14 mtime=1e30\n", "timestamp out of range"),
        ("x", b"13 size=-512\n", "its size is -512"),
        ("g", b"6 a=b\n" * 200, "say 1200 bytes of all entries"),
        ("L", -512, "goes on for -512 bytes"),
        ("x", b"309 path=../" + b"x" * 296 + b"\n", "'../x{97}', which is refused"),
    ],
)
def test_hostile_headers(kind, body, reason, tmp_path, home):
    info = tarfile.TarInfo("p")
    info.type, info.size, data = kind.encode(), body, b""
    if isinstance(body, bytes):
        info.size, data = len(body), body + bytes(-len(body) % 512)
    data = info.tobuf(tarfile.GNU_FORMAT) + data + header("a", tarfile.REGTYPE, 0)
    path = tmp_path / "head.tar"
    path.write_bytes(data + bytes(1024))
    with pytest.raises(ValueError, match=reason):
        get_file("head.tar", path.as_uri(), extract=True)
    assert not any("extracted" in name for name in files_in(home))


def test_what_a_tar_says_of_all_its_entries(tmp_path, home):
    """As `git archive` writes it; and long names, in the form of POSIX."""
    path = tmp_path / "git.tar"
    said = {"comment": "f" * 40}
    kind = tarfile.PAX_FORMAT
    with tarfile.open(path, "w", format=kind, pax_headers=said) as archive:
        for name in ("é" * 90, "d/" * 90 + "a"):
            archive.addfile(tarfile.TarInfo(name))
    folder = pathlib.Path(get_file("git.tar", path.as_uri(), extract=True))
    assert (folder / ("é" * 90)).is_file() and (folder / ("d/" * 90 + "a")).is_file()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_python_unpacks_at_once_is_refused(method, tmp_path, home):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", method) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    with pytest.raises(
        ValueError, match=f"compressed with method {method}; stored and"
    ):
        get_file("b.zip", (tmp_path / "b.zip").as_uri(), extract=True)


def sparse(kind):
    """Return a header whose list of parts follows it, and a block of that list."""
    parts = (b"1".zfill(11) + b"\0") * 42 + b"\1" + bytes(7)
    if kind == "gnu":
        data = bytearray(header("s", tarfile.GNUTYPE_SPARSE, 0))
        data[482] = 1
        data[148:156] = b"%06o\0 " % (sum(data) - sum(data[148:156]) + 8 * 32)
        return bytes(data), parts
    info = tarfile.TarInfo("s")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    return info.tobuf(tarfile.PAX_FORMAT) + b"99999999\n", b"1\n" * 256


@pytest.mark.parametrize("kind", ["gnu", "pax"])
def test_the_parts_of_sparse_files_are_not_read(kind, tmp_path, home):
    first, block = sparse(kind)
    path = tmp_path / "parts.tar.gz"
    with gzip.open(path, "wb") as file:
        file.write(first + block * 20_000)
    tracemalloc.start()
    with pytest.raises(ValueError, match="it is a sparse file"):
        get_file("parts.tar.gz", path.as_uri(), extract=True)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_the_end_of_a_large_entry_is_not_sought(tmp_path, home, monkeypatch):
    path = tmp_path / "large.tar.bz2"
    with bz2.open(path, "wb") as file:
        file.write(header("a", tarfile.REGTYPE, 1 << 22) + bytes(1 << 22))
        file.write(header("b", tarfile.REGTYPE, 0) + bytes(1024))
    monkeypatch.setattr("lamina.core.bounds.LARGE", 1 << 20)
    seen = []
    real = tarfile.TarFile.next

    def counted(archive):
        found = real(archive)
        seen.append(found and found.name)
        return found

    monkeypatch.setattr(tarfile.TarFile, "next", counted)
    with pytest.raises(ValueError, match="more than 100 times"):
        get_file("large.tar.bz2", path.as_uri(), extract=True)
    assert "a" in seen and "b" not in seen


def test_entries_are_counted_as_they_come(tmp_path, home, monkeypatch):
    path = tmp_path / "many.tar.gz"
    one = header("a", tarfile.REGTYPE, 0)
    with gzip.open(path, "wb") as file:
        file.write(one * 50_000)
    seen = []
    real = tarfile.TarFile.next

    def counted(archive):
        seen.append(1)
        return real(archive)

    monkeypatch.setattr(tarfile.TarFile, "next", counted)
    with pytest.raises(ValueError, match="more than 1.... entries"):
        get_file("many.tar.gz", path.as_uri(), extract=True)
    assert len(seen) < 20_000


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_folders_are_counted_like_entries(tmp_path, home, monkeypatch, kind):
    monkeypatch.setattr("lamina.core.bounds.FILES", 100)
    names = [f"{i}/" + "a/" * 50 + "x" for i in range(3)]
    path = tmp_path / f"deep.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "")
    else:
        tar(path, *map(entry, names))
    with pytest.raises(ValueError, match="more than 10.* entries and folders"):
        get_file(path.name, path.as_uri(), extract=True)
    monkeypatch.setattr("lamina.core.bounds.FILES", 1000)
    assert get_file(path.name, path.as_uri(), extract=True)


def test_deep_entries_count_more(tmp_path, home, monkeypatch):
    """The system goes through all their folders for each of them."""
    monkeypatch.setattr("lamina.core.bounds.FILES", 500)
    for depth, ok in ((5, True), (100, False)):
        names = ["a/" * depth + f"{i}" for i in range(50)]
        origin = tar(tmp_path / f"{depth}.tar.gz", *map(entry, names))
        if ok:
            assert get_file(f"{depth}.tar.gz", origin, extract=True)
            continue
        with pytest.raises(ValueError, match="more than 50. entries and folders"):
            get_file(f"{depth}.tar.gz", origin, extract=True)


@pytest.mark.parametrize(
    "names, reason",
    [
        (["a/" * 300 + "x"], "more than 256 folders"),
        (["a" * 300], "cannot be read.*too long"),
        (["a", "a/b"], "cannot be read.*ot a directory"),
    ],
)
def test_names_that_no_files_have_are_refused_in_words(tmp_path, home, names, reason):
    origin = tar(tmp_path / "odd.tar", *map(entry, names), mode="w")
    with pytest.raises(ValueError, match=reason):
        get_file("odd.tar", origin, extract=True)


def test_what_is_cut_short_or_encrypted_is_refused_in_words(tmp_path, home):
    noise = random.Random(0).randbytes(1 << 16)
    tar(tmp_path / "whole.tar.gz", entry("a", data=noise), entry("b", data=noise))
    whole = (tmp_path / "whole.tar.gz").read_bytes()
    for number, cut in enumerate((30, len(whole) // 2, 3 * len(whole) // 4)):
        path = tmp_path / f"cut{number}.tar.gz"
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="cut short, damaged or encrypted"):
            get_file(path.name, path.as_uri(), extract=True)
    path = tmp_path / "locked.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "text")
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # the flag of a password
        data[data.index(mark) + at] |= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="cut short, damaged or encrypted"):
        get_file(path.name, path.as_uri(), extract=True)
    assert not any("extracted" in name for name in files_in(home))
