"""`Rescaling`: numbers times a factor, plus another."""

from typing import Any

import numpy as np

from lamina.core import settings
from lamina.core.checks import bad_argument
from lamina.core.config import serialize_keras_object
from lamina.layers.preprocessing.data_layer import DataLayer


class Rescaling(DataLayer):
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
