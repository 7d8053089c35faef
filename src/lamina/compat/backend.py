"""The functions of TensorFlow's `keras.backend`, as operations of `lamina.ops`."""

import builtins
from typing import Any

import numpy as np

import lamina
from lamina import ops
from lamina.core.symbolic import is_symbolic

# Operations of the same name, arguments and numbers.
_SAME = (
    "abs", "arange", "cast", "clip", "concatenate", "cos", "cumprod", "cumsum", "elu",
    "equal", "exp", "expand_dims", "eye", "greater", "greater_equal", "hard_sigmoid",
    "less", "less_equal", "log", "maximum", "minimum", "ndim", "not_equal", "relu",
    "ones_like", "repeat", "reshape", "round", "shape", "sigmoid", "sign", "sin",
    "softmax", "softplus", "softsign", "sqrt", "square", "squeeze", "stack", "tanh",
    "stop_gradient", "tile", "transpose", "zeros_like", "dot", "binary_crossentropy",
    "categorical_crossentropy", "sparse_categorical_crossentropy",
)  # fmt: skip
# Reductions, whose `axis` and `keepdims` are those of NumPy.
_REDUCTIONS = ("all", "any", "max", "mean", "min", "prod", "std", "sum", "var")


def _reduction(name):
    def reduce(x, axis=None, keepdims=False):
        x = ops.convert_to_tensor(x)
        if name in ("mean", "std", "var") and "float" not in str(x.dtype):
            x = ops.cast(x, lamina.config.floatx())
        return getattr(ops, name)(x, axis=axis, keepdims=keepdims)

    reduce.__name__ = name
    return reduce


def _filled(make):
    def fill(shape, dtype=None, name=None):
        return lamina.Variable(make(shape), dtype=dtype or _floatx(), name=name)

    return fill


def _floatx():
    return lamina.config.floatx()


def argmax(x, axis=-1):
    """Return the place of the greatest entry along an axis."""
    return ops.argmax(x, axis)


def argmin(x, axis=-1):
    """Return the place of the least entry along an axis."""
    return ops.argmin(x, axis)


def batch_dot(x, y, axes=None):
    """Return the products of two batches along an axis of each."""
    if axes is None:
        axes = (len(x.shape) - 1, builtins.max(len(y.shape) - 2, 1))
    axes = (axes, axes) if isinstance(axes, int) else tuple(axes)
    flat = len(x.shape) == len(y.shape) == 2
    result = lamina.layers.Dot(axes)([x, y])
    return ops.reshape(result, (-1, 1)) if flat else result


def batch_flatten(x):
    """Return each row as a vector."""
    return ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))


def bias_add(x, bias, data_format=None):
    """Add a number for each channel."""
    if _first(data_format):
        bias = ops.reshape(bias, (1, -1, *(1,) * (len(x.shape) - 2)))
    return x + bias


def _first(data_format):
    return (data_format or lamina.config.image_data_format()) == "channels_first"


def cast_to_floatx(x):
    """Return an array in the default float type."""
    return (
        np.asarray(x, _floatx()) if not hasattr(x, "shape") else ops.cast(x, _floatx())
    )


def constant(value, dtype=None, shape=None, name=None):
    """Return an array of one number, or of given ones."""
    del name
    value = np.asarray(value, dtype or _floatx())
    return ops.convert_to_tensor(value if shape is None else np.full(shape, value))


def count_params(x):
    """Return how many entries an array has."""
    return int(np.prod(x.shape))


def dropout(x, level, noise_shape=None, seed=None):
    """Set a share of the entries to 0 and scale the others up."""
    return lamina.random.dropout(x, level, noise_shape, seed)


def dtype(x):
    """Return the name of a type."""
    return str(x.dtype)


def eval(x):  # noqa: A001
    """Return the numbers of an array or a Variable."""
    return ops.convert_to_numpy(x)


def flatten(x):
    """Return an array of one axis."""
    return ops.reshape(x, (-1,))


def foldl(fn, elems, initializer=None, name=None):
    """Combine the entries along the first axis, from the first on."""
    del name
    rows = list(elems)
    result = rows.pop(0) if initializer is None else initializer
    for row in rows:
        result = fn(result, row)
    return result


def foldr(fn, elems, initializer=None, name=None):
    """Combine the entries along the first axis, from the last on."""
    return foldl(fn, list(elems)[::-1], initializer, name)


def gather(reference, indices):
    """Return rows of an array."""
    return ops.take(reference, indices, axis=0)


def gradients(loss, variables):
    """Refuse: there is no graph of what was computed to go back through."""
    raise NotImplementedError(
        "`K.gradients` goes back through a graph that TensorFlow alone has. Write the "
        "loss as a function and take `lamina.value_and_grad(loss, variables)()`."
    )


def in_top_k(predictions, targets, k):
    """Tell which targets are among the `k` greatest predictions."""
    return ops.in_top_k(targets, predictions, k)


def int_shape(x):
    """Return the shape as a tuple, None where a size is open."""
    return tuple(getattr(x, "shape", ())) if hasattr(x, "shape") else None


def is_sparse(tensor):
    """Return False: there are no sparse tensors."""
    del tensor
    return False


def l2_normalize(x, axis=None):
    """Divide by the length along an axis, TensorFlow's floor of 1e-12 below it."""
    squares = ops.sum(ops.square(x), axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squares, 1e-12))


def map_fn(fn, elems, name=None, dtype=None):
    """Return what a function makes of each entry along the first axis."""
    del name, dtype
    return ops.map(fn, elems)


def moving_average_update(x, value, momentum):
    """Move a Variable towards a value."""
    x.assign(x * momentum + value * (1.0 - momentum))
    return x


def one_hot(indices, num_classes):
    """Return vectors with a 1 at the index."""
    return ops.one_hot(indices, num_classes)


def permute_dimensions(x, pattern):
    """Put the axes in another order."""
    return ops.transpose(x, pattern)


def pow(x, a):  # noqa: A001
    """Return a power of each entry."""
    return ops.power(x, a)


def random_bernoulli(shape, p=0.0, dtype=None, seed=None):
    """Return ones with the probability `p`, else zeros."""
    draws = lamina.random.uniform(shape, seed=seed)
    return ops.cast(draws < p, dtype or _floatx())


def random_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Return normal draws."""
    return lamina.random.normal(shape, mean, stddev, dtype, seed)


def random_normal_variable(shape, mean, scale, dtype=None, name=None, seed=None):
    """Return a Variable of normal draws."""
    draws = random_normal(shape, mean, scale, dtype, seed)
    return lamina.Variable(draws, dtype=dtype or _floatx(), name=name)


def random_uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Return uniform draws."""
    return lamina.random.uniform(shape, minval, maxval, dtype, seed)


def random_uniform_variable(shape, low, high, dtype=None, name=None, seed=None):
    """Return a Variable of uniform draws."""
    draws = random_uniform(shape, low, high, dtype, seed)
    return lamina.Variable(draws, dtype=dtype or _floatx(), name=name)


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Return normal draws, those beyond two deviations drawn anew."""
    return lamina.random.truncated_normal(shape, mean, stddev, dtype, seed)


def repeat_elements(x, rep, axis):
    """Repeat each entry along an axis."""
    return ops.repeat(x, rep, axis)


def resize_images(
    x, height_factor, width_factor, data_format=None, interpolation="nearest"
):
    """Return images some times larger."""
    layer = lamina.layers.UpSampling2D(
        (height_factor, width_factor), data_format, interpolation
    )
    return layer(x)


def reverse(x, axes):
    """Reverse the order along some axes."""
    return ops.flip(x, axes)


def spatial_2d_padding(x, padding=((1, 1), (1, 1)), data_format=None):
    """Put zeros around images."""
    return lamina.layers.ZeroPadding2D(padding, data_format)(x)


def temporal_padding(x, padding=(1, 1)):
    """Put zeros before and after sequences."""
    return lamina.layers.ZeroPadding1D(padding)(x)


def switch(condition, then_expression, else_expression):
    """Return one of two values, or the results of functions, by a condition."""
    if callable(then_expression) or callable(else_expression):
        return ops.cond(
            condition,
            then_expression if callable(then_expression) else lambda: then_expression,
            else_expression if callable(else_expression) else lambda: else_expression,
        )
    rank = len(ops.shape(then_expression)) - len(ops.shape(condition))
    for _ in range(rank):
        condition = ops.expand_dims(condition, -1)
    return ops.where(condition, then_expression, else_expression)


def to_dense(tensor):
    """Return the tensor: there are no sparse ones."""
    return tensor


def get_value(x):
    """Return the numbers of a Variable."""
    return ops.convert_to_numpy(x)


def set_value(x, value):
    """Give a Variable other numbers."""
    x.assign(value)


def batch_get_value(tensors):
    """Return the numbers of some Variables."""
    return [get_value(x) for x in tensors]


def batch_set_value(tuples):
    """Give some Variables other numbers, as pairs of both."""
    for x, value in tuples:
        set_value(x, value)


def update(x, new_x):
    """Give a Variable another value, and return it."""
    x.assign(new_x)
    return x


def update_add(x, increment):
    """Add to a Variable, and return it."""
    x.assign_add(increment)
    return x


def update_sub(x, decrement):
    """Take from a Variable, and return it."""
    x.assign_sub(decrement)
    return x


def variable(value, dtype=None, name=None, constraint=None):
    """Return a Variable of a value."""
    made = lamina.Variable(
        np.asarray(value) if not is_symbolic(value) else value,
        dtype=dtype or _floatx(),
        name=name,
    )
    made.constraint = constraint
    return made


def conv2d(
    x, kernel, strides=(1, 1), padding="valid", data_format=None, dilation_rate=(1, 1)
):
    """Convolve images."""
    return ops.conv(x, kernel, strides, padding, data_format, dilation_rate)


def pool2d(
    x, pool_size, strides=(1, 1), padding="valid", data_format=None, pool_mode="max"
):
    """Take the greatest or the mean of each window of images."""
    take = ops.max_pool if pool_mode == "max" else ops.average_pool
    return take(x, pool_size, strides, padding, data_format)


ones, zeros = _filled(np.ones), _filled(np.zeros)
name_scope = lamina.name_scope


def names() -> dict[str, Any]:
    """Return all of them by name."""
    found = {name: getattr(ops, name) for name in _SAME}
    found |= {name: _reduction(name) for name in _REDUCTIONS}
    here = {n: v for n, v in globals().items() if n[0] != "_" and callable(v)}
    for other in ("Any", "is_symbolic", "names"):
        here.pop(other)
    return found | here
