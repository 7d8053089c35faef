"""Names, seeds, dtypes, policies: the small things everything depends on."""

import itertools
import random
import threading

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina.core.context import context, having
from lamina.core.dtypes import ALLOWED, dtype_of, result_type, standardize_dtype
from lamina.core.naming import automatic_name, nearest, snake_case, uid
from lamina.core.policy import get_policy
from lamina.core.random import draw_seed
from lamina.core.variable import Variable, binding, marked


@pytest.mark.parametrize(
    "name", ["Dense", "MaxPooling2D", "LSTM", "ConvLSTM2D", "RNNCell", "My_Layer",
             "ReLU", "GlobalAveragePooling1D", "A", "HTMLParser2", "<lambda>"],
)  # fmt: skip
def test_snake_case_is_kerass(name):
    from keras.src.utils.naming import to_snake_case

    assert snake_case(name) == to_snake_case(name)


def test_automatic_names():
    assert [automatic_name("a") for _ in range(3)] == ["a", "a_1", "a_2"]
    assert [uid("u"), uid("u")] == [1, 2]
    lamina.utils.clear_session()
    assert automatic_name("a") == "a"


def test_nearest():
    assert nearest("denze", ["Dense", "Conv"]) == " Did you mean 'Dense'?"
    assert nearest("xyz", ["Dense"]) == ""


def test_context_falls_back():
    with pytest.raises(KeyError):
        with having(arguments={"training": True}, scopes=("a",)):
            assert context.arguments == {"training": True}
            raise KeyError
    assert context.arguments == {} and context.scopes == ()


def test_what_a_config_is_read_with_falls_back():
    with having(context.configs, shared={}, safe_mode=True), pytest.raises(KeyError):
        with having(context.configs, shared=None):
            assert context.configs.shared is None and context.configs.safe_mode is True
            context.configs.safe_mode = False  # for the rest of the outer block
            raise KeyError
        assert context.configs.shared == {} and context.configs.safe_mode is False
    assert context.configs.shared is None and context.configs.safe_mode is None


def test_each_thread_reads_configs_on_its_own():
    seen = []
    with having(context.configs, shared={}):
        thread = threading.Thread(target=lambda: seen.append(context.configs.shared))
        thread.start()
        thread.join()
    assert seen == [None]


def test_a_mark_says_what_runs_and_binds_nothing():
    a, b = Variable(1.0), Variable(2.0)
    with marked("named"):
        assert context.runs("named") and not context.runs("symbolic")
        a.assign(3.0)
    assert float(a.value) == 3.0 and not context.runs("named")
    with binding([a], [5.0], open=True) as frame, lamina.SymbolicScope():
        assert context.runs("symbolic")
        a.assign(6.0)
        b.assign(7.0)
    assert [float(v) for v in frame.values.values()] == [6.0, 7.0]
    assert float(a.value) == 3.0 and float(b.value) == 2.0


def test_name_scopes():
    with lamina.name_scope("a"):
        with pytest.raises(KeyError), lamina.name_scope("b"):
            raise KeyError
        assert lamina.Variable(1.0, name="v").path == "a/v"
    with pytest.raises(ValueError, match="without '/'"):
        lamina.name_scope("a/b")


@pytest.mark.parametrize(
    "dtype", [None, float, int, bool, str, "float16", np.float32, np.dtype("int8"),
              jnp.bfloat16, jnp.dtype("uint8"), "complex64"], ids=str,
)  # fmt: skip
def test_dtypes(dtype):
    assert standardize_dtype(dtype) == keras.backend.standardize_dtype(dtype)


@pytest.mark.parametrize("dtype", ["float31", "", object(), 3.5])
def test_unknown_dtypes(dtype):
    with pytest.raises(ValueError, match="Invalid dtype"):
        standardize_dtype(dtype)
    if dtype == "float31":
        with pytest.raises(ValueError, match="Did you mean 'float32'?"):
            standardize_dtype(dtype)


def test_dtype_of():
    values = [
        1,
        1.5,
        True,
        np.ones(1, "int8"),
        jnp.ones(1),
        [1, 2],
        lamina.Variable(1.0),
    ]
    expected = ["int32", "float32", "bool", "int8", "float32", "int32", "float32"]
    assert [dtype_of(v) for v in values] == expected


KINDS = ["bool", "int8", "uint8", "int32", "uint32", "int64", "float16", "bfloat16",
         "float32", "float64", int, float, None]  # fmt: skip


def test_result_types_are_kerass():
    for pair in itertools.product(KINDS, repeat=2):
        assert result_type(*pair) == keras.backend.result_type(*pair), pair
    assert set(ALLOWED) >= {"float32", "string"}


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "mixed_bfloat16",
                                  "mixed_float16", "float64", "int32"])  # fmt: skip
def test_policies(name):
    ours, theirs = lamina.DTypePolicy(name), keras.DTypePolicy(name)
    assert ours.compute_dtype == theirs.compute_dtype
    assert ours.variable_dtype == theirs.variable_dtype
    assert ours.name == theirs.name and ours.get_config() == theirs.get_config()
    assert lamina.DTypePolicy.from_config(ours.get_config()) == ours
    assert get_policy(name) == ours == get_policy(ours) and hash(ours)
    assert ours != lamina.DTypePolicy("uint8")
    assert get_policy(lamina.dtype_policies.serialize(ours)) == ours


def test_bad_policies():
    with pytest.raises(ValueError, match="Did you mean 'mixed_float16'"):
        lamina.DTypePolicy("mixed_float1")
    with pytest.raises(TypeError, match="must be a string"):
        lamina.DTypePolicy(3)
    with pytest.raises(ValueError, match="dtype=3.5"):
        lamina.layers.Dense(2, dtype=3.5)


def test_the_global_policy():
    lamina.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = lamina.layers.Dense(2)
        assert layer(np.ones((1, 3))).dtype == "bfloat16"
        assert layer.kernel.dtype == "float32"
    finally:
        lamina.config.set_dtype_policy("float32")
    assert lamina.layers.Dense(2).compute_dtype == "float32"


# ---- seeds -------------------------------------------------------------------


def test_one_seed_seeds_everything():
    def draws():
        lamina.utils.set_random_seed(3)
        return (
            random.random(), np.random.rand(), float(lamina.random.normal(())),
            lamina.layers.Dense(2)(np.ones((1, 2))).tolist(),
        )  # fmt: skip

    assert draws() == draws()
    with pytest.raises(ValueError, match="to be an integer"):
        lamina.utils.set_random_seed("a")


def test_seeds_give_kerass_numbers():
    for draw in ("normal", "uniform", "truncated_normal"):
        ours = getattr(lamina.random, draw)((3,), seed=5)
        np.testing.assert_array_equal(ours, getattr(keras.random, draw)((3,), seed=5))
    ours, theirs = lamina.random.SeedGenerator(9), keras.random.SeedGenerator(9)
    for _ in range(2):
        np.testing.assert_array_equal(ours.next(), theirs.next())
    assert ours.get_config() == theirs.get_config()
    assert ours.state.path.endswith("seed_generator/seed_generator_state")


def test_bad_seeds():
    for seed in ("a", True, 1.5):
        with pytest.raises(ValueError, match="seed="):
            lamina.random.SeedGenerator(seed)
        with pytest.raises(ValueError, match="seed="):
            draw_seed(seed)
    with pytest.raises(ValueError, match="Unrecognized keyword arguments"):
        lamina.random.SeedGenerator(1, sed=2)


def test_an_unseeded_draw_in_a_compiled_function_raises():
    with pytest.raises(ValueError, match="lamina.random.SeedGenerator()"):
        jax.jit(lambda x: x + lamina.random.normal((2,)))(1.0)


def test_a_generator_in_a_layer_is_state():
    class Noise(lamina.layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed = lamina.random.SeedGenerator(1)

        def call(self, x):
            return x + lamina.random.normal(x.shape, seed=self.seed)

    layer = Noise()
    x = np.zeros((2, 2), "float32")
    first = layer(x)
    assert (layer.variables, layer.weights) == ([layer.seed.state], [])
    call = jax.jit(layer.stateless_call)
    start = [jnp.array([1, 0], "uint32")]
    same, state = call([], start, x)
    np.testing.assert_array_equal(same, first)
    other, _ = call([], state, x)
    assert abs(np.asarray(other) - same).max() > 0.01


@pytest.mark.parametrize(
    "setter, bad", [("set_floatx", "float31"), ("set_image_data_format", "last")]
)
def test_bad_settings(setter, bad):
    with pytest.raises(ValueError, match=bad):
        getattr(lamina.config, setter)(bad)
