import keras
import numpy as np
import pytest

from lamina import initializers

NAMES = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "STFT",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
]


@pytest.mark.parametrize("name", NAMES)
def test_config_is_that_of_keras_and_goes_both_ways(name):
    ours = getattr(initializers, name)()
    theirs = getattr(keras.initializers, name)()
    config = keras.initializers.serialize(theirs)
    assert initializers.serialize(ours) == config
    assert type(initializers.deserialize(config)) is type(ours)
    assert type(keras.initializers.deserialize(config)) is type(theirs)


@pytest.mark.parametrize("name", ["he_normal", "HeNormal", "zeros", "one", "uniform"])
def test_get_by_name(name):
    ours = type(initializers.get(name)).__name__
    assert ours == type(keras.initializers.get(name)).__name__


def test_get_takes_what_keras_takes():
    assert initializers.get(None) is None
    assert isinstance(initializers.get(initializers.Ones), initializers.Ones)
    assert initializers.get(len) is len
    given = initializers.get(np.array([1.0, 2.0]))
    assert given((2,), dtype="float16").tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"shape=\(3,\)"):
        given((3,))


def test_get_names_the_nearest():
    with pytest.raises(ValueError, match="'he_normal'"):
        initializers.get("he_norml")
    with pytest.raises(ValueError, match="identifier: 3"):
        initializers.get(3)


@pytest.mark.parametrize("value", [2.5, [1.0, 2.0, 3.0], np.array([[1.0], [2.0]])])
def test_constant(value):
    ours = initializers.Constant(value)((2, 3), "float16")
    theirs = keras.initializers.Constant(value)((2, 3), "float16")
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_the_gain_of_identity_is_saved():
    # Keras 3.15 leaves it out, but reads it.
    config = initializers.serialize(initializers.Identity(2.0))
    assert initializers.deserialize(config).gain == 2.0
    assert keras.initializers.deserialize(config).gain == 2.0


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2)])
def test_identity(shape):
    np.testing.assert_array_equal(
        initializers.Identity(2.0)(shape), keras.initializers.Identity(2.0)(shape)
    )
    with pytest.raises(ValueError, match=r"shape=\(3,\)"):
        initializers.Identity()((3,))


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"side": "imag", "scaling": "spectrum", "periodic": True},
        {"window": None},
        {"window": np.linspace(0, 1, 16), "scaling": None},
    ],
)
def test_stft(kwargs):
    ours = initializers.STFT(**kwargs)((16, 1, 9))
    theirs = keras.initializers.STFT(**kwargs)((16, 1, 9))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.STFT(side="left"), "side='left'"),
        (lambda: initializers.STFT(scaling="loud"), "scaling='loud'"),
        (lambda: initializers.STFT(window=[1.0])((4, 1, 3)), r"shape \(1,\)"),
    ],
)
def test_bad_stft(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_base_asks_for_a_call():
    with pytest.raises(NotImplementedError, match="__call__"):
        initializers.Initializer()((2,))
