"""Names that Keras keeps for code written for Keras 2."""

from lamina.legacy import saving as saving

__all__ = ["saving"]
