"""`StringLookup`: words as indices of a vocabulary."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.core.types import Sizes
from lamina.kernels.lookup import Terms
from lamina.layers.preprocessing.lookup import Lookup
from lamina.layers.preprocessing.vocabulary import shared, text_array, words


class StringLookup(Lookup):
    """Turns words into indices of a vocabulary, or back, a NumPy array of strings.

    Index 0 stands for unknown words, or for `mask_token` where there is one; then
    unknown words are 1. Words that `adapt` counts come by how frequent they are, and
    equally frequent ones in the reverse of their sorted order.

    Args:
        encoding: how text that is given as bytes is decoded.

    >>> import lamina
    >>> layer = lamina.layers.StringLookup(vocabulary=["cat", "dog"])
    >>> layer(["dog", "cow", "cat"]).tolist()
    [2, 0, 1]
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: Any = None,
        oov_token: str | None = "[UNK]",
        vocabulary: Sequence | np.ndarray | str | None = None,
        idf_weights: Sequence[float] | None = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        salt: Sizes | None = None,
        **kwargs,
    ):
        self.encoding = encoding
        super().__init__(**shared.given(locals()))

    def _set_tokens(self, tokens):
        self._tokens, self._table = tokens, Terms(tokens)

    def _term(self, value):
        return str(value)

    def _terms(self, vocabulary):
        return self._read(vocabulary)[0]

    def _read(self, inputs):
        array = text_array(inputs, self)
        return words(array, self.encoding), array.shape

    def _indices(self, inputs):
        array = text_array(inputs, self)
        fixed = array.dtype.kind == "U"  # the compiled library reads it as it is
        tokens = array.ravel() if fixed else words(array, self.encoding)
        return self._found(tokens).reshape(array.shape)

    def _places(self, tokens):
        return self._table.find(tokens)
