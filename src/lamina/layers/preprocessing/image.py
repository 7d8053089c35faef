"""The base of all layers that change images, and what images stand for.

A layer draws once what it will do (`get_random_transformation`) and then does it to
images, labels, bounding boxes and segmentation masks alike.
"""

import jax.numpy as jnp
import numpy as np

from lamina.core import settings
from lamina.core.random import SeedGenerator
from lamina.kernels.boxes import dense_boxes
from lamina.layers.preprocessing.data_layer import DataLayer, drawn_in_graphs

_NO_DRAWS = object()
# How each entry of a dict is changed: that of one image, those of a batch.
_METHODS = {
    "images": ("transform_single_image", "transform_images"),
    "bounding_boxes": ("transform_single_bounding_box", "transform_bounding_boxes"),
    "labels": ("transform_single_label", "transform_labels"),
    "segmentation_masks": (
        "transform_single_segmentation_mask",
        "transform_segmentation_masks",
    ),
}


def is_number(value):
    """Tell whether `value` is a real number."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def is_pair(value):
    """Tell whether `value` is a list or tuple of two real numbers."""
    listed = isinstance(value, (list, tuple)) and len(value) == 2
    return listed and all(map(is_number, value))


def images_of(data):
    """Return the images in what a layer was called with.

    Raises:
        ValueError: they are neither an image nor a batch of images.
    """
    images = data["images"] if isinstance(data, dict) else data
    if len(images.shape) not in (3, 4):
        raise ValueError(
            "Expected the input image to be rank 3 or 4. Received: inputs.shape="
            f"{images.shape}"
        )
    return images


def count(data):
    """Return how many images there are."""
    images = images_of(data)
    return images.shape[0] if len(images.shape) == 4 else 1


class BaseImagePreprocessingLayer(DataLayer):
    """The base of layers that take images, alone or with what belongs to them.

    They are called with an image (height, width, channels), a batch of images, or a
    dict with them under `"images"` and any of `"labels"`, `"bounding_boxes"` and
    `"segmentation_masks"`; other entries pass unchanged. A subclass writes
    `transform_images`, and what else it changes.

    Args:
        factor: two numbers, or one, that limit what is drawn.
        bounding_box_format: how boxes are written, such as `"xyxy"`.
        data_format: `"channels_last"` or `"channels_first"`.
        seed: an integer, for the same draws in each run; a layer that draws passes
            it on even when it is None.

    Raises:
        ValueError: a factor or format that does not exist.

    >>> import lamina, numpy as np
    >>> from lamina.layers.preprocessing.image import BaseImagePreprocessingLayer
    >>> class Darken(BaseImagePreprocessingLayer):
    ...     def transform_images(self, images, transformation, training=True):
    ...         return images / 2
    >>> Darken()({"images": np.ones((1, 1, 2)), "labels": 3})["images"].tolist()
    [[[0.5, 0.5]]]
    """

    rows_independent = "inference"
    _least_rank = 4
    _FACTOR_BOUNDS = (-1, 1)
    factor: tuple

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for _, name in _METHODS.values():
            if name in cls.__dict__:
                setattr(cls, name, drawn_in_graphs(cls.__dict__[name]))

    def __init__(
        self, factor=None, bounding_box_format=None, data_format=None, seed=_NO_DRAWS,
        **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.bounding_box_format = bounding_box_format
        self.data_format = settings.standardize_data_format(data_format)
        if factor is not None:
            self._set_factor(factor)
        if seed is not _NO_DRAWS:
            self.seed = seed
            self.generator = SeedGenerator(seed)

    def _set_factor(self, factor):
        self.factor = self._limits("factor", factor)

    def _limits(self, name, value):
        """Return a factor as two numbers, the lower one first, or raise."""
        low, high = self._FACTOR_BOUNDS
        if is_number(value) and low <= value <= high:
            return max(-abs(value), low), abs(value)
        if is_pair(value) and value[0] <= high and value[1] >= low:
            return tuple(sorted(value))
        raise self._bad_factor(name, value)

    def _bad_factor(self, name, value):
        low, high = self._FACTOR_BOUNDS
        return ValueError(
            f"The `{name}` argument should be a number (or a list of two numbers) "
            f"in the range [{low}, {high}]. Received: {name}={value!r}"
        )

    @property
    def _channels_last(self):
        return self.data_format == "channels_last"

    @property
    def _channel_axis(self):
        return -1 if self._channels_last else -3

    @property
    def _image_axes(self):
        """The axes of height and width in a batch."""
        return (1, 2) if self._channels_last else (2, 3)

    def _sizes(self, data):
        """Return the height and the width of images."""
        return self._sizes_in(images_of(data).shape)

    def _sizes_in(self, shape):
        first = -3 if self._channels_last else -2
        return shape[first], shape[first + 1]

    def _seed(self, seed):
        return self.generator if seed is None else seed

    def get_random_transformation(self, data, training=True, seed=None):
        """Draw what will be done to `data`; None for nothing."""

    def transform_images(self, images, transformation, training=True):
        raise NotImplementedError(
            f"Layer {type(self).__name__} does not have a `transform_images` method."
        )

    def transform_labels(self, labels, transformation, training=True):
        return labels

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        return bounding_boxes

    def transform_segmentation_masks(
        self, segmentation_masks, transformation, training=True
    ):
        return segmentation_masks

    def transform_single_image(self, image, transformation, training=True):
        """Return an image, changed."""
        return self.transform_images(
            jnp.asarray(image)[None], transformation, training
        )[0]

    def transform_single_label(self, label, transformation, training=True):
        """Return the label of one image."""
        return self.transform_labels(
            jnp.asarray(label)[None], transformation, training
        )[0]

    def transform_single_bounding_box(
        self, bounding_box, transformation, training=True
    ):
        """Return the boxes of one image."""
        boxes = {k: jnp.asarray(v)[None] for k, v in bounding_box.items()}
        boxes = self.transform_bounding_boxes(boxes, transformation, training)
        return {k: v[0] for k, v in boxes.items()}

    def transform_single_segmentation_mask(
        self, segmentation_mask, transformation, training=True
    ):
        """Return the segmentation mask of one image."""
        masks = jnp.asarray(segmentation_mask)[None]
        return self.transform_segmentation_masks(masks, transformation, training)[0]

    def call(self, data, training=True):
        drawn = self.get_random_transformation(data, training=training)
        single = len(images_of(data).shape) == 3
        if not isinstance(data, dict):
            change = self.transform_single_image if single else self.transform_images
            return change(jnp.asarray(data), transformation=drawn, training=training)
        result = dict(data)
        if "bounding_boxes" in data:
            result["bounding_boxes"] = self._dense(data["bounding_boxes"])
        for key, (one, many) in _METHODS.items():
            if key in data:
                change = getattr(self, one if single else many)
                value = result[key]
                value = value if key == "bounding_boxes" else jnp.asarray(value)
                result[key] = change(value, transformation=drawn, training=training)
        return result

    def _dense(self, bounding_boxes):
        """Return boxes as arrays; shorter lists are filled up with label -1."""
        if not self.bounding_box_format:
            raise ValueError(
                f"`{type(self).__name__}` was called with bounding boxes and does not "
                "know how they are written. Give it `bounding_box_format=`, such as "
                "'xyxy'."
            )
        return dense_boxes(bounding_boxes)

    def get_config(self):
        config = super().get_config()
        if self.bounding_box_format is None:
            config.pop("bounding_box_format", None)
        return config
