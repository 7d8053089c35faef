"""Control flow, derivatives, conversions and what ops refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import ops

X = jnp.arange(6.0).reshape(2, 3)


def test_cond_eager_traced_and_symbolic():
    def both(p, x):
        return ops.cond(p, lambda: x + 1, lambda: x * 2)

    for p in (True, False):
        expected = X + 1 if p else X * 2
        np.testing.assert_array_equal(both(p, X), expected)
        np.testing.assert_array_equal(jax.jit(both)(p, X), expected)
    drawn = both(lamina.KerasTensor((), "bool"), lamina.KerasTensor((None, 3)))
    assert (drawn.shape, drawn.dtype) == ((None, 3), "float32")
    with pytest.raises(ValueError, match="same shapes"):
        ops.cond(lamina.KerasTensor((), "bool"), lambda: X, lambda: X[0])


def test_loops_and_scans():
    assert int(ops.while_loop(lambda i: i < 9, lambda i: i + 2, 0)) == 10
    limited = ops.while_loop(lambda i, s: i < 9, lambda i, s: (i + 1, s + i), (0, 0), 3)
    assert [int(v) for v in limited] == [3, 3]
    assert int(ops.fori_loop(0, 4, lambda i, s: s + i, 0)) == 6
    last, seen = ops.scan(lambda c, x: (c + x, c), 0.0, X[0], reverse=True)
    assert float(last) == 3 and seen.tolist() == [3.0, 2.0, 0.0]
    assert ops.scan(lambda c, _: (c + 1, c), 0, length=3)[1].tolist() == [0, 1, 2]
    sums = ops.associative_scan(lambda a, b: a + b, X, axis=1)
    np.testing.assert_array_equal(sums, jnp.cumsum(X, 1))
    np.testing.assert_array_equal(ops.map(lambda r: r * 2, X), X * 2)
    np.testing.assert_array_equal(ops.vectorized_map(lambda r: r.sum(), X), X.sum(1))
    assert float(ops.switch(5, [lambda v: v, lambda v: -v], 3.0)) == -3
    drawn = ops.map(lambda r: r[:2], lamina.KerasTensor((None, 3)))
    assert drawn.shape == (None, 2)


def test_gradients():
    assert float(jax.grad(lambda v: ops.stop_gradient(v) * v)(3.0)) == 3
    value, slope = ops.jvp(lambda v: v**3, (2.0,), (1.0,))
    assert (float(value), float(slope)) == (8, 12)

    @ops.custom_gradient
    def safe_log(v):
        return jnp.log1p(jnp.exp(v)), lambda upstream: upstream * 7

    assert float(jax.grad(safe_log)(1.0)) == 7
    target, lengths = jnp.array([[1, 2]]), jnp.array([2])
    loss = lambda v: ops.ctc_loss(target, v, lengths, jnp.array([4])).sum()  # noqa: E731
    logits = jax.random.normal(jax.random.key(0), (1, 4, 3))
    slope = jax.grad(loss)(logits)
    step = 1e-2 * slope / jnp.linalg.norm(slope)
    measured = (loss(logits + step) - loss(logits - step)) / 2e-2
    np.testing.assert_allclose(measured, jnp.linalg.norm(slope), rtol=1e-3)


def test_conversions():
    assert ops.convert_to_tensor([1.0, 2.0]).dtype == "float32"
    assert ops.convert_to_tensor(np.float64(1)).dtype == "float32"
    assert ops.convert_to_tensor([[1], [2]]).dtype == "int32"
    assert not ops.add(1, 2).weak_type
    assert isinstance(ops.convert_to_numpy(X), np.ndarray)
    assert ops.shape(lamina.KerasTensor((None, 2))) == (None, 2)
    assert ops.dtype(lamina.Variable(1.0)) == "float32"
    assert ops.is_tensor(X) and not ops.is_tensor(np.ones(2))
    assert ops.cast(X + 2j, "float32").dtype == "float32"
    assert ops.saturate_cast(300, "uint8") == 255
    assert float(ops.add(lamina.Variable(2.0), 1)) == 3


def test_bincount_inside_jit_needs_a_length():
    counted = jax.jit(lambda v: ops.bincount(v, minlength=4))(jnp.array([0, 3, 3]))
    assert counted.tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.conv(jnp.ones((1, 5, 3)), jnp.ones((2, 2, 4))), "multiple"),
        (lambda: ops.max_pool(jnp.ones((1, 4, 4, 1)), 0), "pool_size=0"),
        (lambda: ops.max_pool(jnp.ones((1, 4, 4, 1)), 2, padding="full"), "padding"),
        (lambda: ops.glu(jnp.ones((2, 3))), "even"),
        (lambda: ops.one_hot(jnp.array([1]), 3, sparse=True), "sparse"),
        (lambda: ops.scatter_update(X, [[0]], [X[0]], "sub"), "'add'"),
        (lambda: ops.pad(X, 1, "reflect", 2.0), "constant_values"),
        (lambda: ops.inv(X), "square"),
        (lambda: ops.cholesky(-jnp.eye(2)), "positive definite"),
        (lambda: ops.binary_crossentropy(X, X[0]), "same shape"),
        (lambda: ops.dot_product_attention(X, X, X), "4D"),
        (lambda: ops.rearrange(X, "a b -> a c"), "same axes"),
        (lambda: ops.rearrange(X, "(a c) b -> a b c", a=3), "cannot split"),
        (lambda: ops.stft(X[0], 4, 1, 2), "fft_length"),
        (
            lambda: ops.image.resize(jnp.ones((4, 4, 3)), (2, 2), "cubic"),
            "interpolation",
        ),
        (lambda: ops.image.pad_images(jnp.ones((4, 4, 3)), 1, 1, 1), "exactly two"),
        (lambda: ops.histogram(X[0], -1), "bins=-1"),
        (lambda: ops.convert_to_numpy(lamina.KerasTensor((2,))), "needs data"),
        (lambda: ops.unstack(lamina.KerasTensor((None, 2))), "num"),
        (lambda: ops.normalize(X, order=0), "order"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8"])
def test_python_numbers_in_loops_take_the_dtype_of_what_they_meet(dtype):
    x = jnp.full((3,), 2, dtype)
    number = 3 if dtype == "int8" else 3.0

    def same(result, expected):
        assert result.dtype == x.dtype and not result.weak_type
        np.testing.assert_array_equal(np.asarray(result, "float32"), expected)

    def counted(i, total, k):
        return i + 1, total + x[0], k

    same(ops.while_loop(lambda i, *_: i < 2, counted, (0, number, number))[1], 7)
    same(ops.fori_loop(0, 2, lambda i, s: (s[0] * s[1], s[1]), (x, number))[0], 18)
    last, seen = ops.scan(lambda c, v: (c + v, c * v), number, x)
    same(last, 9), same(seen, [6, 10, 14])
    same(ops.scan(lambda c, _: ({**c, "a": c["a"] * c["b"]}, None),
                  {"a": x, "b": number}, length=2)[0]["a"], 18)  # fmt: skip
    same(x * ops.cond(True, lambda: number, lambda: 0), 6)
    same(jax.jit(lambda p: x * ops.cond(p, lambda: 2, lambda: 1))(True), 4)
    same(x * ops.switch(1, [lambda: 1, lambda: 3]), 6)
    same(ops.switch(0, [lambda v, k: v * k, lambda v, k: v], x, number), 6)
    same(ops.associative_scan(lambda a, b: a + number * b, x), [2, 8, 14])
    same(ops.vectorized_map(lambda v: v * number, x), 6)
    same(x * ops.vectorized_map(lambda v: number, x), 6)
    same(x * ops.map(lambda v: number, x), 6)
    same(x * ops.stop_gradient(number), 6)


def test_a_python_integer_as_carry_becomes_the_float_that_is_added():
    assert (
        ops.while_loop(lambda i, s: i < 3, lambda i, s: (i + 1, s + 0.5), (0, 0))[
            1
        ].tolist()
        == 1.5
    )
    assert ops.fori_loop(0, 3, lambda i, s: s + X[0, 1], 0).tolist() == 3.0


def test_ops_are_made_where_docstrings_are_stripped(monkeypatch):
    """As `python -OO` does; the import failed."""
    monkeypatch.setattr("lamina.core.op.OPS", {})

    @lamina.ops.math._segments(jax.ops.segment_sum)
    def bare(data, segment_ids, num_segments=None, sorted=False):
        pass

    assert bare([1, 2, 4], [0, 1, 0]).tolist() == [5, 2]
