"""Helpers around models: data, seeds, names, files of images, logging.

Everything is loaded on first use: a worker process of a `PyDataset` imports this,
and must not import JAX with it.
"""

from lamina._imports import lazy as _lazy

__getattr__, __dir__, __all__ = _lazy(__name__)
