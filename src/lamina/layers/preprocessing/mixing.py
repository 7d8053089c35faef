"""Layers that mix images with each other, and layers of many other layers."""

import functools
import inspect
from collections.abc import Sequence
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from jax.core import Tracer

from lamina import random
from lamina.core.checks import bad_argument, int_tuple, number, positive_int
from lamina.core.config import deserialize_keras_object, serialize_keras_object
from lamina.core.naming import snake_case
from lamina.core.random import draw_seed
from lamina.core.rows import weakest
from lamina.core.types import Factor, Seed
from lamina.core.variable import pure
from lamina.layers.call import masks_of, signature_of
from lamina.layers.preprocessing import color, filters, geometry
from lamina.layers.preprocessing.color import ColorLayer, blend
from lamina.layers.preprocessing.data_layer import DataLayer
from lamina.layers.preprocessing.image_layer import (
    BaseImagePreprocessingLayer,
    InterpolatingLayer,
    Shared,
    shared,
    spread,
)


def _partners(rng):
    """Draw which image each image is mixed with."""
    order = jnp.arange(rng.number)
    if not isinstance(rng.number, int):
        return order  # while shapes are inferred; JAX cannot shuffle unknown sizes
    return random.shuffle(order, seed=rng.seed)


class _Mixing(BaseImagePreprocessingLayer):
    """Mixes images with others of the batch, and their labels alike."""

    _FACTOR_BOUNDS = (0, 1)

    def _mixed(self, images, drawn, rank=4):
        """Return `weight * x + (1 - weight) * partner`, one weight for each row."""
        weight = spread(drawn["mix_weight"], rank)
        return weight * images + (1 - weight) * self._others(images, drawn)

    def _others(self, images, drawn):
        return jnp.take(images, jnp.asarray(drawn["permutation_order"]), axis=0)

    def change_labels(self, labels, drawn):
        return self._mixed(labels, drawn, labels.ndim)


class MixUp(_Mixing):
    """Mixes images of a batch, and their labels alike: `w * x + (1 - w) * other`.

    The boxes of both images are kept.

    Args:
        alpha: weights w are drawn from Beta(alpha, alpha).

    Source: Zhang et al., 2017, "mixup: beyond empirical risk minimization".

    >>> import lamina, numpy as np
    >>> data = {"images": np.ones((4, 2, 2, 3)), "labels": np.eye(4)}
    >>> mixed = lamina.layers.MixUp()(data)
    >>> bool(abs(mixed["labels"].sum(1) - 1).max() < 1e-6)
    True
    """

    @shared("alpha data_format seed")
    def __init__(self, alpha: float = 0.2, *_, **kwargs: Unpack[Shared]):
        super().__init__(**kwargs)
        self.alpha = number(self, "alpha", alpha, least=0)

    def draw(self, rng):
        order = _partners(rng)
        weight = random.beta((rng.number,), self.alpha, self.alpha, seed=rng.seed)
        return {"mix_weight": weight, "permutation_order": order}

    change = change_masks = _Mixing._mixed

    def change_boxes(self, bounding_boxes, drawn):
        order = jnp.asarray(drawn["permutation_order"])

        def both(x):
            x = jnp.asarray(x)
            return jnp.concatenate([x, x[order]], min(1, x.ndim - 1))

        return {k: both(bounding_boxes[k]) for k in ("boxes", "labels")}


class CutMix(_Mixing):
    """Puts a rectangle of another image of the batch into each image.

    The share w that stays is drawn from Beta(a, a), with a drawn from `factor`;
    labels become `w * label + (1 - w) * other`. One image alone stays as it is.

    Source: Yun et al., 2019 (https://arxiv.org/abs/1905.04899).

    >>> import lamina, numpy as np
    >>> data = {"images": np.ones((4, 2, 2, 3)), "labels": np.eye(4)}
    >>> mixed = lamina.layers.CutMix()(data)
    >>> bool(abs(mixed["labels"].sum(1) - 1).max() < 1e-6)
    True
    """

    _FACTOR = "a"

    @shared("factor seed data_format")
    def __init__(self, factor: Factor = 1.0, *_, **kwargs: Unpack[Shared]):
        super().__init__(factor, **kwargs)

    def draw(self, rng):
        if len(rng.shape) == 3:
            return None
        alpha = random.uniform((), *self.factor, seed=rng.seed) + 1e-6
        kept = random.beta((rng.number,), alpha, alpha, seed=rng.seed)
        side = jnp.sqrt(1 - kept)
        masks, area = filters.rectangles(self, rng, side, side)
        return {
            "permutation_order": _partners(rng),
            "batch_masks": masks,
            "mix_weight": spread(1 - area / (rng.width * rng.height)),
        }

    def change(self, images, drawn):
        return jnp.where(drawn["batch_masks"], self._others(images, drawn), images)

    change_masks = change

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


class _Augmenting(InterpolatingLayer, ColorLayer):
    """Applies layers that it holds by name, made for its own strength.

    `_apply(method, x, drawn)` returns `x` after one method of those that were drawn.
    """

    _MADE = (
        geometry.RandomShear,
        geometry.RandomTranslation,
        geometry.RandomRotation,
        color.RandomBrightness,
        color.RandomColorDegeneration,
        color.RandomContrast,
        filters.RandomSharpness,
        color.RandomPosterization,
        color.Solarization,
        filters.AutoContrast,
        filters.Equalization,
    )
    _FACTOR = "the strengths of the changes"
    _names: list
    _apply: Any

    def _made(self):
        """Make the layers: each with the arguments that it takes, and all factors."""
        varied = {n: getattr(self, n) for n in ("value_range", "seed", "interpolation")}
        alike = {n: getattr(self, n) for n in ("bounding_box_format", "data_format")}
        alike["dtype"], layers = self.dtype_policy, {}
        for cls in self._MADE:
            factor = self.factor
            if cls is color.RandomPosterization:
                factor = max(1, int(8 * factor[1]))
            taken = inspect.signature(cls.__init__).parameters
            given = {n: value for n, value in varied.items() if n in taken}
            given |= {n: factor for n in taken if n.endswith("factor")}
            layers[snake_case(cls.__name__)] = cls(**given, **alike)
        return layers

    def _hold(self, layers):
        self._names = list(layers)
        for name, layer in layers.items():
            setattr(self, name, layer)

    def change(self, images, drawn):
        return self._apply("transform_images", images, drawn)

    def change_masks(self, masks, drawn):
        return self._apply("transform_segmentation_masks", jnp.asarray(masks), drawn)


class RandAugment(_Augmenting):
    """Applies a few random changes, one after the other, to a batch.

    Each is one of shear, translation, rotation, brightness, colour degeneration,
    contrast, sharpness, posterization, solarization, automatic contrast and
    equalization. Boxes and masks move with the images.

    Args:
        num_ops: how many changes.

    Source: Cubuk et al., 2019 (https://arxiv.org/abs/1909.13719).

    >>> import lamina, numpy as np
    >>> lamina.layers.RandAugment()(np.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """

    @shared("value_range num_ops factor interpolation seed data_format")
    def __init__(
        self, *_, num_ops: int = 2, factor: Factor = 0.5, **kwargs: Unpack[Shared]
    ):
        super().__init__(factor=factor, **kwargs)
        (self.num_ops,) = int_tuple(self, "num_ops", num_ops, 1, zero=True)
        self._hold(self._made())

    def draw(self, rng):
        some = random.randint((self.num_ops,), 0, len(self._names), seed=rng.seed)
        drawn = {name: getattr(self, name).draw(rng) for name in self._names}
        return {"transforms": drawn, "layer_idxes": some}

    def _apply(self, method, x, drawn):
        branches = [
            functools.partial(getattr(getattr(self, name), method), transformation=one)
            for name, one in drawn["transforms"].items()
        ]
        picked = drawn["layer_idxes"]
        return _fold(lambda x, index: _switch(index, branches, x), x, picked)

    def change_boxes(self, bounding_boxes, drawn):
        boxes = jnp.asarray(bounding_boxes["boxes"], "float32")
        boxes = {"boxes": boxes, "labels": jnp.asarray(bounding_boxes["labels"])}
        return self._apply("transform_bounding_boxes", boxes, drawn)


class AugMix(_Augmenting):
    """Mixes images with several chains of random changes of them.

    `w * x + (1 - w) * sum(c_i * chain_i(x))`, with w from Beta(alpha, alpha) and the
    c_i from Dirichlet(alpha). Links are the changes of `RandAugment`, or none. Labels
    and boxes stay.

    Args:
        num_chains: how many chains.
        chain_depth: how many links each has.
        alpha: how alike the weights are.
        all_ops: include brightness, colour degeneration, contrast and sharpness.

    Source: Hendrycks et al., 2019 (https://arxiv.org/abs/1912.02781).

    >>> import lamina, numpy as np
    >>> lamina.layers.AugMix()(np.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        num_chains: int = 3,
        chain_depth: int = 3,
        factor: Factor = 0.3,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        seed: Seed = None,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(**shared.given(locals()))
        self.num_chains = positive_int(self, "num_chains", num_chains)
        self.chain_depth = positive_int(self, "chain_depth", chain_depth)
        self.alpha, self.all_ops = alpha, all_ops
        layers = self._made()
        parts = "brightness", "color_degeneration", "contrast", "sharpness"
        colors = {name: layers.pop(name) for name in (f"random_{p}" for p in parts)}
        self._hold({**layers, **colors} if all_ops else layers)

    def draw(self, rng):
        seed, links = rng.seed, (self.num_chains, self.chain_depth)
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

    def _apply(self, method, x, drawn):
        def link(x, item):
            index, seed = item
            change = functools.partial(self._change, method)
            changes = [functools.partial(change, name, seed) for name in self._names]
            return _switch(index, [*changes, lambda x: x], x)

        def chain(total, item):
            weight, links = item
            return total + weight * _fold(link, x, links)

        links = drawn["layer_idxes"], drawn["link_seeds"]
        weights, own = (
            drawn[k].astype(x.dtype) for k in ("chain_mixing_weights", "weight_sample")
        )
        return blend(_fold(chain, jnp.zeros_like(x), (weights, links)), x, own)

    def change(self, images, drawn):
        return self._clip(super().change(images, drawn))


class Pipeline(DataLayer):
    """Applies layers one after the other, to what they take, such as dicts of images.

    Args:
        layers: a list of layers.
        name: its name.

    Raises:
        ValueError: `layers` is not a list of layers.

    >>> import lamina, numpy as np
    >>> halves = [lamina.layers.Rescaling(0.5), lamina.layers.Rescaling(0.5)]
    >>> lamina.layers.Pipeline(halves)(np.array([4.0])).tolist()
    [1.0]
    """

    def __init__(self, layers: Any, name: str | None = None):
        super().__init__(name=name)
        if not isinstance(layers, (list, tuple)):
            raise bad_argument(self, "layers", layers, "a list of layers")
        self._pipeline_layers = layers

    @property
    def rows_independent(self):
        return weakest(*(x.rows_independent for x in self.layers))

    _least_rank = property(lambda self: max([2, *(x._least_rank for x in self.layers)]))
    layers = property(lambda self: self._pipeline_layers, doc="The layers, in order.")

    def call(self, inputs, training=True, mask=None):
        for layer in self.layers:
            takes = signature_of(layer.call).names
            given = {"training": training, "mask": mask}
            inputs = layer(inputs, **{k: v for k, v in given.items() if k in takes})
            mask = masks_of(inputs)
        return inputs

    def get_config(self):
        return {"layers": serialize_keras_object(self.layers), "name": self.name}

    @classmethod
    def from_config(cls, config):
        if not isinstance(config.get("layers"), (list, tuple)):
            raise bad_argument("Pipeline", "config", config, "a dict with `layers`")
        return cls(**{**config, "layers": deserialize_keras_object(config["layers"])})
