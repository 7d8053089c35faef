"""What a mistake gets: an error that names the place, both sides and the fix."""

import numpy as np
import pandas
import pytest

import lamina
from lamina import layers

X = np.linspace(0, 1, 128, dtype="float32").reshape(32, 4)
Y = X[:, :1]
TABLE = {"a": X, "b": X[:, :2]}
TARGETS = {"p": Y, "q": np.zeros(32, "int32")}


def stack(units=1, activation=None, loss="mse", **arguments):
    model = lamina.Sequential(
        [lamina.Input((4,), name="table"), layers.Dense(units, activation, name="out")],
        name="net",
    )
    model.compile("adam", loss, **arguments)
    return model


def graph():
    a, b = lamina.Input((4,), name="a"), lamina.Input((2,), name="b")
    joined = layers.Concatenate()([a, b])
    model = lamina.Model(
        {"a": a, "b": b},
        {
            "p": layers.Dense(1, name="price")(joined),
            "q": layers.Dense(3, "softmax", name="kind")(joined),
        },
        name="net",
    )
    model.compile("adam", {"p": "mse", "q": "sparse_categorical_crossentropy"})
    return model


def fit_once(**arguments):
    stack().fit(X, Y, verbose=0, **arguments)


def classes(y):
    return stack(3, "softmax", "sparse_categorical_crossentropy").fit(X, y, verbose=0)


PIXELS, LABELS = np.ones((8, 6, 6, 1), "float32"), np.zeros(8, "int32")


def compiled(model, loss="mse"):
    model.compile("adam", loss)
    return model


def images(loss):
    parts = [lamina.Input((6, 6, 1)), layers.Conv2D(2, 3), layers.Dense(3, "softmax")]
    return compiled(lamina.Sequential(parts), loss)


def nothing(y_true, y_pred):
    """Give None, as a function that lacks its `return` does."""


class Silent(lamina.Model):
    def call(self, x):
        lamina.ops.tanh(x)


def holes(a):
    return np.where(np.arange(a.size).reshape(a.shape) % 9 == 5, np.nan, a)


# What is done, and every piece of text that its error must hold.
CASES = {
    "rank": (lambda: stack()(X[0]), ["'table'", "(None, 4)", "(4,)", "x[None]"]),
    "features": (
        lambda: stack().fit(X[:, :3], Y, verbose=0),
        ["'out' (Dense)", "axis -1", "value 4", "(32, 3)"],
    ),
    "features of a layer": (
        lambda: [
            d(np.ones((2, n))) for d in [layers.Dense(1, name="d")] for n in (3, 4)
        ],
        ["'d' (Dense)", "axis -1", "value 3", "(2, 4)"],
    ),
    "fit before compile": (
        lambda: lamina.Sequential([layers.Dense(1)]).fit(X, Y),
        ["compile()", "fit()", 'loss="mse"'],
    ),
    "loss name": (lambda: stack(loss="mean_squred_error"), ["'mean_squared_error'"]),
    "optimizer name": (lambda: stack().compile("adm", "mse"), ["adm", "'adam'"]),
    "metric name": (lambda: stack(metrics=["acuracy"]), ["acuracy", "'accuracy'"]),
    "two columns against one": (
        lambda: stack().fit(X, np.ones((32, 3)), verbose=0),
        ["'out'", "(32, 3)", "(32, 1)", "Make the last layer give 3"],
    ),
    "flat against three": (
        lambda: stack(3).fit(X, np.ones(32), verbose=0),
        ["'out'", "(32,)", "(32, 3)"],
    ),
    "one-hot for sparse": (
        lambda: classes(np.eye(3)[np.zeros(32, int)]),
        ["`categorical_crossentropy`", "argmax"],
    ),
    "labels for one-hot": (
        lambda: stack(3, "softmax", "categorical_crossentropy").fit(
            X, np.zeros(32, int), verbose=0
        ),
        ["sparse_categorical_crossentropy", "to_categorical"],
    ),
    "label out of range": (
        lambda: classes(np.full(32, 3)),
        ["'out'", "0 to 2", "largest 3", "4 units"],
    ),
    "labels from one": (lambda: classes(np.arange(32) % 3 + 1), ["subtract 1"]),
    "no Flatten": (
        lambda: images("sparse_categorical_crossentropy").fit(PIXELS, LABELS),
        ["(8, 4, 4)", "Is a `Flatten` or a global pooling missing"],
    ),
    "no Flatten, one-hot": (
        lambda: images("categorical_crossentropy").fit(PIXELS, np.eye(3)[LABELS]),
        ["(8, 4, 4, 3)", "Is a `Flatten` or a global pooling missing"],
    ),
    "channels first": (
        lambda: images("mse").fit(PIXELS.transpose(0, 3, 1, 2), LABELS),
        ["value 1", "(8, 1, 6, 6)", "moveaxis(x, 1, -1)", "channels_first"],
    ),
    "a loss without return": (
        lambda: stack(loss=nothing).fit(X, Y),
        ["Loss `nothing` gave None", "`return ...`"],
    ),
    "a call without return": (
        lambda: compiled(Silent()).fit(X, Y),
        ["`Silent.call` gave None", "`return ...`"],
    ),
    "rows in a list": (
        lambda: stack().fit(list(X), Y),
        ["x.0: 4", "and 27 more", "`numpy.stack(x)`"],
    ),
    "a tuple of x and y": (lambda: stack().fit((X, Y)), ["1 input(s)", "`fit(x, y)`"]),
    "lengths": (lambda: stack().fit(X, Y[:5], verbose=0), ["x: 32", "y: 5"]),
    "missing input": (
        lambda: graph().fit({"a": X}, TARGETS, verbose=0),
        ["'net'", "['a', 'b']", "Missing: ['b']"],
    ),
    "misspelt input": (
        lambda: graph().fit({"a": X, "bb": X}, TARGETS, verbose=0),
        ["['a', 'b']", "Missing: ['b']. Unknown: ['bb']. Did you mean 'b'?"],
    ),
    "missing target": (
        lambda: graph().fit(TABLE, {"p": Y}, verbose=0),
        ["['q']", "['p', 'q']", "['p']"],
    ),
    "unknown target": (
        lambda: graph().fit(TABLE, {**TARGETS, "r": Y}, verbose=0),
        ["['p', 'q']", "['p', 'q', 'r']", "Unknown: ['r']"],
    ),
    "targets in a list": (
        lambda: graph().fit(TABLE, [Y, Y], verbose=0),
        ["must be a dict with the keys ['p', 'q']", "a list of 2"],
    ),
    "loss for no output": (
        lambda: (
            graph().compile("adam", {"p": "mse", "z": "mse"})
            or graph_with({"p": "mse", "z": "mse"})
        ),
        ["['p', 'q']", "['z']"],
    ),
    "nan input": (
        lambda: stack().fit(holes(X), Y, verbose=0),
        ["`x`", "NaN", "the first is row 1", "nan_to_num"],
    ),
    "nan target": (
        lambda: stack().fit(X, holes(Y), verbose=0),
        ["`y`", "NaN", "row 5"],
    ),
    "objects": (
        lambda: stack().fit(np.array([[1, 2], [3]], dtype=object), Y, verbose=0),
        ["array of objects", "pad_sequences"],
    ),
    "ragged lists": (lambda: stack().fit([[1, 2], [3]], Y), ["different lengths"]),
    "text": (
        lambda: stack().predict(np.array([["a", "b", "c", "d"]]), verbose=0),
        ["text", "StringLookup"],
    ),
    "frame of text": (
        lambda: stack().fit(pandas.DataFrame({"city": ["x"] * 32, "n": range(32)}), Y),
        ["['city']", "get_dummies"],
    ),
    "no rows": (lambda: stack().fit(X[:0], Y[:0]), ["empty", "0 rows"]),
    "a batch of no rows": (
        lambda: stack().fit(iter([(X, Y), (X[:0], Y[:0])]), steps_per_epoch=2),
        ["Batch 1 of the data has 0 rows"],
    ),
    "one batch of no rows": (
        lambda: stack().train_on_batch(X[:0], Y[:0]),
        ["empty", "0 rows"],
    ),
    "no batch": (lambda: stack().fit(iter([])), ["empty", "yielded no batch"]),
    "batch size": (lambda: stack().fit(X, Y, batch_size=0), ["batch_size", "0"]),
    "no targets": (lambda: stack().fit(X, verbose=0), ["no `y`", "fit(x, y)"]),
    "split": (lambda: stack().fit(X, Y, validation_split=1.5), ["between 0 and 1"]),
    "y beside batches": (lambda: stack().fit(iter([(X, Y)]), Y), ["must not be given"]),
    "other validation": (
        lambda: stack().fit(X, Y, validation_data=X, verbose=0),
        ["`y`", "validation_data=(x_val, y_val)"],
    ),
    "width of validation": (
        lambda: fit_once(validation_data=(X[:, :3], Y)),
        ["'out' (Dense)", "axis -1", "value 4", "(32, 3)"],
    ),
    "rows of validation": (
        lambda: fit_once(validation_data=(X, Y[:5])),
        ["x: 32", "y: 5"],
    ),
    "keys of validation": (
        lambda: graph().fit(TABLE, TARGETS, validation_data=({"a": X}, TARGETS)),
        ["validation data's `x`", "['a']", "['a', 'b']"],
    ),
    "frame of objects": (
        lambda: stack().fit(pandas.DataFrame({"n": [1, None, {}, 2]}), Y[:4]),
        ["['n'] (of object)", "to_numeric"],
    ),
    "steps": (lambda: fit_once(steps_per_epoch=0), ["`steps_per_epoch`", "0"]),
    "negative steps": (lambda: stack().predict(X, steps=-1), ["`steps`", "-1"]),
    "rows of weights": (
        lambda: fit_once(sample_weight=np.ones(5)),
        ["x: 32, y: 32, sample_weight: 5"],
    ),
    "shape of weights": (
        lambda: fit_once(sample_weight=np.ones((32, 4))),
        ["`sample_weight`", "(32, 4)", "(32,)"],
    ),
    "one weight": (
        lambda: fit_once(sample_weight=2.0),
        ["scalars for sample_weight"],
    ),
    "text for weights": (
        lambda: fit_once(sample_weight=["a"] * 32),
        ["`sample_weight` holds text"],
    ),
    "text for targets": (
        lambda: stack().fit(X, ["cat", "dog"] * 16, verbose=0),
        ["`y` holds text", "numpy.unique"],
    ),
    "name of a class": (
        lambda: fit_once(class_weight={"cat": 2.0, 0: 1.0}),
        ["{'cat': 2.0}", "class_weight={0: 1.0, 1: 2.0}"],
    ),
    "no weight of a class": (
        lambda: fit_once(class_weight={0: None}),
        ["{0: None}", "finite numbers"],
    ),
    "one array for several outputs": (
        lambda: graph().fit(TABLE, Y, verbose=0),
        ["a dict with the keys ['p', 'q']", "one array"],
    ),
    "class weights of several outputs": (
        lambda: graph().fit(TABLE, TARGETS, class_weight={0: 2.0}, verbose=0),
        ["class_weight={'p': {0: 1.0, 1: 2.0}}"],
    ),
}


def graph_with(loss):
    model = graph()
    model.compile("adam", loss)
    model.fit(TABLE, TARGETS, verbose=0)


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name):
    mistake, pieces = CASES[name]
    with pytest.raises(ValueError) as caught:  # the text is checked below
        mistake()
    text = str(caught.value)
    assert [piece for piece in pieces if piece not in text] == [], text


def test_a_long_value_is_quoted_in_part():
    with pytest.raises(TypeError, match=r"is not data.* characters\) .*of type str"):
        stack().predict({"x": "words " * 9000})


@pytest.mark.parametrize("shape", [(32,), (32, 1)])
def test_flat_targets_are_never_broadcast(shape):
    """(batch,) against (batch, 1) is compared row by row, not all with all."""
    model = stack()
    y = Y.reshape(shape)
    expected = float(np.mean((model.predict(X, verbose=0) - Y) ** 2))
    assert model.evaluate(X, y, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_a_model_that_copes_with_nan_may_have_them():
    model = lamina.Sequential(
        [
            lamina.Input((4,)),
            layers.Lambda(lambda x: lamina.ops.where(lamina.ops.isnan(x), 0.0, x)),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    loss = model.fit(holes(X), Y, verbose=0).history["loss"][0]
    assert np.isfinite(loss)


def test_weights_are_untouched_by_a_refused_fit():
    model = stack(3)
    before = model.get_weights()
    with pytest.raises(ValueError, match="expected targets"):
        model.fit(X, np.ones((32, 2)), verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


ROWS, SUMS = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
CHANGES = [
    (({"b": ROWS}, SUMS), r"batch 1 of the epoch: x\['a'\] is not there"),
    ((ROWS, SUMS), r"batch 1 of the epoch: x\['a'\] is not there"),
    (({"a": ROWS},), "y is not there, and was float32 with 2 axes"),
    (({"a": ROWS.astype("int32")}, SUMS), r"x\['a'\] is int32 with 2 axes"),
    (({"a": ROWS[..., None]}, SUMS), r"x\['a'\] is float32 with 3 axes"),
    (({"a": ROWS}, SUMS, SUMS), "sample_weight is float32.*was not there"),
]


@pytest.mark.parametrize(("second", "said"), CHANGES)
def test_batches_that_change(second, said):
    inputs = lamina.Input((3,), name="a")
    model = lamina.Model({"a": inputs}, lamina.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=said):
        model.fit(iter([({"a": ROWS}, SUMS), second]), verbose=0)

    class Indexed(lamina.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return [({"a": ROWS}, SUMS), second][index]

    with pytest.raises(ValueError, match=said):
        model.fit(Indexed(), shuffle=False, verbose=0)


def test_batches_may_change_their_sizes():
    model = lamina.Sequential([lamina.layers.GlobalAveragePooling1D()])
    model.compile(loss="mse")
    batches = [(np.ones((n, n + 1, 2)), np.zeros((n, 2))) for n in (2, 3)]
    assert model.evaluate(iter(batches), verbose=0) == 1.0


def test_class_without_a_weight():
    model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match=r"no weight for the classes \[2\]"):
        model.fit(ROWS, np.arange(8) % 3, class_weight={0: 1.0, 1: 2.0}, verbose=0)


def test_class_weights_in_a_list():
    with pytest.raises(TypeError, match=r"must be a dict.*Received: \[1.0, 2.0\]"):
        fit_once(class_weight=[1.0, 2.0])


def test_a_path_is_no_data():
    with pytest.raises(TypeError, match="`x` is not data.*'data.csv'"):
        stack().fit("data.csv")


def test_a_generator_function_is_no_data():
    def batches():
        yield X, Y

    with pytest.raises(TypeError, match=r"`x` is not data.*Call it: `batches\(\)`"):
        stack().fit(batches)


@pytest.mark.parametrize("source", [(X, Y), "generator"])
def test_more_steps_than_data(source):
    data = (iter([(X, Y)]),) if source == "generator" else source
    with pytest.warns(UserWarning, match="ran out of data.*gave 1 of 7 batches"):
        stack().fit(*data, steps_per_epoch=7, verbose=0)


@pytest.mark.parametrize("event", ["train_begin", "epoch_begin", "train_batch_end"])
def test_a_callback_that_raises_is_named(event):
    def fail(*_):
        raise KeyError("nope")

    callback = lamina.callbacks.LambdaCallback(**{f"on_{event}": fail})
    with pytest.raises(KeyError) as caught:
        fit_once(callbacks=[callback])
    (note,) = caught.value.__notes__
    place = "" if event == "train_begin" else "(0)"
    assert note == f"Raised by the callback `LambdaCallback` in `on_{event}`{place}."


def test_validation_data_are_refused_before_the_training():
    model = stack()
    before = model.get_weights()
    with pytest.raises(ValueError) as caught:
        model.fit(X, Y, validation_data=(X[:, :3], Y), verbose=0)
    assert "It was given the validation data's `x`." in caught.value.__notes__
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_validation_data_of_different_lengths():
    model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((4, 3))
    with pytest.raises(ValueError, match="x: 4, y: 2") as caught:
        model.fit(x, x[:, :1], validation_data=(x, x[:2, :1]), verbose=0)
    assert caught.value.__notes__ == ["It was given as `validation_data`."]


def test_resume_from_something_else():
    model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="`resume` expected a folder.*resume=3"):
        model.fit(ROWS, SUMS, resume=3, verbose=0)


@pytest.mark.parametrize("count", [0, -1, 2.5, "many", True])
def test_steps_per_execution(count):
    model = lamina.Sequential([lamina.layers.Dense(1)])
    with pytest.raises(ValueError, match="`steps_per_execution` to be a positive int"):
        model.compile("sgd", "mse", steps_per_execution=count)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", "3"), ("epochs", 1.5), ("epochs", -1), ("initial_epoch", -2),
        ("validation_freq", 0), ("validation_freq", 0.5), ("shuffle", "banana"),
        ("validation_batch_size", 0),
    ],
)  # fmt: skip
def test_settings_of_fit(name, value):
    model = lamina.Sequential([lamina.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    wanted = "batch_size" if name == "validation_batch_size" else name
    with pytest.raises(ValueError, match=f"`{wanted}`"):
        model.fit(x, y, verbose=0, validation_data=(x, y), **{name: value})


def test_a_generator_that_was_run_through():
    model = stack()
    with pytest.warns(UserWarning, match="Epoch 2 had no batch.* ends here") as caught:
        history = model.fit(iter([(X, Y)] * 2), epochs=3, verbose=0)
    assert caught[0].filename == __file__
    assert history.epoch == [0]
    assert len(history.history["loss"]) == 1


def test_metrics_in_the_place_of_weights():
    with pytest.raises(ValueError, match=r"`loss_weights` .*\['mae'\].*`metrics=\["):
        stack().compile("sgd", "mse", ["mae"])


def test_a_table_for_named_inputs():
    inputs = {name: lamina.Input((1,), name=name) for name in "ab"}
    outputs = layers.Dense(1)(layers.Concatenate()(list(inputs.values())))
    model = lamina.Model(inputs, outputs)
    table = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    with pytest.raises(ValueError, match=r"`dict\(table\)`"):
        model.predict(table, verbose=0)
    assert model.predict(dict(table), verbose=0).shape == (2, 1)


def test_the_number_of_rows_in_a_shape():
    model = lamina.Sequential([lamina.Input((32, 4)), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="is that of one row, without their number"):
        model.fit(X, Y, verbose=0)
