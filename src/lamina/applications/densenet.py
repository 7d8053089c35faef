"""Densely connected networks: each layer sees the maps of all layers before it."""

from lamina import layers as _layers
from lamina.applications.building import channels_axis as _channels_axis
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions
from lamina.applications.resnet import _activated

__all__ = [
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "decode_predictions",
    "preprocess_input",
]

preprocess_input = _preprocessing("torch", __name__)

_GROWTH = 32  # maps that each layer adds


def _densenet(plan, sizes):
    x = plan.start(f"densenet/{plan.own}_weights_tf_dim_ordering_tf_kernels{{}}.h5")
    x = _layers.ZeroPadding2D(3)(x)
    x = _layers.Conv2D(64, 7, 2, use_bias=False, name="conv1_conv")(x)
    x = _layers.ZeroPadding2D(1)(_activated(x, "conv1"))
    x = _layers.MaxPooling2D(3, 2, name="pool1")(x)
    for number, count in enumerate(sizes, 2):
        if number > 2:
            x = _halved(x, f"pool{number - 1}")
        for i in range(count):
            x = _grown(x, f"conv{number}_block{i + 1}")
    x = _layers.BatchNormalization(_channels_axis(), epsilon=1.001e-5, name="bn")(x)
    x = _layers.Activation("relu", name="relu")(x)
    if plan.top:
        x = plan.classified(_layers.GlobalAveragePooling2D(name="avg_pool")(x))
    return plan.finished(x, ("avg_pool", "max_pool"))


def _grown(x, name):
    new = _layers.Conv2D(4 * _GROWTH, 1, use_bias=False, name=f"{name}_1_conv")(
        _activated(x, f"{name}_0")
    )
    new = _layers.Conv2D(
        _GROWTH, 3, padding="same", use_bias=False, name=f"{name}_2_conv"
    )(_activated(new, f"{name}_1"))
    return _layers.Concatenate(_channels_axis(), name=f"{name}_concat")([x, new])


def _halved(x, name):
    channels = x.shape[_channels_axis()] // 2
    x = _activated(x, name)
    x = _layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_conv")(x)
    return _layers.AveragePooling2D(2, 2, name=f"{name}_pool")(x)


def _sized(layers_in_all, *counts, channels=None):
    return _variant(
        f"DenseNet{layers_in_all}",
        f"densenet{layers_in_all}",
        _densenet,
        counts,
        summary=f"A densely connected network of {layers_in_all} layers.",
        source="Huang et al., 2017 (https://arxiv.org/abs/1608.06993)",
        channels=channels,
    )


DenseNet121 = _sized(121, 6, 12, 24, 16, channels=1024)
DenseNet169 = _sized(169, 6, 12, 32, 32)
DenseNet201 = _sized(201, 6, 12, 48, 32)
