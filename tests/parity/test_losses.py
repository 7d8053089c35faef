"""Every loss against Keras: values, gradients, weights, masks, configs."""

import pickle

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina import losses
from lamina.core.masks import set_mask
from lamina.core.variable import Variable
from lamina.losses.loss import LossFunctionWrapper, check_labels, check_shapes
from tests.parity.draws import Draws, close

draws = Draws()
rng, numbers, shares, bits = draws.rng, draws.numbers, draws.shares, draws.bits
one_hot, labels = draws.one_hot, draws.labels


UNIT = numbers(6, 3)
UNIT /= np.linalg.norm(UNIT, axis=1, keepdims=True)

# Made to be subclassed, or without a partner in Keras.
WITHOUT = {"Loss", "LossFunctionWrapper", "ShapedCrossentropy"}
# (class, settings, y_true, y_pred)
CASES = [
    ("MeanSquaredError", {}, numbers(5, 3), numbers(5, 3)),
    ("MeanSquaredError", {}, numbers(5), numbers(5, 1)),
    ("MeanSquaredError", {}, numbers(5, 4, 1), numbers(5, 4)),
    ("MeanAbsoluteError", {}, numbers(5, 3), numbers(5, 3)),
    ("MeanAbsolutePercentageError", {}, numbers(5, 3), numbers(5, 3)),
    ("MeanSquaredLogarithmicError", {}, shares(5, 3), numbers(5, 3)),
    ("Huber", {}, numbers(5, 3), 2 * numbers(5, 3)),
    ("Huber", {"delta": 0.3}, numbers(5, 3), numbers(5, 3)),
    ("LogCosh", {}, numbers(5, 3), 5 * numbers(5, 3)),
    ("Poisson", {}, bits(5, 3) + 1, shares(5, 3)),
    ("CosineSimilarity", {}, numbers(5, 3), numbers(5, 3)),
    ("CosineSimilarity", {"axis": 1}, numbers(5, 3, 2), numbers(5, 3, 2)),
    ("KLDivergence", {}, shares(5, 3), shares(5, 3)),
    ("Hinge", {}, bits(5, 3), numbers(5, 3)),
    ("Hinge", {}, numbers(5, 3), numbers(5, 3)),
    ("SquaredHinge", {}, bits(5, 3), numbers(5, 3)),
    ("CategoricalHinge", {}, one_hot(5, 3), numbers(5, 3)),
    ("BinaryCrossentropy", {}, bits(5, 3), shares(5, 3)),
    ("BinaryCrossentropy", {}, bits(5, 3), bits(5, 3)),
    ("BinaryCrossentropy", {"from_logits": True}, bits(5, 3), 9 * numbers(5, 3)),
    (
        "BinaryCrossentropy",
        {"label_smoothing": 0.2, "axis": 1},
        bits(5, 3, 2),
        shares(5, 3, 2),
    ),
    ("BinaryFocalCrossentropy", {}, bits(5, 3), shares(5, 3)),
    (
        "BinaryFocalCrossentropy",
        {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5},
        bits(5, 3),
        shares(5, 3),
    ),
    (
        "BinaryFocalCrossentropy",
        {"from_logits": True, "label_smoothing": 0.1},
        bits(5, 3),
        numbers(5, 3),
    ),
    ("CategoricalCrossentropy", {}, one_hot(5, 3), shares(5, 3)),
    ("CategoricalCrossentropy", {}, one_hot(5, 3), one_hot(5, 3)),
    ("CategoricalCrossentropy", {}, one_hot(5, 3), 3 * shares(5, 3)),
    (
        "CategoricalCrossentropy",
        {"from_logits": True, "label_smoothing": 0.1},
        one_hot(5, 3),
        20 * numbers(5, 3),
    ),
    ("CategoricalCrossentropy", {"axis": 1}, shares(5, 3, 2), shares(5, 3, 2)),
    ("CategoricalFocalCrossentropy", {}, one_hot(5, 3), shares(5, 3)),
    (
        "CategoricalFocalCrossentropy",
        {"alpha": [0.1, 0.2, 0.7], "gamma": 1.0, "from_logits": True},
        one_hot(5, 3),
        numbers(5, 3),
    ),
    ("SparseCategoricalCrossentropy", {}, labels(5), shares(5, 4)),
    ("SparseCategoricalCrossentropy", {}, labels(5, 1), shares(5, 4)),
    ("SparseCategoricalCrossentropy", {}, labels(5), one_hot(5, 4)),
    ("SparseCategoricalCrossentropy", {}, labels(5) - 1, shares(5, 4)),
    (
        "SparseCategoricalCrossentropy",
        {"from_logits": True},
        labels(5, 2),
        1e3 * numbers(5, 2, 4),
    ),
    (
        "SparseCategoricalCrossentropy",
        {"from_logits": True, "ignore_class": 2},
        labels(5, 6),
        numbers(5, 6, 4),
    ),
    (
        "SparseCategoricalCrossentropy",
        {"ignore_class": -1},
        labels(5, 6) - 1,
        shares(5, 6, 4),
    ),
    ("CategoricalGeneralizedCrossEntropy", {}, labels(5), shares(5, 4)),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.9}, labels(5), shares(5, 4)),
    ("Circle", {}, np.array([0, 0, 1, 1, 2, 2]), UNIT),
    (
        "Circle",
        {"gamma": 10.0, "margin": 0.2, "remove_diagonal": False},
        np.array([0, 0, 1, 1, 2, 2]),
        UNIT,
    ),
    ("Dice", {}, bits(5, 4, 4, 1), shares(5, 4, 4, 1)),
    ("Dice", {"axis": (1, 2, 3)}, bits(5, 4, 4, 2), shares(5, 4, 4, 2)),
    (
        "Tversky",
        {"alpha": 0.9, "beta": 0.9, "axis": (1, 2, 3)},
        bits(5, 4, 4, 2),
        shares(5, 4, 4, 2),
    ),
    ("Tversky", {}, bits(5, 4), shares(5, 4)),
    (
        "CTC",
        {},
        np.array([[1, 2, 2, 0], [3, 0, 0, 0], [1, 0, 1, 2], [0, 0, 0, 0]]),
        numbers(4, 9, 4),
    ),
]
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(CASES)]


@pytest.mark.parametrize(("name", "settings", "y_true", "y_pred"), CASES, ids=IDS)
def test_values_weights_and_reductions(name, settings, y_true, y_pred):
    ours, theirs = getattr(losses, name), getattr(keras.losses, name)
    weights = np.linspace(0.5, 2.0, len(y_pred), dtype="float32")
    scalar = np.ndim(ours(reduction="none", **settings)(y_true, y_pred)) == 0
    for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight", None):
        a = ours(reduction=reduction, **settings)
        b = theirs(reduction=reduction, **settings)
        close(a(y_true, y_pred), b(y_true, y_pred))
        close(jax.jit(a)(y_true, y_pred), a(y_true, y_pred))
        # Keras multiplies weights of a sequence's samples along the wrong axis.
        front = np.asarray(ours(reduction=None, **settings)(y_true, y_pred)).ndim
        if not scalar and front == 1:
            close(a(y_true, y_pred, weights), b(y_true, y_pred, weights))


@pytest.mark.parametrize(("name", "settings", "y_true", "y_pred"), CASES, ids=IDS)
def test_gradients(name, settings, y_true, y_pred):
    a = getattr(losses, name)(**settings)
    b = getattr(keras.losses, name)(**settings)
    ours = jax.grad(lambda p: a(y_true, p))(jnp.asarray(y_pred))
    theirs = jax.grad(lambda p: b(y_true, p))(jnp.asarray(y_pred))
    close(ours, theirs, 1e-4)


@pytest.mark.parametrize(("name", "settings", "y_true", "y_pred"), CASES, ids=IDS)
def test_configs(name, settings, y_true, y_pred):
    ours = getattr(losses, name)(**settings)
    theirs = getattr(keras.losses, name)(**settings)
    left_out = ours._saved_if_changed
    config = ours.get_config()
    assert {k: v for k, v in config.items() if k not in left_out} == theirs.get_config()
    again = type(ours).from_config(config)
    assert again.get_config() == config
    close(again(y_true, y_pred), ours(y_true, y_pred), 0)
    plain = getattr(losses, name)()
    dictionary = losses.serialize(plain)
    assert dictionary == keras.losses.serialize(getattr(keras.losses, name)())
    assert type(losses.deserialize(dictionary)) is type(plain)
    assert type(losses.get(dictionary)) is type(plain)
    assert pickle.loads(pickle.dumps(plain)).get_config() == plain.get_config()


FUNCTIONS = [
    (name, y_true, y_pred)
    for name, y_true, y_pred in (
        ("mean_squared_error", numbers(4, 3), numbers(4, 3)),
        ("cosine_similarity", numbers(4, 3), numbers(4, 3)),
        ("binary_crossentropy", bits(4, 3), shares(4, 3)),
        ("sparse_categorical_crossentropy", labels(4), shares(4, 4)),
        ("categorical_hinge", one_hot(4, 3), numbers(4, 3)),
        ("dice", bits(4, 3), shares(4, 3)),
        ("ctc", np.array([[1, 2]]), numbers(1, 5, 3)),
        ("circle", np.arange(6) // 2, UNIT),
    )
]


@pytest.mark.parametrize(("name", "y_true", "y_pred"), FUNCTIONS)
def test_functions_take_arrays_and_variables(name, y_true, y_pred):
    function = getattr(losses, name)
    expected = getattr(keras.losses, name)(y_true, y_pred)
    close(function(y_true, y_pred), expected)
    close(function(jnp.asarray(y_true), Variable(y_pred)), expected)
    close(jax.jit(lambda t: function(t, Variable(y_pred)))(y_true), expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(dtype):
    y_true, y_pred = numbers(4, 3), numbers(4, 3)
    for name in ("MeanSquaredError", "Huber", "LogCosh"):
        ours = getattr(losses, name)(dtype=dtype)(y_true, y_pred)
        assert ours.dtype == dtype
        exact = getattr(losses, name)()(y_true, y_pred)
        close(ours.astype("float32"), exact, 3e-2)
    policy = losses.MeanSquaredError(dtype=keras.DTypePolicy("mixed_bfloat16").name)
    assert policy.dtype == "bfloat16"
    narrow = losses.mean_squared_error(y_true, jnp.asarray(y_pred, dtype))
    assert narrow.dtype == dtype


def test_float64_is_taken_as_float32_without_a_warning():
    loss = losses.MeanSquaredError(dtype="float64")
    found = loss(np.zeros(3), np.full(3, 2.0))
    assert (found.dtype, float(found)) == ("float32", 4.0)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean", None])
@pytest.mark.parametrize("weighted", [False, True])
def test_masks(reduction, weighted):
    y_true, y_pred = numbers(3, 4, 2), jnp.asarray(numbers(3, 4, 2))
    mask = jnp.asarray(rng.integers(0, 2, (3, 4)).astype(bool))
    weights = np.abs(numbers(3, 4)) if weighted else None
    theirs = keras.losses.MeanSquaredError(reduction=reduction)
    keras.src.backend.set_keras_mask(y_pred, mask)
    expected = theirs(y_true, y_pred, weights)
    set_mask(y_pred, mask)
    ours = losses.MeanSquaredError(reduction=reduction)(y_true, y_pred, weights)
    close(ours, expected)


def test_weights_of_sequences_go_along_the_samples():
    y_true, y_pred = np.zeros((3, 3, 2)), np.ones((3, 3, 2))
    loss = losses.MeanSquaredError(reduction="none")
    values = loss(y_true, y_pred, [1.0, 2.0, 3.0])
    close(values, [[1.0] * 3, [2.0] * 3, [3.0] * 3])
    with pytest.raises(ValueError, match=r"sample_weight.*\(4,\).*\(3, 3\)"):
        loss(y_true, y_pred, np.ones(4))


def test_empty_batch_is_no_loss():
    assert (
        float(losses.MeanSquaredError()(np.zeros((0, 2, 2)), np.zeros((0, 2, 2)))) == 0
    )


def test_one_class_warns():
    with pytest.warns(SyntaxWarning, match="one class"):
        losses.categorical_crossentropy(np.ones((2, 1)), np.ones((2, 1)))


def test_ctc_of_a_hand_count():
    # Three frames, labels "1": 0.5^3 each for 100, 010, 001, 110, 011, 111.
    value = losses.ctc([[1]], np.zeros((1, 3, 2), "float32"))
    close(value, [-np.log(6 / 8)])


NAMES = sorted(set(keras.src.losses.ALL_OBJECTS_DICT) - {"Loss"})


@pytest.mark.parametrize("name", [n for n in NAMES if n != "LossFunctionWrapper"])
def test_names(name):
    ours, theirs = losses.get(name), keras.losses.get(name)
    kind = getattr(theirs, "__name__", type(theirs).__name__)
    assert getattr(ours, "__name__", type(ours).__name__) == kind


def test_get():
    assert losses.get(None) is None
    assert losses.get(losses.mean_squared_error) is losses.mean_squared_error
    assert losses.get("logcosh") is losses.log_cosh
    assert isinstance(losses.get(losses.Huber), losses.Huber)
    with pytest.raises(ValueError, match="Did you mean 'mean_squared_error'"):
        losses.get("mean_squarred_error")
    with pytest.raises(ValueError, match="Could not interpret loss"):
        losses.get(3)


def test_wrapper_of_a_function():
    loss = LossFunctionWrapper(losses.huber, delta=2.0)
    config = loss.get_config()
    theirs = keras.src.losses.losses.LossFunctionWrapper(keras.losses.huber, delta=2.0)
    assert config == theirs.get_config() | {"name": config["name"]}
    again = LossFunctionWrapper.from_config(config)
    close(again([[5.0]], [[0.0]]), 8.0)
    # A user's function meets the same ranks as ours do.
    mine = LossFunctionWrapper(lambda t, p: (t - p) ** 2)
    assert mine(np.zeros(4), np.ones((4, 1))) == 1.0


def test_subclass():
    class Scaled(losses.Loss):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, y_true, y_pred):
            return self.factor * jnp.mean(abs(y_true - y_pred), axis=-1)

    loss = Scaled(3.0, reduction="sum")
    assert loss(np.zeros((2, 1)), np.ones((2, 1))) == 6.0
    assert loss.get_config() == {"name": "scaled", "reduction": "sum", "factor": 3.0}
    assert Scaled.from_config(loss.get_config()).factor == 3.0
    pairs = type("Pairs", (losses.Loss,), {"call": lambda _, t, p: t["a"] - p["a"]})
    assert pairs()({"a": np.ones(2)}, {"a": np.zeros(2)}) == 1.0
    with pytest.raises(NotImplementedError, match="call"):
        losses.Loss()([1.0], [1.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.MeanSquaredError(reduction="avg"), "Invalid value.*'avg'"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(q=1.5), "q must be.*1.5"),
        (lambda: losses.mean_squared_error(np.ones((4, 3)), np.ones((4, 1))), "same"),
        (lambda: losses.mean_squared_error(np.ones(3), np.ones((3, 3))), "same shape"),
        (lambda: losses.hinge(np.ones(4), np.ones(3)), r"\(4,\).*\(3,\)"),
        (
            lambda: losses.sparse_categorical_crossentropy(
                np.ones((4, 3)), np.ones((4, 3))
            ),
            "axis of the classes",
        ),
        (lambda: losses.ctc(np.ones(3), np.ones((3, 3, 3))), "y_true.*shape"),
        (lambda: losses.ctc(np.ones((3, 3)), np.ones((3, 3))), "y_pred.*shape"),
        (
            lambda: losses.categorical_crossentropy([1.0], [1.0], axis=True),
            "`axis` to be an integer",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("loss", "true", "pred", "fix"),
    [
        (losses.mean_squared_error, (None, 3), (None, 1), "last layer give 3"),
        (losses.MeanSquaredError(), (32,), (32, 3), "y_true.shape=(32,)"),
        (losses.BinaryCrossentropy(), (None,), (None, 3), "Reshape"),
        (losses.categorical_crossentropy, (None,), (None, 10), "to_categorical(y, 10)"),
        (losses.CategoricalCrossentropy(), (8, 1), (8, 10), "`sparse_cat"),
        (losses.sparse_categorical_crossentropy, (8, 10), (8, 10), "one-hot"),
        (losses.sparse_categorical_crossentropy, (8, 2), (8, 10), "one integer label"),
    ],
)
def test_check_shapes(loss, true, pred, fix):
    with pytest.raises(ValueError) as error:
        check_shapes(loss, true, pred, "output 'price'")
    assert fix in str(error.value)
    assert "output 'price'" in str(error.value)
    assert f"y_pred.shape={pred}" in str(error.value)


@pytest.mark.parametrize(
    ("loss", "true", "pred"),
    [
        (losses.mean_squared_error, (None,), (None, 1)),
        (losses.mean_squared_error, (8, 4, 1), (8, 4)),
        (losses.Huber(), (None, 3), (8, 3)),
        (losses.sparse_categorical_crossentropy, (8,), (8, 10)),
        (losses.sparse_categorical_crossentropy, (8, 5, 1), (8, 5, 10)),
        (losses.SparseCategoricalCrossentropy(axis=1), (8, 5), (8, 10, 5)),
        (losses.circle, (8,), (8, 16)),
        (lambda t, p: t, (8,), (8, 16)),
    ],
)
def test_check_shapes_lets_pass(loss, true, pred):
    check_shapes(loss, true, pred, "y")


def test_check_labels():
    sparse = losses.sparse_categorical_crossentropy
    check_labels(sparse, np.array([0, 9]), 10, "y")
    check_labels(losses.mean_squared_error, np.array([-5, 90]), 10, "y")
    ignoring = losses.SparseCategoricalCrossentropy(ignore_class=-1)
    check_labels(ignoring, np.array([-1, 2]), 3, "y")
    for bad, message in (
        ([1, 10], "smallest label 1, largest 10. Labels count from 0"),
        ([0, 12], "largest 12. Give the last layer 13 units"),
        ([-1, 2], "smallest label -1.*ignore_class=-1"),
        ([0.0, np.nan], "largest nan"),
    ):
        with pytest.raises(ValueError, match=message):
            check_labels(sparse, np.array(bad), 10, "y")


def test_every_loss_has_a_case():
    ours = {c for c in vars(losses).values() if isinstance(c, type)}
    names = {c.__name__ for c in ours if issubclass(c, losses.Loss)}
    assert names - WITHOUT == {name for name, *_ in CASES}
