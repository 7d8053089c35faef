"""MobileNet 3: found by search, with channels weighed by what the image shows."""

import functools as _functools

from lamina import layers as _layers
from lamina.applications.blocks import channels_axis as _channels_axis
from lamina.applications.blocks import convolution as _convolution
from lamina.applications.blocks import divisible as _divisible
from lamina.applications.building import SCALES as _SCALES
from lamina.applications.building import Activation as _Activation
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions
from lamina.applications.mobilenet import _check_width
from lamina.applications.mobilenet_v2 import _inverted, _normalized
from lamina.models import Model as _Model

# `applications.mobilenet_v3` of Keras has these two only; the models are one up.
__all__ = ["decode_predictions", "preprocess_input"]

preprocess_input = _preprocessing(None, __name__)
_hard_swish = _functools.partial(_layers.Activation, "hard_swish")
_NAMES = {"bn": "bn", "relu": None, "pad": "depthwise_pad"}

# Expansion, filters, side of the kernel, stride, whether channels are weighed, whether
# the activation is a hard swish.
_SMALL = (
    (1, 16, 3, 2, True, False), (72 / 16, 24, 3, 2, False, False),
    (88 / 24, 24, 3, 1, False, False), (4, 40, 5, 2, True, True),
    (6, 40, 5, 1, True, True), (6, 40, 5, 1, True, True), (3, 48, 5, 1, True, True),
    (3, 48, 5, 1, True, True), (6, 96, 5, 2, True, True), (6, 96, 5, 1, True, True),
    (6, 96, 5, 1, True, True),
)  # fmt: skip
_LARGE = (
    (1, 16, 3, 1, False, False), (4, 24, 3, 2, False, False),
    (3, 24, 3, 1, False, False), (3, 40, 5, 2, True, False), (3, 40, 5, 1, True, False),
    (3, 40, 5, 1, True, False), (6, 80, 3, 2, False, True),
    (2.5, 80, 3, 1, False, True), (2.3, 80, 3, 1, False, True),
    (2.3, 80, 3, 1, False, True),
    (6, 112, 3, 1, True, True), (6, 112, 3, 1, True, True), (6, 160, 5, 2, True, True),
    (6, 160, 5, 1, True, True), (6, 160, 5, 1, True, True),
)  # fmt: skip


def _arguments(
    input_shape=None,
    alpha=1.0,
    minimalistic=False,
    include_top=True,
    weights: str | None = "imagenet",
    input_tensor=None,
    classes=1000,
    pooling=None,
    dropout_rate=0.2,
    classifier_activation: _Activation = "softmax",
    include_preprocessing=True,
    name=None,
) -> _Model: ...


def _mobilenet_v3(
    plan, blocks, last, alpha, minimalistic, dropout_rate, include_preprocessing
):
    _check_width(plan, alpha, [1.0] if minimalistic else [0.75, 1.0])
    kind = plan.own.removeprefix("MobileNetV3").lower()
    kind = f"{kind}_minimalistic" if minimalistic else kind
    path = f"mobilenet_v3/weights_mobilenet_v3_{kind}_224_{float(alpha)}_float"
    x = plan.start(path, "_no_top_v2", sized=False)
    if include_preprocessing:
        x = _layers.Rescaling(1 / 127.5, -1.0)(x)
    swish = _layers.ReLU if minimalistic else _hard_swish
    x = _convolution(16, 3, 2, padding="same", name="conv")(x)
    x = swish()(_normalized(x, "conv_bn"))
    for i, (expansion, few, kernel, stride, weighed, swished) in enumerate(blocks):
        if minimalistic:
            kernel, weighed = 3, False
        name = f"expanded_conv_{i}" if i else "expanded_conv"
        wide = _divisible(x.shape[_channels_axis()] * expansion) if i else None
        shape = wide, _divisible(few * alpha), kernel, stride
        inner = swish if swished else _layers.ReLU, weighed and _weighed
        x = _inverted(x, name, *shape, *inner, **_NAMES)
    wide = _divisible(6 * x.shape[_channels_axis()])
    x = _convolution(wide, 1, padding="same", name="conv_1")(x)
    x = swish()(_normalized(x, "conv_1_bn"))
    if plan.top:
        last = _divisible(last * alpha) if alpha > 1.0 else last
        x = _layers.GlobalAveragePooling2D(keepdims=True)(x)
        x = swish()(_layers.Conv2D(last, 1, padding="same", name="conv_2")(x))
        if dropout_rate > 0:
            x = _layers.Dropout(dropout_rate)(x)
        x = plan.classified_maps(x, "logits", _layers.Flatten())
    return plan.finished(x, ("avg_pool", "max_pool"))


def _weighed(x, name):
    """Return each channel times a number from 0 to 1 that the image decides."""
    channels = x.shape[_channels_axis()]
    mean = _layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_avg_pool")(x)
    few = _divisible(channels * 0.25)
    few = _layers.Conv2D(few, 1, padding="same", name=f"{name}_conv")(mean)
    few = _layers.ReLU(name=f"{name}_relu")(few)
    weight = _layers.Conv2D(channels, 1, padding="same", name=f"{name}_conv_1")(few)
    weight = _layers.ReLU(6.0)(weight + 3.0) * (1.0 / 6.0)
    return _layers.Multiply(name=f"{name}_mul")([x, weight])


_EXTRA = f"""
alpha: the factor of the filters in each layer; weights are published for 0.75 and 1.
minimalistic: whether to leave out what runs badly on some devices: channels weighed by
    the image, hard swish, and kernels of 5 x 5. Weights for alpha=1 only.
dropout_rate: the rate of dropout before the top.
{_SCALES}
"""
_sized = _functools.partial(
    _variant,
    "MobileNetV3{}",
    "MobileNetV3{}",
    _mobilenet_v3,
    arguments=_arguments,
    extra=_EXTRA,
    summary="The {small} one of two MobileNets 3.",
    source="Howard et al., 2019 (https://arxiv.org/abs/1905.02244)",
)
MobileNetV3Small = _sized("Small", _SMALL, 1024, channels=576)
MobileNetV3Large = _sized("Large", _LARGE, 1280)
