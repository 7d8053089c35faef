"""Event files: what TensorBoard reads, written without TensorFlow."""

import itertools
import os
import socket
import struct
import time
import zlib
from pathlib import Path

import numpy as np

from lamina.core.extras import extra

_IMAGES = 3  # of one value
_numbers = itertools.count()


def require_tensorboard(who):
    """Raise unless the package that knows the format is there."""
    extra("tensorboard", f"`{who}`", "lamina[tensorboard]")


class EventFile:
    """The file of one run; it is made when the first value comes.

    It is open only while something is written: whatever was written is on the disk,
    and nobody has to close it.

    Args:
        folder: the folder of the run.
    """

    def __init__(self, folder):
        self._folder = Path(folder)
        self._path: Path | None = None

    def write(self, step, *summaries):
        """Add summaries of one step."""
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore
        from tensorboard.summary.writer.record_writer import RecordWriter

        now = time.time()
        events = [Event(wall_time=now, step=step, summary=s) for s in summaries]
        if self._path is None:
            self._path = self._folder / (
                f"events.out.tfevents.{int(now)}.{socket.gethostname()}."
                f"{os.getpid()}.{next(_numbers)}.v2"
            )
            self._folder.mkdir(parents=True, exist_ok=True)
            events.insert(0, Event(wall_time=now, file_version="brain.Event:2"))
        with self._path.open("ab") as file:
            records = RecordWriter(file)
            for event in events:
                records.write(event.SerializeToString())


def scalars(values, prefix="", suffix=""):
    """Return a summary for each value that is one number."""
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    return [
        scalar_pb(f"{prefix}{name}{suffix}", float(value))
        for name, value in values.items()
        if np.ndim(value) == 0
    ]


def histogram(tag, values):
    """Return the summary of how the values are distributed."""
    from tensorboard.plugins.histogram.summary_v2 import histogram_pb

    values = np.asarray(values, "float64")
    # Bins need ends; a log of a run that went wrong must not end it.
    return histogram_pb(tag, values[np.isfinite(values)])


def model_graph(text):
    """Return the summary that TensorBoard draws a model's layers from.

    Args:
        text: the model as JSON.
    """
    return _summary("keras", [text.encode()], "graph_keras_model", b"1")


def image(tag, values):
    """Return the summary that shows an array, or None if it cannot be shown.

    The least value is black and the greatest white. A vector is one column; a matrix
    lies on its longer side; of an array of more axes each slice over the first two
    is an image, and the first three are shown.
    """
    from tensorboard.plugins.image import metadata

    values = np.squeeze(np.asarray(values, "float64"))
    if values.ndim == 0 or values.size == 0:
        return None
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim == 2 and values.shape[0] > values.shape[1] > 1:
        values = values.T
    stack = values.reshape(*values.shape[:2], -1)
    height, width, _ = stack.shape
    shades = _shades(stack)
    pictures = [_png(shades[:, :, i]) for i in range(min(shades.shape[2], _IMAGES))]
    return _summary(
        tag,
        [str(width).encode(), str(height).encode(), *pictures],
        metadata.PLUGIN_NAME,
        b"",
    )


def _summary(tag, texts, plugin, content):
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore
    from tensorboard.util.tensor_util import make_tensor_proto

    summary = Summary()
    tensor = make_tensor_proto(np.array(texts, object))
    value = summary.value.add(tag=tag, tensor=tensor)
    value.metadata.plugin_data.plugin_name = plugin
    value.metadata.plugin_data.content = content
    return summary


def _shades(values):
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    low, span = values.min(), np.ptp(values)
    return np.round((values - low) * (255 / span if span else 0)).astype("uint8")


def _png(shades):
    """Return the file of a grey picture of 8 bits."""
    height, width = shades.shape
    lines = b"".join(b"\0" + line.tobytes() for line in shades)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(lines),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    )
