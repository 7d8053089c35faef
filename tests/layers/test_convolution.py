import jax
import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from tests.layers.parity import plain, same

RANDOM = np.random.default_rng(4)
FIRST = {"data_format": "channels_first"}

CONVOLUTIONS = [
    ("Conv1D", {"filters": 3, "kernel_size": 2, "activation": "tanh"}, (2, 7, 4)),
    ("Conv1D", {"filters": 4, "kernel_size": 3, "padding": "causal",
                "dilation_rate": 2, "groups": 2}, (2, 7, 4)),
    ("Conv1D", {"filters": 3, "kernel_size": 3, "padding": "causal", "strides": 2,
                **FIRST}, (2, 4, 8)),
    ("Conv2D", {"filters": 3, "kernel_size": (3, 2), "strides": (2, 1),
                "padding": "same", "kernel_regularizer": "l2"}, (2, 7, 6, 4)),
    ("Conv2D", {"filters": 6, "kernel_size": 3, "groups": 2, "use_bias": False,
                **FIRST}, (2, 4, 5, 7)),
    ("Conv2D", {"filters": 3, "kernel_size": 2, "dilation_rate": (2, 3),
                "padding": "SAME", "bias_initializer": "ones"}, (1, 7, 8, 1)),
    ("Conv3D", {"filters": 2, "kernel_size": (2, 1, 3), "strides": (1, 2, 1)},
     (1, 4, 5, 4, 2)),
    ("Conv1DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2}, (2, 5, 4)),
    ("Conv1DTranspose", {"filters": 3, "kernel_size": 2, "dilation_rate": 2,
                         "padding": "same", **FIRST}, (2, 4, 5)),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": (3, 2), "strides": (2, 3),
                         "padding": "same", "activation": "relu"}, (2, 3, 4, 2)),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 4, "strides": 3,
                         "padding": "valid", "output_padding": (1, 2)}, (1, 3, 2, 2)),
    ("Conv3DTranspose", {"filters": 2, "kernel_size": 2, "strides": 2,
                         "output_padding": 1, "padding": "same"}, (1, 2, 3, 2, 2)),
    ("DepthwiseConv1D", {"kernel_size": 3, "depth_multiplier": 2, **FIRST}, (2, 4, 7)),
    ("DepthwiseConv2D", {"kernel_size": 3, "strides": 2, "padding": "same",
                         "activation": "relu"}, (2, 7, 6, 3)),
    ("DepthwiseConv2D", {"kernel_size": (2, 3), "depth_multiplier": 3,
                         "dilation_rate": (1, 2), "use_bias": False}, (1, 5, 7, 2)),
    ("SeparableConv1D", {"filters": 5, "kernel_size": 3, "depth_multiplier": 2,
                         "padding": "same", "strides": 2}, (2, 7, 3)),
    ("SeparableConv2D", {"filters": 4, "kernel_size": 2, "dilation_rate": 2, **FIRST},
     (2, 3, 6, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "shape"), CONVOLUTIONS)
def test_same_as_keras(same_as_keras, name, kwargs, shape):
    same_as_keras(name, kwargs, shape)


def test_integers_and_unknown_sizes():
    layer = layers.Conv2D(2, 3, strides=2, padding="same")
    assert layer(lamina.Input((None, None, 3))).shape == (None, None, None, 2)
    image = np.arange(75, dtype="uint8").reshape(1, 5, 5, 3)
    np.testing.assert_array_equal(layer(image), layer(image.astype("float32")))


def test_activity_regularizer_joins_the_losses():
    layer = layers.Conv1D(2, 1, kernel_initializer="ones", activity_regularizer="l1")
    layer(np.ones((1, 3, 2)))
    assert [round(float(loss), 6) for loss in layer.losses] == [0.12]


IMAGE = np.ones((1, 5, 5, 6), "float32")
BAD = [
    (lambda: layers.Conv2D(-1, 3), "`filters` to be a positive integer.*-1"),
    (lambda: layers.Conv2D(2, (1, 0)), "`kernel_size`.*(1, 0)"),
    (lambda: layers.Conv2D(2, 3, strides=0), "`strides`.*strides=0"),
    (lambda: layers.Conv2D(2, 3, padding="causal"), "`padding`.*'valid', 'same'"),
    (lambda: layers.Conv1D(2, 3, padding="casual"), "Did you mean 'causal'"),
    (lambda: layers.Conv2D(2, 3, strides=2, dilation_rate=2), "not compatible"),
    (lambda: layers.Conv1DTranspose(2, 3, 2, dilation_rate=2), "not compatible"),
    (lambda: layers.Conv2D(3, 3, groups=2), "`groups` to divide `filters`"),
    (lambda: layers.Conv2D(4, 3, groups=0), "`groups`.*groups=0"),
    (lambda: layers.Conv2D(4, 3, groups=4)(IMAGE), "multiple of `groups`.*6 channels"),
    (lambda: layers.Conv2D(4, 6)(IMAGE), "window of 6 cells.*padding='same'"),
    (lambda: layers.Conv2D(4, 3)(IMAGE[0]), "ndim=4, found ndim=3"),
    (lambda: layers.Conv2D(4, 3)(lamina.Input((5, 5, None))), "number of channels"),
    (lambda: layers.Conv2D(4, 3, data_format="last"), "data_format=.last"),
    (lambda: layers.Conv2DTranspose(4, 3, strides=2, output_padding=2),
     "strictly less than `strides`"),
    (lambda: layers.DepthwiseConv1D(3, depth_multiplier=0), "`depth_multiplier`"),
    (lambda: layers.SeparableConv2D(0, 3), "`filters`"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_subclass_may_change_the_kernel_at_each_call():
    class Standardized(layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, kernel - kernel.mean())

    x = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype("float32")
    plain, changed = layers.Conv2D(3, 2), Standardized(3, 2)
    plain.build(x.shape)
    kernel = np.asarray(plain.kernel)
    changed.build(x.shape)
    changed.set_weights(plain.get_weights())
    plain.kernel.assign(kernel - kernel.mean())
    np.testing.assert_allclose(changed(x), plain(x), atol=1e-6)


class Doubled(layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return 2 * super().convolution_op(inputs, kernel)


@pytest.mark.parametrize(
    ("kind", "plain", "shape"),
    [
        (layers.Conv2D, layers.Conv2D, (2, 5, 6, 7)),
        (Doubled, layers.Conv2D, (2, 5, 6, 7)),
        (layers.Conv3D, layers.Conv3D, (2, 3, 4, 5, 6)),
        (layers.Conv1DTranspose, layers.Conv1DTranspose, (2, 5, 6)),
        (layers.Conv3DTranspose, layers.Conv3DTranspose, (2, 3, 4, 5, 6)),
    ],
)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_relu_comes_after_the_bias(kind, plain, shape, data_format):
    factor = 2 if kind is Doubled else 1
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = kind(8, 2, activation="relu", data_format=data_format)
    plain = plain(8, 2, use_bias=False, data_format=data_format)
    layer.build(x.shape), plain.build(x.shape)
    bias = np.linspace(-1, 1, 8, dtype="float32")
    layer.set_weights([kernel := layer.get_weights()[0], bias])
    plain.set_weights([kernel])
    added = (
        bias if data_format == "channels_last" else bias.reshape(-1, *(1,) * layer.rank)
    )
    wanted = np.maximum(factor * np.asarray(plain(x)) + added, 0)
    np.testing.assert_allclose(layer(x), wanted, atol=1e-6)
    np.testing.assert_array_equal(layer(x), jax.jit(layer)(x))


@pytest.mark.parametrize(
    ("name", "kwargs", "shape"),
    [
        ("Conv1D", {"strides": 2, "kernel_regularizer": "l2"}, (2, 7, 4)),
        ("Conv2D", {"groups": 2, **FIRST}, (2, 4, 5, 5)),
    ],
)
def test_lora_is_that_of_keras(name, kwargs, shape, tmp_path):
    kwargs = {"filters": 4, "kernel_size": 2, "name": "one", **kwargs}
    x = RANDOM.normal(size=shape).astype("float32")
    both = [getattr(m.layers, name)(**kwargs) for m in (lamina, keras)]
    for layer in both:
        layer.build(shape)
        layer.enable_lora(2, lora_alpha=3.0)
    ours, theirs = both
    assert plain(ours.get_config()) == plain(theirs.get_config())
    assert [(w.path, w.trainable) for w in ours.weights] == [
        (w.path, w.trainable) for w in theirs.weights
    ]
    values = [RANDOM.normal(size=w.shape) for w in theirs.weights]
    ours.set_weights(values), theirs.set_weights(values)
    same(ours, theirs, x)
    mine, kept = {}, {}
    ours.save_own_variables(mine), theirs.save_own_variables(kept)
    assert list(mine) == list(kept)
    for key, value in kept.items():
        np.testing.assert_allclose(mine[key], value, atol=1e-5)
    again = type(ours).from_config(ours.get_config())
    again.build(shape)
    again.load_own_variables(mine)
    np.testing.assert_allclose(again(x), ours(x), atol=1e-5)


def test_lora_of_a_convolution_has_no_integers():
    layer = layers.Conv2D(2, 3, lora_rank=1)
    with pytest.raises(AttributeError, match="build the layer"):
        layer.kernel  # noqa: B018
    layer.build(IMAGE.shape)
    assert [w.name for w in layer.trainable_weights] == [
        "bias", "lora_kernel_a", "lora_kernel_b"
    ]  # fmt: skip
    with pytest.raises(NotImplementedError, match="Conv2D does not have a `quantize`"):
        layer.quantize("int8")
