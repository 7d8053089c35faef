"""The compiled depthwise convolutions compute what the plain forms do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from lamina.kernels import depthwise_conv, native, windows
from lamina.kernels.native import depthwise

pytestmark = pytest.mark.skipif(
    not native.available(), reason="needs the compiled kernels"
)

# shape of x, window, strides, padding, dilation
CASES = {
    "odd": ((2, 7, 9, 17), (3, 3), (1, 1), "same", (1, 1)),
    "stride": ((5, 8, 8, 16), (3, 3), (2, 2), "same", (1, 1)),
    "one channel": ((2, 6, 5, 1), (3, 3), (1, 2), "same", (1, 1)),
    "three channels": ((2, 6, 5, 3), (2, 2), (1, 1), "same", (1, 1)),
    "larger window": ((1, 5, 4, 40), (7, 7), (1, 1), "same", (1, 1)),
    "even window": ((3, 10, 11, 4), (2, 4), (3, 3), "valid", (1, 1)),
    "stride past window": ((2, 7, 7, 9), (2, 2), (3, 4), "valid", (1, 1)),
    "dilated": ((2, 12, 9, 19), (3, 3), (1, 2), [(0, 3), (4, 1)], (2, 3)),
    "all outside": ((1, 2, 2, 33), (3, 3), (2, 2), "same", (2, 2)),
    "wide pads": ((2, 3, 3, 66), (3, 2), (1, 1), [(5, 5), (6, 6)], (1, 1)),
    "many images": ((41, 5, 9, 8), (3, 3), (2, 1), "same", (1, 1)),
    "one dimension": ((5, 11, 17), (4,), (2,), "same", (1,)),
}


def forms(case, seed=0):
    """Return the two forms, and arrays for them."""
    shape, window, strides, padding, dilation = case
    pads = windows.pads(padding, shape[1:-1], window, strides, dilation)
    settings = {"strides": strides, "pads": tuple(pads), "dilation": dilation}
    random = np.random.default_rng(seed)
    x = jnp.asarray(random.normal(size=shape), jnp.float32)
    kernel = jnp.asarray(random.normal(size=(*window, shape[-1])), jnp.float32)
    return (
        lambda x, kernel: depthwise.conv(x, kernel, **settings),
        lambda x, kernel: depthwise.plain(x, kernel, **settings),
        x,
        kernel,
    )


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    size = np.abs(b).max()
    np.testing.assert_allclose(a / size, b / size, rtol=0, atol=2e-6)


def by_cells(x, kernel, slope, strides, pads, dilation):
    """Return the value and both gradients, summed in float64 cell by cell."""
    x, kernel, slope = (np.asarray(a, np.float64) for a in (x, kernel, slope))
    wide = np.pad(x, [(0, 0), *pads, (0, 0)])
    y, to_wide, to_kernel = 0, np.zeros_like(wide), np.zeros_like(kernel)
    for cell in np.ndindex(kernel.shape[:-1]):
        seen = (
            slice(None),
            *(
                slice(i * step, i * step + (count - 1) * stride + 1, stride)
                for i, step, stride, count in zip(
                    cell, dilation, strides, slope.shape[1:-1], strict=True
                )
            ),
        )
        y = y + wide[seen] * kernel[cell]
        to_wide[seen] += slope * kernel[cell]
        to_kernel[cell] = (wide[seen] * slope).sum(tuple(range(x.ndim - 1)))
    inner = (slice(lo, lo + n) for (lo, _), n in zip(pads, x.shape[1:-1], strict=True))
    return y, to_wide[:, *inner], to_kernel


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_values_and_gradients(case):
    compiled, _, x, kernel = forms(case)
    shape, window, strides, padding, dilation = case
    pads = windows.pads(padding, shape[1:-1], window, strides, dilation)
    y, back = jax.vjp(compiled, x, kernel)
    slope = np.random.default_rng(1).normal(size=y.shape).astype("float32")
    expected = by_cells(x, kernel, slope, strides, pads, dilation)
    for got, right in zip((y, *back(slope)), expected, strict=True):
        same(got, right)


@pytest.mark.parametrize("name", ["stride", "one dimension"])
def test_second_derivatives(name):
    shape, *settings = CASES[name]
    compiled, plain, x, kernel = forms(((1, *shape[1:-1], 2), *settings))
    check_grads(compiled, (x, kernel), 2, ["fwd", "rev"], atol=0.02, rtol=0.02)

    def curvature(form):
        def slope(x, kernel):
            return jax.grad(lambda k: jnp.sum(jnp.sin(form(x, k))))(kernel)

        return jax.jvp(jax.grad(lambda x: jnp.sum(slope(x, kernel) ** 2)), (x,), (x,))

    both = jax.jit(lambda: (curvature(compiled), curvature(plain)))()
    for got, right in zip(*both, strict=True):
        same(got, right)


def test_each_of_the_two_is_linear_for_itself():
    compiled, plain, x, kernel = forms(CASES["odd"])
    same(jax.jvp(compiled, (x, kernel), (x, 0 * kernel))[1], plain(x, kernel))
    turned = jax.linear_transpose(lambda k: compiled(x, k), kernel)
    right = jax.linear_transpose(lambda k: plain(x, k), kernel)
    same(turned(compiled(x, kernel))[0], right(plain(x, kernel))[0])


def test_under_vmap():
    compiled, plain, x, kernel = forms(CASES["odd"])
    kernels = jnp.stack([kernel, 2 * kernel])
    same(
        jax.vmap(compiled, (None, 0))(x, kernels),
        jax.vmap(plain, (None, 0))(x, kernels),
    )
    grads = jax.vmap(jax.grad(lambda x, k: compiled(x, k).sum()), (None, 0))
    same(grads(x, kernels)[1], 2 * jax.grad(lambda x: plain(x, kernel).sum())(x))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["x", "kernel", "slope"])
def test_odd_values_travel_alike(value, part):
    compiled, plain, x, kernel = forms(CASES["stride"])
    slope = jnp.ones_like(plain(x, kernel))
    if part == "x":
        x = x.at[1, 3, 2, 5].set(value)
    elif part == "kernel":
        kernel = kernel.at[0, 2, 4].set(value)
    else:
        slope = slope.at[2, 0, 1, 3].set(value)

    def all_of(form):
        y, back = jax.vjp(form, x, kernel)
        return y, *back(slope)

    both = jax.jit(lambda: (all_of(compiled), all_of(plain)))()
    for got, right in zip(*both, strict=True):
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(right))
        np.testing.assert_array_equal(np.isnan(got), np.isnan(right))


def test_the_same_bits_again():
    compiled, _, x, kernel = forms(CASES["many images"])

    @jax.jit
    def run(x, kernel):
        y, back = jax.vjp(compiled, x, kernel)
        return y, *back(y)

    first = run(x, kernel)
    for _ in range(5):
        for a, b in zip(first, run(x, kernel), strict=True):
            assert a.tobytes() == b.tobytes()


def test_an_exported_program_has_no_custom_call():
    compiled, _, x, kernel = forms(CASES["odd"])
    run = jax.jit(jax.grad(lambda x, k: compiled(x, k).sum()))
    assert "lamina_depthwise" in run.lower(x, kernel).as_text()
    assert (
        "stablehlo.custom_call" not in jax.export.export(run)(x, kernel).mlir_module()
    )


@pytest.mark.parametrize(
    ("shape", "multiplier", "padding", "dtype", "expected"),
    [
        ((2, 6, 6, 8), 1, "same", "float32", True),
        ((2, 6, 6, 8), 2, "same", "float32", False),
        ((2, 6, 6, 3), 1, "same", "float32", False),
        ((2, 6, 6, 8), 1, "same", "bfloat16", False),
        ((2, 6, 6, 8), 1, [(0, 0), (-1, 2)], "float32", False),
        ((2, 6, 2, 8), 1, "valid", "float32", False),
        ((0, 6, 6, 8), 1, "same", "float32", False),
    ],
)
def test_what_fits(shape, multiplier, padding, dtype, expected):
    x, kernel = jnp.ones(shape, dtype), jnp.ones((3, 3, shape[-1], multiplier), dtype)
    given = (1, 1), padding, (1, 1)
    assert depthwise.fits(x, kernel, *given) is expected
    run = jax.jit(
        lambda x, k: depthwise_conv(
            x, k, strides=(1, 1), padding=padding, dilation=(1, 1)
        )
    )
    assert ("lamina_depthwise" in run.lower(x, kernel).as_text()) is expected
