"""Fashion-MNIST: articles of clothing (Xiao, Rasul and Vollgraf, arXiv:1708.07747)."""

import gzip as _gzip
import math as _math
import pathlib as _pathlib
import zlib as _zlib

import numpy as _np

from lamina.core import bounds as _bounds
from lamina.core.tracebacks import boundary as _boundary
from lamina.datasets.published import STORE as _STORE
from lamina.utils.files import get_file as _get_file

__all__ = ["load_data"]

_HASHES = {
    "train-images-idx3-ubyte.gz": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
    ),
    "train-labels-idx1-ubyte.gz": (
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
    ),
}


@_boundary
def load_data():
    """Return 60,000 training and 10,000 test images of ten articles of clothing.

    The labels are 0 T-shirt or top, 1 trousers, 2 pullover, 3 dress, 4 coat, 5 sandal,
    6 shirt, 7 sneaker, 8 bag, 9 ankle boot.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images `(n, 28, 28)`, grey levels of 0
        to 255, and labels `(n,)`; all uint8.

    Raises:
        OSError: a file is not in the cache and cannot be fetched.

    >>> import lamina
    >>> (x, y), _ = lamina.datasets.fashion_mnist.load_data()  # doctest: +SKIP
    >>> x.shape, y.shape  # doctest: +SKIP
    ((60000, 28, 28), (60000,))
    """
    folder = "datasets/fashion-mnist"
    x_train, y_train, x_test, y_test = (
        _entries(_get_file(name, _STORE + name, file_hash=known, cache_subdir=folder))
        for name, known in _HASHES.items()
    )
    return (x_train, y_train), (x_test, y_test)


def _entries(path):
    """Return the array of a gzipped IDX file: its shape stands before its bytes."""
    stored = _pathlib.Path(path).stat().st_size
    most = max(_bounds.FLOOR, _bounds.RATIO * stored)
    try:
        with _gzip.open(path) as file:
            _, _, kind, rank = file.read(4)
            shape = _np.frombuffer(file.read(4 * rank), ">u4").tolist()
            data = file.read(min(_math.prod(shape), most) + 1)
        if kind != 8 or len(shape) != rank or len(data) != _math.prod(shape):
            raise ValueError("it is not an IDX file of bytes")
        return _np.frombuffer(data, _np.uint8).reshape(shape)
    except (ValueError, EOFError, _zlib.error, _gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged: {error}.") from error
