"""`model(x)` as one compiled call."""

import copy
import functools
import pickle
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.core.masks import get_mask
from lamina.training.compiled import training_of

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def compiled(model) -> bool:
    return training_of(model).programs.of(model).one_program


def by_layers(model, x, **kwargs):
    """Call a model as it is called inside another layer: layer by layer."""
    return model.stateless_call(
        [v.value for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
        x,
        **kwargs,
    )[0]


def graph():
    a, b = lamina.Input((4,), name="a"), lamina.Input((4,), name="b")
    shared = layers.Dense(3, "relu")
    left, right = shared(a), shared(b)
    joined = layers.Concatenate()([left, right])
    inner = lamina.Sequential([layers.Input((6,)), layers.Dense(2)])
    return lamina.Model(
        {"a": a, "b": b}, {"sum": layers.Add()([left, right]), "out": inner(joined)}
    )


def test_equals_the_layers_one_by_one():
    model = graph()
    assert compiled(model)
    given = {"b": X, "a": 2 * X}
    outputs, expected = model(given), by_layers(model, given)
    assert sorted(outputs) == ["out", "sum"]
    for name in outputs:
        np.testing.assert_allclose(outputs[name], expected[name], rtol=1e-6)
    predicted = model.predict(given, verbose=0)
    np.testing.assert_allclose(predicted["out"], outputs["out"], rtol=1e-6)


def test_training_and_what_it_assigns():
    def make():
        lamina.utils.set_random_seed(2)
        return lamina.Sequential(
            [layers.Input((4,)), layers.BatchNormalization(), layers.Dropout(0.5)]
        )

    one, other = make(), make()
    assert compiled(one)
    other.run_eagerly = True
    for _ in range(2):
        np.testing.assert_allclose(
            one(X, training=True), other(X, training=True), rtol=1e-5
        )
    np.testing.assert_array_equal(one(X), one(X, training=False))
    np.testing.assert_allclose(one(X), other(X), rtol=1e-5)
    for a, b in zip(one.variables, other.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)


def test_a_default_of_training():
    model = lamina.Sequential([layers.Input((8, 8, 3)), layers.RandomFlip(seed=1)])
    images = np.random.default_rng(0).random((16, 8, 8, 3)).astype("float32")
    assert compiled(model)
    assert not np.array_equal(model(images), images)
    np.testing.assert_array_equal(model(images, training=False), images)


def test_masks():
    words = layers.Embedding(5, 2, mask_zero=True)
    model = lamina.Sequential([layers.Input((3,)), words])
    x = np.array([[1, 2, 0]])
    assert compiled(model)
    assert get_mask(model(x)).tolist() == [[True, True, False]]


def test_changes_are_seen():
    model = lamina.Sequential(
        [layers.Input((4,)), layers.Dense(3), layers.Dropout(0.5)]
    )
    before = np.asarray(model(X))
    model.layers[0].kernel.assign(2 * model.layers[0].kernel)
    np.testing.assert_allclose(model(X), 2 * before, rtol=1e-6)
    model.layers[0].activation = lamina.activations.relu
    np.testing.assert_allclose(model(X), np.maximum(2 * before, 0), rtol=1e-6)
    model.layers[1].rate = 0.99
    assert np.count_nonzero(model(X, training=True)) < before.size / 2
    model.add(layers.Dense(2))
    assert model(X).shape == (6, 2)
    assert model.predict(X, verbose=0).shape == (6, 2)


def test_training_compiles_no_call_again():
    model = lamina.Sequential([layers.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model(X)
    whole = training_of(model).programs.of(model)
    model.fit(X, X[:, :1], epochs=2, verbose=0, validation_data=(X, X[:, :1]))
    model.evaluate(X, X[:, :1], verbose=0)
    model.predict(X, verbose=0)
    assert training_of(model).programs.of(model) is whole


class Loud(layers.Layer):
    calls = 0

    def call(self, x):
        type(self).calls += 1
        return x


def loud(x):
    return x


class Scaled:
    def __call__(self, x):
        return 2 * x


@pytest.mark.parametrize(
    "foreign",
    [
        lambda: Loud(),
        lambda: layers.Lambda(loud),
        lambda: layers.Activation(loud),
        lambda: layers.Activation(Scaled()),
        lambda: layers.Activation(functools.partial(loud)),
        lambda: layers.ActivityRegularization(0.1),
        lambda: lamina.Sequential([Loud()]),
        lambda: layers.Dense(2, activity_regularizer="l2"),
    ],
)
def test_what_a_user_wrote_runs_layer_by_layer(foreign):
    model = lamina.Sequential([layers.Input((4,)), layers.Dense(2), foreign()])
    assert not compiled(model)
    assert model(X).shape == (6, 2)


def test_functions_that_no_call_runs():
    dense = layers.Dense(2, kernel_initializer=lambda shape, dtype: np.ones(shape))
    model = lamina.Sequential([layers.Input((4,)), dense])
    assert compiled(model)


def test_a_users_layer_runs_each_time():
    model = lamina.Sequential([layers.Input((4,)), Loud()])
    model(X)
    before = Loud.calls
    model(X)
    model(X)
    assert Loud.calls == before + 2


def test_losses_of_the_last_call():
    model = lamina.Sequential(
        [layers.Input((4,)), layers.Dense(2, activity_regularizer="l2")]
    )
    y = np.asarray(model(X))
    (loss,) = model.losses
    np.testing.assert_allclose(loss, 0.01 * (y**2).sum() / len(X), rtol=1e-6)


def test_inside_functions_that_are_traced():
    model = lamina.Sequential([layers.Input((4,)), layers.Dense(1, "tanh")])
    expected = np.asarray(model(X))
    np.testing.assert_allclose(jax.jit(model)(X), expected, rtol=1e-6)
    grads = jax.grad(lambda x: model(x).sum())(jnp.asarray(X))
    assert grads.shape == X.shape
    assert np.abs(grads).max() > 0


@pytest.mark.parametrize("x", [X.tolist(), X.astype("float64"), X[:, :3], X[0]])
def test_other_inputs_are_told_of_as_before(x):
    model = lamina.Sequential([layers.Input((4,)), layers.Dense(1)])
    eager = lamina.models.clone_model(model)
    eager.set_weights(model.get_weights())
    eager.run_eagerly = True
    try:
        expected = eager(x)
    except ValueError as error:
        with pytest.raises(ValueError) as caught:
            model(x)
        assert str(caught.value).replace(model.name, eager.name) == str(error)
    else:
        np.testing.assert_allclose(model(x), expected, rtol=1e-6)


def test_copies():
    model = graph()
    given = {"a": X, "b": X}
    expected = np.asarray(model(given)["out"])
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(again(given)["out"], expected)
        inner = next(x for x in again.layers if isinstance(x, lamina.Sequential))
        inner.layers[0].bias.assign([1.0, 1.0])
        np.testing.assert_allclose(again(given)["out"], expected + 1, rtol=1e-5)
    np.testing.assert_array_equal(model(given)["out"], expected)


def test_several_threads():
    model = lamina.Sequential([layers.Input((4,)), layers.Dense(8), layers.Dense(2)])
    expected = {n: np.asarray(by_layers(model, X[:n])) for n in range(1, 7)}
    wrong = []

    def work(n):
        for _ in range(30):
            model.layers[0].rate = n  # makes all look anew
            a, b = model(X[:n]), model.predict(X[:n], verbose=0)
            if not (np.allclose(a, expected[n]) and np.allclose(b, expected[n])):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- predict -----------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("batch_size", [None, 4, 5])
def test_predict_of_few_rows(count, batch_size):
    model = lamina.Sequential([layers.Input((4,)), layers.Dense(3)])
    x = X[:count]
    outputs = model.predict(x, batch_size=batch_size, verbose=0)
    assert isinstance(outputs, np.ndarray)
    assert outputs.flags.writeable
    np.testing.assert_allclose(outputs, by_layers(model, x), rtol=1e-5, atol=1e-6)


def test_rows_that_know_of_each_other_are_not_filled_up():
    inputs = lamina.Input((4,))
    model = lamina.Model(inputs, inputs - lamina.ops.mean(inputs, axis=0))
    x = X[:3]
    expected = x - x.mean(axis=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)


def test_predict_refuses_what_it_refused():
    model = lamina.Sequential([layers.Input((4,)), layers.Dense(3)])
    for x, error in ((X[:0], ValueError), (np.array(["a"]), ValueError)):
        with pytest.raises(error):
            model.predict(x, verbose=0)
    with pytest.raises(ValueError, match="batch_size"):
        model.predict(X, batch_size=0, verbose=0)


def test_keys_of_outputs_keep_the_order_they_were_written_in(tmp_path):
    inputs = lamina.Input((3,))
    outputs = {"z": inputs * 2, "a": [{"y": inputs + 1, "b": inputs}, inputs]}
    model = lamina.Model(inputs, outputs)
    model.save(tmp_path / "m.keras")
    x = np.ones((2, 3), "float32")
    made = {
        "called": model(x),
        "training": model(x, training=True),
        "symbolic": model(inputs),
        "stateless": model.stateless_call([], [], x)[0],
        "loaded": lamina.models.load_model(tmp_path / "m.keras")(x),
        "cloned": lamina.models.clone_model(model)(x),
        "outer": lamina.Model(inputs, model(inputs))(x),
    }
    for way, found in made.items():
        assert [list(found), list(found["a"][0])] == [["z", "a"], ["y", "b"]], way
    z, (inner, _) = model(x).values()
    np.testing.assert_array_equal(z, x * 2)
    np.testing.assert_array_equal(inner["y"], x + 1)
