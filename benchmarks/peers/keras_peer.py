"""Lamina and Keras: the same text for both."""

import importlib
import math
import os

from workloads import MANY, WORDS, WORKLOADS

k = importlib.import_module(os.environ["BENCH_PACKAGE"])
layers = k.layers
if os.environ.get("BENCH_DTYPE"):
    k.config.set_dtype_policy(f"mixed_{os.environ['BENCH_DTYPE']}")


def conv(x, filters, size, strides=1, act=True):
    x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)
    return normal(x, act)


def normal(x, act=True):
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if act else x


def mlp(x):
    x = layers.Dense(64, activation="relu")(x)
    return layers.Dense(1)(layers.Dense(64, activation="relu")(x))


def dropout(x):
    for _ in range(2):
        x = layers.Dropout(0.2)(layers.Dense(512, activation="relu")(x))
    return layers.Dense(10)(x)


def digits(x):
    x = layers.MaxPooling2D()(layers.Conv2D(32, 3, activation="relu")(x))
    x = layers.Dense(128, activation="relu")(layers.Flatten()(x))
    return layers.Dense(10)(x)


def resnet(x):
    x = conv(x, 16, 3)
    for filters, strides in (16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1):
        y = conv(conv(x, filters, 3, strides), filters, 3, act=False)
        if x.shape[-1] != filters:
            x = conv(x, filters, 1, strides, act=False)
        x = layers.ReLU()(layers.Add()([x, y]))
    return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))


def mobile(x):
    x = conv(x, 32, 3, 2)
    for filters, strides in (64, 1), (128, 2), (128, 1), (256, 2), (256, 1):
        x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
        x = conv(normal(x), filters, 1)
    return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))


def lstm(x):
    return layers.Dense(2)(layers.LSTM(128)(layers.Embedding(WORDS, 64)(x)))


def gru(x):
    x = layers.Bidirectional(layers.GRU(64))(layers.Embedding(WORDS, 64)(x))
    return layers.Dense(2)(x)


def transformer(x):
    x = layers.Embedding(WORDS, 128)(x)
    for _ in range(2):
        y = layers.MultiHeadAttention(4, 32)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, y]))
        y = layers.Dense(128)(layers.Dense(512, activation="relu")(x))
        x = layers.LayerNormalization()(layers.Add()([x, y]))
    return layers.Dense(2)(layers.GlobalAveragePooling1D()(x))


def product(inputs):
    table = layers.Dense(16, activation="relu")(inputs["table"])
    words = layers.GRU(32)(layers.Embedding(WORDS, 16)(inputs["words"]))
    image = layers.Conv2D(16, 5, 2, activation="relu")(inputs["image"])
    image = layers.Conv2D(32, 3, activation="relu")(image)
    image = layers.Flatten()(layers.MaxPooling2D()(image))
    image = layers.Dense(32, activation="relu")(image)
    x = layers.Concatenate()([table, words, image])
    return layers.Dense(1)(layers.Dense(64, activation="relu")(x))


def deep(x):
    for _ in range(50):
        y = layers.Dense(64)(layers.Dense(64, activation="relu")(x))
        x = layers.Add()([x, y])
    return layers.Dense(10)(x)


class Peer:
    def __init__(self, name, x, y):
        workload = (WORKLOADS | MANY)[name]
        inputs = {
            key: k.Input(
                shape, name=key, dtype="int32" if key in workload.words else None
            )
            for key, shape in workload.inputs.items()
        }
        given = inputs if len(inputs) > 1 else next(iter(inputs.values()))
        if name in MANY:
            network = getattr(importlib.import_module("peers.networks"), name)
        else:
            network = globals()[name]
        outputs = network(given)
        if os.environ.get("BENCH_DTYPE"):  # losses in full precision
            outputs = layers.Activation("linear", dtype="float32")(outputs)
        self.model = k.Model(given, outputs)
        loss = k.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(
            k.optimizers.Adam(0.001), loss if workload.classes else "mse"
        )
        self.x, self.y, self.batch = x, y, workload.batch

    def parameters(self):
        return sum(math.prod(w.shape) for w in self.model.trainable_weights)

    def convert(self, x):
        return x

    def train(self, epochs):
        self.model.fit(self.x, self.y, batch_size=self.batch, epochs=epochs, verbose=0)

    def predict(self, x):
        return self.model.predict(x, batch_size=256, verbose=0)

    def call(self, x):
        return k.ops.convert_to_numpy(self.model(x))
