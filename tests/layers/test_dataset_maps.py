"""Layers and models inside of `tf.data` maps; where TensorFlow is installed."""

import numpy as np
import pytest

import lamina
from lamina import layers

tf = pytest.importorskip("tensorflow")
TEXTS = np.array([f"the cat sat on {i} mats" for i in range(8)])
IMAGES = np.random.default_rng(0).uniform(0, 255, (8, 6, 6, 3)).astype("float32")
NUMBERS = np.arange(24, dtype="float32").reshape(8, 3)


@pytest.fixture(autouse=True)
def rewritten(monkeypatch):
    """Collects what AutoGraph rewrites, and fails if any of it is the library's."""
    from tensorflow.python.autograph.impl import api

    found, convert = [], api._convert_actual

    def convert_and_note(entity, *args):
        found.append(entity.__module__)
        return convert(entity, *args)

    monkeypatch.setattr(api, "_convert_actual", convert_and_note)
    yield found
    assert __name__ in found  # the test's own function
    assert not [name for name in found if name.startswith(("lamina", "jax", "numpy"))]


def text_layer():
    layer = layers.TextVectorization(output_sequence_length=6)
    layer.adapt(TEXTS)
    return layer


def feature_space():
    space = lamina.utils.FeatureSpace(
        {"text": "string_categorical", "number": "float_normalized"},
        crosses=[("text", "number")],
        crossing_dim=4,
    )
    space.adapt({"text": TEXTS, "number": NUMBERS[:, 0]})
    return space


def drawn():
    x = lamina.Input((6, 6, 3))
    return lamina.Model(
        x, {"twice": layers.Rescaling(2.0)(x), "flat": layers.Flatten()(x)}
    )


CASES = {
    "text": (text_layer, TEXTS),
    "model of text": (
        lambda: lamina.Sequential([lamina.Input((), dtype="string"), text_layer()]),
        TEXTS,
    ),
    "features": (feature_space, {"text": TEXTS, "number": NUMBERS[:, 0]}),
    "lookup": (lambda: layers.StringLookup(vocabulary=["the"]), TEXTS[:, None]),
    "sequential": (
        lambda: lamina.Sequential([layers.Resizing(3, 3), layers.Rescaling(1 / 255)]),
        IMAGES,
    ),
    "graph": (drawn, IMAGES),
    "weights": (lambda: lamina.Sequential([layers.Dense(2)]), NUMBERS),
    "spectrogram": (
        lambda: layers.STFTSpectrogram(frame_length=8, frame_step=4, fft_length=8),
        NUMBERS.reshape(1, 24, 1),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_gives_what_a_call_gives(case):
    make, x = CASES[case]
    layer = make()
    data = tf.data.Dataset.from_tensor_slices(x).batch(4)
    for mapped in (data.map(lambda batch: layer(batch)), data.map(layer)):
        batches = list(mapped)
        whole = lamina.tree.map_structure(
            lambda *parts: np.concatenate(parts), *batches
        )
        wanted = layer(x)
        lamina.tree.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-4), whole, wanted
        )
        lamina.tree.map_structure(
            lambda spec, b: spec.shape.assert_is_compatible_with(b.shape),
            mapped.element_spec,
            wanted,
        )


def test_flags_and_labels_pass():
    flips = lamina.Sequential([layers.RandomFlip("horizontal", seed=1)])
    data = tf.data.Dataset.from_tensor_slices((IMAGES, np.arange(8))).batch(8)
    ((still, labels),) = data.map(lambda x, y: (flips(x, training=False), y))
    ((moved, _),) = data.map(lambda x, y: (flips(x, training=True), y))
    np.testing.assert_array_equal(still, IMAGES)
    np.testing.assert_array_equal(labels, np.arange(8))
    turned = [not np.array_equal(a, b) for a, b in zip(moved, IMAGES, strict=True)]
    assert 0 < sum(turned) < 8
    for row, image, turn in zip(moved, IMAGES, turned, strict=True):
        np.testing.assert_array_equal(row, image[:, ::-1] if turn else image)


def test_layers_that_compute_with_tensorflow_keep_its_tensors():
    class Flipped(layers.Layer):
        _convert_input_args, _allow_non_tensor_positional_args = False, True

        def call(self, x):
            return tf.reverse(x, [1])

    layer = Flipped()
    (found,) = tf.data.Dataset.from_tensors(IMAGES).map(lambda x: layer(x))
    np.testing.assert_array_equal(found, IMAGES[:, ::-1])


@pytest.mark.parametrize("by_values", [False, True])
def test_layers_that_convert_for_themselves_run_on_arrays(by_values):
    # Written with Keras' operations: TensorFlow's tensors would be of no use to them.
    class Padded(layers.Layer):
        _convert_input_args, _allow_non_tensor_positional_args = False, True

        def call(self, x):
            ops = lamina.ops
            cells = ops.where(x.shape[1] < 12, 1, 0) if by_values else 1
            x = ops.pad(x, [(0, 0), (cells, cells), (0, 0), (0, 0)])
            return x * lamina.random.uniform((), 1.0, 2.0)

        def compute_output_shape(self, shape):
            return (shape[0], shape[1] + 2, *shape[2:])

    layer = Padded()
    data = tf.data.Dataset.from_tensor_slices(IMAGES).batch(4).map(lambda x: layer(x))
    assert data.element_spec.shape.as_list() == [
        None,
        IMAGES.shape[1] + 2,
        *IMAGES.shape[2:],
    ]
    factors = []
    for found, given in zip(data, (IMAGES[:4], IMAGES[4:]), strict=True):
        inner = np.asarray(found)[:, 1:-1]
        factors.append(float((inner.sum() / given.sum()).round(3)))
        np.testing.assert_allclose(inner / given, factors[-1], rtol=1e-2)
    assert factors[0] != factors[1]  # drawn for each batch, not once for the graph
