"""Layers that move values without computing with them."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import (
    axes_argument,
    described,
    int_tuple,
    is_integer,
    one_of,
)
from lamina.core.input_spec import InputSpec
from lamina.core.settings import standardize_data_format
from lamina.core.symbolic import SymbolicTensor
from lamina.core.types import Shape, Sizes
from lamina.layers.layer import Layer


def _integer(owner, name, value):
    """Return a positive integer, or raise as Keras does: by type, then by size."""
    if not is_integer(value):
        raise TypeError(
            f"`{owner}`: Expected an integer value for `{name}`. Received: "
            f"{name}={value!r} (of type {type(value).__name__})"
        )
    if value <= 0:
        raise ValueError(
            f"`{owner}` expected `{name}` to be a number above zero; it should be a "
            f"positive integer. Received: {name}={value}"
        )
    return int(value)


class Flatten(Layer):
    """Makes one row of each sample: `(batch, ...)` to `(batch, n)`.

    Args:
        data_format: with `"channels_first"` the channels are moved to the end
            first, so that weights after it fit both formats.

    >>> import lamina, numpy as np
    >>> lamina.layers.Flatten()(np.ones((2, 3, 4))).shape
    (2, 12)
    """

    rows_independent = True
    _moves_entries = True

    def __init__(self, data_format: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs):
        x = inputs
        if self.data_format == "channels_first" and x.ndim > 1:
            x = jnp.moveaxis(x, 1, -1)
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class Reshape(Layer):
    """Gives each sample another shape.

    Args:
        target_shape: the shape without the batch; -1 in it, at most once, is what
            is left over.

    Raises:
        ValueError: there are several -1 or other negative sizes, or the number of
            elements differs.

    >>> import lamina, numpy as np
    >>> lamina.layers.Reshape((2, -1))(np.ones((5, 6))).shape
    (5, 2, 3)
    """

    rows_independent = True
    _moves_entries = True

    def __init__(self, target_shape: Shape, **kwargs):
        super().__init__(**kwargs)
        sizes: Any = target_shape
        if hasattr(sizes, "tolist"):
            sizes = sizes.tolist()
        target_shape = tuple(
            axes_argument("Reshape", sizes, "target_shape") if sizes else ()
        )
        if not all(is_integer(d) and d >= -1 for d in target_shape):
            raise ValueError(
                "`Reshape` expected `target_shape` to hold a non-negative integer "
                f"or -1 for each axis. Received: target_shape={target_shape}"
            )
        if target_shape.count(-1) > 1:
            raise ValueError(
                "`Reshape` takes at most one unknown dimension, -1, in `target_shape`. "
                f"Received: target_shape={target_shape}"
            )
        self.target_shape = target_shape

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self._resolved(input_shape[1:]))

    def compute_output_spec(self, inputs):
        return SymbolicTensor(self.compute_output_shape(inputs.shape), inputs.dtype)

    def _resolved(self, sizes):
        """Return the target with -1 made a number, or None if it is not known."""
        known = math.prod(d for d in self.target_shape if d != -1)
        if None in sizes:
            return tuple(None if d == -1 else d for d in self.target_shape)
        total = math.prod(sizes)
        rest = None if -1 not in self.target_shape or not known else total // known
        target: tuple = tuple(rest if d == -1 else d for d in self.target_shape)
        if None in target or math.prod(target) != total:
            raise ValueError(
                f"{described(self)}: the total size must be unchanged. Received: input "
                f"of shape {tuple(sizes)} without the batch ({total} elements), "
                f"target_shape={self.target_shape}"
            )
        return target

    def call(self, inputs):
        sizes = inputs.shape[1:]
        if all(isinstance(d, int) for d in sizes):
            return inputs.reshape(inputs.shape[0], *self._resolved(sizes))
        return inputs.reshape(inputs.shape[0], *self.target_shape)


class Permute(Layer):
    """Puts the axes of each sample in another order.

    Args:
        dims: the axes in their new order, counted from 1; the batch stays.

    Raises:
        ValueError: `dims` is not an order of 1, 2, ...

    >>> import lamina, numpy as np
    >>> lamina.layers.Permute((2, 1))(np.ones((5, 3, 4))).shape
    (5, 4, 3)
    """

    rows_independent = True
    _moves_entries = True

    def __init__(self, dims: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        self.dims = tuple(axes_argument("Permute", dims, "dims"))
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                "Invalid permutation in `dims`: `Permute` takes each of 1, 2, ... "
                f"once. Received: dims={self.dims}"
            )
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs):
        return jnp.transpose(inputs, (0, *self.dims))


class RepeatVector(Layer):
    """Repeats each row: `(batch, features)` to `(batch, n, features)`.

    Args:
        n: how often.

    Raises:
        TypeError: `n` is not an integer.
        ValueError: `n` is not positive.

    >>> import lamina, numpy as np
    >>> lamina.layers.RepeatVector(3)(np.ones((2, 4))).shape
    (2, 3, 4)
    """

    rows_independent = True
    _moves_entries = True

    def __init__(self, n: int, **kwargs):
        super().__init__(**kwargs)
        self.n = _integer("RepeatVector", "n", n)
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs):
        rows, features = inputs.shape
        return jnp.broadcast_to(inputs[:, None], (rows, self.n, features))


def _pairs(owner, name, value, rank):
    """Return a (before, after) pair for each spatial dimension.

    One number serves all; one number for each dimension serves both its sides.
    """
    if is_integer(value):
        value = (value,) * rank
    if not isinstance(value, (list, tuple)) or len(value) != rank:
        raise ValueError(
            f"`{owner}` expected `{name}` to be a non-negative integer, or {rank} "
            f"numbers or pairs; it should have {rank} elements. "
            f"Received: {name}={value!r}"
        )
    return tuple(int_tuple(owner, name, v, 2, zero=True) for v in value)


def _spatial(layer, ndim):
    """Return the spatial axes."""
    first = 1 if layer.data_format == "channels_last" else 2
    return range(first, ndim - 1 if first == 1 else ndim)


def _too_much(layer):
    if layer.input_spec.ndim == 3:
        return (
            "`cropping` parameter of `Cropping1D` layer must be smaller than the input "
            "is long."
        )
    return (
        "Values in `cropping` argument should be smaller than the corresponding "
        "spatial dimension of the input."
    )


def _crop(layer, x, pairs, axes):
    index = [slice(None)] * x.ndim
    for axis, (before, after) in zip(axes, pairs, strict=True):
        size = x.shape[axis]
        if isinstance(size, int) and before + after >= size:
            raise ValueError(
                f"{_too_much(layer)} Layer {layer.name!r} would leave nothing of axis "
                f"{axis}. Received: input shape {tuple(x.shape)}, "
                f"cropping={layer.cropping}"
            )
        index[axis] = slice(before, size - after)
    return x[tuple(index)]


class Cropping1D(Layer):
    """Cuts steps off both ends of sequences `(batch, steps, features)`.

    Args:
        cropping: how many steps to cut at the start and at the end, or one number
            for both.

    Raises:
        ValueError: it is not one or two non-negative integers, or nothing is left.

    >>> import lamina, numpy as np
    >>> lamina.layers.Cropping1D((1, 2))(np.ones((2, 6, 4))).shape
    (2, 3, 4)
    """

    rows_independent = True
    _moves_entries = True

    def __init__(self, cropping: Sizes = (1, 1), **kwargs):
        super().__init__(**kwargs)
        self.cropping = int_tuple("Cropping1D", "cropping", cropping, 2, zero=True)
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs):
        return _crop(self, inputs, (self.cropping,), (1,))


class Cropping2D(Layer):
    """Cuts the borders off images.

    Args:
        cropping: `((top, bottom), (left, right))`, one number for each dimension,
            or one for all.

    Raises:
        ValueError: it is none of these, or nothing is left.

    >>> import lamina, numpy as np
    >>> lamina.layers.Cropping2D(((1, 0), (2, 2)))(np.ones((1, 5, 6, 3))).shape
    (1, 4, 2, 3)
    """

    rows_independent = True
    _moves_entries = True

    def __init__(
        self,
        cropping: int | Sequence = ((0, 0), (0, 0)),
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.cropping = _pairs("Cropping2D", "cropping", cropping, 2)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs):
        return _crop(self, inputs, self.cropping, _spatial(self, 4))


class Cropping3D(Layer):
    """Cuts the borders off volumes.

    Args:
        cropping: a (before, after) pair for each of the three dimensions, one
            number for each, or one for all.

    Raises:
        ValueError: it is none of these, or nothing is left.

    >>> import lamina, numpy as np
    >>> lamina.layers.Cropping3D(1)(np.ones((1, 5, 6, 7, 3))).shape
    (1, 3, 4, 5, 3)
    """

    rows_independent = True
    _moves_entries = True

    def __init__(
        self,
        cropping: int | Sequence = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.cropping = _pairs("Cropping3D", "cropping", cropping, 3)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs):
        return _crop(self, inputs, self.cropping, _spatial(self, 5))


def _pad(x, pairs, axes):
    widths = [(0, 0)] * x.ndim
    for axis, pair in zip(axes, pairs, strict=True):
        widths[axis] = pair
    return jnp.pad(x, widths)


class ZeroPadding1D(Layer):
    """Adds zeros to both ends of sequences.

    Args:
        padding: how many steps to add at the start and at the end, or one number
            for both.

    Raises:
        ValueError: it is not one or two non-negative integers.

    >>> import lamina, numpy as np
    >>> lamina.layers.ZeroPadding1D((1, 2))(np.ones((2, 3, 4))).shape
    (2, 6, 4)
    """

    rows_independent = True
    _moves_entries = True

    def __init__(self, padding: Sizes = 1, data_format: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self.padding = int_tuple("ZeroPadding1D", "padding", padding, 2, zero=True)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs):
        return _pad(inputs, (self.padding,), _spatial(self, 3))


class ZeroPadding2D(Layer):
    """Adds a border of zeros to images.

    Args:
        padding: `((top, bottom), (left, right))`, one number for each dimension,
            or one for all.

    Raises:
        ValueError: it is none of these.

    >>> import lamina, numpy as np
    >>> lamina.layers.ZeroPadding2D((1, 2))(np.ones((1, 4, 4, 3))).shape
    (1, 6, 8, 3)
    """

    rows_independent = True
    _moves_entries = True

    def __init__(
        self, padding: int | Sequence = (1, 1), data_format: str | None = None, **kwargs
    ):
        super().__init__(**kwargs)
        self.padding = _pairs("ZeroPadding2D", "padding", padding, 2)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs):
        return _pad(inputs, self.padding, _spatial(self, 4))


class ZeroPadding3D(Layer):
    """Adds a border of zeros to volumes.

    Args:
        padding: a (before, after) pair for each of the three dimensions, one
            number for each, or one for all.

    Raises:
        ValueError: it is none of these.

    >>> import lamina, numpy as np
    >>> lamina.layers.ZeroPadding3D(1)(np.ones((1, 2, 2, 2, 3))).shape
    (1, 4, 4, 4, 3)
    """

    rows_independent = True
    _moves_entries = True

    def __init__(
        self,
        padding: int | Sequence = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.padding = _pairs("ZeroPadding3D", "padding", padding, 3)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs):
        return _pad(inputs, self.padding, _spatial(self, 5))


def _repeat(x, times, axis):
    """Repeat every entry along an axis; the size may be a symbol."""
    if times == 1:
        return x
    before, size, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    wide = jnp.broadcast_to(
        jnp.expand_dims(x, axis + 1), (*before, size, times, *after)
    )
    return wide.reshape(*before, size * times, *after)


class UpSampling1D(Layer):
    """Repeats every step of sequences `(batch, steps, features)`.

    Args:
        size: how often.

    Raises:
        TypeError: `size` is not an integer.
        ValueError: `size` is not positive.

    >>> import lamina, numpy as np
    >>> lamina.layers.UpSampling1D(2)(np.array([[[1.0], [2.0]]])).ravel().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """

    rows_independent = True
    _moves_entries = True

    def __init__(self, size: Sizes = 2, **kwargs):
        super().__init__(**kwargs)
        self.size = _integer("UpSampling1D", "size", size)
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs):
        return _repeat(inputs, self.size, 1)


_METHODS = ("bicubic", "bilinear", "lanczos3", "lanczos5", "nearest")


class UpSampling2D(Layer):
    """Enlarges images by whole factors.

    Args:
        size: the factors of height and width, or one for both.
        interpolation: `"nearest"` repeats pixels; `"bilinear"`, `"bicubic"`,
            `"lanczos3"` and `"lanczos5"` interpolate between them.

    Raises:
        ValueError: a factor is not positive, or the interpolation is unknown.

    >>> import lamina, numpy as np
    >>> lamina.layers.UpSampling2D((2, 3))(np.ones((1, 4, 4, 3))).shape
    (1, 8, 12, 3)
    """

    rows_independent = True

    def __init__(
        self,
        size: Sizes = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.size = int_tuple("UpSampling2D", "size", size, 2)
        self.data_format = standardize_data_format(data_format)
        self.interpolation = one_of(
            "UpSampling2D", "interpolation", interpolation, _METHODS
        )
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs):
        axes = _spatial(self, 4)
        if self.interpolation == "nearest":
            x = inputs
            for axis, times in zip(axes, self.size, strict=True):
                x = _repeat(x, times, axis)
            return x
        shape = list(inputs.shape)
        for axis, times in zip(axes, self.size, strict=True):
            shape[axis] *= times
        return jax.image.resize(inputs, shape, self.interpolation, antialias=False)


class UpSampling3D(Layer):
    """Repeats every cell of volumes along each dimension.

    Args:
        size: the factors of the three dimensions, or one for all.

    Raises:
        ValueError: a factor is not positive.

    >>> import lamina, numpy as np
    >>> lamina.layers.UpSampling3D(2)(np.ones((1, 2, 2, 2, 3))).shape
    (1, 4, 4, 4, 3)
    """

    rows_independent = True

    def __init__(
        self, size: Sizes = (2, 2, 2), data_format: str | None = None, **kwargs
    ):
        super().__init__(**kwargs)
        self.size = int_tuple("UpSampling3D", "size", size, 3)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs):
        x = inputs
        for axis, times in zip(_spatial(self, 5), self.size, strict=True):
            x = _repeat(x, times, axis)
        return x
