"""Layers that turn words, or texts, into indices of words or into vectors."""

import functools
import itertools
import math
import re
import string
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core.checks import one_of
from lamina.core.symbolic import SymbolicTensor
from lamina.core.types import Sizes
from lamina.kernels.categories import encode
from lamina.kernels.lookup import Terms, compiled, different_words
from lamina.layers.preprocessing.lookup import Lookup
from lamina.layers.preprocessing.vocabulary import (
    VocabularyLayer,
    shared,
    text_array,
    words,
)

# As TensorFlow's string ops: letters and white space are those of ASCII.
_LOWER = (string.ascii_uppercase, string.ascii_lowercase)
_STANDARDIZE = {
    "lower_and_strip_punctuation": str.maketrans(*_LOWER, string.punctuation),
    "lower": str.maketrans(*_LOWER),
    "strip_punctuation": str.maketrans("", "", string.punctuation),
}
_WORD = re.compile(r"[^ \t\n\v\f\r]+")
_MORE = re.compile(r"[\x1c-\x1f]")
# The arguments that are those of the lookup inside.
_OF_LOOKUP = ("vocabulary", "idf_weights", "vocabulary_size", "has_input_vocabulary")


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

    _term = staticmethod(str)

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


def _of_lookup(method) -> Any:
    """Return a method of the lookup inside as one of the layer."""

    @functools.wraps(method)
    def delegated(self, *args, **kwargs):
        return method(self._lookup_layer, *args, **kwargs)

    return delegated


class TextVectorization(VocabularyLayer):
    """Turns texts into indices of words, or into a vector each.

    A text is standardized and split into words or n-grams, which are looked up in a
    vocabulary: 0 is padding, 1 an unknown word. Rows of indices are as long as the
    longest text of the call, or `output_sequence_length`, which spares a compiled model
    from being compiled for each length.

    Args:
        standardize: `"lower_and_strip_punctuation"`, `"lower"`, `"strip_punctuation"`,
            None, or a function of a NumPy array of strings.
        split: `"whitespace"`, `"character"`, None for inputs that are words already, or
            a function from an array of strings to a list of words for each.
        ngrams: an integer n for all n-grams from 1 to n, or a tuple of their sizes.
        output_sequence_length: the length that rows of indices are cut or padded to.
        ragged: not supported; must be False.
        encoding: how texts that are given as bytes are decoded.

    >>> import lamina
    >>> layer = lamina.layers.TextVectorization(output_sequence_length=4)
    >>> layer.adapt(["The cat.", "The dog and the cat"])
    >>> layer.get_vocabulary()
    ['', '[UNK]', 'the', 'cat', 'dog', 'and']
    >>> layer(["the cow", "a cat and a dog"]).tolist()
    [[2, 1, 0, 0], [1, 3, 5, 1]]
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: str | Callable | None = "lower_and_strip_punctuation",
        split: str | Callable | None = "whitespace",
        ngrams: Sizes | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Sequence | np.ndarray | str | None = None,
        idf_weights: Sequence[float] | None = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        **kwargs,
    ):
        if ragged:
            raise ValueError(
                "`TextVectorization`: ragged tensors are not supported, so "
                "`ragged=True` cannot be used. Rows are padded with 0; set "
                "`output_sequence_length`, and `mask_zero=True` in an `Embedding` "
                "that follows."
            )
        if not callable(standardize) and standardize is not None:
            one_of(self, "standardize", standardize, tuple(_STANDARDIZE))
        if not callable(split) and split is not None:
            one_of(self, "split", split, ("whitespace", "character"))
        self._sizes, self.encoding = _ngram_sizes(ngrams), encoding
        given = shared.given(locals())
        inner = {name: given.pop(name) for name in _OF_LOOKUP if name in given}
        super().__init__(**given)
        length = output_sequence_length
        if self.output_mode != "int" and length is not None:
            raise ValueError(
                "`output_sequence_length` must not be set if `output_mode` is not "
                f"'int'. Received: output_sequence_length={length!r}"
            )
        whole = isinstance(length, int) and not isinstance(length, bool)
        if length is not None and not (whole and length > 0):
            raise ValueError(
                "`output_sequence_length` must be either None or an integer when "
                "`output_mode` is 'int', a positive one. Received: "
                f"output_sequence_length={length!r}"
            )
        same = "max_tokens", "pad_to_max_tokens", "output_mode", "encoding"
        inner |= {name: getattr(self, name) for name in same}
        self._lookup_layer = StringLookup(mask_token="", **inner)
        self.standardize, self.split = standardize, split
        self.ngrams = tuple(ngrams) if isinstance(ngrams, list) else ngrams
        self.output_sequence_length = output_sequence_length
        self.ragged = False

    # ---- the vocabulary ------------------------------------------------------

    get_vocabulary = _of_lookup(StringLookup.get_vocabulary)
    vocabulary_size = _of_lookup(StringLookup.vocabulary_size)
    set_vocabulary = _of_lookup(StringLookup.set_vocabulary)
    finalize_state = _of_lookup(StringLookup.finalize_state)
    reset_state = _of_lookup(StringLookup.reset_state)
    save_own_variables = _of_lookup(StringLookup.save_own_variables)
    load_own_variables = _of_lookup(StringLookup.load_own_variables)
    save_assets = _of_lookup(StringLookup.save_assets)
    load_assets = _of_lookup(StringLookup.load_assets)

    def adapt(self, data, batch_size=None, steps=None):
        """Learn the most frequent words; `batch_size` is kept for compatibility."""
        super().adapt(data, steps)

    def update_state(self, data):
        array, lookup = text_array(data, self), self._lookup_layer
        if compiled() and (plain := self._plain(array)) is not None:
            different, places, lengths = different_words(*plain)
            lookup._count(different, lengths, places)
            return
        tokens, lengths, _ = self._tokens(array)
        lookup._count(tokens, lengths)

    # ---- calling -------------------------------------------------------------

    input_dtype = property(lambda self: "string", doc="The dtype of its inputs.")
    _learns = property(lambda self: self._lookup_layer._learns)

    def call(self, inputs):
        lookup = self._lookup_layer
        lookup._check_vocabulary()
        found, lengths, outer = self._found(text_array(inputs, self))
        whole = self.output_mode == "int"
        fill, width = (0 if whole else -1), self.output_sequence_length
        table = _padded(found, np.array(lengths, int), fill, width)
        width = table.shape[1]
        if whole:
            return jnp.asarray(table.reshape(*outer, width))
        if self.output_mode == "one_hot" and not (self.split is None and width == 1):
            outer, table = (*outer, width), table.reshape(-1)
        dtype, idf = self.compute_dtype, lookup.idf_weights
        vectors = encode(table, self.output_mode, lookup._depth, dtype, idf=idf)
        return jnp.asarray(vectors.reshape(*outer, vectors.shape[-1]))

    def _plain(self, array):
        """Return what the compiled library splits up, and two flags how; or None."""
        if callable(self.standardize) or self.split != "whitespace" or self._sizes:
            return None
        _one_text_each(array.shape)  # or an error
        if (joined := _joined(words(array, self.encoding))) is None:
            return None
        how = self.standardize or ""
        return joined + "\0", "lower" in how, "punctuation" in how

    def _found(self, array):
        """Return the indices of words, how many each text has, and the texts' shape."""
        lookup = self._lookup_layer
        terms = lookup._table.compiled
        if terms is not None and (plain := self._plain(array)) is not None:
            places, lengths = terms.words(*plain)
            start, unknown = lookup._token_start, lookup._oov_start
            known = np.where(places < 0, unknown, places + start)
            return known, lengths, _one_text_each(array.shape)
        tokens, lengths, outer = self._tokens(array)
        return lookup._found(tokens), lengths, outer

    def _tokens(self, array):
        """Return words, how many each text has, and the shape of the texts."""
        texts = self._standardized(array)
        if self.split is None:
            outer = array.shape[:-1]
            count = math.prod(outer)
            size = len(texts) // max(count, 1)
            rows = [texts[i * size : (i + 1) * size] for i in range(count)]
        else:
            outer = _one_text_each(array.shape)
            rows = self._split_up(texts)
        if self._sizes:
            rows = [_ngrams(row, self._sizes) for row in rows]
        return list(itertools.chain.from_iterable(rows)), list(map(len, rows)), outer

    def _standardized(self, array):
        texts = words(array, self.encoding)
        if self.standardize is None:
            return texts
        if callable(self.standardize):
            result = self.standardize(np.array(texts, str).reshape(array.shape))
            return words(np.asarray(result), self.encoding)
        table = _STANDARDIZE[self.standardize]
        # All at once where they can be told apart again, which costs a sixth.
        if (joined := _joined(texts)) is not None:
            return joined.translate(table).split("\0")
        return [text.translate(table) for text in texts]

    def _split_up(self, texts):
        if not callable(self.split):
            if self.split == "character":
                return list(map(list, texts))
            joined = _joined(texts)
            # `str.split` knows more white space than TensorFlow does.
            plain = joined is not None and joined.isascii() and not _MORE.search(joined)
            return list(map(str.split if plain else _WORD.findall, texts))
        rows = self.split(np.array(texts, str))
        rows = rows.to_list() if hasattr(rows, "to_list") else rows
        return [words(np.array(list(row), object), self.encoding) for row in rows]

    def compute_output_shape(self, input_shape):
        shape = tuple(input_shape)
        if self.split is None:
            outer, length = shape[:-1], (*shape, 1)[len(shape) - 1 if shape else 0]
            length = None if self._sizes else length
        else:
            outer, length = _one_text_each(shape), None
        if self.output_mode == "int":
            return (*outer, self.output_sequence_length or length)
        if self._lookup_layer._depth is None:
            self._lookup_layer._check_vocabulary()
        if self.output_mode == "one_hot" and not (self.split is None and length == 1):
            outer = (*outer, length)
        return (*outer, self._lookup_layer._depth)

    def compute_output_spec(self, inputs):
        dtype = "int64" if self.output_mode == "int" else self.compute_dtype
        return SymbolicTensor(self.compute_output_shape(inputs.shape), dtype)

    # ---- saving --------------------------------------------------------------

    def get_config(self):
        inner = self._lookup_layer.get_config()
        known = {name: inner[name] for name in _OF_LOOKUP if name in inner}
        return {**super().get_config(), **known}


def _joined(texts):
    r"""Return texts as one, with `"\0"` between them; None if one has it inside."""
    joined = "\0".join(texts)
    return joined if texts and joined.count("\0") == len(texts) - 1 else None


def _ngram_sizes(ngrams):
    """Return the sizes of n-grams, or None for words alone."""
    if ngrams is None:
        return None
    sizes = range(1, ngrams + 1) if isinstance(ngrams, int) else ngrams
    if isinstance(sizes, str) or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ValueError(
            "`ngrams` must be None, an integer, or a tuple of integers, all positive. "
            f"Received: ngrams={ngrams!r}"
        )
    return tuple(sizes)


def _ngrams(row, sizes):
    """Return the n-grams of a row of words, smaller sizes as they are asked for."""
    return [" ".join(row[i : i + n]) for n in sizes for i in range(len(row) - n + 1)]


def _one_text_each(shape):
    """Return the shape of the texts without a last axis of size 1."""
    if len(shape) < 2:
        return shape
    if shape[-1] not in (1, None):
        raise ValueError(
            "When using `TextVectorization` to tokenize strings, the input rank must "
            "be 1 or the last shape dimension must be 1. Received: "
            f"inputs.shape={shape}. Use one layer for each column, or `split=None` "
            "where the entries are words."
        )
    return shape[:-1]


def _padded(indices, lengths, fill, width) -> np.ndarray:
    """Return rows of some lengths, given one after the other, as one array."""
    width = lengths.max(initial=0) if width is None else width
    within = np.arange(width) < lengths[:, None]
    starts = np.cumsum(lengths) - lengths
    table = np.full(within.shape, fill, "int64")
    table[within] = indices[(starts[:, None] + np.arange(width))[within]]
    return table
