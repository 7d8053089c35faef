"""The old place of helpers for images, sequences and folders of files."""

from lamina._imports import lazy as _lazy

__getattr__, __dir__, __all__ = _lazy(__name__)
