"""Layers that make one tensor of several, and the functions of the same names."""

import functools
import operator

import jax
import jax.numpy as jnp

from lamina.core.checks import axes_argument, axis_within, described, is_integer
from lamina.core.rows import off_rows
from lamina.core.tracebacks import boundary
from lamina.core.types import Axes
from lamina.layers.call import is_tensor, plain_shape
from lamina.layers.layer import Layer
from lamina.layers.normalization import unit_length
from lamina.ops import numpy as ops


def _shapes(layer, shapes, least=1, most=None):
    """Return the shapes of a list of inputs, or raise: there must be a list."""
    listed = isinstance(shapes, (list, tuple)) and all(
        isinstance(s, (list, tuple)) for s in shapes
    )
    count = len(shapes) if listed else 0
    if not listed or count < least or (most is not None and count > most):
        number = f"exactly {least} inputs" if least == most else "a list of inputs"
        raise ValueError(
            f"{described(layer)}: a `{type(layer).__name__}` layer should be called on "
            f"{number}, such as `layer([a, b])`. Received: input shapes {shapes}"
        )
    return [tuple(s) for s in shapes]


class Merge(Layer):
    """Combines inputs element by element; the base of `Add` and its like.

    Inputs of fewer axes get axes of size 1 after the batch; axes of size 1 are
    repeated to fit. The mask of the output is True where that of any input is, and
    None if some input has none.

    Raises:
        ValueError: there is no list of inputs, or the shapes do not fit.
    """

    _featurewise = rows_independent = True
    _most = None

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def _check_spec(self, call):
        self._check_shapes(_shapes_of(call.first))

    def _check_shapes(self, shapes):
        shapes = _shapes(self, shapes, 2 if self._most else 1, self._most)
        ndim = max(map(len, shapes))
        aligned = [(*s[:1], *(1,) * (ndim - len(s)), *s[1:]) for s in shapes]
        for axis, sizes in enumerate(zip(*aligned, strict=True)):
            different = {size for size in sizes if size not in (1, None)}
            if axis == 0:
                different = {size for size in sizes if size is not None}
            if len(different) > 1:
                what = "different batch sizes" if axis == 0 else "incompatible shapes"
                raise ValueError(
                    f"{described(self)} was called on inputs with {what}: they differ "
                    f"at axis {axis}. Received: input shapes {shapes}. Make them "
                    "alike, for instance with a `Dense` or `Reshape` layer, or join "
                    "them with `Concatenate`."
                )

    def build(self, input_shape):
        self._check_shapes(input_shape)

    def call(self, inputs):
        return self._merge_function(_aligned(inputs))

    def _merge_function(self, tensors):
        raise NotImplementedError(f"{type(self).__name__} does not say how to combine.")

    def compute_mask(self, inputs, mask=None):
        masks = _masks(self, inputs, mask)
        if masks is None or any(m is None for m in masks):
            return None
        masks = [
            _widened(m, max(x.ndim for x in inputs) - x.ndim)
            for x, m in zip(inputs, masks, strict=True)
        ]
        return functools.reduce(ops.logical_or, masks)


def _widened(mask, missing):
    for _ in range(missing):
        mask = ops.expand_dims(mask, 1)
    return mask


def _shapes_of(inputs):
    if is_tensor(inputs):
        return plain_shape(inputs)
    if isinstance(inputs, (list, tuple)):
        return [plain_shape(x) if is_tensor(x) else x for x in inputs]
    return inputs


def _masks(layer, inputs, mask):
    if mask is None:
        return None
    for name, value in (("mask", mask), ("inputs", inputs)):
        if not isinstance(value, (list, tuple)):
            raise ValueError(
                f"{described(layer)}: `{name}` should be a list. Received: "
                f"{name}={value!r}"
            )
    if len(mask) != len(inputs):
        raise ValueError(
            f"{described(layer)}: `inputs` and `mask` should have the same length. "
            f"Received: {len(inputs)} inputs and {len(mask)} masks"
        )
    return None if all(m is None for m in mask) else list(mask)


def _aligned(inputs):
    """Give the tensors the same number of axes, added after the batch."""
    ndim = max(x.ndim for x in inputs)
    return [
        x.reshape(*x.shape[:1], *(1,) * (ndim - x.ndim), *x.shape[1:]) for x in inputs
    ]


class Add(Merge):
    """Adds its inputs: `a + b + ...`; see `Merge` for shapes and masks.

    >>> import lamina, numpy as np
    >>> lamina.layers.Add()([np.ones((1, 2)), np.ones((1, 2))]).tolist()
    [[2.0, 2.0]]
    """

    def _merge_function(self, tensors):
        return functools.reduce(operator.add, tensors)


class Subtract(Merge):
    """Subtracts its second input from its first: `a - b`; see `Merge`.

    >>> import lamina, numpy as np
    >>> lamina.layers.Subtract()([np.ones((1, 2)), np.ones((1, 2))]).tolist()
    [[0.0, 0.0]]
    """

    _most = 2

    def _merge_function(self, tensors):
        return tensors[0] - tensors[1]


class Multiply(Merge):
    """Multiplies its inputs: `a * b * ...`; see `Merge` for shapes.

    With masks, an entry that does not count leaves the product unchanged, and
    where no input counts the product is zero.

    >>> import lamina, numpy as np
    >>> lamina.layers.Multiply()([np.full((1, 2), 3.0), np.ones((1, 2))]).tolist()
    [[3.0, 3.0]]
    """

    def call(self, inputs, mask=None):
        """Return the product.

        Args:
            inputs: a list of arrays.
            mask: a list of as many masks, each None or of the first axes of its
                array.
        """
        masks = _masks(self, inputs, mask)
        tensors = _aligned(inputs)
        if masks is None:
            return functools.reduce(operator.mul, tensors)
        wide = [
            _fitted(m, x, y.ndim)
            for m, x, y in zip(masks, inputs, tensors, strict=True)
        ]
        product = functools.reduce(
            operator.mul,
            (
                x if m is None else jnp.where(m, x, 1)
                for x, m in zip(tensors, wide, strict=True)
            ),
        )
        if any(m is None for m in wide):
            return product
        counted = functools.reduce(operator.or_, wide)
        return jnp.where(jnp.asarray(counted), product, 0)


def _fitted(mask, x, ndim):
    """Give a mask the axes that its tensor has after `_aligned`."""
    if mask is None:
        return None
    mask = mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim))
    return mask.reshape(*mask.shape[:1], *(1,) * (ndim - mask.ndim), *mask.shape[1:])


class Average(Merge):
    """Takes the mean of its inputs; see `Merge` for shapes and masks.

    >>> import lamina, numpy as np
    >>> lamina.layers.Average()([np.zeros((1, 2)), np.ones((1, 2))]).tolist()
    [[0.5, 0.5]]
    """

    def _merge_function(self, tensors):
        return functools.reduce(operator.add, tensors) / len(tensors)


class _Extreme(Merge):
    """Picks among its inputs; entries that do not count stand aside for others."""

    _pick = staticmethod(jnp.maximum)

    def call(self, inputs, mask=None):
        """Return what was picked.

        Args:
            inputs: a list of arrays.
            mask: a list of as many masks, each None or of the first axes of its
                array. Where no input counts the first one is returned.
        """
        masks = _masks(self, inputs, mask) or [None] * len(inputs)
        tensors = _aligned(inputs)
        picked, counts = tensors[0], _fitted(masks[0], inputs[0], tensors[0].ndim)
        for m, x, y in zip(masks[1:], inputs[1:], tensors[1:], strict=True):
            m = _fitted(m, x, y.ndim)
            if counts is None and m is None:
                picked = self._pick(picked, y)
                continue
            before = jnp.asarray(True if counts is None else counts)
            now = jnp.asarray(True if m is None else m)
            alone = jnp.where(now & ~before, y, picked)
            picked = jnp.where(now & before, self._pick(picked, y), alone)
            counts = now | before
        return picked


class Maximum(_Extreme):
    """Takes the largest of its inputs; see `Merge` for shapes and masks.

    With masks, of those that count.

    >>> import lamina, numpy as np
    >>> lamina.layers.Maximum()([np.zeros((1, 2)), np.ones((1, 2))]).tolist()
    [[1.0, 1.0]]
    """


class Minimum(_Extreme):
    """Takes the smallest of its inputs; see `Merge` for shapes and masks.

    With masks, of those that count.

    >>> import lamina, numpy as np
    >>> lamina.layers.Minimum()([np.zeros((1, 2)), np.ones((1, 2))]).tolist()
    [[0.0, 0.0]]
    """

    _pick = staticmethod(jnp.minimum)


class Concatenate(Merge):
    """Joins its inputs along one axis.

    Args:
        axis: the axis; all other sizes must agree.

    Raises:
        ValueError: there is no list of inputs, the other sizes differ, or there is
            no such axis.

    >>> import lamina, numpy as np
    >>> lamina.layers.Concatenate()([np.ones((2, 3)), np.ones((2, 4))]).shape
    (2, 7)
    """

    _featurewise = False
    _moves_entries = True

    def __init__(self, axis: int = -1, **kwargs):
        super().__init__(**kwargs)
        axes_argument("Concatenate", axis)
        self.axis = axis

    @property
    def rows_independent(self):
        return off_rows(self.axis)

    def _check_shapes(self, shapes):
        shapes = _shapes(self, shapes)
        first = shapes[0]
        axis = axis_within(described(self), self.axis, len(first))
        for shape in shapes[1:]:
            alike = len(shape) == len(first) and all(
                a is None or b is None or a == b or i == axis
                for i, (a, b) in enumerate(zip(first, shape, strict=True))
            )
            if not alike:
                raise ValueError(
                    f"{described(self)}: a `Concatenate` layer requires inputs with "
                    "matching shapes except for the concatenation axis. "
                    f"Received: axis={self.axis}, input shapes {shapes}"
                )

    def call(self, inputs):
        return jnp.concatenate(inputs, self.axis)

    def compute_mask(self, inputs, mask=None):
        masks = _masks(self, inputs, mask)
        if masks is None:
            return None
        axis = self.axis % inputs[0].ndim
        wide = []
        for x, m in zip(inputs, masks, strict=True):
            if m is not None and m.ndim == x.ndim:
                wide.append(ops.logical_and(m, True))
                continue
            everywhere = ops.ones_like(x, dtype="bool")
            if m is not None:
                for _ in range(x.ndim - m.ndim):
                    m = ops.expand_dims(m, -1)
                everywhere = ops.logical_and(everywhere, m)
            wide.append(everywhere)
        return ops.any(ops.concatenate(wide, axis=axis), axis=-1)


class Dot(Merge):
    """Sums products along one axis of each of two inputs, sample by sample.

    For `a` of shape `(batch, i, n)` and `b` of `(batch, n, j)`, `axes=(2, 1)` gives
    `(batch, i, j)`. Two inputs of rank 2 give `(batch, 1)`.

    Args:
        axes: the axis of both inputs, or a pair of them; not the batch.
        normalize: whether to scale both to length 1 along the axis first, which
            gives the cosine of their angle.

    Raises:
        TypeError: `axes` is neither an integer nor a list.
        ValueError: it holds something else, or the sizes differ.

    >>> import lamina, numpy as np
    >>> a = np.array([[1.0, 2.0]])
    >>> lamina.layers.Dot(axes=1)([a, a]).tolist()
    [[5.0]]
    """

    _featurewise = False

    def __init__(self, axes: Axes, normalize: bool = False, **kwargs):
        super().__init__(**kwargs)
        if not is_integer(axes):
            if not isinstance(axes, (list, tuple)):
                raise TypeError(
                    "`Dot` expected `axes` to be an integer or a pair of them. "
                    f"Received: axes={axes!r}"
                )
            if len(axes) != 2 or not all(map(is_integer, axes)):
                raise ValueError(
                    "`Dot` expected `axes` to be one integer, or to contain two "
                    f"elements that are integers. Received: axes={axes!r}"
                )
        self.axes = axes
        self.normalize = normalize

    def _check_shapes(self, shapes):
        a, b = shapes = _shapes(self, shapes, 2, 2)
        i, j = self._axes(len(a), len(b))
        if i == 0 or j == 0:
            raise ValueError(
                f"{described(self)} cannot sum over axis 0, which counts the samples. "
                f"Received: axes={self.axes}, input shapes {shapes}"
            )
        for p, q in ((i, j), (0, 0)):
            if None not in (a[p], b[q]) and a[p] != b[q]:
                raise ValueError(
                    f"{described(self)}: incompatible input shapes: {a[p]} (at axis "
                    f"{p} of the first) is not {b[q]} (at axis {q} of the second). "
                    f"Received: axes={self.axes}, input shapes {shapes}"
                )

    def _axes(self, *ndims):
        axes = self.axes if isinstance(self.axes, (list, tuple)) else (self.axes,) * 2
        return [
            axis_within(described(self), a, n) for a, n in zip(axes, ndims, strict=True)
        ]

    def call(self, inputs):
        a, b = inputs
        i, j = self._axes(a.ndim, b.ndim)
        if self.normalize:
            a, b = unit_length(a, (i,)), unit_length(b, (j,))
        y = jax.lax.dot_general(a, b, (((i,), (j,)), ((0,), (0,))))
        return y if y.ndim > 1 else y[:, None]

    def compute_mask(self, inputs, mask=None):
        return


@boundary
def add(inputs, **kwargs):
    """Add the tensors of a list; see `Add`.

    >>> import lamina, numpy as np
    >>> lamina.layers.add([np.ones((1, 2)), np.ones((1, 2))]).tolist()
    [[2.0, 2.0]]
    """
    return Add(**kwargs)(inputs)


@boundary
def subtract(inputs, **kwargs):
    """Subtract the second tensor from the first; see `Subtract`.

    >>> import lamina, numpy as np
    >>> lamina.layers.subtract([np.ones((1, 2)), np.ones((1, 2))]).tolist()
    [[0.0, 0.0]]
    """
    return Subtract(**kwargs)(inputs)


@boundary
def multiply(inputs, **kwargs):
    """Multiply the tensors of a list; see `Multiply`.

    >>> import lamina, numpy as np
    >>> lamina.layers.multiply([np.full((1, 2), 3.0), np.ones((1, 2))]).tolist()
    [[3.0, 3.0]]
    """
    return Multiply(**kwargs)(inputs)


@boundary
def average(inputs, **kwargs):
    """Take the mean of the tensors of a list; see `Average`.

    >>> import lamina, numpy as np
    >>> lamina.layers.average([np.zeros((1, 2)), np.ones((1, 2))]).tolist()
    [[0.5, 0.5]]
    """
    return Average(**kwargs)(inputs)


@boundary
def maximum(inputs, **kwargs):
    """Take the largest of the tensors of a list; see `Maximum`.

    >>> import lamina, numpy as np
    >>> lamina.layers.maximum([np.zeros((1, 2)), np.ones((1, 2))]).tolist()
    [[1.0, 1.0]]
    """
    return Maximum(**kwargs)(inputs)


@boundary
def minimum(inputs, **kwargs):
    """Take the smallest of the tensors of a list; see `Minimum`.

    >>> import lamina, numpy as np
    >>> lamina.layers.minimum([np.zeros((1, 2)), np.ones((1, 2))]).tolist()
    [[0.0, 0.0]]
    """
    return Minimum(**kwargs)(inputs)


@boundary
def concatenate(inputs, axis=-1, **kwargs):
    """Join the tensors of a list along an axis; see `Concatenate`.

    >>> import lamina, numpy as np
    >>> lamina.layers.concatenate([np.ones((2, 3)), np.ones((2, 4))]).shape
    (2, 7)
    """
    return Concatenate(axis=axis, **kwargs)(inputs)


@boundary
def dot(inputs, axes=-1, **kwargs):
    """Sum products of two tensors along an axis; see `Dot`.

    >>> import lamina, numpy as np
    >>> lamina.layers.dot([np.ones((1, 3)), np.ones((1, 3))], axes=1).tolist()
    [[3.0]]
    """
    return Dot(axes=axes, **kwargs)(inputs)
