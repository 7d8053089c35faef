"""The same graphs in Lamina and in real Keras: order, configs, numbers."""

import json

import jax
import keras
import numpy as np
import pytest

import lamina
from lamina.core import structure
from tests.models import graphs


def plain(config):
    return json.loads(json.dumps(config))


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
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    assert [w.path for w in ours.trainable_weights] == [
        w.path for w in theirs.trainable_weights
    ]
    assert plain(ours.get_config()) == plain(theirs.get_config())
    data = inputs_for(ours)
    same(ours(data), theirs(data))
    same(ours(data, training=False), theirs(data, training=False))
    assert ours.output_shape == theirs.output_shape
    assert ours.input_shape == theirs.input_shape
    assert ours.output_names == theirs.output_names
    assert ours.count_params() == theirs.count_params()


@pytest.mark.parametrize("graph", graphs.ALL, ids=lambda g: g.__name__)
def test_configs_go_both_ways(graph):
    ours, theirs = built(graph)
    data = inputs_for(ours)
    copy = lamina.Model.from_config(plain(theirs.get_config()))
    copy.set_weights(ours.get_weights())
    same(copy(data), theirs(data))
    assert plain(copy.get_config()) == plain(theirs.get_config())
    back = keras.Model.from_config(plain(ours.get_config()))
    back.set_weights(theirs.get_weights())
    same(ours(data), back(data))


@pytest.mark.parametrize("graph", graphs.ALL, ids=lambda g: g.__name__)
def test_json_goes_both_ways(graph):
    ours, theirs = built(graph)
    a, b = json.loads(ours.to_json()), json.loads(theirs.to_json())
    # Which Keras wrote the file is noted by Keras alone.
    assert a["config"] == b["config"]
    assert a["class_name"] == b["class_name"]
    copy = lamina.models.model_from_json(theirs.to_json())
    assert type(copy) is type(ours)
    data = inputs_for(ours)
    copy.set_weights(ours.get_weights())
    same(copy(data), ours(data))


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
        "frozen whole": lambda k: k.Sequential(
            [k.Input((3,)), k.layers.Dense(4)], trainable=False
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
    assert plain(ours.get_config()) == plain(theirs.get_config())
    assert [x.name for x in ours.layers] == [x.name for x in theirs.layers]
    for model in pair if ours.layers else []:
        model(np.ones((5, 3), "float32"))
        model(np.ones((2, 3), "float32"))
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    assert [w.trainable for w in ours.weights] == [w.trainable for w in theirs.weights]
    assert len(ours.trainable_weights) == len(theirs.trainable_weights)
    config = plain(ours.get_config())
    assert config == plain(theirs.get_config())
    copy = lamina.Sequential.from_config(plain(theirs.get_config()))
    assert plain(copy.get_config()) == config
    if ours.layers:
        copy.set_weights(ours.get_weights())
        theirs.set_weights(ours.get_weights())
        data = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
        same(copy(data), theirs(data))
        same(ours(data), theirs(data))
