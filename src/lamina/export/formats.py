"""Formats of exported programs that there are not, and what takes their place."""

_INSTEAD = {
    "onnx": (
        "an ONNX file holds one function; use `model.export(path, format='onnx')` for "
        "each model"
    ),
    "tf_saved_model": (
        "it needs TensorFlow; use 'stablehlo', which `lamina.export.load` opens and "
        "JAX runs, or 'onnx' for other programs"
    ),
    "openvino": "use 'onnx', which OpenVINO reads",
    "litert": "use 'onnx' for ONNX Runtime on small devices, or 'stablehlo'",
    "torch": "use 'onnx' or 'stablehlo'",
}


def check(owner, format, known):
    """Refuse a format that there is not, and say what to use.

    Args:
        owner: who was asked for it, for messages.
        format: the name.
        known: a table of those that there are, by name.

    Raises:
        ValueError: the format is not among them.
    """
    if not isinstance(format, str) or format not in known:
        instead = _INSTEAD.get(format) if isinstance(format, str) else None
        raise ValueError(
            f"`{owner}` expected `format` to be {' or '.join(map(repr, known))}. "
            f"Received: format={format!r}" + (f" ({instead})" if instead else "")
        )
