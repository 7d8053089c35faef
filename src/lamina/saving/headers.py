"""The headers of an HDF5 file's objects, looked at before HDF5 follows them.

HDF5 unpacks whatever a file says is packed, and walks wherever it points. Values of
datasets can be measured first, by its own functions. What is looked at here cannot:
links and attributes in a heap, and chunks in the newer form, where HDF5 believes every
count and leaves its memory; types within types, of which each level is copied again and
again; a virtual dataset, whose sources are read when it is opened; trees that lead back
to themselves; and parts that are kept somewhere else.
"""

import os
import struct

from lamina.core import bounds
from lamina.saving import heaps
from lamina.saving.heaps import NOWHERE

SIGNATURE = b"\x89HDF\r\n\x1a\n"
LINKS, LAYOUT, ATTRIBUTES = 0x02, 0x08, 0x15
_OTHER_FILES, _CONTINUED, _TREE = 0x07, 0x10, 0x11
_TYPE, _LINK, _ATTRIBUTE = 0x03, 0x06, 0x0C
_CHUNKED, _VIRTUAL = 2, 3
_VARIABLE = 9  # the class of types of texts of any length
_LAST = 1  # the gap between names that is named by the last one
_LOOKED_AT = sum(1 << kind for kind in (LINKS, LAYOUT, ATTRIBUTES, _OTHER_FILES, _TREE))
# What may stand in the extension of a superblock: nothing that keeps parts of objects.
_EXTENSION = {0x00, 0x0A, 0x10}
_FIRST = 512  # bytes that hold most headers
_LEAST = 40  # bytes to which those of a message are filled up
# The kind, the length and the flags of a message, as they begin it.
_NEW_ENTRY, _OLD_ENTRY = struct.Struct("<BHB"), struct.Struct("<HHB")


class Headers:
    """Reads headers of a file, each of them once.

    Args:
        file: a binary file that is open for reading.

    Raises:
        ValueError: the file says that its addresses are of another kind than usual, or
            the header of its first group is refused by `check`.
    """

    def __init__(self, file):
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        self._known = {}
        self._nodes = set()
        self._taken = 0
        # What the texts of an attribute take, by the header's address and its name.
        self.texts = {}
        self._check_start(self.read(0, 96))

    def read(self, at, size):
        """Return bytes of the file, as many as there are."""
        self._file.seek(at)
        return self._file.read(size)

    def take(self, at, size):
        """Return all these bytes, which are the part of one tree or heap.

        Raises:
            ValueError: the file lacks them, or another one has them.
        """
        self._taken += size
        if at in self._nodes or self._taken > self.size:
            raise ValueError("a tree that leads back to itself")
        self._nodes.add(at)
        if len(data := self.read(at, size)) < size:
            raise ValueError("a damaged tree")
        return data

    def places(self, mark) -> list:
        """Return all places of a mark in the file."""
        self._file.seek(0)
        base, data, found = 0, b"", []
        while block := self._file.read(1 << 24):
            data = data[-len(mark) + 1 :] + block
            start = base - (len(data) - len(block))
            at = data.find(mark)
            while at >= 0:
                found.append(start + at)
                at = data.find(mark, at + 1)
            base += len(block)
        return found

    def _check_start(self, start):
        old = start[8:9] in (b"\0", b"\1")
        widths, base = (start[13:15], 24) if old else (start[9:11], 12)
        base += 4 * (start[8:9] == b"\1")
        if start[:8] != SIGNATURE:
            raise ValueError("it does not begin as one")
        if widths != b"\x08\x08":
            raise ValueError("addresses that are not 8 bytes wide")
        if _number(start, base, 8) or not (old or start[8:9] in (b"\2", b"\3")):
            raise ValueError("a beginning of another kind than usual")
        if old and max(_number(start, 16, 2), _number(start, 18, 2)) > bounds.TREE:
            raise ValueError("trees of groups that are unusually wide")
        extension = NOWHERE if old else _number(start, 20, 8)
        if extension != NOWHERE:
            unknown = {kind for kind, _ in self._messages(extension)} - _EXTENSION
            if unknown:
                raise ValueError(f"extensions of the kinds {sorted(unknown)}")
        # HDF5 reads the first group when it opens the file.
        self.check(_number(start, base + 40 if old else 36, 8))

    def check(self, at):
        """Look at the header of the object at an address.

        Raises:
            ValueError: it is damaged, or says what is never followed.
        """
        if at in self._known:
            return
        self._known[at] = 0
        kinds = attributes = links = 0
        for kind, data in self._messages(at):
            kinds |= 1 << kind
            if kind == LINKS:
                self._in_heap(data, 8, heaps.LINKS)
            elif kind == ATTRIBUTES:
                for place, size in self._in_heap(data, 2, heaps.ATTRIBUTES):
                    attributes += 1
                    self._check_attribute(at, self.read(place, size), attributes)
            elif kind == _TREE:
                self._check_tree(_number(data, 0, 8), 8)
                self._check_names(_number(data, 8, 8))
            elif kind == _OTHER_FILES:
                self._check_names(_number(data, 8, 8))
            elif kind == LAYOUT:
                self._check_layout(data)
            elif kind == _TYPE:
                self._check_type(len(data))
            elif kind == _LINK:
                links += 1
                if links > bounds.LINKS:
                    raise ValueError(f"a header of more than {bounds.LINKS} links")
            elif kind == _ATTRIBUTE:
                attributes += 1
                self._check_attribute(at, data, attributes)
        self._known[at] = kinds & _LOOKED_AT

    def agrees(self, at, present) -> bool:
        """Tell whether HDF5 found what `check` found in a header."""
        return self._known.get(at) == present & _LOOKED_AT

    def _check_type(self, size):
        if size > bounds.TYPE:
            raise ValueError(f"a type of values that takes {size} bytes")

    def _in_heap(self, data, skipped, form):
        """Return where links or attributes are that a header says are in a heap."""
        heap, *trees = struct.unpack_from("<QQQ", data, 2 + skipped * (data[1] & 1))
        if heap == NOWHERE:
            return []
        return heaps.check(self, form, heap, *trees[: 1 + (data[1] >> 1 & 1)])

    def _check_attribute(self, header, data, number):
        """Let no text be longer than the file: HDF5 takes the memory first."""
        if number > bounds.ATTRIBUTES:
            raise ValueError(f"more than {bounds.ATTRIBUTES} attributes")
        data = data.ljust(_LEAST, b"\0")
        name, kind, space = sizes = struct.unpack_from("<HHH", data, 2)
        self._check_type(kind)
        if data[0] == 1:
            name, kind, space = [-(-n // 8) * 8 for n in sizes]
        at = 8 + (data[0] > 2) + name
        if _number(data, at, 1) & 15 == _VARIABLE:
            key = header, bytes(data[at - name : at]).partition(b"\0")[0]
            for here in range(at + kind + space, len(data) - 15, 16):
                size = _number(data, here, 4)
                if size > self.size:
                    raise ValueError("a text that is longer than the file")
                self.texts[key] = self.texts.get(key, 0) + size

    def _check_layout(self, data):
        version, axes, layout = data[:3]
        place = 8
        if version > 2:
            layout, axes, place = data[1], data[2], 3
        if layout >= _VIRTUAL:
            raise ValueError("a virtual dataset, made of parts of other files")
        if layout == _CHUNKED and version > 3:
            raise ValueError(
                "chunks in the newer form of HDF5, as h5py writes it with "
                "`libver='latest'`"
            )
        if layout == _CHUNKED:
            # One axis more than the values have: for the bytes of each.
            self._check_tree(_number(data, place, 8), 8 + 8 * axes)

    def _check_tree(self, root, width):
        """Let every node of a tree have one place in it.

        HDF5 goes down to all nodes as often as others name them, which may be without
        end in a file of a few nodes.
        """
        todo = [root]
        while todo:
            at = todo.pop()
            if at == NOWHERE:
                continue
            if at in self._nodes:
                raise ValueError("a tree that leads back to itself")
            self._nodes.add(at)
            start = self.read(at, 24)
            if start[:4] != b"TREE" or len(start) < 24:
                raise ValueError("a damaged tree")
            step, count = width + 8, _number(start, 6, 2)
            data = self.read(at + 24 + width, count * step)
            if len(data) < count * step:
                raise ValueError("a damaged tree")
            children = [n for (n,) in struct.iter_unpack(f"<Q{width}x", data)]
            if start[5]:
                todo += children
                continue
            if len({*children}) < count or not self._nodes.isdisjoint(children):
                raise ValueError("a tree that leads back to itself")
            self._nodes.update(children)

    def _check_names(self, at):
        """Follow the gaps between a group's names, of which each names the next."""
        start = self.read(at, 32)
        if start[:4] != b"HEAP" or len(start) < 32:
            raise ValueError("a damaged list of names")
        size, gap, place = struct.unpack_from("<QQQ", start, 8)
        if size > self.size - place:
            raise ValueError("a damaged list of names")
        data = self.read(place, size) if size <= _FIRST else None
        for _ in range(size // 16 + 1):
            if gap == _LAST:
                return
            found = self.read(place + gap, 8) if data is None else data[gap : gap + 8]
            gap = _number(found, 0, 8)
        raise ValueError("a list of names that leads back to itself")

    def _messages(self, at):
        """Yield the kind and the bytes of all messages of a header."""
        start = self.read(at, _FIRST)
        new = start[:4] == b"OHDR"
        if new:
            flags = start[5]
            begin = 6 + 16 * (flags >> 5 & 1) + 4 * (flags >> 4 & 1)
            width = 1 << (flags & 3)
            size, begin = _number(start, begin, width), begin + width
            head = 6 if flags & 4 else 4
        else:
            if start[:1] != b"\1":
                raise ValueError("a damaged header of an object")
            size, begin, head = _number(start, 8, 4), 16, 8
        entry = _NEW_ENTRY if new else _OLD_ENTRY
        todo, seen = [(at + begin, size)], set()
        while todo:
            place, size = todo.pop()
            if place in seen or not 0 <= size <= self.size - place:
                raise ValueError("a damaged header of an object")
            seen.add(place)
            inside = place + size <= at + len(start) and place >= at
            data = start[place - at :][:size] if inside else self.read(place, size)
            here = 0
            while here + head <= len(data):
                kind, length, flags = entry.unpack_from(data, here)
                here += head
                body, here = data[here : here + length], here + length
                if here > len(data) or kind > 63:
                    raise ValueError("a damaged header of an object")
                if flags & 2:
                    raise ValueError("a part that is kept elsewhere")
                yield kind, body.ljust(_LEAST, b"\0")
                if kind == _CONTINUED:
                    more, size = _number(body, 0, 8), _number(body, 8, 8)
                    # The newer form begins with a mark and ends with a checksum.
                    todo.append((more + 4, size - 8) if new else (more, size))


def _number(data, at, width):
    return int.from_bytes(data[at : at + width], "little")
