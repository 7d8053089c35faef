"""Pictures of images with labels, boxes and masks, by Pillow and matplotlib."""

import math as _math
from typing import Any as _Any

import numpy as _np

from lamina._imports import offer as _offer
from lamina.core import settings as _settings
from lamina.core.extras import extra as _extra
from lamina.core.tracebacks import boundary as _boundary
from lamina.utils.bounding_boxes import convert_format as _convert_format
from lamina.utils.images import pillow as _pillow

_TRUE, _PREDICTED = (0, 188, 212), (255, 235, 59)


@_boundary
def draw_bounding_boxes(
    images,
    bounding_boxes,
    bounding_box_format,
    class_mapping: _Any = None,
    color: _Any = (128, 128, 128),
    line_thickness: int = 2,
    text_thickness: int = 1,
    font_scale: float = 1.0,
    data_format: _Any = None,
):
    """Return images with boxes, and names of classes, drawn on them.

    Args:
        images: `(n, height, width, 3)`, or `(n, 3, height, width)`; floats of 0 to 1
            or of 0 to 255, or integers of 0 to 255.
        bounding_boxes: a dict with `boxes` `(n, boxes, 4)`, `labels` `(n, boxes)`, of
            which -1 draws nothing, as boxes of NaN do, and perhaps `confidences`
            `(n, boxes)`.
        bounding_box_format: such as `"xyxy"`, see `utils.bounding_boxes`.
        class_mapping: a dict from labels to names; others are not named.
        color: red, green and blue, each of 0 to 255.
        line_thickness: in pixels.
        text_thickness: the strokes of letters, in pixels.
        font_scale: the size of letters; 1 is about 20 pixels.
        data_format: `"channels_last"` or `"channels_first"`; the configured one if
            None.

    Returns:
        A uint8 NumPy array of the shape of `images`.

    Raises:
        ValueError: `images` has not four axes and three channels, or `bounding_boxes`
            lacks a key.
        TypeError: `bounding_boxes` is not a dict.
        ImportError: Pillow is not installed.

    >>> import lamina, numpy as np
    >>> boxes = {"boxes": np.array([[[2, 2, 8, 8]]]), "labels": np.array([[1]])}
    >>> image = np.zeros((1, 16, 16, 3))
    >>> drawn = lamina.visualization.draw_bounding_boxes(image, boxes, "xyxy")
    >>> drawn[0, 2, 5].tolist(), drawn[0, 5, 5].tolist()
    ([128, 128, 128], [0, 0, 0])
    """
    if not isinstance(bounding_boxes, dict):
        raise TypeError(
            "`bounding_boxes` should be a dict. Received: "
            f"bounding_boxes={bounding_boxes!r}"
        )
    if not bounding_boxes.keys() >= {"boxes", "labels"}:
        raise ValueError(
            "`bounding_boxes` should be a dict containing 'boxes' and 'labels' keys. "
            f"Received: {sorted(bounding_boxes)}"
        )
    images, first = _last(images, data_format), _is_first(data_format)
    if images.shape[-1] not in (3, 4):
        raise ValueError(
            "`draw_bounding_boxes` expected images with 3 channels. Received: "
            f"images.shape={images.shape}. Repeat a single channel three times."
        )
    if images.dtype.kind == "f":
        white = 1 if _np.fmax.reduce(images, axis=None, initial=0) <= 1 else 255
        images = _stretched(images, (0, white))
    height, width = images.shape[1:3]
    given = {k: _np.asarray(bounding_boxes[k]) for k in ("boxes", "labels")}
    boxes = _convert_format(given, bounding_box_format, "xyxy", height, width)["boxes"]
    there = _np.isfinite(boxes).all(axis=-1) & (given["labels"] != -1)
    boxes = _np.where(there[..., None], boxes, 0).astype(int)
    labels = _np.where(there, given["labels"], -1).astype(int)
    confidences = bounding_boxes.get("confidences")
    thick, names, found = line_thickness, class_mapping or {}, []
    images = _bytes(images)
    for i, pixels in enumerate(images):
        image = _pillow("Image").fromarray(pixels)
        pen = _pillow("ImageDraw").Draw(image)
        font = _pillow("ImageFont").load_default(size=20 * font_scale)
        for j, (box, label) in enumerate(zip(boxes[i], labels[i], strict=True)):
            if label == -1:
                continue
            (x1, x2), (y1, y2) = sorted(box[::2]), sorted(box[1::2])
            before, after = (thick - 1) // 2, thick // 2  # the line is on the border
            frame = (x1 - before, y1 - before, x2 + after, y2 + after)
            pen.rectangle(frame, outline=tuple(color), width=thick)
            if label in names:
                text = str(names[label])
                if confidences is not None:
                    text += f" | {float(confidences[i][j]):.2f}"
                room = pen.textbbox((0, 0), text, font, stroke_width=0)[3] + 4
                y = y1 - before - room if y1 - before >= room else y1 + after + 2
                strokes = ((text_thickness or thick) - 1) / 2
                place = (max(x1, 0) + 3, y)
                pen.text(place, text, tuple(color), font, stroke_width=strokes)
        found.append(_np.asarray(image))
    drawn = _np.stack(found) if found else images
    return drawn.transpose(0, 3, 1, 2) if first else drawn


@_boundary
def draw_segmentation_masks(
    images,
    segmentation_masks,
    num_classes: _Any = None,
    color_mapping: _Any = None,
    alpha: float = 0.8,
    blend: bool = True,
    ignore_index: _Any = -1,
    data_format: _Any = None,
):
    """Return images with the pixels of each class coloured.

    Args:
        images: `(n, height, width, 3)`, or `(n, 3, height, width)`, of 0 to 255.
        segmentation_masks: integers `(n, height, width)`, or with one channel; 0 is
            the background and stays as it is.
        num_classes: the largest class that is drawn; that of the masks when None.
        color_mapping: a dict from classes to red, green and blue of 0 to 255; a class
            that it lacks is not drawn. None makes colours up.
        alpha: the share of the colour, from 0 to 1.
        blend: whether colours are blended with the image; else they replace it.
        ignore_index: a class that is not drawn.
        data_format: `"channels_last"` or `"channels_first"`; the configured one if
            None.

    Returns:
        A uint8 NumPy array `(n, height, width, 3)`.

    Raises:
        ValueError: `images` has not four axes.
        TypeError: the masks are not integers.

    >>> import lamina, numpy as np
    >>> image, mask = np.zeros((1, 2, 2, 3)), np.array([[[0, 1], [0, 0]]])
    >>> drawn = lamina.visualization.draw_segmentation_masks(
    ...     image, mask, color_mapping={1: (100, 0, 50)}
    ... )
    >>> drawn[0, 0].tolist()
    [[0, 0, 0], [80, 0, 40]]
    """
    images = _last(images, data_format).astype("float32")
    masks = _np.asarray(segmentation_masks)
    if masks.dtype.kind not in "iu":
        raise TypeError(
            "`segmentation_masks` must be in integer dtype. Received: "
            f"segmentation_masks.dtype={masks.dtype}"
        )
    if masks.ndim == 4:
        masks = masks[:, 0] if _is_first(data_format) else masks[..., 0]
    last = int(masks.max(initial=0)) if num_classes is None else num_classes
    share, drawn = alpha if blend else 1.0, images.copy()
    for kind in range(1, last + 1):
        color = _color(kind) if color_mapping is None else color_mapping.get(kind)
        if color is not None and kind != ignore_index:
            where = masks == kind
            drawn[where] += share * (_np.asarray(color, "float32") - drawn[where])
    return _bytes(drawn)


@_boundary
def plot_image_gallery(
    images,
    y_true: _Any = None,
    y_pred: _Any = None,
    label_map: _Any = None,
    rows: _Any = None,
    cols: _Any = None,
    value_range: _Any = (0, 255),
    scale: int = 2,
    path: _Any = None,
    show: _Any = None,
    transparent: bool = True,
    dpi: int = 60,
    legend_handles: _Any = None,
    data_format: _Any = None,
):
    """Show images side by side, with what they are and what was predicted.

    Args:
        images: `(n, height, width, channels)`, or `(n, channels, height, width)`.
        y_true: labels `(n,)`, or None.
        y_pred: predicted labels `(n,)`, or None.
        label_map: a dict from labels to names.
        rows: how many rows; from `cols` or about as many as columns when None.
        cols: how many columns; as many as are needed when None.
        value_range: the values of black and white.
        scale: the size of an image, in inches.
        path: the file to write; None shows the picture.
        show: whether to show it; None does without a `path`.
        transparent: whether the file has no background.
        dpi: dots per inch of the file.
        legend_handles: what matplotlib's `Figure.legend` takes, or None.
        data_format: `"channels_last"` or `"channels_first"`; the configured one if
            None.

    Raises:
        ValueError: `images` has not four axes, both `path` and `show` are given, or
            there are labels without a `label_map`.
        ImportError: matplotlib is not installed.

    >>> import lamina, numpy as np, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "gallery.png")
    >>> lamina.visualization.plot_image_gallery(np.zeros((4, 8, 8, 3)), path=path)
    >>> path.exists()
    True
    """
    if path is not None and show:
        raise ValueError(
            "`plot_image_gallery` expected either `path` or `show`. Received: "
            f"path={path!r}, show={show!r}"
        )
    titles = {"Label": y_true, "Pred": y_pred}
    titles = {k: _np.asarray(y) for k, y in titles.items() if y is not None}
    if titles and label_map is None:
        raise ValueError("`y_true` and `y_pred` need a `label_map` with their names.")
    names = label_map or {}
    images = _last(images, data_format)
    count = len(images)
    rows = rows or _math.ceil(count / cols if cols else _math.sqrt(count)) or 1
    cols = cols or _math.ceil(count / rows) or 1
    pixels = _stretched(images, value_range)
    plt = _matplotlib()
    figure, axes = plt.subplots(
        rows,
        cols,
        figsize=(cols * scale, rows * scale),
        frameon=False,
        layout="tight",
        squeeze=False,
    )
    if legend_handles is not None:
        figure.legend(handles=legend_handles, loc="lower center")
    for i, axis in enumerate(axes.flat):
        axis.axis("off")
        if i < count:
            image = pixels[i]
            axis.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray")
            said = [f"{k}: {names.get(y[i], 'Unknown')}" for k, y in titles.items()]
            axis.set_title("  ".join(said), fontsize=8)
    if path is not None:
        figure.savefig(
            path, pad_inches=0, bbox_inches="tight", transparent=transparent, dpi=dpi
        )
    elif show in (None, True):
        plt.show()
    plt.close(figure)


@_boundary
def plot_bounding_box_gallery(
    images,
    bounding_box_format,
    y_true: _Any = None,
    y_pred: _Any = None,
    value_range: _Any = (0, 255),
    true_color: _Any = _TRUE,
    pred_color: _Any = _PREDICTED,
    line_thickness: int = 2,
    font_scale: float = 1.0,
    text_thickness: _Any = None,
    class_mapping: _Any = None,
    ground_truth_mapping: _Any = None,
    prediction_mapping: _Any = None,
    legend: bool = False,
    legend_handles: _Any = None,
    rows: _Any = None,
    cols: _Any = None,
    data_format: _Any = None,
    **kwargs,
):
    """Show images with their true and predicted boxes.

    Args:
        images: `(n, height, width, 3)`, or `(n, 3, height, width)`.
        bounding_box_format: such as `"xyxy"`, see `utils.bounding_boxes`.
        y_true: boxes as `draw_bounding_boxes` takes them, or None.
        y_pred: predicted boxes, or None.
        value_range: the values of black and white.
        true_color: red, green and blue, each of 0 to 255.
        pred_color: likewise.
        line_thickness: in pixels.
        font_scale: the size of letters; 1 is about 20 pixels.
        text_thickness: the strokes of letters, in pixels; as lines when None.
        class_mapping: a dict from labels to names.
        ground_truth_mapping: the same for true boxes.
        prediction_mapping: the same for predicted ones.
        legend: whether to say which colour is which.
        legend_handles: a legend of your own, or None.
        rows: how many rows, or None.
        cols: how many columns, or None.
        data_format: `"channels_last"` or `"channels_first"`; the configured one if
            None.
        kwargs: arguments of `plot_image_gallery`.

    Raises:
        ValueError: both `legend` and `legend_handles` are given, or what
            `draw_bounding_boxes` and `plot_image_gallery` refuse.

    >>> import lamina, numpy as np, pathlib, tempfile
    >>> boxes = {"boxes": np.array([[[2, 2, 8, 8]]]), "labels": np.array([[1]])}
    >>> path = pathlib.Path(tempfile.mkdtemp(), "boxes.png")
    >>> lamina.visualization.plot_bounding_box_gallery(
    ...     np.zeros((1, 16, 16, 3)), "xyxy", y_true=boxes, path=path, legend=True
    ... )
    >>> path.exists()
    True
    """
    if legend and legend_handles:
        raise ValueError("Give either `legend` or `legend_handles`, not both.")
    drawn = _stretched(_last(images, data_format), value_range)
    sets = (
        ("Ground Truth", y_true, true_color, ground_truth_mapping),
        ("Prediction", y_pred, pred_color, prediction_mapping),
    )
    for _, boxes, color, names in sets:
        if boxes is not None:
            drawn = draw_bounding_boxes(
                drawn,
                boxes,
                bounding_box_format,
                names or class_mapping,
                color,
                line_thickness,
                text_thickness or line_thickness,
                font_scale,
                "channels_last",
            )
    if legend:
        _matplotlib()
        from matplotlib.patches import Patch

        legend_handles = [
            Patch(color=tuple(part / 255 for part in color), label=name)  # pyright: ignore
            for name, _, color, _ in sets
        ]
    plot_image_gallery(
        drawn,
        rows=rows,
        cols=cols,
        legend_handles=legend_handles,
        data_format="channels_last",
        **kwargs,
    )


@_boundary
def plot_segmentation_mask_gallery(
    images,
    num_classes,
    value_range: _Any = (0, 255),
    y_true: _Any = None,
    y_pred: _Any = None,
    color_mapping: _Any = None,
    blend: bool = True,
    alpha: float = 0.8,
    ignore_index: _Any = -1,
    data_format: _Any = None,
    **kwargs,
):
    """Show images beside themselves with their true and predicted masks.

    Args:
        images: `(n, height, width, 3)`, or `(n, 3, height, width)`.
        num_classes: the largest class that is drawn.
        value_range: the values of black and white.
        y_true: masks as `draw_segmentation_masks` takes them, or None.
        y_pred: predicted masks, or None.
        color_mapping: a dict from classes to colours, or None.
        blend: whether colours are blended with the image.
        alpha: the share of the colour, from 0 to 1.
        ignore_index: a class that is not drawn.
        data_format: `"channels_last"` or `"channels_first"`; the configured one if
            None.
        kwargs: arguments of `plot_image_gallery`.

    Raises:
        ValueError: what `plot_image_gallery` refuses.

    >>> import lamina, numpy as np, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "masks.png")
    >>> lamina.visualization.plot_segmentation_mask_gallery(
    ...     np.zeros((1, 8, 8, 3)), 1, y_true=np.ones((1, 8, 8), int), path=path
    ... )
    >>> path.exists()
    True
    """
    images = _stretched(_last(images, data_format), value_range)
    columns = [images]
    for masks in (y_true, y_pred):
        if masks is not None:
            masks = _np.asarray(masks).astype("int32")
            if masks.ndim == 4:
                masks = masks[:, 0] if _is_first(data_format) else masks[..., 0]
            columns.append(
                draw_segmentation_masks(
                    images,
                    masks,
                    num_classes,
                    color_mapping,
                    alpha,
                    blend,
                    ignore_index,
                    "channels_last",
                )
            )
    rows = _np.stack(columns, axis=1)
    plot_image_gallery(
        rows.reshape(-1, *images.shape[1:]),
        rows=len(images),
        cols=len(columns),
        data_format="channels_last",
        **kwargs,
    )


# ---- parts -------------------------------------------------------------------


def _is_first(data_format):
    return _settings.standardize_data_format(data_format) == "channels_first"


def _last(images, data_format):
    """Return a batch of images as a NumPy array with its channels last."""
    images = _np.asarray(images)
    if images.ndim != 4:
        raise ValueError(
            f"`images` must be batched 4D tensor. Received: images.shape={images.shape}"
        )
    return images.transpose(0, 2, 3, 1) if _is_first(data_format) else images


def _stretched(images, value_range):
    """Return uint8 images of 0 to 255 for a range of values."""
    low, high = value_range
    images = (images.astype("float32") - low) * (255 / (high - low))
    return _bytes(images)


def _bytes(images):
    """Return numbers as uint8: of 0 to 255, and 0 where there is none."""
    return _np.clip(_np.nan_to_num(images), 0, 255).astype("uint8")


def _color(kind):
    """Return a colour for a class, unlike those of the classes beside it."""
    return [kind * step % 255 for step in (2**25 - 1, 2**15 - 1, 2**21 - 1)]


def _matplotlib():
    return _extra("matplotlib.pyplot", "A gallery", "lamina[plot]")


_offer(globals())
