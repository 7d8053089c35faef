"""Sequences of different lengths."""

from lamina.utils import pad_sequences

__all__ = ["pad_sequences"]
