"""Texts as lists of numbers, each standing for a word."""

import collections
import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina.core.budget import errors_about
from lamina.core.tracebacks import warn

__all__ = [
    "Tokenizer",
    "hashing_trick",
    "one_hot",
    "text_to_word_sequence",
    "tokenizer_from_json",
]

_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_MODES = ("binary", "count", "freq", "tfidf")
# What a tokenizer has counted, each of which its JSON holds as a string of JSON.
_TABLES = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")


def text_to_word_sequence(input_text, filters=_FILTERS, lower=True, split=" "):
    """Return the words of a text.

    Args:
        input_text: the text.
        filters: characters that count as `split`.
        lower: write the words in lower case.
        split: what stands between words.

    >>> from lamina.legacy.preprocessing.text import text_to_word_sequence
    >>> text_to_word_sequence("Good, better!")
    ['good', 'better']
    """
    text = input_text.lower() if lower else input_text
    text = text.translate(str.maketrans(dict.fromkeys(filters, split)))
    return [word for word in text.split(split) if word]


def hashing_trick(
    text, n, hash_function=None, filters=_FILTERS, lower=True, split=" ", analyzer=None
):
    """Return a number from 1 to `n - 1` for each word; words may share one.

    Args:
        text: the text.
        n: how many numbers there are, 0 included, which stands for no word.
        hash_function: `"md5"`, which is the same in every process, a function from a
            word to an integer, or None for Python's `hash`.
        filters: characters that count as `split`.
        lower: write the words in lower case.
        split: what stands between words.
        analyzer: a function that returns the words of a text, in place of the three.

    >>> from lamina.legacy.preprocessing.text import hashing_trick
    >>> hashing_trick("good better good", 50, "md5")
    [17, 20, 17]
    """
    plain = analyzer is None
    words = (
        text_to_word_sequence(text, filters, lower, split) if plain else analyzer(text)
    )
    if hash_function == "md5":
        return [
            int(hashlib.md5(w.encode()).hexdigest(), 16) % (n - 1) + 1 for w in words
        ]
    return [(hash_function or hash)(word) % (n - 1) + 1 for word in words]


def one_hot(input_text, n, filters=_FILTERS, lower=True, split=" ", analyzer=None):
    """Return the numbers of `hashing_trick` by Python's `hash`.

    >>> from lamina.legacy.preprocessing.text import one_hot
    >>> len(one_hot("good better good", 50))
    3
    """
    return hashing_trick(input_text, n, hash, filters, lower, split, analyzer)


class Tokenizer:
    """Gives words their numbers, from 1 on, the most frequent first.

    Args:
        num_words: only words with a smaller number are kept; None keeps all.
        filters: characters that count as `split`.
        lower: write the words in lower case.
        split: what stands between words.
        char_level: every character is a word.
        oov_token: the word, with the number 1, that stands for those not known.
        analyzer: a function that returns the words of a text.
        kwargs: `document_count`, texts seen before.

    Raises:
        TypeError: another argument is given.

    >>> from lamina.legacy.preprocessing.text import Tokenizer
    >>> tokenizer = Tokenizer(oov_token="?")
    >>> tokenizer.fit_on_texts(["good better good"])
    >>> tokenizer.texts_to_sequences(["better best"])
    [[3, 1]]
    >>> tokenizer.texts_to_matrix(["good"]).tolist()
    [[0.0, 0.0, 1.0, 0.0]]
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: Any = _FILTERS,
        lower: bool = True,
        split: Any = " ",
        char_level: bool = False,
        oov_token: Any = None,
        analyzer: Callable | None = None,
        **kwargs,
    ):
        if "nb_words" in kwargs:
            warn("`nb_words` of `Tokenizer` is called `num_words` now.")
            num_words = kwargs.pop("nb_words")
        self.document_count = kwargs.pop("document_count", 0)
        if kwargs:
            raise TypeError(f"`Tokenizer` got unknown arguments: {sorted(kwargs)}")
        self.num_words, self.filters, self.lower = num_words, filters, lower
        self.split, self.char_level, self.oov_token = split, char_level, oov_token
        self.analyzer = analyzer
        self.word_counts = collections.OrderedDict()
        self.word_docs = collections.defaultdict(int)
        self.index_docs = collections.defaultdict(int)
        self.word_index, self.index_word = {}, {}

    def _words(self, text):
        if self.char_level or isinstance(text, list):
            if not self.lower:
                return text
            whole = isinstance(text, str)
            return text.lower() if whole else [word.lower() for word in text]
        if self.analyzer is not None:
            return self.analyzer(text)
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    def fit_on_texts(self, texts):
        """Count the words of texts, and number them.

        Args:
            texts: strings, or lists of words.
        """
        for text in texts:
            words = self._words(text)
            self.document_count += 1
            for word in words:
                self.word_counts[word] = self.word_counts.get(word, 0) + 1
            for word in set(words):
                self.word_docs[word] += 1
        known = [] if self.oov_token is None else [self.oov_token]
        known += sorted(self.word_counts, key=lambda word: -self.word_counts[word])
        self.word_index = {word: i for i, word in enumerate(known, 1)}
        self.index_word = {i: word for word, i in self.word_index.items()}
        for word, count in self.word_docs.items():
            self.index_docs[self.word_index[word]] = count

    def fit_on_sequences(self, sequences):
        """Count in how many lists each number is, for `"tfidf"`.

        Args:
            sequences: lists of numbers.
        """
        self.document_count += len(sequences)
        for row in sequences:
            for i in set(row):
                self.index_docs[i] += 1

    def _known(self, values, table, unknown):
        """Yield what a table has for values, else what stands for the unknown."""
        for value in values:
            found = table.get(value)
            index = value if table is self.index_word else found
            if found is not None and not (self.num_words and index >= self.num_words):
                yield found
            elif unknown is not None:
                yield unknown

    def texts_to_sequences(self, texts):
        """Return the numbers of each text's words; unknown ones are left out.

        Args:
            texts: strings, or lists of words.
        """
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts):
        """Yield what `texts_to_sequences` returns."""
        unknown = self.word_index.get(self.oov_token)
        for text in texts:
            yield list(self._known(self._words(text), self.word_index, unknown))

    def sequences_to_texts(self, sequences):
        """Return the words of each list of numbers, with blanks between them.

        Args:
            sequences: lists of numbers.
        """
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(self, sequences):
        """Yield what `sequences_to_texts` returns."""
        unknown = self.oov_token if self.oov_token in self.word_index else None
        for row in sequences:
            yield " ".join(self._known(row, self.index_word, unknown))

    def texts_to_matrix(self, texts, mode="binary"):
        """Return a row for each text: see `sequences_to_matrix`."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences, mode="binary"):
        """Return a row for each list, with an entry for each number.

        Args:
            sequences: lists of numbers.
            mode: `"binary"` (1 where the number is there), `"count"`, `"freq"` (the
                share of the list) or `"tfidf"` (logarithms of the count and of how rare
                the number is).

        Returns:
            An array of shape (lists, `num_words` or all words and one).

        Raises:
            ValueError: the mode is another, or nothing was fitted that it needs.
        """
        if mode not in _MODES:
            raise ValueError(
                f"`mode` expected one of {_MODES}. Received: mode={mode!r}"
            )
        if not self.num_words and not self.word_index:
            raise ValueError("`Tokenizer` needs `num_words`, or `fit_on_texts` before.")
        if mode == "tfidf" and not self.document_count:
            raise ValueError("`mode='tfidf'` needs `fit_on_texts` before.")
        size = self.num_words or len(self.word_index) + 1
        matrix = np.zeros((len(sequences), size))
        for row, numbers in zip(matrix, sequences, strict=True):
            for i, count in collections.Counter(numbers).items():
                if i >= size:
                    continue
                rare = np.log(1 + self.document_count / (1 + self.index_docs.get(i, 0)))
                row[i] = {
                    "binary": 1,
                    "count": count,
                    "freq": count / len(numbers),
                    "tfidf": (1 + np.log(count)) * rare,
                }[mode]
        return matrix

    def get_config(self):
        """Return the settings and what was counted, as `to_json` writes it."""
        plain = "num_words filters lower split char_level oov_token document_count"
        counted = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")
        written = {name: json.dumps(getattr(self, name)) for name in counted}
        return {name: getattr(self, name) for name in plain.split()} | written

    def to_json(self, **kwargs):
        """Return it as a string, which `tokenizer_from_json` reads.

        Args:
            kwargs: handed on to `json.dumps`.
        """
        return json.dumps(
            {"class_name": type(self).__name__, "config": self.get_config()}, **kwargs
        )


def tokenizer_from_json(json_string):
    """Return the `Tokenizer` that `to_json` wrote, here or in Keras.

    Args:
        json_string: the string.

    Raises:
        ValueError: it describes no tokenizer.
        TypeError: it has a setting of another kind, or one that no tokenizer has.

    >>> from lamina.legacy.preprocessing.text import Tokenizer, tokenizer_from_json
    >>> tokenizer = Tokenizer()
    >>> tokenizer.fit_on_texts(["good better"])
    >>> tokenizer_from_json(tokenizer.to_json()).word_index
    {'good': 1, 'better': 2}
    """
    counted = {}
    with errors_about("the JSON", "describes no tokenizer"):
        config = json.loads(json_string)["config"]
        for name in _TABLES:
            counted[name] = table = json.loads(config.pop(name))
            if name.startswith("index_"):
                counted[name] = {int(i): v for i, v in table.items()}
        made = Tokenizer(**config)
    vars(made).update(counted)
    return made
