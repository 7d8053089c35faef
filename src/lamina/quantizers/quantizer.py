"""`Quantizer`: a callable that turns arrays into integers, with a config."""

from collections.abc import Sequence

from lamina.core import settings
from lamina.core.config import Constructed
from lamina.core.dtypes import standardize_dtype
from lamina.core.types import Axes
from lamina.quantizers.rounding import abs_max_quantize


class Quantizer(Constructed):
    """A callable that gives the integers for an array; the base of quantizers.

    Args:
        output_dtype: the dtype of the integers.

    >>> import lamina
    >>> lamina.quantizers.Quantizer().output_dtype
    'int8'
    """

    _abstract, _reads_signatures = True, False

    def __init__(self, output_dtype: str = "int8"):
        self.output_dtype = output_dtype

    def __call__(self, x):
        """Return the array as it is; subclasses quantize it."""
        return x


class AbsMaxQuantizer(Quantizer):
    """Quantizes by the largest magnitude, see `abs_max_quantize`.

    Args:
        axis: the axes that share one scale; the last when None.
        value_range: the least and the largest integer.
        epsilon: keeps the scale finite.
        output_dtype: the dtype of the integers.

    Raises:
        ValueError: the range does not fit `output_dtype="int8"`.

    >>> import lamina, numpy as np
    >>> q, scale = lamina.quantizers.AbsMaxQuantizer(axis=0)(np.eye(2))
    >>> q.tolist(), scale.shape
    ([[127, 0], [0, 127]], (1, 2))
    """

    def __init__(
        self,
        axis: Axes | None = None,
        value_range: Sequence[float] = (-127, 127),
        epsilon: float | None = None,
        output_dtype: str = "int8",
    ):
        super().__init__(output_dtype)
        self.axis = (axis,) if isinstance(axis, int) else axis and tuple(axis)
        self.value_range = tuple(value_range)
        self.epsilon = settings.epsilon() if epsilon is None else epsilon
        low, high = self.value_range
        if standardize_dtype(output_dtype) == "int8" and (low < -128 or high > 127):
            raise ValueError(
                "`AbsMaxQuantizer` expected `value_range` to be within [-128, 127] "
                f"for output_dtype='int8'. Received: value_range={value_range}"
            )

    def __call__(self, x, axis=None, to_numpy=False):
        """Return integers and scale; `axis` goes before the constructor's."""
        axis = self.axis if axis is None else axis
        return abs_max_quantize(
            x,
            -1 if axis is None else axis,
            self.value_range,
            self.output_dtype,
            self.epsilon,
            to_numpy,
        )

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        config = super().get_config()
        axis = config.pop("axis")
        return config if axis is None else {**config, "axis": axis}
