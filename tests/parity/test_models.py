"""The same graphs in Lamina and in real Keras: order, configs, numbers."""

import json

import jax
import keras
import numpy as np
import pytest

import lamina
from lamina.core import structure
from tests.layers.parity import plain
from tests.models import graphs


def essential(config):
    """A config without masks that are None, and without the shapes to build with."""
    if isinstance(config, list):
        return [essential(x) for x in config]
    if not isinstance(config, dict):
        return config
    kept = {k: essential(v) for k, v in config.items() if k != "build_config"}
    if kept.get("mask", 0) in (None, [None, None]):
        del kept["mask"]
    return kept


def built(graph):
    """The graph in both libraries, with the same weights."""
    pair = []
    for library in (lamina, keras):
        library.utils.clear_session()
        library.utils.set_random_seed(1)
        pair.append(graph(library))
    ours, theirs = pair
    random = np.random.default_rng(0)
    values = [random.normal(size=w.shape).astype("float32") for w in theirs.weights]
    # Variances have to be positive.
    values = [np.abs(v) + 0.5 for v in values]
    theirs.set_weights(values)
    ours.set_weights(values)
    return ours, theirs


def inputs_for(model):
    random = np.random.default_rng(2)

    def array(tensor):
        shape = (3, *tensor.shape[1:])
        if "int" in tensor.dtype:
            return random.integers(0, 4, shape).astype(tensor.dtype)
        return random.normal(size=shape).astype("float32")

    return structure.map_leaves(array, model.input)


def same(ours, theirs):
    a, b = structure.flatten(ours), jax.tree.leaves(theirs)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("graph", graphs.ALL, ids=lambda g: g.__name__)
def test_graph(graph):
    ours, theirs = built(graph)
    assert [x.name for x in ours.layers] == [x.name for x in theirs.layers]
    assert [x.name for x in ours.operations] == [x.name for x in theirs.operations]
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    assert [w.path for w in ours.trainable_weights] == [
        w.path for w in theirs.trainable_weights
    ]
    # Keras gives these flat; here they keep the structure.
    assert structure_of_shapes(ours.output_shape) == structure_of_shapes(
        theirs.output_shape
    )
    assert structure_of_shapes(ours.input_shape) == structure_of_shapes(
        theirs.input_shape
    )
    assert ours.output_names == theirs.output_names
    assert ours.count_params() == theirs.count_params()
    data = inputs_for(ours)
    expected = theirs(data)
    same(ours(data), expected)

    config, reference = plain(ours.get_config()), plain(theirs.get_config())
    assert essential(config) == essential(reference)
    copy = lamina.Model.from_config(reference)
    copy.set_weights(ours.get_weights())
    same(copy(data), expected)
    assert essential(plain(copy.get_config())) == essential(config)
    back = keras.Model.from_config(config)
    back.set_weights(theirs.get_weights())
    same(back(data), expected)

    ours_json, theirs_json = ours.to_json(), theirs.to_json()
    assert essential(json.loads(ours_json)) == essential(json.loads(theirs_json))
    copy = lamina.models.model_from_json(theirs_json)
    assert type(copy) is type(ours)
    assert essential(json.loads(copy.to_json())) == essential(json.loads(ours_json))


def structure_of_shapes(shapes):
    """The shapes alone, flat, in the order of the tensors."""
    return jax.tree.leaves(shapes, is_leaf=lambda x: isinstance(x, tuple))


def stacks():
    return {
        "list": lambda k: k.Sequential([k.Input((3,)), k.layers.Dense(2)]),
        "named": lambda k: k.Sequential(
            [k.layers.Dense(4, input_shape=(3,)), k.layers.Dense(2)], name="stack"
        ),
        "no shape": lambda k: k.Sequential([k.layers.Dense(4), k.layers.Dense(2)]),
        "nested": lambda k: k.Sequential(
            [
                k.Input((3,)),
                k.Sequential([k.layers.Dense(4), k.layers.Dense(2)], name="inner"),
                k.layers.Dense(1),
            ]
        ),
        "inner with a shape": lambda k: k.Sequential(
            [
                k.Sequential([k.Input((3,)), k.layers.Dense(4)], name="inner"),
                k.layers.Dense(1),
            ]
        ),
        "frozen": lambda k: k.Sequential(
            [k.Input((3,)), k.layers.Dense(4, trainable=False), k.layers.Dense(1)]
        ),
        "input only": lambda k: k.Sequential([k.Input((3,))]),
        "empty": lambda k: k.Sequential(),
    }


@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning")
@pytest.mark.parametrize("name", stacks())
def test_sequential(name):
    pair = []
    for library in (lamina, keras):
        library.utils.clear_session()
        pair.append(stacks()[name](library))
    ours, theirs = pair
    assert [x.name for x in ours.layers] == [x.name for x in theirs.layers]
    assert essential(plain(ours.get_config())) == essential(plain(theirs.get_config()))
    for model in pair if ours.layers else []:
        model(np.ones((5, 3), "float32"))
        model(np.ones((2, 3), "float32"))
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    assert [w.trainable for w in ours.weights] == [w.trainable for w in theirs.weights]
    assert len(ours.trainable_weights) == len(theirs.trainable_weights)
    config, reference = plain(ours.get_config()), plain(theirs.get_config())
    assert essential(config) == essential(reference)
    copy = lamina.Sequential.from_config(reference)
    assert plain(copy.get_config()) == config
    assert keras.Sequential.from_config(config).name == ours.name
    if ours.layers:
        copy.set_weights(ours.get_weights())
        theirs.set_weights(ours.get_weights())
        data = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
        same(copy(data), theirs(data))
        same(ours(data), theirs(data))
