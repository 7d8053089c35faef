"""Layers that TensorFlow's Keras has and Keras 3 has not."""

from typing import Any

from lamina import ops, random
from lamina.core.random import SeedGenerator
from lamina.core.types import Seed
from lamina.layers import Layer, ReLU

__all__ = ["RandomHeight", "RandomWidth", "ThresholdedReLU"]


class ThresholdedReLU(ReLU):
    """Keeps what is above a threshold, `y = x if x > theta else 0`.

    Args:
        theta: the threshold.
        kwargs: see `Layer`.

    >>> import numpy as np
    >>> from lamina.legacy.layers import ThresholdedReLU
    >>> ThresholdedReLU(1.0)(np.array([0.5, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, theta: float = 1.0, **kwargs):
        super().__init__(threshold=theta, **kwargs)
        self.theta = theta


class RandomHeight(Layer):
    """Stretches images by a random factor, in training; outside of compiled code.

    Args:
        factor: (least, most) change as a share of the size; a number means both ways.
        interpolation: see `ops.image.resize`.
        seed: an integer.
        kwargs: see `Layer`.

    Raises:
        ValueError: `factor` is neither a number nor a pair of them above -1.

    >>> import numpy as np
    >>> from lamina.legacy.layers import RandomHeight
    >>> RandomHeight((0.5, 0.5))(np.ones((4, 8, 3)), training=True).shape
    (6, 8, 3)
    """

    _axis = 0

    def __init__(
        self,
        factor: Any,
        interpolation: str = "bilinear",
        seed: Seed = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        pair = isinstance(factor, (tuple, list))
        self.factor, self.interpolation, self.seed = factor, interpolation, seed
        self._span = tuple(factor) if pair else (-factor, factor)
        if len(self._span) != 2 or not -1 < self._span[0] <= self._span[1]:
            raise ValueError(
                "`factor` expected a number below 1, or a pair of them above -1. "
                f"Received: factor={factor!r}"
            )
        self.seed_generator = SeedGenerator(seed)

    def call(self, inputs, training=True):
        """Return images of another size."""
        if not training:
            return inputs
        least, most = self._span
        factor = random.uniform((), 1 + least, 1 + most, seed=self.seed_generator)
        size = list(inputs.shape[-3:-1])
        size[self._axis] = int(factor * size[self._axis])
        return ops.image.resize(inputs, size, interpolation=self.interpolation)


class RandomWidth(RandomHeight):
    """Stretches images sideways; see `RandomHeight`."""

    _axis = 1
