"""Rematerialization: the same numbers, fewer activations kept."""

import contextlib
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import print_saved_residuals

import lamina
from lamina import layers

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
SCOPES = {
    "full": {},
    "activations": {},
    "larger_than": {"output_size_threshold": 40},
    "list_of_layers": {"layer_names": ["wide"]},
}


def model_in(mode, **settings):
    """A stack with everything that a call may change: state, seeds, losses."""
    with lamina.RematScope(mode, **settings):
        model = lamina.Sequential(
            [
                lamina.Input((4,)),
                layers.Dense(8, "gelu", activity_regularizer="l2", name="wide"),
                layers.BatchNormalization(),
                layers.Dropout(0.5, seed=3),
                layers.Dense(3, "tanh", kernel_regularizer="l2"),
            ]
        )
    rng = np.random.default_rng(1)
    model.set_weights([abs(rng.normal(size=w.shape)) for w in model.weights])
    return model


def loss_of(model):
    frozen = [v.value for v in model.non_trainable_variables]

    def loss(trainable):
        y, new, losses = model.stateless_call(
            trainable, frozen, X, training=True, return_losses=True
        )
        return jnp.sum(y**2) + sum(losses), new

    return loss, [v.value for v in model.trainable_variables]


def kept(loss, values):
    """Count the activations that wait for the backward pass."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        print_saved_residuals(lambda v: loss(v)[0], values)
    lines = text.getvalue().splitlines()
    return sum("argument" not in line and "constant" not in line for line in lines)


@pytest.fixture(scope="module")
def plain():
    loss, values = loss_of(model_in(None))
    return jax.grad(loss, has_aux=True)(values), kept(loss, values)


@pytest.mark.parametrize("mode", SCOPES)
def test_equal_gradients_and_state_with_fewer_activations(mode, plain):
    loss, values = loss_of(model_in(mode, **SCOPES[mode]))
    for found in (jax.grad(loss, has_aux=True), jax.jit(jax.grad(loss, has_aux=True))):
        for a, b in zip(
            jax.tree.leaves(found(values)), jax.tree.leaves(plain[0]), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert kept(loss, values) < plain[1]


def test_fit_learns_the_same():
    losses = []
    for mode in (None, "full"):
        model = model_in(mode)
        model.compile("sgd", "mse")
        history = model.fit(
            X, X[:, :3], epochs=2, batch_size=3, shuffle=False, verbose=0
        )
        losses.append(history.history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_layers_in_layers_are_computed_again_once():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = layers.Dense(4, "tanh")

        def call(self, x):
            return self.inner(x) + x

    with lamina.RematScope("full"):
        block = Block()
    block(X)
    values = [v.value for v in block.trainable_variables]

    def loss(values):
        return jnp.sum(block.stateless_call(values, [], X)[0])

    graph = str(jax.make_jaxpr(jax.grad(loss))(values))
    assert graph.count(" tanh ") == 2  # forward, and once again backward


def test_masks_pass_through():
    with lamina.RematScope("full"):
        table = layers.Embedding(5, 2, mask_zero=True)
    tokens = np.array([[1, 0, 2]])
    table(tokens)

    def loss(values):
        bound = zip(table.trainable_variables, values, strict=True)
        with lamina.StatelessScope(state_mapping=bound):
            return jnp.sum(layers.GlobalAveragePooling1D()(table(tokens)))

    gradient = jax.grad(loss)([v.value for v in table.trainable_variables])[0]
    assert gradient[0].sum() == 0 and gradient[1].sum() != 0


def test_remat_of_a_function():
    seeds = lamina.random.SeedGenerator(1)

    def noisy(x, scale=1.0, twice=False):
        y = jnp.tanh(x * scale) + lamina.random.normal(x.shape, seed=seeds)
        return {"y": y * 2 if twice else y, "none": None}

    again = lamina.remat(noisy)
    one = noisy(X, 2.0, twice=True)["y"]
    seeds.state.assign([1, 0])
    two = again(X, 2.0, twice=True)
    np.testing.assert_allclose(one, two["y"], rtol=1e-6)
    assert two["none"] is None and seeds.state.numpy().tolist() == [1, 1]
    graph = jax.make_jaxpr(jax.grad(lambda x: lamina.remat(jnp.tanh)(x).sum()))(X)
    assert "remat" in str(graph) or "checkpoint" in str(graph)


def test_scopes_nest_and_are_checked():
    from lamina.core.remat import get_current_remat_mode

    with lamina.RematScope("full"), lamina.RematScope("larger_than", 7):
        assert get_current_remat_mode() == ("larger_than", 7, ())
    assert get_current_remat_mode() is None
    with pytest.raises(ValueError, match="`mode` to be one of.*mode='all'"):
        lamina.RematScope("all")


def test_a_scope_around_the_call_alone_warns():
    layer = layers.Dense(2)
    with lamina.RematScope("full"), pytest.warns(UserWarning, match="not made in this"):
        layer(X)


def test_a_call_forgets_the_losses_of_the_one_before():
    class Penalized(layers.Layer):
        def call(self, x):
            self.add_loss(jnp.sum(x))
            return x

    with lamina.RematScope("full"):
        layer = Penalized()
    for _ in range(2):
        layer(np.ones((1, 2)))
    assert [float(loss) for loss in layer.losses] == [2.0]
