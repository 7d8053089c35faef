import re

import keras
import numpy as np
import pytest

import lamina
from lamina.testing import check_layer
from tests.layers.parity import gradients, same

RANDOM = np.random.default_rng(2)
IMAGES = RANDOM.normal(size=(4, 4, 4, 2)).astype("float32")
ROWS = RANDOM.normal(size=(4, 5)).astype("float32")


def pair(make, x):
    """Wrap Lamina's layer and Keras' own, with the same weights."""
    ours, theirs = (
        m.layers.SpectralNormalization(make(m.layers), power_iterations=2, name="it")
        for m in (lamina, keras)
    )
    ours.build(x.shape), theirs.build(x.shape)
    numbered = [[re.sub(r"_\d+/", "/", v.path) for v in layer.weights]
                for layer in (ours, theirs)]  # fmt: skip
    assert numbered[0] == numbered[1]
    values = [0.3 * RANDOM.normal(size=v.shape) for v in theirs.weights]
    ours.set_weights(values), theirs.set_weights(values)
    return ours, theirs


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda m: m.Conv2D(3, 2, kernel_regularizer="l2"), IMAGES),
        (lambda m: m.Dense(3), ROWS),
    ],
)
def test_numbers_steps_and_files(make, x):
    ours, theirs = pair(make, x)
    same(ours, theirs, x)
    same(ours, theirs, x, training=True)
    for _ in range(2):
        expected = theirs(x, training=True)
        np.testing.assert_allclose(ours(x, training=True), expected, atol=1e-5)
    mine, kept = {}, {}
    ours.save_own_variables(mine), theirs.save_own_variables(kept)
    assert list(mine) == list(kept)
    for key, value in kept.items():
        np.testing.assert_allclose(mine[key], value, atol=1e-5)


def test_compiled_training_keeps_the_vector():
    ours, theirs = pair(lambda m: m.Dense(3), ROWS)
    first = ours.vector_u.numpy()
    for m, layer in ((lamina, ours), (keras, theirs)):
        model = m.Sequential([layer])
        model.compile("sgd", "mse")
        model.fit(ROWS, ROWS[:, :3], batch_size=2, epochs=2, shuffle=False, verbose=0)
    assert not np.allclose(ours.vector_u.numpy(), first, atol=1e-2)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_every_duty_of_a_layer():
    check_layer(
        lamina.layers.SpectralNormalization,
        {"layer": lamina.layers.Dense(2)},
        ROWS,
        expected_output_shape=(4, 2),
        expected_num_trainable_weights=2,
        expected_num_non_trainable_weights=1,
        supports_masking=False,
    )


def test_a_table_of_vectors():
    layer = lamina.layers.SpectralNormalization(
        lamina.layers.Embedding(4, 3), power_iterations=30
    )
    rows = layer(np.array([[0, 1], [2, 3]]), training=True)
    assert rows.dtype == "float32"
    norms = np.linalg.svd(layer.layer.embeddings.numpy(), compute_uv=False)
    np.testing.assert_allclose(norms[0], 1, atol=1e-4)


def test_a_kernel_of_zeros_has_finite_gradients():
    layer = lamina.layers.SpectralNormalization(
        lamina.layers.Dense(2, kernel_initializer="zeros")
    )
    layer.build(ROWS.shape)
    _, grads = gradients(layer, ROWS, training=True)
    assert all(np.isfinite(slope).all() for slope in grads)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lamina.layers.ReLU(), "no attribute 'kernel' nor 'embeddings'"),
        (lamina.layers.Dense(2, lora_rank=1), "without LoRA"),
    ],
)
def test_a_layer_without_a_kernel_to_normalize(layer, message):
    with pytest.raises(ValueError, match=message):
        lamina.layers.SpectralNormalization(layer)(ROWS)
