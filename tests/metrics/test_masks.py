"""Metrics under a mask: padded steps do not count, in whatever way it runs."""

import numpy as np
import pytest

import lamina
from lamina import layers, metrics, ops

CLASSES = 4
X = np.random.default_rng(1).integers(1, 6, (6, 5))
X[1:4, 3:] = 0
KEPT = X != 0
DRAWN = np.random.default_rng(2)
BITS = DRAWN.integers(0, 2, (6, 5, 1)).astype("float32")
LABELS = DRAWN.integers(0, CLASSES, (6, 5))
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]


def model(units):
    made = lamina.Sequential(
        [
            lamina.Input((5,)),
            layers.Embedding(6, 8, mask_zero=True),
            layers.Dense(units, activation="sigmoid" if units == 1 else "softmax"),
        ]
    )
    made.layers[0].embeddings.assign(DRAWN.normal(size=(6, 8)) * 2)
    return made


class Sum(metrics.Metric):
    def __init__(self, name="sum"):
        super().__init__(name=name)
        self.total = self.add_weight(name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        values = ops.mean(ops.abs(y_true - y_pred), axis=-1)
        if sample_weight is not None:
            values = values * ops.reshape(sample_weight, values.shape)
        self.total.assign_add(ops.sum(values))

    def result(self):
        return self.total.value


def by_row(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


ONE = {
    "precision": metrics.Precision,
    "recall": metrics.Recall,
    "tp": metrics.TruePositives,
    "tn": metrics.TrueNegatives,
    "auc": metrics.AUC,
    "sas": lambda name: metrics.SensitivityAtSpecificity(0.5, name=name),
    "rmse": metrics.RootMeanSquaredError,
    "mae": metrics.MeanAbsoluteError,
    "accuracy": metrics.BinaryAccuracy,
    "iou": lambda name: metrics.BinaryIoU(name=name, dtype="float32"),
    "own": Sum,
    "function": lambda name: metrics.MeanMetricWrapper(by_row, name=name),
}
SEVERAL = {
    "sparse": (metrics.SparseCategoricalAccuracy, LABELS),
    "column": (metrics.SparseCategoricalAccuracy, LABELS[..., None]),
    "dense": (metrics.CategoricalAccuracy, ONE_HOT),
    "top": (lambda name: metrics.SparseTopKCategoricalAccuracy(2, name), LABELS),
    "crossentropy": (metrics.SparseCategoricalCrossentropy, LABELS),
    "cosine": (metrics.CosineSimilarity, ONE_HOT),
    "pearson": (metrics.PearsonCorrelation, ONE_HOT),
    "concordance": (metrics.ConcordanceCorrelation, ONE_HOT),
    "mean_iou": (
        lambda name: metrics.MeanIoU(CLASSES, name, sparse_y_pred=False),
        LABELS,
    ),
    "one_hot_iou": (lambda name: metrics.OneHotIoU(CLASSES, [0, 2], name), ONE_HOT),
    "class": (lambda name: metrics.Precision(class_id=1, name=name), ONE_HOT),
    "top_recall": (lambda name: metrics.Recall(top_k=2, name=name), ONE_HOT),
}


def compiled(made, **scores):
    loss = "mse" if made.output_shape[-1] == 1 else "crossentropy"
    made.compile(lamina.optimizers.SGD(0.0), loss, **scores)
    return made


def every_way(made, y, name, weight=None):
    yield made.evaluate(X, y, sample_weight=weight, verbose=0, return_dict=True)[name]
    history = made.fit(X, y, sample_weight=weight, batch_size=6, verbose=0).history
    yield history[name][0]
    yield made.train_on_batch(X, y, sample_weight=weight, return_dict=True)[name]


@pytest.mark.parametrize("name", ONE)
def test_steps_of_one_output(name):
    made = model(1)
    p, make = made.predict(X, verbose=0), ONE[name]
    expected = make(name=name)
    expected.update_state(BITS[KEPT], p[KEPT])
    want = float(expected.result())
    for key in ("metrics", "weighted_metrics"):
        compiled(made, **{key: [make(name=name)]})
        for got in every_way(made, BITS, name):
            assert got == pytest.approx(want, rel=1e-4), key


@pytest.mark.parametrize("name", SEVERAL)
def test_steps_of_several_classes(name):
    made = model(CLASSES)
    make, y = SEVERAL[name]
    expected = make(name=name)
    expected.update_state(y[KEPT], made.predict(X, verbose=0)[KEPT])
    compiled(made, metrics=[make(name=name)])
    for got in every_way(made, y, name):
        assert got == pytest.approx(float(expected.result()), rel=1e-4)


SHAPES = {"rows": (6,), "column": (6, 1), "steps": (6, 5), "entries": (6, 5, 1)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("short", [False, True])
def test_mask_times_weights(shape, short):
    made, names = model(1), [n for n in ONE if n not in ("own", "function")]
    p, weight = made.predict(X, verbose=0), DRAWN.random(shape).astype("float32")
    every = np.broadcast_to(weight.reshape(shape + (1,) * (3 - len(shape))), p.shape)
    compiled(made, weighted_metrics=[ONE[name](name=name) for name in names])
    y = BITS[..., 0] if short else BITS
    got = made.evaluate(X, y, sample_weight=weight, verbose=0, return_dict=True)
    for name in names:
        expected = ONE[name](name=name)
        expected.update_state(BITS[KEPT], p[KEPT], sample_weight=every[KEPT])
        assert got[name] == pytest.approx(float(expected.result()), rel=1e-4), name
    squares = np.square(p - BITS) * every
    assert got["loss"] == pytest.approx(squares[KEPT].mean(), rel=1e-4)


def test_targets_without_the_last_axis_keep_their_steps():
    made = compiled(model(1), metrics=["mae"])
    p = made.predict(X, verbose=0)
    scores = made.evaluate(X, BITS[..., 0], verbose=0, return_dict=True)
    assert scores["mae"] == pytest.approx(np.abs(p - BITS)[KEPT].mean(), rel=1e-5)
    assert scores["loss"] == pytest.approx(np.square(p - BITS)[KEPT].mean(), rel=1e-5)


def test_metrics_that_take_no_weights():
    class Bare(metrics.Metric):
        def __init__(self):
            super().__init__(name="bare")
            self.count = self.add_weight(name="count")

        def update_state(self, y_true, y_pred):
            self.count.assign_add(1.0)

        def result(self):
            return self.count.value

    for key in ("metrics", "weighted_metrics"):
        made = compiled(model(1), **{key: [Bare()]})
        assert list(every_way(made, BITS, "bare")) == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match=r"bare.*weighted_metrics.*no `sample_weight`"):
        made.evaluate(X, BITS, sample_weight=np.ones(6), verbose=0)


def test_a_loss_as_a_metric_leaves_out_padded_steps():
    made = compiled(model(1), metrics=[lamina.losses.MeanSquaredError()])
    want = np.square(made.predict(X, verbose=0) - BITS)[KEPT].mean()
    for got in every_way(made, BITS, "mean_squared_error"):
        assert got == pytest.approx(want, rel=1e-5)


def test_one_number_for_a_batch_warns_and_one_for_a_row_is_refused():
    def whole(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred))

    def sequence(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=(1, 2))

    made = compiled(model(1), metrics=[whole])
    with pytest.warns(UserWarning, match="`whole` gives one number"):
        made.evaluate(X, BITS, verbose=0)
    made = compiled(model(1), metrics=[sequence])
    with pytest.raises(ValueError, match=r"mask, of shape \(6, 5\).*\(6,\)"):
        made.evaluate(X, BITS, verbose=0)


def test_a_loss_of_whole_sequences_counts_those_with_a_step():
    def sequence(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=(1, 2))

    x = X.copy()
    x[2] = 0
    made = model(1)
    made.compile("sgd", sequence)
    each = np.abs(made.predict(x, verbose=0) - BITS).mean((1, 2))
    want = each[x.any(1)].mean()
    assert made.evaluate(x, BITS, verbose=0) == pytest.approx(want, rel=1e-5)
    with pytest.raises(ValueError, match=r"\(6, 6\).*\(6,\)"):
        lamina.losses.MeanSquaredError()(
            np.ones((6, 1)), np.ones((6, 1)), np.ones((6, 6))
        )


def test_masks_come_out_of_an_own_training_step():
    class Own(lamina.Model):
        def __init__(self):
            super().__init__()
            self.inner = model(1)

        def call(self, x, training=None):
            return self.inner(x, training=training)

        def train_step(self, data):
            x, y = data

            def loss():
                y_pred = self(x, training=True)
                return self.compute_loss(x, y, y_pred), y_pred

            (_, y_pred), grads = lamina.value_and_grad(loss, self.trainable_variables)()
            self.optimizer.apply(grads, self.trainable_variables)
            return self.compute_metrics(x, y, y_pred)

    made = Own()
    made.compile(lamina.optimizers.SGD(0.0), "mse", metrics=[metrics.TrueNegatives()])
    p = made.predict(X, verbose=0)
    got = made.fit(X, BITS, batch_size=6, verbose=0).history["true_negatives"][0]
    assert got == ((p <= 0.5) & (BITS == 0))[KEPT].sum()
