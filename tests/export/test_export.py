"""Programs: written, loaded without the model's code, the same numbers."""

import json
import pathlib
import subprocess
import sys
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import layers
from lamina.export import ExportArchive, load
from lamina.saving import safetensors

SPEC = lamina.InputSpec(shape=(None, 3), dtype="float32")


def dense():
    return lamina.Sequential(
        [
            lamina.Input((4,), name="table"),
            layers.Dense(6, "gelu", dtype="mixed_bfloat16"),
            layers.Dropout(0.5),
            layers.BatchNormalization(),
            layers.Dense(3, "softmax", name="kind"),
        ]
    )


def convolutional():
    return lamina.Sequential(
        [
            lamina.Input((None, None, 2)),
            layers.Conv2D(3, 3, strides=2, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.GlobalAveragePooling2D(),
        ]
    )


def recurrent():
    tokens = lamina.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(9, 4, mask_zero=True)(tokens)
    x = layers.Bidirectional(layers.LSTM(3))(x)
    return lamina.Model(tokens, layers.Dense(2)(x))


def attention():
    x = lamina.Input((None, 4))
    y = layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
    return lamina.Model(x, layers.LayerNormalization()(x + y))


def several():
    a = lamina.Input((3,), name="a")
    b = lamina.Input((2,), dtype="int32", name="b")
    x = layers.Concatenate()([a, layers.Flatten()(layers.Embedding(5, 2)(b))])
    x = layers.Dense(4, name="x")(x)
    return lamina.Model({"b": b, "a": a}, {"x": x, "sum": layers.Add()([x, x])})


def pair():
    a, b = lamina.Input((3,)), lamina.Input((3,))
    return lamina.Model([a, b], [layers.Dense(2)(layers.Add()([a, b])), a])


MODELS = [dense, convolutional, recurrent, attention, several, pair]


def example(model, rows):
    random = np.random.default_rng(rows)

    def leaf(tensor):
        shape = (rows, *(n or 7 for n in tensor.shape[1:]))
        if "int" in tensor.dtype:
            return random.integers(0, 5, shape).astype("int32")
        return random.normal(size=shape).astype("float32")

    return lamina.tree.map_structure(leaf, model.input)


def same(found, expected, near=0.0):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(np.asarray(a), b, atol=near, rtol=0)


@pytest.mark.parametrize("make", MODELS)
def test_the_loaded_program_gives_the_models_numbers(make, tmp_path):
    model = make()
    assert model.export(tmp_path / "model") is None
    program = load(tmp_path / "model")
    assert program.main.platforms == ("cpu", "cuda", "tpu")
    for rows in (1, 3, 7) if make in (dense, several) else (3,):
        x = example(model, rows)
        same(program(x), model.predict(x, verbose=0), 1e-6)


def test_names_shapes_and_ways_to_give_inputs(tmp_path):
    model = several()
    model.export(tmp_path / "model")
    program = load(tmp_path / "model")
    assert program.inputs == [
        ("a", ("batch", 3), "float32"),
        ("b", ("batch", 2), "int32"),
    ]
    assert program.outputs == [
        ("sum", ("batch", 4), "float32"),
        ("x", ("batch", 4), "float32"),
    ]
    x = example(model, 3)
    reverse = {"a": x["a"].tolist(), "b": x["b"].astype("int64").tolist()}
    same(program(reverse), program(x))
    with pytest.raises(ValueError, match=r"expected its input as .* \['a', 'b'\]"):
        program({"a": x["a"]})
    with pytest.raises(ValueError, match=r"input 'a' of shape \('batch', 3\)"):
        program(x | {"a": np.ones((3, 4))})
    with pytest.raises(TypeError, match="input 'b' of dtype int32"):
        program(x | {"b": np.ones((3, 2))})
    with pytest.raises(TypeError, match="input 'b' of dtype int32"):
        program(x | {"b": np.full((3, 2), "word")})
    two = pair()
    two.export(tmp_path / "pair")
    a, b = example(two, 2)
    first = two.input_names[0]
    named = {first: a, two.input_names[1]: b}
    same(load(tmp_path / "pair")(named), load(tmp_path / "pair")([a, b]))


class Doubled(lamina.layers.Layer):
    def call(self, x, training=None):
        return x if training else 2 * x


class Own(lamina.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)
        self.doubled = Doubled()

    def call(self, x):
        return {"y": self.doubled(self.dense(x))}


def test_a_process_that_knows_nothing_of_the_model(tmp_path):
    model = Own()
    x = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
    expected = model.predict(x, verbose=0)["y"]
    model.export(tmp_path / "own")
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys, numpy as np\n"
        "from lamina.export import load\n"
        "program = load('own')\n"
        "assert program.inputs == [('input', ('batch', 3), 'float32')]\n"
        "np.save('y.npy', program(np.load('x.npy'))['y'])\n"
        "assert 'lamina.models' not in sys.modules\n"
    )
    source = pathlib.Path(lamina.__file__).parents[1]
    path = [str(source), *filter(None, sys.path)]
    environment = {"PYTHONPATH": ":".join(path), "JAX_PLATFORMS": "cpu"}
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True
    )
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-6)


def test_several_endpoints_and_collections(tmp_path, capsys):
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(2)])
    archive = ExportArchive()
    archive.add_endpoint("serve", model)
    archive.track_and_add_endpoint("layer", model.layers[-1], [SPEC])
    kernel = model.layers[-1].kernel
    loose = lamina.Variable([5.0])

    def distance(x, y):
        return jnp.sum((model(x) - model(y)) ** 2, -1), loose * 1

    assert archive.add_endpoint("distance", distance, [SPEC, SPEC]) is distance
    archive.add_variable_collection("kernels", [kernel])
    kernel.assign(np.ones((3, 2)))  # the values are those of the moment of writing
    archive.write_out(tmp_path / "all")
    assert "distance" in capsys.readouterr().out
    program = load(tmp_path / "all")
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    same(program(x), model.predict(x, verbose=0), 1e-6)
    same(program.layer(x), program.serve(x))
    found, five = program.endpoint("distance")(x, x + 1)
    np.testing.assert_allclose(found, 18.0, rtol=1e-5)
    assert five.tolist() == [5.0]
    assert [np.asarray(v).tolist() for v in program.kernels] == [[[1.0, 1.0]] * 3]
    with pytest.raises(ValueError, match="no endpoint 'server'.*serve"):
        program.endpoint("server")
    with pytest.raises(AttributeError, match="nothing_such"):
        program.nothing_such  # noqa: B018


def test_wrong_uses_of_an_archive(tmp_path):
    archive = ExportArchive()
    with pytest.raises(ValueError, match="nothing to write"):
        archive.write_out(tmp_path / "x")
    with pytest.raises(ValueError, match="a layer or a model"):
        archive.track([1])
    with pytest.raises(ValueError, match="to be built"):
        archive.track(layers.Dense(2))
    with pytest.raises(ValueError, match="input_signature"):
        archive.add_endpoint("f", lambda x: x)
    with pytest.raises(ValueError, match="InputSpec"):
        archive.add_endpoint("f", lambda x: x, [(None, 3)])
    with pytest.raises(TypeError, match="must return arrays"):
        archive.add_endpoint("f", lambda x: "text", [SPEC])
    with pytest.raises(ValueError, match=r"no arguments \['other'\]"):
        archive.add_endpoint("f", lambda x: x, [SPEC], other=1)
    archive.add_endpoint("f", lambda x: x, [SPEC])
    with pytest.raises(ValueError, match="'f' is taken"):
        archive.add_endpoint("f", lambda x: x, [SPEC])
    with pytest.raises(ValueError, match="set of Variables"):
        archive.add_variable_collection("c", [np.ones(2)])
    with pytest.raises(ValueError, match="one function"):
        ExportArchive(format="onnx")


@pytest.mark.parametrize("format", ["tf_saved_model", "openvino", "litert", "torch"])
def test_other_formats_say_what_to_use(format, tmp_path):
    with pytest.raises(ValueError, match=f"'stablehlo' or 'onnx'.*{format}.*use"):
        pair().export(tmp_path / "x", format=format)
    assert not list(tmp_path.iterdir())


def test_models_that_cannot_be_exported(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(ValueError, match="must be built"):
        lamina.Sequential([layers.Dense(2)]).export(path)
    text = lamina.Input((1,), dtype="string")
    words = layers.StringLookup(vocabulary=["a", "b"], name="words")(text)
    model = lamina.Model(text, layers.Embedding(3, 2)(words))
    with pytest.raises(ValueError, match=r"Python.*\('words'\).*the part after"):
        model.export(path)
    numbers = lamina.Input((1,), dtype="int32")
    model = lamina.Model(numbers, layers.Hashing(4)(numbers))
    with pytest.raises(ValueError, match="layers that run in Python"):
        model.export(path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        pair().export(tmp_path / "missing" / "x")
    with pytest.raises(IsADirectoryError, match="one file"):
        pair().export(tmp_path)
    a = lamina.Input((None,))
    half = lamina.Model(
        a, layers.Lambda(lambda t: t.reshape(-1, 2, t.shape[1] // 2))(a)
    )
    with pytest.raises(ValueError, match="cannot leave these sizes open"):
        half.export(path)
    half.export(path, input_signature=[lamina.InputSpec(shape=(None, 6))])
    assert load(path)(np.ones((3, 6))).shape == (3, 2, 3)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    model = pair()
    model.export(tmp_path / "x")
    before = (tmp_path / "x").read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(safetensors, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        model.export(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "model"
    pair().export(path)
    return path.read_bytes()


def test_damaged_files_are_refused_in_words(small, tmp_path):
    path = tmp_path / "x"
    size = int.from_bytes(small[:8], "little")
    places = [*range(0, 8), 40, size, size + 8, size + 30, len(small) // 2, -1]
    for place in places:
        data = bytearray(small)
        data[place] ^= 0x55
        path.write_bytes(data)
        with pytest.raises(ValueError, match="damaged|version|without a program"):
            load(path)
    for count in (0, 5, size, len(small) - 1):
        path.write_bytes(small[:count])
        with pytest.raises(ValueError, match="damaged"):
            load(path)
    path.write_bytes(small + b"more")
    with pytest.raises(ValueError, match="damaged"):
        load(path)


def rewritten(small, path, change, program=None):
    """Write the file again with another description, checksums made right."""
    path.write_bytes(small)
    read = safetensors.Tensors(path)
    tensors = {name: read[name] for name in read.tensors}
    about = json.loads(read.metadata["lamina.export"])
    if program is not None:
        tensors["program/0"] = np.frombuffer(program, np.uint8)
    about["checksums"] = {
        name: zlib.crc32(value.tobytes()) for name, value in tensors.items()
    }
    change(about)
    with path.open("wb") as file:
        safetensors.write(file, tensors, {"lamina.export": json.dumps(about)})
    return path


def test_foreign_and_forged_files_are_refused(small, tmp_path):
    path = tmp_path / "x"
    with pytest.raises(FileNotFoundError):
        load(path)
    pair().save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="load_model"):
        load(tmp_path / "m.keras")
    pair().save_weights(tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="weights, without a program"):
        load(tmp_path / "w.safetensors")
    load(rewritten(small, path, lambda about: None))
    changes = [
        lambda about: about.update(version=2),
        lambda about: about.update(endpoints=[]),
        lambda about: about.pop("collections"),
        lambda about: about["checksums"].popitem(),
        lambda about: about["endpoints"][0]["weights"].reverse(),
        lambda about: about["endpoints"][0].update(takes={"list": [0, 0]}),
        lambda about: about["endpoints"][0].update(takes={"class": ["os.system"]}),
        lambda about: about["endpoints"][0].update(inputs=["a"]),
    ]
    for change in changes:
        with pytest.raises(ValueError, match="damaged|version 2"):
            load(rewritten(small, path, change))


def test_a_program_that_calls_out_is_refused(small, tmp_path):
    target = "xla_ffi_python_cpu_callback"
    check = jax.export.DisabledSafetyCheck.custom_call(target)
    one = jax.ShapeDtypeStruct((2,), "float32")

    def plain(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.ffi.ffi_call(target, shape)(x)

    program = jax.export.export(jax.jit(plain), disabled_checks=[check])(one)

    def change(about):
        about["endpoints"][0].update(
            weights=[], inputs=["x"], outputs=["y"], takes={"list": [0]}, gives=0
        )

    data = bytes(program.serialize())
    with pytest.raises(ValueError, match="Not allowed.*python_cpu_callback"):
        load(rewritten(small, tmp_path / "x", change, data))


def test_linear_algebra_may_be_called(tmp_path):
    x = lamina.Input((3, 3))
    model = lamina.Model(x, layers.Lambda(lambda t: lamina.ops.qr(t)[0])(x))
    model.export(tmp_path / "x", platforms=("cpu",))
    program = load(tmp_path / "x")
    assert program.main.platforms == ("cpu",)
    data = example(model, 3)
    same(program(data), model.predict(data, verbose=0), 1e-6)
