import copy

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import constraints, optimizers
from lamina.core.variable import Variable

# What Keras' own variables warn of when NumPy 2 reads them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def ones(*shape):
    return jnp.ones(shape)


class Counting(optimizers.Optimizer):
    """A user's own optimizer, written as for Keras."""

    def __init__(self, learning_rate=0.5, power=1.0, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.power = power

    def build(self, variables):
        super().build(variables)
        self.counts = [
            self.add_variable_from_reference(v, name="count") for v in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        count = self.counts[self._get_variable_index(variable)]
        self.assign_add(count, jnp.ones_like(gradient))
        self.assign_sub(variable, learning_rate * gradient**self.power)

    def get_config(self):
        config = super().get_config()
        config.update({"power": self.power})
        return config


def test_a_users_own_optimizer():
    w = Variable([1.0, 2.0], name="w")
    optimizer = Counting(name="mine")
    optimizer.apply_gradients([(ones(2), w)])
    assert w.numpy().tolist() == [0.5, 1.5]
    assert optimizer.variables[2].path == "mine/w_count"
    assert int(optimizer.iterations) == 1
    again = Counting.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()


def test_a_users_own_optimizer_updates_all_variables_at_once():
    def made(m, variable):
        class Together(m.optimizers.Optimizer):
            def _backend_update_step(self, grads, trainable_variables, learning_rate):
                total = sum(m.ops.sum(gradient) for gradient in grads)
                rate = m.ops.cast(self._get_current_learning_rate(), "float32")
                for one in trainable_variables:
                    one.assign(one - rate * total)

        schedule = m.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
        optimizer, cells = Together(schedule), [variable(ones(2)), variable(ones(3))]
        for _ in range(2):
            optimizer.apply([ones(2), ones(3)], cells)
        return [np.asarray(cell) for cell in cells]

    pairs = zip(made(lamina, Variable), made(keras, keras.Variable), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_stateless_apply_leaves_the_variables_alone():
    w = Variable([1.0, 2.0])
    optimizer = optimizers.SGD(0.25, momentum=0.5)
    optimizer.build([w])
    state = [v.value for v in optimizer.variables]
    (new,), after = optimizer.stateless_apply(state, [ones(2)], [w.value])
    assert w.numpy().tolist() == [1.0, 2.0]
    assert int(optimizer.iterations) == 0
    assert int(after[0]) == 1
    assert new.tolist() == [0.75, 1.75]


def test_one_compilation_serves_all_steps():
    w = Variable([1.0, 2.0])
    kwargs = {"gradient_accumulation_steps": 2, "use_ema": True}
    optimizer = optimizers.AdamW(**kwargs, ema_overwrite_frequency=2)
    optimizer.build([w])
    traces = []

    @jax.jit
    def step(state, weights):
        traces.append(1)
        return optimizer.stateless_apply(state, weights, weights)

    weights, state = [w.value], [v.value for v in optimizer.variables]
    for _ in range(4):
        weights, state = step(state, weights)
    assert len(traces) == 1
    assert int(state[0]) == 4


def test_learning_rate_can_be_set_and_scheduled():
    optimizer = optimizers.SGD(0.5)
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25
    optimizer.learning_rate = optimizers.schedules.ExponentialDecay(1.0, 1, 0.5)
    assert len(optimizer.variables) == 1
    w = Variable([4.0])
    optimizer.apply([ones(1)], [w])
    optimizer.apply([ones(1)], [w])
    assert float(w[0]) == 2.5
    with pytest.raises(TypeError, match="cannot replace"):
        optimizer.learning_rate = 0.1
    assert optimizers.SGD(lambda: 0.125).learning_rate == 0.125


def test_constraints_hold_after_the_step():
    w = Variable([1.0, -1.0])
    w.constraint = constraints.NonNeg()
    optimizers.SGD(0.5).apply([jnp.array([1.0, -1.0])], [w])
    assert w.numpy().tolist() == [0.5, 0.0]


@pytest.mark.parametrize("steps", [None, 2])
def test_overwrite_with_gradient(steps):
    ours, theirs = [], []
    for module, variable, results in (
        (optimizers, Variable, ours),
        (keras.optimizers, keras.Variable, theirs),
    ):
        a, b = variable([1.0, 2.0]), variable([3.0])
        a.overwrite_with_gradient = True
        optimizer = module.Adam(0.1, gradient_accumulation_steps=steps)
        for g in (0.25, 0.5, 0.125):
            optimizer.apply([jnp.full(2, g), jnp.full(1, g)], [a, b])
            results.append([a.numpy(), b.numpy()])
        assert len(optimizer.variables) == (4 if steps is None else 6)
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x[0], y[0], rtol=1e-6)
        np.testing.assert_allclose(x[1], y[1], rtol=1e-6)


def test_exclude_from_weight_decay():
    kernel, bias, gain = (Variable([1.0], name=n) for n in ("kernel", "bias", "gain"))
    optimizer = optimizers.SGD(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[gain], var_names=["bias"])
    optimizer.apply([jnp.zeros(1)] * 3, [kernel, bias, gain])
    assert [float(v[0]) for v in (kernel, bias, gain)] == [0.75, 1.0, 1.0]


def test_averages_go_into_the_weights_at_the_end():
    w = Variable([1.0])
    optimizer = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    optimizer.apply([ones(1)], [w])
    optimizer.apply([ones(1)], [w])
    assert float(w[0]) == -1.0
    optimizer.finalize_variable_values([w])
    assert float(w[0]) == -0.5
    with pytest.raises(ValueError, match="Received: 2"):
        optimizer.finalize_variable_values([w, w])


def test_state_is_saved_and_loaded():
    w = Variable([1.0, 2.0])
    first, second = (optimizers.SGD(0.1, momentum=0.5) for _ in range(2))
    first.apply([ones(2)], [w])
    second.build([w])
    store = {}
    first.save_own_variables(store)
    assert list(store) == ["0", "1", "2"]
    second.load_own_variables(store)
    np.testing.assert_array_equal(second.variables[2], first.variables[2])
    with pytest.warns(UserWarning, match="3 variables and the saved one 1"):
        second.load_own_variables({"0": 1})
    second.set_weights([np.array(7), *[v.numpy() for v in first.variables[1:]]])
    assert int(second.iterations) == 7


def test_a_copy_works_on_its_own():
    w = Variable([1.0])
    optimizer = optimizers.SGD(0.5, momentum=0.5)
    optimizer.build([w])
    other = copy.deepcopy(optimizer)
    other.apply([ones(1)])
    assert float(w[0]) == 1.0
    assert int(optimizer.iterations) == 0


def test_a_missing_gradient_warns():
    a, b = Variable([1.0], name="a"), Variable([1.0], name="b")
    with pytest.warns(UserWarning, match=r"\['b'\]"):
        optimizers.SGD(0.5).apply([ones(1), None], [a, b])
    assert (float(a[0]), float(b[0])) == (0.5, 1.0)
    with pytest.raises(ValueError, match="No gradients"):
        optimizers.SGD(0.5).apply([None, None], [a, b])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.SGD("fast"), "learning_rate='fast'"),
        (lambda: optimizers.SGD(0.1, momentum=2.0), "momentum=2.0"),
        (lambda: optimizers.SGD(clipnorm=1.0, clipvalue=1.0), "Only one of"),
        (lambda: optimizers.SGD(gradient_accumulation_steps=1), "steps=1"),
        (lambda: optimizers.SGD(use_ema=True, ema_momentum=2), "ema_momentum=2"),
        (lambda: optimizers.SGD(use_ema=True, ema_overwrite_frequency=0.5), "=0.5"),
        (lambda: optimizers.SGD(speed=3), "'speed'"),
        (lambda: optimizers.AdamW(weight_decay=None), "weight_decay=None"),
        (lambda: optimizers.Lion(beta_1=0.0), "beta_1=0.0"),
        (lambda: optimizers.Ftrl(learning_rate_power=0.5), "power=0.5"),
        (lambda: optimizers.Ftrl(l1_regularization_strength=-1.0), "strength=-1.0"),
        (lambda: optimizers.SGD().apply([ones(1)]), "build"),
        (lambda: optimizers.SGD().set_weights([]), "build"),
        (lambda: optimizers.SGD().stateless_apply([], [], []), "build"),
        (lambda: optimizers.Muon().zeropower_via_newtonschulz5(ones(3), 1), "two axes"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_variables_and_wrong_counts():
    w = Variable([1.0])
    optimizer = optimizers.SGD()
    optimizer.build([w])
    with pytest.raises(ValueError, match="'other'"):
        optimizer.apply([ones(1)], [Variable([1.0], name="other")])
    with pytest.raises(ValueError, match="2 gradients for 1"):
        optimizer.apply([ones(1), ones(1)])
    with pytest.raises(ValueError, match="`optimizer_variables`"):
        optimizer.stateless_apply([], [ones(1)], [ones(1)])


def test_forgetting_the_super_call():
    class Lazy(optimizers.Optimizer):
        def __init__(self):
            self.rate = 1.0

    with pytest.raises(RuntimeError, match="super"):
        Lazy()


def test_arguments_by_position():
    optimizer = optimizers.AdamW(0.1, 0.2, 0.3, 0.4, 0.5, True, 0.6, name="a")
    theirs = keras.optimizers.AdamW(0.1, 0.2, 0.3, 0.4, 0.5, True, 0.6, name="a")
    assert optimizer.get_config() == theirs.get_config()


@pytest.mark.parametrize("name", ["adam", "Adam", "rmsprop", "ADAMW", "lamb", "sgd"])
def test_get_by_name(name):
    assert type(optimizers.get(name)).__name__.lower() == name.lower()


def test_get_refuses():
    with pytest.raises(ValueError, match="Did you mean 'adam'"):
        optimizers.get("adamm")
    with pytest.raises(ValueError, match="identifier"):
        optimizers.get(3)
    with pytest.raises(ValueError, match="identifier"):
        optimizers.get(len)
    with pytest.raises(ImportError, match=r"lamina\.optimizers\.SGD"):
        optimizers.legacy.SGD(0.1)


def test_exclusions_come_before_build():
    optimizer = optimizers.AdamW()
    optimizer.build([Variable(np.ones(2))])
    with pytest.raises(ValueError, match="before the optimizer is built"):
        optimizer.exclude_from_weight_decay(var_names=["bias"])


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("RMSprop", {"rho": 1.5}),
        ("RMSprop", {"momentum": -0.1}),
        ("Adadelta", {"rho": -1}),
        ("Adagrad", {"initial_accumulator_value": -0.1}),
    ],
)
def test_numbers_out_of_their_range(name, kwargs):
    with pytest.raises(ValueError, match=f"`{name}`.*{next(iter(kwargs))}"):
        getattr(optimizers, name)(**kwargs)
