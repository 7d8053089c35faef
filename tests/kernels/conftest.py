import ctypes
from pathlib import Path

import jax
import numpy as np
import pytest

from lamina.kernels import native

FOLDER = Path(native.__file__).parent
# The plainest library and the best one; between them those that are not the best.
LIBRARIES = sorted(path for path in FOLDER.glob("kernels*") if path.suffix != ".cc")


@pytest.fixture(params=LIBRARIES, ids=lambda path: path.stem)
def target(request):
    """Make functions of a library known to XLA, for each level of instructions."""
    if not native.available():
        pytest.skip("built without compiled kernels")
    path = request.param
    level = "".join(filter(str.isdigit, path.stem))
    if int(level or 0) > native.library().lamina_level():
        pytest.skip("this machine has no such instructions")
    library = ctypes.CDLL(str(path))

    def known(name):
        function = jax.ffi.pycapsule(getattr(library, f"lamina_{name}"))
        target = f"lamina_{name}_of_{path.stem}"
        jax.ffi.register_ffi_target(target, function, platform="cpu")
        return target

    return known


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
