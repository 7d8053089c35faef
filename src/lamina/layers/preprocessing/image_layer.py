"""The base of all layers that change images, and what belongs to images.

A layer draws once what it will do (`draw`), and then does it to images, labels, boxes
and masks alike (`change`, `change_labels`, `change_boxes`, `change_masks`), to batches.
Whether anything changes, for one image or many, is decided here.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lamina import random
from lamina.core import settings
from lamina.core.arguments import SharedArguments
from lamina.core.checks import one_of
from lamina.core.random import SeedGenerator
from lamina.core.types import Factor, Seed
from lamina.kernels.boxes import dense_boxes
from lamina.layers.layer import LayerArgs
from lamina.layers.preprocessing.data_layer import DataLayer
from lamina.layers.tensorflow_graph import drawn_in_graphs

_NO_DRAWS = object()
# Of what some layers draw `factor`.
PROBABILITY = "the probability that an image changes"
# The entries of a dict that are changed, and what one of each is called.
_ENTRIES = {
    "images": "image",
    "bounding_boxes": "bounding_box",
    "labels": "label",
    "segmentation_masks": "segmentation_mask",
}


def is_number(value):
    """Tell whether `value` is a real number."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def is_pair(value):
    """Tell whether `value` is a list or tuple of two real numbers."""
    listed = isinstance(value, (list, tuple)) and len(value) == 2
    return listed and all(map(is_number, value))


class Shared(LayerArgs, total=False):
    """The arguments that layers of images share.

    Args:
        factor: two numbers, the limits of {cls._FACTOR},
            from {cls._FACTOR_BOUNDS[0]} to {cls._FACTOR_BOUNDS[1]};
            one number f stands for -f to f within these limits.
        value_range: the least and the greatest value of a pixel.
        height: the height of the result in pixels.
        width: the width of the result in pixels.
        interpolation: one of {cls._INTERPOLATIONS}.
        fill_mode: what comes in, one of {cls._FILLS}.
        fill_value: what comes in with `"constant"`.

    Raises:
        ValueError: an argument is out of its range, or an unknown mode.
    """

    value_range: Sequence[float]
    interpolation: str
    fill_mode: str
    fill_value: Factor
    bounding_box_format: str | None
    data_format: str | None
    seed: Seed


_FILLING: Any = {"interpolation": "bilinear", "fill_mode": "reflect", "fill_value": 0.0}
shared = SharedArguments(Shared, DataLayer._arguments, value_range=(0, 255), **_FILLING)


def spread(values, rank=4):
    """Return a value for each image so that it broadcasts with arrays of a rank."""
    return jnp.reshape(values, (-1, *(1,) * (rank - 1)))


def images_of(data):
    """Return the images in what a layer was called with."""
    images = data["images"] if isinstance(data, dict) else data
    if len(images.shape) not in (3, 4):
        raise ValueError(
            "Expected the input image to be rank 3 or 4. Received: inputs.shape="
            f"{images.shape}"
        )
    return images


class ImageRng:
    """Draws for images: their `shape`, `number`, `height`, `width`, and a `seed`."""

    def __init__(self, layer, data, seed):
        self.shape = images_of(data).shape
        self.number = self.shape[0] if len(self.shape) == 4 else 1
        self.height, self.width = layer._sizes_in(self.shape)
        self.seed = seed

    def uniform(self, low=0.0, high=1.0, each=(), dtype=None):
        """Draw from [low, high), an array of shape `each` for each image."""
        return random.uniform((self.number, *each), low, high, dtype, self.seed)

    def chosen(self, limits):
        """Draw which images change, with probabilities that are drawn themselves."""
        odds = self.uniform(*limits)
        return self.uniform() < odds


class BaseImagePreprocessingLayer(DataLayer):
    """The base of layers that take images, alone or with what belongs to them.

    They are called with an image (height, width, channels), a batch of images, or a
    dict with them under `"images"` and any of `"labels"`, `"bounding_boxes"` and
    `"segmentation_masks"`; other entries pass unchanged. A subclass writes
    `transform_images`, and what else it changes.

    Args:
        factor: two numbers, or one, that limit what is drawn.
        bounding_box_format: how boxes are written, such as `"xyxy"`.
        seed: an integer or None; layers that draw pass it on, and only they.

    Raises:
        ValueError: a factor or format that does not exist.

    >>> import lamina, numpy as np
    >>> from lamina.layers.preprocessing.image_layer import BaseImagePreprocessingLayer
    >>> class Darken(BaseImagePreprocessingLayer):
    ...     def transform_images(self, images, transformation, training=True):
    ...         return images / 2
    >>> Darken()({"images": np.ones((1, 1, 2)), "labels": 3})["images"].tolist()
    [[[0.5, 0.5]]]
    """

    rows_independent = "inference"
    _arguments = shared
    _saved_if_changed = (*DataLayer._saved_if_changed, "bounding_box_format")
    _least_rank = 4
    # What `factor` is drawn for, and from where.
    _FACTOR = "each image's factor"
    _FACTOR_BOUNDS = (-1, 1)
    _INTERPOLATIONS = ("nearest", "bilinear")
    _FILLS = ("reflect", "wrap", "constant", "nearest")
    # Whether it changes what it is given outside of training, too.
    _always = False
    generator: Any = None
    factor: tuple

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in (f"transform_{entry}" for entry in _ENTRIES):
            if name in cls.__dict__:
                setattr(cls, name, drawn_in_graphs(cls.__dict__[name]))

    def __init__(
        self,
        factor: Factor | None = None,
        bounding_box_format: str | None = None,
        data_format: str | None = None,
        seed: Any = _NO_DRAWS,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.bounding_box_format = bounding_box_format
        self.data_format = settings.standardize_data_format(data_format)
        last = self.data_format == "channels_last"
        # Counted from the last: an image has the same ones as a batch.
        self._channel_axis = -1 if last else -3
        self._image_axes = (-3, -2) if last else (-2, -1)
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

    def _sizes_in(self, shape):
        """Return the height and the width of images."""
        down, across = self._image_axes
        return shape[down], shape[across]

    def get_random_transformation(self, data, training=True, seed=None):
        """Draw what will be done to `data`; None for nothing."""
        if not (training or self._always):
            return None
        return self.draw(ImageRng(self, data, self._seed(seed)))

    def _seed(self, seed):
        return self.generator if seed is None else seed

    def draw(self, rng):
        """Return what a layer does to the images of an `ImageRng`; None if unvaried."""

    def change(self, images, drawn):
        """Return changed images, given in the compute dtype."""
        raise NotImplementedError(
            f"Layer {type(self).__name__} does not have a `transform_images` method."
        )

    def _as_it_is(self, x, drawn) -> Any:
        return x

    change_labels = change_boxes = change_masks = _as_it_is

    def _changed(self, change, x, drawn, training):
        """Return `x` changed, or as it is: not in training, or nothing was drawn."""
        acts = training and (drawn is not None or self.generator is None)
        return change(x, drawn) if acts or self._always else x

    def _alone(self, kind, x, transformation, training):
        """Return what becomes of a batch of one: of an array, or of those in a dict."""
        many = isinstance(x, dict)
        batch = {k: jnp.asarray(v)[None] for k, v in (x if many else {0: x}).items()}
        transform = getattr(self, f"transform_{kind}")
        result = transform(batch if many else batch[0], transformation, training)
        return {k: v[0] for k, v in result.items()} if many else result[0]

    @drawn_in_graphs
    def transform_images(self, images, transformation=None, training=True):
        images = jnp.asarray(images, self.compute_dtype)
        images = self._changed(self.change, images, transformation, training)
        return images.astype(self.compute_dtype)

    @drawn_in_graphs
    def transform_labels(self, labels, transformation=None, training=True):
        return self._changed(self.change_labels, labels, transformation, training)

    @drawn_in_graphs
    def transform_bounding_boxes(
        self, bounding_boxes, transformation=None, training=True
    ):
        change = self.change_boxes
        return self._changed(change, bounding_boxes, transformation, training)

    @drawn_in_graphs
    def transform_segmentation_masks(
        self, segmentation_masks, transformation=None, training=True
    ):
        change = self.change_masks
        return self._changed(change, segmentation_masks, transformation, training)

    def transform_single_image(self, image, transformation, training=True):
        return self._alone("images", image, transformation, training)

    def transform_single_label(self, label, transformation, training=True):
        return self._alone("labels", label, transformation, training)

    def transform_single_bounding_box(
        self, bounding_box, transformation, training=True
    ):
        return self._alone("bounding_boxes", bounding_box, transformation, training)

    def transform_single_segmentation_mask(
        self, segmentation_mask, transformation, training=True
    ):
        mask = segmentation_mask
        return self._alone("segmentation_masks", mask, transformation, training)

    def call(self, data, training=True):
        drawn = self.get_random_transformation(data, training=training)
        single = len(images_of(data).shape) == 3
        result = dict(data) if isinstance(data, dict) else {"images": data}
        for many, one in _ENTRIES.items():
            if many in result:
                dense = self._dense if many == "bounding_boxes" else jnp.asarray
                name = f"transform_single_{one}" if single else f"transform_{many}"
                result[many] = getattr(self, name)(
                    dense(result[many]), transformation=drawn, training=training
                )
        return result if isinstance(data, dict) else result["images"]

    def _dense(self, bounding_boxes):
        """Return boxes as arrays; shorter lists are filled up with label -1."""
        if not self.bounding_box_format:
            raise ValueError(
                f"`{type(self).__name__}` was called with bounding boxes and does not "
                "know how they are written. Give it `bounding_box_format=`, such as "
                "'xyxy'."
            )
        return dense_boxes(bounding_boxes)


class InterpolatingLayer(BaseImagePreprocessingLayer):
    """Takes pixels from between others."""

    def __init__(self, interpolation: str = "bilinear", **kwargs):
        super().__init__(**kwargs)
        modes = self._INTERPOLATIONS
        self.interpolation = one_of(self, "interpolation", interpolation, modes)


class RangedLayer(BaseImagePreprocessingLayer):
    """Takes the range of the values of pixels."""

    def __init__(self, value_range: Sequence[float] = (0, 255), **kwargs):
        super().__init__(**kwargs)
        if not isinstance(value_range, (list, tuple)) or len(value_range) != 2:
            raise ValueError(
                "The `value_range` argument should be a list of two numbers. Received: "
                f"value_range={value_range}"
            )
        self.value_range = sorted(value_range)
