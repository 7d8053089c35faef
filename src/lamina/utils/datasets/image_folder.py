"""Folders of images as data sets."""

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

from lamina.core import bounds
from lamina.core.naming import shortened
from lamina.core.tracebacks import boundary
from lamina.utils.datasets.dataset import Dataset
from lamina.utils.datasets.folders import Kind, folder_dataset
from lamina.utils.datasets.foreign import package
from lamina.utils.datasets.resizing import INTERPOLATIONS, resize
from lamina.utils.images import pillow

_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")  # whatever a file is called
_SOME = 1 << 22  # pixels that are converted at once
_JPEG, _SCAN = b"\xff\xd8", b"\xff\xda"


@boundary
def image_dataset_from_directory(
    directory,
    labels: Any = "inferred",
    label_mode: str = "int",
    class_names: Any = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: Any = (256, 256),
    shuffle: bool = True,
    seed: Any = None,
    validation_split: Any = None,
    subset: Any = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: Any = None,
    format: Any = None,
    verbose: bool = True,
) -> Dataset:
    """Make a data set of the images in a folder.

    It gives `(images, labels)`, or only images without labels. Images are float32
    from 0 to 255, (batch, height, width, channels). Labels are the numbers of the
    subfolders in sorted order: int32 (batch,) for `"int"`, float32 (batch, 1) for
    `"binary"`, float32 (batch, classes) for `"categorical"`.

    Args:
        directory: the folder; with `labels="inferred"` a subfolder for each class.
        labels: `"inferred"`, None, or a list of integers for the files in the sorted
            order of their paths.
        label_mode: `"int"`, `"binary"`, `"categorical"` or None.
        class_names: the subfolders to use, in the order of their numbers.
        color_mode: `"grayscale"`, `"rgb"` or `"rgba"`.
        batch_size: images in a batch; None gives single images.
        image_size: (height, width) to bring them to.
        shuffle: whether to shuffle; otherwise in the sorted order of paths.
        seed: the seed of the order.
        validation_split: the share to keep for validation.
        subset: `"training"`, `"validation"`, or `"both"` for a list of the two.
        interpolation: `"bilinear"`, `"nearest"`, `"bicubic"`, `"area"`,
            `"lanczos3"`, `"lanczos5"`, `"gaussian"` or `"mitchellcubic"`.
        follow_links: whether to go into linked folders and read linked files.
        crop_to_aspect_ratio: cut the middle out instead of distorting.
        pad_to_aspect_ratio: put black around instead of distorting.
        data_format: `"channels_last"` or `"channels_first"`.
        format: `"lamina"` for a `PyDataset` that needs Pillow only, `"tf"` for a
            `tf.data.Dataset`, `"grain"` for a grain data set. None means `"tf"` in
            a program that has loaded TensorFlow, else `"lamina"`.
        verbose: whether to print how many files were found.

    Returns:
        A `Dataset` of batches, with the attributes `class_names` and `file_paths`, and
        the verbs of `tf.data`: `map`, `shuffle`, `take`, `cache`, `prefetch` ...

    Raises:
        ValueError: no images, or an argument that does not fit, which it names; while
            it is read, an image that is damaged.
        FileNotFoundError: no such folder.

    >>> import pathlib, tempfile, lamina, numpy as np
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("cat", "dog"):
    ...     (root / name).mkdir()
    ...     lamina.utils.save_img(root / name / "1.png", np.zeros((4, 4, 3)))
    >>> data = lamina.utils.image_dataset_from_directory(
    ...     root, image_size=(2, 2), shuffle=False, format="lamina"
    ... )
    Found 2 files belonging to 2 classes.
    >>> [(x.shape, y.tolist()) for x, y in data]
    [((2, 2, 2, 3), [0, 1])]
    """
    from lamina.core import settings

    if color_mode not in _CHANNELS:
        raise ValueError(
            f"`color_mode` must be one of {', '.join(_CHANNELS)}. Received: "
            f"color_mode={color_mode!r}"
        )
    interpolation = str(interpolation).lower()
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"Argument `interpolation` should be one of {INTERPOLATIONS}. Received: "
            f"interpolation={interpolation!r}"
        )
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError(
            "Only one of `pad_to_aspect_ratio`, `crop_to_aspect_ratio` can be True."
        )
    reader = Reader(
        _size(image_size),
        _CHANNELS[color_mode],
        interpolation,
        crop_to_aspect_ratio,
        pad_to_aspect_ratio,
        settings.standardize_data_format(data_format) == "channels_first",
    )
    kind = Kind(
        "images",
        (".bmp", ".gif", ".jpeg", ".jpg", ".png"),
        read=reader,
        join=np.stack,
        load_tf=reader.load_tf,
        join_grain=np.stack,
    )
    return folder_dataset(kind, locals())


def _size(image_size):
    pair = (image_size,) * 2 if isinstance(image_size, int) else image_size
    fits = isinstance(pair, (list, tuple)) and len(pair) == 2
    if not fits or any(not isinstance(n, int) or n < 1 for n in pair):
        raise ValueError(
            "Invalid `image_size` value. Expected (height, width), two positive "
            f"integers. Received: image_size={image_size!r}"
        )
    return pair[0], pair[1]


@dataclasses.dataclass
class Reader:
    """Reads an image file into an array of a given size."""

    size: tuple[int, int]
    channels: int
    interpolation: str
    crop: bool
    pad: bool
    channels_first: bool

    def __call__(self, path):
        """Return the image: float32 from 0 to 255."""
        image = self._decoded(path)
        height, width = image.shape[:2]
        if self.crop:
            rows, columns = _cropped(height, width, self.size)
            top, left = (height - rows) // 2, (width - columns) // 2
            image = image[top : top + rows, left : left + columns]
        if self.pad:
            image = self._padded(image)
        else:
            image = resize(image, self.size, self.interpolation)
        return image.transpose(2, 0, 1) if self.channels_first else image

    def _decoded(self, path):
        try:
            return self._pixels(path)
        except Exception as error:  # whatever Pillow's readers raise
            if getattr(error, "errno", None) is not None:
                raise  # the disk's
            said = shortened(str(error) or type(error).__name__, bounds.MESSAGE)
            raise ValueError(
                f"{str(path)!r} is not an image that is read, or it is damaged: {said}"
            ) from error

    def _pixels(self, path):
        data = _jpeg_bytes(path)
        if data and (image := _jpeg(data, self.channels)) is not None:
            return image
        # Of what else Pillow reads, some starts another program.
        with pillow().open(path, formats=_FORMATS) as picture:
            width, height = picture.size
            # Each new row of a resized image is a sum of whole rows.
            if width * height > bounds.PIXELS or max(width, height) > bounds.SIDE:
                raise ValueError(
                    f"The image has {width} x {height} pixels. More than "
                    f"{bounds.PIXELS}, or {bounds.SIDE} on a side, are not read: make "
                    "it smaller first."
                )
            if picture.mode.startswith("I;16"):
                # 16 bits a pixel: the upper eight.
                picture = pillow().fromarray((np.asarray(picture) >> 8).astype("uint8"))
            mode = {1: "L", 3: "RGB", 4: "RGBA"}[self.channels]
            image = np.empty((height, width, self.channels), "uint8")
            # Pillow copies what it converts, and again what it gives away.
            rows = _SOME // width + 1
            for top in range(0, height, rows):
                part = image[top : top + rows]
                box = 0, top, width, top + len(part)
                found = picture if len(part) == height else picture.crop(box)
                part[:] = np.asarray(found.convert(mode)).reshape(part.shape)
        return image

    def _padded(self, image):
        shape = image.shape[:2]
        ratio = max(n / wanted for n, wanted in zip(shape, self.size, strict=True))
        inner = [max(1, int(n / ratio)) for n in shape]
        result = np.zeros((*self.size, self.channels), "float32")
        # TensorFlow's rule, which halves what is left before it is rounded.
        top, left = (
            int((n - m / ratio) / 2) for n, m in zip(self.size, shape, strict=True)
        )
        result[top : top + inner[0], left : left + inner[1]] = resize(
            image, (inner[0], inner[1]), self.interpolation
        )
        return result

    def load_tf(self, path):
        """Return the image as a tensor, within TensorFlow."""
        tf = package("tensorflow", "tf")
        image = tf.io.decode_image(
            tf.io.read_file(path), channels=self.channels, expand_animations=False
        )
        height, width = self.size
        if self.crop:
            shape = tf.shape(image)
            rows = tf.minimum(shape[0], shape[1] * height // width)
            columns = tf.minimum(shape[1], shape[0] * width // height)
            image = tf.image.crop_to_bounding_box(
                image, (shape[0] - rows) // 2, (shape[1] - columns) // 2, rows, columns
            )
        if self.pad:
            image = tf.image.resize_with_pad(image, height, width, self.interpolation)
        else:
            image = tf.image.resize(image, self.size, self.interpolation)
        image.set_shape((height, width, self.channels))
        return tf.transpose(image, (2, 0, 1)) if self.channels_first else image


def _jpeg_bytes(path):
    """Return the bytes of a JPEG, or None.

    Raises:
        ValueError: it is in more parts than any is written in.
    """
    with pathlib.Path(path).open("rb", buffering=0) as file:  # which is read at once
        start = file.read(2)
        data = start + file.read() if start == _JPEG else None
    if data and (scans := _scans(data)) > bounds.SCANS:
        raise ValueError(
            f"The image goes over its pixels in {scans} scans; {bounds.SCANS} are read."
        )
    return data


def _scans(data):
    """Return the number of markers that begin a scan; `bytes.count` takes longer."""
    codes = np.frombuffer(data, "uint8")
    first, second = _SCAN
    return np.count_nonzero((codes[:-1] == first) & (codes[1:] == second))


def _jpeg(data, channels):
    """Return a JPEG's pixels, which are TensorFlow's; None for what is odd.

    Without the package simplejpeg, Pillow reads all, in more time.
    """
    decoder = _simplejpeg()
    if decoder is None or channels == 4:
        return None
    try:
        height, width, space, _ = decoder.decode_jpeg_header(data)
        small = int(height) * int(width) <= bounds.PIXELS
        if not small or space not in ("YCbCr", "Gray"):
            return None
        wanted = "RGB" if channels == 3 else "Gray"
        return decoder.decode_jpeg(data, wanted, fastdct=True, min_factor=1)
    except ValueError:  # Pillow says what is wrong
        return None


@functools.cache
def _simplejpeg():
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


def _cropped(height, width, size):
    """Return the largest height and width within the image of the wanted shape."""
    return (
        min(height, width * size[0] // size[1]),
        min(width, height * size[1] // size[0]),
    )
