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
        ("function", 1),  # JAX's functions know of no masks
        ("operator", 0),
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
            if way in ("function", "declared"):
                x = jax.numpy.multiply(x, 2.0)
            else:
                x = ops.multiply(x, 2.0) if way == "op" else x * 2.0
            return self.last(x[:, 0] if way == "pooled" else x)

    layer, masked = Scaled(), layers.Embedding(6, 6, mask_zero=True)(IDS)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(2):
            found = get_mask(layer(masked))
    assert len(seen) == warned
    assert all("functions of JAX carry no masks" in str(w.message) for w in seen)
    assert (found is None) == (way in ("function", "pooled"))


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


# ---- operators between arrays, in a call of one's own ------------------------

OPERATORS = {
    "x + x": lambda model, x: x + x,
    "x * 1": lambda model, x: x * 1,
    "1 - x": lambda model, x: 1 - x,
    "numpy * x": lambda model, x: np.float32(2) * x,
    "x / 2": lambda model, x: x / 2,
    "2 / x": lambda model, x: 2 / (x + 3),
    "x // 1 + x": lambda model, x: x // 1 + x,
    "x % 1": lambda model, x: x % 1,
    "x ** 2": lambda model, x: x**2,
    "2 ** x": lambda model, x: 2**x,
    "-x": lambda model, x: -x,
    "abs(x)": lambda model, x: abs(x),
    "x > 0": lambda model, x: (x > 0) * x,
    "x == x": lambda model, x: (x == x) * x,
    "x + Dense(x)": lambda model, x: x + model.dense(x),
    "x + tanh(Dense(x))": lambda model, x: x + ops.tanh(model.dense(x)) * 2,
}


class Between(lamina.Model):
    """Something between an embedding with a mask and a layer that uses it."""

    def __init__(self, between):
        super().__init__()
        self.embedding = layers.Embedding(6, 4, mask_zero=True)
        self.dense = layers.Dense(4)
        self.lstm = layers.LSTM(3)
        self.between = between

    def call(self, ids):
        return self.lstm(self.between(self, self.embedding(ids)))


@pytest.mark.parametrize("between", OPERATORS.values(), ids=OPERATORS)
def test_operators_between_arrays_carry_masks(between):
    """However the model runs, and where its gradients are taken."""
    ids = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 4, 1, 1]], "int32")
    target = np.zeros((3, 3), "float32")
    model = Between(between)
    first = model(ids)  # traced for shapes before it runs
    inner = np.asarray(between(model, model.embedding(ids)))
    expected = np.asarray(model.lstm(inner, mask=ids != 0))
    assert np.abs(expected - model.lstm(inner)).max() > 1e-4
    model.compile(lamina.optimizers.SGD(0.5), "mse")
    drawn = lamina.Input((4,), dtype="int32")
    for found in (
        first,
        model(ids),
        jax.jit(model)(ids),
        model.predict(ids, verbose=0),
        lamina.Model(drawn, model(drawn))(ids),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    # A gradient through padding would move the row of the padding's index.
    before = np.asarray(model.embedding.embeddings)
    model.fit(ids, target, epochs=2, verbose=0)
    after = np.asarray(model.embedding.embeddings)
    np.testing.assert_array_equal(before[[0, 5]], after[[0, 5]])
    assert (before[[1, 2, 3, 4]] != after[[1, 2, 3, 4]]).any()


def test_operators_carry_masks_outside_of_calls_and_in_own_layers_inside_of_graphs():
    class Doubled(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4)

        def call(self, x):
            return self.dense(x) + x

    ids = np.array([[1, 2, 0]], "int32")
    embedded = layers.Embedding(6, 4, mask_zero=True)(ids)
    assert get_mask(embedded * 2 + 1).tolist() == [[True, True, False]]
    assert get_mask(embedded @ np.ones((4, 4), "float32")) is None
    assert get_mask(embedded + np.ones((1, 3, 4), "float32")) is None  # as for `Add`
    x = lamina.Input((3,), dtype="int32")
    y = layers.LSTM(2)(Doubled()(layers.Embedding(6, 4, mask_zero=True)(x)))
    model = lamina.Model(x, y)
    longer = np.array([[1, 2, 0], [1, 2, 0]], "int32")
    changed = model.layers[1].embeddings
    before = model(longer)
    changed.assign(changed.value.at[0].set(9.0))  # what stands for padding
    np.testing.assert_array_equal(model(longer), before)


def test_a_layer_without_masks_makes_none_by_its_operators():
    class Plain(layers.Layer):
        def call(self, x):
            self.found = get_mask(x * 2)
            return x * 2

    layer = Plain()
    with pytest.warns(UserWarning, match="does not support masking"):
        made = layer(layers.Embedding(6, 4, mask_zero=True)(np.ones((1, 3), "int32")))
    assert layer.found is None
    assert get_mask(made) is None


def test_operators_of_jax_are_what_they_were():
    """But for masks: values, types, errors, derivatives and what compiles."""
    x = jax.numpy.arange(4.0)
    layers.Embedding(6, 4, mask_zero=True)(np.ones((1, 3), "int32"))  # a first mask
    assert (x * 2).tolist() == [0, 2, 4, 6]
    assert (2 - x).dtype == x.dtype
    assert (x.__add__(1) == x + 1).all()
    assert x.__mul__("text") is NotImplemented
    with pytest.raises(TypeError, match="unsupported operand"):
        x + "text"
    assert jax.grad(lambda x: (x**3 / 2 - x).sum())(x).tolist() == [-1, 0.5, 5, 12.5]
    text = str(jax.make_jaxpr(lambda x: abs(-x) // 2 % 3)(x))
    assert "abs" in text and "neg" in text
    assert jax.vmap(lambda a, b: a * b + 1)(x, x).tolist() == [1, 2, 5, 10]


@lamina.saving.register_keras_serializable("masks")
class Joined(Between):
    """A model with operators between arrays that files can hold."""

    def __init__(self):
        super().__init__(lambda model, x: 1 - (x + model.dense(x)) * 2)

    def get_config(self):
        return {}


def test_operators_carry_masks_in_files_exports_and_eager_steps(tmp_path):
    ids = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 4, 1, 1]], "int32")
    model = Joined()
    expected = np.asarray(model(ids))
    inner = np.asarray(model.between(model, model.embedding(ids)))
    np.testing.assert_allclose(expected, model.lstm(inner, mask=ids != 0), atol=1e-6)
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "program.safetensors")
    with lamina.RematScope("full"):
        again = Joined()
    again(ids)
    again.set_weights(model.get_weights())
    for other in (
        lamina.models.load_model(tmp_path / "model.keras"),
        lamina.export.load(tmp_path / "program.safetensors"),
        again,
    ):
        np.testing.assert_allclose(other(ids), expected, atol=1e-6)
    target = np.zeros((3, 3), "float32")
    for one, eager in ((model, True), (again, False)):
        one.compile("sgd", "mse", run_eagerly=eager)
        one.fit(ids, target, batch_size=1, shuffle=False, verbose=0)
    for mine, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)
