"""Small helpers on NumPy data: classes, norms, sequences, samples."""

import jax
import numpy as np

from lamina import ops
from lamina.core.symbolic import find_symbolic, is_symbolic
from lamina.core.tracebacks import boundary


@boundary
def to_categorical(x, num_classes=None):
    """Turn integers into vectors with a 1 at that position.

    Args:
        x: integers; a last axis of size 1 is dropped.
        num_classes: the length of the vectors; the largest integer + 1 when None.

    >>> import lamina
    >>> lamina.utils.to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    if isinstance(x, jax.Array) or is_symbolic(x):
        shape = x.shape
        if num_classes is None:
            num_classes = int(x.max()) + 1
        if len(shape) > 1 and shape[-1] == 1:
            x = ops.squeeze(x, -1)
        return ops.one_hot(x, num_classes)
    try:
        x = np.array(x, dtype="int64")
    except ValueError as error:
        raise ValueError(
            f"`to_categorical` expected integers: {error}. Words for classes become "
            "integers with `numpy.unique(words, return_inverse=True)[1]`."
        ) from None
    if x.ndim > 1 and x.shape[-1] == 1:
        x = x.squeeze(-1)
    if num_classes is None:
        num_classes = int(x.max()) + 1
    if x.size and x.max() >= num_classes:
        raise ValueError(
            f"`to_categorical` expected classes from 0 to {num_classes - 1}. Received: "
            f"smallest {x.min()}, largest {x.max()}. Give `num_classes={x.max() + 1}`, "
            "or subtract what the classes begin with."
        )
    result = np.zeros((x.size, num_classes))
    result[np.arange(x.size), x.ravel()] = 1
    return result.reshape(*x.shape, num_classes)


@boundary
def normalize(x, axis=-1, order=2):
    """Divide by the norm of order `order` along `axis`; zeros stay zeros.

    >>> import lamina
    >>> lamina.utils.normalize([3.0, 4.0])
    array([0.6, 0.8])
    """
    if isinstance(x, jax.Array) or is_symbolic(x):
        if not isinstance(order, (int, float)) or isinstance(order, bool):
            raise ValueError(
                f"Argument `order` must be an int >= 1. Received: order={order}"
            )
        return ops.normalize(x, axis=axis, order=order)
    norms = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.where(norms == 0, 1, norms)


@boundary
def pad_sequences(
    sequences, maxlen=None, dtype="int32", padding="pre", truncating="pre", value=0.0
):
    """Bring sequences to one length, as rows of an array.

    Args:
        sequences: a list of sequences.
        maxlen: the length; the longest's when None.
        dtype: the dtype of the array.
        padding: where short ones are filled up: `"pre"` or `"post"`.
        truncating: where long ones are cut: `"pre"` or `"post"`.
        value: what fills them up.

    Raises:
        ValueError: `sequences` holds something else, or a place is neither.

    >>> import lamina
    >>> lamina.utils.pad_sequences([[1], [2, 3]]).tolist()
    [[0, 1], [2, 3]]
    """
    if not hasattr(sequences, "__len__"):
        raise ValueError("`sequences` must be iterable.")
    for place, name in ((padding, "Padding"), (truncating, "Truncating")):
        if place not in ("pre", "post"):
            raise ValueError(f'{name} type "{place}" not understood')
    for row in sequences:
        if not hasattr(row, "__len__"):
            raise ValueError(
                f"`sequences` must be a list of iterables. Found non-iterable: {row!r}"
            )
    text = np.issubdtype(dtype, np.str_)
    if isinstance(value, str) and dtype is not object and not text:
        raise ValueError(
            f"`dtype` {dtype} is not compatible with `value`'s type: {type(value)}. "
            "You "
            "should set `dtype=object` for variable length strings."
        )
    if maxlen is None:
        maxlen = max((len(row) for row in sequences), default=0)
    inner = next((np.shape(row)[1:] for row in sequences if len(row)), ())
    result = np.full((len(sequences), maxlen, *inner), value, dtype=dtype)
    for i, row in enumerate(sequences):
        if not len(row) or not maxlen:
            continue
        kept = np.asarray(row[-maxlen:] if truncating == "pre" else row[:maxlen], dtype)
        if kept.shape[1:] != inner:
            raise ValueError(
                f"Shape of sample {kept.shape[1:]} of sequence at position {i} is "
                f"different from expected shape {inner}"
            )
        if padding == "post":
            result[i, : len(kept)] = kept
        else:
            result[i, -len(kept) :] = kept
    return result


@boundary
def get_source_inputs(tensor) -> list:
    """Return the inputs of the graph that a symbolic tensor was computed from.

    >>> import lamina
    >>> x = lamina.Input((3,), name="features")
    >>> [t.name for t in lamina.utils.get_source_inputs(x * 2 + 1)]
    ['features']
    """
    if getattr(tensor, "node", None) is None:
        return [tensor]
    found, waiting, seen = [], [tensor], set()
    while waiting:
        x = waiting.pop(0)
        if id(x) in seen:
            continue
        seen.add(id(x))
        if x.node is None or x.node.is_input:
            found.append(x)
        else:
            waiting.extend(find_symbolic((x.node.args, x.node.kwargs)))
    return found
