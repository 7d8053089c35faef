"""`Discretization`: numbers as the index of the range that they are in."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.checks import number
from lamina.core.dtypes import result_type
from lamina.core.types import DType
from lamina.layers.preprocessing.data_layer import Adapting
from lamina.layers.preprocessing.encoding import EncodingLayer
from lamina.layers.preprocessing.host import known


class Discretization(Adapting, EncodingLayer):
    """Tells which of several ranges each number is in.

    Boundaries `[0, 1, 2]` make the ranges `(-inf, 0)`, `[0, 1)`, `[1, 2)` and
    `[2, inf)`, of indices 0 to 3. They are given, or found by `adapt` such that each
    range holds about as many numbers of the data as any other.

    Args:
        bin_boundaries: the boundaries, rising.
        num_bins: how many ranges `adapt` makes, in place of `bin_boundaries`.
        epsilon: how fine `adapt` looks: it keeps about `1 / epsilon` numbers of the
            data.

    Raises:
        ValueError: not exactly one of `bin_boundaries` and `num_bins` is given, an
            argument is out of range, or `sparse` is True.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.Discretization(bin_boundaries=[0.0, 1.0, 2.0])
    >>> layer(np.array([[-1.5, 1.0, 3.4, 0.5]])).tolist()
    [[0, 2, 3, 1]]
    """

    _depth = property(lambda self: self.depth)
    _output_dtype = property(lambda self: self.output_dtype)
    _learns = property(lambda self: self.num_bins is not None)
    _saved_never = (*EncodingLayer._saved_never, "trainable")
    _saved_from = {"dtype": "dtype"}

    def __init__(
        self,
        bin_boundaries: Sequence[float] | None = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: DType = None,
        name: str | None = None,
    ):
        super().__init__(output_mode=output_mode, sparse=sparse, dtype=dtype, name=name)
        if num_bins is not None:
            number(self, "num_bins", num_bins, least=0)
        if num_bins is not None and bin_boundaries is not None:
            raise ValueError(
                "Both `num_bins` and `bin_boundaries` should not be set. Received: "
                f"`num_bins={num_bins}` and `bin_boundaries={bin_boundaries}`"
            )
        if num_bins is None and bin_boundaries is None:
            raise ValueError("You need to set either `num_bins` or `bin_boundaries`.")
        self.bin_boundaries = bin_boundaries
        self.num_bins = num_bins
        self.epsilon = number(self, "epsilon", epsilon, least=1e-9)
        self.reset_state()

    @property
    def input_dtype(self):
        """The dtype of the numbers: boundaries need all of their digits."""
        return result_type(settings.floatx(), "float32")

    @property
    def output_dtype(self):
        """The dtype of the outputs."""
        return "int32" if self.output_mode == "int" else self.compute_dtype

    def adapt(self, data, steps=None):
        if self.num_bins is None:
            raise ValueError(
                "Cannot adapt a Discretization layer that has been initialized with "
                "`bin_boundaries`, use `num_bins` instead."
            )
        super().adapt(data, steps)

    def update_state(self, data):
        values: np.ndarray = np.sort(np.asarray(data, "float32"), axis=None)
        step = max(values.size * float(self.epsilon), 1.0)
        kept = values[int(step - 1) :: int(step)]
        new = np.stack([kept, np.full_like(kept, step)])
        merged = np.concatenate([new, self.summary], axis=1)
        order = np.argsort(merged[0])
        self.summary = _thinned(merged[:, order], self.epsilon)

    def finalize_state(self):
        if self.num_bins is not None:
            found = _thinned(self.summary, 1.0 / self.num_bins)
            self.bin_boundaries = found[0, :-1].tolist()

    def reset_state(self):
        self.summary = np.zeros((2, 0), "float32")

    def call(self, inputs):
        if self.bin_boundaries is None:
            raise ValueError(
                "You need to either pass the `bin_boundaries` argument at construction "
                "time or call `adapt(dataset)` before you can start using the "
                "`Discretization` layer."
            )
        (inputs,) = known(inputs)
        bounds = np.asarray(self.bin_boundaries, self.input_dtype)
        xp = np if isinstance(inputs, np.ndarray) else jnp
        return self._encoded(xp.digitize(inputs, bounds))

    @property
    def depth(self):
        """How many ranges there are."""
        found = self.bin_boundaries
        return self.num_bins if found is None else len(found) + 1

    @classmethod
    def from_config(cls, config):
        if config.get("num_bins") is None:
            return super().from_config(config)
        layer = super().from_config({**config, "bin_boundaries": None})
        layer.bin_boundaries = config.get("bin_boundaries")
        return layer


def _thinned(summary, share):
    """Return a summary of about `1 / share` values, evenly far apart in weight.

    A summary is an array of two rows: sorted values, and how many numbers of the data
    each of them stands for.
    """
    if summary.shape[1] * share < 1:
        return summary
    wanted = share + np.arange(0.0, 1.0, share)
    total = summary[1].cumsum()
    reached = total / total[-1]
    values = np.interp(wanted, reached, summary[0])
    total = np.interp(wanted, reached, total)
    return np.stack([values, np.diff(total, prepend=0)]).astype("float32")
