"""Bounding boxes: how they are written, and how they move with their images.

Four numbers stand for a box. Of x (to the right) and y (down), in pixels:

- `"xyxy"`: left, top, right, bottom; `"yxyx"`: top, left, bottom, right;
- `"xywh"`: left, top, width, height;
- `"center_xywh"`: middle in x and y, width, height; `"center_yxhw"`: the same, y first;
- `"rel_xyxy"`, `"rel_yxyx"`, `"rel_xywh"`, `"rel_center_xywh"`: in shares of the
  image's width and height.

Boxes of an image are an array (n, 4), of a batch (batch, n, 4), alone or in a dict
{"boxes": ..., "labels": ...}; label -1 marks a box that is none.
"""

import jax.numpy as jnp
import numpy as np

from lamina.core.naming import nearest
from lamina.core.tracebacks import boundary

FORMATS = tuple(
    (
        "xyxy yxyx xywh center_xywh center_yxhw rel_xyxy rel_yxyx rel_xywh "
        "rel_center_xywh"
    ).split()
)
_Y_FIRST = ("yxyx", "center_yxhw")


def _known(name, value):
    lowered = value.lower() if isinstance(value, str) else value
    if lowered not in FORMATS:
        raise ValueError(
            f"Invalid format of bounding boxes. Supported formats: {FORMATS}. "
            f"Received: {name}={value!r}.{nearest(str(value), FORMATS)}"
        )
    return lowered


def _corners(parts, style):
    """Return left, top, right, bottom."""
    a, b, c, d = parts
    if style in _Y_FIRST:
        a, b, c, d = b, a, d, c
    if style.startswith("center"):
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return (a, b, a + c, b + d) if style == "xywh" else (a, b, c, d)


def _styled(left, top, right, bottom, style):
    """Undo `_corners`."""
    a, b, c, d = left, top, right, bottom
    if style not in ("xyxy", "yxyx"):
        c, d = c - a, d - b
    if style.startswith("center"):
        a, b = a + c / 2, b + d / 2
    return (b, a, d, c) if style in _Y_FIRST else (a, b, c, d)


@boundary
def convert_format(boxes, source, target, height=None, width=None, dtype="float32"):
    """Write boxes in another format.

    Args:
        boxes: boxes, or a dict with them.
        source: their format, see the module.
        target: the wanted one.
        height: that of the image; needed when one of both formats is relative.
        width: likewise.
        dtype: the dtype to compute in.

    Raises:
        ValueError: a format or shape that does not exist, or no size is given.

    >>> import lamina, numpy as np
    >>> to = lamina.utils.bounding_boxes.convert_format
    >>> to(np.array([[10, 20, 30, 60]]), "xyxy", "center_xywh").tolist()
    [[20.0, 40.0, 20.0, 40.0]]
    """
    if isinstance(boxes, dict):
        only = convert_format(boxes["boxes"], source, target, height, width, dtype)
        return {**boxes, "boxes": only}
    source, target = _known("source", source), _known("target", target)
    boxes = jnp.asarray(boxes, dtype)
    if boxes.shape[-1:] != (4,):
        raise ValueError(
            "`boxes` must be a tensor with the last dimension of 4. "
            f"Received: boxes.shape={boxes.shape}"
        )
    relative = [name.startswith("rel_") for name in (source, target)]
    if any(relative) and (height is None or width is None):
        raise ValueError(
            "`convert_format` must receive `height` and `width` to convert between "
            f"relative and absolute formats. Received: source={source!r}, "
            f"target={target!r}, height={height}, width={width}"
        )
    if source == target:
        return boxes
    parts = _corners(jnp.split(boxes, 4, -1), source.removeprefix("rel_"))
    if relative == [True, False]:
        parts = [
            p * s for p, s in zip(parts, _sides(height, width, dtype), strict=True)
        ]
    parts = _styled(*parts, target.removeprefix("rel_"))
    if relative == [False, True]:
        sides = _sides(height, width, dtype)
        if target == "rel_yxyx":
            sides = sides[1::-1] * 2
        parts = [p / s for p, s in zip(parts, sides, strict=True)]
    return jnp.concatenate(parts, -1)


def _sides(height, width, dtype):
    return (jnp.asarray(width, dtype), jnp.asarray(height, dtype)) * 2


@boundary
def clip_to_image_size(
    bounding_boxes, height=None, width=None, bounding_box_format="xyxy"
):
    """Cut off what of boxes lies outside of the image; label boxes of no area -1.

    Args:
        bounding_boxes: a dict with boxes, and maybe labels.
        height: that of the image in pixels; a relative format needs none.
        width: likewise.
        bounding_box_format: their format, see the module.

    Raises:
        ValueError: the format needs a height and a width.

    >>> import lamina, numpy as np
    >>> boxes = {"boxes": np.array([[-5.0, 2.0, 9.0, 4.0], [9.0, 0.0, 10.0, 1.0]])}
    >>> boxes["labels"] = np.array([7, 8])
    >>> cut = lamina.utils.bounding_boxes.clip_to_image_size(boxes, 8, 8)
    >>> cut["boxes"].tolist(), cut["labels"].tolist()
    ([[0.0, 2.0, 8.0, 4.0], [8.0, 0.0, 8.0, 1.0]], [7, -1])
    """
    style = _known("bounding_box_format", bounding_box_format)
    if style.startswith("rel_"):
        height, width = 1, 1
    elif height is None or width is None:
        raise ValueError(
            "`clip_to_image_size` must receive `height` and `width` for "
            f"bounding_box_format={style!r}"
        )
    style = style.removeprefix("rel_")
    boxes = jnp.asarray(bounding_boxes["boxes"])
    parts = _corners(jnp.split(boxes, 4, -1), style)
    left, top, right, bottom = (
        jnp.clip(p, 0, jnp.asarray(limit, p.dtype))
        for p, limit in zip(parts, (width, height) * 2, strict=True)
    )
    boxes = jnp.concatenate(_styled(left, top, right, bottom, style), -1)
    result = {**bounding_boxes, "boxes": boxes}
    if bounding_boxes.get("labels") is not None:
        labels = jnp.asarray(bounding_boxes["labels"])
        seen = ((right - left) * (bottom - top) > 0)[..., 0]
        if labels.ndim > seen.ndim and labels.shape[:-1] == seen.shape:
            seen = seen[..., None]  # one-hot labels
        result["labels"] = jnp.where(seen, labels, -1)
    return result


def through(boxes, matrix):
    """Return the boxes around what becomes of boxes' corners.

    Args:
        boxes: (n, 4) or (batch, n, 4), `"xyxy"`.
        matrix: (3, 3) or (batch, 3, 3), which takes (x, y, 1) to (x', y', 1) times z.
    """
    x, y = boxes[..., jnp.array([0, 2, 0, 2])], boxes[..., jnp.array([1, 1, 3, 3])]
    points = jnp.stack([x, y, jnp.ones_like(x)], -1)
    matrix = jnp.swapaxes(matrix, -1, -2)[..., None, :, :]
    moved = jnp.matmul(points, matrix, precision="highest")
    places = moved[..., :2] / moved[..., 2:]
    return jnp.concatenate([jnp.min(places, -2), jnp.max(places, -2)], -1)


def moved(bounding_boxes, move, style, size, new_size=None):
    """Return boxes that moved with an image, cut off at its edges.

    Args:
        bounding_boxes: a dict of boxes and labels.
        move: takes and returns boxes in `"xyxy"`.
        style: their format.
        size: (height, width) of the image.
        new_size: that of the changed image; the same when None.
    """
    new_size = new_size or size
    corners = convert_format(bounding_boxes["boxes"], style, "xyxy", *size)
    boxes = clip_to_image_size({**bounding_boxes, "boxes": move(corners)}, *new_size)
    return convert_format(boxes, "xyxy", style, *new_size)


def _pixels_only(name, bounding_box_format):
    style = _known("bounding_box_format", bounding_box_format)
    if style.startswith("rel_"):
        raise NotImplementedError(
            f"`{name}` takes boxes in pixels. Use `convert_format` first. Received: "
            f"bounding_box_format={style!r}"
        )
    return style


@boundary
def affine_transform(
    boxes,
    angle,
    translate_x,
    translate_y,
    scale,
    shear_x,
    shear_y,
    height,
    width,
    center_x=None,
    center_y=None,
    bounding_box_format="xyxy",
):
    """Return the boxes around turned, moved, scaled and sheared boxes.

    A point p goes to c + scale * L (p - c + t), with c the center, t the translation,
    and L the inverse of rotation and shear.

    Args:
        boxes: boxes (batch, n, 4).
        angle: (batch,) degrees, counterclockwise.
        translate_x: (batch,) shares of the width, to the right.
        translate_y: (batch,) shares of the height, down.
        scale: (batch,) factors.
        shear_x: (batch,) degrees.
        shear_y: (batch,) degrees.
        height: that of the image, in pixels.
        width: likewise.
        center_x: the center, as a share of the width; 0.5 when None.
        center_y: likewise.
        bounding_box_format: their format, not a relative one.

    >>> import lamina, numpy as np
    >>> zero, one = np.zeros(1), np.ones(1)
    >>> turn = lamina.utils.bounding_boxes.affine_transform
    >>> box = np.array([[[0, 0, 2, 1]]])
    >>> turn(box, 90 * one, zero, zero, one, zero, zero, 9, 9).round(3).tolist()
    [[[0.0, 6.0, 1.0, 8.0]]]
    """
    style = _pixels_only("affine_transform", bounding_box_format)
    boxes = convert_format(boxes, style, "xyxy")
    turn, lean_x, lean_y = (
        -jnp.radians(jnp.asarray(v, "float32")) for v in (angle, shear_x, shear_y)
    )
    slope = jnp.tan(lean_x)
    a = jnp.cos(turn - lean_y) / jnp.cos(lean_y)
    c = -jnp.sin(turn - lean_y) / jnp.cos(lean_y)
    b, d = a * slope + jnp.sin(turn), jnp.cos(turn) - c * slope
    across = (0.5 if center_x is None else center_x) * (width - 1)
    down = (0.5 if center_y is None else center_y) * (height - 1)
    x = jnp.asarray(translate_x, "float32") * (width - 1) - across
    y = jnp.asarray(translate_y, "float32") * (height - 1) - down
    rows = [
        (scale * d, -scale * b, across + scale * (d * x - b * y)),
        (-scale * c, scale * a, down + scale * (a * y - c * x)),
        (0.0, 0.0, 1.0),
    ]
    shape = jnp.shape(a)
    matrix = jnp.stack(
        [jnp.stack([jnp.broadcast_to(v, shape) for v in row], -1) for row in rows], -2
    )
    return convert_format(through(boxes, matrix), "xyxy", style)


def _shifted(boxes, left, top):
    boxes = jnp.asarray(boxes)
    shift = jnp.stack(jnp.broadcast_arrays(left, top, left, top), -1)
    return boxes + shift.astype(boxes.dtype)


@boundary
def crop(boxes, top, left, height, width, bounding_box_format="xyxy"):
    """Return boxes as they lie in a part cut out of the image.

    Args:
        boxes: boxes.
        top: where the part begins, in pixels from above.
        left: likewise, from the left.
        height: that of the part.
        width: likewise.
        bounding_box_format: their format, not a relative one.

    >>> import lamina, numpy as np
    >>> boxes = np.array([[10, 20, 50, 60]])
    >>> lamina.utils.bounding_boxes.crop(boxes, 10, 20, 40, 25).tolist()
    [[0, 10, 25, 40]]
    """
    style = _pixels_only("crop", bounding_box_format)
    boxes = boxes if style == "xyxy" else convert_format(boxes, style, "xyxy")
    boxes = _shifted(boxes, -left, -top)
    boxes = clip_to_image_size({"boxes": boxes}, height, width)["boxes"]
    return boxes if style == "xyxy" else convert_format(boxes, "xyxy", style)


@boundary
def pad(boxes, top, left, height=None, width=None, bounding_box_format="xyxy"):
    """Return boxes as they lie in an image that was surrounded.

    Args:
        boxes: boxes.
        top: how many pixels came above.
        left: how many came to the left.
        height: not used.
        width: not used.
        bounding_box_format: their format, not a relative one.

    >>> import lamina, numpy as np
    >>> lamina.utils.bounding_boxes.pad(np.array([[1, 2, 3, 4]]), 10, 20).tolist()
    [[21, 12, 23, 14]]
    """
    style = _pixels_only("pad", bounding_box_format)
    boxes = boxes if style == "xyxy" else convert_format(boxes, style, "xyxy")
    boxes = _shifted(boxes, left, top)
    return boxes if style == "xyxy" else convert_format(boxes, "xyxy", style)


def dense_boxes(bounding_boxes):
    """Return {"boxes", "labels"} as arrays; shorter lists get boxes of label -1.

    Raises:
        ValueError: a key is missing, or boxes and labels do not fit each other.
    """
    if not isinstance(bounding_boxes, dict) or not {"boxes", "labels"} <= set(
        bounding_boxes
    ):
        raise ValueError(
            "Expected `bounding_boxes` to be a dict with keys 'boxes' and 'labels'. "
            f"Received: bounding_boxes={bounding_boxes}"
        )
    boxes, labels = bounding_boxes["boxes"], bounding_boxes["labels"]
    if isinstance(boxes, list):
        boxes, labels = _filled(boxes, labels)
    rank, labels_rank = len(boxes.shape), len(labels.shape)
    if rank not in (2, 3):
        raise ValueError(
            "Expected `bounding_boxes['boxes']` to have rank 2 or 3, with shape "
            "(num_boxes, 4) or (batch_size, num_boxes, 4). Received: "
            f"bounding_boxes['boxes'].shape={boxes.shape}"
        )
    if labels_rank not in (rank - 1, rank):
        raise ValueError(
            f"Found bounding_boxes['boxes'].shape={boxes.shape} and expected "
            f"bounding_boxes['labels'] to have rank {rank - 1} or {rank}, but "
            f"received: bounding_boxes['labels'].shape={labels.shape}"
        )
    dense = {"boxes": jnp.asarray(boxes, "float32"), "labels": jnp.asarray(labels)}
    return {**bounding_boxes, **dense}


def _filled(boxes, labels):
    """Return lists of boxes as arrays; `labels` in the same nesting."""
    if not isinstance(labels, list) or len(boxes) != len(labels):
        raise ValueError(
            "If `bounding_boxes['boxes']` is a list, then `bounding_boxes['labels']` "
            "must also be a list, of the same length. Received: "
            f"bounding_boxes['boxes']={boxes}, bounding_boxes['labels']={labels}"
        )
    if not boxes or not any(np.ndim(some) == 2 for some in boxes):
        return np.reshape(np.asarray(boxes, "float32"), (-1, 4)), np.asarray(labels)
    most = max(map(len, boxes))
    dense = np.zeros((len(boxes), most, 4), "float32")
    classes = np.full((len(boxes), most), -1, "int32")
    for i, (some, theirs) in enumerate(zip(boxes, labels, strict=True)):
        dense[i, : len(some)] = np.reshape(some, (-1, 4))
        classes[i, : len(theirs)] = theirs
    return dense, classes


def homography(start, end):
    """Return the transform that finds start points for end points."""
    x, y = end[..., 0], end[..., 1]
    one, zero = jnp.ones_like(x), jnp.zeros_like(x)
    u, v = start[..., 0], start[..., 1]
    first = jnp.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    second = jnp.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    matrix = jnp.concatenate([first, second], -2)
    return jnp.linalg.solve(matrix, jnp.concatenate([u, v], -1)[..., None])[..., 0]
