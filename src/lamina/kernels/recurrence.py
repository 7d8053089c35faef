"""Recurrences over time, with gradients written for the shape of the work.

A recurrent layer's cost is the chain of small products. What does not depend
on the chain is kept out of it: the inputs' projection comes before the scan as
one product, and the recurrent weights' gradient after the backward scan as one
product. The scans run over time-major arrays; every gate is an output of its
own, because joining them costs a copy per step.

Without a gradient a CPU does better with the projection inside of the scan: what
a step projects is still in the cache when it is used, and no other array of all
gates is written.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lamina.core.placement import platform
from lamina.kernels.native.recurrence import beside, fits
from lamina.kernels.products import dense

Tree = Any


def lstm(
    x: jax.Array,
    h: jax.Array,
    c: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    mask: jax.Array | None = None,
    reverse: bool = False,
    zero_output_for_mask: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Run a long short-term memory over a batch of sequences.

    i, f, g, o = x @ kernel + h @ recurrent_kernel + bias, in four equal parts;
    c = sigmoid(f) * c + sigmoid(i) * tanh(g);  h = sigmoid(o) * tanh(c)

    Args:
        x: (batch, time, features).
        h: (batch, units), the first output.
        c: (batch, units), the first memory.
        kernel: (features, 4 * units).
        recurrent_kernel: (units, 4 * units).
        bias: (4 * units,).
        mask: (batch, time); where False, the state stays as it was.
        reverse: start at the end; outputs are in the order of processing.
        zero_output_for_mask: output zeros where masked, not the state.

    Returns:
        Outputs (batch, time, units), and the last h and c.

    Source: Hochreiter and Schmidhuber, 1997, "Long short-term memory".

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import lstm
        >>> x, state = jnp.ones((2, 5, 3)), jnp.zeros((2, 4))
        >>> y, h, c = lstm(x, state, state, jnp.ones((3, 16)), jnp.ones((4, 16)))
        >>> y.shape, bool((y[:, -1] == h).all())
        ((2, 5, 4), True)
    """
    x, projection, keep = _time_major(x, kernel, bias, mask, reverse)
    h, c, weights = (value.astype(x.dtype) for value in (h, c, recurrent_kernel))
    outputs, h, c = _run(_lstm, _lstm_scan, x, projection, h, weights, keep, c)
    return _batch_major(outputs, keep, zero_output_for_mask), h, c


def gru(
    x: jax.Array,
    h: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    reset_after: bool = True,
    mask: jax.Array | None = None,
    reverse: bool = False,
    zero_output_for_mask: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Run gated recurrent units over a batch of sequences.

    z = sigmoid(x @ Kz + h @ Rz);  r = sigmoid(x @ Kr + h @ Rr);
    g = tanh(x @ Kg + r * (h @ Rg)), or tanh(x @ Kg + (r * h) @ Rg) if the reset
    gate does not come after the product;  h = z * h + (1 - z) * g

    Args:
        x: (batch, time, features).
        h: (batch, units), the first output.
        kernel: (features, 3 * units), the parts z, r, g.
        recurrent_kernel: (units, 3 * units).
        bias: (2, 3 * units), for inputs and recurrence, with `reset_after`, else
            (3 * units,).
        reset_after: whether the reset gate multiplies the product.
        mask: (batch, time); where False, the state stays as it was.
        reverse: start at the end; outputs are in the order of processing.
        zero_output_for_mask: output zeros where masked, not the state.

    Returns:
        Outputs (batch, time, units), and the last h.

    Source: Cho et al., 2014, "Learning phrase representations using RNN
    encoder-decoder for statistical machine translation".

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import gru
        >>> x, h = jnp.ones((2, 5, 3)), jnp.zeros((2, 4))
        >>> y, h = gru(x, h, jnp.ones((3, 12)), jnp.ones((4, 12)))
        >>> y.shape, bool((y[:, -1] == h).all())
        ((2, 5, 4), True)
    """
    before, after = bias if bias is not None and reset_after else (bias, None)
    x, projection, keep = _time_major(x, kernel, before, mask, reverse)
    h, weights = h.astype(x.dtype), recurrent_kernel.astype(x.dtype)
    if reset_after:
        if after is None:
            after = jnp.zeros(weights.shape[-1:], x.dtype)
        rest = h, weights, keep, after.astype(x.dtype)
        outputs, h = _run(_gru_after, _gru_after_scan, x, projection, *rest)
    else:
        rest = h, weights, keep
        outputs, h = _run(_gru_before, _gru_before_scan, x, projection, *rest)
    return _batch_major(outputs, keep, zero_output_for_mask), h


def simple_rnn(
    x: jax.Array,
    h: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    mask: jax.Array | None = None,
    reverse: bool = False,
    zero_output_for_mask: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Run h = tanh(x @ kernel + h @ recurrent_kernel + bias) over sequences.

    Args:
        x: (batch, time, features).
        h: (batch, units), the first output.
        kernel: (features, units).
        recurrent_kernel: (units, units).
        bias: (units,).
        mask: (batch, time); where False, the state stays as it was.
        reverse: start at the end; outputs are in the order of processing.
        zero_output_for_mask: output zeros where masked, not the state.

    Returns:
        Outputs (batch, time, units), and the last h.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import simple_rnn
        >>> x, h = jnp.zeros((1, 2, 3)), jnp.ones((1, 1))
        >>> y, h = simple_rnn(x, h, jnp.ones((3, 1)), jnp.zeros((1, 1)))
        >>> y.tolist()
        [[[0.0], [0.0]]]
    """
    x, projection, keep = _time_major(x, kernel, bias, mask, reverse)
    h, weights = h.astype(x.dtype), recurrent_kernel.astype(x.dtype)
    outputs, h = _run(_simple, _simple_scan, x, projection, h, weights, keep)
    return _batch_major(outputs, keep, zero_output_for_mask), h


def scan(
    step: Callable[..., tuple[Tree, ...]],
    inputs: Tree,
    states: Tree,
    *,
    shared: Tree = None,
    mask: jax.Array | None = None,
    reverse: bool = False,
    unroll: bool | int = False,
    zero_output_for_mask: bool = False,
    time_major: bool = False,
) -> Any:
    """Run any step over time: y, states = step(x_t, states).

    Where the mask is False the states stay as they were and the output is the
    previous output. Before the first step that is the first state if it has the
    output's shape (as in all usual cells), else zeros.

    Args:
        step: takes the inputs at one time and the states; returns the output
            and states of the same structure.
        inputs: arrays (batch, time, ...).
        states: arrays of any shape that starts with the batch, in any structure.
        shared: arrays of any shape that the step takes third and returns third,
            and that no mask holds back; None for a step without.
        mask: (batch, time) or (batch, time, 1).
        reverse: start at the end; outputs are in the order of processing.
        unroll: write out all steps, or this many per iteration.
        zero_output_for_mask: output zeros where masked.
        time_major: inputs, mask and outputs have time before batch.

    Returns:
        The last output, all outputs (batch, time, ...), the last states, and with
        `shared` its last values.

    Example:
        >>> import jax.numpy as jnp
        >>> from lamina.kernels import scan
        >>> step = lambda x, total: (x + total, x + total)
        >>> x = jnp.array([[[1.0], [2.0], [3.0]]])
        >>> last, outputs, total = scan(step, x, jnp.zeros((1, 1)))
        >>> outputs.ravel().tolist()
        [1.0, 3.0, 6.0]
    """
    leading = jax.tree.map(lambda a: _in_order(a, reverse, time_major), inputs)
    keep = None
    if mask is not None:
        keep = _in_order(mask.astype(bool), reverse, time_major)
        keep = keep.reshape(keep.shape[:2])
    first = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), leading)
    whole = step if shared is not None else _without_shared(step)
    shape = jax.eval_shape(whole, first, states, shared)
    # A step may return wider states than it was given (weak types, mixed
    # precision), which a scan's carry must not.
    states, shared = jax.tree.map(
        lambda new, old: old.astype(new.dtype), tuple(shape[1:]), (states, shared)
    )
    if keep is None:
        steps, carry, now = _plain_step(whole), (states, shared), leading
        (states, shared), outputs = lax.scan(steps, carry, now, unroll=unroll)
    else:
        steps, now = _masked_step(whole), (leading, keep)
        carry = (_first_output(shape[0], states), states), shared
        ((_, states), shared), outputs = lax.scan(steps, carry, now, unroll=unroll)
        if zero_output_for_mask:
            outputs = jax.tree.map(lambda y: _zeroed(y, keep), outputs)
    last = jax.tree.map(lambda y: y[-1], outputs)
    if not time_major:
        outputs = jax.tree.map(lambda y: y.swapaxes(0, 1), outputs)
    ended = last, outputs, states
    return ended if shared is None else (*ended, shared)


def _without_shared(step):
    def whole(x, states, shared):
        return (*step(x, states), shared)

    return whole


def _plain_step(step):
    def advance(carry, now):
        y, states, shared = step(now, *carry)
        return (states, shared), y

    return advance


def _masked_step(step):
    def advance(carry, now):
        x, valid = now
        held, shared = carry
        y, states, shared = step(x, held[1], shared)
        held = jax.tree.map(lambda *pair: _where(valid, *pair), (y, states), held)
        return (held, shared), held[0]

    return advance


def _first_output(shape, states):
    first = jax.tree.leaves(states)[:1]
    if first and jax.tree.structure(shape).num_leaves == 1:
        (y,) = jax.tree.leaves(shape)
        if (y.shape, y.dtype) == (first[0].shape, first[0].dtype):
            return jax.tree.unflatten(jax.tree.structure(shape), first)
    return jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), shape)


def _in_order(values, reverse, time_major):
    values = values if time_major else values.swapaxes(0, 1)
    return jnp.flip(values, 0) if reverse else values


def _where(valid, new, old):
    return jnp.where(valid.reshape(*valid.shape, *(1,) * (new.ndim - 1)), new, old)


def _zeroed(outputs, keep):
    keep = keep.reshape(*keep.shape, *(1,) * (outputs.ndim - 2))
    return jnp.where(keep, outputs, jnp.zeros((), outputs.dtype))


def _time_major(x, kernel, bias, mask, reverse):
    """Return the inputs and the mask time-major, and what projects the inputs."""
    dtype = jnp.result_type(x, kernel)
    x = _in_order(x.astype(dtype), reverse, False)
    projection = [kernel.astype(dtype)]
    if bias is not None:
        projection.append(bias.astype(dtype))
    if mask is not None:
        mask = _in_order(mask.astype(bool), reverse, False)
        # One trailing cell: broadcasts over units without a reshape per step.
        mask = mask.reshape(*mask.shape[:2], 1)
    return x, projection, mask


def _project(x, projection):
    if projection:
        x = dense(x, projection[0])
    return x + projection[1] if len(projection) > 1 else x


def _projects(x, projection, saves):
    """Return inputs, and what each step does to its own, for a plain scan."""
    if saves:
        return _project(x, projection), _as_is
    return x, partial(_project, projection=projection)


# A compiled scan projects the inputs itself, with a kernel that stays in the cache.
_MOST = 1 << 17


def _scanned(scan, x, projection, h, weights, keep, *rest, saves=True):
    if fits(x, h, weights, keep) and projection[0].size > _MOST:
        x, projection = _project(x, projection), ()
    return scan(x, h, weights, keep, *rest, projection, saves=saves)


def _run(learning, scan, *args):
    """Run `learning`; on a CPU, and without a gradient, a scan that saves nothing."""
    if platform() != "cpu":
        return learning(*args)

    @jax.custom_vjp
    def run(*args):
        *results, _ = _scanned(scan, *args, saves=False)
        return tuple(results)

    def pull(pullback, gradients):
        return pullback(gradients)

    run.defvjp(partial(jax.vjp, learning), pull)
    return run(*args)


def _learned(scan, backward):
    """Return a scan whose gradient `backward` computes from what it saves."""

    def forward(*args):
        *results, saved = _scanned(scan, *args)
        return tuple(results), (args[:5], results[0], saved)

    learned = jax.custom_vjp(lambda *args: forward(*args)[0])
    learned.defvjp(forward, backward)
    return learned


def _as_is(x):
    return x


def _batch_major(outputs, keep, zero):
    if zero and keep is not None:
        outputs = jnp.where(keep, outputs, jnp.zeros((), outputs.dtype))
    return outputs.swapaxes(0, 1)


def _choose(keep, new, old):
    return new if keep is None else jnp.where(keep, new, old)


def _only(keep, gradient):
    """Split a state's gradient: through the step, and past it."""
    if keep is None:
        return gradient, 0
    return jnp.where(keep, gradient, 0), jnp.where(keep, 0, gradient)


def _weights(before, gradient):
    """Sum the weights' gradient over all steps as one product."""
    rows = before.shape[0] * before.shape[1]
    return dense(
        before.reshape(rows, before.shape[-1]).T,
        gradient.reshape(rows, gradient.shape[-1]),
    )


def _pulled(x, projection, gradient):
    """Return the gradients of the inputs and of what projected them."""
    return jax.vjp(_project, x, projection)[1](gradient)


def _before(h, outputs):
    """Return the state each step started from."""
    return jnp.concatenate([h[None], outputs])[:-1]


def _saved(saves, *values):
    return values if saves else ()


def _lstm_steps(x, h, weights, keep, c, projection, saves):
    x, project = _projects(x, projection, saves)

    def step(carry, now):
        h, before = carry
        x, keep = now
        i, f, g, o = jnp.split(project(x) + dense(h, weights), 4, -1)
        i, f, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o)
        g = jnp.tanh(g)
        c = f * before + i * g
        h = _choose(keep, o * jnp.tanh(c), h)
        return (h, _choose(keep, c, before)), (h, _saved(saves, i, f, g, o, before))

    (h, c), (outputs, saved) = lax.scan(step, (h, c), (x, keep))
    return outputs, h, c, saved


def _lstm_steps_back(d_outputs, h, weights, keep, d_h, d_c, outputs, saved):
    def step(carry, now):
        d_h, d_c = carry
        d_output, (i, f, g, o, before), keep = now
        d_h, past_h = _only(keep, d_h + d_output)
        d_c, past_c = _only(keep, d_c)
        tanh_c = jnp.tanh(f * before + i * g)
        d_c = d_c + d_h * o * (1 - tanh_c * tanh_c)
        d_z = jnp.concatenate(
            [
                d_c * g * i * (1 - i),
                d_c * before * f * (1 - f),
                d_c * i * (1 - g * g),
                d_h * tanh_c * o * (1 - o),
            ],
            -1,
        )
        return (dense(d_z, weights.T) + past_h, d_c * f + past_c), d_z

    now = d_outputs, saved, keep
    (d_h, d_c), d_z = lax.scan(step, (d_h, d_c), now, reverse=True)
    return d_z, d_h, d_c


_lstm_scan = beside("lstm", _lstm_steps)
_lstm_scan_back = beside("lstm_back", _lstm_steps_back)


def _lstm_backward(residuals, gradients):
    (x, projection, h, weights, keep), *rest = residuals
    d_outputs, *d_states = gradients
    d_z, d_h, d_c = _lstm_scan_back(d_outputs, h, weights, keep, *d_states, *rest)
    d_weights = _weights(_before(h, rest[0]), d_z)
    return *_pulled(x, projection, d_z), d_h, d_weights, None, d_c


_lstm = _learned(_lstm_scan, _lstm_backward)


def _gru_after_steps(x, h, weights, keep, bias, projection, saves):
    x, project = _projects(x, projection, saves)

    def step(h, now):
        x, keep = now
        xz, xr, xg = jnp.split(project(x), 3, -1)
        hz, hr, hg = jnp.split(dense(h, weights) + bias, 3, -1)
        z, r = jax.nn.sigmoid(xz + hz), jax.nn.sigmoid(xr + hr)
        g = jnp.tanh(xg + r * hg)
        h = _choose(keep, z * h + (1 - z) * g, h)
        return h, (h, _saved(saves, z, r, g, hg))

    h, (outputs, saved) = lax.scan(step, h, (x, keep))
    return outputs, h, saved


def _gru_after_steps_back(d_outputs, h, weights, keep, d_h, outputs, saved):
    def step(d_h, now):
        d_output, h, (z, r, g, hg), keep = now
        d_h, past = _only(keep, d_h + d_output)
        d_g = d_h * (1 - z) * (1 - g * g)
        d_z = d_h * (h - g) * z * (1 - z)
        d_r = d_g * hg * r * (1 - r)
        d_product = jnp.concatenate([d_z, d_r, d_g * r], -1)
        return dense(d_product, weights.T) + d_h * z + past, (d_product, d_g)

    now = d_outputs, _before(h, outputs), saved, keep
    d_h, (d_product, d_g) = lax.scan(step, d_h, now, reverse=True)
    gates = d_product.shape[-1] // 3 * 2
    return jnp.concatenate([d_product[..., :gates], d_g], -1), d_h, d_product


_gru_after_scan = beside("gru_after", _gru_after_steps)
_gru_after_scan_back = beside("gru_after_back", _gru_after_steps_back)


def _gru_after_backward(residuals, gradients):
    (x, projection, h, weights, keep), *rest = residuals
    d_outputs, d_h = gradients
    d_x, d_h, d_product = _gru_after_scan_back(d_outputs, h, weights, keep, d_h, *rest)
    d_weights = _weights(_before(h, rest[0]), d_product)
    d_bias = d_product.sum((0, 1))
    return *_pulled(x, projection, d_x), d_h, d_weights, None, d_bias


_gru_after = _learned(_gru_after_scan, _gru_after_backward)


def _gru_before_scan(x, h, weights, keep, projection, saves):
    x, project = _projects(x, projection, saves)
    units = h.shape[-1]
    gates, candidate = weights[:, : 2 * units], weights[:, 2 * units :]

    def step(h, now):
        x, keep = now
        x = project(x)
        z, r = jnp.split(jax.nn.sigmoid(x[:, : 2 * units] + dense(h, gates)), 2, -1)
        g = jnp.tanh(x[:, 2 * units :] + dense(r * h, candidate))
        h = _choose(keep, z * h + (1 - z) * g, h)
        return h, (h, _saved(saves, z, r, g))

    h, (outputs, saved) = lax.scan(step, h, (x, keep))
    return outputs, h, saved


def _gru_before_backward(residuals, gradients):
    (x, projection, h, weights, keep), outputs, saved = residuals
    d_outputs, d_h = gradients
    units = h.shape[-1]
    gates, candidate = weights[:, : 2 * units], weights[:, 2 * units :]
    starts = _before(h, outputs)

    def step(d_h, now):
        d_output, h, (z, r, g), keep = now
        d_h, past = _only(keep, d_h + d_output)
        d_g = d_h * (1 - z) * (1 - g * g)
        d_reset = dense(d_g, candidate.T)
        d_z = d_h * (h - g) * z * (1 - z)
        d_gates = jnp.concatenate([d_z, d_reset * h * r * (1 - r)], -1)
        d_h = dense(d_gates, gates.T) + d_reset * r + d_h * z + past
        return d_h, (d_gates, d_g)

    now = d_outputs, starts, saved, keep
    d_h, (d_gates, d_g) = lax.scan(step, d_h, now, reverse=True)
    d_weights = [_weights(starts, d_gates), _weights(saved[1] * starts, d_g)]
    pulled = _pulled(x, projection, jnp.concatenate([d_gates, d_g], -1))
    return *pulled, d_h, jnp.concatenate(d_weights, -1), None


_gru_before = _learned(_gru_before_scan, _gru_before_backward)


def _simple_steps(x, h, weights, keep, projection, saves):
    x, project = _projects(x, projection, saves)

    def step(h, now):
        x, keep = now
        h = _choose(keep, jnp.tanh(project(x) + dense(h, weights)), h)
        return h, h

    h, outputs = lax.scan(step, h, (x, keep))
    return outputs, h, None


def _simple_steps_back(d_outputs, h, weights, keep, d_h, outputs):
    def step(d_h, now):
        d_output, h, keep = now
        d_h, past = _only(keep, d_h + d_output)
        d_z = d_h * (1 - h * h)
        return dense(d_z, weights.T) + past, d_z

    d_h, d_z = lax.scan(step, d_h, (d_outputs, outputs, keep), reverse=True)
    return d_z, d_h


_simple_scan = beside("simple", _simple_steps)
_simple_scan_back = beside("simple_back", _simple_steps_back)


def _simple_backward(residuals, gradients):
    (x, projection, h, weights, keep), outputs, _ = residuals
    d_outputs, d_h = gradients
    d_z, d_h = _simple_scan_back(d_outputs, h, weights, keep, d_h, outputs)
    d_weights = _weights(_before(h, outputs), d_z)
    return *_pulled(x, projection, d_z), d_h, d_weights, None


_simple = _learned(_simple_scan, _simple_backward)
