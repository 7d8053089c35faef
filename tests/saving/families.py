"""The table of models that go to Keras and back: a row for what files have to carry.

A row is written once and made with either library.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from table import MODELS, stack, words


@dataclasses.dataclass(frozen=True)
class Row:
    """A model, what to feed it, and what to expect of its files.

    Args:
        make: a function of the library to the model.
        data: a function of a random generator to inputs, where they are not made from
            the model's own.
        lent: a function of the library to the `custom_objects` to load with.
        legacy: why Keras cannot read its own `.h5` file of the model, which Lamina can.
        never: why neither reads such a file, or Keras writes none.
        tensorflow: whether Keras makes the model only where TensorFlow is. Its
            layers run alone there, never in a program of JAX.
    """

    make: Callable
    data: Callable | None = None
    lent: Callable = lambda k: {}
    legacy: str = ""
    never: str = ""
    tensorflow: bool = False


NO_OPS = {"legacy": "Keras' `.h5` names no modules, so that it takes ops for layers"}


def graph(shape, function, dtype=None):
    """Make a row's function from one of the library and the input tensor."""

    def make(k):
        x = k.Input(shape, dtype=dtype)
        return k.Model(x, function(k, x))

    return make


def each(shape, *layers, dtype=None):
    """Apply every layer to one input and give all the outputs."""

    def make(k):
        x = k.Input(shape, dtype=dtype)
        return k.Model(x, [layer(k.layers)(x) for layer in layers])

    return make


def chain(shape, *layers):
    return lambda k: stack(k, *(layer(k.layers) for layer in layers), shape=shape)


def custom(k, cls, **kwargs):
    return k.saving.register_keras_serializable(package="tests", **kwargs)(cls)


# ---- convolutions, pooling, normalization ------------------------------------------

PLANE, LINE, SPACE = (6, 5, 4), (7, 4), (4, 5, 4, 2)

CONVOLUTIONS = {
    "conv1d": chain(
        LINE,
        lambda L: L.Conv1D(4, 2, padding="causal", dilation_rate=2, activation="gelu"),
        lambda L: L.Conv1D(6, 3, groups=2, strides=2, use_bias=False),
    ),
    "conv2d": chain(
        PLANE,
        lambda L: L.Conv2D(4, (3, 2), strides=(2, 1), padding="same", groups=2),
        lambda L: L.Conv2D(2, 1, dilation_rate=1, kernel_initializer="he_normal"),
    ),
    "conv3d": chain(SPACE, lambda L: L.Conv3D(3, 2, padding="same", activation="tanh")),
    "depthwise": each(
        PLANE,
        lambda L: L.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
        lambda L: L.DepthwiseConv2D(2, strides=2, use_bias=False),
    ),
    "depthwise1d": chain(LINE, lambda L: L.DepthwiseConv1D(3, depth_multiplier=2)),
    "separable": chain(
        PLANE, lambda L: L.SeparableConv2D(3, 3, depth_multiplier=2, activation="relu")
    ),
    "separable1d": chain(LINE, lambda L: L.SeparableConv1D(3, 3, padding="same")),
    "transposed": each(
        PLANE,
        lambda L: L.Conv2DTranspose(3, 3, strides=2, padding="same"),
        lambda L: L.Conv2DTranspose(3, 3, strides=2, output_padding=1),
    ),
    "transposed1d": chain(LINE, lambda L: L.Conv1DTranspose(3, 3, strides=2)),
    "transposed3d": chain(SPACE, lambda L: L.Conv3DTranspose(2, 2, strides=2)),
    "channels_first": each(
        (3, 6, 6),
        lambda L: L.Conv2D(2, 3, data_format="channels_first"),
        lambda L: L.MaxPooling2D(2, data_format="channels_first"),
        lambda L: L.BatchNormalization(axis=1),
    ),
}
POOLING = {
    f"pooling{rank}d": each(
        shape,
        lambda L, r=rank: getattr(L, f"MaxPooling{r}D")(3, 2, padding="same"),
        lambda L, r=rank: getattr(L, f"AveragePooling{r}D")(2, padding="same"),
        lambda L, r=rank: getattr(L, f"GlobalMaxPooling{r}D")(keepdims=True),
        lambda L, r=rank: getattr(L, f"GlobalAveragePooling{r}D")(),
        lambda L, r=rank: getattr(L, f"AdaptiveAveragePooling{r}D")(2),
        lambda L, r=rank: getattr(L, f"AdaptiveMaxPooling{r}D")([2] * r),
    )
    for rank, shape in ((1, LINE), (2, PLANE), (3, SPACE))
}
NORMALIZATIONS = {
    "batch_norm": each(
        PLANE,
        lambda L: L.BatchNormalization(momentum=0.9, epsilon=1e-2),
        lambda L: L.BatchNormalization(axis=1, scale=False),
        lambda L: L.BatchNormalization(center=False, moving_mean_initializer="ones"),
    ),
    "layer_norm": each(
        PLANE,
        lambda L: L.LayerNormalization(),
        lambda L: L.LayerNormalization(axis=(1, 2), epsilon=1e-2, center=False),
    ),
    "group_norm": each(
        PLANE,
        lambda L: L.GroupNormalization(2),
        lambda L: L.GroupNormalization(-1, scale=False),
    ),
    "rms_norm": each(PLANE, lambda L: L.RMSNormalization(epsilon=1e-3)),
    "spectral_norm": chain(
        PLANE,
        lambda L: L.SpectralNormalization(L.Conv2D(3, 2), power_iterations=2),
        lambda L: L.SpectralNormalization(L.Dense(2)),
    ),
    "unit_norm": each(PLANE, lambda L: L.UnitNormalization(axis=(1, 2))),
}


# ---- attention and recurrence ------------------------------------------------------


def cross_attention(k):
    query, value = k.Input((5, 4), name="a"), k.Input((3, 6), name="b")
    y, scores = k.layers.MultiHeadAttention(
        2, 3, value_dim=5, output_shape=7, use_bias=False, dropout=0.1, seed=3
    )(query, value, return_attention_scores=True)
    return k.Model({"a": query, "b": value}, [y, scores])


def decoder(k):
    """Words with their places, causal attention, and tied weights at the end."""
    layers = k.layers
    table = layers.ReversibleEmbedding(9, 4, name="table")
    x = k.Input((6,), dtype="int32")
    place = k.ops.zeros_like(x) + k.ops.arange(6, dtype="int32")
    h = layers.Add()([table(x), layers.Embedding(6, 4)(place)])
    a = layers.MultiHeadAttention(2, 2)(h, h, use_causal_mask=True)
    h = layers.LayerNormalization()(h + a)
    h = h + layers.Dense(4)(layers.Dense(8, activation="gelu")(h))
    return k.Model(x, table(h, reverse=True))


def plain_attention(k):
    query, value = k.Input((5, 4), name="a"), k.Input((3, 4), name="b")
    attend = k.layers.Attention(use_scale=True, score_mode="concat")
    return k.Model(
        {"a": query, "b": value},
        [
            attend([query, value]),
            k.layers.Attention()([query, value, value]),
            k.layers.AdditiveAttention()([query, value]),
        ],
    )


def translation(k):
    """An encoder whose state is a decoder's first one."""
    source, target = k.Input((5, 3), name="a"), k.Input((4, 2), name="b")
    layers = k.layers
    _, h, c = layers.LSTM(3, return_state=True)(source)
    y = layers.LSTM(3, return_sequences=True)(target, initial_state=[h, c])
    last, state = layers.GRU(3, return_state=True)(y)
    return k.Model({"a": source, "b": target}, [layers.Dense(2)(y), last, state])


def custom_cell(k):
    class Leaky(k.layers.Layer):
        def __init__(self, units, leak=0.5, **kwargs):
            super().__init__(**kwargs)
            self.units, self.leak = units, leak
            self.state_size = self.output_size = units

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], self.units))

        def call(self, x, states):
            new = self.leak * states[0] + k.ops.tanh(k.ops.matmul(x, self.kernel))
            return new, [new]

        def get_config(self):
            return {**super().get_config(), "units": self.units, "leak": self.leak}

    cell = custom(k, Leaky)
    return stack(k, k.layers.RNN([cell(3), cell(2, 0.1)]), shape=LINE)


def masked_states(k):
    x = k.Input((6,), dtype="int32")
    e = k.layers.Embedding(9, 3, mask_zero=True)(x)
    y, *states = k.layers.Bidirectional(
        k.layers.GRU(2, return_state=True, return_sequences=True, reset_after=False),
        backward_layer=k.layers.GRU(
            2, return_state=True, return_sequences=True, go_backwards=True
        ),
        merge_mode="sum",
    )(e)
    return k.Model(x, [k.layers.SimpleRNN(2)(y), *states])


SEQUENCES = {
    "attention_cross": Row(cross_attention),
    "attention_plain": Row(plain_attention),
    "attention_grouped": Row(
        graph(LINE, lambda k, x: k.layers.GroupQueryAttention(3, 4, 2)(x, x))
    ),
    "decoder": Row(decoder, **NO_OPS),
    "simple_rnn": Row(
        chain(
            LINE,
            lambda L: L.SimpleRNN(3, return_sequences=True, go_backwards=True),
            lambda L: L.SimpleRNN(2, activation="relu", use_bias=False, unroll=True),
        )
    ),
    "lstm": Row(
        chain(
            LINE,
            lambda L: L.LSTM(3, return_sequences=True, unit_forget_bias=False),
            lambda L: L.LSTM(2, recurrent_activation="hard_sigmoid", dropout=0.1),
        )
    ),
    "gru": Row(
        chain(
            LINE,
            lambda L: L.GRU(3, reset_after=False, return_sequences=True),
            lambda L: L.GRU(2, recurrent_dropout=0.1, seed=1),
        )
    ),
    "masking": Row(
        chain(LINE, lambda L: L.Masking(0.0), lambda L: L.LSTM(3)),
        lambda random: np.repeat(random.integers(0, 2, (3, 7, 1)), 4, -1).astype("f"),
    ),
    "masked_states": Row(masked_states),
    "translation": Row(translation),
    "custom_cell": Row(custom_cell),
    "stacked_cells": Row(
        chain(
            LINE,
            lambda L: L.RNN(
                L.StackedRNNCells([L.LSTMCell(3), L.SimpleRNNCell(2), L.GRUCell(2)]),
                return_sequences=True,
            ),
        )
    ),
    "convlstm1d": Row(chain((3, 5, 2), lambda L: L.ConvLSTM1D(2, 2))),
    "convlstm2d": Row(
        chain(
            (3, 4, 5, 2),
            lambda L: L.ConvLSTM2D(2, 3, padding="same", return_sequences=True),
        )
    ),
    "convlstm3d": Row(chain((2, 3, 4, 3, 2), lambda L: L.ConvLSTM3D(2, 2))),
    "distributed": Row(
        chain(
            (3, *PLANE),
            lambda L: L.TimeDistributed(L.Conv2D(2, 3)),
            lambda L: L.TimeDistributed(L.Flatten()),
            lambda L: L.Bidirectional(L.SimpleRNN(2), merge_mode="mul"),
        )
    ),
    "spectrogram": Row(
        chain(
            (64, 1),
            lambda L: L.STFTSpectrogram(frame_length=16, frame_step=8, fft_length=16),
        )
    ),
    "mel": Row(
        chain(
            (200,),
            lambda L: L.MelSpectrogram(64, 32, sampling_rate=8000, num_mel_bins=4),
        ),
    ),
}


# ---- merging, reshaping, preprocessing, noise --------------------------------------


def merging(k):
    a, b = k.Input((3, 4), name="a"), k.Input((3, 4), name="b")
    kinds = "Add Average Maximum Minimum Multiply Subtract Concatenate".split()
    merged = [getattr(k.layers, kind)()([a, b]) for kind in kinds]
    merged.append(k.layers.Concatenate(axis=1)([a, b]))
    merged.append(k.layers.Dot(axes=(1, 1), normalize=True)([a, b]))
    return k.Model({"a": a, "b": b}, merged)


def adapted(k):
    random = np.random.default_rng(5)
    normalize = k.layers.Normalization()
    normalize.adapt(random.normal(2.0, 3.0, (20, 4)).astype("float32"))
    undo = k.layers.Normalization(
        mean=[1.0, 2.0, 3.0, 4.0], variance=[4.0] * 4, invert=True
    )
    x = k.Input((4,))
    return k.Model(x, [k.layers.Dense(2)(normalize(x)), undo(x)])


def buckets(k):
    learned = k.layers.Discretization(num_bins=4)
    learned.adapt(np.linspace(-2, 2, 50).astype("float32"))
    given = k.layers.Discretization([-0.5, 0.5], output_mode="one_hot")
    x = k.Input((1,))
    return k.Model(x, [learned(x), given(x)])


def lookups(k):
    """Vocabularies learned, and with weights for how rare their words are."""
    strings = k.layers.StringLookup(num_oov_indices=2)
    strings.adapt(np.array(["x", "y", "x", "é"]))
    rare = k.layers.StringLookup(output_mode="tf_idf")
    rare.adapt(np.array([["x", "y"], ["x", "z"]]))
    x = k.Input((3,), dtype="string")
    return k.Model(x, [strings(x), rare(x)])


def texts(k):
    layer = k.layers.TextVectorization(output_sequence_length=4)
    layer.adapt(np.array(["a b", "B, c!", "a d"]))
    x = k.Input((1,), dtype="string")
    return k.Model(x, layer(x))


def numbers(k):
    x = k.Input((3,), dtype="int64")
    learned = k.layers.IntegerLookup()
    learned.adapt(np.array([3, 1, 3]))
    given = k.layers.IntegerLookup(vocabulary=[3, 1], output_mode="multi_hot")
    return k.Model(x, [learned(x), given(x)])


def crossed(k):
    a, b = (k.Input((1,), dtype="string") for _ in range(2))
    return k.Model([a, b], k.layers.HashedCrossing(5, output_mode="one_hot")((a, b)))


def hashed(k):
    x = k.Input((1,), dtype="string")
    return k.Model(x, [k.layers.Hashing(5, salt=3)(x), k.layers.Hashing(4)(x)])


def strings(random, *shape):
    return random.choice(["x", "y", "é", "a b", "B, c"], shape).astype(object)


PIXELS = {"value_range": (0, 1), "seed": 5}
OTHERS = {
    "einsum": Row(
        chain(
            LINE,
            lambda L: L.EinsumDense("abc,cde->abde", (None, 3, 2), bias_axes="de"),
        )
    ),
    "merging": Row(merging),
    "reshaping": Row(
        each(
            (6, 4),
            lambda L: L.Reshape((-1, 3, 2)),
            lambda L: L.Permute((2, 1)),
            lambda L: L.Flatten(),
            lambda L: L.Cropping1D((1, 2)),
            lambda L: L.ZeroPadding1D((1, 2)),
            lambda L: L.UpSampling1D(3),
            lambda L: L.Identity(),
            lambda L: L.ActivityRegularization(0.1),
        )
    ),
    "borders": Row(
        each(
            PLANE,
            lambda L: L.Cropping2D(((1, 2), (0, 1))),
            lambda L: L.ZeroPadding2D((1, 2)),
            lambda L: L.UpSampling2D((2, 3), interpolation="bilinear"),
        )
    ),
    "borders3d": Row(
        each(
            SPACE,
            lambda L: L.Cropping3D(1),
            lambda L: L.ZeroPadding3D((1, 0, 2)),
            lambda L: L.UpSampling3D((1, 2, 1)),
        )
    ),
    "repeated": Row(chain((4,), lambda L: L.RepeatVector(3), lambda L: L.SimpleRNN(2))),
    "adapted": Row(adapted),
    "buckets": Row(
        buckets, lambda random: random.normal(size=(6, 1)).astype("f"), tensorflow=True
    ),
    "categories": Row(
        each(
            (3,),
            lambda L: L.CategoryEncoding(4, output_mode="count"),
            lambda L: L.CategoryEncoding(4, output_mode="multi_hot"),
            dtype="int32",
        ),
        lambda random: random.integers(0, 4, (3, 3)).astype("int32"),
    ),
    "lookups": Row(lookups, lambda random: strings(random, 3, 3), tensorflow=True),
    "numbers": Row(
        numbers, lambda random: random.integers(0, 4, (3, 3)), tensorflow=True
    ),
    "texts": Row(texts, lambda random: strings(random, 3, 1), tensorflow=True),
    "hashed": Row(hashed, lambda random: strings(random, 3, 1), tensorflow=True),
    "crossed": Row(
        crossed,
        lambda random: [strings(random, 3, 1) for _ in range(2)],
        tensorflow=True,
    ),
    "resizing": Row(
        each(
            PLANE,
            lambda L: L.Resizing(3, 4, interpolation="bicubic"),
            lambda L: L.CenterCrop(3, 2),
            lambda L: L.Rescaling(0.5, offset=-1.0),
            lambda L: L.Pipeline([L.Rescaling(2.0), L.CenterCrop(2, 2)]),
        ),
    ),
    "augmented": Row(
        chain(
            (8, 8, 3),
            lambda L: L.RandomFlip(seed=1),
            lambda L: L.RandomRotation((-0.1, 0.2), fill_mode="wrap", seed=2),
            lambda L: L.RandomZoom(0.1, (-0.2, 0.3)),
            lambda L: L.RandomTranslation(0.1, 0.2, fill_mode="nearest"),
            lambda L: L.RandomShear((0.1, 0.2), (0.2, 0.4)),
            lambda L: L.RandomCrop(6, 6, seed=3),
            lambda L: L.RandomPerspective(0.5, seed=5),
            lambda L: L.RandomElasticTransform(0.5, value_range=(0, 1)),
            lambda L: L.Conv2D(2, 3),
        )
    ),
    "colours": Row(
        chain(
            (8, 8, 3),
            lambda L: L.RandomBrightness((-0.1, 0.3), **PIXELS),
            lambda L: L.RandomContrast(0.3, **PIXELS),
            lambda L: L.RandomHue(0.2, **PIXELS),
            lambda L: L.RandomSaturation(0.3, **PIXELS),
            lambda L: L.RandomSharpness(0.3, **PIXELS),
            lambda L: L.RandomColorJitter(brightness_factor=0.1, **PIXELS),
            lambda L: L.RandomColorDegeneration(0.3, **PIXELS),
            lambda L: L.RandomPosterization(4, **PIXELS),
            lambda L: L.RandomInvert(0.2, **PIXELS),
            lambda L: L.RandomErasing(0.5, **PIXELS),
            lambda L: L.RandomGaussianBlur(0.5, **PIXELS),
            lambda L: L.AutoContrast(value_range=(0, 1)),
            lambda L: L.Solarization(0.1, 0.2, **PIXELS),
            lambda L: L.RandAugment(num_ops=1, **PIXELS),
            lambda L: L.AugMix(num_chains=2, chain_depth=2, **PIXELS),
        ),
        lambda random: random.uniform(size=(3, 8, 8, 3)).astype("f"),
        never="Keras cannot copy its config",
    ),
    "noise": Row(
        chain(
            PLANE,
            lambda L: L.SpatialDropout2D(0.2, seed=1),
            lambda L: L.GaussianNoise(0.1, seed=2),
            lambda L: L.GaussianDropout(0.1, seed=3),
            lambda L: L.AlphaDropout(0.1, noise_shape=(None, 1, 1, 4), seed=4),
            lambda L: L.Dropout(0.3, noise_shape=(None, 1, 1, 4), seed=5),
            lambda L: L.Dense(2),
        )
    ),
    "activations": Row(
        each(
            PLANE,
            lambda L: L.PReLU(alpha_initializer="he_normal", shared_axes=[1, 2]),
            lambda L: L.LeakyReLU(0.1),
            lambda L: L.ELU(0.5),
            lambda L: L.Softmax(axis=(1, 2)),
            lambda L: L.ReLU(6.0, negative_slope=0.1, threshold=0.2),
            *(
                lambda L, name=name: L.Activation(name)
                for name in "swish gelu selu mish softplus hard_tanh glu".split()
            ),
        )
    ),
}


# ---- graphs ------------------------------------------------------------------------


def bare_ops(k):
    ops = k.ops
    a, b = k.Input((3, 4), name="a"), k.Input((4,), name="b")
    x = ops.concatenate([a * 2.0 + 1.0, 1.0 - a, -a / 2.0], axis=-1)
    y = ops.expand_dims(b, 1) @ ops.transpose(a, (0, 2, 1))
    z = ops.where(a > 0.1, a**2, ops.mean(a, axis=1, keepdims=True))
    w = ops.einsum("bij,bj->bi", a, k.layers.Dense(4)(b))
    return k.Model(
        {"a": a, "b": b}, [x[:, 1:, ::2], y, z[..., 0], w, ops.stack([b, abs(b)], 1)]
    )


def siamese(k):
    tower = stack(k, k.layers.Dense(3, "tanh"), k.layers.Dense(2))
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    near = k.layers.Dot(1)([tower(a), tower(b)])
    return k.Model({"a": a, "b": b}, [near, tower(a - b)])


def deep(k):
    """Sequential in Functional in Sequential in Functional."""
    core = stack(k, k.layers.Dense(4), k.layers.BatchNormalization(), shape=(4,))
    x = k.Input((4,))
    block = k.Model(x, x + core(x))
    outer = stack(k, k.layers.Dense(4), block, k.layers.Dense(3))
    y, z = k.Input((4,)), k.Input((3,))
    last = k.Model(z, k.layers.Dense(3)(z))
    return k.Model(y, [outer(y), last(last(outer(2.0 * y)))])


def structured(k):
    """Inputs and outputs in tuples and dicts within each other."""
    a, b, c = (k.Input((3,), name=n) for n in "abc")
    h = k.layers.Dense(3)(a + b)
    return k.Model((a, {"b": b, "c": c}), {"y": (h, h * c), "z": [k.ops.sum(h, -1)]})


def multi_loss(k):
    x = k.Input((4,))
    h = k.layers.Dense(3, "relu")(x)
    outputs = {
        "kind": k.layers.Dense(3, "softmax", name="kind")(h),
        "size": k.layers.Dense(1, name="size")(h),
    }
    return k.Model(x, outputs)


def pieces(k):
    """A network with paths that part and join, as pictures have them."""
    layers = k.layers
    x = k.Input((8, 8, 2))
    down = layers.Conv2D(3, 3, padding="same", activation="relu")(x)
    low = layers.Conv2D(4, 3, padding="same")(layers.MaxPooling2D()(down))
    low = layers.BatchNormalization()(low, training=False)
    up = layers.Conv2DTranspose(3, 2, strides=2)(layers.Activation("swish")(low))
    y = layers.Conv2D(1, 1)(layers.Concatenate()([up, down]))
    return k.Model(x, [y, layers.GlobalAveragePooling2D()(low)])


def kwargs_of_calls(k):
    x, mask = k.Input((5, 3), name="a"), k.Input((5,), name="b", dtype="int32")
    known = mask > 4
    y = k.layers.LSTM(2)(x, mask=known)
    z = k.layers.MultiHeadAttention(1, 2)(
        x, x, attention_mask=k.ops.expand_dims(known, 1)
    )
    return k.Model({"a": x, "b": mask}, [y, z])


def three(random):
    a, b, c = (random.normal(size=(3, 3)).astype("float32") for _ in range(3))
    return (a, {"b": b, "c": c})


GRAPHS = {
    "bare_ops": Row(bare_ops, **NO_OPS),
    "siamese": Row(siamese, **NO_OPS),
    "deep": Row(deep, **NO_OPS),
    "structured": Row(structured, three, **NO_OPS),
    "multi_loss": Row(multi_loss),
    "pieces": Row(pieces),
    "call_kwargs": Row(kwargs_of_calls, **NO_OPS),
    "lazy": Row(
        lambda k: called(k, k.Sequential([k.layers.Dense(3), k.layers.Dense(2)])),
    ),
}


# ---- what users write --------------------------------------------------------------


def called(k, model):
    model(np.ones((2, 4), "float32"))
    return model


def scale(k):
    """The class of a layer that nobody registers."""

    class Scale(k.layers.Layer):
        def __init__(self, by=2.0, **kwargs):
            super().__init__(**kwargs)
            self.by = by

        def build(self, shape):
            self.gain = self.add_weight(
                shape=(shape[-1],), initializer="uniform", name="gain"
            )
            self.count = self.add_weight(
                shape=(), initializer="ones", trainable=False, name="count"
            )

        def call(self, x):
            return x * self.gain * self.by + self.count

        def get_config(self):
            return {**super().get_config(), "by": self.by}

    return Scale


def doubled(x):
    return x * 2.0


def written(k):
    """An activation, an initializer, a regularizer, a constraint, a layer of one's own.

    All registered.
    """

    class Near(k.initializers.Initializer):
        def __init__(self, value=0.1):
            self.value = value

        def __call__(self, shape, dtype=None):
            return k.ops.full(shape, self.value, dtype=dtype)

        def get_config(self):
            return {"value": self.value}

    class Soft(k.regularizers.Regularizer):
        def __init__(self, by=0.1):
            self.by = by

        def __call__(self, x):
            return self.by * k.ops.sum(k.ops.abs(x))

        def get_config(self):
            return {"by": self.by}

    class Short(k.constraints.Constraint):
        def __call__(self, w):
            return k.ops.clip(w, -1.0, 1.0)

    def bent(x):
        return k.ops.tanh(x) * x

    dense = k.layers.Dense(
        3,
        activation=custom(k, bent),
        kernel_initializer=custom(k, Near)(0.3),
        kernel_regularizer=custom(k, Soft)(0.2),
        bias_constraint=custom(k, Short)(),
    )
    return stack(k, dense, custom(k, scale(k), name="Scaled")(by=3.0))


def wrapping(k):
    """A layer that holds a layer it was given, and builds from more than a shape."""

    class Residual(k.layers.Layer):
        def __init__(self, inner, **kwargs):
            super().__init__(**kwargs)
            self.inner = inner

        def build(self, shape):
            if not self.inner.built:
                self.inner.build(shape)
            self.gate = self.add_weight(shape=(), initializer="ones", name="gate")

        def call(self, x):
            return x + self.gate * self.inner(x)

        def get_config(self):
            inner = k.saving.serialize_keras_object(self.inner)
            return {**super().get_config(), "inner": inner}

        @classmethod
        def from_config(cls, config):
            inner = k.saving.deserialize_keras_object(config.pop("inner"))
            return cls(inner, **config)

    cls = custom(k, Residual)
    inner = stack(k, k.layers.Dense(5, "relu"), k.layers.Dense(4), shape=(4,))
    return stack(k, cls(k.layers.Dense(4)), cls(inner))


def subclassed(k):
    """A model of models, one of them given in the config."""

    class Encoder(k.Model):
        def __init__(self, sizes, **kwargs):
            super().__init__(**kwargs)
            self.sizes = sizes
            self.stages = [k.layers.Dense(n, "tanh") for n in sizes]
            self.norm = k.layers.LayerNormalization()

        def call(self, x, training=False):
            for stage in self.stages:
                x = stage(x)
            return self.norm(x)

        def get_config(self):
            return {**super().get_config(), "sizes": self.sizes}

    class Whole(k.Model):
        def __init__(self, head, sizes=(4, 3), **kwargs):
            super().__init__(**kwargs)
            self.head, self.sizes = head, tuple(sizes)
            self.encoder = custom(k, Encoder)(list(sizes))

        def call(self, x):
            h = self.encoder(x)
            return {"h": h, "y": self.head(h)}

        def get_config(self):
            head = k.saving.serialize_keras_object(self.head)
            return {**super().get_config(), "head": head, "sizes": self.sizes}

        @classmethod
        def from_config(cls, config):
            head = k.saving.deserialize_keras_object(config.pop("head"))
            return cls(head, **config)

    return called(k, custom(k, Whole)(k.layers.Dense(2, name="head"), name="whole"))


def functional_subclass(k):
    class Tower(k.Model):
        def __init__(self, units=3, **kwargs):
            x = k.Input((4,))
            super().__init__(x, k.layers.Dense(units)(x), **kwargs)
            self.units = units

        def get_config(self):
            return {"units": self.units, "name": self.name}

    return custom(k, Tower)(5)


SUBCLASS = {"never": "`.h5` names no packages, which a registered model needs"}
OWN = {
    "written": Row(written),
    "lent": Row(
        lambda k: stack(k, k.layers.Dense(3), scale(k)(by=1.5, name="scale")),
        lent=lambda k: {"Scale": scale(k)},
    ),
    "lent_function": Row(
        lambda k: stack(k, k.layers.Dense(3, activation=doubled)),
        lent=lambda k: {"doubled": doubled},
    ),
    "wrapping": Row(wrapping),
    "subclassed": Row(subclassed, **SUBCLASS),
    "functional_subclass": Row(functional_subclass, **SUBCLASS),
    "lambda": Row(
        lambda k: stack(k, k.layers.Lambda(custom(k, doubled)), k.layers.Dense(2)),
    ),
}


# ---- dtypes, arguments, and what replaces a kernel ---------------------------------


def under(k, policy, make):
    before = k.config.dtype_policy()
    k.config.set_dtype_policy(policy)
    try:
        return make(k)
    finally:
        k.config.set_dtype_policy(before)


def halves(k):
    layers = k.layers
    return stack(
        k,
        layers.Conv1D(4, 2),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dense(3, "relu"),
        layers.Dense(2, dtype="float32"),
        shape=LINE,
    )


def policies(k):
    """A policy for each layer of a model, and a map of them."""
    chosen = k.dtype_policies.DTypePolicyMap()
    chosen["tower/inner"] = k.dtype_policies.DTypePolicy("mixed_bfloat16")
    x = k.Input((4,))
    y = k.layers.Dense(3, dtype="mixed_float16")(x)
    z = k.layers.Dense(2, dtype=k.dtype_policies.DTypePolicy("bfloat16"))(x)
    attend = k.layers.MultiHeadAttention(1, 2, dtype=chosen)(x[:, None], x[:, None])
    return k.Model(x, [y, z, attend])


def arguments(k):
    i, r, c = k.initializers, k.regularizers, k.constraints
    kinds = [
        (i.VarianceScaling(0.5, "fan_out", "uniform", seed=3), r.L1L2(0.1, 0.2)),
        (i.Orthogonal(gain=0.5, seed=4), r.OrthogonalRegularizer(0.1, "columns")),
        (i.TruncatedNormal(0.1, 0.2, seed=5), r.L1(0.3)),
        (i.RandomUniform(-0.1, 0.2), "l2"),
    ]
    limits = [c.MaxNorm(2.0, axis=0), c.MinMaxNorm(0.1, 1.0, 0.5), c.UnitNorm(), None]
    return stack(
        k,
        *(
            k.layers.Dense(
                4,
                kernel_initializer=first,
                kernel_regularizer=penalty,
                bias_regularizer=r.L2(0.5),
                kernel_constraint=limit,
                bias_constraint="non_neg",
                activity_regularizer="l1",
            )
            for (first, penalty), limit in zip(kinds, limits, strict=True)
        ),
    )


def frozen(k):
    base = stack(k, k.layers.Dense(4), k.layers.BatchNormalization())
    base.trainable = False
    half = k.layers.Dense(3, trainable=False)
    return stack(k, base, half, k.layers.Dense(2))


def lora(k):
    layers = k.layers
    model = words(
        k, layers.LSTM(3), layers.EinsumDense("ab,bc->ac", (3,)),
        layers.Dense(2), layers.Reshape((1, 2)), layers.Conv1D(2, 1),
    )  # fmt: skip
    random = np.random.default_rng(3)
    for layer in model.layers:
        if hasattr(layer, "enable_lora"):
            layer.enable_lora(2)
    for w in model.trainable_weights:
        if "lora" in w.name:
            w.assign(random.normal(size=w.shape))
    return model


def quantized(k):
    layers = k.layers
    model = words(
        k, layers.LSTM(3), layers.EinsumDense("ab,bc->ac", (3,)), layers.Dense(2)
    )  # fmt: skip
    for layer in model.layers:
        if not layer.name.startswith("lstm"):
            layer.quantize("int8")
    return model


HALVES = {"never": "values of bfloat16 have no type in `.h5`"}
NUMBERS = {
    "mixed_float16": Row(lambda k: under(k, "mixed_float16", halves)),
    "mixed_bfloat16": Row(lambda k: under(k, "mixed_bfloat16", halves)),
    "float16": Row(lambda k: under(k, "float16", halves)),
    "policies": Row(policies, **HALVES),
    "arguments": Row(arguments),
    "frozen": Row(frozen),
    "lora": Row(lora),
    "quantized": Row(quantized),
}

MORE = {
    "half": HALVES,
    "custom": SUBCLASS,
    "interleaved": SUBCLASS,
    "nested": NO_OPS,
}
TABLE: dict[str, Row] = {
    **{name: Row(make, **MORE.get(name, {})) for name, make in MODELS.items()},
    **{
        name: Row(make)
        for name, make in {**CONVOLUTIONS, **POOLING, **NORMALIZATIONS}.items()
    },
    **SEQUENCES,
    **OTHERS,
    **GRAPHS,
    **OWN,
    **NUMBERS,
}
