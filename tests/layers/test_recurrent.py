import functools
import json

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina.core.masks import get_mask
from lamina.core.variable import pure
from lamina.kernels import dropout
from lamina.testing import check_layer
from tests.layers.parity import plain, same

L, K = lamina.layers, keras.layers
RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(4, 5, 3)).astype("float32")
# A row cut at the end, one all masked, one with a hole, one that begins masked.
MASK = np.array(
    [[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 0, 1, 0, 1], [0, 1, 1, 1, 1]], bool
)
STATES = {"SimpleRNN": 1, "LSTM": 2, "GRU": 1}


def pair(name, *args, **kwargs):
    """Make a layer and Keras' own, of the same config, names and weights."""
    ours, theirs = (getattr(m, name)(*args, name="it", **kwargs) for m in (L, K))
    return alike(ours, theirs)


def alike(ours, theirs, shape=X.shape):
    assert plain(ours.get_config()) == plain(theirs.get_config())
    ours.build(shape), theirs.build(shape)
    kept = len(getattr(ours, "_kept", []))
    paths = [v.path for v in ours.variables][: len(ours.variables) - kept]
    assert paths == [v.path for v in theirs.variables]
    values = [0.5 * RANDOM.normal(size=v.shape) for v in theirs.weights]
    ours.set_weights(values), theirs.set_weights(values)
    return ours, theirs


CASES = [
    ("SimpleRNN", {}),
    ("SimpleRNN", {"activation": "relu", "use_bias": False}),
    ("LSTM", {}),
    ("LSTM", {"use_cudnn": False}),
    ("LSTM", {"recurrent_activation": "hard_sigmoid", "unit_forget_bias": False}),
    ("GRU", {}),
    ("GRU", {"reset_after": False}),
    ("GRU", {"use_cudnn": False}),
    ("GRU", {"reset_after": False, "activation": "relu", "use_bias": False}),
]


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_numbers(name, kwargs):
    ours, theirs = pair(name, 4, return_sequences=True, return_state=True, **kwargs)
    first = [RANDOM.normal(size=(4, 4)).astype("float32")] * STATES[name]
    same(ours, theirs, X, mask=MASK, initial_state=first)
    np.testing.assert_allclose(ours(X)[0], theirs(X)[0], atol=1e-5)


@pytest.mark.parametrize("name", STATES)
def test_last_output_alone(name):
    same(*pair(name, 4, go_backwards=True), X, mask=MASK)


@pytest.mark.parametrize("name", STATES)
def test_unroll_changes_no_number(name):
    ours, theirs = pair(name, 4, return_sequences=True, unroll=True)
    same(ours, theirs, X, mask=MASK)
    other = getattr(L, name)(4, return_sequences=True, unroll=2)
    other.build(X.shape)
    other.set_weights(ours.get_weights())
    np.testing.assert_allclose(other(X, mask=MASK), ours(X, mask=MASK), atol=1e-6)


@pytest.mark.parametrize("name", STATES)
def test_zeros_where_masked(name):
    ours, theirs = pair(name, 4, return_sequences=True, zero_output_for_mask=True)
    outputs = ours(X, mask=MASK)
    assert not np.asarray(outputs)[~MASK].any()
    # Keras' kernel-free path is the one that knows the argument.
    np.testing.assert_allclose(outputs, theirs(X, mask=MASK), atol=1e-5)


@pytest.mark.parametrize("name", STATES)
def test_state_is_kept_between_calls(name):
    ours, theirs = pair(name, 4, stateful=True)
    for step in range(3):
        x = X * (step + 1)
        np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)
    for a, b in zip(ours.states, theirs.states, strict=True):
        np.testing.assert_allclose(a.value, b.value, atol=1e-5)
    ours.reset_states(), theirs.reset_states()
    np.testing.assert_allclose(ours(X), theirs(X), atol=1e-5)
    assert len(ours.weights) == 3
    assert ours.variables[-1] is ours.states[-1]
    with pytest.raises(ValueError, match="batch size"):
        ours(X[:2])


def test_kept_state_flows_through_pure():
    layer = L.GRU(4, stateful=True)
    layer(X)
    before = [v.value for v in layer.variables]
    run = jax.jit(pure(layer, layer.variables))
    output, after = run(before, X)
    np.testing.assert_allclose(after[-1], output, atol=1e-6)
    np.testing.assert_array_equal(layer.states[0].value, before[-1])


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("SimpleRNN", {"units": 2, "dropout": 0.3, "recurrent_dropout": 0.2}),
        ("LSTM", {"units": 2, "kernel_regularizer": "l2", "seed": 3, "unroll": True}),
        ("GRU", {"units": 2, "activity_regularizer": "l1", "stateful": True}),
        ("LSTMCell", {"units": 2, "bias_constraint": "non_neg", "seed": 1}),
        ("GRUCell", {"units": 2, "reset_after": False}),
        ("SimpleRNNCell", {"units": 2, "use_bias": False, "implementation": 1}),
    ],
)
def test_configs(name, kwargs):
    if name == "SimpleRNNCell":
        kwargs = {k: v for k, v in kwargs.items() if k != "implementation"}
    ours, theirs = (getattr(m, name)(name="it", **kwargs) for m in (L, K))
    assert plain(ours.get_config()) == plain(theirs.get_config())
    again = L.deserialize(json.loads(json.dumps(L.serialize(ours))))
    assert plain(again.get_config()) == plain(ours.get_config())


@pytest.mark.parametrize("name", STATES)
def test_every_duty_of_a_layer(name):
    check_layer(
        getattr(L, name),
        {"units": 4, "return_sequences": True},
        X,
        expected_output_shape=(4, 5, 4),
        expected_num_trainable_weights=3,
        expected_num_non_trainable_weights=0,
        expected_num_seeds=1,
        supports_masking=True,
    )


def test_convolution_over_time_does_every_duty():
    check_layer(
        L.ConvLSTM2D,
        {"filters": 2, "kernel_size": 2, "dropout": 0.2, "recurrent_dropout": 0.2},
        RANDOM.normal(size=(2, 3, 4, 4, 2)).astype("float32"),
        expected_output_shape=(2, 3, 3, 2),
        expected_num_trainable_weights=3,
        expected_num_non_trainable_weights=0,
        supports_masking=True,
    )


def test_a_masked_step_of_images_changes_nothing():
    layer = L.ConvLSTM1D(2, 2, return_sequences=True)
    x = RANDOM.normal(size=(4, 5, 4, 2)).astype("float32")
    masked = np.asarray(layer(x, mask=MASK))
    np.testing.assert_allclose(masked[0, 2:], np.repeat(masked[:1, 2], 3, 0), atol=0)
    np.testing.assert_allclose(masked[2, 4], layer(x[2:3, ::2])[0, 2], atol=1e-6)


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize(
    "rates", [{"dropout": 0.5}, {"recurrent_dropout": 0.5, "dropout": 0.3}]
)
def test_dropout_masks_are_one_for_all_steps(name, rates):
    layer = getattr(L, name)(6, seed=11, return_sequences=True, **rates)
    plain_output = layer(X)
    key = layer.cell.seed_generator.state.value
    output = layer(X, training=True)
    assert not np.allclose(output, plain_output)
    assert layer.cell._dropout_mask is None  # let go after the call
    # The same by hand: masks drawn once, the cell run step by step with them.
    cell = layer.cell
    cell.seed_generator.state.assign(key)
    states = cell.get_initial_state(4)
    cell.hold_masks(X[:, 0], states)
    for step in range(5):
        y, states = cell(X[:, step], states, training=True)
        np.testing.assert_allclose(output[:, step], y, atol=1e-5)
    cell.release_masks()
    assert not np.allclose(layer(X, training=True), output)  # new masks each call


def test_dropout_is_the_kernels():
    layer = L.SimpleRNN(3, dropout=0.5, seed=2)
    layer(X)
    key = layer.cell.seed_generator.state.value
    mask = dropout(jnp.ones((4, 3)), 0.5, key)
    np.testing.assert_allclose(
        layer(X, training=True), layer(X * mask[:, None]), atol=1e-6
    )


def test_mixed_precision():
    for name in STATES:
        ours, theirs = pair(name, 4, dtype="mixed_bfloat16", return_state=True)
        for a, b in zip(ours(X), theirs(X), strict=True):
            assert a.dtype == b.dtype == "bfloat16"
            a, b = np.asarray(a, "float32"), np.asarray(b, "float32")
            np.testing.assert_allclose(a, b, atol=2e-2)


# ---- RNN over cells ------------------------------------------------------------


class Minimal(lamina.layers.Layer):
    """A cell of two states whose output is larger than either."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units, units]
        self.output_size = units

    def build(self, input_shape):
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, name="kernel")

    def call(self, inputs, states):
        h = jnp.tanh(inputs @ self.kernel.value + states[0])
        return h, (h, states[1] + 1)


class KerasMinimal(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units, units]
        self.output_size = units

    def build(self, input_shape):
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, name="kernel")

    def call(self, inputs, states):
        h = keras.ops.tanh(inputs @ self.kernel + states[0])
        return h, [h, states[1] + 1]


def test_users_cell():
    kwargs = {"return_sequences": True, "return_state": True, "name": "it"}
    ours = L.RNN(Minimal(4, name="cell"), **kwargs)
    theirs = K.RNN(KerasMinimal(4, name="cell"), **kwargs)
    ours.build(X.shape), theirs.build(X.shape)
    theirs.set_weights(ours.get_weights())
    assert [v.path for v in ours.weights] == [v.path for v in theirs.weights]
    same(ours, theirs, X, mask=MASK)


def test_stacked_cells():
    def make(m):
        cells = [m.LSTMCell(4, name="a"), m.GRUCell(2, name="b")]
        return m.RNN(
            m.StackedRNNCells(cells, name="stack"),
            return_sequences=True,
            return_state=True,
            name="it",
        )

    ours, theirs = alike(make(L), make(K))
    assert ours.cell.state_size == [[4, 4], 2] and ours.cell.output_size == 2
    first = [[np.ones((4, 4), "float32")] * 2, [np.full((4, 2), 2, "float32")]]
    same(ours, theirs, X, mask=MASK, initial_state=first)
    again = L.RNN.from_config(ours.get_config())
    assert plain(again.get_config()) == plain(ours.get_config())


def test_stacked_cells_share_masks_over_time():
    layer = L.RNN([L.LSTMCell(4, dropout=0.5), L.GRUCell(3, recurrent_dropout=0.5)])
    still = layer(X)
    assert not np.allclose(layer(X, training=True), still)
    assert layer.cell.cells[0]._dropout_mask is None


class Restless(lamina.layers.Layer):
    """A cell that counts its steps, draws noise and adds a loss at each."""

    state_size = 3

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = lamina.random.SeedGenerator(4)

    def build(self, input_shape):
        self.steps = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="steps"
        )

    def call(self, inputs, states):
        self.steps.assign_add(1.0)
        self.add_loss(jnp.sum(inputs))
        noise = lamina.random.normal((1, 3), seed=self.seeds)
        return noise + 0 * inputs, [states[0] + inputs]


@pytest.mark.parametrize("mask", [None, MASK])
def test_cell_with_variables_noise_and_losses(mask):
    layer = L.RNN(Restless(), return_sequences=True)
    outputs = np.asarray(layer(X, mask=mask))
    assert float(layer.cell.steps.value) == 5
    assert int(layer.cell.seeds.state.value[1]) == 5
    np.testing.assert_allclose(layer.losses, [X.sum()], rtol=1e-4)
    if mask is None:
        assert len({float(y) for y in outputs[0, :, 0]}) == 5  # new noise each step
    values = [v.value for v in layer.variables]
    again, after = jax.jit(pure(layer, layer.variables))(values, X)
    assert not np.allclose(again, outputs)
    assert float(after[0]) == 10 and float(layer.cell.steps.value) == 5


def test_compiled_without_state_where_nothing_changes():
    layer = L.LSTM(4, use_cudnn=False)
    expected = layer(X)
    np.testing.assert_allclose(jax.jit(layer)(X), expected, atol=1e-6)


def test_plain_object_as_cell():
    class Sum:
        state_size = 3

        def call(self, inputs, states):
            return inputs + states[0], [inputs + states[0]]

    np.testing.assert_allclose(L.RNN(Sum())(X), X.sum(1), rtol=1e-5)


def test_functional_graph_with_states():
    x, h, c = lamina.Input((None, 3)), lamina.Input((4,)), lamina.Input((4,))
    y, *states = L.LSTM(4, return_state=True)(x, initial_state=[h, c])
    assert [t.shape for t in (y, *states)] == [(None, 4)] * 3
    model = lamina.Model([x, h, c], [y, *states])
    first = [np.ones((4, 4), "float32"), np.zeros((4, 4), "float32")]
    lstm = model.layers[-1]
    for a, b in zip(model([X, *first]), lstm(X, initial_state=first), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_mask_reaches_the_next_layer():
    ids = np.array([[1, 2, 0, 0], [3, 0, 0, 0]])
    embedded = L.Embedding(5, 3, mask_zero=True)(ids)
    assert get_mask(L.LSTM(2)(embedded)) is None
    sequences, *states = L.LSTM(2, return_sequences=True, return_state=True)(embedded)
    np.testing.assert_array_equal(get_mask(sequences), ids != 0)
    assert [get_mask(s) for s in states] == [None, None]
    both = L.Bidirectional(L.GRU(2, return_sequences=True))(embedded)
    np.testing.assert_array_equal(get_mask(both), ids != 0)


# ---- Bidirectional ---------------------------------------------------------------


@pytest.mark.parametrize("merge", ["concat", "sum", "ave", "mul", None])
@pytest.mark.parametrize("sequences", [False, True])
def test_merging_both_directions(merge, sequences):
    def make(m):
        layer = m.GRU(3, return_sequences=sequences, return_state=True, name="l")
        return m.Bidirectional(layer, merge_mode=merge, name="it")

    ours, theirs = alike(make(L), make(K))
    first = [RANDOM.normal(size=(4, 3)).astype("float32") for _ in range(2)]
    kwargs = {"mask": MASK, "initial_state": first}
    for a, b in zip(ours(X, **kwargs), theirs(X, **kwargs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for a, b in zip(ours(X), theirs(X), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_gradients_of_both_directions():
    def make(m):
        layer = m.LSTM(3, return_sequences=True, name="l")
        return m.Bidirectional(layer, name="it")

    same(*alike(make(L), make(K)), X, mask=MASK)


def test_bidirectional_with_a_layer_of_its_own_and_kept_state():
    def make(m):
        back = m.LSTM(3, stateful=True, go_backwards=True, activation="relu", name="b")
        layer = m.LSTM(3, stateful=True, name="f")
        return m.Bidirectional(layer, backward_layer=back, name="it")

    ours, theirs = make(L), make(K)
    assert plain(ours.get_config()) == plain(theirs.get_config())
    ours(X), theirs(X)
    theirs.set_weights(ours.get_weights())
    ours.reset_state(), theirs.reset_state()
    for _ in range(2):
        np.testing.assert_allclose(ours(X), theirs(X), atol=1e-5)
    assert len(ours.states) == 4


def test_bidirectional_does_every_duty():
    layer = L.SimpleRNN(3, return_sequences=True)
    check_layer(L.Bidirectional, {"layer": layer, "name": "it"}, X)
    weights = [np.full(v.shape, 0.5) for v in layer_of(layer).weights]
    given = L.Bidirectional(layer, weights=weights)
    given.build(X.shape)
    assert all((w == 0.5).all() for w in given.get_weights())


def layer_of(layer):
    both = L.Bidirectional(layer)
    both.build(X.shape)
    return both


# ---- TimeDistributed -------------------------------------------------------------


def test_time_distributed_over_a_layer_that_trains_unless_told_otherwise():
    # In training it looks at all rows that it is given, so those of one step.
    x = np.random.default_rng(0).uniform(0, 255, (2, 3, 4, 4, 3)).astype("float32")
    inner = L.Equalization()
    steps = np.stack([inner(x[:, i]) for i in range(3)], axis=1)
    np.testing.assert_array_equal(L.TimeDistributed(inner)(x), steps)
    model = lamina.Sequential([inner])
    np.testing.assert_array_equal(L.TimeDistributed(model)(x), steps)


@pytest.mark.parametrize("activation", [None, lambda x: x])
def test_time_distributed_penalties_are_the_mean_of_the_steps(activation):
    # In one call for all steps and, with a user's own function, step by step.
    inner = L.Dense(2, activation, activity_regularizer="l2")
    model = lamina.Sequential([L.Input((3, 5)), L.TimeDistributed(inner)])
    x = np.random.default_rng(0).normal(size=(4, 3, 5)).astype("float32")
    y = np.asarray(model(x))
    penalty = 0.01 * np.sum(y**2) / 12
    np.testing.assert_allclose([float(p) for p in model.losses], [penalty], rtol=1e-5)
    model.compile("sgd", "mse")
    loss = model.evaluate(x, np.zeros_like(y), verbose=0)
    np.testing.assert_allclose(loss, np.mean(y**2) + penalty, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "kwargs", "shape"),
    [
        ("Dense", {"units": 4}, (2, 5, 3)),
        ("Conv2D", {"filters": 2, "kernel_size": 3}, (2, 3, 6, 6, 1)),
        ("LSTM", {"units": 3}, (2, 3, 4, 2)),
    ],
)
def test_each_step_alike(name, kwargs, shape):
    def make(m):
        return m.TimeDistributed(getattr(m, name)(name="inner", **kwargs), name="it")

    ours, theirs = alike(make(L), make(K), shape)
    x = RANDOM.normal(size=shape).astype("float32")
    same(ours, theirs, x)
    outputs = ours(lamina.Input((None, *shape[2:])))
    assert outputs.shape[:2] == (None, None)


def test_each_step_has_its_own_statistics():
    def make(m):
        return m.TimeDistributed(m.BatchNormalization(name="inner"), name="it")

    ours, theirs = make(L), make(K)
    a, b = ours(X, training=True), theirs(X, training=True)
    np.testing.assert_allclose(a, b, atol=1e-5)
    for p, q in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(p, q, atol=1e-5)


def test_each_step_has_its_own_mask():
    x = RANDOM.normal(size=(2, 3, 4, 2)).astype("float32")
    mask = RANDOM.random((2, 3, 4)) > 0.4

    def make(m):
        return m.TimeDistributed(m.LSTM(3, name="inner"), name="it")

    ours, theirs = alike(make(L), make(K), x.shape)
    np.testing.assert_allclose(ours(x, mask=mask), theirs(x, mask=mask), atol=1e-5)


def test_users_layer_sees_one_step_at_a_time():
    class Centre(lamina.layers.Layer):
        def call(self, x):
            return x - x.mean(0)

    expected = X - X.mean(0)
    np.testing.assert_allclose(L.TimeDistributed(Centre())(X), expected, atol=1e-6)


# ---- bad input -------------------------------------------------------------------


def bad(make, match, error=ValueError):
    with pytest.raises(error, match=match):
        make()


def test_bad_input():
    z = np.zeros((4, 3), "float32")
    bad(lambda: L.LSTM(0), "positive integer. Received: units=0")
    bad(lambda: L.GRU("a"), "positive integer. Received: units='a'")
    bad(lambda: L.GRU(3, dropout=1.5), "between 0 and 1. Received: dropout=1.5")
    bad(lambda: L.LSTM(3, implementation=7), "implementation=7")
    bad(lambda: L.LSTM(3, use_cudnn="maybe"), "use_cudnn='maybe'")
    bad(lambda: L.LSTM(3)(X[0]), "expected ndim=3, found ndim=2")
    bad(lambda: L.RNN(3), "should have a `call` method")
    bad(lambda: L.RNN(L.Dense(3)), "state_size")
    bad(lambda: L.StackedRNNCells([L.Dense(3)]), "state_size")
    bad(lambda: L.LSTM(3)(X, initial_state=[z]), "2 state")
    bad(lambda: L.LSTM(4)(X, initial_state=[z, z]), r"sizes \[4, 4\]")
    bad(lambda: L.LSTM(3, stateful=True)(lamina.Input((4, 3))), "batch size")
    bad(lambda: L.GRU(3, unroll=True)(lamina.Input((None, 3))), "Cannot unroll")
    relu = L.LSTM(3, activation="relu", use_cudnn=True)
    bad(lambda: relu(X), "use_cudnn=True")
    bad(lambda: L.Bidirectional(3), "to be a layer")
    bad(lambda: L.Bidirectional(L.Dense(3)), "go_backwards")
    bad(lambda: L.Bidirectional(L.LSTM(3), merge_mode="x"), "Invalid merge mode")
    bad(lambda: L.Bidirectional(L.LSTM(3), backward_layer=L.LSTM(3)), "different")
    bad(lambda: L.Bidirectional(L.LSTM(3)).reset_state(), "stateful", AttributeError)
    bad(lambda: L.TimeDistributed(3), "`TimeDistributed`")
    bad(lambda: L.TimeDistributed(L.Dense(3))(X[0]), "at least 3 dimensions")
    steps = L.TimeDistributed(L.Dense(3))
    bad(lambda: steps(X, mask=MASK[:, :2]), "must match")


def test_bad_input_of_convolutions_over_time():
    make = functools.partial(L.ConvLSTM2D, 3, 2)
    bad(lambda: L.ConvLSTM1D(0, 2), "filters=0")
    bad(lambda: make(padding="causal"), "'valid', 'same'")
    bad(lambda: make(strides=2, dilation_rate=2), "not compatible")
    bad(lambda: make()(X), "expected ndim=5, found ndim=3")
    bad(lambda: make()(lamina.Input((2, None, 5, 3))), "static input shapes")
    videos = np.ones((2, 3, 4, 4, 1), "float32")
    layer = make()
    layer(videos)
    bad(lambda: layer(videos[:, :, 1:]), "axis 2 of input shape to have value 4")
    states = [np.zeros((2, 4, 4, 3), "float32")] * 2
    bad(lambda: layer(videos, initial_state=states), r"\(batch, 3, 3, 3\)")


def test_cell_that_loses_a_state():
    class Loses(Minimal):
        def call(self, inputs, states):
            return states[0], states[:1]

    bad(lambda: L.RNN(Loses(4))(X), "returned 1")


def test_directions_of_different_sizes():
    def both(merge_mode, units):
        back = L.LSTM(units, go_backwards=True)
        return L.Bidirectional(L.LSTM(3), merge_mode=merge_mode, backward_layer=back)

    assert both("concat", 1)(X).shape == (4, 4)
    for units in (1, 5):
        with pytest.raises(ValueError, match=r"merge_mode='sum'.*\(4, 3\) from"):
            both("sum", units)(X)


def test_a_seed_is_part_of_the_config():
    for layer in (L.SimpleRNN, L.LSTM, L.GRU):
        assert layer(2, dropout=0.5, seed=7).get_config()["seed"] == 7


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_layer_after_a_last_step_is_told_of_return_sequences(wrapped):
    first = lamina.layers.LSTM(3, name="first")
    if wrapped:
        first = lamina.layers.Bidirectional(first, name="first")
    steps = first(lamina.Input((4, 5)))
    with pytest.raises(ValueError, match="'first' .*: give it `return_sequences=True`"):
        lamina.layers.LSTM(3)(steps)


def test_rows_in_the_shape_of_an_input_are_told_of():
    with pytest.raises(ValueError, match="If the 32 in axis 1 is the number of"):
        lamina.layers.LSTM(3)(lamina.Input((32, 4, 5)))
