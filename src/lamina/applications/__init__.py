"""Architectures that won prizes and habits, with the weights published for them.

    model = lamina.applications.ResNet50()  # 1000 classes of ImageNet
    base = lamina.applications.MobileNetV2(include_top=False, pooling="avg")

Each family has a module with what its images need before (`preprocess_input`) and what
its answers are called (`decode_predictions`). Everything is loaded on first use.
"""

import importlib

from lamina._imports import missing

_FAMILIES = {
    "convnext": ("ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtTiny",
                 "ConvNeXtXLarge"),
    "densenet": ("DenseNet121", "DenseNet169", "DenseNet201"),
    "efficientnet": ("EfficientNetB0", "EfficientNetB1", "EfficientNetB2",
                     "EfficientNetB3", "EfficientNetB4", "EfficientNetB5",
                     "EfficientNetB6", "EfficientNetB7"),
    "efficientnet_v2": ("EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2",
                        "EfficientNetV2B3", "EfficientNetV2L", "EfficientNetV2M",
                        "EfficientNetV2S"),
    "imagenet_utils": (),
    "inception_resnet_v2": ("InceptionResNetV2",),
    "inception_v3": ("InceptionV3",),
    "mobilenet": ("MobileNet",),
    "mobilenet_v2": ("MobileNetV2",),
    "mobilenet_v3": ("MobileNetV3Large", "MobileNetV3Small"),
    "nasnet": ("NASNetLarge", "NASNetMobile"),
    "resnet": ("ResNet101", "ResNet152", "ResNet50"),
    "resnet50": (),
    "resnet_v2": ("ResNet101V2", "ResNet152V2", "ResNet50V2"),
    "vgg16": ("VGG16",),
    "vgg19": ("VGG19",),
    "xception": ("Xception",),
}  # fmt: skip
_HOMES = {name: family for family, names in _FAMILIES.items() for name in names}

__all__ = [*_FAMILIES, *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name):
    if name not in __all__:
        raise missing(__name__, name)
    module = importlib.import_module(f"lamina.applications.{_HOMES.get(name, name)}")
    return module if name in _FAMILIES else getattr(module, name)


def __dir__():
    return sorted({*globals(), *__all__})
