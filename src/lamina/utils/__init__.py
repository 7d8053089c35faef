"""Helpers around models: data, seeds, names, files of images, logging.

Everything is loaded on first use: a worker process of a `PyDataset` imports this,
and must not import JAX with it.
"""

import importlib

from lamina._imports import missing

# Where a name is defined; `module:name` where it has another name there.
_HOMES = {
    "Config": "utils.configuration",
    "CustomObjectScope": "core.registry",
    "FeatureSpace": "utils.feature_space",
    "Progbar": "training.progress",
    "PyDataset": "data.pydataset",
    "Sequence": "data.pydataset:PyDataset",
    "array_to_img": "utils.images",
    "audio_dataset_from_directory": "utils.datasets.audio",
    "bounding_boxes": "utils.bounding_boxes",
    "clear_session": "utils.session",
    "custom_object_scope": "core.registry",
    "deserialize_keras_object": "core.config",
    "disable_interactive_logging": "config",
    "enable_interactive_logging": "config",
    "get_custom_objects": "core.registry",
    "get_file": "utils.files",
    "get_registered_name": "core.registry",
    "get_registered_object": "core.registry",
    "get_source_inputs": "utils.arrays",
    "image_dataset_from_directory": "utils.datasets.image",
    "img_to_array": "utils.images",
    "is_interactive_logging_enabled": "config",
    "is_keras_tensor": "core.symbolic:is_symbolic",
    "legacy": "legacy:saving",
    "load_img": "utils.images",
    "model_to_dot": "utils.dot",
    "normalize": "utils.arrays",
    "pack_x_y_sample_weight": "data.arrays:pack",
    "pad_sequences": "utils.arrays",
    "plot_model": "utils.plot",
    "register_keras_serializable": "core.registry",
    "save_img": "utils.images",
    "serialize_keras_object": "core.config",
    "set_random_seed": "core.random",
    "split_dataset": "utils.datasets.split",
    "standardize_dtype": "core.dtypes",
    "text_dataset_from_directory": "utils.datasets.text",
    "timeseries_dataset_from_array": "utils.datasets.timeseries",
    "to_categorical": "utils.arrays",
    "unpack_x_y_sample_weight": "data.arrays:unpack",
}

__all__ = [*_HOMES]


def __getattr__(name):
    if name not in _HOMES:
        raise missing(__name__, name)
    home, _, attribute = _HOMES[name].partition(":")
    module = importlib.import_module(f"lamina.{home}")
    return module if home == f"utils.{name}" else getattr(module, attribute or name)


def __dir__():
    return sorted({*globals(), *__all__})
