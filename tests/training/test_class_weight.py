"""`class_weight`: one class for each target, as the loss declares, or a refusal."""

import numpy as np
import pytest

import lamina
from lamina import layers

WEIGHTS = {0: 1.0, 1: 5.0, 2: 2.0}


def table(y):
    return np.vectorize(WEIGHTS.get)(y)


def words(classes=3, last="softmax", steps=5):
    return lamina.Sequential(
        [
            lamina.Input((steps,)),
            layers.Embedding(9, 4),
            layers.Dense(classes, activation=last),
        ]
    )


def rows(units=3, last="softmax"):
    return lamina.Sequential([lamina.Input((2,)), layers.Dense(units, activation=last)])


def trained(model, x, y, loss, sample_weight=None, weights=WEIGHTS, **how):
    model.compile(lamina.optimizers.SGD(0.0), loss, **how)
    history = model.fit(
        x, y, batch_size=len(x), verbose=0, class_weight=weights,
        sample_weight=sample_weight,
    ).history  # fmt: skip
    return history["loss"][0]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def nll(p, y):
    return -np.log(np.take_along_axis(p, y[..., None], -1)[..., 0])


@pytest.mark.parametrize("form", ["labels", "column", "one-hot", "by shape"])
@pytest.mark.parametrize("steps", [3, 5])  # as many steps as classes, and more
def test_a_class_for_each_word(rng, form, steps):
    model = words(steps=steps)
    x, y = rng.integers(1, 9, (6, steps)), rng.integers(0, 3, (6, steps))
    want = nll(model.predict(x, verbose=0), y) * table(y)
    given, loss = {
        "labels": (y, "sparse_categorical_crossentropy"),
        "column": (y[..., None], "sparse_categorical_crossentropy"),
        "one-hot": (np.eye(3)[y], "categorical_crossentropy"),
        "by shape": (y, "crossentropy"),
    }[form]
    assert trained(model, x, given, loss) == pytest.approx(want.mean(), rel=1e-5)
    rowwise = np.linspace(0.5, 2.0, 6)
    for weight in (rowwise, rowwise[:, None], np.tile(rowwise[:, None], steps)):
        got = trained(model, x, given, loss, weight)
        assert got == pytest.approx((want * rowwise[:, None]).mean(), rel=1e-5)


def test_classes_along_another_axis(rng):
    x, y = rng.random((4, 3, 2)).astype("float32"), rng.integers(0, 3, (4, 2))
    model = lamina.Sequential([lamina.Input((3, 2)), layers.Softmax(axis=1)])
    model.add(layers.Activation("linear"))
    p = np.moveaxis(model.predict(x, verbose=0), 1, -1)
    want = (nll(p, y) * table(y)).mean()
    sparse = lamina.losses.SparseCategoricalCrossentropy(axis=1)
    assert _still(model, x, y, sparse) == pytest.approx(want, rel=1e-5)
    dense = lamina.losses.CategoricalCrossentropy(axis=1)
    one_hot = np.moveaxis(np.eye(3)[y], -1, 1)
    assert _still(model, x, one_hot, dense) == pytest.approx(want, rel=1e-5)


def _still(model, x, y, loss):
    from lamina.training.checks import class_weighted
    from lamina.training.prepare import prepare

    model.compile("sgd", loss)
    prepare(model, (x, y, None))
    weight = class_weighted(model, (x, y, None), WEIGHTS)[2]
    return model.evaluate(x, y, sample_weight=weight, verbose=0)


@pytest.mark.parametrize("y_axis", [True, False])
def test_yes_or_no_for_each_step(rng, y_axis):
    model = words(1, "sigmoid")
    x, y = rng.integers(1, 9, (5, 5)), rng.integers(0, 2, (5, 5))  # rows as steps
    p = model.predict(x, verbose=0)[..., 0]
    want = -np.where(y, np.log(p), np.log(1 - p)) * table(y)
    given = y[..., None] if y_axis else y
    got = trained(model, x, given, "binary_crossentropy")
    assert got == pytest.approx(want.mean(), rel=1e-4)


def test_one_hot_rows_of_an_elementwise_loss_and_none_other(rng):
    model, x = rows(3, "sigmoid"), rng.random((6, 2))
    y = np.eye(3)[[0, 1, 2, 1, 1, 0]]
    each = np.square(model.predict(x, verbose=0) - y).mean(-1)
    want = (each * table(y.argmax(-1))).mean()
    assert trained(model, x, y, "mse") == pytest.approx(want, rel=1e-5)
    y[0] = [1, 1, 0]
    with pytest.raises(
        ValueError, match=r"one class for each.*mean_squared_error.*6, 3"
    ):
        trained(model, x, y, "mse")


def test_an_own_loss_by_the_predictions_shape(rng):
    def own(y_true, y_pred):
        return lamina.losses.sparse_categorical_crossentropy(y_true, y_pred)

    model, x = words(), rng.integers(1, 9, (6, 5))
    y = rng.integers(0, 3, (6, 5))
    want = (nll(model.predict(x, verbose=0), y) * table(y)).mean()
    assert trained(model, x, y, own) == pytest.approx(want, rel=1e-5)

    def pooled(y_true, y_pred):
        return y_pred[:, 0] * 0.0

    with pytest.raises(ValueError, match=r"pooled.*sample_weight"):
        trained(rows(), rng.random((6, 2)), rng.random((6, 4)), pooled)


def test_several_outputs_with_weights_of_their_own(rng):
    entry = lamina.Input((2,))
    model = lamina.Model(
        entry,
        {
            "a": layers.Dense(3, activation="softmax", name="a")(entry),
            "b": layers.Dense(1, activation="sigmoid", name="b")(entry),
        },
    )
    x = rng.random((6, 2)).astype("float32")
    y = {"a": rng.integers(0, 3, 6), "b": rng.integers(0, 2, (6, 1))}
    p = model.predict(x, verbose=0)
    a = nll(p["a"], y["a"]) * table(y["a"])
    b = -np.log(np.where(y["b"], p["b"], 1 - p["b"]))[:, 0]
    losses = {"a": "sparse_categorical_crossentropy", "b": "binary_crossentropy"}
    some = {"a": WEIGHTS}
    got = trained(model, x, y, losses, weights=some)
    assert got == pytest.approx(a.mean() + b.mean(), rel=1e-5)
    weight = {"a": np.arange(6.0), "b": np.ones(6)}
    got = trained(model, x, y, losses, weight, weights=some)
    assert got == pytest.approx((a * np.arange(6)).mean() + b.mean(), rel=1e-5)


def test_every_source_and_single_steps(rng):
    model, x = words(), rng.integers(1, 9, (6, 5))
    y = rng.integers(0, 3, (6, 5))
    want = (nll(model.predict(x, verbose=0), y) * table(y)).mean()

    class Batches(lamina.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return x[3 * i : 3 * i + 3], y[3 * i : 3 * i + 3]

    def drawn():
        while True:
            yield x, y

    model.compile(lamina.optimizers.SGD(0.0), "crossentropy")
    one = model.train_on_batch(x, y, class_weight=WEIGHTS)
    assert float(np.ravel(one)[0]) == pytest.approx(want, rel=1e-5)
    for source, steps in ((Batches(), None), (drawn(), 1)):
        history = model.fit(
            source, steps_per_epoch=steps, class_weight=WEIGHTS, verbose=0
        ).history
        assert history["loss"][0] == pytest.approx(want, rel=1e-5)


def test_masked_words_do_not_count(rng):
    model = lamina.Sequential(
        [
            lamina.Input((5,)),
            layers.Embedding(9, 4, mask_zero=True),
            layers.Dense(3, activation="softmax"),
        ]
    )
    x = rng.integers(1, 9, (6, 5))
    x[:, 3:] = 0
    y = rng.integers(0, 3, (6, 5))
    want = (nll(model.predict(x, verbose=0), y) * table(y))[x != 0].mean()
    got = trained(model, x, y, "sparse_categorical_crossentropy")
    assert got == pytest.approx(want, rel=1e-5)


def test_an_ignored_label_needs_no_weight(rng):
    model, x = words(), rng.integers(1, 9, (6, 5))
    y = rng.integers(-1, 3, (6, 5))
    loss = lamina.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    p, keep = model.predict(x, verbose=0), y >= 0
    want = (nll(p, np.maximum(y, 0)) * table(np.maximum(y, 0)))[keep].mean()
    assert trained(model, x, y, loss) == pytest.approx(want, rel=1e-5)
