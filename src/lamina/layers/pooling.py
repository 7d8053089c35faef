"""Pooling: the largest value or the mean of windows, of all, or of equal parts."""

import jax.numpy as jnp
import numpy as np

from lamina.core.arguments import family
from lamina.core.budget import listed
from lamina.core.checks import described, int_tuple, one_of
from lamina.core.input_spec import InputSpec
from lamina.core.settings import standardize_data_format
from lamina.core.types import Sizes
from lamina.kernels import average_pool, max_pool
from lamina.layers.layer import Layer


@family
class Pool(Layer):
    """Slides a window over each channel and keeps one number of what it sees.

    The base of `MaxPooling1D`, `AveragePooling2D` and their like. Input
    `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
    `data_format="channels_first"`. Padding never counts.

    Args:
        pool_size: the cells of the window, one number for each spatial dimension,
            or one for all.
        strides: the distance of neighbouring windows; None for `pool_size`.
        padding: `"valid"` (windows inside the input) or `"same"`.
        name: its name.

    Raises:
        ValueError: a size is not positive, the padding is unknown, or the window
            is larger than the input.
    """

    rows_independent = True
    _featurewise = property(lambda self: self.data_format == "channels_last")
    rank = 2
    _pool = staticmethod(max_pool)

    def __init__(
        self,
        pool_size: Sizes = 2,
        strides: Sizes | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        owner = type(self).__name__
        self.pool_size = int_tuple(owner, "pool_size", pool_size, self.rank)
        strides = self.pool_size if strides is None else strides
        self.strides = int_tuple(owner, "strides", strides, self.rank)
        self.padding = one_of(owner, "padding", padding, ("valid", "same"))
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs):
        last = self.data_format == "channels_last"
        sizes = inputs.shape[1:-1] if last else inputs.shape[2:]
        if self.padding == "valid" and any(
            isinstance(size, int) and size < cells
            for size, cells in zip(sizes, self.pool_size, strict=True)
        ):
            raise ValueError(
                f"{described(self)} has a window larger than its input, so its output "
                f"would be empty. Received: input shape {tuple(inputs.shape)}, "
                f"pool_size={self.pool_size}, data_format={self.data_format!r}. Use "
                "padding='same', a smaller window, or fewer layers that shrink the "
                "input before it."
            )
        return self._pool(
            inputs,
            window=self.pool_size,
            strides=self.strides,
            padding=self.padding,
            channels_last=last,
        )


class MaxPooling1D(Pool):
    """Keeps the largest value of each window of a sequence.

    >>> import lamina, numpy as np
    >>> x = np.array([1.0, 3.0, 2.0, 0.0]).reshape(1, 4, 1)
    >>> lamina.layers.MaxPooling1D(2)(x).ravel().tolist()
    [3.0, 2.0]
    """

    rank = 1


class MaxPooling2D(Pool):
    """Keeps the largest value of each window of an image.

    >>> import lamina, numpy as np
    >>> lamina.layers.MaxPooling2D((2, 2))(np.ones((1, 6, 6, 3))).shape
    (1, 3, 3, 3)
    """

    rank = 2


class MaxPooling3D(Pool):
    """Keeps the largest value of each window of a volume.

    >>> import lamina, numpy as np
    >>> lamina.layers.MaxPooling3D(2)(np.ones((1, 4, 4, 4, 3))).shape
    (1, 2, 2, 2, 3)
    """

    rank = 3


class AveragePooling1D(Pool):
    """Takes the mean of each window of a sequence.

    >>> import lamina, numpy as np
    >>> x = np.array([1.0, 3.0, 2.0, 0.0]).reshape(1, 4, 1)
    >>> lamina.layers.AveragePooling1D(2)(x).ravel().tolist()
    [2.0, 1.0]
    """

    rank = 1
    _pool = staticmethod(average_pool)


class AveragePooling2D(Pool):
    """Takes the mean of each window of an image.

    >>> import lamina, numpy as np
    >>> lamina.layers.AveragePooling2D((2, 2))(np.ones((1, 6, 6, 3))).shape
    (1, 3, 3, 3)
    """

    rank = 2
    _pool = staticmethod(average_pool)


class AveragePooling3D(Pool):
    """Takes the mean of each window of a volume.

    >>> import lamina, numpy as np
    >>> lamina.layers.AveragePooling3D(2)(np.ones((1, 4, 4, 4, 3))).shape
    (1, 2, 2, 2, 3)
    """

    rank = 3
    _pool = staticmethod(average_pool)


@family
class GlobalPool(Layer):
    """Keeps one number of each channel, over all places.

    The base of `GlobalMaxPooling1D`, `GlobalAveragePooling2D` and their like. The
    output is `(batch, channels)`.

    Args:
        keepdims: whether the spatial dimensions stay, with size 1.
    """

    rows_independent = True
    _featurewise = property(lambda self: self.data_format == "channels_last")
    rank = 2
    _reduce = staticmethod(jnp.max)

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs
    ):
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)
        self.keepdims = keepdims
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs):
        return self._reduce(inputs, axis=self._axes(), keepdims=self.keepdims)

    def _axes(self):
        first = 1 if self.data_format == "channels_last" else 2
        return tuple(range(first, first + self.rank))


class GlobalMaxPooling1D(GlobalPool):
    """Keeps the largest value of each channel of a sequence.

    >>> import lamina, numpy as np
    >>> lamina.layers.GlobalMaxPooling1D()(np.ones((2, 5, 3))).shape
    (2, 3)
    """

    rank = 1


class GlobalMaxPooling2D(GlobalPool):
    """Keeps the largest value of each channel of an image.

    >>> import lamina, numpy as np
    >>> lamina.layers.GlobalMaxPooling2D()(np.ones((2, 5, 5, 3))).shape
    (2, 3)
    """

    rank = 2


class GlobalMaxPooling3D(GlobalPool):
    """Keeps the largest value of each channel of a volume.

    >>> import lamina, numpy as np
    >>> lamina.layers.GlobalMaxPooling3D()(np.ones((2, 4, 4, 4, 3))).shape
    (2, 3)
    """

    rank = 3


class GlobalAveragePooling1D(GlobalPool):
    """Takes the mean of each channel of a sequence.

    With a mask `(batch, steps)`, of the steps that count.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.GlobalAveragePooling1D()
    >>> x = np.array([1.0, 3.0]).reshape(1, 2, 1)
    >>> layer(x).tolist(), layer(x, mask=np.array([[True, False]])).tolist()
    ([[2.0]], [[1.0]])
    """

    rank = 1

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs
    ):
        super().__init__(data_format=data_format, keepdims=keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        """Return the mean of each channel.

        Args:
            inputs: the sequences.
            mask: True where a step counts, `(batch, steps)`.
        """
        if mask is None:
            return jnp.mean(inputs, axis=self._axes(), keepdims=self.keepdims)
        axis = self._axes()[0]
        mask = jnp.expand_dims(jnp.asarray(mask), 3 - axis).astype(inputs.dtype)
        total = jnp.sum(inputs * mask, axis, keepdims=self.keepdims)
        return total / jnp.sum(mask, axis, keepdims=self.keepdims)

    def compute_mask(self, inputs, previous_mask):
        return


class GlobalAveragePooling2D(GlobalPool):
    """Takes the mean of each channel of an image.

    >>> import lamina, numpy as np
    >>> lamina.layers.GlobalAveragePooling2D()(np.ones((2, 5, 5, 3))).shape
    (2, 3)
    """

    rank = 2
    _reduce = staticmethod(jnp.mean)


class GlobalAveragePooling3D(GlobalPool):
    """Takes the mean of each channel of a volume.

    >>> import lamina, numpy as np
    >>> lamina.layers.GlobalAveragePooling3D()(np.ones((2, 4, 4, 4, 3))).shape
    (2, 3)
    """

    rank = 3
    _reduce = staticmethod(jnp.mean)


@family
class AdaptivePool(Layer):
    """Cuts each spatial dimension into parts and keeps one number of each.

    The base of `AdaptiveMaxPooling1D`, `AdaptiveAveragePooling2D` and their like.
    Part i of n along an axis of size s reaches from `floor(i * s / n)` to
    `ceil((i + 1) * s / n)`; neighbours share a cell where n does not divide s.

    Args:
        output_size: the number of parts, one for each spatial dimension, or one
            for all; None in it keeps the size of that dimension.

    Raises:
        ValueError: `output_size` holds something else, or as many of them as
            there are no dimensions.
    """

    rows_independent = True
    _featurewise = property(lambda self: self.data_format == "channels_last")
    rank = 2
    _average = False

    def __init__(self, output_size: Sizes, data_format: str | None = None, **kwargs):
        super().__init__(**kwargs)
        owner = type(self).__name__
        if isinstance(output_size, (list, tuple)) and None in output_size:
            known = [1 if size is None else size for size in output_size]
            known = int_tuple(owner, "output_size", known, self.rank)
            pairs = zip(output_size, known, strict=True)
            self.output_size = tuple(g if g is None else k for g, k in pairs)
        else:
            self.output_size = int_tuple(owner, "output_size", output_size, self.rank)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs):
        first = 1 if self.data_format == "channels_last" else 2
        x = inputs
        # Parts are boxes, so the dimensions can be reduced one after the other.
        for axis, parts in enumerate(self.output_size, first):
            if parts is not None and parts != x.shape[axis]:
                x = self._along(x, axis, parts)
        return x

    def _along(self, x, axis, parts):
        size = x.shape[axis]
        listed(parts * (-(-size // parts) + 1))
        number = np.arange(parts)
        start = number * size // parts
        stop = -(-(number + 1) * size // parts)
        width = int((stop - start).max())
        places = start[:, None] + np.arange(width)
        inside = places < stop[:, None]
        cells = jnp.take(x, np.where(inside, places, stop[:, None] - 1), axis)
        if not self._average:
            return jnp.max(cells, axis + 1)
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            cells = cells.astype(self.compute_dtype)
        share = inside / inside.sum(1, keepdims=True)
        share = share.reshape(*share.shape, *(1,) * (x.ndim - axis - 1))
        return jnp.sum(cells * share.astype(cells.dtype), axis + 1)


class AdaptiveMaxPooling1D(AdaptivePool):
    """Keeps the largest value of equal parts of a sequence.

    >>> import lamina, numpy as np
    >>> x = np.arange(6.0).reshape(1, 6, 1)
    >>> lamina.layers.AdaptiveMaxPooling1D(2)(x).ravel().tolist()
    [2.0, 5.0]
    """

    rank = 1


class AdaptiveMaxPooling2D(AdaptivePool):
    """Keeps the largest value of equal parts of an image.

    >>> import lamina, numpy as np
    >>> lamina.layers.AdaptiveMaxPooling2D((2, 3))(np.ones((1, 7, 7, 4))).shape
    (1, 2, 3, 4)
    """

    rank = 2


class AdaptiveMaxPooling3D(AdaptivePool):
    """Keeps the largest value of equal parts of a volume.

    >>> import lamina, numpy as np
    >>> lamina.layers.AdaptiveMaxPooling3D(2)(np.ones((1, 5, 5, 5, 4))).shape
    (1, 2, 2, 2, 4)
    """

    rank = 3


class AdaptiveAveragePooling1D(AdaptivePool):
    """Takes the mean of equal parts of a sequence.

    >>> import lamina, numpy as np
    >>> x = np.arange(6.0).reshape(1, 6, 1)
    >>> lamina.layers.AdaptiveAveragePooling1D(2)(x).ravel().tolist()
    [1.0, 4.0]
    """

    rank = 1
    _average = True


class AdaptiveAveragePooling2D(AdaptivePool):
    """Takes the mean of equal parts of an image.

    >>> import lamina, numpy as np
    >>> lamina.layers.AdaptiveAveragePooling2D((2, 3))(np.ones((1, 7, 7, 4))).shape
    (1, 2, 3, 4)
    """

    rank = 2
    _average = True


class AdaptiveAveragePooling3D(AdaptivePool):
    """Takes the mean of equal parts of a volume.

    >>> import lamina, numpy as np
    >>> lamina.layers.AdaptiveAveragePooling3D(2)(np.ones((1, 5, 5, 5, 4))).shape
    (1, 2, 2, 2, 4)
    """

    rank = 3
    _average = True


AvgPool1D = AveragePooling1D
AvgPool2D = AveragePooling2D
AvgPool3D = AveragePooling3D
GlobalAvgPool1D = GlobalAveragePooling1D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D
GlobalMaxPool1D = GlobalMaxPooling1D
GlobalMaxPool2D = GlobalMaxPooling2D
GlobalMaxPool3D = GlobalMaxPooling3D
MaxPool1D = MaxPooling1D
MaxPool2D = MaxPooling2D
MaxPool3D = MaxPooling3D
