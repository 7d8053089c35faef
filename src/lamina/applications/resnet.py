"""Residual networks, with activations after the convolutions or before them."""

import functools

from lamina import layers
from lamina.applications import blocks
from lamina.applications.building import variant
from lamina.applications.imagenet_utils import decode_predictions, preprocessing

__all__ = [
    "ResNet101",
    "ResNet152",
    "ResNet50",
    "decode_predictions",
    "preprocess_input",
]

preprocess_input = preprocessing("caffe", __name__)
normalized = functools.partial(blocks.normalized, epsilon=1.001e-5)


def residual(plan, stage, counts, activated_first=False):
    """Build a residual network: a convolution, four stages of blocks, an average.

    `stage` draws one, `(x, filters, count of its blocks, its number) -> x`.
    """
    x = plan.start(f"resnet/{plan.own}_weights_tf_dim_ordering_tf_kernels")
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(64, 7, 2, name="conv1_conv")(x)
    if not activated_first:
        x = activated(x, "conv1")
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, 2, name="pool1_pool")(x)
    for i, count in enumerate(counts):
        x = stage(x, 64 * 2**i, count, i + 2)
    if activated_first:
        x = activated(x, "post")
    return plan.averaged(x, "avg_pool", ("avg_pool", "max_pool"))


def activated(x, name):
    """Return `x` normalized and cut off at zero."""
    return layers.Activation("relu", name=f"{name}_relu")(normalized(x, f"{name}_bn"))


def _stage(x, filters, count, number):
    for i in range(count):
        name = f"conv{number}_block{i + 1}"
        stride = 2 if i == 0 and number > 2 else 1
        shortcut = x
        if i == 0:
            shortcut = layers.Conv2D(4 * filters, 1, stride, name=f"{name}_0_conv")(x)
            shortcut = normalized(shortcut, f"{name}_0_bn")
        x = layers.Conv2D(filters, 1, stride, name=f"{name}_1_conv")(x)
        x = activated(x, f"{name}_1")
        x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
        x = activated(x, f"{name}_2")
        x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
        x = normalized(x, f"{name}_3_bn")
        x = layers.Add(name=f"{name}_add")([shortcut, x])
        x = layers.Activation("relu", name=f"{name}_out")(x)
    return x


def _resnet(plan, *counts):
    return residual(plan, _stage, counts)


_sized = functools.partial(
    variant,
    "ResNet{}",
    "resnet{}",
    _resnet,
    summary="A residual network of {} layers.",
    source="He et al., 2015 (https://arxiv.org/abs/1512.03385)",
)
ResNet50 = _sized(50, 3, 4, 6, 3, channels=2048)
ResNet101 = _sized(101, 3, 4, 23, 3)
ResNet152 = _sized(152, 3, 8, 36, 3)
