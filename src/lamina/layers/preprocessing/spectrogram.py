"""Layers that turn waves into spectrograms."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import initializers, ops
from lamina.core import settings
from lamina.core.budget import constant
from lamina.core.checks import one_of, positive_int
from lamina.core.dtypes import is_float
from lamina.core.input_spec import InputSpec
from lamina.core.tracebacks import warn
from lamina.layers.layer import Layer
from lamina.layers.preprocessing.data_layer import DataLayer

_MODES = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")


class STFTSpectrogram(Layer):
    r"""The frequencies in short frames of a wave, by kernels that can be trained.

    A frame $x$ gives $r_f = \sum_t x_t \, w_t \cos(2 \pi t f / N)$, and $i_f$ by sines.
    Input `(batch, time, channels)`, output `(batch, frames, channels * frequencies)`.

    Args:
        mode: `"magnitude"` for $\sqrt{r^2 + i^2}$, `"log"` for its logarithm, `"psd"`
            for $r^2 + i^2$ with the inner frequencies twice, `"real"` for $r$,
            `"imag"` for $i$, `"angle"` for the phase, `"stft"` for $r$ and then $i$.
        frame_length: samples in a frame.
        frame_step: samples between frames; half of `frame_length` when None.
        fft_length: $N$; the power of two from `frame_length` on when None.
        window: the name of a window of `scipy.signal`, an array, or None.
        periodic: whether a named window is periodic rather than symmetric.
        scaling: `"density"`, `"spectrum"` or None, see `initializers.STFT`.
        padding: `"valid"`, or `"same"` for a frame at every step of the wave.
        expand_dims: whether channels have an axis, the last one or axis 1.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: lengths that do not go together, or an unknown name.
        TypeError: it is called on integers.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.STFTSpectrogram("magnitude", frame_length=8)
    >>> layer(np.ones((1, 32, 1), "float32")).shape
    (1, 7, 5)
    """

    rows_independent = True

    def __init__(
        self,
        mode: str = "log",
        frame_length: int = 256,
        frame_step: int | None = None,
        fft_length: int | None = None,
        window: str | Callable | None = "hann",
        periodic: bool = False,
        scaling: str = "density",
        padding: str = "valid",
        expand_dims: bool = False,
        data_format: str | None = None,
        **kwargs,
    ):
        self.mode = one_of(self, "mode", mode, _MODES)
        if frame_step is not None and not 1 <= frame_step <= frame_length:
            raise ValueError(
                "`frame_step` should be a positive integer not greater than "
                f"`frame_length`. Received frame_step={frame_step}, "
                f"frame_length={frame_length}"
            )
        self.frame_length = positive_int(self, "frame_length", frame_length)
        self.frame_step, self.fft_length = frame_step, fft_length
        self._length = fft_length or 2 ** math.ceil(math.log2(frame_length))
        if self._length < frame_length:
            raise ValueError(
                "`fft_length` should be not less than `frame_length`. Received "
                f"fft_length={fft_length}, frame_length={frame_length}"
            )
        if self._length & (self._length - 1):
            warn(
                "`fft_length` is recommended to be a power of two. Received "
                f"fft_length={fft_length}"
            )
        # The initializers check these two.
        self.window, self.scaling, self.periodic = window, scaling, periodic
        sides = (mode,) if mode in ("real", "imag") else ("real", "imag")
        how = window, scaling, periodic
        self._kernels = {side: initializers.STFT(side, *how) for side in sides}
        self.padding = one_of(self, "padding", padding, ("valid", "same"))
        self.expand_dims = expand_dims
        super().__init__(**kwargs)
        self.data_format = settings.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=3)

    def build(self, input_shape):
        shape = (self.frame_length, 1, self._length // 2 + 1)
        for side, initializer in self._kernels.items():
            name = f"{side}_kernel"
            weight = self.add_weight(shape=shape, initializer=initializer, name=name)
            setattr(self, name, weight)

    def call(self, inputs):
        if not is_float(inputs.dtype):
            raise TypeError(
                f"`STFTSpectrogram` takes waves of floats. Received: {inputs.dtype}. "
                "Divide integer samples by their largest value first."
            )
        last = self.data_format == "channels_last"
        waves = jnp.swapaxes(inputs, 1, 2) if last else inputs
        batch, channels, time = waves.shape
        waves = waves.reshape(-1, time, 1)
        parts = [self._frames(waves, side) for side in self._kernels]
        spectra = self._combined(*parts)
        spectra = spectra.reshape(batch, channels, *spectra.shape[1:])
        if self.expand_dims:
            return jnp.moveaxis(spectra, 1, -1) if last else spectra
        spectra = jnp.moveaxis(spectra, 1, 2)
        flat = spectra.reshape(*spectra.shape[:2], channels * spectra.shape[3])
        return flat if last else jnp.swapaxes(flat, 1, 2)

    def _frames(self, waves, side):
        """Return frames by frequencies: `(rows, frames, frequencies)`."""
        kernel = getattr(self, f"{side}_kernel").value.astype(waves.dtype)
        step = self.frame_step or self.frame_length // 2
        return ops.conv(waves, kernel, step, self.padding, "channels_last")

    def _combined(self, one, other=None):
        if other is None:
            return one
        if self.mode == "angle":
            return jnp.arctan2(other, one)
        if self.mode == "stft":
            return jnp.concatenate([one, other], axis=-1)
        power = jnp.square(one) + jnp.square(other)
        if self.mode == "psd":
            return power.at[..., 1:-1].multiply(2)
        least = settings.epsilon()
        magnitude = jnp.sqrt(jnp.maximum(power, least))
        if self.mode == "magnitude":
            return magnitude
        return jnp.log(jnp.maximum(magnitude, least))


class MelSpectrogram(DataLayer):
    r"""The loudness of waves over time in bands as wide as the ear hears them.

    Magnitudes of the short-time Fourier transform to the power `mag_exp`, summed by
    triangles that are even on the mel scale, $m(f) = 1127 \ln(1 + f / 700)$. Input
    `(time,)` or `(batch, time)`, output `(..., num_mel_bins, frames)`.

    Args:
        fft_length: the length of the transform, in samples.
        sequence_stride: samples between frames.
        sequence_length: samples in the window; `fft_length` when None.
        window: `"hann"`, `"hamming"`, an array, or None.
        sampling_rate: samples per second.
        num_mel_bins: how many bands.
        min_freq: where the lowest band begins, in hertz.
        max_freq: where the highest band ends; half of `sampling_rate` when None.
        power_to_db: whether the result is in decibels.
        top_db: how far below the loudest entry of the whole call anything lies.
        mag_exp: the power of the magnitudes: 1 for amplitude, 2 for energy.
        min_power: the least power that has a logarithm.
        ref_power: the power that is 0 decibels.

    Raises:
        ValueError: `sequence_length` is more than `fft_length`.

    Source: Young et al., *The HTK Book*, 2006.

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.MelSpectrogram(
    ...     num_mel_bins=4, fft_length=64, sequence_stride=32, sampling_rate=800
    ... )
    >>> layer(np.zeros((1, 320), "float32")).shape
    (1, 4, 11)
    """

    def __init__(
        self,
        fft_length: int = 2048,
        sequence_stride: int = 512,
        sequence_length: int | None = None,
        window: str | Callable | None = "hann",
        sampling_rate: int = 16000,
        num_mel_bins: int = 128,
        min_freq: float = 20.0,
        max_freq: float | None = None,
        power_to_db: bool = True,
        top_db: float = 80.0,
        mag_exp: float = 2.0,
        min_power: float = 1e-10,
        ref_power: float = 1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.fft_length = positive_int(self, "fft_length", fft_length)
        self.sequence_stride = positive_int(self, "sequence_stride", sequence_stride)
        self.sequence_length = sequence_length or fft_length
        if self.fft_length < self.sequence_length:
            raise ValueError(
                "`fft_length` must be greater than or equal to `sequence_length`. "
                f"Received: sequence_length={sequence_length}, fft_length={fft_length}"
            )
        self.window = window
        if isinstance(window, str):
            one_of(self, "window", window, ("hann", "hamming"))
        if not sampling_rate > 0:
            raise ValueError(
                "`MelSpectrogram` expected `sampling_rate` to be a positive number. "
                f"Received: sampling_rate={sampling_rate!r}"
            )
        self.sampling_rate = sampling_rate
        self.num_mel_bins = positive_int(self, "num_mel_bins", num_mel_bins)
        self.min_freq = min_freq
        self.max_freq = max_freq or int(sampling_rate / 2)
        self.power_to_db, self.top_db = power_to_db, top_db
        self.mag_exp, self.min_power, self.ref_power = mag_exp, min_power, ref_power

    @property
    def rows_independent(self):
        return not self.power_to_db  # decibels end at `top_db` below the loudest row

    def compute_output_shape(self, input_shape):
        *batch, time = input_shape
        padded = self.fft_length % 2  # an odd transform is padded by one sample less
        frames = None if time is None else (time - padded) // self.sequence_stride + 1
        return (*batch, self.num_mel_bins, frames)

    def call(self, inputs):
        exact = self.compute_dtype in ("float32", "float64")
        waves = jnp.asarray(inputs, self.compute_dtype if exact else "float32")
        frames = self.sequence_length, self.sequence_stride, self.fft_length
        real, imag = ops.stft(waves, *frames, self.window)
        power = (jnp.square(real) + jnp.square(imag)) ** (self.mag_exp / 2)
        band = self.sampling_rate, self.min_freq, self.max_freq, power.dtype.name
        bands = power @ self.linear_to_mel_weight_matrix(
            self.num_mel_bins, power.shape[-1], *band
        )
        if self.power_to_db:
            reference = max(abs(self.ref_power), self.min_power)
            loudness = 10 * jnp.log10(jnp.maximum(bands, self.min_power))
            loudness = loudness - 10 * math.log10(reference)
            bands = jnp.maximum(loudness, loudness.max() - self.top_db)
        return jnp.swapaxes(bands, -1, -2).astype(self.compute_dtype)

    def linear_to_mel_weight_matrix(
        self,
        num_mel_bins: int = 20,
        num_spectrogram_bins: int = 129,
        sampling_rate: int = 8000,
        lower_edge_hertz: float = 125.0,
        upper_edge_hertz: float = 3800.0,
        dtype: Any = "float32",
    ):
        """Return the share that each band has of each frequency, (frequencies, bands).

        Bands are triangles of height 1, even on the mel scale; frequency 0 is in none.

        Args:
            num_mel_bins: how many bands.
            num_spectrogram_bins: how many frequencies, up to half the sampling rate.
            sampling_rate: samples per second.
            lower_edge_hertz: where the lowest band begins.
            upper_edge_hertz: where the highest band ends.
            dtype: the dtype of the result.
        """
        constant((num_spectrogram_bins, num_mel_bins), "float64", copies=6)
        hertz = np.linspace(0, sampling_rate / 2, num_spectrogram_bins)
        lowest, highest = _mel(np.array([lower_edge_hertz, upper_edge_hertz]))
        corners = np.linspace(lowest, highest, num_mel_bins + 2)
        lower, centre, upper = corners[:-2], corners[1:-1], corners[2:]
        place = _mel(hertz)[:, None]
        rising = (place - lower) / (centre - lower)
        falling = (upper - place) / (upper - centre)
        shares = np.maximum(0, np.minimum(rising, falling))
        shares[0] = 0
        return jnp.asarray(shares, dtype)


def _mel(hertz):
    return 1127 * np.log1p(hertz / 700)
