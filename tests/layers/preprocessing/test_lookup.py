"""StringLookup and IntegerLookup. Their numbers are those that Keras gives."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest

import lamina
from lamina.layers import IntegerLookup, StringLookup

WORDS = ["cat", "cow", "", "Éclair", "w" * 70, "dog"]
NUMBERS = np.array([7, 2**40 + 1, -3, 0, 8])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [1, 0, 0, 0, 0, 2]),
        ({"mask_token": ""}, [2, 1, 0, 1, 1, 3]),
        ({"num_oov_indices": 4}, [4, 0, 3, 2, 1, 5]),
        (
            {"num_oov_indices": 4, "mask_token": "", "salt": [137, 42]},
            [5, 4, 0, 4, 3, 6],
        ),
    ],
)
def test_words_become_indices(arguments, expected):
    layer = StringLookup(vocabulary=["cat", "dog"], **arguments)
    assert layer(WORDS).tolist() == expected
    encoded = np.array([w.encode() for w in WORDS])
    for form in (
        np.array(WORDS), np.array(WORDS, object), encoded, encoded.astype(object),
        pd.Series(WORDS), tuple(WORDS),
    ):  # fmt: skip
        assert layer(form).tolist() == expected
    assert layer(np.array(WORDS).reshape(3, 2)).shape == (3, 2)
    assert layer("cat").shape == ()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [2, 1, 0, 0, 0]),
        ({"mask_token": 0}, [3, 2, 1, 0, 1]),
        ({"num_oov_indices": 3}, [4, 3, 0, 0, 2]),
        (
            {"num_oov_indices": 3, "oov_method": "farmhash", "mask_token": 0},
            [5, 4, 1, 0, 2],
        ),
    ],
)
def test_integers_become_indices(arguments, expected):
    layer = IntegerLookup(vocabulary=[2**40 + 1, 7], **arguments)
    assert layer(NUMBERS).tolist() == expected
    assert layer(NUMBERS.tolist()).tolist() == expected


@pytest.mark.parametrize("method", ["floormod", "farmhash"])
def test_integers_within_a_compiled_function(method):
    import jax

    layer = IntegerLookup(
        vocabulary=[5, 7], num_oov_indices=3, mask_token=0, oov_method=method
    )
    x = np.array([[5, 0], [7, -4]], "int32")
    assert jax.jit(layer)(x).tolist() == layer(x).tolist()


def test_vectors():
    x = [["a", "z"], ["b", "b"]]
    expected = {
        "one_hot": [[[0, 1, 0], [1, 0, 0]], [[0, 0, 1], [0, 0, 1]]],
        "multi_hot": [[1, 1, 0], [0, 0, 1]],
        "count": [[1, 1, 0], [0, 0, 2]],
        "tf_idf": [[2, 1, 0], [0, 0, 6]],
    }
    for mode, vectors in expected.items():
        idf = [1.0, 3.0] if mode == "tf_idf" else None
        layer = StringLookup(vocabulary=["a", "b"], output_mode=mode, idf_weights=idf)
        found = layer(x)
        assert found.tolist() == vectors
        assert found.dtype == "float32"
        drawn = layer(lamina.Input((2,), dtype="string"))
        assert drawn.shape[1:] == found.shape[1:]
        assert drawn.dtype == "float32"


def test_masked_words_leave_no_trace_in_vectors():
    layer = StringLookup(vocabulary=["a"], mask_token="", output_mode="count")
    assert layer([["a", "", ""], ["x", "x", ""]]).tolist() == [[0, 1], [2, 0]]
    assert layer.get_vocabulary() == ["[UNK]", "a"]


def test_adapt_orders_by_count_and_then_backwards():
    layer = StringLookup(mask_token="m", max_tokens=5)
    layer.adapt(["b", "a", "c", "c", "d", "m", "m", "m", "[UNK]"])
    assert layer.get_vocabulary() == ["m", "[UNK]", "c", "d", "b"]
    assert layer.get_vocabulary(include_special_tokens=False) == ["c", "d", "b"]
    assert layer.vocabulary_size() == 5
    layer = IntegerLookup()
    layer.adapt([[3, -9], [3, 2**40]])
    assert layer.get_vocabulary() == [-1, 3, 2**40, -9]


def test_adapt_learns_document_frequencies():
    layer = StringLookup(output_mode="tf_idf", max_tokens=6, pad_to_max_tokens=True)
    layer.adapt([["a", "b", "a"], ["b", "c", "d"]])
    assert layer.get_vocabulary() == ["[UNK]", "b", "a", "d", "c"]
    rare, common = np.log(2), np.log(1 + 2 / 3)
    mean = (3 * rare + common) / 4
    np.testing.assert_allclose(
        layer([["a", "z", "a"], ["b", "d", "c"]]),
        [[mean, 0, 2 * rare, 0, 0, 0], [0, common, 0, rare, rare, 0]],
        rtol=1e-6,
    )


def test_adapt_reads_batches_and_states_add_up():
    batches = [["cat", "dog"], ["bird", "cat"]]
    layer = StringLookup()
    layer.adapt(iter(batches * 5), steps=2)
    by_hand = StringLookup()
    for batch in batches:
        by_hand.update_state(batch)
    by_hand.finalize_state()
    assert layer.get_vocabulary() == by_hand.get_vocabulary()
    assert layer.get_vocabulary() == ["[UNK]", "cat", "dog", "bird"]
    by_hand.adapt(pd.Series(["x"]))
    assert by_hand.get_vocabulary() == ["[UNK]", "x"]


def test_invert():
    layer = StringLookup(vocabulary=["a", "b"], mask_token="", invert=True)
    assert layer([[0, 1], [3, 9]]).tolist() == [["", "[UNK]"], ["b", "[UNK]"]]
    layer = IntegerLookup(vocabulary=[10, 2**40], invert=True)
    assert layer(np.array([1, 2, 0])).tolist() == [10, 2**40, -1]
    symbol = StringLookup(vocabulary=["a"], invert=True)(lamina.Input((2,)))
    assert (symbol.shape, symbol.dtype) == ((None, 2), "string")


def test_vocabulary_with_special_tokens_in_front():
    layer = StringLookup(vocabulary=["", "[UNK]", "a"], mask_token="")
    assert layer.get_vocabulary() == ["", "[UNK]", "a"]
    assert layer(["a"]).tolist() == [2]


def test_vocabulary_from_a_file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("é\r\nb\r\n\r\n".encode("latin-1"))
    layer = StringLookup(vocabulary=path, encoding="latin-1")
    assert layer.get_vocabulary() == ["[UNK]", "é", "b"]
    assert layer(np.array(["é".encode("latin-1")])).tolist() == [1]
    path.write_text("5\n3\n")
    assert IntegerLookup(vocabulary=str(path))([3]).tolist() == [2]
    with pytest.raises(ValueError, match="does not support loading"):
        StringLookup(output_mode="tf_idf", idf_weights=[1.0], vocabulary=path)


def test_lookups_do_not_share_what_they_learn():
    one, other = StringLookup(), StringLookup()
    one.adapt(["a"])
    with pytest.raises(RuntimeError, match="needs a vocabulary before it is called"):
        other(["a"])


def test_a_million_words():
    random = np.random.default_rng(0)
    words = np.char.add("w", random.integers(0, 5000, 1_000_000).astype(str))
    layer = StringLookup(num_oov_indices=3, max_tokens=2000)
    layer.adapt(words)
    found = np.asarray(layer(words))
    vocabulary = np.array(layer.get_vocabulary())
    known = found >= 3
    assert (vocabulary[found[known]] == words[known]).all()
    assert not np.isin(words[~known], vocabulary).any()


# ---- configs and files -----------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        StringLookup(vocabulary=["a", "b"], num_oov_indices=2, mask_token="", salt=3),
        StringLookup(vocabulary=np.array(["a"]), idf_weights=[2], output_mode="tf-idf"),
        IntegerLookup(vocabulary=[2, 1], oov_method="farmhash", output_mode="binary"),
    ],
)
def test_config_round_trip(layer):
    config = json.loads(json.dumps(lamina.layers.serialize(layer)))
    again = lamina.layers.deserialize(config)
    assert again.get_config() == layer.get_config()
    x = [["a", "z"]] if isinstance(layer, StringLookup) else [[1, 9]]
    assert np.array_equal(again(x), layer(x))


def model_of(layer, x):
    """A model that is one layer, saved beside its learnt vocabulary."""
    dtype = "string" if isinstance(layer, StringLookup) else "int64"
    inputs = lamina.Input(x.shape[1:], dtype=dtype)
    return lamina.Model(inputs, layer(inputs))


@pytest.mark.parametrize("mode", ["int", "tf_idf"])
@pytest.mark.parametrize(
    "x", [np.array([["a", "b\nc"], ["a", ""]]), np.array([[4, 2**40], [4, 0]])]
)
def test_learnt_vocabulary_travels(mode, x, tmp_path):
    kind = StringLookup if x.dtype.kind == "U" else IntegerLookup
    layer = kind(output_mode=mode)
    layer.adapt(x)
    model = model_of(layer, x)
    path = tmp_path / "model.keras"
    model.save(path)
    for again in (lamina.models.load_model(path), pickle.loads(pickle.dumps(model))):
        assert again.layers[1].get_vocabulary() == layer.get_vocabulary()
        assert np.array_equal(again(x), model(x))
        again.layers[1].adapt(x)  # what was learnt may be learnt again


def test_file_named_in_a_config_is_not_opened(tmp_path):
    path = tmp_path / "secret.txt"
    path.write_text("secret\n")
    config = StringLookup(vocabulary=["a"]).get_config() | {"vocabulary": str(path)}
    for cls in (StringLookup, IntegerLookup):
        with pytest.raises(ValueError, match="outside of the model archive"):
            cls.from_config(dict(config))


def test_constructor_opens_no_file_while_a_model_is_loaded(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("a\n")

    class Words(lamina.layers.Layer):
        def __init__(self, source, **kwargs):
            super().__init__(**kwargs)
            self.source = source
            self.lookup = StringLookup(vocabulary=source)

        def call(self, x):
            return x

    inputs = lamina.Input((1,))
    lamina.Model(inputs, Words(str(path))(inputs)).save(tmp_path / "m.keras")
    load = lamina.models.load_model
    with pytest.raises(ValueError, match="outside of the model archive"):
        load(tmp_path / "m.keras", custom_objects={"Words": Words})
    model = load(tmp_path / "m.keras", {"Words": Words}, safe_mode=False)
    assert model.layers[1].lookup.get_vocabulary() == ["[UNK]", "a"]


# ---- what is refused -------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StringLookup(max_tokens=1), "`StringLookup` expected `max_tokens`"),
        (lambda: IntegerLookup(num_oov_indices=-1), "`num_oov_indices` to be a number"),
        (lambda: StringLookup(pad_to_max_tokens=True), "must set `max_tokens`"),
        (lambda: StringLookup(output_mode="ints"), "`output_mode` to be one of"),
        (lambda: StringLookup(invert=True, output_mode="count"), "must be `'int'`"),
        (lambda: StringLookup(sparse=True, output_mode="count"), "sparse tensors"),
        (lambda: IntegerLookup(vocabulary_dtype="int32"), "Only `vocabulary_dtype="),
        (lambda: IntegerLookup(oov_method="hash"), "`oov_method` to be one of"),
        (lambda: IntegerLookup(salt=3), "only be used when `oov_method='farmhash'`"),
        (lambda: StringLookup(salt=[1, 2, 3]), "an integer or two"),
        (lambda: StringLookup(idf_weights=[1.0]), "should only be set if"),
        (
            lambda: StringLookup(vocabulary=["a"], output_mode="tf_idf"),
            "`idf_weights` must be set",
        ),
        (
            lambda: StringLookup(
                vocabulary=["a"], output_mode="tf_idf", idf_weights=[1, 2]
            ),
            "must be the same length",
        ),
        (lambda: StringLookup(vocabulary=[]), "Cannot set an empty vocabulary"),
        (lambda: StringLookup(vocabulary=["a", "b", "a"]), r"repeated.*\['a'\]"),
        (lambda: StringLookup(vocabulary=["a", "b"], max_tokens=2), "larger than the"),
        (
            lambda: StringLookup(vocabulary=["a", "m"], mask_token="m"),
            "reserved mask token.*'m' at index 1",
        ),
        (
            lambda: StringLookup(vocabulary=["a", "[UNK]"], invert=True),
            "reserved OOV token",
        ),
        (lambda: StringLookup(vocabulary="no.txt"), "no.txt does not exist"),
        (
            lambda: StringLookup(vocabulary=["a"], num_oov_indices=0)(["a", "q"]),
            r"found OOV values \['q'\]",
        ),
        (lambda: StringLookup(vocabulary=["a"]).adapt(["b"]), "static vocabulary"),
        (lambda: StringLookup(vocabulary=["a"])([["a"], ["b", "c"]]), "ragged"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_kind_of_data():
    with pytest.raises(TypeError, match="takes text. Received: dtype=int64"):
        StringLookup(vocabulary=["a"])(np.array([1, 2]))
    with pytest.raises(TypeError, match="takes integers; `StringLookup` takes text"):
        IntegerLookup(vocabulary=[1])(["a"])


def test_size_of_a_drawn_vocabulary_is_fixed():
    layer = StringLookup(vocabulary=["a"], output_mode="count")
    layer.set_vocabulary(["a", "b"])
    layer(lamina.Input((1,), dtype="string"))
    layer.set_vocabulary(["c", "d"])
    with pytest.raises(RuntimeError, match="Old vocab size is 3, new vocab size is 4"):
        layer.set_vocabulary(["a", "b", "c"])


def test_vocabulary_files_without_terms(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("")
    with pytest.raises(ValueError, match="words.txt holds no term"):
        StringLookup(vocabulary=str(path))
    path.write_text(f"{'x' * 9999}\n" * 2)
    with pytest.raises(ValueError, match=r"repeated term.*\['x{998}$"):
        StringLookup(vocabulary=str(path))
    path.write_text(f"1\n{1 << 63}\n")
    with pytest.raises(ValueError, match="9223372036854775808 is not an integer of 64"):
        IntegerLookup(vocabulary=str(path))
    path.write_text("1\nx\n")
    with pytest.raises(ValueError, match="a line that is not a term.*'x'"):
        IntegerLookup(vocabulary=str(path))
