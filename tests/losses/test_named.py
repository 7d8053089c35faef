"""Losses and metrics by name: the one that shapes ask for, and names that are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers, losses

RNG = np.random.default_rng(0)
CHOSEN = {
    "binary": ((6, 1), (6, 1), "binary_crossentropy"),
    "binary, flat": ((6,), (6, 1), "binary_crossentropy"),
    "binary steps": ((6, 4), (6, 4, 1), "binary_crossentropy"),
    "labels": ((6,), (6, 3), "sparse_categorical_crossentropy"),
    "column of labels": ((6, 1), (6, 3), "sparse_categorical_crossentropy"),
    "labels of steps": ((6, 4), (6, 4, 3), "sparse_categorical_crossentropy"),
    "one-hot": ((6, 3), (6, 3), "categorical_crossentropy"),
    "one-hot steps": ((6, 4, 3), (6, 4, 3), "categorical_crossentropy"),
}


@pytest.mark.parametrize("name", ["crossentropy", "ce"])
@pytest.mark.parametrize(("true", "pred", "same"), CHOSEN.values(), ids=CHOSEN)
def test_the_crossentropy_that_shapes_ask_for(true, pred, same, name):
    binary = same.startswith("binary")
    model = lamina.Sequential(
        [
            lamina.Input((*pred[1:-1], 2)),
            layers.Dense(pred[-1], activation="sigmoid" if binary else "softmax"),
        ]
    )
    x = RNG.random((*pred[:-1], 2))
    y = RNG.integers(0, 2 if binary else 3, true)
    if same.startswith("categorical"):
        y = np.eye(3)[RNG.integers(0, 3, true[:-1])]
    found = []
    for loss in (name, same):
        model.compile(lamina.optimizers.SGD(0.0), loss, metrics=[name])
        found.append(model.evaluate(x, y, verbose=0, return_dict=True))
    assert found[0]["loss"] == pytest.approx(found[1]["loss"], rel=1e-6)
    assert found[0][name] == pytest.approx(found[1]["loss"], rel=1e-5)
    assert model.get_compile_config()["loss"] == same


def test_labels_of_a_crossentropy_are_checked():
    model = lamina.Sequential([lamina.Input((2,)), layers.Dense(3)])
    model.compile("sgd", "crossentropy")
    with pytest.raises(ValueError, match="labels from 0 to 2"):
        model.fit(np.ones((4, 2)), np.array([0, 1, 2, 3]), verbose=0)
    with pytest.raises(ValueError, match=r"same shape|of the predictions' shape"):
        model.fit(np.ones((4, 2)), np.ones((4, 2)), verbose=0)


@pytest.mark.parametrize(
    ("namespace", "kind", "name", "near"),
    [
        ("losses", "loss", "crossentropyy", "crossentropy"),
        ("metrics", "metric", "acuracy", "accuracy"),
        ("optimizers", "optimizer", "adamm", "adam"),
        ("initializers", "initializer", "zeross", "zeros"),
        ("regularizers", "regularizer", "l1ll2", "l1l2"),
        ("constraints", "constraint", "max_norn", "max_norm"),
        ("activations", "activation function", "reluu", "relu"),
    ],
)
def test_names_that_are_none(namespace, kind, name, near):
    get = getattr(lamina, namespace).get
    with pytest.raises(
        ValueError, match=f"interpret {kind} identifier: {name}\\."
    ) as e:
        get(name)
    assert f"Did you mean {near!r}?" in str(e.value)
    with pytest.raises(ValueError, match=f"Could not interpret {kind} identifier: 5 "):
        get(5)
    with pytest.raises(ValueError, match=f"interpret {kind} identifier: {name}\\."):
        getattr(lamina, namespace).deserialize(name)


def test_tversky_weighs_what_was_wrongly_found_by_alpha():
    y_true, y_pred = np.array([1.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0])
    assert float(losses.tversky(y_true, y_pred, alpha=3.0, beta=0.0)) == pytest.approx(
        1 - 1 / (1 + 3)
    )
    y_pred = np.array([1.0, 0.0, 0.0])
    assert float(losses.tversky(y_true, y_pred, alpha=3.0, beta=0.0)) < 1e-6
    assert float(losses.tversky(y_true, y_pred, alpha=0.0, beta=3.0)) == pytest.approx(
        1 - 1 / (1 + 3)
    )


def test_adjusted_score_counts_samples_not_outputs():
    y_true, y_pred = RNG.random((12, 3)), RNG.random((12, 3))
    plain = float(lamina.metrics.R2Score()(y_true, y_pred))
    got = float(lamina.metrics.R2Score(num_regressors=2)(y_true, y_pred))
    assert got == pytest.approx(1 - (1 - plain) * 11 / 9, rel=1e-5)
    weights = RNG.random(12) * (np.arange(12) % 4 > 0)  # 9 of them count
    for scale in (1.0, 8.0):
        weighted = lamina.metrics.R2Score(num_regressors=2)
        plain = float(lamina.metrics.R2Score()(y_true, y_pred, weights))
        weighted = float(weighted(y_true, y_pred, scale * weights))
        assert weighted == pytest.approx(1 - (1 - plain) * 8 / 6, rel=1e-4)


@pytest.mark.parametrize("kind", ["uniform", "variance_weighted"])
def test_r2_of_constant_targets(kind):
    ones = np.ones((3, 1), "float32")
    for y_pred, score in ((ones, 1.0), (ones + 1, 0.0)):
        metric = lamina.metrics.R2Score(class_aggregation=f"{kind}_average")
        assert float(metric(ones, y_pred)) == score


def test_a_focal_loss_has_a_slope_where_it_is_right():
    def loss(logits):
        return losses.binary_focal_crossentropy(
            jnp.array([0.0, 1.0]), logits, from_logits=True, gamma=0.5
        )

    assert np.isfinite(jax.grad(loss)(jnp.array([-100.0, 100.0]))).all()


def test_functions_and_losses_give_metrics_their_names():
    def myScore(y_true, y_pred):  # noqa: N802
        return abs(y_true - y_pred)

    model = lamina.Sequential([lamina.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[myScore, losses.Huber(name="near")])
    logs = model.evaluate(np.ones((4, 2)), np.ones((4, 1)), verbose=0, return_dict=True)
    assert set(logs) == {"loss", "my_score", "near"}


def test_numbers_out_of_their_range():
    for delta in (0.0, -1.0, "a"):
        with pytest.raises(ValueError, match="`Huber` expected `delta`"):
            losses.Huber(delta=delta)
    assert losses.Huber(delta=2).delta == 2
    one = np.ones((2, 2))
    for name in (
        "binary_crossentropy", "categorical_crossentropy",
        "binary_focal_crossentropy", "categorical_focal_crossentropy",
    ):  # fmt: skip
        with pytest.raises(ValueError, match="label_smoothing"):
            getattr(losses, name)(one, one, label_smoothing=1.5)
