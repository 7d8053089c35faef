"""NASNet: a cell found by search on small images, repeated for large ones."""

import functools as _functools

from lamina import layers as _layers
from lamina.applications.blocks import normalized as _batch_normalized
from lamina.applications.blocks import padded as _padded
from lamina.applications.building import Activation as _Activation
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions
from lamina.core.context import name_scope as _name_scope
from lamina.models import Model as _Model

__all__ = ["NASNetLarge", "NASNetMobile", "decode_predictions", "preprocess_input"]

preprocess_input = _preprocessing("tf", __name__)
_convolution = _functools.partial(
    _layers.Conv2D, use_bias=False, kernel_initializer="he_normal"
)
_pointwise = _functools.partial(_convolution, kernel_size=1, padding="same")
_separated = _functools.partial(_layers.SeparableConv2D, use_bias=False)
_normalized = _functools.partial(_batch_normalized, last=-1, momentum=0.9997)
_relu = _functools.partial(_layers.Activation, "relu")
_mean = _functools.partial(_layers.AveragePooling2D, 3, 1, "same")


def _arguments(
    input_shape=None,
    include_top=True,
    weights: str | None = "imagenet",
    input_tensor=None,
    pooling=None,
    classes=1000,
    classifier_activation: _Activation = "softmax",
    name=None,
) -> _Model: ...


def _nasnet(plan, filters, cells, stem, skips):
    plan.check_channels_last()
    size = plan.own.removeprefix("nasnet_")
    files = {"bare": "-no-top", "file": plan.own}
    x = plan.start(f"nasnet/NASNet-{size}", **files, sized=True)
    x = _convolution(stem, 3, 2, name="stem_conv1")(x)
    x = _normalized(x, "stem_bn1")
    filters //= 24
    # Each cell sees what the last two have made.
    before, x = x, _reduced(x, None, filters // 4, "stem_1")
    before, x = x, _reduced(x, before, filters // 2, "stem_2")
    for group in range(3):
        wide = filters * 2**group
        if group:
            reduced = _reduced(x, before, wide, f"reduce_{group * cells}")
            before, x = before if skips else x, reduced
        for i in range(cells):
            number = group * cells + i + (group > 0)
            before, x = x, _normal(x, before, wide, number)
    return plan.averaged(_relu()(x))


def _normal(x, before, filters, name):
    """Return a cell that keeps the size of its maps."""

    def separable(x, kernel, side, part):
        with _name_scope(f"block_{part}"):
            return _separable(x, filters, kernel, f"normal_{side}{part}_{name}")

    def added(part, *maps):
        return _layers.Add(name=f"normal_add_{part}_{name}")(maps)

    with _name_scope(f"normal_A_block_{name}"):
        before = _adjusted(x, before, filters, name)
        x = _projected(x, filters, "normal", name)
        left = separable(x, 5, "left", 1)
        parts = [before, added(1, left, separable(before, 3, "right", 1))]
        left = separable(before, 5, "left", 2)
        parts.append(added(2, left, separable(before, 3, "right", 2)))
        parts.append(added(3, _mean(name=f"normal_left3_{name}")(x), before))
        means = [_mean(name=f"normal_{side}4_{name}") for side in ("left", "right")]
        parts.append(added(4, *(mean(before) for mean in means)))
        parts.append(added(5, separable(x, 3, "left", 5), x))
        return _layers.Concatenate(name=f"normal_concat_{name}")(parts)


def _reduced(x, before, filters, name):
    """Return a cell that halves the sides of its maps."""

    def separable(x, kernel, side, part, stride=2, called=None):
        called = f"reduction_{side}{called or part}_{name}"
        with _name_scope(f"block_{part}"):
            return _separable(x, filters, kernel, called, stride)

    def added(part, *maps):
        return _layers.Add(name=part and f"reduction_add{part}_{name}")(maps)

    with _name_scope(f"reduction_A_block_{name}"):
        before = _adjusted(x, before, filters, name)
        x = _projected(x, filters, "reduction", name)
        wider = _padded(x, 3, f"reduction_pad_1_{name}")
        left = separable(x, 5, "left", 1)
        first = added("_1", left, separable(before, 7, "right", 1))
        left = _layers.MaxPooling2D(3, 2, name=f"reduction_left2_{name}")(wider)
        second = added("_2", left, separable(before, 7, "right", 2))
        left = _layers.AveragePooling2D(3, 2, name=f"reduction_left3_{name}")(wider)
        third = added("3", left, separable(before, 5, "right", 3))
        fourth = added(None, second, _mean(name=f"reduction_left4_{name}")(first))
        left = separable(first, 3, "left", 5, stride=1, called=4)
        right = _layers.MaxPooling2D(3, 2, name=f"reduction_right5_{name}")(wider)
        parts = [second, third, fourth, added("4", left, right)]
        return _layers.Concatenate(name=f"reduction_concat_{name}")(parts)


def _adjusted(x, before, filters, name):
    """Return what was before `x` with its sides and a number of channels."""
    if before is None:
        return x
    halved = before.shape[2] != x.shape[2]
    if not halved and before.shape[3] == filters:
        return before
    kind = "reduction" if halved else "projection"
    with _name_scope("adjust_block"), _name_scope(f"adjust_{kind}_block_{name}"):
        if halved:
            before = _relu(name=f"adjust_relu_1_{name}")(before)
            halves = [_every_second(before, filters // 2, 1, name)]
            moved = _layers.ZeroPadding2D(((0, 1), (0, 1)))(before)
            moved = _layers.Cropping2D(((1, 0), (1, 0)))(moved)
            halves.append(_every_second(moved, filters // 2, 2, name))
            before = _layers.Concatenate()(halves)
        else:
            called = f"adjust_conv_projection_{name}"
            before = _pointwise(filters, name=called)(_relu()(before))
        return _normalized(before, f"adjust_bn_{name}")


def _every_second(x, filters, number, name):
    x = _layers.AveragePooling2D(1, 2, name=f"adjust_avg_pool_{number}_{name}")(x)
    return _pointwise(filters, name=f"adjust_conv_{number}_{name}")(x)


def _projected(x, filters, kind, name):
    x = _pointwise(filters, name=f"{kind}_conv_1_{name}")(_relu()(x))
    return _normalized(x, f"{kind}_bn_1_{name}")


def _separable(x, filters, kernel, name, stride=1):
    """Return two separable convolutions, the first of which may move by two."""
    padding = "same"
    with _name_scope(f"separable_conv_block_{name}"):
        x = _relu()(x)
        if stride == 2:
            x, padding = _padded(x, kernel, f"separable_conv_1_pad_{name}"), "valid"
        called = f"separable_conv_1_{name}"
        x = _separated(filters, kernel, stride, padding, name=called)(x)
        x = _relu()(_normalized(x, f"separable_conv_1_bn_{name}"))
        called = f"separable_conv_2_{name}"
        x = _separated(filters, kernel, padding="same", name=called)(x)
        return _normalized(x, f"separable_conv_2_bn_{name}")


_sized = _functools.partial(
    _variant,
    "NASNet{}",
    "nasnet_{small}",
    _nasnet,
    arguments=_arguments,
    summary="NASNet, the {small} one.",
    source="Zoph et al., 2018 (https://arxiv.org/abs/1707.07012)",
)
# Filters of what the last cell makes, cells in each of three groups, filters of the
# first convolution, whether cells after a reduction see what was before it.
NASNetMobile = _sized("Mobile", 1056, 4, 32, False, channels=1056)
NASNetLarge = _sized("Large", 4032, 6, 96, True, side=331)
