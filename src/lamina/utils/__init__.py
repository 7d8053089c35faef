"""Helpers around models: data, seeds, names, files of images, logging."""

import importlib

from lamina.config import (
    disable_interactive_logging,
    enable_interactive_logging,
    is_interactive_logging_enabled,
)
from lamina.core.config import deserialize_keras_object, serialize_keras_object
from lamina.core.dtypes import standardize_dtype
from lamina.core.random import set_random_seed
from lamina.core.registry import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from lamina.core.symbolic import is_symbolic as is_keras_tensor
from lamina.data.arrays import pack as pack_x_y_sample_weight
from lamina.data.arrays import unpack as unpack_x_y_sample_weight
from lamina.utils.arrays import (
    get_source_inputs,
    normalize,
    pad_sequences,
    to_categorical,
)
from lamina.utils.configuration import Config
from lamina.utils.images import array_to_img, img_to_array, load_img, save_img
from lamina.utils.session import clear_session

# What other rooms define; loaded when asked for, so that utils stays light.
_ELSEWHERE = {
    "Progbar": "lamina.training.progress",
    "model_to_dot": "lamina.utils.dot",
    "plot_model": "lamina.utils.plot",
}

__all__ = [
    "Config", "CustomObjectScope", "array_to_img", "clear_session",
    "custom_object_scope", "deserialize_keras_object", "disable_interactive_logging",
    "enable_interactive_logging", "get_custom_objects", "get_registered_name",
    "get_registered_object", "get_source_inputs", "img_to_array",
    "is_interactive_logging_enabled", "is_keras_tensor", "load_img", "model_to_dot",
    "normalize", "pack_x_y_sample_weight", "pad_sequences", "plot_model",
    "register_keras_serializable", "save_img", "serialize_keras_object",
    "set_random_seed", "standardize_dtype", "to_categorical",
    "unpack_x_y_sample_weight",
]  # fmt: skip


def __getattr__(name):
    if name not in _ELSEWHERE:
        raise AttributeError(f"module 'lamina.utils' has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE[name]), name)
