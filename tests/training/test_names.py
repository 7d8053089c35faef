"""Data with more columns than a model has inputs, losses by name and by place."""

import warnings

import numpy as np
import pytest

import lamina
from lamina import layers

X = np.arange(8, dtype="float32").reshape(8, 1) / 8
TABLE = {"a": X, "b": 2 * X}
MORE = {**TABLE, "date": X[:, 0]}
WORDS = {**MORE, "city": np.array(["Ulm", "Bonn"] * 4)}
Y = 3 * X + 1


def table_model(struct=dict, **settings):
    inputs = {name: lamina.Input((1,), name=name) for name in TABLE}
    joined = layers.Add(name="sum")(list(inputs.values()))
    outputs = layers.Dense(1, kernel_initializer="ones", name="out")(joined)
    inputs = inputs if struct is dict else list(inputs.values())
    model = lamina.Model(inputs, outputs, name="net")
    model.compile(lamina.optimizers.SGD(0.0), "mae", **settings)
    return model


def batches(x):
    for i in (0, 4):
        yield {key: value[i : i + 4] for key, value in x.items()}, Y[i : i + 4]


class Batches(lamina.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.batches = list(batches(x))

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return self.batches[i]


WAYS = {
    "fit": lambda m, x: m.fit(x, Y, verbose=0).history["loss"][0],
    "fit a generator": lambda m, x: m.fit(batches(x), verbose=0).history["loss"][0],
    "fit a PyDataset": lambda m, x: m.fit(Batches(x), verbose=0).history["loss"][0],
    "split": lambda m, x: m.fit(x, Y, validation_split=0.5, verbose=0).history[
        "val_loss"
    ][0],
    "evaluate": lambda m, x: m.evaluate(x, Y, verbose=0),
    "evaluate a generator": lambda m, x: m.evaluate(batches(x), verbose=0),
    "train_on_batch": lambda m, x: m.train_on_batch(x, Y),
    "test_on_batch": lambda m, x: m.test_on_batch(x, Y),
    "predict": lambda m, x: m.predict(x, verbose=0).sum(),
    "predict a generator": lambda m, x: m.predict(batches(x), verbose=0).sum(),
    "predict with a bar": lambda m, x: m.predict(x, batch_size=3, verbose=2).sum(),
    "predict_on_batch": lambda m, x: m.predict_on_batch(x).sum(),
    "call": lambda m, x: float(m(x).sum()),
    "call in training": lambda m, x: float(m(x, training=True).sum()),
}


@pytest.mark.parametrize("struct", [dict, list])
@pytest.mark.parametrize("more", [MORE, WORDS], ids=["numbers", "words"])
@pytest.mark.parametrize("way", WAYS)
def test_more_columns_than_inputs(way, more, struct):
    model, run = table_model(struct), WAYS[way]
    expected = run(model, TABLE)
    with pytest.warns(UserWarning, match="'net' has no inputs by the names") as seen:
        assert run(model, more) == pytest.approx(expected)
        assert run(model, more) == pytest.approx(expected)
        assert run(
            model, {k: v[:4] for k, v in more.items()} if way == "call" else more
        )
    assert len({str(one.message) for one in seen}) == len(seen) == 1


def test_every_way_of_running_warns_once():
    model = table_model()
    with pytest.warns(UserWarning, match=r"\['date'\]: they are ignored") as seen:
        for run in WAYS.values():
            run(model, MORE)
    assert len(seen) == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_name_that_is_missing_or_misspelt(way):
    model = table_model()
    with pytest.raises(ValueError, match=r"'net'.*names \['a', 'b'\].*Missing: \['b'"):
        WAYS[way](model, {"a": X, "date": X})
    with pytest.raises(ValueError, match=r"Unknown: \['bb'\]. Did you mean 'b'\?"):
        WAYS[way](model, {"a": X, "bb": X})


def test_an_optional_input_that_is_misspelt():
    class Maybe(lamina.Layer):
        def call(self, x, y=None):
            return x if y is None else x + y

    a = lamina.Input((1,), name="a")
    extra = lamina.Input((1,), name="extra", optional=True)
    model = lamina.Model([a, extra], Maybe()(a, extra))
    assert model({"a": X}).tolist() == X.tolist()
    with pytest.warns(UserWarning, match=r"\['date'\]"):
        assert model({"a": X, "date": X}).tolist() == X.tolist()
    with pytest.raises(ValueError, match=r"\['extras'\]. Did you mean 'extra'\?"):
        model({"a": X, "extras": X})


def test_validation_data_may_have_more_columns():
    model = table_model()
    with pytest.warns(UserWarning, match=r"\['date'\]"):
        model.fit(TABLE, Y, validation_data=(MORE, Y), verbose=0)
    with pytest.raises(ValueError, match=r"validation data's `x` has the keys \['a'\]"):
        model.fit(TABLE, Y, validation_data=({"a": X}, Y), verbose=0)
    with pytest.raises(ValueError, match=r"Unknown: \['bb'\]. Did you mean 'b'"):
        model.fit(TABLE, Y, validation_data=({"a": X, "bb": X}, Y), verbose=0)


def test_own_steps_still_see_every_column():
    class Weighted(lamina.Model):
        def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
            return (x["date"][:, None] * (y - y_pred)).sum()

    drawn = table_model()
    model = Weighted(drawn.input, drawn.output)
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match=r"\['date'\]"):
        assert np.isfinite(model.train_on_batch(MORE, Y))


# ---- losses, metrics and their weights ----------------------------------------


def two_outputs(**settings):
    x = lamina.Input((1,), name="x")
    outputs = [layers.Dense(1, name=name)(x) for name in ("left", "right")]
    model = lamina.Model(x, outputs, name="net")
    model.compile("sgd", **settings)
    return model.fit(X, [Y, Y], verbose=0)


def one_output(**settings):
    x = lamina.Input((1,), name="x")
    model = lamina.Model([x], [layers.Dense(1, name="out")(x)], name="net")
    model.compile("sgd", **settings)
    return model.fit(X, [Y], verbose=0)


@pytest.mark.parametrize(
    "run, settings, message",
    [
        (
            one_output,
            {"loss": ["mse", "mae"]},
            r"one output, 'out'.*loss=\['mse', 'mae'\].*or loss=\[\['mse', 'mae'\]\]",
        ),
        (one_output, {"loss": {"oat": "mse"}}, "Did you mean 'out'"),
        (one_output, {"loss": "mse", "metrics": {"oat": ["mae"]}}, "you mean 'out'"),
        (one_output, {"loss": "mse", "loss_weights": {"oat": 1}}, "you mean 'out'"),
        (one_output, {"loss": "mse", "loss_weights": [1, 2]}, r"a list of 2 \(1, 2\)"),
        (two_outputs, {"loss": ["mse"]}, r"\['left', 'right'\].*a list of 1 \('mse'\)"),
        (two_outputs, {"loss": ["mse"] * 3}, "`loss` must .* a list of 3"),
        (two_outputs, {"loss": "mse", "metrics": ["mae"]}, r"a list of 1 \('mae'\)"),
        (two_outputs, {"loss": {"left": "mse", "rigth": "mse"}}, "you mean 'right'"),
        (two_outputs, {"loss": "mse", "loss_weights": {"rigth": 1}}, "mean 'right'"),
        (
            two_outputs,
            {"loss": ["mse", "mse"], "loss_weights": {"rigth": 1}},
            "Invalid `loss_weights`.*'right'",
        ),
    ],
)
def test_losses_and_metrics_that_do_not_match(run, settings, message):
    with pytest.raises(ValueError, match=message):
        run(**settings)


def test_the_sum_of_two_losses_of_one_output():
    model = table_model()
    for loss in ([["mse", "mae"]], {"out": ["mse", "mae"]}):
        model.compile(lamina.optimizers.SGD(0.0), loss, loss_weights=[1.0, 10.0])
        assert model.evaluate(TABLE, Y, verbose=0) == pytest.approx(11.0)


def test_lists_for_outputs_in_a_dict():
    def model(names, **settings):
        x = lamina.Input((1,))
        outputs = {
            name: layers.Dense(1, kernel_initializer="zeros")(x) for name in names
        }
        model = lamina.Model(x, outputs, name="net")
        model.compile(lamina.optimizers.SGD(0.0), **settings)
        y = {"a": np.full((8, 1), 2.0), "b": np.full((8, 1), 3.0)}
        return model.evaluate(X, y, return_dict=True, verbose=0)

    logs = model(
        "ab", loss=["mse", "mae"], loss_weights=[1, 10], metrics=["mae", "mse"]
    )
    assert logs == {
        "loss": 34.0, "a_loss": 4.0, "b_loss": 3.0, "a_mae": 2.0, "b_mse": 9.0,
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"a dict with the keys \['a', 'b'\]"):
        model("ba", loss="mse", metrics=["mae", "mse"])


def test_lists_for_a_dict_whose_order_is_not_known():
    class Two(lamina.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1, kernel_initializer="zeros")

        def call(self, x):
            return {"b": self.dense(x), "a": self.dense(x)}

    model = Two()
    model.compile("sgd", "mse", metrics=["mae", "mse"])
    y = {"a": np.full((8, 1), 2.0), "b": np.full((8, 1), 3.0)}
    with pytest.warns(UserWarning, match="taken in the order of these keys"):
        logs = model.evaluate(X, y, return_dict=True, verbose=0)
    assert logs["a_mae"] == 2.0 and logs["b_mse"] == 9.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.evaluate(X, y, verbose=0)


@pytest.mark.parametrize("metrics", ({"a": ["mae"], "b": ["mae"]}, [["mae"], ["mae"]]))
@pytest.mark.parametrize(
    "y", (Y, [Y], {"a": Y}, {"a": Y, "b": None}), ids=("one", "list", "dict", "none")
)
def test_nothing_is_measured_of_an_output_without_targets(metrics, y):
    x = lamina.Input((1,))
    outputs = {name: layers.Dense(1, name=name)(x) for name in "ab"}
    model = lamina.Model(x, outputs)
    model.compile("sgd", {"a": "mse"}, metrics=metrics)
    with pytest.warns(UserWarning, match=r"output\(s\) \['b'\].*not measured"):
        history = model.fit(X, y, verbose=0).history
    assert sorted(history) == ["a_mae", "loss"]
    assert sorted(model.evaluate(X, y, verbose=0, return_dict=True)) == [
        "a_mae",
        "loss",
    ]


def test_metrics_need_targets_as_losses_do():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss((x**2).sum())
            return x

    model = lamina.Sequential([layers.Dense(1), Penalty()])
    model.compile("sgd", metrics=["mae"])
    for run in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match="given metrics, which need targets"):
            run(X)
    assert sorted(model.fit(X, Y, verbose=0).history) == ["loss", "mae"]
    model.compile("sgd")
    assert list(model.fit(X, verbose=0).history) == ["loss"]


@pytest.mark.parametrize("dict_out", [False, True])
@pytest.mark.parametrize("given", [Y, [Y]], ids=["bare", "in a list"])
@pytest.mark.parametrize("place", [0, 1])
def test_one_target_is_for_the_only_output_with_a_loss(place, given, dict_out):
    inputs = lamina.Input((1,))
    made = [
        layers.Dense(1, kernel_initializer=start, name=name)(inputs)
        for name, start in (("a", "ones"), ("b", "zeros"))
    ]
    losses, scores = [None, None], [None, None]
    losses[place], scores[place] = "mae", ["mse"]
    if dict_out:
        names = ("a", "b")
        made, losses, scores = (
            dict(zip(names, x, strict=True)) for x in (made, losses, scores)
        )
    model = lamina.Model(inputs, made)
    model.compile(lamina.optimizers.SGD(0.0), losses, metrics=scores)
    wrong = Y - (X, 0 * X)[place]
    logs = model.fit(X, given, validation_split=0.5, verbose=0).history
    assert logs["loss"] == pytest.approx([np.abs(wrong[:4]).mean()])
    assert logs["val_loss"] == pytest.approx([np.abs(wrong[4:]).mean()])
    assert logs[f"{'ab'[place]}_mse"] == pytest.approx([np.square(wrong[:4]).mean()])
    weights = np.arange(8.0)
    assert model.evaluate(X, given, sample_weight=weights, verbose=0)[
        0
    ] == pytest.approx((np.abs(wrong)[:, 0] * weights).mean())
