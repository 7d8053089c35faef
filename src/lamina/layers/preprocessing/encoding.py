"""Indices of categories as vectors: what every categorical layer ends with."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core.arguments import SharedArguments
from lamina.core.checks import bad_argument, number, one_of, positive_int
from lamina.core.symbolic import SymbolicTensor, infer
from lamina.core.variable import from_host
from lamina.kernels.categories import encode
from lamina.layers.preprocessing.data_layer import DataLayer
from lamina.layers.preprocessing.host import known

_OLD_MODES = {"binary": "multi_hot", "tf-idf": "tf_idf"}


class EncodingLayer(DataLayer):
    """Ends in indices of `_depth` categories, or in vectors made of them.

    Args:
        output_mode: one of {cls._MODES}:
            indices; a vector of each index (in place of a last axis of size 1); or
            a vector of each sample, with 1 for each category in it, its count, or its
            count times `idf_weights`.
        sparse: not supported; must be False.
        name: its name.
        dtype: the dtype of the result, an integer one for indices.

    Raises:
        ValueError: an argument is out of its range, or does not go with another.
    """

    rows_independent = True
    _reads_integers = True
    _MODES = ("int", "one_hot", "multi_hot", "count")
    _depth: Any
    _output_dtype: Any = property(lambda self: self.compute_dtype)

    def __init__(self, output_mode: str = "int", sparse: bool = False, **kwargs):
        super().__init__(**kwargs)
        new = _OLD_MODES.get(output_mode)
        if new not in self._MODES:
            new = one_of(self, "output_mode", output_mode, self._MODES)
        self.output_mode: str = new
        if sparse:
            wanted = "False: sparse tensors are left out, and every layer takes dense "
            raise bad_argument(self, "sparse", sparse, f"{wanted}vectors")
        self.sparse = False

    def compute_output_spec(self, inputs):
        result = infer(self._encoded, SymbolicTensor(inputs.shape, "int32"))
        return SymbolicTensor(result.shape, self._output_dtype)

    def _encoded(self, indices, weights=None, idf=None):
        mode, dtype = self.output_mode, self._output_dtype
        indices, weights = known(indices, weights)
        found = encode(indices, mode, self._depth, dtype, weights, idf)
        return from_host(found) if isinstance(found, np.ndarray) else found


EncodingLayer._arguments = shared = SharedArguments(EncodingLayer)


class CategoryEncoding(EncodingLayer):
    """Turns indices of categories into vectors of `num_tokens` numbers.

    Args:
        num_tokens: how many categories there are; indices are below it, others are
            in no vector.

    Call arguments:
        inputs: indices; of more than one axis, axis 1 holds those of one sample.
        count_weights: what each index adds to its count, for `"count"`.

    Raises:
        ValueError: an argument is out of range, `sparse` is True, or there are
            `count_weights` where nothing is counted.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.CategoryEncoding(num_tokens=3, output_mode="count")
    >>> layer(np.array([[0, 2], [1, 1]])).tolist()
    [[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]]
    """

    _MODES = ("one_hot", "multi_hot", "count")
    _saved_never = (*EncodingLayer._saved_never, "sparse")
    _depth = property(lambda self: self.num_tokens)

    def __init__(
        self,
        num_tokens: int | None = None,
        output_mode: str = "multi_hot",
        sparse: bool = False,
        **kwargs,
    ):
        kwargs.setdefault("autocast", False)  # half precision would round indices
        super().__init__(output_mode=output_mode, sparse=sparse, **kwargs)
        if num_tokens is None:
            raise ValueError(
                "num_tokens must be set to use this layer. If the number of tokens is "
                "not known beforehand, use the `IntegerLookup` layer instead."
            )
        if number(self, "num_tokens", num_tokens) < 1:
            raise ValueError(
                f"`num_tokens` must be >= 1. Received: num_tokens={num_tokens}."
            )
        self.num_tokens = positive_int(self, "num_tokens", num_tokens)

    def call(self, inputs, count_weights=None):
        if count_weights is not None:
            if self.output_mode != "count":
                raise ValueError(
                    "`count_weights` is not used when `output_mode` is not `'count'`. "
                    f"Received `count_weights={count_weights}`."
                )
            count_weights = jnp.asarray(count_weights, self.compute_dtype)
        return self._encoded(jnp.asarray(inputs), count_weights)

    def compute_output_spec(self, inputs, count_weights=None):
        return DataLayer.compute_output_spec(self, inputs, count_weights=count_weights)
