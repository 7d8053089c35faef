"""Snapshots of a run: files that are whole or not there.

A snapshot is a dict of plain values and arrays. Its file holds a line of JSON, the
arrays' bytes one after the other, and the SHA-256 of all that; nothing in it is
ever run. It is written aside, flushed to the disk, and renamed, and the one before
is kept until the next but one.
"""

import contextlib
import hashlib
import json
import shutil
import threading
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lamina.callbacks import sharded
from lamina.core.files import replacing
from lamina.core.placement import distribution, is_first, several
from lamina.core.texts import parsed
from lamina.core.tracebacks import warn

_MAGIC = b"lamina snapshot 1\n"
_KEPT = 2
# What the tree of a run must hold, by type.
_FORM = {
    dict: ("run", "random", "began"),
    list: ("names", "state", "callbacks", "marks", "metrics"),
    int: ("epoch", "step"),
    bool: ("stop",),
}
_MOST = 1 << 62  # of what a run counts


def dumps(tree) -> bytes:
    """Return the bytes of a snapshot.

    Args:
        tree: dicts, lists, tuples, strings, numbers, None and arrays.

    Raises:
        TypeError: the tree holds something else.
    """
    return _bytes(*packed(tree))


def packed(tree) -> tuple[str, list]:
    """Return a tree as it is now: a text, and the arrays that it refers to.

    What the tree's owners change afterwards does not change them.
    """
    arrays = []
    return json.dumps(_packed(tree, arrays)), arrays


def _bytes(head, arrays):
    head = head.encode()
    parts = [_MAGIC, len(head).to_bytes(8, "little"), head]
    parts += [np.ascontiguousarray(a).tobytes() for a in arrays]
    body = b"".join(parts)
    return body + hashlib.sha256(body).digest()


def loads(data: bytes):
    """Return the tree of a snapshot's bytes.

    Raises:
        ValueError: the bytes are not those of a whole snapshot.
    """
    if not data.startswith(_MAGIC):
        raise ValueError("it does not begin like a snapshot")
    body, digest = data[:-32], data[-32:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("its checksum does not fit; it was cut or changed")
    start = len(_MAGIC) + 8
    length = int.from_bytes(body[len(_MAGIC) : start], "little")
    head = parsed(body[start : start + length], "its description")
    at, body = start + length, memoryview(body)

    def array(dtype, shape):
        nonlocal at
        count = int(np.prod(shape, dtype=np.int64))
        found = np.frombuffer(body, dtype, count, at).reshape(shape).copy()
        at += found.nbytes
        return found

    return _unpacked(head, array)


def _packed(tree, arrays):
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if isinstance(tree, dict):
        pairs = [[_packed(k, arrays), _packed(v, arrays)] for k, v in tree.items()]
        return {"dict": pairs}
    if isinstance(tree, (list, tuple)):
        kind = "tuple" if isinstance(tree, tuple) else "list"
        return {kind: [_packed(v, arrays) for v in tree]}
    if isinstance(tree, (np.ndarray, np.generic, jax.Array)):
        if getattr(tree.dtype, "kind", "O") == "O":  # a PRNG key's dtype has none
            raise TypeError("a snapshot holds no Python objects")
        # JAX's arrays never change: they are fetched when the bytes are made.
        arrays.append(tree if isinstance(tree, jax.Array) else np.array(tree))
        kind = "scalar" if isinstance(tree, np.generic) else "array"
        # NumPy's own dtypes have a code; those that JAX adds have only a name.
        dtype = tree.dtype.name if tree.dtype.kind == "V" else tree.dtype.str
        return {kind: [dtype, list(tree.shape)]}
    raise TypeError(f"a snapshot cannot hold {tree!r} ({type(tree).__name__})")


def _unpacked(head, array):
    """Build the tree again; `array(dtype, shape)` gives its arrays, one by one."""

    def build(node):
        if not isinstance(node, dict):
            return node
        ((kind, value),) = node.items()
        if kind == "dict":
            return {build(k): build(v) for k, v in value}
        if kind in ("list", "tuple"):
            items = [build(v) for v in value]
            return tuple(items) if kind == "tuple" else items
        found = array(jax.numpy.dtype(value[0]), tuple(value[1]))
        return found[()] if kind == "scalar" else found

    return build(head)


def _read(path, groups):
    """Return the tree of a snapshot, a file or a folder."""
    if path.is_file():
        return loads(path.read_bytes())
    count = 0

    def place(dtype, shape):
        nonlocal count
        count += 1
        return _Place(count - 1, shape)

    head = parsed(sharded.head(path), "its description")
    # State comes to lie as the Variables of this run do.
    stored: Any = _unpacked(head, place)
    shardings = {
        there.number: here.raw_value.sharding
        for some, group in zip(stored["state"], groups, strict=False)
        for there, here in zip(some, group, strict=False)
        if there.shape == here.shape
    }
    arrays = iter(sharded.arrays(path, shardings))
    return _unpacked(head, lambda dtype, shape: next(arrays))


class _Place(NamedTuple):
    """The place of an array among those of a snapshot."""

    number: int
    shape: tuple

    def __getitem__(self, _):
        return self


def check_run(tree):
    """Raise unless a tree has the form of what a run goes on from.

    Whether it fits to the run that reads it is another question.

    Raises:
        TypeError, ValueError: it has not; the message names the part.
    """
    if type(tree) is not dict:
        raise TypeError(f"it holds {tree!r:.80}")
    for kind, names in _FORM.items():
        for name in names:
            if type(tree.get(name)) is not kind:
                raise TypeError(f"`{name}` is {tree.get(name)!r:.80}")
    if not 0 <= tree["epoch"] < _MOST or not 0 <= tree["step"] < _MOST:
        raise ValueError(f"it is of epoch {tree['epoch']}, step {tree['step']}")
    names, callbacks, state = tree["names"], tree["callbacks"], tree["state"]
    stopper, logs = tree.get("stopper"), tree.get("logs", ())
    known = state[-1] if state else None
    for name, good in {
        "names": all(is_list_of(str, one) and len(one) == 2 for one in names),
        "callbacks": len(names) == len(callbacks),
        "state": len(state) == 4
        and all(
            isinstance(group, list) and all(map(is_value, group)) for group in state
        ),
        "metrics": is_list_of(str, tree["metrics"])
        and isinstance(known, list)
        and len(tree["metrics"]) == len(known),
        "marks": is_list_of(dict, tree["marks"]) and tree["marks"] != [],
        "stopper": "stopper" in tree
        and (stopper is None or (type(stopper) is int and 0 <= stopper < len(names))),
        "logs": logs is None or (isinstance(logs, dict) and _are_values(logs)),
    }.items():
        if not good:
            raise ValueError(f"`{name}` is not what a run writes")


def is_list_of(kind, value) -> bool:
    """Tell whether a value is a list, each entry of one type."""
    return isinstance(value, list) and all(isinstance(one, kind) for one in value)


def _are_values(value):
    """Tell whether all in dicts, lists and tuples are numbers, arrays or None."""
    if isinstance(value, dict):
        named = all(isinstance(name, str) for name in value)
        return named and all(map(_are_values, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_are_values, value))
    return value is None or is_value(value)


def is_value(value) -> bool:
    """Tell whether a value is a number or an array of numbers."""
    if isinstance(value, (bool, int)):
        return -_MOST < value < _MOST
    if isinstance(value, float):
        return True
    # JAX's own floats, of few bits, have the kind of Python objects' bytes.
    return getattr(getattr(value, "dtype", None), "kind", "O") in "biufcV"


def holds(value) -> bool:
    """Tell whether a snapshot can hold a value."""
    try:
        _packed(value, [])
    except (TypeError, RecursionError):
        return False
    return True


class Folder:
    """The folder of a run's snapshots: the last two of them.

    Args:
        path: the folder; made when it is not there.
    """

    def __init__(self, path):
        self.path = Path(path)
        self._writing: threading.Thread | None = None
        self._by: Any = None  # the Distribution of those that write
        self._problem: str | None = None

    def files(self) -> list[Path]:
        """Return the snapshots, the newest first."""
        found = self.path.glob("*.snapshot")
        whole = (path for path in found if path.is_file() or sharded.is_complete(path))
        return sorted(whole, reverse=True)

    def _parts(self):
        """Return what runs that were killed left of a write.

        Parts of other files are somebody's who writes here as well.
        """
        parts = [*self.path.glob(".*.snapshot.*.part")]
        parts += self.path.glob("*.snapshot.orbax-checkpoint-tmp*")
        whole = set(self.files())
        return parts + [p for p in self.path.glob("*.snapshot") if p not in whole]

    def next(self) -> int:
        """Return the number of the next snapshot, which comes after those there."""
        return max((int(path.stem) + 1 for path in self.files()), default=0)

    def read(self, check=None, groups=()) -> Any:
        """Return the tree of the newest whole snapshot, or None.

        A damaged one is passed over with a warning.

        Args:
            check: a function that raises for a tree of another form.
            groups: the Variables that the arrays of `"state"` are for, group by group.
        """
        for path in self.files():
            try:
                tree = _read(path, groups)
                if check is not None:
                    check(tree)
                return tree
            except Exception as error:  # whatever bytes make that are not a snapshot
                warn(
                    f"The snapshot {str(path)!r} is damaged and was passed over: "
                    f"{type(error).__name__}: {error}."
                )
        return None

    def write(self, number, tree):
        """Write a tree as it is now, in the background, after the one before."""
        self.wait()
        path, content = self.path / f"{number:012d}.snapshot", packed(tree)
        self._by, end = distribution(), None
        if several(self._by):
            self.path.mkdir(parents=True, exist_ok=True)
            end = sharded.write(path, *content)
        self._writing = threading.Thread(
            target=self._write, args=(path, content, end), name="lamina-snapshot"
        )
        self._writing.start()

    def busy(self) -> bool:
        """Tell whether a snapshot is being written."""
        return self._writing is not None and self._writing.is_alive()

    def wait(self):
        """Wait until nothing is being written; warn of a write that failed."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        if self._problem is not None:
            problem, self._problem = self._problem, None
            warn(problem)

    def _write(self, path, content, end):
        """Write a snapshot, or wait for the end of what all processes write."""
        try:
            if end is not None:
                end.result()
            else:
                self.path.mkdir(parents=True, exist_ok=True)
                data = _bytes(*content)
                with replacing(path, follow=False) as file:
                    file.write(data)
        except Exception as error:  # a full disk, and whatever else Orbax raises
            self._problem = (
                f"The snapshot {str(path)!r} could not be written: {error}. The run "
                "goes on without it."
            )
            return
        self._remove(self.files()[_KEPT:])

    def _remove(self, files):
        if not is_first(self._by):
            return
        for old in [*files, *self._parts()]:
            with contextlib.suppress(OSError):
                shutil.rmtree(old) if old.is_dir() else old.unlink()

    def clear(self):
        """Remove all snapshots."""
        self.wait()
        self._remove(self.files())
        with contextlib.suppress(OSError):
            self.path.rmdir()
