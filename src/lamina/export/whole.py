"""`Model.export`: a whole model as a program, in one of the formats."""

from lamina.core.operation import graph_of, takes_text
from lamina.export import formats, onnx, signature
from lamina.export.archive import ExportArchive


def export_model(model, filepath, format, verbose, input_signature, kwargs):
    """Write a model as a program, see `Model.export`."""
    if format is None:
        format = "onnx" if str(filepath).lower().endswith(".onnx") else "stablehlo"
    formats.check("export", format, _WRITERS)
    if not model.built:
        raise ValueError(
            f"Model {model.name!r} must be built before it is exported: its weights "
            "are not known yet. Call it on data first."
        )
    if input_signature is None:
        input_signature = signature.signature_of(model)
    _check_host(model)
    _WRITERS[format](model, filepath, input_signature, bool(verbose), **kwargs)


def _stablehlo(model, filepath, input_signature, verbose, **kwargs):
    archive = ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model, input_signature, **kwargs)
    archive.write_out(filepath, verbose=verbose)


_WRITERS = {"stablehlo": _stablehlo, "onnx": onnx.write}


<<<<<<< .merge_file_Mr7kSB
def _check_text(model):
    found = [layer for layer in model._flatten_layers() if takes_text(type(layer))]
    inputs = getattr(graph_of(model), "inputs", ())
    if any(t.dtype == "string" for t in inputs) or takes_text(model):
=======
def _having(model, mark):
    """Return the layers whose class has a mark."""
    return [x for x in model._flatten_layers() if getattr(type(x), mark, False)]


def _check_host(model):
    for layer in _having(model, "_other_engine"):
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) computes in "
            f"{layer._other_engine}, and a program that runs without the model's code "
            "cannot. Export the parts before and after it, or write the layer in JAX."
        )
    found = _having(model, "_takes_text")
    inputs = getattr(model._graph, "inputs", ()) if model._graph is not None else ()
    if any(t.dtype == "string" for t in inputs) or model._takes_text:
>>>>>>> .merge_file_Eq7jpC
        names = ", ".join(repr(layer.name) for layer in found) or "its first layers"
        raise ValueError(
            f"Model {model.name!r} has layers that run in Python, as those that take "
            f"text do ({names}), and cannot be exported whole. Export the part after "
            "these layers, `lamina.Model(layer.output, model.output)`, and run the "
            "layers before it."
        )
