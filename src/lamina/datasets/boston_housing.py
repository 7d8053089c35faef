"""Boston housing prices (Harrison and Rubinfeld, 1978)."""

from lamina.core.tracebacks import boundary as _boundary
from lamina.datasets.published import split_table as _split_table
from lamina.datasets.published import stored as _stored

__all__ = ["load_data"]

_HASH = "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5"


@_boundary
def load_data(path="boston_housing.npz", test_split=0.2, seed=113):
    """Return 506 towns' properties and the median price of their houses.

    One column assumes that prices follow from segregation by race. Take another data
    set, such as `california_housing`, unless that is what you teach about.

    Args:
        path: the file's name in the cache folder.
        test_split: the share of the rows that is kept for testing.
        seed: what the order of the rows is drawn from.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: float64 arrays `(n, 13)`, and prices
        `(n,)` in thousands of dollars.

    Raises:
        OSError: the file is not in the cache and cannot be fetched.
        ValueError: `test_split` is not between 0 and 1.

    >>> import lamina
    >>> (x, y), _ = lamina.datasets.boston_housing.load_data()  # doctest: +SKIP
    >>> x.shape, y.shape  # doctest: +SKIP
    ((404, 13), (404,))
    """
    file = _stored("boston_housing.npz", _HASH, path)
    return _split_table(file, test_split, seed)
