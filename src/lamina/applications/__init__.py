"""Architectures that won prizes and habits, with the weights published for them.

    model = lamina.applications.ResNet50()  # 1000 classes of ImageNet
    base = lamina.applications.MobileNetV2(include_top=False, pooling="avg")

Each family has a module with what its images need before (`preprocess_input`) and what
its answers are called (`decode_predictions`). Everything is loaded on first use.
"""

from lamina._imports import lazy as _lazy

__getattr__, __dir__, __all__ = _lazy(__name__)
