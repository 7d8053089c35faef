"""Bounding boxes in all formats; `lamina.kernels.boxes` explains them."""

from lamina.kernels.anchors import (
    compute_ciou,
    compute_iou,
    decode_deltas_to_boxes,
    encode_box_to_deltas,
)
from lamina.kernels.boxes import (
    affine_transform,
    clip_to_image_size,
    convert_format,
    crop,
    pad,
)

__all__ = [
    "affine_transform",
    "clip_to_image_size",
    "compute_ciou",
    "compute_iou",
    "convert_format",
    "crop",
    "decode_deltas_to_boxes",
    "encode_box_to_deltas",
    "pad",
]
