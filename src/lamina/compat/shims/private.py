"""Private functions and classes of Keras that packages call."""

import contextlib
import importlib
import itertools
import json
import logging
import os
import shutil
import string
import sys
import zipfile
from pathlib import Path

import lamina
from lamina.data import open_source, pack, unpack


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


def unpickled(cls, file):
    """Return what Keras has pickled: an object of a class, as a `.keras` file."""
    custom = {cls.__name__: cls}
    if issubclass(cls, (lamina.Layer, lamina.optimizers.Optimizer)):
        return lamina.saving.load_model(file, custom)
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json"))
    return lamina.saving.deserialize_keras_object(config, custom)


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


def in_stateless_scope():
    """Tell whether Variables stand for values that they are given."""
    return bool(importlib.import_module("lamina.core.context").context.frames)


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


tensorflow, dmtree, gfile, grain, h5py, jax, ocp, optree, scipy = map(
    LazyModule,
    "tensorflow tree tensorflow.io.gfile grain h5py jax orbax.checkpoint optree "
    "scipy".split(),
)  # fmt: skip
# Attributes that are not to be tracked, and those that are: here they are as they are.
DotNotTrackScope = contextlib.nullcontext
TrackedDict, TrackedList, TrackedSet = dict, list, set
NUM_BATCHES_FOR_TENSOR_SPEC = 2


def auto_name(prefix):
    """Return a name that no other has, from that of a class."""
    naming = importlib.import_module("lamina.core.naming")
    return naming.automatic_name(naming.snake_case(prefix))


def print_msg(message, line_break=True):
    """Print a text, or log it where training does not print."""
    if lamina.config.is_interactive_logging_enabled():
        print(message, end="\n" if line_break else "", flush=True)
    else:
        logging.getLogger("absl").info(message)


def to_list(x):
    """Return a list, with one entry of what is none."""
    return x if isinstance(x, list) else [x]


def confusion_matrix(labels, predictions, num_classes, weights=None, dtype="int32"):
    """Return how often, or with which weight, a class was taken for another."""
    ops = lamina.ops
    true, pred = (ops.cast(x, "int32") for x in (labels, predictions))
    given = ops.cast(1 if weights is None else weights, dtype)
    table = ops.zeros((num_classes, num_classes), dtype)
    return table.at[true, pred].add(given)


def load_attributes_from_hdf5_group(group, name):
    """Return the texts of an attribute, which may be written in parts."""
    parts = [name] if name in group.attrs else []
    if not parts:
        numbers = range(len(group.attrs))
        parts = [x for x in (f"{name}{i}" for i in numbers) if x in group.attrs]
    found = [text for part in parts for text in group.attrs[part]]
    return [text.decode() if hasattr(text, "decode") else text for text in found]


def _legacy_weights(layer):
    """Return the weights in the order of Keras 2."""
    return layer.trainable_weights + layer.non_trainable_weights


# `keras.src.utils.file_utils`.
File = open
exists, isdir, join = os.path.exists, os.path.isdir, os.path.join
listdir, makedirs, remove, path_to_string = os.listdir, os.makedirs, os.remove, str
copy, rmtree = shutil.copy, shutil.rmtree


def is_remote_path(filepath):
    """Tell whether a path is that of a store, as `gs://bucket/file`."""
    return "://" in str(filepath)


def load_weights_from_hdf5_group(group, model, skip_mismatch=False, by_name=False):
    """Put the weights of an open file of Keras 2 into a model, layer by layer.

    Raises:
        ValueError: the group is not the one of a file that has its weights.
    """
    if group.name not in ("/", "/model_weights"):
        raise ValueError(
            f"Weights are read from a file or its 'model_weights'. Received: {group!r}"
        )
    hdf5 = importlib.import_module("lamina.saving.hdf5")
    legacy = importlib.import_module("lamina.saving.legacy_hdf5")
    with hdf5.opened(Path(group.file.filename)) as weights:
        legacy.put_weights(model, weights, by_name, skip_mismatch)


def load_weights_from_hdf5_group_by_name(group, model, skip_mismatch=False):
    """Put weights into the layers of their names."""
    load_weights_from_hdf5_group(group, model, skip_mismatch, by_name=True)


def get_keras_tensor_spec(batches):
    """Return symbolic tensors for what batches have in common: None where they vary."""

    def merged(*arrays):
        sizes = zip(*(x.shape for x in arrays), strict=True)
        shape = [some[0] if len({*some}) == 1 else None for some in sizes]
        return lamina.KerasTensor(shape, str(arrays[0].dtype))

    return lamina.tree.map_structure(merged, *batches, none_is_leaf=False)


def get_tensor_spec(batches):
    """Return what batches have in common as TensorFlow says it, for any batch size."""
    import tensorflow as tf

    def spec(x):
        return tf.TensorSpec((None, *x.shape[1:]), x.dtype)

    return lamina.tree.map_structure(spec, get_keras_tensor_spec(batches))


class PyDatasetAdapter:
    """The batches of a `PyDataset`, as training takes them in Keras."""

    batch_size = None

    def __init__(self, x, class_weight=None, shuffle=False):
        self.py_dataset, self.class_weight, self.shuffle = x, class_weight, shuffle

    @property
    def num_batches(self):
        """The number of batches in an epoch; None where they do not end."""
        return self.py_dataset.num_batches

    def get_numpy_iterator(self):
        """Yield the batches of an epoch."""
        import numpy as np

        count = self.num_batches
        rows = range(sys.maxsize if count is None else count)
        for i in np.random.permutation(count) if self.shuffle and count else rows:
            yield self._standardize_batch(self.py_dataset[int(i)])

    get_jax_iterator = get_numpy_iterator

    def get_tf_dataset(self):
        """Return the batches as a data set of TensorFlow."""
        import tensorflow as tf

        known = range(min(2, self.num_batches or 2))
        batches = [self._standardize_batch(self.py_dataset[i]) for i in known]
        return tf.data.Dataset.from_generator(
            self.get_numpy_iterator, output_signature=get_tensor_spec(batches)
        )

    def _standardize_batch(self, batch):
        if isinstance(batch, dict):
            return batch
        batch = tuple(batch) if isinstance(batch, (list, tuple)) else (batch,)
        if self.class_weight is not None and len(batch) == 2:
            weights = class_weight_to_sample_weights(batch[1], self.class_weight)
            batch = (*batch, weights)
        return batch

    def on_epoch_begin(self):
        """Tell the data set that an epoch begins."""
        self.py_dataset.on_epoch_begin()

    def on_epoch_end(self):
        """Tell the data set that an epoch ended."""
        self.py_dataset.on_epoch_end()


class EpochIterator:
    """The batches of epochs, as a `fit` of one's own takes them in Keras.

    Args:
        x: arrays or frames in any structure, or something that yields batches.
        y: targets, likewise; not with something that yields batches.
        sample_weight: weights, likewise.
        batch_size: rows in one batch; 32 when None.
        steps_per_epoch: batches in one epoch; None means all there are.
        shuffle: whether rows come in a new order each epoch.
        class_weight: weights by class, for rows that have none.
        steps_per_execution: how many batches come together.
    """

    def __init__(
        self, x, y=None, sample_weight=None, batch_size=None, steps_per_epoch=None,
        shuffle=False, class_weight=None, steps_per_execution=1,
    ):  # fmt: skip
        self.steps_per_epoch = steps_per_epoch
        self.steps_per_execution = steps_per_execution
        self._class_weight, self._given = class_weight, (x, y, sample_weight)
        self._settings = {
            "batch_size": batch_size, "shuffle": shuffle, "steps": steps_per_epoch,
        }  # fmt: skip
        self.reset()

    def reset(self):
        """Begin at the first batch again."""
        self._source = open_source(*self._given, **self._settings)

    @property
    def num_batches(self):
        """The number of batches in an epoch; None where that is not known."""
        return self.steps_per_epoch or self._source.batches

    def _batches(self):
        for batch in self._source.epoch():
            x, y, weights = unpack(batch)
            if weights is None and self._class_weight is not None:
                weights = class_weight_to_sample_weights(y, self._class_weight)
            yield pack(x, y, weights)

    def __iter__(self):
        every, begin, size = self._batches(), 0, self.steps_per_execution
        while batches := [*itertools.islice(every, size)]:
            yield begin, begin + size - 1, batches
            begin += size

    enumerate_epoch = __iter__


def _build_proj_equation(free_dims, bound_dims, output_dims):
    """Return the equation of a projection, the letters of its bias, and its rank."""
    letters, ends = string.ascii_lowercase, free_dims + bound_dims
    free, bound = letters[:free_dims], letters[free_dims:ends]
    made = letters[ends : ends + output_dims]
    return f"{free}{bound},{bound}{made}->{free}{made}", made, free_dims + output_dims


def _build_attention_equation(rank, attn_axes):
    """Return the equations of scores and of what they weigh, and the scores' rank."""
    query, more = string.ascii_lowercase[:rank], iter(string.ascii_lowercase[rank:])
    key = "".join(next(more) if i in attn_axes else query[i] for i in range(rank))
    kept = [c for i, c in enumerate(query[:-1]) if i not in attn_axes]
    scores = "".join([*kept, *(x[i] for x in (query, key) for i in attn_axes)])
    return f"{key},{query}->{scores}", f"{scores},{key}->{query}", len(scores)


def _analyze_einsum_string(equation, bias_axes, input_shape, output_shape):
    """Return the shapes of kernel, bias and output, and the axes of the kernel.

    The axes are those that are summed over, and those of the output.
    """
    plain = equation.replace("0", "...")
    layer = lamina.layers.EinsumDense(plain, output_shape, bias_axes=bias_axes)
    layer.build(input_shape)
    _, kernel, outputs = plain.replace("->", ",").split(",")
    axes = [[], []]
    for i, letter in enumerate(kernel):
        axes[letter in outputs].append(i)
    bias = None if layer.bias is None else list(layer.bias.shape)
    output = list(layer.compute_output_shape(input_shape))
    return list(layer.kernel.shape), bias, output, *axes


def _analyze_quantization_info(equation, input_shape):
    """Return the summed axes of input and kernel, and the equation of the gradient.

    Keras' tuple has ten entries: those that say how scales are moved are None here.
    """
    free = len(input_shape) - len(equation.partition(",")[0].replace("...", ""))
    letters = string.ascii_uppercase[:free][::-1]
    equation = equation.replace("...", letters).replace(" ", "")
    taken, output = equation.split("->")
    taken, kernel = taken.split(",")
    summed = [
        [i for i, x in enumerate(of) if x not in output] for of in (taken, kernel)
    ]
    return *summed, *[None] * 6, f"{output},{kernel}->{taken}", None


def correct_pad(inputs, kernel_size):
    """Return the zeros around images with which "valid" strides of 2 end as "same"."""
    axis = 2 if lamina.config.image_data_format() == "channels_first" else 1
    sizes = inputs.shape[axis : axis + 2]
    kernel = standardize_tuple(kernel_size, 2, "kernel_size")
    even = [1 if size is None else 1 - size % 2 for size in sizes]
    return tuple((k // 2 - e, k // 2) for k, e in zip(kernel, even, strict=True))
