"""What layers change in the branches of `cond` and `switch` is changed."""

import jax
import numpy as np
import pytest

import lamina
from lamina import layers, ops


class Branching(layers.Layer):
    """Adds up what it saw, in one of two sums; draws numbers in one branch."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.sums = [
            self.add_weight(shape=(), initializer="zeros", trainable=False)
            for _ in range(2)
        ]
        self.dropout = layers.Dropout(0.5, seed=1)

    def call(self, x, training=None):
        def first():
            self.sums[0].assign_add(1.0)
            return self.dropout(x, training=training)

        def second():
            self.sums[1].assign_add(ops.mean(x))
            return x

        positive = ops.sum(x) > 0
        if self.way == "cond":
            return ops.cond(positive, first, second)
        index = ops.cast(positive, "int32")
        return ops.switch(index, [lambda x: second(), lambda x: first()], x)


@pytest.mark.parametrize("way", ["cond", "switch"])
@pytest.mark.parametrize("eager", [False, True])
def test_in_training(way, eager):
    layer = Branching(way)
    model = lamina.Sequential([layers.Input((2,)), layer, layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=eager)
    x = np.array([[1, 2], [-3, -1], [2, 2], [-5, -5]], "float32")
    model.fit(x, np.ones((4, 1)), batch_size=1, shuffle=False, verbose=0)
    assert [float(s) for s in layer.sums] == [2.0, -7.0]
    # The two steps of the first branch have drawn, and the others have not.
    seed = layer.dropout.seed_generator.state
    once = layers.Dropout(0.5, seed=1)
    for _ in range(2):
        once(x, training=True)
    np.testing.assert_array_equal(seed, once.seed_generator.state)


def test_gradients_and_numbers():
    def chosen(x):
        return ops.switch(
            ops.cast(x, "int32"), [lambda y: y, lambda y: y**2, lambda y: 3 * y], x
        )

    for x, value, slope in ((-4.0, -4, 1), (1.5, 2.25, 3), (7.0, 21, 3)):
        assert float(chosen(x)) == float(jax.jit(chosen)(x)) == value
        assert float(jax.grad(chosen)(x)) == slope


def test_branches_within_branches_are_traced_once():
    traced = []

    def nested(x, depth):
        if depth == 0:
            traced.append(x)
            return x + 1
        return ops.cond(x > 0, lambda: nested(x, depth - 1), lambda: x)

    assert float(jax.jit(lambda x: nested(x, 5))(2.0)) == 3.0
    assert len(traced) == 1
