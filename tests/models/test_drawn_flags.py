"""A training flag drawn into a graph holds, whichever way the model runs."""

import numpy as np
import pytest

import lamina
from lamina import layers

X = np.random.default_rng(0).random((8, 32)).astype("float32") + 1


def dropping(**flag):
    inputs = lamina.Input((32,))
    return lamina.Model(inputs, layers.Dropout(0.5)(inputs, **flag))


def drops(y):
    return bool((np.asarray(y) == 0).any())


class Same(layers.Layer):
    def call(self, x):
        return x


def nested(model, **flag):
    inputs = lamina.Input((32,))
    return lamina.Model(inputs, model(inputs, **flag))


def beside(model):
    return lamina.Model(model.input, Same()(model.output))


def saved(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return lamina.models.load_model(tmp_path / "model.keras")


WAYS = {
    "itself": lambda model, _: model,
    "beside a layer of one's own": lambda model, _: beside(model),
    "nested": lambda model, _: nested(model),
    "nested and told otherwise": lambda model, _: nested(model, training=False),
    "cloned": lambda model, _: lamina.models.clone_model(model),
    "from JSON": lambda m, _: lamina.models.model_from_json(m.to_json()),
    "loaded": saved,
}


@pytest.mark.parametrize("way", WAYS)
def test_true_holds(way, tmp_path):
    model = WAYS[way](dropping(training=True), tmp_path)
    for training in (None, True, False):
        assert drops(model(X, training=training))
    assert drops(model.predict(X, verbose=0))
    assert drops(model.predict(X, batch_size=3, verbose=0))
    assert drops(model.predict_on_batch(X))
    model.compile("sgd", "mse")
    assert model.evaluate(X, X, verbose=0) > 0.1


@pytest.mark.parametrize("way", [w for w in WAYS if "otherwise" not in w])
def test_false_holds(way, tmp_path):
    model = WAYS[way](dropping(training=False), tmp_path)
    for training in (None, True, False):
        np.testing.assert_array_equal(model(X, training=training), X)
    model.compile("sgd", "mse")
    assert model.fit(X, X, verbose=0).history["loss"] == [0]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_drawn_follows_the_call(way, tmp_path):
    model = WAYS[way](dropping(), tmp_path)
    if way == "nested and told otherwise":
        assert not drops(model(X, training=True))
        return
    assert drops(model(X, training=True))
    assert not drops(model(X))
    assert not drops(model.predict(X, verbose=0))


def test_a_base_keeps_its_statistics_through_fine_tuning():
    base = lamina.Sequential([lamina.Input((32,)), layers.BatchNormalization()])
    inputs = lamina.Input((32,))
    outputs = layers.Dense(1)(base(inputs, training=False))
    model = lamina.Model(inputs, outputs)
    model.compile("sgd", "mse")
    (norm,) = base.layers
    before = norm.gamma.numpy()
    expected = model(X, training=True)
    np.testing.assert_allclose(model(X), expected, rtol=1e-6)
    model.fit(X, X[:, :1], epochs=2, verbose=0)
    assert not norm.moving_mean.numpy().any()
    assert (norm.moving_variance.numpy() == 1).all()
    assert (norm.gamma.numpy() != before).any()


def test_statistics_of_the_batch_where_that_was_drawn(tmp_path):
    inputs = lamina.Input((32,))
    model = lamina.Model(inputs, layers.BatchNormalization()(inputs, training=True))
    mean, deviation = X.mean(axis=0), np.sqrt(X.var(axis=0) + 1e-3)
    expected = (X - mean) / deviation
    model.export(tmp_path / "model.safetensors")
    program = lamina.export.load(tmp_path / "model.safetensors")
    for found in (model(X), model.predict(X, verbose=0), program(X)):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_flags_that_keras_wrote_without_being_told(tmp_path):
    keras = pytest.importorskip("keras")
    inputs = keras.Input((8, 8, 3))
    flipped = keras.layers.RandomFlip(seed=1)(inputs)
    model = keras.Model(inputs, keras.layers.Dropout(0.5)(flipped))
    model.save(tmp_path / "model.keras")
    loaded = lamina.models.load_model(tmp_path / "model.keras")
    images = np.random.default_rng(1).random((4, 8, 8, 3)).astype("float32") + 1
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), images)
    assert drops(loaded(images, training=True))


def test_one_flag_of_two_calls():
    drop, inputs = layers.Dropout(0.5), lamina.Input((32,))
    model = lamina.Model(inputs, [drop(inputs), drop(inputs, training=True)])
    plain, dropped = model(X)
    np.testing.assert_array_equal(plain, X)
    assert drops(dropped)


def test_a_call_that_takes_no_flag_is_trained_all_the_same():
    class Wrapped(lamina.Model):
        def __init__(self):
            super().__init__()
            self.norm = layers.BatchNormalization(momentum=0.0)

        def call(self, x):
            return self.norm(x)

    model, x = Wrapped(), np.arange(12, dtype="float32").reshape(6, 2)
    model.compile("sgd", "mse")
    model.fit(x, x, batch_size=6, verbose=0)
    np.testing.assert_allclose(model.norm.moving_mean, x.mean(0), rtol=1e-6)
    statistics = model.norm.get_weights()[2:]
    model.evaluate(x, x, verbose=0)
    np.testing.assert_array_equal(model.norm.get_weights()[2:], statistics)
