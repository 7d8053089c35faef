"""MobileNet: depthwise convolutions and pointwise ones, of any width."""

from collections.abc import Callable as _Callable

from lamina import layers as _layers
from lamina.applications.building import (
    channels_axis as _channels_axis,
)
from lamina.applications.building import (
    check_width as _check_width,
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

__all__ = ["MobileNet", "decode_predictions", "preprocess_input"]

preprocess_input = _preprocessing("tf", __name__)

_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1),
    (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
_PUBLISHED = {1.0: "1_0", 0.75: "7_5", 0.50: "5_0", 0.25: "2_5"}
_SIDES = (128, 160, 192, 224)


def _arguments(
    input_shape=None,
    alpha=1.0,
    depth_multiplier=1,
    dropout=1e-3,
    include_top=True,
    weights: str | None = "imagenet",
    input_tensor=None,
    pooling=None,
    classes=1000,
    classifier_activation: str | _Callable | None = "softmax",
    name=None,
) -> _Model:
    raise NotImplementedError


def _mobilenet(plan, _, alpha, depth_multiplier, dropout):
    _check_width(plan, alpha, _PUBLISHED)
    if plan.published and depth_multiplier != 1:
        raise ValueError(
            "The published weights of `MobileNet` are for depth_multiplier=1. "
            f"Received: depth_multiplier={depth_multiplier}"
        )
    side = _side_in(plan.shape, _SIDES)
    rows = side if plan.published else _side_of(plan.shape, 224 if plan.top else None)
    plan.name = plan.name or f"mobilenet_{alpha:0.2f}_{rows}"
    path = f"mobilenet/mobilenet_{_PUBLISHED.get(alpha)}_{side}_tf{{}}.h5"
    x = plan.start(path, "_no_top", sides=_SIDES)
    x = _layers.Conv2D(
        int(32 * alpha), 3, 2, padding="same", use_bias=False, name="conv1"
    )(x)
    x = _activated(x, "conv1")
    for i, (filters, stride) in enumerate(_BLOCKS, 1):
        if stride == 2:
            x = _layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{i}")(x)
        x = _layers.DepthwiseConv2D(
            3,
            stride,
            "same" if stride == 1 else "valid",
            depth_multiplier,
            use_bias=False,
            name=f"conv_dw_{i}",
        )(x)
        x = _activated(x, f"conv_dw_{i}")
        x = _layers.Conv2D(
            int(filters * alpha), 1, padding="same", use_bias=False, name=f"conv_pw_{i}"
        )(x)
        x = _activated(x, f"conv_pw_{i}")
    if plan.top:
        x = _layers.GlobalAveragePooling2D(keepdims=True)(x)
        x = _layers.Dropout(dropout, name="dropout")(x)
        flattened = _layers.Reshape((plan.classes,), name="reshape_2")
        x = plan.classified_maps(x, "conv_preds", flattened)
    return plan.finished(x)


def _activated(x, name):
    x = _layers.BatchNormalization(_channels_axis(-1), name=f"{name}_bn")(x)
    return _layers.ReLU(6.0, name=f"{name}_relu")(x)


MobileNet = _variant(
    "MobileNet",
    None,
    _mobilenet,
    arguments=_arguments,
    channels=1024,
    summary="MobileNet, whose width and depth can be chosen.",
    source="Howard et al., 2017 (https://arxiv.org/abs/1704.04861)",
    extra="""
alpha: the factor of the filters in each layer; weights are published for 0.25, 0.5,
    0.75 and 1, and images of 128, 160, 192 and 224 pixels.
depth_multiplier: how many maps a depthwise convolution makes of each.
dropout: the rate of dropout before the top.
""",
)
