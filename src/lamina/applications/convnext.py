"""ConvNeXt: a convolutional network with what transformers have taught."""

import functools as _functools
from typing import Any as _Any

from lamina import layers as _layers
from lamina.applications.building import SCALES as _SCALES
from lamina.applications.building import Activation as _Activation
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import (
    _TORCH,
    _preprocessing,
    decode_predictions,
)
from lamina.applications.scaling import LayerScale as _LayerScale
from lamina.models import Model as _Model
from lamina.models import Sequential as _Sequential

__all__ = [
    "ConvNeXtBase",
    "ConvNeXtLarge",
    "ConvNeXtSmall",
    "ConvNeXtTiny",
    "ConvNeXtXLarge",
    "decode_predictions",
    "preprocess_input",
]

preprocess_input = _preprocessing(None, __name__)
_AXIS: _Any = [-1]  # a list in files of Keras
_normalization = _functools.partial(_layers.LayerNormalization, _AXIS, epsilon=1e-6)


def _arguments(
    include_top=True,
    include_preprocessing=True,
    weights: str | None = "imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation: _Activation = "softmax",
    name=None,
) -> _Model: ...


def _convnext(plan, first, *counts, include_preprocessing):
    plan.check_channels_last()
    name, x = plan.name, plan.start(f"convnext/{plan.own}")
    if include_preprocessing:
        mean, deviation = _TORCH
        x = _layers.Normalization(
            mean=[255 * m for m in mean],
            variance=[(255 * d) ** 2 for d in deviation],
            name=f"{name}_prestem_normalization",
        )(x)
    for stage, count in enumerate(counts):
        filters = first * 2**stage
        x = _narrowed(name, stage, filters)(x)
        for i in range(count):
            x = x + _seen(x, filters, f"{name}_stage_{stage}_block_{i}")
    if not plan.top:
        return plan.finished(x, last=_normalization())
    x = _layers.GlobalAveragePooling2D(name=f"{name}_head_gap")(x)
    x = _normalization(name=f"{name}_head_layernorm")(x)
    return plan.finished(plan.classified(x, f"{name}_head_dense"))


def _narrowed(name, stage, filters):
    """Return what comes before a stage: patches of an image, or of its maps."""
    if stage == 0:
        patches = _layers.Conv2D(filters, 4, 4, name=f"{name}_stem_conv")
        normalization = _normalization(name=f"{name}_stem_layernorm")
        return _Sequential([patches, normalization], name=f"{name}_stem")
    normalization = _normalization(name=f"{name}_downsampling_layernorm_{stage - 1}")
    patches = _layers.Conv2D(
        filters, 2, 2, name=f"{name}_downsampling_conv_{stage - 1}"
    )
    return _Sequential(
        [normalization, patches], name=f"{name}_downsampling_block_{stage - 1}"
    )


def _seen(x, filters, name):
    """Return what a block adds: each channel over an area, then all in each pixel."""
    options = {"groups": filters, "name": f"{name}_depthwise_conv"}
    x = _layers.Conv2D(filters, 7, padding="same", **options)(x)
    x = _normalization(name=f"{name}_layernorm")(x)
    x = _layers.Dense(4 * filters, name=f"{name}_pointwise_conv_1")(x)
    x = _layers.Activation("gelu", name=f"{name}_gelu")(x)
    x = _layers.Dense(filters, name=f"{name}_pointwise_conv_2")(x)
    x = _LayerScale(1e-6, filters, name=f"{name}_layer_scale")(x)
    return _layers.Activation("linear", name=f"{name}_identity")(x)


_sized = _functools.partial(
    _variant,
    "ConvNeXt{}",
    "convnext_{small}",
    _convnext,
    arguments=_arguments,
    extra=f"\n{_SCALES}",
    summary="ConvNeXt, the {small} one.",
    source="Liu et al., 2022 (https://arxiv.org/abs/2201.03545)",
)
# Filters of the first stage, of which each next one has twice as many; blocks of each.
ConvNeXtTiny = _sized("Tiny", 96, 3, 3, 9, 3, channels=768)
ConvNeXtSmall = _sized("Small", 96, 3, 3, 27, 3)
ConvNeXtBase = _sized("Base", 128, 3, 3, 27, 3)
ConvNeXtLarge = _sized("Large", 192, 3, 3, 27, 3)
ConvNeXtXLarge = _sized("XLarge", 256, 3, 3, 27, 3)
