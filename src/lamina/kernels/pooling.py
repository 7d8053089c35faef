"""Pooling by taps: the windows' cells as strided slices, combined cell by cell.

One spatial dimension after the other, the last first: fewer taps, and the first
maximum of the first row that holds it is the first of the window in row order.
`lax.reduce_window` serves where no gradient is wanted, the spatial sizes are symbols
or the window is very large; its gradient (select-and-scatter) is far slower on a CPU.
"""

import math
from collections.abc import Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lamina.core.budget import listed
from lamina.kernels import windows
from lamina.kernels.forms import where_differentiated

MOST_TAPS = 64


def max_pool(
    x: jax.Array,
    *,
    window: Sequence[int],
    strides: Sequence[int],
    padding: str | windows.Pads,
    channels_last: bool = True,
) -> jax.Array:
    """Take the largest value of every window.

    Padding never wins over a number, NaN always does, and the gradient goes to
    the first maximum of the window in row order.

    Args:
        x: (batch, *spatial, channels), or (batch, channels, *spatial).
        window: cells of the window along each spatial dimension.
        strides: distance of neighbouring windows along each dimension.
        padding: "valid", "same", or a (before, after) pair per dimension.
        channels_last: where the channels are.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import max_pool
        >>> x = jnp.array([1.0, 3.0, 2.0, 0.0]).reshape(1, 4, 1)
        >>> max_pool(x, window=(2,), strides=(2,), padding="valid").ravel().tolist()
        [3.0, 2.0]
    """
    window, strides = tuple(window), tuple(strides)
    if not channels_last:
        x = jnp.moveaxis(x, 1, -1)
    lowest = _lowest(x.dtype)

    def plain(x):
        return _reduce(x, lowest, lax.max, window, strides, padding)

    def learning(x):
        y = padded = _padded(x, window, strides, padding, lowest)
        if y is None:
            return plain(x)
        for part in _passes(window, strides, padded is x):
            y = _max(y, *part)
        return y

    y = where_differentiated(plain, learning)(x)
    return y if channels_last else jnp.moveaxis(y, -1, 1)


def average_pool(
    x: jax.Array,
    *,
    window: Sequence[int],
    strides: Sequence[int],
    padding: str | windows.Pads,
    channels_last: bool = True,
) -> jax.Array:
    """Take the mean of every window; padding does not count.

    Half precision is summed in float32, and integers give float32.

    Args:
        x: (batch, *spatial, channels), or (batch, channels, *spatial).
        window: cells of the window along each spatial dimension.
        strides: distance of neighbouring windows along each dimension.
        padding: "valid", "same", or a (before, after) pair per dimension.
        channels_last: where the channels are.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import average_pool
        >>> x = jnp.array([1.0, 3.0, 2.0]).reshape(1, 3, 1)
        >>> average_pool(x, window=(2,), strides=(2,), padding="same").ravel().tolist()
        [2.0, 2.0]
    """
    window, strides = tuple(window), tuple(strides)
    if not channels_last:
        x = jnp.moveaxis(x, 1, -1)
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.dtype("float32")
    x = x.astype(jnp.promote_types(dtype, jnp.float32))
    padded = _padded(x, window, strides, padding, 0)
    add = partial(_reduce, start=0, combine=lax.add, window=window, strides=strides)
    if padded is None:
        total = add(x, padding=padding)
        ones = jnp.ones((1, *x.shape[1:-1], 1), x.dtype)
        count = add(ones, padding=padding)
    else:
        total = padded
        for part in _passes(window, strides, padded is x):
            total = reduce(jnp.add, windows.taps(total, *part))
        count = _count(x.shape[1:-1], window, strides, padding)
        count = jnp.asarray(count, x.dtype)
    y = (total / count).astype(dtype)
    return y if channels_last else jnp.moveaxis(y, -1, 1)


def _lowest(dtype):
    if jnp.issubdtype(dtype, jnp.floating):
        return -jnp.inf
    return jnp.iinfo(dtype).min if jnp.issubdtype(dtype, jnp.integer) else False


def _padded(x, window, strides, padding, value):
    """Return the padded array if taps can serve, else None."""
    if sum(window) > MOST_TAPS or not windows.known(x):
        return None
    spatial = windows.pads(padding, x.shape[1:-1], window, strides)
    x = windows.pad(x, spatial, value)
    numbers = windows.counts(x.shape[1:-1], window, strides, (1,) * len(window))
    return x if all(numbers) else None


def _passes(window, strides, unpadded):
    """Yield the window and strides of each pass over the array."""
    if unpadded and math.prod(window) <= 4:
        # So few taps are cheaper at once than an array between two passes.
        yield window, strides
        return
    for axis in reversed(range(len(window))):
        if window[axis] > 1 or strides[axis] > 1:
            only = [1] * len(window)
            cells, steps = only.copy(), only.copy()
            cells[axis], steps[axis] = window[axis], strides[axis]
            yield tuple(cells), tuple(steps)


def _reduce(x, start, combine, window, strides, padding):
    return lax.reduce_window(
        x,
        np.asarray(start, x.dtype),
        combine,
        (1, *window, 1),
        (1, *strides, 1),
        padding.upper()
        if isinstance(padding, str)
        else [(0, 0), *map(tuple, padding), (0, 0)],
    )


def _count(sizes, window, strides, padding):
    """Count the true cells of each window; a product over the dimensions."""
    spatial = windows.pads(padding, sizes, window, strides)
    padded = [lo + size + hi for size, (lo, hi) in zip(sizes, spatial, strict=True)]
    listed(math.prod(windows.counts(padded, window, strides, [1] * len(padded))))
    result = np.ones(())
    for size, cells, stride, (lo, hi) in zip(
        sizes, window, strides, spatial, strict=True
    ):
        starts = np.arange(0, lo + size + hi - cells + 1, stride)
        inside = np.clip(starts + cells, lo, lo + size) - np.clip(starts, lo, lo + size)
        result = np.multiply.outer(result, inside)
    return result[None, ..., None]


def _largest(x, window, strides):
    """Return each window's maximum and which tap holds the first of it."""
    first, *others = windows.taps(x, window, strides)
    best, place = first, jnp.zeros(first.shape, jnp.uint8)
    for number, tap in enumerate(others, 1):
        better = (tap > best) | ((tap != tap) & (best == best))
        best = jnp.where(better, tap, best)
        place = jnp.where(better, jnp.uint8(number), place)
    return best, place


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _max(x, window, strides):
    return _largest(x, window, strides)[0]


@_max.defjvp
def _max_jvp(window, strides, primals, tangents):
    # A rule for tangents, not cotangents: its transpose is the gradient, and
    # forward mode (jax.jvp, jax.hessian) works too.
    (x,), (tangent,) = primals, tangents
    y, place = _largest(x, window, strides)
    gradients = enumerate(windows.taps(tangent, window, strides))
    chosen = (jnp.where(place == number, tangent, 0) for number, tangent in gradients)
    return y, reduce(jnp.add, chosen)
