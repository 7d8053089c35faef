"""Every optimizer against Keras: 100 steps compiled, 5 steps op by op."""

import copy

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina import optimizers
from lamina.core.naming import forget_names
from lamina.core.variable import Variable

# What Keras' own variables warn of when NumPy 2 reads them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

SHAPES = [(4, 3), (3,), (2, 3, 4), ()]
RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(size=s).astype("float32") for s in SHAPES]
GRADIENTS = [
    [jnp.asarray(RNG.normal(size=s), "float32") for s in SHAPES] for _ in range(100)
]


def warmed(module):
    return module.schedules.CosineDecay(0.1, 60, warmup_target=0.2, warmup_steps=10)


CASES = [
    ("Adadelta", {"rho": 0.9}),
    ("Adafactor", {}),
    ("Adafactor", {"relative_step": False, "weight_decay": 0.1}),
    ("Adafactor", {"learning_rate": warmed}),
    ("Adagrad", {"initial_accumulator_value": 0.2}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "clipnorm": 0.5}),
    ("Adam", {"global_clipnorm": 0.5}),
    ("Adam", {"clipvalue": 0.5}),
    ("Adam", {"gradient_accumulation_steps": 3}),
    ("Adam", {"learning_rate": warmed, "loss_scale_factor": 8.0}),
    ("Adam", {"use_ema": True, "ema_overwrite_frequency": 3}),
    ("AdamW", {}),
    ("AdamW", {"use_ema": True, "gradient_accumulation_steps": 2}),
    ("Adamax", {}),
    ("Ftrl", {}),
    ("Ftrl", {"l1_regularization_strength": 0.01, "beta": 0.1}),
    ("Ftrl", {"l2_shrinkage_regularization_strength": 0.01}),
    ("Lamb", {}),
    ("Lion", {"weight_decay": 0.01}),
    ("Muon", {}),
    ("Muon", {"rms_rate": None, "nesterov": False, "exclude_layers": ["w2"]}),
    ("Nadam", {}),
    ("Nadam", {"gradient_accumulation_steps": 2}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("ScheduleFreeAdamW", {}),
    ("ScheduleFreeAdamW", {"warmup_steps": 10, "weight_decay": 0.01}),
]

# What Keras lacks; and what drives others, compared in tests/optimizers and
# test_trajectories.
WITHOUT = {"LossScaleOptimizer", "MultiOptimizer", "Optimizer", "Transformation"}


def built(module, variable, name, kwargs):
    variables = [variable(w, name=f"w{i}") for i, w in enumerate(WEIGHTS)]
    optimizer = getattr(module, name)(
        **{k: v(module) if callable(v) else v for k, v in kwargs.items()}
    )
    optimizer.build(variables)
    return optimizer, variables


def pair(name, kwargs):
    forget_names()
    keras.utils.clear_session(free_memory=False)
    ours = built(optimizers, Variable, name, kwargs)
    return ours, built(keras.optimizers, keras.Variable, name, kwargs)


def compiled(optimizer, variables):
    step = jax.jit(lambda s, g, w: optimizer.stateless_apply(s, g, w))
    weights = [v.value for v in variables]
    state = [v.value for v in optimizer.variables]
    for gradients in GRADIENTS:
        weights, state = step(state, gradients, weights)
    return [*weights, *state]


def eager(optimizer, variables):
    for gradients in GRADIENTS[:5]:
        optimizer.apply(gradients, variables)
    return [v.value for v in (*variables, *optimizer.variables)]


def assert_near(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        scale = np.abs(np.asarray(b)).max()
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * scale)


def test_every_optimizer_has_a_case():
    ours = {c for c in vars(optimizers).values() if isinstance(c, type)}
    names = {c.__name__ for c in ours if issubclass(c, optimizers.Optimizer)}
    assert names - WITHOUT == {name for name, _ in CASES}


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_hundred_compiled_steps(name, kwargs):
    ours, theirs = pair(name, kwargs)
    assert_near(compiled(*ours), compiled(*theirs))


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_five_eager_steps(name, kwargs):
    ours, theirs = pair(name, kwargs)
    assert_near(eager(*ours), eager(*theirs))


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_variables_and_config(name, kwargs):
    (ours, _), (theirs, _) = pair(name, kwargs)
    described = [
        [(v.path, v.shape, v.dtype) for v in o.variables] for o in (ours, theirs)
    ]
    assert described[0] == described[1]
    config = keras.optimizers.serialize(theirs)
    assert optimizers.serialize(ours) == config
    assert optimizers.deserialize(config).get_config() == config["config"]
    # A copy, since Keras changes the config that it reads.
    again = keras.saving.deserialize_keras_object(copy.deepcopy(config))
    assert again.get_config() == config["config"]


# Muon's iteration rounds in another order.
@pytest.mark.parametrize("name", sorted({name for name, _ in CASES} - {"Muon"}))
def test_half_precision(name):
    results = []
    for module, kind in ((optimizers, Variable), (keras.optimizers, keras.Variable)):
        variable = kind(WEIGHTS[0], dtype="bfloat16", name="w")
        optimizer = getattr(module, name)(learning_rate=0.5)
        for gradients in GRADIENTS[:3]:
            optimizer.apply([gradients[0].astype("bfloat16")], [variable])
        assert variable.value.dtype == "bfloat16"
        results.append(np.asarray(variable.value.astype("float32")))
    np.testing.assert_array_equal(*results)
