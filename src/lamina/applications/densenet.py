"""Densely connected networks: each layer sees the maps of all layers before it."""

import functools as _functools

from lamina import layers as _layers
from lamina.applications.blocks import channels_axis as _channels_axis
from lamina.applications.blocks import convolution as _convolution
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions
from lamina.applications.resnet import _activated, _normalized

__all__ = [
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "decode_predictions",
    "preprocess_input",
]

preprocess_input = _preprocessing("torch", __name__)

_GROWTH = 32  # maps that each layer adds


def _densenet(plan, *counts):
    x = plan.start(f"densenet/{plan.own}_weights_tf_dim_ordering_tf_kernels")
    x = _convolution(64, 7, 2, name="conv1_conv")(_layers.ZeroPadding2D(3)(x))
    x = _layers.ZeroPadding2D(1)(_activated(x, "conv1"))
    x = _layers.MaxPooling2D(3, 2, name="pool1")(x)
    for number, count in enumerate(counts, 2):
        if number > 2:
            x = _halved(x, f"pool{number - 1}")
        for i in range(count):
            x = _grown(x, f"conv{number}_block{i + 1}")
    x = _layers.Activation("relu", name="relu")(_normalized(x, "bn"))
    return plan.averaged(x, "avg_pool", ("avg_pool", "max_pool"))


def _grown(x, name):
    new = _activated(x, f"{name}_0")
    new = _convolution(4 * _GROWTH, 1, name=f"{name}_1_conv")(new)
    new = _activated(new, f"{name}_1")
    new = _convolution(_GROWTH, 3, padding="same", name=f"{name}_2_conv")(new)
    return _layers.Concatenate(_channels_axis(), name=f"{name}_concat")([x, new])


def _halved(x, name):
    channels = x.shape[_channels_axis()] // 2
    x = _convolution(channels, 1, name=f"{name}_conv")(_activated(x, name))
    return _layers.AveragePooling2D(2, 2, name=f"{name}_pool")(x)


_sized = _functools.partial(
    _variant,
    "DenseNet{}",
    "densenet{}",
    _densenet,
    summary="A densely connected network of {} layers.",
    source="Huang et al., 2017 (https://arxiv.org/abs/1608.06993)",
)
DenseNet121 = _sized(121, 6, 12, 24, 16, channels=1024)
DenseNet169 = _sized(169, 6, 12, 32, 32)
DenseNet201 = _sized(201, 6, 12, 48, 32)
