"""Xception: separable convolutions, with shortcuts around two or three of them."""

import functools as _functools

from lamina import layers as _layers
from lamina.applications import blocks as _blocks
from lamina.applications.blocks import convolution as _convolution
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions

__all__ = ["Xception", "decode_predictions", "preprocess_input"]

preprocess_input = _preprocessing("tf", __name__)
_normalized = _functools.partial(_blocks.normalized, last=-1)
_relu = _functools.partial(_layers.Activation, "relu")


def _xception(plan):
    x = plan.start("xception/xception_weights_tf_dim_ordering_tf_kernels")
    for i, (filters, stride) in enumerate(((32, 2), (64, 1)), 1):
        name = f"block1_conv{i}"
        x = _normalized(_convolution(filters, 3, stride, name=name)(x), f"{name}_bn")
        x = _relu(name=f"{name}_act")(x)
    x = _narrowed(x, 2, 128, 128, activated=False)
    x = _narrowed(x, 3, 256, 256)
    x = _narrowed(x, 4, 728, 728)
    for block in range(5, 13):
        x = _layers.Add()([_block(x, block, 728, 728, 728), x])
    x = _narrowed(x, 13, 728, 1024)
    for i, filters in enumerate((1536, 2048), 1):
        x = _separable(x, filters, f"block14_sepconv{i}")
        x = _relu(name=f"block14_sepconv{i}_act")(x)
    return plan.averaged(x, "avg_pool")


def _narrowed(x, block, first, second, activated=True):
    """Return half as high and wide maps, of two convolutions and a shortcut."""
    shortcut = _normalized(_convolution(second, 1, 2, padding="same")(x), None)
    x = _block(x, block, first, second, activated=activated)
    x = _layers.MaxPooling2D(3, 2, padding="same", name=f"block{block}_pool")(x)
    return _layers.Add()([x, shortcut])


def _block(x, number, *filters, activated=True):
    for i, count in enumerate(filters, 1):
        name = f"block{number}_sepconv{i}"
        if activated or i > 1:
            x = _relu(name=f"{name}_act")(x)
        x = _separable(x, count, name)
    return x


def _separable(x, filters, name):
    x = _layers.SeparableConv2D(filters, 3, 1, "same", use_bias=False, name=name)(x)
    return _normalized(x, f"{name}_bn")


Xception = _variant(
    "Xception",
    "xception",
    _xception,
    side=299,
    least=71,
    channels=2048,
    summary="Xception, of separable convolutions.",
    source="Chollet, 2017 (https://arxiv.org/abs/1610.02357)",
)
