"""LAMB."""

from typing import Unpack

import jax.numpy as jnp

from lamina.core.types import Rate
from lamina.optimizers.adam import averages, powers
from lamina.optimizers.optimizer import Decayed, Optimizer, shared
from lamina.optimizers.parts import once_a_step


class Lamb(Optimizer):
    r"""Adam with steps in proportion to the norm of each Variable.

    With Adam's direction $u$: $w \leftarrow w - r \frac{\|w\|}{\|u\|} u$. Made for
    large batches. Source: You et al., 2019 (https://arxiv.org/abs/1904.00962).

    Args:
        learning_rate: $r$.
        beta_1: how much of the mean gradient stays.
        beta_2: how much of the mean square stays.
        epsilon: what is added to the root.

    >>> import lamina
    >>> w = lamina.Variable([2.0])
    >>> lamina.optimizers.Lamb(0.1).apply([lamina.ops.array([3.0])], [w])
    >>> round(float(w[0]), 3)
    1.8
    """

    @shared()
    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Unpack[Decayed],
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta_1, self.beta_2 = beta_1, beta_2
        self.epsilon = epsilon

    def build(self, var_list) -> None:
        """Make the Variables that belong to the given ones."""
        if self.built:
            return
        super().build(var_list)
        self._momentums, self._velocities = self.add_optimizer_variables(
            var_list, ["momentum", "velocity"]
        )

    @once_a_step
    def _corrections(self, learning_rate, dtype):
        return [1.0 - p for p in powers(self, dtype, self.beta_1, self.beta_2)]

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        rate = self._cast_rate(learning_rate, variable.dtype)
        first, second = self._corrections(learning_rate, variable.dtype)
        gradient = gradient.astype(variable.dtype)
        m, v = averages(self, gradient, self._get_variable_index(variable))
        change = m / first / (jnp.sqrt(v / second) + self.epsilon)
        weight = jnp.sqrt(jnp.sum(jnp.square(variable.value)))
        length = jnp.sqrt(jnp.sum(jnp.square(change)))
        ratio = jnp.where((weight > 0) & (length > 0), weight / length, 1.0)
        self.assign_sub(variable, ratio * rate * change)
