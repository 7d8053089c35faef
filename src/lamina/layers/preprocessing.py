"""Layers that prepare data."""

import numpy as np

from lamina.layers.layer import Layer


class Rescaling(Layer):
    """Scales and shifts its input: `x * scale + offset`.

    `Rescaling(1 / 255)` brings pixels to 0 ... 1; `Rescaling(1 / 127.5, offset=-1)`
    to -1 ... 1. Integers become floats.

    Args:
        scale: the factor; a list for one factor a channel.
        offset: what is added after it, likewise.

    >>> import lamina, numpy as np
    >>> lamina.layers.Rescaling(1 / 255)(np.array([[0, 255]], "uint8")).tolist()
    [[0.0, 1.0]]
    """

    def __init__(self, scale, offset=0.0, **kwargs):
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset
        self.supports_masking = True

    def call(self, inputs):
        """Return the scaled inputs."""
        dtype = self.compute_dtype
        scale, offset = (np.asarray(v) for v in (self.scale, self.offset))
        return inputs.astype(dtype) * scale.astype(dtype) + offset.astype(dtype)
