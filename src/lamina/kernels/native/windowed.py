"""Families of compiled kernels: a product of images and windows, and its gradients.

Each of the three is linear in both of its arrays, and its derivatives are the other
two; so derivatives of any order, in forward and reverse mode, run compiled.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad

from lamina.kernels import native, windows


class Family(NamedTuple):
    """Primitives of one kind of convolution.

    Attributes:
        value: of an image (batch, *spatial, channels) and a kernel.
        image: the image's gradient, of the value's and the kernel; takes the
            image's spatial `sizes`.
        kernel: the kernel's gradient, of the image and the value's; takes the
            `window`'s sizes.
    """

    value: Primitive
    image: Primitive
    kernel: Primitive


def takes(x: jax.Array, kernel: jax.Array, padding: str | windows.Pads) -> bool:
    """Return whether the compiled kernels are there, and made for such arrays.

    Args:
        x: (batch, *spatial, channels).
        kernel: (*window, ...).
        padding: "valid", "same", or a (before, after) pair per dimension.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.windowed import takes
        >>> takes(jnp.ones((1, 4, 4, 4, 1)), jnp.ones((2, 2, 2, 1, 8)), "same")
        False
    """
    return (
        native.available()
        and x.ndim in (3, 4)
        and x.dtype == kernel.dtype == jnp.float32
        and all(type(size) is int and size > 0 for size in (*x.shape, *kernel.shape))
        and (isinstance(padding, str) or all(min(pair) >= 0 for pair in padding))
    )


def settings(
    strides: Sequence[int], pads: windows.Pads, dilation: Sequence[int]
) -> dict[str, tuple]:
    """Return the parameters that all primitives of a family take.

    Args:
        strides: distance of neighbouring windows along each dimension.
        pads: cells before and after, for each spatial dimension.
        dilation: distance of neighbouring cells of the window.

    Example:
        >>> from lamina.kernels.native.windowed import settings
        >>> settings([2], [(0, 1)], [1])
        {'strides': (2,), 'pads': ((0, 1),), 'dilation': (1,)}
    """
    return {
        "strides": tuple(map(int, strides)),
        "pads": tuple((int(lo), int(hi)) for lo, hi in pads),
        "dilation": tuple(map(int, dilation)),
    }


def family(
    name: str,
    plain: Callable[..., jax.Array],
    *,
    channels: Callable[[jax.Array, jax.Array], int],
    weights: Callable[[jax.Array, jax.Array], tuple[int, ...]],
    few: int = 0,
) -> Family:
    """Return the primitives of a convolution that is computed by compiled kernels.

    Args:
        name: of the function in the library; the gradients' are the same with
            `_image` and `_kernel`.
        plain: computes the value, with `settings` as keywords.
        channels: of the image, from the value's gradient and the kernel.
        weights: the kernel's shape behind the window, from the image and the
            value's gradient.
        few: with fewer channels the image's gradient is the plain one.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.convolution import FAMILY
        >>> x, kernel = jnp.ones((1, 4, 1)), jnp.ones((3, 1, 1))
        >>> how = {"strides": (1,), "pads": ((0, 0),), "dilation": (1,)}
        >>> FAMILY.value.bind(x, kernel, **how).ravel().tolist()
        [3.0, 3.0]
    """

    def plain_image(y, kernel, *, sizes, **how):
        x = jax.ShapeDtypeStruct((y.shape[0], *sizes, channels(y, kernel)), y.dtype)
        return jax.linear_transpose(lambda x: plain(x, kernel, **how), x)(y)[0]

    def plain_kernel(x, y, *, window, **how):
        kernel = jax.ShapeDtypeStruct((*window, *weights(x, y)), x.dtype)
        return jax.linear_transpose(lambda k: plain(x, k, **how), kernel)(y)[0]

    value = native.primitive(name, plain, attributes)
    image = native.primitive(f"{name}_image", plain_image, attributes)
    gradients = native.primitive(f"{name}_kernel", plain_kernel, attributes)

    def to_image(y, shape, kernel, **how):
        run = image.bind if shape[-1] >= few else plain_image
        return run(y, kernel, sizes=shape[1:-1], **how)

    def to_kernel(y, x, shape, **how):
        return gradients.bind(x, y, window=shape[: x.ndim - 2], **how)

    native.bilinear(value, to_image, to_kernel)
    native.bilinear(
        image,
        lambda x, shape, kernel, sizes, **how: value.bind(x, kernel, **how),
        lambda x, y, shape, sizes, **how: to_kernel(y, x, shape, **how),
    )
    native.bilinear(
        gradients,
        lambda kernel, shape, y, window, **how: to_image(y, shape, kernel, **how),
        lambda kernel, x, shape, window, **how: value.bind(x, kernel, **how),
    )
    return Family(value, image, gradients)


def rectified(linear: Primitive, name: str) -> Primitive:
    """Return the primitive of `relu(linear(x, kernel) + bias)` as one kernel.

    Args:
        linear: one of a family's first two.
        name: of the function in the library.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels.native.convolution import RECTIFIED
        >>> x, kernel, bias = jnp.ones((1, 4, 1)), jnp.ones((3, 1, 1)), -2 * jnp.ones(1)
        >>> how = {"strides": (1,), "pads": ((1, 1),), "dilation": (1,)}
        >>> RECTIFIED.bind(x, kernel, bias, **how).ravel().tolist()
        [0.0, 1.0, 1.0, 0.0]
    """

    def plain(x, kernel, bias, **how):
        return jax.nn.relu(native.plain_form(linear)(x, kernel, **how) + bias)

    def jvp(primals, tangents, **how):
        x, kernel, bias = primals
        y = made.bind(x, kernel, bias, **how)
        moves = (
            lambda t: linear.bind(t, kernel, **how),
            lambda t: linear.bind(x, t, **how),
            lambda t: jnp.broadcast_to(t, y.shape),
        )
        parts = [
            move(t)
            for move, t in zip(moves, tangents, strict=True)
            if type(t) is not ad.Zero
        ]
        return y, jnp.where(y > 0, reduce(jnp.add, parts), 0)

    made = native.primitive(name, plain, attributes)
    ad.primitive_jvps[made] = jvp
    return made


def attributes(
    *,
    strides: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    **_,
) -> dict[str, tuple[int, ...]]:
    """Return what the compiled functions take, for two dimensions always.

    Args:
        strides: distance of neighbouring windows along each dimension.
        pads: cells before and after, for each spatial dimension.
        dilation: distance of neighbouring cells of the window.

    Example:
        >>> from lamina.kernels.native.windowed import attributes
        >>> attributes(strides=(2,), pads=((1, 1),), dilation=(1,))
        {'strides': (1, 2), 'before': (0, 1), 'dilation': (1, 1)}
    """
    flat = len(strides) == 1
    return {
        "strides": (1,) * flat + strides,
        "before": (0,) * flat + tuple(lo for lo, _ in pads),
        "dilation": (1,) * flat + dilation,
    }
