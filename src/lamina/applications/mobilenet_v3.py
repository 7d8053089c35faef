"""MobileNet 3: found by search, with channels weighed by what the image shows."""

import functools

from lamina import layers
from lamina.applications.blocks import channels_axis, convolution, divisible
from lamina.applications.building import SCALES, Activation, variant
from lamina.applications.imagenet_utils import decode_predictions, preprocessing
from lamina.applications.mobilenet import check_width
from lamina.applications.mobilenet_v2 import inverted, normalized
from lamina.models import Model

# `applications.mobilenet_v3` of Keras has these two only; the models are one up.
__all__ = ["decode_predictions", "preprocess_input"]

preprocess_input = preprocessing(None, __name__)
_hard_swish = functools.partial(layers.Activation, "hard_swish")
_NAMES = {"bn": "bn", "relu": None, "pad": "depthwise_pad"}

# Expansion, filters, side of the kernel, stride, whether channels are weighed, whether
# the activation is a hard swish.
_SMALL = (
    (1, 16, 3, 2, True, False),
    (72 / 16, 24, 3, 2, False, False),
    (88 / 24, 24, 3, 1, False, False),
    (4, 40, 5, 2, True, True),
    *2 * [(6, 40, 5, 1, True, True)],
    *2 * [(3, 48, 5, 1, True, True)],
    (6, 96, 5, 2, True, True),
    *2 * [(6, 96, 5, 1, True, True)],
)
_LARGE = (
    (1, 16, 3, 1, False, False),
    (4, 24, 3, 2, False, False),
    (3, 24, 3, 1, False, False),
    (3, 40, 5, 2, True, False),
    *2 * [(3, 40, 5, 1, True, False)],
    (6, 80, 3, 2, False, True),
    (2.5, 80, 3, 1, False, True),
    *2 * [(2.3, 80, 3, 1, False, True)],
    *2 * [(6, 112, 3, 1, True, True)],
    (6, 160, 5, 2, True, True),
    *2 * [(6, 160, 5, 1, True, True)],
)


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
    classifier_activation: Activation = "softmax",
    include_preprocessing=True,
    name=None,
) -> Model: ...


def _mobilenet_v3(
    plan, blocks, last, alpha, minimalistic, dropout_rate, include_preprocessing
):
    check_width(plan, alpha, [1.0] if minimalistic else [0.75, 1.0])
    kind = plan.own.removeprefix("MobileNetV3").lower()
    kind = f"{kind}_minimalistic" if minimalistic else kind
    path = f"mobilenet_v3/weights_mobilenet_v3_{kind}_224_{float(alpha)}_float"
    x = plan.start(path, "_no_top_v2", sized=False)
    if include_preprocessing:
        x = layers.Rescaling(1 / 127.5, -1.0)(x)
    swish = layers.ReLU if minimalistic else _hard_swish
    x = convolution(16, 3, 2, padding="same", name="conv")(x)
    x = swish()(normalized(x, "conv_bn"))
    for i, (expansion, few, kernel, stride, weighed, swished) in enumerate(blocks):
        if minimalistic:
            kernel, weighed = 3, False
        name = f"expanded_conv_{i}" if i else "expanded_conv"
        wide = divisible(x.shape[channels_axis()] * expansion) if i else None
        shape = wide, divisible(few * alpha), kernel, stride
        inner = swish if swished else layers.ReLU, weighed and _weighed
        x = inverted(x, name, *shape, *inner, **_NAMES)
    wide = divisible(6 * x.shape[channels_axis()])
    x = convolution(wide, 1, padding="same", name="conv_1")(x)
    x = swish()(normalized(x, "conv_1_bn"))
    if plan.top:
        last = divisible(last * alpha) if alpha > 1.0 else last
        x = layers.GlobalAveragePooling2D(keepdims=True)(x)
        x = swish()(layers.Conv2D(last, 1, padding="same", name="conv_2")(x))
        if dropout_rate > 0:
            x = layers.Dropout(dropout_rate)(x)
        x = plan.classified_maps(x, "logits", layers.Flatten())
    return plan.finished(x, ("avg_pool", "max_pool"))


def _weighed(x, name):
    """Return each channel times a number from 0 to 1 that the image decides."""
    channels = x.shape[channels_axis()]
    mean = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_avg_pool")(x)
    few = divisible(channels * 0.25)
    few = layers.Conv2D(few, 1, padding="same", name=f"{name}_conv")(mean)
    few = layers.ReLU(name=f"{name}_relu")(few)
    weight = layers.Conv2D(channels, 1, padding="same", name=f"{name}_conv_1")(few)
    weight = layers.ReLU(6.0)(weight + 3.0) * (1.0 / 6.0)
    return layers.Multiply(name=f"{name}_mul")([x, weight])


_EXTRA = f"""
alpha: the factor of the filters in each layer; weights are published for 0.75 and 1.
minimalistic: whether to leave out what runs badly on some devices: channels weighed by
    the image, hard swish, and kernels of 5 x 5. Weights for alpha=1 only.
dropout_rate: the rate of dropout before the top.
{SCALES}
"""
_sized = functools.partial(
    variant,
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
