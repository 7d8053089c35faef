"""A user's NaN, infinity and empty arrays go through kernels as they do in Keras."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from keras import ops

from lamina.kernels import (
    average_pool,
    conv,
    conv_transpose,
    depthwise_conv,
    embedding,
    gru,
    layer_norm,
    lstm,
    max_pool,
    moments,
    rms_norm,
    simple_rnn,
)

LAST = {"data_format": "channels_last"}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pooling(bad, rng, agree):
    x = rng.normal(size=(1, 5, 7, 2)).astype("float32")
    x[0, 1, 1] = x[0, 3, 4, 0] = bad
    sizes = [((2, 2), (2, 2), "valid"), ((3, 2), (2, 1), "same")]

    def own(pool, x):
        # The gradient of Keras goes to a neighbour of NaN here, ours to the NaN.
        return jax.lax.stop_gradient(x) if pool in other and np.isnan(bad) else x

    other = (max_pool, ops.max_pool)

    def mine(x):
        return [
            pool(own(pool, x), window=window, strides=strides, padding=padding)
            for pool in (max_pool, average_pool)
            for window, strides, padding in sizes
        ]

    def reference(x):
        return [
            pool(own(pool, x), *size, **LAST)
            for pool in (ops.max_pool, ops.average_pool)
            for size in sizes
        ]

    agree(mine, reference, x)


# channels, window, strides, dilation: every form that `conv` has.
FORMS = [(1, 3, 1, 1), (2, 3, 2, 1), (2, 2, 1, 2), (2, 1, 2, 1)]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_convolutions(bad, rng, agree):
    values = rng.normal(size=(1, 5, 7, 2)).astype("float32")
    values[0, 2, 3, 0] = bad
    kernels = [rng.normal(size=(n, n, c, 2)).astype("float32") for c, n, *_ in FORMS]

    def mine(x, *kernels):
        for (channels, _, strides, dilation), kernel in zip(
            FORMS, kernels, strict=True
        ):
            options = {"strides": (strides,) * 2, "dilation": (dilation,) * 2}
            part = x[..., :channels]
            yield conv(part, kernel, padding="same", **options)
            yield depthwise_conv(part, kernel[..., :1], padding="same", **options)
            if channels == 2 and min(strides, dilation) == 1:
                yield conv_transpose(part, kernel, padding="same", **options)

    def reference(x, *kernels):
        for (channels, _, strides, dilation), kernel in zip(
            FORMS, kernels, strict=True
        ):
            options = {"strides": strides, "dilation_rate": dilation, **LAST}
            part = x[..., :channels]
            yield ops.conv(part, kernel, padding="same", **options)
            yield ops.depthwise_conv(part, kernel[..., :1], padding="same", **options)
            if channels == 2 and min(strides, dilation) == 1:
                yield ops.conv_transpose(part, kernel, padding="same", **options)

    agree(
        lambda *args: list(mine(*args)),
        lambda *args: list(reference(*args)),
        values,
        *kernels,
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_normalization_and_tables(bad, rng, agree):
    x = jnp.array([[1.0, bad, 2.0], [3.0, 1.0, 2.0], [bad, bad, bad]])
    gamma, beta = jnp.array([[1.0, -2.0, 3.0], [0.0, 1.0, 2.0]])
    layer = keras.layers.LayerNormalization()
    layer.build(x.shape)
    rows = jnp.array([0, 1, 1, -1])

    def mine(x, gamma, beta):
        rms = rms_norm(x, gamma)
        return layer_norm(x, gamma, beta), rms, moments(x, (1,)), embedding(x, rows)

    def reference(x, gamma, beta):
        rms = ops.rms_normalization(x, gamma, axis=-1, epsilon=1e-6)
        norm = layer.stateless_call([gamma, beta], [], x)[0]
        return norm, rms, ops.moments(x, [1]), ops.take(x, rows, axis=0)

    agree(mine, reference, x, gamma, beta)


RECURRENT = {
    "lstm": (lstm, keras.layers.LSTM, {"use_cudnn": False}, 2),
    "gru": (gru, keras.layers.GRU, {"use_cudnn": False}, 1),
    "simple": (simple_rnn, keras.layers.SimpleRNN, {}, 1),
}


def recurrent(name):
    run, cls, options, count = RECURRENT[name]
    layer = cls(2, return_sequences=True, return_state=True, **options)
    layer.build((2, 4, 3))
    seed = [v.value for v in layer.non_trainable_variables]

    def reference(x, state, *weights, mask=None):
        states = [state] * count
        values, _ = layer.stateless_call(
            weights, seed, x, initial_state=states, mask=mask
        )
        return tuple(values)

    def mine(x, state, *weights, mask=None):
        return run(x, *[state] * count, *weights, mask=mask)

    return mine, reference, [w.shape for w in layer.trainable_weights]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrence(name, bad, rng, agree):
    mine, reference, shapes = recurrent(name)
    x = rng.normal(size=(2, 4, 3)).astype("float32")
    x[0, 1, 1] = bad
    state, *weights = (rng.normal(size=s).astype("float32") for s in ((2, 2), *shapes))
    agree(mine, reference, x, state, *weights)

    @jax.jit
    def masked(x, state, *weights):
        mask = jnp.array([[1, 0, 1, 1], [1, 0, 1, 1]], bool)
        return [f(x, state, *weights, mask=mask) for f in (mine, reference)]

    ours, theirs = masked(x, state, *weights)
    assert np.isfinite(ours[0]).all()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrence_over_nothing(name, rng, agree):
    mine, reference, shapes = recurrent(name)
    weights = [rng.normal(size=shape).astype("float32") for shape in shapes]
    empty = np.zeros((0, 4, 3), "float32"), np.zeros((0, 2), "float32")
    agree(mine, reference, *empty, *weights)
    # Keras has no answer for no time; the states are what they were.
    state = jnp.ones((2, 2))
    run = jax.jit(lambda *args: jax.vjp(mine, *args)[0])
    for function in (jax.jit(mine), run):
        outputs, *states = function(jnp.zeros((2, 0, 3)), state, *weights)
        assert outputs.shape == (2, 0, 2)
        for last in states:
            np.testing.assert_array_equal(last, state)


@pytest.mark.parametrize("shape", [(0, 6, 5, 2), (2, 0, 5, 2)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_no_samples_or_no_rows(shape, padding, rng, agree):
    x = np.ones(shape, "float32")
    wide = rng.normal(size=(3, 3, 2, 2)).astype("float32")
    unit = rng.normal(size=(1, 1, 2, 2)).astype("float32")
    options = {"padding": padding, "strides": (1, 2)}
    more = {**options, "dilation": (1, 1)}

    def mine(x, wide, unit):
        part = x[..., :1]
        return [
            *(pool(x, window=(3, 2), **options) for pool in (max_pool, average_pool)),
            *(conv(x, kernel, **more) for kernel in (wide, unit)),
            conv(part, wide[:, :, :1], **more),
            depthwise_conv(x, wide[..., :1], **more),
            conv_transpose(x, wide, **more),
        ]

    def reference(x, wide, unit):
        part = x[..., :1]
        both = ops.max_pool, ops.average_pool
        more = {**options, **LAST}
        return [
            *(pool(x, (3, 2), **more) for pool in both),
            *(ops.conv(x, kernel, **more) for kernel in (wide, unit)),
            ops.conv(part, wide[:, :, :1], **more),
            ops.depthwise_conv(x, wide[..., :1], **more),
            ops.conv_transpose(x, wide, **more),
        ]

    agree(mine, reference, x, wide, unit)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_normalizing_and_looking_up_nothing(shape, agree):
    x, table = np.ones(shape, "float32"), np.ones((3, 2), "float32")
    none = jnp.zeros((2, 0), "int32")
    layer = keras.layers.LayerNormalization(center=False, scale=False)

    def mine(x, table):
        return layer_norm(x), moments(x, (0,)), embedding(table, none)

    def reference(x, table):
        return layer(x), ops.moments(x, [0]), ops.take(table, none, axis=0)

    agree(mine, reference, x, table)
