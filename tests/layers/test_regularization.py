import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.testing import check_layer

ONES = np.ones((40, 25, 30), "float32")

NOISES = [
    ("Dropout", {"rate": 0.3}),
    ("Dropout", {"rate": 0.5, "noise_shape": (None, 1, None), "seed": 3}),
    ("SpatialDropout1D", {"rate": 0.3, "seed": 1}),
    ("GaussianNoise", {"stddev": 0.4, "seed": 5}),
    ("GaussianDropout", {"rate": 0.2}),
    ("AlphaDropout", {"rate": 0.2, "noise_shape": [40, 25, 1]}),
]


@pytest.mark.parametrize(("name", "kwargs"), NOISES)
def test_identity_outside_of_training(same_as_keras, name, kwargs):
    # Keras makes the config's `noise_shape` a tuple, as we do.
    layer = same_as_keras(name, kwargs, (3, 4, 2) if "noise_shape" not in kwargs else
                          ONES[:, :, :2], expected_num_seeds=1)  # fmt: skip
    np.testing.assert_array_equal(layer(ONES), ONES)


@pytest.mark.parametrize("name", ["SpatialDropout2D", "SpatialDropout3D"])
def test_spatial_configs(same_as_keras, name):
    shape = (2, 3, 4, 5, 2)[: int(name[-2]) + 2]
    same_as_keras(name, {"rate": 0.3, "data_format": "channels_first"}, shape)


@pytest.mark.parametrize(("name", "kwargs"), NOISES)
def test_a_seed_gives_the_same_noise(name, kwargs):
    cls = getattr(layers, name)
    kwargs = {**kwargs, "seed": 7}
    first, second = cls(**kwargs), cls(**kwargs)
    a, b = first(ONES, training=True), first(ONES, training=True)
    np.testing.assert_array_equal(a, second(ONES, training=True))
    assert not np.array_equal(a, b)


@pytest.mark.parametrize(("name", "kwargs"), NOISES[:1] + NOISES[3:5])
def test_statistics(name, kwargs):
    layer = getattr(layers, name)(**{"seed": 11, **kwargs})
    y = np.asarray(layer(ONES, training=True))
    share = kwargs.get("rate", 0)
    deviation = kwargs.get("stddev") or (share / (1 - share)) ** 0.5
    # 30,000 draws: four standard errors of the mean.
    assert abs(y.mean() - 1) < 4 * deviation / 30000**0.5
    assert abs(y.std() / deviation - 1) < 0.03
    if name == "Dropout":
        assert set(np.unique(y)) == {0.0, np.float32(1 / 0.7)}


def test_alpha_dropout_keeps_mean_and_variance():
    x = np.random.default_rng(0).normal(size=(300, 100)).astype("float32")
    y = np.asarray(layers.AlphaDropout(0.3, seed=2)(x, training=True))
    assert abs(y.mean()) < 0.03
    assert abs(y.std() - 1) < 0.03


def test_noise_shape_and_spatial_dropout_drop_whole_features():
    spatial = layers.SpatialDropout1D(0.5, seed=1)
    shaped = layers.Dropout(0.5, noise_shape=(None, 1, None), seed=1)
    for layer in (spatial, shaped):
        y = np.asarray(layer(ONES, training=True))
        assert (y == y[:, :1]).all()
        assert set(np.unique(y)) == {0.0, 2.0}
    first = layers.SpatialDropout2D(0.5, data_format="channels_first", seed=1)
    y = np.asarray(first(np.ones((8, 9, 3, 4)), training=True))
    assert (y == y[:, :, :1, :1]).all()
    assert set(np.unique(y)) == {0.0, 2.0}


def test_everything_and_nothing():
    assert np.all(layers.Dropout(1)(ONES, training=True) == 0)
    assert layers.Dropout(0).variables == []
    np.testing.assert_array_equal(layers.Dropout(0)(ONES, training=True), ONES)
    check_layer(layers.Dropout, {"rate": 0.5, "seed": 1}, ONES[:4],
                call_kwargs={"training": True})  # fmt: skip


def test_activity_regularization():
    layer = layers.ActivityRegularization(l1=0.1, l2=0.01, name="one")
    reference = keras.layers.ActivityRegularization(l1=0.1, l2=0.01, name="one")
    x = np.array([[1.0, -2.0], [0.5, 3.0]], "float32")
    np.testing.assert_array_equal(layer(x), x)
    reference(x)
    assert layer.get_config() == reference.get_config()
    np.testing.assert_allclose(layer.losses, [np.asarray(v) for v in reference.losses],
                               rtol=1e-6)  # fmt: skip


BAD = [
    (lambda: layers.Dropout(1.5), "`rate`. Expected a float value between 0.*1.5"),
    (lambda: layers.Dropout("a"), "`rate`.*'a'"),
    (lambda: layers.SpatialDropout2D(-1), "`rate`"),
    (lambda: layers.GaussianNoise(2), "`stddev`"),
    (lambda: layers.GaussianDropout(2.0), "`rate`"),
    (lambda: layers.AlphaDropout(2.0), "`rate`"),
    (lambda: layers.Dropout(0.5, noise_shape=3), "`noise_shape`"),
    (lambda: layers.Dropout(0.5, noise_shape=(0, 2)), "`noise_shape`"),
    (lambda: layers.Dropout(0.5, noise_shape=(1, 7))(ONES, training=True),
     "`noise_shape` to fit"),
    (lambda: layers.Dropout(0.5, noise_shape=(1,) * 4)(ONES, training=True),
     "must not have more dimensions"),
    (lambda: layers.SpatialDropout1D(0.5)(ONES[0]), "ndim=3, found ndim=2"),
    (lambda: layers.ActivityRegularization(-1.0), "l1"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_dropout_draws_inside_a_graph():
    x = lamina.Input((None, 3))
    noisy = layers.GaussianNoise(0.5, seed=1)(x, training=True)
    assert noisy.shape == (None, None, 3)
    ones = np.ones((2, 5, 3))
    expected = layers.GaussianNoise(0.5, seed=1)(ones, training=True)
    assert np.std(expected) > 0.2
    np.testing.assert_allclose(lamina.Model(x, noisy)(ones), expected, rtol=1e-6)
