"""VGG with 16 layers of weights."""

import functools as _functools

from lamina import layers as _layers
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions

__all__ = ["VGG16", "decode_predictions", "preprocess_input"]

preprocess_input = _preprocessing("caffe", __name__)


def _vgg(plan, counts):
    x = plan.start(f"{plan.own}/{plan.own}_weights_tf_dim_ordering_tf_kernels")
    convolution = _functools.partial(_layers.Conv2D, padding="same", activation="relu")
    for block, count in enumerate(counts, 1):
        filters = min(32 * 2**block, 512)
        for i in range(1, count + 1):
            x = convolution(filters, 3, name=f"block{block}_conv{i}")(x)
        x = _layers.MaxPooling2D(2, 2, name=f"block{block}_pool")(x)
    if plan.top:
        x = _layers.Flatten(name="flatten")(x)
        x = _layers.Dense(4096, "relu", name="fc1")(x)
        x = _layers.Dense(4096, "relu", name="fc2")(x)
        x = plan.classified(x)
    return plan.finished(x)


_sized = _functools.partial(
    _variant,
    "VGG{}",
    "vgg{}",
    _vgg,
    source="Simonyan and Zisserman, 2015 (https://arxiv.org/abs/1409.1556)",
)
VGG16 = _sized(
    16,
    (2, 2, 3, 3, 3),
    channels=512,
    summary="VGG16: thirteen convolutions and three dense layers.",
)
