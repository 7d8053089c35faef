"""Text on the host, and vocabularies in files."""

import os
import pathlib

import numpy as np
from jax.core import Tracer

from lamina.core.context import context


def text_array(inputs, layer) -> np.ndarray:
    """Return an array of text on the host.

    Raises:
        TypeError: it is no text.
        ValueError: it is a list of rows of different lengths.
    """
    if isinstance(inputs, Tracer):
        layer._refuse_trace()
    try:
        array = np.asarray(inputs)
    except ValueError as error:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) takes arrays of text. "
            "Received rows of different lengths; ragged tensors are not supported. Pad "
            "the rows with the mask token."
        ) from error
    kind = array.dtype.kind
    if kind == "O" and all(isinstance(x, (str, bytes)) for x in array.flat):
        return array
    if kind not in "UST" and array.size:
        raise TypeError(
            f"Layer {layer.name!r} ({type(layer).__name__}) takes text. Received: "
            f"dtype={array.dtype}, shape={array.shape}"
        )
    return array


def words(array, encoding) -> list:
    """Return the entries of an array of text as a flat list of `str`."""
    found = array.ravel().tolist()
    if array.dtype.kind == "U":
        return found
    return [
        x.decode(encoding, "surrogateescape") if isinstance(x, bytes) else x
        for x in found
    ]


def refuse_path(config) -> None:
    """Raise for a config whose vocabulary is to be read from somewhere.

    Raises:
        ValueError: it is, and nobody said that the config is to be trusted.
    """
    if isinstance(config.get("vocabulary"), (str, os.PathLike)):
        _refuse_opening(config["vocabulary"], context.safe_mode is not False)


def _refuse_opening(path, refused):
    if refused:
        raise ValueError(
            "Requested the loading of a vocabulary file outside of the model archive: "
            f"{str(path)!r}. What a config or a model file says must not open files; "
            "models keep their vocabularies in the archive. If you trust where it "
            "comes from, pass `safe_mode=False` to the call that loads it."
        )


def read_vocabulary(path, encoding, term) -> list:
    """Return the terms in a text file, one from each line.

    Raises:
        ValueError: there is no such file, or a model file that is being loaded asks.
    """
    loading = context.shared is not None
    _refuse_opening(path, loading and context.safe_mode is not False)
    if not pathlib.Path(path).is_file():
        raise ValueError(f"Vocabulary file {path} does not exist.")
    return [term(line) for line in lines_of(pathlib.Path(path), encoding)]


def lines_of(path, encoding):
    """Return the lines of a file, without empty ones at its end."""
    text = path.read_bytes().decode(encoding, "surrogateescape")
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1]:
        lines.pop()
    return lines
