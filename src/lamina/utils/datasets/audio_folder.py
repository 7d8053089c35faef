"""Folders of sounds as data sets."""

import dataclasses
import importlib.util
import math
import pathlib
from typing import Any

import numpy as np

from lamina.core import bounds
from lamina.core.budget import readable
from lamina.core.tracebacks import boundary
from lamina.utils.datasets.dataset import Dataset
from lamina.utils.datasets.folders import Kind, folder_dataset
from lamina.utils.datasets.foreign import choose, package


@boundary
def audio_dataset_from_directory(
    directory,
    labels: Any = "inferred",
    label_mode: str = "int",
    class_names: Any = None,
    batch_size: int | None = 32,
    sampling_rate: Any = None,
    output_sequence_length: Any = None,
    ragged: bool = False,
    shuffle: bool = True,
    seed: Any = None,
    validation_split: Any = None,
    subset: Any = None,
    follow_links: bool = False,
    verbose: bool = True,
    format: Any = None,
) -> Dataset:
    r"""Make a data set of the `.wav` files in a folder.

    It gives `(sounds, labels)`, or only sounds without labels. Sounds are float32
    from -1 to 1, (batch, samples, channels); shorter ones of a batch end in zeros.
    Labels are as in `image_dataset_from_directory`.

    Args:
        directory: the folder; with `labels="inferred"` a subfolder for each class.
        labels: `"inferred"`, None, or a list of integers for the files in the sorted
            order of their paths.
        label_mode: `"int"`, `"binary"`, `"categorical"` or None.
        class_names: the subfolders to use, in the order of their numbers.
        batch_size: sounds in a batch; None gives single sounds.
        sampling_rate: samples a second to bring all sounds to (with `"tf"` this
            takes the package tensorflow_io).
        output_sequence_length: samples to bring each sound to, by cutting its end
            off or by zeros after it; None pads to the longest of a batch.
        ragged: give ragged tensors instead of padding; with `"tf"` only.
        shuffle: whether to shuffle; otherwise in the sorted order of paths.
        seed: the seed of the order.
        validation_split: the share to keep for validation.
        subset: `"training"`, `"validation"`, or `"both"` for a list of the two.
        follow_links: whether to go into linked folders and read linked files.
        verbose: whether to print how many files were found.
        format: `"lamina"`, `"tf"`, `"grain"` or None, as in
            `image_dataset_from_directory`.

    Returns:
        A `Dataset` of batches, with the attributes `class_names` and `file_paths`, and
        the verbs of `tf.data`: `map`, `shuffle`, `take`, `cache`, `prefetch` ...

    Raises:
        ValueError: no sounds, or an argument that does not fit, which it names.
        FileNotFoundError: no such folder.

    >>> import pathlib, tempfile, wave, lamina
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> with wave.open(str(root / "a.wav"), "wb") as file:
    ...     file.setparams((1, 2, 8000, 0, "NONE", ""))
    ...     file.writeframes(b"\x00\x40" * 3)
    >>> data = lamina.utils.audio_dataset_from_directory(
    ...     root, labels=None, output_sequence_length=4, format="lamina"
    ... )
    Found 1 files.
    >>> [x[0, :, 0].tolist() for x in data]
    [[0.5, 0.5, 0.5, 0.0]]
    """
    format = choose(format)
    if ragged and output_sequence_length is not None:
        raise ValueError(
            "Cannot set both `ragged` and `output_sequence_length`: sounds of one "
            "length are not ragged."
        )
    if ragged and format != "tf":
        raise ValueError(
            '`ragged=True` needs `format="tf"`. Without TensorFlow, sounds of a batch '
            "are padded with zeros. Received: "
            f"format={format!r}"
        )
    _check_rate(sampling_rate, format)
    reader = Reader(sampling_rate, output_sequence_length, ragged)
    kind = Kind(
        "audio files",
        (".wav",),
        read=reader,
        join=padded,
        load_tf=reader.load_tf,
        join_grain=padded,
        padded=output_sequence_length is None and not ragged,
    )
    return folder_dataset(kind, locals())


def _check_rate(rate, format):
    if rate is None:
        return
    if not isinstance(rate, int):
        raise ValueError(
            "`sampling_rate` should have an integer value. Received: "
            f"sampling_rate={rate!r}"
        )
    if rate <= 0:
        raise ValueError(
            f"`sampling_rate` should be higher than 0. Received: sampling_rate={rate}"
        )
    if format == "tf" and importlib.util.find_spec("tensorflow_io") is None:
        raise ImportError(
            'To use the argument `sampling_rate` with `format="tf"`, install '
            "tensorflow_io (`pip install tensorflow-io`), or use "
            '`format="lamina"`, which needs no package.'
        )


@dataclasses.dataclass
class Reader:
    """Reads a sound at a rate, up to a length."""

    rate: int | None
    length: int | None
    ragged: bool

    def __call__(self, path):
        """Return the sound: float32 (samples, channels)."""
        data = pathlib.Path(path).read_bytes()
        sound, rate = decode_wav(data)
        if self.rate is not None and self.rate != rate:
            if rate > bounds.HERTZ:
                raise ValueError(
                    f"This WAV file has {rate} samples a second, which is more than "
                    f"the {bounds.HERTZ} that are brought to another rate."
                )
            grown = sound.nbytes * self.rate // rate
            if grown > max(bounds.FLOOR, bounds.RATIO * len(data)):
                raise ValueError(
                    f"This WAV file has {rate} samples a second. With {self.rate} it "
                    f"would grow to {readable(grown)}, from {readable(len(data))}: "
                    "give a lower `sampling_rate`, or cut it into shorter files."
                )
            sound = resample(sound, rate, self.rate)
        return padded([sound], self.length)[0]

    def load_tf(self, path):
        """Return the sound as a tensor, within TensorFlow."""
        tf = package("tensorflow", "tf")
        length = -1 if self.length is None else self.length
        sound, rate = tf.audio.decode_wav(
            tf.io.read_file(path), desired_samples=length if self.rate is None else -1
        )
        if self.rate is not None:
            resampled = package("tensorflow_io", "tf").audio.resample
            sound = resampled(sound, tf.cast(rate, "int64"), self.rate)
            if self.length is not None:
                sound = sound[:length]
                sound = tf.pad(sound, [[0, length - tf.shape(sound)[0]], [0, 0]])
        return tf.RaggedTensor.from_tensor(sound) if self.ragged else sound


def padded(sounds, length=None):
    """Return a batch of sounds, with zeros after the shorter ones."""
    length = max(map(len, sounds)) if length is None else length
    channels = {sound.shape[1] for sound in sounds}
    if len(channels) > 1:
        raise ValueError(
            "All sounds of a batch must have as many channels. Received sounds of "
            f"{min(channels)} and of {max(channels)}: bring them to one number, or "
            "pass `batch_size=None` for single sounds."
        )
    batch = np.zeros((len(sounds), length, sounds[0].shape[1]), "float32")
    for row, sound in zip(batch, sounds, strict=True):
        row[: len(sound)] = sound[:length]
    return batch


_BLOCK = 1 << 18  # numbers that are looked at together, to bound the memory
# Format and bits of a sample: NumPy's type, and the value of full scale.
_CODES = {
    (1, 8): ("u1", 128),
    (1, 16): ("<i2", 32768),
    (1, 32): ("<i4", 2**31),
    (3, 32): ("<f4", 1),
    (3, 64): ("<f8", 1),
}


def decode_wav(data: bytes):
    """Return the samples of a WAV file, float32 (samples, channels), and their rate.

    Raises:
        ValueError: it is none, or holds compressed sound.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError(
            "This is not a WAV file: it does not begin with RIFF and WAVE."
        )
    chunks, at = {}, 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks.setdefault(data[at : at + 4], data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    head, body = chunks.get(b"fmt ", b""), chunks.get(b"data")
    if len(head) < 16 or body is None:
        raise ValueError("This WAV file is damaged: its format or its data is missing.")
    code, channels = (int.from_bytes(head[i : i + 2], "little") for i in (0, 2))
    rate, bits = (int.from_bytes(head[i:j], "little") for i, j in ((4, 8), (14, 16)))
    if code == 0xFFFE and len(head) >= 26:
        code = int.from_bytes(head[24:26], "little")
    known = (code, bits) in _CODES or (code, bits) == (1, 24)
    if rate == 0:
        raise ValueError("This WAV file is damaged: it has no samples in a second.")
    if channels == 0 or not known:
        raise ValueError(
            "WAV files of 8, 16, 24 or 32 bits, or of floats, can be read. This one "
            f"has format {code} with {bits} bits and {channels} channels."
        )
    body = body[: len(body) // (bits // 8 * channels) * (bits // 8 * channels)]
    if bits == 24:
        # Each sample becomes the upper three bytes of four.
        wide = np.zeros((len(body) // 3, 4), "u1")
        wide[:, 1:] = np.frombuffer(body, "u1").reshape(-1, 3)
        samples, full = wide.view("<i4")[:, 0], 2**31
    else:
        kind, full = _CODES[code, bits]
        samples = np.frombuffer(body, kind)
    values = samples.astype("float64") / full - (1 if bits == 8 else 0)
    return values.astype("float32").reshape(-1, channels), rate


def resample(sound, rate: int, wanted: int, lobes: int = 16):
    """Return a sound at another rate, by a windowed sinc.

    Args:
        sound: (samples, channels).
        rate: its samples a second.
        wanted: the samples a second to bring it to.
        lobes: zero crossings of the sinc on each side.
    """
    if not len(sound):
        return sound
    length = -(-len(sound) * wanted // rate)
    # Towards fewer samples the sinc is wider, which takes out what they cannot hold.
    width = max(1.0, rate / wanted)
    reach = min(int(np.ceil(lobes * width)), len(sound))
    around = np.arange(-reach, reach + 1)
    ends = np.zeros((reach, sound.shape[1]))
    windows = np.lib.stride_tricks.sliding_window_view(
        np.concatenate([ends, sound, ends]), len(around), axis=0
    )
    # The samples of the new rate lie in a few ways between those of the old one.
    common = math.gcd(rate, wanted)
    ways = min(wanted // common, length)
    turns = -(-length // ways)
    result = np.empty((turns, ways, sound.shape[1]), "float32")
    block = max(1, _BLOCK // (len(around) * sound.shape[1]))
    for first in range(0, ways, block):
        of_ways = slice(first, min(first + block, ways))
        at, left = np.divmod(np.arange(first, of_ways.stop) * rate, wanted)
        x = (around - left[:, None] / wanted) / width
        weights = np.sinc(x) * np.cos(np.clip(x / lobes, -1, 1) * np.pi / 2) ** 2
        step = max(1, block // len(at))
        for turn in range(0, turns, step):
            here = np.arange(turn, min(turn + step, turns))
            places = at + here[:, None] * (rate // common)
            near = windows[np.minimum(places, len(sound) - 1)]
            result[here, of_ways] = np.einsum("twcs,ws->twc", near, weights / width)
    return result.reshape(-1, sound.shape[1])[:length]
