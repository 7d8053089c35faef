"""Every metric against Keras over several batches, and the contract of `Metric`."""

import pickle
import warnings

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina import losses, metrics
from lamina.core.masks import set_mask
from lamina.core.variable import Variable, pure
from tests.parity.draws import Draws, close

draws = Draws()
rng, numbers, shares, bits = draws.rng, draws.numbers, draws.shares, draws.bits
one_hot, labels = draws.one_hot, draws.labels


def chances(*shape):
    # Steps of 1/200 meet thresholds exactly; 0 and 1 are among them.
    return (rng.integers(0, 201, size=shape) / 200).astype("float32")


def batches(*makers, number=2):
    return [tuple(make() for make in makers) for _ in range(number)]


REGRESSION = batches(lambda: numbers(6, 3), lambda: numbers(6, 3))
FLAT = batches(lambda: numbers(6), lambda: numbers(6, 1))
PROBABLE = batches(lambda: bits(6, 3), lambda: shares(6, 3))
CHOICE = batches(lambda: one_hot(6, 4), lambda: shares(6, 4))
LABELS = batches(lambda: labels(6), lambda: shares(6, 4))
BINARY = batches(lambda: bits(40), lambda: chances(40))
MULTI = batches(lambda: bits(20, 3), lambda: chances(20, 3))
PIXELS = batches(lambda: labels(6, 5, classes=3), lambda: labels(6, 5, classes=3))

# What has tests of its own, or no partner in Keras.
WITHOUT = {"Mean", "Sum", "Metric", "MeanMetricWrapper"}
# (class, settings, batches)
CASES = [
    ("MeanSquaredError", {}, REGRESSION),
    ("MeanSquaredError", {}, FLAT),
    ("RootMeanSquaredError", {}, REGRESSION),
    ("MeanAbsoluteError", {}, REGRESSION),
    ("MeanAbsolutePercentageError", {}, REGRESSION),
    ("MeanSquaredLogarithmicError", {}, REGRESSION),
    ("LogCoshError", {}, REGRESSION),
    ("CosineSimilarity", {}, REGRESSION),
    ("CosineSimilarity", {"axis": 1}, REGRESSION),
    ("Poisson", {}, PROBABLE),
    ("KLDivergence", {}, PROBABLE),
    ("Hinge", {}, PROBABLE),
    ("SquaredHinge", {}, PROBABLE),
    ("CategoricalHinge", {}, CHOICE),
    ("BinaryCrossentropy", {}, PROBABLE),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, PROBABLE),
    ("CategoricalCrossentropy", {}, CHOICE),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2}, CHOICE),
    ("SparseCategoricalCrossentropy", {}, LABELS),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, LABELS),
    ("PearsonCorrelation", {}, REGRESSION),
    ("ConcordanceCorrelation", {}, REGRESSION),
    ("R2Score", {}, REGRESSION),
    ("R2Score", {"class_aggregation": None}, REGRESSION),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, REGRESSION),
    ("Accuracy", {}, batches(lambda: labels(6), lambda: labels(6))),
    ("Accuracy", {}, batches(lambda: labels(6), lambda: labels(6, 1))),
    ("BinaryAccuracy", {}, MULTI),
    ("BinaryAccuracy", {"threshold": 0.3}, BINARY),
    ("CategoricalAccuracy", {}, CHOICE),
    ("SparseCategoricalAccuracy", {}, LABELS),
    (
        "SparseCategoricalAccuracy",
        {},
        batches(lambda: labels(6, 1), lambda: shares(6, 4)),
    ),
    ("TopKCategoricalAccuracy", {"k": 2}, CHOICE),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, LABELS),
    (
        "SparseTopKCategoricalAccuracy",
        {"k": 2, "from_sorted_ids": True},
        batches(lambda: labels(6), lambda: labels(6, 4)),
    ),
    ("TruePositives", {}, BINARY),
    ("FalsePositives", {"thresholds": [0.2, 0.7]}, MULTI),
    ("TrueNegatives", {"thresholds": 0.35}, MULTI),
    ("FalseNegatives", {"thresholds": [0.0, 0.5, 1.0]}, BINARY),
    ("Precision", {}, MULTI),
    ("Precision", {"top_k": 2}, MULTI),
    ("Precision", {"thresholds": [0.0, 0.25, 0.5, 0.75, 1.0]}, BINARY),
    ("Precision", {"class_id": 1, "thresholds": 0.4}, MULTI),
    ("Recall", {}, BINARY),
    ("Recall", {"top_k": 1, "class_id": 2}, MULTI),
    ("SensitivityAtSpecificity", {"specificity": 0.4}, BINARY),
    ("SpecificityAtSensitivity", {"sensitivity": 0.4, "num_thresholds": 1}, BINARY),
    ("PrecisionAtRecall", {"recall": 0.6, "class_id": 1}, MULTI),
    ("RecallAtPrecision", {"precision": 0.5, "num_thresholds": 50}, BINARY),
    ("AUC", {}, BINARY),
    ("AUC", {}, MULTI),
    ("AUC", {"curve": "PR"}, BINARY),
    ("AUC", {"curve": "PR", "summation_method": "majoring"}, BINARY),
    ("AUC", {"curve": "PRGAIN", "num_thresholds": 20}, BINARY),
    ("AUC", {"summation_method": "minoring", "thresholds": [0.1, 0.15, 0.8]}, BINARY),
    ("AUC", {"thresholds": [0.5]}, BINARY),
    ("AUC", {"multi_label": True}, MULTI),
    ("AUC", {"multi_label": True, "num_labels": 3, "curve": "PR"}, MULTI),
    ("AUC", {"multi_label": True, "thresholds": [0.3, 0.4]}, MULTI),
    ("AUC", {"multi_label": True, "label_weights": [1.0, 2.0, 3.0]}, MULTI),
    ("AUC", {"label_weights": [1.0, 0.5, 3.0]}, MULTI),
    ("AUC", {"label_weights": [1.0, 0.5, 3.0], "thresholds": [0.3, 0.4]}, MULTI),
    ("AUC", {"from_logits": True}, BINARY),
    ("F1Score", {}, CHOICE),
    ("F1Score", {"average": "macro", "threshold": 0.3}, CHOICE),
    ("FBetaScore", {"average": "micro", "beta": 2.0}, CHOICE),
    ("FBetaScore", {"average": "weighted", "beta": 0.5}, CHOICE),
    ("IoU", {"num_classes": 3, "target_class_ids": [0, 2]}, PIXELS),
    ("IoU", {"num_classes": 2, "target_class_ids": [1]}, PIXELS),
    ("MeanIoU", {"num_classes": 3}, PIXELS),
    ("MeanIoU", {"num_classes": 3, "ignore_class": 1, "dtype": "float32"}, PIXELS),
    ("BinaryIoU", {"threshold": 0.3}, MULTI),
    ("OneHotIoU", {"num_classes": 4, "target_class_ids": [0, 3]}, CHOICE),
    ("OneHotMeanIoU", {"num_classes": 4}, CHOICE),
]
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(CASES)]


def weights_for(name, y_pred):
    if "IoU" in name:
        return rng.integers(
            1, 4, size=y_pred.shape[:1] if "Hot" in name else y_pred.shape
        )
    return rng.uniform(0.5, 2.0, size=len(y_pred)).astype("float32")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "settings", "data"), CASES, ids=IDS)
def test_parity(name, settings, data, weighted):
    ours, theirs = (
        getattr(metrics, name)(**settings),
        getattr(keras.metrics, name)(**settings),
    )
    pure_state = None
    for y_true, y_pred in data:
        weights = weights_for(name, y_pred) if weighted else None
        ours.update_state(y_true, y_pred, sample_weight=weights)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras asks JAX for 64 bits
            theirs.update_state(y_true, y_pred, sample_weight=weights)
        if pure_state is None:
            pure_state = ours.stateless_reset_state()
        step = jax.jit(ours.stateless_update_state)
        pure_state = step(pure_state, y_true, y_pred, weights)
    close(ours.result(), theirs.result())
    close(jax.jit(ours.stateless_result)(pure_state), ours.result())
    assert [v.name for v in ours.variables] == [v.name for v in theirs.variables]
    for mine, other in zip(ours.variables, theirs.variables, strict=True):
        # Keras counts every output of a sample, and no weights.
        if (name, mine.name) != ("R2Score", "num_samples"):
            close(mine, other.value)
        assert mine.dtype == other.dtype
        assert mine.path.split("/")[1:] == other.path.split("/")[1:]
    ours.reset_state()
    assert all(not np.any(v) for v in ours.variables)
    # An unbuilt metric makes its state inside the first stateless update.
    fresh = getattr(metrics, name)(**settings)
    values = [v.value for v in fresh.variables]
    after = fresh.stateless_update_state(values, *data[0])
    close(fresh.stateless_result(after), getattr(metrics, name)(**settings)(*data[0]))


@pytest.mark.parametrize(("name", "settings", "data"), CASES, ids=IDS)
def test_configs(name, settings, data):
    ours = getattr(metrics, name)(**settings)
    theirs = getattr(keras.metrics, name)(**settings)
    config = ours.get_config()
    expected = theirs.get_config() | {"name": ours.name}
    if name == "AUC" and settings.get("label_weights"):
        expected["label_weights"] = settings["label_weights"]
    left_out = {k for k in ours._saved_if_changed if k not in expected}
    assert {k: v for k, v in config.items() if k not in left_out} == expected
    again = type(ours).from_config(config)
    assert again.get_config() == config
    assert ours._direction == getattr(theirs, "_direction", None)
    dictionary = metrics.serialize(ours)
    assert dictionary["module"] == "keras.metrics"
    assert metrics.deserialize(dictionary).get_config() == config
    again = pickle.loads(pickle.dumps(ours))
    close(again(*data[0]), ours(*data[0]), 0)


@pytest.mark.parametrize("name", ["Mean", "Sum"])
def test_reductions(name):
    cases = [
        (3.0, None), (3.0, 2.0), (numbers(4), None), (numbers(4), 0.5),
        (numbers(4), numbers(4)), (numbers(4, 1), numbers(4)),
        (numbers(4), numbers(4, 1)), (numbers(4, 3), None), (numbers(4, 3), numbers(4)),
        (numbers(4, 3, 2), numbers(4, 3)), (numbers(4, 3), numbers(4, 3)),
    ]  # fmt: skip
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    close(ours.result(), 0.0)
    for values, weights in cases:
        close(ours(values, weights), theirs(values, weights), 1e-4)
        for mine, other in zip(ours.variables, theirs.variables, strict=True):
            close(mine, other.value)
    assert ours.get_config() == theirs.get_config()


@pytest.mark.parametrize("weighted", [False, True])
def test_the_mask_of_predictions_counts(weighted):
    y_true, y_pred = numbers(3, 4, 2), jnp.asarray(numbers(3, 4, 2))
    mask = jnp.asarray([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], bool)
    weights = np.abs(numbers(3, 4)) if weighted else None
    set_mask(y_pred, mask)
    ours = metrics.MeanSquaredError()(y_true, y_pred, weights)
    keras.src.backend.set_keras_mask(y_pred, mask)
    close(ours, keras.metrics.MeanSquaredError()(y_true, y_pred, weights))


def test_updates_are_explicit_under_pure():
    metric, traces = metrics.AUC(), []

    def update(*batch):
        traces.append(batch)
        metric.update_state(*batch)

    step = jax.jit(pure(update, metric.variables))
    state = tuple(v.value for v in metric.variables)
    for y_true, y_pred in BINARY:
        _, state = step(state, y_true, y_pred)
    assert not np.any(metric.true_positives)
    expected = metrics.AUC()
    for batch in BINARY:
        expected.update_state(*batch)
    close(metric.stateless_result(state), expected.result(), 1e-6)
    assert len(traces) == 1


def test_half_precision_is_summed_in_full():
    metric = metrics.MeanAbsoluteError()
    for _ in range(3):
        metric.update_state(np.zeros(3000), jnp.ones(3000, "bfloat16"))
    assert metric.total.dtype == "float32"
    assert float(metric.total.value) == 3.0 * 3000 / 3000
    assert metrics.Mean(dtype="bfloat16").result().dtype == "bfloat16"
    assert metrics.Mean(dtype="float64")([1.0]).dtype == "float32"


def test_labels_survive_half_precision():
    y_pred = jnp.zeros((1, 300), "bfloat16").at[0, 257].set(1)
    assert metrics.sparse_categorical_accuracy([257], y_pred)[0] == 1


class Pair(metrics.Metric):
    def __init__(self, name="pair"):
        super().__init__(name=name)
        self.inner = {"a": metrics.Mean(), "b": [metrics.Sum()]}
        self.own = self.add_variable(
            (2,), lambda s, dtype: jnp.ones(s, dtype), name="own"
        )
        self.more = [Variable(1.0)]

    def update_state(self, x):
        self.inner["a"].update_state(x)
        self.own.assign(self.own + 1)

    def result(self):
        return {"mean": self.inner["a"].result(), "own": self.own.value}


def test_nested_metrics_and_their_variables():
    metric = Pair()
    held = metric.inner["a"], metric.inner["b"][0]
    expected = [metric.own, *metric.more, *held[0].variables, *held[1].variables]
    assert [id(v) for v in metric.variables] == [id(v) for v in expected]
    assert len(expected) == 5
    assert metric.own.path == "pair/own"
    state = metric.stateless_update_state(metric.variables, [4.0])
    close(metric.stateless_result(state)["mean"], 4.0)
    result = metric([1.0, 3.0])
    close(result["mean"], 2.0)
    close(result["own"], [2.0, 2.0])
    metric.reset_state()
    close(metric.own, [0.0, 0.0])
    assert repr(metric) == "<Pair name=pair>"


def test_add_weight_takes_names_of_initializers():
    metric = metrics.Metric(name="a/b")
    variable = metric.add_weight(shape=(2,), initializer="ones", name="v")
    close(variable, [1.0, 1.0])
    assert variable.path == "a>b/v"
    assert not variable.trainable
    close(metric.add_weight(name="z"), 0.0)


@pytest.mark.parametrize("name", sorted(keras.src.metrics.ALL_OBJECTS_DICT))
def test_names(name):
    theirs = keras.src.metrics.ALL_OBJECTS_DICT[name]
    assert metrics._names()[name].__name__ == theirs.__name__


def test_get():
    assert metrics.get(None) is None
    assert isinstance(metrics.get("mse"), metrics.MeanSquaredError)
    assert metrics.get("huber") is losses.huber
    assert isinstance(metrics.get(metrics.AUC), metrics.AUC)
    with pytest.raises(ValueError, match="Did you mean 'precision'"):
        metrics.get("precison")


def test_wrapper():
    ours = metrics.MeanMetricWrapper(losses.huber, name="h", delta=2.0)
    theirs = keras.metrics.MeanMetricWrapper(keras.losses.huber, name="h", delta=2.0)
    assert ours.get_config() == theirs.get_config()
    again = metrics.MeanMetricWrapper.from_config(ours.get_config())
    close(again([[5.0]], [[0.0]]), 8.0)
    assert ours._direction == "down"


FUNCTIONS = [
    ("binary_accuracy", MULTI[0]),
    ("categorical_accuracy", CHOICE[0]),
    ("sparse_categorical_accuracy", LABELS[0]),
    ("sparse_categorical_accuracy", (labels(3, 2), shares(3, 2, 4))),
    ("top_k_categorical_accuracy", (CHOICE[0][0], CHOICE[0][1])),
    ("sparse_top_k_categorical_accuracy", (labels(3, 2, classes=6), shares(3, 2, 6))),
    ("pearson_correlation", REGRESSION[0]),
    ("concordance_correlation", REGRESSION[0]),
]


@pytest.mark.parametrize(("name", "data"), FUNCTIONS)
def test_functions(name, data):
    settings = {"k": 3} if "top_k" in name else {}
    ours = getattr(metrics, name)(*data, **settings)
    close(ours, getattr(keras.metrics, name)(*data, **settings))
    assert metrics.huber is losses.huber


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.Precision(thresholds=[-1, 0.5, 2]), r"\[0, 1\].*\[-1, 2\]"),
        (lambda: metrics.Precision(class_id=1)([1.0], [1.0]), "class_id.*2D"),
        (lambda: metrics.Precision()(np.ones(3), np.ones((3, 3))), "same shape"),
        (lambda: metrics.AUC(num_thresholds=1), "must be an integer > 1"),
        (lambda: metrics.AUC(curve="roq"), 'Invalid AUC curve value: "roq"'),
        (lambda: metrics.AUC(summation_method="x"), "summation method"),
        (lambda: metrics.AUC(num_labels=3), "only when `multi_label`"),
        (lambda: metrics.AUC(multi_label=True)([1.0], [1.0]), r"\(batch, labels\)"),
        (lambda: metrics.RecallAtPrecision(1.2), r"`precision` must be.*1\.2"),
        (lambda: metrics.RecallAtPrecision(0.2, 0), "num_thresholds"),
        (lambda: metrics.F1Score(average="mean"), "Invalid `average`.*mean"),
        (lambda: metrics.FBetaScore(beta=1), "Invalid `beta`.*int"),
        (lambda: metrics.FBetaScore(beta=-1.0), "Invalid `beta`.*> 0"),
        (lambda: metrics.F1Score(threshold=2.0), "Invalid `threshold`.*2"),
        (lambda: metrics.F1Score()([1.0], [1.0]), "expects 2D"),
        (lambda: metrics.R2Score("mean"), "class_aggregation.*mean"),
        (lambda: metrics.R2Score(num_regressors=-1), "num_regressors.*-1"),
        (lambda: metrics.R2Score()([1.0], [1.0]), "expects 2D"),
        (lambda: metrics.IoU(2, [2]), "Target class id 2"),
        (lambda: metrics.BinaryAccuracy(threshold=7), "between 0 and 1.*7"),
        (lambda: metrics.Mean().stateless_result([1.0]), "2 of them. Received: 1"),
        (
            lambda: metrics.categorical_accuracy(np.ones((4, 1)), np.ones((4, 3))),
            "same shape",
        ),
        (
            lambda: metrics.sparse_categorical_accuracy(
                np.ones((4, 3)), np.ones((4, 3))
            ),
            "same shape",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_unfinished_subclasses():
    class Silent(metrics.Metric):
        def __init__(self):
            self.total = self.add_weight()

    with pytest.raises(RuntimeError, match="super"):
        Silent()
    with pytest.raises(NotImplementedError, match="update_state"):
        metrics.Metric()([1.0])
    with pytest.raises(NotImplementedError, match="result"):
        metrics.Metric().result()


def test_float_weights_in_an_integer_count_warn():
    with pytest.warns(UserWarning, match="integer weights"):
        metrics.MeanIoU(2)([0, 1], [0, 1], np.array([0.5, 0.5]))


def test_every_metric_has_a_case():
    ours = {c for c in vars(metrics).values() if isinstance(c, type)}
    names = {c.__name__ for c in ours if issubclass(c, metrics.Metric)}
    assert names - WITHOUT == {name for name, *_ in CASES}
