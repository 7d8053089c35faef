"""Reads the lists, dicts, bytes and NumPy arrays of a pickle, and runs nothing.

Some published files are pickles. Python's own reader calls whatever function a pickle
names; this one knows the instructions that data are written with (see `pickletools`
in the standard library), makes arrays from the parts that NumPy writes, and refuses
everything else.
"""

import math
import pathlib
import re
import struct
import zipfile
from typing import Any

import numpy as np

from lamina.core import bounds
from lamina.core.budget import readable
from lamina.core.naming import printable

_QUOTED = 200  # characters that an error quotes
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DTYPES = re.compile("[<>=|]?([buif][1-9][0-9]?|O8?)")  # what arrays may hold


class _Name:
    """A function or class that a pickle names: a name, nothing that can be called."""

    def __init__(self, module, name):
        self.key = (module.replace("numpy._core", "numpy.core"), name)


class _Made:
    """What a pickle makes by calling a name, until its state is there.

    Attributes:
        key: the module and the name.
        args: the arguments.
        slots: where it is kept meanwhile: the numbers in the memo.
    """

    def __init__(self, key, args):
        self.key, self.args, self.slots = key, args, []


_ARRAY = ("numpy.core.multiarray", "_reconstruct")
_SHARED = ("numpy.core.numeric", "_frombuffer")
_DTYPE = ("numpy", "dtype")
# How bytes are written where a pickle may be read by Python 2.
_TEXT, _EMPTY = ("_codecs", "encode"), ("__builtin__", "bytes")
_NAMED = {_ARRAY, _SHARED, _DTYPE, _TEXT, _EMPTY, ("numpy", "ndarray")}


def read(path):
    """Return what a pickle file holds.

    Raises:
        ValueError: it holds anything but data, or is damaged.
    """
    return loads(pathlib.Path(path).read_bytes(), str(path))


def loads(data, source="the pickle"):
    """Return what the bytes of a pickle hold; see `read`.

    >>> import pickle
    >>> loads(pickle.dumps({"a": [1, 2.5, None], "b": b"bytes"}))
    {'a': [1, 2.5, None], 'b': b'bytes'}
    """
    try:
        return _Reader(data).run()
    except _Refused as error:
        raise ValueError(f"{source} is not read: {error}") from None
    except (
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        struct.error,
        OverflowError,
    ) as error:
        said = printable(repr(error), _QUOTED)
        raise ValueError(f"{source} is damaged: {said}") from None


def arrays(path) -> dict:
    """Return the arrays of an `.npz` file by name, also those that hold lists.

    Raises:
        ValueError: the file is damaged or holds anything but data.
    """
    with pathlib.Path(path).open("rb") as file:
        try:
            return _members(file, path)
        except Exception as error:  # whatever the readers of zip and NumPy raise
            said = printable(error, _QUOTED)
            raise ValueError(f"{path} is damaged: {said}") from error


def _members(file, path):
    found = {}
    most = _most(file.seek(0, 2))
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(one.file_size for one in members) > most:
            raise ValueError(f"Its arrays take more than {readable(most)}.")
        if any(one.compress_type not in _PACKED for one in members):
            raise ValueError("It is not packed as NumPy packs arrays.")
        for member in members:
            name = member.filename
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                header = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                _, _, dtype = header(file)
                if dtype.hasobject:
                    array = loads(file.read(), f"{path}: {name}")
                    if not isinstance(array, np.ndarray):
                        raise ValueError(f"{path}: {name} holds no array.")
                else:
                    file.seek(0)
                    array = np.lib.format.read_array(file, allow_pickle=False)
            found[name.removesuffix(".npy")] = array
    return found


class _Refused(Exception):
    """A pickle asks for something that data do not need."""


class _Reader:
    """A machine with a stack and a memo that runs the instructions of one pickle."""

    def __init__(self, data):
        self.data, self.at = data, 0
        self.stack: list = []
        self.marks: list = []
        self.memo: dict = {}
        self.steps, self.left = 0, _most(len(data))

    def run(self):
        data, stack = self.data, self.stack
        push = stack.append
        number, short = struct.Struct("<H").unpack_from, struct.Struct("<i").unpack_from
        while True:
            code = data[self.at]
            self.at += 1
            # Numbers of words are nearly all there is: they go the short way.
            if code == 0x4B:  # K
                push(data[self.at])
                self.at += 1
            elif code == 0x4D:  # M
                push(number(data, self.at)[0])
                self.at += 2
            elif code == 0x4A:  # J
                push(short(data, self.at)[0])
                self.at += 4
            elif code == 0x2E:  # .
                return self.finished()
            elif code in _CODES:
                self.steps += 1
                if self.steps > bounds.MARKS:
                    raise _Refused(f"it has more than {bounds.MARKS} values.")
                _CODES[code](self)
            else:
                raise _Refused(f"it has the instruction {bytes([code])!r}.")

    def finished(self):
        (value,) = self.stack
        if isinstance(value, (_Made, _Name)):
            raise _Refused("it is not data.")
        return value

    # ---- parts of the instructions -----------------------------------------------

    def take(self, count):
        part = self.data[self.at : self.at + count]
        if len(part) != count:
            raise ValueError("it ends too early")
        self.at += count
        return part

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def line(self):
        end = self.data.index(b"\n", self.at)
        text = self.data[self.at : end].decode()
        self.at = end + 1
        return text

    def popped(self):
        """Return what was put on the stack since the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def keep(self, slot):
        value = self.stack[-1]
        self.memo[slot] = value
        if isinstance(value, _Made):
            value.slots.append(slot)

    def bundle(self, count):
        items = tuple(self.stack[-count:]) if count else ()
        if len(items) != count:
            raise ValueError("the stack is too short")
        del self.stack[len(self.stack) - count :]
        self.stack.append(items)

    def items(self, pairs):
        target = self.stack[-1]
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # Others take time without end: tuples to look at, integers to tell apart.
            if not isinstance(key, (str, bytes)):
                raise _Refused(f"it has a key of the kind {type(key).__name__}.")
            target[key] = value

    def name(self, module, name):
        value = _Name(module, name)
        if not isinstance(name, str) or value.key not in _NAMED:
            shown = printable(f"{module}.{name}" if isinstance(name, str) else module)
            raise _Refused(f"it names {shown}, which data do not need.")
        self.stack.append(value)

    def count(self, content: Any) -> Any:
        """Bound the bytes of copies, many of which may be of the same bytes."""
        if not isinstance(content, (bytes, bytearray, str, list)):
            raise _Refused("it has an array whose entries are not bytes.")
        self.left -= len(content) * (8 if isinstance(content, list) else 1)
        if self.left < 0:
            most = readable(_most(len(self.data)))
            raise _Refused(f"its arrays take more than {most}.")
        return content

    def call(self):
        args, name = self.stack.pop(), self.stack.pop()
        if name.key == _TEXT:
            text, encoding = args
            if encoding != "latin1":
                raise _Refused("it has text that is not encoded as latin1.")
            self.stack.append(self.count(text).encode("latin1"))
        elif name.key == _EMPTY and isinstance(args, tuple) and not args:
            self.stack.append(b"")
        elif name.key == _SHARED:
            content, dtype, shape, order = args
            self.stack.append(_array(shape, dtype, order == "F", self.count(content)))
        elif name.key in (_ARRAY, _DTYPE):
            self.stack.append(_Made(name.key, args))
        else:
            raise _Refused(f"it calls {'.'.join(name.key)}.")

    def build(self):
        state, made = self.stack.pop(), self.stack.pop()
        if made.key == _DTYPE:
            order: Any = _text(state[1])
            name = _text(made.args[0])
            if not _DTYPES.fullmatch(name):
                raise _Refused(f"it has an array of {printable(name, _QUOTED)}.")
            value = np.dtype(name).newbyteorder(order)
        else:
            _, shape, dtype, columns, content = state
            value = _array(shape, dtype, columns, self.count(content))
        for slot in made.slots:
            self.memo[slot] = value
        self.stack.append(value)


def _most(stored):
    """Return how many bytes a file of this many may unpack to, as in other files."""
    return max(bounds.FLOOR, bounds.RATIO * stored)


def _text(value):
    return value.decode("latin1") if isinstance(value, bytes) else value


def _is_size(size):
    return type(size) is int and 0 <= size < 1 << 63


def _array(shape, dtype, columns, content):
    """Return an array of a shape, its entries as bytes or as a list of objects."""
    if not isinstance(dtype, np.dtype):
        raise _Refused("it has an array without a dtype.")
    if len(shape) > bounds.AXES or not all(map(_is_size, shape)):
        raise _Refused("it has an array whose shape is not one.")
    if dtype.hasobject:
        count = math.prod(shape)
        if len(content) != count:
            raise ValueError(f"{len(content)} entries for the shape {shape}")
        array = np.empty(count, object)
        for i, entry in enumerate(content):
            array[i] = entry
    else:
        array = np.frombuffer(content, dtype)
    return array.reshape(shape, order="F" if columns else "C").copy()


def _pair(reader):
    value, key = reader.stack.pop(), reader.stack.pop()
    reader.items([key, value])


def _appended(reader, items):
    target = reader.stack[-1]
    if not isinstance(target, list):
        raise ValueError("no list to append to")
    target.extend(items)


def _sized(size, decode: Any = bytes):
    """Read bytes or text, after the bytes that hold their length."""
    return lambda r: r.stack.append(decode(r.take(r.number(size))))


def _constant(make):
    return lambda r: r.stack.append(make())


def _wide(data):
    return int.from_bytes(data, "little", signed=True)


_CODES = {
    ord(code): act
    for code, act in {
        "\x80": lambda r: r.take(1),  # the protocol
        "\x95": lambda r: r.take(8),  # a frame
        "(": lambda r: r.marks.append(len(r.stack)),
        "N": _constant(lambda: None),
        "\x88": _constant(lambda: True),
        "\x89": _constant(lambda: False),
        "]": _constant(list),
        ")": _constant(tuple),
        "}": _constant(dict),
        "\x8a": _sized(1, _wide),
        "G": lambda r: r.stack.append(struct.unpack(">d", r.take(8))[0]),
        "U": _sized(1),
        "T": _sized(4),
        "C": _sized(1),
        "B": _sized(4),
        "\x8e": _sized(8),
        "\x96": _sized(8, bytearray),
        "X": _sized(4, bytes.decode),
        "\x8c": _sized(1, bytes.decode),
        "\x8d": _sized(8, bytes.decode),
        "q": lambda r: r.keep(r.number(1)),
        "r": lambda r: r.keep(r.number(4)),
        "\x94": lambda r: r.keep(len(r.memo)),
        "h": lambda r: r.stack.append(r.memo[r.number(1)]),
        "j": lambda r: r.stack.append(r.memo[r.number(4)]),
        "a": lambda r: _appended(r, [r.stack.pop()]),
        "e": lambda r: _appended(r, r.popped()),
        "s": _pair,
        "u": lambda r: r.items(r.popped()),
        "\x85": lambda r: r.bundle(1),
        "\x86": lambda r: r.bundle(2),
        "\x87": lambda r: r.bundle(3),
        "t": lambda r: r.stack.append(tuple(r.popped())),
        "c": lambda r: r.name(r.line(), r.line()),
        "\x93": lambda r: r.name(*(r.stack.pop(-2), r.stack.pop())),
        "R": _Reader.call,
        "b": _Reader.build,
    }.items()
}
