"""VGG with 19 layers of weights."""

from lamina.applications.building import variant
from lamina.applications.imagenet_utils import decode_predictions, preprocessing
from lamina.applications.vgg16 import SOURCE, vgg

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing("caffe", __name__)

VGG19 = variant(
    "VGG19",
    "vgg19",
    vgg,
    (2, 2, 4, 4, 4),
    source=SOURCE,
    summary="VGG19: sixteen convolutions and three dense layers.",
    module=__name__,
)
