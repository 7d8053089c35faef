"""The limit: Lamina's kernels in a step written by hand, without any layer."""

import functools
import math
import os

import jax
import jax.numpy as jnp
import numpy as np
from workloads import WORDS, WORKLOADS, count, taken

from lamina import kernels

ones, zeros = np.ones, np.zeros
HALF = os.environ.get("BENCH_DTYPE")


def glorot(shape):
    limit = (6 / (math.prod(shape[:-1]) + shape[-1])) ** 0.5
    return np.random.uniform(-limit, limit, shape)


class Weights:
    """Hands out weights in the order they are asked for, or makes them."""

    def __init__(self, trained=(), held=(), training=False, making=False):
        self.trained, self.held = list(trained), list(held)
        self.training, self.making = training, making
        self.weight_at = self.held_at = -1

    def __call__(self, init, *shape):
        if self.making:
            self.trained.append(init(shape).astype("float32"))
        self.weight_at += 1
        return self.trained[self.weight_at].reshape(shape)

    def state(self, first):
        """Return the place of a value that is not trained."""
        if self.making:
            self.held.append(first)
        self.held_at += 1
        return self.held_at


def dense(w, x, units, act=None):
    y = kernels.dense(x, w(glorot, x.shape[-1], units)) + w(zeros, units)
    return act(y) if act else y


def embed(w, x, features):
    return kernels.embedding(w(glorot, WORDS, features), x)


def drop(w, x, rate):
    place = w.state(np.zeros(2, "uint32"))
    if not w.training:
        return x
    key = w.held[place]
    w.held[place] = key + jnp.array([0, 1], "uint32")
    return kernels.dropout(x, rate, key)


def normal(w, x, act=jax.nn.relu):
    size = x.shape[-1]
    gamma, beta = w(ones, size), w(zeros, size)
    places = w.state(np.zeros(size, "f")), w.state(np.ones(size, "f"))
    if w.training:
        statistics = kernels.moments(x, tuple(range(x.ndim - 1)))
        for place, new in zip(places, statistics, strict=True):
            w.held[place] = w.held[place] * 0.99 + new * 0.01
    else:
        statistics = [w.held[place] for place in places]
    mean, variance = statistics
    y = (x - mean) * (jax.lax.rsqrt(variance + 1e-3) * gamma) + beta
    return act(y) if act else y


def conv(w, x, units, size, strides=1, padding="same", bias=False):
    kernel = w(glorot, size, size, x.shape[-1], units)
    y = kernels.conv(
        x, kernel, strides=(strides,) * 2, padding=padding, dilation=(1, 1)
    )
    return jax.nn.relu(y + w(zeros, units)) if bias else y


def depthwise(w, x, strides):
    kernel = w(glorot, 3, 3, x.shape[-1], 1)
    return kernels.depthwise_conv(
        x, kernel, strides=(strides,) * 2, padding="same", dilation=(1, 1)
    )


def pool(x):
    return kernels.max_pool(x, window=(2, 2), strides=(2, 2), padding="valid")


def flat(x):
    return x.reshape(len(x), -1)


def recur(w, x, units, gates, **options):
    weights = w(glorot, x.shape[-1], gates * units), w(glorot, units, gates * units)
    h = jnp.zeros((len(x), units))
    if gates == 4:
        return kernels.lstm(x, h, h, *weights, w(zeros, 4 * units), **options)[1]
    return kernels.gru(x, h, *weights, w(zeros, 2, 3 * units), **options)[1]


def attend(w, x):
    q, key, value = (dense(w, x, 128).reshape(*x.shape[:2], 4, 32) for _ in range(3))
    scores = jnp.einsum("bqnh,bknh->bnqk", q, key) * 32**-0.5
    y = jnp.einsum("bnqk,bknh->bqnh", jax.nn.softmax(scores), value)
    return dense(w, y.reshape(x.shape), 128)


def layer_norm(w, x):
    return kernels.layer_norm(x, w(ones, x.shape[-1]), w(zeros, x.shape[-1]))


def mlp(w, x):
    x = dense(w, x, 64, jax.nn.relu)
    return dense(w, dense(w, x, 64, jax.nn.relu), 1)


def dropout(w, x):
    for _ in range(2):
        x = drop(w, dense(w, x, 512, jax.nn.relu), 0.2)
    return dense(w, x, 10)


def digits(w, x):
    x = flat(pool(conv(w, x, 32, 3, padding="valid", bias=True)))
    return dense(w, dense(w, x, 128, jax.nn.relu), 10)


def resnet(w, x):
    x = normal(w, conv(w, x, 16, 3))
    for units, strides in (16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1):
        y = normal(w, conv(w, x, units, 3, strides))
        y = normal(w, conv(w, y, units, 3), act=None)
        if x.shape[-1] != units:
            x = normal(w, conv(w, x, units, 1, strides), act=None)
        x = jax.nn.relu(x + y)
    return dense(w, x.mean((1, 2)), 10)


def mobile(w, x):
    x = normal(w, conv(w, x, 32, 3, 2))
    for units, strides in (64, 1), (128, 2), (128, 1), (256, 2), (256, 1):
        x = normal(w, depthwise(w, x, strides))
        x = normal(w, conv(w, x, units, 1))
    return dense(w, x.mean((1, 2)), 10)


def lstm(w, x):
    return dense(w, recur(w, embed(w, x, 64), 128, 4), 2)


def gru(w, x):
    x = embed(w, x, 64)
    ways = [recur(w, x, 64, 3, reverse=reverse) for reverse in (False, True)]
    return dense(w, jnp.concatenate(ways, -1), 2)


def transformer(w, x):
    x = embed(w, x, 128)
    for _ in range(2):
        x = layer_norm(w, x + attend(w, x))
        x = layer_norm(w, x + dense(w, dense(w, x, 512, jax.nn.relu), 128))
    return dense(w, x.mean(1), 2)


def product(w, x):
    table = dense(w, x["table"], 16, jax.nn.relu)
    words = recur(w, embed(w, x["words"], 16), 32, 3)
    image = conv(w, x["image"], 16, 5, 2, "valid", bias=True)
    image = flat(pool(conv(w, image, 32, 3, padding="valid", bias=True)))
    image = dense(w, image, 32, jax.nn.relu)
    x = jnp.concatenate([table, words, image], -1)
    return dense(w, dense(w, x, 64, jax.nn.relu), 1)


def deep(w, x):
    for _ in range(50):
        x = x + dense(w, dense(w, x, 64, jax.nn.relu), 64)
    return dense(w, x, 10)


def half(values):
    """Return what is computed with: float32 in half precision, if that is asked for."""
    if not HALF:
        return values
    return jax.tree.map(
        lambda a: a.astype(HALF) if a.dtype == jnp.float32 else a, values
    )


def cross_entropy(y_pred, y):
    chosen = jnp.take_along_axis(jax.nn.log_softmax(y_pred), y[:, None], -1)
    return -chosen.mean()


def square_error(y_pred, y):
    return jnp.square(y_pred - y).mean()


def adam(weight, m, v, gradient, rate):
    m = m + (gradient - m) * (1 - 0.9)
    v = v + (jnp.square(gradient) - v) * (1 - 0.999)
    return weight - m * rate / (jnp.sqrt(v) + 1e-7), m, v


def steps(forward, loss_of, carry, x, y, order):
    """Run one step for each row of `order`, the numbers of the rows of a batch."""

    def step(carry, rows):
        trained, held, m, v, count, total = carry
        batch, target = jax.tree.map(lambda a: a[rows], (x, y))

        def loss(trained):
            w = Weights(half(trained), held, training=True)
            y_pred = forward(w, half(batch)).astype(jnp.float32)
            return loss_of(y_pred, target), tuple(w.held)

        (value, held), slopes = jax.value_and_grad(loss, has_aux=True)(trained)
        count += 1
        rate = 0.001 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        updated = [
            adam(*parts, rate) for parts in zip(trained, m, v, slopes, strict=True)
        ]
        trained, m, v = zip(*updated, strict=True)
        return (trained, held, m, v, count, total + value), None

    if len(order) == 1:
        return step(carry, order[0])[0]
    return jax.lax.scan(step, carry, order)[0]


class Peer:
    def __init__(self, name, x, y, weights=None):
        self.workload = workload = WORKLOADS[name]
        self.x, self.y = jax.tree.map(jnp.asarray, (x, y))
        forward = globals()[name]

        if weights is None:
            w = Weights(making=True)  # on the host: nothing is compiled for it
            jax.eval_shape(lambda x: forward(w, x), taken(x, 1))
            weights = tuple(w.trained), tuple(w.held)
        trained, held = jax.tree.map(jnp.asarray, weights)
        m, v = jax.tree.map(lambda a: jnp.asarray(np.zeros_like(a)), (trained, trained))
        self.carry = trained, held, m, v, jnp.float32(0), jnp.float32(0)
        loss = cross_entropy if workload.classes else square_error
        self.steps = jax.jit(
            functools.partial(steps, forward, loss), donate_argnums=(0,)
        )
        self.forward = jax.jit(
            lambda w, held, x: forward(Weights(half(w), held), half(x)).astype(
                "float32"
            )
        )

    def parameters(self):
        return sum(w.size for w in self.carry[0])

    def convert(self, x):
        return x

    def train(self, epochs):
        fused, batch = self.workload.fused, self.workload.batch
        for _ in range(epochs):
            order = np.random.permutation(len(self.y)).astype("int32")
            order = order.reshape(-1, min(fused, len(order) // batch), batch)
            carry = (*self.carry[:-1], jnp.float32(0))
            for rows in order:
                carry = self.steps(carry, self.x, self.y, rows)
            self.carry = carry
            float(carry[-1])

    def predict(self, x):
        starts = range(0, count(x), 256)
        parts = [self.forward(*self.carry[:2], taken(x, 256, at)) for at in starts]
        return np.concatenate([np.asarray(part) for part in parts])

    def call(self, x):
        return np.asarray(self.forward(*self.carry[:2], x))
