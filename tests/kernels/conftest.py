import jax
import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def agree():
    """Hold a kernel to a reference: value, and gradient for every argument."""

    def check(kernel, reference, *args, value=1e-5, slope=1e-4):
        @jax.jit  # one program for everything: compiling is what these tests cost
        def compare(*args):
            return [both(function, args) for function in (kernel, reference)]

        mine, theirs = compare(*map(jax.numpy.asarray, args))
        for a, b, tolerance in zip(mine, theirs, (value, slope), strict=True):
            assert jax.tree.structure(a) == jax.tree.structure(b)
            for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
                assert (x.shape, x.dtype) == (y.shape, y.dtype)
                x, y = np.asarray(x, "float32"), np.asarray(y, "float32")
                np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)

    return check


def both(function, args):
    y, pullback = jax.vjp(function, *args)
    # Uneven weights, so that no two outputs' gradients can be exchanged unnoticed.
    return y, pullback(jax.tree.map(lambda leaf: wave(leaf.shape, leaf.dtype), y))


def wave(shape, dtype):
    values = np.sin(np.arange(np.prod(shape, dtype=int)) + 1.0)
    return jax.numpy.asarray(values.reshape(shape), dtype)
