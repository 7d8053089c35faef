"""Values, or combinations of them, as one of a fixed number of bins.

There is no vocabulary: a bin is a hash, the same on every machine, and TensorFlow's.
"""

from typing import Any

import numpy as np

from lamina.core import settings
from lamina.core.checks import is_integer, positive_int
from lamina.core.types import DType, Sizes
from lamina.kernels import hashing
from lamina.layers.preprocessing.data_layer import as_bytes, run_on_host
from lamina.layers.preprocessing.encoding import EncodingLayer, shared


class HashingLayer(EncodingLayer):
    """Ends in one of `num_bins` bins."""

    _takes_text = True
    _depth = property(lambda self: self.num_bins)
    num_bins: int

    def __init__(self, **kwargs):
        if kwargs.get("dtype") is None and kwargs["output_mode"] == "int":
            kwargs["dtype"] = "int64"
        super().__init__(**kwargs)


class Hashing(HashingLayer):
    """Puts text or integers into bins by a hash, the same on every machine.

    That is FarmHash's 64-bit fingerprint of the text, or of decimal digits, or
    SipHash-2-4 under the key `salt`, modulo `num_bins`, as TensorFlow's. It runs on the
    host: text is hashed before a compiled model, integers anywhere.

    Args:
        num_bins: how many bins, that of `mask_value` included.
        mask_value: a value that goes to bin 0, which no other then shares.
        salt: an integer, or a pair, that makes the bins hard to foresee.

    Sources: Pike, *FarmHash*, 2014; Aumasson and Bernstein, *SipHash: a fast
    short-input PRF*, 2012.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.Hashing(num_bins=3)
    >>> layer(np.array([["A"], ["B"], ["C"]])).tolist()
    [[1], [0], [1]]
    """

    _output_dtype = property(lambda self: self.dtype)

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Sizes | None = None,
        output_mode: str = "int",
        sparse: bool = False,
        **kwargs,
    ):
        if num_bins is None or num_bins <= 0:
            raise ValueError(
                "The `num_bins` for `Hashing` cannot be `None` or non-positive values. "
                f"Received: num_bins={num_bins}."
            )
        if output_mode not in self._MODES:
            raise ValueError(
                "Invalid value for argument `output_mode`. Expected one of "
                f"{self._MODES}. Received: output_mode={output_mode!r}"
            )
        if output_mode != "int" and kwargs.get("dtype") is None:
            kwargs["dtype"] = settings.floatx()
        super().__init__(output_mode=output_mode, sparse=sparse, **kwargs)
        if self.output_mode == "int" and self.dtype not in ("int32", "int64"):
            raise ValueError(
                'When `output_mode="int"`, `dtype` should be an integer type, "int32" '
                f'or "int64". Received: dtype={kwargs["dtype"]}'
            )
        self.num_bins = positive_int(self, "num_bins", num_bins)
        self.mask_value, self.salt = mask_value, key_of(self, salt)

    def call(self, inputs):
        return self._encoded(run_on_host(self._bins, inputs))

    def _bins(self, values):
        masks = self.mask_value is not None and self.num_bins > 1
        bins = np.uint64(self.num_bins - masks)
        found = hashes(as_bytes(values), self.salt) % bins
        found = found.astype("int32") + int(masks)
        masked = masks and _equal(values, self.mask_value)
        return np.where(masked, np.int32(0), found) if masks else found


class HashedCrossing(HashingLayer):
    """Puts each combination of several features into one of `num_bins` bins.

    Features are text or integers of one shape, `()`, `(batch,)` or `(batch, 1)`; the
    bin is a hash of their hashes, as `tf.sparse.cross_hashed` has it. On the host: text
    is crossed before a compiled model, integers anywhere.

    Args:
        num_bins: how many bins.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.HashedCrossing(num_bins=5)
    >>> layer((np.array(["A", "B", "A"]), np.array([101, 101, 102]))).tolist()
    [1, 4, 3]
    """

    _lists_are_arrays = False
    _MODES = ("int", "one_hot")
    _saved_never = (*EncodingLayer._saved_never, "trainable")
    _saved_from = {"dtype": "dtype"}

    @shared("num_bins output_mode sparse name dtype")
    def __init__(
        self, num_bins: int, *_, name: str | None = None, dtype: DType = None, **kwargs
    ):
        super().__init__(name=name, dtype=dtype, **kwargs)
        self.num_bins = positive_int(self, "num_bins", num_bins)

    def call(self, inputs):
        inputs = _crossed(inputs)
        if not all(x.dtype.kind in "iuOSU" for x in inputs):
            raise _bad_crossing("have an integer or string dtype", inputs)
        return self._encoded(run_on_host(self._bins, *inputs))

    def compute_output_spec(self, inputs):
        return super().compute_output_spec(_crossed(inputs)[0])

    def _bins(self, *features):
        numbers = [
            hashes(as_bytes(x))
            if x.dtype.kind in "OSU"
            else x.astype("int64").astype("uint64")
            for x in features
        ]
        crossed = hashing.combined(numbers)
        return (crossed % np.uint64(self.num_bins)).astype("int32")


def hashes(texts, salt=None):
    """Return 64-bit hashes of arrays of bytes, with a key or without."""
    return hashing.fingerprint(texts) if salt is None else hashing.keyed(texts, salt)


def key_of(layer, salt):
    """Return the two integers that `salt`, one or two, stands for; None for None."""
    if salt is None:
        return None
    pair = salt if isinstance(salt, (tuple, list)) else (salt, salt)
    if len(pair) != 2 or not all(map(is_integer, pair)):
        raise ValueError(
            f"The `salt` argument for `{type(layer).__name__}` can only be a tuple of "
            f"size 2 integers, or a single integer. Received: salt={salt!r}."
        )
    return [int(n) for n in pair]


def _equal(values, value):
    if values.dtype.kind in "OSU":
        return as_bytes(values) == as_bytes(np.asarray(value))
    return values == value


def _bad_crossing(wanted, inputs):
    return ValueError(
        f"All `HashedCrossing` inputs should {wanted}. Received: inputs={inputs}"
    )


def _crossed(inputs):
    """Return inputs as arrays of one shape, or raise."""
    listed = isinstance(inputs, (list, tuple))
    if not listed or len(inputs) < 2:
        wanted = "at least two inputs" if listed else "a list or tuple of inputs"
        raise ValueError(
            f"`HashedCrossing` should be called on {wanted}. Received: inputs={inputs}"
        )
    inputs = [x if hasattr(x, "shape") else np.asarray(x) for x in inputs]
    first, *others = [tuple(x.shape) for x in inputs]
    if len(first) > 2 or (len(first) == 2 and first[-1] != 1):
        raise _bad_crossing(
            "have shape `()`, `(batch_size)` or `(batch_size, 1)`", inputs
        )
    if any(shape != first for shape in others):
        raise _bad_crossing("have equal shape", inputs)
    return inputs
