"""EfficientNet 2: quicker to train, with whole convolutions in the first stages."""

import functools

from lamina import initializers, layers
from lamina.applications.blocks import channels_axis
from lamina.applications.building import SCALES, Activation, variant
from lamina.applications.efficientnet import activated, classified, convolution, staged
from lamina.applications.imagenet_utils import TORCH, decode_predictions, preprocessing
from lamina.models import Model

__all__ = [
    "EfficientNetV2B0",
    "EfficientNetV2B1",
    "EfficientNetV2B2",
    "EfficientNetV2B3",
    "EfficientNetV2L",
    "EfficientNetV2M",
    "EfficientNetV2S",
    "decode_predictions",
    "preprocess_input",
]

preprocess_input = preprocessing(None, __name__)

# Expansion and stride of the first, of all sizes alike.
_SHARED = ((1, 1), (4, 2), (4, 2), (4, 2), (6, 1), (6, 2), (6, 1))


def _stages(repeats, filters):
    """Return a row for each stage, as `EfficientNet` has them."""
    rows = zip(repeats, filters, _SHARED, strict=False)
    return tuple((3, count, width, *shared) for count, width, shared in rows)


_B = _stages((1, 2, 2, 3, 5, 8), (16, 32, 48, 96, 112, 192))
_S = _stages((2, 4, 4, 6, 9, 15), (24, 48, 64, 128, 160, 256))
_M = _stages((3, 5, 5, 7, 14, 18, 5), (24, 48, 80, 160, 176, 304, 512))
_L = _stages((4, 7, 7, 10, 19, 25, 7), (32, 64, 96, 192, 224, 384, 640))


def _arguments(
    include_top=True,
    weights: str | None = "imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation: Activation = "softmax",
    include_preprocessing=True,
    name=None,
) -> Model: ...


def _efficientnet_v2(
    plan, stages, stem, width=1.0, depth=1.0, *, include_preprocessing
):
    def rounded(filters):
        return max(8, int(filters * width + 4) // 8 * 8)

    x = plan.start(f"efficientnet_v2/{plan.own}")
    if include_preprocessing and stages is _B:
        mean, deviation = TORCH
        x = layers.Rescaling(1 / 255)(x)
        variance = [d**2 for d in deviation]
        x = layers.Normalization(channels_axis(), list(mean), variance)(x)
    elif include_preprocessing:
        x = layers.Rescaling(1 / 128, -1)(x)
    x = convolution(rounded(stem), 3, 2, name="stem_conv")(x)
    x = activated(x, "stem", 0.9)
    x = staged(x, stages, depth, rounded, second=True)
    zero = initializers.Constant(0.0)
    return classified(plan, x, rounded(1280), 0.2, 0.9, bias_initializer=zero)


_sized = functools.partial(
    variant,
    "EfficientNetV2{}",
    "efficientnetv2-{small}",
    _efficientnet_v2,
    arguments=_arguments,
    extra=f"\n{SCALES}",
    summary="EfficientNet 2 {}.",
    source="Tan and Le, 2021 (https://arxiv.org/abs/2104.00298)",
)
EfficientNetV2B0 = _sized("B0", _B, 32, channels=1280)
EfficientNetV2B1 = _sized("B1", _B, 32, 1.0, 1.1, side=240)
EfficientNetV2B2 = _sized("B2", _B, 32, 1.1, 1.2, side=260)
EfficientNetV2B3 = _sized("B3", _B, 32, 1.2, 1.4, side=300)
EfficientNetV2S = _sized("S", _S, 24, side=384)
EfficientNetV2M = _sized("M", _M, 24, side=480)
EfficientNetV2L = _sized("L", _L, 32, side=480)
