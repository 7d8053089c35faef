"""MNIST: handwritten digits (LeCun, Cortes and Burges, 1998)."""

import numpy as _np

from lamina.core.tracebacks import boundary as _boundary
from lamina.datasets.published import stored as _stored

__all__ = ["load_data"]

_HASH = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"


@_boundary
def load_data(path="mnist.npz"):
    """Return 60,000 training and 10,000 test images of the digits 0 to 9.

    Args:
        path: the file's name in the cache folder.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images `(n, 28, 28)`, grey levels of 0
        to 255, and digits `(n,)`; all uint8.

    Raises:
        OSError: the file is not in the cache and cannot be fetched.

    >>> import lamina
    >>> (x, y), _ = lamina.datasets.mnist.load_data()  # doctest: +SKIP
    >>> x.shape, y.shape  # doctest: +SKIP
    ((60000, 28, 28), (60000,))
    """
    with _np.load(_stored("mnist.npz", _HASH, path), allow_pickle=False) as f:
        return tuple((f[f"x_{part}"], f[f"y_{part}"]) for part in ("train", "test"))
