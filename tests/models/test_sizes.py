"""What sizes a model takes: a stack's layers decide, a graph's Inputs do."""

import numpy as np
import pytest

import lamina
from lamina import layers


def images():
    return [layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(1)]


def steps():
    return [layers.SimpleRNN(3, return_sequences=True), layers.Dense(1)]


def built(made, shape):
    net = lamina.Sequential(made())
    net.build(shape)
    return net


def begun(made, shape):
    return lamina.Sequential([lamina.Input(batch_shape=shape), *made()])


def read_back(made, shape):
    return lamina.Sequential.from_config(built(made, shape).get_config())


def nested(made, shape):
    free = lamina.Input((*[None] * (len(shape) - 2), shape[-1]))
    return lamina.Model(free, built(made, shape)(free))


@pytest.mark.parametrize("way", [built, begun, read_back, nested])
@pytest.mark.parametrize(
    ("made", "first", "others"),
    [
        (images, (None, 10, 10, 3), [(2, 8, 8, 3), (2, 4, 5, 3)]),
        (steps, (None, 5, 4), [(2, 7, 4), (2, 1, 4)]),
    ],
)
def test_a_stack_takes_other_sizes_than_it_was_built_for(way, made, first, others):
    net = way(made, first)
    plain = lamina.Sequential(made())
    for shape in [(2, *first[1:]), *others]:
        x = np.random.default_rng(0).normal(size=shape).astype("float32")
        plain(x)
        plain.set_weights(net.get_weights())
        np.testing.assert_allclose(net(x), plain(x), rtol=1e-5)
        np.testing.assert_allclose(net.predict(x, verbose=0), plain(x), rtol=1e-5)
    net.compile("sgd", "mse")
    net.fit(x, np.asarray(plain(x)), verbose=0)


def test_what_its_layers_cannot_take_they_refuse():
    net = built(images, (None, 10, 10, 3))
    with pytest.raises(ValueError, match="Conv2D"):
        net(np.ones((2, 10, 10, 4)))
    with pytest.raises(ValueError, match="expected shape="):
        net(np.ones((2, 10, 10)))
    assert net(lamina.Input((8, 8, 3))).shape == (None, 1)


def test_a_graph_keeps_the_sizes_of_its_inputs():
    x = lamina.Input((5, 4))
    net = lamina.Model(x, layers.Dense(1)(x))
    with pytest.raises(ValueError, match="found shape=\\(2, 7, 4\\)"):
        net(np.ones((2, 7, 4)))
