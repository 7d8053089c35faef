import copy
import pickle

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import layers
from tests.layers.replaced import CASES, IDS, X3, X4, described, grads, pair, same

# Keras cannot quantize these.
ODD = [
    ("EinsumDense", {"equation": "...x,xy->...y", "output_shape": 3}, X3),
    ("EinsumDense", {"equation": "...x,xy->...y", "output_shape": 3,
                     "bias_axes": "y"}, X4),
    ("EinsumDense", {"equation": "abc,ebcd->aed", "output_shape": (2, 3)}, X3),
]  # fmt: skip
NAMES = [f"{name}-{kwargs.get('equation', '')}" for name, kwargs, _ in CASES]
cases = pytest.mark.parametrize(("name", "kwargs", "x"), CASES, ids=NAMES)


def lora(layer):
    layer.enable_lora(2, lora_alpha=3.0)


def int8(layer):
    layer.quantize("int8")


STEPS = [(lora,), (int8,), (lora, int8), (int8, lora)]


def rotated(count):
    """Give each case `count` of the steps, and each step as many cases."""
    some, ids = [], []
    for i, (case, name) in enumerate(zip(CASES, NAMES, strict=True)):
        for j in range(count):
            steps = STEPS[(i + 2 * j + i // len(STEPS)) % len(STEPS)]
            some.append((*case, steps))
            ids.append("-".join([*(s.__name__ for s in steps), name]))
    return pytest.mark.parametrize(("name", "kwargs", "x", "steps"), some, ids=ids)


@pytest.mark.parametrize(("name", "kwargs", "x"), ODD)
def test_lora_of_other_equations_is_that_of_keras(name, kwargs, x):
    ours, theirs = pair(name, kwargs, x, lora)
    assert described(ours) == described(theirs)
    mine, expected = grads(ours, x), grads(theirs, x)
    assert mine.keys() == expected.keys()
    for key in mine:
        np.testing.assert_allclose(
            mine[key], expected[key], rtol=2e-5, atol=2e-5, err_msg=key
        )


@rotated(2)
def test_weights_numbers_gradients_files_and_configs_are_those_of_keras(
    name, kwargs, x, steps
):
    ours, theirs = pair(name, kwargs, x, *steps)
    # Merging rounds floats that differ in the last bit: an integer may be the next.
    same(ours, theirs, x, off=1 if "lora" in str(steps) else 0)


def test_a_quantized_equation_with_dots_is_that_without():
    kwargs = {"output_shape": (None, 3), "bias_axes": "d"}
    ours, theirs = pair("EinsumDense", {"equation": "abc,cd->abd", **kwargs}, X3, int8)
    dots = layers.EinsumDense("...c,cd->...d", 3, bias_axes="d")
    dots.build(X3.shape)
    dots.set_weights([ours.kernel, ours.bias])
    dots.quantize("int8")
    assert dots.kernel_scale.shape == (1, 1, 3)
    np.testing.assert_allclose(dots(X3), theirs(X3), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dots(X3[0]), theirs(X3)[0], rtol=1e-4, atol=1e-4)
    trailing = layers.EinsumDense("ac...,cd->ad...", 3, bias_axes="d")
    swapped = X3.transpose(0, 2, 1)
    trailing.build(swapped.shape)
    trailing.set_weights([ours.kernel, ours.bias.value[:, None]])
    trailing.quantize("int8")
    expected = np.asarray(theirs(X3)).transpose(0, 2, 1)
    np.testing.assert_allclose(trailing(swapped), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [(int8,), (lora, int8)])
def test_a_quantized_sum_over_several_axes_is_near_that_of_floats(steps):
    layer = layers.EinsumDense("abc,ebcd->aed", (2, 3))
    layer.build(X3.shape)
    for step in steps:
        if layer.lora_enabled:
            layer.lora_kernel_b.assign(np.ones((2, 3)))
        before = layer(X3)
        step(layer)
    assert layer.kernel_scale.shape == (1, 2, 3)
    np.testing.assert_allclose(layer(X3), before, atol=0.05)


@cases
@pytest.mark.parametrize("dtype", ["int8_from_float32", "int8_from_mixed_bfloat16"])
def test_a_quantized_policy_makes_integers_at_once(name, kwargs, x, dtype):
    ours, theirs = pair(name, kwargs, x, dtype=dtype, lora_rank=2)
    assert described(ours) == described(theirs)
    y, expected = ours(x), theirs(x)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(
        np.asarray(y, "float32"), np.asarray(expected, "float32"), rtol=0.05, atol=0.05
    )


@rotated(1)
def test_a_copy_and_a_file_give_the_same_numbers(name, kwargs, x, steps, tmp_path):
    ours, _ = pair(name, kwargs, x, *steps)
    dtype = "int32" if x.dtype == "int32" else "float32"
    model = lamina.Sequential([lamina.Input(x.shape[1:], dtype=dtype), ours])
    model.save(tmp_path / "m.keras")
    # A file holds the integers with LoRA merged, rounded once more.
    lossy = 0.2 if len(steps) == 2 else 1e-5
    for other in (
        lamina.models.load_model(tmp_path / "m.keras"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        np.testing.assert_allclose(other(x), model(x), rtol=lossy, atol=lossy)
        layer = other.layers[-1]
        assert layer.lora_enabled == ours.lora_enabled
        if layer.lora_enabled:
            a, b, _ = layer._lora()
            assert not np.any(b.numpy())
            assert np.any(a.numpy())  # or it could never be trained again


def test_keras_reads_our_files_and_we_read_theirs(tmp_path):
    ours, theirs = pair("Dense", {"units": 3}, X3, int8)
    model = lamina.Sequential([lamina.Input(X3.shape[1:]), ours])
    model.save(tmp_path / "ours.keras")
    read = keras.saving.load_model(tmp_path / "ours.keras")
    np.testing.assert_allclose(read(X3), model(X3), rtol=1e-5, atol=1e-5)
    keras.Sequential([keras.Input(X3.shape[1:]), theirs]).save(tmp_path / "k.keras")
    read = lamina.models.load_model(tmp_path / "k.keras")
    np.testing.assert_allclose(read(X3), model(X3), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_scores_of_a_quantized_table_are_those_of_keras(tied):
    kwargs = {"input_dim": 5, "output_dim": 4, "tie_weights": tied}
    ours, theirs = pair("ReversibleEmbedding", kwargs, IDS, int8)
    np.testing.assert_allclose(
        ours(X3, reverse=True), theirs(X3, reverse=True), rtol=1e-5, atol=1e-5
    )
    ours, theirs = pair("ReversibleEmbedding", kwargs, IDS, lora)
    np.testing.assert_allclose(
        ours(X3, reverse=True), theirs(X3, reverse=True), rtol=1e-5, atol=1e-5
    )


def test_scores_count_lora_where_the_table_is_quantized_too():
    layer = layers.ReversibleEmbedding(5, 4, lora_rank=2)
    layer.build()
    layer.lora_embeddings_b.assign(np.ones((2, 4)))
    before = layer(X3, reverse=True)
    layer.quantize("int8")
    np.testing.assert_allclose(layer(X3, reverse=True), before, atol=0.1)


def test_a_number_outside_of_a_quantized_table_gives_nan():
    layer = layers.Embedding(5, 3)
    layer.build()
    layer.quantize("int8")
    assert np.isnan(layer(np.array([5]))).all()
    np.testing.assert_array_equal(layer(np.array([-1])), layer(np.array([4])))


@pytest.mark.parametrize("activation", ["default", None])
@pytest.mark.parametrize("name", ["Dense", "EinsumDense"])
def test_own_quantizers(name, activation):
    kwargs = {"units": 3}
    if name == "EinsumDense":
        kwargs = {"equation": "abc,cd->abd", "output_shape": (None, 3)}

    def step(layer):
        package = keras if isinstance(layer, keras.layers.Layer) else lamina
        weight = package.quantizers.AbsMaxQuantizer(axis=0, value_range=(-50, 50))
        config = package.quantizers.Int8QuantizationConfig(weight, activation)
        layer.quantize(config=config)

    ours, theirs = pair(name, kwargs, X3, step)
    np.testing.assert_allclose(ours(X3), theirs(X3), rtol=1e-5, atol=1e-5)
    assert (ours.inputs_quantizer is None) == (activation is None)
    again = type(ours).from_config(ours.get_config())
    assert again.quantization_config.weight_quantizer.value_range == (-50, 50)
    assert (again.quantization_config.activation_quantizer is None) == (
        activation is None
    )
    assert np.abs(ours._kernel.numpy()).max() == 50


def test_what_stands_for_a_kernel_reads_like_one():
    layer = layers.Dense(3)
    with pytest.raises(AttributeError, match="must build the layer"):
        _ = layer.kernel
    layer.build((None, 4))
    before = layer.kernel.numpy()
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones((2, 3)))
    change = layer.lora_kernel_a.numpy() @ np.ones((2, 3))
    np.testing.assert_allclose(layer.kernel, before + change, rtol=1e-5)
    layer.quantize("int8")
    kernel = layer.kernel
    assert (kernel.shape, kernel.ndim, kernel.size) == ((4, 3), 2, 12)
    assert kernel.dtype == "float32"
    np.testing.assert_allclose(kernel, before + change, atol=0.01)
    np.testing.assert_allclose((2 * kernel - 1)[0], 2 * kernel.numpy()[0] - 1)
    np.testing.assert_allclose(jnp.sum(kernel), kernel.numpy().sum(), rtol=1e-5)
    assert "int8, LoRA" in repr(kernel)


def test_training_changes_lora_alone():
    layer = layers.Dense(3, use_bias=False)
    model = lamina.Sequential([lamina.Input((4,)), layer])
    layer.enable_lora(2)
    kernel, a = layer._kernel.numpy(), layer.lora_kernel_a.numpy()
    model.compile("adam", "mse")
    x = np.ones((8, 4), "float32")
    model.fit(x, np.ones((8, 3)), epochs=3, verbose=0)
    np.testing.assert_array_equal(layer._kernel.numpy(), kernel)
    assert np.any(layer.lora_kernel_a.numpy() != a)
    assert np.any(layer.lora_kernel_b.numpy() != 0)
    before = model.predict(x, verbose=0)
    model.quantize("int8")
    after = model.predict(x, verbose=0)
    assert np.any(after != before)
    np.testing.assert_allclose(after, before, atol=0.05)


def test_what_lora_froze_stays_frozen():
    layer = layers.Dense(3, lora_rank=1)
    layer.build((None, 4))
    layer.trainable = False
    assert not layer.trainable_variables
    layer.trainable = True
    names = [v.name for v in layer.trainable_variables]
    assert names == ["bias", "lora_kernel_a", "lora_kernel_b"]
    assert layer.lora_kernel_a.path == f"{layer.path}/lora_kernel_a"


def test_more_weights_of_a_subclass_are_saved():
    class Scaled(layers.Dense):
        def build(self, input_shape):
            super().build(input_shape)
            self.factor = self.add_weight(name="factor", initializer="ones")

    layer = Scaled(2)
    layer.build((None, 3))
    layer.enable_lora(1)
    layer.quantize("int8", type_check=False)
    layer.factor.assign(3.0)
    store = {}
    layer.save_own_variables(store)
    assert [store[str(i)].shape for i in range(4)] == [(3, 2), (2,), (2,), ()]
    again = Scaled(2, dtype="int8_from_float32")
    again.build((None, 3))
    again.load_own_variables(store)
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(again(x), layer(x), rtol=1e-6)
    assert float(again.factor) == 3


def built(layer, shape=(None, 4)):
    layer.build(shape)
    return layer


def quantized():
    layer = built(layers.Dense(3))
    layer.quantize("int8")
    return layer


class Mine(layers.Dense):
    pass


def wrong_axis():
    weight = lamina.quantizers.AbsMaxQuantizer(axis=1)
    return lamina.quantizers.Int8QuantizationConfig(weight)


BAD = [
    (lambda: layers.Dense(3).enable_lora(2), ValueError, "isn't yet built"),
    (lambda: built(layers.Dense(3, lora_rank=2)).enable_lora(2), ValueError,
     "lora is already enabled"),
    (lambda: built(layers.Dense(3)).enable_lora(0), ValueError, "`rank`"),
    (lambda: layers.Dense(3, lora_rank=-1), ValueError, "`lora_rank`"),
    (lambda: built(layers.Dense(3, kernel_constraint="non_neg")).enable_lora(2),
     ValueError, "incompatible with kernel constraints"),
    (lambda: layers.Embedding(3, 2, embeddings_constraint="non_neg").enable_lora(2),
     ValueError, "incompatible with embedding constraints"),
    (lambda: layers.Dense(3).quantize("int8"), ValueError, "isn't yet built"),
    (lambda: layers.Dense(3).quantize("int7"), ValueError,
     "Invalid quantization mode"),
    (lambda: built(layers.Dense(3)).quantize(), ValueError, "`mode` or `config`"),
    (lambda: built(layers.Dense(3)).quantize("int8", config="int8"), ValueError,
     "`QuantizationConfig`"),
    (lambda: quantized().quantize("int8"), ValueError, "already quantized"),
    (lambda: built(Mine(3)).quantize("int8"), NotImplementedError, "type_check"),
    (lambda: built(layers.LayerNormalization()).quantize("int8"),
     NotImplementedError, "`quantize"),
    (lambda: built(layers.Dense(3, dtype="float16")).quantize("int8"), ValueError,
     "float16"),
    (lambda: built(layers.Dense(3)).quantize(config=wrong_axis()), ValueError,
     "one scale for each output"),
    (lambda: layers.Dense(3, dtype="int7_from_float32"), ValueError, "Cannot convert"),
    (lambda: layers.Dense(3).quantized_build((None, 4), "int7"), NotImplementedError,
     "Invalid quantization mode"),
    (lambda: built(layers.Dense(3)).quantized_call(X3), NotImplementedError,
     "Invalid quantization mode"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_refused_quantization_changes_nothing():
    layer = built(layers.Dense(3))
    before = described(layer)
    for mode, config in (("int8", wrong_axis()), ("gptq", None)):
        with pytest.raises(ValueError, match="one scale|`GPTQConfig`"):
            layer.quantize(mode, config=config)
    assert described(layer) == before
    assert layer.dtype_policy.name == "float32"
    assert layer.quantization_config is None
    layer.dtype_policy = "int8_from_float32"
    assert layer.quantization_mode == "int8"
    assert len(layer.variables) == 3


def network():
    inputs = lamina.Input((3,))
    x = layers.Dense(4, name="first")(inputs)
    x = layers.Dropout(0.1)(x)
    return lamina.Model(inputs, layers.Dense(2, name="last")(x))


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (None, {"first", "last"}),
        ("fir", {"first"}),
        (["^la", "nothing"], {"last"}),
        (lambda layer: layer.units == 2, {"last"}),
    ],
)
def test_a_model_quantizes_the_layers_that_are_meant(filters, names):
    model = network()
    model.quantize("int8", filters=filters)
    found = {layer.name for layer in model.layers if layer.quantization_mode}
    assert found == names


def test_a_model_says_which_layer_it_cannot_quantize():
    model = lamina.Sequential([lamina.Input((3,)), layers.LayerNormalization()])
    with pytest.warns(UserWarning, match="LayerNormalization"):
        model.quantize("int8")


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"mode": "abc"}, ValueError, "Invalid quantization mode"),
        ({}, ValueError, "`mode` or `config`"),
        ({"mode": "int8", "more": 1}, ValueError, "Unrecognized keyword"),
        ({"mode": "int8", "filters": 3}, ValueError, "`filters`"),
        ({"mode": "gptq"}, ValueError, "`GPTQConfig`"),
    ],
)
def test_bad_input_of_a_model(kwargs, error, message):
    with pytest.raises(error, match=message):
        network().quantize(**kwargs)
    with pytest.raises(ValueError, match="isn't yet built"):
        lamina.Sequential([layers.Dense(2)]).quantize("int8")


def test_projections_of_attention_are_quantized():
    layer = layers.MultiHeadAttention(2, 4)
    inputs = lamina.Input((5, 8))
    model = lamina.Model(inputs, layer(inputs, inputs))
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
    before = model(x)
    model.quantize("int8")
    assert [v.dtype for v in model.weights].count("int8") == 4
    np.testing.assert_allclose(model(x), before, atol=0.05)


@pytest.mark.parametrize("m", [lamina, keras], ids=["lamina", "keras"])
def test_a_subclass_hears_of_quantization(m):
    heard = []

    class Own(m.Sequential):
        def _post_quantize(self, mode, **kwargs):
            super()._post_quantize(mode, **kwargs)
            heard.append((mode, self.layers[0].dtype_policy.name))

    Own([m.Input((3,)), m.layers.Dense(2)]).quantize("int8")
    assert heard == [("int8", "int8_from_float32")]
