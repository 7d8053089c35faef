import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from lamina.kernels import gru, lstm, scan, simple_rnn

UNITS = 3
GATES = {"lstm": 4, "gru": 3, "gru_before": 3, "simple": 1}
STATES = {"lstm": 2, "gru": 1, "gru_before": 1, "simple": 1}


def arguments(name, rng, batch=2, time=4, features=2, units=UNITS, dtype="float32"):
    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), dtype)

    wide = GATES[name] * units
    bias = (2, wide) if name == "gru" else (wide,)
    states = [draw(batch, units) for _ in range(STATES[name])]
    weights = [draw(features, wide), draw(units, wide), draw(*bias)]
    return [draw(batch, time, features), *states, *weights]


def kernel(name, *args, **options):
    if name == "gru_before":
        return gru(*args, reset_after=False, **options)
    return {"lstm": lstm, "gru": gru, "simple": simple_rnn}[name](*args, **options)


def plain(name, x, *rest, mask=None, reverse=False, zero=False):
    """The textbook, one step at a time, with JAX's own gradient."""
    *states, kernel, recurrent, bias = rest

    def step(x, states):
        h = states[0]
        if name == "lstm":
            i, f, g, o = jnp.split(x @ kernel + h @ recurrent + bias, 4, -1)
            c = jax.nn.sigmoid(f) * states[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
            return [jax.nn.sigmoid(o) * jnp.tanh(c), c]
        if name == "simple":
            return [jnp.tanh(x @ kernel + h @ recurrent + bias)]
        before, after = bias if name == "gru" else (bias, 0.0)
        xz, xr, xg = jnp.split(x @ kernel + before, 3, -1)
        hz, hr, hg = jnp.split(h @ recurrent + after, 3, -1)
        z, r = jax.nn.sigmoid(xz + hz), jax.nn.sigmoid(xr + hr)
        part = r * hg
        if name == "gru_before":
            part = (r * h) @ recurrent[:, 2 * h.shape[-1] :]
        return [z * h + (1 - z) * jnp.tanh(xg + part)]

    outputs = []
    times = range(x.shape[1])
    for t in reversed(times) if reverse else times:
        new = step(x[:, t], states)
        y = new[0]
        if mask is not None:
            valid = mask[:, t, None]
            new = [jnp.where(valid, a, b) for a, b in zip(new, states, strict=True)]
            y = jnp.where(valid, y, 0.0 if zero else states[0])
        states = new
        outputs.append(y)
    return jnp.stack(outputs, 1), *states


MASK = np.array([[0, 1, 0, 1], [1, 1, 0, 0]], bool)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize(
    "mask, reverse, zero",
    [(None, False, False), (MASK, True, True)],
)
def test_agrees_with_the_textbook(name, mask, reverse, zero, rng, agree):
    options = {"mask": mask, "reverse": reverse}

    def mine(*args):
        return kernel(name, *args, zero_output_for_mask=zero, **options)

    agree(
        mine,
        lambda *args: plain(name, *args, zero=zero, **options),
        *arguments(name, rng),
    )


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("biased", [True, False])
def test_without_a_gradient_the_values_are_the_same(name, biased, rng):
    *args, bias = arguments(name, rng, time=5)
    mask = jnp.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1]], bool)

    @jax.jit
    def run(bias, *args):
        def mine(*args):
            given = (*args, bias) if biased else args
            return kernel(name, *given, mask=mask, reverse=True)

        zeros = bias if biased else jnp.zeros_like(bias)
        textbook = plain(name, *args, zeros, mask=mask, reverse=True)
        return mine(*args), jax.vjp(mine, *args)[0], textbook

    alone, learning, textbook = run(bias, *args)
    for a, b, c in zip(alone, learning, textbook, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
        np.testing.assert_allclose(a, c, atol=1e-5)


@pytest.mark.parametrize("name", GATES)
def test_sizes_of_one(name, rng, agree):
    args = arguments(name, rng, 1, 1, 1, 1)
    agree(lambda *args: kernel(name, *args), lambda *args: plain(name, *args), *args)


LAYERS = {
    "lstm": (keras.layers.LSTM, {"use_cudnn": False}),
    "gru": (keras.layers.GRU, {"use_cudnn": False}),
    "gru_before": (keras.layers.GRU, {"use_cudnn": False, "reset_after": False}),
    "simple": (keras.layers.SimpleRNN, {}),
}


@pytest.mark.parametrize(
    "name, reverse",
    [
        ("lstm", False),
        ("lstm", True),
        ("gru", False),
        ("gru_before", True),
        ("simple", True),
    ],
)
def test_agrees_with_keras(name, reverse, rng, agree):
    x, *rest = arguments(name, rng)
    count = STATES[name]
    cls, options = LAYERS[name]
    layer = cls(
        UNITS,
        return_sequences=True,
        return_state=True,
        go_backwards=reverse,
        **options,
    )
    layer.build(x.shape)

    def reference(x, *rest):
        values, _ = layer.stateless_call(
            rest[count:],
            [v.value for v in layer.non_trainable_variables],
            x,
            initial_state=list(rest[:count]),
            mask=jnp.asarray(MASK),
        )
        return tuple(values)

    def mine(*args):
        return kernel(name, *args, mask=jnp.asarray(MASK), reverse=reverse)

    agree(mine, reference, x, *rest)


@pytest.mark.parametrize("name", GATES)
def test_no_bias_is_a_zero_bias(name, rng):
    *args, bias = arguments(name, rng)

    @jax.jit
    def run(*args):
        return kernel(name, *args), kernel(name, *args, jnp.zeros_like(bias))

    without, zeros = run(*args)
    for a, b in zip(without, zeros, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(
    "name, dtype",
    [
        ("lstm", "bfloat16"),
        ("gru", "float16"),
        ("gru_before", "bfloat16"),
        ("simple", "float16"),
    ],
)
def test_half_precision(name, dtype, rng):
    args = arguments(name, rng, dtype=dtype)

    @jax.jit
    def run(*args):
        y, pullback = jax.vjp(lambda *args: kernel(name, *args), *args)
        exact = kernel(name, *(arg.astype("float32") for arg in args))
        return y, exact, pullback(y)

    y, exact, gradients = run(*args)
    assert {leaf.dtype for leaf in (*y, *gradients)} == {jnp.dtype(dtype)}
    bound = 16 * float(jnp.finfo(dtype).eps)
    for a, b in zip(y, exact, strict=True):
        np.testing.assert_allclose(np.asarray(a, "float32"), b, atol=bound)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_vmap_over_models(name, rng):
    args = arguments(name, rng)
    pair = [jnp.stack([arg, 2 * arg]) for arg in args]

    def one(args):
        return jax.grad(lambda args: kernel(name, *args)[0].sum())(args)

    mapped, looped = jax.jit(lambda p: (jax.vmap(one)(p), jax.lax.map(one, p)))(pair)
    for a, b in zip(mapped, looped, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("name", ["lstm", "gru_before"])
def test_second_gradient(name, rng):
    x, *rest = arguments(name, rng, 1, 2, 1, 1)

    def penalty(f):
        def slope(x):
            return jax.grad(lambda x: f(x, *rest)[0].sum())(x)

        return jax.grad(lambda x: (slope(x) ** 2).sum())

    @jax.jit
    def run(x):
        mine = penalty(lambda *args: kernel(name, *args))(x)
        return mine, penalty(lambda *args: plain(name, *args))(x)

    np.testing.assert_allclose(*run(x), atol=1e-5)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("masked", [False, True])
def test_symbolic_batch_and_time(name, masked, rng):
    (b,) = jax.export.symbolic_shape("b", constraints=["b>=2"])
    _, *rest = arguments(name, rng, features=2)
    weights = rest[STATES[name] :]

    def run(x, mask):
        states = [jnp.zeros((x.shape[0], UNITS)) for _ in range(STATES[name])]
        return kernel(name, x, *states, *weights, mask=mask)

    for time in (7, b):
        x = jax.ShapeDtypeStruct((b, time, 2), "float32")
        mask = jax.ShapeDtypeStruct((b, time), "bool") if masked else None
        y, *states = jax.eval_shape(run, x, mask)
        assert y.shape == (b, time, UNITS)
        assert {state.shape for state in states} == {(b, UNITS)}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("time_major", [False, True])
def test_scan_agrees_with_keras(masked, reverse, zero, time_major, rng):
    x = jnp.asarray(rng.normal(size=(2, 4, 3)), "float32")
    mask = jnp.asarray(MASK) if masked else None
    if time_major:
        x = x.swapaxes(0, 1)
        mask = None if mask is None else mask.T

    def step(x, states):
        y = jnp.tanh(x + 2 * states[0])
        return y, [y, states[1] + y[:, :1]]

    @jax.jit
    def run(x):
        states = [jnp.full((2, 3), 0.5), jnp.ones((2, 1))]
        options = {"mask": mask, "zero_output_for_mask": zero, "time_major": time_major}
        theirs = keras.src.backend.rnn(step, x, states, go_backwards=reverse, **options)
        return scan(step, x, states, reverse=reverse, **options), theirs

    mine, theirs = run(x)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("unroll", [True, 2])
def test_unrolling_changes_nothing(unroll, rng):
    x = jnp.asarray(rng.normal(size=(2, 4, 3)), "float32")

    def step(x, state):
        return {"y": x.sum(-1)}, {"s": state["s"] + x}

    @jax.jit
    def run(x):
        return [
            scan(step, x, {"s": jnp.ones((2, 3))}, mask=jnp.asarray(MASK), unroll=u)
            for u in (False, unroll)
        ]

    loop, unrolled = map(jax.tree.leaves, run(x))
    for a, b in zip(loop, unrolled, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_scan_repeats_the_previous_output_of_another_shape():
    x = jnp.arange(1.0, 5.0).reshape(1, 4, 1)

    def step(x, total):
        return jnp.concatenate([x, -x], -1), total + x

    last, outputs, total = scan(step, x, jnp.zeros((1, 1)), mask=jnp.asarray(MASK[:1]))
    np.testing.assert_array_equal(outputs[0, :, 0], [0, 2, 2, 4])
    np.testing.assert_array_equal(last, [[4, -4]])
    assert total.item() == 6


def test_scan_takes_trees_and_no_state():
    x = jnp.arange(6.0).reshape(1, 3, 2)
    inputs = {"a": x, "b": (x, x + 1)}

    def step(now, states):
        return now["a"] + now["b"][1], states

    last, outputs, states = scan(step, inputs, ())
    np.testing.assert_array_equal(outputs, 2 * x + 1)
    np.testing.assert_array_equal(last, outputs[:, -1])
    assert states == ()


def test_scan_state_takes_the_dtype_the_step_gives_it():
    x = jnp.ones((1, 3, 2), "float32")
    _, outputs, state = scan(lambda x, s: (s + x, s + x), x, jnp.zeros((1, 2), "int32"))
    assert outputs.dtype == state.dtype == "float32"
    np.testing.assert_array_equal(state, 3.0)


def test_scan_gradient(rng, agree):
    x, *rest = arguments("simple", rng)

    def mine(x, h, kernel, recurrent, bias):
        def step(x, h):
            h = jnp.tanh(x @ kernel + h @ recurrent + bias)
            return h, h

        _, outputs, h = scan(step, x, h, mask=jnp.asarray(MASK))
        return outputs, h

    def reference(*args):
        return simple_rnn(*args, mask=jnp.asarray(MASK))

    agree(mine, reference, x, *rest)


def test_scan_symbolic():
    (b,) = jax.export.symbolic_shape("b", constraints=["b>=2"])
    x = jax.ShapeDtypeStruct((b, b, 3), "float32")

    def run(x, mask, unroll):
        state = jnp.zeros((x.shape[0], 3))
        return scan(lambda x, s: (s + x, s + x), x, state, mask=mask, unroll=unroll)

    for unroll in (False, True):
        for mask in (None, jax.ShapeDtypeStruct((b, b), "bool")):
            shapes = jax.eval_shape(lambda x, m, u=unroll: run(x, m, u), x, mask)
            assert [s.shape for s in shapes] == [(b, 3), (b, b, 3), (b, 3)]
