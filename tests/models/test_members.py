"""Members of Model for users who write their own loops, and for subclasses."""

import jax
import numpy as np
import pytest

import lamina
from lamina import layers

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
Y = X[:, :1]


@pytest.fixture
def model():
    lamina.utils.set_random_seed(0)
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    model.train_on_batch(X, Y)
    return model


def state_of(model):
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    return [[v.value for v in group] for group in groups]


def test_made_functions_are_what_the_loop_runs(model):
    step = model.make_train_function()
    model.reset_metrics()
    state = state_of(model)
    after = step(state, (X, Y))
    assert float(state_of(model)[0][0][0, 0]) == float(state[0][0][0, 0])
    model.train_on_batch(X, Y)
    for one, two in zip(after, state_of(model), strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
    test, predict = model.make_test_function(), model.make_predict_function(force=True)
    trainable, frozen, _, metrics = state_of(model)
    assert len(test((trainable, frozen, (), metrics), (X, Y)).metrics) == len(metrics)
    np.testing.assert_array_equal(predict((trainable, frozen), (X,)), model.predict(X))
    assert model.jax_state_sync() is None


def test_made_functions_need_a_model_that_is_ready():
    model = lamina.Sequential([layers.Dense(1)])
    with pytest.raises(ValueError, match="must call `compile"):
        model.make_train_function()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="must be built before `make_test_function"):
        model.make_test_function()


def test_compute_loss_and_updates(model):
    trainable, frozen, own, metrics = state_of(model)
    arguments = (trainable, frozen, metrics, X, Y, None, True, own)
    gradient = jax.value_and_grad(model.compute_loss_and_updates, has_aux=True)
    (scaled, (loss, y_pred, new, counts)), gradients = gradient(*arguments)
    assert float(scaled) == float(loss)
    np.testing.assert_allclose(loss, np.mean((y_pred - Y) ** 2), rtol=1e-6)
    assert len(gradients) == 2 and new == frozen and len(counts) == len(metrics)
    again, _ = model.stateless_compute_loss(trainable, frozen, metrics, X, Y, y_pred)
    np.testing.assert_allclose(again, loss, rtol=1e-6)


class Named(lamina.Model):
    def __init__(self, *args, tag="a", **kwargs):
        super().__init__(*args, **kwargs)
        self.tag = tag

    def get_config(self):
        return {**super().get_config(), "tag": self.tag}


def test_a_subclass_with_a_graph_is_functional():
    x = lamina.Input((3,))
    named = Named(inputs=x, outputs=layers.Dense(2)(x), tag="b")
    assert isinstance(named, lamina.models.Functional)
    assert not isinstance(Named(), lamina.models.Functional)
    stack = lamina.Sequential([lamina.Input((3,)), layers.Dense(1)])
    assert not isinstance(stack, lamina.models.Functional)
    assert type(stack._functional) is lamina.models.Functional
    assert stack._functional.layers[1] is stack.layers[0]
    assert Named.from_config(named.get_config()).tag == "b"


def test_sizes_that_were_read_from_data_may_change():
    model = lamina.Sequential([layers.GlobalMaxPooling1D()])
    promised = lamina.Sequential([lamina.Input((5, 3)), layers.GlobalMaxPooling1D()])
    for one, steps in ((model, 5), (model, 7), (promised, 7)):
        x = np.random.default_rng(steps).normal(size=(2, steps, 3)).astype("float32")
        np.testing.assert_array_equal(one(x), x.max(axis=1))


def test_call_context_arguments_reach_the_layers_inside():
    class Inner(layers.Layer):
        def __init__(self):
            super().__init__()
            self._register_call_context_args("loud")

        def call(self, x, loud=False):
            return x * 10 if loud else x

    class Quiet(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def call(self, x):
            return self.inner(x, loud=False)

    x = lamina.Input((3,))
    model = lamina.Model(x, [Inner()(x), Quiet()(x)])
    model._register_call_context_args("loud")
    loud, quiet = model(X, loud=True)
    np.testing.assert_allclose(loud, X * 10)
    np.testing.assert_array_equal(quiet, X)
    np.testing.assert_array_equal(model(X)[0], X)
    with pytest.raises(RuntimeError, match="after the layer has been called"):
        model._register_call_context_args("more")


def test_trainable_is_a_boolean():
    with pytest.raises(ValueError, match="`trainable` to be a boolean.*trainable=1"):
        layers.Dense(2, trainable=1)


@pytest.mark.parametrize("graph", [True, False])
def test_paths_of_a_copy_are_those_of_the_model(graph, tmp_path):
    L = lamina.layers
    inner = lamina.Sequential([L.Dense(2, name="d")], name="inner")
    if graph:
        ends = lamina.Input((3,))
        inner = lamina.Model(ends, L.Dense(2, name="d")(ends), name="inner")
    stack = [lamina.Input((3,)), L.Dense(3, name="a"), inner, L.Dense(1, name="b")]
    model = lamina.Sequential(stack, name="s")
    model.save(tmp_path / "model.keras")
    for copy in (
        lamina.Sequential.from_config(model.get_config()),
        lamina.saving.load_model(tmp_path / "model.keras"),
    ):
        assert [v.path for v in copy.variables] == [v.path for v in model.variables]


def test_a_subclass_may_keep_a_graph_of_its_own():
    class Network(lamina.Model):
        def __init__(self, edges):
            super().__init__()
            self._graph, self._compiled, self._programs = edges, True, None
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(self._graph @ x)

    model = Network(np.eye(4, dtype="float32"))
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=4, verbose=0)
    assert model.predict(X, verbose=0).shape == (4, 1)
    assert [layer.name for layer in model.layers] == [model.dense.name]
