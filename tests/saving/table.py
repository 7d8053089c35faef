"""Models for round trips, each written once for Lamina and for Keras."""

import numpy as np


def custom(k):
    """Make and register a model with layers in attributes and nested containers."""

    @k.saving.register_keras_serializable(package="tests")
    class Blocks(k.Model):
        def __init__(self, units=3, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.head = k.layers.Dense(1)
            self.blocks = [k.layers.Dense(units), [k.layers.Dense(units)]]
            self.named = {"a": k.layers.Dense(units), "b": k.layers.Dense(units)}
            self._hidden = k.layers.Dense(units)
            self.gain = self.add_weight(shape=(2,), initializer="ones", name="gain")

        def call(self, x):
            x = self.blocks[1][0](self.blocks[0](x))
            x = self._hidden(self.named["b"](self.named["a"](x)))
            return self.head(x) * self.gain[0]

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    model = Blocks(name="blocks")
    model(np.ones((2, 4), "float32"))
    return model


def interleaved(k):
    """Make a model whose lists are filled in turns and come after `layers` by name."""

    @k.saving.register_keras_serializable(package="tests")
    class Turns(k.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.queries, self.values = [], []
            for _ in range(2):
                self.queries.append(k.layers.Dense(4))
                self.values.append(k.layers.Dense(4))
            last = k.layers.Dense(4)
            self.middle = k.layers.Dense(4)
            self.over = last

        def call(self, x):
            for query, value in zip(self.queries, self.values, strict=True):
                x = value(query(x))
            return self.over(self.middle(x))

    model = Turns(name="turns")
    model(np.ones((2, 4), "float32"))
    return model


def stack(k, *layers, shape=(4,)):
    return k.Sequential([k.Input(shape), *layers])


def several(k):
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    shared = k.layers.Dense(3, activation="tanh", name="shared")
    x = k.layers.Concatenate()([shared(a), shared(b)])
    return k.Model({"a": a, "b": b}, [k.layers.Dense(1)(x), k.layers.Dense(2)(x)])


def nested(k):
    inner = stack(k, k.layers.Dense(4, "relu"), k.layers.Dense(4))
    x = k.Input((4,))
    drawn = k.Model(x, inner(x) * 2.0 + 1.0)
    return k.Model(x, k.layers.Dense(1)(drawn(drawn(x))))


def attention(k):
    x = k.Input((5, 4))
    y = k.layers.MultiHeadAttention(2, 3)(x, x)
    y = k.layers.LayerNormalization()(k.layers.Add()([x, y]))
    return k.Model(x, k.layers.GlobalAveragePooling1D()(y))


def words(k, *layers):
    return k.Sequential(
        [
            k.Input((6,), dtype="int32"),
            k.layers.Embedding(9, 4, mask_zero=True),
            *layers,
        ]
    )


def recurrent(k):
    layers = k.layers
    return words(
        k,
        layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
        layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)], return_sequences=True),
        layers.TimeDistributed(layers.Dense(2)),
        layers.GRU(3),
    )


def images(k):
    layers = k.layers
    return stack(
        k,
        layers.Conv2D(3, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(),
        layers.SeparableConv2D(4, 3, padding="same"),
        layers.DepthwiseConv2D(3),
        layers.Flatten(),
        layers.Dense(2),
        layers.PReLU(),
        shape=(8, 8, 2),
    )


CUSTOM = {"custom", "interleaved"}
MODELS = {
    "dense": lambda k: stack(k, k.layers.Dense(3, "relu"), k.layers.Dense(2)),
    "normalized": lambda k: stack(
        k, k.layers.BatchNormalization(), k.layers.Dropout(0.3), k.layers.Dense(1)
    ),
    "regularized": lambda k: stack(
        k,
        k.layers.Dense(
            2,
            kernel_regularizer=k.regularizers.L2(0.1),
            kernel_constraint=k.constraints.MaxNorm(2.0),
            bias_initializer=k.initializers.Constant(0.5),
        ),
    ),
    "mixed": lambda k: stack(k, k.layers.Dense(3, dtype="mixed_bfloat16")),
    "half": lambda k: stack(k, k.layers.Dense(3, dtype="bfloat16")),
    "words": lambda k: words(k, k.layers.LSTM(3), k.layers.Dense(2)),
    "several": several,
    "nested": nested,
    "recurrent": recurrent,
    "images": images,
    "attention": attention,
    "custom": custom,
    "interleaved": interleaved,
}


def inputs_for(model, rows=3):
    """Return inputs for a model of either kind."""
    random = np.random.default_rng(1)

    def data(tensor):
        shape = (rows, *tensor.shape[1:])
        if "int" in str(tensor.dtype):
            return random.integers(0, 9, shape).astype("int32")
        return random.normal(size=shape).astype("float32")

    try:
        tensors = model.inputs
    except AttributeError:  # a subclassed model of Lamina
        tensors = None
    if not tensors:
        return random.normal(size=(rows, 4)).astype("float32")
    if len(tensors) > 1:
        return {name: data(t) for name, t in zip("ab", tensors, strict=True)}
    return data(tensors[0])


def targets_for(outputs):
    if isinstance(outputs, (list, tuple)):
        return [np.zeros(o.shape, "float32") for o in outputs]
    return np.zeros(outputs.shape, "float32")


def outputs_of(model, x):
    found = model.predict(x, verbose=0)
    found = found if isinstance(found, list) else [found]
    return [np.asarray(o, "float32") for o in found]


def same(first, second, x, tolerance=1e-6):
    for a, b in zip(outputs_of(first, x), outputs_of(second, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
