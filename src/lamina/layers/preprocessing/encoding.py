"""Numbers as categories, and categories as vectors, as categorical layers end."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.arguments import family
from lamina.core.checks import bad_argument, number, one_of, positive_int
from lamina.core.dtypes import result_type
from lamina.core.symbolic import SymbolicTensor, infer
from lamina.core.types import DType
from lamina.core.variable import from_host
from lamina.kernels.categories import encode
from lamina.layers.preprocessing.data_layer import Adapting, DataLayer, known

_OLD_MODES = {"binary": "multi_hot", "tf-idf": "tf_idf"}


@family
class EncodingLayer(DataLayer):
    """Ends in indices of `_depth` categories, or in vectors made of them.

    Args:
        output_mode: one of {cls._MODES}:
            indices; a vector of each index (in place of a last axis of size 1); or
            a vector of each sample, with 1 for each category in it, its count, or its
            count times `idf_weights`.
        sparse: not supported; must be False.
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


shared = EncodingLayer._arguments


class CategoryEncoding(EncodingLayer):
    """Turns indices of categories into vectors of `num_tokens` numbers.

    Args:
        num_tokens: how many categories there are; indices are below it, others are
            in no vector.

    Call arguments:
        inputs: indices; of more than one axis, axis 1 holds those of one sample.
        count_weights: what each index adds to its count, in mode `"count"` only.

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


class Discretization(Adapting, EncodingLayer):
    """Tells which of several ranges each number is in.

    Boundaries `[0, 1, 2]` make the ranges `(-inf, 0)`, `[0, 1)`, `[1, 2)` and
    `[2, inf)`, of indices 0 to 3. They are given, or found by `adapt` such that each
    range holds about as many numbers of the data as any other.

    Args:
        bin_boundaries: the boundaries, rising.
        num_bins: how many ranges `adapt` makes, in place of `bin_boundaries`.
        epsilon: how fine `adapt` looks: at about `1 / epsilon` numbers of the data.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.Discretization(bin_boundaries=[0.0, 1.0, 2.0])
    >>> layer(np.array([[-1.5, 1.0, 3.4, 0.5]])).tolist()
    [[0, 2, 3, 1]]
    """

    _depth = property(lambda self: self.depth)
    _output_dtype = property(lambda self: self.output_dtype)
    _learns = property(lambda self: self.num_bins is not None)
    _saved_never = (*EncodingLayer._saved_never, "trainable")
    _saved_from = {"dtype": "dtype"}

    def __init__(
        self,
        bin_boundaries: Sequence[float] | None = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: DType = None,
        name: str | None = None,
    ):
        super().__init__(output_mode=output_mode, sparse=sparse, dtype=dtype, name=name)
        if num_bins is not None:
            number(self, "num_bins", num_bins, least=0)
        if num_bins is not None and bin_boundaries is not None:
            raise ValueError(
                "Both `num_bins` and `bin_boundaries` should not be set. Received: "
                f"`num_bins={num_bins}` and `bin_boundaries={bin_boundaries}`"
            )
        if num_bins is None and bin_boundaries is None:
            raise ValueError("You need to set either `num_bins` or `bin_boundaries`.")
        self.bin_boundaries, self.num_bins = bin_boundaries, num_bins
        self.epsilon = number(self, "epsilon", epsilon, least=1e-9)
        self.reset_state()

    @property
    def input_dtype(self):
        """The dtype of the numbers: boundaries need all of their digits."""
        return result_type(settings.floatx(), "float32")

    @property
    def output_dtype(self):
        """The dtype of the outputs."""
        return "int32" if self.output_mode == "int" else self.compute_dtype

    def adapt(self, data, steps=None):
        if self.num_bins is None:
            raise ValueError(
                "Cannot adapt a Discretization layer that has been initialized with "
                "`bin_boundaries`, use `num_bins` instead."
            )
        super().adapt(data, steps)

    def update_state(self, data):
        values: np.ndarray = np.sort(np.asarray(data, "float32"), axis=None)
        step = max(values.size * float(self.epsilon), 1.0)
        kept = values[int(step - 1) :: int(step)]
        new = np.stack([kept, np.full_like(kept, step)])
        merged = np.concatenate([new, self.summary], axis=1)
        order = np.argsort(merged[0])
        self.summary = _thinned(merged[:, order], self.epsilon)

    def finalize_state(self):
        if self.num_bins is not None:
            found = _thinned(self.summary, 1.0 / self.num_bins)
            self.bin_boundaries = found[0, :-1].tolist()

    def reset_state(self):
        self.summary = np.zeros((2, 0), "float32")

    def call(self, inputs):
        if self.bin_boundaries is None:
            raise ValueError(
                "You need to either pass the `bin_boundaries` argument at construction "
                "time or call `adapt(dataset)` before you can start using the "
                "`Discretization` layer."
            )
        (inputs,) = known(inputs)
        bounds = np.asarray(self.bin_boundaries, self.input_dtype)
        xp = np if isinstance(inputs, np.ndarray) else jnp
        return self._encoded(xp.digitize(inputs, bounds))

    @property
    def depth(self):
        """How many ranges there are."""
        found = self.bin_boundaries
        return self.num_bins if found is None else len(found) + 1

    @classmethod
    def from_config(cls, config):
        if config.get("num_bins") is None:
            return super().from_config(config)
        layer = super().from_config({**config, "bin_boundaries": None})
        layer.bin_boundaries = config.get("bin_boundaries")
        return layer


def _thinned(summary, share):
    """Return a summary of about `1 / share` values, evenly far apart in weight.

    It has two rows: sorted values, and how many numbers each of them stands for.
    """
    if summary.shape[1] * share < 1:
        return summary
    wanted = share + np.arange(0.0, 1.0, share)
    total = summary[1].cumsum()
    reached = total / total[-1]
    values = np.interp(wanted, reached, summary[0])
    total = np.interp(wanted, reached, total)
    return np.stack([values, np.diff(total, prepend=0)]).astype("float32")
