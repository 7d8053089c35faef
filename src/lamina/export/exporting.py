"""`Model.export`: a whole model as a program, in one of the formats."""

from lamina.core.operation import graph_of, takes_text
from lamina.core.owner import layers_in
from lamina.export import formats, onnx, signature
from lamina.export.archive import ExportArchive
from lamina.layers.foreign import other_engine
from lamina.training.together import gathered


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
    with gathered(model.variables) as first:
        if first:
            write = _WRITERS[format]
            write(model, filepath, input_signature, bool(verbose), **kwargs)


def _stablehlo(model, filepath, input_signature, verbose, **kwargs):
    archive = ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model, input_signature, **kwargs)
    archive.write_out(filepath, verbose=verbose)


_WRITERS = {"stablehlo": _stablehlo, "onnx": onnx.write}


def _check_host(model):
    layers = layers_in(model)
    for layer in layers:
        if engine := other_engine(layer):
            raise ValueError(
                f"Layer {layer.name!r} ({type(layer).__name__}) computes in {engine}, "
                "and a program that runs without the model's code cannot. Export the "
                "parts before and after it, or write the layer in JAX."
            )
    found = [layer for layer in layers if takes_text(type(layer))]
    inputs = getattr(graph_of(model), "inputs", ())
    if any(t.dtype == "string" for t in inputs) or takes_text(model):
        names = ", ".join(repr(layer.name) for layer in found) or "its first layers"
        raise ValueError(
            f"Model {model.name!r} has layers that run in Python, as those that take "
            f"text do ({names}), and cannot be exported whole. Export the part after "
            "these layers, `lamina.Model(layer.output, model.output)`, and run the "
            "layers before it."
        )
