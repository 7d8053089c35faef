"""California housing prices (Pace and Barry, 1997)."""

from lamina.core.tracebacks import boundary as _boundary
from lamina.datasets.published import split_table as _split_table
from lamina.datasets.published import stored as _stored

__all__ = ["load_data"]

_HASH = "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f"
_ROWS = {"small": 600, "large": None}


@_boundary
def load_data(version="large", path="california_housing.npz", test_split=0.2, seed=113):
    """Return 20,640 districts' properties and the median price of their houses.

    Args:
        version: `"large"`, or `"small"` for the first 600 rows.
        path: the file's name in the cache folder.
        test_split: the share of the rows that is kept for testing.
        seed: what the order of the rows is drawn from.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: float32 arrays `(n, 8)` of longitude,
        latitude, median age of houses, rooms, bedrooms, people, households and median
        income; and prices `(n,)` in dollars.

    Raises:
        OSError: the file is not in the cache and cannot be fetched.
        ValueError: another `version`, or `test_split` is not between 0 and 1.

    >>> import lamina
    >>> (x, y), _ = lamina.datasets.california_housing.load_data()  # doctest: +SKIP
    >>> x.shape, y.shape  # doctest: +SKIP
    ((16512, 8), (16512,))
    """
    if version not in _ROWS:
        raise ValueError(
            '`load_data` expected `version` to be "small" or "large". Received: '
            f"version={version!r}"
        )
    file = _stored("california_housing.npz", _HASH, path)
    return _split_table(file, test_split, seed, rows=_ROWS[version])
