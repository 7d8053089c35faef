"""Recurrent layers against Keras' own: outputs to 1e-5, gradients to 1e-4."""

import keras
import numpy as np
import pytest

import lamina
from tests.layers.parity import plain, same

RANDOM = np.random.default_rng(11)
X = RANDOM.normal(size=(4, 4, 3)).astype("float32")
# A row cut at the end, one all masked, one with a hole, one that begins masked.
MASK = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 1], [0, 1, 1, 1]], bool)
STATES = {"SimpleRNN": 1, "LSTM": 2, "GRU": 1}
ALL = {"return_sequences": True, "return_state": True}
OPTIONS = {
    "initial_state, mask": ALL,
    "go_backwards, mask": {"go_backwards": True},
    "stateful, mask": {"stateful": True, **ALL},
    # Not with both: unrolled, Keras has zeros where masked rows keep a first state.
    "unroll, go_backwards, mask": {"unroll": True, "go_backwards": True, **ALL},
}


def states(count, *shape):
    return [RANDOM.normal(size=shape).astype("float32") for _ in range(count)]


def alike(ours, theirs, shape):
    """Give two layers of the same config the same weights."""
    assert plain(ours.get_config()) == plain(theirs.get_config())
    ours.build(shape), theirs.build(shape)
    assert [v.path for v in ours.weights] == [v.path for v in theirs.weights]
    values = [0.5 * RANDOM.normal(size=v.shape) for v in theirs.weights]
    ours.set_weights(values), theirs.set_weights(values)
    return ours, theirs


def call_of(options, count, *shape):
    call = {"mask": MASK} if "mask" in options else {}
    if "initial_state" in options:
        call["initial_state"] = states(count, *shape)
    return call


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", STATES)
def test_layer(name, options):
    kwargs = {"name": "it", **OPTIONS[options]}
    made = (getattr(m.layers, name)(2, **kwargs) for m in (lamina, keras))
    ours, theirs = alike(*made, X.shape)
    if ours.stateful:
        ours(X + 1), theirs(X + 1)
    same(ours, theirs, X, **call_of(options, STATES[name], 4, 2))


@pytest.mark.parametrize(
    ("name", "merge", "options", "kwargs"),
    [
        ("LSTM", "concat", "mask, initial_state", ALL),
        ("LSTM", "ave", "mask", {}),
        ("GRU", "mul", "", {"return_sequences": True}),
        ("GRU", None, "mask", ALL),
        ("SimpleRNN", "sum", "mask", {}),
    ],
)
def test_both_directions(name, merge, options, kwargs):
    both = [
        m.layers.Bidirectional(
            getattr(m.layers, name)(2, name="it", **kwargs),
            merge_mode=merge,
            name="both",
        )
        for m in (lamina, keras)
    ]
    same(*alike(*both, X.shape), X, **call_of(options, 2 * STATES[name], 4, 2))


CONVOLVED = {
    "strides": {"strides": 2, "padding": "same", **ALL},
    "dilation_rate, channels_first": {
        "dilation_rate": 2, "data_format": "channels_first", "use_bias": False
    },
    "go_backwards, mask": {"go_backwards": True, "unit_forget_bias": False, **ALL},
    "stateful, initial_state": {"stateful": True, "padding": "same"},
}  # fmt: skip


def convolved(rank, shape, **kwargs):
    kwargs = {"name": "it", "filters": 2, "kernel_size": 2, **kwargs}
    made = (getattr(m.layers, f"ConvLSTM{rank}D")(**kwargs) for m in (lamina, keras))
    return alike(*made, shape)


@pytest.mark.parametrize("options", CONVOLVED)
def test_convolved(options):
    shape = (4, 4, 2, 5, 5) if "channels_first" in options else (4, 4, 4, 4, 2)
    x = RANDOM.normal(size=shape).astype("float32")
    ours, theirs = convolved(2, x.shape, **CONVOLVED[options])
    if ours.stateful:
        np.testing.assert_allclose(ours(x + 1), theirs(x + 1), atol=1e-5)
        for a, b in zip(ours.states, theirs.states, strict=True):
            np.testing.assert_allclose(a.value, b.value, atol=1e-5)
    if "mask" in options:
        theirs.unroll = True  # Keras' loop over time refuses masks here
    same(ours, theirs, x, **call_of(options, 2, 4, 4, 4, 2))


@pytest.mark.parametrize("rank", [1, 3])
def test_convolved_in_other_dimensions(rank):
    x = RANDOM.normal(size=(2, 3, *(4,) * rank, 2)).astype("float32")
    ours, theirs = convolved(rank, x.shape, strides=2, return_state=True)
    for a, b in zip(ours(x), theirs(x), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
