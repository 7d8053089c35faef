"""Texts found in a vocabulary, by the compiled library where there is one."""

import ctypes
import itertools
from typing import Any

import numpy as np

from lamina.core.native import library


class Terms:
    """A vocabulary that texts are found in.

    Args:
        terms: a list of different texts.

    >>> from lamina.kernels.lookup import Terms
    >>> Terms(["cat", "dog"]).find(["dog", "cow"]).tolist()
    [1, -1]
    """

    def __init__(self, terms):
        self._terms = terms
        self._places = dict(zip(terms, itertools.count()))
        self._compiled: Any = None  # made when it is first needed

    @property
    def compiled(self) -> Any:
        """The `CompiledTerms`; None without the library, or if a term has a zero."""
        if self._compiled is None:
            usable = compiled() and "\0" not in "".join(self._terms)
            self._compiled = CompiledTerms(self._terms) if usable else False
        return self._compiled or None

    def find(self, texts) -> np.ndarray:
        """Return the places of texts, -1 for unknown ones.

        Args:
            texts: a list, or an array of NumPy's type of fixed width, with one axis.
        """
        if isinstance(texts, np.ndarray):
            if self.compiled:
                return self.compiled.find(texts)
            texts = texts.tolist()
        found = map(self._places.get, texts, itertools.repeat(-1))
        return np.fromiter(found, "int64", len(texts))


class CompiledTerms:
    """A vocabulary as the compiled library reads it.

    Args:
        terms: different texts, none with a zero character.
    """

    def __init__(self, terms):
        self._text = _characters("".join(terms))
        self._starts = np.zeros(len(terms) + 1, "int64")
        np.cumsum([len(term) for term in terms], out=self._starts[1:])
        self._slots = np.full(1 << (2 * len(terms)).bit_length(), -1, "int32")
        self._call("terms", np.int64(len(terms)))

    def _call(self, name, *arguments):
        table = (self._text, self._starts, self._slots, np.int64(len(self._slots)))
        _call(name, *table, *arguments)

    def find(self, array) -> np.ndarray:
        """Return the places of an array of texts, see `Terms.find`."""
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        found = np.empty(len(array), "int64")
        width = array.dtype.itemsize // 4
        self._call("find", array, np.int64(len(array)), np.int64(width), found)
        return found

    def words(self, joined: str, lower: bool, strip: bool):
        r"""Return the places of the words of texts, and how many each text has.

        Args:
            joined: the texts, each with `"\0"` after it.
            lower: whether to make letters of ASCII small.
            strip: whether to leave out its punctuation.
        """
        characters = _characters(joined)
        found = np.empty(len(characters) // 2 + 1, "int64")
        lengths = np.empty(joined.count("\0"), "int64")
        size = np.int64(len(characters))
        ways = np.int64(lower), np.int64(strip)
        self._call("words", characters, size, *ways, found, lengths)
        return found[: lengths.sum()], lengths


def different_words(joined: str, lower: bool, strip: bool):
    r"""Return the different words of texts, their places in it, and texts' lengths.

    Args:
        joined: the texts, each with `"\0"` after it.
        lower: whether to make letters of ASCII small.
        strip: whether to leave out its punctuation.

    >>> from lamina.kernels.lookup import compiled, different_words
    >>> found = different_words("a b a\0b\0", True, True) if compiled() else None
    >>> found and found[0], found and found[1].tolist(), found and found[2].tolist()
    (['a', 'b'], [0, 1, 0, 1], [3, 1])
    """
    characters = _characters(joined)
    size = np.int64(len(characters))
    terms = np.empty(len(characters), "<u4")
    starts = np.empty(len(characters) // 2 + 2, "int64")
    places = np.empty(len(characters) // 2 + 1, "int64")
    lengths = np.empty(joined.count("\0"), "int64")
    ways = np.int64(lower), np.int64(strip)
    count = _call("different", characters, size, *ways, terms, starts, places, lengths)
    text = terms[: starts[count]].tobytes().decode("utf-32-le", "surrogatepass")
    words = [text[a:b] for a, b in itertools.pairwise(starts[: count + 1].tolist())]
    return words, places[: lengths.sum()], lengths


def compiled() -> bool:
    """Return whether there is a library that has this."""
    return hasattr(library(), "lamina_terms")


def _call(name, *arguments):
    function = getattr(library(), f"lamina_{name}")
    function.restype = ctypes.c_int64
    return function(
        *(
            ctypes.c_void_p(a.ctypes.data)
            if isinstance(a, np.ndarray)
            else ctypes.c_int64(int(a))
            for a in arguments
        )
    )


def _characters(text):
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
