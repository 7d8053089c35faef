"""Layers that change the colours of images: what they show stays where it is.

They return the compute dtype, whether they train or not. Labels, bounding boxes and
segmentation masks pass unchanged.
"""

import jax.numpy as jnp

from lamina import random
from lamina.core.checks import fraction
from lamina.core.settings import epsilon
from lamina.layers.preprocessing.image import BaseImagePreprocessingLayer, count
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


def spread(values):
    """Return one value for each image in a shape that broadcasts with images."""
    return jnp.reshape(values, (-1, 1, 1, 1))


def chosen(data, limits, seed):
    """Draw which images change, with probabilities that are drawn themselves."""
    number = count(data)
    probability = random.uniform((number,), *limits, seed=seed)
    return random.uniform((number,), seed=seed) < probability


def range_of_values(value_range):
    """Return the limits of pixels as a sorted list, or raise."""
    if not isinstance(value_range, (list, tuple)) or len(value_range) != 2:
        raise ValueError(
            "The `value_range` argument should be a list of two numbers. Received: "
            f"value_range={value_range}"
        )
    return sorted(value_range)


class ColorLayer(BaseImagePreprocessingLayer):
    """Changes what images show, not where.

    A subclass writes `change(images, transformation)`, for a batch in the compute
    dtype, and sets `_always` if it changes images outside of training, too.
    """

    _always = False
    value_range: list

    def _keep_range(self, value_range):
        self.value_range = range_of_values(value_range)

    def _to_bytes(self, x):
        return rescale(x, self.value_range, _BYTES)

    def _from_bytes(self, x):
        return rescale(x, _BYTES, self.value_range)

    def _clip(self, x):
        return jnp.clip(x, *self.value_range)

    def transform_images(self, images, transformation=None, training=True):
        images = jnp.asarray(images, self.compute_dtype)
        if training or self._always:
            images = self.change(images, transformation)
        return images.astype(self.compute_dtype)

    def change(self, images, transformation):
        """Return changed images; every layer writes its own."""
        raise NotImplementedError


class RandomColor(ColorLayer):
    """Changes images by a factor drawn for each: `change(images, factor)`."""

    _key = "factor"

    def __init__(
        self, factor, value_range=(0, 255), data_format=None, seed=None, **kwargs
    ):
        super().__init__(factor, data_format=data_format, seed=seed, **kwargs)
        self._keep_range(value_range)

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        shape = (count(data), 1, 1, 1)
        return {self._key: self._draw(shape, self._seed(seed))}

    def _draw(self, shape, seed):
        return random.uniform(shape, *self.factor, seed=seed)

    def transform_images(self, images, transformation=None, training=True):
        if training and transformation is not None:
            transformation = spread(transformation[self._key])
        return super().transform_images(images, transformation, training)


class RandomBrightness(RandomColor):
    """Adds a random amount to all pixels of an image.

    `x + factor * (high - low)`, clipped to the range of values.

    Args:
        factor: two numbers between which each image's factor is drawn, from -1 to
            1; one number stands for minus it to it.
        value_range: the least and the greatest value of a pixel.
        seed: an integer, for the same draws in each run.

    Raises:
        ValueError: a factor or range that does not exist.

    >>> import lamina, numpy as np
    >>> lamina.layers.RandomBrightness((0.2, 0.2))(np.full((1, 1, 3), 100)).tolist()
    [[[151.0, 151.0, 151.0]]]
    """

    _key = "rgb_delta"

    def __init__(self, factor, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(factor, value_range, seed=seed, **kwargs)

    def _draw(self, shape, seed):
        low, high = self.value_range
        return super()._draw(shape, seed) * (high - low)

    def change(self, images, delta):
        """Return brighter or darker images."""
        return self._clip(images + delta.astype(images.dtype))


class RandomContrast(RandomColor):
    """Moves pixels away from their channel's mean, or towards it.

    `mean + factor * (x - mean)`, clipped to the range of values.

    Args:
        factor: two numbers a, b: each image's factor is drawn from 1 - a to 1 + b;
            one number stands for 0 and it.
        value_range: the least and the greatest value of a pixel.
        seed: an integer, for the same draws in each run.

    Raises:
        ValueError: a factor or range that does not exist.

    >>> import lamina, numpy as np
    >>> x = np.array([100.0, 110.0]).reshape(2, 1, 1)
    >>> y = lamina.layers.RandomContrast((0, 1), seed=0)(x)
    >>> bool(y[1, 0, 0] - y[0, 0, 0] > 10)
    True
    """

    _FACTOR_BOUNDS = (0, 1)
    _key = "contrast_factor"

    def __init__(self, factor, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(factor, value_range, seed=seed, **kwargs)

    def _draw(self, shape, seed):
        less, more = self.factor
        return random.uniform(shape, 1 - less, 1 + more, seed=seed)

    def change(self, images, factor):
        """Return images of more or less contrast."""
        mean = jnp.mean(images, self._image_axes, keepdims=True)
        return self._clip(blend(mean, images, factor.astype(images.dtype)))


class RandomColorDegeneration(RandomColor):
    """Takes colour out of images: `x + factor * (gray - x)`.

    Args:
        factor: two numbers between which each image's factor is drawn, from -1 to
            1; one number stands for minus it to it. 0 changes nothing, 1 leaves grey.
        value_range: the least and the greatest value of a pixel.
        data_format: `"channels_last"` or `"channels_first"`.
        seed: an integer, for the same draws in each run.

    Raises:
        ValueError: a factor or range that does not exist.

    >>> import lamina, numpy as np
    >>> y = lamina.layers.RandomColorDegeneration((1, 1))(np.array([[[10, 20, 30]]]))
    >>> bool((y == y[..., :1]).all())
    True
    """

    def change(self, images, factor):
        """Return greyer images."""
        gray = rgb_to_grayscale(images, data_format=self.data_format)
        return self._clip(blend(images, gray, factor.astype(images.dtype)))


class RandomHue(RandomColor):
    """Turns all colours of an image along the colour circle.

    The hue, from 0 to 1 once around, changes by half a factor to either side.

    Args:
        factor: two numbers between which each image's factor is drawn, from 0 to 1;
            one number stands for 0 to it.
        value_range: the least and the greatest value of a pixel.
        data_format: `"channels_last"` or `"channels_first"`.
        seed: an integer, for the same draws in each run.

    Raises:
        ValueError: a factor or range that does not exist.

    >>> import lamina, numpy as np
    >>> red = np.array([[[255.0, 0.0, 0.0]]])
    >>> lamina.layers.RandomHue((1, 1))(red).tolist()
    [[[0.0, 255.0, 255.0]]]
    """

    _FACTOR_BOUNDS = (0, 1)

    def _draw(self, shape, seed):
        side = jnp.where(random.uniform(shape, seed=seed) > 0.5, -1, 1)
        return side * super()._draw(shape, seed) * 0.5

    def change(self, images, factor):
        """Return images with other hues."""
        axis = self._channel_axis
        x = rescale(images, self.value_range, (0, 1))
        hsv = rgb_to_hsv(x, data_format=self.data_format)
        hue, saturation, value = jnp.split(hsv, 3, axis)
        hue = (hue + factor.astype(hue.dtype)) % 1
        hsv = jnp.concatenate([hue, saturation, value], axis)
        x = jnp.clip(hsv_to_rgb(hsv, data_format=self.data_format), 0, 1)
        return rescale(x, (0, 1), self.value_range)


class RandomSaturation(RandomColor):
    """Makes the colours of an image paler or stronger.

    The saturation is multiplied by `f / (1 - f)` and clipped to the range of values:
    a factor f of 0 leaves grey, 0.5 changes nothing, 1 saturates fully.

    Args:
        factor: two numbers between which each image's factor is drawn, from -1 to
            1; one number stands for minus it to it.
        value_range: the least and the greatest value of a pixel.
        data_format: `"channels_last"` or `"channels_first"`.
        seed: an integer, for the same draws in each run.

    Raises:
        ValueError: a factor or range that does not exist.

    >>> import lamina, numpy as np
    >>> x = np.array([[[0.2, 0.4, 0.6]]])
    >>> lamina.layers.RandomSaturation((0, 0), (0, 1))(x).round(1).tolist()
    [[[0.6000000238418579, 0.6000000238418579, 0.6000000238418579]]]
    """

    def _draw(self, shape, seed):
        factor = super()._draw(shape, seed)
        return factor / (1 - factor + epsilon())

    def change(self, images, factor):
        """Return images of another saturation."""
        axis = self._channel_axis
        hsv = rgb_to_hsv(images, data_format=self.data_format)
        hue, saturation, value = jnp.split(hsv, 3, axis)
        saturation = self._clip(saturation * factor.astype(hsv.dtype))
        hsv = jnp.concatenate([hue, saturation, value], axis)
        return hsv_to_rgb(hsv, data_format=self.data_format)


class RandomPosterization(RandomColor):
    """Keeps only the first bits of each colour.

    Args:
        factor: how many bits of 8 are kept; two numbers for a random one from the
            first to below the second, where one number n stands for 1 and n.
        value_range: the least and the greatest value of a pixel.
        data_format: `"channels_last"` or `"channels_first"`.
        seed: an integer, for the same draws in each run.

    Raises:
        ValueError: a factor or range that does not exist.

    >>> import lamina, numpy as np
    >>> lamina.layers.RandomPosterization((2, 2))(np.array([[[70, 150, 250]]])).tolist()
    [[[64.0, 128.0, 192.0]]]
    """

    _FACTOR_BOUNDS = (1, 8)
    _key = "shift_factor"

    def _draw(self, shape, seed):
        low, high = self.factor
        if low == high:
            return jnp.full(shape, 8 - low, "uint8")
        return 8 - random.randint(shape, low, high, dtype="uint8", seed=seed)

    def change(self, images, shift):
        """Return images of fewer colours."""
        levels = self._to_bytes(images).astype("uint8")
        levels = levels >> shift << shift
        return self._from_bytes(levels.astype(images.dtype))


class RandomGrayscale(ColorLayer):
    """Turns some images grey.

    Args:
        factor: the share of images that lose their colour, from 0 to 1.
        data_format: `"channels_last"` or `"channels_first"`.
        seed: an integer, for the same draws in each run.

    Raises:
        ValueError: `factor` is out of range.

    >>> import lamina, numpy as np
    >>> y = lamina.layers.RandomGrayscale(1.0)(np.array([[[100.0, 0.0, 0.0]]]))
    >>> y.round(2).tolist() == [[[y[0, 0, 0].round(2)] * 3]]
    True
    """

    factor: float  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, factor=0.5, data_format=None, seed=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.factor = fraction("RandomGrayscale", "factor", factor)

    def get_random_transformation(self, data, training=True, seed=None):
        drawn = random.uniform((count(data),), seed=self._seed(seed))
        return spread(drawn < self.factor)

    def change(self, images, apply):
        """Return images, the chosen ones grey."""
        gray = rgb_to_grayscale(images, data_format=self.data_format)
        return jnp.where(apply, gray, images)


class RandomInvert(ColorLayer):
    """Turns some images into their negatives: `high - x`.

    Each image is inverted with a probability that is itself drawn from `factor`.

    Args:
        factor: two numbers, the limits of the probability; one stands for 0 to it.
        value_range: the least and the greatest value of a pixel.
        seed: an integer, for the same draws in each run.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a factor or range that does not exist.

    >>> import lamina, numpy as np
    >>> lamina.layers.RandomInvert((1, 1))(np.array([[[0, 100, 255]]])).tolist()
    [[[255.0, 155.0, 0.0]]]
    """

    _FACTOR_BOUNDS = (0, 1)

    def __init__(
        self, factor=1.0, value_range=(0, 255), seed=None, data_format=None, **kwargs
    ):
        super().__init__(factor, data_format=data_format, seed=seed, **kwargs)
        self._keep_range(value_range)

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        return {"apply_inversion": chosen(data, self.factor, self._seed(seed))}

    def change(self, images, transformation):
        """Return images, the chosen ones inverted."""
        apply = spread(transformation["apply_inversion"])
        return jnp.where(apply, self.value_range[1] - images, images)


class Solarization(ColorLayer):
    """Adds to images, and inverts what is then above a threshold.

    With pixels brought to 0 ... 255, each image gets an addition and a threshold t of
    its own: `x = clip(x + addition)`, then `x` where `x < t` and `255 - x` elsewhere.

    Args:
        addition_factor: two numbers a, b from 0 to 1: additions are drawn from a to
            255 b. One number stands for 0 and it.
        threshold_factor: the same for thresholds.
        value_range: the least and the greatest value of a pixel.
        seed: an integer, for the same draws in each run.

    Raises:
        ValueError: a factor or range that does not exist.

    >>> import lamina, numpy as np
    >>> lamina.layers.Solarization()(np.array([[[0, 100, 255]]])).tolist()
    [[[255.0, 155.0, 0.0]]]
    """

    _FACTOR_BOUNDS = (0, 1)

    def __init__(
        self, addition_factor=0.0, threshold_factor=0.0, value_range=(0, 255),
        seed=None, **kwargs,
    ):  # fmt: skip
        super().__init__(seed=seed, **kwargs)
        self.addition_factor = self._limits("addition_factor", addition_factor)
        self.threshold_factor = self._limits("threshold_factor", threshold_factor)
        self._keep_range(value_range)

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        seed, shape = self._seed(seed), (count(data), 1, 1, 1)
        named = {"additions": self.addition_factor, "thresholds": self.threshold_factor}
        return {
            name: random.uniform(shape, low, high * 255, seed=seed)
            for name, (low, high) in named.items()
        }

    def change(self, images, transformation):
        """Return solarized images."""
        added, threshold = (
            spread(transformation[k]).astype(images.dtype)
            for k in ("additions", "thresholds")
        )
        x = jnp.clip(self._to_bytes(images) + added, *_BYTES)
        return self._from_bytes(jnp.where(x < threshold, x, 255 - x))


class RandomColorJitter(ColorLayer):
    """Changes brightness, contrast, saturation and hue, in this order.

    Args:
        value_range: the least and the greatest value of a pixel.
        brightness_factor: the factor of `RandomBrightness`; None leaves it out.
        contrast_factor: that of `RandomContrast`.
        saturation_factor: that of `RandomSaturation`.
        hue_factor: that of `RandomHue`.
        seed: an integer, for the same draws in each run.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: a factor or range that does not exist.

    >>> import lamina, numpy as np
    >>> jitter = lamina.layers.RandomColorJitter(brightness_factor=(0.2, 0.2))
    >>> jitter(np.full((1, 1, 3), 100)).tolist()
    [[[151.0, 151.0, 151.0]]]
    """

    def __init__(
        self, value_range=(0, 255), brightness_factor=None, contrast_factor=None,
        saturation_factor=None, hue_factor=None, seed=None, data_format=None, **kwargs,
    ):  # fmt: skip
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self._keep_range(value_range)
        self.brightness_factor = brightness_factor
        self.contrast_factor = contrast_factor
        self.saturation_factor = saturation_factor
        self.hue_factor = hue_factor

        def layer(cls, name):
            def make(factor):
                return cls(
                    factor, value_range=value_range, seed=seed,
                    data_format=self.data_format, dtype=self.dtype_policy,
                )  # fmt: skip

            factor = getattr(self, name)
            return None if factor is None else self._given_object(make, name, factor)

        self.random_brightness = layer(RandomBrightness, "brightness_factor")
        self.random_contrast = layer(RandomContrast, "contrast_factor")
        self.random_saturation = layer(RandomSaturation, "saturation_factor")
        self.random_hue = layer(RandomHue, "hue_factor")

    def get_random_transformation(self, data, training=True, seed=None):
        if not training:
            return None
        seed = self._seed(seed)
        return [
            layer.get_random_transformation(data, seed=seed)
            for layer in self._inner_layers()
        ]

    def change(self, images, transformation):
        """Return images with the changes of all layers inside."""
        steps = zip(self._inner_layers(), transformation, strict=True)
        for layer, drawn in steps:
            images = layer.transform_images(images, drawn)
        return images
