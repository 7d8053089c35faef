"""Private functions and classes of Keras that packages call."""

import os
import shutil
import string
import sys
from pathlib import Path

import lamina
from lamina.saving import hdf5
from lamina.saving.legacy_hdf5 import put_weights

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
    with hdf5.opened(Path(group.file.filename)) as weights:
        put_weights(model, weights, by_name, skip_mismatch)


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
            from lamina.compat.private import class_weight_to_sample_weights

            weights = class_weight_to_sample_weights(batch[1], self.class_weight)
            batch = (*batch, weights)
        return batch

    def on_epoch_begin(self):
        """Tell the data set that an epoch begins."""
        self.py_dataset.on_epoch_begin()

    def on_epoch_end(self):
        """Tell the data set that an epoch ended."""
        self.py_dataset.on_epoch_end()


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
