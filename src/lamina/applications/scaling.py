"""Layers that only these architectures have, and that their files name."""

from lamina import initializers, ops
from lamina.layers import Layer

__all__ = ["CustomScaleLayer", "LayerScale"]


class LayerScale(Layer):
    """Multiplies each channel by a learnt factor, which begins near zero.

    `y = x * gamma` over the last axis, so that a deep residual branch starts as
    nothing. Source: Touvron et al., 2021 (https://arxiv.org/abs/2103.17239).

    Args:
        init_values: where the factors begin.
        projection_dim: the number of channels.

    >>> import numpy as np
    >>> from lamina.applications.scaling import LayerScale
    >>> LayerScale(0.5, 2)(np.ones((1, 2))).tolist()
    [[0.5, 0.5]]
    """

    _saved_as = ("keras.src.applications.convnext", "LayerScale")
    rows_independent = True

    def __init__(self, init_values, projection_dim, **kwargs):
        super().__init__(**kwargs)
        self.init_values = init_values
        self.projection_dim = projection_dim

    def build(self, input_shape):
        """Make the factors."""
        self.gamma = self.add_weight(
            shape=(self.projection_dim,),
            initializer=initializers.Constant(self.init_values),
        )

    def call(self, x):
        """Return `x` times the factors."""
        return x * self.gamma


class CustomScaleLayer(Layer):
    """Adds a scaled tensor to another: `y = a + scale * b` of a list `[a, b]`.

    Args:
        scale: a number.

    >>> import numpy as np
    >>> from lamina.applications.scaling import CustomScaleLayer
    >>> CustomScaleLayer(0.5)([np.ones((1, 2)), np.ones((1, 2))]).tolist()
    [[1.5, 1.5]]
    """

    _saved_as = ("keras.src.applications.inception_resnet_v2", "CustomScaleLayer")
    rows_independent = True

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        """Return the sum."""
        return ops.add(inputs[0], ops.multiply(inputs[1], self.scale))
