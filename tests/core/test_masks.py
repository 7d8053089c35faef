"""Masks go through elementwise ops as they go through merging layers."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers, ops
from lamina.core.masks import get_mask

IDS = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 2, 3, 4]])

WAYS = {
    "scaled": lambda e: e * 2.0,
    "reversed": lambda e: 1.0 - e,
    "doubled": lambda e: e + e,
    "negative": lambda e: -e,
    "absolute": lambda e: abs(e),
    "power": lambda e: e**2,
    "constant": lambda e: e + np.ones((1, 4, 6), "float32"),
    "device constant": lambda e: e + jnp.ones((1, 4, 6)),
    "vector": lambda e: e * ops.arange(6, dtype="float32"),
    "residual": lambda e: e + layers.Dense(6)(e),
    "comparison": lambda e: ops.cast(e > 0, "float32"),
    "where": lambda e: ops.where(e > 0, e, 0.0),
    "select": lambda e: ops.select([e > 0], [e], 0.0),
    "clip": lambda e: ops.clip(e, -0.1, 0.1),
    "maximum": lambda e: ops.maximum(e, 0.0),
    "gelu": lambda e: lamina.activations.gelu(e),
    "mish": lambda e: lamina.activations.mish(e),
    "relu": lambda e: lamina.activations.relu(e, negative_slope=0.1),
    "softmax": lambda e: ops.softmax(e),
    "normalize": lambda e: ops.normalize(e),
    "stop_gradient": lambda e: ops.stop_gradient(e),
    "like": lambda e: e + ops.ones_like(e),
}
DROPS = {
    "sum": lambda e: ops.sum(e, -1, keepdims=True),
    "unmasked": lambda e: e + ops.sum(e, -1, keepdims=True),
    "flip": lambda e: ops.flip(e, 1),
}


def model(way):
    x = lamina.Input((4,))
    e = layers.Embedding(6, 6, mask_zero=True)(x)
    return lamina.Model(x, layers.Dense(1)(way(e)))


def masked_error(net, x, y):
    error = ((net.predict(x, verbose=0) - y) ** 2)[..., 0]
    return (error * (x != 0)).sum() / (x != 0).sum(), error.mean()


@pytest.mark.parametrize("name", WAYS)
def test_elementwise_ops_carry_the_mask(name):
    net = model(WAYS[name])
    assert net.output._keras_mask.shape == (None, 4)
    y = np.random.default_rng(0).uniform(size=(3, 4, 1)).astype("float32")
    net.compile("sgd", "mse")
    right, _ = masked_error(net, IDS, y)
    np.testing.assert_allclose(net.evaluate(IDS, y, verbose=0), right, rtol=1e-5)
    np.testing.assert_array_equal(get_mask(net(IDS)), IDS != 0)


@pytest.mark.parametrize("name", DROPS)
def test_other_ops_drop_it(name):
    net = model(DROPS[name])
    assert get_mask(net.output) is None
    y = np.random.default_rng(0).uniform(size=(3, 4, 1)).astype("float32")
    net.compile("sgd", "mse")
    _, plain = masked_error(net, IDS, y)
    np.testing.assert_allclose(net.evaluate(IDS, y, verbose=0), plain, rtol=1e-5)


@pytest.mark.parametrize("way", [lambda a, b: a + b, lambda a, b: ops.maximum(a, b)])
def test_two_masks_join_as_in_a_merging_layer(way):
    inputs = lamina.Input((4,)), lamina.Input((4,))
    a, b = (layers.Embedding(6, 3, mask_zero=True)(x) for x in inputs)
    net = lamina.Model(inputs, [way(a, b), layers.Add()([a, b])])
    other = IDS[::-1]
    for joined in net([IDS, other]):
        np.testing.assert_array_equal(get_mask(joined), (IDS != 0) | (other != 0))
    unmasked = lamina.Input((4, 3))
    assert get_mask(way(a, unmasked)) is get_mask(layers.Add()([a, unmasked])) is None


def test_masks_of_different_rank_and_size_join():
    a, b = jnp.ones((2, 4, 3)), jnp.ones((2, 1, 3))
    a._keras_mask = jnp.zeros((2, 4), bool)
    b._keras_mask = jnp.array([[True], [False]])
    np.testing.assert_array_equal(get_mask(ops.add(a, b)), [[True] * 4, [False] * 4])
    b._keras_mask = jnp.ones((2, 1, 3), bool).at[0, 0, 0].set(False)
    assert get_mask(ops.add(a, b)).shape == (2, 4, 3)
    # A mask that no longer fits is dropped.
    assert get_mask(ops.add(b, np.ones((1, 4, 1), "float32"))) is None


def test_ops_in_the_call_of_a_model_carry_it_eagerly_and_compiled():
    class Net(lamina.Model):
        def __init__(self):
            super().__init__()
            self.embedding = layers.Embedding(6, 6, mask_zero=True)
            self.last = layers.Dense(1)

        def call(self, x):
            e = self.embedding(x)
            return self.last(ops.tanh(ops.multiply(e, 2.0)))

    net = Net()
    np.testing.assert_array_equal(net(IDS)._keras_mask, IDS != 0)
    y = np.random.default_rng(0).uniform(size=(3, 4, 1)).astype("float32")
    net.compile("sgd", "mse")
    right, _ = masked_error(net, IDS, y)
    np.testing.assert_allclose(net.evaluate(IDS, y, verbose=0), right, rtol=1e-5)
    compiled = jax.jit(lambda x: get_mask(net(x)))
    np.testing.assert_array_equal(compiled(IDS), IDS != 0)


def test_a_saved_graph_carries_it_too():
    net = model(lambda e: ops.tanh(e) * 2.0)
    again = lamina.Model.from_config(net.get_config())
    np.testing.assert_array_equal(get_mask(again(IDS)), IDS != 0)


def test_a_layer_without_masking_stops_it_and_warns_once():
    class Plain(layers.Layer):
        def call(self, x):
            return ops.tanh(x)

    plain = Plain()
    masked = layers.Embedding(6, 6, mask_zero=True)(IDS)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):
            assert get_mask(plain(masked)) is None
    assert len(seen) == 1
    assert "does not support masking" in str(seen[0].message)


@pytest.mark.parametrize(
    ("way", "warned"),
    [
        ("operator", 1),  # JAX's operators know of no masks
        ("op", 0),
        ("declared", 0),
        ("pooled", 0),  # no step is left that a mask could be about
    ],
)
def test_a_layer_with_layers_inside_that_loses_the_mask_warns_once(way, warned):
    class Scaled(layers.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = way == "declared"
            self.last = layers.Dense(6)

        def call(self, x):
            x = ops.multiply(x, 2.0) if way == "op" else x * 2.0
            return self.last(x[:, 0] if way == "pooled" else x)

    layer, masked = Scaled(), layers.Embedding(6, 6, mask_zero=True)(IDS)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(2):
            found = get_mask(layer(masked))
    assert len(seen) == warned
    assert all("operators between arrays" in str(w.message) for w in seen)
    assert (found is None) == (way in ("operator", "pooled"))


def test_the_softmax_warning_comes_once_for_each_layer():
    x = lamina.Input((3,))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        net = lamina.Model(x, layers.Dense(1, activation="softmax")(x))
        net.compile("sgd", "mse")
        net.fit(np.ones((4, 3)), np.ones((4, 1)), batch_size=3, verbose=0)
        net.predict(np.ones((5, 3)), verbose=0)
    assert len(seen) == 1


def test_arrays_hold_a_mask_as_an_attribute():
    embedded = layers.Embedding(6, 6, mask_zero=True)(IDS)
    np.testing.assert_array_equal(embedded._keras_mask, IDS != 0)
    x = jnp.ones((1, 3, 2))
    x._keras_mask = jnp.array([[True, False, True]])
    pooled = layers.GlobalAveragePooling1D()(x * jnp.ones(2))
    assert pooled.shape == (1, 2)
    counted = layers.Activation("relu")(x)
    np.testing.assert_array_equal(counted._keras_mask, x._keras_mask)
    assert not hasattr(jnp.ones(2), "_keras_mask")
