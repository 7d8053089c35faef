"""Images resized in NumPy, with the numbers of `tf.image.resize`.

A row of the result is a weighted sum of a few rows of the image, and so are the
columns; the weights come from a kernel around the row's place in the image. The
image is not smoothed before it shrinks (`antialias=False`).
"""

import ctypes
import functools

import numpy as np

from lamina.core.native import library


def _cubic(a, b=0.0):
    """Cubic kernels: Keys' for b = 0, Mitchell's for a = b = 1/3."""

    def kernel(x):
        near = ((12 - 9 * b - 6 * a) * x - (18 - 12 * b - 6 * a)) * x * x + 6 - 2 * b
        far = (((-b - 6 * a) * x + 6 * b + 30 * a) * x - 12 * b - 48 * a) * x
        far = far + 8 * b + 24 * a
        return np.where(x < 1, near, np.where(x < 2, far, 0)) / 6

    return kernel


def _lanczos(radius):
    return lambda x: np.sinc(x) * np.sinc(x / radius) * (x < radius)


# The kernel over the distance in pixels, and where it ends.
_KERNELS = {
    "bilinear": (lambda x: np.maximum(1 - x, 0), 1),
    "bicubic": (_cubic(0.5), 2),
    "mitchellcubic": (_cubic(1 / 3, 1 / 3), 2),
    "lanczos3": (_lanczos(3), 3),
    "lanczos5": (_lanczos(5), 5),
    "gaussian": (lambda x: np.exp(-2 * x**2) * (x < 1.5), 1.5),
}
INTERPOLATIONS = (*_KERNELS, "nearest", "area")


@functools.lru_cache(64)
def _taps(size, wanted, method):
    """Return which pixels make each new one, and their weights: (wanted, taps)."""
    scale = size / wanted
    places = np.arange(wanted)[:, None]
    centres = (places + 0.5) * scale
    if method == "nearest":
        places = np.minimum(centres.astype("int64"), size - 1)
        return places, np.ones((wanted, 1), "f4")
    if method == "area":
        start, end = places * scale, (places + 1) * scale
        pixels = np.floor(start).astype(int) + np.arange(int(np.ceil(scale)) + 1)
        shares = np.minimum(end, pixels + 1) - np.maximum(start, pixels)
        weights = np.maximum(shares, 0)
    else:
        kernel, radius = _KERNELS[method]
        first = np.ceil(centres - radius - 0.5).astype(int)
        pixels = first + np.arange(int(np.ceil(2 * radius)) + 1)
        weights = kernel(np.abs(pixels + 0.5 - centres))
    weights = np.where((pixels >= 0) & (pixels < size), weights, 0)
    weights = weights / weights.sum(axis=1, keepdims=True)
    used = np.any(weights != 0, axis=0)
    pixels = np.clip(pixels, 0, size - 1)
    return (
        np.ascontiguousarray(pixels[:, used], "int64"),
        np.ascontiguousarray(weights[:, used], "f4"),
    )


def resize(image: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """Return the image in another size, as float32.

    Args:
        image: (height, width, channels).
        size: the new height and width.
        method: one of `INTERPOLATIONS`.
    """
    if image.shape[:2] == tuple(size):
        return image.astype("float32")
    changes = tuple((n, m, method) for n, m in zip(image.shape, size, strict=False))
    compiled = getattr(library(), "lamina_resize", None)
    if compiled is not None and image.dtype == np.uint8 and image.shape[2] <= 4:
        return _compiled(compiled, np.ascontiguousarray(image), size, changes)
    rows, columns = (_taps(*change) for change in changes)
    channels = image.shape[2]
    resized = _summed(image, *rows)
    # Columns as those of a matrix, in which each has its channels beside it.
    pixels, weights = columns
    pixels = (pixels.T[:, :, None] * channels + np.arange(channels)).reshape(
        pixels.shape[1], -1
    )
    flat = _summed(
        resized.reshape(size[0], -1).T, pixels.T, np.repeat(weights, channels, axis=0)
    )
    return np.ascontiguousarray(flat.T).reshape(*size, channels)


def _summed(array, places, weights) -> np.ndarray:
    """Return weighted sums of rows of an array, of a few for each new row."""
    terms = (
        np.multiply(
            array.take(place, axis=0),
            weight.reshape(-1, *[1] * (array.ndim - 1)),
            dtype="float32",
        )
        for place, weight in zip(places.T, weights.T, strict=True)
    )
    total = next(terms)
    for term in terms:
        total += term
    return total


def _compiled(function, image, size, changes):
    """Do the same, bit for bit, in the compiled library; threads run it at once."""
    result = np.empty((*size, image.shape[2]), "float32")
    shape = map(ctypes.c_int64, image.shape[1:])
    taps = (argument for change in changes for argument in _arguments(*change))
    function(_pointer(image), *shape, *taps, _pointer(result))
    return result


@functools.lru_cache(64)
def _arguments(*change):
    """Return `_taps` as the compiled library takes them."""
    places, weights = _taps(*change)
    return _pointer(places), _pointer(weights), *map(ctypes.c_int64, places.shape)


def _pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)  # which keeps the array
