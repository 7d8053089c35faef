"""Layers that turn words, or numbers that stand for something, into indices.

They work on the host, in NumPy: strings never reach a device, and 64-bit numbers keep
all their bits.
"""

import collections
import itertools
import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.core import Tracer

from lamina.core import bounds, settings
from lamina.core.checks import number, one_of
from lamina.core.context import context
from lamina.core.symbolic import SymbolicTensor
from lamina.core.types import Sizes
from lamina.layers.owner import NOT_OWNED
from lamina.layers.preprocessing.hashing import hashes, key_of
from lamina.layers.preprocessing.vocabulary import (
    VocabularyLayer,
    lines_of,
    read_vocabulary,
)

_FILE, _LOSSLESS = "vocabulary.txt", "vocabulary.json"
# What a list of texts or numbers holds outside of its texts, and what it never does.
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"')


class Lookup(VocabularyLayer):
    """What `StringLookup` and `IntegerLookup` share: all but how a token is found.

    A vocabulary begins with the mask token (mode `"int"` alone), then come
    `num_oov_indices` places for unknown tokens, then the terms.
    """

    vocabulary_dtype = "string"
    _learns = property(lambda self: not self._fixed)
    # Long, and without a layer in them.
    _LONG = {"_tokens", "_table", "_counts", "_documents", "vocabulary"}
    _not_owned = NOT_OWNED | _LONG
    _token_start = property(lambda self: self._oov_start + self.num_oov_indices)
    _tokens: list
    # How each kind keeps its tokens, reads data and finds tokens.
    _set_tokens: Any
    _term: Any
    _terms: Any
    _read: Any
    _places: Any

    def __init__(
        self,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Sequence | np.ndarray | str | None,
        idf_weights: Sequence[float] | None,
        invert: bool,
        salt: Sizes | None,
        oov_method: str = "floormod",
        **kwargs,
    ):
        known_size = kwargs.pop("vocabulary_size", None)
        fixed = kwargs.pop("has_input_vocabulary", vocabulary is not None)
        super().__init__(**kwargs)
        ways = ("floormod", "farmhash")
        self.oov_method = one_of(self, "oov_method", oov_method, ways)
        self.num_oov_indices = number(self, "num_oov_indices", num_oov_indices, least=0)
        self.mask_token, self.oov_token, self.invert = mask_token, oov_token, invert
        if self.invert and self.output_mode != "int":
            raise ValueError(
                "`output_mode` must be `'int'` when `invert` is true. Received: "
                f"output_mode={self.output_mode!r}"
            )
        hashes = self.vocabulary_dtype == "string" or self.oov_method == "farmhash"
        if salt is not None and not hashes:
            raise ValueError(
                "`salt` can only be used when `oov_method='farmhash'`. Received: "
                f"oov_method={self.oov_method!r}"
            )
        self.salt = key_of(self, salt)
        # What the constructor was given; a file's terms are saved beside the config.
        given = not isinstance(vocabulary, (str, os.PathLike, type(None)))
        self.vocabulary = self._terms(vocabulary) if given else None
        given = idf_weights is not None
        self._given_idf = np.asarray(idf_weights).tolist() if given else None
        self._fixed = fixed
        # From a config: the graph is drawn before the vocabulary is read.
        start = self._token_start
        self._known_size = known_size if (known_size or 0) > start else None
        self.idf_weights = None
        self._set_tokens([])
        self.reset_state()
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)
        elif idf_weights is not None:
            self._check_idf(idf_weights)

    # ---- the vocabulary ------------------------------------------------------

    @property
    def _oov_start(self):
        return int(self.mask_token is not None and self.output_mode == "int")

    @property
    def _special(self):
        unknown = [self.oov_token] * self.num_oov_indices
        return [self.mask_token] * self._oov_start + unknown

    def get_vocabulary(self, include_special_tokens=True) -> list:
        """Return the terms in the order of their indices, special ones first or not."""
        special = self._special if include_special_tokens and self._tokens else []
        return special + self._tokens

    def vocabulary_size(self) -> int:
        """Return the number of indices, those of special tokens among them."""
        return self._token_start + len(self._tokens)

    def set_vocabulary(self, vocabulary, idf_weights=None):
        """Take a vocabulary in place of the present one.

        Args:
            vocabulary: its terms in order, with all special tokens in front or with
                none; or the path of a text file with a term on each line.
            idf_weights: the weight of each term, in mode `"tf_idf"` only.

        Raises:
            ValueError: it is empty, too long, or a term comes twice; a special token
                stands among the terms; weights are missing or not asked for.
            RuntimeError: a graph was drawn with a vocabulary of another size.
        """
        self._check_idf(idf_weights)
        if isinstance(vocabulary, (str, os.PathLike)):
            if self.output_mode == "tf_idf":
                raise ValueError(
                    "output_mode `'tf_idf'` does not support loading a vocabulary from "
                    "file: read it into a list and give `idf_weights` with it."
                )
            self._take_tokens(read_vocabulary(vocabulary, self.encoding, self._term))
            return
        terms = self._terms(vocabulary)
        if not terms:
            raise ValueError(
                f"Cannot set an empty vocabulary. Received: vocabulary={vocabulary!r}"
            )
        start, special = self._token_start, self._special
        with_special = terms[:start] == special
        tokens = terms[start:] if with_special else terms
        reserved = ("mask", self.mask_token), ("OOV", self.oov_token)
        for kind, token in reserved if self.invert else reserved[:1]:
            if token is not None and token in tokens:
                raise ValueError(
                    f"Found reserved {kind} token at unexpected location in "
                    "`vocabulary`. Leave all mask and OOV tokens out of it, or have "
                    f"them at its start in precisely this order: {special}. Received: "
                    f"{token!r} at index {terms.index(token, len(terms) - len(tokens))}"
                )
        if idf_weights is not None and len(idf_weights) != len(terms):
            raise ValueError(
                "`idf_weights` must be the same length as vocabulary. len(idf_weights) "
                f"is {len(idf_weights)}; len(vocabulary) is {len(terms)}"
            )
        self._take_tokens(tokens)
        if self.output_mode == "tf_idf":
            self._set_idf(idf_weights, 0 if with_special else start)

    def _check_idf(self, idf_weights):
        if self.output_mode == "tf_idf" and idf_weights is None:
            raise ValueError(
                "`idf_weights` must be set if output_mode is 'tf_idf' and a vocabulary "
                "is given."
            )
        if self.output_mode != "tf_idf" and idf_weights is not None:
            raise ValueError(
                "`idf_weights` should only be set if `output_mode` is `'tf_idf'`. "
                f"Received: output_mode={self.output_mode!r} and "
                f"idf_weights={idf_weights!r}"
            )

    def _take_tokens(self, tokens):
        repeated = [t for t, n in collections.Counter(tokens).items() if n > 1]
        if repeated:
            raise ValueError(
                "The passed vocabulary has at least one repeated term. The repeated "
                f"terms are: {repeated[:20]!s:.1000}"
            )
        size, most = self._token_start + len(tokens), self.max_tokens
        if most is not None and size > most:
            raise ValueError(
                "Attempted to set a vocabulary larger than the maximum vocab size. "
                f"Received vocabulary size is {size}; `max_tokens` is {most}."
            )
        self._set_tokens(tokens)
        self._keep_size()

    def _keep_size(self):
        """Note the size that one more vector has; raise if a graph knows another."""
        size = self.vocabulary_size()
        drawn = self._known_size if self._inbound_nodes else None
        fixed = self.output_mode != "int" and not self.pad_to_max_tokens
        if fixed and drawn not in (None, size):
            raise RuntimeError(
                f"When using `output_mode={self.output_mode}` and "
                "`pad_to_max_tokens=False`, the vocabulary size cannot be changed "
                f"after the layer is called. Old vocab size is {drawn}, new vocab size "
                f"is {size}"
            )
        self._known_size = size

    def _set_idf(self, weights, padding):
        """Keep the terms' weights; what has none gets their mean, padding gets 0."""
        weights = np.asarray(weights, settings.floatx())
        if weights.ndim != 1:
            raise ValueError(
                "`idf_weights` must be a list of numbers, one for each term. Received: "
                f"shape {weights.shape}"
            )
        weights = np.pad(weights, (padding, 0), constant_values=weights.mean())
        if self.pad_to_max_tokens and self.max_tokens:
            weights = np.pad(weights, (0, self.max_tokens - len(weights)))
        self.idf_weights = weights

    # ---- learning it ---------------------------------------------------------

    def update_state(self, data):
        """Count the tokens of one batch, a row being one document."""
        tokens, shape = self._read(data)
        rows = shape[0] if len(shape) > 1 else 1
        self._count(tokens, [len(tokens) // max(rows, 1)] * rows)

    def _count(self, tokens, lengths, places=None):
        """Count the tokens of documents of some lengths, given one after the other.

        With `places`, `tokens` are the different ones, and those say where each is.
        """
        if self._fixed:
            raise ValueError(
                f"Cannot adapt layer {self.name!r} after setting a static vocabulary "
                "via the `vocabulary` argument."
            )
        following = iter(tokens)
        if places is None:
            self._counts.update(tokens)
        else:
            often = np.bincount(places, minlength=len(tokens)).tolist()
            self._counts.update(dict(zip(tokens, often, strict=True)))
            following = map(tokens.__getitem__, places)
        if self.output_mode == "tf_idf":
            for length in lengths:
                self._documents.update(set(itertools.islice(following, length)))
            self._rows += len(lengths)

    def finalize_state(self):
        if self._fixed or not self._counts:
            self._keep_size()
            return
        counts = self._counts
        for token in (self.mask_token, self.oov_token):
            counts.pop(token, None)
        tokens = sorted(counts, reverse=True)
        tokens.sort(key=counts.__getitem__, reverse=True)
        if self.max_tokens is not None:
            tokens = tokens[: self.max_tokens - self._token_start]
        self._set_tokens(tokens)
        if self.output_mode == "tf_idf":
            within = np.array([self._documents[t] for t in tokens])
            self._set_idf(np.log(1 + self._rows / (1 + within)), self._token_start)
        self.reset_state()
        self._keep_size()

    def reset_state(self):
        self._counts, self._documents = collections.Counter(), collections.Counter()
        self._rows = 0

    # ---- looking up ----------------------------------------------------------

    @property
    def input_dtype(self):
        """The dtype of its inputs."""
        return "int64" if self.invert else self.vocabulary_dtype

    def call(self, inputs):
        self._check_vocabulary()
        if self.invert:
            return self._tokens_at(inputs)
        return self._encoded(self._indices(inputs), idf=self.idf_weights)

    def _check_vocabulary(self):
        if not self._tokens:
            raise RuntimeError(
                f"When using `output_mode={self.output_mode}` and "
                f"`pad_to_max_tokens={self.pad_to_max_tokens}`, layer {self.name!r} "
                f"({type(self).__name__}) needs a vocabulary before it is called. Pass "
                "`vocabulary`, or call `adapt` with some data."
            )

    @property
    def _depth(self):
        return self.max_tokens if self.pad_to_max_tokens else self._known_size

    @property
    def _output_dtype(self):
        return "int64" if self.output_mode == "int" else self.compute_dtype

    def _indices(self, inputs):
        tokens, shape = self._read(inputs)
        return self._found(tokens).reshape(shape)

    def _found(self, tokens):
        """Return the indices of tokens; masked ones are -1 but in mode `"int"`."""
        places = self._places(tokens)
        indices, missing = places + self._token_start, places < 0
        if self.mask_token is not None and missing.any():
            listed = isinstance(tokens, list)
            masked = (np.array(tokens, object) if listed else tokens) == self.mask_token
            indices = np.where(masked, self._oov_start - 1, indices)
            missing &= ~masked
        if missing.any():
            where = np.flatnonzero(missing)
            indices[where] = self._oov_start
            if self.num_oov_indices != 1:
                indices[where] += self._buckets([tokens[i] for i in where])
        return indices

    def _buckets(self, unknown):
        """Return which of the places for unknown tokens each of some gets."""
        if not (count := self.num_oov_indices):
            raise ValueError(
                "When `num_oov_indices=0` all inputs should be in vocabulary, found "
                f"OOV values {list(dict.fromkeys(unknown))[:10]}, consider setting "
                "`num_oov_indices=1`."
            )
        if self.vocabulary_dtype != "string" and self.oov_method == "floormod":
            return np.asarray(unknown) % count
        texts = [str(t).encode("utf-8", "surrogateescape") for t in unknown]
        hashed = hashes(np.array(texts, object), self.salt)
        return (hashed % np.uint64(count)).astype("int64")

    def _tokens_at(self, indices):
        if isinstance(indices, Tracer):
            self._refuse_trace()
        indices = np.asarray(indices).astype("int64")
        places = indices - self._token_start
        known = (places >= 0) & (places < len(self._tokens))
        found = np.full(places.shape, self.oov_token, object)
        found[known] = np.array(self._tokens, object)[places[known]]
        if self.mask_token is not None:
            found[indices == 0] = self.mask_token
        return found

    def compute_output_spec(self, inputs):
        if self.output_mode == "int":
            dtype = self.vocabulary_dtype if self.invert else self._output_dtype
            return SymbolicTensor(inputs.shape, dtype)
        if self._depth is None:
            self._check_vocabulary()
        return super().compute_output_spec(inputs)

    # ---- saving --------------------------------------------------------------

    def get_config(self):
        config = super().get_config()
        config["idf_weights"] = self._given_idf
        config["vocabulary_size"] = self._known_size
        held = context.configs.references
        if held is not None and held.things and not self._fixed and self._tokens:
            # A copy within the process has no archive to find the terms in.
            config["vocabulary"] = self.get_vocabulary()
            config["has_input_vocabulary"] = False
            if (idf := self.idf_weights) is not None:
                config["idf_weights"] = idf[: self.vocabulary_size()].tolist()
        return config

    def save_own_variables(self, store):
        if self.idf_weights is not None:
            store["idf_weights"] = self.idf_weights

    def load_own_variables(self, store):
        if "idf_weights" in store:
            self.idf_weights = np.asarray(store["idf_weights"])

    def save_assets(self, dir_path):
        if self.vocabulary is not None:
            return
        terms, folder = self.get_vocabulary(), pathlib.Path(dir_path)
        text = "\n".join(lines := [str(term) for term in terms])
        (folder / _FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
        if text.splitlines() != lines:  # a term holds a line break
            (folder / _LOSSLESS).write_text(json.dumps(terms), "utf-8")

    def load_assets(self, dir_path):
        if self.vocabulary is not None:
            return
        lossless = pathlib.Path(dir_path, _LOSSLESS)
        if lossless.is_file():
            lines = _flat_list(lossless)
        else:
            path = pathlib.Path(dir_path, _FILE)
            _check_count(path.read_bytes().count(b"\n"))
            lines = lines_of(path, "utf-8")
        terms, start = [self._term(line) for line in lines], self._token_start
        if terms:
            special = terms[:start] == self._special
            self._take_tokens(terms[start:] if special else terms)
        if self.idf_weights is not None and len(self.idf_weights) != self._depth:
            raise ValueError(
                f"Layer {self.name!r} has a vocabulary of {self._depth} entries and "
                f"{len(self.idf_weights)} `idf_weights` for them."
            )


def _flat_list(path):
    """Return the terms in a JSON file: one list of texts or numbers."""
    text = path.read_text("utf-8")
    outside = _TEXTS.sub("", text)
    if outside.count("[") != 1 or "{" in outside:
        raise ValueError("Not allowed: a vocabulary is one list of terms.")
    _check_count(outside.count(","))
    return json.loads(text)


def _check_count(count):
    if count >= (most := bounds.TERMS):
        raise ValueError(f"Not allowed: a vocabulary of more than {most} terms.")
