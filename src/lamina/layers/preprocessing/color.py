"""Layers that change the colours of images; labels, boxes and masks stay as they are.

They return the compute dtype, whether they train or not.
"""

import functools
from collections.abc import Sequence
from typing import Any, Unpack

import jax.numpy as jnp

from lamina import random
from lamina.core.checks import fraction
from lamina.core.settings import epsilon
from lamina.core.types import Factor, Seed
from lamina.layers.preprocessing.image_layer import (
    PROBABILITY,
    BaseImagePreprocessingLayer,
    RangedLayer,
    Shared,
    shared,
    spread,
)
from lamina.ops.image import hsv_to_rgb, rgb_to_grayscale, rgb_to_hsv

_BYTES = (0, 255)


def blend(start, end, factor):
    """Return `start` at factor 0, `end` at 1, and on along the line through both."""
    return start + factor * (end - start)


def rescale(x, source, target):
    """Bring values from one range to another."""
    if tuple(source) == tuple(target):
        return x
    (a, b), (c, d) = source, target
    return (x - a) / (b - a) * (d - c) + c


class ColorLayer(RangedLayer):
    """Changes what images show, not where: `change(images, drawn)`."""

    _FACTOR_BOUNDS = (0, 1)

    def _to_bytes(self, x):
        return rescale(x, self.value_range, _BYTES)

    def _from_bytes(self, x):
        return rescale(x, _BYTES, self.value_range)

    def _clip(self, x):
        return jnp.clip(x, *self.value_range)

    def _in_hsv(self, images, function):
        """Return RGB images after a function of their hue, saturation and value."""
        axis, form = self._channel_axis, self.data_format
        hsv = jnp.split(rgb_to_hsv(images, data_format=form), 3, axis)
        return hsv_to_rgb(jnp.concatenate(function(*hsv), axis), data_format=form)


class RandomColor(ColorLayer):
    """Changes images by a factor drawn for each: `recolor(images, factor)`."""

    _key = "factor"
    recolor: Any

    @shared("factor value_range data_format seed")
    def __init__(self, factor: Factor, *_, **kwargs: Unpack[Shared]):
        super().__init__(factor=factor, **kwargs)

    def draw(self, rng):
        return {self._key: self.factors(rng)}

    def factors(self, rng):
        """Draw a factor for each image."""
        return rng.uniform(*self.factor, each=(1, 1, 1))

    def change(self, images, drawn):
        return self.recolor(images, spread(drawn[self._key]).astype(images.dtype))


class RandomBrightness(RandomColor):
    """Adds an amount to an image: `clip(x + factor * (high - low))`.

    >>> import lamina, numpy as np
    >>> lamina.layers.RandomBrightness((0.2, 0.2))(np.full((1, 1, 3), 100)).tolist()
    [[[151.0, 151.0, 151.0]]]
    """

    _FACTOR_BOUNDS = (-1, 1)
    _key = "rgb_delta"

    @shared("factor value_range seed")
    def __init__(self, factor: Factor, *_, **kwargs: Unpack[Shared]):
        super().__init__(factor, **kwargs)

    def factors(self, rng):
        low, high = self.value_range
        return super().factors(rng) * (high - low)

    def recolor(self, images, factor):
        return self._clip(images + factor)


class RandomContrast(RandomColor):
    """Moves pixels from or to their channel's mean: `clip(mean + factor * (x - mean))`.

    Args:
        factor: two numbers a, b from 0 to 1: factors are drawn from 1 - a to 1 + b; one
            number stands for 0 and it.

    >>> import lamina, numpy as np
    >>> x = np.array([100.0, 110.0]).reshape(2, 1, 1)
    >>> y = lamina.layers.RandomContrast((0, 1), seed=0)(x)
    >>> bool(y[1, 0, 0] - y[0, 0, 0] > 10)
    True
    """

    _key = "contrast_factor"

    @shared("factor value_range seed")
    def __init__(self, factor: Factor, *_, **kwargs: Unpack[Shared]):
        super().__init__(factor, **kwargs)

    def factors(self, rng):
        less, more = self.factor
        return rng.uniform(1 - less, 1 + more, each=(1, 1, 1))

    def recolor(self, images, factor):
        mean = jnp.mean(images, self._image_axes, keepdims=True)
        return self._clip(blend(mean, images, factor))


class RandomColorDegeneration(RandomColor):
    """Takes colour out of images, up to grey: `x + factor * (gray - x)`.

    >>> import lamina, numpy as np
    >>> y = lamina.layers.RandomColorDegeneration((1, 1))(np.array([[[10, 20, 30]]]))
    >>> bool((y == y[..., :1]).all())
    True
    """

    _FACTOR_BOUNDS = (-1, 1)

    def recolor(self, images, factor):
        gray = rgb_to_grayscale(images, data_format=self.data_format)
        return self._clip(blend(images, gray, factor))


class RandomHue(RandomColor):
    """Turns colours along their circle, a factor of 1 half around, to either side.

    >>> import lamina, numpy as np
    >>> red = np.array([[[255.0, 0.0, 0.0]]])
    >>> lamina.layers.RandomHue((1, 1))(red).tolist()
    [[[0.0, 255.0, 255.0]]]
    """

    def factors(self, rng):
        side = jnp.where(rng.uniform(each=(1, 1, 1)) > 0.5, -1, 1)
        return side * super().factors(rng) * 0.5

    def recolor(self, images, factor):
        x = rescale(images, self.value_range, (0, 1))
        x = self._in_hsv(x, lambda hue, *others: [(hue + factor) % 1, *others])
        return rescale(jnp.clip(x, 0, 1), (0, 1), self.value_range)


class RandomSaturation(RandomColor):
    """Makes colours paler or stronger: saturation times `f / (1 - f)`, clipped.

    A factor f of 0 leaves grey, 0.5 changes nothing, 1 saturates fully.

    >>> import lamina, numpy as np
    >>> x = np.array([[[0.2, 0.4, 0.6]]])
    >>> lamina.layers.RandomSaturation((0, 0), (0, 1))(x).round(1).tolist()
    [[[0.6000000238418579, 0.6000000238418579, 0.6000000238418579]]]
    """

    _FACTOR_BOUNDS = (-1, 1)

    def factors(self, rng):
        factor = super().factors(rng)
        return factor / (1 - factor + epsilon())

    def recolor(self, images, factor):
        return self._in_hsv(images, lambda h, s, v: [h, self._clip(s * factor), v])


class RandomPosterization(RandomColor):
    """Keeps only the first bits of each colour.

    Args:
        factor: how many bits of 8 are kept: from the first of two numbers to below the
            second; one number n stands for 1 and n.

    >>> import lamina, numpy as np
    >>> lamina.layers.RandomPosterization((2, 2))(np.array([[[70, 150, 250]]])).tolist()
    [[[64.0, 128.0, 192.0]]]
    """

    _FACTOR_BOUNDS = (1, 8)
    _key = "shift_factor"

    def factors(self, rng):
        (low, high), shape = self.factor, (rng.number, 1, 1, 1)
        if low == high:
            return jnp.full(shape, 8 - low, "uint8")
        return 8 - random.randint(shape, low, high, dtype="uint8", seed=rng.seed)

    def change(self, images, drawn):
        shift = spread(drawn[self._key])
        levels = self._to_bytes(images).astype("uint8") >> shift << shift
        return self._from_bytes(levels.astype(images.dtype))


class RandomGrayscale(BaseImagePreprocessingLayer):
    """Turns some images grey.

    Args:
        factor: the share of images that lose their colour, from 0 to 1.

    >>> import lamina, numpy as np
    >>> y = lamina.layers.RandomGrayscale(1.0)(np.array([[[100.0, 0.0, 0.0]]]))
    >>> y.round(2).tolist() == [[[y[0, 0, 0].round(2)] * 3]]
    True
    """

    factor: float  # pyright: ignore[reportIncompatibleVariableOverride]

    @shared("factor data_format seed")
    def __init__(self, factor: Factor = 0.5, *_, **kwargs: Unpack[Shared]):
        super().__init__(**kwargs)
        self.factor = fraction("RandomGrayscale", "factor", factor)

    def get_random_transformation(self, data, training=True, seed=None):
        # Outside of training too: later draws are those of Keras' layer.
        return super().get_random_transformation(data, True, seed)

    def draw(self, rng):
        return spread(rng.uniform() < self.factor)

    def change(self, images, drawn):
        gray = rgb_to_grayscale(images, data_format=self.data_format)
        return jnp.where(drawn, gray, images)


class RandomInvert(ColorLayer):
    """Turns some images into their negatives: `high - x`.

    >>> import lamina, numpy as np
    >>> lamina.layers.RandomInvert((1, 1))(np.array([[[0, 100, 255]]])).tolist()
    [[[255.0, 155.0, 0.0]]]
    """

    _FACTOR = PROBABILITY

    @shared("factor value_range seed data_format")
    def __init__(self, factor: Factor = 1.0, *_, **kwargs: Unpack[Shared]):
        super().__init__(factor=factor, **kwargs)

    def draw(self, rng):
        return {"apply_inversion": rng.chosen(self.factor)}

    def change(self, images, drawn):
        apply = spread(drawn["apply_inversion"])
        return jnp.where(apply, self.value_range[1] - images, images)


class Solarization(ColorLayer):
    """Adds to images, and inverts what is then above a threshold.

    With pixels from 0 to 255: `y = clip(x + addition)`, and `255 - y` unless `y < t`.

    Args:
        addition_factor: two numbers a, b from 0 to 1: each image's addition is drawn
            from a to 255 b; one number stands for 0 and it.
        threshold_factor: the same for t.

    >>> import lamina, numpy as np
    >>> lamina.layers.Solarization()(np.array([[[0, 100, 255]]])).tolist()
    [[[255.0, 155.0, 0.0]]]
    """

    def __init__(
        self,
        addition_factor: Factor = 0.0,
        threshold_factor: Factor = 0.0,
        value_range: Sequence[float] = (0, 255),
        seed: Seed = None,
        **kwargs,
    ):
        super().__init__(value_range, seed=seed, **kwargs)
        self.addition_factor = self._limits("addition_factor", addition_factor)
        self.threshold_factor = self._limits("threshold_factor", threshold_factor)

    def draw(self, rng):
        def drawn(low, high):
            return rng.uniform(low, high * 255, each=(1, 1, 1))

        added, thresholds = drawn(*self.addition_factor), drawn(*self.threshold_factor)
        return {"additions": added, "thresholds": thresholds}

    def change(self, images, drawn):
        added, threshold = (
            spread(drawn[k]).astype(images.dtype) for k in ("additions", "thresholds")
        )
        x = jnp.clip(self._to_bytes(images) + added, *_BYTES)
        return self._from_bytes(jnp.where(x < threshold, x, 255 - x))


class RandomColorJitter(ColorLayer):
    """Changes brightness, contrast, saturation and hue, in this order.

    Args:
        brightness_factor: the factor of `RandomBrightness`; None leaves it out.
        contrast_factor: likewise of `RandomContrast`.
        saturation_factor: likewise of `RandomSaturation`.
        hue_factor: likewise of `RandomHue`.

    >>> import lamina, numpy as np
    >>> jitter = lamina.layers.RandomColorJitter(brightness_factor=(0.2, 0.2))
    >>> jitter(np.full((1, 1, 3), 100)).tolist()
    [[[151.0, 151.0, 151.0]]]
    """

    _PARTS = {
        "brightness": RandomBrightness,
        "contrast": RandomContrast,
        "saturation": RandomSaturation,
        "hue": RandomHue,
    }

    def __init__(
        self,
        value_range: Sequence[float] = (0, 255),
        brightness_factor: Factor | None = None,
        contrast_factor: Factor | None = None,
        saturation_factor: Factor | None = None,
        hue_factor: Factor | None = None,
        seed: Seed = None,
        data_format: str | None = None,
        **kwargs,
    ):
        given = locals()
        super().__init__(value_range, seed=seed, data_format=data_format, **kwargs)
        alike = {"seed": self.seed, "data_format": self.data_format}
        alike |= {"value_range": self.value_range, "dtype": self.dtype_policy}
        for part, cls in self._PARTS.items():
            name, layer = f"{part}_factor", None
            setattr(self, name, given[name])
            if given[name] is not None:
                make = functools.partial(cls, **alike)
                layer = self._given_object(make, name, given[name])
            setattr(self, f"random_{part}", layer)

    def draw(self, rng):
        return [layer.draw(rng) for layer in self._inner_layers()]

    def change(self, images, drawn):
        for layer, one in zip(self._inner_layers(), drawn, strict=True):
            images = layer.transform_images(images, one)
        return images
