"""Numbers brought to another scale: by their mean and variance, or by factors."""

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.checks import axes_argument, bad_argument
from lamina.core.config import serialize_keras_object
from lamina.core.rows import off_rows
from lamina.core.types import Axes
from lamina.data.batches import batches
from lamina.layers.preprocessing.data_layer import DataLayer

_PART = 1 << 17  # numbers that `Normalization.adapt` reads at once


class Normalization(DataLayer):
    r"""Shifts and scales its input to mean 0 and variance 1.

    $$y = \frac{x - \mu}{\max(\sigma, \epsilon)}$$

    Mean and variance are given, or learned from data by `adapt`, before training.

    Args:
        axis: the axes that keep a mean and a variance for each index; None for none.
        mean: the mean, of a shape that fits the kept axes.
        variance: the variance, likewise.
        invert: whether the way back is computed, from normalized to raw numbers.

    Raises:
        ValueError: only one of `mean` and `variance` is given, their shapes differ,
            or `axis` is not an axis of the input or of unknown size.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.Normalization()
    >>> layer.adapt(np.array([[0.0, 7.0], [2.0, 9.0]]))
    >>> layer(np.array([[0.0, 9.0]])).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(
        self,
        axis: Axes | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        axes: Any = () if axis is None else axis
        if not isinstance(axes, (list, tuple)) or axes:  # a file has [] for ()
            axes = axes_argument("Normalization", axes)
        self.axis = tuple(axes) if isinstance(axes, (list, tuple)) else (axes,)
        _check_given(mean, variance, self.axis)
        self.input_mean, self.input_variance = mean, variance
        self.invert = invert
        self.supports_masking = True

    _learns = property(lambda self: self.input_mean is None)
    rows_independent = property(lambda self: off_rows(self.axis))

    def build(self, input_shape):
        rank = len(input_shape)
        if any(not -rank <= a < rank for a in self.axis):
            raise ValueError(
                "All `axis` values must be in the range [-ndim, ndim). Received inputs "
                f"with ndim={rank}, while axis={self.axis}"
            )
        self._kept = tuple(sorted(a % rank for a in self.axis))
        for a in self._kept:
            if input_shape[a] is None:
                raise ValueError(
                    "All `axis` values to be kept must have a known shape. Received "
                    f"axis={self.axis}, inputs.shape={input_shape}, with unknown axis "
                    f"at index {a}"
                )
        self._reduced = tuple(a for a in range(rank) if a not in self._kept)
        kept = enumerate(input_shape)
        self._wide = tuple(n if a in self._kept else 1 for a, n in kept)
        if self.input_mean is not None:
            return
        shape = tuple(input_shape[a] for a in self._kept)
        add = functools.partial(self.add_weight, trainable=False)
        self.adapt_mean = add(shape, "zeros", name="mean")
        self.adapt_variance = add(shape, "ones", name="variance")
        # Nothing reads the count, but Keras' files hold it.
        self.count = add((), "zeros", dtype="int32", name="count")

    # In the rank of the input; None before the layer is built.
    mean = property(lambda self: self._broadcast("mean"))
    variance = property(lambda self: self._broadcast("variance"))

    def _broadcast(self, what) -> Any:
        if not self.built:
            return None
        given = getattr(self, f"input_{what}")
        if given is None:
            value = getattr(self, f"adapt_{what}").value.reshape(self._wide)
            return value.astype(self.compute_dtype)
        value = np.asarray(given, self.compute_dtype)
        # What has fewer axes than are kept belongs to the last of them.
        shape = [1] * len(self._wide)
        for size, axis in zip(value.shape[::-1], self._kept[::-1], strict=False):
            shape[axis] = size
        return jnp.asarray(np.broadcast_to(value.reshape(shape), self._wide))

    def adapt(self, data):
        """Learn from data; what was learned before is forgotten.

        Args:
            data: an array, a DataFrame, or anything that yields batches.

        Raises:
            ValueError: mean and variance are given, or no data, or of another shape.
            TypeError: it holds no arrays.
        """
        if self.input_mean is not None:
            raise ValueError(
                "Cannot adapt a Normalization layer that has been given `mean` and "
                "`variance`. Make it without them."
            )
        count, mean, variance = 0, 0.0, 0.0
        for batch in batches(data):
            batch = np.asarray(batch)
            if batch.ndim == 0 or batch.dtype.kind in "OSU":
                raise TypeError(
                    "`adapt` expected arrays of numbers, or an iterable of batches "
                    f"that have a `.shape`. Received: {batch!r}"
                )
            if not self.built:
                self.build(batch.shape)
            sizes = [batch.shape[a] for a in self._kept if a < batch.ndim]
            if batch.ndim != len(self._wide) or sizes != [
                self._wide[a] for a in self._kept
            ]:
                built = next(iter((self._build_shapes or {}).values()), None)
                raise ValueError(
                    f"The layer was built with input_shape={built}, but adapt() is "
                    "being called with data with an incompatible shape, "
                    f"data.shape={batch.shape}"
                )
            for new, new_mean, new_variance in self._moments(batch):
                count += new
                share = new / count
                # Chan, Golub and LeVeque, 1979: variances of parts, put together.
                between = share * (1 - share) * (new_mean - mean) ** 2
                variance = (1 - share) * variance + share * new_variance + between
                mean = (1 - share) * mean + share * new_mean
        self.adapt_mean.assign(mean)
        self.adapt_variance.assign(variance)

    def _moments(self, batch):
        """Yield the counts, means and variances of parts that stay in the cache."""
        axes, size = list(range(batch.ndim)), len(batch)
        if 0 in self._reduced:
            size = max(1, _PART * len(batch) // max(batch.size, 1))
        for start in range(0, len(batch) or 1, size or 1):
            part = np.array(batch[start : start + size], "float64")
            mean = part.mean(self._reduced, keepdims=True)
            part -= mean
            squares = np.einsum(part, axes, part, axes, list(self._kept))
            count = math.prod(part.shape[a] for a in self._reduced)
            yield count, mean.squeeze(self._reduced), squares / count

    def finalize_state(self):
        """Do nothing: mean and variance are read from the weights in every call."""

    def call(self, inputs):
        inputs = inputs.astype(self.compute_dtype)
        deviation = jnp.maximum(jnp.sqrt(self.variance), settings.epsilon())
        if self.invert:
            return inputs * deviation + self.mean
        return (inputs - self.mean) / deviation

    def get_config(self):
        config = super().get_config()
        for name in ("mean", "variance"):
            given = getattr(self, f"input_{name}")
            config[name] = None if given is None else np.asarray(given).tolist()
        return config


def _check_given(mean, variance, axis):
    if (mean is None) != (variance is None):
        raise ValueError(
            "When setting values directly, both `mean` and `variance` must be set. "
            f"Received: mean={mean} and variance={variance}"
        )
    if mean is None:
        return
    if np.shape(mean) != np.shape(variance):
        raise ValueError(
            "When setting values directly, `mean` and `variance` must have the same "
            f"shape. Received: mean shape {np.shape(mean)} and variance shape "
            f"{np.shape(variance)}"
        )
    if np.ndim(mean) > len(axis):
        raise ValueError(
            "The rank of `mean` must be less than or equal to the number of axes "
            f"({len(axis)}). Received: mean shape {np.shape(mean)} for axis {axis}"
        )


class Rescaling(DataLayer):
    """Scales and shifts its input: `x * scale + offset`.

    Integers become floats: `Rescaling(1 / 255)` brings pixels to 0 ... 1.

    Args:
        scale: the factor; a list for one factor a channel.
        offset: what is added after it, likewise.

    >>> import lamina, numpy as np
    >>> lamina.layers.Rescaling(1 / 255)(np.array([[0, 255]], "uint8")).tolist()
    [[0.0, 1.0]]
    """

    rows_independent = True

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("scale", scale), ("offset", offset)):
            if np.asarray(value).dtype.kind not in "iuf":
                raise bad_argument(self, name, value, "a number or a list of numbers")
        self.scale, self.offset = scale, offset
        self.supports_masking = True

    @property
    def _least_rank(self):
        # An array of more axes may have a number for each row.
        return max(2, *(self._number(x).ndim + 1 for x in (self.scale, self.offset)))

    def call(self, inputs):
        scale, offset = map(self._number, (self.scale, self.offset))
        return inputs.astype(self.compute_dtype) * scale + offset

    def _number(self, value):
        value = np.asarray(value, self.compute_dtype)
        if value.ndim and settings.image_data_format() == "channels_first":
            return value.reshape(*value.shape, *(1,) * (3 - value.ndim))
        return value

    def get_config(self):
        both = {"scale": self.scale, "offset": self.offset}
        return {**super().get_config(), **serialize_keras_object(both)}
