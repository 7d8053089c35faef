"""Texts that the compiled library finds are those that Python finds."""

import string

import numpy as np
import pytest

import lamina
from lamina.kernels import lookup
from lamina.layers.preprocessing import text

pytestmark = pytest.mark.skipif(
    not lookup.compiled(), reason="built without compiled kernels"
)
ODD = ["", "a\0b", "ähm", "日本語", "\ud800", "x" * 70, "\x1cq", "İ", "a", "aa", "A"]


def random_texts(count, longest=40):
    letters = [
        *"aabbccAB ",
        *string.punctuation,
        *"\t\n\v\f\r\x1c\x1f",
        "é",
        "\xa0",
        "日",
    ]
    random = np.random.default_rng(0)
    sizes = random.integers(0, longest, count)
    return ["".join(random.choice(letters, size)) for size in sizes]


def both(make, data, monkeypatch):
    """Return what a layer gives with the library and without."""
    found = []
    for compiled in (True, False):
        monkeypatch.setattr(lookup, "compiled", lambda now=compiled: now)
        layer = make()
        found.append([np.asarray(layer(part)) for part in data])
        assert bool(layer_of(layer)._table.compiled) == compiled
    for mine, theirs in zip(*found, strict=True):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(mine, theirs)
    return found[0]


def layer_of(layer):
    return getattr(layer, "_lookup_layer", layer)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mask_token": "aa"},
        {"num_oov_indices": 3},
        {"output_mode": "multi_hot"},
        {"mask_token": "", "output_mode": "count", "num_oov_indices": 2},
    ],
)
def test_lookup(settings, monkeypatch):
    terms = ["a", "日本語", "x" * 70, "\ud800", "bb", "\x1cq"]
    words = [*ODD, *random_texts(300, 3)]
    texts = [word for word in words if "\ud800" not in word]
    data = [
        np.array(texts),
        np.array(texts[:300]).reshape(5, 6, 10)[:, ::2, 1:]
        if settings.get("output_mode") is None
        else np.array(texts[:300]).reshape(30, 10)[::2, 1:],
        np.array(["bb"]),
        np.array(texts).astype(np.array(texts).dtype.newbyteorder()),
        texts,
    ]

    def make():
        return lamina.layers.StringLookup(vocabulary=terms, **settings)

    both(make, data, monkeypatch)


def test_terms_of_every_size_are_found():
    for count in (0, 1, 2, 3, 4, 5, 1000):
        terms = [f"{n}" for n in range(count)]
        table = lookup.Terms(terms)
        asked = np.array([*terms, "none", ""])
        assert table.find(asked).tolist() == [*range(count), -1, -1]


def test_a_term_with_a_zero_inside_is_found_by_python():
    layer = lamina.layers.StringLookup(vocabulary=["a\0b", "c"])
    assert layer(np.array(["a\0b", "c", "a"])).tolist() == [1, 2, 0]
    assert not layer._table.compiled


@pytest.mark.parametrize(
    "standardize",
    ["lower_and_strip_punctuation", "lower", "strip_punctuation", None],
)
@pytest.mark.parametrize("mode", ["int", "tf_idf", "count"])
def test_texts(standardize, mode, monkeypatch):
    texts = [*random_texts(200), "", " ", "...", "a.b, A", "end ", "\x1ca\x1cb"]
    words = ["ab", "a", "b", "ba", "é", "\xa0", "日", "A", "a.b", "\x1ca\x1cb"]
    idf = np.linspace(0.5, 2, len(words)) if mode == "tf_idf" else None

    def make():
        return lamina.layers.TextVectorization(
            standardize=standardize,
            output_mode=mode,
            vocabulary=words,
            idf_weights=idf,
        )

    data = [np.array(texts), np.array(texts)[:, None], [texts[-3]], texts]
    both(make, data, monkeypatch)


def test_texts_with_a_zero_inside_are_read_by_python(monkeypatch):
    layer = lamina.layers.TextVectorization(vocabulary=["a", "b"])
    texts = np.array(["a\0b a", "b"], object)
    assert layer(texts).tolist() == [[1, 2], [3, 0]]


@pytest.mark.parametrize(
    "standardize",
    ["lower_and_strip_punctuation", "lower", "strip_punctuation", None],
)
@pytest.mark.parametrize("mode", ["int", "tf_idf"])
def test_adapt(standardize, mode, monkeypatch):
    rare = [f"w{n * n}" for n in range(2000)]  # the table of words grows
    parts = [random_texts(200), [" ".join(rare)], ["", "...", "a.b, A", "a\0b a"]]
    learned = []
    for compiled in (True, False):
        monkeypatch.setattr(text, "compiled", lambda now=compiled: now)
        layer = lamina.layers.TextVectorization(
            standardize=standardize, output_mode=mode
        )
        for part in parts:
            layer.update_state(part)
        layer.finalize_state()
        learned.append(layer)
    with_library, without = (layer._lookup_layer for layer in learned)
    assert with_library.get_vocabulary() == without.get_vocabulary()
    assert len(with_library.get_vocabulary()) > 2000
    if mode == "tf_idf":
        np.testing.assert_array_equal(with_library.idf_weights, without.idf_weights)


def test_no_words_at_all():
    assert lookup.different_words("\0 ...\0", True, True)[0] == []
    layer = lamina.layers.TextVectorization()
    layer.adapt(["", "..."])
    assert layer.get_vocabulary() == []
