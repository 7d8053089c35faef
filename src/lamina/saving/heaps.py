"""Links and attributes that HDF5 keeps in a fractal heap, which version-2 trees index.

HDF5 believes all that such a heap and its trees say of themselves: how many there are,
how large, how deep. So they are read here first. HDF5 writes them in one form alone,
with constants of its own, and every part must have it, lie in the file, and be the part
of one thing; what it is said to hold must be there.
"""

import struct
from typing import NamedTuple

NOWHERE = (1 << 64) - 1
_NODE, _DEPTH = 512, 8  # bytes of a node of a tree; levels that hold all that is let in
_WIDTH, _LARGEST, _OBJECT = 4, 1 << 16, 1 << 12
# What begins and ends a node, and a block of a heap besides its place there.
_NODE_ENDS, _BLOCK_ENDS = 10, 17
_TREE = struct.Struct("<4sBBIHHBBQHQ")
_HEAP = struct.Struct("<4sBHHBI12QHQQHHQH")


class Layout(NamedTuple):
    """How HDF5 keeps links, or attributes: sizes in bytes, or bits of them."""

    first: int  # of the heap's first blocks
    offset: int  # of a place in the heap
    # The number of a kind of tree, what its records take and where they name an object.
    by_name: tuple
    by_order: tuple
    flags: int  # where in a record it says whether the object is shared; -1: nowhere


LINKS = Layout(512, 4, (5, 11, 4), (6, 15, 8), -1)
ATTRIBUTES = Layout(1024, 5, (8, 17, 0), (9, 13, 0), 8)


def check(file, layout, heap, by_name, by_order=NOWHERE) -> list:
    """Return where the objects of a heap are: `(address, bytes)` of each.

    Args:
        file: has `take(at, size)`, which returns bytes that nothing else took.
        layout: LINKS or ATTRIBUTES.
        heap: the heap's address.
        by_name: that of the tree which names the objects.
        by_order: that of the tree which names them in another order, if any.

    Raises:
        ValueError: they are damaged, or of another form than HDF5 writes.
    """
    blocks = sorted(_blocks(file, layout, heap))
    objects = _objects(file, layout, by_name, *layout.by_name)
    if by_order != NOWHERE:
        again = _objects(file, layout, by_order, *layout.by_order)
        _must(objects == again)
    found, end = [], 0
    blocks = iter(blocks)
    begin = size = at = 0
    for offset, length in objects:
        _must(offset >= end and 0 < length <= _OBJECT)
        end = offset + length
        while offset >= begin + size:
            begin, size, at = next(blocks, (end, 1, 0))
        _must(begin + _BLOCK_ENDS + layout.offset <= offset and end <= begin + size)
        found.append((at + offset - begin, length))
    return found


def _must(condition):
    if not condition:
        raise ValueError("a damaged heap")


def _blocks(file, layout, heap):
    """Yield `(offset in the heap, bytes, address)` of all blocks that hold objects."""
    start = file.take(heap, _HEAP.size + 4)
    sign, version, id_size, filters, flags, largest, *numbers = _HEAP.unpack_from(start)
    huge, free = numbers[1], numbers[3]
    shape, root, rows = numbers[12:17], *numbers[17:]
    _must(sign == b"FRHP" and not version)
    if filters:
        raise ValueError("a heap that is packed by filters")
    if huge != NOWHERE:
        raise ValueError(f"objects of more than {_OBJECT} bytes in a heap")
    bits = 8 * layout.offset
    _must((id_size, flags, largest) == (layout.offset + 3, 2, _OBJECT))
    _must(shape == [_WIDTH, layout.first, _LARGEST, bits, 1])
    # A block of blocks has rows of four; from the third on, each is twice as large.
    first_row = (_WIDTH * layout.first).bit_length() - 1
    _must(rows <= bits - first_row + 1)
    if free != NOWHERE:
        _must(file.take(free, 4) == b"FSHD")
    todo = [(root, 0, layout.first, rows)] if root != NOWHERE else []
    while todo:
        at, offset, size, rows = todo.pop()
        ends = _BLOCK_ENDS + layout.offset
        data = file.take(at, ends + 8 * _WIDTH * rows if rows else size)
        begin = struct.pack("<4sBQQ", b"FHIB" if rows else b"FHDB", 0, heap, offset)
        _must(data.startswith(begin[: 13 + layout.offset]))
        if not rows:
            yield offset, size, at
            continue
        inside = struct.unpack_from(f"<{_WIDTH * rows}Q", data, 13 + layout.offset)
        for i, child in enumerate(inside):
            size = layout.first << max(i // _WIDTH - 1, 0)
            deeper = size.bit_length() - first_row if size > _LARGEST else 0
            if child != NOWHERE:
                todo.append((child, offset, size, deeper))
            offset += size


def _objects(file, layout, at, kind, width, place) -> list:
    """Return `(offset, bytes)` in the heap of all objects that a tree names, sorted."""
    start = file.take(at, _TREE.size + 4)
    sign, *said, depth, split, merge, root, count, total = _TREE.unpack_from(start)
    _must((sign, *said) == (b"BTHD", 0, kind, _NODE, width))
    _must((split, merge) == (100, 40) and depth <= _DEPTH)
    most, sizes = _levels(width, depth)
    todo = [(depth, root, count, total)]
    _must(root != NOWHERE or not count == total == depth == 0)
    if root == NOWHERE:
        return []
    found = []
    while todo:
        level, at, count, total = todo.pop()
        data = file.take(at, _NODE)
        _must(count <= most[level])
        _must(data[:6] == (b"BTIN" if level else b"BTLF") + bytes([0, kind]))
        for i in range(6, 6 + count * width, width):
            if layout.flags >= 0:
                _must(not data[i + layout.flags] & 2)
            found.append(data[i + place : i + place + layout.offset + 3])
        here, below = 6 + count * width, 0
        for _ in range(count + 1 if level else 0):
            child, inside = struct.unpack_from("<QB", data, here)
            end = here + 9 + sizes[level - 1]
            every = int.from_bytes(data[here + 9 : end], "little")
            every = every if level > 1 else inside
            todo.append((level - 1, child, inside, every))
            here, below = end, below + every
        _must(count + below == total)
    _must(not any(name[0] for name in found))
    split = 1 + layout.offset
    return sorted(
        (int.from_bytes(x[1:split], "little"), int.from_bytes(x[split:], "little"))
        for x in found
    )


def _levels(width, depth):
    """Return the most records of a node by its level, and the bytes of their count."""
    most, sizes = [(_NODE - _NODE_ENDS) // width], [0]
    below = most[0]
    for _ in range(depth):
        pointer = 9 + sizes[-1]
        most.append((_NODE - _NODE_ENDS - pointer) // (width + pointer))
        below += most[-1] * (below + 1)
        sizes.append((below.bit_length() + 7) // 8)
    return most, sizes
