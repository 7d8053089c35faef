"""Layers that mix images with each other, and layers of many other layers."""

import functools

import jax
import jax.numpy as jnp
from jax.core import Tracer

from lamina import random
from lamina.core.checks import int_tuple, number, positive_int
from lamina.core.config import deserialize_keras_object, serialize_keras_object
from lamina.core.random import draw_seed
from lamina.core.variable import pure
from lamina.layers.call import masks_of, signature_of
from lamina.layers.preprocessing.color import (
    ColorLayer,
    RandomBrightness,
    RandomColorDegeneration,
    RandomContrast,
    RandomPosterization,
    Solarization,
    blend,
    spread,
)
from lamina.layers.preprocessing.data_layer import DataLayer
from lamina.layers.preprocessing.filters import (
    AutoContrast,
    Equalization,
    RandomSharpness,
    interval,
    rectangles,
)
from lamina.layers.preprocessing.geometry import (
    RandomRotation,
    RandomShear,
    RandomTranslation,
)
from lamina.layers.preprocessing.image import count, images_of
from lamina.layers.rows import weakest


def _partners(number, seed):
    """Draw which image each image is mixed with."""
    order = jnp.arange(number)
    if not isinstance(number, int):
        return order  # while shapes are inferred; JAX cannot shuffle unknown sizes
    return random.shuffle(order, seed=seed)


def _mixed(x, transformation, rank):
    """Return `weight * x + (1 - weight) * partner`, one weight for each row."""
    weight = jnp.reshape(transformation["mix_weight"], (-1, *[1] * (rank - 1)))
    partners = jnp.take(x, jnp.asarray(transformation["permutation_order"]), axis=0)
    return weight * x + (1 - weight) * partners


class MixUp(ColorLayer):
    """Mixes each image with another one of the batch, and their labels alike.

    `w * x + (1 - w) * other`, with weights w drawn from Beta(alpha, alpha); the boxes
    of both images are kept.

    Args:
        alpha: small for weights near 0 and 1, 1 for equally likely ones.
        data_format: `"channels_last"` or `"channels_first"`.
        seed: an integer, for the same draws in each run.

    Source: Zhang et al., 2017, "mixup: beyond empirical risk minimization".

    >>> import lamina, numpy as np
    >>> data = {"images": np.ones((4, 2, 2, 3)), "labels": np.eye(4)}
    >>> mixed = lamina.layers.MixUp()(data)
    >>> bool(abs(mixed["labels"].sum(1) - 1).max() < 1e-6)
    True
    """

    def __init__(self, alpha=0.2, data_format=None, seed=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.alpha = number("MixUp", "alpha", alpha, least=0)

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        seed, number = self._seed(seed), count(data)
        order = _partners(number, seed)
        weight = random.beta((number,), self.alpha, self.alpha, seed=seed)
        return {"mix_weight": weight, "permutation_order": order}

    def change(self, images, transformation):
        """Return mixed images."""
        return _mixed(images, transformation, 4)

    def transform_labels(self, labels, transformation, training=True):
        if not training:
            return labels
        return _mixed(labels, transformation, labels.ndim)

    def transform_segmentation_masks(
        self, segmentation_masks, transformation, training=True
    ):
        if not training:
            return segmentation_masks
        return _mixed(segmentation_masks, transformation, 4)

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        if not training:
            return bounding_boxes
        order = jnp.asarray(transformation["permutation_order"])

        def both(x):
            x = jnp.asarray(x)
            return jnp.concatenate([x, x[order]], min(1, x.ndim - 1))

        return {k: both(bounding_boxes[k]) for k in ("boxes", "labels")}


class CutMix(ColorLayer):
    """Puts a rectangle of another image of the batch into each image.

    The share w that stays is drawn from Beta(a, a), with a drawn from `factor`;
    labels become `w * label + (1 - w) * other`. One image alone stays as it is.

    Args:
        factor: two numbers, the limits of a; one stands for 0 to it.
        seed: an integer, for the same draws in each run.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a factor that does not exist.

    Source: Yun et al., 2019, "CutMix: regularization strategy to train strong
    classifiers with localizable features".

    >>> import lamina, numpy as np
    >>> data = {"images": np.ones((4, 2, 2, 3)), "labels": np.eye(4)}
    >>> mixed = lamina.layers.CutMix()(data)
    >>> bool(abs(mixed["labels"].sum(1) - 1).max() < 1e-6)
    True
    """

    _FACTOR_BOUNDS = (0, 1)

    def __init__(self, factor=1.0, seed=None, data_format=None, **kwargs):
        super().__init__(factor, data_format=data_format, seed=seed, **kwargs)

    def get_random_transformation(self, data, training=True, seed=None):
        if not training or len(images_of(data).shape) == 3:
            return None
        seed, number = self._seed(seed), count(data)
        height, width = self._sizes(data)
        alpha = random.uniform((), *self.factor, seed=seed) + 1e-6
        kept = random.beta((number,), alpha, alpha, seed=seed)
        side = jnp.sqrt(1 - kept)
        x0, x1 = interval(number, width, side, seed)
        y0, y1 = interval(number, height, side, seed)
        masks = rectangles(x0, x1, y0, y1, height, width, self._channels_last)
        return {
            "permutation_order": _partners(number, seed),
            "batch_masks": masks,
            "mix_weight": spread(1 - (x1 - x0) * (y1 - y0) / (width * height)),
        }

    def change(self, images, transformation):
        """Return images with rectangles of others."""
        if transformation is None:
            return images
        partners = jnp.take(images, transformation["permutation_order"], axis=0)
        return jnp.where(transformation["batch_masks"], partners, images)

    def transform_labels(self, labels, transformation, training=True):
        if not training or transformation is None:
            return labels
        return _mixed(labels, transformation, labels.ndim)

    def transform_segmentation_masks(
        self, segmentation_masks, transformation, training=True
    ):
        if not training:
            return segmentation_masks
        return self.change(jnp.asarray(segmentation_masks), transformation)

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        raise NotImplementedError(
            "`CutMix` does not support bounding boxes: what it cuts out of an image "
            "may be a part of a box. Use `MixUp`, which keeps the boxes of both images."
        )


def _traced(*values):
    return any(isinstance(x, Tracer) for x in jax.tree.leaves(values))


def _switch(index, branches, x):
    """Return `branches[index](x)` in the structure and dtypes of `x`."""

    def keeping(branch, x):
        return jax.tree.map(lambda old, new: new.astype(old.dtype), x, branch(x))

    branches = [functools.partial(keeping, branch) for branch in branches]
    if _traced(index):
        return jax.lax.switch(index, branches, x)
    return branches[int(index)](x)


def _fold(step, start, items):
    """Return what `step(value, item)` makes of `start`, item by item."""
    if _traced(start, items):
        return jax.lax.scan(lambda x, item: (step(x, item), None), start, items)[0]
    for i in range(len(jax.tree.leaves(items)[0])):
        start = step(start, jax.tree.map(lambda v, i=i: v[i], items))
    return start


def _augmentations(owner):
    """Return the layers that `owner` picks from, by name, of its own strength."""
    most = max(1, int(8 * owner.factor[1]))
    ranged = {"value_range": owner.value_range}
    drawn = {**ranged, "seed": owner.seed}
    factor, moved = owner.factor, {"interpolation": owner.interpolation}
    moved["seed"] = owner.seed
    made = {
        "random_shear": (RandomShear, (factor, factor), moved),
        "random_translation": (RandomTranslation, (factor, factor), moved),
        "random_rotation": (RandomRotation, (factor,), moved),
        "random_brightness": (RandomBrightness, (factor,), drawn),
        "random_color_degeneration": (RandomColorDegeneration, (factor,), drawn),
        "random_contrast": (RandomContrast, (factor,), drawn),
        "random_sharpness": (RandomSharpness, (factor,), drawn),
        "random_posterization": (RandomPosterization, (most,), drawn),
        "solarization": (Solarization, (factor, factor), drawn),
        "auto_contrast": (AutoContrast, (), ranged),
        "equalization": (Equalization, (), ranged),
    }
    shared = {
        "bounding_box_format": owner.bounding_box_format,
        "data_format": owner.data_format,
        "dtype": owner.dtype_policy,
    }
    return {
        name: cls(*args, **kwargs, **shared)
        for name, (cls, args, kwargs) in made.items()
    }


class _Augmenting(ColorLayer):
    """Applies layers that it holds by name."""

    _FACTOR_BOUNDS = (0, 1)
    _names: tuple

    def _make(self, names):
        made = _augmentations(self)
        self._names = names
        for name in names:
            setattr(self, name, made[name])

    def _apply(self, method, x, transformation):
        """Return `x` after one method of the layers that were drawn."""
        raise NotImplementedError

    def transform_segmentation_masks(
        self, segmentation_masks, transformation, training=True
    ):
        if not training:
            return segmentation_masks
        masks = jnp.asarray(segmentation_masks)
        return self._apply("transform_segmentation_masks", masks, transformation)


class RandAugment(_Augmenting):
    """Applies a few random changes, one after the other, to a batch.

    Each is one of shear, translation, rotation, brightness, colour degeneration,
    contrast, sharpness, posterization, solarization, automatic contrast and
    equalization. Boxes and masks move with the images.

    Args:
        value_range: the least and the greatest value of a pixel.
        num_ops: how many changes.
        factor: two numbers from 0 to 1, the limits of their strengths; one stands
            for 0 to it.
        interpolation: how moved images are sampled: `"nearest"` or `"bilinear"`.
        seed: an integer, for the same draws in each run.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a factor or range that does not exist.

    Source: Cubuk et al., 2019, "RandAugment: practical automated data augmentation
    with a reduced search space".

    >>> import lamina, numpy as np
    >>> lamina.layers.RandAugment()(np.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """

    def __init__(
        self, value_range=(0, 255), num_ops=2, factor=0.5, interpolation="bilinear",
        seed=None, data_format=None, **kwargs,
    ):  # fmt: skip
        super().__init__(factor, data_format=data_format, seed=seed, **kwargs)
        self._keep_range(value_range)
        (self.num_ops,) = int_tuple("RandAugment", "num_ops", num_ops, 1, zero=True)
        self.interpolation = interpolation
        self._make(
            (
                "random_shear", "random_translation", "random_rotation",
                "random_brightness", "random_color_degeneration", "random_contrast",
                "random_sharpness", "random_posterization", "solarization",
                "auto_contrast", "equalization",
            )
        )  # fmt: skip

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        seed = self._seed(seed)
        picked = random.randint((self.num_ops,), 0, len(self._names), seed=seed)
        drawn = {
            name: getattr(self, name).get_random_transformation(data, seed=seed)
            for name in self._names
        }
        return {"transforms": drawn, "layer_idxes": picked}

    def _apply(self, method, x, transformation):
        drawn = transformation["transforms"]
        branches = [
            functools.partial(
                getattr(getattr(self, name), method), transformation=drawn[name]
            )
            for name in self._names
        ]
        picked = transformation["layer_idxes"]
        return _fold(lambda x, index: _switch(index, branches, x), x, picked)

    def change(self, images, transformation):
        """Return changed images."""
        return self._apply("transform_images", images, transformation)

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        if not training:
            return bounding_boxes
        boxes = {
            "boxes": jnp.asarray(bounding_boxes["boxes"], "float32"),
            "labels": jnp.asarray(bounding_boxes["labels"]),
        }
        return self._apply("transform_bounding_boxes", boxes, transformation)


class AugMix(_Augmenting):
    """Mixes images with several chains of random changes of them.

    `w * x + (1 - w) * sum(c_i * chain_i(x))`, with w from Beta(alpha, alpha) and the
    c_i from Dirichlet(alpha). Each link of a chain is nothing or one of shear,
    translation, rotation, posterization, solarization, automatic contrast and
    equalization; or, of all, brightness, colour degeneration, contrast and sharpness.
    Labels and boxes stay.

    Args:
        value_range: the least and the greatest value of a pixel.
        num_chains: how many chains.
        chain_depth: how many links each has.
        factor: two numbers from 0 to 1, the limits of their strengths; one stands
            for 0 to it.
        alpha: how alike the weights are.
        all_ops: whether the last four are among the changes.
        interpolation: how moved images are sampled: `"nearest"` or `"bilinear"`.
        seed: an integer, for the same draws in each run.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a factor, number or range that does not exist.

    Source: Hendrycks et al., 2019, "AugMix: a simple data processing method to
    improve robustness and uncertainty".

    >>> import lamina, numpy as np
    >>> lamina.layers.AugMix()(np.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """

    def __init__(
        self, value_range=(0, 255), num_chains=3, chain_depth=3, factor=0.3, alpha=1.0,
        all_ops=True, interpolation="bilinear", seed=None, data_format=None, **kwargs,
    ):  # fmt: skip
        super().__init__(factor, data_format=data_format, seed=seed, **kwargs)
        self._keep_range(value_range)
        self.num_chains = positive_int("AugMix", "num_chains", num_chains)
        self.chain_depth = positive_int("AugMix", "chain_depth", chain_depth)
        self.alpha = alpha
        self.all_ops = all_ops
        self.interpolation = interpolation
        names = (
            "random_shear", "random_translation", "random_rotation",
            "random_posterization", "solarization", "auto_contrast", "equalization",
            "random_brightness", "random_color_degeneration", "random_contrast",
            "random_sharpness",
        )  # fmt: skip
        self._make(names if all_ops else names[:7])

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        seed, links = self._seed(seed), (self.num_chains, self.chain_depth)
        weights = random.gamma((self.num_chains,), self.alpha, seed=seed)
        return {
            "chain_mixing_weights": weights / jnp.sum(weights),
            "weight_sample": random.beta((), self.alpha, self.alpha, seed=seed),
            "layer_idxes": random.randint(links, 0, len(self._names) + 1, seed=seed),
            "link_seeds": jax.random.bits(draw_seed(seed), (*links, 2), "uint32"),
        }

    def _change(self, method, name, seed, x):
        layer = getattr(self, name)
        draw = pure(layer.get_random_transformation, [self.generator.state])
        transformation, _ = draw((seed,), x, seed=self.generator)
        return getattr(layer, method)(x, transformation)

    def _apply(self, method, x, transformation):
        def link(x, item):
            index, seed = item
            changes = [
                functools.partial(self._change, method, name, seed)
                for name in self._names
            ]
            return _switch(index, [*changes, lambda x: x], x)

        def chain(total, item):
            weight, links = item
            return total + weight * _fold(link, x, links)

        links = transformation["layer_idxes"], transformation["link_seeds"]
        weights, own = (
            transformation[k].astype(x.dtype)
            for k in ("chain_mixing_weights", "weight_sample")
        )
        return blend(_fold(chain, jnp.zeros_like(x), (weights, links)), x, own)

    def change(self, images, transformation):
        """Return images mixed with their chains."""
        return self._clip(self._apply("transform_images", images, transformation))


class Pipeline(DataLayer):
    """Applies layers one after the other.

    Unlike `Sequential` it is no model: it takes whatever its layers take, such as
    dicts of images and labels.

    Args:
        layers: a list of layers.
        name: its name.

    Raises:
        ValueError: a config has no list of layers.

    >>> import lamina, numpy as np
    >>> halves = [lamina.layers.Rescaling(0.5), lamina.layers.Rescaling(0.5)]
    >>> lamina.layers.Pipeline(halves)(np.array([4.0])).tolist()
    [1.0]
    """

    def __init__(self, layers, name=None):
        super().__init__(name=name)
        if not isinstance(layers, (list, tuple)):
            raise ValueError(
                "`Pipeline` expected `layers` to be a list of layers. "
                f"Received: layers={layers!r}"
            )
        self._pipeline_layers = layers

    @property
    def rows_independent(self):
        return weakest(*(x.rows_independent for x in self.layers))

    @property
    def _least_rank(self):
        return max([2, *(x._least_rank for x in self.layers)])

    @property
    def layers(self):
        """The layers, in order."""
        return self._pipeline_layers

    def call(self, inputs, training=True, mask=None):
        for layer in self.layers:
            takes = signature_of(layer.call)
            given = {"training": training, "mask": mask}
            given = {k: v for k, v in given.items() if k in takes.names}
            inputs = layer(inputs, **given)
            mask = masks_of(inputs)
        return inputs

    def get_config(self):
        return {"layers": serialize_keras_object(self.layers), "name": self.name}

    @classmethod
    def from_config(cls, config):
        if not isinstance(config.get("layers"), (list, tuple)):
            raise ValueError(
                "`Pipeline` expected its config to have a list of layers under "
                f"`layers`. Received: config={config}"
            )
        return cls(**{**config, "layers": deserialize_keras_object(config["layers"])})
