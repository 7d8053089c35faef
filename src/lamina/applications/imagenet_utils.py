"""What images are before a model sees them, and what its answers are called."""

import json as _json
import pathlib as _pathlib

import numpy as _np

from lamina import ops as _ops
from lamina.config import floatx as _floatx
from lamina.config import image_data_format as _image_data_format
from lamina.core.dtypes import is_float as _is_float
from lamina.core.dtypes import standardize_dtype as _standardize_dtype
from lamina.core.symbolic import is_symbolic as _is_symbolic
from lamina.core.tracebacks import boundary as _boundary
from lamina.utils.files import get_file as _get_file

__all__ = ["decode_predictions", "preprocess_input"]

_CLASSES = (
    "https://storage.googleapis.com/download.tensorflow.org/data/"
    "imagenet_class_index.json",
    "c2c37ea517e94d9795004a39431a14cb",
)
# What is subtracted from blue, green and red, of values to 255.
_CAFFE_MEAN = (103.939, 116.779, 123.68)
# Mean and deviation of red, green and blue, of values to 1.
_TORCH = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@_boundary
def preprocess_input(x, data_format=None, mode="caffe"):
    """Return images as the models were trained with them.

    Args:
        x: images `(height, width, 3)` or a batch of them, with values from 0 to 255: an
            array, which is left as it is, or a symbolic tensor.
        data_format: `"channels_last"`, `"channels_first"`, or None for the setting in
            `lamina.config`.
        mode: `"caffe"`: from RGB to BGR, with the channels' means subtracted; `"tf"`:
            scaled to [-1, 1]; `"torch"`: scaled to [0, 1], then normalized by the
            channels' means and deviations.

    Returns:
        Numbers of the dtype of `x`, or of `floatx()` for integers: a NumPy array for
        one, else an array of JAX or a symbolic tensor.

    Raises:
        ValueError: `mode` or `data_format` is none of these.

    >>> import numpy as np, lamina
    >>> image = np.full((1, 1, 3), 255)
    >>> lamina.applications.imagenet_utils.preprocess_input(image, mode="tf").tolist()
    [[[1.0, 1.0, 1.0]]]
    """
    if mode not in ("caffe", "tf", "torch"):
        raise ValueError(
            f"`mode` expected 'caffe', 'tf' or 'torch'. Received: mode={mode!r}"
        )
    data_format = _data_format(data_format)
    if not (_is_symbolic(x) or hasattr(x, "dtype")):
        x = _np.asarray(x)
    if not _is_float(_standardize_dtype(x.dtype)):
        x = (
            x.astype(_floatx())
            if isinstance(x, _np.ndarray)
            else _ops.cast(x, _floatx())
        )
    if mode == "tf":
        return x / 127.5 - 1.0
    first = data_format == "channels_first"
    shape = (3, 1, 1) if first else (3,)
    if mode == "caffe":
        x = x[..., ::-1, :, :] if first else x[..., ::-1]
        return x - _along(_CAFFE_MEAN, shape, x)
    mean, deviation = (_along(values, shape, x) for values in _TORCH)
    return (x / 255.0 - mean) / deviation


def _along(values, shape, x):
    return (
        _np.array(values, "float32").reshape(shape).astype(_standardize_dtype(x.dtype))
    )


def _data_format(given):
    if given is None:
        return _image_data_format()
    if given not in ("channels_first", "channels_last"):
        raise ValueError(
            "`data_format` expected 'channels_last', 'channels_first' or None. "
            f"Received: data_format={given!r}"
        )
    return given


def _preprocessing(mode, module):
    """Return the `preprocess_input` of a family, which stands in a module.

    A `mode` of None is for models that make images ready themselves.
    """
    shared = globals()["preprocess_input"]

    def preprocess_input(x, data_format=None):
        _data_format(data_format)
        return x if mode is None else shared(x, data_format, mode)

    words, white = _OF_A_FAMILY[mode]
    preprocess_input.__doc__ = _WORDS.format(words=words, module=module, white=white)
    preprocess_input.__module__ = module  # where pickle finds it
    preprocess_input.__qualname__ = preprocess_input.__name__
    return preprocess_input


_OF_A_FAMILY = {
    None: ("`x` as it is: these models scale images themselves", [255.0] * 3),
    "caffe": ("images in BGR, less the channels' means", [151.061, 138.221, 131.32]),
    "tf": ("images scaled to [-1, 1]", [1.0] * 3),
    "torch": (
        "images normalized by the channels' means and deviations",
        [2.2489, 2.4286, 2.64],
    ),
}
_WORDS = """Return {words}.

Args:
    x: images `(height, width, 3)` or a batch of them, with values from 0 to 255.
    data_format: `"channels_last"`, `"channels_first"`, or None for the setting in
        `lamina.config`.

Raises:
    ValueError: `data_format` is none of these.

>>> import numpy as np
>>> from {module} import preprocess_input
>>> preprocess_input(np.full((1, 1, 3), 255.0)).tolist()
[[{white}]]
"""


@_boundary
def decode_predictions(preds, top=5):
    """Return what a model trained on ImageNet sees in each image.

    The names of the classes are fetched once and kept in the cache folder.

    Args:
        preds: probabilities `(batch, 1000)`.
        top: how many classes to return for each image.

    Returns:
        A list for each image of tuples `(WordNet's number, name, probability)`, the
        most probable class first.

    Raises:
        ValueError: `preds` has another shape.
        OSError: the names could not be fetched.

    >>> import numpy as np, lamina
    >>> try:
    ...     lamina.applications.imagenet_utils.decode_predictions(np.ones((1, 10)))
    ... except ValueError as error:
    ...     print(error)
    `decode_predictions` expected probabilities (batch, 1000). Received: shape (1, 10)
    """
    preds = _np.asarray(preds)
    if preds.ndim != 2 or preds.shape[1] != 1000:
        raise ValueError(
            "`decode_predictions` expected probabilities (batch, 1000). "
            f"Received: shape {preds.shape}"
        )
    address, digest = _CLASSES
    file = _pathlib.PurePosixPath(address).name
    try:
        path = _get_file(file, address, cache_subdir="models", file_hash=digest)
    except OSError as error:
        raise OSError(
            f"The names of ImageNet's classes could not be fetched from {address} "
            f"({error}). Where there is no network, put the file at ~/.keras/models/"
            f"{file}."
        ) from error
    names = _json.loads(_pathlib.Path(path).read_text())
    best = _np.argsort(preds, axis=1)[:, ::-1][:, :top]
    return [
        [(*names[str(i)], row[i]) for i in places]
        for row, places in zip(preds, best, strict=True)
    ]
