"""`Model.export`: which formats there are, and what takes the place of others."""

from lamina.export import onnx, signature
from lamina.export.archive import ExportArchive

_INSTEAD = {
    "tf_saved_model": (
        "it needs TensorFlow; use 'stablehlo', which `lamina.export.load` opens and "
        "JAX runs, or 'onnx' for other programs"
    ),
    "openvino": "use 'onnx', which OpenVINO reads",
    "litert": "use 'onnx' for ONNX Runtime on small devices, or 'stablehlo'",
    "torch": "use 'onnx' or 'stablehlo'",
}


def export_model(model, filepath, format, verbose, input_signature, kwargs):
    """Write a model as a program, see `Model.export`."""
    if format not in ("stablehlo", "onnx"):
        refuse("export", format)
    if not model.built:
        raise ValueError(
            f"Model {model.name!r} must be built before it is exported: its weights "
            "are not known yet. Call it on data first."
        )
    if input_signature is None:
        input_signature = signature.signature_of(model)
    _check_text(model)
    if format == "onnx":
        onnx.write(model, filepath, input_signature, bool(verbose), **kwargs)
        return
    archive = ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model, input_signature, **kwargs)
    archive.write_out(filepath, verbose=bool(verbose))


def refuse(owner, format, kwargs=()):
    """Raise for a format that there is not.

    Raises:
        ValueError: always; it says what to use.
    """
    if kwargs:
        raise ValueError(f"`{owner}` has no arguments {sorted(kwargs)}.")
    instead = _INSTEAD.get(format) if isinstance(format, str) else None
    raise ValueError(
        f"`{owner}` expected `format` to be 'stablehlo' or 'onnx'. "
        f"Received: format={format!r}" + (f" ({instead})" if instead else "")
    )


def _check_text(model):
    found = [
        layer
        for layer in model._flatten_layers()
        if getattr(type(layer), "_takes_text", False)
    ]
    inputs = getattr(model._graph, "inputs", ()) if model._graph is not None else ()
    if any(t.dtype == "string" for t in inputs) or model._takes_text:
        names = ", ".join(repr(layer.name) for layer in found) or "its first layers"
        raise ValueError(
            f"Model {model.name!r} has layers that run in Python, as those that take "
            f"text do ({names}), and cannot be exported whole. Export the part after "
            "these layers, `lamina.Model(layer.output, model.output)`, and run the "
            "layers before it."
        )
