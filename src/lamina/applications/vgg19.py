"""VGG with 19 layers of weights."""

from lamina.applications.imagenet_utils import _preprocessing, decode_predictions
from lamina.applications.vgg16 import _sized

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]

preprocess_input = _preprocessing("caffe", __name__)

VGG19 = _sized(
    19,
    (2, 2, 4, 4, 4),
    module=__name__,
    summary="VGG19: sixteen convolutions and three dense layers.",
)
