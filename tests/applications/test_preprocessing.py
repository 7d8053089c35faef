"""Images made ready for the models, as real Keras does."""

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import lamina
from lamina import applications

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 3))


def both(images, **options):
    ours = applications.imagenet_utils.preprocess_input(images.copy(), **options)
    theirs = keras.applications.imagenet_utils.preprocess_input(
        images.copy(), **options
    )
    return ours, theirs


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
@pytest.mark.parametrize("data_format", [None, "channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "float64"])
def test_arrays(mode, data_format, dtype):
    for images in (IMAGES.astype(dtype), IMAGES[0].astype(dtype)):
        ours, theirs = both(images, mode=mode, data_format=data_format)
        assert isinstance(ours, np.ndarray)
        assert ours.dtype == theirs.dtype
        atol = 0.2 if dtype == "float16" else 1e-4
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_jax_arrays(mode, data_format, dtype):
    options = {"mode": mode, "data_format": data_format}
    ours, _ = both(jnp.asarray(IMAGES, dtype), **options)
    # Keras cuts the means to integers where the images are integers of JAX.
    _, theirs = both(jnp.asarray(IMAGES, "float32"), **options)
    assert ours.dtype == theirs.dtype == "float32"
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_symbolic_tensors(mode, data_format):
    x = lamina.Input((3, 3, 3))
    function = applications.imagenet_utils.preprocess_input
    model = lamina.Model(x, function(x, data_format=data_format, mode=mode))
    images = IMAGES.astype("float32")
    expected = function(images, data_format=data_format, mode=mode)
    np.testing.assert_allclose(model(images), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", [*filter(str.islower, applications.__all__)])
def test_families(family):
    images = IMAGES.astype("float32")
    ours = getattr(applications, family).preprocess_input(images.copy())
    theirs = getattr(keras.applications, family).preprocess_input(images.copy())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_the_callers_array_stays_as_it_is():
    images = IMAGES.astype("float32")
    for mode in ("caffe", "tf", "torch"):
        applications.imagenet_utils.preprocess_input(images, mode=mode)
    np.testing.assert_array_equal(images, IMAGES)


@pytest.mark.parametrize("options", [{"mode": "pt"}, {"data_format": "last"}])
def test_bad_arguments(options):
    for space in (applications, keras.applications):
        with pytest.raises(ValueError):
            space.imagenet_utils.preprocess_input(IMAGES, **options)
