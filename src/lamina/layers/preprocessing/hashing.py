"""`Hashing`: any value as one of a fixed number of bins, without a vocabulary."""

import numpy as np

from lamina.core import settings
from lamina.core.checks import positive_int
from lamina.core.symbolic import SymbolicTensor, infer
from lamina.kernels import hashing
from lamina.layers.preprocessing.data_layer import DataLayer
from lamina.layers.preprocessing.encoding import encode, refuse_sparse
from lamina.layers.preprocessing.host import as_bytes, run_on_host

_MODES = ("int", "one_hot", "multi_hot", "count")


class Hashing(DataLayer):
    """Puts text or integers into bins by a hash, the same on every machine.

    The bin is FarmHash's 64-bit fingerprint of the text (integers by their decimal
    digits) modulo `num_bins`; with `salt` it is SipHash-2-4 under that key. Both are
    what TensorFlow computes. It runs on the host: text needs it outside of compiled
    models, in the data; integers may be hashed anywhere.

    Args:
        num_bins: how many bins, that of `mask_value` included.
        mask_value: a value that goes to bin 0, which no other then shares.
        salt: an integer, or a pair, that makes the bins hard to foresee.
        output_mode: `"int"`, the bin; `"one_hot"`, a vector for each element;
            `"multi_hot"` and `"count"`, a vector for each sample.
        sparse: not supported; must be False.

    Raises:
        ValueError: an argument is out of range, or `sparse` is True.

    Sources: Pike, *FarmHash*, 2014; Aumasson and Bernstein, *SipHash: a fast
    short-input PRF*, 2012.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.Hashing(num_bins=3)
    >>> layer(np.array([["A"], ["B"], ["C"]])).tolist()
    [[1], [0], [1]]
    """

    rows_independent = True
    _takes_text = _reads_integers = True

    def __init__(
        self, num_bins, mask_value=None, salt=None, output_mode="int", sparse=False,
        **kwargs,
    ):  # fmt: skip
        whole = output_mode == "int"
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = "int64" if whole else settings.floatx()
        super().__init__(**kwargs)
        if num_bins is None or num_bins <= 0:
            raise ValueError(
                "The `num_bins` for `Hashing` cannot be `None` or non-positive values. "
                f"Received: num_bins={num_bins}."
            )
        self.num_bins = positive_int("Hashing", "num_bins", num_bins)
        if output_mode not in _MODES:
            raise ValueError(
                "Invalid value for argument `output_mode`. Expected one of "
                f"{_MODES}. Received: output_mode={output_mode!r}"
            )
        self.output_mode = output_mode
        if whole and self.dtype not in ("int32", "int64"):
            raise ValueError(
                'When `output_mode="int"`, `dtype` should be an integer type, "int32" '
                f'or "int64". Received: dtype={kwargs["dtype"]}'
            )
        refuse_sparse("Hashing", sparse)
        self.mask_value = mask_value
        self.salt = _pair(salt)
        self.sparse = sparse

    def call(self, inputs):
        bins = run_on_host(self._bins, inputs)
        return encode(bins, self.output_mode, self.num_bins, self.dtype)

    def compute_output_spec(self, inputs):
        bins = SymbolicTensor(inputs.shape, "int32")
        result = infer(
            lambda x: encode(x, self.output_mode, self.num_bins, self.dtype), bins
        )
        return SymbolicTensor(result.shape, self.dtype)

    def _bins(self, values):
        bins, first = self.num_bins, 0
        masked = None
        if self.mask_value is not None and bins > 1:
            bins, first = bins - 1, 1
            masked = _equal(values, self.mask_value)
        texts = as_bytes(values)
        if self.salt is None:
            hashes = hashing.fingerprint(texts)
        else:
            hashes = hashing.keyed(texts, self.salt)
        found = (hashes % np.uint64(bins)).astype("int32") + np.int32(first)
        return found if masked is None else np.where(masked, np.int32(0), found)


def _pair(salt):
    if salt is None:
        return None
    pair = salt if isinstance(salt, (tuple, list)) else (salt, salt)
    if len(pair) != 2 or not all(hasattr(n, "__index__") for n in pair):
        raise ValueError(
            "The `salt` argument for `Hashing` can only be a tuple of size 2 integers, "
            f"or a single integer. Received: salt={salt!r}."
        )
    return [int(n) for n in pair]


def _equal(values, value):
    if values.dtype.kind in "OSU":
        return as_bytes(values) == as_bytes(np.asarray(value))
    return values == value
