"""Reuters newswires of 46 topics (Lewis, 1997)."""

import json as _json
import pathlib as _pathlib

from lamina.core.tracebacks import boundary as _boundary
from lamina.datasets.pickled import arrays as _arrays
from lamina.datasets.published import (
    check_split as _check_split,
)
from lamina.datasets.published import (
    limited as _limited,
)
from lamina.datasets.published import (
    shifted as _shifted,
)
from lamina.datasets.published import (
    shorter as _shorter,
)
from lamina.datasets.published import (
    shuffled as _shuffled,
)
from lamina.datasets.published import (
    stored as _stored,
)

__all__ = ["get_label_names", "get_word_index", "load_data"]

_HASH = "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916"
_INDEX_HASH = "4d44cc38712099c9e383dc6e5f11a921"
_TOPICS = """
    cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade
    reserves ship cotton carcass crude nat-gas cpi money-fx interest gnp meal-feed alum
    oilseed gold tin strategic-metal livestock retail ipi iron-steel rubber heat jobs
    lei bop zinc orange pet-chem dlr gas silver wpi hog lead
"""


@_boundary
def load_data(
    path="reuters.npz",
    num_words=None,
    skip_top=0,
    maxlen=None,
    test_split=0.2,
    seed=113,
    start_char=1,
    oov_char=2,
    index_from=3,
):
    """Return 11,228 newswires as lists of word numbers, and their topics.

    Words are numbered by how often they occur. 0 is left for padding.

    Args:
        path: the file's name in the cache folder.
        num_words: words from this number on become `oov_char`; None keeps all but
            the last one.
        skip_top: words with smaller numbers, the most frequent ones, become
            `oov_char`.
        maxlen: only texts shorter than this are kept.
        test_split: the share of the texts that is kept for testing.
        seed: what the order of the texts is drawn from.
        start_char: the number that begins each text, or None.
        oov_char: the number in place of left out words; None drops them.
        index_from: words are numbered from here on.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: object arrays `(n,)` of lists of
        numbers, and int64 topics `(n,)`, see `get_label_names`.

    Raises:
        OSError: the file is not in the cache and cannot be fetched.
        ValueError: no text is shorter than `maxlen`, or `test_split` is not between 0
            and 1.

    >>> import lamina
    >>> (x, y), _ = lamina.datasets.reuters.load_data()  # doctest: +SKIP
    >>> len(x), lamina.datasets.reuters.get_label_names()[y[0]]  # doctest: +SKIP
    (8982, 'earn')
    """
    _check_split(test_split)
    file = _arrays(_stored("reuters.npz", _HASH, path))
    order = _shuffled(len(file["x"]), seed)
    texts = _shifted(file["x"][order], start_char, index_from)
    texts, labels = _shorter(texts, file["y"][order], maxlen)
    x = _limited(texts, num_words, skip_top, oov_char)
    cut = int(len(x) * (1 - test_split))
    return (x[:cut], labels[:cut]), (x[cut:], labels[cut:])


@_boundary
def get_word_index(path="reuters_word_index.json"):
    """Return the number of each word, from 1 on: `load_data` adds `index_from`.

    Args:
        path: the file's name in the cache folder.

    Raises:
        OSError: the file is not in the cache and cannot be fetched.

    >>> import lamina
    >>> lamina.datasets.reuters.get_word_index()["the"]  # doctest: +SKIP
    1
    """
    file = _stored("reuters_word_index.json", _INDEX_HASH, path)
    return _json.loads(_pathlib.Path(file).read_text())


@_boundary
def get_label_names():
    """Return the names of the topics, in the order of their numbers.

    >>> import lamina
    >>> lamina.datasets.reuters.get_label_names()[:3]
    ('cocoa', 'grain', 'veg-oil')
    """
    return tuple(_TOPICS.split())
