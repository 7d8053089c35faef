"""How much boxes overlap, and how they differ from anchors: what detectors learn."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina.core.settings import epsilon
from lamina.core.tracebacks import boundary
from lamina.kernels.boxes import convert_format


def _size_of(image_shape, *formats):
    if image_shape is not None:
        return image_shape[0], image_shape[1]
    if any("rel" in name for name in formats):
        raise ValueError(
            "When using relative bounding box formats (e.g. `rel_yxyx`) the "
            f"`image_shape` argument must be provided. Received: {image_shape=}"
        )
    return None, None


def _overlap(a, b):
    """Return the areas of intersections, from split corners."""
    width = jnp.minimum(a[2], b[2]) - jnp.maximum(a[0], b[0])
    height = jnp.minimum(a[3], b[3]) - jnp.maximum(a[1], b[1])
    return jnp.maximum(width, 0) * jnp.maximum(height, 0)


def _unstacked(boxes):
    return [boxes[..., i] for i in range(4)]


@boundary
def compute_iou(
    boxes1,
    boxes2,
    bounding_box_format,
    use_masking=False,
    mask_val=-1,
    image_shape=None,
):
    """Return how much each of some boxes overlaps each of others.

    Intersection over union: the area of what both cover over that of what any covers.

    Args:
        boxes1: boxes (m, 4) or (batch, m, 4).
        boxes2: boxes (n, 4) or (batch, n, 4).
        bounding_box_format: their format, see the module.
        use_masking: whether boxes of only negative numbers are none.
        mask_val: what these get.
        image_shape: (height, width, channels) for relative formats.

    Returns:
        (m, n), or (batch, m, n) when any boxes have a batch.

    Raises:
        ValueError: boxes of another rank, or `image_shape` is missing.

    >>> import lamina, numpy as np
    >>> a, b = np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 1], [5, 5, 6, 6]])
    >>> lamina.utils.bounding_boxes.compute_iou(a, b, "xyxy").round(3).tolist()
    [[0.5, 0.0]]
    """
    for name, value in (("boxes1", boxes1), ("boxes2", boxes2)):
        if np.ndim(value) not in (2, 3):
            raise ValueError(
                f"`compute_iou` expected `{name}` to have rank 2, or 3 for a batch. "
                f"Received: {name}.shape={np.shape(value)}"
            )
    size = _size_of(image_shape, bounding_box_format)
    boxes1, boxes2 = (
        convert_format(b, bounding_box_format, "xyxy", *size) for b in (boxes1, boxes2)
    )
    a, b = _unstacked(boxes1[..., :, None, :]), _unstacked(boxes2[..., None, :, :])
    both = _overlap(a, b)
    areas = [(v[2] - v[0]) * (v[3] - v[1]) for v in (a, b)]
    result = both / (areas[0] + areas[1] - both + epsilon())
    if not use_masking:
        return result
    none1, none2 = (jnp.max(jnp.asarray(v), -1) < 0 for v in (boxes1, boxes2))
    return jnp.where(none1[..., :, None] | none2[..., None, :], mask_val, result)


@boundary
def compute_ciou(boxes1, boxes2, bounding_box_format, image_shape=None):
    """Return the complete intersection over union of pairs of boxes.

    IoU - d² / c² - v a: d is the distance of the middles, c the diagonal of the box
    around both, v = 4 / pi² (arctan(w2 / h2) - arctan(w1 / h1))² compares their
    shapes, and a = v / (1 - IoU + v).

    Args:
        boxes1: boxes (..., 4).
        boxes2: boxes (..., 4).
        bounding_box_format: their format, see the module.
        image_shape: (height, width, channels) for relative formats.

    Raises:
        ValueError: `image_shape` is missing.

    Source: Zheng et al., 2019, "Distance-IoU loss".

    >>> import lamina, numpy as np
    >>> a, b = np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2]])
    >>> lamina.utils.bounding_boxes.compute_ciou(a, b, "xyxy").round(3).tolist()
    [1.0]
    """
    size, small = _size_of(image_shape, bounding_box_format), epsilon()
    a, b = (
        _unstacked(convert_format(v, bounding_box_format, "xyxy", *size))
        for v in (boxes1, boxes2)
    )
    (w1, h1), (w2, h2) = ((v[2] - v[0], v[3] - v[1] + small) for v in (a, b))
    both = _overlap(a, b)
    iou = both / (w1 * h1 + w2 * h2 - both + 2 * small)
    around = [jnp.maximum(a[i + 2], b[i + 2]) - jnp.minimum(a[i], b[i]) for i in (0, 1)]
    apart = [(a[i] + a[i + 2]) / 2 - (b[i] + b[i + 2]) / 2 for i in (0, 1)]
    distance = (apart[0] ** 2 + apart[1] ** 2) / (
        around[0] ** 2 + around[1] ** 2 + small
    )
    v = 4 / math.pi**2 * (jnp.arctan(w2 / h2) - jnp.arctan(w1 / h1)) ** 2
    return iou - (distance + v * v / (v - iou + 1 + small))


def _deltas_setup(name, style, variance, image_shape, *formats):
    if style not in ("center_xywh", "center_yxhw"):
        raise ValueError(
            f"`{name}` should be one of 'center_xywh' or 'center_yxhw'. "
            f"Received: {name}={style!r}"
        )
    if variance is None:
        variance = (1, 1, 1, 1)
    variance = jnp.asarray(variance, "float32")
    if variance.shape[-1:] != (4,):
        raise ValueError(f"`variance` must be length 4. Received: {variance=}")
    return variance, _size_of(image_shape, *formats)


@boundary
def encode_box_to_deltas(
    anchors,
    boxes,
    anchor_format,
    box_format,
    encoding_format: Any = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
):
    """Return boxes as differences from anchors, which is what detectors learn.

    With middles m and sizes s: (m_box - m_anchor) / s_anchor and log(s_box / s_anchor).

    Args:
        anchors: anchors (n, 4).
        boxes: boxes (n, 4) or (batch, n, 4).
        anchor_format: the format of anchors, see the module.
        box_format: that of boxes.
        encoding_format: the order of the result: `"center_yxhw"` or `"center_xywh"`.
        variance: four numbers that the result is divided by.
        image_shape: (height, width, channels) for relative formats.

    Raises:
        ValueError: a format or variance that does not fit.

    >>> import lamina, numpy as np
    >>> a, b = np.array([[0, 0, 4, 4]]), np.array([[2, 0, 6, 4]])
    >>> f = lamina.utils.bounding_boxes.encode_box_to_deltas
    >>> f(a, b, "xyxy", "xyxy", "center_xywh").tolist()
    [[0.5, 0.0, 0.0, 0.0]]
    """
    formats = anchor_format, box_format
    variance, size = _deltas_setup(
        "encoding_format", encoding_format, variance, image_shape, *formats
    )
    anchors = convert_format(anchors, anchor_format, encoding_format, *size)
    boxes = convert_format(boxes, box_format, encoding_format, *size)
    base, sides = (jnp.maximum(v[..., 2:], epsilon()) for v in (anchors, boxes))
    moved = (boxes[..., :2] - anchors[..., :2]) / base
    return jnp.concatenate([moved, jnp.log(sides / base)], -1) / variance


@boundary
def decode_deltas_to_boxes(
    anchors,
    boxes_delta,
    anchor_format,
    box_format,
    encoded_format: Any = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
):
    """Return the boxes of which `encode_box_to_deltas` gave the differences.

    Args:
        anchors: anchors (n, 4), or a dict of them.
        boxes_delta: differences (n, 4) or (batch, n, 4), or a dict of them.
        anchor_format: the format of anchors, see the module.
        box_format: the format of the result.
        encoded_format: the order of differences: `"center_yxhw"` or `"center_xywh"`.
        variance: four numbers that the differences are multiplied by.
        image_shape: (height, width, channels) for relative formats.

    Raises:
        ValueError: a format or variance that does not fit.

    >>> import lamina, numpy as np
    >>> f = lamina.utils.bounding_boxes.decode_deltas_to_boxes
    >>> f(np.array([[0, 0, 4, 4]]), np.zeros((1, 4)), "xyxy", "xywh").tolist()
    [[0.0, 0.0, 4.0, 4.0]]
    """
    formats = anchor_format, box_format
    variance, size = _deltas_setup(
        "encoded_format", encoded_format, variance, image_shape, *formats
    )

    def decode(anchors, delta):
        anchors = convert_format(anchors, anchor_format, encoded_format, *size)
        delta, base = jnp.asarray(delta) * variance, anchors[..., 2:]
        middle = delta[..., :2] * base + anchors[..., :2]
        boxes = jnp.concatenate([middle, jnp.exp(delta[..., 2:]) * base], -1)
        return convert_format(boxes, encoded_format, box_format, *size)

    if isinstance(anchors, dict) and isinstance(boxes_delta, dict):
        return {k: decode(v, boxes_delta[k]) for k, v in anchors.items()}
    return decode(anchors, boxes_delta)
