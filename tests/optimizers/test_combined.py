"""Optimizers around others: loss scaling, several at once, optax's."""

import collections

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina import optimizers
from lamina.core.variable import Variable

# What Keras' own variables warn of when NumPy 2 reads them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

PAIRS = [(optimizers, Variable), (keras.optimizers, keras.Variable)]


def run(make, gradients, compiled):
    """Return the states after each step in ours and in Keras, which is compiled."""
    histories = []
    for module, variable in PAIRS:
        compiled = compiled or module is keras.optimizers
        kernel = variable([[1.0, 2.0]], name="kernel")
        bias = variable([3.0], name="bias")
        optimizer = make(module)
        optimizer.build([kernel, bias])
        weights = [kernel.value, bias.value]
        state = [v.value for v in optimizer.variables]
        step = optimizer.stateless_apply
        step = jax.jit(lambda s, g, w, step=step: step(s, g, w))
        history = []
        for g in gradients:
            grads = [jnp.full((1, 2), g), jnp.full((1,), g)]
            if compiled:
                weights, state = step(state, grads, weights)
            else:
                optimizer.apply(grads, [kernel, bias])
                weights = [kernel.value, bias.value]
                state = [v.value for v in optimizer.variables]
            history += [*weights, *state]
        histories.append(history)
    return histories


@pytest.mark.parametrize("compiled", [True, False])
def test_loss_scaling(compiled):
    def make(module):
        inner = module.Adam(0.1)
        return module.LossScaleOptimizer(inner, 64.0, dynamic_growth_steps=2)

    gradients = [1.0, 2.0, float("inf"), 1.0, 3.0, float("nan"), 2.0]
    for a, b in zip(*run(make, gradients, compiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("compiled", [True, False])
def test_several_optimizers(compiled):
    def make(module):
        sgd = module.SGD(0.5, momentum=0.5)
        chosen = module.OptimizerMap(module.Adam(0.1), {".*bias": sgd})
        return module.MultiOptimizer(chosen)

    for a, b in zip(*run(make, [1.0, 2.0, 0.5], compiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("kind", ["LossScaleOptimizer", "MultiOptimizer"])
def test_configs_go_both_ways(kind):
    configs = []
    for module, _ in PAIRS:
        adam, sgd = module.Adam(name="a"), module.SGD(name="s")
        if kind == "LossScaleOptimizer":
            optimizer = module.LossScaleOptimizer(adam, 8.0, 5, name="o")
        else:
            chosen = module.OptimizerMap(adam, {".*bias": sgd})
            optimizer = module.MultiOptimizer(chosen, name="o")
        configs.append(module.serialize(optimizer))
        again = module.deserialize(module.serialize(optimizer))
        assert module.serialize(again) == configs[-1]
    assert configs[0] == configs[1]


def test_the_scale_multiplies_the_loss():
    optimizer = optimizers.LossScaleOptimizer(optimizers.SGD(), 4.0)
    assert float(optimizer.scale_loss(2.0)) == 8.0
    optimizer.learning_rate = 0.25
    assert float(optimizer.inner_optimizer.learning_rate) == 0.25


def test_bad_combinations():
    adam, sgd = optimizers.Adam(), optimizers.SGD()
    with pytest.raises(ValueError, match="clipnorm"):
        optimizers.LossScaleOptimizer(adam, clipnorm=1.0)
    with pytest.raises(TypeError, match="'adam'"):
        optimizers.OptimizerMap("adam")
    with pytest.raises(TypeError, match="optimizer_map=3"):
        optimizers.OptimizerMap(adam, 3)
    chosen = optimizers.OptimizerMap(adam, {"a.*": sgd, ".*b": sgd})
    with pytest.raises(ValueError, match="'ab'"):
        chosen["ab"]
    with pytest.raises(ValueError, match="already"):
        chosen["a.*"] = adam
    with pytest.raises(ValueError, match="LossScaleOptimizer"):
        chosen["c"] = optimizers.LossScaleOptimizer(adam)
    with pytest.raises(AttributeError, match="learning rate"):
        _ = optimizers.MultiOptimizer(chosen).learning_rate


Pair = collections.namedtuple("Pair", "init update")


def momentum(rate):
    """Momentum in optax's form."""

    def init(params):
        return {"trace": jax.tree.map(jnp.zeros_like, params), "count": jnp.int32(0)}

    def update(updates, state, params=None):
        trace = jax.tree.map(lambda t, g: 0.5 * t + g, state["trace"], updates)
        change = jax.tree.map(lambda t: -rate * t, trace)
        return change, {"trace": trace, "count": state["count"] + 1}

    return Pair(init, update)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_transformation_of_optax(compiled):
    names = ("first", "same", "same")
    a = [Variable([1.0, 2.0], name=n) for n in names]
    b = [Variable([1.0, 2.0], name=n) for n in names]
    ours = optimizers.SGD(0.5, momentum=0.5)
    theirs = optimizers.get(momentum(0.5))
    for optimizer, variables in ((ours, a), (theirs, b)):
        optimizer.build(variables)
        weights = [v.value for v in variables]
        state = [v.value for v in optimizer.variables]
        step = optimizer.stateless_apply
        step = jax.jit(lambda s, g, w, step=step: step(s, g, w))
        for _ in range(3):
            if compiled:
                weights, state = step(state, weights, weights)
            else:
                optimizer.apply([v.value for v in variables])
                weights = [v.value for v in variables]
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)
    assert [v.dtype for v in theirs.variables] == ["int32", "float32", "int32"] + [
        "float32"
    ] * 3
    with pytest.raises(AttributeError, match="learning rate"):
        _ = theirs.learning_rate
    with pytest.raises(NotImplementedError, match="cannot be saved"):
        theirs.get_config()
