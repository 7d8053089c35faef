"""Values spread by their histograms: evenly, or tile by tile up to a limit."""

import functools

import jax
import jax.numpy as jnp

from lamina.kernels.padding import padded


@functools.partial(jax.jit, static_argnames="bins")
def equalized(x, bins):
    """Return values in 0 ... 255 replaced by 255 times the share of lesser ones."""
    levels = (x * (bins - 1) / 255).astype("int32").clip(0, bins - 1)
    below = jnp.cumsum(jnp.bincount(levels.reshape(-1), length=bins))
    least = below[jnp.argmax(below > 0)]
    others = below[-1] - least
    share = (below - least).astype("float32") * 255 / jnp.maximum(others, 1)
    return jnp.where(others == 0, x, jnp.round(share)[levels].astype(x.dtype))


def _tile_curves(x, tiles, clip_limit):
    """Return how each tile maps values 0 ... 255, (rows, columns, channels, 256).

    The map is the tile's cumulative histogram, of which what stands above the limit
    was shared out among all values: the slope, and so the contrast, stays bounded.
    """
    (rows, columns), channels = tiles, x.shape[-1]
    height, width = x.shape[0] // rows, x.shape[1] // columns
    area = height * width
    x = x.reshape(rows, height, columns, width, channels).transpose(0, 2, 4, 1, 3)
    counts = jax.vmap(lambda v: jnp.bincount(v, length=256))(x.reshape(-1, area))
    counts = counts.astype("float32")
    if clip_limit > 0:
        kept = jnp.minimum(counts, clip_limit * area / 256)
        counts = kept + jnp.sum(counts - kept, -1, keepdims=True) / 256
    below = jnp.cumsum(counts, -1)
    least = below[:, :1]
    others = area - least
    curves = (below - least) * 255 / jnp.where(others == 0, 1, others)
    return jnp.clip(curves, 0, 255).reshape(rows, columns, channels, 256)


def _neighbours(length, tiles):
    """Return the two tiles whose middles a pixel lies between, and how far along."""
    size = length // tiles
    place = jnp.arange(length) / size - 0.5
    first = jnp.floor(place)
    both = jnp.clip(jnp.stack([first, first + 1]), 0, tiles - 1).astype("int32")
    return both, place - first


@functools.partial(jax.jit, static_argnames=("tiles", "clip_limit"))
def clahe(x, tiles, clip_limit):
    """Map each pixel by its four nearest tiles' curves, weighted by nearness."""
    height, width = x.shape[:2]
    missing = (-height % tiles[0], -width % tiles[1])
    around = ((0, missing[0]), (0, missing[1]), (0, 0))
    x = padded(x, around, "symmetric")
    x = jnp.clip(x, 0, 255).astype("int32")
    curves = _tile_curves(x, tiles, clip_limit)
    rows, down = _neighbours(x.shape[0], tiles[0])
    columns, along = _neighbours(x.shape[1], tiles[1])
    channels = jnp.arange(x.shape[-1])

    def of(row, column):
        return curves[row[:, None, None], column[:, None], channels, x]

    upper, lower = (
        _blend(of(row, columns[0]), of(row, columns[1]), along[:, None]) for row in rows
    )
    return _blend(upper, lower, down[:, None, None])[:height, :width]


def _blend(start, end, factor):
    return start + factor * (end - start)
