"""Noise that acts in training only, and penalties on activations."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from lamina.core.checks import described, fraction, is_integer
from lamina.core.input_spec import InputSpec
from lamina.core.random import SeedGenerator
from lamina.core.settings import standardize_data_format
from lamina.core.types import DType, Seed
from lamina.kernels import dropout, keep_mask
from lamina.layers.layer import Layer
from lamina.regularizers import L1L2


def _keep_rate(layer, name, value, seed):
    """Store a share and the seed; a generator is made only if noise will be drawn."""
    setattr(layer, name, fraction(type(layer).__name__, name, value))
    layer.seed = seed
    if value > 0:
        layer.seed_generator = SeedGenerator(seed)
    layer.supports_masking = True


def _normal(layer, like):
    """Draw normal noise in the shape and dtype of an array."""
    return jax.random.normal(layer.seed_generator.next(), like.shape, like.dtype)


def _noise_shape(owner, value):
    if value is None:
        return None
    expected = None
    if not isinstance(value, (list, tuple)):
        expected = "a tuple or list of integers"
    elif not all(d is None or is_integer(d) for d in value):
        expected = "all elements to be integers or None"
    elif not all(d is None or d > 0 for d in value):
        expected = "all dimensions to be positive integers or None"
    if expected:
        raise ValueError(
            f"`{owner}`: Invalid value received for argument `noise_shape`. Expected "
            f"{expected}. Received: noise_shape={value!r}"
        )
    return tuple(value)


def _check_noise(layer, inputs, shape):
    """Raise where a noise shape does not broadcast over the inputs."""
    if shape is None:
        return
    sizes = inputs.shape[max(inputs.ndim - len(shape), 0) :]
    if len(shape) > inputs.ndim or any(
        noise not in (None, 1) and isinstance(size, int) and noise != size
        for noise, size in zip(shape, sizes, strict=True)
    ):
        raise ValueError(
            f"{described(layer)} expected `noise_shape` to fit its input: each size 1, "
            "None or that of the input, and it must not have more dimensions. "
            f"Received: noise_shape={shape}, input shape {tuple(inputs.shape)}"
        )


class _Dropping(Layer):
    """Drops entries, each alone or with others of its axes as `noise_shape` says."""

    rate: float
    seed_generator: SeedGenerator

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: Seed = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _keep_rate(self, "rate", rate, seed)
        self.noise_shape = _noise_shape(type(self).__name__, noise_shape)

    @property
    def rows_independent(self):
        return True if self.noise_shape is None else "inference"


class Dropout(_Dropping):
    """Sets a random share of its input to zero in training, and scales the rest.

    `y = x * keep / (1 - rate)`, where `keep` is 0 with probability `rate` and 1
    otherwise; outside of training `y = x`.

    Args:
        rate: the share to drop, from 0 to 1.
        noise_shape: the shape of `keep`, which is repeated to fit; None in it is
            the size of the input. `(None, 1, None)` drops whole features of
            sequences.

    Raises:
        ValueError: `rate` is out of range, or `noise_shape` does not fit.

    Source: Srivastava et al., 2014, "Dropout: a simple way to prevent neural
    networks from overfitting".

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.Dropout(0.5, seed=1)
    >>> sorted(set(layer(np.ones((4, 8)), training=True).ravel().tolist()))
    [0.0, 2.0]
    """

    _featurewise = True

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        _check_noise(self, inputs, self.noise_shape)
        key = self.seed_generator.next()
        return dropout(inputs, self.rate, key, self.noise_shape)


class _SpatialDropout(Layer):
    """Drops whole channels; the base of the layers for 1, 2 and 3 dimensions."""

    rows_independent = True
    rate: float
    seed_generator: SeedGenerator

    def __init__(
        self,
        rank: int,
        rate: float,
        seed: Seed,
        name: str | None,
        dtype: DType,
        **kwargs,
    ):
        super().__init__(name=name, dtype=dtype, **kwargs)
        _keep_rate(self, "rate", rate, seed)
        self.input_spec = InputSpec(ndim=rank + 2)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        channel = inputs.ndim - 1
        if getattr(self, "data_format", None) == "channels_first":
            channel = 1
        shape = [1] * inputs.ndim
        shape[0] = shape[channel] = None
        return dropout(inputs, self.rate, self.seed_generator.next(), shape)

    def get_config(self):
        config = super().get_config()
        names = ("rate", "data_format", "seed", "name")
        kept = {name: config[name] for name in names if name in config}
        return {**kept, "dtype": self.dtype}


class SpatialDropout1D(_SpatialDropout):
    """Drops whole features of sequences `(batch, steps, features)` in training.

    Args:
        rate: the share to drop, from 0 to 1.
        name: its name.
        dtype: its dtype or policy.

    Raises:
        ValueError: `rate` is out of range.

    Source: Tompson et al., 2015, "Efficient object localization using
    convolutional networks".

    >>> import lamina, numpy as np
    >>> y = lamina.layers.SpatialDropout1D(0.5)(np.ones((2, 5, 3)), training=True)
    >>> bool((y == y[:, :1]).all())
    True
    """

    def __init__(
        self,
        rate: float,
        seed: Seed = None,
        name: str | None = None,
        dtype: DType = None,
    ):
        super().__init__(1, rate, seed, name, dtype)


class SpatialDropout2D(_SpatialDropout):
    """Drops whole channels of images in training.

    Args:
        rate: the share to drop, from 0 to 1.
        name: its name.
        dtype: its dtype or policy.

    Raises:
        ValueError: `rate` is out of range.

    >>> import lamina, numpy as np
    >>> lamina.layers.SpatialDropout2D(0.5)(np.ones((2, 5, 5, 3)), training=True).shape
    (2, 5, 5, 3)
    """

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: Seed = None,
        name: str | None = None,
        dtype: DType = None,
    ):
        super().__init__(2, rate, seed, name, dtype)
        self.data_format = standardize_data_format(data_format)


class SpatialDropout3D(_SpatialDropout):
    """Drops whole channels of volumes in training.

    Args:
        rate: the share to drop, from 0 to 1.
        name: its name.
        dtype: its dtype or policy.

    Raises:
        ValueError: `rate` is out of range.

    >>> import lamina, numpy as np
    >>> x = np.ones((2, 2, 2, 2, 3))
    >>> lamina.layers.SpatialDropout3D(0.5)(x, training=True).shape
    (2, 2, 2, 2, 3)
    """

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: Seed = None,
        name: str | None = None,
        dtype: DType = None,
    ):
        super().__init__(3, rate, seed, name, dtype)
        self.data_format = standardize_data_format(data_format)


class GaussianNoise(Layer):
    """Adds normal noise in training: `x + stddev * noise`.

    Args:
        stddev: the standard deviation of the noise, from 0 to 1.

    Raises:
        ValueError: `stddev` is out of range.

    >>> import lamina, numpy as np
    >>> lamina.layers.GaussianNoise(0.1)(np.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """

    _featurewise = rows_independent = True
    stddev: float
    seed_generator: SeedGenerator

    def __init__(self, stddev: float, seed: Seed = None, **kwargs):
        super().__init__(**kwargs)
        _keep_rate(self, "stddev", stddev, seed)

    def call(self, inputs, training=False):
        if not training or self.stddev == 0:
            return inputs
        return inputs + self.stddev * _normal(self, inputs)


class GaussianDropout(Layer):
    """Multiplies with normal noise around 1 in training.

    The noise has the standard deviation `sqrt(rate / (1 - rate))`, that of
    `Dropout` with the same rate.

    Args:
        rate: as in `Dropout`, from 0 to below 1.

    Raises:
        ValueError: `rate` is out of range.

    Source: Srivastava et al., 2014, "Dropout: a simple way to prevent neural
    networks from overfitting".

    >>> import lamina, numpy as np
    >>> lamina.layers.GaussianDropout(0.1)(np.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """

    _featurewise = rows_independent = True
    rate: float
    seed_generator: SeedGenerator

    def __init__(self, rate: float, seed: Seed = None, **kwargs):
        super().__init__(**kwargs)
        _keep_rate(self, "rate", rate, seed)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        deviation = (self.rate / (1 - self.rate)) ** 0.5
        return inputs * (1 + deviation * _normal(self, inputs))


# The value that SELU tends to: -scale * alpha, from the paper's fixed point.
_SELU_LIMIT = -1.7580993408473766


class AlphaDropout(_Dropping):
    """Drops in training so that mean and variance stay: the dropout for SELU.

    Dropped entries get the lower limit of SELU, and the whole is shifted and
    scaled back to mean 0 and variance 1.

    Args:
        rate: the share to drop, from 0 to 1.
        noise_shape: the shape of the mask, as in `Dropout`.

    Raises:
        ValueError: `rate` is out of range, or `noise_shape` does not fit.

    Source: Klambauer et al., 2017, "Self-normalizing neural networks".

    >>> import lamina, numpy as np
    >>> lamina.layers.AlphaDropout(0.1)(np.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        if self.rate == 1:
            return jnp.zeros_like(inputs)
        _check_noise(self, inputs, self.noise_shape)
        shape = inputs.shape
        if self.noise_shape is not None:
            sizes = shape[len(shape) - len(self.noise_shape) :]
            pairs = zip(self.noise_shape, sizes, strict=True)
            shape = tuple(size if noise is None else noise for noise, size in pairs)
        keep = keep_mask(self.seed_generator.next(), 1 - self.rate, shape)
        variance = (1 - self.rate) * (1 + self.rate * _SELU_LIMIT**2)
        scale = variance**-0.5
        shift = -scale * _SELU_LIMIT * self.rate
        limit = jnp.asarray(_SELU_LIMIT, inputs.dtype)
        return scale * jnp.where(keep, inputs, limit) + shift


class ActivityRegularization(Layer):
    """Adds a penalty on its input to the loss, and returns it unchanged.

    `l1 * sum(abs(x)) + l2 * sum(x**2)`.

    Args:
        l1: the factor of the absolute values.
        l2: the factor of the squares.

    Raises:
        ValueError: a factor is negative.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.ActivityRegularization(l1=0.5)
    >>> layer(np.array([[1.0, -3.0]])).tolist(), [float(x) for x in layer.losses]
    ([[1.0, -3.0]], [2.0])
    """

    _saved_never = (*Layer._saved_never, "activity_regularizer")
    _featurewise = rows_independent = True
    _moves_entries = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs):
        super().__init__(activity_regularizer=L1L2(l1=l1, l2=l2), **kwargs)
        self.l1 = l1
        self.l2 = l2
        self.supports_masking = True

    def call(self, inputs):
        return inputs
