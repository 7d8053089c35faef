"""Images in files and as arrays."""

import numpy as _np

from lamina.core.tracebacks import boundary as _boundary
from lamina.ops.image import resize as _resize
from lamina.utils import array_to_img, img_to_array, load_img, save_img

__all__ = ["array_to_img", "img_to_array", "load_img", "save_img", "smart_resize"]


@_boundary
def smart_resize(
    x, size, interpolation="bilinear", data_format="channels_last", **kwargs
):
    """Return images of another size, cut rather than distorted.

    The largest part in the shape of `size` is cut out of the middle and resized.

    Args:
        x: an image or a batch of them; a NumPy array gives a NumPy array.
        size: (height, width).
        interpolation: `"nearest"`, `"bilinear"`, `"bicubic"`, `"lanczos3"` or
            `"lanczos5"`.
        data_format: `"channels_last"` or `"channels_first"`.
        kwargs: `backend_module`, which Keras has for other engines; unused.

    Raises:
        ValueError: `size` is not a pair, `x` is not an image, or another argument is
            given.

    >>> import lamina, numpy as np
    >>> x = np.ones((4, 6, 3), "float32")
    >>> lamina.preprocessing.image.smart_resize(x, (2, 2)).shape
    (2, 2, 3)
    """
    unknown = set(kwargs) - {"backend_module"}
    if unknown:
        raise ValueError(f"`smart_resize` got unknown arguments: {sorted(unknown)}")
    y = _resize(
        x,
        size,
        interpolation=interpolation,
        crop_to_aspect_ratio=True,
        data_format=data_format,
    )
    return _np.array(y) if isinstance(x, _np.ndarray) else y
