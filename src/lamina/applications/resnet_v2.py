"""Residual networks that normalize and activate before each convolution."""

from lamina import layers as _layers
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions
from lamina.applications.resnet import _activated, _resnet, _Sizes

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
        x = _layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(x)
        x = _layers.ZeroPadding2D(1, name=f"{name}_2_pad")(_activated(x, f"{name}_1"))
        x = _layers.Conv2D(filters, 3, stride, use_bias=False, name=f"{name}_2_conv")(x)
        x = _layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(
            _activated(x, f"{name}_2")
        )
        x = _layers.Add(name=f"{name}_out")([shortcut, x])
    return x


def _sized(layers_in_all, *counts):
    return _variant(
        f"ResNet{layers_in_all}V2",
        f"resnet{layers_in_all}v2",
        _resnet,
        _Sizes(_stage, counts, activated_first=True),
        module=__name__,
        summary=f"A residual network of {layers_in_all} layers, activated first.",
        source="He et al., 2016 (https://arxiv.org/abs/1603.05027)",
    )


ResNet50V2 = _sized(50, 3, 4, 6, 3)
ResNet101V2 = _sized(101, 3, 4, 23, 3)
ResNet152V2 = _sized(152, 3, 8, 36, 3)
