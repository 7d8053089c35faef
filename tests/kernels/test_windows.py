"""Windows: padding, counts and taps against JAX's own."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lamina.kernels import windows

SIZES, CELLS, STRIDES, STEPS = (0, 1, 2, 5, 7, 8), (1, 2, 3, 4), (1, 2, 3), (1, 2)
ALL = list(itertools.product(SIZES, CELLS, STRIDES, STEPS))


@pytest.mark.parametrize("padding", ["same", "VALID"])
def test_pads_and_counts(padding):
    for size, cells, stride, step in ALL:
        case = (size,), (cells,), (stride,)
        mine = windows.pads(padding, *case, (step,))
        extent = (cells - 1) * step + 1
        (theirs,) = lax.padtype_to_pads((size,), (extent,), (stride,), padding.upper())
        assert mine == [tuple(theirs)], (*case, step)
        long = size + sum(theirs)
        y = np.arange(long)[: max(long - extent + 1, 0) : stride]
        assert windows.counts((long,), *case[1:], (step,)) == [len(y)], (*case, step)


def test_explicit_pads_stay():
    assert windows.pads([(1, 0), [2, 3]], (5, 5), (2, 2), (1, 1)) == [(1, 0), (2, 3)]


@pytest.mark.parametrize("dilation", [(1, 1), (1, 2)])
def test_taps_are_what_each_cell_sees(dilation):
    x = np.arange(2 * 5 * 7 * 3).reshape(2, 5, 7, 3)
    taps = [*windows.taps(jnp.asarray(x), (2, 3), (2, 1), dilation)]
    wide = 2 * dilation[1] + 1
    seen = np.lib.stride_tricks.sliding_window_view(x, (2, wide), (1, 2))
    seen = seen[:, ::2, ..., :: dilation[1]]
    assert len(taps) == 6
    for number, tap in enumerate(taps):
        np.testing.assert_array_equal(tap, seen[..., number // 3, number % 3])


def test_pad_takes_any_value():
    x = jnp.ones((1, 2, 1), "int32")
    np.testing.assert_array_equal(windows.pad(x, [(1, 2)], -7).ravel(), [
        -7, 1, 1, -7, -7
    ])  # fmt: skip
    assert windows.pad(x, [(0, 0)], 3) is x
