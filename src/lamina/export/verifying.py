"""What an exported program may hold, and the check that it holds nothing else.

A program is StableHLO. XLA verifies the shapes of its operations and keeps every access
inside of their buffers, with two exceptions, which are checked here:

- A call of a function by name (`custom_call`). The function trusts its caller, so each
  call must have exactly the operands, results and attributes that JAX writes: types,
  ranks, shapes, layouts, aliases. `_SIGNATURES` lists what may be called: the routines
  of LAPACK behind `qr`, `svd`, `solve` and the like, which have no other form. To
  refuse them all would be shorter, but models that use them could not be exported.
- An unstable sort, which runs out of its buffer where the comparison is not an order.

Sizes that are open in a file have numbers only when the program is called, so these
calls are checked again for each new set of shapes, after JAX has put in the numbers.
"""

import math
import re
from typing import Any, NamedTuple

from lamina.core import bounds

# The operations that JAX writes for one device. Not among them are those that wait for
# somebody else, that draw without a state, and that change the size of a buffer.
_OPERATIONS = frozenset(
    (
        "abs add and atan2 bitcast_convert broadcast_in_dim case cbrt ceil cholesky "
        "clamp compare complex composite concatenate constant convert convolution "
        "cosine count_leading_zeros custom_call divide dot_general "
        "dynamic_broadcast_in_dim dynamic_conv dynamic_gather dynamic_iota dynamic_pad "
        "dynamic_reshape dynamic_slice dynamic_update_slice exponential "
        "exponential_minus_one fft floor gather get_dimension_size if imag iota "
        "is_finite log log_plus_one logistic maximum minimum multiply negate not "
        "optimization_barrier or pad popcnt power real real_dynamic_slice reduce "
        "reduce_precision reduce_window remainder reshape return reverse "
        "rng_bit_generator round_nearest_afz round_nearest_even rsqrt scatter select "
        "select_and_scatter shift_left shift_right_arithmetic shift_right_logical sign "
        "sine slice sort sqrt subtract tan tanh transpose triangular_solve while xor"
    ).split()
)
_STRUCTURE = frozenset(("builtin.module", "func.func", "func.call", "func.return"))
_DEEPEST = 64  # operations inside of one another, and functions that call others
_LARGEST = 1 << 40  # numbers in one tensor; XLA counts more than 2^63 bytes wrongly

# Operands and results of a call, after the axes of a batch, which all share: a letter
# for the dtype (x that of the call, r its real and c its complex form, i int32), and
# one for each axis: k is the smaller of m and n, h is n - 1.
_SIGNATURES = {
    "getrf": "x[mn] -> x[mn] i[k] i[]",
    "geqrf": "x[mn] -> x[mn] x[k]",
    "orgqr": "x[mn] x[p] -> x[mn]",
    "potrf": "x[nn] -> x[nn] i[]",
    "trsm": "x[ss] x[mn] -> x[mn]",
    "gesdd": "x[mn] -> x[mn] r[k] x[mu] x[vn] i[]",
    "syevd": "x[nn] -> x[nn] r[n] i[]",
    "sytrd": "x[nn] -> x[nn] r[n] r[h] x[h] i[]",
    "gehrd": "x[nn] -> x[nn] x[h] i[]",
    "gtsv": "x[n] x[n] x[n] x[np] -> x[n] x[n] x[n] x[np] i[]",
    "geev real": "x[nn] -> x[n] x[n] c[nn] c[nn] i[]",
    "geev complex": "x[nn] -> x[n] x[nn] x[nn] i[]",
    "gees real": "x[nn] -> x[nn] x[nn] x[n] x[n] i[] i[]",
    "gees complex": "x[nn] -> x[nn] x[nn] x[n] i[] i[]",
    "permutation": "i[p] -> i[m]",
    "eigh": "x[nn] -> x[nn] r[n]",
    "lu": "x[mn] -> x[mn] i[k] i[m]",
}
_SAME = {"ungqr": "orgqr", "heevd": "syevd", "hetrd": "sytrd"}
_BY_XLA = {
    "Qr": "geqrf",
    "ProductOfElementaryHouseholderReflectors": "orgqr",
    "Eigh": "eigh",
    "LuDecomposition": "lu",
}
_BOTH = (0, 1)
_TRIANGLE = {"uplo": tuple(b"UL"), "lower": _BOTH}
# Attributes of calls, and their values; others have none.
_VALUES: dict[str, dict] = {
    "potrf": _TRIANGLE,
    "sytrd": _TRIANGLE,
    "syevd": {**_TRIANGLE, "mode": tuple(b"NV"), "algorithm": (0, 1, 2)},
    "trsm": {
        "side": tuple(b"LR"),
        "uplo": tuple(b"UL"),
        "trans_x": tuple(b"NTC"),
        "diag": tuple(b"NU"),
    },
    "gesdd": {"mode": tuple(b"ASN")},
    "geev": {"compute_left": tuple(b"NV"), "compute_right": tuple(b"NV")},
    "gees": {"mode": tuple(b"NV"), "sort": tuple(b"N")},
}
_LAPACK = re.compile(r"lapack_([sdcz])([a-z]+)_ffi")
_ON_GPU = re.compile(r"(?:cu|hip)solver_(getrf|geqrf|orgqr|potrf|syevd|sytrd)_ffi")
_PERMUTATION = re.compile(r"(?:cu|hip)_lu_pivots_to_permutation")
# Of these the shapes are not known here: they may stand in a program for several
# platforms, and run on none.
_NOT_RUN = re.compile(r"(?:cu|hip)solver_(?:gesvd|gesvdj|gesdd)_ffi|cusparse_gtsv2_ffi")
# These are gone when the sizes have numbers, and checked by what puts them in.
_OPEN = frozenset(
    ("stablehlo.dynamic_reduce_window", "stablehlo.dynamic_rng_bit_generator")
)
_KINDS = {"s": "f32", "d": "f64", "c": "complex<f32>", "z": "complex<f64>"}
_REAL = {"f32": "f32", "f64": "f64", "complex<f32>": "f32", "complex<f64>": "f64"}
_NOTED = "mhlo.frontend_attributes"
_ATTRIBUTES = frozenset(
    (
        "call_target_name api_version backend_config mhlo.backend_config "
        "mhlo.frontend_attributes operand_layouts result_layouts sdy.sharding_rule "
        "output_operand_aliases indices_of_shape_operands has_side_effect"
    ).split()
)
# What JAX notes of a program and of what it takes and gives. XLA reads further notes,
# such as how devices share the work, and crashes where they are no such thing.
_NOTES = {
    "builtin.module": frozenset(
        ("jax.uses_shape_polymorphism", "mhlo.num_partitions", "mhlo.num_replicas")
    ),
    "func.func": frozenset(
        ("jax.global_constant", "jax.result_info", "tf.aliasing_output")
    ),
}


class Refused(Exception):
    """A program holds what none may hold."""


class Tensor(NamedTuple):
    """The type of an operand or a result; None is a size that is open."""

    shape: tuple
    dtype: str


def check(module: Any, exact=False, gpu=False) -> bool:
    """Refuse a program that could do more than compute.

    Args:
        module: an MLIR module, verified.
        exact: whether all sizes must be numbers.
        gpu: whether the program may come to run on a GPU.

    Returns:
        Whether it holds calls that must be checked for each set of shapes.

    Raises:
        Refused: it holds what none may.
    """
    found = [False]
    _walk(module.operation, 0, exact, gpu, found)
    _check_depth(module)
    return found[0]


def _check_depth(module):
    """Refuse functions that call themselves, by way of others or not, or are none."""
    calls: dict[str, set] = {}
    for function in module.body.operations:
        inner = calls.setdefault(function.attributes["sym_name"].value, set())
        if not function.regions[0].blocks:  # XLA would call what is not there
            raise Refused("holds a program with a function that has no body.")
        waiting = [function.operation]
        while waiting:
            op = waiting.pop()
            for name in ("callee", "decomposition"):
                if name in op.attributes:
                    inner.add(op.attributes[name].value)
            if op.name == "stablehlo.custom_call" and (
                "called_computations" in op.attributes
            ):
                inner.update(a.value for a in op.attributes["called_computations"])
            waiting += [o.operation for r in op.regions for b in r for o in b]
    if "main" not in calls:
        raise Refused("holds a program without a function to begin with.")
    for _ in range(_DEEPEST):  # take away what calls nothing more
        calls = {n: found & calls.keys() for n, found in calls.items() if found}
    if calls:
        raise Refused("holds a program with functions that call themselves.")


def _walk(op, depth, exact, gpu, found):
    if depth > _DEEPEST:
        raise Refused("holds a program that is nested too deeply.")
    name = op.name
    dialect, _, short = name.partition(".")
    known = short in _OPERATIONS if dialect == "stablehlo" else name in _STRUCTURE
    known = known and (name != "builtin.module" or depth == 0)
    if not known:
        raise Refused(f"holds a program with the operation {name[:80]!r}.")
    if short == "custom_call":
        found[0] |= _check_call(op, exact, gpu)
    else:
        _check_plain(op, name)
    for result in op.results:
        # Thousands of axes, each written out for each operation, take seconds.
        if getattr(result.type, "rank", 0) > bounds.AXES:
            raise Refused(f"holds a program with an array of {result.type.rank} axes.")
        text = str(result.type)
        sizes = map(int, re.findall(r"(\d+)x", text))
        if "#" in text or math.prod(sizes) > _LARGEST:
            raise Refused(f"holds a program with a value of type {text[:80]}.")
    for region in op.regions:
        for block in region:
            for inner in block:
                _walk(inner.operation, depth + 1, exact, gpu, found)


def _check_plain(op, name):
    attributes = {_name_of(a) for a in op.attributes}
    for key in attributes & {"arg_attrs", "res_attrs"}:
        attributes.update(_name_of(a) for values in op.attributes[key] for a in values)
    if any("." in a for a in attributes - _NOTES.get(name, frozenset())):
        raise Refused(f"holds a program with unknown attributes of {name!r}.")
    if name == "stablehlo.sort" and not _value(op, "is_stable"):
        raise Refused("holds a program with an unstable sort.")
    if name == "stablehlo.composite":
        composite = op.attributes["name"].value
        if not composite.startswith("chlo."):
            raise Refused(f"holds a program with the composite {composite[:80]!r}.")


def _name_of(attribute):
    return attribute if isinstance(attribute, str) else attribute.name


def _value(op, name, default: Any = None):
    return op.attributes[name].value if name in op.attributes else default


def _check_call(op, exact, gpu):
    """Check a `custom_call`; tell whether it is one of a signature."""
    target = _value(op, "call_target_name", "")
    shown = f"holds a program that calls {target[:80]!r}"
    operands = [_tensor(x.type, shown) for x in op.operands]
    results = [_tensor(x.type, shown) for x in op.results]
    unknown = {_name_of(a) for a in op.attributes} - _ATTRIBUTES
    noted = {a.name for a in op.attributes[_NOTED]} if _NOTED in op.attributes else {}
    if any("." in name for name in unknown) or noted not in ({}, {"num_batch_dims"}):
        raise Refused(f"{shown} with unknown attributes.")
    if target == "shape_assertion":
        # It writes its operands, after the first, in place of {0}, {1} and so on.
        text = _value(op, "error_message", "")
        fields = re.findall(r"\{(.*?)\}", text, re.DOTALL)
        if results or any(not n.isdigit() or int(n) > 31 for n in fields):
            raise Refused(f"{shown} with unknown arguments.")
        return False
    if target in _OPEN and not exact:
        return False
    if _NOT_RUN.fullmatch(target):
        if gpu:
            raise Refused(
                f"{shown}, whose shapes cannot be checked. Call it in a process that "
                "has no GPU: set the environment variable JAX_PLATFORMS=cpu."
            )
        return True
    key, dtype = _signature(target)
    if key is None:
        raise Refused(f"{shown}, which is not part of XLA that programs may use.")
    if unknown or _value(op, "has_side_effect", False):
        raise Refused(f"{shown} with unknown attributes.")
    operands = _without_sizes(op, operands, results, shown)
    settings = _settings(op, key, target, shown)
    if not any(
        _matches(_SIGNATURES[key], dtype, operands, results, sizes, exact)
        for sizes in _sizes(key, settings)
    ):
        raise Refused(
            f"{shown} with operands and results that do not fit: "
            f"{_written(operands)} -> {_written(results)}."
        )
    _check_aliases(op, operands, results, shown)
    if target not in _BY_XLA:
        flat = bool(_PERMUTATION.fullmatch(target))
        _check_layouts(op, _SIGNATURES[key], operands, results, flat, shown)
    return True


def _tensor(kind, shown):
    match = re.fullmatch(r"tensor<((?:(?:\d+|\?)x)*)([a-z]+\d*(?:<f\d+>)?)>", str(kind))
    if match is None:
        raise Refused(f"{shown} with a value of type {str(kind)[:80]}.")
    sizes = match[1].split("x")[:-1]
    return Tensor(tuple(None if n == "?" else int(n) for n in sizes), match[2])


def _written(tensors):
    return ", ".join(
        f"{t.dtype}[{', '.join('?' if n is None else str(n) for n in t.shape)}]"
        for t in tensors
    )


def _signature(target):
    """Return the key of a signature and the dtype of its numbers, None for any."""
    if match := _LAPACK.fullmatch(target):
        dtype, name = _KINDS[match[1]], _SAME.get(match[2], match[2])
        if name in ("geev", "gees"):
            name += " real" if match[1] in "sd" else " complex"
        known = name in _SIGNATURES and name not in ("eigh", "lu", "permutation")
        return (name, dtype) if known else (None, None)
    if match := _ON_GPU.fullmatch(target):
        return match[1], None
    if _PERMUTATION.fullmatch(target):
        return "permutation", "i32"
    return _BY_XLA.get(target), None


def _without_sizes(op, operands, results, shown):
    """Return the operands that are not shapes of results."""
    if "indices_of_shape_operands" not in op.attributes:
        return operands
    kept = len(operands) - len(results)
    shapes = operands[max(kept, 0) :]
    listed = list(op.attributes["indices_of_shape_operands"])
    if listed != list(range(kept, len(operands))) or any(
        len(t.shape) != 1 or t.dtype not in ("i32", "i64") for t in shapes
    ):
        raise Refused(f"{shown} with unknown shapes.")
    return operands[:kept]


def _settings(op, key, target, shown):
    """Return the attributes of a call by name, each with a value that it may have."""
    version = _value(op, "api_version", None)
    by_xla = target in _BY_XLA
    text = op.attributes["backend_config"] if "backend_config" in op.attributes else ""
    text = getattr(text, "value", text)
    pattern = r"[01],[01],\d{1,4},[\d.e-]{1,20}" if target == "Eigh" else ""
    if version not in ((None, 0, 1, 2) if by_xla else (None, 4)) or not (
        isinstance(text, str) and re.fullmatch(pattern, text)
    ):
        raise Refused(f"{shown} in an unknown way.")
    if "mhlo.backend_config" not in op.attributes:
        found = {}
    else:
        given = op.attributes["mhlo.backend_config"]
        found = {a.name: getattr(a.attr, "value", None) for a in given}
    bounds = _VALUES.get(key.split()[0], {})
    for name, value in found.items():
        allowed = bounds.get(name, ())
        if key == "gehrd" and name in ("low", "high"):
            allowed = (_first_size(op),) if name == "high" else (1,)
        if value not in allowed:
            raise Refused(f"{shown} with {name[:80]}={str(value)[:80]}.")
    return found


def _first_size(op):
    return op.operands[0].type.shape[-1]


def _sizes(key, settings):
    """Yield which axes the free letters of a signature may stand for."""
    if key == "trsm":
        yield {"s": "m" if settings.get("side") == ord("L") else "n"}
    elif key == "gesdd":
        mode = settings.get("mode")
        if mode in (ord("A"), ord("N")):
            yield {"u": "m", "v": "n"}
        if mode in (ord("S"), ord("N")):
            yield {"u": "k", "v": "k"}
    else:
        yield {}


def _matches(signature, dtype, operands, results, same, exact):
    """Tell whether operands and results are those of a signature."""
    wanted = [part.split() for part in signature.split("->")]
    if list(map(len, wanted)) != [len(operands), len(results)]:
        return False
    tensors = [*operands, *results]
    dtype = dtype or operands[0].dtype
    if dtype not in _REAL and dtype != "i32":
        return False
    batch: tuple | None = None
    sizes: dict[str, int | None] = {}
    for part, tensor in zip(sum(wanted, []), tensors, strict=True):
        kind, letters = part[0], part[2:-1]
        at = len(tensor.shape) - len(letters)
        if at < 0 or tensor.dtype != _dtype(kind, dtype):
            return False
        batch = tensor.shape[:at] if batch is None else batch
        if len(batch) != at or not all(map(_agree, batch, tensor.shape)):
            return False
        if exact and None in tensor.shape:
            return False
        for letter, size in zip(letters, tensor.shape[at:], strict=True):
            letter = same.get(letter, letter)
            if not _agree(_size(letter, sizes, size), size):
                return False
    m, n, p = (sizes.get(letter) for letter in "mnp")
    if signature == _SIGNATURES["orgqr"]:
        return None in (m, n, p) or m >= n >= p  # type: ignore[operator]
    if signature == _SIGNATURES["permutation"]:
        return None in (m, p) or m >= p  # type: ignore[operator]
    return True


def _size(letter, sizes, given):
    """Return the size that an axis must have: what was found, or else `given`."""
    if letter == "k":
        m, n = sizes["m"], sizes["n"]
        return None if m is None or n is None else min(m, n)
    if letter == "h":
        return None if sizes["n"] is None else sizes["n"] - 1
    if sizes.get(letter) is None:
        sizes[letter] = given
    return sizes[letter]


def _agree(a, b):
    return a is None or b is None or a == b


def _dtype(kind, dtype):
    real = _REAL.get(dtype)
    return {"x": dtype, "r": real, "c": f"complex<{real}>", "i": "i32"}[kind]


def _check_aliases(op, operands, results, shown):
    """Check that a result is written in place of an operand of its own type alone."""
    if "output_operand_aliases" not in op.attributes:
        return
    pattern = re.compile(
        r"#stablehlo\.output_operand_alias<output_tuple_indices = \[(\d*)\], "
        r"operand_index = (\d+), operand_tuple_indices = \[\]>"
    )
    taken = []
    for alias in op.attributes["output_operand_aliases"]:
        match = pattern.fullmatch(str(alias))
        pair = (int(match[1] or 0), int(match[2])) if match else (1 << 30, 0)
        fits = pair[0] < len(results) and pair[1] < len(operands)
        if not fits or results[pair[0]] != operands[pair[1]]:
            raise Refused(f"{shown} with unknown aliases.")
        taken.append(pair)
    if any(len(set(side)) < len(taken) for side in zip(*taken, strict=True)):
        raise Refused(f"{shown} with unknown aliases.")


def _check_layouts(op, signature, operands, results, flat, shown):
    """Check that matrices lie column by column, and all else as usual."""
    wanted = [part.split() for part in signature.split("->")]
    for name, parts, tensors in zip(
        ("operand_layouts", "result_layouts"), wanted, (operands, results), strict=True
    ):
        given = op.attributes[name] if name in op.attributes else ()
        layouts = [list(layout) for layout in given]
        for part, tensor, layout in zip(parts, tensors, layouts, strict=False):
            order = list(range(len(tensor.shape)))[::-1]
            if len(part[2:-1]) == 2 and not flat:
                order[:2] = order[1::-1]
            if layout != order:
                raise Refused(f"{shown} with unknown layouts.")
        if len(layouts) < len(parts):
            raise Refused(f"{shown} without layouts.")
