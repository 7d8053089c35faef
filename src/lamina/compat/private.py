"""What programs take from `keras.src`, and what only TensorFlow's Keras has.

A name of `keras.src` is first looked for in the public namespaces.
"""

import contextlib
import functools
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import lamina

# In this order; what a name means in `keras.src` is mostly said by one of them.
_NAMESPACES = (
    "", "layers", "ops", "backend", "models", "losses", "metrics", "optimizers",
    "optimizers.schedules", "callbacks", "initializers", "regularizers", "constraints",
    "activations", "random", "saving", "utils", "tree", "dtype_policies", "quantizers",
    "export", "config", "ops.image", "ops.nn", "ops.numpy", "ops.linalg", "datasets",
    "applications", "preprocessing.image", "preprocessing.sequence", "distillation",
    "distribution", "utils.bounding_boxes", "legacy.saving", "visualization",
    "wrappers", "ops.core", "ops.math",
)  # fmt: skip


@functools.cache
def _text(path):
    """Return the text that has the names of a namespace."""
    home = Path(lamina.__file__).parent.joinpath(*path.split("."))
    files = home.with_suffix(".py"), home / "__init__.py", home / "__init__.pyi"
    return "".join(file.read_text("utf-8") for file in files if file.exists())


def find(name: str, path: str = "") -> Any:
    """Return what `name` means in a module of `keras.src`.

    Args:
        name: the name.
        path: that of the module. A name that several namespaces have, such as
            `subtract`, is that of the one whose name the path holds; the modules of
            an engine (`backend.jax.numpy`) have operations, those of `ops` a class for
            each.

    Raises:
        AttributeError: neither Lamina's namespaces nor the table have it.
    """
    words = path.split(".")
    if (
        words[:2] == ["src", "ops"] and name[:1].isupper()
    ):  # before layers of the same name
        made = importlib.import_module("lamina.compat.operations")
        if (found := made.operation_class(f"keras.{path}", name)) is not None:
            return found
    for key in (*(f"{word}.{name}" for word in words), name):
        if key in _TABLE:
            home, own = _TABLE[key]
            return getattr(importlib.import_module(f"lamina.{home}"), own)
    first = {"random"} & {*words} or ({"ops"} if "backend" in words else {*words})
    spaces: list[str] = sorted(_NAMESPACES, key=lambda one: one not in first)
    if "applications" in words:  # each has functions of the same names
        spaces.insert(0, path.removeprefix("src."))
    for space in spaces:
        module = f"lamina.{space}".rstrip(".")
        if module not in sys.modules and name not in _text(space):
            continue  # to import it takes a while: other packages come with some
        value = getattr(importlib.import_module(module), name, None)
        if value is not None and not isinstance(value, ModuleType):
            return value
    for old in (*_LEGACY, "losses", "backend"):
        if name in legacy(old):
            return legacy(old)[name]
    raise AttributeError("Of `keras.src` there are the public names, and few others.")


def keras_export(path):
    """Return a decorator that leaves what it decorates as it is."""
    del path
    return lambda thing: thing


def no_automatic_dependency_tracking(method):
    """Return the method: what an attribute holds is told by its class here."""
    return method


def standardize_tuple(value, n, name, allow_zero=False):
    """Return `n` whole numbers, one of them standing for all."""
    values = (value,) * n if isinstance(value, int) else tuple(value)
    least = 0 if allow_zero else 1
    if len(values) != n or any(int(v) != v or v < least for v in values):
        raise ValueError(
            f"`{name}` expected {n} whole numbers, {least} or more. Received: "
            f"{name}={value!r}"
        )
    return values


def obtain_input_shape(
    input_shape, default_size, min_size, data_format, require_flatten, weights=None
):
    """Return the shape of images that an application takes."""
    channels = 3
    if weights != "imagenet" and input_shape is not None and len(input_shape) == 3:
        channels = input_shape[0 if data_format == "channels_first" else -1]
    sides = (default_size,) * 2 if require_flatten else (None, None)
    if input_shape is None:
        return (channels, *sides) if data_format == "channels_first" else (*sides, 3)
    spatial = input_shape[1:] if data_format == "channels_first" else input_shape[:-1]
    if any(side is not None and side < min_size for side in spatial):
        raise ValueError(
            f"Input size must be at least {min_size}x{min_size}. Received: "
            f"input_shape={input_shape}"
        )
    return tuple(input_shape)


class LazyModule:
    """A module that is imported when something of it is asked for."""

    def __init__(self, name, pip_name=None, import_error_msg=None):
        self._name, self._text = name, import_error_msg
        self._pip = pip_name or name

    @property
    def available(self) -> bool:
        """Whether it can be imported."""
        with contextlib.suppress(ImportError):
            importlib.import_module(self._name)
            return True
        return False

    def __getattr__(self, name):
        try:
            return getattr(importlib.import_module(self._name), name)
        except ImportError as error:
            if name.startswith("__"):  # what inspects objects asks for these
                raise AttributeError(name) from error
            text = self._text or f"This needs the package {self._pip}."
            raise ImportError(text) from error


class SafeModeScope:
    """Says whether functions in files may run: here they never do."""

    def __init__(self, safe_mode=True):
        self.safe_mode = safe_mode

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


class H5IOStore:
    """A file of arrays: a group of them at each path."""

    def __init__(self, path_or_io, mode="r"):
        self._file = importlib.import_module("h5py").File(path_or_io, mode)

    def make(self, path, metadata=None):
        """Return a new group to put arrays into."""
        group = self._file.require_group(path).create_group("vars")
        group.attrs.update(metadata or {})
        return group

    def get(self, path):
        """Return the arrays at a path by their names."""
        return self._file[f"{path}/vars"]

    def close(self):
        """Write what is left to be written."""
        self._file.close()


def class_weight_to_sample_weights(y, class_weight):
    """Return a weight for each row of labels, whole numbers or one-hot rows."""
    np = importlib.import_module("numpy")
    labels = np.asarray(y)
    if labels.ndim > 1:
        labels = labels.argmax(-1) if labels.shape[-1] > 1 else labels[..., 0]
    weights = [class_weight.get(int(label), 1.0) for label in np.round(labels)]
    return np.array(weights, lamina.config.floatx())


def any_symbolic_tensors(args=None, kwargs=None):
    """Tell whether a tensor of a drawn graph is among arguments."""
    symbolic = importlib.import_module("lamina.core.symbolic")
    return symbolic.any_symbolic(args or (), kwargs or {})


def in_safe_mode():
    """Tell whether what a file holds may run: None where no file is read."""
    return importlib.import_module("lamina.core.context").context.configs.safe_mode


def in_symbolic_scope():
    """Tell whether shapes alone are computed."""
    return importlib.import_module("lamina.core.context").context.runs("symbolic")


def never():
    """Return False."""
    return False


class Reduction:
    """How losses are summed up, by the names that TensorFlow's Keras has for it."""

    AUTO = SUM_OVER_BATCH_SIZE = "sum_over_batch_size"
    NONE, SUM = "none", "sum"


# What packages take that no public namespace has, and where it is. Of a name that has
# another meaning elsewhere, the word before it is one of the module's.
_HOMES = {
    "compat.bases": "BaseConv BaseConvTranspose BaseDepthwiseConv BaseSeparableConv",
    "compat.internals": (
        "PyDatasetAdapter _analyze_einsum_string _build_attention_equation "
        "_build_proj_equation get_keras_tensor_spec get_tensor_spec "
        "load_weights_from_hdf5_group load_weights_from_hdf5_group_by_name"
    ),
    "compat.operations": "compute_conv_output_shape compute_pooling_output_shape",
    "compat.private": (
        "H5IOStore LazyModule Reduction SafeModeScope any_symbolic_tensors "
        "class_weight_to_sample_weights in_safe_mode in_symbolic_scope keras_export "
        "no_automatic_dependency_tracking obtain_input_shape standardize_tuple"
    ),
    "compat.testing": "TestCase named_product",
    "callbacks.monitor": "MonitorCallback",
    "core.random": "global_seed_generator",
    "core.settings": "standardize_data_format",
    "core.symbolic": "Node standardize_shape",
    "layers.preprocessing.data_layer": "DataLayer",
    "layers.preprocessing.image_layer": "BaseImagePreprocessingLayer",
    "losses.loss": "LossFunctionWrapper",
}
_OF_FILES = (
    "File copy exists is_remote_path isdir join listdir makedirs path_to_string remove "
    "rmtree"
)
_TABLE = {
    "BaseAdaptivePooling": ("layers.pooling", "AdaptivePool"),
    "BaseGlobalPooling": ("layers.pooling", "GlobalPool"),
    "BaseOptimizer": ("optimizers", "Optimizer"),
    "BasePooling": ("layers.pooling", "Pool"),
    "DropoutRNNCell": ("layers.recurrent.cells", "DropoutMasks"),
    "KerasVariable": ("core.variable", "Variable"),
    "Merge": ("layers.merging", "Merge"),
    "TFDataLayer": ("layers.preprocessing.data_layer", "DataLayer"),
    "compute_output_spec": ("core.symbolic", "infer"),
    "get_keras_mask": ("core.masks", "get_mask"),
    "in_grain_data_pipeline": ("compat.private", "never"),
    "in_tf_graph": ("compat.private", "never"),
    "jax_draw_seed": ("core.random", "draw_seed"),
    "set_keras_mask": ("core.masks", "set_mask"),
    "tensorflow": ("compat.private", "_tensorflow"),
    "torch.convert_to_numpy": ("compat.pytorch", "convert_to_numpy"),
    "torch.convert_to_tensor": ("compat.pytorch", "convert_to_tensor"),
    "torch.to_torch_dtype": ("compat.pytorch", "to_torch_dtype"),
    **{name: (home, name) for home, names in _HOMES.items() for name in names.split()},
    **{f"file_utils.{name}": ("compat.internals", name) for name in _OF_FILES.split()},
}
_tensorflow = LazyModule("tensorflow")

# Where the names of modules of Keras 2 are now.
OLD_MODULES = {
    "engine": "layers",
    **{
        f"engine.{name}": "layers"
        for name in ("base_layer", "input_layer", "input_spec", "topology")
    },
    **{
        f"engine.{name}": "models"
        for name in ("functional", "network", "sequential", "training")
    },
    "layers.experimental": "layers",
    "layers.experimental.preprocessing": "layers",
    "optimizers.experimental": "optimizers",
    **{
        f"utils.{name}_utils": "utils"
        for name in ("conv", "data", "generic", "image", "io", "layer", "np", "vis")
    },
    **{
        f"layers.{name}": "layers"
        for name in (
            "advanced_activations", "convolutional", "core", "embeddings", "merge",
            "noise", "normalization", "pooling", "recurrent", "wrappers",
        )
    },
}  # fmt: skip

# Losses that TensorFlow's Keras has under other names as well, also as metrics.
_LOSSES = {
    "kld": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence",
    "logcosh": "log_cosh",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
}


# Modules with some names in `lamina.legacy`.
_LEGACY = (
    "layers", "preprocessing.image", "preprocessing.sequence", "preprocessing.text",
)  # fmt: skip


@functools.cache
def legacy(path) -> dict[str, Any]:
    """Return what TensorFlow's Keras has in a module, and Keras 3 has not."""
    if path == "backend":
        return importlib.import_module("lamina.compat.backend").names()
    if path in ("losses", "metrics"):
        found = {name: getattr(lamina.losses, long) for name, long in _LOSSES.items()}
        short = {name.upper(): found[name] for name in found if len(name) < 5}
        return found | short | {"Reduction": Reduction}
    if path in _LEGACY:
        module = importlib.import_module(f"lamina.legacy.{path}")
        return {name: getattr(module, name) for name in module.__all__}
    return {}
