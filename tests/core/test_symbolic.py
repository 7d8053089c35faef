import gc
import weakref

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from lamina.core import structure
from lamina.core.masks import _table, get_mask, set_mask
from lamina.core.op import op
from lamina.core.symbolic import Node, SymbolicTensor, infer, standardize_shape
from lamina.core.variable import Variable

T = SymbolicTensor


@pytest.mark.parametrize("shape", [(), (None,), (3, None, 0), [2], np.array([2, 3])])
def test_shapes(shape):
    assert T(shape).shape == tuple(shape)


@pytest.mark.parametrize(
    "shape", [None, 3, "ab", (-1,), (1.5,), ("a",), {"a": 1}, (2, (3,))]
)
def test_bad_shapes(shape):
    with pytest.raises(ValueError, match="shape"):
        standardize_shape(shape)


@pytest.mark.parametrize(
    "use, word",
    [(bool, "cannot decide an `if`"), (float, "to a float"), (int, "to an integer"),
     (np.asarray, "to a NumPy array"), (jnp.sin, "lamina.ops"), (iter, "Iterating")],
)  # fmt: skip
def test_it_holds_no_data(use, word):
    with pytest.raises((TypeError, ValueError, NotImplementedError), match=word):
        use(lamina.Input((3,)))


def test_sparse_and_ragged_are_refused():
    for kind in ("sparse", "ragged"):
        with pytest.raises(ValueError, match="dense arrays"):
            T((3,), **{kind: True})


# ---- inference ---------------------------------------------------------------


def shape_of(fn, *tensors):
    return structure.map_leaves(lambda t: t.shape, infer(fn, *tensors))


def test_unknown_sizes():
    x = T((None, 3))
    assert shape_of(lambda a: a @ jnp.ones((3, 5)), x) == (None, 5)
    assert shape_of(lambda a: a.reshape(-1), x) == (None,)
    assert shape_of(lambda a: a.sum(), x) == ()
    assert shape_of(lambda a: {"k": a.T, "n": [a[:, 0]]}, x) == {
        "k": (3, None), "n": [(None,)]
    }  # fmt: skip
    assert shape_of(lambda a: jnp.concatenate([a, a]), x) == (None, 3)
    assert shape_of(lambda a: jnp.concatenate([a[:1], a[:1]]), x) == (2, 3)
    assert infer(lambda a: None, x) is None


def test_sizes_that_must_divide_are_probed():
    assert shape_of(lambda a: a.reshape(-1, 4, 2), T((None,))) == (None, 4, 2)
    assert shape_of(lambda a: a.reshape(-1, a.shape[1] // 2, 2), T((2, None))) == (
        2, None, 2
    )  # fmt: skip
    # A Python decision on the size falls for large ones.
    assert shape_of(lambda a: a if a.shape[0] > 2 else a[:1], T((None, 2))) == (None, 2)


def test_rows_that_are_taken_one_by_one_are_few():
    taken = []

    def call(a):
        taken.extend(range(a.shape[0]))
        return jnp.stack([a[i] for i in range(a.shape[0])])

    assert shape_of(call, T((None, None))) == (None, None)
    assert len(taken) < 100


def test_one_known_size_may_be_needed():
    assert shape_of(jnp.add, T((None, 3)), T((2, None))) == (2, 3)


def test_errors_keep_their_type_and_are_tried_few_times():
    tried = []

    def wrong(a, b):
        tried.append(a.shape)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        infer(wrong, T((None, None, 3)), T((None, 3)))
    assert len(tried) <= 3
    with pytest.raises(TypeError, match="must return arrays. Received: 'text'"):
        infer(lambda a: "text", T((2,)))


def test_inference_changes_nothing():
    v = Variable(1.0)

    def f(a):
        v.assign_add(1.0)
        return a * v

    infer(f, T((None,)))
    assert float(v) == 1.0


DIMS = st.integers(1, 4)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(DIMS, min_size=2, max_size=3),
    unknown=st.lists(st.booleans(), min_size=3, max_size=3),
    name=st.sampled_from(
        ["transpose", "sum", "flatten", "stack", "pad", "matmul", "mean", "repeat"]
    ),
)
def test_symbolic_agrees_with_eager(shape, unknown, name):
    ops = lamina.ops
    function = {
        "transpose": ops.transpose,
        "sum": lambda x: ops.sum(x, axis=-1, keepdims=True),
        "flatten": lambda x: ops.reshape(x, (-1,)),
        "stack": lambda x: ops.stack([x, x + 1.0], axis=1),
        "pad": lambda x: ops.pad(x, [[0, 1]] * len(shape)),
        "matmul": lambda x: ops.matmul(x, ops.swapaxes(x, -1, -2)),
        "mean": lambda x: ops.mean(x, axis=0),
        "repeat": lambda x: ops.repeat(x, 2, axis=0),
    }[name]
    eager = function(jnp.ones(shape))
    declared = [None if u else n for n, u in zip(shape, unknown, strict=False)]
    symbolic = function(T(declared))
    assert symbolic.dtype == eager.dtype
    assert len(symbolic.shape) == eager.ndim
    for said, real in zip(symbolic.shape, eager.shape, strict=True):
        assert said in (None, real)
    if None not in declared:
        assert symbolic.shape == eager.shape


# ---- ops ---------------------------------------------------------------------


@op(config=("axis", "scale"))
def weighted(x, weights=None, axis=-1, scale=1.0, *, extra=None):
    y = jnp.sum(jnp.asarray(x) * (1.0 if weights is None else weights), axis) * scale
    return y if extra is None else y + extra


def test_an_op_on_arrays_is_the_function():
    assert weighted(np.ones((2, 3))).tolist() == [3.0, 3.0]
    assert weighted(Variable([1.0, 2.0]), scale=2.0) == 6.0
    assert weighted([Variable(1.0), 2.0]) == 3.0


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w: weighted(x),
        lambda x, w: weighted(x, w),
        lambda x, w: weighted(x, None, 0),
        lambda x, w: weighted(x, axis=0, weights=w),
        lambda x, w: weighted(scale=3.0, x=x),
        lambda x, w: weighted(x, w, 1, 2.0, extra=5.0),
        lambda x, w: weighted(weights=x, x=w),
    ],
)
def test_a_recorded_op_gives_what_the_call_gave(call):
    x, w = np.arange(6.0).reshape(2, 3), np.full((2, 3), 2.0)
    a, b = lamina.Input(batch_shape=(2, 3)), lamina.Input(batch_shape=(2, 3))
    model = lamina.Model([a, b], call(a, b))
    np.testing.assert_allclose(model([x, w]), call(x, w), rtol=1e-6)
    model = lamina.Model.from_config(model.get_config())
    np.testing.assert_allclose(model([x, w]), call(x, w), rtol=1e-6)


def test_config_is_what_is_no_data():
    y = weighted(lamina.Input((3,)), None, 1, extra=2.0)
    node = y.node
    assert node.operation.config == {"axis": 1, "scale": 1.0}
    assert node.kwargs == {"extra": 2.0}
    assert node.operation.get_config() == {"name": "weighted", "axis": 1, "scale": 1.0}
    assert y.node.operation.name == "weighted"
    assert weighted(lamina.Input((3,))).node.operation.name == "weighted_1"


def test_unknown_config_names_are_refused():
    with pytest.raises(ValueError, match="'axes'"):
        op(lambda x: x, config=("axes",))


def test_nodes():
    x = lamina.Input((3,), name="x")
    layer = lamina.layers.Dense(2)
    y, z = layer(x), layer(x)
    assert [n.position for n in layer._inbound_nodes] == [0, 1]
    assert y.node.parent_nodes == [x.node] and x.node.is_input
    assert z._keras_history == (layer, 1, 0)
    assert isinstance(x.node, Node)
    with pytest.raises(AttributeError):
        _ = T((3,))._keras_history


# ---- masks -------------------------------------------------------------------


def test_masks_leave_with_their_arrays():
    entries = _table.__dict__.setdefault("entries", {})
    entries.clear()
    mask = jnp.ones((2,), bool)
    held = weakref.ref(mask)
    x, y, z = np.zeros((2, 3)), np.ones((2, 3)), jnp.ones((2, 3))
    set_mask(x, mask)
    set_mask(y, mask)
    set_mask(y, mask)
    set_mask(z, mask)
    assert get_mask(x) is mask and get_mask(y) is mask and z._keras_mask is mask
    assert get_mask(jnp.ones((2, 3))) is None
    set_mask(y, None)
    assert get_mask(y) is None and len(entries) == 1
    del x, z, mask
    gc.collect()
    assert not entries and held() is None
    set_mask(3.0, jnp.ones(1))
    set_mask(None, jnp.ones(1))
    assert not entries


def test_many_calls_leave_no_masks():
    entries = _table.__dict__.setdefault("entries", {})
    layers = lamina.layers
    model = lamina.Sequential(
        [
            lamina.Input((4,)),
            layers.Embedding(5, 3, mask_zero=True),
            layers.SimpleRNN(2),
        ]
    )
    model.compile("sgd", "mse")
    x = np.array([[1, 2, 0, 0], [3, 0, 0, 0]])
    for _ in range(3):
        model(x)
        model.predict(x, verbose=0)
        model.fit(x, np.ones((2, 2)), verbose=0)
    gc.collect()
    assert not entries


def test_symbolic_masks():
    x = lamina.Input((3,))
    mask = lamina.Input((3,), dtype="bool")
    set_mask(x, mask)
    assert get_mask(x) is mask
    set_mask(x, None)
    assert get_mask(x) is None


# ---- structures --------------------------------------------------------------


def test_none_is_a_leaf():
    nest = {"b": [1, None], "a": (None,)}
    assert structure.flatten(nest) == [None, 1, None]
    assert structure.map_leaves(lambda x: x or 0, nest) == {"b": [1, 0], "a": (0,)}
    assert structure.pack_like(nest, [1, 2, 3]) == {"a": (1,), "b": [2, 3]}
    assert structure.flatten_with_names(nest) == [
        (("a", 0), None), (("b", 0), 1), (("b", 1), None)
    ]  # fmt: skip
    assert structure.same_shape([None, 1], [3, None])
    assert not structure.same_shape([None], None)
    assert structure.is_nested(()) and not structure.is_nested("ab")


def test_what_needs_a_long_sequence():
    x = lamina.Input((None, 4))
    assert lamina.layers.Cropping1D((5000, 5000))(x).shape == (None, None, 4)


@pytest.mark.parametrize("rows", (4, 8, 16, 300))
def test_a_slice_of_a_table_by_a_size_that_is_not_known(rows):
    table = np.zeros((rows, 3), "float32")

    def positions(x):
        return lamina.ops.slice(table, (0, 0), (lamina.ops.shape(x)[1], 3)) + 0 * x[:1]

    x = lamina.Input((None, 3))
    found = infer(positions, x)
    assert found.shape == (1, None, 3)


def test_a_size_that_must_be_that_of_another_is_not_taken_for_all():
    a, b = (lamina.KerasTensor(shape) for shape in ((None, 4), (None, 3)))
    assert lamina.ops.matmul(a, b).shape == (None, 3)
