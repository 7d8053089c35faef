"""`StringLookup`: words as indices of a vocabulary."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.core.types import Sizes
from lamina.kernels.lookup import Terms, compiled
from lamina.layers.preprocessing.lookup import Lookup
from lamina.layers.preprocessing.vocabulary import shared, text_array, words


class StringLookup(Lookup):
    """Turns words into indices of a vocabulary, or back, a NumPy array of strings.

    Index 0 stands for unknown words, or for `mask_token` where there is one; then
    unknown words are 1. Words that `adapt` counts come by how frequent they are, and
    equally frequent ones in the reverse of their sorted order.

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
        super().__init__(**shared.given(locals()))

    def _set_tokens(self, tokens):
        self._tokens = tokens
        self._table = dict(zip(tokens, itertools.count()))
        self._compiled: Any = None  # made when it is first needed

    def _term(self, value):
        return str(value)

    def _terms(self, vocabulary):
        return self._read(vocabulary)[0]

    def _read(self, inputs):
        array = text_array(inputs, self)
        return words(array, self.encoding), array.shape

    def _terms_compiled(self) -> Any:
        """Return the vocabulary as the compiled library reads it, or None."""
        if self._compiled is None:
            usable = compiled() and "\0" not in "".join(self._tokens)
            self._compiled = Terms(self._tokens) if usable else False
        return self._compiled or None

    def _indices(self, inputs):
        array = text_array(inputs, self)
        if array.dtype.kind == "U" and self._terms_compiled():
            return self._found(array.ravel()).reshape(array.shape)
        return self._found(words(array, self.encoding)).reshape(array.shape)

    def _places(self, tokens):
        if isinstance(tokens, np.ndarray):
            return self._compiled.find(tokens)
        found = map(self._table.get, tokens, itertools.repeat(-1))
        return np.fromiter(found, "int64", len(tokens))

    def _equal(self, tokens, token):
        if isinstance(tokens, np.ndarray):
            return tokens == token
        return np.fromiter(map(token.__eq__, tokens), bool, len(tokens))
