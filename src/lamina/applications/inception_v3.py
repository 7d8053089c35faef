"""Inception 3: blocks of branches that see an image at several scales."""

from typing import Any as _Any

from lamina import layers as _layers
from lamina.applications.blocks import channels_axis as _channels_axis
from lamina.applications.blocks import convolution as _convolution
from lamina.applications.blocks import normalized as _normalized
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions

__all__ = ["InceptionV3", "decode_predictions", "preprocess_input"]

preprocess_input = _preprocessing("tf", __name__)


def _convolved(x, filters, kernel: _Any = 1, stride=1, padding="same", name=None):
    """Return a convolution of `x`, normalized and cut off at zero."""
    bn, activation = (f"{name}_bn", f"{name}_ac") if name else (None, None)
    x = _convolution(filters, kernel, stride, padding, name=name)(x)
    x = _normalized(x, bn, scale=False)
    return _layers.Activation("relu", name=activation)(x)


def _branch(x, *convolutions):
    """Return `x` after convolutions one after the other.

    For each, the arguments of `convolved`; filters alone for a kernel of one pixel.
    """
    for arguments in convolutions:
        arguments = arguments if isinstance(arguments, tuple) else (arguments,)
        x = _convolved(x, *arguments)
    return x


def _stem(x):
    """Return what both Inceptions begin with: an image with its sides by eight."""
    x = _branch(x, (32, 3, 2, "valid"), (32, 3, 1, "valid"), (64, 3))
    x = _layers.MaxPooling2D(3, 2)(x)
    x = _branch(x, (80, 1, 1, "valid"), (192, 3, 1, "valid"))
    return _layers.MaxPooling2D(3, 2)(x)


def _mixed(x, *branches, name=None, averaged=None, largest=False):
    """Return branches side by side, each made of what `branch` takes.

    The last one may take the average of 3 x 3 pixels first, and make as many maps as
    `averaged` says, or only take the largest of them.
    """
    made = [_branch(x, *convolutions) for convolutions in branches]
    if averaged:
        mean = _layers.AveragePooling2D(3, 1, "same")(x)
        made.append(_convolved(mean, averaged))
    if largest:
        made.append(_layers.MaxPooling2D(3, 2)(x))
    return _joined(made, name)


def _joined(maps, name=None):
    """Return maps side by side, as channels."""
    return _layers.Concatenate(_channels_axis(), name=name)(maps)


def _inception(plan):
    x = _stem(plan.start(f"{plan.own}/{plan.own}_weights_tf_dim_ordering_tf_kernels"))
    for i, averaged in enumerate((32, 64, 64)):
        fine = (64, (96, 3), (96, 3))
        x = _mixed(x, (64,), (48, (64, 5)), fine, averaged=averaged, name=f"mixed{i}")
    shrunk = (64, (96, 3), (96, 3, 2, "valid"))
    x = _mixed(x, ((384, 3, 2, "valid"),), shrunk, largest=True, name="mixed3")
    wide, high = (1, 7), (7, 1)
    for i, few in enumerate((128, 160, 160, 192), 4):
        short = (few, (few, wide), (192, high))
        long = (few, (few, high), (few, wide), (few, high), (192, wide))
        x = _mixed(x, (192,), short, long, averaged=192, name=f"mixed{i}")
    short, long = (192, (320, 3, 2, "valid")), (192, (192, wide), (192, high))
    x = _mixed(x, short, (*long, (192, 3, 2, "valid")), largest=True, name="mixed8")
    for i in range(2):
        # Branches that end in wide and in high kernels side by side.
        first, ends = _convolved(x, 320), ((1, 3), (3, 1))
        short = _branch(x, 384)
        short = [_convolved(short, 384, kernel) for kernel in ends]
        short = _joined(short, f"mixed9_{i}")
        long = _branch(x, 448, (384, 3))
        long = _joined([_convolved(long, 384, kernel) for kernel in ends])
        mean = _convolved(_layers.AveragePooling2D(3, 1, "same")(x), 192)
        x = _joined([first, short, long, mean], f"mixed{9 + i}")
    return plan.averaged(x, "avg_pool")


InceptionV3 = _variant(
    "InceptionV3",
    "inception_v3",
    _inception,
    side=299,
    least=75,
    channels=2048,
    summary="Inception 3, of branches at several scales.",
    source="Szegedy et al., 2016 (https://arxiv.org/abs/1512.00567)",
)
