"""Models that take text: what works on it runs on the host, the rest is compiled."""

import numpy as np
import pandas as pd
import pytest

import lamina
from lamina import layers

TEXTS = np.array(["good great", "bad awful sad", "great", "awful bad"] * 5)
NUMBERS = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
IDS = np.array([2**40 + 1, 7, 3, 7] * 5)
X = {"text": TEXTS, "table": NUMBERS, "id": IDS}
Y = np.array([1, 0, 1, 0] * 5, "float32")


def text_and_table():
    """A model with a text branch, a numeric branch and one of large numbers."""
    inputs = {
        "text": lamina.Input((), dtype="string", name="text"),
        "table": lamina.Input((2,), name="table"),
        "id": lamina.Input((1,), dtype="int64", name="id"),
    }
    words = layers.TextVectorization(output_sequence_length=3)
    words.adapt(TEXTS)
    x = layers.Embedding(words.vocabulary_size(), 4)(words(inputs["text"]))
    x = layers.GlobalAveragePooling1D()(x)
    known = layers.IntegerLookup(vocabulary=[2**40 + 1, 7], output_mode="one_hot")
    x = layers.Concatenate()([x, inputs["table"], known(inputs["id"])])
    outputs = layers.Dense(1, activation="sigmoid")(x)
    model = lamina.Model(inputs, outputs)
    optimizer = lamina.optimizers.Adam(0.1)
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return model


def by_hand(model, x):
    """The outputs, layer by layer, from what the host layers give."""
    find = {type(layer).__name__: layer for layer in model.layers}
    words = find["Embedding"](find["TextVectorization"](x["text"]))
    known = find["IntegerLookup"](x["id"][:, None])
    joined = np.concatenate([np.mean(words, axis=1), x["table"], known], axis=-1)
    return np.asarray(find["Dense"](joined))


@pytest.fixture(scope="module")
def fitted():
    model = text_and_table()
    history = model.fit(X, Y, epochs=20, batch_size=8, verbose=0, validation_split=0.2)
    return model, history.history


def test_fit_learns_from_text(fitted):
    model, history = fitted
    assert history["val_accuracy"][-1] == 1.0
    assert model.evaluate(X, Y, batch_size=8, verbose=0)[1] == 1.0


def test_predict_and_call_agree(fitted):
    model, _ = fitted
    expected = by_hand(model, X)
    np.testing.assert_allclose(
        model.predict(X, batch_size=8, verbose=0), expected, rtol=1e-5
    )
    np.testing.assert_allclose(model(X), expected, rtol=1e-5)
    few = {key: value[:3] for key, value in X.items()}
    np.testing.assert_allclose(model.predict_on_batch(few), expected[:3], rtol=1e-5)


def test_other_forms_of_data(fitted):
    model, _ = fitted
    expected = model.predict(X, verbose=0)
    frame = pd.DataFrame({"text": TEXTS, "id": IDS})
    x = {"text": frame["text"], "id": frame["id"], "table": NUMBERS}
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    x = {**X, "text": [t.encode() for t in TEXTS]}
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)

    def batches():
        for i in range(0, 20, 5):
            yield {key: value[i : i + 5] for key, value in X.items()}, Y[i : i + 5]

    np.testing.assert_allclose(model.predict(batches(), verbose=0), expected, rtol=1e-5)


def test_batches_single_steps_and_class_weights():
    model, other = text_and_table(), text_and_table()
    other.set_weights(model.get_weights())

    def batches():
        yield X, Y

    weights = {0: 1.0, 1: 3.0}
    model.fit(batches(), class_weight=weights, verbose=0)
    other.train_on_batch(X, Y, class_weight=weights)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    found = model.test_on_batch(X, Y, return_dict=True)
    assert (
        found["accuracy"]
        == model.evaluate(X, Y, verbose=0, return_dict=True)["accuracy"]
    )


def test_save_and_load(fitted, tmp_path):
    model, _ = fitted
    model.save(tmp_path / "model.keras")
    again = lamina.models.load_model(tmp_path / "model.keras")
    expected = model.predict(X, verbose=0)
    np.testing.assert_array_equal(again.predict(X, verbose=0), expected)
    again.fit(X, Y, verbose=0)


def test_sequential_without_an_input(tmp_path):
    words = layers.TextVectorization(output_mode="tf_idf")
    words.adapt(TEXTS)
    model = lamina.Sequential([words, layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(TEXTS, Y, verbose=0)
    expected = model.predict(TEXTS, verbose=0)
    np.testing.assert_allclose(model(TEXTS), expected, rtol=1e-5)
    np.testing.assert_allclose(
        expected, np.asarray(model.layers[1](words(TEXTS))), rtol=1e-5
    )
    model.save(tmp_path / "model.keras")
    again = lamina.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(TEXTS, verbose=0), expected)
    cloned = lamina.models.clone_model(model)
    assert cloned.layers[0].get_vocabulary() == words.get_vocabulary()


def test_one_host_layer_after_another():
    text = lamina.Input((2,), dtype="string")
    index = layers.StringLookup(vocabulary=["a", "b"])(text)
    again = layers.IntegerLookup(vocabulary=[2, 1], output_mode="multi_hot")(index)
    model = lamina.Model(text, [index, layers.Rescaling(2.0)(again)])
    first, second = model.predict(np.array([["a", "b"], ["a", "q"]]), verbose=0)
    assert first.tolist() == [[1, 2], [1, 0]]
    assert second.tolist() == [[0, 2, 2], [2, 0, 2]]


def test_text_in_a_class_of_ones_own():
    class Words(lamina.Model):
        def __init__(self):
            super().__init__()
            self.words = layers.TextVectorization(vocabulary=["good", "bad"])
            self.table = layers.Embedding(4, 1)

        def call(self, x):
            return self.table(self.words(x))

    model = Words()
    assert model(TEXTS.astype(object)).shape == (20, 3, 1)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="first layers of a Functional or Sequential"):
        model.fit(TEXTS, Y, verbose=0)


def test_wrong_kinds_are_named(fitted):
    model, _ = fitted
    with pytest.raises(ValueError, match="'text' of model .* takes text. Received"):
        model.predict({**X, "text": NUMBERS}, verbose=0)
    with pytest.raises(ValueError, match="'table' of model .* takes numbers. Received"):
        model.predict({**X, "table": TEXTS}, verbose=0)


def inner_model(kind):
    """A model of text to put into others."""
    known = ["good", "great", "bad", "awful", "sad"]
    words = layers.TextVectorization(vocabulary=known, output_sequence_length=3)
    if kind == "stack":
        return lamina.Sequential([words], name="inner")
    text = lamina.Input((), dtype="string", name="text")
    ids = words(text)
    if kind == "ids":
        return lamina.Model(text, ids, name="inner")
    x = layers.Embedding(words.vocabulary_size(), 4, mask_zero=True)(ids)
    if kind == "masked":
        return lamina.Model(text, x, name="inner")
    x = layers.GlobalAveragePooling1D()(x)
    if kind == "text":
        return lamina.Model(text, layers.Dense(2)(x), name="inner")
    table = lamina.Input((2,), name="table")
    ends = {"text": text, "table": table}
    return lamina.Model(ends, layers.Concatenate()([x, table]), name="inner")


def outer_model(kind):
    """A model around one of text, and the data that it takes."""
    inner = inner_model("two" if kind in ("names", "hidden") else kind)
    if kind == "text":
        inner = lamina.Sequential([inner], name="between")
    text = lamina.Input((), dtype="string", name="words")
    if kind in ("names", "hidden"):
        table = lamina.Input((2,), name="numbers")
        given = layers.Dense(2)(table) if kind == "hidden" else table
        x = inner({"text": text, "table": given})
        data = {"words": TEXTS, "numbers": NUMBERS}
        return lamina.Model([text, table], layers.Dense(1)(x)), data
    x = inner(text)
    if kind in ("ids", "stack"):
        x = layers.Flatten()(layers.Embedding(9, 2)(x))
    if kind == "masked":
        x = layers.LSTM(3)(x)
    return lamina.Model(text, layers.Dense(1)(x)), TEXTS


@pytest.mark.parametrize("kind", ["text", "ids", "stack", "masked", "names", "hidden"])
def test_a_model_of_text_inside_another(kind, tmp_path):
    model, x = outer_model(kind)
    expected = np.asarray(model(x))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)
    model.compile("sgd", "mse")
    model.fit(x, Y, batch_size=8, verbose=0)
    expected = np.asarray(model(x))
    found = model.evaluate(x, Y, verbose=0)
    np.testing.assert_allclose(found, np.mean((expected[:, 0] - Y) ** 2), rtol=1e-5)
    for ending in ("keras", "h5"):
        model.save(tmp_path / f"model.{ending}")
        again = lamina.models.load_model(tmp_path / f"model.{ending}")
        np.testing.assert_allclose(again(x), expected, atol=1e-6)
    again = lamina.models.clone_model(model)
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.predict(x, verbose=0), expected, atol=1e-6)
    one = {k: v[:1] for k, v in x.items()} if isinstance(x, dict) else x[:1]
    np.testing.assert_allclose(model.predict(one, verbose=0), expected[:1], atol=1e-6)


def test_a_mask_leaves_a_model_of_text():
    model, _ = outer_model("masked")
    inner = model.get_layer("inner")
    rows = np.asarray(model.layers[-2](inner(TEXTS)))
    by_hand = np.asarray(model.layers[-1](rows))
    np.testing.assert_allclose(model.predict(TEXTS, verbose=0), by_hand, atol=1e-6)


def test_shapes_and_refusals_of_a_model_of_text():
    assert inner_model("text").compute_output_shape((None,)) == (None, 2)
    with pytest.raises(ValueError, match="takes text"):
        inner_model("text")(lamina.Input(()))
    with pytest.raises(TypeError, match="TextVectorization"):
        layers.Dense(1)(lamina.Input((1,), dtype="string"))
