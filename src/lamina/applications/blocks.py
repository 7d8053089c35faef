"""The layers that several families are drawn with."""

import functools

from lamina import layers
from lamina.config import image_data_format

convolution = functools.partial(layers.Conv2D, use_bias=False)


def channels_axis(last=3) -> int:
    """Return the axis of channels in images; `last` is its name when it comes last."""
    return 1 if image_data_format() == "channels_first" else last


def normalized(x, name, last=3, **options):
    """Return `x` with each channel normalized over the batch."""
    return layers.BatchNormalization(channels_axis(last), name=name, **options)(x)


def depthwise(x, kernel, stride, name, padding_name=None, **options):
    """Return `x` with each channel convolved.

    With a `padding_name`, a layer of its own pads it before a stride of two.
    """
    padding = "same"
    if stride == 2 and padding_name:
        x, padding = padded(x, kernel, padding_name), "valid"
    options |= {"use_bias": False, "name": name}
    return layers.DepthwiseConv2D(kernel, stride, padding, **options)(x)


def padded(x, kernel, name):
    """Return `x` padded for a convolution of stride 2 that halves its sides exactly.

    Sides that are even, or not known, get one pixel less in front. `kernel` is odd.
    """
    sides = x.shape[2:] if channels_axis() == 1 else x.shape[1:3]
    half = kernel // 2
    padding = [(half - (side is None or side % 2 == 0), half) for side in sides]
    return layers.ZeroPadding2D(tuple(padding), name=name)(x)


def divisible(channels) -> int:
    """Return the multiple of eight nearest to a number, at most a tenth below it."""
    result = max(8, int(channels + 4) // 8 * 8)
    return result + 8 if result < 0.9 * channels else result
