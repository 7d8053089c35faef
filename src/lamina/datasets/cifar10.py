"""CIFAR-10: small colour photographs of ten kinds (Krizhevsky, 2009)."""

from lamina.core.tracebacks import boundary as _boundary
from lamina.datasets.published import cifar as _cifar

__all__ = ["load_data"]

_HASH = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"


@_boundary
def load_data():
    """Return 50,000 training and 10,000 test photographs of ten kinds.

    The labels are 0 airplane, 1 automobile, 2 bird, 3 cat, 4 deer, 5 dog, 6 frog,
    7 horse, 8 ship, 9 truck.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images `(n, 32, 32, 3)`, or
        `(n, 3, 32, 32)` where `image_data_format()` is `"channels_first"`, of 0 to
        255, and labels `(n, 1)`; all uint8.

    Raises:
        OSError: the archive is not in the cache and cannot be fetched.
        ValueError: a file in it holds anything but numbers.

    >>> import lamina
    >>> (x, y), _ = lamina.datasets.cifar10.load_data()  # doctest: +SKIP
    >>> x.shape, y.shape  # doctest: +SKIP
    ((50000, 32, 32, 3), (50000, 1))
    """
    train = [f"data_batch_{i}" for i in range(1, 6)]
    return _cifar("cifar-10-python", _HASH, (train, ["test_batch"]), "labels")
