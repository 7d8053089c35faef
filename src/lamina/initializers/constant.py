"""Initializers without chance."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lamina.core.config import deserialize_keras_object, serialize_keras_object
from lamina.core.dtypes import standardize_dtype
from lamina.core.placement import from_parts
from lamina.initializers.initializer import Initializer

_LARGE = 2**16  # numbers that would be many in a program


def _filled(value, shape, dtype):
    kind = jnp.dtype(standardize_dtype(dtype))
    shape, value = tuple(shape), np.asarray(value, kind)
    if math.prod(shape) > _LARGE and isinstance(jnp.zeros(()), Tracer):
        return jnp.full(shape, value)  # and no constant of the program
    # Filled on the host, since XLA would compile one program for every shape.

    def filled(part):
        if not part:
            return np.full(shape, value)
        return np.array(np.broadcast_to(value, shape)[part], order="C")

    return from_parts(shape, filled)


class Constant(Initializer):
    """Fill with one value.

    Args:
        value: a number, or an array that broadcasts to the shape.

    >>> import lamina
    >>> lamina.initializers.Constant(2)((3,)).tolist()
    [2.0, 2.0, 2.0]
    """

    def __init__(self, value: Any = 0.0):
        self.value = value

    def __call__(self, shape, dtype=None):
        """Return an array of the given shape and dtype."""
        return _filled(self.value, shape, dtype)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {"value": serialize_keras_object(self.value)}

    @classmethod
    def from_config(cls, config: dict):
        """Make an initializer from what `get_config` returned."""
        return cls(deserialize_keras_object(config["value"]))


class Zeros(Initializer):
    """Fill with zeros.

    >>> import lamina
    >>> lamina.initializers.Zeros()((2,)).tolist()
    [0.0, 0.0]
    """

    def __call__(self, shape, dtype=None):
        """Return an array of the given shape and dtype."""
        return _filled(0, shape, dtype)


class Ones(Initializer):
    """Fill with ones.

    >>> import lamina
    >>> lamina.initializers.Ones()((2,)).tolist()
    [1.0, 1.0]
    """

    def __call__(self, shape, dtype=None):
        """Return an array of the given shape and dtype."""
        return _filled(1, shape, dtype)


class Identity(Initializer):
    """A matrix with `gain` on the diagonal and zeros elsewhere.

    Args:
        gain: the factor.

    Raises:
        ValueError: called with a shape of other than two axes.

    >>> import lamina
    >>> lamina.initializers.Identity(3)((2, 2)).tolist()
    [[3.0, 0.0], [0.0, 3.0]]
    """

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def __call__(self, shape, dtype=None):
        """Return an array of the given shape and dtype."""
        if len(shape) != 2:
            raise ValueError(
                "`Identity` expected a shape of two axes. "
                f"Received: shape={tuple(shape)}"
            )
        kind = jnp.dtype(standardize_dtype(dtype))
        return jnp.asarray(np.eye(*shape) * self.gain, dtype=kind)


class STFT(Initializer):
    r"""The kernel of a short-time Fourier transform, as a convolution needs it.

    $K_{t,0,f} = w_t \cos(-2\pi t f / N) / s$ or the same with the sine, where $N$ is
    twice the number of frequencies less two, $w$ the window and $s$ its scale.

    Args:
        side: `"real"` for cosines, `"imag"` for sines.
        window: the name of a window of `scipy.signal.get_window`, an array of the
            frame's length, or None for no window.
        scaling: `"density"` divides by the root of the window's squares,
            `"spectrum"` by the sum of its magnitudes, None by nothing.
        periodic: whether a named window is periodic rather than symmetric.

    Raises:
        ValueError: an unknown `side` or `scaling`, or a window of another length.

    >>> import lamina
    >>> lamina.initializers.STFT("real", window=None)((4, 1, 3)).shape
    (4, 1, 3)
    """

    _saved_first = ("side", "window", "periodic")

    def __init__(
        self,
        side: str = "real",
        window: str | Callable | None = "hann",
        scaling: str = "density",
        periodic: bool = False,
    ):
        if side not in ("real", "imag"):
            raise ValueError(
                "`STFT` expected `side` to be 'real' or 'imag'. "
                f"Received: side={side!r}"
            )
        if scaling not in (None, "density", "spectrum"):
            raise ValueError(
                "`STFT` expected `scaling` to be 'density', 'spectrum' or None. "
                f"Received: scaling={scaling!r}"
            )
        if isinstance(window, str):
            _named_window(window, 1, periodic)
        self.side, self.scaling = side, scaling
        self.window, self.periodic = window, periodic

    def __call__(self, shape, dtype=None):
        """Return an array of the given shape and dtype."""
        dtype = standardize_dtype(dtype)
        frame_length, _, frequencies = shape
        time = jnp.arange(frame_length, dtype=dtype).reshape(-1, 1, 1)
        turns = jnp.arange(frequencies, dtype=dtype) / ((frequencies - 1) * 2)
        angle = -2 * time * turns * jnp.arccos(jnp.asarray(-1, dtype))
        kernel = jnp.cos(angle) if self.side == "real" else jnp.sin(angle)
        if self.window is None:
            return kernel
        window = self.window
        if isinstance(window, str):
            window = _named_window(window, frame_length, self.periodic)
        window = jnp.asarray(window, dtype)
        if window.shape != (frame_length,):
            raise ValueError(
                f"`STFT` expected `window` to be of shape ({frame_length},). "
                f"Received: shape {window.shape}"
            )
        kernel = kernel * window.reshape(-1, 1, 1)
        if self.scaling == "density":
            kernel /= jnp.sqrt(jnp.sum(jnp.square(window)))
        elif self.scaling == "spectrum":
            kernel /= jnp.sum(jnp.abs(window))
        return kernel

    @staticmethod
    def _work(shape):
        """What making it takes, for a `Budget`: several arrays of its size."""
        return 128 * 4 * math.prod(shape) >> 20


def _named_window(name, length, periodic):
    from scipy.signal import get_window  # slow to import, and rarely needed

    return get_window(name, length, periodic)
