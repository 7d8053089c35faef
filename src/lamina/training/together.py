"""What the processes of a run agree on. Each process has to come by."""

import zlib

import jax
import numpy as np

from lamina.core import placement


def of_first(number) -> int:
    """Return the number that process 0 has; on one process, the number itself."""
    if not several():
        return number
    return int(_gathered(number)[0])


def check_alike(arrays, problem) -> None:
    """Raise unless all processes have the same arrays.

    Args:
        arrays: arrays in any structure; parts of divided ones are compared where
            several processes have them.
        problem: what to say where they are not.

    Raises:
        ValueError: they differ.
    """
    if not several():
        return
    found = [_sums(array) for array in jax.tree.leaves(arrays)]
    size = _gathered(sum(map(len, found)))
    alike = (size == size[0]).all()
    if alike:
        sums = _gathered(*np.concatenate([*found, [1]])).reshape(len(size), -1)
        known = np.where(sums == 0, sums.max(axis=0), sums)  # 0: not there
        alike = (known == known[0]).all()
    if not alike:
        raise ValueError(problem)


def _sums(array) -> list[int]:
    """Return a checksum for each part of an array; 0 for those of others."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return [_sum(np.asarray(array))]
    parts = array.sharding.devices_indices_map(array.shape).values()
    mine = {str(s.index): s.data for s in array.addressable_shards}
    return [
        _sum(np.asarray(mine[part])) if part in mine else 0
        for part in dict.fromkeys(map(str, parts))
    ]


def _sum(array):
    begin = zlib.crc32(f"{array.shape} {array.dtype}".encode())
    if array.dtype.hasobject:  # text, which reaches no step
        return begin or 1
    bytes_ = np.ascontiguousarray(array).view(np.uint8).reshape(-1).data
    return zlib.crc32(bytes_, begin) or 1


def several() -> bool:
    """Tell whether there are several processes that do the same."""
    now = placement.distribution()
    return now is not None and now.num_processes > 1


def _gathered(*numbers):
    """Return the numbers of all processes, one process after the other."""
    from jax.experimental.multihost_utils import process_allgather

    return np.ravel(process_allgather(np.array(numbers, np.uint32)))
