"""`mixed_precision`, `preprocessing`, `legacy`, and what is left out."""

import sys

import jax.numpy as jnp
import keras
import numpy as np
import pytest
from jax.experimental import sparse

import lamina
from lamina import layers, legacy, mixed_precision, preprocessing, quantizers

SPARSE = sparse.BCOO.fromdense(jnp.eye(3))


def test_mixed_precision_is_the_policy_of_the_day():
    try:
        mixed_precision.set_global_policy("mixed_bfloat16")
        assert layers.Dense(2).compute_dtype == "bfloat16"
        assert mixed_precision.global_policy() == mixed_precision.dtype_policy()
    finally:
        mixed_precision.set_dtype_policy("float32")
    assert mixed_precision.Policy is lamina.DTypePolicy
    assert mixed_precision.LossScaleOptimizer is lamina.optimizers.LossScaleOptimizer


def test_preprocessing_has_the_names_of_keras():
    for space in ("image", "sequence"):
        theirs = dir(getattr(keras.preprocessing, space))
        names = {n for n in theirs if not n.startswith("_")}
        assert names == set(getattr(preprocessing, space).__all__)
    for name in set(preprocessing.__all__) - {"image", "sequence"}:
        assert getattr(preprocessing, name) is getattr(lamina.utils, name)
    with pytest.raises(AttributeError, match="no attribute 'videos'"):
        _ = preprocessing.videos


@pytest.mark.parametrize(
    ("shape", "size", "kwargs"),
    [
        ((9, 6, 3), (4, 4), {}),
        ((2, 5, 8, 1), (3, 6), {"interpolation": "nearest"}),
        ((3, 7, 10), (6, 2), {"data_format": "channels_first"}),
        ((4, 4, 3), (9, 5), {"interpolation": "bicubic", "backend_module": None}),
    ],
)
def test_smart_resize_is_that_of_keras(shape, size, kwargs):
    x = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    ours = preprocessing.image.smart_resize(x, size, **kwargs)
    theirs = keras.preprocessing.image.smart_resize(x, size, **kwargs)
    assert isinstance(ours, np.ndarray)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_smart_resize_explains_bad_arguments():
    x = np.zeros((4, 4, 3))
    with pytest.raises(ValueError, match="Received: size=\\(2,\\)"):
        preprocessing.image.smart_resize(x, (2,))
    with pytest.raises(ValueError, match="unknown arguments: \\['antialias'\\]"):
        preprocessing.image.smart_resize(x, (2, 2), antialias=True)


def test_legacy_configs_come_back():
    saving = legacy.saving
    layer = layers.Dense(3, "relu", name="d")
    config = saving.serialize_keras_object(layer)
    assert config["class_name"] == "Dense"
    # As Keras 2 wrote them, the config tells no module.
    again = saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()
    known = {"Mine": layers.Dense, "double": np.positive}
    mine = {"class_name": "Mine", "config": {"units": 2}}
    assert saving.deserialize_keras_object(mine, custom_objects=known).units == 2
    assert saving.deserialize_keras_object(mine, module_objects=known).units == 2
    assert saving.deserialize_keras_object("double", known) is np.positive
    assert saving.serialize_keras_object(lamina.activations.relu) == "relu"
    assert saving.serialize_keras_object(None) is None
    assert saving.deserialize_keras_object(None) is None
    assert lamina.utils.legacy.deserialize_keras_object is (
        saving.deserialize_keras_object
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a": 3}, "`class_name` and `config`"),
        (3, "Could not interpret the thing"),
        ("absent", "Unknown thing: 'absent'"),
    ],
)
def test_legacy_configs_that_are_none(config, message):
    with pytest.raises(ValueError, match=message):
        legacy.saving.deserialize_keras_object(config, printable_module_name="thing")
    with pytest.raises(ValueError, match="with `get_config\\(\\)`"):
        legacy.saving.serialize_keras_object(3)


@pytest.mark.parametrize(
    ("make", "module"),
    [
        (lambda: layers.TFSMLayer("model"), "tensorflow"),
        (lambda: layers.TorchModuleWrapper(None), "torch"),
    ],
)
def test_layers_around_other_engines_say_what_to_install(make, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"pip install {module}. .*JaxLayer"):
        make()


def model():
    made = lamina.Sequential([layers.Dense(2)])
    made.compile("sgd", "mse")
    return made


class RaggedTensor:
    """Stands for that of TensorFlow, known by its name."""

    def numpy(self):
        return np.array([[1.0], [2.0, 3.0]], dtype=object)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: lamina.ops.convert_to_tensor(x),
        lambda x: lamina.ops.add(x, 1.0),
        lambda x: lamina.ops.cast(x, "float16"),
        lambda x: layers.Dense(2)(x),
        lambda x: model().predict(x, verbose=0),
        lambda x: model().fit(x, np.ones((3, 2)), verbose=0),
    ],
)
@pytest.mark.parametrize("x", [SPARSE, RaggedTensor()], ids=["sparse", "ragged"])
def test_sparse_and_ragged_tensors_are_refused(call, x):
    with pytest.raises(ValueError, match="not supported.*dense"):
        call(x)


@pytest.mark.parametrize(
    "call",
    [
        lambda: lamina.ops.convert_to_tensor([1], sparse=True),
        lambda: lamina.ops.convert_to_tensor([1], ragged=True),
        lambda: lamina.ops.one_hot([1], 2, sparse=True),
        lambda: lamina.ops.multi_hot([1], 2, sparse=True),
        lambda: lamina.ops.bincount([1], sparse=True),
        lambda: lamina.Input((2,), sparse=True),
        lambda: lamina.KerasTensor((2,), ragged=True),
    ],
)
def test_sparse_results_are_refused_with_the_alternative(call):
    with pytest.raises(ValueError, match="mask"):
        call()


CONFIGS = [
    ("GPTQConfig", {"weight_bits": 3, "group_size": -1}, "gptq/3/-1"),
    ("AWQConfig", {"group_size": 64, "num_grid_points": 5}, "awq/4/64"),
]


@pytest.mark.parametrize(("name", "kwargs", "policy"), CONFIGS)
def test_configs_of_modes_that_are_fitted_to_data(name, kwargs, policy):
    ours = getattr(quantizers, name)("text", None, **kwargs)
    theirs = getattr(keras.quantizers, name)("text", None, **kwargs)
    assert ours.get_config() == theirs.get_config()
    assert ours.dtype_policy_string() == policy == theirs.dtype_policy_string()
    again = type(ours).from_config(ours.get_config())
    assert again.get_config() == ours.get_config()
    with pytest.raises(ValueError, match="No sequential blocks found"):
        made = lamina.Sequential([lamina.Input((3,)), layers.Dense(2)])
        made.quantize(config=ours)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("GPTQConfig", {"weight_bits": 5}, "Unsupported weight_bits"),
        ("GPTQConfig", {"num_samples": -10}, "num_samples must be a positive"),
        ("GPTQConfig", {"sequence_length": 0}, "sequence_length must be a positive"),
        ("GPTQConfig", {"hessian_damping": 1.5}, "between 0 and 1"),
        ("GPTQConfig", {"group_size": 0}, "Invalid group_size"),
        ("AWQConfig", {"weight_bits": 8}, "only supports 4-bit"),
        ("AWQConfig", {"num_grid_points": 0}, "num_grid_points must be a positive"),
    ],
)
def test_configs_check_their_arguments(name, kwargs, message):
    for library in (quantizers, keras.quantizers):
        with pytest.raises(ValueError, match=message.replace("Unsupported w", "w")):
            getattr(library, name)(None, None, **kwargs)


def test_normalize_keeps_the_shape():
    x = np.array([[3.0, 0.0], [4.0, 0.0]])
    for axis, expected in (
        (0, [[0.6, 0.0], [0.8, 0.0]]),
        (1, [[1.0, 0.0], [1.0, 0.0]]),
        (None, x / 5),
    ):
        np.testing.assert_allclose(lamina.utils.normalize(x, axis), expected)
    assert lamina.utils.normalize(x[:, 0], axis=None).tolist() == [0.6, 0.8]
