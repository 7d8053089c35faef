"""Inception with residual blocks: each adds a little of what its branches see."""

from lamina import layers as _layers
from lamina.applications.blocks import channels_axis as _channels_axis
from lamina.applications.building import variant as _variant
from lamina.applications.imagenet_utils import _preprocessing, decode_predictions
from lamina.applications.inception_v3 import _convolved, _mixed, _stem
from lamina.applications.scaling import CustomScaleLayer as _CustomScaleLayer

__all__ = ["InceptionResNetV2", "decode_predictions", "preprocess_input"]

preprocess_input = _preprocessing("tf", __name__)

# Name, how many, the scale of what they add, branches.
_BLOCKS = (
    ("block35", 10, 0.17, ((32,), (32, (32, 3)), (32, (48, 3), (64, 3)))),
    ("block17", 20, 0.1, ((192,), (128, (160, (1, 7)), (192, (7, 1))))),
    ("block8", 9, 0.2, ((192,), (192, (224, (1, 3)), (256, (3, 1))))),
)
_WIDE = (384, 3, 2, "valid")
_SHRUNK = {
    "block35": ("mixed_6a", (_WIDE,), (256, (256, 3), _WIDE)),
    "block17": (
        "mixed_7a",
        (256, _WIDE),
        (256, (288, 3, 2, "valid")),
        (256, (288, 3), (320, 3, 2, "valid")),
    ),
}


def _inception_resnet(plan):
    x = _stem(plan.start(f"{plan.own}/{plan.own}_weights_tf_dim_ordering_tf_kernels"))
    fine = (64, (96, 3), (96, 3))
    x = _mixed(x, (96,), (48, (64, 5)), fine, averaged=64, name="mixed_5b")
    for kind, count, scale, branches in _BLOCKS:
        for i in range(1, count + 1):
            x = _added(x, f"{kind}_{i}", scale, branches)
            x = _layers.Activation("relu", name=f"{kind}_{i}_ac")(x)
        if kind in _SHRUNK:
            called, *shrunk = _SHRUNK[kind]
            x = _mixed(x, *shrunk, largest=True, name=called)
        else:
            x = _added(x, f"{kind}_{count + 1}", 1.0, branches)
    x = _convolved(x, 1536, name="conv_7b")
    return plan.averaged(x, "avg_pool")


def _added(x, name, scale, branches):
    seen = _mixed(x, *branches, name=f"{name}_mixed")
    channels = x.shape[_channels_axis()]
    seen = _layers.Conv2D(channels, 1, padding="same", name=f"{name}_conv")(seen)
    return _CustomScaleLayer(scale)([x, seen])


InceptionResNetV2 = _variant(
    "InceptionResNetV2",
    "inception_resnet_v2",
    _inception_resnet,
    side=299,
    least=75,
    summary="Inception with residual blocks.",
    source="Szegedy et al., 2017 (https://arxiv.org/abs/1602.07261)",
)
