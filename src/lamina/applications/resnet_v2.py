"""Residual networks that normalize and activate before each convolution."""

import functools as _functools

from lamina import layers as _layers
from lamina.applications.blocks import convolution as _convolution
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions
from lamina.applications.resnet import _activated, _residual

__all__ = [
    "ResNet101V2",
    "ResNet152V2",
    "ResNet50V2",
    "decode_predictions",
    "preprocess_input",
]

preprocess_input = _preprocessing("tf", __name__)


def _stage(x, filters, count, number):
    for i in range(count):
        name = f"conv{number}_block{i + 1}"
        stride = 2 if i == count - 1 and number < 5 else 1
        shortcut = x
        x = _activated(x, f"{name}_preact")
        if i == 0:
            shortcut = _layers.Conv2D(4 * filters, 1, stride, name=f"{name}_0_conv")(x)
        elif stride > 1:
            shortcut = _layers.MaxPooling2D(1, stride)(shortcut)
        x = _convolution(filters, 1, name=f"{name}_1_conv")(x)
        x = _layers.ZeroPadding2D(1, name=f"{name}_2_pad")(_activated(x, f"{name}_1"))
        x = _convolution(filters, 3, stride, name=f"{name}_2_conv")(x)
        x = _activated(x, f"{name}_2")
        x = _layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
        x = _layers.Add(name=f"{name}_out")([shortcut, x])
    return x


def _resnet_v2(plan, *counts):
    return _residual(plan, _stage, counts, activated_first=True)


_sized = _functools.partial(
    _variant,
    "ResNet{}V2",
    "resnet{}v2",
    _resnet_v2,
    summary="A residual network of {} layers, activated first.",
    source="He et al., 2016 (https://arxiv.org/abs/1603.05027)",
)
ResNet50V2 = _sized(50, 3, 4, 6, 3)
ResNet101V2 = _sized(101, 3, 4, 23, 3)
ResNet152V2 = _sized(152, 3, 8, 36, 3)
