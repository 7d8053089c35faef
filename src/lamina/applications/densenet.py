"""Densely connected networks: each layer sees the maps of all layers before it."""

import functools

from lamina import layers
from lamina.applications.blocks import channels_axis, convolution
from lamina.applications.building import variant
from lamina.applications.imagenet_utils import decode_predictions, preprocessing
from lamina.applications.resnet import activated, normalized

__all__ = [
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "decode_predictions",
    "preprocess_input",
]

preprocess_input = preprocessing("torch", __name__)

_GROWTH = 32  # maps that each layer adds


def _densenet(plan, *counts):
    x = plan.start(f"densenet/{plan.own}_weights_tf_dim_ordering_tf_kernels")
    x = convolution(64, 7, 2, name="conv1_conv")(layers.ZeroPadding2D(3)(x))
    x = layers.ZeroPadding2D(1)(activated(x, "conv1"))
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    for number, count in enumerate(counts, 2):
        if number > 2:
            x = _halved(x, f"pool{number - 1}")
        for i in range(count):
            x = _grown(x, f"conv{number}_block{i + 1}")
    x = layers.Activation("relu", name="relu")(normalized(x, "bn"))
    return plan.averaged(x, "avg_pool", ("avg_pool", "max_pool"))


def _grown(x, name):
    new = activated(x, f"{name}_0")
    new = convolution(4 * _GROWTH, 1, name=f"{name}_1_conv")(new)
    new = activated(new, f"{name}_1")
    new = convolution(_GROWTH, 3, padding="same", name=f"{name}_2_conv")(new)
    return layers.Concatenate(channels_axis(), name=f"{name}_concat")([x, new])


def _halved(x, name):
    channels = x.shape[channels_axis()] // 2
    x = convolution(channels, 1, name=f"{name}_conv")(activated(x, name))
    return layers.AveragePooling2D(2, 2, name=f"{name}_pool")(x)


_sized = functools.partial(
    variant,
    "DenseNet{}",
    "densenet{}",
    _densenet,
    summary="A densely connected network of {} layers.",
    source="Huang et al., 2017 (https://arxiv.org/abs/1608.06993)",
)
DenseNet121 = _sized(121, 6, 12, 24, 16, channels=1024)
DenseNet169 = _sized(169, 6, 12, 32, 32)
DenseNet201 = _sized(201, 6, 12, 48, 32)
