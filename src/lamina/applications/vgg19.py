"""VGG with 19 layers of weights."""

from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions
from lamina.applications.vgg16 import _SOURCE, _vgg

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]

preprocess_input = _preprocessing("caffe", __name__)

VGG19 = _variant(
    "VGG19",
    "vgg19",
    _vgg,
    (2, 2, 4, 4, 4),
    source=_SOURCE,
    summary="VGG19: sixteen convolutions and three dense layers.",
    module=__name__,
)
