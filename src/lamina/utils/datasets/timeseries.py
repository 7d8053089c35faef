"""Windows over a series as data sets."""

from typing import Any

import numpy as np

from lamina.core.tracebacks import boundary
from lamina.utils.datasets.dataset import Dataset
from lamina.utils.datasets.foreign import (
    as_grain,
    choose,
    mapped_tf,
    package,
    shuffled_tf,
)
from lamina.utils.datasets.samples import Samples


@boundary
def timeseries_dataset_from_array(
    data,
    targets,
    sequence_length,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: Any = None,
    start_index: Any = None,
    end_index: Any = None,
    format: Any = None,
) -> Dataset:
    """Make a data set of windows over a series.

    The window that starts at row `s` holds the rows `s`, `s + sampling_rate`, ...,
    `sequence_length` of them, and goes with `targets[s]`.

    Args:
        data: the series, (rows, ...).
        targets: a target for each start of a window, (rows, ...); None for windows
            alone.
        sequence_length: rows in a window.
        sequence_stride: rows from the start of a window to the next one's.
        sampling_rate: rows from one row of a window to the next.
        batch_size: windows in a batch; None gives single windows.
        shuffle: whether to shuffle the windows.
        seed: the seed of the order.
        start_index: the first row to use.
        end_index: the first row not to use any more.
        format: `"lamina"` for a `Dataset` of Lamina, `"tf"` for a `tf.data.Dataset`,
            `"grain"` for a grain data set. None means `"tf"` in a program that has
            loaded TensorFlow, else `"lamina"`.

    Raises:
        ValueError: an argument that does not fit, which it names.

    >>> import lamina, numpy as np
    >>> windows = lamina.utils.timeseries_dataset_from_array(
    ...     np.arange(6), np.arange(6) * 10, sequence_length=3, format="lamina"
    ... )
    >>> for x, y in windows:
    ...     print(x.tolist(), y.tolist())
    [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]] [0, 10, 20, 30]
    """
    _check_window(len(data), sequence_length, sequence_stride, sampling_rate)
    _check_ends(len(data), start_index, end_index)
    format = choose(format)
    start = start_index or 0
    series = np.asarray(data[start : end_index or len(data)])
    count = len(series) - (sequence_length - 1) * sampling_rate
    if targets is not None:
        targets = np.asarray(targets)
        count = min(count, len(targets))
        targets = targets[start:]
    if count < 1:
        raise ValueError(
            f"No window fits: {sequence_length} rows that are {sampling_rate} apart "
            f"need {(sequence_length - 1) * sampling_rate + 1} rows. Received: "
            f"{len(series)} rows of data"
            + ("" if targets is None else f" and {len(targets)} targets")
        )
    starts = np.arange(0, count, sequence_stride)
    if targets is not None:
        starts = starts[starts < len(targets)]
    if shuffle:
        seed = int(np.random.randint(10**6)) if seed is None else seed
        np.random.RandomState(seed).shuffle(starts)
    take = Windows(series, targets, starts, sequence_length, sampling_rate)
    if format == "tf":
        return _as_tf(take, batch_size, shuffle, seed)
    if format == "grain":
        return as_grain(take, len(starts), batch_size, shuffle, seed)
    return Samples(take, len(starts), batch_size, shuffle, seed)


class Windows:
    """Takes windows, and the targets at their starts."""

    def __init__(self, series, targets, starts, length, rate):
        self.series, self.targets, self.starts = series, targets, starts
        self.offsets = np.arange(length) * rate

    def __call__(self, rows):
        """Return the batch of an array of rows."""
        starts = self.starts[rows]
        x = self.series[starts[:, None] + self.offsets]
        return x if self.targets is None else (x, self.targets[starts])


def _as_tf(take, batch_size, shuffle, seed):
    tf = package("tensorflow", "tf")
    series = tf.convert_to_tensor(take.series)
    targets = None if take.targets is None else tf.convert_to_tensor(take.targets)

    def sample(start):
        x = tf.gather(series, start + take.offsets)
        return x if targets is None else (x, tf.gather(targets, start))

    data = tf.data.Dataset.from_tensor_slices(take.starts)
    data = mapped_tf(data, sample).prefetch(tf.data.AUTOTUNE)
    data = shuffled_tf(data, batch_size, shuffle, seed)
    return data if batch_size is None else data.batch(batch_size)


def _check_window(rows, length, stride, rate):
    if not isinstance(length, (int, np.integer)) or length < 1:
        raise ValueError(
            "`sequence_length` must be a positive integer. Received: "
            f"sequence_length={length!r}"
        )
    for name, value in (("sampling_rate", rate), ("sequence_stride", stride)):
        if not 0 < value < rows:
            raise ValueError(
                f"`{name}` must be higher than 0, and lower than the length of the "
                f"data, {rows}. Received: {name}={value}"
            )


def _check_ends(rows, start, end):
    if start is not None and not 0 <= start < rows:
        raise ValueError(
            "`start_index` must be 0 or greater, and lower than the length of the "
            f"data, {rows}. Received: start_index={start}"
        )
    if end is not None and not (start or 0) < end < rows:
        raise ValueError(
            "`end_index` must be higher than `start_index` and 0, and lower than the "
            f"length of the data, {rows} (None takes all rows). Received: "
            f"end_index={end}, start_index={start}"
        )
