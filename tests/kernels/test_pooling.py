import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from keras import ops

from lamina.kernels import average_pool, max_pool

# sizes, window, strides, padding
CASES = [
    ((6,), (2,), (2,), "valid"),
    ((7,), (3,), (1,), "same"),
    ((1,), (1,), (1,), "valid"),
    ((1,), (3,), (2,), "same"),
    ((7, 5), (2, 2), (2, 2), "valid"),
    ((7, 5), (2, 2), (2, 2), "same"),
    ((5, 7), (3, 3), (2, 2), "same"),
    ((8, 8), (4, 2), (3, 1), "same"),
    ((11, 40), (9, 60), (1, 2), "same"),
    ((4, 5, 3), (2, 1, 3), (2, 2, 1), "same"),
]


def plain_max(x, window, strides, padding):
    pads = padding.upper() if isinstance(padding, str) else padding
    if not isinstance(pads, str):
        pads = [(0, 0), *pads, (0, 0)]
    start = -jnp.inf if x.dtype.kind != "i" else jnp.iinfo(x.dtype).min
    shape, steps = (1, *window, 1), (1, *strides, 1)
    return lax.reduce_window(x, np.asarray(start, x.dtype), lax.max, shape, steps, pads)


@pytest.mark.parametrize("sizes, window, strides, padding", CASES)
def test_max_agrees_with_reduce_window(sizes, window, strides, padding, rng, agree):
    options = {"window": window, "strides": strides, "padding": padding}
    x = rng.normal(size=(2, *sizes, 3)).astype("float32")
    # Few distinct values, so that most windows hold a tie.
    ties = rng.integers(0, 3, size=x.shape).astype("float32")
    agree(
        lambda *xs: [max_pool(x, **options) for x in xs],
        lambda *xs: [plain_max(x, window, strides, padding) for x in xs],
        x,
        ties,
    )


def test_max_agrees_with_keras(rng, agree):
    x = rng.normal(size=(2, 7, 5, 3)).astype("float32")
    options = {"strides": (2, 3), "padding": "same"}

    def reference(x):
        return ops.max_pool(x, (3, 2), data_format="channels_last", **options)

    agree(lambda x: max_pool(x, window=(3, 2), **options), reference, x)


@pytest.mark.parametrize("sizes, window, strides, padding", CASES)
def test_average_agrees_with_keras(sizes, window, strides, padding, rng, agree):
    options = {"window": window, "strides": strides, "padding": padding}
    x = rng.normal(size=(2, *sizes, 3)).astype("float32")

    def reference(x):
        return ops.average_pool(
            x, window, strides, padding, data_format="channels_last"
        )

    agree(lambda x: average_pool(x, **options), reference, x)


@pytest.mark.parametrize("pool", [max_pool, average_pool])
def test_channels_first_is_a_transpose(pool, rng):
    x = jnp.asarray(rng.normal(size=(2, 5, 7, 3)), "float32")
    options = {"window": (3, 2), "strides": (2, 1), "padding": "same"}

    @jax.jit
    def run(x):
        first = pool(jnp.moveaxis(x, -1, 1), channels_last=False, **options)
        return jnp.moveaxis(first, 1, -1), pool(x, **options)

    np.testing.assert_array_equal(*run(x))


def test_explicit_padding(rng, agree):
    pads = [(1, 0), (2, 1)]
    x = rng.normal(size=(2, 5, 4, 2)).astype("float32")
    agree(
        lambda x: max_pool(x, window=(3, 3), strides=(2, 1), padding=pads),
        lambda x: plain_max(x, (3, 3), (2, 1), pads),
        x,
    )
    ones = average_pool(
        jnp.ones((1, 5, 4, 1)), window=(3, 3), strides=(2, 1), padding=pads
    )
    np.testing.assert_allclose(ones, 1.0, rtol=1e-6)
    wide = average_pool(
        jnp.ones((1, 12, 80, 1)), window=(9, 70), strides=(1, 1), padding=pads
    )
    np.testing.assert_allclose(wide, 1.0, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(dtype, rng, agree):
    x = jnp.asarray(rng.normal(size=(2, 7, 5, 3)), dtype)
    options = {"window": (3, 2), "strides": (1, 2), "padding": "same"}
    agree(
        lambda x: max_pool(x, **options),
        lambda x: plain_max(x, (3, 2), (1, 2), "same"),
        x,
        slope=2e-2,
    )
    y = average_pool(x, **options)
    assert y.dtype == dtype
    exact = average_pool(x.astype("float32"), **options).astype(dtype)
    np.testing.assert_array_equal(y, exact)
    full = average_pool(
        jnp.full((1, 8, 8, 1), 6e4, dtype),
        window=(8, 8),
        strides=(8, 8),
        padding="same",
    )
    np.testing.assert_allclose(np.asarray(full, "float32"), 6e4, rtol=4e-3)


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "bool"])
def test_integers(dtype):
    x = jnp.asarray([[3, 0, 1, 0, 0, 7, 2]], dtype)[..., None]
    options = {"window": (2,), "strides": (2,), "padding": "same"}
    top = max_pool(x, **options)
    assert top.dtype == dtype
    expected = np.asarray([3, 1, 7, 2]).astype(dtype)
    np.testing.assert_array_equal(top.ravel(), expected)
    mean = average_pool(x, **options)
    assert mean.dtype == "float32"
    expected = np.asarray([3, 0, 1, 0, 0, 7, 2, 2]).astype(dtype).astype("float32")
    np.testing.assert_array_equal(mean.ravel(), expected.reshape(4, 2).mean(1))


def test_not_a_number_always_wins_and_takes_the_gradient():
    x = jnp.array([1.0, jnp.nan, 5.0, jnp.nan, 2.0, 3.0]).reshape(1, 6, 1)

    def pool(x):
        return max_pool(x, window=(3,), strides=(3,), padding="valid")

    np.testing.assert_array_equal(pool(x).ravel(), [np.nan, np.nan])
    gradient = jax.grad(lambda x: pool(x).sum())(x)
    np.testing.assert_array_equal(gradient.ravel(), [0, 1, 0, 1, 0, 0])
    theirs = ops.max_pool(x, 2, 1, "same", data_format="channels_last")
    mine = max_pool(x, window=(2,), strides=(1,), padding="same")
    np.testing.assert_array_equal(mine, theirs)


def test_infinity_in_every_cell():
    x = jnp.full((1, 6, 1), -jnp.inf)

    def mine(x):
        return max_pool(x, window=(3,), strides=(1,), padding="same").sum()

    gradient = jax.grad(mine)(x)
    expected = jax.grad(lambda x: plain_max(x, (3,), (1,), "same").sum())(x)
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("pool", [max_pool, average_pool])
def test_no_window_fits(pool):
    x = jnp.ones((2, 2, 3))
    assert pool(x, window=(3,), strides=(1,), padding="valid").shape == (2, 0, 3)


def test_forward_mode_and_second_order(rng):
    x = jnp.asarray(rng.normal(size=(1, 5, 1)), "float32")

    def f(x):
        return (max_pool(x, window=(2,), strides=(1,), padding="same") ** 3).sum()

    forward, backward, twice = jax.jit(
        lambda x: (jax.jacfwd(f)(x), jax.grad(f)(x), jax.hessian(f)(x))
    )(x)
    np.testing.assert_allclose(forward, backward, rtol=1e-6)
    # Each output is one input cubed, so its second derivative is 6 * itself.
    y = max_pool(x, window=(2,), strides=(1,), padding="same")
    np.testing.assert_allclose(twice.sum(), 6 * y.sum(), rtol=1e-5)


@pytest.mark.parametrize("pool", [max_pool, average_pool])
def test_vmap(pool, rng):
    x = jnp.asarray(rng.normal(size=(3, 2, 5, 4)), "float32")

    def one(x):
        return pool(x, window=(2,), strides=(2,), padding="same")

    mapped = jax.vmap(one)(x)
    np.testing.assert_array_equal(mapped, jnp.stack([one(a) for a in x]))


@pytest.mark.parametrize("pool", [max_pool, average_pool])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_symbolic_shapes(pool, padding):
    (b,) = jax.export.symbolic_shape("b", constraints=["b>=2"])

    def shape(*sizes):
        x = jax.ShapeDtypeStruct(sizes, "float32")
        options = {"window": (2, 2), "strides": (2, 2), "padding": padding}
        return jax.eval_shape(lambda x: pool(x, **options), x).shape

    assert shape(b, 6, 4, 3) == (b, 3, 2, 3)
    half = (b - 2) // 2 + 1 if padding == "valid" else -(-b // 2)
    assert shape(b, b, 4, 3) == (b, half, 2, 3)
