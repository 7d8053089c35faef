"""Bounding boxes: the same numbers as Keras', and laws that hold for all formats."""

import keras
import numpy as np
import pytest

import lamina

FORMATS = (
    "xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw", "rel_xyxy", "rel_yxyx",
    "rel_xywh", "rel_center_xywh",
)  # fmt: skip
SIZE = {"height": 7, "width": 11}
ours, theirs = lamina.utils.bounding_boxes, keras.utils.bounding_boxes
random = np.random.default_rng(0)


def boxes(*shape, low=-3.0, high=12.0):
    corners = np.sort(random.uniform(low, high, (*shape, 2, 2)), axis=-2)
    return corners.reshape(*shape, 4).astype("float32")


BOXES = boxes(2, 3)


@pytest.mark.parametrize("source", FORMATS)
def test_every_format_becomes_every_other(source):
    for target in FORMATS:
        expected = theirs.convert_format(BOXES.copy(), source, target, **SIZE)
        there = ours.convert_format(BOXES, source.upper(), target, **SIZE)
        np.testing.assert_array_equal(there, expected)
        back = ours.convert_format(there, target, source, **SIZE)
        np.testing.assert_allclose(back, BOXES, atol=1e-5)


def test_a_dict_of_boxes_keeps_its_labels_and_is_not_changed():
    given = {"boxes": BOXES, "labels": np.arange(6).reshape(2, 3)}
    result = ours.convert_format(given, "xyxy", "xywh")
    assert result["labels"] is given["labels"] and given["boxes"] is BOXES
    expected = theirs.convert_format(BOXES, "xyxy", "xywh")
    np.testing.assert_array_equal(result["boxes"], expected)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((BOXES, "xyxy", "xyhw"), {}, "Supported formats.*Received: target='xyhw'"),
        (
            (BOXES, "xyxy", "rel_xyxy"),
            {"width": 2},
            "must receive `height` and `width`",
        ),
        ((BOXES[..., :3], "xyxy", "xywh"), {}, r"boxes.shape=\(2, 3, 3\)"),
    ],
)
def test_boxes_that_cannot_be_converted(args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        ours.convert_format(*args, **kwargs)


@pytest.mark.parametrize("style", ["xyxy", "rel_xyxy"])
def test_clipping_is_keras(style):
    given = BOXES if style == "xyxy" else BOXES / 8
    labels = np.arange(6).reshape(2, 3)
    results = [
        lib.clip_to_image_size({"boxes": given, "labels": labels}, 5, 6, style)
        for lib in (ours, theirs)
    ]
    for key in ("boxes", "labels"):
        np.testing.assert_array_equal(results[0][key], results[1][key])


def test_clipping_in_other_formats_and_with_one_hot_labels():
    given = {"boxes": BOXES, "labels": np.eye(3)[None].repeat(2, 0)}
    corners = ours.clip_to_image_size(given, 5, 6)
    written = ours.convert_format(given, "xyxy", "center_yxhw")
    result = ours.clip_to_image_size(written, 5, 6, "center_yxhw")
    back = ours.convert_format(result, "center_yxhw", "xyxy")
    np.testing.assert_allclose(back["boxes"], corners["boxes"], atol=1e-5)
    gone = (corners["boxes"][..., 2:] <= corners["boxes"][..., :2]).any(-1)
    np.testing.assert_array_equal((corners["labels"] == -1).all(-1), gone)
    with pytest.raises(ValueError, match="must receive `height` and `width`"):
        ours.clip_to_image_size(given, height=5)


@pytest.mark.parametrize("center", [{}, {"center_x": 0.2, "center_y": 0.7}])
def test_affine_transforms_are_keras(center):
    limits = {
        "angle": 180, "translate_x": 0.5, "translate_y": 0.5, "shear_x": 30,
        "shear_y": 30,
    }  # fmt: skip
    moves = {k: random.uniform(-v, v, 2).astype("float32") for k, v in limits.items()}
    moves |= {"scale": np.array([0.5, 2], "float32"), **SIZE, **center}
    expected = theirs.affine_transform(BOXES, **moves)
    result = ours.affine_transform(BOXES, **moves)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    written = ours.convert_format(BOXES, "xyxy", "xywh")
    result = ours.affine_transform(written, **moves, bounding_box_format="xywh")
    expected = ours.convert_format(expected, "xyxy", "xywh")
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_cropping_and_padding_are_keras():
    np.testing.assert_array_equal(
        ours.crop(BOXES, 1, 2, 5, 6), theirs.crop(BOXES, 1, 2, 5, 6)
    )
    np.testing.assert_array_equal(ours.pad(BOXES, 1, 2), theirs.pad(BOXES, 1, 2))
    same = ours.pad(
        ours.convert_format(BOXES, "xyxy", "xywh"), 1, 2, None, None, "xywh"
    )
    np.testing.assert_allclose(
        same[..., 2:], BOXES[..., 2:] - BOXES[..., :2], atol=1e-5
    )
    with pytest.raises(NotImplementedError, match="takes boxes in pixels"):
        ours.crop(BOXES, 1, 2, 5, 6, "rel_xyxy")


@pytest.mark.parametrize(
    "shapes", [((3,), (2,)), ((2, 3), (2, 4)), ((2, 3), (4,)), ((3,), (2, 4))]
)
def test_iou_is_keras(shapes):
    a, b = (boxes(*shape, low=-8) for shape in shapes)
    cases = [("xyxy", {}), ("rel_yxyx", {"image_shape": (5, 6, 3)})]
    if a.ndim == b.ndim:
        cases.append(("xyxy", {"use_masking": True, "mask_val": -2}))
    for style, more in cases:
        expected = theirs.compute_iou(a, b, style, **more)
        result = ours.compute_iou(a, b, style, **more)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_ciou_is_keras():
    a, b = boxes(2, 5), boxes(2, 5)
    expected = theirs.compute_ciou(a, b, "xyxy")
    np.testing.assert_allclose(
        ours.compute_ciou(a, b, "xyxy"), expected, rtol=1e-5, atol=1e-6
    )
    shares = [ours.convert_format(x, "xyxy", "rel_xywh", 7, 11) for x in (a, b)]
    result = ours.compute_ciou(*shares, "rel_xywh", image_shape=(7, 11, 3))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="`image_shape` argument must be provided"):
        ours.compute_ciou(*shares, "rel_xywh")


@pytest.mark.parametrize("order", ["center_xywh", "center_yxhw"])
@pytest.mark.parametrize("variance", [None, [0.1, 0.2, 0.3, 0.4]])
def test_deltas_are_keras_and_decode_to_the_boxes(order, variance):
    anchors, targets = boxes(3), boxes(2, 3) / 11
    args = ("xyxy", "rel_xyxy", order, variance, (7, 11, 3))
    expected = theirs.encode_box_to_deltas(anchors, targets, *args)
    deltas = ours.encode_box_to_deltas(anchors, targets, *args)
    np.testing.assert_allclose(deltas, expected, rtol=1e-5, atol=1e-5)
    decoded = ours.decode_deltas_to_boxes(anchors, deltas, *args)
    np.testing.assert_allclose(decoded, targets, atol=1e-5)
    levels = ours.decode_deltas_to_boxes({"a": anchors}, {"a": deltas}, *args)
    np.testing.assert_array_equal(levels["a"], decoded)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"variance": [1, 2]}, "must be length 4"),
        ({"encoding_format": "xyxy"}, "should be one of 'center_xywh'"),
        ({"box_format": "rel_xyxy"}, "`image_shape` argument must be provided"),
    ],
)
def test_deltas_of_bad_arguments(more, message):
    kwargs = {"anchor_format": "xyxy", "box_format": "xyxy", **more}
    with pytest.raises(ValueError, match=message):
        ours.encode_box_to_deltas(BOXES[0], BOXES[0], **kwargs)
