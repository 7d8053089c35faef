"""Indices of categories as vectors: what every categorical layer ends with.

`encode(indices, mode, depth, dtype, weights=None, idf=None)` takes a NumPy array and
gives one, or a JAX array (inside a trace too) and gives one.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def encode(indices, mode, depth, dtype, weights=None, idf=None):
    """Return indices of categories in one of five forms.

    Indices below 0 or from `depth` on belong to no category: they leave no trace in
    any form but `"int"`.

    Args:
        indices: integers of any shape. Of more than one axis, axis 1 holds the
            categories of one sample; a single axis is one sample.
        mode: `"int"`, the indices themselves; `"one_hot"`, a vector for each index
            (in place of a last axis of size 1); `"multi_hot"`, one vector a sample,
            1 for each category in it; `"count"`, how often each is in it;
            `"tf_idf"`, these counts times `idf`.
        depth: how many categories there are, the size of the last axis.
        dtype: the dtype of the result.
        weights: in place of 1, what each index adds to its count; same shape as
            `indices`. The result has their dtype.
        idf: the weight of each category, shape `(depth,)`.
    """
    xp: Any = np if isinstance(indices, np.ndarray) else jnp
    if xp is jnp:
        dtype = jax.dtypes.canonicalize_dtype(dtype)
    if mode == "int":
        return indices.astype(dtype)
    if indices.ndim == 0:
        indices = indices[None]
        weights = None if weights is None else weights[None]
    if mode == "one_hot":
        if indices.ndim > 1 and indices.shape[-1] == 1:
            indices = indices[..., 0]
        return (indices[..., None] == xp.arange(depth)).astype(dtype)
    axis = min(1, indices.ndim - 1)
    indices = xp.moveaxis(indices, axis, -1).astype("int32")
    if weights is None:
        weights = xp.ones(indices.shape, dtype)
    else:
        weights = xp.moveaxis(xp.asarray(weights), axis, -1)
    count = (
        _count
        if xp is np
        else jnp.vectorize(_scatter, excluded=(2,), signature="(n),(n)->(d)")
    )
    counts = count(indices, weights, depth)
    if mode == "multi_hot":
        return (counts > 0).astype(dtype)
    return counts if idf is None else counts * xp.asarray(idf, counts.dtype)


def _scatter(indices, weights, depth):
    # A negative index would count from the end.
    indices = jnp.where(indices < 0, depth, indices)
    return jnp.zeros(depth, weights.dtype).at[indices].add(weights, mode="drop")


def _count(indices, weights, depth):
    rows = np.prod(indices.shape[:-1], dtype=int)
    flat = indices.reshape(rows, indices.shape[-1])
    places = flat + np.arange(rows)[:, None] * depth
    valid = (flat >= 0) & (flat < depth)
    counts = np.bincount(
        places[valid], weights.reshape(flat.shape)[valid], minlength=rows * depth
    )
    return counts.reshape(*indices.shape[:-1], depth).astype(weights.dtype)
