"""Anything a user has, turned into batches of arrays.

Loaded on first use: a worker process imports `PyDataset` from here, and must not
import JAX with it.
"""

import importlib

from lamina._imports import missing

_HOMES = {
    "ArraySource": "sources",
    "EmptyData": "arrays",
    "IndexedSource": "indexed",
    "IterableSource": "sources",
    "PyDataset": "pydataset",
    "as_arrays": "arrays",
    "open_source": "sources",
    "pack": "arrays",
    "split": "sources",
    "unpack": "arrays",
}


def __getattr__(name):
    if name not in _HOMES:
        raise missing(__name__, name)
    return getattr(importlib.import_module(f"lamina.data.{_HOMES[name]}"), name)
