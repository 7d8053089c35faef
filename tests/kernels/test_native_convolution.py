"""Compiled convolutions are held to the plain form, for every level of the library."""

import importlib.metadata
import itertools
import os
import shutil
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.test_util import check_grads

from lamina import kernels
from lamina.kernels import native
from lamina.kernels.native import convolution, depthwise, windowed

needs_library = pytest.mark.skipif(
    not native.available(), reason="built without compiled kernels"
)


def test_an_installed_package_has_its_kernels():
    try:
        importlib.metadata.distribution("lamina")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("lamina is not installed")
    off = os.environ.get("LAMINA_NATIVE") == "0"
    if off or not shutil.which(os.environ.get("CXX", "c++")):
        pytest.skip("there is no compiler")
    assert native.library() is not None


# batch, sizes, channels, window, outputs, strides, pads, dilation
CASES = [
    (2, (5, 6), 3, (3, 3), 8, (1, 1), ((1, 1), (1, 1)), (1, 1)),
    (1, (7, 5), 16, (3, 2), 16, (2, 1), ((1, 1), (0, 1)), (1, 1)),
    (3, (4, 9), 5, (2, 3), 17, (1, 2), ((0, 1), (2, 0)), (1, 1)),
    (9, (3, 3), 2, (3, 3), 80, (1, 1), ((1, 1), (1, 1)), (1, 1)),
    (1, (8, 8), 1, (2, 2), 33, (3, 3), ((0, 0), (0, 0)), (1, 1)),  # leaves cells out
    (2, (9, 7), 4, (3, 3), 24, (1, 2), ((2, 2), (3, 1)), (2, 3)),
    (1, (2, 2), 3, (5, 5), 9, (1, 1), ((2, 2), (2, 2)), (1, 1)),  # window > image
    (2, (6, 6), 3, (1, 1), 12, (2, 2), ((0, 0), (0, 0)), (1, 1)),
    (2, (1, 1), 1, (1, 1), 8, (1, 1), ((0, 0), (0, 0)), (1, 1)),
    (1, (3, 40), 70, (1, 2), 64, (1, 1), ((0, 0), (0, 1)), (1, 1)),
    (17, (3, 2), 3, (2, 2), 10, (1, 1), ((0, 1), (1, 0)), (1, 1)),
    (2, (11,), 6, (4,), 19, (3,), ((2, 1),), (2,)),
    (1, (5, 4), 300, (3, 3), 140, (1, 1), ((1, 1), (1, 1)), (1, 1)),  # large kernel
    (2, (3, 3), 2, (2, 2), 8, (4, 4), ((0, 0), (0, 0)), (1, 1)),  # stride > window
]


def arrays(case, rng):
    batch, sizes, channels, window, outputs, strides, pads, dilation = case
    settings = {"strides": strides, "pads": pads, "dilation": dilation}
    x = jnp.asarray(rng.normal(size=(batch, *sizes, channels)), "float32")
    kernel = jnp.asarray(rng.normal(size=(*window, channels, outputs)), "float32")
    y = jax.eval_shape(partial(convolution._plain, **settings), x, kernel)
    return x, kernel, jnp.asarray(rng.normal(size=y.shape), "float32"), settings


def with_gradients(plain, settings):
    def run(x, kernel, y):
        value, pullback = jax.vjp(partial(plain, **settings), x, kernel)
        return value, *pullback(y)

    return run


def test_every_library_agrees_with_the_plain_form(target, rng):
    def run(name, like, a, b, settings):
        like = jax.ShapeDtypeStruct(like.shape, "float32")
        call = jax.ffi.ffi_call(target(name), like)
        given = windowed.attributes(**settings)
        return call(a, b, **{key: np.array(v) for key, v in given.items()})

    for case, (name, plain) in itertools.product(
        CASES, (("conv", convolution._plain), ("depthwise", depthwise.plain))
    ):
        x, kernel, y, settings = arrays(case, rng)
        if name == "depthwise":
            kernel, y = kernel[..., 0], y[..., :1] * jnp.arange(1.0, x.shape[-1] + 1)
        # One program: by itself each operation would be compiled for every case.
        value, to_image, to_kernel = jax.jit(with_gradients(plain, settings))(
            x, kernel, y
        )
        for mine, theirs in (
            (run(name, y, x, kernel, settings), value),
            (run(f"{name}_image", x, y, kernel, settings), to_image),
            (run(f"{name}_kernel", kernel, x, y, settings), to_kernel),
        ):
            size = max(float(jnp.abs(theirs).max()), 1.0)
            np.testing.assert_allclose(
                mine, theirs, rtol=0, atol=2e-6 * size, err_msg=f"{name} {case}"
            )


@needs_library
def test_derivatives_of_any_order(rng):
    x, kernel, y, settings = arrays(CASES[3], rng)
    x, y = x[:1, :2], y[:1, :2]

    def value(x, kernel):
        return convolution.conv(x, kernel, *settings.values())

    def image(y, kernel):
        return convolution.spread(y, kernel, (2, 3), *settings.values())

    for function, given in ((value, (x, kernel)), (image, (y, kernel))):
        check_grads(function, given, 2, ["fwd", "rev"], rtol=0.02, atol=0.02)
    grads = jax.make_jaxpr(jax.grad(lambda k: value(x, k).sum()))(kernel)
    assert "lamina_conv_kernel" in str(grads)


def test_every_library_rectifies_sums_as_they_are_written_down(target, rng):
    for case in CASES:
        x, kernel, y, settings = arrays(case, rng)
        given = {k: np.array(v) for k, v in windowed.attributes(**settings).items()}
        for name, a, result in (("conv", x, y), ("conv_image", y, x)):
            like = jax.ShapeDtypeStruct(result.shape, "float32")
            bias = jnp.asarray(rng.normal(size=result.shape[-1:]), "float32")
            bias = bias.at[0].set(jnp.nan)
            sums = jax.ffi.ffi_call(target(name), like)(a, kernel, **given)
            mine = jax.ffi.ffi_call(target(f"{name}_rectified"), like)(
                a, kernel, bias, **given
            )
            np.testing.assert_array_equal(mine, jax.nn.relu(sums + bias), str(case))


def sums_of(way, settings):
    """Return a convolution, or the spread of its result, as a function of `bias`."""
    if way == "conv":
        return lambda x, kernel, bias=None: convolution.conv(
            x, kernel, *settings.values(), bias
        )
    return lambda x, kernel, bias=None: convolution.spread(
        x, kernel, (3, 3), *settings.values(), bias
    )


@needs_library
@pytest.mark.parametrize("way", ["conv", "spread"])
def test_derivatives_of_rectified_sums_are_those_of_their_parts(way, rng):
    x, kernel, y, settings = arrays(CASES[3], rng)
    if way == "spread":
        x, y, kernel = y[..., :8], x, kernel[..., :8]
    bias = jnp.asarray(rng.normal(size=y.shape[-1:]), "float32")
    whole = sums_of(way, settings)

    def parts(x, kernel, bias):
        return jax.nn.relu(whole(x, kernel) + bias)

    def gradients(run, *numbers):
        def loss(*given):
            return jnp.vdot(run(*given), y)

        return jax.jit(jax.grad(loss, numbers))(x, kernel, bias)

    for numbers in ((0, 1, 2), (1,), (2,), (0,)):
        for mine, theirs in zip(
            gradients(whole, *numbers), gradients(parts, *numbers), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)
    given = x, kernel, bias
    for mine, theirs in zip(
        jax.jvp(whole, given, given), jax.jvp(parts, given, given), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    text = str(jax.make_jaxpr(jax.grad(lambda k: whole(x, k, bias).sum()))(kernel))
    assert "_rectified" in text and "lamina_conv_kernel" in text
    many = jax.vmap(whole, (0, None, None))(jnp.stack([x, -x]), kernel, bias)
    np.testing.assert_allclose(many[1], parts(-x, kernel, bias), atol=1e-5)


@needs_library
def test_conv_uses_it_and_agrees_under_every_transformation(rng, monkeypatch):
    x, kernel, _, settings = arrays(CASES[1], rng)
    pads = settings.pop("pads")

    def run(x, kernel):
        y = kernels.conv(x, kernel, padding=pads, **settings)
        back = kernels.conv_transpose(
            y, kernel, strides=settings["strides"], padding="same", dilation=(1, 1)
        )
        return y.sum() + (back**2).sum()

    many = jnp.stack([x, 2 * x])
    ways = [
        lambda: run(x, kernel),
        lambda: jax.jit(run)(x, kernel),
        lambda: jax.vmap(run, (0, None))(many, kernel),
        lambda: jax.lax.map(lambda x: run(x, kernel), many),
        lambda: jax.jit(jax.grad(run, (0, 1)))(x, kernel),
        lambda: jax.vmap(jax.grad(run), (0, None))(many, kernel),
        lambda: jax.grad(jax.checkpoint(run))(x, kernel),
    ]
    text = str(jax.make_jaxpr(run)(x, kernel))
    assert "lamina_conv[" in text and "lamina_conv_image[" in text
    compiled = [way() for way in ways]
    monkeypatch.setattr(native, "available", lambda: False)
    for mine, way in zip(compiled, ways, strict=True):
        for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(way()), strict=True):
            size = float(jnp.abs(b).max())
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * size)


@needs_library
def test_what_it_does_not_take(rng):
    x, kernel = jnp.ones((1, 4, 4, 3)), jnp.ones((2, 2, 3, 8))
    assert convolution.fits(x, kernel, "same", 8)
    assert not convolution.fits(x[:0], kernel, "same", 8)
    assert not convolution.fits(x, kernel, [(-1, 0), (0, 0)], 8)
    assert not convolution.fits(x.astype("bfloat16"), kernel, "same", 8)
    assert not convolution.fits(x, kernel, "same", 1)
    shape = jax.eval_shape(
        lambda x: kernels.conv(
            x, kernel, strides=(1, 1), padding="same", dilation=(1, 1)
        ),
        jax.ShapeDtypeStruct((*export.symbolic_shape("b"), 4, 4, 3), "float32"),
    )
    assert shape.shape[1:] == (4, 4, 8)


@needs_library
def test_exported_programs_hold_the_plain_form():
    def run(x, kernel):
        return convolution.conv(x, kernel, (1, 1), [(0, 0)] * 2, (1, 1))

    given = jnp.ones((1, 4, 4, 3)), jnp.ones((2, 2, 3, 8))
    assert "lamina_conv" in jax.jit(run).lower(*given).as_text()
    for platforms in (["cpu"], ["cpu", "cuda"]):
        exported = export.export(jax.jit(run), platforms=platforms)(*given)
        assert "custom_call" not in exported.mlir_module()


@needs_library
def test_not_a_number_goes_where_the_plain_form_has_it(rng):
    for case, place in itertools.product(CASES[:3], (np.nan, np.inf)):
        x, kernel, _, settings = arrays(case, rng)
        x = x.at[0, 1, 1, 0].set(place)
        mine = convolution.conv(x, kernel, *settings.values())
        theirs = convolution._plain(x, kernel, **settings)
        np.testing.assert_array_equal(np.isfinite(mine), np.isfinite(theirs))


ELSEWHERE = """
import os, sys
if sys.argv[1] == "one":
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
elif sys.argv[1] == "many":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import hashlib, jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from lamina.kernels import conv
rng = np.random.default_rng(0)
x = jnp.asarray(rng.normal(size=(10, 6, 6, 9)), "float32")
k = jnp.asarray(rng.normal(size=(3, 3, 9, 16)), "float32")
def run(x, k):
    settings = {"strides": (1, 1), "padding": "same", "dilation": (1, 1)}
    y, pullback = jax.vjp(lambda x, k: conv(x, k, **settings), x, k)
    return y, pullback(y)
if sys.argv[1] == "many":
    auto = jax.sharding.AxisType.Auto
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(auto,))
    x = jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))
text = jax.jit(run).lower(x, k).as_text()
assert ("lamina_conv" in text) == (sys.argv[1] != "many"), text
results = jax.tree.leaves(jax.jit(run)(x, k))
print(hashlib.sha256(b"".join(map(np.asarray, results))).hexdigest())
"""


@needs_library
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_threads_and_devices():
    def run(how):
        command = [sys.executable, "-c", ELSEWHERE, how]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    # The same bits on any number of cores.
    assert run("one") == run("all")
    run("many")


# sizes, channels, window, outputs, strides, padding, dilation, output padding
VOLUMES = [
    ((5, 4, 6), 3, (3, 3, 3), 8, (1, 1, 1), "same", (1, 1, 1), None),
    ((5, 4, 6), 1, (2, 3, 1), 9, (2, 1, 2), "valid", (1, 1, 1), None),
    ((7, 4, 5), 8, (3, 2, 2), 8, (1, 1, 1), "same", (2, 1, 2), None),
    ((4, 4, 5), 8, (3, 3, 3), 10, (2, 1, 2), "same", (1, 1, 1), (1, 0, 1)),
    ((2, 3, 3), 8, (1, 1, 2), 8, (3, 2, 1), "valid", (1, 1, 1), None),
    ((2, 3, 3), 2, (4, 2, 2), 8, (1, 1, 1), "same", (1, 1, 1), None),
]


@needs_library
@pytest.mark.parametrize("case", VOLUMES)
def test_volumes_are_convolved_as_images(case, rng, monkeypatch):
    sizes, channels, window, outputs, strides, padding, dilation, more = case
    x = jnp.asarray(rng.normal(size=(2, *sizes, channels)), "float32")
    kernel = jnp.asarray(rng.normal(size=(*window, channels, outputs)), "float32")
    turned = jnp.asarray(rng.normal(size=(*window, outputs, channels)), "float32")
    given = {"strides": strides, "padding": padding, "dilation": dilation}

    def conv(x, kernel):
        return kernels.conv(x, kernel, **given)

    def transposed(x, turned):
        return kernels.conv_transpose(x, turned, output_padding=more, **given)

    def everything(x, kernel, turned):
        found = []
        for run, weights in ((conv, kernel), (transposed, turned)):
            y, pullback = jax.vjp(run, x, weights)
            found += [y, *pullback(jnp.cos(y))]
        return found

    def values(x, kernel, turned):
        broken = x.at[0, 0, 0, 0, 0].set(jnp.nan)
        return [conv(broken, kernel), transposed(broken, turned)]

    def whole(x, kernel, turned):
        each = jax.vmap(values, (0, None, None))(x[:, None], kernel, turned)
        rows = [y[:, 0] for y in each]
        return everything(x, kernel, turned), values(x, kernel, turned), rows

    assert "lamina_conv" in str(jax.make_jaxpr(everything)(x, kernel, turned))
    compiled = jax.jit(whole)(x, kernel, turned)
    monkeypatch.setattr(native, "available", lambda: False)
    jax.clear_caches()
    plain = jax.jit(whole)(x, kernel, turned)
    for mine, theirs in zip(*map(jax.tree.leaves, (compiled, plain)), strict=True):
        size = float(jnp.nanmax(jnp.abs(theirs)))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5 * size)


def test_one_channel_is_compiled_here_only_where_it_is_differentiated():
    x, kernel = jnp.ones((16, 9, 9, 1)), jnp.ones((3, 3, 1, 16))

    def total(x, kernel):
        settings = {"strides": (1, 1), "padding": "valid", "dilation": (1, 1)}
        return jnp.sum(kernels.conv(x, kernel, rectified=jnp.ones(16), **settings))

    assert "lamina_conv" not in jax.jit(total).lower(x, kernel).as_text()
    assert "lamina_conv" in jax.jit(jax.grad(total)).lower(x, kernel).as_text()
    assert "lamina_conv" in jax.jit(total).lower(x[:1], kernel).as_text()
    value, slope = jax.value_and_grad(total, 1)(x, kernel)
    assert value == total(x, kernel) == 16 * 49 * 16 * 10
    np.testing.assert_array_equal(slope, 16 * 49)
