"""Snapshots of several processes: Orbax writes them, each process its own parts.

A snapshot is a folder that is whole or not there: Orbax renames it when all processes
have written. In it are the tree, as text, and the arrays that the tree refers to. They
come back in the layout of the run that reads them, however they lay before.
"""

import logging

import jax
import numpy as np

from lamina.core.extras import extra

# What it warns of in every checkpoint that holds texts beside arrays.
_EXPECTED = (
    "`memory_size` is not",
    "[process=%s][thread=%s] Skip",
    "TensorStore data f",
)


def orbax(user="An Orbax checkpoint"):
    """Return Orbax' interface for checkpoints.

    Args:
        user: what needs it, for the message where it is missing.

    Raises:
        ImportError: orbax-checkpoint is not installed.
    """
    found = extra("orbax.checkpoint", user, "lamina[orbax]").v1
    for name in ("absl", None):
        logging.getLogger(name).addFilter(_is_unexpected)
    return found


def _is_unexpected(record):
    return not str(record.msg).startswith(_EXPECTED)


def is_complete(path) -> bool:
    """Tell whether a folder is a checkpoint that was written to its end."""
    return (path / "_CHECKPOINT_METADATA").is_file()


def write(path, head, arrays):
    """Begin to write a snapshot; all processes come.

    Args:
        path: the folder that it becomes.
        head: the tree, as text.
        arrays: the arrays that it refers to, in their order.

    Returns:
        An object whose `result()` waits for the end.
    """
    named = {str(i): array for i, array in enumerate(arrays)}
    return _orbax().save_checkpointables_async(
        path.absolute(), {"head": {"tree": head}, "arrays": named}, overwrite=True
    )


def head(path) -> str:
    """Return the tree of a snapshot, as text."""
    return _orbax().load_checkpointables(path.absolute(), {"head": None})["head"][
        "tree"
    ]


def arrays(path, shardings):
    """Return the arrays of a snapshot in their order; all processes come.

    Args:
        path: its folder.
        shardings: how arrays are to lie, by their places; others come in NumPy.
    """
    reader, path = _orbax(), path.absolute()
    declared = reader.pytree_metadata(path, "arrays").metadata
    like = {
        key: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=shardings[int(key)])
        if int(key) in shardings
        else np.empty(x.shape, x.dtype)
        for key, x in declared.items()
    }
    found = reader.load_checkpointables(path, {"arrays": like})["arrays"]
    return [found[str(i)] for i in range(len(found))]


def _orbax():
    return orbax("A snapshot of several processes")
