"""Anything a user has, turned into batches of arrays.

Loaded on first use: a worker process imports `PyDataset` from here, and must not
import JAX with it.
"""

from lamina._imports import lazy as _lazy

__getattr__, __dir__, __all__ = _lazy(__name__)
