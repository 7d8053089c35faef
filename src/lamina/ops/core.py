"""Conversions, control flow and writes at positions."""

import builtins as _builtins
import functools as _functools

import jax as _jax
import jax.numpy as _jnp
import numpy as _np
from jax import lax as _lax
from jax.core import Tracer as _Tracer
from jax.extend.core import jaxpr_as_fun as _jaxpr_as_fun

from lamina.core import structure as _structure
from lamina.core.budget import rounds as _rounds
from lamina.core.dtypes import dtype_of as _dtype_of
from lamina.core.op import op as _op
from lamina.core.op import unwrap as _unwrap
from lamina.core.symbolic import any_symbolic as _any_symbolic
from lamina.core.symbolic import is_symbolic as _is_symbolic
from lamina.core.tracebacks import boundary as _boundary
from lamina.core.variable import binding as _binding
from lamina.core.variable import scratch as _scratch
from lamina.ops.arrays import canonical as _canonical
from lamina.ops.arrays import dense_only as _dense_only
from lamina.ops.arrays import tensor as _tensor
from lamina.ops.numpy import where as _where


@_op(config=("dtype", "sparse", "ragged"), elementwise=True)
def convert_to_tensor(x, dtype=None, sparse=None, ragged=None):
    """Return `x` as an array; Python floats become `floatx()`.

    Args:
        x: an array, a Variable, a number or a nesting of lists.
        dtype: the dtype; that of `x` when None.
        sparse: not supported; must not be True.
        ragged: not supported; must not be True.

    >>> from lamina import ops
    >>> str(ops.convert_to_tensor([1.0, 2.0]).dtype)
    'float32'
    """
    _dense_only("convert_to_tensor", sparse or ragged)
    return _tensor(x, dtype)


@_boundary
def convert_to_numpy(x):
    """Return `x` as a NumPy array.

    >>> from lamina import ops
    >>> ops.convert_to_numpy(ops.arange(3))
    array([0, 1, 2], dtype=int32)
    """
    if _any_symbolic((x,), {}):
        raise ValueError(
            "`convert_to_numpy` needs data. Received a symbolic KerasTensor, which "
            "holds none."
        )
    return _np.array(
        x if isinstance(x, (_np.ndarray, list, tuple, float, int)) else _tensor(x)
    )


@_op(config=("dtype",), elementwise=True, integers=True)
def cast(x, dtype):
    """Return `x` in another dtype.

    >>> from lamina import ops
    >>> ops.cast([1.7, -1.7], "int32").tolist()
    [1, -1]
    """
    return _cast(_tensor(x), dtype)


def _cast(x, dtype):
    dtype = _canonical(dtype)
    if _jnp.iscomplexobj(x) and not _jnp.issubdtype(dtype, _jnp.complexfloating):
        x = x.real
    return _tensor(x, dtype)


@_op(config=("dtype",), elementwise=True)
def saturate_cast(x, dtype):
    """Return `x` in another dtype; what does not fit becomes its nearest number.

    >>> from lamina import ops
    >>> ops.saturate_cast([-5, 100, 300], "uint8").tolist()
    [0, 100, 255]
    """
    x, dtype = _tensor(x), _canonical(dtype)
    if x.dtype == dtype or "bool" in (x.dtype.name, dtype.name):
        return x.astype(dtype)
    wide, narrow = _limits(x.dtype), _limits(dtype)
    low, high = _builtins.max(wide[0], narrow[0]), _builtins.min(wide[1], narrow[1])
    if _jnp.issubdtype(x.dtype, _jnp.floating) and _jnp.issubdtype(dtype, _jnp.integer):
        # The largest integer may round up to a float that no longer fits.
        low, high = _inside(low, x.dtype), _inside(high, x.dtype)
    return _jnp.clip(x, _jnp.array(low, x.dtype), _jnp.array(high, x.dtype)).astype(
        dtype
    )


def _limits(dtype):
    info = _jnp.finfo if _jnp.issubdtype(dtype, _jnp.floating) else _jnp.iinfo
    low, high = info(dtype).min, info(dtype).max
    return (low, high) if info is _jnp.iinfo else (float(low), float(high))


def _inside(limit, dtype):
    value = _np.asarray(limit, dtype)
    if abs(float(value)) > abs(limit):
        value = _np.nextafter(value, _np.zeros((), dtype))
    return value


@_boundary
def shape(x) -> tuple:
    """Return the shape; a size that is not known yet is None.

    >>> from lamina import ops
    >>> ops.shape([[1, 2, 3]])
    (1, 3)
    """
    if hasattr(x, "shape"):
        return tuple(x.shape)
    return _tensor(x).shape


@_boundary
def dtype(x) -> str:
    """Return the dtype, as a string.

    >>> from lamina import ops
    >>> ops.dtype([1.5, 2.5])
    'float32'
    """
    return _dtype_of(x)


def is_tensor(x) -> bool:
    """Tell whether `x` is an array of JAX, or a symbolic tensor.

    >>> from lamina import ops
    >>> ops.is_tensor(ops.arange(3)), ops.is_tensor([0, 1, 2])
    (True, False)
    """
    return isinstance(x, _jax.Array) or _is_symbolic(x)


@_boundary
def stop_gradient(variable):
    """Return its argument; derivatives see a constant.

    >>> import jax, lamina
    >>> float(jax.grad(lambda x: x * lamina.ops.stop_gradient(x))(3.0))
    3.0
    """
    return _stop_gradient(variable)


@_op(name="StopGradient", elementwise=True, integers=True)
def _stop_gradient(variable):
    return _lax.stop_gradient(_array(variable))


@_boundary
def custom_gradient(f):
    """Give a function its own derivative.

    Args:
        f: a function that returns its value and a function from the gradient of
            the value to those of its arguments.

    >>> import jax, lamina
    >>> @lamina.ops.custom_gradient
    ... def doubled(x):
    ...     return 2 * x, lambda upstream: 10 * upstream
    >>> float(jax.grad(doubled)(1.0))
    10.0
    """
    function = _jax.custom_gradient(f)

    def wrapped(*args, **kwargs):
        return function(*_unwrap(args), **_unwrap(kwargs))

    return wrapped


# Control flow.


def _arrays(values):
    return _structure.map_leaves(_array, values)


def _array(x):
    """Return `x` as an array; a Python number stays weak: it takes others' dtype."""
    if type(x) in (bool, int, float):
        return _jnp.asarray(x)
    return x if x is None or _is_symbolic(x) else _tensor(x)


@_boundary
def cond(pred, true_fn, false_fn):
    """Return `true_fn()` if `pred` holds and `false_fn()` otherwise.

    Args:
        pred: a boolean scalar.
        true_fn: a function without arguments.
        false_fn: another, whose result has the same structure and shapes.

    >>> from lamina import ops
    >>> int(ops.cond(True, lambda: 1, lambda: 2))
    1
    """
    if _is_symbolic(pred):
        # The functions may close over symbolic tensors, so both are drawn.
        return _structure.map_leaves(_either(pred), true_fn(), false_fn())
    pred = _tensor(pred)
    if not isinstance(pred, _Tracer):
        chosen = true_fn() if bool(pred) else false_fn()
        return _arrays(chosen)
    return _chosen(pred.astype("int32"), [false_fn, true_fn], ())


def _either(pred):
    def choose(a, b):
        if a is None and b is None:
            return None
        if shape(a) != shape(b):
            raise ValueError(
                "`cond` expected both functions to return the same shapes. Received: "
                f"{shape(a)} and {shape(b)}"
            )
        return _where(pred, a, b)

    return choose


@_op
def switch(index, branches, *operands):
    """Return branches[index](*operands), with `index` limited to what there is.

    >>> from lamina import ops
    >>> int(ops.switch(1, [lambda x: x, lambda x: -x], 3))
    -3
    """
    index, operands = _tensor(index, "int32"), _arrays(operands)
    if isinstance(index, _Tracer):
        return _chosen(index, branches, operands)
    place = min(max(int(index), 0), len(branches) - 1)
    return _arrays(branches[place](*operands))


def _chosen(index, branches, operands):
    """Run one of several functions; what any of them assigns comes out as a result."""
    ways = [_traced(branch, operands) for branch in branches]
    assigned = dict.fromkeys(v for _, variables in ways for v in variables)

    def run(way, *operands):
        function, variables = way
        result, values = function(*operands)
        held = dict(zip(variables, values, strict=True))
        return result, [held.get(v, v.raw_value) for v in assigned]

    runs = [_functools.partial(run, way) for way in ways]
    result, values = _lax.switch(index, runs, *operands)
    for variable, value in zip(assigned, values, strict=True):
        variable.assign(value)
    return result


def _traced(branch, operands):
    """Return a branch, traced once, as a function, and the Variables it assigns.

    Branches within branches would otherwise be traced anew at each level.
    """
    variables = []

    def run(*operands):
        with _scratch() as frame:
            result = _arrays(branch(*operands))
            variables.extend(frame.values)
            return result, [v.raw_value for v in variables]

    drawn, shapes = _jax.make_jaxpr(run, return_shape=True)(*operands)
    tree = _jax.tree.structure(shapes)
    flat = _jaxpr_as_fun(drawn)

    def again(*operands):
        return _jax.tree.unflatten(tree, flat(*_jax.tree.leaves(operands)))

    return again, variables


def _returning_arrays(function):
    def run(*args):
        # What is traced in here means nothing outside: no Variable may take it there.
        with _binding((), ()):
            return _arrays(function(*args))

    return run


@_op(config=("cond", "body", "maximum_iterations"))
def while_loop(cond, body, loop_vars, maximum_iterations=None):
    """Replace `loop_vars` by `body(*loop_vars)` while `cond(*loop_vars)` holds.

    Args:
        cond: a function to a boolean scalar.
        body: a function to new values of the same shapes and dtypes.
        loop_vars: a value, or a tuple or list of them.
        maximum_iterations: the most rounds that it takes.

    >>> from lamina import ops
    >>> (i,) = ops.while_loop(lambda i: i < 5, lambda i: (i + 2,), (0,))
    >>> int(i)
    6
    """
    many = isinstance(loop_vars, (tuple, list))
    start = tuple(loop_vars) if many else (loop_vars,)

    def going(state):
        count, values = state
        more = cond(*values)
        if maximum_iterations is None:
            return more
        return _jnp.logical_and(more, count < maximum_iterations)

    def step(state):
        count, values = state
        values = body(*values)
        values = tuple(values) if isinstance(values, (list, tuple)) else (values,)
        return count + 1, _arrays(values)

    _, values = _lax.while_loop(going, step, (_jnp.array(0), _arrays(start)))
    return values if many else values[0]


@_op(config=("lower", "upper", "body_fun"))
def fori_loop(lower, upper, body_fun, init_val):
    """Replace the value by `body_fun(i, value)` for i = lower, ..., upper - 1.

    >>> from lamina import ops
    >>> int(ops.fori_loop(0, 4, lambda i, total: total + i, 0))
    6
    """
    body = _returning_arrays(body_fun)
    return _lax.fori_loop(lower, upper, body, _arrays(init_val))


@_op(config=("length", "reverse", "unroll"))
def scan(f, init, xs=None, length=None, reverse=False, unroll=1):
    """Carry a value along the first axis of `xs`, and stack what comes out.

    Args:
        f: a function `(carry, x) -> (new carry, output)`.
        init: the first carry.
        xs: arrays in any structure, or None.
        length: the number of steps; needed when `xs` is None.
        reverse: go from the end to the start.
        unroll: how many steps to write out in the compiled loop.

    Returns:
        The last carry and the stacked outputs.

    >>> from lamina import ops
    >>> total, sums = ops.scan(lambda c, x: (c + x, c + x), 0, [1, 2, 3])
    >>> sums.tolist()
    [1, 3, 6]
    """
    if not callable(f):
        raise TypeError(f"`scan` expected `f` to be callable. Received: f={f!r}")
    if not isinstance(unroll, (int, bool)) or (unroll < 1 and unroll is not False):
        raise ValueError(
            "`scan` expected `unroll` to be a positive integer or a boolean. Received: "
            f"unroll={unroll!r}"
        )
    if xs is None and length is None:
        raise ValueError("`scan` needs `xs` or `length`. Received neither.")
    if xs is not None:
        xs = _tensor(xs) if _is_numbers(xs) else _arrays(xs)
    init = _arrays(init)
    return _lax.scan(_returning_arrays(f), init, xs, length, reverse, unroll)


def _nested(xs):
    return isinstance(xs, (list, tuple, dict))


def _is_numbers(xs):
    if not isinstance(xs, (list, tuple)):
        return not isinstance(xs, dict)
    return all(isinstance(x, (bool, int, float)) for x in xs)


@_op(config=("reverse", "axis"))
def associative_scan(f, elems, reverse=False, axis=0):
    """Return the running combination of entries along `axis` by an associative `f`.

    >>> from lamina import ops
    >>> ops.associative_scan(lambda a, b: a + b, [1, 2, 3]).tolist()
    [1, 3, 6]
    """
    elems = _tensor(elems) if _is_numbers(elems) else _arrays(elems)
    return _lax.associative_scan(f, elems, reverse, axis)


@_op
def map(f, xs):
    """Apply `f` to each entry along the first axis, one after the other.

    >>> from lamina import ops
    >>> ops.map(lambda row: row.sum(), [[1, 2], [3, 4]]).tolist()
    [3, 7]
    """
    return _lax.map(_returning_arrays(f), xs if _nested_arrays(xs) else _tensor(xs))


@_op(config=("function",))
def vectorized_map(function, elements):
    """Apply `function` to each entry along the first axis, all at once.

    >>> from lamina import ops
    >>> ops.vectorized_map(lambda x: x * x, [1, 2, 3]).tolist()
    [1, 4, 9]
    """
    elements = elements if _nested_arrays(elements) else _tensor(elements)
    return _jax.vmap(lambda *args: _arrays(function(*args)))(elements)


def _nested_arrays(xs):
    return _nested(xs) and any(hasattr(x, "shape") for x in _structure.flatten(xs))


# Parts of arrays.


@_op(config=("num", "axis"), integers=True)
def unstack(x, num=None, axis=0):
    """Return the slices along `axis` as a list.

    Args:
        x: any array with an axis.
        num: how many there are; needed where the size is not known.
        axis: the axis, which the slices lose.

    >>> from lamina import ops
    >>> [row.tolist() for row in ops.unstack([[1, 2], [3, 4]])]
    [[1, 2], [3, 4]]
    """
    x = _tensor(x)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis {axis} is out of bounds for shape {x.shape}")
    size = x.shape[axis]
    if num is None and not isinstance(size, int):
        raise ValueError(
            f"Cannot infer argument `num` from shape {x.shape}. Give it. Received: "
            f"axis={axis}"
        )
    count = num or size
    _rounds(count)
    return [_lax.index_in_dim(x, i, axis, keepdims=False) for i in range(count)]


@_op(config=("shape",), integers=True)
def slice(inputs, start_indices, shape):
    """Return the block of `shape` that begins at `start_indices`.

    Starts are moved so that the block fits; -1 in `shape` stands for all the rest.

    >>> from lamina import ops
    >>> ops.slice([[1, 2, 3], [4, 5, 6]], (0, 1), (2, -1)).tolist()
    [[2, 3], [5, 6]]
    """
    x = _tensor(inputs)
    if -1 in shape:
        starts = _np.asarray(start_indices)
        sizes = zip(shape, x.shape, starts, strict=True)
        shape = [size - int(at) if n == -1 else n for n, size, at in sizes]
    return _lax.dynamic_slice(x, _starts(start_indices), tuple(shape))


@_op
def slice_update(inputs, start_indices, updates):
    """Return `inputs` with the block at `start_indices` replaced by `updates`.

    >>> from lamina import ops
    >>> ops.slice_update([1, 2, 3, 4], [1], [8, 9]).tolist()
    [1, 8, 9, 4]
    """
    inputs = _tensor(inputs)
    updates = _tensor(updates, inputs.dtype)
    return _lax.dynamic_update_slice(inputs, updates, _starts(start_indices))


def _starts(indices):
    return tuple(_tensor(indices, "int32"))


def _at(indices):
    return tuple(_jnp.moveaxis(_tensor(indices, "int32"), -1, 0))


@_op(config=("shape",))
def scatter(indices, values, shape):
    """Return zeros of `shape` with `values` added at `indices`.

    Args:
        indices: positions, (..., number of axes they name).
        values: what to add, (..., *rest of the shape).
        shape: the shape of the result.

    >>> from lamina import ops
    >>> ops.scatter([[0], [2], [2]], [1, 2, 3], (4,)).tolist()
    [1, 0, 5, 0]
    """
    values = _tensor(values)
    return _jnp.zeros(shape, values.dtype).at[_at(indices)].add(values)


@_op(config=("reduction",))
def scatter_update(inputs, indices, updates, reduction=None):
    """Return `inputs` with entries at `indices` replaced by or joined with `updates`.

    Args:
        inputs: any array.
        indices: positions, (..., number of axes they name).
        updates: values, (..., *rest of the shape).
        reduction: None replaces; `"add"`, `"max"`, `"min"` or `"mul"` join.

    Raises:
        ValueError: another `reduction`.

    >>> from lamina import ops
    >>> ops.scatter_update([1, 2, 3], [[1]], [9]).tolist()
    [1, 9, 3]
    """
    inputs = _tensor(inputs)
    target = inputs.at[_at(indices)]
    updates = _tensor(updates).astype(inputs.dtype)
    ways = {
        None: target.set,
        "add": target.add,
        "max": target.max,
        "min": target.min,
        "mul": target.multiply,
    }
    if reduction not in ways:
        names = ", ".join(repr(way) for way in ways if way)
        raise ValueError(
            f"`scatter_update` expected `reduction` to be one of {names}"
            f" or None. Received: reduction={reduction!r}"
        )
    return ways[reduction](updates)
