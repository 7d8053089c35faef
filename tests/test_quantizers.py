import json

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import dtype_policies, quantizers

X = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")


@pytest.mark.parametrize("axis", [-1, 0, (0, 2), [1]])
@pytest.mark.parametrize("to_numpy", [True, False])
@pytest.mark.parametrize(
    "kwargs", [{}, {"value_range": (-8, 7), "epsilon": 0.1}, {"dtype": "int16"}]
)
def test_integers_and_scale_are_those_of_keras(axis, to_numpy, kwargs):
    given = (X, axis)
    ours = quantizers.abs_max_quantize(*given, **kwargs, to_numpy=to_numpy)
    theirs = keras.quantizers.abs_max_quantize(*given, **kwargs, to_numpy=to_numpy)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_keep_their_scale(dtype):
    q, scale = quantizers.AbsMaxQuantizer()(keras.ops.cast(X, dtype))
    expected, wide = keras.quantizers.AbsMaxQuantizer()(keras.ops.cast(X, dtype))
    assert (str(q.dtype), str(scale.dtype)) == ("int8", dtype)
    np.testing.assert_array_equal(q, expected)
    np.testing.assert_array_equal(scale, wide)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_types_in_numpy_are_those_of_keras(dtype):
    x = keras.ops.cast(X, dtype)
    for call in (
        lambda q: q.abs_max_quantize(x, axis=0, to_numpy=True),
        lambda q: q.abs_max_quantize_grouped_with_zero_point(
            x.reshape(-1, x.shape[-1]), 2, to_numpy=True
        ),
    ):
        for mine, theirs in zip(call(quantizers), call(keras.quantizers), strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


def test_zeros_stay_zeros():
    q, scale = quantizers.abs_max_quantize(np.zeros((2, 3), "float32"), -1)
    assert not np.any(q)
    assert np.all(np.isfinite(scale))


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("AbsMaxQuantizer", {}),
        ("AbsMaxQuantizer", {"axis": 0, "value_range": (-50, 50)}),
        ("Int8QuantizationConfig", {}),
        ("Int8QuantizationConfig", {"activation_quantizer": None}),
        ("Int4QuantizationConfig", {}),
        ("Int4QuantizationConfig", {"block_size": None}),
        ("Float8QuantizationConfig", {}),
    ],
)
def test_configs_are_those_of_keras(name, kwargs):
    ours = getattr(quantizers, name)(**kwargs)
    theirs = getattr(keras.quantizers, name)(**kwargs)
    config = quantizers.serialize(ours)
    expected = keras.saving.serialize_keras_object(theirs)
    assert json.loads(json.dumps(config)) == json.loads(json.dumps(expected))
    again = quantizers.deserialize(json.loads(json.dumps(expected)))
    assert type(again) is type(ours)
    assert quantizers.serialize(again) == config


def test_a_config_from_before_there_were_blocks_has_none():
    old = {"weight_quantizer": None, "activation_quantizer": None}
    assert quantizers.Int4QuantizationConfig.from_config(old).block_size is None


@pytest.mark.parametrize("block", [2, 3, 7])
@pytest.mark.parametrize("to_numpy", [True, False])
def test_groups_of_integers_are_those_of_keras(block, to_numpy):
    x = X[0] + 1.5
    x[:, 2] = 0
    name = "abs_max_quantize_grouped_with_zero_point"
    ours = getattr(quantizers, name)(x, block, to_numpy=to_numpy)
    theirs = getattr(keras.quantizers, name)(x, block, to_numpy=to_numpy)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_packed_integers_are_those_of_keras(axis, dtype):
    low = -8 if dtype == "int8" else 0
    x = np.arange(low, low + 15).reshape(3, 5).astype(dtype)
    packed, shape, length = quantizers.pack_int4(x, axis, dtype)
    expected, *rest = keras.quantizers.pack_int4(x, axis, dtype)
    assert (shape, length) == tuple(rest)
    assert packed.dtype == expected.dtype
    np.testing.assert_array_equal(packed, expected)
    again = jax.jit(lambda a: quantizers.unpack_int4(a, length, axis, dtype))(packed)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, x)


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("axis", [None, 2])
@pytest.mark.parametrize("bits", [4, 8])
def test_fake_quantization_is_that_of_keras(axis, narrow, bits):
    low, high = np.float32(-0.7), np.float32(1.2)
    if axis is not None:
        low, high = (v * np.arange(1, 6, dtype="float32") / 4 for v in (low, high))

    def grads(package):
        def total(x, low, high):
            y = package.quantizers.fake_quant_with_min_max_vars(
                x, low, high, num_bits=bits, narrow_range=narrow, axis=axis
            )
            return jnp.sum(y * jnp.cos(jnp.arange(y.size)).reshape(y.shape)), y

        return jax.grad(total, (0, 1, 2), has_aux=True)(jnp.asarray(X), low, high)

    (*found, y), (*expected, z) = grads(lamina), grads(keras)
    np.testing.assert_allclose(y, z, rtol=1e-6, atol=1e-6)
    for a, b in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert len(np.unique(y)) <= 2**bits * (1 if axis is None else 5)


def test_fake_quantization_of_any_axis_and_in_graphs():
    ends = np.array([-1.0, -0.5, -2.0], "float32"), np.array([1.0, 2.0, 0.5], "float32")
    fake = quantizers.fake_quant_with_min_max_vars
    y = fake(X, *ends, axis=0)
    for i in range(3):
        np.testing.assert_allclose(y[i], fake(X[i], ends[0][i], ends[1][i]), rtol=1e-6)
    x = lamina.Input((4, 5))
    model = lamina.Model(x, fake(x, -1.0, 1.0, num_bits=3))
    np.testing.assert_allclose(model(X), fake(X, -1.0, 1.0, num_bits=3), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_float8_is_that_of_keras(dtype):
    ours, theirs = quantizers, keras.quantizers
    x = jnp.asarray(X) * 300
    for compute in ("float32", "bfloat16"):
        args = x.astype(compute), jnp.float32(0.7), dtype, compute
        np.testing.assert_array_equal(
            ours.quantize_and_dequantize(*args), theirs.quantize_and_dequantize(*args)
        )
    for amax in (0.0, 3.0, np.inf):
        args = jnp.float32(amax), jnp.float32(0.7), jnp.float32(448), 1
        np.testing.assert_array_equal(
            ours.compute_float8_scale(*args), theirs.compute_float8_scale(*args)
        )
    history = jnp.arange(4.0)
    np.testing.assert_array_equal(
        ours.compute_float8_amax_history(x, history),
        theirs.compute_float8_amax_history(x, history),
    )


def test_names():
    for name in ("abs_max_quantizer", "AbsMaxQuantizer", quantizers.AbsMaxQuantizer):
        assert quantizers.get(name, axis=1).axis == (1,)
    quantizer = quantizers.Quantizer()
    assert quantizers.get(quantizer) is quantizer
    assert quantizers.get(None) is None
    assert quantizer(X) is X
    with pytest.raises(ValueError, match="typo"):
        quantizers.get("typo")


def test_bad_input():
    with pytest.raises(ValueError, match="value_range"):
        quantizers.AbsMaxQuantizer(axis=0, value_range=(-256, 256))
    with pytest.raises(ValueError, match="output_dtype"):
        quantizers.Int8QuantizationConfig(
            quantizers.AbsMaxQuantizer(0, output_dtype="int16")
        )
    with pytest.raises(ValueError, match="'int8' or 'uint8'"):
        quantizers.pack_int4(np.zeros(2, "int8"), dtype="int16")
    with pytest.raises(TypeError, match="`unpack_int4`.*float32"):
        quantizers.unpack_int4(np.zeros(2, "float32"), 2)
    with pytest.raises(NotImplementedError, match="mode"):
        _ = quantizers.QuantizationConfig().mode
    with pytest.raises(NotImplementedError, match="get_config"):
        quantizers.Quantizer().get_config()


@pytest.mark.parametrize("source", ["float32", "bfloat16", "mixed_bfloat16"])
def test_policies_are_those_of_keras(source):
    ours = dtype_policies.get(f"int8_from_{source}")
    theirs = keras.dtype_policies.get(f"int8_from_{source}")
    for name in ("name", "quantization_mode", "compute_dtype", "variable_dtype"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert repr(ours) == repr(theirs)
    config = dtype_policies.serialize(ours)
    assert config == keras.dtype_policies.serialize(theirs)
    assert dtype_policies.deserialize(config) == ours
    assert ours != dtype_policies.get(source)


@pytest.mark.parametrize(
    ("mode", "source", "message"),
    [
        ("int8", "float16", "float16"),
        ("int8", "mixed_float16", "float16"),
        ("int7", "float32", "Invalid quantization mode"),
    ],
)
def test_bad_policies(mode, source, message):
    with pytest.raises(ValueError, match=message):
        dtype_policies.QuantizedDTypePolicy(mode, source)
