"""Layers that move and resize images: Keras' numbers, for seeds and for given moves."""

import jax
import keras
import numpy as np
import pytest

import lamina

random = np.random.default_rng(0)
IMAGES = random.uniform(0, 255, (3, 6, 8, 2)).astype("float32")
MASKS = random.integers(0, 4, (3, 6, 8, 1))
LABELS = np.arange(6).reshape(3, 2)
CORNERS = np.sort(random.uniform(0, 6, (3, 2, 2, 2)), axis=2).reshape(3, 2, 4)
DRAWS = {
    "RandomFlip": [{}, {"mode": "horizontal"}, {"mode": "vertical"}],
    "RandomTranslation": [
        {"height_factor": 0.4, "width_factor": (-0.2, 0.3)},
        {
            "height_factor": 0.4, "width_factor": 0.1, "fill_mode": "wrap",
            "interpolation": "nearest",
        },
    ],
    "RandomZoom": [
        {"height_factor": 0.4},
        {
            "height_factor": (-0.2, 0.5), "width_factor": 0.3, "fill_value": 3.0,
            "fill_mode": "constant",
        },
    ],
    "RandomRotation": [{"factor": 0.3}, {"factor": (0.1, 0.4), "fill_mode": "nearest"}],
    "RandomShear": [{"x_factor": 0.3, "y_factor": (0.2, 0.4)}],
    "RandomPerspective": [{"factor": (0.5, 1.0), "scale": 0.6}],
    "RandomElasticTransform": [{"scale": (0.6, 0.9), "factor": 0.9}],
    "RandomCrop": [{"height": 4, "width": 3}, {"height": 7, "width": 3}],
}  # fmt: skip
SIZES = {
    "CenterCrop": [{"height": 4, "width": 3}, {"height": 9, "width": 3}],
    "Resizing": [
        {"height": 5, "width": 13},
        {
            "height": 5, "width": 13, "pad_to_aspect_ratio": True, "fill_value": 2.0,
            "interpolation": "nearest",
        },
        {
            "height": 5, "width": 13, "crop_to_aspect_ratio": True, "antialias": True,
            "interpolation": "bicubic",
        },
    ],
}  # fmt: skip
EVERY = [
    (n, kw) for table in (DRAWS, SIZES) for n, cases in table.items() for kw in cases
]
FIRST = [(n, cases[0]) for table in (DRAWS, SIZES) for n, cases in table.items()]
EXACT = {"rtol": 1e-5, "atol": 2e-3}  # of 255


def made(library, name, **kwargs):
    seed = {"seed": 5} if name in DRAWS else {}
    return getattr(library.layers, name)(**kwargs, **seed)


def together(style="xyxy"):
    boxes = lamina.utils.bounding_boxes.convert_format(CORNERS, "xyxy", style, 6, 8)
    return {
        "images": IMAGES,
        "segmentation_masks": MASKS,
        "bounding_boxes": {"boxes": np.asarray(boxes), "labels": LABELS.copy()},
        "labels": LABELS,
        "sample_weight": np.arange(3.0),
    }


@pytest.mark.parametrize(("name", "kwargs"), EVERY)
def test_a_seed_gives_the_images_of_keras(name, kwargs):
    ours, theirs = (made(library, name, **kwargs) for library in (lamina, keras))
    more = (IMAGES.astype("uint8"), IMAGES[0]) if (name, kwargs) in FIRST else ()
    for images in (IMAGES, *more):
        expected, result = theirs(images), ours(images)
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(result, expected, **EXACT)


@pytest.mark.parametrize(("name", "kwargs"), FIRST)
def test_channels_first_is_the_same_picture(name, kwargs):
    last = made(lamina, name, **kwargs)(IMAGES)
    first = made(lamina, name, **kwargs, data_format="channels_first")
    first = first(np.moveaxis(IMAGES, -1, 1))
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), last, **EXACT)


# Keras' RandomCrop takes x for y; its rotation and perspective know "xyxy" only; its
# crops blend classes where they resize masks, and its elastic masks move otherwise.
OWN_BOXES = ("RandomElasticTransform", "RandomCrop")
CORNERS_ONLY = ("RandomRotation", "RandomPerspective")


@pytest.mark.parametrize(
    ("name", "kwargs"), [c for c in EVERY if c[0] not in OWN_BOXES]
)
def test_boxes_and_masks_move_as_in_keras(name, kwargs):
    style = "xyxy" if name in CORNERS_ONLY else "rel_xywh"
    result, expected = (
        made(library, name, **kwargs, bounding_box_format=style)(together(style))
        for library in (lamina, keras)
    )
    for key in ("boxes", "labels"):
        np.testing.assert_allclose(
            result["bounding_boxes"][key], expected["bounding_boxes"][key], atol=1e-4
        )
    if name != "CenterCrop" or kwargs["height"] < 6:
        masks = [np.asarray(r["segmentation_masks"]) for r in (result, expected)]
        assert masks[0].dtype == "int32"  # Keras casts some
        np.testing.assert_array_equal(*masks)
    for key in ("labels", "sample_weight"):
        np.testing.assert_array_equal(result[key], expected[key])


@pytest.mark.parametrize(
    ("name", "kwargs"), [c for c in FIRST if c[0] != "RandomElasticTransform"]
)
def test_boxes_do_not_depend_on_how_they_are_written(name, kwargs):
    convert = lamina.utils.bounding_boxes.convert_format
    size = (kwargs["height"], kwargs["width"]) if "height" in kwargs else (6, 8)
    results = [
        convert(
            made(lamina, name, **kwargs, bounding_box_format=style)(together(style))[
                "bounding_boxes"
            ],
            style, "xyxy", *size,
        )
        for style in ("xyxy", "rel_center_xywh")
    ]  # fmt: skip
    np.testing.assert_allclose(results[0]["boxes"], results[1]["boxes"], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "kwargs"), [c for c in FIRST if c[0] != "RandomElasticTransform"]
)
def test_boxes_follow_what_they_surround(name, kwargs):
    images = np.zeros((1, 30, 40, 1), "float32")
    images[:, 12:18, 16:24] = 255
    data = {
        "images": images,
        "bounding_boxes": {
            "boxes": np.array([[[16.0, 12.0, 24.0, 18.0]]]),
            "labels": np.array([[3]]),
        },
    }
    if "height" in kwargs:
        kwargs = {"height": 24, "width": 30}
    more = {"fill_mode": "constant"} if "fill_mode" in DRAWS.get(name, [{}])[-1] else {}
    layer = made(lamina, name, **{**kwargs, **more}, bounding_box_format="xyxy")
    result = layer(data)
    rows, columns = np.nonzero(np.asarray(result["images"])[0, ..., 0] > 100)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    # Keras' way to slant boxes, in shares of unequal sides, is a rough one.
    tolerance = 3 if name == "RandomShear" else 1
    box = np.asarray(result["bounding_boxes"]["boxes"])[0, 0]
    np.testing.assert_allclose(box, seen, atol=tolerance)


def test_elastic_masks_move_with_images():
    layer = lamina.layers.RandomElasticTransform(
        (1, 1), (0.9, 1), interpolation="nearest", seed=1
    )
    masks = random.integers(0, 4, (2, 40, 40, 1))
    result = layer({"images": masks.astype("float32"), "segmentation_masks": masks})
    np.testing.assert_array_equal(result["images"], result["segmentation_masks"])
    assert (np.asarray(result["images"]) != masks).any()
    layer.bounding_box_format = "xyxy"
    with pytest.raises(NotImplementedError, match="does not support bounding boxes"):
        layer(together())


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("RandomTranslation", {"translations": np.array([[1.0, -2.0]])}),
        ("RandomZoom", {"height_zoom": [[0.4]], "width_zoom": [[1.7]]}),
        ("RandomShear", {"shear_factor": np.array([[0.5, 0.2]])}),
        (
            "RandomPerspective",
            {
                "apply_perspective": np.array([True]),
                "start_points": np.array([[[0.0, 0], [7, 0], [0, 5], [7, 5]]]),
                "end_points": np.array([[[1.0, 0], [7, 1], [0, 4], [6, 5]]]),
            },
        ),
    ],
)
def test_given_moves_are_made(name, drawn):
    drawn = {k: np.asarray(v, "float32") if k != "apply_perspective" else v
             for k, v in drawn.items()}  # fmt: skip
    drawn["input_shape"] = (1, 6, 8, 2)
    results = []
    for library in (lamina, keras):
        layer = made(library, name, **DRAWS[name][0], bounding_box_format="xyxy")
        boxes = {"boxes": CORNERS[:1].astype("float32"), "labels": LABELS[:1]}
        images = layer.transform_images(IMAGES[:1], drawn)
        results.append((images, layer.transform_bounding_boxes(boxes, drawn)["boxes"]))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, **EXACT)


@pytest.mark.parametrize(("name", "kwargs"), FIRST)
def test_compiled_and_symbolic_calls(name, kwargs):
    layer = made(lamina, name, **kwargs)
    inputs = lamina.Input((None, None, 2))
    spec = layer(inputs)
    assert spec.shape[0] is None and spec.shape[-1] == 2
    assert spec.shape[1:3] == (kwargs.get("height"), kwargs.get("width"))
    expected = made(lamina, name, **kwargs)(IMAGES, training=True)
    state = [v.value for v in layer.non_trainable_variables]
    call = jax.jit(lambda state, x: layer.stateless_call([], state, x, training=True))
    result, after = call(state, IMAGES)
    np.testing.assert_allclose(result, expected, **EXACT)
    if name in DRAWS and name != "RandomFlip":
        again, _ = call(after, IMAGES)
        assert not np.allclose(again, result)


@pytest.mark.parametrize("name", [n for n in DRAWS if n != "RandomCrop"])
def test_outside_of_training_nothing_moves(name):
    layer = made(lamina, name, **DRAWS[name][0], bounding_box_format="xyxy")
    data = together()
    result = layer(data, training=False)
    np.testing.assert_array_equal(result["images"], IMAGES)
    np.testing.assert_array_equal(result["segmentation_masks"], MASKS)
    np.testing.assert_allclose(result["bounding_boxes"]["boxes"], CORNERS, rtol=1e-6)
    assert data["bounding_boxes"].keys() == {"boxes", "labels"}


def test_random_crops_are_parts_of_images():
    layer = lamina.layers.RandomCrop(2, 3, seed=0, bounding_box_format="xyxy")
    pixels = np.arange(48.0).reshape(1, 6, 8, 1)
    whole = {"boxes": np.array([[[0.0, 0, 8, 6]]]), "labels": np.array([[1]])}
    places = set()
    for _ in range(12):
        result = layer({"images": pixels, "bounding_boxes": whole})
        part = np.asarray(result["images"])[0, ..., 0]
        top, left = divmod(int(part[0, 0]), 8)
        np.testing.assert_array_equal(
            part, pixels[0, top : top + 2, left : left + 3, 0]
        )
        assert result["bounding_boxes"]["boxes"].tolist() == [[[0, 0, 3, 2]]]
        places.add((top, left))
    assert len(places) > 4
    assert layer(pixels, training=False).shape == pixels.shape


def test_flips_by_hand():
    layer = lamina.layers.RandomFlip("horizontal", seed=3)
    flipped = np.array(
        [(y == x[:, ::-1]).all() for x, y in zip(IMAGES, layer(IMAGES), strict=True)]
    )
    kept = np.array(
        [(y == x).all() for x, y in zip(IMAGES, made_again(layer), strict=True)]
    )
    assert (flipped ^ kept).all()


def made_again(layer):
    return type(layer).from_config(layer.get_config())(IMAGES)


@pytest.mark.parametrize("batched", [True, False])
def test_every_image_gets_as_many_boxes(batched):
    layer = lamina.layers.MaxNumBoundingBoxes(
        3, fill_value=-2, bounding_box_format="xyxy"
    )
    data = together() if batched else jax.tree.map(lambda x: x[0], together())
    result = layer(data)["bounding_boxes"]
    assert result["labels"].tolist() == (
        [[0, 1, -2], [2, 3, -2], [4, 5, -2]] if batched else [0, 1, -2]
    )
    assert (np.asarray(result["boxes"])[..., 2, :] == -2).all()
    fewer = lamina.layers.MaxNumBoundingBoxes(1, bounding_box_format="xyxy")
    np.testing.assert_allclose(
        fewer(data)["bounding_boxes"]["boxes"],
        data["bounding_boxes"]["boxes"][..., :1, :],
        rtol=1e-6,
    )
    again = lamina.layers.deserialize(lamina.layers.serialize(layer))
    assert (again.max_number, again.fill_value) == (3, -2)


def test_lists_of_boxes_are_filled_up():
    layer = lamina.layers.RandomFlip("horizontal", seed=0, bounding_box_format="xyxy")
    boxes = [[[1, 1, 2, 2], [3, 3, 4, 4]], [[1, 2, 3, 4]], [[0, 0, 1, 1]]]
    data = {
        "images": IMAGES,
        "bounding_boxes": {"boxes": boxes, "labels": [[5, 6], [7], [8]]},
    }
    result = layer(data)["bounding_boxes"]
    assert result["boxes"].shape == (3, 2, 4)
    assert result["labels"].tolist() == [[5, 6], [7, -1], [8, -1]]


BAD_BOXES = {
    "a dict with keys": np.zeros((3, 2, 4)),
    "to have rank 2 or 3": {"boxes": np.zeros(4), "labels": np.zeros(1)},
    "to have rank 1 or 2": {"boxes": np.zeros((2, 4)), "labels": np.zeros((1, 1, 2))},
    "must also be a list": {"boxes": [[1, 2, 3, 4]], "labels": np.zeros(1)},
    "of the same length": {"boxes": [[1, 2, 3, 4]], "labels": [1, 2]},
}


@pytest.mark.parametrize("message", BAD_BOXES)
def test_bad_boxes(message):
    layer = lamina.layers.RandomFlip(bounding_box_format="xyxy")
    with pytest.raises(ValueError, match=message):
        layer({"images": IMAGES, "bounding_boxes": BAD_BOXES[message]})


def test_boxes_need_a_format():
    with pytest.raises(ValueError, match="Give it `bounding_box_format=`"):
        lamina.layers.RandomFlip()(together())


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("RandomFlip", {"mode": "diagonal"}, "`mode`.*Received: mode='diagonal'"),
        (
            "RandomRotation",
            {"factor": 1.5},
            r"`factor` .*in the range \[-1, 1\]. Received: factor=1.5",
        ),
        ("RandomRotation", {"factor": "much"}, "`factor` argument should be a number"),
        ("RandomRotation", {"factor": 0.1, "fill_mode": "zero"}, "`fill_mode`"),
        ("RandomZoom", {"height_factor": -1.0}, "`height_factor` argument"),
        ("RandomZoom", {"height_factor": 0.1, "width_factor": (-1, 1)}, "width_factor"),
        (
            "RandomTranslation",
            {"height_factor": [0.1, 0.2, 0.3], "width_factor": 0},
            "`height_factor` argument",
        ),
        (
            "RandomTranslation",
            {"height_factor": 0, "width_factor": (-2, 0)},
            "width_factor",
        ),
        ("RandomShear", {"x_factor": -0.1}, r"`x_factor` .*in the range \[0, 1\]"),
        ("RandomPerspective", {"scale": 1.5}, "`scale` argument should be a number"),
        ("RandomElasticTransform", {"interpolation": "cubic"}, "`interpolation`"),
        ("RandomCrop", {"height": 0, "width": 3}, "`height` to be a positive integer"),
        ("CenterCrop", {"height": 3, "width": 2.5}, "`width` to be a positive integer"),
        ("Resizing", {"height": 3, "width": 3, "interpolation": "no"}, "interpolation"),
        (
            "Resizing",
            {"height": 3, "width": 3, "crop_to_aspect_ratio": True,
             "pad_to_aspect_ratio": True},
            "at most one",
        ),
        ("MaxNumBoundingBoxes", {"max_number": 0}, "`max_number` to be a positive"),
    ],
)  # fmt: skip
def test_bad_arguments(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        getattr(lamina.layers, name)(**kwargs)


def test_images_of_another_rank():
    with pytest.raises(ValueError, match=r"rank 3 or 4.*inputs.shape=\(6, 8\)"):
        lamina.layers.CenterCrop(2, 2)(IMAGES[0, ..., 0])


def test_a_layer_of_ones_own():
    base = lamina.layers.RandomFlip.__mro__[2]

    class Shade(base):
        def get_random_transformation(self, data, training=True, seed=None):
            return (
                lamina.random.uniform((), seed=self._seed(seed)) if training else None
            )

        def transform_images(self, images, transformation, training=True):
            return images * transformation if training else images

        def transform_labels(self, labels, transformation, training=True):
            return labels + 1

    layer = Shade(seed=2, factor=(0.1, 0.2))
    result = layer({"images": IMAGES[0], "labels": np.array(4)})
    share = np.asarray(result["images"]) / IMAGES[0]
    assert 0 < share.min() and np.ptp(share) < 1e-6
    assert int(result["labels"]) == 5
    config = layer.get_config()
    assert config["factor"] == (0.1, 0.2) and "bounding_box_format" not in config
    assert (Shade.from_config(config)(IMAGES[0]) == result["images"]).all()


def test_an_unseeded_crop_follows_the_global_seed_as_keras_does():
    images = np.random.default_rng(0).uniform(size=(2, 30, 20, 1)).astype("float32")
    crops = []
    for m in (lamina, keras):
        m.utils.set_random_seed(7)
        layer = m.layers.RandomCrop(5, 4)
        crops.append([np.asarray(layer(images, training=True)) for _ in range(3)])
        crops[-1].append(layer.get_config()["seed"])
        again = type(layer).from_config(layer.get_config())
        crops[-1].append(np.asarray(again(images, training=True)))
    for ours, theirs in zip(*crops, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "make",
    [
        lambda L: L.RandomFlip(dtype="float16"),
        lambda L: L.CutMix(dtype="float16"),
        lambda L: L.CenterCrop(4, 4, dtype="float16"),
        lambda L: L.CenterCrop(9, 9, dtype="float16"),
        lambda L: L.RandomCrop(4, 4, dtype="float16"),
        lambda L: L.RandAugment(dtype="float16"),
    ],
)
def test_classes_of_pixels_are_not_rounded(make):
    masks = np.full((2, 8, 8, 1), 2051)
    data = {"images": np.ones((2, 8, 8, 3)), "labels": np.eye(2)}
    got = make(lamina.layers)({**data, "segmentation_masks": masks}, training=True)
    assert set(np.unique(got["segmentation_masks"])) <= {0, 2051}


@pytest.mark.parametrize("batched", [True, False])
def test_helpers_move_points_and_boxes_as_keras_do(batched):
    draw = np.random.default_rng(0).uniform
    boxes = np.sort(draw(0, 9, (2, 3, 2, 2)), axis=2).reshape(2, 3, 4).astype("float32")
    shifts = draw(-3, 3, (2, 2, 1)).astype("float32")
    edges = np.sort(draw(0, 9, (2, 2, 2, 1)), axis=1).astype("float32")
    matrices = draw(-1, 1, (2, 8)).astype("float32")
    calls = {
        "RandomTranslation": ("get_shifted_bbox", shifts),
        "RandomShear": ("get_shifted_bbox", shifts),
        "RandomZoom": ("get_clipped_bbox", [*edges[0][::-1], *edges[1][::-1]]),
    }
    for name, (helper, numbers) in calls.items():
        ours, theirs = (getattr(m.layers, name)(0.1, 0.1) for m in (lamina, keras))
        given = {"boxes": boxes if batched else boxes[0], "labels": np.zeros(3)}
        numbers = numbers if batched else [x[0] for x in numbers]
        result = getattr(ours, helper)(given, *numbers)
        expected = getattr(theirs, helper)(dict(given), *numbers)
        np.testing.assert_array_equal(result["boxes"], expected["boxes"])
        assert result["labels"] is given["labels"]
        points = (layer.get_transformed_x_y(3, 4, matrices) for layer in (ours, theirs))
        for one, other in zip(*points, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)
