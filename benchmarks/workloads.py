"""The workloads: what goes in, what comes out and how much of it."""

import math
from dataclasses import dataclass, field

import numpy as np

WORDS = 5000


@dataclass(frozen=True)
class Workload:
    """One workload.

    `inputs` gives shapes by name; a shape of one number is a sentence of so many
    words where the name is in `words`, with how many words there are. `classes` is 0
    where numbers are learnt. `target` is the shape of what is learnt of a row, None
    for the row itself. `fused` is how many steps a hand-written loop runs in one call.
    """

    title: str
    batch: int
    steps: int
    inputs: dict = field(default_factory=dict)
    classes: int = 10
    fused: int = 1
    target: tuple | None = ()
    words: dict = field(default_factory=lambda: {"words": WORDS})
    rows: int = 512  # in `predict`


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


def images(*shape):
    return {"image": shape}


# What the kernels were not written for, as `peers/networks.py` has it.
MANY = {
    "resnet50": Workload("ResNet-50, 112x112, batch 8", 8, 3, images(112, 112, 3)),
    "unet": Workload(
        "U-Net 64x64, batch 16", 16, 4, images(64, 64, 3), 4, target=(64, 64)
    ),
    "gpt": Workload(
        "Small GPT, 3 blocks, 80 tokens, batch 32",
        32,
        4,
        {"words": (80,)},
        WORDS,
        target=(80,),
    ),
    "table": Workload(
        "Embedding of 200,000 rows, batch 256",
        256,
        8,
        {"words": (8,)},
        2,
        words={"words": 200_000},
    ),
    "bilstm": Workload(
        "2 bidirectional LSTMs(64) with masks, 64 steps, batch 32",
        32,
        6,
        {"words": (64,)},
        2,
    ),
    "conv1d": Workload("Conv1D stack, 512 steps, batch 32", 32, 8, {"x": (512, 8)}),
    "conv3d": Workload(
        "Conv3D 32x32x24, batch 8", 8, 4, {"volume": (32, 32, 24, 1)}, rows=128
    ),
    "autoencoder": Workload(
        "Transposed-convolution autoencoder 32x32x3, batch 64",
        64,
        6,
        images(32, 32, 3),
        0,
        target=None,
    ),
    "augmented": Workload(
        "CNN with augmentation 64x64x3, batch 32", 32, 6, images(64, 64, 3)
    ),
    "wide": Workload("MLP 512-2048-2048-10, batch 256", 256, 8, {"x": (512,)}),
    "convlstm": Workload(
        "ConvLSTM2D(16), 8 frames 24x24, batch 8",
        8,
        4,
        {"frames": (8, 24, 24, 1)},
        0,
        target=(24, 24, 1),
        rows=128,
    ),
    "attention": Workload(
        "GRU with attention, 3,000 words, 40 steps, batch 64",
        64,
        6,
        {"words": (40,)},
        2,
        words={"words": 3000},
    ),
    "grouped": Workload(
        "Grouped and dilated convolutions 32x32x32, batch 32",
        32,
        4,
        images(32, 32, 32),
    ),
    "mobilenet_v3": Workload(
        "MobileNetV3Small 96x96, batch 16", 16, 4, images(96, 96, 3)
    ),
    "efficientnet": Workload(
        "EfficientNetB0 64x64, batch 8", 8, 3, images(64, 64, 3), rows=128
    ),
    "unet3d": Workload(
        "U-Net 3D 16x16x16, batch 4",
        4,
        4,
        {"volume": (16, 16, 16, 1)},
        3,
        target=(16, 16, 16),
        rows=64,
    ),
    "tcn": Workload(
        "TCN, 6 dilated residual blocks, 256 steps, batch 32", 32, 4, {"x": (256, 8)}
    ),
    "wavenet": Workload(
        "WaveNet, 10 gated layers, 512 steps, batch 8",
        8,
        4,
        {"x": (512, 1)},
        16,
        target=(512,),
        rows=64,
    ),
    "vit": Workload(
        "ViT, 4 blocks, 64 patches of 32x32x3, batch 32", 32, 4, images(32, 32, 3)
    ),
    "vae": Workload("VAE 28x28, batch 64", 64, 8, images(28, 28, 1), 0, target=None),
    "siamese": Workload(
        "Siamese CNN, two images 28x28, batch 64",
        64,
        6,
        {"image": (28, 28, 1), "other": (28, 28, 1)},
        2,
    ),
    "dlrm": Workload(
        "DLRM, 26 tables of 1,000 rows, batch 256",
        256,
        8,
        {"table": (13,), "words": (26,)},
        2,
        words={"words": 1000},
    ),
}


def arrays(workload, rows):
    """Return so many rows of inputs (a dict if there are several) and targets."""
    random = np.random.default_rng(0)
    x = {}
    for name, shape in workload.inputs.items():
        if name in workload.words:
            most = workload.words[name]
            x[name] = random.integers(1, most, (rows, *shape)).astype("int32")
        else:
            x[name] = random.normal(size=(rows, *shape)).astype("float32")
    if workload.classes:
        shape = (rows, *workload.target)
        y = random.integers(0, workload.classes, shape).astype("int32")
    elif workload.target is None:
        y = next(iter(x.values()))
    elif workload.target:
        y = random.normal(size=(rows, *workload.target)).astype("float32")
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
