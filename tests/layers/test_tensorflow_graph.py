"""Layers in a graph of TensorFlow's, whose functions here keep what is drawn."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import lamina
from lamina import layers


class Tensor(SimpleNamespace):
    def set_shape(self, shape):
        self.shape = shape


@pytest.fixture
def graph(monkeypatch):
    """A `tensorflow` that draws a graph, and the functions that it would run."""
    drawn, tf = [], ModuleType("tensorflow")

    def numpy_function(run, tensors, dtypes):
        drawn.append(run)
        return [Tensor(dtype=dtype, shape=None) for dtype in dtypes]

    tf.__dict__.update(
        executing_eagerly=lambda: False,
        is_tensor=lambda x: isinstance(x, Tensor),
        numpy_function=numpy_function,
        as_dtype=str,
        autograph=SimpleNamespace(
            experimental=SimpleNamespace(do_not_convert=lambda function: function)
        ),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", tf)
    return drawn


class Draws(layers.Layer):
    def __init__(self):
        super().__init__()
        self.seeds = lamina.random.SeedGenerator(3)

    def call(self, x):
        return {"same": x, "drawn": lamina.random.uniform((2,), seed=self.seeds)}


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Dense(4),
        lambda: layers.Rescaling(2.0),
        lambda: lamina.Sequential([layers.Rescaling(2.0), layers.Dense(4)]),
        lambda: lamina.Sequential([lamina.Input((3,)), layers.Dense(4)]),
    ],
)
def test_a_layer_is_drawn_as_a_function_of_arrays(graph, make):
    layer, x = make(), np.arange(6.0, dtype="float32").reshape(2, 3)
    given = Tensor(shape=(None, 3), dtype=SimpleNamespace(name="float32"))
    output = layer(given)
    expected = layer.compute_output_shape((None, 3))
    assert (output.dtype, output.shape) == ("float32", expected)
    (run,) = graph
    sys.modules.pop("tensorflow")
    np.testing.assert_allclose(run(x)[0], layer(x), rtol=1e-6)


def test_a_layer_draws_numbers_each_time_the_graph_runs(graph):
    given = Tensor(shape=(None, 3), dtype=SimpleNamespace(name="float32"))
    output = Draws()(given)
    assert {k: v.shape for k, v in output.items()} == {"same": (None, 3), "drawn": (2,)}
    sys.modules.pop("tensorflow")
    x = np.ones((5, 3), "float32")
    first, second = (graph[0](x) for _ in range(2))
    assert [x.shape for x in first] == [(2,), (5, 3)]
    assert (first[0] != second[0]).all()


def test_both_errors_of_a_call_that_converts_nothing_are_shown(graph):
    class Narrow(layers.Layer):
        def call(self, x):
            return lamina.ops.matmul(x, np.ones((7, 7), "float32"))

    layer = Narrow()
    layer._convert_input_args = False
    layer._allow_non_tensor_positional_args = True
    given = Tensor(shape=(None, 3), dtype=SimpleNamespace(name="float32"))
    with pytest.raises(TypeError, match="Tensor") as caught:
        layer(given)
    assert "(2, 3)" not in str(caught.value)
    assert "7" in str(caught.value.__cause__)  # the shapes, which are what is wrong
    assert not graph
