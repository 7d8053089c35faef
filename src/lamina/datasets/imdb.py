"""IMDB reviews of films, for or against (Maas et al., 2011)."""

import json as _json
import pathlib as _pathlib

import numpy as _np

from lamina.core.tracebacks import boundary as _boundary
from lamina.core.tracebacks import warn as _warn
from lamina.datasets.pickled import arrays as _arrays
from lamina.datasets.published import limited as _limited
from lamina.datasets.published import shifted as _shifted
from lamina.datasets.published import shorter as _shorter
from lamina.datasets.published import shuffled as _shuffled
from lamina.datasets.published import stored as _stored

__all__ = ["get_word_index", "load_data"]

_HASH = "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"
_INDEX_HASH = "bfafd718b763782e994055a2d397834f"


@_boundary
def load_data(
    path="imdb.npz",
    num_words=None,
    skip_top=0,
    maxlen=None,
    seed=113,
    start_char=1,
    oov_char=2,
    index_from=3,
    **kwargs,
):
    """Return 25,000 training and 25,000 test reviews as lists of word numbers.

    Words are numbered by how often they occur. 0 is left for padding.

    Args:
        path: the file's name in the cache folder.
        num_words: words from this number on become `oov_char`; None keeps all but
            the last one.
        skip_top: words with smaller numbers, the most frequent ones, become
            `oov_char`.
        maxlen: only texts shorter than this are kept.
        seed: what the order of the texts is drawn from.
        start_char: the number that begins each text, or None.
        oov_char: the number in place of left out words; None drops them.
        index_from: words are numbered from here on.
        kwargs: `nb_words`, the old name of `num_words`.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: object arrays `(n,)` of lists of
        numbers, and int64 labels `(n,)`, 1 for praise and 0 for blame.

    Raises:
        OSError: the file is not in the cache and cannot be fetched.
        ValueError: no text is shorter than `maxlen`.

    >>> import lamina
    >>> (x, y), _ = lamina.datasets.imdb.load_data()  # doctest: +SKIP
    >>> x[0][:4]  # doctest: +SKIP
    [1, 14, 22, 16]
    """
    if "nb_words" in kwargs:
        _warn("`nb_words` is called `num_words` now.")
        num_words = kwargs.pop("nb_words")
    if kwargs:
        raise TypeError(f"`load_data` has no arguments {sorted(kwargs)}.")
    file = _arrays(_stored("imdb.npz", _HASH, path))
    rng = _np.random.RandomState(seed)
    texts, labels = [], []
    for part in ("train", "test"):
        order = _shuffled(len(file[f"x_{part}"]), rng)
        found = _shifted(file[f"x_{part}"][order], start_char, index_from)
        found, y = _shorter(found, file[f"y_{part}"][order], maxlen)
        texts.append(found)
        labels.append(y)
    x = _limited(texts[0] + texts[1], num_words, skip_top, oov_char)
    cut = len(texts[0])
    return (x[:cut], labels[0]), (x[cut:], labels[1])


@_boundary
def get_word_index(path="imdb_word_index.json"):
    """Return the number of each word, from 1 on: `load_data` adds `index_from`.

    Args:
        path: the file's name in the cache folder.

    Raises:
        OSError: the file is not in the cache and cannot be fetched.

    >>> import lamina
    >>> lamina.datasets.imdb.get_word_index()["the"]  # doctest: +SKIP
    1
    """
    file = _stored("imdb_word_index.json", _INDEX_HASH, path)
    return _json.loads(_pathlib.Path(file).read_text())
