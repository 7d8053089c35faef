"""`HashedCrossing`: one category for each combination of several."""

import numpy as np

from lamina.core.checks import one_of, positive_int
from lamina.core.symbolic import SymbolicTensor, infer
from lamina.kernels import hashing
from lamina.layers.preprocessing.data_layer import DataLayer
from lamina.layers.preprocessing.encoding import encode, refuse_sparse
from lamina.layers.preprocessing.host import as_bytes, run_on_host


class HashedCrossing(DataLayer):
    """Puts each combination of several features into one of `num_bins` bins.

    The features are text or integers, each of shape `()`, `(batch,)` or
    `(batch, 1)`; the bin is a hash of their hashes, that of
    `tf.sparse.cross_hashed`. It runs on the host: text needs it outside of compiled
    models, in the data; integers may be crossed anywhere.

    Args:
        num_bins: how many bins.
        output_mode: `"int"`, the bin, or `"one_hot"`, a vector.
        sparse: not supported; must be False.

    Raises:
        ValueError: an argument is out of range, or the features of a call differ in
            shape or are no text and no integers.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.HashedCrossing(num_bins=5)
    >>> layer((np.array(["A", "B", "A"]), np.array([101, 101, 102]))).tolist()
    [1, 4, 3]
    """

    rows_independent = True
    _takes_text = _reads_integers = True
    _lists_are_arrays = False

    def __init__(
        self, num_bins, output_mode="int", sparse=False, name=None, dtype=None, **kwargs
    ):
        if dtype is None and output_mode == "int":
            dtype = "int64"
        super().__init__(name=name, dtype=dtype, **kwargs)
        refuse_sparse("HashedCrossing", sparse)
        self.num_bins = positive_int("HashedCrossing", "num_bins", num_bins)
        self.output_mode = one_of(
            "HashedCrossing", "output_mode", output_mode, ("int", "one_hot")
        )
        self.sparse = sparse

    def call(self, inputs):
        _check_number(inputs)
        inputs = [x if hasattr(x, "shape") else np.asarray(x) for x in inputs]
        _check_shapes(inputs)
        _check_kinds(inputs)
        return self._encoded(run_on_host(self._bins, *inputs))

    def compute_output_spec(self, inputs):
        _check_number(inputs)
        _check_shapes(inputs)
        result = infer(self._encoded, SymbolicTensor(inputs[0].shape, "int32"))
        return SymbolicTensor(result.shape, self.dtype)

    def get_config(self):
        config = super().get_config()
        config.pop("trainable")
        return {**config, "dtype": self.dtype}

    def _encoded(self, bins):
        return encode(bins, self.output_mode, self.num_bins, self.compute_dtype)

    def _bins(self, *features):
        crossed = hashing.combined([_number(x) for x in features])
        return (crossed % np.uint64(self.num_bins)).astype("int32")


def _number(feature):
    if feature.dtype.kind in "OSU":
        return hashing.fingerprint(as_bytes(feature))
    return feature.astype("int64").astype("uint64")


def _check_number(inputs):
    if not isinstance(inputs, (list, tuple)):
        raise ValueError(
            "`HashedCrossing` should be called on a list or tuple of inputs. "
            f"Received: inputs={inputs}"
        )
    if len(inputs) < 2:
        raise ValueError(
            "`HashedCrossing` should be called on at least two inputs. "
            f"Received: inputs={inputs}"
        )


def _check_shapes(inputs):
    shapes = [tuple(x.shape) for x in inputs]
    if len(shapes[0]) > 2 or (len(shapes[0]) == 2 and shapes[0][-1] != 1):
        raise ValueError(
            "All `HashedCrossing` inputs should have shape `()`, `(batch_size)` or "
            f"`(batch_size, 1)`. Received: inputs={inputs}"
        )
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            "All `HashedCrossing` inputs should have equal shape. "
            f"Received: inputs={inputs}"
        )


def _check_kinds(inputs):
    if not all(x.dtype.kind in "iuOSU" for x in inputs):
        raise ValueError(
            "All `HashedCrossing` inputs should have an integer or string dtype. "
            f"Received: inputs={inputs}"
        )
