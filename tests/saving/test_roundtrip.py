"""`.keras` and `.weights.h5` both ways between Lamina and real Keras."""

import pathlib
import zipfile

import keras
import numpy as np
import pytest
from table import MODELS, inputs_for, same

import lamina


@pytest.fixture(autouse=True)
def no_leftovers():
    yield
    keras.saving.get_custom_objects().clear()


def test_training_with_dropout_goes_on_identically(tmp_path):
    model = MODELS["normalized"](lamina)
    x = inputs_for(model, rows=8)
    model.compile("adam", "mse")
    model.fit(x, np.ones((8, 1)), verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = lamina.saving.load_model(tmp_path / "m.keras")
    for one in (model, loaded):
        one.fit(x, np.ones((8, 1)), epochs=2, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_loss_scaling_is_kept(tmp_path):
    model = lamina.Sequential(
        [lamina.Input((4,)), lamina.layers.Dense(1, dtype="mixed_float16")]
    )
    optimizer = lamina.optimizers.LossScaleOptimizer(lamina.optimizers.Adam(0.1))
    model.compile(optimizer, "mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 1)))
    model.save(tmp_path / "m.keras")
    for k in (lamina, keras):
        loaded = k.saving.load_model(tmp_path / "m.keras")
        for a, b in zip(optimizer.variables, loaded.optimizer.variables, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_compile_false_leaves_the_model_uncompiled(tmp_path):
    model = MODELS["dense"](lamina)
    model.compile("adam", "mse")
    model.save(tmp_path / "m.keras")
    assert lamina.saving.load_model(tmp_path / "m.keras").compiled
    assert not lamina.saving.load_model(tmp_path / "m.keras", compile=False).compiled


def test_one_layer_in_two_places_stays_one(tmp_path):
    shared = lamina.layers.Dense(4)
    a = lamina.Sequential([lamina.Input((4,)), shared])
    b = lamina.Sequential([lamina.Input((4,)), shared])
    x = lamina.Input((4,))
    model = lamina.Model(x, b(a(x)))
    model.save(tmp_path / "m.keras")
    loaded = lamina.saving.load_model(tmp_path / "m.keras")
    assert len(loaded.weights) == 2
    assert loaded.layers[1].layers[0] is loaded.layers[2].layers[0]


def test_a_folder_and_an_open_file_hold_the_same(tmp_path):
    model = MODELS["dense"](lamina)
    x = inputs_for(model)
    model.save(tmp_path / "folder", zipped=False)
    with (tmp_path / "open").open("w+b") as file:
        lamina.saving.save_model(model, file)
        file.seek(0)
        same(model, lamina.saving.load_model(file), x, 0)
    same(model, lamina.saving.load_model(tmp_path / "folder"), x, 0)
    same(model, keras.saving.load_model(tmp_path / "folder"), x)


def test_keras_weights_load_from_a_whole_model(tmp_path):
    model = MODELS["dense"](lamina)
    model.save(tmp_path / "m.keras")
    fresh = MODELS["dense"](lamina)
    fresh.load_weights(tmp_path / "m.keras")
    same(model, fresh, inputs_for(model), 0)


def test_assets_are_written_and_read(tmp_path):
    @lamina.saving.register_keras_serializable(package="tests")
    class Words(lamina.layers.Layer):
        words = None

        def call(self, x):
            return x

        def save_assets(self, dir_path):
            folder = pathlib.Path(dir_path, self.name)
            folder.mkdir()
            (folder / "words.txt").write_text(f"a b {self.name}")

        def load_assets(self, dir_path):
            folder, *more = pathlib.Path(dir_path).iterdir()
            assert folder.name == self.name and not more  # none of another layer
            self.words = (folder / "words.txt").read_text()

    own = [Words(name="c"), Words(name="d")]
    lamina.Sequential([lamina.Input((2,)), *own]).save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert "assets/layers/words/c/words.txt" in archive.namelist()
        archive.extractall(tmp_path / "folder")
    for path in (tmp_path / "m.keras", tmp_path / "folder"):
        loaded = lamina.saving.load_model(path).layers
        assert [layer.words for layer in loaded] == ["a b c", "a b d"]


def test_saving_leaves_no_trace():
    import random

    model = MODELS["normalized"](lamina)
    random.seed(5)
    expected = random.random()
    random.seed(5)
    import io

    lamina.saving.save_model(model, io.BytesIO())
    assert random.random() == expected
    assert lamina.layers.Dropout(0.1).name == "dropout_1"


def replaceable(k):
    """A model whose containers of every kind hold layers to be replaced."""
    layers = k.layers

    class Chain(layers.Layer):
        def __init__(self, parts, **kwargs):
            super().__init__(**kwargs)
            self.parts = parts

        def build(self, shape):
            for part in self.parts:
                if not part.built:
                    part.build(shape)
                shape = part.compute_output_shape(shape)

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return x

        def get_config(self):
            parts = k.saving.serialize_keras_object(self.parts)
            return {**super().get_config(), "parts": parts}

        @classmethod
        def from_config(cls, config):
            parts = k.saving.deserialize_keras_object(config.pop("parts"))
            return cls(parts, **config)

    inner = k.Sequential([k.Input((3, 4)), layers.Dense(4), layers.Dense(4)])
    cells = layers.RNN([layers.LSTMCell(2), layers.LSTMCell(3)], return_sequences=True)
    stack = [
        k.Input((3, 4)),
        layers.Dense(4),
        inner,
        layers.Bidirectional(cells),
        layers.TimeDistributed(layers.Dense(2)),
        Chain([layers.Dense(3), layers.Dense(3)]),
        layers.Dense(1),
    ]
    return k.Sequential(stack), {"Chain": Chain}


@pytest.mark.parametrize("writer", [lamina, keras], ids=["lamina", "keras"])
def test_replaced_classes_find_their_weights(writer, tmp_path):
    class Fast(lamina.layers.Dense):
        pass

    class Small(lamina.layers.LSTMCell):
        pass

    class Link(replaceable(lamina)[1]["Chain"]):
        pass

    model, _ = replaceable(writer)
    path = tmp_path / "m.keras"
    model.save(path)
    lent = {"Dense": Fast, "LSTMCell": Small, "Chain": Link}
    other = lamina.models.load_model(path, custom_objects=lent)
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_allclose(other(x), model(x), rtol=1e-5, atol=1e-6)
    kinds = {type(layer) for layer in other._flatten_layers(include_self=False)}
    assert {Fast, Small, Link} <= kinds
    assert not kinds & {lamina.layers.Dense, lamina.layers.LSTMCell}
    # Saved again, its weights stand under the names of the classes that it has now.
    other.save(path)
    lent = {"Fast": Fast, "Small": Small, "Link": Link}
    again = lamina.models.load_model(path, custom_objects=lent)
    np.testing.assert_array_equal(again(x), other(x))


def test_what_a_replacement_makes_itself_is_found_by_either_name(tmp_path):
    class Fast(lamina.layers.Dense):
        pass

    class Pair(lamina.layers.Layer):
        def build(self, shape):
            self.parts = [Fast(2), lamina.layers.Dense(2)]
            for part in self.parts:
                part.build(shape)

        def call(self, x):
            return self.parts[0](x) - self.parts[1](x)

    layers = [Pair(), lamina.layers.Dense(3)]
    model = lamina.Sequential([lamina.Input((4,)), *layers])
    model.save(tmp_path / "m.keras")
    lent = {"Dense": Fast, "Pair": Pair}
    other = lamina.models.load_model(tmp_path / "m.keras", custom_objects=lent)
    assert type(other.layers[1]) is Fast
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(other(x), model(x))
