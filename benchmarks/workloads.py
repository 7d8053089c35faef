"""The workloads: what goes in, what comes out and how much of it."""

import math
from dataclasses import dataclass, field

import numpy as np

WORDS = 5000


@dataclass(frozen=True)
class Workload:
    """One workload.

    `inputs` gives shapes by name; a shape of one number is a sentence of so many
    words where the name is "words". `classes` is 0 where a number is learnt.
    `fused` is how many steps a hand-written loop runs in one call.
    """

    title: str
    batch: int
    steps: int
    inputs: dict = field(default_factory=dict)
    classes: int = 10
    fused: int = 1


WORKLOADS = {
    "mlp": Workload("MLP 20-64-64-1, batch 32", 32, 512, {"table": (20,)}, 0, fused=16),
    "dropout": Workload(
        "MLP 784-512-512-10, dropout, batch 64", 64, 100, {"pixels": (784,)}
    ),
    "digits": Workload("Digits CNN 28x28, batch 64", 64, 30, {"image": (28, 28, 1)}),
    "resnet": Workload(
        "Residual network 32x32x3, batch 64", 64, 6, {"image": (32, 32, 3)}
    ),
    "mobile": Workload(
        "Depthwise-separable 64x64x3, batch 32", 32, 6, {"image": (64, 64, 3)}
    ),
    "lstm": Workload(
        "Embedding-LSTM(128), 64 steps, batch 64", 64, 12, {"words": (64,)}, 2
    ),
    "gru": Workload(
        "Bidirectional GRU(64), 64 steps, batch 64", 64, 12, {"words": (64,)}, 2
    ),
    "transformer": Workload(
        "2 transformer blocks, 64 tokens, batch 64", 64, 6, {"words": (64,)}, 2
    ),
    "product": Workload(
        "Table, words and image, batch 32",
        32,
        32,
        {"table": (2,), "words": (18,), "image": (32, 32, 3)},
        0,
    ),
    # Not trained for long: how long it takes to build and to compile.
    "deep": Workload("100-layer residual graph", 32, 1, {"table": (64,)}),
}
MEASURED = [name for name in WORKLOADS if name != "deep"]


def arrays(workload, rows):
    """Return so many rows of inputs (a dict if there are several) and targets."""
    random = np.random.default_rng(0)
    x = {}
    for name, shape in workload.inputs.items():
        if name == "words":
            x[name] = random.integers(1, WORDS, (rows, *shape)).astype("int32")
        else:
            x[name] = random.normal(size=(rows, *shape)).astype("float32")
    if workload.classes:
        y = random.integers(0, workload.classes, rows).astype("int32")
    else:
        y = x["table"].sum(axis=1, keepdims=True) / math.sqrt(x["table"].shape[1])
    return (x if len(x) > 1 else next(iter(x.values()))), y


def mapped(function, x):
    """Apply a function to the array, or to each of a dict."""
    return (
        {n: function(a) for n, a in x.items()} if isinstance(x, dict) else function(x)
    )


def taken(x, size, start=0):
    """Return so many rows from a place on."""
    return mapped(lambda a: a[start : start + size], x)


def count(x):
    """Return how many rows there are."""
    return len(next(iter(x.values())) if isinstance(x, dict) else x)
