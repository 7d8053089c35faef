"""MobileNet 2: inverted residuals, with the shortcut between narrow ends."""

from collections.abc import Callable as _Callable

from lamina import layers as _layers
from lamina.applications.building import (
    channels_axis as _channels_axis,
)
from lamina.applications.building import (
    check_width as _check_width,
)
from lamina.applications.building import (
    divisible as _divisible,
)
from lamina.applications.building import (
    halving_padding as _halving_padding,
)
from lamina.applications.building import (
    side_in as _side_in,
)
from lamina.applications.building import (
    side_of as _side_of,
)
from lamina.applications.building import (
    variant as _variant,
)
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions
from lamina.models import Model as _Model

__all__ = ["MobileNetV2", "decode_predictions", "preprocess_input"]

preprocess_input = _preprocessing("tf", __name__)

# Filters, stride of the first, how many.
_STAGES = (
    (16, 1, 1), (24, 2, 2), (32, 2, 3), (64, 2, 4), (96, 1, 3), (160, 2, 3),
    (320, 1, 1),
)  # fmt: skip
_EXPANSION = 6  # of all blocks but the first
_PUBLISHED = (0.35, 0.50, 0.75, 1.0, 1.3, 1.4)
_SIDES = (96, 128, 160, 192, 224)


def _arguments(
    input_shape=None,
    alpha=1.0,
    include_top=True,
    weights: str | None = "imagenet",
    input_tensor=None,
    pooling=None,
    classes=1000,
    classifier_activation: str | _Callable | None = "softmax",
    name=None,
) -> _Model:
    raise NotImplementedError


def _mobilenet_v2(plan, _, alpha):
    _check_width(plan, alpha, _PUBLISHED)
    side = _side_in(plan.shape_seen(), _SIDES)
    rows = side if plan.published else _side_of(plan.shape, side if plan.top else None)
    plan.name = plan.name or f"mobilenetv2_{alpha:0.2f}_{rows}"
    kernels = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels"
    path = f"mobilenet_v2/{kernels}_{float(alpha)}_{side}{{}}.h5"
    x = plan.start(path, "_no_top", sides=_SIDES)
    x = _layers.Conv2D(
        _divisible(32 * alpha), 3, 2, padding="same", use_bias=False, name="Conv1"
    )(x)
    x = _activated(x, "bn_Conv1", "Conv1_relu")
    block = 0
    for filters, first, count in _STAGES:
        for i in range(count):
            wide = _divisible(int(filters * alpha))
            x = _inverted(x, wide, first if i == 0 else 1, block)
            block += 1
    wide = _divisible(1280 * alpha) if alpha > 1.0 else 1280
    x = _layers.Conv2D(wide, 1, use_bias=False, name="Conv_1")(x)
    x = _activated(x, "Conv_1_bn", "out_relu")
    if plan.top:
        x = plan.classified(_layers.GlobalAveragePooling2D()(x))
    return plan.finished(x)


def _inverted(x, filters, stride, block):
    name = f"block_{block}" if block else "expanded_conv"
    shortcut, channels = x, x.shape[_channels_axis()]
    if block:
        x = _layers.Conv2D(
            _EXPANSION * channels,
            1,
            padding="same",
            use_bias=False,
            name=f"{name}_expand",
        )(x)
        x = _activated(x, f"{name}_expand_BN", f"{name}_expand_relu")
    if stride == 2:
        x = _layers.ZeroPadding2D(_halving_padding(x, 3), name=f"{name}_pad")(x)
    x = _layers.DepthwiseConv2D(
        3,
        stride,
        "same" if stride == 1 else "valid",
        use_bias=False,
        name=f"{name}_depthwise",
    )(x)
    x = _activated(x, f"{name}_depthwise_BN", f"{name}_depthwise_relu")
    x = _layers.Conv2D(
        filters, 1, padding="same", use_bias=False, name=f"{name}_project"
    )(x)
    x = _normalized(x, f"{name}_project_BN")
    if channels == filters and stride == 1:
        return _layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _normalized(x, name):
    return _layers.BatchNormalization(_channels_axis(-1), 0.999, name=name)(x)


def _activated(x, normalization, activation):
    return _layers.ReLU(6.0, name=activation)(_normalized(x, normalization))


MobileNetV2 = _variant(
    "MobileNetV2",
    None,
    _mobilenet_v2,
    arguments=_arguments,
    channels=1280,
    summary="MobileNet 2, whose width can be chosen.",
    source="Sandler et al., 2018 (https://arxiv.org/abs/1801.04381)",
    extra="""
alpha: the factor of the filters in each layer; weights are published for 0.35, 0.5,
    0.75, 1, 1.3 and 1.4, and images of 96, 128, 160, 192 and 224 pixels.
""",
)
