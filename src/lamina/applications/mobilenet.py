"""MobileNet: depthwise convolutions and pointwise ones, of any width."""

from lamina import layers
from lamina.applications.blocks import channels_axis, convolution, normalized
from lamina.applications.building import Activation, variant
from lamina.applications.imagenet_utils import decode_predictions, preprocessing
from lamina.models import Model

__all__ = ["MobileNet", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing("tf", __name__)

_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *5 * [(512, 1)],
    (1024, 2),
    (1024, 1),
)
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
    classifier_activation: Activation = "softmax",
    name=None,
) -> Model: ...


def _mobilenet(plan, alpha, depth_multiplier, dropout):
    check_width(plan, alpha, _PUBLISHED)
    if plan.published and depth_multiplier != 1:
        raise ValueError(
            "The published weights of `MobileNet` are for depth_multiplier=1. "
            f"Received: depth_multiplier={depth_multiplier}"
        )
    side = named_by_size(plan, "mobilenet", alpha, plan.input_shape, _SIDES)
    path = f"mobilenet/mobilenet_{_PUBLISHED.get(alpha)}_{side}_tf"
    x = plan.start(path, "_no_top", sides=_SIDES)
    x = convolution(int(32 * alpha), 3, 2, padding="same", name="conv1")(x)
    x = _activated(x, "conv1")
    for i, (filters, stride) in enumerate(_BLOCKS, 1):
        padding = "same"
        if stride == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{i}")(x)
            padding = "valid"
        options = {"depth_multiplier": depth_multiplier, "name": f"conv_dw_{i}"}
        x = layers.DepthwiseConv2D(3, stride, padding, use_bias=False, **options)(x)
        x = _activated(x, f"conv_dw_{i}")
        filters = int(filters * alpha)
        x = convolution(filters, 1, padding="same", name=f"conv_pw_{i}")(x)
        x = _activated(x, f"conv_pw_{i}")
    if plan.top:
        x = layers.GlobalAveragePooling2D(keepdims=True)(x)
        x = layers.Dropout(dropout, name="dropout")(x)
        flattened = layers.Reshape((plan.classes,), name="reshape_2")
        x = plan.classified_maps(x, "conv_preds", flattened)
    return plan.finished(x)


def _activated(x, name):
    return layers.ReLU(6.0, name=f"{name}_relu")(normalized(x, f"{name}_bn", -1))


def check_width(plan, alpha, published_for):
    """Refuse a factor of the width that is not a positive number, or has no weights."""
    plan.expect(alpha > 0, "a positive number", alpha=alpha)
    if plan.published and alpha not in published_for:
        raise ValueError(
            f"Weights of `{plan.called}` are published for these values of `alpha`: "
            f"{sorted(published_for)}. Received: alpha={alpha!r}"
        )


def named_by_size(plan, kind, alpha, shape, sides):
    """Name a model after its width and height; return the side its weights are for.

    Of images that have none of the sides with published weights, that is 224.
    """
    rows, side = (_height(x) for x in (plan.input_shape, shape))
    if side not in sides or tuple(shape).count(side) != 2:
        side = 224
    if plan.published or (rows is None and plan.top):
        rows = side
    plan.name = plan.name or f"{kind}_{alpha:0.2f}_{rows}"
    return side


def _height(shape):
    if shape is None or len(shape) != 3:
        return None
    return shape[1] if channels_axis() == 1 else shape[0]


MobileNet = variant(
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
