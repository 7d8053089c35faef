"""Data sets cut in two."""

import random
import sys
from typing import Any

import numpy as np

from lamina.core.tracebacks import boundary
from lamina.utils.datasets.dataset import Verbs, each, stacked
from lamina.utils.datasets.foreign import choose, package
from lamina.utils.datasets.samples import Rows, Samples


@boundary
def split_dataset(
    dataset,
    left_size: Any = None,
    right_size: Any = None,
    shuffle: bool = False,
    seed: Any = None,
    preferred_backend: Any = None,
):
    """Cut a data set in two, for instance for training and testing.

    The left part begins with the first sample, the right part ends with the last.

    Args:
        dataset: an array, a list or tuple of arrays with the same number of rows, a
            data set of `lamina.utils`, a `tf.data.Dataset` or a PyTorch data set.
        left_size: the samples in the left part: a number of them, or a share between
            0 and 1; None means the rest.
        right_size: the samples in the right part, likewise.
        shuffle: whether to shuffle before the cut.
        seed: the seed of the order.
        preferred_backend: `"tensorflow"`, `"torch"` or `"jax"`: whose data sets to
            return. None means those of `dataset`; for arrays `tf.data` in a program
            that has loaded TensorFlow, else Lamina's own.

    Returns:
        The two parts. Lamina's own give samples one by one; `.batch(32)` makes
        batches of them.

    Raises:
        ValueError: sizes that do not fit, or no samples.
        TypeError: no data set that can be cut.

    >>> import lamina, numpy as np
    >>> left, right = lamina.utils.split_dataset(
    ...     (np.arange(10), np.arange(10) ** 2), left_size=0.7, preferred_backend="jax"
    ... )
    >>> len(left), [(int(x), int(y)) for x, y in right]
    (7, [(7, 49), (8, 64), (9, 81)])
    """
    if left_size is None and right_size is None:
        raise ValueError(
            "At least one of the `left_size` or `right_size` must be specified. "
            "Received: left_size=None, right_size=None"
        )
    own = _own_backend(dataset)
    backend = (
        preferred_backend or own or ("tensorflow" if choose(None) == "tf" else "jax")
    )
    if backend not in ("tensorflow", "torch", "jax"):
        raise ValueError(
            '`preferred_backend` must be "tensorflow", "torch", "jax" or None. '
            f"Received: preferred_backend={preferred_backend!r}"
        )
    if backend == "torch":
        return _split_torch(dataset, left_size, right_size, shuffle, seed)
    samples = _as_samples(dataset)
    left, right = _sizes(left_size, right_size, samples.count)
    rows = list(range(samples.count))
    if shuffle:
        # The shuffle of Keras, without touching the global generator.
        random.Random(random.randint(0, 10**6) if seed is None else seed).shuffle(rows)
    parts = samples.part(rows[:left]), samples.part(rows[-right:])
    if backend == "jax":
        return parts
    batch_size = getattr(dataset, "_batch_size", None) if own else None
    return tuple(_as_tf(part, batch_size) for part in parts)


def _is_a(dataset, module, name):
    """Tell data sets of a package that is loaded."""
    place = sys.modules.get(module)
    return isinstance(dataset, getattr(place, name, ()))


def _own_backend(dataset):
    if isinstance(dataset, Verbs):
        return "jax"
    if _is_a(dataset, "tensorflow.data", "Dataset") or (
        "tensorflow" in sys.modules and hasattr(dataset, "element_spec")
    ):
        return "tensorflow"
    if _is_a(dataset, "torch.utils.data", "Dataset"):
        return "torch"
    if isinstance(dataset, (list, tuple, np.ndarray)):
        return None
    raise TypeError(
        "`dataset` must be an array, a list or tuple of arrays, a data set made by "
        "`lamina.utils`, a `tf.data.Dataset` or a PyTorch data set. Received: "
        f"dataset of type {type(dataset).__name__}"
    )


def _as_samples(dataset):
    if isinstance(dataset, Samples):
        return dataset
    if isinstance(dataset, np.ndarray):
        arrays = dataset
    elif isinstance(dataset, (list, tuple)):
        arrays = tuple(_checked(dataset))
    else:
        arrays = _collected(dataset)
    first = arrays
    while isinstance(first, (tuple, dict)):
        first = next(iter(first.values() if isinstance(first, dict) else first))
    return Samples(Rows(arrays), len(first))


def _checked(arrays):
    if len(arrays) == 0:
        raise ValueError(
            "Received an empty list or tuple as `dataset`. Give at least one array."
        )
    for place, array in enumerate(arrays):
        if not isinstance(array, np.ndarray):
            raise ValueError(
                "`dataset` must be a list or tuple of NumPy arrays. Received: "
                f"{type(array).__name__} at index {place}"
            )
        if len(array) != len(arrays[0]):
            raise ValueError(
                "All arrays of `dataset` must have the same number of rows. Received: "
                f"{len(arrays[0])} rows at index 0, {len(array)} at index {place}"
            )
    return arrays


def _collected(dataset):
    """Return the samples of a foreign data set as arrays in the same structure."""
    if getattr(dataset, "_batch_size", None) is not None or (
        isinstance(dataset, Verbs) and dataset.batched
    ):
        dataset = dataset.unbatch()
    samples = [each(np.asarray, _tuples(sample)) for sample in dataset]
    if not samples:
        raise ValueError("`dataset` is empty, so there is nothing to cut.")
    return stacked(samples)


def _tuples(value):
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value


def _as_tf(samples, batch_size):
    tf = package("tensorflow", "tf")
    arrays = samples.take_rows(np.arange(samples.count))
    data = tf.data.Dataset.from_tensor_slices(arrays)
    if batch_size is not None:
        data = data.batch(batch_size)
    return data.prefetch(tf.data.AUTOTUNE)


def _split_torch(dataset, left_size, right_size, shuffle, seed):
    torch = package("torch", "torch")
    tools = package("torch.utils.data", "torch")
    if not isinstance(dataset, tools.Dataset):
        samples = _as_samples(dataset)
        arrays = samples.take_rows(np.arange(samples.count))
        columns = arrays if isinstance(arrays, tuple) else (arrays,)
        dataset = tools.TensorDataset(*map(torch.from_numpy, columns))
    sizes = _sizes(left_size, right_size, len(dataset))
    if not shuffle:
        rows = range(len(dataset))
        parts = rows[: sizes[0]], rows[len(rows) - sizes[1] :]
        return tuple(tools.Subset(dataset, part) for part in parts)
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    order = torch.randperm(len(dataset), generator=generator).tolist()
    parts = order[: sizes[0]], order[len(order) - sizes[1] :]
    return tuple(tools.Subset(dataset, part) for part in parts)


def _sizes(left, right, total):
    """Return the numbers of samples in both parts."""
    for name, size in (("left_size", left), ("right_size", right)):
        if size is None:
            continue
        if type(size) not in (int, float):
            raise TypeError(
                f"Invalid `{name}` type: expected an integer, a float or None. "
                f"Received: {name}={size!r} of type {type(size).__name__}"
            )
        if not 0 < size < (total if isinstance(size, int) else 1):
            raise ValueError(
                f"`{name}` should be either a positive integer smaller than {total}, "
                f"or a float between 0 and 1, excluding both. Received: {name}={size}"
            )
    if isinstance(left, float) and isinstance(right, float) and left + right > 1:
        raise ValueError(
            "The sum of `left_size` and `right_size` is greater than 1. Received: "
            f"left_size={left}, right_size={right}"
        )
    counts = [
        round(size * total) if isinstance(size, float) else size
        for size in (left, right)
    ]
    if counts[0] is None:
        counts[0] = total - counts[1]
    if counts[1] is None:
        counts[1] = total - counts[0]
    if sum(counts) > total:
        raise ValueError(
            "The sum of `left_size` and `right_size` should not be greater than "
            f"{total}, the samples there are. Received: left_size={left}, "
            f"right_size={right}"
        )
    if 0 in counts:
        raise ValueError(
            f"With {total} samples, `left_size`={left} and `right_size`={right}, one "
            "part would be empty. Change the sizes."
        )
    return counts
