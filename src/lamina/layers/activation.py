"""Layers that apply one function to every element, or along one axis."""

from typing import Any

import jax
import jax.numpy as jnp

from lamina import activations, ops
from lamina.core.checks import axes_argument, axis_within, described, number
from lamina.core.input_spec import InputSpec
from lamina.core.rows import off_rows
from lamina.core.symbolic import SymbolicTensor
from lamina.core.types import Axes, Identifier, Initializer
from lamina.layers import weights
from lamina.layers.layer import Layer


def _number_at_least_zero(layer, name, value, optional=False, what=None) -> Any:
    if (value is None and optional) or (
        isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    ):
        return value
    word = "a negative value" if optional else "None or a negative value"
    raise ValueError(
        f"{what or f'{name} of a {type(layer).__name__} layer'} cannot be {word}. "
        f"Received: {name}={value!r}"
    )


class Activation(Layer):
    """Applies a function to its input: `activation(x)`.

    Args:
        activation: a function, or its name.

    >>> import lamina, numpy as np
    >>> lamina.layers.Activation("relu")(np.array([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    _featurewise = rows_independent = _ends_in_activation = True

    def __init__(self, activation: Identifier, **kwargs):
        super().__init__(**kwargs)
        self.activation = weights.resolved(self, "activation", activation)
        self.supports_masking = True

    def call(self, inputs):
        return self.activation(inputs)


class ReLU(Layer):
    """Rectifies: `max(x, 0)`, or a piecewise linear function more generally.

    `x` from `threshold` up to `max_value`, `max_value` above it, and
    `negative_slope * (x - threshold)` below the threshold.

    Args:
        max_value: the greatest value, or None.
        negative_slope: the slope below the threshold.
        threshold: where the function begins to rise.

    Raises:
        ValueError: one of them is negative.

    >>> import lamina, numpy as np
    >>> lamina.layers.ReLU(max_value=1.0)(np.array([[-1.0, 0.5, 2.0]])).tolist()
    [[0.0, 0.5, 1.0]]
    """

    _featurewise = rows_independent = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.max_value = _number_at_least_zero(self, "max_value", max_value, True)
        self.negative_slope = _number_at_least_zero(
            self, "negative_slope", negative_slope
        )
        self.threshold = _number_at_least_zero(self, "threshold", threshold)
        self.supports_masking = True

    def call(self, inputs):
        return activations.relu(
            inputs, self.negative_slope, self.max_value, self.threshold
        )


class LeakyReLU(Layer):
    """Returns `x` where positive, and `negative_slope * x` elsewhere.

    Args:
        negative_slope: the slope below zero; `alpha` is an older name for it.

    Raises:
        ValueError: the slope is negative or None.

    >>> import lamina, numpy as np
    >>> lamina.layers.LeakyReLU(0.5)(np.array([[-1.0, 2.0]])).tolist()
    [[-0.5, 2.0]]
    """

    _featurewise = rows_independent = True

    def __init__(self, negative_slope: float = 0.3, **kwargs):
        slope = kwargs.pop("alpha", negative_slope)
        super().__init__(**kwargs)
        self.negative_slope = _number_at_least_zero(
            self,
            "negative_slope",
            slope,
            what="The negative_slope value of a Leaky ReLU layer",
        )
        self.supports_masking = True

    def call(self, inputs):
        return activations.leaky_relu(inputs, self.negative_slope)


class PReLU(Layer):
    """Returns `x` where positive, and `alpha * x` elsewhere, with learnt `alpha`.

    Args:
        alpha_initializer: the first values of `alpha`, of the input's shape
            without the batch.
        alpha_regularizer: a penalty on `alpha`.
        alpha_constraint: what `alpha` is projected with after each step.
        shared_axes: axes (from 1) along which one `alpha` serves, such as
            `[1, 2]` for the height and width of images.

    Raises:
        ValueError: a shared axis that the input has not.

    Source: He et al., 2015, "Delving deep into rectifiers".

    >>> import lamina, numpy as np
    >>> layer = lamina.layers.PReLU(alpha_initializer="ones")
    >>> layer(np.array([[-1.0, 2.0]])).tolist()
    [[-1.0, 2.0]]
    """

    rows_independent = True

    def __init__(
        self,
        alpha_initializer: Initializer = "Zeros",
        alpha_regularizer: Identifier = None,
        alpha_constraint: Identifier = None,
        shared_axes: Axes | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        weights.keep(self, locals())
        self.shared_axes: Any = shared_axes
        if shared_axes is not None:
            axes = axes_argument("PReLU", shared_axes, "shared_axes")
            self.shared_axes = list(axes) if hasattr(axes, "__len__") else [axes]
        self.supports_masking = True

    def build(self, input_shape):
        shape = list(input_shape)
        for axis in self.shared_axes or ():
            shape[axis_within(described(self), axis, len(shape))] = 1
        if None in shape[1:]:
            raise ValueError(
                f"{described(self)} makes one `alpha` for each place and needs to know "
                f"how many there are. Received: input shape {tuple(input_shape)}. List "
                "the axes of unknown size in `shared_axes`."
            )
        self.alpha = weights.make(self, "alpha", shape[1:])
        own = set(range(1, len(shape))) - {
            a % len(shape) for a in self.shared_axes or ()
        }
        self.input_spec = InputSpec(
            ndim=len(shape), axes={axis: shape[axis] for axis in sorted(own)}
        )

    def call(self, inputs):
        return jnp.maximum(inputs, 0) + self.alpha.value * jnp.minimum(inputs, 0)


class ELU(Layer):
    """Returns `x` where positive, and `alpha * (exp(x) - 1)` elsewhere.

    Args:
        alpha: the limit of the negative side.

    Source: Clevert et al., 2016, "Fast and accurate deep network learning by
    exponential linear units".

    >>> import lamina, numpy as np
    >>> lamina.layers.ELU()(np.array([[0.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    _featurewise = rows_independent = True

    def __init__(self, alpha: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.alpha = number("ELU", "alpha", alpha)
        self.supports_masking = True

    def call(self, inputs):
        return activations.elu(inputs, self.alpha)


class Softmax(Layer):
    """Turns scores into shares that sum to one: `exp(x) / sum(exp(x))`.

    Args:
        axis: the axis, or several, to sum over.

    >>> import lamina, numpy as np
    >>> lamina.layers.Softmax()(np.array([[1.0, 1.0]])).tolist()
    [[0.5, 0.5]]
    """

    def __init__(self, axis: Axes = -1, **kwargs):
        super().__init__(**kwargs)
        axes_argument("Softmax", axis)
        self.axis = axis
        self.supports_masking = True

    @property
    def rows_independent(self):
        return off_rows(self.axis)

    def call(self, inputs, mask=None):
        """Return the shares.

        Args:
            inputs: the scores.
            mask: True where an entry counts; the others get a share of zero. It is
                repeated to fit the inputs, as NumPy does. One that the inputs carry,
                a mask of steps, serves whole steps.

        Raises:
            ValueError: the mask does not fit the inputs.
        """
        axes = self.axis if isinstance(self.axis, (list, tuple)) else (self.axis,)
        axes = tuple(axis_within(described(self), a, inputs.ndim) for a in axes)
        if mask is None:
            scores = inputs
        else:
            self._check_mask(mask, inputs)
            # A finite number: rows without any entry must not become NaN.
            scores = jnp.where(mask, inputs, jnp.finfo(inputs.dtype).min / 2)
        if len(axes) == 1:
            shares = activations.softmax(scores, axes[0])
        else:
            shares = jnp.exp(scores - jax.nn.logsumexp(scores, axes, keepdims=True))
        return shares if mask is None else jnp.where(mask, shares, 0)

    def _carried(self, inputs, mask):
        """Give a mask of the first axes the rank of the inputs."""
        if isinstance(mask, SymbolicTensor) and mask.node is None:
            return mask  # it comes when the graph runs
        for _ in range(inputs.ndim - mask.ndim):
            mask = ops.expand_dims(mask, -1)
        return mask

    def _check_mask(self, mask, inputs):
        shape, sizes = mask.shape, inputs.shape
        ends = zip(shape[::-1], sizes[::-1], strict=False)
        if len(shape) > len(sizes) or any(m != 1 and m != size for m, size in ends):
            raise ValueError(
                f"{described(self)} expected a mask that is broadcastable to its "
                "inputs; it must not have more dimensions. Received: mask shape "
                f"{tuple(shape)}, input shape {tuple(sizes)}. A mask of steps has a "
                "last axis of one: `mask[..., None]`."
            )
