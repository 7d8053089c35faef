"""Schedule-free AdamW."""

from typing import Unpack

import jax.numpy as jnp

from lamina.core.types import Rate
from lamina.optimizers.adam import powers
from lamina.optimizers.optimizer import Decayed, Optimizer, shared
from lamina.optimizers.parts import once_a_step


class ScheduleFreeAdamW(Optimizer):
    r"""AdamW that averages its iterates, so that no decay of the rate is needed.

    $z \leftarrow z - r g / (\sqrt{\hat v} + \epsilon)$,
    $x \leftarrow (1 - 1/t) x + z / t$ and $w = (1 - \beta_1) z + \beta_1 x$. Source:
    Defazio et al., 2024 (https://arxiv.org/abs/2405.15682).

    Args:
        learning_rate: $r$, after the warm-up.
        beta_1: $\beta_1$.
        beta_2: how much of the mean square stays.
        epsilon: $\epsilon$.
        warmup_steps: the steps in which the rate rises linearly.

    >>> import lamina
    >>> w = lamina.Variable([1.0])
    >>> lamina.optimizers.ScheduleFreeAdamW(0.1).apply([lamina.ops.array([2.0])], [w])
    >>> round(float(w[0]), 3)
    0.9
    """

    @shared()
    def __init__(
        self,
        learning_rate: Rate = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        **kwargs: Unpack[Decayed],
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta_1, self.beta_2 = beta_1, beta_2
        self.epsilon = epsilon
        self.warmup_steps = warmup_steps

    def build(self, var_list) -> None:
        """Make the Variables that belong to the given ones."""
        if self.built:
            return
        super().build(var_list)
        self._momentums, self._velocities = self.add_optimizer_variables(
            var_list, ["momentum", "velocity"]
        )
        for z, variable in zip(self._momentums, var_list, strict=True):
            if z is not None:
                # A copy: a step that gives up its buffers may not hold one twice.
                self.assign(z, jnp.array(variable.value, copy=True))

    @once_a_step
    def _factors(self, learning_rate, dtype):
        step = jnp.asarray(self.iterations + 1, dtype)
        rate = jnp.asarray(learning_rate, dtype)
        if self.warmup_steps > 0:
            rate = rate * jnp.minimum(step / self.warmup_steps, 1.0)
        return rate, 1.0 / step, 1 - powers(self, dtype, self.beta_2)[0]

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        dtype = variable.dtype
        rate, weight, correction = self._factors(learning_rate, dtype)
        gradient = gradient.astype(dtype)
        beta_1, beta_2 = (jnp.asarray(b, dtype) for b in (self.beta_1, self.beta_2))
        index = self._get_variable_index(variable)
        z, v = self._momentums[index], self._velocities[index]
        average = (variable - (1 - beta_1) * z) / beta_1
        self.assign_add(v, (jnp.square(gradient) - v) * (1 - beta_2))
        root = jnp.sqrt(v / correction) + self.epsilon
        self.assign_sub(z, rate * gradient / root)
        average = (1 - weight) * average + weight * z
        self.assign(variable, (1 - beta_1) * z + beta_1 * average)
