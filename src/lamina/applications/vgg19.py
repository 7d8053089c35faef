"""VGG with 19 layers of weights."""

from lamina.applications.imagenet_utils import decode_predictions, preprocessing
from lamina.applications.vgg16 import sized

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing("caffe", __name__)

VGG19 = sized(
    19,
    (2, 2, 4, 4, 4),
    module=__name__,
    summary="VGG19: sixteen convolutions and three dense layers.",
)
