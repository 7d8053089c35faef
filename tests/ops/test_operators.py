"""Python's operators on symbolic tensors record ops that replay on arrays."""

import operator

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import ops

BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv,
    operator.mod, operator.pow, operator.eq, operator.ne, operator.lt, operator.le,
    operator.gt, operator.ge,
]  # fmt: skip
LOGIC = [operator.and_, operator.or_, operator.xor]
X = jnp.array([[1.0, -2.0, 3.5], [0.5, 2.0, -1.0]])


def replay(function, *arrays):
    """Draw the graph of `function`, then compute it node by node."""
    inputs = [lamina.KerasTensor((None, *a.shape[1:]), a.dtype) for a in arrays]
    output = function(*inputs)
    values = {id(t): a for t, a in zip(inputs, arrays, strict=True)}

    def value(t):
        if id(t) not in values:
            for parent in t.node.input_tensors:
                value(parent)
            args, kwargs = t.node.fill(values)
            values[id(t)] = t.node.operation(*args, **kwargs)
        return values[id(t)]

    result = value(output)
    assert output.dtype == result.dtype.name
    return result


@pytest.mark.parametrize("op", BINARY, ids=lambda o: o.__name__)
def test_binary(op):
    for f in (lambda a: op(a, 2.0), lambda a: op(2.0, a)):
        np.testing.assert_array_equal(replay(f, X), f(X))
    np.testing.assert_array_equal(replay(op, X, X + 1), op(X, X + 1))


@pytest.mark.parametrize("op", LOGIC, ids=lambda o: o.__name__)
def test_logic(op):
    a, b = X > 0, X > 1
    np.testing.assert_array_equal(replay(op, a, b), op(a, b))
    np.testing.assert_array_equal(replay(lambda v: ~v, a), ~a)


@pytest.mark.parametrize(
    "function",
    [
        lambda v: -v, abs, round, lambda v: v[:, 1:], lambda v: v[..., 0],
        lambda v: v[0],
        lambda v: v.reshape((3, -1)), lambda v: v[:, None].squeeze(1),
        lambda v: v @ np.ones((3, 2), "float32"), lambda v: v[:, ::-1] + v,
    ],
)  # fmt: skip
def test_methods(function):
    np.testing.assert_array_equal(replay(function, X), function(X))


def test_arrays_and_variables_on_the_left():
    x = lamina.KerasTensor((None, 3))
    numbers = np.array([1.0, -2.0, 3.0], "float32")
    for left in (numbers, lamina.Variable(numbers)):
        graph = lamina.Function(x, [left + x, left * x])
        added, scaled = graph(np.full((2, 3), 4.0, "float32"))
        np.testing.assert_array_equal(added, [[5, 2, 7]] * 2)
        np.testing.assert_array_equal(scaled, [[4, -8, 12]] * 2)


def test_a_symbolic_tensor_is_a_key_by_identity():
    x, y = lamina.KerasTensor((3,)), lamina.KerasTensor((3,))
    assert {x: 1, y: 2}[x] == 1


@pytest.mark.parametrize(
    ("draw", "shape"),
    [
        (lambda k: k((None, 3)) + k((2, None)), (2, 3)),
        (lambda k: ops.matmul(k((None, None)), k((3, 4))), (None, 4)),
        (lambda k: ops.dot(k((2, None)), k((3, 4))), (2, 4)),
        (lambda k: ops.concatenate([k((None, 3)), k((None, 3))], 0), (None, 3)),
        (lambda k: ops.nonzero(k((None, 3)))[1], (None,)),
        (lambda k: ops.unique(k((5,))), (None,)),
        (lambda k: ops.bincount(k((None, 4), "int32")), (None, None)),
        (lambda k: ops.reshape(k((None, 4, 3)), (-1, 12)), (None, 12)),
    ],
)
def test_sizes_that_are_not_known(draw, shape):
    assert draw(lamina.KerasTensor).shape == shape


def test_shapes_that_do_not_fit_raise():
    with pytest.raises(ValueError, match=r"`add` .* \(None, 3\), \(2, 4\)"):
        lamina.KerasTensor((None, 3)) + lamina.KerasTensor((2, 4))


def test_a_tensor_is_found_in_a_list_by_identity():
    a, b, c = (lamina.KerasTensor(s) for s in ((2, 3), (2, 3), (4, 5)))
    assert a in [c, b, a] and a not in [b, c, None, "a"]
    assert [c, b, a].index(a) == 2
    assert [a, b] == [a, b] != [b, a]
    assert (a == b).dtype == "bool"
    with pytest.raises(TypeError, match="no value"):
        bool(a == 0)


@pytest.mark.parametrize(
    "key", [(slice(None), 3), (..., 4), -3, (None, 2), (0, ..., -5)]
)
def test_a_place_outside_of_an_array_is_refused(key):
    x = np.zeros((2, 3, 4), "float32")
    with pytest.raises(IndexError):
        x[key]
    with pytest.raises(IndexError, match="out of bounds"):
        ops.get_item(x, key)
    with pytest.raises(ValueError, match="out of bounds"):
        lamina.KerasTensor(x.shape)[key]
    np.testing.assert_array_equal(
        ops.get_item(x, (-2, None, ..., -4)), x[-2, None, ..., -4]
    )


def test_swapped_axes_outside_are_refused():
    with pytest.raises(ValueError, match="out of bounds"):
        ops.swapaxes(lamina.KerasTensor((3, 4)), 5, 0)
    with pytest.raises(ValueError, match=r"newshape=\(-2, 5\)"):
        ops.reshape(np.ones((2, 5)), (-2, 5))
    with pytest.raises(ValueError, match="axis 3"):
        ops.sparse_categorical_crossentropy([1, 1], np.ones((2, 4)), axis=3)


def test_what_is_counted_below_zero_is_counted_as_zero():
    x = jnp.array([-4, 1, 3])
    assert ops.bincount(x).tolist() == keras.ops.bincount(x).tolist() == [1, 1, 0, 1]


def test_distances_of_vectors_are_refused():
    with pytest.raises(ValueError, match=r"x.shape=\(3,\)"):
        ops.cdist(np.ones(3), np.ones(3))


@pytest.mark.parametrize("x", [[1, 2], [1.5], 2.5, np.ones(2), np.ones(2, "int64")])
def test_numpy_keeps_the_dtype_of_what_is_no_tensor(x):
    ours, theirs = ops.convert_to_numpy(x), keras.ops.convert_to_numpy(x)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_root_mean_square_over_all_axes():
    ours, theirs = (m.ops.rms_normalization(X, axis=None) for m in (lamina, keras))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
