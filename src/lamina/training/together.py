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
        arrays: arrays that are whole in this process, in any structure.
        problem: what to say where they are not.

    Raises:
        ValueError: they differ.
    """
    if not several():
        return
    found = 0
    for array in jax.tree.leaves(arrays):
        array = np.ascontiguousarray(array)
        found = zlib.crc32(f"{array.shape} {array.dtype}".encode(), found)
        found = zlib.crc32(array.view(np.uint8).reshape(-1).data, found)
    sums = _gathered(found)
    if different := np.flatnonzero(sums != sums[0]).tolist():
        raise ValueError(f"{problem} Process 0 and processes {different} differ.")


def several() -> bool:
    """Tell whether there are several processes that do the same."""
    now = placement.distribution()
    return now is not None and now.num_processes > 1


def _gathered(number):
    from jax.experimental.multihost_utils import process_allgather

    return np.ravel(process_allgather(np.array([number], np.uint32)))
