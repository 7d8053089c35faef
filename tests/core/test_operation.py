"""A user's own operations: on arrays, in graphs, in files."""

import numpy as np
import pytest

import lamina

X = np.arange(6, dtype="float32").reshape(2, 3)


@lamina.saving.register_keras_serializable("tests")
class Affine(lamina.Operation):
    def __init__(self, factor, *, offset=1.0, name=None):
        super().__init__(name=name)
        self.factor, self.offset = factor, offset

    def call(self, x, y=None):
        z = x * self.factor + self.offset
        return z if y is None else (z, y + z)


def test_on_arrays_and_in_a_graph():
    operation = Affine(2.0, name="affine")
    np.testing.assert_array_equal(operation(X), X * 2 + 1)
    with pytest.raises(AttributeError, match="never been called on a symbolic"):
        _ = operation.input
    a, b = lamina.Input((3,)), lamina.Input((3,))
    one, two = operation(a, y=b)
    assert operation.input[0] is a and operation.input[1] is b
    assert operation.output[0] is one and one.shape == (None, 3)
    model = lamina.Model([a, b], two)
    assert operation in model.operations and operation not in model.layers
    np.testing.assert_array_equal(model([X, X]), X * 3 + 1)


def test_a_model_with_it_comes_back_from_its_config():
    x = lamina.Input((3,))
    model = lamina.Model(x, Affine(3.0, offset=0.5)(x))
    again = lamina.Model.from_config(model.get_config())
    np.testing.assert_array_equal(again(X), X * 3 + 0.5)
    assert again.get_config() == model.get_config()


class Positional(lamina.Operation):
    def __init__(self, *factors):
        super().__init__()


class Own(Affine):
    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def test_configs():
    assert Affine(2, name="a").get_config() == {"factor": 2, "offset": 1.0, "name": "a"}
    assert Affine.from_config({"factor": 2, "name": "b"}).name == "b"
    assert Own(2, name="own").get_config() == {"name": "own", "factor": 2}
    assert Positional().get_config() == {}
    for bad in (Affine(X), Positional(1, 2)):
        with pytest.raises(NotImplementedError, match="Write `get_config"):
            bad.get_config()


def test_names_are_checked():
    with pytest.raises(ValueError, match="cannot contain character `/`.*'a/b'"):
        Affine(1, name="a/b")
    with pytest.raises(NotImplementedError, match="`call` method"):
        lamina.Operation()(X)


def test_function_between_inner_tensors():
    x = lamina.Input((3,))
    a = x * 2
    c = (a + 1) ** 2
    function = lamina.Function(a, c)
    names = [operation.name.partition("_")[0] for operation in function.operations]
    assert names == ["add", "power"]
    np.testing.assert_array_equal(function(X), (X + 1) ** 2)
    assert function.symbolic_call(lamina.Input((3,))).shape == (None, 3)
