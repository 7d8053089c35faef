"""Plain PyTorch: modules, and a loop over shuffled rows of tensors in memory."""

import os

import numpy as np
import torch
from torch import nn
from workloads import WORDS, WORKLOADS, count, mapped, taken

torch.set_num_threads(2)
DEVICE = os.environ.get("BENCH_DEVICE", "cpu")
HALF = os.environ.get("BENCH_DTYPE")


def precision():
    """Return a block that computes in half precision, if that is asked for."""
    dtype = getattr(torch, HALF or "bfloat16")
    return torch.autocast(DEVICE, dtype=dtype, enabled=bool(HALF))


def conv(old, new, size, strides=1, groups=1, act=True):
    parts = [
        nn.Conv2d(old, new, size, strides, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(new, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*parts, *([nn.ReLU()] if act else []))


class Residual(nn.Module):
    """relu(short(x) + long(x)), or without the relu."""

    def __init__(self, long, short=None, act=None):
        super().__init__()
        self.long, self.short = long, short or nn.Identity()
        self.act = act or nn.Identity()

    def forward(self, x):
        return self.act(self.short(x) + self.long(x))


class Last(nn.Module):
    """What a recurrent layer says in the end, both ways if it has two."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        if isinstance(layer, nn.LSTM):  # Keras has one bias where PyTorch has two
            layer.bias_hh_l0.requires_grad_(False).zero_()

    def forward(self, x):
        state = self.layer(x)[1]
        state = state[0] if isinstance(state, tuple) else state
        return torch.cat(tuple(state), -1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = nn.MultiheadAttention(128, 4, batch_first=True)

    def forward(self, x):
        return self.heads(x, x, x, need_weights=False)[0]


class Mean(nn.Module):
    """The mean over the places of a picture, or of a sentence."""

    def forward(self, x):
        return x.mean((2, 3)) if x.ndim == 4 else x.mean(1)


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Sequential(nn.Linear(2, 16), nn.ReLU())
        words = nn.Embedding(WORDS, 16), Last(nn.GRU(16, 32, batch_first=True))
        self.words = nn.Sequential(*words)
        self.image = nn.Sequential(
            nn.Conv2d(3, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1152, 32), nn.ReLU(),
        )  # fmt: skip
        self.joined = nn.Sequential(nn.Linear(80, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        parts = [getattr(self, name)(x[name]) for name in ("table", "words", "image")]
        return self.joined(torch.cat(parts, -1))


def mlp():
    return [
        nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    ]  # fmt: skip


def dropout():
    return [
        nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 10),
    ]  # fmt: skip


def digits():
    return [
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(5408, 128), nn.ReLU(), nn.Linear(128, 10),
    ]  # fmt: skip


def resnet():
    parts, old = [conv(3, 16, 3)], 16
    for new, strides in (16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1):
        long = nn.Sequential(conv(old, new, 3, strides), conv(new, new, 3, act=False))
        short = conv(old, new, 1, strides, act=False) if new != old else None
        parts.append(Residual(long, short, nn.ReLU()))
        old = new
    return [*parts, Mean(), nn.Linear(64, 10)]


def mobile():
    parts, old = [conv(3, 32, 3, 2)], 32
    for new, strides in (64, 1), (128, 2), (128, 1), (256, 2), (256, 1):
        parts += [conv(old, old, 3, strides, groups=old), conv(old, new, 1)]
        old = new
    return [*parts, Mean(), nn.Linear(256, 10)]


def lstm():
    layer = nn.LSTM(64, 128, batch_first=True)
    return [nn.Embedding(WORDS, 64), Last(layer), nn.Linear(128, 2)]


def gru():
    layer = nn.GRU(64, 64, batch_first=True, bidirectional=True)
    return [nn.Embedding(WORDS, 64), Last(layer), nn.Linear(128, 2)]


def transformer():
    parts = [nn.Embedding(WORDS, 128)]
    for _ in range(2):
        wide = nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 128))
        parts += [Residual(Attention()), nn.LayerNorm(128, eps=1e-3)]
        parts += [Residual(wide), nn.LayerNorm(128, eps=1e-3)]
    return [*parts, Mean(), nn.Linear(128, 2)]


def product():
    return [Product()]


def deep():
    def block():
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))

    return [*(Residual(block()) for _ in range(50)), nn.Linear(64, 10)]


class Peer:
    def __init__(self, name, x, y):
        workload = WORKLOADS[name]
        self.model = model = nn.Sequential(*globals()[name]()).to(DEVICE)
        if os.environ.get("BENCH_COMPILE"):
            self.model = torch.compile(model, dynamic=False)
        trained = [w for w in model.parameters() if w.requires_grad]
        self.optimizer = torch.optim.Adam(trained, 0.001, eps=1e-7, fused=True)
        self.loss = nn.CrossEntropyLoss() if workload.classes else nn.MSELoss()
        self.x, self.batch = self.convert(x), workload.batch
        y = torch.from_numpy(y.astype("int64") if workload.classes else y)
        self.y = y.to(DEVICE)

    def parameters(self):
        groups = self.optimizer.param_groups
        return sum(w.numel() for group in groups for w in group["params"])

    def convert(self, x):
        """Return tensors, pictures with the channels first."""

        def one(a):
            a = np.moveaxis(a, -1, 1) if a.ndim == 4 else a
            return torch.from_numpy(np.ascontiguousarray(a)).to(DEVICE)

        return mapped(one, x)

    def train(self, epochs):
        self.model.train()
        for _ in range(epochs):
            total = torch.zeros((), device=DEVICE)
            for rows in torch.randperm(len(self.y), device=DEVICE).split(self.batch):
                x = mapped(lambda a, rows=rows: a[rows], self.x)
                with precision():
                    loss = self.loss(self.model(x), self.y[rows])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                total += loss.detach()
            total.item()

    def predict(self, x):
        starts = range(0, count(x), 256)
        return np.concatenate([self.call(taken(x, 256, at)) for at in starts])

    def call(self, x):
        self.model.eval()
        with torch.inference_mode(), precision():
            return self.model(x).float().cpu().numpy()
