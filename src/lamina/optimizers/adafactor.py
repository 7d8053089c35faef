"""Adafactor."""

from typing import Unpack

import jax.numpy as jnp

from lamina.core.types import Rate
from lamina.core.variable import Variable
from lamina.optimizers.optimizer import Decayed, Optimizer, shared
from lamina.optimizers.parts import once_a_step


class Adafactor(Optimizer):
    """Adam's second moment kept as a row and a column: little memory.

    Source: Shazeer and Stern, 2018 (https://arxiv.org/abs/1804.04235).

    Args:
        learning_rate: the learning rate, relative to the weights' root mean square.
        beta_2_decay: the power of the step by which old squares are forgotten.
        epsilon_1: what is added to squares.
        epsilon_2: the least root mean square of the weights.
        clip_threshold: the greatest root mean square of a change, before the rate.
        relative_step: whether a float rate is at most one over the root of the step.

    >>> import lamina
    >>> w = lamina.Variable([[1.0, 2.0]])
    >>> lamina.optimizers.Adafactor(0.1).apply([lamina.ops.array([[2.0, 3.0]])], [w])
    >>> bool((w.value < lamina.ops.array([[1.0, 2.0]])).all())
    True
    """

    @shared()
    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 0.001,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **kwargs: Unpack[Decayed],
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta_2_decay = beta_2_decay
        self.epsilon_1, self.epsilon_2 = epsilon_1, epsilon_2
        self.clip_threshold = clip_threshold
        self.relative_step = relative_step

    def build(self, var_list) -> None:
        """Make the Variables that belong to the given ones."""
        if self.built:
            return
        super().build(var_list)
        self._r, self._c, self._v = [], [], []
        for variable in var_list:
            shape, name = variable.shape, variable.name
            if variable.overwrite_with_gradient:
                row = column = square = None
            elif len(shape) < 2:
                # Vectors need neither, but saved states have a place for both.
                row, column = (
                    Variable(0, dtype="int32", name=name, trainable=False)
                    for _ in range(2)
                )
                self._track_variable(row)
                self._track_variable(column)
                square = self.add_variable_from_reference(variable, "velocity")
            else:
                dtype = variable.dtype
                row = self.add_variable(shape[:-1], dtype=dtype, name=name)
                column = self.add_variable(
                    (*shape[:-2], shape[-1]), dtype=dtype, name=name
                )
                square = self.add_variable_from_reference(variable, "velocity")
            self._r.append(row)
            self._c.append(column)
            self._v.append(square)

    @once_a_step
    def _rates(self, learning_rate, dtype):
        rate = jnp.asarray(learning_rate, dtype)
        step = jnp.asarray(self.iterations + 1, dtype)
        # Whether relative or not, Keras bounds the rate by one over the root.
        return jnp.minimum(rate, 1 / jnp.sqrt(step)), 1 - jnp.power(
            step, self.beta_2_decay
        )

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        rate, keep = self._rates(learning_rate, variable.dtype)
        gradient = gradient.astype(variable.dtype)
        index = self._get_variable_index(variable)
        v = self._v[index]
        square = jnp.square(gradient) + self.epsilon_1
        if len(variable.shape) >= 2:
            r, c = self._r[index], self._c[index]
            self.assign(r, keep * r + (1 - keep) * jnp.mean(square, axis=-1))
            self.assign(c, keep * c + (1 - keep) * jnp.mean(square, axis=-2))
            rows = r / jnp.mean(r.value, axis=-1, keepdims=True)
            self.assign(v, rows[..., None] * c[..., None, :])
        else:
            self.assign(v, keep * v + (1 - keep) * square)
        change = gradient / jnp.sqrt(v.value)
        change = change / jnp.maximum(1.0, _size(change) / self.clip_threshold)
        rate = jnp.maximum(self.epsilon_2, _size(variable.value)) * rate
        self.assign_sub(variable, rate * change)


def _size(x):
    return jnp.sqrt(jnp.mean(jnp.square(x)))
