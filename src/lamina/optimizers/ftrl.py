"""FTRL."""

from typing import Unpack

import jax.numpy as jnp

from lamina.core.types import Rate
from lamina.initializers import Constant, Zeros
from lamina.optimizers.optimizer import Decayed, Optimizer, shared


class Ftrl(Optimizer):
    r"""Follow the regularized leader: sparse weights for wide, sparse inputs.

    With $q = (n^{-p} / r + 2 \lambda_2')$, $\lambda_2' = \lambda_2 + \beta / 2r$ and
    $z$ the sum of the gradients less $(n_t^{-p} - n_{t-1}^{-p}) w / r$, the weight is
    $w = (\mathrm{clip}(z, -\lambda_1, \lambda_1) - z) / q$. Source: McMahan et al.,
    2013 (https://research.google/pubs/pub41159/).

    Args:
        learning_rate: $r$.
        learning_rate_power: $p$, at most 0.
        initial_accumulator_value: the first value of $n$, the sum of squares.
        l1_regularization_strength: $\lambda_1$.
        l2_regularization_strength: $\lambda_2$.
        l2_shrinkage_regularization_strength: a penalty on the weights' squares that
            is added to the gradient.
        beta: $\beta$.

    Raises:
        ValueError: `learning_rate_power` is positive, or another one negative.

    >>> import lamina
    >>> w = lamina.Variable([1.0])
    >>> lamina.optimizers.Ftrl(0.1).apply([lamina.ops.array([2.0])], [w])
    >>> bool(w[0] < 1)
    True
    """

    takes_rows = True

    @shared()
    def __init__(
        self,
        learning_rate: Rate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **kwargs: Unpack[Decayed],
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta
        if learning_rate_power > 0:
            raise ValueError(
                "`learning_rate_power` needs to be negative or zero. "
                f"Received: learning_rate_power={learning_rate_power}."
            )
        for name in (
            "initial_accumulator_value",
            "l1_regularization_strength",
            "l2_regularization_strength",
            "l2_shrinkage_regularization_strength",
        ):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"`{name}` needs to be positive or zero. "
                    f"Received: {name}={getattr(self, name)}."
                )

    def build(self, var_list) -> None:
        """Make the Variables that belong to the given ones."""
        if self.built:
            return
        super().build(var_list)
        start = Constant(self.initial_accumulator_value)
        self._accumulators, self._linears = self.add_optimizer_variables(
            var_list, ["accumulator", "linear"], [start, Zeros()]
        )

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        rate = self._cast_rate(learning_rate, variable.dtype)
        gradient = gradient.astype(variable.dtype)
        index = self._get_variable_index(variable)
        total, linear = self._accumulators[index], self._linears[index]
        l1 = self.l1_regularization_strength
        l2 = self.l2_regularization_strength + self.beta / (2.0 * rate)
        new = total + jnp.square(gradient)
        before = jnp.power(total.value, -self.learning_rate_power)
        after = jnp.power(new, -self.learning_rate_power)
        pull = 2 * self.l2_shrinkage_regularization_strength * variable
        self.assign_add(linear, gradient + pull - (after - before) / rate * variable)
        clipped = jnp.clip(linear.value, -l1, l1)
        self.assign(variable, (clipped - linear) / (after / rate + 2 * l2))
        self.assign(total, new)
