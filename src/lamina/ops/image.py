"""Functions of images: (height, width, channels), or a batch of them.

With `data_format="channels_first"` the channels stand before the height.
"""

import functools as _functools
from typing import Any as _Any

import jax as _jax
import jax.numpy as _jnp
from jax import lax as _lax

from lamina import kernels as _kernels
from lamina._imports import offer as _offer
from lamina.core import settings as _settings
from lamina.core.op import op as _op
from lamina.core.random import draw_seed as _draw_seed
from lamina.kernels.boxes import homography as _homography
from lamina.kernels.sampling import filtered as _filtered
from lamina.kernels.sampling import grid as _grid
from lamina.kernels.sampling import sampled as _sampled
from lamina.ops.arrays import inexact as _inexact
from lamina.ops.arrays import promoted as _promoted
from lamina.ops.arrays import tensor as _tensor
from lamina.ops.core import saturate_cast as _saturate_cast

_ORDERS = {"nearest": 0, "bilinear": 1}
_FILLS = ("constant", "nearest", "wrap", "mirror", "reflect")
_METHODS = {
    "nearest": "nearest",
    "bilinear": "linear",
    "bicubic": "cubic",
    "lanczos3": "lanczos3",
    "lanczos5": "lanczos5",
}


def _open(images, data_format, name):
    """Return images as a batch with channels last, and the way back."""
    x = _tensor(images)
    if x.ndim not in (3, 4):
        raise ValueError(
            "Invalid images rank: expected rank 3 (single image) or rank 4 (batch of "
            f"images) in `{name}`. Received: images.shape={x.shape}"
        )
    single = x.ndim == 3
    last = _settings.standardize_data_format(data_format) == "channels_last"
    x = x[None] if single else x
    x = x if last else _jnp.moveaxis(x, 1, -1)

    def close(y):
        y = y if last else _jnp.moveaxis(y, -1, 1)
        return y[0] if single else y

    return x, close


def _choose(argument, value, choices):
    if value not in choices:
        raise ValueError(
            f"Invalid value for argument `{argument}`. Expected one of "
            f"{sorted(choices)}. Received: {argument}={value}"
        )


def _colours(images, data_format, name, channels=(3,)):
    x, close = _open(images, data_format, name)
    if x.shape[-1] not in channels:
        expected = " or ".join(map(str, channels))
        raise ValueError(
            f"`{name}` expected images with {expected} channels. Received: "
            f"{x.shape[-1]} channels of images.shape={_jnp.shape(images)}"
        )
    return x, close


@_op(config=("data_format",), name="RGBToGrayscale")
def rgb_to_grayscale(images, data_format=None):
    """Return 0.2989 R + 0.587 G + 0.114 B as the one channel, and gray as it is.

    >>> from lamina import ops
    >>> ops.image.rgb_to_grayscale([[[100.0, 0.0, 0.0], [0.0, 100.0, 0.0]]]).tolist()
    [[[29.89], [58.7]]]
    """
    x, close = _colours(images, data_format, "rgb_to_grayscale", (1, 3))
    if x.shape[-1] == 1:
        return close(x)
    weights = _jnp.array([0.2989, 0.5870, 0.1140], "float32")
    y = _jnp.sum(x.astype("float32") * weights, -1, keepdims=True)
    return close(y.astype(x.dtype))


def _float_colours(images, data_format, name):
    x, close = _colours(images, data_format, name)
    if not _jnp.issubdtype(x.dtype, _jnp.floating):
        raise ValueError(
            f"Invalid images dtype: `{name}` expected float dtype. Received: "
            f"images.dtype={x.dtype}"
        )
    return x, close


@_op(config=("data_format",), name="RGBToHSV")
def rgb_to_hsv(images, data_format=None):
    """Turn red, green and blue into hue, saturation and value, all in [0, 1].

    V = max, S = (max - min) / max, H = the angle on the colour circle from red.

    >>> from lamina import ops
    >>> ops.image.rgb_to_hsv([[[0.0, 1.0, 0.0], [0.5, 0.5, 0.5]]]).tolist()
    [[[0.3333, 1.0, 1.0], [0.0, 0.0, 0.5]]]
    """
    x, close = _float_colours(images, data_format, "rgb_to_hsv")
    red, green, blue = (x[..., i] for i in range(3))
    value = _jnp.max(x, -1)
    spread = value - _jnp.min(x, -1)
    safe = _jnp.where(spread > 0, spread, 1)
    saturation = _jnp.where(value > 0, spread / _jnp.where(value > 0, value, 1), 0)
    sixths = _jnp.where(
        red == value,
        (green - blue) / safe,
        _jnp.where(green == value, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = _jnp.where(spread > 0, (sixths / 6) % 1, 0)
    return close(_jnp.stack([hue, saturation, value], -1))


@_op(config=("data_format",), name="HSVToRGB")
def hsv_to_rgb(images, data_format=None):
    """Turn hue, saturation and value, all in [0, 1], into red, green and blue.

    >>> from lamina import ops
    >>> ops.image.hsv_to_rgb([[[0.5, 1.0, 1.0], [0.0, 0.0, 0.5]]]).tolist()
    [[[0.0, 1.0, 1.0], [0.5, 0.5, 0.5]]]
    """
    x, close = _float_colours(images, data_format, "hsv_to_rgb")
    hue, saturation, value = (x[..., i : i + 1] for i in range(3))
    # Each colour is full within a sixth of its place on the circle, and gone
    # within a sixth of the opposite one.
    turned = (hue * 6 + _jnp.array([0, 4, 2], x.dtype)) % 6
    purity = _jnp.clip(_jnp.abs(turned - 3) - 1, 0, 1)
    return close(value * (1 - saturation * (1 - purity)))


@_op(data=("images",))
def resize(
    images,
    size,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: _Any = None,
):
    """Return images of another size.

    Args:
        images: images of any dtype, which the result keeps.
        size: (height, width).
        interpolation: `"nearest"`, `"bilinear"`, `"bicubic"`, `"lanczos3"` or
            `"lanczos5"`.
        antialias: smooth before shrinking.
        crop_to_aspect_ratio: first cut the middle out in the shape of `size`.
        pad_to_aspect_ratio: first fill up to the shape of `size`.
        fill_mode: `"constant"`.
        fill_value: what it is filled up with.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a size, an interpolation or a rank that does not exist.

    >>> from lamina import ops
    >>> image = ops.reshape([1.0, 3.0], (1, 2, 1))
    >>> ops.image.resize(image, (1, 4)).ravel().tolist()
    [1.0, 1.5, 2.5, 3.0]
    """
    _choose("interpolation", interpolation, _METHODS)
    _choose("fill_mode", fill_mode, ("constant",))
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError(
            "Only one of `pad_to_aspect_ratio` & `crop_to_aspect_ratio` can be `True`."
        )
    if len(size) != 2:
        raise ValueError(
            f"`resize` expected `size` to be (height, width). Received: size={size}"
        )
    height, width = size
    if height <= 0 or width <= 0:
        raise ValueError(
            f"`size` must have positive height and width. Received: size={size}"
        )
    x, close = _open(images, data_format, "resize")
    dtype, (h, w) = x.dtype, x.shape[1:3]
    if crop_to_aspect_ratio:
        ch = max(1, min(h, int(w * height / width)))
        cw = max(1, min(w, int(h * width / height)))
        top, left = int((h - ch) / 2), int((w - cw) / 2)
        x = x[:, top : top + ch, left : left + cw]
    elif pad_to_aspect_ratio:
        ph, pw = max(h, int(w * height / width)), max(w, int(h * width / height))
        top, left = int((ph - h) / 2), int((pw - w) / 2)
        around = ((0, 0), (top, top), (left, left), (0, 0))
        x = _jnp.pad(x, around, constant_values=fill_value)
    shape = (x.shape[0], height, width, x.shape[-1])
    y = _jax.image.resize(x, shape, _METHODS[interpolation], antialias=antialias)
    return close(y if y.dtype == dtype else _saturate_cast(_jnp.round(y), dtype))


@_op(config=("interpolation", "fill_mode", "fill_value", "data_format"))
def affine_transform(
    images,
    transform,
    interpolation="bilinear",
    fill_mode="constant",
    fill_value=0,
    data_format=None,
):
    """Take each pixel (x, y) from (a0 x + a1 y + a2, b0 x + b1 y + b2).

    Args:
        images: images.
        transform: (a0, a1, a2, b0, b1, b2, 0, 0), one for all or one for each.
        interpolation: `"nearest"` or `"bilinear"`.
        fill_mode: what lies outside: `"constant"`, `"nearest"`, `"wrap"`,
            `"mirror"` or `"reflect"`.
        fill_value: what it is with `"constant"`.
        data_format: `"channels_last"` or `"channels_first"`.

    >>> from lamina import ops
    >>> image = ops.reshape([1.0, 2.0, 3.0], (1, 3, 1))
    >>> one_to_the_left = [1, 0, 1, 0, 1, 0, 0, 0]
    >>> ops.image.affine_transform(image, one_to_the_left).ravel().tolist()
    [2.0, 3.0, 0.0]
    """
    _choose("interpolation", interpolation, _ORDERS)
    _choose("fill_mode", fill_mode, _FILLS)
    x, close = _open(images, data_format, "affine_transform")
    transform = _inexact(transform)
    if transform.ndim not in (1, 2):
        raise ValueError(
            "Invalid transform rank: expected rank 1 (single transform) or rank 2 "
            f"(batch of transforms). Received: transform.shape={transform.shape}"
        )
    if transform.shape[-1] != 8:
        raise ValueError(
            "`affine_transform` expected 8 numbers for each transform. Received: "
            f"transform.shape={transform.shape}"
        )
    place = _functools.partial(_affine_places, *_grid(x))
    transform = _jnp.broadcast_to(transform, (x.shape[0], transform.shape[-1]))
    order = _ORDERS[interpolation]
    return close(_sampled(x, transform, place, order, fill_mode, fill_value))


def _affine_places(columns, rows, t):
    across = t[0] * columns + t[1] * rows + t[2]
    down = t[3] * columns + t[4] * rows + t[5]
    return down, across


@_op(config=("interpolation", "fill_value", "data_format"))
def perspective_transform(
    images,
    start_points,
    end_points,
    interpolation="bilinear",
    fill_value=0,
    data_format=None,
):
    """Move four points of images to four others, and the plane with them.

    Args:
        images: images.
        start_points: (4, 2) corners (x, y), or (batch, 4, 2).
        end_points: where they go, in the same shape.
        interpolation: `"nearest"` or `"bilinear"`.
        fill_value: what lies outside.
        data_format: `"channels_last"` or `"channels_first"`.

    >>> from lamina import ops
    >>> image = ops.reshape([1.0, 2.0, 3.0, 4.0], (2, 2, 1))
    >>> start = [[0, 0], [1, 0], [0, 1], [1, 1]]
    >>> turned = [[1, 0], [1, 1], [0, 0], [0, 1]]
    >>> moved = ops.image.perspective_transform(image, start, turned, "nearest")
    >>> moved.ravel().tolist()
    [3.0, 1.0, 4.0, 2.0]
    """
    _choose("interpolation", interpolation, _ORDERS)
    x, close = _open(images, data_format, "perspective_transform")
    start, end = _tensor(start_points, "float32"), _tensor(end_points, "float32")
    for name, points in (("start_points", start), ("end_points", end)):
        if points.ndim not in (2, 3) or points.shape[-2:] != (4, 2):
            raise ValueError(
                f"Invalid {name} shape: expected (4,2) for a single image or (N,4,2) "
                f"for a batch. Received shape: {points.shape}"
            )
    if start.shape != end.shape:
        raise ValueError(
            "start_points and end_points must have the same shape. Received: "
            f"{start.shape} and {end.shape}"
        )
    place = _functools.partial(_perspective_places, *_grid(x))
    transforms = _jnp.broadcast_to(_homography(start, end), (x.shape[0], 8))
    order = _ORDERS[interpolation]
    return close(_sampled(x, transforms, place, order, "constant", fill_value))


def _perspective_places(columns, rows, h):
    depth = h[6] * columns + h[7] * rows + 1
    across = (h[0] * columns + h[1] * rows + h[2]) / depth
    down = (h[3] * columns + h[4] * rows + h[5]) / depth
    return down, across


@_op(config=("order", "fill_mode", "fill_value"))
def map_coordinates(inputs, coordinates, order, fill_mode="constant", fill_value=0):
    """Return entries of an array at places between its grid points.

    Args:
        inputs: an array of n axes.
        coordinates: n arrays of positions, one for each axis.
        order: 0 takes the nearest entry, 1 interpolates linearly.
        fill_mode: what lies outside: `"constant"`, `"nearest"`, `"wrap"`,
            `"mirror"` or `"reflect"`.
        fill_value: what it is with `"constant"`.

    >>> from lamina import ops
    >>> x = [[1.0, 2.0], [3.0, 4.0]]
    >>> ops.image.map_coordinates(x, [[0, 0.5], [1, 0.5]], order=1).tolist()
    [2.0, 2.5]
    """
    x, places = _tensor(inputs), _tensor(coordinates)
    if places.shape[0] != x.ndim:
        raise ValueError(
            "First dim of `coordinates` must be the same as the rank of `inputs`. "
            f"Received: inputs.shape={x.shape}, coordinates.shape={places.shape}"
        )
    if places.ndim < 2:
        raise ValueError(
            "Invalid coordinates rank: expected at least rank 2. Received: "
            f"coordinates.shape={places.shape}"
        )
    _choose("fill_mode", fill_mode, _FILLS)
    _choose("order", order, (0, 1))
    return _jax.scipy.ndimage.map_coordinates(
        x, list(places), order, fill_mode, fill_value
    )


_PATCHES = ("size", "strides", "dilation_rate", "padding", "data_format")


def _patches(x, size, strides, dilation_rate, padding, last):
    """Convolve with one filter for each cell and channel."""
    cells, channels = 1, x.shape[-1 if last else 1]
    for n in size:
        cells *= n
    kernel = _jnp.eye(cells * channels, dtype=x.dtype)
    kernel = kernel.reshape(*size, channels, cells * channels)
    return _kernels.conv(
        x,
        kernel,
        strides=strides,
        padding=padding.lower(),
        dilation=dilation_rate,
        channels_last=last,
    )


def _extract(images, size, strides, dilation_rate, padding, data_format, rank, name):
    x = _tensor(images)
    if x.ndim not in (rank + 1, rank + 2):
        raise ValueError(
            f"`{name}` expected rank {rank + 1} or, for a batch, {rank + 2}. Received: "
            f"shape {x.shape}"
        )
    size = (size,) * rank if isinstance(size, int) else tuple(size)
    if len(size) != rank:
        raise ValueError(
            f"Invalid `size` argument. Expected an int or a tuple of length {rank}. "
            f"Received: size={size}"
        )
    strides = size if strides is None else strides
    strides, dilation = (
        (v,) * rank if isinstance(v, int) else tuple(v)
        for v in (strides, dilation_rate)
    )
    last = _settings.standardize_data_format(data_format) == "channels_last"
    single = x.ndim == rank + 1
    y = _patches(x[None] if single else x, size, strides, dilation, padding, last)
    return y[0] if single else y


@_op(config=_PATCHES)
def extract_patches(
    images, size, strides=None, dilation_rate=1, padding="valid", data_format=None
):
    """Return the windows of images as channels, row by row.

    Args:
        images: images.
        size: (height, width) of the windows, or one number.
        strides: their distance; `size` when None.
        dilation_rate: the distance of pixels in a window.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.

    >>> from lamina import ops
    >>> ops.image.extract_patches(ops.ones((1, 4, 4, 3)), 2).shape
    (1, 2, 2, 12)
    """
    rank = 3 if not isinstance(size, int) and len(size) == 3 else 2
    name = "extract_patches"
    return _extract(
        images, size, strides, dilation_rate, padding, data_format, rank, name
    )


@_op(config=_PATCHES, name="ExtractPatches3D")
def extract_patches_3d(
    volumes, size, strides=None, dilation_rate=1, padding="valid", data_format=None
):
    """Return the windows of volumes as channels; see `extract_patches`.

    Args:
        volumes: (batch, depth, height, width, channels), or one volume.
        size: (depth, height, width) of the windows, or one number.
        strides: their distance; `size` when None.
        dilation_rate: the distance of cells in a window.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.

    >>> import lamina
    >>> volumes = lamina.Input((2, 4, 4, 1))
    >>> lamina.ops.image.extract_patches_3d(volumes, 2).shape
    (None, 1, 2, 2, 8)
    """
    window = size, strides, dilation_rate, padding, data_format
    return _extract(volumes, *window, 3, "extract_patches_3d")


def _edges(kind, words, size, before, after, target) -> _Any:
    """Return what is added or cut before and after, any two of three being given."""
    first, last, extent = words.split()
    given = {f"{first}_{kind}": before, f"{last}_{kind}": after}
    given[f"target_{extent}"] = target
    if list(given.values()).count(None) != 1:
        raise ValueError(
            "Must specify exactly two of {}, {}, {}. Received: {}, {}, {}".format(
                *given, *given.values()
            )
        )
    if target is not None:
        total = target - size if kind == "padding" else size - target
        before = total - after if before is None else before
        after = total - before if after is None else after
    given = dict(zip(given, (before, after, target), strict=True))
    for word, value in reversed(given.items()):
        if isinstance(value, int) and value < 0:
            raise ValueError(f"{word} must be >= 0. Received: {word}={value}")
    return before, after


@_op(data=("images",))
def pad_images(
    images,
    top_padding: _Any = None,
    left_padding: _Any = None,
    bottom_padding: _Any = None,
    right_padding: _Any = None,
    target_height: _Any = None,
    target_width: _Any = None,
    data_format: _Any = None,
):
    """Surround images with zeros.

    Args:
        images: images.
        top_padding: rows above.
        left_padding: columns to the left.
        bottom_padding: rows below.
        right_padding: columns to the right.
        target_height: the height of the result; give two of the three for rows.
        target_width: the width of the result; give two of the three for columns.
        data_format: `"channels_last"` or `"channels_first"`.

    >>> from lamina import ops
    >>> padded = ops.image.pad_images([[[7]]], 1, 0, target_height=2, target_width=2)
    >>> padded[..., 0].tolist()
    [[0, 0], [7, 0]]
    """
    x, close = _open(images, data_format, "pad_images")
    rows = top_padding, bottom_padding, target_height
    columns = left_padding, right_padding, target_width
    around = (
        (0, 0),
        _edges("padding", "top bottom height", x.shape[1], *rows),
        _edges("padding", "left right width", x.shape[2], *columns),
        (0, 0),
    )
    return close(_jnp.pad(x, around))


@_op(data=("images",))
def crop_images(
    images,
    top_cropping: _Any = None,
    left_cropping: _Any = None,
    bottom_cropping: _Any = None,
    right_cropping: _Any = None,
    target_height: _Any = None,
    target_width: _Any = None,
    data_format: _Any = None,
):
    """Cut rows and columns off images.

    Args:
        images: images.
        top_cropping: rows above.
        left_cropping: columns to the left.
        bottom_cropping: rows below.
        right_cropping: columns to the right.
        target_height: the height of the result; give two of the three for rows.
        target_width: the width of the result; give two of the three for columns.
        data_format: `"channels_last"` or `"channels_first"`.

    >>> from lamina import ops
    >>> image = ops.reshape(ops.arange(6), (2, 3, 1))
    >>> cut = ops.image.crop_images(image, 1, 1, target_height=1, target_width=2)
    >>> cut[..., 0].tolist()
    [[4, 5]]
    """
    x, close = _open(images, data_format, "crop_images")
    height, width = x.shape[1:3]
    rows = top_cropping, bottom_cropping, target_height
    columns = left_cropping, right_cropping, target_width
    top, bottom = _edges("cropping", "top bottom height", height, *rows)
    left, right = _edges("cropping", "left right width", width, *columns)
    # Sizes that are asked for are known even where those of the images are not.
    x = _span(x, 1, top, target_height or height - bottom - top)
    return close(_span(x, 2, left, target_width or width - right - left))


def _span(x, axis, start, size):
    if isinstance(x.shape[axis], int) or not isinstance(start, int):
        return _lax.slice_in_dim(x, start, start + size, axis=axis)
    return _jnp.take(x, start + _jnp.arange(size), axis)


def _bell(size, sigma, dtype):
    """Return e^(-d² / 2σ²) over the distances d from the middle, with sum 1."""
    distance = _jnp.arange(size, dtype=dtype) - _jnp.asarray((size - 1) / 2, dtype)
    weights = _jnp.exp(-0.5 * _jnp.square(distance / sigma))
    return weights / _jnp.sum(weights)


@_op(config=("kernel_size", "sigma", "data_format"))
def gaussian_blur(images, kernel_size=(3, 3), sigma=(1.0, 1.0), data_format=None):
    """Smooth images by a bell of deviation `sigma`, cut at `kernel_size` pixels.

    Args:
        images: images.
        kernel_size: the kernel's height and width.
        sigma: the deviations along height and width, in pixels.
        data_format: `"channels_last"` or `"channels_first"`.

    >>> from lamina import ops
    >>> image = ops.image.pad_images([[[1.0]]], 1, 1, 1, 1)
    >>> ops.image.gaussian_blur(image)[1, :, 0].tolist()
    [0.1238, 0.2042, 0.1238]
    """
    x, close = _open(images, data_format, "gaussian_blur")
    x = _inexact(x)
    return close(_blur(x, kernel_size, sigma))


def _blur(x, kernel_size, sigma):
    sigma = _tensor(sigma, x.dtype)
    down, across = (_bell(n, sigma[i], x.dtype) for i, n in enumerate(kernel_size))
    return _filtered(x, _jnp.outer(down, across))


@_op(data=("images",))
def elastic_transform(
    images,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: _Any = None,
    data_format: _Any = None,
):
    """Shift pixels by a smooth random field, the same in x and y.

    Args:
        images: images.
        alpha: the strength of shifts.
        sigma: the smoothness of the field, in pixels.
        interpolation: `"nearest"` or `"bilinear"`.
        fill_mode: what lies outside: `"constant"`, `"nearest"`, `"wrap"`,
            `"mirror"` or `"reflect"`.
        fill_value: what it is with `"constant"`.
        seed: an integer, a `SeedGenerator` or None.
        data_format: `"channels_last"` or `"channels_first"`.

    Source: Simard et al., 2003, "Best practices for convolutional neural networks".

    >>> import lamina
    >>> images = lamina.Input((32, 32, 3))
    >>> lamina.ops.image.elastic_transform(images, seed=1).shape
    (None, 32, 32, 3)
    """
    _choose("interpolation", interpolation, _ORDERS)
    _choose("fill_mode", fill_mode, _FILLS)
    x, close = _open(images, data_format, "elastic_transform")
    size = int(6 * sigma) | 1
    noise = _jax.random.normal(_draw_seed(seed), x.shape[:3], x.dtype) * sigma
    shift = alpha * _blur(noise[..., None], (size, size), (sigma, sigma))[..., 0]
    columns, rows = _grid(x)

    def place(moved):
        return rows + moved, columns + moved

    y = _sampled(x, shift, place, _ORDERS[interpolation], fill_mode, fill_value)
    return close(y.astype(x.dtype))


@_op(config=("spatial_dims", "method", "antialias"))
def scale_and_translate(
    images, output_shape, scale, translation, spatial_dims, method, antialias=True
):
    """Return images scaled by `scale` and then moved by `translation` pixels.

    Args:
        images: an array.
        output_shape: the whole shape of the result; None keeps a size.
        scale: a factor for each of `spatial_dims`.
        translation: a shift for each of them.
        spatial_dims: the axes that are scaled.
        method: `"linear"`, `"bilinear"`, `"trilinear"`, `"cubic"`, `"bicubic"`,
            `"tricubic"`, `"lanczos3"` or `"lanczos5"`.
        antialias: smooth before shrinking.

    >>> from lamina import ops
    >>> x = ops.array([1.0, 2.0, 3.0])
    >>> ops.image.scale_and_translate(x, (3,), [1.0], [1.0], (0,), "linear").tolist()
    [0.0, 1.0, 2.0]
    """
    methods = "linear bilinear trilinear cubic bicubic tricubic lanczos3 lanczos5"
    _choose("method", method, methods.split())
    scale, translation = _promoted(scale, translation, also=(float,))
    x = _tensor(images)
    shape = tuple(n or old for n, old in zip(output_shape, x.shape, strict=True))
    return _jax.image.scale_and_translate(
        x, shape, tuple(spatial_dims), scale, translation, method, antialias
    )


@_op(config=("data_format",))
def sobel_edges(images, data_format=None):
    """Return smoothed differences in y and x, along a new last axis.

    d/dx: rows (-1, 0, 1), (-2, 0, 2), (-1, 0, 1); d/dy: its transpose.

    >>> from lamina import ops
    >>> image = ops.reshape([0.0, 1.0, 3.0], (1, 3, 1))
    >>> ops.image.sobel_edges(image)[0, :, 0, 1].tolist()
    [2.0, 6.0, -2.0]
    """
    x, close = _open(images, data_format, "sobel_edges")
    across = _jnp.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], x.dtype)
    return _jnp.stack([close(_filtered(x, k)) for k in (across.T, across)], -1)


@_op(
    config=("max_val", "filter_size", "filter_sigma", "k1", "k2", "data_format"),
    name="SSIM",
)
def ssim(
    image1,
    image2,
    max_val=1.0,
    filter_size=11,
    filter_sigma=1.5,
    k1=0.01,
    k2=0.03,
    data_format=None,
):
    """Return the structural similarity of images, at most 1.

    (2 μ₁ μ₂ + c₁)(2 σ₁₂ + c₂) / ((μ₁² + μ₂² + c₁)(σ₁² + σ₂² + c₂)), averaged, with
    means, variances and covariance under a Gaussian window.

    Args:
        image1: images.
        image2: as many of the same shape.
        max_val: the range of their values.
        filter_size: the side of the window.
        filter_sigma: its deviation, in pixels.
        k1: c₁ = (k1 · max_val)².
        k2: c₂ = (k2 · max_val)².
        data_format: `"channels_last"` or `"channels_first"`.

    Source: Wang et al., 2004, "Image quality assessment".

    >>> from lamina import ops
    >>> image = ops.ones((11, 11, 1))
    >>> float(ops.image.ssim(image, 0.5 * image))
    0.8
    """
    a, close = _open(image1, data_format, "ssim")
    b, _ = _open(image2, data_format, "ssim")
    if a.shape != b.shape:
        raise ValueError(
            f"`ssim` expected images of one shape. Received: {_jnp.shape(image1)} and "
            f"{_jnp.shape(image2)}"
        )
    dtype = _inexact(a).dtype
    a, b = (v.astype("float32") for v in (a, b))
    bell = _bell(filter_size, filter_sigma, "float32")
    local = _functools.partial(
        _filtered, kernel=_jnp.outer(bell, bell), padding="VALID"
    )
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    mean_a, mean_b = local(a), local(b)
    both = mean_a * mean_b
    squares = mean_a**2 + mean_b**2
    covariance = local(a * b) - both
    variances = local(a * a) + local(b * b) - squares
    similar = (2 * both + c1) * (2 * covariance + c2)
    similar = similar / ((squares + c1) * (variances + c2))
    result = _jnp.mean(similar, (1, 2, 3)).astype(dtype)
    return result[0] if _jnp.ndim(image1) == 3 else result


_offer(globals())
