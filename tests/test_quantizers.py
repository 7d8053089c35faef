import json

import keras
import numpy as np
import pytest

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
