"""Images between files, Pillow and arrays. Pillow is imported when used."""

import io
import pathlib

import numpy as np

from lamina.core import settings
from lamina.core.extras import extra
from lamina.core.tracebacks import boundary, warn

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def pillow(module="Image"):
    """Return a module of Pillow; ImportError says how to install it."""
    return extra(f"PIL.{module}", "Reading or writing images", "lamina[images]")


@boundary
def array_to_img(x, data_format=None, scale=True, dtype=None):
    """Make a Pillow image of an array.

    Args:
        x: (height, width, channels) with 1, 3 or 4 channels, or channels first.
        data_format: `"channels_last"` or `"channels_first"`.
        scale: map the smallest value to 0 and the largest to 255.
        dtype: the dtype to compute in; `floatx()` when None.

    Raises:
        ValueError: the shape is not an image's.

    >>> import lamina, numpy as np
    >>> img = lamina.utils.array_to_img(np.zeros((4, 6, 3)))
    >>> img.size, img.mode  # (width, height)
    ((6, 4), 'RGB')
    """
    image = pillow()
    data_format = settings.standardize_data_format(data_format)
    x = np.asarray(x, dtype=dtype or settings.floatx())
    if x.ndim != 3:
        raise ValueError(
            "Expected image array to have rank 3 (single image). Got array with shape: "
            f"{x.shape}"
        )
    if data_format == "channels_first":
        x = x.transpose(1, 2, 0)
    if scale:
        x = x - x.min()
        x = x / (x.max() or 1) * 255
    channels = x.shape[2]
    if channels in (3, 4):
        return image.fromarray(x.astype("uint8"))
    if channels == 1:
        wide = x.max() > 255
        return image.fromarray(x[:, :, 0].astype("int32" if wide else "uint8"))
    raise ValueError(f"Unsupported channel number: {channels}")


@boundary
def img_to_array(img, data_format=None, dtype=None):
    """Make an array of a Pillow image: (height, width, channels) or channels first.

    Args:
        img: the image.
        data_format: `"channels_last"` or `"channels_first"`.
        dtype: the dtype; `floatx()` when None.

    >>> import lamina, numpy as np
    >>> img = lamina.utils.array_to_img(np.zeros((4, 6, 3)))
    >>> lamina.utils.img_to_array(img).shape
    (4, 6, 3)
    """
    data_format = settings.standardize_data_format(data_format)
    x = np.array(img, dtype=dtype or settings.floatx())
    if x.ndim == 2:
        x = x[:, :, None]
    if x.ndim != 3:
        raise ValueError(f"Unsupported image shape: {x.shape}")
    return x.transpose(2, 0, 1) if data_format == "channels_first" else x


@boundary
def save_img(path, x, data_format=None, file_format=None, scale=True, **kwargs):
    """Write an array as an image file.

    Args:
        path: the file.
        x: (height, width, channels), or channels first.
        data_format: `"channels_last"` or `"channels_first"`.
        file_format: the format; by the name of the file when None.
        scale: map the smallest value to 0 and the largest to 255.
        kwargs: what Pillow's `save` takes.

    >>> import io, numpy as np, lamina
    >>> file = io.BytesIO()
    >>> lamina.utils.save_img(file, np.zeros((4, 6, 3)), file_format="png")
    >>> file.getvalue()[1:4]
    b'PNG'
    """
    image = array_to_img(x, data_format, scale)
    jpeg = (file_format or pathlib.Path(path).suffix.lstrip(".")).lower()
    if image.mode == "RGBA" and jpeg in ("jpg", "jpeg"):
        warn("The JPG format does not support RGBA images, converting to RGB.")
        image = image.convert("RGB")
    if file_format == "jpg":
        file_format = "jpeg"
    image.save(path, format=file_format, **kwargs)


@boundary
def load_img(
    path,
    color_mode="rgb",
    target_size=None,
    interpolation="nearest",
    keep_aspect_ratio=False,
):
    """Read an image file.

    Args:
        path: the file, or a `BytesIO` that holds it.
        color_mode: `"grayscale"`, `"rgb"` or `"rgba"`.
        target_size: (height, width) to bring it to.
        interpolation: `"nearest"`, `"bilinear"`, `"bicubic"`, `"lanczos"`, `"box"`
            or `"hamming"`.
        keep_aspect_ratio: cut the middle out in the shape of `target_size` first.

    Returns:
        A Pillow image.

    Raises:
        TypeError: `path` is not a path.
        ValueError: a mode or an interpolation that does not exist, or a file that is
            PostScript.

    >>> import io, numpy as np, lamina
    >>> file = io.BytesIO()
    >>> lamina.utils.save_img(file, np.zeros((4, 6, 3)), file_format="png")
    >>> lamina.utils.load_img(file, "grayscale", target_size=(2, 3)).size
    (3, 2)
    """
    image = pillow()
    if isinstance(path, (str, pathlib.Path)):
        path = io.BytesIO(pathlib.Path(path).read_bytes())
    elif not isinstance(path, io.BytesIO):
        raise TypeError(
            f"path should be path-like or io.BytesIO, not {type(path).__name__}"
        )
    modes = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
    if color_mode not in modes:
        raise ValueError('color_mode must be "grayscale", "rgb", or "rgba"')
    picture = image.open(path)
    if picture.format == "EPS":
        raise ValueError(
            "The image is PostScript, a program that Ghostscript would run. Convert "
            "it to PNG first, if you trust where it comes from."
        )
    deep = color_mode == "grayscale" and picture.mode in ("I;16", "I")
    if picture.mode != modes[color_mode] and not deep:
        picture = picture.convert(modes[color_mode])
    if target_size is None:
        return picture
    size = (target_size[1], target_size[0])
    if picture.size == size:
        return picture
    if interpolation not in _INTERPOLATIONS:
        raise ValueError(
            f"Invalid interpolation method {interpolation} specified. Supported "
            "methods "
            f"are {', '.join(_INTERPOLATIONS)}"
        )
    resample = getattr(image.Resampling, interpolation.upper())
    if not keep_aspect_ratio:
        return picture.resize(size, resample)
    width, height = picture.size
    cut_height = min(height, int(width * size[1] / size[0]))
    cut_width = min(width, int(height * size[0] / size[1]))
    top, left = int((height - cut_height) / 2), int((width - cut_width) / 2)
    box = (left, top, left + cut_width, top + cut_height)
    return picture.resize(size, resample, box=box)
