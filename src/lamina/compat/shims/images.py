"""Keras' bases of layers of data and images, as the layers of packages use them."""

import abc
import importlib
from typing import Any

import numpy as np

from lamina.layers.preprocessing import color, data_layer, image_layer


class _Backend:
    """Keras' engine, which a layer asks for operations on what it is given."""

    name = _backend = "jax"

    def __getattr__(self, name):
        return getattr(importlib.import_module("keras.src.backend"), name)


class _Base(abc.ABCMeta):
    """The class of a base of which Lamina's own layers count as subclasses, too."""

    def __subclasscheck__(cls, other):
        own = cls.__dict__.get("_of")
        return super().__subclasscheck__(other) or bool(own and issubclass(other, own))


class DataLayer(data_layer.DataLayer, metaclass=_Base):
    """The base of layers that prepare data."""

    _of = data_layer.DataLayer
    backend = _Backend()
    generator: Any = None

    def _get_seed_generator(self, backend=None):
        del backend  # Keras has a generator for each
        return self.generator


class BaseImagePreprocessingLayer(image_layer.BaseImagePreprocessingLayer, DataLayer):
    """The base of layers that change images; without a `factor` it is 0."""

    _of = image_layer.BaseImagePreprocessingLayer
    _USE_BASE_FACTOR = True

    def __init__(
        self, factor=None, bounding_box_format=None, data_format=None, **kwargs
    ):
        if factor is None and self._USE_BASE_FACTOR:
            factor = 0.0
        super().__init__(factor, bounding_box_format, data_format, **kwargs)

    def get_config(self):
        """Return the constructor's arguments, without a `factor` that it computes."""
        config = super().get_config()
        for name in {"factor", "seed"}.difference(self._given_arguments()):
            config.pop(name, None)
        return config

    def _is_batched(self, images):
        return np.ndim(images) == 4

    def _transform_value_range(
        self, images, original_range, target_range, dtype="float32"
    ):
        images = self.backend.cast(images, dtype)
        return color.rescale(images, original_range, target_range)
