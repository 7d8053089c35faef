"""Modes besides int8: numbers, gradients and files both ways with Keras."""

import contextlib
import copy
import json

import jax.numpy as jnp
import keras
import keras.src.quantizers.awq_core as keras_awq
import keras.src.quantizers.gptq as keras_gptq_matrix
import keras.src.quantizers.gptq_core as keras_gptq
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.quantizers import fitting
from tests.layers.replaced import CASES, IDS, X3, described, pair, same

KERNELS = [c for c in CASES if "Embedding" not in c[0]]
SOURCES = ("float32", "mixed_bfloat16")


def package_of(layer):
    return keras if isinstance(layer, keras.layers.Layer) else lamina


def int4(block):
    def step(layer):
        config = package_of(layer).quantizers.Int4QuantizationConfig(block_size=block)
        layer.quantize("int4", config=config)

    return step


def lora(layer):
    layer.enable_lora(2, lora_alpha=3.0)


def float8(layer):
    layer.quantize("float8")


# 3 leaves a group that is not full, 128 is more than there are inputs.
BLOCKS = (None, 2, 3, 128)


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("number", range(len(CASES)))
def test_int4_is_that_of_keras(number, turn):
    name, kwargs, x = CASES[number]
    block = BLOCKS[(number + turn) % len(BLOCKS)]
    same(*pair(name, kwargs, x, int4(block)), x)


@pytest.mark.parametrize("block", [None, 2])
@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[5]])
@pytest.mark.parametrize("first", [True, False])
def test_lora_of_int4_is_that_of_keras(case, block, first):
    name, kwargs, x = case
    steps = (lora, int4(block)) if first else (int4(block), lora)
    ours, theirs = pair(name, kwargs, x, *steps)
    assert described(ours) == described(theirs)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=2e-5, atol=2e-5)
    # A file holds the merged kernel, rounded to 4 bits once more.
    merged = []
    for layer in (ours, theirs):
        store = {}
        layer.save_own_variables(store)
        plain = getattr(layers, name)(**kwargs, dtype=ours.dtype_policy)
        plain.build(x.shape)
        plain.load_own_variables(store)
        merged.append(getattr(plain, plain._main).numpy())
    np.testing.assert_allclose(*merged, rtol=1e-5, atol=1e-5)
    if block is None:
        found = getattr(ours, ours._main).numpy()
        np.testing.assert_allclose(merged[0], found, atol=np.abs(found).max() / 13)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["int4_from_float32", "int4/2_from_mixed_bfloat16"])
def test_an_int4_policy_makes_integers_at_once(case, dtype):
    name, kwargs, x = case
    ours, theirs = pair(name, kwargs, x, dtype=dtype)
    assert described(ours) == described(theirs)
    y, expected = ours(x), theirs(x)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(
        np.asarray(y, "float32"), np.asarray(expected, "float32"), rtol=0.03, atol=0.03
    )


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("block", [None, 2])
def test_scores_of_a_table_of_int4_are_those_of_keras(tied, block):
    kwargs = {"input_dim": 5, "output_dim": 4, "tie_weights": tied}
    ours, theirs = pair("ReversibleEmbedding", kwargs, IDS, int4(block))
    for given, more in ((IDS, {}), (X3, {"reverse": True})):
        np.testing.assert_allclose(
            ours(given, **more), theirs(given, **more), rtol=1e-5, atol=1e-5
        )
    ours, theirs = pair("ReversibleEmbedding", kwargs, IDS, dtype="int4_from_float32")
    assert ours.inputs_quantizer is not None
    np.testing.assert_allclose(
        ours(X3, reverse=True), theirs(X3, reverse=True), rtol=1e-5, atol=1e-5
    )


def test_a_number_outside_of_a_table_of_int4_gives_nan():
    for block in (None, 2):
        layer = layers.Embedding(5, 3)
        layer.build()
        int4(block)(layer)
        assert np.isnan(layer(np.array([5]))).all()
        np.testing.assert_array_equal(layer(np.array([-1])), layer(np.array([4])))


@pytest.mark.parametrize("name", ["Dense", "EinsumDense"])
def test_quantizers_of_your_own_for_int4(name):
    kwargs = {"units": 3}
    if name == "EinsumDense":
        kwargs = {"equation": "abc,cd->abd", "output_shape": (None, 3)}

    def step(layer):
        quantizers = package_of(layer).quantizers
        weight = quantizers.AbsMaxQuantizer(axis=0, value_range=(-8, 7))
        inputs = quantizers.AbsMaxQuantizer(axis=-1)
        config = quantizers.Int4QuantizationConfig(weight, inputs, block_size=None)
        layer.quantize(config=config)

    same(*pair(name, kwargs, X3, step), X3)


@pytest.mark.parametrize("case", KERNELS)
@pytest.mark.parametrize("source", SOURCES)
def test_float8_is_that_of_keras(case, source):
    name, kwargs, x = case
    ours, theirs = pair(name, kwargs, x, float8, dtype=source)
    random = np.random.default_rng(3)
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        if a.overwrite_with_gradient:
            value = random.uniform(0.5, 2, a.shape)
            a.assign(value)
            b.assign(value)
    if source == "float32":
        same(ours, theirs, x, training=True)
    y, expected = ours(x), theirs(x)
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(
        np.asarray(y, "float32"), np.asarray(expected, "float32"), rtol=2e-2, atol=2e-2
    )


def test_training_in_float8_is_that_of_keras(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 8)).astype("float32")
    y = x @ random.normal(size=(8, 3)).astype("float32")
    found = []
    for package in (lamina, keras):
        kernel = {"kernel_initializer": "ones", "activation": "tanh"}
        policy = package.dtype_policies.QuantizedFloat8DTypePolicy(
            "float8", "float32", 4
        )
        model = package.Sequential(
            [
                package.Input((8,)),
                package.layers.Dense(6, **kernel, dtype=policy),
                package.layers.EinsumDense("ab,bc->ac", 3, kernel_initializer="ones"),
            ]
        )
        model.layers[-1].quantize("float8")
        model.compile(package.optimizers.AdamW(0.1, clipnorm=1.0), "mse")
        model.fit(x, y, batch_size=8, epochs=4, shuffle=False, verbose=0)
        found.append(model)
    ours, theirs = found
    assert ours.layers[0].inputs_amax_history.shape == (4,)
    assert float(ours.layers[0].inputs_scale) != 1
    paths = [w.path.partition("/")[2] for w in theirs.weights]
    assert [w.path.partition("/")[2] for w in ours.weights] == paths
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), 2e-4, 2e-5, err_msg=a.path)
    ours.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again(x), ours(x), rtol=1e-5, atol=1e-5)


# ---- files -------------------------------------------------------------------------


def network(package):
    ids = package.Input((5,), dtype="int32")
    x = package.layers.Embedding(7, 6)(ids)
    x = package.layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de")(x)
    x = package.layers.EinsumDense("abde,dec->abc", (None, 4))(x)
    model = package.Model(ids, package.layers.Dense(3)(x))
    random = np.random.default_rng(5)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    return model


def fitted(package, mode, **kwargs):
    """Return a model whose block was fitted to data, and that block's layers."""
    model = network(package)
    config = getattr(package.quantizers, f"{mode.upper()}Config")
    block = package.Sequential([package.Input((5, 6)), *model.layers[2:4]])
    blocks = {"pre_block_layers": [model.layers[1]], "sequential_blocks": [block]}
    config = config(
        [np.arange(50) % 7], "none is needed", num_samples=3, sequence_length=5,
        quantization_layer_structure=blocks, **{"group_size": 4, **kwargs},
    )  # fmt: skip
    with observed(), as_published():
        model.quantize(mode, config=config, filters=lambda x: x in model.layers[2:4])
        config.quantization_layer_structure = None
    return model


@contextlib.contextmanager
def observed():
    """Let Keras see the data: its hooks are on a method that is not run."""
    olds = keras_gptq.stream_hessians, keras_awq.stream_activations

    @contextlib.contextmanager
    def stream(layers_map, methods):
        def hook(name, old):
            method = methods[name]

            def run(x, *args, **kwargs):
                observe = getattr(method, "update_hessian_with_batch", None)
                observe = observe or method.update_activation_magnitudes
                observe(keras.ops.reshape(x, (-1, method.rows)))
                return old(x, *args, **kwargs)

            return run

        for name, layer in layers_map.items():
            layer.quantized_call = hook(name, layer.quantized_call)
        yield
        for layer in layers_map.values():
            del layer.quantized_call

    keras_gptq.stream_hessians = keras_awq.stream_activations = stream
    keras_gptq.hash = lambda x: 0  # its samples hang on a hash that changes each time
    try:
        yield
    finally:
        keras_gptq.stream_hessians, keras_awq.stream_activations = olds
        del keras_gptq.hash


@contextlib.contextmanager
def as_published():
    """Let Keras correct errors with a root of the inverse, not with the inverse."""
    old = keras_gptq_matrix.gptq_quantize_matrix

    def fit(weights, inv_hessian, order_metric, activation_order=False, **kwargs):
        order = np.arange(len(order_metric))
        if activation_order:
            order = np.argsort(-np.asarray(order_metric), kind="stable")
        inverse = np.asarray(inv_hessian, "float64")[np.ix_(order, order)]
        root = np.linalg.cholesky(inverse).T.astype("float32")
        q, scale, zero, groups = old(weights[:, order], jnp.asarray(root), **kwargs)
        back = np.argsort(order)
        return q[:, back], scale, zero, groups[back]

    keras_gptq_matrix.gptq_quantize_matrix = fit
    try:
        yield
    finally:
        keras_gptq_matrix.gptq_quantize_matrix = old


def quantized(package, mode):
    if mode in ("gptq", "awq"):
        return fitted(package, mode)
    model = network(package)
    kwargs = {"block_size": 4} if mode == "int4" else {}
    config = getattr(package.quantizers, f"{mode.capitalize()}QuantizationConfig")
    model.quantize(config=config(**kwargs))
    return model


@pytest.mark.filterwarnings("ignore:.*quantiz")
@pytest.mark.parametrize("mode", ["int4", "float8", "gptq", "awq"])
def test_files_are_read_both_ways(mode, tmp_path):
    ours, theirs = (quantized(package, mode) for package in (lamina, keras))
    expected = theirs.predict(IDS_OF_5, verbose=0)
    np.testing.assert_allclose(
        ours.predict(IDS_OF_5, verbose=0), expected, rtol=2e-5, atol=2e-5
    )
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    reads = keras.saving.load_model(tmp_path / "ours.keras")
    models = [
        reads,
        lamina.models.load_model(tmp_path / "ours.keras"),
        copy.deepcopy(ours),
    ]
    read = models[1]
    if mode in ("int4", "float8"):
        read = lamina.models.load_model(tmp_path / "theirs.keras")
        models.append(read)
    else:  # Keras forgets the zero points, and cannot read its own file
        with pytest.raises(ValueError, match="leaves zero points out"):
            lamina.models.load_model(tmp_path / "theirs.keras")
    for model in models:
        np.testing.assert_allclose(model(IDS_OF_5), expected, rtol=2e-5, atol=2e-5)
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    source = "theirs" if mode in ("int4", "float8") else "ours"
    for model, name in ((reads, "ours"), (read, source)):
        model.set_weights([np.ones_like(w) for w in model.get_weights()])
        model.load_weights(tmp_path / f"{name}.weights.h5")
        np.testing.assert_allclose(model(IDS_OF_5), expected, rtol=2e-5, atol=2e-5)


IDS_OF_5 = np.random.default_rng(2).integers(0, 7, (2, 5))


# ---- fitted to data -----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*quantiz")
@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_attention_that_was_quantized_is_in_files_and_copies(mode, tmp_path):
    """Keras reads the files, too; its own, it cannot read."""
    x = layers.Input((5, 4))
    y = layers.MultiHeadAttention(2, 8, name="a+b")(x, x)
    y = layers.GroupQueryAttention(4, 4, 2, dtype="mixed_bfloat16")(y, y)
    model = lamina.Model(x, y)
    model.quantize(mode)
    wanted = model.predict(X3, verbose=0)
    model.save(tmp_path / "m.keras")
    for package in (lamina, keras):
        again = package.models.load_model(tmp_path / "m.keras")
        found = again.predict(X3, verbose=0)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    found = copy.deepcopy(model).predict(X3, verbose=0)
    np.testing.assert_array_equal(found, wanted)
    layer = lamina.layers.deserialize(lamina.layers.serialize(model.layers[1]))
    assert layer.get_config() == model.layers[1].get_config()


@pytest.mark.filterwarnings("ignore:.*quantiz")
@pytest.mark.parametrize(
    ("mode", "kwargs"),
    [
        ("gptq", {}),
        ("gptq", {"weight_bits": 3, "group_size": -1}),
        ("gptq", {"weight_bits": 8, "group_size": 2, "activation_order": True}),
        ("gptq", {"weight_bits": 2, "symmetric": True}),
        ("gptq", {"group_size": 128, "per_channel": False}),
        ("awq", {"num_grid_points": 5}),
        ("awq", {"group_size": -1}),
    ],
)
def test_fitted_integers_are_those_of_keras(mode, kwargs):
    ours, theirs = (fitted(package, mode, **kwargs) for package in (lamina, keras))
    for mine, other in zip(ours.layers[2:4], theirs.layers[2:4], strict=True):
        assert described(mine) == described(other)
        assert getattr(mine, f"is_{mode}_calibrated")
        config, expected = mine.get_config(), other.get_config()
        for one in (config, expected):
            del one["name"]
        assert json.loads(json.dumps(config)) == json.loads(json.dumps(expected))
        for a, b in zip(mine.weights, other.weights, strict=True):
            # Keras keeps thirds and halves of numbers of groups.
            value = np.floor(b.numpy()) if a.name == "g_idx" else b.numpy()
            np.testing.assert_allclose(a.numpy(), value, 1e-5, err_msg=a.path)
    np.testing.assert_allclose(ours(IDS_OF_5), theirs(IDS_OF_5), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("order", [False, True])
def test_errors_pass_from_block_to_block_as_in_keras(order):
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 300)).astype("float32")
    settings = {"group_size": 64, "activation_order": order}
    theirs = keras.layers.Dense(5, use_bias=False)
    theirs.build((None, 300))
    config = keras.quantizers.GPTQConfig(None, None, **settings)
    theirs.quantize("gptq", config=config)
    method = keras_gptq.GPTQ(theirs, config)
    ours = lamina.quantizers.GPTQConfig(None, None, **settings)
    ours = fitting.GPTQ(300, ours)
    for part in (x[:150], x[150:]):
        method.update_hessian_with_batch(part)
        ours.observe(part)
    kernel = theirs._kernel.numpy()
    with as_published():
        method.quantize_and_correct_layer()
    integers, scale, zero, _ = ours.fit(kernel)
    expected = keras.quantizers.unpack_int4(theirs.quantized_kernel, 5, 0, "uint8")
    # Sums of blocks are added in another order: an integer here and there is the next.
    off = np.abs(integers.astype(int) - np.asarray(expected))
    assert off.max() <= 1
    assert off.mean() < 0.005
    np.testing.assert_allclose(scale, theirs.kernel_scale, rtol=1e-3)
    np.testing.assert_allclose(zero, theirs.kernel_zero, atol=1)


def test_fitting_beats_rounding():
    """Outputs on the data differ less than those of the nearest integers."""
    random = np.random.default_rng(1)
    x = (random.normal(size=(200, 8)) @ random.normal(size=(8, 24))).astype("float32")
    kernel = random.normal(size=(24, 10)).astype("float32")
    config = lamina.quantizers.GPTQConfig(None, None, weight_bits=3, group_size=-1)
    fits = fitting.GPTQ(24, config)
    nearest = fits.fit(kernel)
    fits.observe(x)

    def error(q, scale, zero, groups):
        again = (q - np.asarray(zero, "float32")) * np.asarray(scale)
        return np.square(x @ again.T - x @ kernel).mean()

    assert error(*fits.fit(kernel)) < 0.5 * error(*nearest)


def test_fitting_is_the_published_method():
    """One column after the other, each time with the inverse of what is left."""
    random = np.random.default_rng(2)
    x = (random.normal(size=(40, 6)) @ random.normal(size=(6, 12))).astype("float32")
    w = random.normal(size=(12, 3)).astype("float32")
    fits = fitting.GPTQ(12, lamina.quantizers.GPTQConfig(None, None, group_size=-1))
    fits.observe(x)
    q, scale, zero, _ = fits.fit(w)
    scale, zero = np.asarray(scale)[:, 0], np.asarray(zero, "float64")[:, 0]
    hessian = 2 * x.T.astype("float64") @ x / 40
    hessian += 0.01 * np.diag(hessian).mean() * np.eye(12)
    left = w.astype("float64")
    for j in range(12):
        found = np.clip(np.round(left[j] / scale + zero), 0, 15)
        np.testing.assert_array_equal(q[:, j], found)
        inverse = np.linalg.inv(hessian[j:, j:])
        error = (left[j] - scale * (found - zero)) / inverse[0, 0]
        left[j:] -= np.outer(inverse[0], error)


def test_data_that_cannot_be_fitted_say_so():
    config = lamina.quantizers.GPTQConfig(None, None, hessian_damping=0)
    fits = fitting.GPTQ(3, config)
    fits.observe(np.ones((5, 3), "float32"))
    with pytest.raises(ValueError, match="hessian_damping"):
        fits.fit(np.ones((3, 2), "float32"))


def test_texts_are_joined_and_cut():
    class Letters:
        def tokenize(self, text):
            return [ord(c) - ord("a") for c in text]

    config = lamina.quantizers.AWQConfig(
        ["abc", "de"], Letters(), num_samples=3, sequence_length=4
    )
    assert fitting.windows(config).tolist() == [
        [0, 1, 2, 3], [4, 0, 1, 2], [3, 4, 0, 1]
    ]  # fmt: skip


# ---- bad input ----------------------------------------------------------------------


def dense(*steps, **kwargs):
    layer = layers.Dense(3, **kwargs)
    layer.build((None, 4))
    for step in steps:
        step(layer)
    return layer


def gptq(data=None, **kwargs):
    return lamina.quantizers.GPTQConfig(data, None, group_size=4, **kwargs)


def model(config):
    made = lamina.Sequential([lamina.Input((4,)), layers.Dense(3)])
    blocks = {"sequential_blocks": made.layers}
    config.quantization_layer_structure = blocks
    made.quantize(config=config)


def waiting():
    return dense(lambda x: x.quantize(config=gptq()))


BAD = [
    (lambda: dense(int4(2), int4(2)), ValueError, "already quantized"),
    (lambda: dense(int4(2), float8), ValueError, "already quantized"),
    (lambda: dense(lambda x: x.quantize("int8", config=gptq())), ValueError,
     "Contradictory"),
    (lambda: dense(dtype="int4/2_from_float32", quantization_config=gptq()), ValueError,
     "Let them agree"),
    (lambda: layers.Dense(3).quantize("int4"), ValueError, "isn't yet built"),
    (lambda: dense(lambda x: x.quantize("awq")), ValueError, "`AWQConfig`"),
    (lambda: setattr(dense(), "dtype_policy", "gptq/4/2_from_float32"), ValueError,
     "Implicitly enabling GPTQ"),
    (lambda: dense(float8, lora), NotImplementedError, "FLOAT8"),
    (lambda: dense(lora, float8), NotImplementedError, "FLOAT8"),
    (lambda: dense(lora, lambda x: x.quantize(config=gptq())), NotImplementedError,
     "GPTQ"),
    (lambda: layers.Embedding(3, 2, weights=np.ones((3, 2))).quantize("float8"),
     NotImplementedError, "Embedding"),
    (lambda: dense(dtype=lamina.dtype_policies.QuantizedDTypePolicy("gptq")),
     ValueError, "needs a group size"),
    (lambda: layers.Layer().quantized_build((None, 3), "int4"), NotImplementedError,
     "`quantized_build`"),
    (lambda: waiting().save_own_variables({}), ValueError, "not fitted to data"),
    (lambda: model(gptq()), ValueError, "requires a dataset"),
    (lambda: model(gptq(["a"])), ValueError, "texts without `tokenizer`"),
    (lambda: model(gptq("text")), TypeError, "iterable"),
    (lambda: model(gptq([])), ValueError, "empty"),
    (lambda: lamina.quantizers.Int4QuantizationConfig(block_size=0), ValueError,
     "block_size must be"),
    (lambda: lamina.quantizers.Int4QuantizationConfig(
        lamina.quantizers.AbsMaxQuantizer(0, (-8, 7))), ValueError, "sub-channel"),
    (lambda: lamina.quantizers.Int4QuantizationConfig(
        lamina.quantizers.AbsMaxQuantizer(0), block_size=None), ValueError,
     "value_range"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_policy_that_is_set_quantizes():
    layer = dense()
    layer.dtype_policy = "int4/2_from_float32"
    assert layer._kernel.shape == (4, 2)
    assert layer.kernel_scale.shape == (2, 3)
    layer = dense()
    policy = lamina.dtype_policies.QuantizedFloat8DTypePolicy("float8", "float32", 8)
    layer.dtype_policy = policy
    assert layer.inputs_amax_history.shape == (8,)
    assert layer.dtype_policy is policy


@pytest.mark.parametrize("mode", ["gptq", "awq"])
def test_the_order_of_a_kernels_axes_makes_no_difference(mode, tmp_path):
    """Gemma's kernels have heads before what is summed over."""
    kernel = np.random.default_rng(0).normal(size=(4, 2, 3)).astype("float32")
    config = getattr(lamina.quantizers, f"{mode.upper()}Config")
    expected = None
    for letters, axes in (("bcd", (0, 1, 2)), ("cbd", (1, 0, 2)), ("cdb", (1, 2, 0))):
        layer = layers.EinsumDense(f"ab,{letters}->acd", (2, 3))
        made = lamina.Sequential([lamina.Input((4,)), layer])
        layer.kernel.assign(kernel.transpose(axes))
        structure = {"sequential_blocks": [layer]}
        data = {"sequence_length": 4, "num_samples": 2, "group_size": 2}
        data["quantization_layer_structure"] = structure
        made.quantize(config=config([np.arange(8)], None, **data))
        made.save(tmp_path / "made.keras")
        read = lamina.models.load_model(tmp_path / "made.keras").layers[0]
        expected = layer.kernel if expected is None else expected
        for found in (layer.kernel, read.kernel):
            np.testing.assert_array_equal(found, np.transpose(expected, axes))


def test_what_stands_for_a_kernel_of_int4_reads_like_one():
    layer = dense()
    before = layer.kernel.numpy()
    layer.quantize("int4")
    kernel = layer.kernel
    assert (kernel.shape, kernel.size, kernel.dtype) == ((4, 3), 12, "float32")
    assert "int4" in repr(kernel)
    np.testing.assert_allclose(jnp.asarray(kernel), before, atol=np.ptp(before) / 14)


def test_a_model_may_name_its_blocks():
    class Blocks(lamina.Sequential):
        def get_quantization_layer_structure(self, mode=None):
            return {"sequential_blocks": self.layers[:1]}

    made = Blocks([lamina.Input((4,)), layers.Dense(3), layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(5, 4))
    before = made(x)
    made.quantize(config=gptq([np.arange(8)], sequence_length=4, weight_bits=8))
    first, last = made.layers
    assert first.is_gptq_calibrated
    assert not first.is_awq_calibrated
    assert last.quantization_mode is None  # it is in no block
    np.testing.assert_allclose(made(x), before, atol=0.05)


class Rounds(layers.Layer):
    """A user's own layer, which computes with integers in its own way."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True

    def call(self, x):
        return x

    def quantized_call(self, x):
        return lamina.ops.round(x)


def test_your_own_quantized_call_runs_where_a_mode_is_set():
    x = np.array([[0.4, 1.6]], "float32")
    np.testing.assert_array_equal(Rounds()(x), x)
    for make in (
        lambda: Rounds(dtype="int8_from_float32"),
        lambda: lamina.Sequential([Rounds(dtype="int8_from_float32")]),
    ):
        np.testing.assert_array_equal(make()(x), [[0.0, 2.0]])
    relu = layers.ReLU(dtype="int8_from_float32")
    np.testing.assert_array_equal(relu(x), x)
