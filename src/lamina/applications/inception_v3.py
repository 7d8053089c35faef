"""Inception 3: blocks of branches that see an image at several scales."""

from typing import Any

from lamina import layers
from lamina.applications.building import channels_axis, variant
from lamina.applications.imagenet_utils import decode_predictions, preprocessing

__all__ = ["InceptionV3", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing("tf", __name__)


def convolved(x, filters, kernel: Any = 1, stride=1, padding="same", name=None):
    """Return a convolution of `x`, normalized and cut off at zero.

    Args:
        x: the maps.
        filters: how many maps to make.
        kernel: its side, or height and width.
        stride: how far it moves.
        padding: `"same"` or `"valid"`.
        name: the name of the convolution; None for automatic names.
    """
    bn, activation = (f"{name}_bn", f"{name}_ac") if name else (None, None)
    x = layers.Conv2D(filters, kernel, stride, padding, use_bias=False, name=name)(x)
    x = layers.BatchNormalization(channels_axis(), scale=False, name=bn)(x)
    return layers.Activation("relu", name=activation)(x)


def branch(x, *convolutions):
    """Return `x` after convolutions one after the other.

    Args:
        x: the maps.
        convolutions: the arguments of `convolved` for each; filters alone for a kernel
            of one pixel.
    """
    for arguments in convolutions:
        arguments = arguments if isinstance(arguments, tuple) else (arguments,)
        x = convolved(x, *arguments)
    return x


def stem(x):
    """Return what both Inceptions begin with: an image with its sides by eight."""
    x = branch(x, (32, 3, 2, "valid"), (32, 3, 1, "valid"), (64, 3))
    x = layers.MaxPooling2D(3, 2)(x)
    x = branch(x, (80, 1, 1, "valid"), (192, 3, 1, "valid"))
    return layers.MaxPooling2D(3, 2)(x)


def mixed(x, *branches, name=None, averaged=None, largest=False):
    """Return branches side by side.

    Args:
        x: the maps that each branch begins at.
        branches: what each is made of, as `branch` takes it.
        name: the name of the result.
        averaged: the filters of a last branch that averages first.
        largest: whether a last branch takes the largest of 3 x 3 pixels.
    """
    made = [branch(x, *convolutions) for convolutions in branches]
    if averaged:
        mean = layers.AveragePooling2D(3, 1, "same")(x)
        made.append(convolved(mean, averaged))
    if largest:
        made.append(layers.MaxPooling2D(3, 2)(x))
    return joined(made, name)


def joined(maps, name=None):
    """Return maps side by side, as channels."""
    return layers.Concatenate(channels_axis(), name=name)(maps)


def _inception(plan, sizes):
    path = "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels{}.h5"
    x = stem(plan.start(path))
    for i, averaged in enumerate((32, 64, 64)):
        fine = (64, (96, 3), (96, 3))
        x = mixed(x, (64,), (48, (64, 5)), fine, averaged=averaged, name=f"mixed{i}")
    shrunk = (64, (96, 3), (96, 3, 2, "valid"))
    x = mixed(x, ((384, 3, 2, "valid"),), shrunk, largest=True, name="mixed3")
    wide, high = (1, 7), (7, 1)
    for i, few in enumerate((128, 160, 160, 192), 4):
        short = (few, (few, wide), (192, high))
        long = (few, (few, high), (few, wide), (few, high), (192, wide))
        x = mixed(x, (192,), short, long, averaged=192, name=f"mixed{i}")
    x = mixed(
        x,
        (192, (320, 3, 2, "valid")),
        (192, (192, wide), (192, high), (192, 3, 2, "valid")),
        largest=True,
        name="mixed8",
    )
    for i in range(2):
        x = _spread(x, i)
    if plan.top:
        x = plan.classified(layers.GlobalAveragePooling2D(name="avg_pool")(x))
    return plan.finished(x)


def _spread(x, number):
    """Return branches that end in wide and in high kernels side by side."""
    first = convolved(x, 320)
    short = branch(x, 384)
    short = [convolved(short, 384, kernel) for kernel in ((1, 3), (3, 1))]
    short = joined(short, f"mixed9_{number}")
    long = branch(x, 448, (384, 3))
    long = joined([convolved(long, 384, kernel) for kernel in ((1, 3), (3, 1))])
    mean = convolved(layers.AveragePooling2D(3, 1, "same")(x), 192)
    return joined([first, short, long, mean], f"mixed{9 + number}")


InceptionV3 = variant(
    "InceptionV3",
    "inception_v3",
    _inception,
    side=299,
    least=75,
    channels=2048,
    summary="Inception 3, of branches at several scales.",
    source="Szegedy et al., 2016 (https://arxiv.org/abs/1512.00567)",
)
