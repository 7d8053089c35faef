"""`StringLookup`: words as indices of a vocabulary."""

import itertools

import numpy as np

from lamina.layers.preprocessing.lookup import Lookup
from lamina.layers.preprocessing.vocabulary import text_array, words


class StringLookup(Lookup):
    """Turns words into indices of a vocabulary, or back.

    Index 0 stands for unknown words, or for `mask_token` where there is one; then
    unknown words are 1. Words that `adapt` counts come by how frequent they are.

    Args:
        max_tokens: the largest size of the vocabulary, special tokens included.
        num_oov_indices: how many indices unknown words are spread over, by a hash.
        mask_token: the word whose index is 0, for padding.
        oov_token: what an unknown index becomes when `invert` is set.
        vocabulary: the words in order, or the path of a file with one on each line.
        idf_weights: the weight of each word, for mode `"tf_idf"`.
        invert: turn indices into words; the result is a NumPy array of strings.
        output_mode: `"int"`, or vectors as in `CategoryEncoding`: `"one_hot"`,
            `"multi_hot"`, `"count"`, `"tf_idf"`.
        pad_to_max_tokens: whether vectors have `max_tokens` entries in any case.
        sparse: not supported; must be False.
        encoding: how words that are given as bytes are decoded.
        salt: an integer or two, the key of the hash.

    Raises:
        ValueError: arguments that do not go together.

    >>> import lamina
    >>> layer = lamina.layers.StringLookup(vocabulary=["cat", "dog"])
    >>> layer(["dog", "cow", "cat"]).tolist()
    [2, 0, 1]
    """

    def __init__(
        self, max_tokens=None, num_oov_indices=1, mask_token=None, oov_token="[UNK]",
        vocabulary=None, idf_weights=None, invert=False, output_mode="int",
        pad_to_max_tokens=False, sparse=False, encoding="utf-8", name=None, salt=None,
        **kwargs,
    ):  # fmt: skip
        self.encoding = encoding
        super().__init__(
            max_tokens=max_tokens, num_oov_indices=num_oov_indices,
            mask_token=mask_token, oov_token=oov_token, vocabulary=vocabulary,
            idf_weights=idf_weights, invert=invert, output_mode=output_mode,
            pad_to_max_tokens=pad_to_max_tokens, sparse=sparse, name=name, salt=salt,
            **kwargs,
        )  # fmt: skip

    def _set_tokens(self, tokens):
        self._tokens = tokens
        self._table = dict(zip(tokens, itertools.count()))

    def _term(self, value):
        return str(value)

    def _terms(self, vocabulary):
        return self._read(vocabulary)[0]

    def _read(self, inputs):
        array = text_array(inputs, self)
        return words(array, self.encoding), array.shape

    def _places(self, tokens):
        found = map(self._table.get, tokens, itertools.repeat(-1))
        return np.fromiter(found, "int64", len(tokens))

    def _equal(self, tokens, token):
        return np.fromiter(map(token.__eq__, tokens), bool, len(tokens))
