"""The functions of TensorFlow's `keras.backend`, as operations of `lamina.ops`."""

import functools
import inspect
from typing import Any

import jax
import jax.core as jax_core
import numpy as np

import lamina
from lamina import layers, losses, ops
from lamina.compat import names
from lamina.core.context import context, having
from lamina.core.random import global_seed_generator
from lamina.core.symbolic import is_symbolic
from lamina.kernels import scan

# Operations of the same name, arguments and numbers.
_SAME = (
    "abs", "cast", "categorical_crossentropy", "cos", "elu", "exp", "log", "ndim",
    "sigmoid", "sign", "sin", "softmax", "softplus", "softsign", "square", "tanh",
)  # fmt: skip
# Of two tensors, which are called x and y there.
_PAIRS = (
    "dot", "equal", "greater", "greater_equal", "less", "less_equal", "maximum",
    "minimum", "not_equal",
)  # fmt: skip
# Reductions, whose `axis` and `keepdims` are those of NumPy.
_REDUCTIONS = ("all", "any", "max", "mean", "min", "prod", "std", "sum", "var")


def _reduction(name):
    def reduce(x, axis=None, keepdims=False):
        x = ops.convert_to_tensor(x)
        whole = str(x.dtype) if "int" in str(x.dtype) else None
        if name in ("mean", "std", "var") and "float" not in str(x.dtype):
            x = ops.cast(x, _floatx())
        y = getattr(ops, name)(x, axis=axis, keepdims=keepdims)
        if whole is None or name not in ("mean", "sum", "prod"):
            return y
        return ops.cast(ops.trunc(y) if name == "mean" else y, whole)

    reduce.__name__ = name
    return reduce


def _pair(name):
    return lambda x, y: getattr(ops, name)(x, y)


def _floatx():
    return lamina.config.floatx()


def _variable(value, dtype=None, name=None, constraint=None):
    value = value if is_symbolic(value) else np.asarray(value)
    made = lamina.Variable(value, dtype=dtype or _floatx(), name=name)
    made.constraint = constraint
    return made


def _shape(x):
    sizes = ops.shape(x)
    return sizes if None in sizes else _sizes(sizes)


def _sizes(sizes):
    """Return sizes as an array, or a size: whole numbers, or those of any batch."""
    sizes = np.asarray(sizes, object)
    plain = all(isinstance(size, (int, np.integer)) for size in sizes.flat)
    return (sizes.astype("int32") if plain else sizes)[()]


def _are_sizes(x):
    """Tell whether `x` holds sizes that `shape` gave, or such numbers, and no data."""
    if isinstance(x, np.ndarray):
        return x.ndim < 2 and x.dtype in ("int32", object)
    if isinstance(x, (list, tuple)):
        return all(map(_are_sizes, x))
    if isinstance(x, (int, np.integer)):
        return not isinstance(x, bool)
    return jax.export.is_symbolic_dim(x)


# What sizes are computed with: they have to stay outside of programs.
_GREATER, _LESS = (np.frompyfunc(f, 2, 1) for f in (jax_core.max_dim, jax_core.min_dim))
_OF_SIZES: dict[str, Any] = {
    "cast": lambda x: x, "concatenate": np.concatenate, "cumprod": np.cumprod,
    "cumsum": np.cumsum, "expand_dims": np.expand_dims, "flatten": np.ravel,
    "gather": np.take, "max": _GREATER.reduce, "maximum": _GREATER,
    "min": _LESS.reduce, "minimum": _LESS, "pow": np.power, "prod": np.prod,
    "repeat_elements": np.repeat, "reshape": np.reshape, "reverse": np.flip,
    "square": np.square, "squeeze": np.squeeze, "stack": np.stack, "sum": np.sum,
    "tile": np.tile,
}  # fmt: skip


def _also_of_sizes(name, of):
    """Return a function that gives sizes for sizes, which can be those of a shape."""
    signature, compute = inspect.signature(of), _OF_SIZES[name]

    @functools.wraps(of)
    def call(*args, **kwargs):
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        values = given.arguments
        named = {k: values.pop(k) for k in ("axis", "keepdims") if k in values}
        dtype = lamina.backend.standardize_dtype(values.pop("dtype", "int32"))
        values = [*values.values()]
        if dtype not in ("int32", "int64") or not all(map(_are_sizes, values)):
            return of(*args, **kwargs)
        try:
            return _sizes(compute(*values, **named))
        except (TypeError, ValueError, OverflowError):  # such as several axes
            return of(*args, **kwargs)

    return call


def _batch_set_value(tuples):
    for variable, value in tuples:
        variable.assign(value)


def _filled(make):
    return lambda shape, dtype=None, name=None: _variable(make(shape), dtype, name)


def _assigned(x, method, value):
    getattr(x, method)(value)
    return x


def _set_value(x, value):
    x.assign(value)


def _batch_dot(x, y, axes=None):
    if axes is None:
        axes = (len(x.shape) - 1, max(len(y.shape) - 2, 1))
    axes = (axes, axes) if isinstance(axes, int) else tuple(axes)
    result = layers.Dot(axes)([x, y])
    return ops.reshape(result, (-1, 1)) if len(x.shape) == len(y.shape) == 2 else result


def _bias_add(x, bias, data_format=None):
    if (data_format or lamina.config.image_data_format()) == "channels_first":
        *sizes, channels = bias.shape
        sizes = sizes or (1,) * (len(x.shape) - 2)
        bias = ops.reshape(bias, (1, channels, *sizes))
    return x + bias


def _arange(start, stop=None, step=1, dtype="int32"):
    numbers = ops.arange(max(start, 0) if stop is None else start, stop, step)
    return numbers if dtype == "int32" else ops.cast(numbers, dtype)


def _batch_normalization(x, mean, var, beta, gamma, axis=-1, epsilon=1e-3):
    del axis  # as there: the rest is broadcast
    scale = ops.rsqrt(var + epsilon) * (1 if gamma is None else gamma)
    return x * scale + ((0 if beta is None else beta) - mean * scale)


def _clip(x, min_value, max_value):
    x = x if max_value is None else ops.minimum(x, max_value)
    return x if min_value is None else ops.maximum(x, min_value)


def _cast_to_floatx(x):
    return ops.cast(x, _floatx()) if hasattr(x, "shape") else np.asarray(x, _floatx())


def _constant(value, dtype=None, shape=None, name=None):
    del name
    value = np.asarray(value, dtype or _floatx())
    if shape is not None:
        value = value.reshape(shape) if value.size > 1 else np.full(shape, value)
    if _are_sizes(value):
        return value
    return ops.convert_to_tensor(value)


def _foldl(fn, elems, initializer=None, name=None):
    del name
    rows = list(elems)
    result = rows.pop(0) if initializer is None else initializer
    for row in rows:
        result = fn(result, row)
    return result


def _gradients(loss, variables):
    raise NotImplementedError(
        "`K.gradients` goes back through a graph that TensorFlow alone has. Write the "
        "loss as a function and take `lamina.value_and_grad(loss, variables)()`."
    )


def _l2_normalize(x, axis=None):
    squares = ops.sum(ops.square(x), axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squares, 1e-12))  # TensorFlow's floor


def _sqrt(x):
    x = ops.convert_to_tensor(x)
    return ops.sqrt(ops.where(x < 0, ops.zeros_like(x), x))


def _stop_gradient(variables):
    if isinstance(variables, (list, tuple)):
        return map(ops.stop_gradient, variables)
    return ops.stop_gradient(variables)


def _switch(condition, then_expression, else_expression):
    condition = ops.cast(condition, "bool")
    branches = then_expression, else_expression
    rank = len(condition.shape)
    if not rank and any(map(callable, branches)):
        first, second = (b if callable(b) else lambda b=b: b for b in branches)
        return ops.cond(condition, first, second)
    first, second = (b() if callable(b) else b for b in branches)
    more = len(ops.shape(first)) - rank
    if rank and more < 0:
        raise ValueError(
            "`K.switch` expected `condition` to have at most the expressions' axes. "
            f"Received: {rank} and {rank + more}"
        )
    for _ in range(more if rank > 1 else 0):  # one of rows is broadcast as there
        condition = ops.expand_dims(condition, -1)
    return ops.where(condition, first, second)


def _seeds(seed):
    """Return what a draw without a seed takes it from, so that it is another each time.

    In a layer that is a generator made for it; in the step of a training, outside of
    layers, that of all draws.
    """
    if seed is not None:
        return seed
    if not context.calling:
        adopts = any(frame.adopts for frame in context.frames)
        return global_seed_generator() if adopts else None
    held = context.calling[-1].__dict__
    if "_drawn_seeds" not in held:
        with having(scopes=(), distribution=None):
            held["_drawn_seeds"] = lamina.random.SeedGenerator()
    return held["_drawn_seeds"]


def _random_bernoulli(shape, p=0.0, dtype=None, seed=None):
    draws = lamina.random.uniform(shape, seed=_seeds(seed))
    return ops.cast(draws < p, dtype or _floatx())


def _random_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    return lamina.random.normal(shape, mean, stddev, dtype, _seeds(seed))


def _random_uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    if dtype is not None and "int" in lamina.backend.standardize_dtype(dtype):
        return lamina.random.randint(shape, minval, maxval, dtype, _seeds(seed))
    return lamina.random.uniform(shape, minval, maxval, dtype, _seeds(seed))


def _truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    return lamina.random.truncated_normal(shape, mean, stddev, dtype, _seeds(seed))


def _random_normal_variable(shape, mean, scale, dtype=None, name=None, seed=None):
    return _variable(lamina.random.normal(shape, mean, scale, dtype, seed), dtype, name)


def _random_uniform_variable(shape, low, high, dtype=None, name=None, seed=None):
    return _variable(lamina.random.uniform(shape, low, high, dtype, seed), dtype, name)


def _conv(rank):
    def conv(x, kernel, strides=(1,) * rank, padding="valid", data_format=None,
             dilation_rate=(1,) * rank):  # fmt: skip
        return ops.conv(x, kernel, strides, padding, data_format, dilation_rate)

    return conv


def _depthwise_conv2d(x, depthwise_kernel, strides=(1, 1), padding="valid",
                      data_format=None, dilation_rate=(1, 1)):  # fmt: skip
    settings = strides, padding, data_format, dilation_rate
    return ops.depthwise_conv(x, depthwise_kernel, *settings)


def _separable_conv2d(
    x, depthwise_kernel, pointwise_kernel, strides=(1, 1), padding="valid",
    data_format=None, dilation_rate=(1, 1),
):  # fmt: skip
    settings = strides, padding, data_format, dilation_rate
    return ops.separable_conv(x, depthwise_kernel, pointwise_kernel, *settings)


def _pool(rank):
    def pool(x, pool_size, strides=(1,) * rank, padding="valid", data_format=None,
             pool_mode="max"):  # fmt: skip
        take = ops.max_pool if pool_mode == "max" else ops.average_pool
        return take(x, pool_size, strides, padding, data_format)

    return pool


def _binary_crossentropy(target, output, from_logits=False):
    """Return what `ops.binary_crossentropy` does, with TensorFlow's Keras' bounds."""
    if from_logits:
        return ops.binary_crossentropy(target, output, from_logits=True)
    least = lamina.config.epsilon()
    share = ops.clip(output, least, 1 - least)
    right = target * ops.log(share + least)
    return -(right + (1 - target) * ops.log(1 - share + least))


def _conv1d(x, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    if padding == "causal":
        padding = [(dilation_rate * (kernel.shape[0] - 1), 0)]
    return ops.conv(x, kernel, strides, padding, data_format, dilation_rate)


def _ctc(y_pred):
    """Return what TensorFlow's CTC takes: logits, and the last class as the blank."""
    return ops.log(y_pred + lamina.config.epsilon()), y_pred.shape[-1] - 1


def _ctc_batch_cost(y_true, y_pred, input_length, label_length):
    logits, blank = _ctc(y_pred)
    lengths = (ops.reshape(x, (-1,)) for x in (label_length, input_length))
    y_true, *lengths = (ops.cast(x, "int32") for x in (y_true, *lengths))
    return ops.expand_dims(ops.ctc_loss(y_true, logits, *lengths, mask_index=blank), 1)


def _ctc_label_dense_to_sparse(labels, label_lengths):
    """Return labels of rows of other lengths as a sparse tensor of TensorFlow's."""
    labels, lengths = np.asarray(labels), np.asarray(label_lengths)
    counts = np.arange(labels.shape[1]) < lengths[:, None]
    sparse = names.find("tensorflow").SparseTensor
    return sparse(np.argwhere(counts), labels[counts], labels.shape)


def _ctc_decode(y_pred, input_length, greedy=True, beam_width=100, top_paths=1):
    logits, blank = _ctc(y_pred)
    strategy = "greedy" if greedy else "beam_search"
    decoded, scores = ops.ctc_decode(
        logits, input_length, strategy, beam_width, top_paths, True, blank
    )
    return list(decoded), scores


def _binary_focal_crossentropy(
    target, output, apply_class_balancing=False, alpha=0.25, gamma=2.0,
    from_logits=False,
):  # fmt: skip
    target, output = (ops.expand_dims(x, -1) for x in (target, output))
    settings = apply_class_balancing, alpha, gamma, from_logits
    return losses.binary_focal_crossentropy(target, output, *settings)


def _sparse_categorical_crossentropy(
    target, output, from_logits=False, axis=-1, ignore_class=None
):
    output = ops.moveaxis(ops.convert_to_tensor(output), axis, -1)
    if not from_logits:
        least = lamina.config.epsilon()
        output = ops.log(ops.clip(output, least, 1 - least))
    target = ops.reshape(ops.cast(target, "int32"), ops.shape(output)[:-1])
    if ignore_class is None:
        return ops.sparse_categorical_crossentropy(target, output, from_logits=True)
    kept = target != ignore_class
    target = ops.where(kept, target, 0)
    loss = ops.sparse_categorical_crossentropy(target, output, from_logits=True)
    return ops.where(kept, loss, 0)


def _categorical_focal_crossentropy(
    target, output, alpha=0.25, gamma=2.0, from_logits=False, axis=-1
):
    settings = alpha, gamma, from_logits
    return losses.categorical_focal_crossentropy(target, output, *settings, axis=axis)


def _conv2d_transpose(x, kernel, output_shape, strides=(1, 1), padding="valid",
                      data_format=None, dilation_rate=(1, 1)):  # fmt: skip
    """Return what a convolution of another size takes back to `x`."""

    def conv(y):
        return ops.conv(y, kernel, strides, padding, data_format, dilation_rate)

    x = ops.convert_to_tensor(x)
    start = ops.zeros((len(x), *output_shape[1:]), x.dtype)
    return jax.vjp(conv, start)[1](x)[0]


def _rnn(step_function, inputs, initial_states, go_backwards=False, mask=None,
         constants=None, unroll=False, input_length=None, time_major=False,
         zero_output_for_mask=False, return_all_outputs=True):  # fmt: skip
    def step(x, states):
        output, new = step_function(x, (*states, *(constants or ())))
        return output, tuple(new)

    inputs = lamina.tree.map_structure(ops.convert_to_tensor, inputs)
    taken = None
    if input_length is not None and not unroll:  # as in Keras, where that reads none
        sizes = lamina.tree.flatten(inputs)[0].shape[:2]
        batch, steps = sizes[::-1] if time_major else sizes
        lengths = ops.convert_to_tensor(input_length)
        count, time = ops.max(lengths), ops.arange(steps)
        taken = time < count
        keep = ops.broadcast_to(taken, (batch, steps))
        if mask is None and lengths.ndim:
            ends = lengths[:, None]
            keep &= time >= count - ends if go_backwards else time < ends
        keep = keep[:, ::-1] if go_backwards else keep
        keep = keep.T if time_major else keep
        if mask is not None:
            keep &= ops.reshape(ops.cast(mask, "bool"), keep.shape)
        mask = keep
    last, outputs, states = scan(
        step, inputs, tuple(map(ops.convert_to_tensor, initial_states)), mask=mask,
        reverse=go_backwards, unroll=unroll, time_major=time_major,
        zero_output_for_mask=zero_output_for_mask,
    )  # fmt: skip
    axis = 0 if time_major else 1
    if not return_all_outputs:
        outputs = lamina.tree.map_structure(lambda y: ops.expand_dims(y, axis), last)
    elif taken is not None:  # zeros after the longest row, for the last output too

        def ended(y):
            within = (1, -1) if axis else (-1, 1)
            return ops.where(ops.reshape(taken, within + (1,) * (y.ndim - 2)), y, 0)

        outputs = lamina.tree.map_structure(ended, outputs)
        last = lamina.tree.map_structure(lambda y: ops.take(y, -1, axis), outputs)
    return last, outputs, states


def _resize_images(
    x, height_factor, width_factor, data_format, interpolation="nearest"
):
    size = height_factor, width_factor
    return layers.UpSampling2D(size, data_format, interpolation)(x)


def _resize_volumes(x, depth_factor, height_factor, width_factor, data_format):
    size = depth_factor, height_factor, width_factor
    return layers.UpSampling3D(size, data_format)(x)


_OTHERS: dict[str, Any] = {
    "arange": _arange,
    "argmax": lambda x, axis=-1: ops.cast(ops.argmax(x, axis), "int64"),
    "argmin": lambda x, axis=-1: ops.cast(ops.argmin(x, axis), "int64"),
    "batch_dot": _batch_dot,
    "batch_flatten": lambda x: ops.reshape(x, (-1, int(np.prod(x.shape[1:])))),
    "batch_get_value": lambda tensors: [ops.convert_to_numpy(x) for x in tensors],
    "batch_normalization": _batch_normalization,
    "batch_set_value": _batch_set_value,
    "bias_add": _bias_add,
    "binary_crossentropy": _binary_crossentropy,
    "binary_focal_crossentropy": _binary_focal_crossentropy,
    "cast_to_floatx": _cast_to_floatx,
    "categorical_focal_crossentropy": _categorical_focal_crossentropy,
    "clip": _clip,
    "concatenate": lambda tensors, axis=-1: ops.concatenate(tensors, axis),
    "constant": _constant,
    "conv1d": _conv1d,
    "conv2d": _conv(2),
    "conv2d_transpose": _conv2d_transpose,
    "conv3d": _conv(3),
    "count_params": lambda x: int(np.prod(x.shape)),
    "ctc_batch_cost": _ctc_batch_cost,
    "ctc_decode": _ctc_decode,
    "ctc_label_dense_to_sparse": _ctc_label_dense_to_sparse,
    "cumprod": lambda x, axis=0: ops.cumprod(x, axis),
    "cumsum": lambda x, axis=0: ops.cumsum(x, axis),
    "depthwise_conv2d": _depthwise_conv2d,
    "dropout": lambda x, level, noise_shape=None, seed=None: (
        lamina.random.dropout(x, level, noise_shape, _seeds(seed))
    ),
    "dtype": lambda x: str(x.dtype),
    "eval": ops.convert_to_numpy,
    "expand_dims": lambda x, axis=-1: ops.expand_dims(x, axis),
    "eye": lambda size, dtype=None, name=None: _variable(np.eye(size), dtype, name),
    "flatten": lambda x: ops.reshape(x, (-1,)),
    "foldl": _foldl,
    "foldr": lambda fn, elems, initializer=None, name=None: (
        _foldl(fn, list(elems)[::-1], initializer, name)
    ),
    "gather": lambda reference, indices: ops.take(reference, indices, axis=0),
    "get_value": lambda x: ops.convert_to_numpy(x) if hasattr(x, "shape") else x,
    "gradients": _gradients,
    "hard_sigmoid": lambda x: ops.clip(0.2 * x + 0.5, 0.0, 1.0),
    "in_top_k": lambda predictions, targets, k: ops.in_top_k(targets, predictions, k),
    "int_shape": lambda x: tuple(x.shape) if hasattr(x, "shape") else None,
    "is_sparse": lambda tensor: False,
    "l2_normalize": _l2_normalize,
    "map_fn": lambda fn, elems, name=None, dtype=None: ops.map(fn, elems),
    "moving_average_update": lambda x, value, momentum: (
        _assigned(x, "assign", x * momentum + value * (1.0 - momentum))
    ),
    "name_scope": lambda name: lamina.name_scope(name),
    "one_hot": lambda indices, num_classes: ops.one_hot(indices, num_classes),
    "ones": _filled(np.ones),
    "ones_like": lambda x, dtype=None, name=None: ops.ones_like(x, dtype),
    "permute_dimensions": lambda x, pattern: ops.transpose(x, pattern),
    "pool2d": _pool(2),
    "pool3d": _pool(3),
    "pow": lambda x, a: ops.power(x, a),
    "random_bernoulli": _random_bernoulli,
    "random_normal": _random_normal,
    "random_normal_variable": _random_normal_variable,
    "random_uniform": _random_uniform,
    "random_uniform_variable": _random_uniform_variable,
    "relu": lambda x, alpha=0.0, max_value=None, threshold=0.0: (
        lamina.activations.relu(x, alpha, max_value, threshold)
    ),
    "repeat": lambda x, n: ops.repeat(ops.expand_dims(x, 1), n, 1),
    "repeat_elements": lambda x, rep, axis: ops.repeat(x, rep, axis),
    "reshape": lambda x, shape: ops.reshape(x, shape),
    "resize_images": _resize_images,
    "resize_volumes": _resize_volumes,
    "reverse": lambda x, axes: ops.flip(x, axes),
    "rnn": _rnn,
    "round": lambda x: ops.round(x),
    "separable_conv2d": _separable_conv2d,
    "set_value": _set_value,
    "shape": _shape,
    "sparse_categorical_crossentropy": _sparse_categorical_crossentropy,
    "spatial_2d_padding": lambda x, padding=((1, 1), (1, 1)), data_format=None: (
        layers.ZeroPadding2D(padding, data_format)(x)
    ),
    "spatial_3d_padding": lambda x, padding=((1, 1),) * 3, data_format=None: (
        layers.ZeroPadding3D(padding, data_format)(x)
    ),
    "sqrt": _sqrt,
    "squeeze": lambda x, axis: ops.squeeze(x, axis),
    "stack": lambda x, axis=0: ops.stack(x, axis),
    "stop_gradient": _stop_gradient,
    "switch": _switch,
    "temporal_padding": lambda x, padding=(1, 1): layers.ZeroPadding1D(padding)(x),
    "tile": lambda x, n: ops.tile(x, [n] if isinstance(n, int) else n),
    "to_dense": lambda tensor: tensor,
    "transpose": lambda x: ops.transpose(x),
    "truncated_normal": _truncated_normal,
    "update": lambda x, new_x: _assigned(x, "assign", new_x),
    "update_add": lambda x, increment: _assigned(x, "assign_add", increment),
    "update_sub": lambda x, decrement: _assigned(x, "assign_sub", decrement),
    "variable": _variable,
    "zeros": _filled(np.zeros),
    "zeros_like": lambda x, dtype=None, name=None: ops.zeros_like(x, dtype),
}  # fmt: skip


def functions() -> dict[str, Any]:
    """Return all of them by name."""
    found = (
        {name: getattr(ops, name) for name in _SAME}
        | {name: _pair(name) for name in _PAIRS}
        | {name: _reduction(name) for name in _REDUCTIONS}
        | _OTHERS
    )
    return found | {name: _also_of_sizes(name, found[name]) for name in _OF_SIZES}
