import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from lamina import visualization as v

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (5, 40, 50, 3), "uint8")
BOXES = {
    "boxes": np.array([[[10, 8, 30, 28], [1, 1, 5, 5]]] * 5, float),
    "labels": np.array([[1, -1]] * 5),
    "confidences": np.array([[0.9, 0.5]] * 5),
}


@pytest.mark.parametrize("thickness", [1, 2, 3])
def test_boxes_are_drawn_around_their_borders(thickness):
    drawn = v.draw_bounding_boxes(
        IMAGES, BOXES, "xyxy", color=(9, 8, 7), line_thickness=thickness
    )
    assert drawn.dtype == "uint8"
    before, after = (thickness - 1) // 2, thickness // 2
    expected = IMAGES.copy()
    expected[:, 8 - before : 29 + after, 10 - before : 31 + after] = (9, 8, 7)
    inner = (slice(None), slice(8 + thickness - before, 29 + after - thickness),
             slice(10 + thickness - before, 31 + after - thickness))  # fmt: skip
    expected[inner] = IMAGES[inner]
    np.testing.assert_array_equal(drawn, expected)


def test_formats_of_boxes_and_images_agree():
    plain = v.draw_bounding_boxes(IMAGES, BOXES, "xyxy")
    turned = {**BOXES, "boxes": BOXES["boxes"][..., [1, 0, 3, 2]]}
    np.testing.assert_array_equal(v.draw_bounding_boxes(IMAGES, turned, "yxyx"), plain)
    shares = {**BOXES, "boxes": BOXES["boxes"] / [50, 40, 50, 40]}
    np.testing.assert_array_equal(
        v.draw_bounding_boxes(IMAGES, shares, "rel_xyxy"), plain
    )
    first = v.draw_bounding_boxes(
        IMAGES.transpose(0, 3, 1, 2), BOXES, "xyxy", data_format="channels_first"
    )
    np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), plain)
    floats = v.draw_bounding_boxes(IMAGES / 255, BOXES, "xyxy")
    assert np.abs(floats.astype(int) - plain).max() <= 1
    assert np.array_equal(
        v.draw_bounding_boxes(IMAGES.astype("float32"), BOXES, "xyxy"), plain
    )


def test_names_of_classes_are_written():
    named = v.draw_bounding_boxes(IMAGES, BOXES, "xyxy", {1: "cat"}, (255, 0, 0))
    plain = v.draw_bounding_boxes(IMAGES, BOXES, "xyxy", None, (255, 0, 0))
    changed = (named != plain).any(-1)
    assert changed.sum() > 100
    assert not changed[:, :8, :].any()  # no room above: it stands inside
    silent = v.draw_bounding_boxes(IMAGES, BOXES, "xyxy", {2: "dog"}, (255, 0, 0))
    np.testing.assert_array_equal(silent, plain)


@pytest.mark.parametrize("channel", [False, True])
def test_masks_are_blended(channel):
    masks = rng.integers(0, 4, (5, 40, 50))
    colors = {1: (100, 0, 0), 2: (0, 200, 50)}
    given = masks[..., None] if channel else masks
    drawn = v.draw_segmentation_masks(IMAGES, given, 3, colors, alpha=0.25)
    expected = IMAGES.astype("float32")
    for kind, color in colors.items():
        where = masks == kind
        expected[where] = 0.75 * expected[where] + 0.25 * np.array(color)
    assert np.abs(drawn - np.floor(expected)).max() <= 1
    np.testing.assert_array_equal(drawn[masks == 0], IMAGES[masks == 0])
    np.testing.assert_array_equal(drawn[masks == 3], IMAGES[masks == 3])
    flat = v.draw_segmentation_masks(IMAGES, given, None, colors, blend=False)
    assert (flat[masks == 2] == (0, 200, 50)).all()
    kept = v.draw_segmentation_masks(IMAGES, given, 3, colors, ignore_index=1)
    np.testing.assert_array_equal(kept[masks == 1], IMAGES[masks == 1])


def test_made_up_colors_are_kerass():
    from keras.visualization import draw_segmentation_masks

    masks = rng.integers(1, 4, (5, 40, 50, 1))
    theirs = draw_segmentation_masks(IMAGES, masks, num_classes=4)
    ours = v.draw_segmentation_masks(IMAGES, masks, num_classes=4)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.fixture
def shown(monkeypatch):
    """Keeps the figure that a gallery shows."""
    figures = []
    monkeypatch.setattr(plt, "show", lambda: figures.append(plt.gcf()))
    yield figures
    plt.close("all")


def test_a_gallery_shows_every_image_with_its_names(shown):
    v.plot_image_gallery(IMAGES, [0, 1, 0, 1, 2], [0, 0, 0, 0, 0], {0: "cat", 1: "dog"})
    axes = shown[0].axes
    assert len(axes) == 6
    pictures = [a.images[0].get_array() for a in axes if a.images]
    np.testing.assert_array_equal(np.stack(pictures), IMAGES)
    titles = [a.get_title() for a in axes]
    assert titles[1] == "Label: dog  Pred: cat" and titles[5] == ""
    assert titles[4] == "Label: Unknown  Pred: cat"
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("given", "grid"), [({"rows": 1}, (1, 5)), ({"cols": 2}, (3, 2)), ({}, (3, 2)),
                        ({"rows": 2, "cols": 2}, (2, 2))],
)  # fmt: skip
def test_rows_and_columns(shown, given, grid):
    v.plot_image_gallery(IMAGES / 127.5 - 1, value_range=(-1, 1), **given)
    assert shown[0].axes[0].get_gridspec().get_geometry() == grid
    first = shown[0].axes[0].images[0].get_array()
    assert np.abs(first.astype(int) - IMAGES[0]).max() <= 1


def test_galleries_of_boxes_and_masks(shown, tmp_path):
    v.plot_bounding_box_gallery(
        IMAGES.transpose(0, 3, 1, 2) / 255, "xyxy", BOXES, value_range=(0, 1),
        class_mapping={1: "cat"}, legend=True, data_format="channels_first",
    )  # fmt: skip
    assert [t.get_text() for t in shown[0].legends[0].texts] == [
        "Ground Truth", "Prediction",
    ]  # fmt: skip
    masks = rng.integers(0, 3, (5, 40, 50))
    v.plot_segmentation_mask_gallery(IMAGES, 2, y_true=masks, y_pred=masks)
    pictures = [a.images[0].get_array() for a in shown[1].axes]
    np.testing.assert_array_equal(pictures[0], IMAGES[0])
    drawn = v.draw_segmentation_masks(IMAGES, masks, 2)
    np.testing.assert_array_equal(pictures[1], drawn[0])
    v.plot_image_gallery(IMAGES[..., :1], path=tmp_path / "grey.png", dpi=40)
    with Image.open(tmp_path / "grey.png") as picture:
        assert picture.size[0] > 50


def test_what_is_no_number_is_black_and_boxes_of_it_are_not_drawn(shown):
    images = IMAGES.astype("float32")
    images[0, :2] = np.nan
    drawn = v.draw_segmentation_masks(images, 0 * IMAGES[..., 0].astype(int))
    assert not drawn[0, :2].any()
    np.testing.assert_array_equal(drawn[0, 2:], IMAGES[0, 2:].astype("uint8"))
    boxes = {k: np.array(x) for k, x in BOXES.items()}
    boxes["boxes"] = boxes["boxes"] * np.array([1, np.nan, np.inf, 1])
    found = v.draw_bounding_boxes(images, boxes, "xyxy")
    np.testing.assert_array_equal(found, drawn)
    v.plot_image_gallery(images * np.nan)


def test_a_share_above_one_stays_within_the_range():
    masks = np.ones(IMAGES.shape[:3], int)
    drawn = v.draw_segmentation_masks(0 * IMAGES, masks, 1, {1: (200, 0, 10)}, alpha=2)
    assert drawn[0, 0, 0].tolist() == [255, 0, 20]


BAD = [
    (lambda: v.draw_bounding_boxes(IMAGES[0], BOXES, "xyxy"), ValueError, "4D tensor"),
    (lambda: v.draw_bounding_boxes(IMAGES, [1], "xyxy"), TypeError, "should be a dict"),
    (lambda: v.draw_bounding_boxes(IMAGES[..., :1], BOXES, "xyxy"), ValueError,
     "3 channels"),
    (lambda: v.draw_bounding_boxes(IMAGES, {"boxes": 1}, "xyxy"), ValueError,
     "'boxes' and 'labels'"),
    (lambda: v.draw_segmentation_masks(IMAGES, IMAGES[..., 0] / 2), TypeError,
     "integer dtype"),
    (lambda: v.plot_image_gallery(IMAGES[0]), ValueError, "4D tensor"),
    (lambda: v.plot_image_gallery(IMAGES, path="x", show=True), ValueError, "either"),
    (lambda: v.plot_image_gallery(IMAGES, [1] * 5), ValueError, "`label_map`"),
    (lambda: v.plot_bounding_box_gallery(IMAGES, "xyxy", legend=True,
                                         legend_handles=[1]), ValueError, "not both"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'`matplotlib`, .* pip install "lamina.plot'):
        v.plot_image_gallery(IMAGES)
    monkeypatch.setitem(sys.modules, "PIL.ImageDraw", None)
    with pytest.raises(ImportError, match=r'`Pillow`, .* pip install "lamina.images'):
        v.draw_bounding_boxes(IMAGES, BOXES, "xyxy")
