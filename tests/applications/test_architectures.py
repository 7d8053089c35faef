"""Every architecture beside real Keras: names, weights, configs and numbers.

An everyday run builds the small ones. All of them, in an hour: `LAMINA_TESTS=whole`.
"""

import inspect
import os

import keras
import numpy as np
import pytest

import lamina
from lamina import applications
from tests.parity.test_models import essential, plain

WHOLE = os.environ.get("LAMINA_TESTS") == "whole"
SIDES = {"Xception": 71, "InceptionV3": 75, "InceptionResNetV2": 75}
NAMES = [name for name in applications.__all__ if name[0].isupper()]
TOPS = NAMES if WHOLE else ["MobileNet", "MobileNetV3Small"]

# Arguments that change the graph, of the smallest of each family.
VARIANTS = [("MobileNetV2", {"include_top": False, "pooling": "max", "alpha": 0.35})]
if WHOLE:
    VARIANTS += [
        (name, {"include_top": False, "pooling": pooling})
        for name in (
            "ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0",
            "InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2",
            "MobileNetV3Small", "NASNetMobile", "ResNet50", "ResNet50V2", "VGG16",
            "Xception",
        )
        for pooling in (None, "avg", "max")
    ]  # fmt: skip
    VARIANTS += [
        ("ConvNeXtTiny", {"include_preprocessing": False}),
        ("MobileNet", {"depth_multiplier": 2, "alpha": 0.25, "dropout": 0.1}),
        ("EfficientNetV2B0", {"include_preprocessing": False}),
        ("EfficientNetV2S", {"include_preprocessing": False, "include_top": False}),
        ("MobileNetV2", {"alpha": 1.4}),
        ("MobileNetV3Small", {"minimalistic": True, "include_preprocessing": False}),
        ("MobileNetV3Large", {"alpha": 1.25, "dropout_rate": 0.0}),
        ("MobileNetV3Large", {"minimalistic": True, "alpha": 0.75}),
        ("ResNet50", {"classifier_activation": "softmax", "name": "mine"}),
    ]

# Keras refuses channels first for ConvNeXt, DenseNet and NASNet.
CHANNELS_FIRST = ["MobileNetV2"] if not WHOLE else [
    "EfficientNetB0", "EfficientNetV2B0", "InceptionResNetV2",
    "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Small", "ResNet50",
    "ResNet50V2", "VGG16", "Xception",
]  # fmt: skip


def both(name, arguments=None):
    """Build an architecture in both libraries, without weights."""
    side = SIDES.get(name, 32)
    arguments = {"weights": None, "input_shape": (side, side, 3)} | (arguments or {})
    if arguments.get("include_top", True):
        # Logits: a softmax of large ones would hide differences.
        arguments = {"classes": 10, "classifier_activation": None} | arguments
    theirs = getattr(keras.applications, name)(**arguments)
    return getattr(applications, name)(**arguments), theirs


def check_structure(ours, theirs):
    assert ours.name == theirs.name
    assert [(type(x).__name__, x.name) for x in ours.layers] == [
        (type(x).__name__, x.name) for x in theirs.layers
    ]
    assert [(w.path, tuple(w.shape), w.trainable) for w in ours.weights] == [
        (w.path, tuple(w.shape), w.trainable) for w in theirs.weights
    ]
    assert ours.count_params() == theirs.count_params()
    mine, expected = (essential(plain(m.get_config())) for m in (ours, theirs))
    assert mine == without_ids(expected)


def without_ids(config):
    if isinstance(config, list):
        return [without_ids(x) for x in config]
    if not isinstance(config, dict):
        return config
    return {k: without_ids(v) for k, v in config.items() if k != "shared_object_id"}


def randomize(model):
    """Give a model weights under which its numbers neither vanish nor explode."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        name, shape = weight.path.rpartition("/")[2], tuple(weight.shape)
        if "kernel" in name:
            inputs = shape[:2] if "depthwise" in weight.path else shape[:-1]
            value = random.normal(0, 1.2 / np.sqrt(np.prod(inputs)), shape)
        elif name == "gamma" or "variable" in name:
            value = random.uniform(0.4, 0.9, shape)
        elif "variance" in name:
            value = random.uniform(0.6, 1.4, shape)
        elif name in ("beta", "bias", "moving_mean", "mean"):
            value = random.normal(0, 0.1, shape)
        else:
            continue  # seeds and counts
        weight.assign(value.astype("float32"))


def images_for(model):
    shape = [side or 32 for side in model.input_shape[1:]]
    return np.random.default_rng(1).uniform(0, 255, (2, *shape)).astype("float32")


def check_numbers(ours, theirs):
    images = images_for(ours)
    listed = [images] if isinstance(theirs.input, list) else images
    expected = np.asarray(theirs(listed, training=False))
    scale = max(1.0, np.abs(expected).max())
    assert expected.std() > 1e-4  # the images make a difference
    np.testing.assert_allclose(ours(listed), expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("name", TOPS)
def test_numbers_with_a_top(name, tmp_path):
    ours, theirs = both(name)
    check_structure(ours, theirs)
    del ours
    randomize(theirs)
    path = tmp_path / "keras.weights.h5"
    theirs.save_weights(path)
    lamina.utils.clear_session()
    shape = theirs.input_shape[1:]
    build = getattr(applications, name)
    arguments = {"input_shape": shape, "classes": 10, "classifier_activation": None}
    check_numbers(build(weights=path, **arguments), theirs)


@pytest.mark.parametrize(("name", "arguments"), VARIANTS, ids=str)
def test_numbers_of_variants(name, arguments):
    ours, theirs = both(name, arguments)
    check_structure(ours, theirs)
    randomize(theirs)
    ours.set_weights([np.asarray(w) for w in theirs.weights])
    check_numbers(ours, theirs)


@pytest.mark.parametrize("name", CHANNELS_FIRST)
def test_channels_first(name):
    libraries = (lamina, keras)
    try:
        for library in libraries:
            library.config.set_image_data_format("channels_first")
        side = SIDES.get(name, 32)
        ours, theirs = both(
            name, {"include_top": False, "input_shape": (3, side, side)}
        )
        check_structure(ours, theirs)
    finally:
        for library in libraries:
            library.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("name", ["MobileNet", *(["MobileNetV2"] if WHOLE else [])])
def test_an_input_tensor(name):
    pair = []
    for library in (lamina, keras):
        x = library.Input((64, 64, 3), name="photo")
        half = library.layers.AveragePooling2D(2)(x)
        build = getattr(library.applications, name)
        pair.append(build(weights=None, alpha=0.35, input_tensor=half, classes=10))
    ours, theirs = pair
    check_structure(ours, theirs)
    randomize(theirs)
    ours.set_weights([np.asarray(w) for w in theirs.weights])
    check_numbers(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_signatures(name):
    ours, theirs = (
        inspect.signature(getattr(space, name)).parameters.values()
        for space in (applications, keras.applications)
    )
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


def test_families_have_what_keras_has():
    families = [name for name in applications.__all__ if name.islower()]
    assert len(families) == 17
    for family in families:
        theirs = getattr(keras.applications, family)
        ours = getattr(applications, family)
        names = {name for name in dir(theirs) if not name.startswith("_")}
        assert names <= set(ours.__all__), family


def test_files_go_both_ways(tmp_path):
    """The two layers that only these architectures have, in a small graph."""
    from keras.src.applications.convnext import LayerScale
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    from lamina.applications.scaling import CustomScaleLayer as adding
    from lamina.applications.scaling import LayerScale as scaling

    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    for source, target, scale, add, custom in (
        (keras, lamina, LayerScale, CustomScaleLayer, None),
        (lamina, keras, scaling, adding, {
            "LayerScale": LayerScale, "CustomScaleLayer": CustomScaleLayer,
        }),
    ):  # fmt: skip
        images = source.Input((4,))
        y = add(0.3)([images, scale(0.5, 4)(images)])
        model = source.Model(images, y)
        model.save(tmp_path / "x.keras")
        loaded = target.saving.load_model(tmp_path / "x.keras", custom_objects=custom)
        np.testing.assert_allclose(loaded(x), model(x), rtol=1e-6)


def test_fine_tuning_trains_the_head_only():
    base = applications.MobileNet(
        weights=None, include_top=False, alpha=0.25, input_shape=(32, 32, 3),
        pooling="avg",
    )  # fmt: skip
    base.trainable = False
    model = lamina.Sequential([base, lamina.layers.Dense(2)])
    model.compile("sgd", "mse")
    before = [np.asarray(w) for w in base.weights]
    images = images_for(base)
    model.fit(images, np.ones((2, 2), "float32"), verbose=0)
    for old, new in zip(before, base.weights, strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.asarray(model.layers[-1].bias).any()


@pytest.mark.parametrize("name", NAMES if WHOLE else ["MobileNet"])
def test_a_config_opens_without_more_being_allowed(name):
    model = getattr(applications, name)(weights=None)
    again = lamina.models.model_from_json(model.to_json())
    assert again.to_json() == model.to_json()
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]
