import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers

TRAIN = {"training": True}
CLIP = {"rmax": 1.5, "rmin": 0.6, "dmax": 0.3}

NORMALIZATIONS = [
    ("BatchNormalization", {}, (4, 3), None),
    ("BatchNormalization", {"axis": 1, "momentum": 0.8}, (3, 2, 4), TRAIN),
    ("BatchNormalization", {"axis": -2, "center": False, "epsilon": 0.01,
                            "gamma_regularizer": "l2"}, (3, 2, 3, 4), TRAIN),
    ("BatchNormalization", {"scale": False, "moving_mean_initializer": "ones"},
     (3, 5, 2), None),
    ("BatchNormalization", {}, (3, 4, 2),
     {"training": True, "mask": np.arange(12).reshape(3, 4) % 3 > 0}),
    ("BatchNormalization", {"renorm": True, "renorm_clipping": CLIP,
                            "renorm_momentum": 0.7}, (6, 3), TRAIN),
    ("BatchNormalization", {"renorm": True}, (6, 3), None),
    ("LayerNormalization", {}, (3, 4), None),
    ("LayerNormalization", {"axis": [1, 2], "epsilon": 0.1}, (2, 3, 4, 2), None),
    ("LayerNormalization", {"axis": 1, "center": False}, (2, 3, 4), None),
    ("LayerNormalization", {"axis": (-2, -1), "scale": False}, (2, 3, 4), None),
    ("RMSNormalization", {}, (3, 4), None),
    ("RMSNormalization", {"axis": [1, 2], "epsilon": 0.1}, (2, 3, 4), None),
    ("GroupNormalization", {"groups": 2}, (2, 3, 4), None),
    ("GroupNormalization", {"groups": 3, "axis": 1, "scale": False}, (2, 6, 3), None),
    ("GroupNormalization", {"groups": -1, "center": False}, (2, 5, 4), None),
    ("UnitNormalization", {}, (3, 4), None),
    ("UnitNormalization", {"axis": [1, 2]}, (2, 3, 4), None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "shape", "call"), NORMALIZATIONS)
def test_same_as_keras(same_as_keras, name, kwargs, shape, call):
    same_as_keras(name, kwargs, shape, call)


def test_old_scaling_by_the_variance(same_as_keras):
    with pytest.warns(UserWarning, match="rms_scaling"):
        same_as_keras("LayerNormalization", {"rms_scaling": True}, (2, 3, 4))


def test_untrainable_batch_normalization_uses_its_averages():
    layer = layers.BatchNormalization(trainable=False, epsilon=0.0)
    x = np.array([[1.0], [5.0]], "float32")
    np.testing.assert_array_equal(layer(x, training=True), x)
    np.testing.assert_array_equal(layer.moving_mean, [0.0])


@pytest.mark.parametrize("dtype", ["float16", "mixed_bfloat16"])
def test_half_inputs_have_float32_statistics(dtype):
    # The squares of 300 overflow float16, and 1000 + 1 is 1000 in bfloat16.
    x = np.array([[-300.0], [300.0]] * 50, "float32")
    layer = layers.BatchNormalization(dtype=dtype, momentum=0.0)
    y = layer(x, training=True)
    np.testing.assert_allclose(np.asarray(y, "float32"), np.sign(x), rtol=4e-3)
    if dtype.startswith("mixed"):
        np.testing.assert_allclose(layer.moving_variance, [90000.0], rtol=1e-6)


def test_averages_see_only_what_the_mask_lets_through():
    layer = layers.BatchNormalization(momentum=0.0)
    x = jnp.array([[[1.0], [100.0]], [[3.0], [100.0]]])
    layer(x, training=True, mask=jnp.array([[True, False]] * 2))
    np.testing.assert_allclose(layer.moving_mean, [2.0], rtol=1e-6)


X = np.ones((2, 8, 4), "float32")
BAD = [
    (lambda: layers.BatchNormalization(axis=3)(X), ValueError, "3 axes.*axis=3"),
    (lambda: layers.BatchNormalization(axis="a"), TypeError, "`axis`.*'a'"),
    (lambda: layers.BatchNormalization(axis=[1, 2]), TypeError, "one integer"),
    (lambda: layers.BatchNormalization()(lamina.Input((None,))), ValueError, "size"),
    (lambda: layers.BatchNormalization()(X, mask=np.ones((2,), bool)), ValueError,
     "one dimension less"),
    (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"a": 1}),
     ValueError, "Received invalid keys.*'a'"),
    (lambda: layers.BatchNormalization(
        renorm=True, renorm_clipping={"rmax": 0.0, "rmin": 1.0}),
     ValueError, "rmax should be"),
    (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"dmax": -1.0}),
     ValueError, "dmax should be non-negative"),
    (lambda: layers.LayerNormalization(axis=-4)(X), ValueError, "axis=-4"),
    (lambda: layers.LayerNormalization(axis="a"), TypeError, "`axis`"),
    (lambda: layers.GroupNormalization(groups=3)(X), ValueError, "groups=3, 4 chan"),
    (lambda: layers.GroupNormalization(groups=8)(X), ValueError, "groups=8"),
    (lambda: layers.GroupNormalization(groups=0), ValueError, "`groups`.*groups=0"),
    (lambda: layers.GroupNormalization(groups=1.5), ValueError, "`groups`"),
    (lambda: layers.UnitNormalization(axis={"a": 1}), TypeError, "`axis`"),
    (lambda: layers.RMSNormalization(axis=5)(X), ValueError, "axis=5"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
@pytest.mark.parametrize(
    "name", ["LayerNormalization", "RMSNormalization", "UnitNormalization"]
)
def test_integers_are_not_rounded_to_integers(name, dtype):
    layer = getattr(layers, name)()
    x = np.arange(24).reshape(2, 3, 4).astype(dtype)
    y = layer(x)
    assert y.dtype == layer(lamina.KerasTensor((None, 3, 4), dtype)).dtype == "float32"
    np.testing.assert_array_equal(y, layer(x.astype("float32")))


def test_sizes_of_the_scale_are_in_the_order_of_axes():
    for axis in ([-1, 1], [1, -1], [3, 1], [1, 3]):
        layer = lamina.layers.LayerNormalization(axis=axis)
        layer.build((2, 3, 4, 5))
        gamma = np.arange(15.0).reshape(3, 1, 5)
        layer.gamma.assign(gamma[:, 0])
        x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
        spread = np.sqrt(x.var((1, 3), keepdims=True) + layer.epsilon)
        expected = gamma * (x - x.mean((1, 3), keepdims=True)) / spread
        np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
