"""Every layer, one way: the numbers of a call are the same wherever it runs.

A row of the table gives a layer in several variants. Each is drawn with `training` of
None, True and False, and with 1, 3, 32 and 34 rows gives the numbers of the layer
called by itself: in `model(x)`, as one program and layer by layer, in `predict`,
`predict_on_batch`, a model in a model, `TimeDistributed` and an exported program.
The table also says which variants `predict` may fill up, and the rows that a layer
sees prove it.

An everyday run takes one flag for each variant, and some of the ways in turn. All of
it, in half an hour: `LAMINA_TESTS=whole` (`make test-whole`).
"""

import gc
import inspect
import itertools
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers as L
from lamina import ops
from lamina.core.operation import graph_of
from lamina.core.rows import rows_apart
from lamina.layers.call import signature_of

WHOLE = os.environ.get("LAMINA_TESTS") == "whole"
SIZE = 32  # rows of a batch in `predict`
STEPS = 2


class Case(NamedTuple):
    """A variant of a layer.

    Attributes:
        make: a function that makes the layer.
        inputs: the shapes of its inputs without rows, in the structure that it takes.
        dtype: of the inputs, or one for each.
        call: how it is called, where that is not `layer(inputs, training=...)`.
        rows: the number of rows, where it must be known.
        mixes: whether rows have an effect on each other, in inference.
        kept: whether rows are apart but nothing says so: `predict` fills nothing up.
        mask: whether a `Masking` layer comes before it.
        near: how near numbers must be, relative to the largest.
        refuses: what the error says, where it takes no such arguments.
        only: the number of rows that it works for, though any may be drawn.
        skip: names of ways that make no sense.
        slow: whether an everyday run leaves its training out.
    """

    make: Any
    inputs: Any
    dtype: Any = "float32"
    call: Any = None
    rows: int | None = None
    mixes: bool = False
    kept: bool = False
    mask: bool = False
    near: float = 1e-6
    refuses: str | None = None
    only: int | None = None
    skip: tuple = ()
    slow: bool = False


def of(make, *inputs, **more):
    """Return a variant of a layer of one input, or of a list of them."""
    return Case(make, inputs[0] if len(inputs) == 1 else list(inputs), **more)


def spread(layer, x, **kwargs):
    return layer(*x, **kwargs)


def centred(x):
    """Mix rows: a user's own activation."""
    return x - jnp.mean(x, axis=0, keepdims=True)


def doubled(x):
    return 2 * x


class OwnCell(L.Layer):
    """A user's own cell that keeps rows apart, without a word of it."""

    state_size = output_size = 3
    function = staticmethod(doubled)

    def call(self, x, states):
        y = states[0] + self.function(x)
        return y, [y]


@lamina.saving.register_keras_serializable()
class MixingCell(OwnCell):
    function = staticmethod(centred)


class PlainCell:
    """A cell that is no layer."""

    state_size = output_size = 3

    def call(self, x, states):
        y = states[0] + centred(x)
        return y, [y]


class Own(L.Layer):
    """A layer that a user may watch at work: no graph with it is one program."""

    def call(self, x):
        return x


def inner_model():
    x = lamina.Input((3,))
    y = L.BatchNormalization()(x, training=True)
    return lamina.Model(x, L.Dense(2)(y))


# ---- the table ---------------------------------------------------------------

CHANNELS_FIRST = {"data_format": "channels_first"}
AXES2 = (1, 2, -1, -2, (1, 2), (-1, -2))


def spatial(rank, size=5, channels=2):
    return (size,) * rank + (channels,)


def convolutions(cls, rank, **more):
    """Return variants of a convolution."""
    return [
        of(lambda: cls(3, 2, activation="relu", **more), spatial(rank)),
        of(lambda: cls(4, 3, padding="same", strides=2), spatial(rank)),
        of(
            lambda: cls(4, 3, padding="same", **CHANNELS_FIRST),
            (2, *(5,) * rank),
        ),
        of(lambda: cls(3, 2, activation=centred), spatial(rank), mixes=True),
    ]


def depthwise(cls, rank):
    return [
        of(lambda: cls(2, depth_multiplier=2, activation="tanh"), spatial(rank)),
        of(lambda: cls(3, padding="same", **CHANNELS_FIRST), (2, *(5,) * rank)),
    ]


def windows(cls, rank):
    return [
        of(lambda: cls(2), spatial(rank)),
        of(lambda: cls(3, 2, "same", "channels_first"), (2, *(5,) * rank)),
    ]


def by_format(cls, rank, *args, **kwargs):
    """Return variants of a layer with a `data_format`."""
    return [
        of(lambda: cls(*args, **kwargs), spatial(rank)),
        of(lambda: cls(*args, **kwargs, **CHANNELS_FIRST), (2, *(5,) * rank)),
    ]


def merging(cls):
    return [
        of(cls, (3, 2), (3, 2)),
        of(cls, (2,), (3, 2)),
        of(cls, (3, 2), (3, 2), mask=True),
    ]


def recurrent(cls):
    both = {"return_sequences": True, "return_state": True}
    return [
        of(lambda: cls(3), (4, 2)),
        of(lambda: cls(3, go_backwards=True, **both), (4, 2)),
        of(lambda: cls(3, return_sequences=True), (4, 2), mask=True),
        of(lambda: cls(3, dropout=0.5, recurrent_dropout=0.5), (4, 2)),
        of(lambda: cls(3, unroll=True, activation=centred), (4, 2), mixes=True),
        of(lambda: cls(3, stateful=True), (4, 2), rows=3, kept=True),
        of(
            lambda: cls(3), (4, 2), (3,), *[(3,)] * (cls is L.LSTM),
            call=lambda layer, x, **k: layer(x[0], initial_state=x[1:], **k),
        ),
    ]  # fmt: skip


def cells(cls):
    states = 2 if cls is L.LSTMCell else 1

    def call(layer, x, **kwargs):
        return layer(x[0], list(x[1:]), **kwargs)

    return [
        of(lambda: cls(3), (2,), *[(3,)] * states, call=call),
        of(lambda: cls(3, activation=centred), (2,), *[(3,)] * states, call=call,
           mixes=True),
    ]  # fmt: skip


def conv_lstm(cls, rank):
    return [
        of(lambda: cls(2, 2), (2, *spatial(rank, 3))),
        of(
            lambda: cls(2, 3, padding="same", return_sequences=True, dropout=0.5,
                        **CHANNELS_FIRST),
            (2, 2, *(3,) * rank),
        ),
        of(lambda: cls(2, 2, stateful=True), (2, *spatial(rank, 3)), rows=3, kept=True),
    ]  # fmt: skip


def images(make, near=1e-6, **more):
    return [of(make, (6, 6, 3), dtype="image", near=near, **more)]


def text(make, shape=(2,), **more):
    # A user's layer takes no text, nor does a model that holds more than text.
    return of(make, shape, dtype="string", skip=("export", "nested", "beside"), **more)


def einsum(equation, output_shape, *inputs, **more):
    return of(lambda: L.EinsumDense(equation, output_shape), *inputs, **more)


def attention_mask(layer, x, **kwargs):
    return layer(x[0], x[1], attention_mask=x[2], **kwargs)


def jax_mixing(params, inputs):
    return centred(inputs) @ params


def flax_dense():
    linen = pytest.importorskip("flax.linen")
    return L.FlaxLayer(linen.Dense(2))


def mel(**more):
    return L.MelSpectrogram(
        8, 4, num_mel_bins=3, sampling_rate=100, min_freq=1, max_freq=40, **more
    )


VALUES = {"num_bins": 5}
WORDS = ["a", "b", "c", "d"]
# A program for any number of rows has another way to shuffle them.
NO_DRAWS = ("export",)

TABLE: dict[str, list[Case]] = {
    # Functions of elements, or along an axis.
    "Activation": [
        of(lambda: L.Activation("softmax"), (3,)),
        of(lambda: L.Activation("gelu"), (3, 2)),
        of(lambda: L.Activation(ops.sin), (3,)),
        of(lambda: L.Activation(L.LeakyReLU()), (3,)),
        of(lambda: L.Activation(L.Softmax(0)), (3,), mixes=True),
        of(lambda: L.Activation(centred), (3,), mixes=True),
        of(lambda: L.Activation(doubled), (3,), kept=True),
        of(lambda: L.Activation(ops.flip), (3,), mixes=True),
        of(lambda: L.Activation(jnp.cumsum), (3,), mixes=True, skip=("time",)),
        of(lambda: L.Activation(ops.softmax), (), mixes=True),
    ],
    "ReLU": [of(lambda: L.ReLU(2.0, 0.1, 0.5), (3,)), of(L.ReLU, (), kept=True)],
    "LeakyReLU": [of(L.LeakyReLU, (3, 2))],
    "PReLU": [
        of(lambda: L.PReLU("ones"), (3,)),
        of(lambda: L.PReLU("ones", shared_axes=[1]), (3, 2)),
        of(lambda: L.PReLU("ones", shared_axes=[-1, 0]), (3, 2)),
    ],
    "ELU": [of(L.ELU, (3,))],
    "Softmax": [
        *[of(lambda a=a: L.Softmax(a), (3, 2)) for a in (1, 2, -1, (1, 2))],
        of(lambda: L.Softmax(-2), (3, 2), kept=True),
        of(lambda: L.Softmax(-2), (3,), mixes=True),
        of(lambda: L.Softmax(-1), (), mixes=True),
        *[of(lambda a=a: L.Softmax(a), (3,), mixes=True) for a in (0, (0, 1), [-1, 0])],
        of(lambda: L.Softmax(1), (3, 2), mask=True),
        # As many steps as features: of which axis a mask of (1, 3) is hangs on rows.
        of(lambda: L.Softmax(1), (3, 3), mask=True),
    ],
    # The core.
    "Dense": [
        of(lambda: L.Dense(2, "relu"), (3,)),
        of(lambda: L.Dense(2), (2, 3)),
        of(lambda: L.Dense(2, centred), (3,), mixes=True),
        of(lambda: L.Dense(2, doubled), (3,), kept=True),
        of(lambda: L.Dense(2, activity_regularizer="l2"), (3,)),
        of(lambda: L.Dense(2, lora_rank=1), (3,)),
        of(lambda: L.Dense(2, dtype="mixed_bfloat16"), (3,), near=1e-2),
        of(lambda: L.Dense(2), (3,), rows=3, kept=True),
    ],
    "EinsumDense": [
        einsum("ab,bc->ac", 2, (3,)),
        einsum("abc,cd->abd", (None, 2), (2, 3)),
        einsum("...b,bc->...c", 2, (2, 3)),
        einsum("...ab,bc->...ac", (None, 2), (2, 3)),
        einsum("ab...,bc->ac...", 2, (3, 2)),
        einsum("...ab,bc->...ca", (2, None), (2, 3)),
        # Of two axes, `...` is none of them, and the rows are turned over.
        einsum("...ab,bc->...ca", (2, None), (3,), mixes=True, skip=("batches",)),
        einsum("ab,bc->ca", (None,), (3,), refuses="kernel's axis 'c'"),
        einsum("ab,ac->bc", 2, (3,), rows=3, mixes=True),
        einsum("ab,ab->ab", 2, (2,), rows=3),
        of(lambda: L.EinsumDense("ab,bc->ac", 2, centred), (3,), mixes=True),
    ],
    "Embedding": [
        of(lambda: L.Embedding(5, 2), (3,), dtype="int32"),
        of(lambda: L.Embedding(5, 2, mask_zero=True), (3,), dtype="int32"),
        of(lambda: L.Embedding(5, 2), (), dtype="int32", kept=True),
    ],
    "ReversibleEmbedding": [
        of(lambda: L.ReversibleEmbedding(5, 2), (3,), dtype="int32"),
        of(
            lambda: L.ReversibleEmbedding(5, 2), (3, 2),
            call=lambda layer, x, **k: layer(x, reverse=True, **k),
        ),
    ],
    "Identity": [of(L.Identity, (3,)), of(L.Identity, (3, 2), mask=True)],
    "Masking": [of(L.Masking, (3, 2))],
    "Lambda": [
        of(lambda: L.Lambda(centred), (3,), mixes=True),
        of(lambda: L.Lambda(doubled), (3,), kept=True),
        of(
            lambda: L.Lambda(lambda x, training=None: 3 * x if training else x), (3,),
            kept=True,
        ),
    ],
    "JaxLayer": [
        of(
            lambda: L.JaxLayer(jax_mixing, params=jnp.ones((3, 2))), (3,), mixes=True
        ),
        of(
            lambda: L.JaxLayer(
                lambda state, inputs, training: (inputs + state, state + 1),
                state=jnp.ones(()),
            ),
            (3,), kept=True,
        ),
    ],
    "FlaxLayer": [of(flax_dense, (3,), kept=True)],
    # Merging.
    "Add": merging(L.Add),
    "Subtract": merging(L.Subtract),
    "Multiply": merging(L.Multiply),
    "Average": merging(L.Average),
    "Maximum": merging(L.Maximum),
    "Minimum": merging(L.Minimum),
    "Concatenate": [
        *[of(lambda a=a: L.Concatenate(a), (3, 2), (3, 2)) for a in (1, 2, -1)],
        of(lambda: L.Concatenate(-2), (3, 2), (3, 2), kept=True),
        of(lambda: L.Concatenate(1), (3, 2), (3, 2), mask=True),
        of(lambda: L.Concatenate(0), (3,), (3,), mixes=True),
        of(lambda: L.Concatenate(-2), (3,), (3,), mixes=True),
        of(lambda: L.Concatenate(-1), (), (), mixes=True),
    ],
    "Dot": [
        of(lambda: L.Dot(1), (3,), (3,)),
        of(lambda: L.Dot((2, 1), normalize=True), (2, 3), (3, 2)),
        of(lambda: L.Dot((-1, -2)), (2, 3), (3, 2)),
        of(lambda: L.Dot(0), (3,), (3,), refuses="axis 0"),
        of(lambda: L.Dot(-2), (3,), (3,), refuses="axis 0"),
    ],
    # Normalization.
    "BatchNormalization": [
        *[of(lambda a=a: L.BatchNormalization(a), (3, 2), near=1e-5)
          for a in (1, 2, -1, [-1])],
        of(lambda: L.BatchNormalization(-2), (3, 2), kept=True, near=1e-5),
        of(lambda: L.BatchNormalization(renorm=True), (3,), near=1e-5),
        of(lambda: L.BatchNormalization(), (3, 2), mask=True, near=1e-5),
        # Each row a channel: apart in inference, but of a number that is known.
        of(lambda: L.BatchNormalization(0), (3,), rows=3, kept=True, near=1e-5),
        of(lambda: L.BatchNormalization(0), (3,), refuses="defined dimension"),
    ],
    "LayerNormalization": [
        *[of(lambda a=a: L.LayerNormalization(a), (3, 2), near=1e-5)
          for a in (1, 2, -1, (1, 2))],
        of(lambda: L.LayerNormalization((-1, -2)), (3, 2), kept=True, near=1e-5),
        of(lambda: L.LayerNormalization(0), (3,), rows=3, mixes=True, near=1e-5),
        of(lambda: L.LayerNormalization((0, 1)), (3,), rows=3, mixes=True, near=1e-5),
        of(lambda: L.LayerNormalization(0), (3,), refuses="defined dimension"),
    ],
    "RMSNormalization": [
        *[of(lambda a=a: L.RMSNormalization(a), (3, 2)) for a in (1, 2, -1, (1, 2))],
        of(lambda: L.RMSNormalization(-2), (3, 2), kept=True),
        of(lambda: L.RMSNormalization(0), (3,), rows=3, mixes=True),
        of(lambda: L.RMSNormalization((0, -1)), (3,), rows=3, mixes=True),
    ],
    "GroupNormalization": [
        *[of(lambda a=a: L.GroupNormalization(2, a), (4, 2), near=1e-5)
          for a in (1, 2, -1)],
        of(lambda: L.GroupNormalization(2, -2), (4, 2), kept=True, near=1e-5),
        of(lambda: L.GroupNormalization(-1), (3, 4), near=1e-5),
        of(lambda: L.GroupNormalization(3, 0), (4,), rows=3, kept=True, near=1e-5),
        of(lambda: L.GroupNormalization(1, 0), (4,), rows=3, mixes=True, near=1e-5),
    ],
    "UnitNormalization": [
        *[of(lambda a=a: L.UnitNormalization(a), (3, 2)) for a in (1, 2, -1, (1, 2))],
        of(lambda: L.UnitNormalization(-2), (3, 2), kept=True),
        *[of(lambda a=a: L.UnitNormalization(a), (3,), mixes=True)
          for a in (0, -2, (0, 1))],
    ],
    "SpectralNormalization": [
        of(lambda: L.SpectralNormalization(L.Dense(2)), (3,), near=1e-5),
        of(lambda: L.SpectralNormalization(L.Conv1D(2, 2), 2), (4, 2), near=1e-5),
        of(lambda: L.SpectralNormalization(L.Dense(2, centred)), (3,), mixes=True,
           near=1e-5),
    ],
    # Attention.
    "Attention": [
        of(L.Attention, (3, 2), (4, 2)),
        of(
            L.Attention, (3, 2), (3, 2),
            call=lambda layer, x, **k: layer(x, use_causal_mask=True, **k),
        ),
        of(lambda: L.Attention(use_scale=True, score_mode="concat", dropout=0.5),
           (3, 2), (4, 2), (4, 2)),
        of(L.Attention, (3, 2), (4, 2), mask=True),
    ],
    "AdditiveAttention": [
        of(L.AdditiveAttention, (3, 2), (4, 2)),
        of(lambda: L.AdditiveAttention(dropout=0.5), (3, 2), (4, 2), mask=True),
    ],
    "MultiHeadAttention": [
        of(lambda: L.MultiHeadAttention(2, 2), (3, 4), (5, 4), call=spread),
        of(lambda: L.MultiHeadAttention(2, 2, use_gate=True), (3, 4), (5, 4),
           call=spread, mask=True),
        of(lambda: L.MultiHeadAttention(2, 2, dropout=0.5), (3, 4), (5, 4),
           call=spread),
        *[of(lambda a=a: L.MultiHeadAttention(2, 2, attention_axes=a), (3, 2, 4),
             (3, 2, 4), call=spread) for a in (1, 2, (1, 2), -2)],
        of(lambda: L.MultiHeadAttention(1, 2), (3, 4), (5, 4), (3, 5),
           dtype=["float32", "float32", "bool"], call=attention_mask),
        of(lambda: L.MultiHeadAttention(1, 2, attention_axes=0), (3, 2), (3, 2),
           call=spread, rows=3, mixes=True),
        of(lambda: L.MultiHeadAttention(1, 2, attention_axes=(0, 1)), (3, 2), (3, 2),
           call=spread, mixes=True),
    ],
    "GroupQueryAttention": [
        of(lambda: L.GroupQueryAttention(2, 4, 2), (3, 4), (5, 4), call=spread),
        of(lambda: L.GroupQueryAttention(2, 4, 2, dropout=0.5), (3, 4), (5, 4),
           call=spread, mask=True),
    ],
    # Regularization.
    "Dropout": [
        of(lambda: L.Dropout(0.5), (3, 2)),
        *[of(lambda n=n: L.Dropout(0.5, n), (3, 2))
          for n in ((None, 1, None), (1, None, None), (1, None))],
    ],
    "AlphaDropout": [
        of(lambda: L.AlphaDropout(0.5), (3, 2)),
        of(lambda: L.AlphaDropout(0.5, (1, None, 1)), (3, 2)),
    ],
    "GaussianDropout": [of(lambda: L.GaussianDropout(0.5), (3,))],
    "GaussianNoise": [of(lambda: L.GaussianNoise(0.5), (3,))],
    "SpatialDropout1D": [of(lambda: L.SpatialDropout1D(0.5), (3, 2))],
    "SpatialDropout2D": by_format(L.SpatialDropout2D, 2, 0.5),
    "SpatialDropout3D": by_format(L.SpatialDropout3D, 3, 0.5),
    "ActivityRegularization": [of(lambda: L.ActivityRegularization(0.1, 0.1), (3,))],
    # Convolutions and pooling.
    **{
        f"Conv{r}D{t}": convolutions(getattr(L, f"Conv{r}D{t}"), r)
        for r in (1, 2, 3) for t in ("", "Transpose")
    },
    **{f"DepthwiseConv{r}D": depthwise(getattr(L, f"DepthwiseConv{r}D"), r)
       for r in (1, 2)},
    **{f"SeparableConv{r}D": convolutions(getattr(L, f"SeparableConv{r}D"), r)
       for r in (1, 2)},
    **{f"{k}Pooling{r}D": windows(getattr(L, f"{k}Pooling{r}D"), r)
       for r in (1, 2, 3) for k in ("Average", "Max")},
    **{f"Global{k}Pooling{r}D": by_format(getattr(L, f"Global{k}Pooling{r}D"), r)
       for r in (1, 2, 3) for k in ("Average", "Max")},
    **{f"Adaptive{k}Pooling{r}D": by_format(getattr(L, f"Adaptive{k}Pooling{r}D"), r, 2)
       for r in (1, 2, 3) for k in ("Average", "Max")},
    # Shapes.
    "Cropping1D": [of(lambda: L.Cropping1D((1, 2)), (5, 2))],
    "Cropping2D": by_format(L.Cropping2D, 2, ((1, 2), (0, 1))),
    "Cropping3D": by_format(L.Cropping3D, 3, 1),
    "ZeroPadding1D": [of(lambda: L.ZeroPadding1D((1, 2)), (2, 2))],
    "ZeroPadding2D": by_format(L.ZeroPadding2D, 2, ((1, 2), (0, 1))),
    "ZeroPadding3D": by_format(L.ZeroPadding3D, 3, 1),
    "UpSampling1D": [of(lambda: L.UpSampling1D(2), (2, 2))],
    "UpSampling2D": [
        *by_format(L.UpSampling2D, 2, 2),
        of(lambda: L.UpSampling2D(2, interpolation="bilinear"), (3, 3, 2)),
    ],
    "UpSampling3D": by_format(L.UpSampling3D, 3, 2),
    "Flatten": [*by_format(L.Flatten, 2), of(L.Flatten, (), kept=True)],
    "Reshape": [
        of(lambda: L.Reshape((-1, 2)), (2, 3)),
        of(lambda: L.Reshape((3, 1)), (3,)),
    ],
    "Permute": [of(lambda: L.Permute((2, 1)), (2, 3))],
    "RepeatVector": [of(lambda: L.RepeatVector(2), (3,))],
    # Recurrence.
    "SimpleRNN": recurrent(L.SimpleRNN),
    "GRU": [*recurrent(L.GRU), of(lambda: L.GRU(3, reset_after=False), (4, 2))],
    "LSTM": recurrent(L.LSTM),
    "SimpleRNNCell": cells(L.SimpleRNNCell),
    "GRUCell": cells(L.GRUCell),
    "LSTMCell": cells(L.LSTMCell),
    "StackedRNNCells": [
        of(
            lambda: L.StackedRNNCells([L.GRUCell(3), L.LSTMCell(2)]),
            (2,), (3,), (2,), (2,),
            call=lambda layer, x, **k: layer(x[0], [[x[1]], [x[2], x[3]]], **k),
        ),
        of(
            lambda: L.StackedRNNCells([L.GRUCell(3), PlainCell()]), (2,), (3,), (3,),
            call=lambda layer, x, **k: layer(x[0], [[x[1]], [x[2]]], **k),
            mixes=True,
        ),
    ],
    "RNN": [
        of(lambda: L.RNN(L.GRUCell(3)), (4, 2)),
        of(lambda: L.RNN([L.GRUCell(3), L.LSTMCell(2)]), (4, 2), mask=True),
        of(lambda: L.RNN(OwnCell()), (4, 3), kept=True),
        of(lambda: L.RNN(MixingCell(), return_sequences=True), (4, 3), mixes=True),
        of(lambda: L.RNN(PlainCell()), (4, 3), mixes=True),
        of(lambda: L.RNN([L.GRUCell(3), PlainCell()]), (4, 3), mixes=True),
        of(lambda: L.RNN([OwnCell(), MixingCell()]), (4, 3), mixes=True),
        of(lambda: L.RNN(L.GRUCell(3), stateful=True), (4, 3), rows=3, kept=True),
    ],
    "Bidirectional": [
        of(lambda: L.Bidirectional(L.LSTM(2)), (4, 3)),
        of(lambda: L.Bidirectional(L.GRU(2, return_sequences=True), merge_mode=None),
           (4, 3), mask=True),
        of(lambda: L.Bidirectional(L.LSTM(2, dropout=0.5), merge_mode="sum"), (4, 3)),
        of(lambda: L.Bidirectional(L.RNN(MixingCell()), merge_mode="ave"), (4, 3),
           mixes=True),
        of(lambda: L.Bidirectional(L.GRU(2, stateful=True)), (4, 3), rows=3, kept=True),
    ],
    "TimeDistributed": [
        of(lambda: L.TimeDistributed(L.Dense(2)), (2, 3)),
        of(lambda: L.TimeDistributed(L.BatchNormalization()), (2, 3), near=1e-5),
        of(lambda: L.TimeDistributed(L.Dropout(0.5)), (2, 3)),
        of(lambda: L.TimeDistributed(L.Dense(2, centred)), (2, 3), mixes=True),
        of(lambda: L.TimeDistributed(L.Softmax(0)), (2, 3), mixes=True),
        of(lambda: L.TimeDistributed(L.Softmax(-2)), (2, 3), mixes=True),
        of(lambda: L.TimeDistributed(L.LSTM(2)), (2, 4, 3), mask=True),
        of(lambda: L.TimeDistributed(L.GRU(2, stateful=True)), (2, 4, 3), rows=3,
           kept=True),
        of(lambda: L.TimeDistributed(L.CenterCrop(2, 4)), (2, 6, 3), mixes=True,
           skip=("export",)),
        of(lambda: L.TimeDistributed(inner_model()), (2, 3), mixes=True, near=1e-5),
        of(lambda: L.TimeDistributed(Own()), (2, 3), kept=True),
    ],
    **{f"ConvLSTM{r}D": conv_lstm(getattr(L, f"ConvLSTM{r}D"), r) for r in (1, 2, 3)},
    # Numbers and text made into features.
    "Normalization": [
        *[of(lambda a=a: L.Normalization(a), (3, 2)) for a in (1, 2, -1, (1, 2))],
        of(lambda: L.Normalization(-1, mean=[1.0, 2.0], variance=[4.0, 9.0]), (3, 2)),
        of(lambda: L.Normalization(-2), (3, 2), kept=True),
        of(lambda: L.Normalization(None, mean=1.0, variance=2.0), (3, 2)),
        of(lambda: L.Normalization(0, mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0]),
           (2,), rows=3, kept=True),
    ],
    "Rescaling": [
        of(lambda: L.Rescaling(2.0, 1.0), (3,)),
        of(lambda: L.Rescaling([1.0, 2.0]), (3, 2)),
        of(lambda: L.Rescaling([[1.0], [2.0], [3.0]]), (3, 2)),
        # One factor a row.
        of(lambda: L.Rescaling([[1.0], [2.0], [3.0]]), (2,), rows=3, kept=True),
    ],
    "Discretization": [
        of(lambda: L.Discretization([-0.5, 0.5]), (3,)),
        of(lambda: L.Discretization([-0.5, 0.5], output_mode="one_hot"), (1,)),
        of(lambda: L.Discretization([-0.5, 0.5], output_mode="multi_hot"), (),
           mixes=True),
    ],
    "CategoryEncoding": [
        *[of(lambda m=m: L.CategoryEncoding(5, m), (s,), dtype="int32")
          for m, s in (("multi_hot", 3), ("count", 3), ("one_hot", 1))],
        of(lambda: L.CategoryEncoding(5, "count"), (), dtype="int32", mixes=True),
    ],
    "Hashing": [
        of(lambda: L.Hashing(**VALUES), (3,), dtype="int32", skip=("export",)),
        text(lambda: L.Hashing(**VALUES)),
        text(lambda: L.Hashing(**VALUES, output_mode="multi_hot")),
    ],
    "HashedCrossing": [
        of(lambda: L.HashedCrossing(5), (1,), (1,), dtype="int32", skip=("export",)),
        Case(lambda: L.HashedCrossing(5), [(1,), (1,)], "string",
             skip=("export", "nested", "beside")),
    ],
    "IntegerLookup": [
        of(lambda: L.IntegerLookup(vocabulary=[1, 2, 3]), (3,), dtype="int32",
           skip=("export",)),
        of(lambda: L.IntegerLookup(vocabulary=[1, 2, 3], output_mode="count"), (3,),
           dtype="int32", skip=("export",)),
    ],
    "StringLookup": [
        text(lambda: L.StringLookup(vocabulary=WORDS)),
        text(lambda: L.StringLookup(vocabulary=WORDS, output_mode="multi_hot")),
    ],
    "TextVectorization": [
        text(lambda: L.TextVectorization(vocabulary=WORDS, output_sequence_length=3),
             ()),
        text(lambda: L.TextVectorization(vocabulary=WORDS, output_sequence_length=3),
             (1,)),
        text(lambda: L.TextVectorization(vocabulary=WORDS, output_mode="count"), (1,)),
    ],
    "STFTSpectrogram": [
        of(lambda: L.STFTSpectrogram(frame_length=4, fft_length=4), (9, 1), near=1e-5)
    ],
    "MelSpectrogram": [
        of(lambda: mel(power_to_db=False), (16,), near=1e-5),
        # Nothing is less loud than the loudest place of all rows, but for `top_db`.
        of(lambda: mel(top_db=1.0), (16,), mixes=True, near=1e-5),
    ],
    # Images.
    "AugMix": images(
        lambda: L.AugMix(num_chains=1, chain_depth=1), slow=True
    ),
    "AutoContrast": images(lambda: L.AutoContrast()),
    "CenterCrop": [
        *images(lambda: L.CenterCrop(3, 4)),
        of(lambda: L.CenterCrop(4, 4, **CHANNELS_FIRST), (3, 6, 6), dtype="image"),
        # One image: its height is what a graph takes for rows.
        # Whether there is enough of it to be cut hangs on them: no program is for any.
        of(lambda: L.CenterCrop(2, 4), (6, 3), dtype="image", mixes=True,
           skip=("export",)),
    ],
    "ContrastLimitedAdaptiveHistogramEqualization": images(
        lambda: L.ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(2, 2)),
        near=1e-5,
    ),
    "CutMix": images(lambda: L.CutMix(), skip=NO_DRAWS),
    "Equalization": images(lambda: L.Equalization()),
    "MaxNumBoundingBoxes": [
        Case(
            lambda: L.MaxNumBoundingBoxes(2, bounding_box_format="xyxy"),
            {"images": (4, 4, 3), "bounding_boxes": {"boxes": (3, 4), "labels": (3,)}},
            kept=True,
        ),
    ],
    "MixUp": images(lambda: L.MixUp(), skip=NO_DRAWS),
    "Pipeline": [
        of(lambda: L.Pipeline([L.Rescaling(2.0), L.CenterCrop(4, 4)]), (6, 6, 3),
           dtype="image"),
        of(lambda: L.Pipeline([L.Rescaling(2.0), L.Softmax(0)]), (3,), mixes=True),
        of(lambda: L.Pipeline([L.CenterCrop(2, 4)]), (6, 3), dtype="image", mixes=True,
           skip=("export",)),
    ],
    "RandAugment": images(lambda: L.RandAugment(num_ops=1), slow=True),
    "RandomBrightness": images(lambda: L.RandomBrightness(0.5)),
    "RandomColorDegeneration": images(lambda: L.RandomColorDegeneration(0.5)),
    "RandomColorJitter": images(lambda: L.RandomColorJitter((0, 255), 0.5, 0.5)),
    "RandomContrast": images(lambda: L.RandomContrast(0.5)),
    "RandomCrop": images(lambda: L.RandomCrop(3, 4)),
    "RandomElasticTransform": images(lambda: L.RandomElasticTransform(0.5), near=1e-5),
    "RandomErasing": images(lambda: L.RandomErasing(0.5)),
    "RandomFlip": images(lambda: L.RandomFlip()),
    "RandomGaussianBlur": images(lambda: L.RandomGaussianBlur(0.5)),
    "RandomGrayscale": images(lambda: L.RandomGrayscale(0.5)),
    "RandomHue": images(lambda: L.RandomHue(0.5), near=1e-5),
    "RandomInvert": images(lambda: L.RandomInvert(0.5)),
    "RandomPerspective": images(lambda: L.RandomPerspective(0.5), near=1e-5),
    "RandomPosterization": images(lambda: L.RandomPosterization(4)),
    "RandomRotation": images(lambda: L.RandomRotation(0.5), near=1e-5),
    "RandomSaturation": images(lambda: L.RandomSaturation(0.5), near=1e-5),
    "RandomSharpness": images(lambda: L.RandomSharpness(0.5)),
    "RandomShear": images(lambda: L.RandomShear(0.5, 0.5), near=1e-5),
    "RandomTranslation": images(lambda: L.RandomTranslation(0.5, 0.5), near=1e-5),
    "RandomZoom": images(lambda: L.RandomZoom(0.5), near=1e-5),
    "Resizing": [
        *images(lambda: L.Resizing(4, 3)),
        of(lambda: L.Resizing(4, 3), (6, 3), dtype="image", mixes=True),
    ],
    "Solarization": images(lambda: L.Solarization(0.5, 0.5)),
}  # fmt: skip


# Layers that have no row, and why.
NO_ROW = {
    "Layer": "computes nothing",
    "Wrapper": "computes nothing",
    "InputLayer": "is in every graph of the table",
    "TFSMLayer": "needs TensorFlow",
    "TorchModuleWrapper": "needs PyTorch",
}


def test_each_layer_has_a_row():
    public = {}
    for name in L.__all__:
        thing = getattr(L, name)
        if inspect.isclass(thing) and issubclass(thing, L.Layer):
            public.setdefault(thing, []).append(name)
    names = {*TABLE, *NO_ROW}
    without = [x for x in public.values() if names.isdisjoint(x)]
    assert not without, f"layers without a row in the table: {without}"
    known = {name for x in public.values() for name in x}
    assert names <= known


# ---- calls and data ----------------------------------------------------------


def each(function, inputs, *others):
    """Apply a function to the shapes in the structure of a layer's inputs."""
    if isinstance(inputs, dict):
        return {k: each(function, v, *(o[k] for o in others))
                for k, v in inputs.items()}  # fmt: skip
    if isinstance(inputs, list):
        return [each(function, *parts) for parts in zip(inputs, *others, strict=True)]
    return function(inputs, *others)


def dtypes_of(case):
    if isinstance(case.dtype, list):
        return case.dtype
    return each(lambda shape: case.dtype, case.inputs)


def drawn(case, lead=()):
    """Return `Input`s for a variant."""

    def one(shape, dtype):
        dtype = "float32" if dtype == "image" else dtype
        return lamina.Input((*lead, *shape), batch_size=case.rows, dtype=dtype)

    return each(one, case.inputs, dtypes_of(case))


def data_of(case, rows, lead=(), seed=0):
    """Return arrays for a variant."""
    random = np.random.default_rng(seed)

    def one(shape, dtype):
        shape = (rows, *lead, *shape)
        if dtype == "string":
            return random.choice([*WORDS, "z"], shape)
        if dtype == "int32":
            return random.integers(0, 5, shape).astype(dtype)
        if dtype == "bool":
            return random.random(shape) < 0.7
        if dtype == "image":
            return random.uniform(0, 255, shape).astype("float32")
        x = random.normal(size=shape).astype("float32")
        if case.mask:
            x[random.random(shape[:2]) < 0.3] = 0
        return x

    return each(one, case.inputs, dtypes_of(case))


def call(case, layer, inputs, flag):
    """Call a layer as the variant says, on arrays or on symbolic tensors."""
    if case.mask:
        inputs = each(lambda shape, x: L.Masking()(x), case.inputs, inputs)
    kwargs = {} if flag is None else {"training": flag}
    if case.call is not None:
        return case.call(layer, inputs, **kwargs)
    return layer(inputs, **kwargs)


def cut(inputs, at, end):
    return jax.tree.map(lambda a: a[at:end], inputs)


def joined(parts, axis=0):
    return jax.tree.map(lambda *x: np.concatenate(x, axis), *parts)


def plain(outputs):
    return jax.tree.map(np.asarray, outputs)


class States:
    """Sets Variables, also those of random numbers, back to what they were."""

    def __init__(self, layer):
        self._values = [(v, v.raw_value) for v in layer.variables]

    def back(self):
        for variable, value in self._values:
            if variable.raw_value is not value:
                variable.assign(value)


def same(way, found, expected, case):
    found, expected = plain(found), plain(expected)
    assert jax.tree.structure(found) == jax.tree.structure(expected), way
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape, way
        if b.dtype.kind not in "fV":
            np.testing.assert_array_equal(a, b, err_msg=way)
            continue
        a, b = a.astype("float64"), b.astype("float64")
        largest = np.abs(b).max(initial=0)
        np.testing.assert_allclose(a, b, rtol=0, atol=case.near * largest, err_msg=way)


# ---- the table, checked ------------------------------------------------------


class Variant:
    """A variant that is drawn with one flag, and what it should give."""

    def __init__(self, case, flag):
        self.case, self.flag = case, flag
        self.layer = case.make()
        # In inference the flag is False unless another was drawn.
        self.takes = signature_of(self.layer.call).training
        self.inference = False if flag is None and self.takes else flag
        self.inputs = drawn(case)
        self.model = self.drawn_once_more()
        self.states = States(self.layer)
        # The numbers of rows for which `predict` has compiled the layer, and should.
        self.seen: set = set()
        self.due: set = set()

    def drawn_once_more(self, beside=False):
        outputs = call(self.case, self.layer, self.inputs, self.flag)
        if beside:
            outputs = [Own()(jax.tree.leaves(self.inputs)[0]), outputs]
        return lamina.Model(self.inputs, outputs)

    def eager(self, x, flag):
        self.states.back()
        return self.again(x, flag)

    def again(self, x, flag):
        return plain(call(self.case, self.layer, x, flag))

    def by_batch(self, x, rows, run):
        self.states.back()
        return joined([run(cut(x, at, at + SIZE)) for at in range(0, rows, SIZE)])

    def expected(self, x, rows):
        """Return what `predict` should give."""
        return self.by_batch(x, rows, lambda x: self.again(x, self.inference))

    @property
    def padded(self):
        case = self.case
        # What takes a mask follows operations that make it, which declare nothing.
        takes = case.mask and any(
            "mask" in n for n in signature_of(self.layer.call).names
        )
        return not (self.flag or case.mixes or case.kept or case.rows or takes)


def rows_seen(cls, seen, monkeypatch, run):
    """Note the numbers of rows with which calls of a class of layers are traced."""
    original = cls.call

    def noting(self, *args, **kwargs):
        tensors = jax.tree.leaves((args, kwargs))
        seen.add(next(x.shape[0] for x in tensors if hasattr(x, "shape")))
        return original(self, *args, **kwargs)

    noting.__signature__ = inspect.signature(original)
    with monkeypatch.context() as patched:
        patched.setattr(cls, "call", noting)
        run()


def check_predict(v, x, rows, monkeypatch):
    found = []

    def run():
        v.states.back()
        found.append(v.model.predict(x, batch_size=SIZE, verbose=0))

    rows_seen(type(v.layer), v.seen, monkeypatch, run)
    same("predict", found[0], v.expected(x, rows), v.case)
    if v.model._takes_text:
        return
    if v.padded:
        v.due.add(min(1 << (rows - 1).bit_length(), SIZE))
    else:
        v.due |= {min(rows, SIZE), rows % SIZE or SIZE}
    assert v.seen == v.due


def check_call(v, x, rows, monkeypatch):
    expected = v.eager(x, v.flag)
    v.states.back()
    same("model(x)", v.model(x), expected, v.case)


def check_beside(v, x, rows, monkeypatch):
    model = v.drawn_once_more(beside=True)
    expected = v.eager(x, v.flag)
    v.states.back()
    same("layer by layer", model(x)[1], expected, v.case)


def check_on_batch(v, x, rows, monkeypatch):
    expected = v.eager(x, v.inference)
    v.states.back()
    same("predict_on_batch", v.model.predict_on_batch(x), expected, v.case)


def check_nested(v, x, rows, monkeypatch):
    inputs = drawn(v.case)
    outer = lamina.Model(inputs, v.model(inputs))
    expected = v.expected(x, rows)
    v.states.back()
    found = outer.predict(x, batch_size=SIZE, verbose=0)
    same("a model in a model", found, expected, v.case)


def check_time(v, x, rows, monkeypatch):
    case, layer = v.case, v.layer
    x = data_of(case, rows, (STEPS,), seed=rows)
    wrapped = L.TimeDistributed(layer)

    def stepped(x, flag):
        return jax.tree.map(
            lambda *steps: np.stack(steps, 1),
            *[v.again(x[:, i], flag) for i in range(STEPS)],
        )

    v.states.back()
    v.again(x[:, 0], v.flag)
    random = any(
        variable.raw_value is not value
        for variable, value in v.states._values
        if variable.dtype == "uint32"
    )
    trains = v.flag or (v.flag is None and layer._trains_by_default)
    if not (random and rows_apart(layer, trains)):  # one draw for all steps
        v.states.back()
        expected = stepped(x, v.flag)
        v.states.back()
        found = wrapped(x) if v.flag is None else wrapped(x, training=v.flag)
        same("step by step", found, expected, case)
    if v.flag or case.dtype == "string":
        return
    expected = v.by_batch(x, rows, lambda x: stepped(x, v.inference))
    inputs = drawn(case, (STEPS,))
    model = lamina.Model(inputs, wrapped(inputs))
    v.states.back()
    found = model.predict(x, batch_size=SIZE, verbose=0)
    same("step by step, predicted", found, expected, case)


class Exported:
    """The exported program of a model, made once."""

    def __init__(self, folder):
        self._folder, self._of = folder, {}

    def __call__(self, v, x, rows, monkeypatch):
        expected = v.eager(x, v.inference)
        if id(v) not in self._of:
            v.states.back()
            v.model.export(self._folder / "model", verbose=False)
            self._of = {id(v): lamina.export.load(self._folder / "model")}
        same("exported", self._of[id(v)](x), expected, v.case)


def ways_of(case, folder):
    ways = {
        "predict": check_predict,
        "call": check_call,
        "nested": check_nested,
        "beside": check_beside,
        "on_batch": check_on_batch,
        "export": Exported(folder),
        "time": check_time,
    }
    shape = case.inputs
    if not isinstance(shape, tuple) or not shape or case.mask or case.call:
        del ways["time"]
    return {name: way for name, way in ways.items() if name not in case.skip}


def check_declared(v):
    """Check what is said of rows: other rows change, and the first one stays."""
    rows = v.case.rows or v.case.only or 3
    x, other = data_of(v.case, rows, seed=1), data_of(v.case, rows, seed=2)
    other = jax.tree.map(lambda a, b: np.concatenate([a[:1], b[1:]]), x, other)
    one, two = v.eager(x, v.inference), v.eager(other, v.inference)
    if v.padded:
        assert rows_apart(v.layer, v.inference)
    apart = all(
        a.shape[:1] == (rows,) and np.allclose(a[0], b[0], 1e-4, 1e-4)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    )
    assert apart is not v.case.mixes


def chosen(case, place, flags, ways):
    """Return the combinations of flags and ways to run: all, or some in turn."""
    if WHOLE:
        return {flag: list(ways) for flag in flags}
    others = list(ways)[1:]
    if case.slow:
        return {False: ["predict"]}
    return {flags[place % len(flags)]: ["predict", others[place // 3 % len(others)]]}


def rows_of(case, way, place):
    if case.rows or case.only:
        return (case.rows or case.only,)
    if WHOLE:
        main = way in ("predict", "call", "time")
        return (1, 3, 32, 34) if main else (1, 34)
    return (34,) if way == "predict" and place % 4 == 0 else (3,)


_done = itertools.count(1)


@pytest.fixture
def few_programs():
    """Lets go of compiled programs: a kernel maps a bounded number of them."""
    yield
    if next(_done) % (10 if WHOLE else 100) == 0:
        jax.clear_caches()
        gc.collect()


CASES = [
    pytest.param(name, i, id=f"{name}-{i}")
    for name, cases in TABLE.items()
    for i in range(len(cases))
]


# A batch of one row has but one share along axis 0.
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
@pytest.mark.usefixtures("few_programs")
@pytest.mark.parametrize(("name", "i"), CASES)
def test_one_way(name, i, tmp_path, monkeypatch):
    case = TABLE[name][i]
    if case.refuses:
        with pytest.raises(ValueError, match=case.refuses):
            call(case, case.make(), drawn(case), None)
        return
    place = list(TABLE).index(name) + i
    flags = (None, True, False)
    if not signature_of(case.make().call).training:
        flags = (None,)
    ways = ways_of(case, tmp_path)
    for flag, names in chosen(case, place, flags, ways).items():
        v = Variant(case, flag)
        if not flag:
            check_declared(v)
        for way in names:
            for rows in rows_of(case, way, place):
                if rows <= SIZE or "batches" not in case.skip:
                    x = data_of(case, rows, seed=rows)
                    ways[way](v, x, rows, monkeypatch)


# ---- graphs ------------------------------------------------------------------


class Declared(L.Layer):
    """A user's layer whose rows are apart, and that says so."""

    rows_independent = True

    def call(self, x):
        return 2 * x


class Sized(L.Dense):
    """A user's layer that computes as ours does."""

    def __init__(self, **kwargs):
        super().__init__(2, **kwargs)


class Overriding(L.Dense):
    def call(self, x, training=None):
        return centred(super().call(x))


class OverridingLater(Sized):
    """Its base is of the same package, but what that declares is of another."""

    def call(self, x, training=None):
        return centred(super().call(x))


class Centring:
    def call(self, x, training=None):
        return centred(x)


class Mixed(Centring, L.Dense):
    """Its `call` comes from a class that is no layer."""


class Static(L.Dense):
    """Its `call` is an object, not a function."""

    call = staticmethod(lambda x, training=None: centred(x))


class Subclassed(lamina.Model):
    def call(self, x, training=None):
        return centred(x)


def doubled_by_row(x):
    return x * 2.0


doubled_by_row.rows_independent = True

# What becomes of an input, by the input's shape, and whether `predict` fills up.
GRAPHS = {
    "less the mean of all rows": ((3,), lambda x: x - ops.mean(x, axis=0), False),
    "softmax over rows": ((3,), lambda x: ops.softmax(x, axis=0), False),
    "numbers": ((3,), lambda x: x * 2.0 + 1.0, True),
    "tanh": ((3,), ops.tanh, True),
    "other tensors": ((3,), lambda x: x + ops.exp(x) * x, True),
    "a tensor of one axis": ((), lambda x: x - ops.mean(x), False),
    "a layer on one axis": ((), lambda x: L.Softmax(-1)(x), False),
    "a layer that says so": ((3,), lambda x: Declared()(x), True),
    "a function that says so": ((3,), lambda x: L.Dense(2, doubled_by_row)(x), True),
    "an op of elements": ((3,), lambda x: L.Dense(2, ops.relu)(x), True),
    "another constructor": ((3,), lambda x: Sized()(x), True),
    "another call": ((3,), lambda x: Overriding(2)(x), False),
    "another call, later": ((3,), lambda x: OverridingLater()(x), False),
    "a call of a class that is no layer": ((3,), lambda x: Mixed(2)(x), False),
    "a call that is no function": ((3,), lambda x: Static(2)(x), False),
    "a subclassed model": ((3,), lambda x: Subclassed()(x), False),
    "dense, then rows": ((3,), lambda x: L.Softmax(0)(L.Dense(2)(x)), False),
    "drawn to train": ((3,), lambda x: L.BatchNormalization()(x, training=True), False),
}


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
@pytest.mark.parametrize("rows", (1, 3, 32, 34) if WHOLE else (34,))
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(name, rows, tmp_path):
    shape, draw, padded = GRAPHS[name]
    inputs = lamina.Input(shape)
    model = lamina.Model(inputs, draw(inputs))
    check_graph(model, shape, rows, tmp_path)
    if padded:
        due = {min(1 << (rows - 1).bit_length(), SIZE)}
    else:
        due = {min(rows, SIZE), rows % SIZE or SIZE}
    assert trace_sizes(model, rows) == due


NUMBERS = np.arange(3, dtype="float32")[:, None]
CONSTANTS = {
    "an array": lambda x: x + NUMBERS,
    "an array of JAX": lambda x: ops.multiply(jnp.asarray(NUMBERS), x),
    "a list": lambda x: ops.add(x, NUMBERS.tolist()),
    "a keyword": lambda x: ops.where(x > 0, x, NUMBERS),
    "a factor of each row": lambda x: L.Rescaling(NUMBERS.tolist())(x),
}


@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_of_as_many_rows_as_the_batch(name, batch_size):
    inputs = lamina.Input((2,), batch_size=batch_size)
    try:
        model = lamina.Model(inputs, CONSTANTS[name](inputs))
    except (TypeError, ValueError):
        assert batch_size is None  # refused: it fits no other number of rows
        return
    x = data_of(Case(None, (2,)), 3)
    expected = CONSTANTS[name](x)
    np.testing.assert_array_equal(model(x), expected)
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    np.testing.assert_array_equal(model.predict_on_batch(x), expected)


def trace_sizes(model, rows):
    """Return with how many rows `predict` compiles a new model of the same graph."""
    seen = set()

    class Noting(L.Layer):
        rows_independent = True

        def call(self, x):
            seen.add(x.shape[0])
            return x

    inputs = lamina.Input(model.input_shape[1:])
    noting = lamina.Model(inputs, model(Noting()(inputs)))
    seen.clear()
    x = np.ones((rows, *model.input_shape[1:]), "float32")
    noting.predict(x, batch_size=SIZE, verbose=0)
    return seen


def check_graph(model, shape, rows, folder):
    case = Case(None, shape, near=1e-5)
    x = data_of(case, rows, seed=rows)
    states = States(model)

    def by_layers(x):
        # Inside another layer's call there is no program of the whole.
        return plain(Calls(model)(x))

    states.back()
    expected = by_layers(x)
    states.back()
    same("model(x)", model(x), expected, case)
    states.back()
    same("predict_on_batch", model.predict_on_batch(x), expected, case)
    states.back()
    batches = joined([by_layers(x[at : at + SIZE]) for at in range(0, rows, SIZE)])
    states.back()
    found = model.predict(x, batch_size=SIZE, verbose=0)
    same("predict", found, batches, case)
    inputs = lamina.Input(shape)
    outer = lamina.Model(inputs, model(inputs))
    states.back()
    found = outer.predict(x, batch_size=SIZE, verbose=0)
    same("a model in a model", found, batches, case)
    if shape:
        steps = data_of(case, rows, (STEPS,), seed=rows)
        states.back()
        stepped = np.stack([by_layers(steps[:, i]) for i in range(STEPS)], 1)
        states.back()
        found = L.TimeDistributed(model)(steps, training=False)
        same("step by step", found, stepped, case)
    if graph_of(model) is not None:
        states.back()
        model.export(folder / "model", verbose=False)
        same("exported", lamina.export.load(folder / "model")(x), expected, case)


class Calls(L.Layer):
    """Calls a model in its own call: layer by layer, on arrays."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.built = True

    def call(self, x):
        return self.model(x, training=False)
