"""`IntegerLookup`: integers that stand for something as indices of a vocabulary."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lamina.core.types import DType, Sizes
from lamina.layers.preprocessing.data_layer import run_on_host
from lamina.layers.preprocessing.lookup import Lookup
from lamina.layers.preprocessing.vocabulary import shared


class IntegerLookup(Lookup):
    """Turns integers that stand for something into indices of a vocabulary, or back.

    Index 0 stands for unknown integers, or for `mask_token` where there is one; then
    unknown ones are 1. Those that `adapt` counts come by how frequent they are, and
    equally frequent ones from the greatest on.

    Args:
        vocabulary_dtype: `"int64"`.

    >>> import lamina
    >>> layer = lamina.layers.IntegerLookup(vocabulary=[1200, 7])
    >>> layer([7, 8, 1200]).tolist()
    [2, 0, 1]
    """

    vocabulary_dtype = "int64"

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: Any = None,
        oov_token: int = -1,
        vocabulary: Sequence | np.ndarray | str | None = None,
        vocabulary_dtype: DType = "int64",
        idf_weights: Sequence[float] | None = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Sizes | None = None,
        name: str | None = None,
        **kwargs,
    ):
        if vocabulary_dtype != "int64":
            raise ValueError(
                "Only `vocabulary_dtype='int64'` is supported at this time. Received: "
                f"vocabulary_dtype={vocabulary_dtype!r}"
            )
        super().__init__(**shared.given(locals()))

    def _set_tokens(self, tokens):
        self._tokens = tokens
        self._order = np.argsort(np.array(tokens, "int64"))
        self._sorted = np.array(tokens, "int64")[self._order]

    def _term(self, value):
        number = int(value)
        if not -(1 << 63) <= number < 1 << 63:
            raise ValueError(f"{number} is not an integer of 64 bits.")
        return number

    def _terms(self, vocabulary):
        return self._read(vocabulary)[0].tolist()

    def _read(self, inputs):
        array = np.asarray(inputs)
        if array.dtype.kind not in "iufb":
            raise TypeError(
                f"Layer {self.name!r} (IntegerLookup) takes integers; `StringLookup` "
                f"takes text. Received: dtype={array.dtype}, shape={array.shape}"
            )
        return array.astype("int64").ravel(), array.shape

    def _count(self, tokens, lengths):
        super()._count(tokens.tolist(), lengths)

    def _indices(self, inputs):
        found = super()._indices
        if isinstance(inputs, Tracer):
            return run_on_host(lambda x: found(x).astype("int32"), inputs)
        return found(inputs)

    def _places(self, tokens):
        if not len(self._sorted):
            return np.full(len(tokens), -1)
        place = np.searchsorted(self._sorted, tokens)
        place = np.minimum(place, len(self._sorted) - 1)
        return np.where(self._sorted[place] == tokens, self._order[place], -1)

    def _tokens_at(self, indices):
        found = super()._tokens_at(indices).astype("int64")
        on_device = jnp.asarray(found)
        return on_device if (np.asarray(on_device) == found).all() else found
