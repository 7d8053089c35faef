"""ONNX files, through jax2onnx: the model is traced here and converted there."""

import contextlib
import logging
import re
import sys

import jax
import numpy as np
from jax.extend.core import jaxpr_as_fun

from lamina.core import structure
from lamina.core.extras import extra
from lamina.core.files import replacing, writable
from lamina.core.variable import marked
from lamina.export import plain, signature

# How far the file's outputs may be from the model's, in parts of the largest output;
# the other number is for models that compute in half precision anywhere.
_NEAR, _NEAR_HALF = 1e-4, 1e-2


def write(model, filepath, input_signature, verbose, **kwargs):
    """Write a model as an ONNX file, and prove that it computes the same.

    Args:
        model: the model.
        filepath: where to.
        input_signature: as for `Model.export`.
        verbose: whether to print where it is.
        kwargs: `opset_version`, an integer.

    Raises:
        ImportError: jax2onnx is not installed.
        ValueError: a part of the model has no form in ONNX; the message names it.
    """
    opset = kwargs.pop("opset_version", None)
    signature.check_arguments("export", kwargs, "opset_version")
    jax2onnx = _package("jax2onnx")
    path = writable(filepath)
    specs = signature.checked("export", input_signature)
    gives = []

    def trace(specs):
        def program(*leaves):
            outputs = signature.called(model, structure.pack_like(specs, leaves))
            gives[:] = [outputs]
            return tuple(structure.flatten(outputs))

        leaves = structure.flatten(specs)
        with marked("named"):
            return plain.form(jax.make_jaxpr(program)(*leaves)), leaves

    closed, leaves = signature.traced("export", specs, trace)
    _check_dtypes(closed)
    names = {
        "input_names": signature.input_names(specs, model),
        "output_names": signature.output_names(gives[0], model),
    }
    names["output_names"] = [
        f"{n}_output" if n in names["input_names"] else n for n in names["output_names"]
    ]
    if opset is not None:
        names["opset"] = opset
    try:
        with _quiet(), _unpatched():
            proto = jax2onnx.to_onnx(
                jaxpr_as_fun(closed), leaves, model_name=model.name, **names
            )
            data = proto.SerializeToString()
    except Exception as error:
        raise ValueError(_refusal(model, specs, closed, error)) from error
    _prove(model, specs, data, _NEAR_HALF if _is_half(closed) else _NEAR)
    with replacing(path) as file:
        file.write(data)
    if verbose:
        print(f"Saved at {str(path)!r}: an ONNX model.")


def _package(name):
    return extra(name, '`export(format="onnx")`', "lamina[export]")


@contextlib.contextmanager
def _quiet():
    """Keep the converter's notes on its own work off the screen."""
    loggers = [logging.getLogger(name) for name in ("onnx_ir", "jax2onnx")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _unpatched():
    """Put back the functions of JAX that the converter replaces and forgets."""
    modules = [m for n, m in list(sys.modules.items()) if n.partition(".")[0] == "jax"]
    before = [(vars(module), dict(vars(module))) for module in modules]
    try:
        yield
    finally:
        for now, then in before:
            now.update(
                {k: v for k, v in then.items() if callable(v) and now.get(k) is not v}
            )


def _check_dtypes(closed):
    found = [
        (path, str(variable.aval.dtype))
        for path, eqn in plain.equations(closed.jaxpr)
        for variable in eqn.outvars
        if str(variable.aval.dtype).startswith(("bfloat16", "float8"))
    ]
    if found:
        path, dtype = max(found, key=lambda one: one[0].count("/"))
        raise ValueError(
            f"`export` to ONNX cannot write {_layer(path)}, which computes in {dtype}: "
            "ONNX Runtime has no such arithmetic. Make the model with "
            "`dtype='float32'`, load the weights into it, and export it."
        )


def _layer(path):
    path = re.sub(r"/?\w+\(\)", "", path)  # what JAX itself adds, such as `vmap()`
    return f"layer {path!r}" if path else "the model"


def _refusal(model, specs, closed, error):
    """Say in one sentence what stands in the way of a conversion."""
    text = (str(error).strip().splitlines() or [""])[0]
    start = f"Model {model.name!r} cannot be exported to ONNX"
    shapes = [tuple(x.shape) for x in structure.flatten(specs)]
    if signature.about_sizes(error) and any(None in s[1:] for s in shapes):
        return (
            f"{start} with open sizes beyond the first axis: {shapes}. Give "
            "`input_signature` with numbers in place of None, or use "
            f"`format='stablehlo'`. jax2onnx says: {text}"
        )
    made = {eqn.primitive.name: at for at, eqn in plain.equations(closed.jaxpr)}
    words = re.findall(r"primitive '(\w+)'", text) + re.findall(r"\w+", text)
    name = next((word for word in words if word in made), None)
    if name is None:
        return f"{start}: jax2onnx says {type(error).__name__}: {text}"
    return (
        f"{start}: jax2onnx cannot write the primitive {name!r} as "
        f"{_layer(made[name])} uses it; `format='stablehlo'` can. It says: {text}"
    )


def _is_half(closed):
    made = (v.aval.dtype for _, e in plain.equations(closed.jaxpr) for v in e.outvars)
    return any(dtype == "float16" for dtype in made)


def _prove(model, specs, data, near):
    """Raise unless ONNX Runtime computes what the model computes."""
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ValueError(
            f"Model {model.name!r} cannot be exported to ONNX: ONNX Runtime refuses "
            f"the file: {str(error).strip().splitlines()[0]}"
        ) from error
    given = _examples(specs)
    try:
        expected = structure.flatten(
            jax.jit(lambda *x: signature.called(model, x))(*given)
        )
    except Exception:
        return  # the open sizes have a meaning that examples miss
    feed = {
        node.name: np.asarray(x)
        for node, x in zip(session.get_inputs(), structure.flatten(given), strict=True)
    }
    for node, a, b in zip(
        session.get_outputs(), expected, session.run(None, feed), strict=True
    ):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape or not _alike(a, b, near):
            raise ValueError(
                f"Model {model.name!r} cannot be exported to ONNX: the file would give "
                f"other numbers at {node.name!r} than the model does. Use "
                "`format='stablehlo'`."
            )


def _examples(specs):
    """Return arrays for a signature: 3 rows, and 8 for other open sizes."""
    random = np.random.default_rng(0)

    def leaf(x):
        sizes = (3 if axis == 0 else 8 for axis in range(len(x.shape)))
        shape = [d if d is not None else n for d, n in zip(x.shape, sizes, strict=True)]
        if np.issubdtype(x.dtype, np.integer) or x.dtype == bool:
            return random.integers(0, 2, shape).astype(x.dtype)
        return random.normal(size=shape).astype(x.dtype)

    return [structure.map_leaves(leaf, x) for x in specs]


def _alike(a, b, near):
    if a.dtype != b.dtype:
        return False
    if a.size == 0 or not np.issubdtype(a.dtype, np.floating):
        return bool(np.array_equal(a, b))
    wide = a.astype("float64")
    scale = max(1.0, float(np.nanmax(np.abs(wide), initial=0.0)))
    return np.allclose(wide, b.astype("float64"), 0, near * scale, equal_nan=True)
