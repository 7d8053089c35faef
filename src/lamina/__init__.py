"""Lamina: build and train neural networks, the Keras way, on JAX.

    import lamina
    from lamina import layers

    model = lamina.Sequential([layers.Dense(64, "relu"), layers.Dense(10)])

Everything is loaded on first use, so importing the package costs little.
"""

from lamina._imports import lazy as _lazy
from lamina._version import __version__

__getattr__, __dir__, _names = _lazy(__name__)
__all__ = ["__version__", "version", *_names]  # pyright: ignore[reportUnsupportedDunderAll]


def version() -> str:
    """Return the version of Lamina.

    >>> import lamina
    >>> lamina.version() == lamina.__version__
    True
    """
    return __version__
