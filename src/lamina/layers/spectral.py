"""`SpectralNormalization`: a layer whose kernel is divided by its largest stretch."""

from typing import Any

import jax
import jax.numpy as jnp

from lamina import initializers
from lamina.core.checks import described, is_integer
from lamina.core.input_spec import InputSpec
from lamina.core.variable import Variable
from lamina.layers.basic import Wrapper


class SpectralNormalization(Wrapper):
    r"""Divides the kernel of a layer by its spectral norm at each step of training.

    For the kernel $W$ as a matrix of `(other axes, last axis)`, $v = u W^\top / |u
    W^\top|$ and $u = v W / |v W|$ are taken in turn, beginning with the $u$ of the
    last step; then $W$ becomes $W / \sigma$ with $\sigma = v W u^\top$. Gradients go
    through $\sigma$ but not through $u$ and $v$. Inference uses the kernel as it is.

    Args:
        layer: a layer with a `kernel` (such as `Dense` or `Conv2D`) or `embeddings`.
        power_iterations: how often $v$ and $u$ are taken.

    Raises:
        ValueError: `layer` is not a layer or has neither, or `power_iterations` is
            not a positive integer.

    Source: Miyato et al., 2018, "Spectral normalization for generative adversarial
    networks".

    >>> import lamina, numpy as np
    >>> dense = lamina.layers.Dense(1, kernel_initializer="ones")
    >>> layer = lamina.layers.SpectralNormalization(dense)
    >>> layer(np.ones((1, 4)), training=True).tolist()
    [[2.0]]
    """

    kernel: Any

    def __init__(self, layer: Any, power_iterations: int = 1, **kwargs):
        super().__init__(layer, **kwargs)
        if not is_integer(power_iterations) or power_iterations <= 0:
            raise ValueError(
                "`SpectralNormalization`: `power_iterations` should be greater than "
                f"zero. Received: power_iterations={power_iterations!r}"
            )
        self.power_iterations = int(power_iterations)

    @property
    def rows_independent(self):
        return "inference" if self.layer.rows_independent else False

    @property
    def _least_rank(self):
        return self.layer._least_rank

    def build(self, input_shape):
        super().build(input_shape)
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})
        kernel = getattr(self.layer, "kernel", getattr(self.layer, "embeddings", None))
        if kernel is None:
            raise ValueError(
                f"{type(self.layer).__name__} object has no attribute 'kernel' nor "
                f"'embeddings', one of which {described(self)} needs to normalize."
            )
        if not isinstance(kernel, Variable):
            raise ValueError(
                f"{described(self)} normalizes a kernel of floats. Received: "
                f"{kernel!r}. Make the layer inside without LoRA and quantization."
            )
        self.kernel = kernel
        self.vector_u = self.add_weight(
            shape=(1, kernel.shape[-1]),
            initializer=initializers.TruncatedNormal(stddev=0.02),
            trainable=False,
            name="vector_u",
            dtype=kernel.dtype,
        )

    def call(self, inputs, training=False):
        if training:
            vector, kernel = self.normalized_weights()
            zero = jnp.all(self.kernel.raw_value == 0)
            self.vector_u.assign(jnp.where(zero, self.vector_u.raw_value, vector))
            self.kernel.assign(jnp.where(zero, self.kernel.raw_value, kernel))
        return self.layer(inputs).astype(self.compute_dtype)

    def normalized_weights(self):
        """Return the next vector u, and the kernel divided by its spectral norm."""
        kernel, u = self.kernel.raw_value, self.vector_u.raw_value
        matrix = kernel.reshape(-1, kernel.shape[-1])
        fixed = jax.lax.stop_gradient(matrix)
        v = u
        for _ in range(self.power_iterations):
            v = _unit(u @ fixed.T)
            u = _unit(v @ fixed)
        sigma = (v @ matrix @ u.T)[0, 0]
        # A kernel of zeros is left as it is, with a gradient that is finite.
        return u, kernel / jnp.where(sigma == 0, 1, sigma)


def _unit(row):
    return row * jax.lax.rsqrt(jnp.maximum(jnp.sum(row * row), 1e-14))
