"""Layers that change colours and mix images, against Keras with the same seeds."""

import json

import jax
import keras
import numpy as np
import pytest

import lamina

BYTES = np.random.default_rng(0).uniform(0, 255, (3, 6, 7, 3)).astype("float32")
ONES = {"value_range": (0, 1)}
SEED = {"seed": 7}
TILES = {"tile_grid_size": (2, 3), "clip_limit": 3.0}
JITTER = {
    "brightness_factor": 0.3,
    "contrast_factor": 0.4,
    "saturation_factor": (0.2, 0.6),
    "hue_factor": 0.4,
}
CASES = [
    ("RandomBrightness", {"factor": 0.4, **SEED}),
    ("RandomBrightness", {"factor": (0.1, 0.3), **ONES, **SEED}),
    ("RandomContrast", {"factor": (0.2, 0.9), **SEED}),
    ("RandomColorDegeneration", {"factor": 0.6, **SEED}),
    ("RandomHue", {"factor": 0.6, **SEED}),
    ("RandomSaturation", {"factor": (0.1, 0.9), **SEED}),
    ("RandomSaturation", {"factor": (0.1, 0.9), **ONES, **SEED}),
    ("RandomSharpness", {"factor": (0.2, 1.0), **SEED}),
    ("RandomPosterization", {"factor": (2, 6), **SEED}),
    ("RandomPosterization", {"factor": 4, **ONES, **SEED}),
    ("RandomInvert", {"factor": 0.9, **SEED}),
    ("RandomGrayscale", {"factor": 0.5, **SEED}),
    ("RandomColorJitter", {**JITTER, **SEED}),
    ("Solarization", {"addition_factor": 0.3, "threshold_factor": (0.2, 0.8), **SEED}),
    ("RandomGaussianBlur", {"factor": (0.4, 1.0), "kernel_size": (3, 5), **SEED}),
    ("RandomErasing", {"factor": 0.9, **SEED}),
    ("RandomErasing", {"factor": (1, 1), "scale": 0.5, "fill_value": 3, **SEED}),
    ("AutoContrast", {**ONES}),
    ("Equalization", {"bins": 16}),
    ("ContrastLimitedAdaptiveHistogramEqualization", TILES),
    ("CutMix", {"factor": 0.8, **SEED}),
    ("MixUp", {"alpha": 0.4, **SEED}),
    ("RandAugment", {"num_ops": 3, **SEED}),
    ("AugMix", {"num_chains": 2, "chain_depth": 2, "all_ops": False, **SEED}),
]
NAMES = [f"{name}-{i}" for i, (name, _) in enumerate(CASES)]
# One case for each class.
EACH = {name: (name, kwargs) for name, kwargs in CASES if name != "RandomErasing"}
EACH["RandomErasing"] = CASES[16]
each = pytest.mark.parametrize(("name", "kwargs"), EACH.values(), ids=EACH)
# Keras picks the links of its chains with Python's own generator.
OURS_ALONE = {"AugMix"}


def images(kwargs):
    return BYTES / 255 if kwargs.get("value_range") == (0, 1) else BYTES


def make(name, kwargs):
    return getattr(lamina.layers, name)(**kwargs)


def close(a, b, atol=1e-3):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=atol)


def plain(layer):
    config = json.loads(json.dumps(layer.get_config()))
    if type(layer).__name__ == "RandomGrayscale":
        config.pop("seed", None)  # Keras forgets it
    return config


# Keras' MixUp asks JAX for integers that JAX does not have.
@pytest.mark.filterwarnings("ignore:.*dtype int64 requested in arange:UserWarning")
@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=NAMES)
def test_same_numbers_as_keras_for_the_same_seed(name, kwargs):
    kwargs = {"name": "one", **kwargs}
    layer, reference = make(name, kwargs), getattr(keras.layers, name)(**kwargs)
    config = plain(reference)
    assert plain(layer) == config
    assert plain(type(layer).from_config(config)) == config
    assert plain(type(reference).from_config(plain(layer))) == config
    if name not in OURS_ALONE:
        x = images(kwargs)
        # Keras' blur takes the height of the kernel for its width, against its docs.
        turn = (0, 2, 1, 3) if name == "RandomGaussianBlur" else (0, 1, 2, 3)
        expected = np.transpose(reference(x.transpose(turn), training=True), turn)
        close(layer(x, training=True) / x.max(), expected / x.max(), 2e-6)


@each
def test_compiled_in_graphs_and_channels_first(name, kwargs):
    x = images(kwargs)
    expected = make(name, kwargs)(x, training=True)
    assert expected.shape == x.shape and expected.dtype == "float32"

    layer = make(name, kwargs)
    state = [v.value for v in layer.variables]
    compiled = jax.jit(lambda s, x: layer.stateless_call([], s, x, training=True))
    outputs, new = compiled(state, x)
    close(outputs, expected)
    if kwargs.get("seed"):  # the next call draws other numbers
        assert any((a != b).any() for a, b in zip(state, new, strict=True))

    first = make(name, {**kwargs, "data_format": "channels_first"})
    moved = first(np.moveaxis(x, -1, 1), training=True)
    close(np.moveaxis(moved, 1, -1), expected)

    inputs = lamina.Input((None, None, 3))
    symbolic = make(name, kwargs)(inputs)
    assert symbolic.shape == (None, None, None, 3)
    assert symbolic.dtype == "float32"


@each
def test_bytes_single_images_and_inference(name, kwargs):
    x = images(kwargs)
    single = make(name, kwargs)(x[0], training=True)
    assert single.shape == x.shape[1:]
    if name != "CutMix":
        close(single, make(name, kwargs)(x[:1], training=True)[0])
    if "value_range" not in kwargs:
        whole = np.floor(x)
        outputs = make(name, kwargs)(whole.astype("uint8"), training=True)
        assert outputs.dtype == "float32"
        close(outputs, make(name, kwargs)(whole, training=True))
    layer = make(name, kwargs)
    if name in ("AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization"):
        close(layer(x, training=False), layer(x, training=True))
    else:
        assert (layer(x, training=False) == x).all()


def a_batch():
    return {
        "images": BYTES,
        "labels": np.eye(3, dtype="float32"),
        "segmentation_masks": np.arange(3 * 42).reshape(3, 6, 7, 1).astype("float32"),
        "bounding_boxes": {
            "boxes": np.array([[[1, 1, 3, 4], [0, 0, 5, 5]]] * 3, "float32"),
            "labels": np.array([[0, 1], [1, 2], [2, 0]]),
        },
    }


@pytest.mark.parametrize("name", ["RandomHue", "Equalization", "RandomErasing"])
def test_what_changes_colours_leaves_the_rest(name):
    kwargs = {} if name == "Equalization" else {"factor": 1.0, "seed": 1}
    layer = make(name, {**kwargs, "bounding_box_format": "xyxy"})
    outputs, batch = layer(a_batch(), training=True), a_batch()
    assert (outputs["images"] != batch["images"]).any()
    for key in ("labels", "segmentation_masks"):
        assert (outputs[key] == batch[key]).all()
    for key, value in batch["bounding_boxes"].items():
        assert (outputs["bounding_boxes"][key] == value).all()


@pytest.mark.filterwarnings("ignore:.*dtype int64 requested in arange:UserWarning")
@pytest.mark.parametrize(
    ("name", "kwargs"), [("CutMix", {"factor": 1.0}), ("MixUp", {"alpha": 1.0})]
)
def test_mixing_mixes_labels_as_images(name, kwargs):
    reference = getattr(keras.layers, name)(**kwargs, seed=5)
    batch = {k: a_batch()[k] for k in ("images", "labels")}
    outputs = make(name, {**kwargs, "seed": 5})(dict(batch), training=True)
    expected = reference(dict(batch), training=True)
    for key in batch:
        close(outputs[key], expected[key])
    close(np.sum(outputs["labels"], -1), np.ones(3), 1e-6)

    # Masks that are copies of the images come out as copies of the images.
    batch["segmentation_masks"] = batch["images"]
    outputs = make(name, {**kwargs, "seed": 5})(batch, training=True)
    close(outputs["segmentation_masks"], outputs["images"])


def test_mix_up_keeps_the_boxes_of_both():
    batch = a_batch()
    del batch["labels"], batch["segmentation_masks"]
    layer = make("MixUp", {"bounding_box_format": "xyxy", "seed": 3})
    boxes = layer(batch, training=True)["bounding_boxes"]
    assert boxes["boxes"].shape == (3, 4, 4) and boxes["labels"].shape == (3, 4)
    assert (boxes["labels"][:, :2] == a_batch()["bounding_boxes"]["labels"]).all()
    pairs = {tuple(row) for row in np.asarray(boxes["labels"][:, 2:])}
    assert pairs == {(0, 1), (1, 2), (2, 0)}


def test_cut_mix_refuses_boxes():
    layer = make("CutMix", {"bounding_box_format": "xyxy"})
    with pytest.raises(NotImplementedError, match="MixUp"):
        layer(a_batch(), training=True)


@pytest.mark.parametrize("name", ["RandAugment", "AugMix"])
def test_masks_move_with_the_images(name):
    # What a mask cannot show (colours) is left out by a factor of 0 or a fixed pick.
    layer = make(name, {"factor": (0.2, 0.2), "interpolation": "nearest", "seed": 2})
    batch = {"images": BYTES, "segmentation_masks": BYTES}
    drawn = layer.get_random_transformation(batch)
    moves = np.zeros_like(drawn["layer_idxes"])
    drawn["layer_idxes"] = moves + np.arange(moves.shape[-1]) % 3
    images = layer.transform_images(BYTES, drawn)
    masks = layer.transform_segmentation_masks(BYTES, drawn)
    assert (np.asarray(images) != BYTES).any()
    close(images, masks)


def test_rand_augment_moves_boxes_as_often_as_images():
    layer = make(
        "RandAugment",
        {"factor": (0.2, 0.2), "seed": 2, "bounding_box_format": "xyxy"},
    )
    batch = a_batch()
    boxes = {"boxes": batch["bounding_boxes"]["boxes"] * 0 + [2.0, 2.0, 3.0, 3.0],
             "labels": batch["bounding_boxes"]["labels"]}  # fmt: skip
    drawn = layer.get_random_transformation(batch)
    drawn["layer_idxes"] = np.array([1, 1])
    once = layer.random_translation.transform_bounding_boxes(
        dict(boxes), drawn["transforms"]["random_translation"]
    )
    twice = layer.random_translation.transform_bounding_boxes(
        dict(once), drawn["transforms"]["random_translation"]
    )
    outputs = layer.transform_bounding_boxes(dict(boxes), drawn)
    close(outputs["boxes"], twice["boxes"])
    assert (outputs["labels"] == twice["labels"]).all()


def test_aug_mix_draws_other_chains_at_every_step():
    layer = make("AugMix", {"seed": 1})
    a, b = (np.asarray(layer(BYTES, training=True)) for _ in range(2))
    assert np.abs(a - b).max() > 1
    again = make("AugMix", {"seed": 1})(BYTES, training=True)
    assert (a == again).all()
    assert a.min() >= 0 and a.max() <= 255


def test_a_channel_of_one_value_keeps_it():
    flat = np.full((1, 6, 7, 3), 60, "float32")
    for name in ("AutoContrast", "Equalization"):
        assert (make(name, {})(flat) == flat).all()


def test_erasing_takes_a_colour():
    layer = make(
        "RandomErasing", {"factor": (1, 1), "scale": (1, 1), "fill_value": [1, 2, 3]}
    )
    assert (layer(BYTES, training=True) == np.array([1, 2, 3])).all()


def test_in_a_model():
    layers = lamina.layers
    model = lamina.Sequential(
        [
            layers.RandomContrast(0.5, seed=1),
            layers.RandomInvert(seed=2),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    history = model.fit(BYTES / 255, np.zeros((3, 1)), batch_size=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_pipeline_of_dicts():
    layers = lamina.layers
    pipeline = layers.Pipeline(
        [layers.RandomBrightness((0.1, 0.1)), layers.MixUp(seed=1)]
    )
    batch = {k: a_batch()[k] for k in ("images", "labels")}
    outputs = pipeline(dict(batch), training=True)
    brighter = np.clip(BYTES + 25.5, 0, 255)
    expected = layers.MixUp(seed=1)({**batch, "images": brighter}, training=True)
    for key in batch:
        close(outputs[key], expected[key])
    assert (pipeline(dict(batch), training=False)["images"] == BYTES).all()

    restored = layers.Pipeline.from_config(pipeline.get_config())
    assert [type(x) for x in restored.layers] == [type(x) for x in pipeline.layers]
    assert restored.get_config() == pipeline.get_config()
    with pytest.raises(ValueError, match="layers"):
        layers.Pipeline.from_config({"layers": None})


BAD = [
    ("RandomBrightness", {"factor": 1.1}, "factor"),
    ("RandomBrightness", {"factor": "much"}, "factor"),
    ("RandomBrightness", {"factor": 0.1, "value_range": [1]}, "value_range"),
    ("RandomContrast", {"factor": -0.5}, "factor"),
    ("RandomHue", {"factor": (2, 3)}, "factor"),
    ("RandomPosterization", {"factor": 9}, "factor"),
    ("RandomGrayscale", {"factor": -0.1}, "factor"),
    ("RandomGaussianBlur", {"kernel_size": 4}, "odd"),
    ("RandomGaussianBlur", {"sigma": 2}, "sigma"),
    ("RandomErasing", {"fill_value": [1, 2]}, "fill_value"),
    ("RandomErasing", {"scale": (1, 2, 3)}, "scale"),
    ("Solarization", {"threshold_factor": 2}, "threshold_factor"),
    ("Equalization", {"bins": 0}, "bins"),
    ("ContrastLimitedAdaptiveHistogramEqualization", {"tile_grid_size": 0}, "tile_gri"),
    ("CutMix", {"factor": 2}, "factor"),
    ("AugMix", {"num_chains": 0}, "num_chains"),
]


@pytest.mark.parametrize(("name", "kwargs", "match"), BAD)
def test_bad_arguments(name, kwargs, match):
    with pytest.raises(ValueError, match=match):
        make(name, kwargs)


def test_bad_rank():
    with pytest.raises(ValueError, match="rank 3 or 4"):
        make("RandomBrightness", {"factor": 0.1})(np.zeros((4, 4)), training=True)


@pytest.mark.parametrize("name", ["RandomGrayscale", "RandomColorDegeneration"])
def test_gray_images_stay_as_they_are(name):
    images = np.random.default_rng(0).uniform(0, 255, (3, 4, 4, 1)).astype("float32")
    layer = make(name, {"factor": 0.9, "seed": 1})
    np.testing.assert_allclose(layer(images, training=True), images, rtol=1e-6)
