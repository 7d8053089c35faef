import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina.optimizers import schedules

CASES = [
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 20, "alpha": 0.1}),
    (
        "CosineDecay",
        {
            "initial_learning_rate": 0.0,
            "decay_steps": 20,
            "warmup_target": 0.3,
            "warmup_steps": 7,
        },
    ),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 9}),
    (
        "CosineDecayRestarts",
        {
            "initial_learning_rate": 0.1,
            "first_decay_steps": 9,
            "t_mul": 1.0,
            "m_mul": 0.8,
            "alpha": 0.1,
        },
    ),
    (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 7, "decay_rate": 0.9},
    ),
    (
        "ExponentialDecay",
        {
            "initial_learning_rate": 0.1,
            "decay_steps": 7,
            "decay_rate": 0.9,
            "staircase": True,
        },
    ),
    (
        "InverseTimeDecay",
        {
            "initial_learning_rate": 0.1,
            "decay_steps": 7,
            "decay_rate": 0.9,
            "staircase": True,
        },
    ),
    ("PiecewiseConstantDecay", {"boundaries": [5, 20], "values": [0.3, 0.2, 0.1]}),
    ("PiecewiseConstantDecay", {"boundaries": [5.0], "values": [0.3, 0.2]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 20, "power": 2}),
    (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 9, "cycle": True},
    ),
]


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_rates_and_configs_are_those_of_keras(name, kwargs):
    ours = getattr(schedules, name)(**kwargs)
    theirs = getattr(keras.optimizers.schedules, name)(**kwargs)
    steps = jnp.arange(40)
    compiled = jax.jit(jax.vmap(ours))(steps)
    expected = np.array([theirs(s) for s in range(40)])
    assert compiled.dtype == "float32"
    np.testing.assert_allclose(compiled, expected, rtol=2e-6, atol=1e-8)
    np.testing.assert_allclose(float(ours(3)), expected[3], rtol=1e-6)
    config = keras.optimizers.schedules.serialize(theirs)
    assert schedules.serialize(ours) == config
    assert schedules.deserialize(config).get_config() == config["config"]
    assert (
        keras.optimizers.schedules.deserialize(config).get_config() == ours.get_config()
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.CosineDecay(0.1, 0), "decay_steps=0"),
        (lambda: schedules.CosineDecayRestarts(0.1, -1), "first_decay_steps=-1"),
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), "decay_steps=0"),
        (lambda: schedules.PiecewiseConstantDecay([1], [0.1]), r"boundaries=\[1\]"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_base_asks_for_a_call():
    with pytest.raises(NotImplementedError, match="__call__"):
        schedules.LearningRateSchedule()(0)
