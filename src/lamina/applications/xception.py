"""Xception: separable convolutions, with shortcuts around two or three of them."""

from lamina import layers as _layers
from lamina.applications.building import channels_axis as _channels_axis
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions

__all__ = ["Xception", "decode_predictions", "preprocess_input"]

preprocess_input = _preprocessing("tf", __name__)


def _xception(plan, sizes):
    x = plan.start("xception/xception_weights_tf_dim_ordering_tf_kernels{}.h5")
    for i, (filters, stride) in enumerate(((32, 2), (64, 1)), 1):
        name = f"block1_conv{i}"
        x = _layers.Conv2D(filters, 3, stride, use_bias=False, name=name)(x)
        x = _activated(_normalized(x, f"{name}_bn"), f"{name}_act")
    x = _narrowed(x, 2, 128, 128, activated=False)
    x = _narrowed(x, 3, 256, 256)
    x = _narrowed(x, 4, 728, 728)
    for block in range(5, 13):
        shortcut = x
        for i in range(1, 4):
            x = _activated(x, f"block{block}_sepconv{i}_act")
            x = _separable(x, 728, f"block{block}_sepconv{i}")
        x = _layers.Add()([x, shortcut])
    x = _narrowed(x, 13, 728, 1024)
    for i, filters in enumerate((1536, 2048), 1):
        x = _separable(x, filters, f"block14_sepconv{i}")
        x = _activated(x, f"block14_sepconv{i}_act")
    if plan.top:
        x = plan.classified(_layers.GlobalAveragePooling2D(name="avg_pool")(x))
    return plan.finished(x)


def _narrowed(x, block, first, second, activated=True):
    """Return half as high and wide maps, of two convolutions and a shortcut."""
    shortcut = _layers.Conv2D(second, 1, 2, padding="same", use_bias=False)(x)
    shortcut = _normalized(shortcut, None)
    for i, filters in enumerate((first, second), 1):
        if activated or i > 1:
            x = _activated(x, f"block{block}_sepconv{i}_act")
        x = _separable(x, filters, f"block{block}_sepconv{i}")
    x = _layers.MaxPooling2D(3, 2, padding="same", name=f"block{block}_pool")(x)
    return _layers.Add()([x, shortcut])


def _separable(x, filters, name):
    convolution = _layers.SeparableConv2D(
        filters, 3, padding="same", use_bias=False, name=name
    )
    return _normalized(convolution(x), f"{name}_bn")


def _normalized(x, name):
    return _layers.BatchNormalization(_channels_axis(-1), name=name)(x)


def _activated(x, name):
    return _layers.Activation("relu", name=name)(x)


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
