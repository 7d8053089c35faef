"""TextVectorization. Its numbers are those that Keras gives."""

import json

import numpy as np
import pandas as pd
import pytest

import lamina
from lamina.layers import TextVectorization


def test_adapt_and_call():
    layer = TextVectorization(output_sequence_length=4)
    layer.adapt(["foo bar", "bar baz", "baz bada boom"])
    assert layer.get_vocabulary() == ["", "[UNK]", "baz", "bar", "foo", "boom", "bada"]
    assert layer.vocabulary_size() == 7
    expected = [[4, 1, 3, 0], [1, 2, 0, 0]]
    for x in (
        [["foo qux bar"], ["qux baz"]],
        np.array(["Foo, qux... bar!", "qux-\tbaz "]).astype(object),
        pd.Series(["foo qux bar", "qux baz"]),
        np.array([b"foo qux bar", b"qux baz"]),
    ):
        assert layer(x).shape == (2, 4)
    assert layer([["foo qux bar"], ["qux baz"]]).tolist() == expected
    assert layer(np.array([b"FOO qux; bar", b"qux\nbaz"])).tolist() == expected
    assert layer("foo qux bar").tolist() == expected[0]
    assert layer(["a b c d e f"]).tolist() == [[1, 1, 1, 1]]


def test_without_a_length_rows_are_as_long_as_the_longest():
    layer = TextVectorization(vocabulary=["a", "b"])
    assert layer([["a b"], ["c"]]).tolist() == [[2, 3], [1, 0]]
    assert layer(["", " "]).shape == (2, 0)
    nested = layer(np.array([[["a"], ["b a"]]]))
    assert nested.tolist() == [[[2, 0], [3, 2]]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, ["Éa", "x\xa0y", "a\x1cb", "vs"]),
        ({"standardize": "lower"}, ["Éa,", "x\xa0y", "a\x1cb", "v's"]),
        ({"standardize": "strip_punctuation"}, ["ÉA", "x\xa0y", "a\x1cb", "vs"]),
        ({"standardize": None}, ["ÉA,", "x\xa0y", "a\x1cb", "v's"]),
        ({"standardize": np.char.upper}, ["ÉA,", "X\xa0Y", "A\x1cB", "V'S"]),
        ({"split": None}, ["Éa x\xa0y\ta\x1cb \x0bvs"]),
        (
            {"split": lambda x: [t.split("\t") for t in x]},
            ["Éa x\xa0y", "a\x1cb \x0bvs"],
        ),
        (
            {"ngrams": (1, 3)},
            ["Éa", "x\xa0y", "a\x1cb", "vs", "Éa x\xa0y a\x1cb", "x\xa0y a\x1cb vs"],
        ),
        (
            {"ngrams": 2},
            ["Éa", "x\xa0y", "a\x1cb", "vs", "Éa x\xa0y", "x\xa0y a\x1cb", "a\x1cb vs"],
        ),
    ],
)  # fmt: skip
def test_words_of_a_text(arguments, words):
    layer = TextVectorization(**arguments)
    text = np.array(["ÉA, x\xa0y\ta\x1cb \x0bv's"])
    layer.adapt(text)
    assert sorted(layer.get_vocabulary(include_special_tokens=False)) == sorted(words)
    by_word = layer.get_vocabulary()
    assert [by_word[i] for i in np.asarray(layer(text)).ravel()] == words


def test_characters():
    layer = TextVectorization(split="character", vocabulary=list("abcé"))
    assert layer(["abcf", "é"]).tolist() == [[2, 3, 4, 1], [5, 0, 0, 0]]


def test_functions_get_arrays_of_strings():
    seen = []

    def lower(x):
        seen.append((x.dtype.kind, x.shape))
        return np.char.lower(x)

    layer = TextVectorization(standardize=lower, split=lambda x: np.char.split(x, "|"))
    layer.adapt(np.array([b"A|b", b"c"], object))
    assert set(seen) == {("U", (2, 1))}
    assert layer(["B|a"]).tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("multi_hot", [[0, 1, 1, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]),
        ("count", [[0, 1, 1, 0, 0], [1, 2, 0, 0, 0], [0, 0, 0, 0, 0]]),
        ("tf_idf", [[0, 2, 4, 0, 0], [3, 4, 0, 0, 0], [0, 0, 0, 0, 0]]),
    ],
)
def test_vectors(mode, expected):
    idf = [2.0, 4.0] if mode == "tf_idf" else None
    layer = TextVectorization(
        max_tokens=5, pad_to_max_tokens=True, vocabulary=["foo", "bar"],
        output_mode=mode, idf_weights=idf,
    )  # fmt: skip
    assert layer(["foo bar", "baz foo foo", ""]).tolist() == expected
    assert layer("foo bar").tolist() == expected[0]


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({}, (None, None)),
        ({"output_sequence_length": 4}, (None, 4)),
        ({"split": None, "output_sequence_length": 4}, (None, 4)),
        ({"split": None, "ngrams": 2}, (None, None)),
        ({"output_mode": "count"}, (None, 4)),
        ({"output_mode": "one_hot", "split": None}, (None, 3)),
        ({"output_mode": "one_hot"}, (None, None, 3)),
    ],
)
def test_drawn_shapes(arguments, shape):
    mode = arguments.get("output_mode", "int")
    pad = {"max_tokens": 4, "pad_to_max_tokens": True} if mode == "count" else {}
    layer = TextVectorization(vocabulary=["a", "b"], **arguments, **pad)
    drawn = layer(lamina.Input((1,), dtype="string"))
    assert drawn.shape == shape
    found = layer([["a b"], ["c"]])
    assert len(found.shape) == len(shape)
    assert all(a in (None, b) for a, b in zip(shape, found.shape, strict=True))


def test_adapt_reads_batches():
    batches = [["a b", "a"], ["unique"]]
    layer = TextVectorization(output_mode="tf_idf")
    layer.adapt(batches for batches in batches)
    whole = TextVectorization(output_mode="tf_idf")
    whole.adapt(["a b", "a", "unique"])
    assert layer.get_vocabulary() == whole.get_vocabulary()
    assert layer(["a b"]).tolist() == whole(["a b"]).tolist()
    layer = TextVectorization()
    layer.adapt(iter(batches), steps=1)
    assert layer.get_vocabulary() == ["", "[UNK]", "a", "b"]


def test_config_round_trip():
    layer = TextVectorization(
        vocabulary=["one", "two"], ngrams=(1, 2), output_sequence_length=5,
        standardize="lower",
    )  # fmt: skip
    config = json.loads(json.dumps(lamina.layers.serialize(layer)))
    again = lamina.layers.deserialize(config)
    assert again.get_config() == layer.get_config()
    assert again(["one two"]).tolist() == layer(["one two"]).tolist()


def test_file_named_in_a_config_is_not_opened(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("foo\nbar\n")
    layer = TextVectorization(vocabulary=str(path))
    assert layer(["foo bar baz"]).tolist() == [[2, 3, 1]]
    config = layer.get_config()
    assert config["vocabulary"] is None
    with pytest.raises(ValueError, match="outside of the model archive"):
        TextVectorization.from_config(config | {"vocabulary": str(path)})


def test_long_texts_take_linear_time():
    layer = TextVectorization(vocabulary=["a"], output_sequence_length=2)
    text = " " * 2_000_000 + "a" + "-" * 2_000_000
    assert layer([text]).tolist() == [[2, 0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ragged": True}, "ragged tensors are not supported.*output_sequence_length"),
        ({"sparse": True, "output_mode": "count"}, "sparse tensors"),
        ({"standardize": "upper"}, "`standardize` to be one of"),
        ({"split": "words"}, "`split` to be one of"),
        ({"ngrams": "two"}, "`ngrams` must be None, an integer, or a tuple"),
        ({"output_sequence_length": 3, "output_mode": "count"}, "must not be set if"),
        ({"output_sequence_length": -3}, "None or an integer"),
        ({"output_mode": "words"}, "`output_mode` to be one of"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TextVectorization(**arguments)


def test_rows_of_texts_are_refused():
    layer = TextVectorization(vocabulary=["a"])
    with pytest.raises(ValueError, match=r"Received: inputs.shape=\(1, 2\)"):
        layer([["a", "b"]])
