"""EfficientNet: one network, made wider, deeper and of finer images together."""

import functools
import math
from typing import Any

from lamina import initializers, layers
from lamina.applications import blocks
from lamina.applications.blocks import channels_axis, divisible, normalized
from lamina.applications.building import variant
from lamina.applications.imagenet_utils import decode_predictions, preprocessing

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

preprocess_input = preprocessing(None, __name__)

_DROPPED = 0.2  # the rate at which a block after the last would be left out
_FIRST: Any = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}
convolution = functools.partial(
    layers.Conv2D, padding="same", use_bias=False, kernel_initializer=_FIRST
)
# Side of the kernel, how many, filters, expansion, stride of the first.
_STAGES = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)


def _efficientnet(plan, width, depth, dropout):
    x = plan.start(f"https://storage.googleapis.com/keras-applications/{plan.own}")
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Normalization(channels_axis())(x)
    if plan.published:
        # The published mean and variance hold deviations where variances belong.
        factors = [1 / math.sqrt(deviation) for deviation in (0.229, 0.224, 0.225)]
        x = layers.Rescaling(factors)(x)
    x = blocks.padded(x, 3, "stem_conv_pad")
    wide = divisible(32 * width)
    x = convolution(wide, 3, 2, padding="valid", name="stem_conv")(x)
    x = activated(x, "stem")
    x = staged(x, _STAGES, depth, lambda filters: divisible(filters * width))
    return classified(plan, x, divisible(1280 * width), dropout)


def staged(x, stages, depth, rounded, second=False):
    """Return `x` after all inverted residuals of a table.

    `depth` is the factor of how many there are, `rounded` gives their filters, and
    `second` says that they are those of EfficientNet 2.
    """
    counts = [math.ceil(depth * count) for _, count, *_ in stages]
    # Of EfficientNet 2, the rate goes by the table, so that deep ones pass it.
    done, total = 0, sum(count for _, count, *_ in stages) if second else sum(counts)
    for stage, (kernel, _, filters, expansion, stride) in enumerate(stages):
        for i in range(counts[stage]):
            name = f"block{stage + 1}{chr(ord('a') + i)}"
            shape = rounded(filters), expansion, kernel, 1 if i else stride
            fused, dropped = second and stage < 3, _DROPPED * done / total
            x = _inverted(x, name, *shape, dropped, fused, second)
            done += 1
    return x


def classified(plan, x, filters, dropout, momentum=0.99, **options):
    """Return the model: `x` with a last convolution and the top."""
    x = activated(convolution(filters, 1, name="top_conv")(x), "top", momentum)
    if plan.top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        if dropout > 0:
            x = layers.Dropout(dropout, name="top_dropout")(x)
        first = initializers.VarianceScaling(1 / 3, "fan_out", "uniform")
        x = plan.classified(x, kernel_initializer=first, **options)
    return plan.finished(x, ("avg_pool", "max_pool"))


def activated(x, name, momentum=0.99):
    """Return `x` normalized, through a swish."""
    x = normalized(x, f"{name}_bn", momentum=momentum)
    return layers.Activation("swish", name=f"{name}_activation")(x)


def _inverted(x, name, filters, expansion, kernel, stride, dropped, fused, second):
    """Return an inverted residual: expanded, convolved, weighed and projected."""
    momentum = 0.9 if second else 0.99
    shortcut, channels = x, x.shape[channels_axis()]
    whole, pixel = (kernel, stride), (1, 1)
    if expansion != 1:
        window = whole if fused else pixel
        x = convolution(channels * expansion, *window, name=f"{name}_expand_conv")(x)
        x = activated(x, f"{name}_expand", momentum)
    if not fused:
        inner, pad = f"{name}_dwconv", f"{name}_dwconv_pad"
        names = (f"{inner}2", None) if second else (inner, pad)
        x = blocks.depthwise(x, *whole, *names, depthwise_initializer=_FIRST)
        x = activated(x, name, momentum)
        x = _weighed(x, max(1, int(channels * 0.25)), f"{name}_se")
    straight = fused and expansion == 1
    window = whole if straight else pixel
    x = convolution(filters, *window, name=f"{name}_project_conv")(x)
    x = normalized(x, f"{name}_project_bn", momentum=momentum)
    if straight:
        x = layers.Activation("swish", name=f"{name}_project_activation")(x)
    if stride == 1 and channels == filters:
        if dropped > 0:
            x = layers.Dropout(dropped, (None, 1, 1, 1), name=f"{name}_drop")(x)
        x = layers.Add(name=f"{name}_add")([x, shortcut])
    return x


def _weighed(x, few, name):
    """Return each channel times a number from 0 to 1 that the image decides."""
    channels = x.shape[channels_axis()]
    mean = layers.GlobalAveragePooling2D(name=f"{name}_squeeze")(x)
    shape = (channels, 1, 1) if channels_axis() == 1 else (1, 1, channels)
    weight = layers.Reshape(shape, name=f"{name}_reshape")(mean)
    pixel = functools.partial(convolution, kernel_size=1, use_bias=True)
    weight = pixel(few, activation="swish", name=f"{name}_reduce")(weight)
    weight = pixel(channels, activation="sigmoid", name=f"{name}_expand")(weight)
    return layers.Multiply(name=f"{name}_excite")([x, weight])


_sized = functools.partial(
    variant,
    "EfficientNetB{}",
    "efficientnetb{}",
    _efficientnet,
    summary="EfficientNet B{}, which scales images from [0, 255] itself.",
    source="Tan and Le, 2019 (https://arxiv.org/abs/1905.11946)",
)
EfficientNetB0 = _sized(0, 1.0, 1.0, 0.2, channels=1280)
EfficientNetB1 = _sized(1, 1.0, 1.1, 0.2, side=240)
EfficientNetB2 = _sized(2, 1.1, 1.2, 0.3, side=260)
EfficientNetB3 = _sized(3, 1.2, 1.4, 0.3, side=300)
EfficientNetB4 = _sized(4, 1.4, 1.8, 0.4, side=380)
EfficientNetB5 = _sized(5, 1.6, 2.2, 0.4, side=456)
EfficientNetB6 = _sized(6, 1.8, 2.6, 0.5, side=528)
EfficientNetB7 = _sized(7, 2.0, 3.1, 0.5, side=600)
