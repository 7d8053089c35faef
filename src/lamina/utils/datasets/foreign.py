"""The same data as `tf.data` and grain data sets, for users of these packages."""

import numpy as np

from lamina.core.extras import extra
from lamina.core.random import loaded
from lamina.utils.datasets.dataset import each

FORMATS = ("lamina", "tf", "grain")


def choose(format: str | None) -> str:
    """Return the format that is asked for.

    None means `tf.data` in a program that has loaded TensorFlow, as it is what such
    a program gets from Keras, and Lamina's own otherwise.

    Raises:
        ValueError: no such format.
    """
    if format is None:
        return "tf" if loaded("tensorflow", "data", "AUTOTUNE") else "lamina"
    if format not in FORMATS:
        raise ValueError(
            '`format` should be "lamina", "tf" or "grain", or None. '
            f"Received: format={format!r}"
        )
    return format


def package(name: str, format: str):
    """Import a package that only the user can ask for."""
    note = 'Without it, use `format="lamina"`.'
    return extra(name, f'`format="{format}"`', name, note)


def as_tf(paths, labels, load, batch_size, shuffle, seed, padded=False):
    """Return a `tf.data.Dataset` of files.

    Args:
        paths: the files.
        labels: an array with a row for each, or None.
        load: makes a tensor of a path, within TensorFlow.
        batch_size: samples in a batch; None for single samples.
        shuffle: whether to shuffle within a buffer of eight batches, as Keras does.
        seed: for that.
        padded: whether to bring the samples of a batch to one length.
    """
    tf = package("tensorflow", "tf")
    columns = list(paths) if labels is None else (list(paths), labels)
    data = shuffled_tf(
        tf.data.Dataset.from_tensor_slices(columns), batch_size, shuffle, seed
    )
    data = mapped_tf(
        data, lambda path, *label: (load(path), *label) if label else load(path)
    )
    if batch_size is not None:
        data = data.padded_batch(batch_size) if padded else data.batch(batch_size)
    return data.prefetch(tf.data.AUTOTUNE)


def mapped_tf(data, function):
    """Apply a function to the samples of a `tf.data.Dataset`, in order."""
    tf = package("tensorflow", "tf")
    # The function is graph code already; reading its source would only warn.
    function = tf.autograph.experimental.do_not_convert(function)
    return data.map(function, num_parallel_calls=tf.data.AUTOTUNE)


def shuffled_tf(data, batch_size, shuffle, seed):
    """Shuffle a `tf.data.Dataset` of samples as Keras does."""
    if not shuffle:
        return data
    return data.shuffle(1024 if batch_size is None else batch_size * 8, seed=seed)


def as_grain(take, count, batch_size, shuffle, seed, join=np.stack):
    """Return a grain `IterDataset`.

    Args:
        take: returns the batch of an array of rows.
        count: the number of samples.
        batch_size: samples in a batch; None for single samples.
        shuffle: whether to shuffle all samples, in one order for all passes.
        seed: for that.
        join: makes a batch of a list of leaves.
    """
    grain = package("grain", "grain")

    def sample(row):
        return each(lambda column: column[0], take(np.array([row])))

    def batch(values):
        if isinstance(values[0], tuple):
            first, *rest = zip(*values, strict=True)
            return (join(list(first)), *map(np.stack, rest))
        return join(list(values))

    data = grain.MapDataset.range(count).map(sample)
    if shuffle:
        data = data.shuffle(seed=seed)
    data = data.to_iter_dataset()
    return data if batch_size is None else data.batch(batch_size, batch_fn=batch)
