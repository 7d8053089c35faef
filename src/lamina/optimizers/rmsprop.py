"""RMSprop."""

from typing import Unpack

import jax.numpy as jnp

from lamina.core.checks import fraction
from lamina.core.types import Rate
from lamina.optimizers.optimizer import Decayed, Optimizer, shared


class RMSprop(Optimizer):
    r"""Divide gradients by a running root mean square.

    $v \leftarrow \rho v + (1 - \rho) g^2$ and
    $w \leftarrow w - r g / \sqrt{v + \epsilon}$. Source: Hinton, 2012, lecture 6e of
    "Neural Networks for Machine Learning".

    Args:
        learning_rate: $r$.
        rho: $\rho$.
        momentum: how much of the last change is made again.
        epsilon: $\epsilon$.
        centered: whether the square of the mean gradient is taken from $v$.

    >>> import lamina
    >>> w = lamina.Variable([1.0])
    >>> lamina.optimizers.RMSprop(0.1, rho=0.0).apply([lamina.ops.array([2.0])], [w])
    >>> round(float(w[0]), 3)
    0.9
    """

    takes_rows = True

    @shared()
    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **kwargs: Unpack[Decayed],
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.rho = fraction("RMSprop", "rho", rho)
        self.momentum = fraction("RMSprop", "momentum", momentum)
        self.epsilon = epsilon
        self.centered = centered

    def build(self, var_list) -> None:
        """Make the Variables that belong to the given ones."""
        if self.built:
            return
        super().build(var_list)
        self._velocities = self.add_optimizer_variables(var_list, "velocity")
        if self.momentum > 0:
            self._momentums = self.add_optimizer_variables(var_list, "momentum")
        if self.centered:
            self._means = self.add_optimizer_variables(var_list, "average_gradient")

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        rate = self._cast_rate(learning_rate, variable.dtype)
        gradient = gradient.astype(variable.dtype)
        index = self._get_variable_index(variable)
        velocity = self._velocities[index]
        rho = self.rho
        self.assign(velocity, rho * velocity + (1 - rho) * jnp.square(gradient))
        square = velocity.value
        if self.centered:
            mean = self._means[index]
            self.assign(mean, rho * mean + (1 - rho) * gradient)
            square = square - jnp.square(mean.value)
        change = rate * gradient / jnp.sqrt(square + self.epsilon)
        if self.momentum > 0:
            m = self._momentums[index]
            self.assign(m, self.momentum * m + change)
            change = m.value
        self.assign_sub(variable, change)
