"""What a compiled program costs, and how long this machine may take for it.

FLOPs, bytes and memory are XLA's own figures. XLA counts the body of a loop once, and
compiled kernels not at all; the iterations of a `lax.scan` that this leaves out, and
what the plain forms of kernels do, are counted here, from the jaxpr.

The time is an estimate: `call + kernels * kernel + flops / F + bytes / B`. The four
rates are measured once in each process, with programs of a few milliseconds.
"""

import functools
import math
import re
import time
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from lamina.kernels import native

# What an instruction of a compiled program does without running a kernel.
_FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "while"}
_TIME = 0.03  # seconds that each measurement of the machine takes about


class Work(NamedTuple):
    """Operations on numbers and bytes moved."""

    flops: float = 0.0
    bytes: float = 0.0

    def plus(self, other, times=1):
        """Return the sum with `times` the other."""
        return Work(self.flops + times * other.flops, self.bytes + times * other.bytes)


@dataclass(frozen=True)
class Cost:
    """What one call of a compiled program costs.

    Attributes:
        flops: operations on numbers.
        bytes_accessed: bytes that its kernels read and write.
        argument_bytes: memory of what it takes, weights and batch.
        output_bytes: memory of what it gives.
        alias_bytes: memory of outputs that overwrite arguments in place.
        temp_bytes: memory in between.
        kernels: how many kernels it runs, loops unrolled.
        open_loops: loops of unknown length in it; each counts as one iteration.
    """

    flops: float
    bytes_accessed: float
    argument_bytes: int
    output_bytes: int
    alias_bytes: int
    temp_bytes: int
    kernels: int
    open_loops: int

    @property
    def peak_bytes(self) -> int:
        """The most memory that is held at once: all of it, shared parts once."""
        held = self.argument_bytes + self.output_bytes + self.temp_bytes
        return held - self.alias_bytes


def cost_of(step, *args) -> Cost:
    """Return what a call of a jitted function costs; compiles it, does not run it.

    The executable stays with the function, and its next call uses it.

    Args:
        step: what `jax.jit` returned.
        args: arrays, or `jax.ShapeDtypeStruct`s in their place.
    """
    traced = step.trace(*args)
    compiled = traced.lower().compile()
    memory, analysis = compiled.memory_analysis(), compiled.cost_analysis() or {}
    more, open_loops = _left_out(traced.jaxpr.jaxpr)
    return Cost(
        flops=float(analysis.get("flops", 0.0)) + more.flops,
        bytes_accessed=float(analysis.get("bytes accessed", 0.0)) + more.bytes,
        argument_bytes=int(memory.argument_size_in_bytes),
        output_bytes=int(memory.output_size_in_bytes),
        alias_bytes=int(memory.alias_size_in_bytes),
        temp_bytes=int(memory.temp_size_in_bytes),
        kernels=kernels(compiled.as_text() or ""),
        open_loops=open_loops,
    )


# ---- loops ---------------------------------------------------------------------


def _left_out(jaxpr):
    """Return the work that XLA's count leaves out, and how many loops are open."""
    work, loops = Work(), 0
    for eqn in jaxpr.eqns:
        loops += eqn.primitive.name == "while"
        if eqn.primitive.name == "scan":
            body = eqn.params["jaxpr"].jaxpr
            again = eqn.params["length"] - max(int(eqn.params["unroll"]), 1)
            work = work.plus(_work(body), max(again, 0))
        if plain := native.plain_jaxpr(eqn):
            work = work.plus(_work(plain))
        for inner in jaxprs_in_params(eqn.params):
            more, found = _left_out(inner)
            work, loops = work.plus(more), loops + found
    return work, loops


def _work(jaxpr):
    """Return the work of a loop's body: its products, its elements, its carry."""
    work = Work(bytes=_size([*jaxpr.invars, *jaxpr.outvars]))
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        inner = [_work(one) for one in jaxprs_in_params(eqn.params)]
        if name == "cond":
            work = work.plus(max(inner))
        elif plain := native.plain_jaxpr(eqn):
            work = work.plus(_work(plain))
        elif inner:
            times = eqn.params["length"] if name == "scan" else 1
            for one in inner:
                work = work.plus(one, times)
        elif name in ("dot_general", "conv_general_dilated"):
            moved = _size([*eqn.invars, *eqn.outvars])
            work = work.plus(Work(_product(eqn), moved))
        else:
            work = work.plus(Work(sum(math.prod(v.aval.shape) for v in eqn.outvars)))
    return work


def _product(eqn):
    """Return the FLOPs of a matrix product or a convolution."""
    left, right = (v.aval.shape for v in eqn.invars[:2])
    result = math.prod(eqn.outvars[0].aval.shape)
    if eqn.primitive.name == "dot_general":
        (axes, _), _ = eqn.params["dimension_numbers"]
        return 2 * result * math.prod(left[axis] for axis in axes)
    channels = right[eqn.params["dimension_numbers"].rhs_spec[0]]
    # Zeros between the cells of a gradient that is spread by strides cost nothing.
    holes = math.prod(eqn.params["lhs_dilation"])
    return 2 * result * math.prod(right) // max(channels * holes, 1)


def _size(variables):
    sizes = (v.aval.size * v.aval.dtype.itemsize for v in variables)
    return float(sum(sizes))


def kernels(text) -> int:
    """Count the kernels that a compiled program runs, from XLA's text of it."""
    bodies, found, entry = {}, None, None
    for line in text.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.-]+) \(.*\{$", line):
            found = bodies.setdefault(head[2], [])
            entry = found if head[1] else entry
        elif found is not None and (
            opcode := re.search(r" = .*?[\s]([a-z][a-z0-9-]*)\(", line)
        ):
            found.append((opcode[1], line))

    def count(lines):
        total = 0
        for opcode, line in lines:
            total += opcode not in _FREE
            if opcode == "while" and (body := re.search(r"body=%?([\w.-]+)", line)):
                times = re.search(r'known_trip_count[^}]*"n":"(\d+)"', line)
                inner = count(bodies.get(body[1], []))
                total += inner * (int(times[1]) if times else 1)
        return total

    return count(entry or [])


# ---- time ----------------------------------------------------------------------


class Machine(NamedTuple):
    """What this machine does in a second, measured.

    Attributes:
        flops_per_second: of a matrix product.
        bytes_per_second: read and written by copies.
        call_seconds: what starting a compiled program costs.
        kernel_seconds: what each kernel in it costs besides its work.
    """

    flops_per_second: float
    bytes_per_second: float
    call_seconds: float
    kernel_seconds: float

    def seconds(self, cost) -> float:
        """Estimate the time of one call of a program."""
        return (
            self.call_seconds
            + cost.kernels * self.kernel_seconds
            + cost.flops / self.flops_per_second
            + cost.bytes_accessed / self.bytes_per_second
        )


@functools.cache
def machine(dtype="float32") -> Machine:
    """Measure this machine, in some tenths of a second; once in each process."""
    size, chain = 256, 16
    square = jnp.full((size, size), 1 / size, dtype)
    product = _seconds(jax.jit(lambda a: a @ a), square)
    large = jnp.zeros((2**22,), dtype)
    copy = _seconds(jax.jit(lambda a: a + 1), large)

    def link(a):
        return a - jnp.sum(a)

    def links(a):
        return functools.reduce(lambda a, _: link(a), range(chain), a)

    tiny = jnp.zeros((8,), dtype)
    call, many = jax.jit(link), jax.jit(links)
    each = kernels(many.lower(tiny).compile().as_text() or "")
    first = _seconds(call, tiny)
    return Machine(
        flops_per_second=2 * size**3 / product,
        bytes_per_second=2 * large.nbytes / copy,
        call_seconds=first,
        kernel_seconds=max(_seconds(many, tiny) - first, 0.0) / max(each, 1),
    )


def _seconds(program, argument):
    """Return the time of a call: the best of those that fit into a moment."""
    jax.block_until_ready(program(argument))
    best, end = math.inf, time.perf_counter() + _TIME
    while (begin := time.perf_counter()) < end:
        jax.block_until_ready(program(argument))
        best = min(best, time.perf_counter() - begin)
    return best
