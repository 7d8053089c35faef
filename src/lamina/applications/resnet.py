"""Residual networks, with activations after the convolutions or before them."""

import functools as _functools

from lamina import layers as _layers
from lamina.applications import blocks as _blocks
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions

__all__ = [
    "ResNet101",
    "ResNet152",
    "ResNet50",
    "decode_predictions",
    "preprocess_input",
]

preprocess_input = _preprocessing("caffe", __name__)
_normalized = _functools.partial(_blocks.normalized, epsilon=1.001e-5)


def _residual(plan, stage, counts, activated_first=False):
    """Build a residual network: a convolution, four stages of blocks, an average.

    `stage` draws one, `(x, filters, count of its blocks, its number) -> x`.
    """
    x = plan.start(f"resnet/{plan.own}_weights_tf_dim_ordering_tf_kernels")
    x = _layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = _layers.Conv2D(64, 7, 2, name="conv1_conv")(x)
    if not activated_first:
        x = _activated(x, "conv1")
    x = _layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = _layers.MaxPooling2D(3, 2, name="pool1_pool")(x)
    for i, count in enumerate(counts):
        x = stage(x, 64 * 2**i, count, i + 2)
    if activated_first:
        x = _activated(x, "post")
    return plan.averaged(x, "avg_pool", ("avg_pool", "max_pool"))


def _activated(x, name):
    """Return `x` normalized and cut off at zero."""
    return _layers.Activation("relu", name=f"{name}_relu")(_normalized(x, f"{name}_bn"))


def _stage(x, filters, count, number):
    for i in range(count):
        name = f"conv{number}_block{i + 1}"
        stride = 2 if i == 0 and number > 2 else 1
        shortcut = x
        if i == 0:
            shortcut = _layers.Conv2D(4 * filters, 1, stride, name=f"{name}_0_conv")(x)
            shortcut = _normalized(shortcut, f"{name}_0_bn")
        x = _layers.Conv2D(filters, 1, stride, name=f"{name}_1_conv")(x)
        x = _activated(x, f"{name}_1")
        x = _layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
        x = _activated(x, f"{name}_2")
        x = _layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
        x = _normalized(x, f"{name}_3_bn")
        x = _layers.Add(name=f"{name}_add")([shortcut, x])
        x = _layers.Activation("relu", name=f"{name}_out")(x)
    return x


def _resnet(plan, *counts):
    return _residual(plan, _stage, counts)


_sized = _functools.partial(
    _variant,
    "ResNet{}",
    "resnet{}",
    _resnet,
    summary="A residual network of {} layers.",
    source="He et al., 2015 (https://arxiv.org/abs/1512.03385)",
)
ResNet50 = _sized(50, 3, 4, 6, 3, channels=2048)
ResNet101 = _sized(101, 3, 4, 23, 3)
ResNet152 = _sized(152, 3, 8, 36, 3)
