"""Where weights come from, and arguments that make no sense."""

import json

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

import lamina
from lamina import applications
from lamina.applications import building, imagenet_utils
from tests.applications.test_architectures import WHOLE, randomize

ROW = {"include_top": False, "input_shape": (32, 32, 3)}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache and the published addresses, as folders of this test."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(building, "ROOT", (tmp_path / "net").as_uri())
    monkeypatch.setattr(building, "HASHES", dict(building.HASHES))
    return tmp_path


def published(folder, path):
    """Return the path of a file as if it had been published at an address."""
    file = folder / "net" / path
    file.parent.mkdir(parents=True)
    return file


def legacy(model, file):
    with h5py.File(file, "w") as group:
        legacy_h5_format.save_weights_to_hdf5_group(group, model)


def test_published_weights_are_fetched_once(cache):
    theirs = keras.applications.MobileNet(weights=None, alpha=0.25, **ROW)
    randomize(theirs)
    file = published(cache, "mobilenet/mobilenet_2_5_224_tf_no_top.h5")
    legacy(theirs, file)
    model = applications.MobileNet(alpha=0.25, **ROW)
    for ours, expected in zip(model.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(ours, expected)
    file.unlink()
    applications.MobileNet(alpha=0.25, **ROW)
    assert (cache / "cache/models/mobilenet_2_5_224_tf_no_top.h5").exists()


def test_a_file_with_a_wrong_hash_is_refused(cache):
    path = "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    published(cache, path).write_bytes(b"not these")
    with pytest.raises(ValueError, match="corrupted"):
        applications.VGG16(**ROW)


def test_without_a_network_the_error_says_what_to_do(cache, monkeypatch):
    monkeypatch.setattr(building, "ROOT", "http://127.0.0.1:9/files")
    with pytest.raises(OSError, match=r"could not be fetched") as error:
        applications.ResNet50()
    text = str(error.value)
    name = "resnet50_weights_tf_dim_ordering_tf_kernels.h5"
    assert f"http://127.0.0.1:9/files/resnet/{name}" in text
    assert f"~/.keras/models/{name}" in text


# Keras builds a model before it asks for its weights: most of these are slow.
ADDRESSES = [
    ("MobileNetV3Small", {"minimalistic": True, "include_top": False},
     "weights_mobilenet_v3_small_minimalistic_224_1.0_float_no_top_v2.h5"),
]  # fmt: skip
if WHOLE:
    ADDRESSES += [
        ("NASNetLarge", {}, "nasnet/NASNet-large.h5"),
        ("NASNetMobile", ROW, "nasnet/NASNet-mobile-no-top.h5"),
        ("MobileNetV2", {"alpha": 1.3, "input_shape": (96, 96, 3)},
         "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.3_96.h5"),
        ("MobileNetV3Large", {"alpha": 0.75},
         "mobilenet_v3/weights_mobilenet_v3_large_224_0.75_float.h5"),
        ("ConvNeXtTiny", {}, "convnext/convnext_tiny.h5"),
        ("EfficientNetV2S", ROW, "efficientnet_v2/efficientnetv2-s_notop.h5"),
        ("EfficientNetB0", {}, "keras-applications/efficientnetb0.h5"),
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined:UserWarning")
@pytest.mark.parametrize(("name", "arguments", "path"), ADDRESSES, ids=str)
def test_addresses_are_those_of_keras(cache, monkeypatch, name, arguments, path):
    asked = []

    def fetch(fname=None, origin=None, **options):
        asked.append((fname, origin.split("//")[-1], options))
        raise OSError("no network")

    monkeypatch.setattr(building, "get_file", fetch)
    monkeypatch.setattr(building, "ROOT", "https://storage.googleapis.com/tensorflow/"
                        "keras-applications")  # fmt: skip
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fetch)
    for space in (applications, keras.applications):
        with pytest.raises(OSError, match="no network"):
            getattr(space, name)(**arguments)
    ours, theirs = asked
    assert ours[:2] == theirs[:2]
    assert ours[1].endswith(path)
    expected = theirs[2].get("file_hash")
    assert ours[2] == {"cache_subdir": "models", "file_hash": expected}


def test_efficientnet_scales_once_more_for_published_weights(cache, monkeypatch):
    """The published normalization holds deviations in place of variances."""
    monkeypatch.setattr(building.Plan, "_fetched", lambda *_: None)
    ours = applications.EfficientNetB0(**ROW).layers[3]
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *a, **k: "x.h5")
    monkeypatch.setattr(keras.Model, "load_weights", lambda *a, **k: None)
    theirs = keras.applications.EfficientNetB0(**ROW).layers[3]
    assert ours.name == theirs.name
    np.testing.assert_allclose(ours.scale, theirs.scale)


def test_decoded_predictions(cache, monkeypatch):
    table = {str(i): [f"n{i:08}", f"class {i}"] for i in range(1000)}
    file = cache / "imagenet_class_index.json"
    file.write_text(json.dumps(table))
    monkeypatch.setattr(imagenet_utils, "CLASSES", (file.as_uri(), None))
    monkeypatch.setattr("keras.src.applications.imagenet_utils.CLASS_INDEX", table)
    predictions = np.random.default_rng(0).uniform(size=(3, 1000)).astype("float32")
    for top in (5, 1):
        ours = applications.resnet50.decode_predictions(predictions, top)
        assert ours == keras.applications.resnet50.decode_predictions(predictions, top)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("VGG16", {"weights": "image"}, "expected 'imagenet', None, or the path"),
        ("VGG16", {"weights": "no/such.h5"}, "no/such.h5"),
        ("ResNet50", {"classes": 10}, "`classes` must be 1000"),
        ("ResNet50", {"classes": 0, "weights": None}, "positive integer"),
        ("ResNet50", {"classifier_activation": "relu"}, "'softmax' or None"),
        ("ResNet50", {"input_shape": (64, 64, 3)}, r"for images \(224, 224, 3\)"),
        ("ResNet50", {"input_shape": (None, None, 3), "weights": None}, "height and"),
        ("ResNet50", {"input_shape": (64, 64), "weights": None}, "three integers"),
        ("ResNet50", {"input_shape": (8, 8, 3), "weights": None}, "at least 32 x 32"),
        ("Xception", {"input_shape": (70, 99, 3), "weights": None}, "least 71 x 71"),
        ("ResNet50", {"input_shape": (64, 64, 4), "include_top": False}, "3 channels"),
        ("ResNet50", {"pooling": "sum", "weights": None}, "'avg', 'max' or None"),
        ("ResNet50", {"input_tensor": np.ones((1, 32, 32, 3))}, "symbolic tensor"),
        ("MobileNet", {"alpha": 0.3}, r"\[0.25, 0.5, 0.75, 1.0\]"),
        ("MobileNet", {"alpha": 0, "weights": None}, "positive number"),
        ("MobileNet", {"depth_multiplier": 2}, "depth_multiplier=1"),
        ("MobileNetV3Small", {"minimalistic": True, "alpha": 0.75}, r"\[1.0\]"),
        ("NASNetMobile", {"input_shape": (None, None, 3), "include_top": False,
                          "weights": None}, "include_top=False"),
    ],
)  # fmt: skip
def test_bad_arguments(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(applications, name)(**arguments)


def test_an_unknown_argument_is_named():
    with pytest.raises(TypeError, match="`VGG16` .*'weight'"):
        applications.VGG16(weight=None)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("name", ["ConvNeXtTiny", "NASNetMobile"])
def test_channels_first_is_refused(name):
    lamina.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels last only"):
            getattr(applications, name)(weights=None)
    finally:
        lamina.config.set_image_data_format("channels_last")


def test_images_of_other_channels_warn():
    with pytest.warns(UserWarning, match="with 2 of them"):
        applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 2))
