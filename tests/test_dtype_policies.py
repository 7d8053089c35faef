import copy
import json
import pickle

import keras
import pytest

import lamina
from lamina import dtype_policies, layers

NAMES = [
    "float32",
    "mixed_bfloat16",
    "int8_from_float32",
    "int4_from_float16",
    "int4/128_from_mixed_bfloat16",
    "int4/-1_from_float32",
    "float8_from_mixed_float16",
    "gptq/3/64_from_float32",
    "awq/4/-1_from_bfloat16",
]
PROPERTIES = ("name", "compute_dtype", "variable_dtype", "quantization_mode")


@pytest.fixture(autouse=True)
def policy_of_before():
    yield
    lamina.config.set_dtype_policy("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_means_what_it_means_in_keras(name):
    ours, theirs = dtype_policies.get(name), keras.dtype_policies.get(name)
    assert type(ours).__name__ == type(theirs).__name__
    assert repr(ours) == repr(theirs)
    for attribute in PROPERTIES:
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    for number in ("block_size", "group_size", "weight_bits", "amax_history_length"):
        assert getattr(ours, number, None) == getattr(theirs, number, None)


@pytest.mark.parametrize("name", NAMES)
def test_configs_go_both_ways(name):
    ours, theirs = dtype_policies.get(name), keras.dtype_policies.get(name)
    config = json.loads(json.dumps(dtype_policies.serialize(ours)))
    assert config == keras.dtype_policies.serialize(theirs)
    assert dtype_policies.get(config) == ours
    assert keras.dtype_policies.get(config) == theirs
    for again in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert again == ours
        assert hash(again) == hash(ours)


def test_policies_differ_by_kind_and_by_arguments():
    policies = [dtype_policies.get(name) for name in NAMES]
    policies.append(dtype_policies.QuantizedDTypePolicy("float8", "mixed_float16"))
    policies.append(
        dtype_policies.QuantizedFloat8DTypePolicy("float8", "mixed_float16", 16)
    )
    for i, a in enumerate(policies):
        assert [a == b for b in policies].index(True) == i
        assert [a == b for b in policies].count(True) == 1
    old = dtype_policies.FloatDTypePolicy("float32")
    assert old == policies[0] == old
    assert policies[0] != "float32"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("int8_from_float16", "doesn't work well with float16"),
        ("int8_from_", "Cannot convert ''"),
        ("int8_float32", "Cannot convert `policy` into a valid pair"),
        ("int7_from_float32", "Cannot convert 'int7_from_float32'"),
        ("int8/3_from_float32", "Invalid quantization mode.*mode=int8/3"),
        ("int4/0_from_float32", "Invalid block_size.*'int4/0'"),
        ("int4/x_from_float32", "Expected 'int4/<block_size>' with integers"),
        ("gptq_from_float32", "Expected 'gptq/<weight_bits>/<group_size>'"),
        ("gptq/5/64_from_float32", "only supports 2-bit, 3-bit, 4-bit, 8-bit"),
        ("gptq/4/-2_from_float32", "Invalid group_size.*'gptq/4/-2'"),
        ("awq/8/64_from_float32", "only supports 4-bit weights"),
    ],
)
def test_bad_names_are_explained(name, message):
    with pytest.raises(ValueError, match=message):
        dtype_policies.get(name)
    with pytest.raises(ValueError):
        keras.dtype_policies.get(name)


@pytest.mark.parametrize("mode", ["gptq/4/64", "int4", None, 4])
def test_a_class_refuses_modes_of_others(mode):
    with pytest.raises(ValueError, match=f"AWQDTypePolicy.*mode={mode!r}"):
        dtype_policies.AWQDTypePolicy(mode)


@pytest.mark.parametrize("policy", [None, 12345, ["float32"]])
def test_the_global_policy_must_be_one(policy):
    with pytest.raises(ValueError, match="Invalid `policy` argument"):
        lamina.config.set_dtype_policy(policy)


def test_a_quantized_global_policy_gives_its_source():
    lamina.config.set_dtype_policy("int8_from_mixed_bfloat16")
    policy = dtype_policies.QuantizedDTypePolicy("int4")
    assert policy.name == "int4_from_mixed_bfloat16"


@pytest.mark.parametrize("mode", ["float8", "gptq/3/64", "awq/4/-1"])
def test_layers_refuse_what_they_cannot_compute(mode):
    layer = layers.Embedding(3, 2, dtype=f"{mode}_from_float32")
    with pytest.raises(NotImplementedError, match="Expected one of .*int8.*Embedding"):
        layer.build()


def maps(library, default):
    policies = library.dtype_policies.DTypePolicyMap(default)
    policies["a/dense"] = library.dtype_policies.get("mixed_bfloat16")
    policies["b/dense"] = library.dtype_policies.get("int8_from_mixed_bfloat16")
    return policies


@pytest.mark.parametrize("default", [None, "bfloat16"])
def test_maps_write_what_keras_writes(default):
    ours, theirs = maps(lamina, default), maps(keras, default)
    config = json.loads(json.dumps(dtype_policies.serialize(ours)))
    assert config == keras.dtype_policies.serialize(theirs)
    for library in (lamina, keras):
        library.config.set_dtype_policy("float32")
    again = dtype_policies.deserialize(config)
    expected = keras.dtype_policies.deserialize(config)
    for path in ("a/dense", "b/dense", "c"):
        assert again[path].name == expected[path].name
    assert "mapping=[('a/dense', 'mixed_bfloat16')" in repr(ours)
    assert ours["a/dense"].name == "mixed_bfloat16"  # writing changes nothing


def test_a_map_takes_names_and_refuses_the_rest():
    policies = dtype_policies.DTypePolicyMap(policy_map={"a": "bfloat16"})
    assert policies["a"] == dtype_policies.DTypePolicy("bfloat16")
    with pytest.raises(TypeError, match="`policy_map` must be a dict.*=123"):
        dtype_policies.DTypePolicyMap(policy_map=123)
    with pytest.raises(ValueError, match="Cannot interpret the assigned value"):
        policies["b"] = 3
