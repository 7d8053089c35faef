"""Scores of float16 and bfloat16 outputs are computed in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import metrics, ops

MADE = {
    "MeanSquaredError": (1, 3000.0),
    "RootMeanSquaredError": (1, 3000.0),
    "MeanAbsoluteError": (1, 60000.0),
    "MeanAbsolutePercentageError": (1, 60000.0),
    "MeanSquaredLogarithmicError": (3, 60000.0),
    "LogCoshError": (3, 60000.0),
    "CosineSimilarity": (3, 3000.0),
    "R2Score": (3, 3000.0),
    "Poisson": (3, 60000.0),
    "KLDivergence": (3, 1.0),
    "Hinge": (3, 3000.0),
    "SquaredHinge": (3, 3000.0),
    "PearsonCorrelation": (3, 3000.0),
    "ConcordanceCorrelation": (3, 3000.0),
    "BinaryCrossentropy": (3, 1.0),
    "AUC": (1, 1.0),
    "BinaryAccuracy": (1, 1.0),
    "Precision": (1, 1.0),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", MADE)
def test_as_in_float32(name, dtype):
    width, size = MADE[name]
    rng = np.random.default_rng(0)
    y_true = (rng.random((400, width)) * size).astype("float32")
    if name in ("AUC", "Precision", "BinaryAccuracy"):
        y_true = np.round(y_true)
    half = jnp.asarray(rng.random((400, width)) * size, dtype)
    a, b = getattr(metrics, name)(), getattr(metrics, name)()
    with np.errstate(all="ignore"):
        ours = np.asarray(a(y_true, half))
        wide = np.asarray(b(y_true, half.astype("float32")))
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours, wide, rtol=1e-6)


def test_logits_of_a_curve():
    rng = np.random.default_rng(0)
    y, logits = (
        rng.integers(0, 2, 500),
        jnp.asarray(rng.normal(size=500) * 4, "float16"),
    )
    a, b = metrics.AUC(from_logits=True), metrics.AUC(from_logits=True)
    assert float(a(y, logits)) == float(b(y, logits.astype("float32")))


class Largest(metrics.Metric):
    def __init__(self):
        super().__init__(name="largest")
        self.top = self.add_weight(name="top")

    def update_state(self, y_true, y_pred):
        self.top.assign(ops.max(ops.square(y_true - y_pred)))

    def result(self):
        return self.top.value


def squared(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def scores(model):
    x, y = np.zeros((2, 2)), np.full((2, 1), 2000.0)
    model.compile(
        "sgd",
        "mse",
        metrics=["mse", squared, Largest(), metrics.RootMeanSquaredError()],
    )
    return model.evaluate(x, y, verbose=0, return_dict=True)


EXPECTED = {
    "loss": 4e6,
    "mse": 4e6,
    "squared": 4e6,
    "largest": 4e6,
    "root_mean_squared_error": 2e3,
}


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_a_model_of_half_precision(policy):
    model = lamina.Sequential(
        [
            lamina.Input((2,)),
            lamina.layers.Dense(1, kernel_initializer="zeros", dtype=policy),
        ]
    )
    assert scores(model) == EXPECTED


@pytest.mark.parametrize("floatx", ["float16", "bfloat16"])
def test_where_half_precision_is_the_default(floatx):
    before = lamina.config.floatx()
    lamina.config.set_floatx(floatx)
    try:
        model = lamina.Sequential(
            [lamina.Input((2,)), lamina.layers.Dense(1, kernel_initializer="zeros")]
        )
        got = scores(model)
        assert got == pytest.approx(EXPECTED, rel=5e-3)  # 2000 itself is rounded
        # 1000 ones: a bfloat16 counter stops at 256.
        assert float(metrics.BinaryAccuracy()(np.ones(1000), np.ones(1000))) == 1.0
        assert float(metrics.TruePositives()(np.ones(1000), np.ones(1000))) == 1000.0
    finally:
        lamina.config.set_floatx(before)


def test_scaled_gradients_still_find_their_scale():
    lamina.config.set_dtype_policy("mixed_float16")
    try:
        model = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(1)])
        model.compile(lamina.optimizers.SGD(1e-3), "mse")
        x = np.ones((4, 2), "float32")
        history = model.fit(x, np.full((4, 1), 900.0), epochs=30, verbose=0).history
    finally:
        lamina.config.set_dtype_policy("float32")
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_norms_of_half_floats(order):
    x = jnp.asarray([[300.0, 400.0], [0.01, 0.02]], "float16")
    got = np.asarray(ops.normalize(x, order=order), "float32")
    want = np.asarray(ops.normalize(x.astype("float32"), order=order))
    np.testing.assert_allclose(got, want, rtol=1e-3)
    slope = jax.grad(lambda x: ops.normalize(x)[1, 0].astype("float32"))(x)
    assert np.isfinite(np.asarray(slope)).all()
