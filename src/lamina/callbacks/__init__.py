"""Callbacks: watch a training and steer it.

Everything is loaded on first use; the stub, `__init__.pyi`, is the list of names.
"""

from lamina._imports import lazy as _lazy

__getattr__, __dir__, __all__ = _lazy(__name__)
