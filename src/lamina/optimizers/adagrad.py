"""Adagrad and Adadelta."""

from typing import Unpack

import jax.numpy as jnp

from lamina.core.checks import fraction, number
from lamina.core.types import Rate
from lamina.initializers import Constant
from lamina.optimizers.optimizer import Decayed, Optimizer, shared


class Adagrad(Optimizer):
    r"""Divide gradients by the root of the sum of all their squares.

    $a \leftarrow a + g^2$ and $w \leftarrow w - r g / \sqrt{a + \epsilon}$. Source:
    Duchi et al., 2011 (https://www.jmlr.org/papers/v12/duchi11a.html).

    Args:
        learning_rate: $r$.
        initial_accumulator_value: the first value of $a$.
        epsilon: $\epsilon$.

    >>> import lamina
    >>> w = lamina.Variable([1.0])
    >>> adagrad = lamina.optimizers.Adagrad(0.1, initial_accumulator_value=0.0)
    >>> adagrad.apply([lamina.ops.array([2.0])], [w])
    >>> round(float(w[0]), 3)
    0.9
    """

    takes_rows = True

    @shared()
    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **kwargs: Unpack[Decayed],
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.initial_accumulator_value = number(
            "Adagrad", "initial_accumulator_value", initial_accumulator_value, least=0
        )
        self.epsilon = epsilon

    def build(self, var_list) -> None:
        """Make the Variables that belong to the given ones."""
        if self.built:
            return
        super().build(var_list)
        start = Constant(self.initial_accumulator_value)
        self._accumulators = self.add_optimizer_variables(
            var_list, "accumulator", start
        )

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        rate = self._cast_rate(learning_rate, variable.dtype)
        gradient = gradient.astype(variable.dtype)
        total = self._accumulators[self._get_variable_index(variable)]
        self.assign_add(total, jnp.square(gradient))
        self.assign_sub(variable, rate * gradient / jnp.sqrt(total + self.epsilon))


class Adadelta(Optimizer):
    r"""Adagrad with a window, and steps in the units of the weights.

    With $R(x) = \sqrt{x + \epsilon}$: $a \leftarrow \rho a + (1 - \rho) g^2$,
    $\delta = -g R(b) / R(a)$, $b \leftarrow \rho b + (1 - \rho) \delta^2$ and
    $w \leftarrow w + r \delta$. Source: Zeiler, 2012
    (https://arxiv.org/abs/1212.5701).

    Args:
        learning_rate: $r$; the paper has 1.
        rho: $\rho$.
        epsilon: $\epsilon$.

    >>> import lamina
    >>> w = lamina.Variable([1.0])
    >>> lamina.optimizers.Adadelta(1.0).apply([lamina.ops.array([2.0])], [w])
    >>> bool(w[0] < 1)
    True
    """

    takes_rows = True

    @shared()
    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **kwargs: Unpack[Decayed],
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.rho = fraction("Adadelta", "rho", rho)
        self.epsilon = epsilon

    def build(self, var_list) -> None:
        """Make the Variables that belong to the given ones."""
        if self.built:
            return
        super().build(var_list)
        self._gradients, self._changes = self.add_optimizer_variables(
            var_list, ["accumulated_grad", "accumulated_delta_var"]
        )

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        rate = self._cast_rate(learning_rate, variable.dtype)
        gradient = gradient.astype(variable.dtype)
        index = self._get_variable_index(variable)
        a, b = self._gradients[index], self._changes[index]
        rho, epsilon = self.rho, self.epsilon
        self.assign(a, rho * a + (1 - rho) * jnp.square(gradient))
        change = -(jnp.sqrt(b + epsilon) * gradient / jnp.sqrt(a + epsilon))
        self.assign(b, rho * b + (1 - rho) * jnp.square(change))
        self.assign_add(variable, rate * change)
