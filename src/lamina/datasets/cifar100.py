"""CIFAR-100: small colour photographs of a hundred kinds (Krizhevsky, 2009)."""

from lamina.core.tracebacks import boundary as _boundary
from lamina.datasets.published import cifar as _cifar

__all__ = ["load_data"]

_HASH = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"


@_boundary
def load_data(label_mode="fine"):
    """Return 50,000 training and 10,000 test photographs of a hundred kinds.

    Args:
        label_mode: `"fine"` for the 100 kinds, `"coarse"` for their 20 groups.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images `(n, 32, 32, 3)`, or
        `(n, 3, 32, 32)` where `image_data_format()` is `"channels_first"`, of 0 to
        255, and labels `(n, 1)`; images are uint8.

    Raises:
        OSError: the archive is not in the cache and cannot be fetched.
        ValueError: another `label_mode`, or a file that holds anything but numbers.

    >>> import lamina
    >>> (x, y), _ = lamina.datasets.cifar100.load_data()  # doctest: +SKIP
    >>> x.shape, y.shape  # doctest: +SKIP
    ((50000, 32, 32, 3), (50000, 1))
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(
            '`load_data` expected `label_mode` to be "fine" or "coarse". Received: '
            f"label_mode={label_mode!r}"
        )
    return _cifar(
        "cifar-100-python", _HASH, (["train"], ["test"]), f"{label_mode}_labels"
    )
