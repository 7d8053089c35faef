"""The same seed gives the numbers of `keras.random` on JAX."""

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import random

X = jnp.arange(24.0).reshape(6, 4)
CALLS = [
    ("normal", ((3, 4), 1.0, 2.0), {}),
    ("normal", ((3,),), {"dtype": "bfloat16"}),
    ("truncated_normal", ((50,), 1.0, 2.0), {}),
    ("uniform", ((7,), -1.0, 3.0), {"dtype": "float16"}),
    ("randint", ((9,), 2, 50), {}),
    ("randint", ((9,), 2, 50), {"dtype": "uint8"}),
    ("categorical", (X / 10, 5), {}),
    ("gamma", ((5,), 2.0), {}),
    ("gamma", ((2, 3), jnp.array([1.0, 2.0, 3.0])), {}),
    ("beta", ((5,), 2.0, 3.0), {}),
    ("binomial", ((5,), 10.0, 0.3), {}),
    ("shuffle", (X,), {}),
    ("shuffle", (X, 1), {}),
    ("dropout", (X, 0.4), {}),
    ("dropout", (X, 0.4, (None, 1)), {}),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda c: c[0])
def test_same_numbers_as_keras(call):
    name, args, options = call
    for seed in (0, 1337):
        mine = getattr(random, name)(*args, **options, seed=seed)
        expected = getattr(keras.random, name)(*args, **options, seed=seed)
        assert mine.dtype == expected.dtype
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(expected))


def test_generators_draw_the_same_stream():
    mine, theirs = random.SeedGenerator(5), keras.random.SeedGenerator(5)
    for _ in range(3):
        a, b = random.normal((4,), seed=mine), keras.random.normal((4,), seed=theirs)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_unseeded_draws_differ_and_follow_the_global_seed():
    lamina.utils.set_random_seed(3)
    first, second = random.uniform((4,)), random.uniform((4,))
    assert not (first == second).all()
    lamina.utils.set_random_seed(3)
    assert (first == random.uniform((4,))).all()


def test_unseeded_draws_and_layers_are_those_of_keras():
    drawn = []
    for library in (lamina, keras):
        library.utils.set_random_seed(3)
        before = library.layers.Dense(2)
        numbers = [library.random.normal((4,)) for _ in range(3)]
        numbers.append(library.random.uniform((4,)))
        after = library.layers.Dense(2)
        for layer in (before, after):
            layer.build((None, 3))
            numbers.append(layer.kernel)
        drawn.append([np.asarray(number) for number in numbers])
    for mine, theirs in zip(*drawn, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="floating point dtype"):
        random.normal((2,), dtype="int32")
    with pytest.raises(ValueError, match="integer `dtype`"):
        random.randint((2,), 0, 5, dtype="float32")
    with pytest.raises(ValueError, match="rate=1.5"):
        random.dropout(X, 1.5)
    with pytest.raises(ValueError, match="2-D"):
        random.categorical(X[0], 3)


def test_a_seed_generator_takes_the_backend_that_layers_of_keras_pass():
    seeds = lamina.random.SeedGenerator(3, backend=None)
    assert [int(n) for n in seeds.next()] == [3, 0]
    with pytest.raises(ValueError, match="Unrecognized"):
        lamina.random.SeedGenerator(3, frontend=None)
