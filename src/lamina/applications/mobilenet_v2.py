"""MobileNet 2: inverted residuals, with the shortcut between narrow ends."""

import functools

from lamina import layers
from lamina.applications import blocks
from lamina.applications.blocks import channels_axis, convolution, depthwise, divisible
from lamina.applications.building import Activation, variant
from lamina.applications.imagenet_utils import decode_predictions, preprocessing
from lamina.applications.mobilenet import check_width, named_by_size
from lamina.models import Model

__all__ = ["MobileNetV2", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing("tf", __name__)
normalized = functools.partial(blocks.normalized, last=-1, momentum=0.999)
_relu = functools.partial(layers.ReLU, 6.0)

# Filters, stride of the first, how many.
_STAGES = (
    (16, 1, 1),
    (24, 2, 2),
    (32, 2, 3),
    (64, 2, 4),
    (96, 1, 3),
    (160, 2, 3),
    (320, 1, 1),
)
_EXPANSION = 6  # of all blocks but the first
_NAMES = {"bn": "BN", "relu": "relu", "pad": "pad"}
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
    classifier_activation: Activation = "softmax",
    name=None,
) -> Model: ...


def _mobilenet_v2(plan, alpha):
    check_width(plan, alpha, _PUBLISHED)
    shape = plan.input_shape
    if shape is None and plan.input_tensor is not None:
        shape = plan.input_tensor.shape[1:]
    side = named_by_size(plan, "mobilenetv2", alpha, shape, _SIDES)
    kernels = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels"
    path = f"mobilenet_v2/{kernels}_{float(alpha)}_{side}"
    x = plan.start(path, "_no_top", sides=_SIDES)
    x = convolution(divisible(32 * alpha), 3, 2, padding="same", name="Conv1")(x)
    x = _relu(name="Conv1_relu")(normalized(x, "bn_Conv1"))
    block = 0
    for filters, first, count in _STAGES:
        for i in range(count):
            name = f"block_{block}" if block else "expanded_conv"
            wide = _EXPANSION * x.shape[channels_axis()] if block else None
            few, stride = divisible(int(filters * alpha)), 1 if i else first
            x = inverted(x, name, wide, few, 3, stride, _relu, **_NAMES)
            block += 1
    wide = divisible(1280 * alpha) if alpha > 1.0 else 1280
    x = normalized(convolution(wide, 1, name="Conv_1")(x), "Conv_1_bn")
    return plan.averaged(_relu(name="out_relu")(x))


def inverted(
    x, name, wide, few, kernel, stride, activation, weighed=None, *, bn, relu, pad
):
    """Return an inverted residual: `wide` maps, convolved one by one, then `few`.

    No `wide` leaves them as they are. `activation` makes a layer, and `weighed` is a
    function of maps and a name. The last three are how the names of normalizations, of
    activations, if they have any, and of what pads before a stride end.
    """

    def activated(x, name):
        x = normalized(x, f"{name}_{bn}")
        return activation(name=relu and f"{name}_{relu}")(x)

    shortcut, inner = x, f"{name}_depthwise"
    if wide is not None:
        x = convolution(wide, 1, padding="same", name=f"{name}_expand")(x)
        x = activated(x, f"{name}_expand")
    x = activated(depthwise(x, kernel, stride, inner, f"{name}_{pad}"), inner)
    if weighed:
        x = weighed(x, f"{name}_squeeze_excite")
    x = convolution(few, 1, padding="same", name=f"{name}_project")(x)
    x = normalized(x, f"{name}_project_{bn}")
    if stride == 1 and shortcut.shape[channels_axis()] == few:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


MobileNetV2 = variant(
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
