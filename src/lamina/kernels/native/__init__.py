"""Kernels compiled ahead of time for CPUs, beside their plain forms.

Lamina is built with a small library of C++ kernels where a compiler is found; they
run as XLA's custom calls on XLA's own threads. Each is a JAX primitive with a plain
form: that runs where the library is missing, on accelerators, on several devices, in
exported programs and under `vmap`; its derivatives are the kernel's too, of any
order. `LAMINA_NATIVE=0` in the environment turns the library off.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Jaxpr, Primitive
from jax.interpreters import ad, batching, mlir

from lamina.core.native import library
from lamina.core.placement import platform

_plain_forms: dict[Primitive, Callable[..., Any]] = {}


def available() -> bool:
    """Return whether compiled kernels run: on one CPU device of this process.

    Example:
        >>> from lamina.kernels import native
        >>> native.available() in (True, False)
        True
    """
    return (
        platform() == "cpu"
        and jax.local_device_count() == 1
        and _target("conv") is not None
    )


@functools.cache
def _target(name: str) -> str | None:
    """Make a function of the library known to XLA, and return its name there."""
    function = getattr(library(), f"lamina_{name}", None)
    if function is None:
        return None
    try:
        jax.ffi.register_ffi_target(
            f"lamina_{name}", jax.ffi.pycapsule(function), platform="cpu"
        )
    except Exception:  # built for another version of XLA's interface
        return None
    return f"lamina_{name}"


def primitive(
    name: str,
    plain: Callable[..., Any],
    attributes: Callable[..., Mapping[str, Any]] | None = None,
    several: bool = False,
    in_place: Mapping[int, int] | None = None,
) -> Primitive:
    """Return a JAX primitive that computes `plain`, by `lamina_<name>` if it can.

    Args:
        name: of the function in the library, without its prefix.
        plain: a function of arrays, and of hashable parameters by keyword.
        attributes: turns the parameters into what the compiled function takes:
            numbers, and sequences of integers; None to pass them on.
        several: whether there are several results.
        in_place: the results that may lie where an operand does, by its number.
    """
    made = Primitive(f"lamina_{name}")
    made.multiple_results = several
    _plain_forms[made] = plain

    def shape(*operands, **parameters):
        found = jax.eval_shape(
            functools.partial(plain, **parameters),
            *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in operands),
        )
        made_of = ShapedArray
        if several:
            return [made_of(one.shape, one.dtype) for one in found]
        return made_of(found.shape, found.dtype)

    def batched(operands, places, **parameters):
        mapped = jax.vmap(functools.partial(plain, **parameters), places)(*operands)
        return mapped, [0] * len(mapped) if several else 0

    def jvp(primals, tangents, **parameters):
        tangents = [
            ad.instantiate_zeros(t) if type(t) is ad.Zero else t for t in tangents
        ]
        return jax.jvp(
            functools.partial(plain, **parameters), tuple(primals), tuple(tangents)
        )

    otherwise: Any = mlir.lower_fun(plain, multiple_results=several)

    def compiled(context, *operands, **parameters):
        target = _target(name) if _alone(context.module_context) else None
        if target is None:
            return otherwise(context, *operands, **parameters)
        given = attributes(**parameters) if attributes else parameters
        return jax.ffi.ffi_lowering(target, operand_output_aliases=in_place)(
            context, *operands, **{key: _attribute(v) for key, v in given.items()}
        )

    @functools.lru_cache(maxsize=256)
    def eager(parameters):
        return jax.jit(functools.partial(made.bind, **dict(parameters)))

    made.def_impl(lambda *a, **parameters: eager(tuple(parameters.items()))(*a))
    made.def_abstract_eval(shape)
    batching.primitive_batchers[made] = batched
    ad.primitive_jvps[made] = jvp
    mlir.register_lowering(made, otherwise)
    mlir.register_lowering(made, compiled, platform="cpu")
    return made


def plain_form(made: Primitive) -> Callable[..., Any]:
    """Return the plain form of a compiled kernel."""
    return _plain_forms[made]


def plain_jaxpr(equation) -> Jaxpr | None:
    """Return what the plain form of a compiled kernel does, or None for others.

    Args:
        equation: of a jaxpr.
    """
    plain = _plain_forms.get(equation.primitive)
    if plain is None:
        return None
    given = (jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars)
    return jax.make_jaxpr(functools.partial(plain, **equation.params))(*given).jaxpr


def _alone(module) -> bool:
    """Whether a program is compiled for this process alone, and for one device."""
    devices = getattr(module.axis_context, "num_devices", 2)
    return devices == 1 and not module.lowering_parameters.for_export


def _attribute(value):
    return value if np.isscalar(value) else np.array(value, np.int64)


def bilinear(
    made: Primitive,
    left: Callable[..., jax.Array],
    right: Callable[..., jax.Array],
) -> None:
    """Give a primitive of two arrays, linear in each, its derivatives.

    Args:
        made: the primitive.
        left: takes the result's gradient, the first array's shape, the second
            array and the parameters; returns the first array's gradient.
        right: the same for the second array, with the first array in between and
            the second array's shape last.
    """

    def to_left(gradient, x, y, **parameters):
        return left(gradient, x.aval.shape, y, **parameters)

    def to_right(gradient, x, y, **parameters):
        return right(gradient, x, y.aval.shape, **parameters)

    ad.defbilinear(made, to_left, to_right)
