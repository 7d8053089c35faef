"""Pickles are read as data: what Python's reader gives, or a refusal."""

import datetime
import pickle
import random
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core import bounds
from lamina.datasets.pickled import arrays, loads

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
    | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary(), inner)
    | st.tuples(inner, inner),
    max_leaves=20,
)  # fmt: skip


@given(plain, st.integers(2, 5))
def test_plain_data(value, protocol):
    found = loads(pickle.dumps(value, protocol))
    assert found == value
    assert repr(found) == repr(value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "<i8", ">i4", "float32", "bool"])
def test_arrays(protocol, dtype):
    array = np.random.default_rng(0).integers(0, 2, (3, 4)).astype(dtype)
    for one in (array, np.asfortranarray(array), array[:0], array[1, 2:]):
        found = loads(pickle.dumps({"x": one, "again": one}, protocol))
        for name in ("x", "again"):
            assert (found[name].dtype, found[name].shape) == (one.dtype, one.shape)
            np.testing.assert_array_equal(found[name], one)


def test_arrays_of_lists():
    array = np.empty(3, object)
    for i in range(3):
        array[i] = list(range(i, 300 * i, 70 + i))
    for protocol in (2, 3, 4, 5):
        found = loads(pickle.dumps(array, protocol))
        assert found.dtype == object and found.tolist() == array.tolist()


def test_a_file_of_python_2():
    found = loads(
        b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x06M\xe8\x03eU\x04dataq\x04"
        b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85"
        b"U\x01b\x87Rq\x07(K\x01K\x02K\x02\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01"
        b"\x87Rq\t(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x04\x01\x02\x03\x04tbu."
    )
    assert found[b"labels"] == [6, 1000]
    assert found[b"data"].tolist() == [[1, 2], [3, 4]]


class Calls:
    def __init__(self, *made):
        self.made = made

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        Calls(eval, ("1 + 1",)), Calls(open, ("/etc/passwd",)), Calls(bytearray, (9,)),
        Calls(getattr, ("a", "upper")), datetime.date(2020, 1, 1), random.Random(0),
        np.dtype("O,i4"), len, Calls, {1, 2}, np.array(["2020"], "datetime64[D]"),
    ],
    ids=[
        "eval", "open", "bytearray", "getattr", "date", "random", "dtype", "function",
        "class", "set", "dates",
    ],
)  # fmt: skip
def test_everything_else_is_refused(value, protocol):
    with pytest.raises(ValueError, match="is not read|is damaged"):
        loads(pickle.dumps([value], protocol))


def test_damaged_files_are_refused_in_words():
    array = np.array([[1, 2], [3, 4]], object)
    whole = pickle.dumps({"x": np.arange(5), "y": [1, 70000, "text"], "z": array})
    assert loads(whole)["y"] == [1, 70000, "text"]
    draw = random.Random(0)
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        data = data[: draw.choice([len(data), draw.randrange(len(data))])]
        try:
            loads(bytes(data))
        except ValueError as error:
            assert "is not read" in str(error) or "is damaged" in str(error)


def array_of(dtype, content):
    """Return an array of three bytes, as NumPy writes it, with other parts in it."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        b"C\x01b\x87R(K\x01K\x03\x85cnumpy\ndtype\nU" + bytes([len(dtype)]) + dtype
        + b"\x89\x88\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + content + b"tb."
    )  # fmt: skip


def test_arrays_with_odd_parts_are_refused():
    assert loads(array_of(b"u1", b"C\x03abc")).tolist() == [97, 98, 99]
    length = b"\x8a\x06" + (2**40).to_bytes(6, "little")
    with pytest.raises(ValueError, match="entries are not bytes"):
        loads(array_of(b"u1", length))  # `bytes(2**40)` would take all memory
    for dtype in (b"<u08", b"u1,u1", b"(9999,9999)u1", b"U9", b"M8", b"V1", b"", b"O9"):
        with pytest.raises(ValueError, match="has an array of"):
            loads(array_of(dtype, b"C\x03abc"))


TWICE = b"".join(b"h%ch%c\x86\x94" % (i, i) for i in range(60))  # 2^60 by memo
TEXT = b"X\x00\x00\x10\x00" + b"a" * (1 << 20) + b"\x94"
BOMBS = {
    "a key of the kind tuple": b"})\x94" + TWICE + b"Ns.",
    "a key of the kind int": b"}K\x01Ns.",
    "not encoded as latin1": b")\x94" + TWICE + b"c_codecs\nencode\n)h\x3c\x86R.",
    "it names": b")\x94" + TWICE + b"\x8c\x01ah\x3c\x93.",
    "more than 1000000 values": b"N" + b"\x94" * bounds.MARKS,
    "take more than": TEXT
    + b"c_codecs\nencode\n\x94h\x00X\x06\x00\x00\x00latin1\x86\x94R"
    + b"h\x01h\x02R" * 99,
    "whose shape is not one": array_of(b"u1", b"C\x00").replace(
        b"K\x01K\x03\x85", b"K\x01C\x05aaaaaJ\xff\xff\xff\x7f\x86"
    )[2:],
    r"\\x1b\[31m": b"c\x1b[31m" + b"a" * 10**6 + b"\nb\n",
    "UnicodeDecodeError": b"c" + b"\xff" * 10**6 + b"\n",
}


@pytest.mark.parametrize("reason", BOMBS)
def test_pickles_that_grow(reason):
    with pytest.raises(ValueError, match=reason) as caught:
        loads(b"\x80\x02" + BOMBS[reason])
    assert len(str(caught.value)) < 9000


def test_archives_that_grow(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(bounds.FLOOR, "uint8"))
    with pytest.raises(ValueError, match="take more than 16 MiB"):
        arrays(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", b"")
    with pytest.raises(ValueError, match="not packed as NumPy"):
        arrays(path)


def test_damaged_archives_of_arrays(tmp_path):
    path = tmp_path / "a.npz"
    lists = np.array([[1], [2, 3]], object)
    np.savez(path, x=lists, y=np.arange(3))
    data = path.read_bytes()
    assert arrays(path)["x"].tolist() == [[1], [2, 3]]
    for old, new in (
        (b"PK", b"KP"),  # no zip
        (b"[1]", b"[2]"),
        (b"\x01\x00v\x00{'descr'", b"\x01\x00v\x00{'descr"),
        (b"K\x01", b"K\x02"),  # a checksum that does not fit
    ):
        path.write_bytes(data.replace(old, new))
        if data.replace(old, new) != data:
            with pytest.raises(ValueError, match="a.npz is damaged"):
                arrays(path)
    with pytest.raises(FileNotFoundError):
        arrays(tmp_path / "b.npz")
