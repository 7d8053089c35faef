"""EfficientNet 2: quicker to train, with whole convolutions in the first stages."""

import math as _math
from collections.abc import Callable as _Callable
from typing import NamedTuple as _NamedTuple

from lamina import initializers as _initializers
from lamina import layers as _layers
from lamina.applications.building import SCALES as _SCALES
from lamina.applications.building import channels_axis as _channels_axis
from lamina.applications.building import variant as _variant
from lamina.applications.efficientnet import (
    _activated,
    _Block,
    _classified,
    _convolution,
    _inverted,
)
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions
from lamina.models import Model as _Model

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

preprocess_input = _preprocessing(None, __name__)

_DROPPED = 0.2  # the rate at which a block after the last would be left out
_MOMENTUM = 0.9
# How many, filters, expansion, stride of the first; the first three stages are fused.
_B = (
    (1, 16, 1, 1), (2, 32, 4, 2), (2, 48, 4, 2), (3, 96, 4, 2), (5, 112, 6, 1),
    (8, 192, 6, 2),
)  # fmt: skip
_S = (
    (2, 24, 1, 1), (4, 48, 4, 2), (4, 64, 4, 2), (6, 128, 4, 2), (9, 160, 6, 1),
    (15, 256, 6, 2),
)  # fmt: skip
_M = (
    (3, 24, 1, 1), (5, 48, 4, 2), (5, 80, 4, 2), (7, 160, 4, 2), (14, 176, 6, 1),
    (18, 304, 6, 2), (5, 512, 6, 1),
)  # fmt: skip
_L = (
    (4, 32, 1, 1), (7, 64, 4, 2), (7, 96, 4, 2), (10, 192, 4, 2), (19, 224, 6, 1),
    (25, 384, 6, 2), (7, 640, 6, 1),
)  # fmt: skip


class _Sizes(_NamedTuple):
    stages: tuple
    stem: int  # filters of the first convolution
    width: float = 1.0
    depth: float = 1.0


def _arguments(
    include_top=True,
    weights: str | None = "imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation: str | _Callable | None = "softmax",
    include_preprocessing=True,
    name=None,
) -> _Model:
    raise NotImplementedError


def _efficientnet_v2(plan, sizes, include_preprocessing):
    def rounded(filters):
        return max(8, int(filters * sizes.width + 4) // 8 * 8)

    x = plan.start(f"efficientnet_v2/{plan.own}{{}}.h5")
    if include_preprocessing:
        x = _scaled(x, sizes)
    x = _convolution(rounded(sizes.stem), 3, 2, "stem_conv")(x)
    x = _activated(x, "stem", _MOMENTUM)
    total, done = sum(count for count, *_ in sizes.stages), 0
    for stage, (count, filters, expansion, stride) in enumerate(sizes.stages):
        for i in range(_math.ceil(sizes.depth * count)):
            letter = chr(ord("a") + i)
            kind = {"weighed": stage > 2, "fused": stage <= 2, "depthwise": "dwconv2"}
            step, dropped = 1 if i else stride, _DROPPED * done / total
            shape = rounded(filters), expansion, 3, step, dropped, _MOMENTUM
            name = f"block{stage + 1}{letter}"
            x = _inverted(x, _Block(name, *shape, padded=False, **kind))
            done += 1
    zero = _initializers.Constant(0.0)
    return _classified(plan, x, rounded(1280), 0.2, _MOMENTUM, bias_initializer=zero)


def _scaled(x, sizes):
    if sizes.stages is not _B:
        return _layers.Rescaling(1 / 128, -1)(x)
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    variance = [d**2 for d in deviation]
    x = _layers.Rescaling(1 / 255)(x)
    return _layers.Normalization(_channels_axis(), list(mean), variance)(x)


def _sized(size, side, *sizes, channels=None):
    return _variant(
        f"EfficientNetV2{size}",
        f"efficientnetv2-{size.lower()}",
        _efficientnet_v2,
        _Sizes(*sizes),
        side=side,
        arguments=_arguments,
        extra=f"\n{_SCALES}",
        channels=channels,
        summary=f"EfficientNet 2 {size}.",
        source="Tan and Le, 2021 (https://arxiv.org/abs/2104.00298)",
    )


EfficientNetV2B0 = _sized("B0", 224, _B, 32, channels=1280)
EfficientNetV2B1 = _sized("B1", 240, _B, 32, 1.0, 1.1)
EfficientNetV2B2 = _sized("B2", 260, _B, 32, 1.1, 1.2)
EfficientNetV2B3 = _sized("B3", 300, _B, 32, 1.2, 1.4)
EfficientNetV2S = _sized("S", 384, _S, 24)
EfficientNetV2M = _sized("M", 480, _M, 24)
EfficientNetV2L = _sized("L", 480, _L, 32)
