"""Lion."""

from typing import Unpack

import jax.numpy as jnp

from lamina.core.types import Rate
from lamina.optimizers.optimizer import Decayed, Optimizer, shared


class Lion(Optimizer):
    r"""Steps of one size, in the direction of the sign of a mean gradient.

    $w \leftarrow w - r \,\mathrm{sign}(\beta_1 m + (1 - \beta_1) g)$ and
    $m \leftarrow \beta_2 m + (1 - \beta_2) g$. Source: Chen et al., 2023
    (https://arxiv.org/abs/2302.06675).

    Args:
        learning_rate: $r$; take a third to a tenth of what you would give Adam.
        beta_1: $\beta_1$.
        beta_2: $\beta_2$.

    Raises:
        ValueError: `beta_1` is not above 0 and at most 1.

    >>> import lamina
    >>> w = lamina.Variable([1.0])
    >>> lamina.optimizers.Lion(0.25).apply([lamina.ops.array([3.0])], [w])
    >>> float(w[0])
    0.75
    """

    takes_rows = True

    @shared()
    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **kwargs: Unpack[Decayed],
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        if not 0 < beta_1 <= 1:
            raise ValueError(
                "Argument `beta_1` must be in the [0, 1] range. Otherwise, the "
                f"optimizer degenerates to SignSGD. Received: beta_1={beta_1}."
            )
        self.beta_1, self.beta_2 = beta_1, beta_2

    def build(self, var_list) -> None:
        """Make the Variables that belong to the given ones."""
        if self.built:
            return
        super().build(var_list)
        self._momentums = self.add_optimizer_variables(var_list, "momentum")

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        dtype = variable.dtype
        rate = self._cast_rate(learning_rate, dtype)
        gradient = gradient.astype(dtype)
        # Rounded to the dtype first, as a sign may hang on the last bit.
        beta_1, beta_2 = (jnp.asarray(b, dtype) for b in (self.beta_1, self.beta_2))
        m = self._momentums[self._get_variable_index(variable)]
        direction = jnp.sign(m * beta_1 + gradient * (1.0 - beta_1))
        self.assign_sub(variable, rate * direction)
        self.assign(m, m * beta_2 + gradient * (1.0 - beta_2))
