"""Spectrograms against real Keras."""

import keras
import numpy as np
import pytest

import lamina
from lamina.layers import MelSpectrogram, STFTSpectrogram

WAVES = np.random.default_rng(0).normal(size=(2, 150, 2)).astype("float32")
CASES = {
    "plain": {},
    "windowed": {
        "frame_step": 10, "fft_length": 64, "window": "hamming", "periodic": True,
        "scaling": "spectrum", "padding": "same",
    },
    "bare": {"window": None, "scaling": None, "expand_dims": True},
    "first": {
        "data_format": "channels_first", "expand_dims": True, "padding": "same",
        "window": np.linspace(1, 2, 32),
    },
    "flat": {"data_format": "channels_first"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "case"),
    [(m, "plain") for m in ("log", "magnitude", "psd", "real", "imag", "angle")]
    + [("stft", case) for case in CASES],
)
def test_stft_is_that_of_keras(mode, case):
    arguments = {"mode": mode, "frame_length": 32, **CASES[case]}
    channels_first = arguments.get("data_format") == "channels_first"
    x = np.moveaxis(WAVES, 1, 2) if channels_first else WAVES
    ours = STFTSpectrogram(**arguments)
    theirs = keras.layers.STFTSpectrogram(**arguments)
    expected = np.asarray(theirs(x))
    np.testing.assert_allclose(ours(x), expected, rtol=1e-5, atol=1e-5)
    names = [w.path.split("/")[-1] for w in ours.weights]
    assert names == [w.name for w in theirs.weights]
    drawn = ours(lamina.Input((2, None) if channels_first else (None, 2))).shape
    known = [n for n in drawn if n is not None]
    assert len(known) == len(drawn) - 2
    assert set(known) <= set(expected.shape)


def test_stft_layer():
    lamina.testing.check_layer(
        STFTSpectrogram,
        {"mode": "magnitude", "frame_length": 16, "frame_step": 8},
        WAVES[:, :40],
        reference=keras.layers.STFTSpectrogram,
        expected_output_shape=(2, 4, 18),
        expected_num_trainable_weights=2,
        expected_num_non_trainable_weights=0,
        mixed_precision=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {
            "sequence_length": 48, "window": "hamming", "min_freq": 50.0,
            "max_freq": 300.0, "top_db": 30.0, "mag_exp": 1.0, "min_power": 1e-5,
            "ref_power": 2.0,
        },
        {"power_to_db": False, "mag_exp": 1.5},
    ],
)  # fmt: skip
def test_mel_is_that_of_keras(arguments):
    arguments = {
        "fft_length": 64, "sequence_stride": 20, "sampling_rate": 800,
        "num_mel_bins": 6, **arguments,
    }  # fmt: skip
    ours, theirs = MelSpectrogram(**arguments), keras.layers.MelSpectrogram(**arguments)
    x = WAVES[..., 0] if ours.power_to_db else WAVES[0, :, 1]
    expected = np.asarray(theirs(x))
    np.testing.assert_allclose(ours(x), expected, rtol=2e-5, atol=2e-5)
    assert ours.compute_output_shape(x.shape) == expected.shape
    config, other = ours.get_config(), theirs.get_config()
    for key in ("name", "dtype"):
        del config[key], other[key]
    assert config == other
    assert ours(lamina.Input((None,))).shape == (None, 6, None)


def test_mel_matrix():
    found = MelSpectrogram().linear_to_mel_weight_matrix()
    expected = keras.layers.MelSpectrogram().linear_to_mel_weight_matrix()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frame_length": 256, "frame_step": 1024}, "`frame_step` should be"),
        ({"frame_step": 0}, "`frame_step` should be"),
        ({"fft_length": 128}, "`fft_length` should be not less"),
        ({"padding": "mine"}, "`padding` to be one of"),
        ({"scaling": "l2"}, "`scaling`"),
        ({"mode": "spectrogram"}, "`mode` to be one of"),
        ({"window": "unknowable"}, "unknowable|Unknown"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        STFTSpectrogram(**arguments)


def test_integers_and_odd_lengths():
    with pytest.raises(TypeError, match="takes waves of floats"):
        STFTSpectrogram()(np.ones((1, 400, 1), "int32"))
    with pytest.warns(UserWarning, match="power of two"):
        STFTSpectrogram(fft_length=300)
    with pytest.raises(ValueError, match="greater than or equal to `sequence_length`"):
        MelSpectrogram(fft_length=16, sequence_length=32)
