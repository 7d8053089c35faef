"""EfficientNet: one network, made wider, deeper and of finer images together."""

import math as _math
from typing import Any as _Any
from typing import NamedTuple as _NamedTuple

from lamina import initializers as _initializers
from lamina import layers as _layers
from lamina.applications.building import (
    channels_axis as _channels_axis,
)
from lamina.applications.building import (
    divisible as _divisible,
)
from lamina.applications.building import (
    halving_padding as _halving_padding,
)
from lamina.applications.building import (
    variant as _variant,
)
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions

__all__ = [
    "EfficientNetB0",
    "EfficientNetB1",
    "EfficientNetB2",
    "EfficientNetB3",
    "EfficientNetB4",
    "EfficientNetB5",
    "EfficientNetB6",
    "EfficientNetB7",
    "decode_predictions",
    "preprocess_input",
]

preprocess_input = _preprocessing(None, __name__)

_DROPPED = 0.2  # the rate at which the last block is left out in training
# Side of the kernel, how many, filters, expansion, stride of the first.
_STAGES = (
    (3, 1, 16, 1, 1), (3, 2, 24, 6, 2), (5, 2, 40, 6, 2), (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1), (5, 4, 192, 6, 2), (3, 1, 320, 6, 1),
)  # fmt: skip


class _Block(_NamedTuple):
    """One inverted residual."""

    name: str
    filters: int
    expansion: int
    kernel: int
    stride: int
    dropped: float  # the rate at which it is left out in training
    momentum: float = 0.99  # of the normalizations
    weighed: bool = True  # whether channels are weighed by what the image shows
    fused: bool = False  # one convolution for the expanding and the depthwise one
    depthwise: str = "dwconv"
    padded: bool = True  # by a layer of its own before a stride


class _Sizes(_NamedTuple):
    width: float
    depth: float
    dropout: float


def _efficientnet(plan, sizes):
    x = plan.start(
        f"https://storage.googleapis.com/keras-applications/{plan.own}{{}}.h5"
    )
    x = _layers.Rescaling(1 / 255)(x)
    x = _layers.Normalization(_channels_axis())(x)
    if plan.published:
        # The published mean and variance hold deviations where variances belong.
        factors = [1 / _math.sqrt(deviation) for deviation in (0.229, 0.224, 0.225)]
        x = _layers.Rescaling(factors)(x)
    x = _layers.ZeroPadding2D(_halving_padding(x, 3), name="stem_conv_pad")(x)
    filters = _divisible(32 * sizes.width)
    x = _activated(_convolution(filters, 3, 2, "stem_conv", "valid")(x), "stem")
    counts = [_math.ceil(sizes.depth * count) for _, count, *_ in _STAGES]
    done = 0
    for stage, (kernel, _, filters, expansion, stride) in enumerate(_STAGES):
        for i in range(counts[stage]):
            letter = chr(ord("a") + i)
            wide, step = _divisible(filters * sizes.width), 1 if i else stride
            shape = wide, expansion, kernel, step, _DROPPED * done / sum(counts)
            x = _inverted(x, _Block(f"block{stage + 1}{letter}", *shape))
            done += 1
    return _classified(plan, x, _divisible(1280 * sizes.width), sizes.dropout)


def _classified(plan, x, filters, dropout, momentum=0.99, **options):
    """Return the model: `x` with a last convolution and the top."""
    x = _activated(_convolution(filters, 1, 1, "top_conv")(x), "top", momentum)
    if plan.top:
        x = _layers.GlobalAveragePooling2D(name="avg_pool")(x)
        if dropout > 0:
            x = _layers.Dropout(dropout, name="top_dropout")(x)
        first = _initializers.VarianceScaling(1 / 3, "fan_out", "uniform")
        x = plan.classified(x, kernel_initializer=first, **options)
    return plan.finished(x, ("avg_pool", "max_pool"))


def _convolution(filters, kernel, stride, name, padding="same", **options):
    """Return a convolution without offsets, with the family's first values."""
    options = {"use_bias": False, "kernel_initializer": _first(), **options}
    return _layers.Conv2D(filters, kernel, stride, padding, name=name, **options)


def _first() -> _Any:
    return _initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


def _activated(x, name, momentum=0.99):
    """Return `x` normalized, through a swish."""
    x = _normalized(x, f"{name}_bn", momentum)
    return _layers.Activation("swish", name=f"{name}_activation")(x)


def _normalized(x, name, momentum):
    return _layers.BatchNormalization(_channels_axis(), momentum, name=name)(x)


def _inverted(x, block):
    """Return an inverted residual: expanded, convolved, weighed and projected."""
    name, momentum = block.name, block.momentum
    shortcut, channels = x, x.shape[_channels_axis()]
    if block.expansion != 1:
        kernel, stride = (block.kernel, block.stride) if block.fused else (1, 1)
        wide = channels * block.expansion
        x = _convolution(wide, kernel, stride, f"{name}_expand_conv")(x)
        x = _activated(x, f"{name}_expand", momentum)
    if not block.fused:
        x = _activated(_depthwise(x, block), name, momentum)
    if block.weighed:
        x = _weighed(x, max(1, int(channels * 0.25)), f"{name}_se")
    straight = block.fused and block.expansion == 1
    kernel, stride = (block.kernel, block.stride) if straight else (1, 1)
    x = _convolution(block.filters, kernel, stride, f"{name}_project_conv")(x)
    x = _normalized(x, f"{name}_project_bn", momentum)
    if straight:
        x = _layers.Activation("swish", name=f"{name}_project_activation")(x)
    if block.stride == 1 and channels == block.filters:
        if block.dropped > 0:
            whole = (None, 1, 1, 1)
            x = _layers.Dropout(block.dropped, whole, name=f"{name}_drop")(x)
        x = _layers.Add(name=f"{name}_add")([x, shortcut])
    return x


def _depthwise(x, block):
    padding = "same"
    if block.padded and block.stride == 2:
        sides, padding = _halving_padding(x, block.kernel), "valid"
        x = _layers.ZeroPadding2D(sides, name=f"{block.name}_dwconv_pad")(x)
    options = {"use_bias": False, "depthwise_initializer": _first()}
    name = f"{block.name}_{block.depthwise}"
    window = block.kernel, block.stride, padding
    return _layers.DepthwiseConv2D(*window, name=name, **options)(x)


def _weighed(x, few, name):
    """Return each channel times a number from 0 to 1 that the image decides."""
    channels = x.shape[_channels_axis()]
    mean = _layers.GlobalAveragePooling2D(name=f"{name}_squeeze")(x)
    shape = (channels, 1, 1) if _channels_axis() == 1 else (1, 1, channels)
    weight = _layers.Reshape(shape, name=f"{name}_reshape")(mean)
    for filters, step, activation in (
        (few, "reduce", "swish"),
        (channels, "expand", "sigmoid"),
    ):
        weight = _convolution(
            filters, 1, 1, f"{name}_{step}", activation=activation, use_bias=True
        )(weight)
    return _layers.Multiply(name=f"{name}_excite")([x, weight])


def _sized(number, side, *sizes, channels=None):
    return _variant(
        f"EfficientNetB{number}",
        f"efficientnetb{number}",
        _efficientnet,
        _Sizes(*sizes),
        side=side,
        channels=channels,
        summary=f"EfficientNet B{number}, which scales images from [0, 255] itself.",
        source="Tan and Le, 2019 (https://arxiv.org/abs/1905.11946)",
    )


EfficientNetB0 = _sized(0, 224, 1.0, 1.0, 0.2, channels=1280)
EfficientNetB1 = _sized(1, 240, 1.0, 1.1, 0.2)
EfficientNetB2 = _sized(2, 260, 1.1, 1.2, 0.3)
EfficientNetB3 = _sized(3, 300, 1.2, 1.4, 0.3)
EfficientNetB4 = _sized(4, 380, 1.4, 1.8, 0.4)
EfficientNetB5 = _sized(5, 456, 1.6, 2.2, 0.4)
EfficientNetB6 = _sized(6, 528, 1.8, 2.6, 0.5)
EfficientNetB7 = _sized(7, 600, 2.0, 3.1, 0.5)
