import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina.kernels import dropout, keep_mask

SIZE = 1 << 20


def key(*words):
    return jnp.array(words, "uint32")


def bits(words, keep=0.5, size=SIZE):
    return np.asarray(keep_mask(key(*words), keep, (size,)))


def far(a, b):
    """Standard deviations between two masks' agreement and that of chance."""
    share = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    return abs((a == b).mean() - share) / np.sqrt(share * (1 - share) / a.size)


@pytest.mark.parametrize("keep", [0.001, 0.1, 0.5, 0.8, 0.999])
def test_share(keep):
    sigma = np.sqrt(keep * (1 - keep) / SIZE)
    for words in ((0, 0), (0, 1), (1, 0), (2**32 - 1, 12345)):
        assert abs(bits(words, keep).mean() - keep) < 4 * sigma


def test_no_and_all():
    assert not keep_mask(key(1, 2), 0.0, (100,)).any()
    assert keep_mask(key(1, 2), 1.0, (100,)).all()
    assert keep_mask(key(1, 2), 0.5, ()).shape == ()
    assert keep_mask(key(1, 2), 0.5, (0, 3)).shape == (0, 3)


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 8, 64, 1000, 65536])
def test_neighbouring_positions_are_independent(distance):
    mask = bits((3, 9))
    assert far(mask[:-distance], mask[distance:]) < 4


NEIGHBOURS = [
    ((0, 0), (0, 1)),
    ((0, 0), (1, 0)),
    ((0, 1), (1, 0)),
    ((7, 7), (7, 8)),
    ((5, 100), (5, 100 + (1 << 31))),
    ((5, 100), (5 + (1 << 16), 100)),
]


@pytest.mark.parametrize("first, second", NEIGHBOURS)
def test_neighbouring_keys_are_independent(first, second):
    a, b = bits(first), bits(second)
    assert far(a, b) < 4
    # One mask must not be the other one moved or with neighbours exchanged.
    for distance in (1, 2, 16):
        assert far(a[distance:], b[:-distance]) < 4
        assert far(b[distance:], a[:-distance]) < 4
        assert far(a, b[np.arange(SIZE) ^ distance]) < 4


def test_rows_and_columns_are_independent():
    mask = np.asarray(keep_mask(key(1, 1), 0.5, (1024, 1024)), "float64") - 0.5
    for rows in (mask, mask.T):
        # Sums vary as chance says: 1024 of them, with variance 1024 / 4.
        assert abs(rows.sum(1).var() / 256 - 1) < 4 * np.sqrt(2 / 1024)
        together = (4 * rows @ rows.T)[np.triu_indices(1024, 1)] / 32
        assert abs(together.mean()) < 4 / np.sqrt(together.size)
        assert abs(together.var() - 1) < 4 * np.sqrt(2 / together.size)
        assert abs(together).max() < 6


def test_same_key_same_mask_in_and_out_of_jit():
    a = keep_mask(key(4, 5), 0.3, (50, 7))
    b = jax.jit(lambda k: keep_mask(k, 0.3, (50, 7)))(key(4, 5))
    np.testing.assert_array_equal(a, b)


def test_vmap_over_keys():
    keys = jnp.array([[0, 1], [0, 2]], "uint32")
    mapped = jax.vmap(lambda k: keep_mask(k, 0.5, (64,)))(keys)
    np.testing.assert_array_equal(mapped, [keep_mask(k, 0.5, (64,)) for k in keys])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dropout(dtype):
    x = jnp.arange(1, 65, dtype=dtype).reshape(8, 8)
    mask = np.asarray(keep_mask(key(1, 2), 0.75, (8, 8)))

    def scaled(x):
        return np.where(mask, np.asarray(x, "float32") * np.float32(1 / 0.75), 0)

    y, pullback = jax.vjp(lambda x: dropout(x, 0.25, key(1, 2)), x)
    (gradient,) = pullback(x)
    assert y.dtype == gradient.dtype == dtype
    np.testing.assert_array_equal(y, scaled(x).astype(dtype))
    np.testing.assert_array_equal(gradient, scaled(x).astype(dtype))
    jitted = jax.jit(lambda x: dropout(x, 0.25, key(1, 2)))(x)
    np.testing.assert_array_equal(y, jitted)


def test_dropout_drops_what_is_not_finite():
    x = jnp.full(100, jnp.inf)
    y = np.asarray(dropout(x, 0.5, key(0, 0)))
    assert set(y.tolist()) == {0.0, np.inf}


@pytest.mark.parametrize("rate", [0, 0.0])
def test_rate_zero_keeps_everything(rate):
    x = jnp.array([1.0, -2.0])
    np.testing.assert_array_equal(dropout(x, rate, key(0, 0)), x)


@pytest.mark.parametrize("rate", [1, 1.0])
def test_rate_one_drops_everything(rate):
    x = jnp.array([1.0, jnp.nan], "float16")
    y = dropout(x, rate, key(0, 0))
    assert y.dtype == "float16"
    np.testing.assert_array_equal(y, 0)


@pytest.mark.parametrize("shape", [(4, 1, 8), (None, 1, None), (1, 8)])
def test_noise_shape(shape):
    y = np.asarray(dropout(jnp.ones((4, 6, 8)), 0.5, key(0, 3), shape))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert len(np.unique(y)) == 2


def test_symbolic_shapes():
    (b,) = jax.export.symbolic_shape("b", constraints=["b>=2"])
    x = jax.ShapeDtypeStruct((b, b, 4), "float32")
    for noise_shape in (None, (None, 1, None)):
        y = jax.eval_shape(
            lambda x, k, n=noise_shape: dropout(x, 0.5, k, n),
            x,
            jax.ShapeDtypeStruct((2,), "uint32"),
        )
        assert y.shape == x.shape
