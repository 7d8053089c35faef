"""Traced programs in plain form: fewer kinds of steps, for a converter to read.

What only says how to differentiate or to compile is written out, and what the
converter of jax2onnx misreads is said in other steps of the same meaning.
"""

import contextlib
import functools
from typing import Any

import jax
from jax import lax
from jax.extend.core import Literal

# Calls of an inner program, and where they keep it.
_INLINE = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}


def form(closed):
    """Return a traced program in plain form.

    Args:
        closed: what `jax.make_jaxpr` gave.
    """

    def program(*args):
        return _apart(args, _run(closed.jaxpr, closed.consts, args))

    avals = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in closed.in_avals]
    return jax.make_jaxpr(program)(*avals)


def _apart(inputs, outputs):
    """Return outputs of which none is an input, or another output, by identity."""
    seen = {id(x) for x in inputs}
    result = []
    for x in outputs:
        result.append(jax.numpy.copy(x) if id(x) in seen else x)
        seen.add(id(x))
    return result


def equations(jaxpr, outer=""):
    """Yield the steps of a program and of those inside it, each with its layer."""
    for eqn in jaxpr.eqns:
        path = "/".join(filter(None, (outer, str(eqn.source_info.name_stack))))
        yield path, eqn
        for inner in _inner(eqn.params):
            yield from equations(inner, path)


def _inner(params):
    for value in params.values():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            one = getattr(one, "jaxpr", one)
            if hasattr(one, "eqns"):
                yield one


def _run(jaxpr, consts, args):
    values = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))

    def read(variable):
        return variable.val if isinstance(variable, Literal) else values[variable]

    for eqn in _used(jaxpr):
        path = str(eqn.source_info.name_stack)
        with jax.named_scope(path) if path else contextlib.nullcontext():
            results = _step(eqn, [read(v) for v in eqn.invars])
        values |= dict(zip(eqn.outvars, results, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _used(jaxpr):
    """Return the steps that the outputs hang on."""
    wanted = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    kept = []
    for eqn in reversed(jaxpr.eqns):
        if eqn.effects or wanted.intersection(eqn.outvars):
            kept.append(eqn)
            wanted.update(v for v in eqn.invars if not isinstance(v, Literal))
    return reversed(kept)


def _step(eqn, args):
    name = eqn.primitive.name
    if name in _INLINE:
        inner = eqn.params[_INLINE[name]]
        if hasattr(inner, "consts"):
            return _run(inner.jaxpr, inner.consts, args)
        return _run(inner, (), args)
    if name == "scan":
        return _scan(eqn.params, args)
    if name == "pad":
        padded = _pad(args[0], args[1], eqn.params["padding_config"])
        if padded is not None:
            return [padded]
    if name == "reduce_window_max" and args[0].ndim > 3:
        # The converter counts all axes as windowed, and the runtime takes three.
        return [_largest(args[0], eqn.params)]
    if name == "dot_general":
        # Products of half precision that are summed in float32.
        wide = eqn.params["preferred_element_type"]
        if wide is not None:
            args = [lax.convert_element_type(x, wide) for x in args]
    results = eqn.primitive.bind(*args, **eqn.params)
    return results if eqn.primitive.multiple_results else [results]


def _largest(x, params):
    """Return the largest numbers of windows, one axis after the other."""
    sizes, strides = params["window_dimensions"], params["window_strides"]
    floats = jax.numpy.issubdtype(x.dtype, jax.numpy.floating)
    lowest = -jax.numpy.inf if floats else jax.numpy.iinfo(x.dtype).min
    for axis, (size, stride, (lo, hi)) in enumerate(
        zip(sizes, strides, params["padding"], strict=True)
    ):
        if size == stride == 1:
            continue
        config = [(0, 0, 0)] * x.ndim
        config[axis] = (lo, hi, 0)
        x = _pad(x, jax.numpy.asarray(lowest, x.dtype), config)
        end = x.shape[axis] - size + 1
        parts = [lax.slice_in_dim(x, i, end + i, stride, axis) for i in range(size)]
        x = functools.reduce(lax.max, parts)
    return x


def _scan(params, args):
    closed = params["jaxpr"]
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    consts, carry, inputs = args[:first], args[first:last], args[last:]

    def body(carry, now):
        results = _run(closed.jaxpr, closed.consts, [*consts, *carry, *now])
        return results[: len(carry)], results[len(carry) :]

    length = None if inputs else params["length"]
    carry, outputs = lax.scan(
        body, list(carry), list(inputs), length, params["reverse"]
    )
    return [*carry, *outputs]


def _pad(x, value, config) -> Any:
    """Return `x` padded by concatenation, or None where it is more than that."""
    if any(lo < 0 or hi < 0 or inside for lo, hi, inside in config):
        return None
    for axis, (lo, hi, _) in enumerate(config):
        parts = [
            lax.broadcast(value, (*x.shape[:axis], n, *x.shape[axis + 1 :]))
            for n in (lo, hi)
        ]
        around = [parts[0]] * bool(lo), [x], [parts[1]] * bool(hi)
        pieces = [piece for group in around for piece in group]
        if len(pieces) > 1:
            x = lax.concatenate(pieces, axis)
    return x
