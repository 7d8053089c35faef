"""`config`, `backend`, `tree`, `utils` and `dtype_policies` against Keras."""

import ast
import collections
import importlib
import itertools
from pathlib import Path

import jax.numpy as jnp
import keras
import numpy as np
import pytest
from PIL import Image

import lamina
from lamina import backend, config, dtype_policies, tree, utils

SOURCE = Path(lamina.__file__).parent

DTYPES = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 "
    "float64 complex64 complex128"
).split()
Point = collections.namedtuple("Point", "x y")
NESTED = {"b": [1, (2, None)], "a": Point(3, [4])}


def test_result_type_is_keras_on_all_pairs():
    for pair in itertools.product([*DTYPES, int, float, None], repeat=2):
        assert backend.result_type(*pair) == keras.backend.result_type(*pair), pair
    assert backend.result_type() == "float32"


@pytest.mark.parametrize("space", ["backend", "config", "tree", "dtype_policies"])
def test_names(space):
    theirs = {n for n in dir(getattr(keras, space)) if not n.startswith("_")}
    assert theirs <= set(getattr(lamina, space).__all__)


# What `import *` takes here and not from Keras.
MORE = {
    "saving": {"limits"},
    "config": {"explain_recompiles", "set_explain_recompiles"},
    "export": {"Endpoint", "Exported", "load"},
    "models": {"Function", "Functional"},
    "ops": {*dir(keras.ops.image)},
}


@pytest.mark.parametrize(
    "space",
    [
        "activations", "callbacks", "config", "constraints", "distillation", "export",
        "initializers", "layers", "losses", "metrics", "models", "ops", "optimizers",
        "optimizers.schedules", "quantizers", "random", "regularizers", "saving",
        "utils", "visualization", "wrappers",
    ],
)  # fmt: skip
def test_import_star_takes_what_it_takes_from_keras(space):
    taken = []
    for package in ("keras", "lamina"):
        names: dict = {}
        exec(f"from {package}.{space} import *", names)
        taken.append({*names} - {"__builtins__"})
    theirs, ours = taken
    assert theirs <= ours
    assert ours - theirs <= MORE.get(space, set())


@pytest.mark.parametrize("stub", sorted(SOURCE.rglob("*.pyi")), ids=str)
def test_a_stub_is_the_list_of_names_that_are_loaded_on_first_use(stub):
    """What the run time reads from it is what type checkers do."""
    place = stub.relative_to(SOURCE.parent).parent
    module = importlib.import_module(".".join(place.parts))
    seen, names = {}, {}
    for line in ast.parse(stub.read_text()).body:
        if isinstance(line, ast.ImportFrom):
            for alias in line.names:
                home = importlib.import_module(line.module)
                thing = getattr(home, alias.name)
                (names if alias.asname == alias.name else seen)[alias.name] = thing
                assert alias.asname in (None, alias.name)
        elif isinstance(line, ast.Assign):
            (target,) = line.targets
            names[target.id] = (names | seen)[line.value.id]
    assert set(module.__all__) - {"__version__", "version"} == set(names)
    for name, thing in names.items():
        assert getattr(module, name) is thing
        assert name in dir(module)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing


def test_settings_come_back():
    assert config.backend() == "jax"
    with pytest.raises(ValueError, match="one engine"):
        config.set_backend("torch")
    config.disable_interactive_logging()
    assert not utils.is_interactive_logging_enabled()
    config.enable_interactive_logging()
    config.set_max_epochs(2)
    assert config.max_epochs() == 2
    config.set_max_epochs(None)
    assert (backend.get_uid("a"), backend.get_uid("a")) == (1, 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.flatten(NESTED),
        lambda t: t.map_structure(lambda v: (v or 0) * 2, NESTED),
        lambda t: t.map_structure(lambda v: v * 2, NESTED, none_is_leaf=False),
        lambda t: t.pack_sequence_as(NESTED, list("vwxyz")),
        lambda t: t.lists_to_tuples(NESTED),
        lambda t: t.map_structure_up_to([0, 0], lambda v: v, [[1, 2], 3]),
        lambda t: t.map_shape_structure(lambda s: len(s), {"a": (1, None), "b": [2]}),
        lambda t: t.traverse(lambda v: v + 1 if isinstance(v, int) else None, NESTED),
        lambda t: t.traverse(
            lambda v: tuple(v) if isinstance(v, list) else None, NESTED, top_down=False
        ),
        lambda t: t.traverse(lambda v: t.MAP_TO_NONE if v == 4 else None, NESTED),
        lambda t: [t.is_nested(v) for v in (1, None, [], (), {}, "a", np.ones(2))],
        lambda t: [tuple(p) for p, _ in t.flatten_with_path({"a": [1, 2], "b": (3,)})],
    ],
)
def test_tree(call):
    assert call(tree) == call(keras.tree)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda t: t.assert_same_structure([1], (1,)), ValueError),
        (lambda t: t.assert_same_structure([1], [1, 2]), ValueError),
        (lambda t: t.assert_same_paths([1], [1, 2]), ValueError),
        (lambda t: t.map_structure(1, [1]), TypeError),
        (lambda t: t.map_structure(len), ValueError),
        (lambda t: t.pack_sequence_as([1, 2], [1]), ValueError),
        (lambda t: t.pack_sequence_as([1, 2], 1), TypeError),
    ],
)
def test_tree_refuses(call, error):
    for t in (tree, keras.tree):
        with pytest.raises(error):
            call(t)


@pytest.mark.parametrize(
    "call",
    [
        lambda u: u.to_categorical([0, 2, 1]),
        lambda u: u.to_categorical([[1], [0]], 4),
        lambda u: u.normalize(np.array([[3.0, 4.0], [0.0, 0.0]])),
        lambda u: u.normalize(np.arange(9.0).reshape(3, 3), 1, 1),
        lambda u: u.pad_sequences([[1], [2, 3], [4, 5, 6]]),
        lambda u: u.pad_sequences([[1], [2, 3]], 3, "float32", "post", "post", -1.0),
        lambda u: u.pad_sequences([[1, 2, 3], [], [4]], 2, truncating="post"),
        lambda u: u.pad_sequences([[[1, 2]], [[3, 4], [5, 6]]]),
    ],
)
def test_utils_on_numbers(call):
    mine, theirs = call(utils), call(keras.utils)
    assert mine.dtype == theirs.dtype
    np.testing.assert_array_equal(mine, theirs)


def test_normalize_divides_along_the_axis():
    # Keras 3.15 divides the rows by the norms of the columns.
    x = np.arange(1.0, 7.0).reshape(2, 3)
    np.testing.assert_allclose(utils.normalize(x, 0, 1).sum(0), 1)


def test_samples():
    for data in (1, (1,), (1, 2), (1, 2, 3), [1, 2]):
        expected = keras.utils.unpack_x_y_sample_weight(data)
        assert utils.unpack_x_y_sample_weight(data) == expected
    for parts in ((1,), (1, 2), (1, 2, 3), ((1, 2),)):
        expected = keras.utils.pack_x_y_sample_weight(*parts)
        assert utils.pack_x_y_sample_weight(*parts) == expected


def test_source_inputs():
    a, b = lamina.Input((3,)), lamina.Input((3,))
    found = utils.get_source_inputs((a + b) * a)
    assert {id(x) for x in found} == {id(a), id(b)}


def test_images(tmp_path):
    x = np.arange(60, dtype="float32").reshape(4, 5, 3) * 4
    utils.save_img(tmp_path / "x.png", x, scale=False)
    for options in (
        {}, {"color_mode": "grayscale"}, {"target_size": (6, 7)},
        {"target_size": (2, 2), "keep_aspect_ratio": True, "interpolation": "bilinear"},
    ):  # fmt: skip
        mine = utils.load_img(tmp_path / "x.png", **options)
        theirs = keras.utils.load_img(tmp_path / "x.png", **options)
        assert isinstance(mine, Image.Image)
        np.testing.assert_array_equal(
            utils.img_to_array(mine), keras.utils.img_to_array(theirs)
        )
    for scale in (True, False):
        np.testing.assert_array_equal(
            np.asarray(utils.array_to_img(x, scale=scale)),
            np.asarray(keras.utils.array_to_img(x, scale=scale)),
        )
    with pytest.raises(ValueError, match="interpolation"):
        utils.load_img(tmp_path / "x.png", target_size=(2, 2), interpolation="cubic")


def test_config_object():
    c = utils.Config(a=1)
    c.b = 2
    assert (c["b"], c.to_json(), sorted(c), "a" in c) == (
        2, '{"a": 1, "b": 2}', ["a", "b"], True,
    )  # fmt: skip
    c.freeze()
    with pytest.raises(ValueError, match="frozen"):
        c.a = 3
    with pytest.raises(AttributeError, match="no entry 'z'"):
        _ = c.z


def test_policy_map():
    policies = dtype_policies.DTypePolicyMap("float32")
    policies["encoder/.*"] = lamina.DTypePolicy("mixed_bfloat16")
    assert policies["encoder/dense"].compute_dtype == "bfloat16"
    assert policies["decoder"].compute_dtype == "float32"
    with pytest.raises(ValueError, match="already exist"):
        policies["encoder/.*"] = "float16"
    policies["encoder/d.*"] = lamina.DTypePolicy("float16")
    with pytest.raises(ValueError, match="multiple"):
        policies["encoder/dense"]
    again = dtype_policies.deserialize(dtype_policies.serialize(policies))
    assert again == policies


def test_numbers_of_jax_stay_jax():
    for given, expected in (
        (utils.to_categorical(jnp.array([0, 1])), np.eye(2)),
        (utils.normalize(jnp.array([3.0, 4.0])), [0.6, 0.8]),
    ):
        assert isinstance(given, jnp.ndarray)
        np.testing.assert_allclose(given, expected, rtol=1e-6)
