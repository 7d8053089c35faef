"""What layers with a vocabulary share, text on the host, and vocabularies in files."""

import os
import pathlib

import numpy as np
from jax.core import Tracer

from lamina.core.arguments import family
from lamina.core.checks import number
from lamina.core.context import context
from lamina.layers.preprocessing.data_layer import Adapting
from lamina.layers.preprocessing.encoding import EncodingLayer


@family
class VocabularyLayer(Adapting, EncodingLayer):
    """Turns terms into indices of a vocabulary that it is given or learns.

    Args:
        max_tokens: the largest size of the vocabulary, special tokens included.
        num_oov_indices: how many indices unknown ones are spread over.
        mask_token: the one whose index is 0, for padding.
        oov_token: what an unknown index becomes when `invert` is set.
        vocabulary: its terms in order, or the path of a file with one on each line.
        idf_weights: the weight of each term, for mode `"tf_idf"`.
        invert: turn indices into terms.
        pad_to_max_tokens: whether vectors have `max_tokens` entries in any case.
        oov_method: how unknown ones are spread: `"floormod"` by their remainder,
            `"farmhash"` by a hash.
        salt: an integer or two, the key of the hash of unknown ones.

    Raises:
        ValueError: arguments that do not go together.
    """

    _takes_text = True
    _MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")
    _elements_are_samples = True
    encoding = "utf-8"

    def __init__(
        self, max_tokens: int | None = None, pad_to_max_tokens: bool = False, **kwargs
    ):
        super().__init__(**kwargs)
        if max_tokens is not None:
            number(self, "max_tokens", max_tokens, least=2)
        elif pad_to_max_tokens:
            raise ValueError(
                "If pad_to_max_tokens is True, must set `max_tokens`. Received: "
                "max_tokens=None"
            )
        self.max_tokens, self.pad_to_max_tokens = max_tokens, pad_to_max_tokens

    def _refuse_trace(self):
        raise TypeError(
            f"Layer {self.name!r} ({type(self).__name__}) works on the host and cannot "
            "be part of a compiled step. In a `Functional` model it may follow inputs "
            "directly; elsewhere apply it to the data before, or to the outputs after."
        )

    @classmethod
    def from_config(cls, config):
        """Make a layer from its config; opens no file that nobody said to trust."""
        if isinstance(config.get("vocabulary"), (str, os.PathLike)):
            _refuse_opening(config["vocabulary"])
        return super().from_config(config)


shared = VocabularyLayer._arguments


def text_array(inputs, layer) -> np.ndarray:
    """Return an array of text on the host, or raise: `inputs` are none."""
    if isinstance(inputs, Tracer):
        layer._refuse_trace()
    named = f"Layer {layer.name!r} ({type(layer).__name__})"
    try:
        array = np.asarray(inputs)
    except ValueError as error:
        raise ValueError(
            f"{named} takes arrays of text. Received rows of different lengths; ragged "
            "tensors are not supported. Pad the rows with the mask token."
        ) from error
    types = set(map(type, array.ravel().tolist())) if array.dtype == object else {int}
    text = array.dtype.kind in "UST" or all(issubclass(t, (str, bytes)) for t in types)
    if array.size and not text:
        raise TypeError(
            f"{named} takes text. Received: dtype={array.dtype}, shape={array.shape}"
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


def _refuse_opening(path):
    if context.configs.safe_mode is not False:
        raise ValueError(
            "Requested the loading of a vocabulary file outside of the model archive: "
            f"{str(path)!r}. What a config or a model file says must not open files; "
            "models keep their vocabularies in the archive. If you trust where it "
            "comes from, pass `safe_mode=False` to the call that loads it."
        )


def read_vocabulary(path, encoding, term) -> list:
    """Return the terms in a text file, one from each line."""
    around = context.configs
    if around.budget is not None or around.shared is not None:  # while configs are read
        _refuse_opening(path)
    if not pathlib.Path(path).is_file():
        raise ValueError(f"Vocabulary file {path} does not exist.")
    found = lines_of(pathlib.Path(path), encoding)
    if not found:
        raise ValueError(f"Vocabulary file {path} holds no term.")
    try:
        return [term(line) for line in found]
    except ValueError as error:
        raise ValueError(
            f"Vocabulary file {path} holds a line that is not a term: {error}"
        ) from None


def lines_of(path, encoding):
    """Return the lines of a file, without empty ones at its end."""
    text = path.read_bytes().decode(encoding, "surrogateescape")
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1]:
        lines.pop()
    return lines
