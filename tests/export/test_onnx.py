"""ONNX files: ONNX Runtime gives the model's numbers."""

import sys

import jax
import numpy as np
import pytest

import lamina
from lamina import layers

pytest.importorskip("jax2onnx")
runtime = pytest.importorskip("onnxruntime")
runtime.set_default_logger_severity(3)

# The converter's dependencies, on each other.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def dense():
    a = lamina.Input((3,), name="a")
    b = lamina.Input((2,), dtype="int32", name="b")
    x = layers.Concatenate()([a, layers.Flatten()(layers.Embedding(5, 2)(b))])
    x = layers.BatchNormalization()(layers.Dense(4, "gelu")(x))
    x = layers.Dropout(0.5)(x)
    half = layers.Dense(2, dtype="mixed_float16")(x)
    return lamina.Model(
        {"b": b, "a": a}, {"kind": layers.Dense(3, "softmax")(half), "again": a}
    )


def convolutional():
    return lamina.Sequential(
        [
            lamina.Input((7, 7, 2)),
            layers.Conv2D(3, 3, strides=2, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(3, padding="same"),
            layers.Conv2DTranspose(2, 3, strides=2),
            layers.DepthwiseConv2D(3),
            layers.AveragePooling2D(2),
            layers.Flatten(),
        ]
    )


def recurrent():
    tokens = lamina.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(9, 4, mask_zero=True)(tokens)
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
    return lamina.Model(tokens, layers.LSTM(2, return_state=True)(x))


def attention():
    x = lamina.Input((None, 4))
    y = layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
    return lamina.Model(x, layers.LayerNormalization()(x + y))


def example(model, rows):
    random = np.random.default_rng(rows)

    def leaf(tensor):
        shape = (rows, *(n or 5 for n in tensor.shape[1:]))
        if "int" in tensor.dtype:
            return random.integers(0, 5, shape).astype("int32")
        return random.normal(size=shape).astype("float32")

    return lamina.tree.map_structure(leaf, model.input)


@pytest.mark.parametrize("make", [dense, convolutional, recurrent, attention])
def test_onnx_runtime_gives_the_models_numbers(make, tmp_path):
    model = make()
    path = tmp_path / "model.onnx"
    model.export(path)  # the name says which format
    session = runtime.InferenceSession(path)
    names = [node.name for node in session.get_inputs()]
    assert names == sorted(model.input_names)
    near = 2e-3 if make is dense else 1e-5
    x = example(model, 7)
    feed = dict(zip(names, lamina.tree.flatten(x), strict=True))
    expected = lamina.tree.flatten(model.predict(x, verbose=0))
    for a, b in zip(session.run(None, feed), expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, atol=near, rtol=0)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def refused(model, path, match, **kwargs):
    with pytest.raises(ValueError, match=match):
        model.export(path, format="onnx", **kwargs)
    assert not path.exists()


def test_what_onnx_cannot_say_is_refused_by_name(tmp_path):
    path = tmp_path / "model.onnx"
    x = lamina.Input((3, 3))
    ortho = layers.Lambda(lambda t: lamina.ops.qr(t)[0], name="ortho")
    refused(lamina.Model(x, ortho(x)), path, "'qr' as layer '.*ortho' uses it")
    half = lamina.Sequential(
        [lamina.Input((3,)), layers.Dense(2, dtype="mixed_bfloat16", name="half")]
    )
    refused(half, path, "layer '.*half', which computes in bfloat16.*float32")
    refused(half, path, r"no arguments \['other'\]", other=1)
    images = lamina.Sequential(
        [
            lamina.Input((None, None, 1)),
            layers.Conv2D(2, 3, strides=2, padding="same"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    refused(images, path, "open sizes beyond the first axis.*input_signature")
    spec = lamina.InputSpec(shape=(None, 6, 6, 1), dtype="float32")
    images.export(path, format="onnx", input_signature=[spec], opset_version=21)
    (given,) = runtime.InferenceSession(path).get_inputs()
    assert given.shape[1:] == [6, 6, 1]
    assert isinstance(given.shape[0], str)


def test_other_numbers_are_noticed(tmp_path, monkeypatch):
    import jax2onnx

    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(2)])
    convert = jax2onnx.to_onnx

    def wrong(fn, *args, **kwargs):
        return convert(lambda *x: [y + 0.01 for y in fn(*x)], *args, **kwargs)

    monkeypatch.setattr(jax2onnx, "to_onnx", wrong)
    refused(model, tmp_path / "model.onnx", "other numbers")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(2)])
    with pytest.raises(ImportError, match=r"lamina\[export\]"):
        model.export(tmp_path / "model.onnx", format="onnx")


def test_jax_is_left_as_it_was(tmp_path):
    before = dict(vars(jax.numpy))
    lamina.Sequential([lamina.Input((3,)), layers.Dense(2)]).export(
        tmp_path / "model.onnx", format="onnx"
    )
    now = vars(jax.numpy)
    assert [name for name, value in before.items() if now[name] is not value] == []
