import jax
import jax.numpy as jnp
import numpy as np
import pytest
from keras import ops

from lamina.kernels import conv, conv_transpose, depthwise_conv

# sizes, channels, window, outputs, strides, padding, dilation, groups
CASES = [
    ((7,), 3, (3,), 4, (1,), "same", (1,), 1),
    ((7,), 3, (1,), 4, (3,), "same", (1,), 1),
    ((8,), 1, (4,), 5, (3,), "same", (1,), 1),
    ((9,), 4, (3,), 6, (1,), "valid", (3,), 2),
    ((1,), 2, (2,), 1, (1,), "same", (1,), 1),
    ((6, 5), 3, (1, 1), 4, (1, 1), "valid", (1, 1), 1),
    ((7, 5), 3, (1, 1), 4, (2, 3), "same", (1, 1), 1),
    ((7, 5), 4, (1, 1), 4, (2, 2), "valid", (1, 1), 2),
    ((6, 5), 1, (3, 3), 4, (1, 1), "same", (1, 1), 1),
    ((6, 7), 1, (2, 3), 4, (2, 2), "same", (1, 1), 1),
    ((7, 7), 1, (3, 2), 2, (1, 1), "same", (2, 3), 1),
    ((5, 5), 2, (2, 2), 3, (2, 2), "same", (1, 1), 1),
    ((7, 5), 4, (3, 3), 8, (2, 1), "valid", (1, 1), 4),
    ((7, 5), 6, (4, 2), 3, (2, 3), "same", (1, 1), 3),
    ((3, 4, 5), 1, (2, 2, 2), 3, (1, 2, 1), "same", (1, 1, 1), 1),
    ((3, 4, 5), 2, (2, 1, 3), 3, (1, 1, 1), "valid", (1, 1, 1), 1),
    ((3, 2, 2), 2, (1, 1, 1), 3, (2, 1, 1), "valid", (1, 1, 1), 1),
]


@pytest.mark.parametrize(
    "sizes, channels, window, outputs, strides, padding, dilation, groups", CASES
)
def test_conv_agrees_with_keras(
    sizes, channels, window, outputs, strides, padding, dilation, groups, rng, agree
):
    x = rng.normal(size=(2, *sizes, channels)).astype("float32")
    kernel = rng.normal(size=(*window, channels // groups, outputs)).astype("float32")
    options = {"strides": strides, "padding": padding}

    def reference(x, kernel):
        return ops.conv(
            x, kernel, dilation_rate=dilation, data_format="channels_last", **options
        )

    def mine(x, kernel):
        return conv(x, kernel, dilation=dilation, groups=groups, **options)

    agree(mine, reference, x, kernel)


@pytest.mark.parametrize("channels", [1, 2])
def test_explicit_padding(channels, rng, agree):
    pads = [(2, 0), (1, 3)]
    x = rng.normal(size=(2, 5, 6, channels)).astype("float32")
    kernel = rng.normal(size=(3, 2, channels, 3)).astype("float32")
    unit = rng.normal(size=(1, 1, channels, 3)).astype("float32")
    padded = [(0, 0), *pads, (0, 0)]
    plain = {"strides": (2, 1), "dilation": (1, 1)}
    for weights in (kernel, unit):
        agree(
            lambda x, w: conv(x, w, padding=pads, **plain),
            lambda x, w: conv(jnp.pad(x, padded), w, padding="valid", **plain),
            x,
            weights,
        )


DEPTHWISE = [
    ((7,), 3, (3,), 1, (1,), "same", (1,)),
    ((9,), 2, (2,), 3, (2,), "valid", (1,)),
    ((6, 7), 4, (3, 3), 1, (1, 1), "same", (1, 1)),
    ((7, 7), 4, (3, 3), 1, (2, 2), "same", (1, 1)),
    ((7, 8), 3, (2, 3), 1, (1, 1), "valid", (2, 2)),
    ((6, 6), 1, (2, 2), 3, (2, 2), "same", (1, 1)),
    ((9, 9), 2, (7, 7), 1, (1, 1), "same", (1, 1)),
    ((1,), 3, (4,), 1, (2,), "same", (1,)),
    ((3, 4, 5), 2, (2, 1, 3), 1, (2, 1, 1), "same", (1, 1, 1)),
]


@pytest.mark.parametrize(
    "sizes, channels, window, multiplier, strides, padding, dilation", DEPTHWISE
)
def test_depthwise_agrees_with_keras(
    sizes, channels, window, multiplier, strides, padding, dilation, rng, agree
):
    x = rng.normal(size=(2, *sizes, channels)).astype("float32")
    kernel = rng.normal(size=(*window, channels, multiplier)).astype("float32")
    options = {"strides": strides, "padding": padding}

    def reference(x, kernel):
        return ops.depthwise_conv(
            x, kernel, dilation_rate=dilation, data_format="channels_last", **options
        )

    def mine(x, kernel):
        return depthwise_conv(x, kernel, dilation=dilation, **options)

    agree(mine, reference, x, kernel)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_transposed_size_agrees_with_keras(stride, padding, rng):
    x = jnp.asarray(rng.normal(size=(1, 5, 1)), "float32")
    cases = [
        (cells, dilation, more)
        for cells in (1, 2, 3, 4, 5)
        for dilation in ((1, 2) if stride == 1 else (1,))
        for more in (None, *range(stride))
    ]

    @jax.jit
    def run(x):
        return [pair(x, *case) for case in cases]

    def pair(x, cells, dilation, more):
        kernel = jnp.arange(1.0, cells + 1).reshape(cells, 1, 1)
        theirs = ops.conv_transpose(
            x,
            kernel,
            stride,
            padding,
            output_padding=more,
            dilation_rate=dilation,
            data_format="channels_last",
        )
        mine = conv_transpose(
            x,
            kernel,
            strides=(stride,),
            padding=padding,
            output_padding=None if more is None else (more,),
            dilation=(dilation,),
        )
        return mine, theirs

    for case, (mine, theirs) in zip(cases, run(x), strict=True):
        assert mine.shape == theirs.shape, case
        np.testing.assert_allclose(mine, theirs, atol=1e-5, err_msg=str(case))


TRANSPOSED = [
    ((5, 4), (3, 3), (2, 2), "same", None),
    ((5, 4), (2, 3), (3, 2), "valid", (1, 0)),
    ((4, 3), (4, 4), (2, 2), "same", (1, 1)),
    ((2, 3, 2), (2, 2, 3), (2, 1, 2), "same", None),
]


@pytest.mark.parametrize("sizes, window, strides, padding, more", TRANSPOSED)
def test_transposed_agrees_with_keras(
    sizes, window, strides, padding, more, rng, agree
):
    x = rng.normal(size=(2, *sizes, 3)).astype("float32")
    kernel = rng.normal(size=(*window, 2, 3)).astype("float32")
    options = {"strides": strides, "padding": padding, "output_padding": more}
    ones = (1,) * len(window)

    def reference(x, kernel):
        return ops.conv_transpose(x, kernel, data_format="channels_last", **options)

    def mine(x, kernel):
        return conv_transpose(x, kernel, dilation=ones, **options)

    agree(mine, reference, x, kernel)


@pytest.mark.parametrize("f", [conv, depthwise_conv, conv_transpose])
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_is_a_transpose(f, channels, rng):
    x = jnp.asarray(rng.normal(size=(2, 6, 5, channels)), "float32")
    kernel = jnp.asarray(rng.normal(size=(3, 2, channels, channels)), "float32")
    options = {"strides": (2, 1), "padding": "same", "dilation": (1, 1)}

    @jax.jit
    def run(x, kernel):
        first = f(jnp.moveaxis(x, -1, 1), kernel, channels_last=False, **options)
        return jnp.moveaxis(first, 1, -1), f(x, kernel, **options)

    np.testing.assert_allclose(*run(x, kernel), atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("channels, window", [(1, 3), (3, 3), (3, 1)])
def test_half_precision(dtype, channels, window, rng):
    x = jnp.asarray(rng.normal(size=(2, 6, 5, channels)), dtype)
    kernel = jnp.asarray(rng.normal(size=(window, window, channels, 4)), dtype)

    def run(x, kernel):
        return conv(x, kernel, strides=(1, 1), padding="same", dilation=(1, 1))

    @jax.jit
    def both(x, kernel):
        y, pullback = jax.vjp(run, x, kernel)
        return y, run(x.astype("float32"), kernel.astype("float32")), pullback(y)

    y, exact, gradients = both(x, kernel)
    assert y.dtype == dtype
    bound = 4 * float(jnp.finfo(dtype).eps) * float(jnp.abs(exact).max())
    np.testing.assert_allclose(np.asarray(y, "float32"), exact, atol=bound)
    assert [g.dtype for g in gradients] == [dtype, dtype]


@pytest.mark.parametrize("f", [conv, depthwise_conv, conv_transpose])
def test_every_form_in_bfloat16(f, rng):
    x = jnp.asarray(rng.normal(size=(2, 6, 5, 2)), "bfloat16")
    kernel = jnp.asarray(rng.normal(size=(3, 2, 2, 2)), "bfloat16")
    options = {"strides": (1, 1), "padding": "same", "dilation": (2, 1)}

    @jax.jit
    def run(*args):
        y, pullback = jax.vjp(lambda *args: f(*args, **options), *args)
        return y, *pullback(jnp.ones_like(y))

    mine = run(x, kernel)
    exact = run(x.astype("float32"), kernel.astype("float32"))
    for half, single in zip(mine, exact, strict=True):
        assert half.dtype == "bfloat16"
        bound = 4 * float(jnp.finfo("bfloat16").eps) * float(jnp.abs(single).max())
        np.testing.assert_allclose(np.asarray(half, "float32"), single, atol=bound)


def test_transposed_gradient_with_dilation(rng, agree):
    x = rng.normal(size=(2, 4, 5, 3)).astype("float32")
    kernel = rng.normal(size=(2, 3, 2, 3)).astype("float32")

    def reference(x, kernel):
        return ops.conv_transpose(
            x, kernel, 1, "same", dilation_rate=2, data_format="channels_last"
        )

    agree(
        lambda x, kernel: conv_transpose(
            x, kernel, strides=(1, 1), padding="same", dilation=(2, 2)
        ),
        reference,
        x,
        kernel,
    )


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("channels", [1, 2])
def test_vmap(window, channels, rng):
    x = jnp.asarray(rng.normal(size=(3, 2, 5, 5, channels)), "float32")
    kernel = jnp.asarray(rng.normal(size=(window, window, channels, 4)), "float32")

    def one(x):
        return conv(x, kernel, strides=(2, 2), padding="same", dilation=(1, 1))

    mapped, looped = jax.jit(lambda x: (jax.vmap(one)(x), jax.lax.map(one, x)))(x)
    np.testing.assert_allclose(mapped, looped, atol=1e-5)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("channels", [1, 2])
def test_symbolic_shapes(padding, window, channels):
    (b,) = jax.export.symbolic_shape("b", constraints=["b>=3"])
    kernel = jnp.ones((window, window, channels, 4))
    options = {"strides": (2, 2), "padding": padding, "dilation": (1, 1)}

    def shape(f, kernel, *sizes):
        x = jax.ShapeDtypeStruct((*sizes, channels), "float32")
        return jax.eval_shape(lambda x: f(x, kernel, **options), x).shape

    rows = -(-(7 - (window - 1 if padding == "valid" else 0)) // 2)
    assert shape(conv, kernel, b, 7, 7) == (b, rows, rows, 4)
    depthwise = jnp.ones((window, window, channels, 1))
    assert shape(depthwise_conv, depthwise, b, 7, 7) == (b, rows, rows, channels)
    wide = shape(conv, kernel, b, b, 7)
    assert wide[0] == b and wide[2:] == (rows, 4)
    assert shape(depthwise_conv, depthwise, b, b, 7)[2:] == (rows, channels)
    transposed = jnp.ones((window, window, 4, channels))
    long = 2 * b + max(window - 2, 0) if padding == "valid" else 2 * b
    assert shape(conv_transpose, transposed, b, b, 7)[1] == long


def test_one_cell_with_a_stride(rng):
    x = jnp.asarray(rng.normal(size=(2, 7, 3)), "float32")
    kernel = jnp.asarray(rng.normal(size=(1, 3, 4)), "float32")
    y = conv(x, kernel, strides=(2,), padding="same", dilation=(1,))
    np.testing.assert_allclose(y, x[:, ::2] @ kernel[0], atol=1e-5)
