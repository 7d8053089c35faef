"""Sliding windows over the spatial dimensions of a channels-last array."""

import itertools
from collections.abc import Iterator, Sequence

import jax
from jax import lax

Pads = Sequence[tuple[int, int]]

# On CPUs, work on that many shifted copies is faster than XLA's own form.
MOST_TAPS = 32


def known(x: jax.Array) -> bool:
    """Whether every spatial dimension is a number rather than a symbol."""
    return all(isinstance(size, int) for size in x.shape[1:-1])


def pads(
    padding: str | Pads,
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int] | None = None,
) -> list[tuple[int, int]]:
    """Return the cells added before and after each spatial dimension."""
    if not isinstance(padding, str):
        return [(lo, hi) for lo, hi in padding]
    if padding.lower() == "valid":
        return [(0, 0)] * len(window)
    result = []
    for size, cells, stride, step in zip(
        sizes, window, strides, dilation or (1,) * len(window), strict=True
    ):
        count = -(-size // stride)
        total = max((count - 1) * stride + (cells - 1) * step + 1 - size, 0)
        result.append((total // 2, total - total // 2))
    return result


def lax_padding(padding: str | Pads) -> str | Pads:
    """Spell the padding the way `jax.lax` does."""
    return (
        padding.upper()
        if isinstance(padding, str)
        else [(lo, hi) for lo, hi in padding]
    )


def pad(x: jax.Array, spatial: Pads, value) -> jax.Array:
    """Surround the spatial dimensions of `x` with `value`."""
    if not any(lo or hi for lo, hi in spatial):
        return x
    config = [(0, 0, 0), *((lo, hi, 0) for lo, hi in spatial), (0, 0, 0)]
    return lax.pad(x, jax.numpy.asarray(value, x.dtype), config)


def counts(
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """Return how many windows fit along each (padded) dimension."""
    return [
        max((size - (cells - 1) * step - 1) // stride + 1, 0)
        for size, cells, stride, step in zip(
            sizes, window, strides, dilation, strict=True
        )
    ]


def taps(
    x: jax.Array,
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int] | None = None,
) -> Iterator[jax.Array]:
    """Yield, in row order, what each cell of the window sees.

    Every tap has the shape (batch, *windows, channels). There must be at least
    one window along every dimension.
    """
    dilation = dilation or (1,) * len(window)
    numbers = counts(x.shape[1:-1], window, strides, dilation)
    for cell in itertools.product(*map(range, window)):
        start = [i * step for i, step in zip(cell, dilation, strict=True)]
        stop = [
            lo + (number - 1) * stride + 1
            for lo, number, stride in zip(start, numbers, strides, strict=True)
        ]
        yield lax.slice(
            x,
            (0, *start, 0),
            (x.shape[0], *stop, x.shape[-1]),
            (1, *strides, 1),
        )
