import jax
import keras
import numpy as np
import pytest

from lamina import initializers
from lamina.core.random import SeedGenerator
from lamina.core.variable import Variable, pure

DRAWS = [
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "LecunNormal",
    "LecunUniform",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
]


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("shape", [(), (7,), (3, 4), (3, 3, 5, 8)])
def test_same_seed_gives_the_numbers_of_keras(name, shape):
    ours = getattr(initializers, name)(seed=5)(shape)
    theirs = getattr(keras.initializers, name)(seed=5)(shape)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["GlorotUniform", "RandomNormal", "TruncatedNormal"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_gives_the_numbers_of_keras(name, dtype):
    ours = getattr(initializers, name)(seed=2)((6, 5), dtype)
    theirs = getattr(keras.initializers, name)(seed=2)((6, 5), dtype)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_mean_and_deviation_reach_the_numbers():
    ours = initializers.RandomNormal(0.5, 0.25, seed=3)((400, 100))
    assert abs(float(ours.mean()) - 0.5) < 4 * 0.25 / 200
    assert abs(float(ours.std()) - 0.25) < 4 * 0.25 / 280
    theirs = keras.initializers.RandomNormal(0.5, 0.25, seed=3)((400, 100))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=6e-8)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize(
    "distribution", ["uniform", "truncated_normal", "untruncated_normal"]
)
def test_variance_scaling_has_the_variance(mode, distribution):
    kwargs = {"scale": 3.0, "mode": mode, "distribution": distribution, "seed": 1}
    shape = (300, 100)
    ours = np.asarray(initializers.VarianceScaling(**kwargs)(shape))
    fans = {"fan_in": 300, "fan_out": 100, "fan_avg": 200}
    assert ours.var() == pytest.approx(3.0 / fans[mode], rel=0.03)
    theirs = keras.initializers.VarianceScaling(**kwargs)(shape)
    np.testing.assert_array_equal(ours, theirs)


def test_axes_say_what_is_input_and_output():
    kwargs = {"seed": 1, "input_axes": (0,), "output_axes": (1, 2)}
    ours = initializers.HeUniform(**kwargs)((4, 2, 3))
    theirs = keras.initializers.HeUniform(**kwargs)((4, 2, 3))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 3, 4)])
def test_orthogonal(shape):
    ours = np.asarray(initializers.Orthogonal(gain=2.0, seed=4)(shape))
    theirs = keras.initializers.Orthogonal(gain=2.0, seed=4)(shape)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    matrix = ours.reshape(-1, shape[-1]) / 2.0
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    product = matrix.T @ matrix
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-6)


def test_an_initializer_without_a_seed_repeats_itself_but_not_its_clone():
    first = initializers.GlorotUniform()
    np.testing.assert_array_equal(first((3, 3)), first((3, 3)))
    assert first.get_config()["seed"] is None
    assert (np.asarray(first((3, 3))) != np.asarray(first.clone()((3, 3)))).any()


def test_a_seed_generator_moves_on():
    seeds = initializers.draws.SeedGenerator(3)
    first = initializers.RandomUniform(seed=seeds)
    assert (np.asarray(first((4,))) != np.asarray(first((4,)))).any()
    assert int(seeds.state.value[1]) == 2


def test_a_variable_starts_from_it():
    v = Variable(initializers.HeNormal(seed=1), shape=(3, 2), dtype="float16")
    expected = initializers.HeNormal(seed=1)((3, 2), "float16")
    assert v.dtype == expected.dtype == "float16"
    np.testing.assert_array_equal(v, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.VarianceScaling(scale=0), "scale=0"),
        (lambda: initializers.VarianceScaling(mode="fan"), "mode='fan'"),
        (lambda: initializers.VarianceScaling(distribution="beta"), "'beta'"),
        (lambda: initializers.RandomNormal(seed="x"), "seed='x'"),
        (lambda: initializers.Orthogonal()((3,)), r"shape=\(3,\)"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", [*DRAWS, "Orthogonal", "Zeros", "Ones", "Identity"])
def test_the_same_bits_inside_of_compiled_code(name):
    cls = getattr(initializers, name)
    first = cls() if name in ("Zeros", "Ones", "Identity") else cls(seed=3)
    for shape in ((8, 8), (300, 280)):
        compiled = jax.jit(lambda shape=shape: first(shape))()
        np.testing.assert_array_equal(first(shape), compiled, strict=True)


@pytest.mark.parametrize("name", ["Zeros", "RandomNormal"])
def test_a_large_value_is_no_constant_of_the_program_around(name):
    first = getattr(initializers, name)()
    program = jax.jit(lambda: first((1000, 1000))).lower().as_text()
    assert len(program) < 100_000


def test_a_generator_is_not_drawn_from_inside_of_compiled_code():
    seeds = SeedGenerator(1)
    first = initializers.RandomNormal(seed=seeds)
    with pytest.raises(ValueError, match="assigned inside a function that JAX is"):
        jax.jit(lambda: first((3,)))()
    explicit = jax.jit(pure(lambda: (first((3,)), first((3,))), [seeds.state]))
    drawn, _ = explicit((seeds.state.value,))
    np.testing.assert_array_equal(drawn, (first((3,)), first((3,))))
    assert not np.array_equal(*drawn)
