import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina import regularizers
from lamina.core.variable import Variable

CASES = [
    ("L1", {}),
    ("L1", {"l1": 0.3}),
    ("L2", {"l2": 0.2}),
    ("L1L2", {}),
    ("L1L2", {"l1": 0.1, "l2": 0.2}),
    ("OrthogonalRegularizer", {"factor": 0.3}),
    ("OrthogonalRegularizer", {"factor": 0.3, "mode": "columns"}),
]


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_penalty_gradient_and_config_are_those_of_keras(name, kwargs):
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    ours = getattr(regularizers, name)(**kwargs)
    theirs = getattr(keras.regularizers, name)(**kwargs)
    np.testing.assert_allclose(ours(x), theirs(jnp.asarray(x)), rtol=1e-6)
    np.testing.assert_allclose(
        jax.grad(ours)(x), jax.grad(theirs)(x), rtol=1e-5, atol=1e-7
    )
    config = keras.regularizers.serialize(theirs)
    assert regularizers.serialize(ours) == config
    assert regularizers.deserialize(config).get_config() == config["config"]
    assert keras.regularizers.deserialize(config).get_config() == config["config"]


def test_a_variable_and_half_precision():
    v = Variable(np.array([1.0, -2.0]), dtype="float16")
    penalty = regularizers.L1L2(0.5, 0.25)(v)
    assert penalty.dtype == "float16"
    assert float(penalty) == 2.75


@pytest.mark.parametrize("name", ["l1", "L2", "l1l2", "l1_l2", "OrthogonalRegularizer"])
def test_get(name):
    x = np.array([[1.0, -2.0], [3.0, 0.5]], "float32")
    theirs = keras.regularizers.get("l1l2" if name == "l1_l2" else name)
    np.testing.assert_allclose(regularizers.get(name)(x), theirs(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: regularizers.L1(-1.0), "l1=-1.0"),
        (lambda: regularizers.L2(float("nan")), "l2=nan"),
        (lambda: regularizers.L1L2(l2="a"), "l2='a'"),
        (lambda: regularizers.OrthogonalRegularizer(mode="all"), "mode=all"),
        (lambda: regularizers.OrthogonalRegularizer()(jnp.ones(3)), r"shape=\(3,\)"),
        (lambda: regularizers.get("l3"), "identifier: l3"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_factor_is_a_number():
    assert regularizers.L1(np.float32(0.5)).l1 == 0.5
    with pytest.raises(ValueError, match="`l2` to be a finite"):
        regularizers.L2(True)
