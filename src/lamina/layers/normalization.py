"""Normalization: shift and scale activations to a common mean and size."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.checks import axes_argument, axis_within, described, is_integer
from lamina.core.input_spec import InputSpec
from lamina.core.rows import off_rows
from lamina.core.types import Axes, Identifier, Initializer
from lamina.kernels import layer_norm, moments, rms_norm
from lamina.kernels.normalization import rescale
from lamina.layers import weights
from lamina.layers.layer import Layer


def _floating(layer, x):
    """Return `x` as it is, or integers in the layer's compute dtype."""
    known = jnp.issubdtype(x.dtype, jnp.inexact)
    return x if known else x.astype(layer.compute_dtype)


def _wide(x):
    """Return `x` in float32 at least: half types lose statistics."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _size(layer, input_shape, axis):
    size = input_shape[axis]
    if size is None:
        raise ValueError(
            f"Axis {axis} of the input tensor should have a defined dimension but the "
            f"layer received an input with shape {tuple(input_shape)}. "
            f"{described(layer)} has axis={layer.axis}: give its size in the shape of "
            "the input."
        )
    return size


def _axes(layer, ndim):
    given = layer.axis if isinstance(layer.axis, (list, tuple)) else (layer.axis,)
    return sorted(axis_within(described(layer), a, ndim) for a in given)


def _make_scale_and_center(layer, shape, **more):
    layer.gamma = layer.beta = None
    if layer.scale:
        layer.gamma = weights.make(layer, "gamma", shape, **more)
    if layer.center:
        layer.beta = weights.make(layer, "beta", shape, **more)


def _number(layer, name, value, most=float("inf")):
    """Return `value`, or raise: it must be a number from 0 to `most`."""
    numeric = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not numeric or not 0 <= float(value) <= most:
        least = "of at least 0" if most == float("inf") else f"from 0 to {most}"
        raise ValueError(
            f"`{type(layer).__name__}` expected `{name}` to be a number {least}. "
            f"Received: {name}={value!r}"
        )
    return value


class BatchNormalization(Layer):
    """Normalizes each channel over the batch, and keeps averages for inference.

    Training: `y = gamma * (x - mean(x)) / sqrt(var(x) + epsilon) + beta`, the
    statistics over all axes but `axis`, and each moving average becomes
    `momentum * average + (1 - momentum) * statistic`. Inference (or
    `trainable=False`) puts the moving averages in their place. Statistics are taken
    in float32 for half inputs. A batch spread over devices is one batch: its
    statistics are those of the whole.

    Args:
        axis: the axis of the channels.
        momentum: the share of the old moving average that is kept.
        epsilon: added to the variance.
        center: whether `beta` is added.
        scale: whether `gamma` is multiplied with.
        beta_initializer: the first values of `beta`.
        gamma_initializer: the first values of `gamma`.
        moving_mean_initializer: the first values of the moving mean.
        moving_variance_initializer: the first values of the moving variance.
        beta_regularizer: a penalty on `beta`.
        gamma_regularizer: a penalty on `gamma`.
        beta_constraint: what `beta` is projected with after each step.
        gamma_constraint: likewise for `gamma`.
        renorm: whether training, too, normalizes by moving averages (as far as
            `renorm_clipping` allows), for small batches.
        renorm_clipping: limits `rmin` and `rmax` of the ratio and `dmax` of the
            shift between the batch and the averages.
        renorm_momentum: the momentum of the averages used for it.
        synchronized: kept for compatibility; statistics always are.

    Raises:
        TypeError: `axis` is not an integer.
        ValueError: the input has no such axis, the mask has another rank, or
            `renorm_clipping` has unknown keys or impossible limits.

    Source: Ioffe and Szegedy, 2015, "Batch normalization"; renorm: Ioffe, 2017,
    "Batch renormalization".

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.BatchNormalization(epsilon=0.0)
    >>> layer(np.array([[1.0], [3.0]]), training=True).tolist()
    [[-1.0], [1.0]]
    """

    gamma: Any
    beta: Any
    moving_mean_initializer: Any
    moving_variance_initializer: Any
    renorm_clipping: Any

    def __init__(
        self,
        axis: Axes = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        moving_mean_initializer: Initializer = "zeros",
        moving_variance_initializer: Initializer = "ones",
        beta_regularizer: Identifier = None,
        gamma_regularizer: Identifier = None,
        beta_constraint: Identifier = None,
        gamma_constraint: Identifier = None,
        renorm: bool = False,
        renorm_clipping: dict | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs,
    ):
        kwargs.setdefault("autocast", False)  # `call` goes to float32 itself
        super().__init__(**kwargs)
        one = axes_argument("BatchNormalization", axis)
        if isinstance(one, (list, tuple)):
            if len(one) != 1:
                raise TypeError(
                    "`BatchNormalization` expected `axis` to be one integer. "
                    f"Received: axis={one!r}"
                )
            one = one[0]
        self.axis = int(one)
        self.momentum = float(_number(self, "momentum", momentum, 1))
        self.epsilon = float(_number(self, "epsilon", epsilon))
        self.center, self.scale = center, scale
        weights.keep(self, locals())
        self.renorm = renorm
        self.renorm_clipping = _clipping(renorm_clipping) if renorm else renorm_clipping
        self.renorm_momentum = renorm_momentum
        self.synchronized = synchronized
        self.supports_masking = True

    @property
    def rows_independent(self):
        return "inference" if off_rows(self.axis) else False

    @property
    def _featurewise(self):
        return self.axis == -1

    def build(self, input_shape):
        axis = axis_within(described(self), self.axis, len(input_shape))
        shape = (_size(self, input_shape, axis),)
        _make_scale_and_center(self, shape, autocast=False)
        fixed: dict[str, Any] = {"trainable": False, "autocast": False}
        self.moving_mean = weights.make(self, "moving_mean", shape, **fixed)
        self.moving_variance = weights.make(self, "moving_variance", shape, **fixed)
        if self.renorm:
            self.moving_stddev = self.add_weight(
                name="moving_stddev",
                shape=shape,
                initializer=self._first_deviation,
                **fixed,
            )
            self.renorm_mean = self.add_weight(
                name="renorm_mean",
                shape=shape,
                initializer=self.moving_mean_initializer,
                **fixed,
            )
            self.renorm_stddev = self.add_weight(
                name="renorm_stddev",
                shape=shape,
                initializer=self._first_deviation,
                **fixed,
            )
        self.input_spec = InputSpec(ndim=len(input_shape), axes={axis: shape[0]})

    def _first_deviation(self, shape, dtype=None):
        return jnp.sqrt(self.moving_variance_initializer(shape, dtype=dtype))

    def call(self, inputs, training=None, mask=None):
        """Return the normalized inputs.

        Args:
            inputs: any array with the axis of the channels.
            training: whether to normalize by the batch, or by moving averages.
            mask: True where an entry counts, of the shape of the inputs without
                their last axis.
        """
        if mask is not None and mask.ndim != inputs.ndim - 1:
            raise ValueError(
                f"{described(self)} expected a mask of one dimension less than its "
                f"inputs. Received: mask shape {tuple(mask.shape)}, input shape "
                f"{tuple(inputs.shape)}"
            )
        x = _wide(inputs)
        axis = self.axis % x.ndim
        if training and self.trainable:
            mean, factor = self._from_batch(x, axis, mask)
        else:
            mean = self.moving_mean.value
            factor = jax.lax.rsqrt(self.moving_variance.value + self.epsilon)
        if self.gamma is not None:
            factor = factor * self.gamma.value
        offset = None if self.beta is None else self.beta.value
        return rescale(x, mean, factor, offset, axis=axis).astype(self.compute_dtype)

    def _from_batch(self, x, axis, mask):
        """Return what to subtract and what to multiply with, and step the averages."""
        others = [a for a in range(x.ndim) if a != axis]
        mean, variance = moments(x, others, mask)
        if not self.renorm:
            _move(self.moving_mean, mean, self.momentum)
            _move(self.moving_variance, variance, self.momentum)
            return mean, jax.lax.rsqrt(variance + self.epsilon)
        deviation = jnp.sqrt(variance + self.epsilon)
        known = self.renorm_stddev.value
        limits = self.renorm_clipping
        ratio = jnp.clip(deviation / known, limits.get("rmin"), limits.get("rmax"))
        shift = (mean - self.renorm_mean.value) / known
        if "dmax" in limits:
            shift = jnp.clip(shift, -limits["dmax"], limits["dmax"])
        ratio, shift = jax.lax.stop_gradient((ratio, shift))
        _move(self.renorm_mean, mean, self.renorm_momentum)
        _move(self.renorm_stddev, deviation, self.renorm_momentum)
        _move(self.moving_mean, mean, self.momentum)
        _move(self.moving_stddev, deviation, self.momentum)
        variance = jnp.square(self.moving_stddev.value) - self.epsilon
        self.moving_variance.assign(jnp.maximum(variance, 0))
        # (x - mean) / deviation * ratio + shift, as one shift and one factor.
        return mean - shift * deviation / ratio, ratio / deviation


def _move(average, value, momentum):
    value = jax.lax.stop_gradient(value)
    average.assign(average.value * momentum + value * (1 - momentum))


def _clipping(limits):
    limits = dict(limits or {})
    unknown = sorted(set(limits) - {"rmax", "rmin", "dmax"})
    if unknown:
        raise ValueError(
            "`BatchNormalization` expected `renorm_clipping` to have the keys 'rmax', "
            f"'rmin' and 'dmax'. Received invalid keys: {unknown}"
        )
    low, high = limits.get("rmin", 0), limits.get("rmax", jnp.inf)
    if high < low:
        raise ValueError(
            "`BatchNormalization`: in `renorm_clipping`, rmax should be at least rmin. "
            f"Received: renorm_clipping={limits}"
        )
    if limits.get("dmax", 0) < 0:
        raise ValueError(
            "`BatchNormalization`: in `renorm_clipping`, dmax should be non-negative. "
            f"Received: renorm_clipping={limits}"
        )
    return limits


class LayerNormalization(Layer):
    """Normalizes each sample over its own axes.

    `y = gamma * (x - mean(x)) / sqrt(var(x) + epsilon) + beta`, with statistics
    over `axis`, in float32 for half inputs.

    Args:
        axis: the axis, or several, to normalize over.
        epsilon: added to the variance.
        center: whether `beta` is added.
        scale: whether `gamma` is multiplied with.
        beta_initializer: the first values of `beta`, of the sizes of `axis`.
        gamma_initializer: the first values of `gamma`.
        beta_regularizer: a penalty on `beta`.
        gamma_regularizer: a penalty on `gamma`.
        beta_constraint: what `beta` is projected with after each step.
        gamma_constraint: likewise for `gamma`.
        rms_scaling: an older option, kept for saved models: neither subtract the
            mean nor add `beta`, only divide by `sqrt(var(x) + epsilon)`. New
            models use `RMSNormalization`.

    Raises:
        TypeError: `axis` is neither an integer nor a list of them.
        ValueError: the input has no such axis.

    Source: Ba et al., 2016, "Layer normalization".

    >>> import lamina, numpy as np
    >>> lamina.layers.LayerNormalization(epsilon=0.0)(np.array([[1.0, 3.0]])).tolist()
    [[-1.0, 1.0]]
    """

    gamma: Any
    beta: Any
    scale: bool
    center: bool

    def __init__(
        self,
        axis: Axes = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        beta_regularizer: Identifier = None,
        gamma_regularizer: Identifier = None,
        beta_constraint: Identifier = None,
        gamma_constraint: Identifier = None,
        rms_scaling: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.axis = axes_argument("LayerNormalization", axis)
        self.epsilon = _number(self, "epsilon", epsilon)
        self.center, self.scale = center, scale
        weights.keep(self, locals())
        self.rms_scaling = rms_scaling
        self.supports_masking = True

    @property
    def rows_independent(self):
        return off_rows(self.axis)

    def build(self, input_shape):
        axes = _axes(self, len(input_shape))
        shape = tuple(_size(self, input_shape, a) for a in axes)
        self.gamma = self.beta = None
        if self.scale or self.rms_scaling:
            self.gamma = weights.make(self, "gamma", shape, autocast=False)
        if self.center and not self.rms_scaling:
            self.beta = weights.make(self, "beta", shape, autocast=False)

    def call(self, inputs):
        axes, inputs = _axes(self, inputs.ndim), _floating(self, inputs)
        gamma = None if self.gamma is None else self.gamma.value
        beta = None if self.beta is None else self.beta.value
        if not self.rms_scaling:
            return layer_norm(inputs, gamma, beta, axes=axes, epsilon=self.epsilon)
        x = _wide(inputs)
        _, variance = moments(x, axes, keepdims=True)
        shape = [size if a in axes else 1 for a, size in enumerate(x.shape)]
        y = x * jax.lax.rsqrt(variance + self.epsilon)
        y = y if gamma is None else y * gamma.reshape(shape)
        return y.astype(inputs.dtype)


class RMSNormalization(Layer):
    """Scales each sample to mean square 1: `scale * x / sqrt(mean(x**2) + epsilon)`.

    Args:
        axis: the axis, or several, to normalize over.
        epsilon: added to the mean square.

    Raises:
        TypeError: `axis` is neither an integer nor a list of them.
        ValueError: the input has no such axis.

    Source: Zhang and Sennrich, 2019, "Root mean square layer normalization".

    >>> import lamina, numpy as np
    >>> lamina.layers.RMSNormalization(epsilon=0.0)(np.array([[2.0, -2.0]])).tolist()
    [[1.0, -1.0]]
    """

    def __init__(self, axis: Axes = -1, epsilon: float = 1e-6, **kwargs):
        super().__init__(**kwargs)
        self.axis = axes_argument("RMSNormalization", axis)
        self.epsilon = _number(self, "epsilon", epsilon)
        self.supports_masking = True

    @property
    def rows_independent(self):
        return off_rows(self.axis)

    def build(self, input_shape):
        axes = _axes(self, len(input_shape))
        shape = tuple(_size(self, input_shape, a) for a in axes)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")

    def call(self, inputs):
        axes, inputs = _axes(self, inputs.ndim), _floating(self, inputs)
        return rms_norm(inputs, self.scale.value, axes=axes, epsilon=self.epsilon)


class GroupNormalization(Layer):
    """Normalizes each sample over groups of channels and all other axes.

    `y = gamma * (x - mean) / sqrt(var + epsilon) + beta`, with `gamma` and `beta`
    for each channel.

    Args:
        groups: the number of groups; 1 is layer normalization, and as many as
            there are channels (or -1) is instance normalization.
        axis: the axis of the channels.
        epsilon: added to the variance.
        center: whether `beta` is added.
        scale: whether `gamma` is multiplied with.
        beta_initializer: the first values of `beta`.
        gamma_initializer: the first values of `gamma`.
        beta_regularizer: a penalty on `beta`.
        gamma_regularizer: a penalty on `gamma`.
        beta_constraint: what `beta` is projected with after each step.
        gamma_constraint: likewise for `gamma`.

    Raises:
        ValueError: the groups do not divide the channels, or the input has no
            such axis.

    Source: Wu and He, 2018, "Group normalization".

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.GroupNormalization(groups=2, epsilon=0.0)
    >>> layer(np.array([[1.0, 3.0, 0.0, 8.0]])).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    gamma: Any
    beta: Any
    scale: bool
    center: bool

    def __init__(
        self,
        groups: int = 32,
        axis: Axes = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        beta_regularizer: Identifier = None,
        gamma_regularizer: Identifier = None,
        beta_constraint: Identifier = None,
        gamma_constraint: Identifier = None,
        **kwargs,
    ):
        kwargs.setdefault("autocast", False)  # `call` goes to float32 itself
        super().__init__(**kwargs)
        if not is_integer(groups) or (groups < 1 and groups != -1):
            raise ValueError(
                "`GroupNormalization` expected the argument `groups` to be a positive "
                f"integer, or -1 for one group a channel. Received: groups={groups!r}"
            )
        self.groups = int(groups)
        if isinstance(axes_argument("GroupNormalization", axis), (list, tuple)):
            raise TypeError(
                "`GroupNormalization` expected `axis` to be one integer. "
                f"Received: axis={axis!r}"
            )
        self.axis = axis
        self.epsilon = _number(self, "epsilon", epsilon)
        self.center, self.scale = center, scale
        weights.keep(self, locals())
        self.supports_masking = True

    @property
    def rows_independent(self):
        return off_rows(self.axis)

    def build(self, input_shape):
        axis = axis_within(described(self), self.axis, len(input_shape))
        channels = _size(self, input_shape, axis)
        if self.groups == -1:
            self.groups = channels
        if channels % self.groups:
            wrong = "must divide" if self.groups < channels else "cannot be more than"
            raise ValueError(
                f"{described(self)}: `groups` {wrong} the number of channels. "
                f"Received: groups={self.groups}, {channels} channels at axis "
                f"{self.axis} of an input of shape {tuple(input_shape)}"
            )
        _make_scale_and_center(self, (channels,), autocast=False)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={axis: channels})

    def call(self, inputs):
        axis = self.axis % inputs.ndim
        before, after = inputs.shape[:axis], inputs.shape[axis + 1 :]
        channels = inputs.shape[axis]
        x = _wide(inputs).reshape(*before, self.groups, channels // self.groups, *after)
        axes = [a for a in range(1, x.ndim) if a != axis]
        y = layer_norm(x, axes=axes, epsilon=self.epsilon).reshape(inputs.shape)
        shape = (-1, *(1,) * len(after))
        if self.gamma is not None:
            y = y * self.gamma.value.reshape(shape)
        if self.beta is not None:
            y = y + self.beta.value.reshape(shape)
        return y.astype(self.compute_dtype)


class UnitNormalization(Layer):
    """Scales each sample to length 1: `x / sqrt(sum(x**2))`.

    Args:
        axis: the axis, or several, over which the length is taken.

    Raises:
        TypeError: `axis` is neither an integer nor a list of them.

    >>> import lamina, numpy as np
    >>> lamina.layers.UnitNormalization()(np.array([[3.0, 4.0]])).tolist()
    [[0.6, 0.8]]
    """

    def __init__(self, axis: Axes = -1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axes_argument("UnitNormalization", axis)
        self.supports_masking = True

    @property
    def rows_independent(self):
        return off_rows(self.axis)

    def call(self, inputs):
        axes = tuple(_axes(self, inputs.ndim))
        return unit_length(_floating(self, inputs), axes)


def unit_length(x, axes):
    """Scale `x` to length 1 over `axes`; nothing is made longer than 1e6 times."""
    square = jnp.sum(jnp.square(_wide(x)), axes, keepdims=True)
    return (x * jax.lax.rsqrt(jnp.maximum(square, 1e-12))).astype(x.dtype)
