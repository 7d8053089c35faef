import copy
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from lamina.core.context import having
from lamina.core.variable import Variable, binding, pure, scratch


def test_names_and_paths():
    assert Variable(1.0).name == "variable"
    assert Variable(1.0).name == "variable_1"
    with lamina.name_scope("a"), lamina.name_scope("b"):
        assert Variable(1.0, name="c").path == "a/b/c"
    for name in ("a/b", 3):
        with pytest.raises(ValueError, match="string without '/'"):
            Variable(1.0, name=name)


@pytest.mark.parametrize(
    "value",
    [5, 2.5, True, [1, 2], [1.5], np.zeros(2), np.zeros(2, "int64"), np.array([True]),
     np.float64(3.0), np.zeros(1, "float16"), np.zeros(2, "uint8")],
    ids=repr,
)  # fmt: skip
def test_dtype_of_a_value_is_kerass(value):
    ours, theirs = Variable(value), keras.Variable(value)
    assert ours.dtype == theirs.dtype
    assert ours.value.dtype == theirs.value.dtype
    assert ours.shape == theirs.shape


def test_floats_take_floatx():
    lamina.config.set_floatx("float16")
    try:
        assert Variable(1.5).dtype == "float16"
        assert Variable([1.5, 2]).dtype == "float16"
        assert Variable(np.zeros(1, "float32")).dtype == "float32"
    finally:
        lamina.config.set_floatx("float32")


def test_initializers():
    assert Variable("ones", shape=(2,)).numpy().tolist() == [1.0, 1.0]
    double = Variable(lambda shape, dtype: jnp.full(shape, 2, dtype), shape=(1,))
    assert double.numpy().tolist() == [2.0]
    with pytest.raises(ValueError, match="`shape` must be given"):
        Variable("ones")
    with pytest.raises(ValueError, match="integers, each known"):
        Variable("ones", shape=(None, 2))
    with pytest.raises(ValueError, match="integers, each known"):
        Variable("ones", shape=3)
    with pytest.raises(ValueError, match=r"shape \(3,\)\. Received: shape \(2,\)"):
        Variable([1.0, 2.0], shape=(3,))
    with pytest.raises(ValueError, match="holds numbers"):
        Variable(np.array(["a"]))
    with pytest.raises(TypeError, match="unknown"):
        Variable(1.0, shapes=())
    with pytest.raises(ValueError, match="aggregation=max"):
        Variable(1.0, aggregation="max")


def test_traced_values_are_no_first_values():
    with pytest.raises(ValueError, match="cannot start from a value"):
        jax.jit(lambda x: Variable(x).value)(1.0)


def test_made_while_tracing_it_holds_an_array():
    made = []

    def f(x):
        made.append(Variable("ones", shape=(2,)))
        return x * made[0]

    jax.jit(f)(2.0)
    assert made[0].numpy().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("size", [1, 64 * 1024])
def test_values_are_copies(size):
    """JAX may look into a NumPy array's memory, which its owner may change."""
    array = np.ones(size, "float32")
    v = Variable(array)
    array[:] = 2
    assert v.numpy()[0] == 1
    array = np.ones(size, "float32")
    v.assign(array)
    array[:] = 2
    assert v.numpy()[0] == 1


def test_assign():
    v = Variable([1.0, 2.0], name="v")
    v.assign([3, 4])
    v.assign_add(1)
    v.assign_sub(Variable([1.0, 1.0]))
    assert v.numpy().tolist() == [3.0, 4.0]
    assert v.value.dtype == "float32"
    with pytest.raises(ValueError, match=r"'v' has shape \(2,\).*\(3,\)"):
        v.assign([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="must match"):
        v.assign(1.0)


BINARY = ["+", "-", "*", "/", "//", "%", "**", "<", "<=", ">", ">=", "==", "!="]


@pytest.mark.parametrize("sign", BINARY)
def test_arithmetic(sign):
    a, b = np.array([5.0, 7.0], "float32"), np.array([2.0, 3.0], "float32")
    v, w = Variable(a), Variable(b)
    expected = eval(f"a {sign} b")
    for left, right in (
        (v, w),
        (v, b),
        (a, w),
        (v, jnp.asarray(b)),
        (jnp.asarray(a), w),
    ):
        result = eval(f"left {sign} right", {"left": left, "right": right})
        assert isinstance(result, jax.Array)
        np.testing.assert_allclose(result, expected, rtol=1e-6)
    two = eval(f"2.0 {sign} v", {"v": v})
    np.testing.assert_allclose(two, eval(f"2.0 {sign} a"), rtol=1e-6)


def test_it_reads_as_its_array():
    v = Variable([[1.0, -2.0], [3.0, 4.0]])
    assert (-v).tolist() == [[-1.0, 2.0], [-3.0, -4.0]]
    assert abs(v).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert (v @ v).tolist() == (v.value @ v.value).tolist()
    assert v[0, 1] == -2.0
    assert len(v) == 2 and [row.tolist() for row in v] == v.numpy().tolist()
    assert v.size == 4 and v.ndim == 2
    assert np.asarray(v).tolist() == v.numpy().tolist()
    assert float(jnp.sum(v)) == 6.0
    assert bool(Variable(1)) and int(Variable(3)) == 3
    assert [1, 2, 3][Variable(1)] == 2
    assert round(Variable(1.26), 1) == pytest.approx(1.3)
    assert (~Variable(True)).tolist() is False
    assert (
        jax.grad(lambda x: jnp.sum(x * v))(jnp.ones((2, 2))).tolist()
        == v.numpy().tolist()
    )


def test_hooks_and_switches():
    v = Variable(1.0)
    v.trainable = 0
    assert v.trainable is False
    v.regularizer = lambda x: x
    v.constraint = None
    for name in ("regularizer", "constraint"):
        with pytest.raises(ValueError, match=f"`{name}`. Expected a callable"):
            setattr(v, name, 3)
    with pytest.raises(TypeError, match="must be a boolean"):
        v.overwrite_with_gradient = 1


def test_repr():
    assert repr(Variable([1.0], name="a")) == (
        "<Variable path=a, shape=(1,), dtype=float32, value=[1.]>"
    )
    assert repr(Variable("ones", shape=(11,), name="b")).endswith("dtype=float32>")


def test_copies():
    v = Variable([1.0], name="v", trainable=False)
    for twin in (copy.deepcopy(v), pickle.loads(pickle.dumps(v))):
        twin.assign([5.0])
        assert v.numpy().tolist() == [1.0]
        assert (twin.path, twin.trainable) == ("v", False)


def test_autocast():
    v = Variable([1.5])
    whole, index = Variable([1]), Variable([1.5], autocast=False)
    with having(autocast="bfloat16"):
        assert (v.dtype, v.value.dtype) == ("bfloat16", "bfloat16")
        assert v.raw_value.dtype == "float32"
        assert (v + 1).dtype == "bfloat16"
        assert whole.dtype == "int32" and index.dtype == "float32"
        v.assign_add([0.001])  # in its own dtype: nothing is lost
    assert v.numpy()[0] == np.float32(1.5) + np.float32(0.001)


# ---- binding and pure --------------------------------------------------------


def test_binding_reads_and_collects():
    a, b = Variable(1.0), Variable(2.0)
    with binding([a, b], [10.0, jnp.float32(20.0)]) as bound:
        assert a.value == 10.0
        b.assign_add(5.0)
        assert b.value == 25.0
    assert [float(x) for x in bound.current()] == [10.0, 25.0]
    assert (float(a), float(b)) == (1.0, 2.0)
    with pytest.raises(ValueError, match="zip"):
        with binding([a, b], [1.0]):
            pass


def test_binding_ends_with_an_error():
    a = Variable(1.0)
    with pytest.raises(KeyError):
        with binding([a], [2.0]):
            raise KeyError
    assert float(a) == 1.0


def test_pure_compiles():
    a, b = Variable([1.0, 1.0]), Variable(2.0)

    def f(x):
        a.assign(a * x)
        return a.value + b

    result, new = jax.jit(pure(f, [a, b]))((jnp.array([3.0, 4.0]), 1.0), 2.0)
    assert result.tolist() == [7.0, 9.0]
    assert new[0].tolist() == [6.0, 8.0] and float(new[1]) == 1.0
    assert a.numpy().tolist() == [1.0, 1.0]


def test_assigning_where_it_would_be_lost_raises():
    a, b = Variable(1.0, name="a"), Variable(1.0, name="b")
    with pytest.raises(ValueError, match="'a' was assigned inside a function that JAX"):
        jax.jit(a.assign)(2.0)
    with pytest.raises(ValueError, match="'a' was assigned"):
        jax.jit(pure(a.assign, [b]))((1.0,), 2.0)
    with pytest.raises(ValueError, match="'a' was assigned"):
        # The outer binding holds it, but what the inner one traces cannot get there.
        pure(lambda: jax.jit(pure(a.assign, [b]))((1.0,), 2.0), [a])((1.0,))
    assert float(a) == 1.0


def test_scratch_keeps_everything_inside():
    a, b = Variable(1.0), Variable(1.0)
    with scratch():
        a.assign(2.0)
        assert float(a) == 2.0
        with binding([b], [5.0]) as inner:
            a.assign(3.0)
            b.assign(6.0)
        assert float(a) == 3.0 and float(b) == 1.0
        assert inner.current() == (6.0,)
    assert (float(a), float(b)) == (1.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_nesting_of_bindings(data):
    """Bindings behave like a stack of dicts: reads and writes find the innermost."""
    cells = [Variable(float(i)) for i in range(3)]
    world = [{c: float(i) for i, c in enumerate(cells)}]

    def check():
        for cell in cells:
            held = next(layer[cell] for layer in reversed(world) if cell in layer)
            assert float(cell) == held

    def run(depth):
        for _ in range(data.draw(st.integers(0, 3))):
            action = data.draw(st.sampled_from(["assign", "bind"]))
            if action == "assign":
                cell = data.draw(st.sampled_from(cells))
                value = float(data.draw(st.integers(0, 99)))
                cell.assign(value)
                next(layer for layer in reversed(world) if cell in layer)[cell] = value
            elif depth < 3:
                held = data.draw(st.lists(st.sampled_from(cells), unique_by=id))
                values = [float(data.draw(st.integers(0, 99))) for _ in held]
                world.append(dict(zip(held, values, strict=True)))
                with binding(held, values) as bound:
                    check()
                    run(depth + 1)
                after = world.pop()
                assert [float(x) for x in bound.current()] == [after[c] for c in held]
            check()

    run(0)
    check()


# ---- Keras' scopes -----------------------------------------------------------


def test_stateless_scope():
    a, b = Variable(1.0), Variable(2.0)
    with lamina.StatelessScope([(a, jnp.float32(5.0)), (b, None)]) as scope:
        assert float(a) == 5.0 and float(b) == 2.0
        b.assign(7.0)
        scope.add_update((a, 6.0))
    assert scope.get_current_value(a) == 6.0
    assert float(scope.get_current_value(b)) == 7.0
    assert (float(a), float(b)) == (1.0, 2.0)
    with pytest.raises(ValueError, match="all keys"):
        lamina.StatelessScope([("a", 1.0)])
    with pytest.raises(ValueError, match="match the shape"):
        lamina.StatelessScope([(a, jnp.ones(2))])


def test_device():
    with lamina.device("cpu:0"):
        assert jnp.ones(1).device.platform == "cpu"
    with pytest.raises(ValueError, match="device_name=3"):
        with lamina.device(3):
            pass


def test_an_initializer_is_compiled_without_constants():
    # Counters that are folded would be as many as the numbers that are drawn.
    found = []

    def drawn(shape, dtype):
        draw = partial(jax.random.uniform, shape=shape)
        found.append(jax.jit(draw).lower(jax.random.key(0)).as_text())
        return draw(jax.random.key(0))

    def build(x):
        Variable(drawn, shape=(1021,))
        return x

    build(0)
    jax.eval_shape(build, 0)
    assert len(found) == 2
    assert not any('dense<"0x' in program for program in found)
