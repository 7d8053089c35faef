"""VGG with 16 layers of weights."""

from lamina import layers as _layers
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions

__all__ = ["VGG16", "decode_predictions", "preprocess_input"]

preprocess_input = _preprocessing("caffe", __name__)


def _vgg(plan, sizes):
    """Build a VGG: `sizes` says how many convolutions each of its blocks has."""
    x = plan.start(f"{plan.own}/{plan.own}_weights_tf_dim_ordering_tf_kernels{{}}.h5")
    for block, count in enumerate(sizes, 1):
        for i in range(1, count + 1):
            x = _layers.Conv2D(
                min(32 * 2**block, 512),
                3,
                padding="same",
                activation="relu",
                name=f"block{block}_conv{i}",
            )(x)
        x = _layers.MaxPooling2D(2, 2, name=f"block{block}_pool")(x)
    if plan.top:
        x = _layers.Flatten(name="flatten")(x)
        x = _layers.Dense(4096, "relu", name="fc1")(x)
        x = _layers.Dense(4096, "relu", name="fc2")(x)
        x = plan.classified(x)
    return plan.finished(x)


_SOURCE = "Simonyan and Zisserman, 2015 (https://arxiv.org/abs/1409.1556)"
VGG16 = _variant(
    "VGG16",
    "vgg16",
    _vgg,
    (2, 2, 3, 3, 3),
    source=_SOURCE,
    channels=512,
    summary="VGG16: thirteen convolutions and three dense layers.",
)
