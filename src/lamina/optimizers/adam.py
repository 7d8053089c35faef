"""Adam and its relatives."""

from typing import Any, Unpack

import jax.numpy as jnp

from lamina.core.settings import floatx
from lamina.core.types import Rate
from lamina.core.variable import Variable
from lamina.kernels.native import adam as native
from lamina.optimizers.optimizer import Decayed, Optimizer, Undecayed, shared
from lamina.optimizers.parts import once_a_step


class Adam(Optimizer):
    r"""Descent along a mean gradient, divided by a root mean square.

    $m \leftarrow m + (1 - \beta_1)(g - m)$,
    $v \leftarrow v + (1 - \beta_2)(g^2 - v)$ and, at step $t$,
    $w \leftarrow w - r \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}
    \frac{m}{\sqrt{v} + \epsilon}$. Source: Kingma and Ba, 2014
    (https://arxiv.org/abs/1412.6980).

    Args:
        learning_rate: $r$.
        beta_1: $\beta_1$.
        beta_2: $\beta_2$.
        epsilon: $\epsilon$.
        amsgrad: whether the greatest $v$ so far takes the place of $v$
            (https://openreview.net/forum?id=ryQu7f-RZ).

    >>> import lamina
    >>> w = lamina.Variable([1.0])
    >>> lamina.optimizers.Adam(0.1).apply([lamina.ops.array([2.0])], [w])
    >>> round(float(w[0]), 3)
    0.9
    """

    takes_rows = True

    @shared()
    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Unpack[Decayed],
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.amsgrad = amsgrad
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, var_list) -> None:
        """Make the Variables that belong to the given ones."""
        if self.built:
            return
        super().build(var_list)
        slots = self.add_optimizer_variables(var_list, ["momentum", "velocity"])
        self._momentums, self._velocities = slots
        if self.amsgrad:
            self._greatest = self.add_optimizer_variables(var_list, "velocity_hat")

    @once_a_step
    def _corrected_rate(self, learning_rate, dtype):
        return corrected_rate(self, learning_rate, dtype, self.beta_1, self.beta_2)

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        rate = self._corrected_rate(learning_rate, variable.dtype)
        gradient = gradient.astype(variable.dtype)
        index = self._get_variable_index(variable)
        if not self.amsgrad and self._in_one_pass(gradient, variable, rate, index):
            return
        m, v = averages(self, gradient, index)
        if self.amsgrad:
            greatest = self._greatest[index]
            self.assign(greatest, jnp.maximum(greatest.value, v.value))
            v = greatest
        self.assign_sub(variable, m * rate / (jnp.sqrt(v.value) + self.epsilon))

    def _in_one_pass(self, gradient, variable, rate, index):
        """Make a step by the compiled kernel, and tell whether it could."""
        changed = self._momentums[index], self._velocities[index], variable
        settings = self.beta_1, self.beta_2, self.epsilon
        if not all(isinstance(number, float) for number in settings):
            return False
        mean, square, weight = (v.value for v in changed)
        if not native.fits(gradient, mean, square, weight):
            return False
        after = native.adam(gradient, mean, square, weight, rate, *map(float, settings))
        for v, value in zip(changed, after, strict=True):
            self.assign(v, value)
        return True


def averages(optimizer, gradient, index):
    """Take a gradient into its mean and its mean square, and return their Variables."""
    m, v = optimizer._momentums[index], optimizer._velocities[index]
    optimizer.assign_add(m, (gradient - m) * (1 - optimizer.beta_1))
    optimizer.assign_add(v, (jnp.square(gradient) - v) * (1 - optimizer.beta_2))
    return m, v


def powers(optimizer, dtype, *bases):
    """Return bases raised to the number of the present step, counted from 1."""
    step = jnp.asarray(optimizer.iterations + 1, dtype)
    return [jnp.power(jnp.asarray(base, dtype), step) for base in bases]


def corrected_rate(optimizer, learning_rate, dtype, beta_1, beta_2):
    """Return the learning rate with Adam's correction for averages begun at zero."""
    power_1, power_2 = powers(optimizer, dtype, beta_1, beta_2)
    return jnp.asarray(learning_rate, dtype) * jnp.sqrt(1 - power_2) / (1 - power_1)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient.

    Source: Loshchilov and Hutter, 2017 (https://arxiv.org/abs/1711.05101).

    Args:
        learning_rate: the learning rate.
        weight_decay: the part of each weight, times the learning rate, that is
            taken away before a step.
        beta_1: how much of the mean gradient stays.
        beta_2: how much of the mean square stays.
        epsilon: what is added to the root.
        amsgrad: as in `Adam`.

    Raises:
        ValueError: `weight_decay` is None.

    >>> import lamina
    >>> w = lamina.Variable([1.0])
    >>> adam = lamina.optimizers.AdamW(0.1, weight_decay=0.5)
    >>> adam.apply([lamina.ops.array([2.0])], [w])
    >>> round(float(w[0]), 3)
    0.85
    """

    @shared()
    def __init__(
        self,
        learning_rate: Rate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Unpack[Undecayed],
    ):
        if weight_decay is None:
            raise ValueError(
                "Argument `weight_decay` must be a float. "
                "Received: weight_decay=None. Use `Adam` for none."
            )
        adam = (learning_rate, beta_1, beta_2, epsilon, amsgrad)
        super().__init__(*adam, weight_decay=weight_decay, **kwargs)


class Adamax(Optimizer):
    r"""Adam with the greatest magnitude in place of the root mean square.

    $m \leftarrow m + (1 - \beta_1)(g - m)$, $u \leftarrow \max(\beta_2 u, |g|)$ and
    $w \leftarrow w - r m / ((1 - \beta_1^t)(u + \epsilon))$. Source: Kingma and Ba,
    2014 (https://arxiv.org/abs/1412.6980).

    Args:
        learning_rate: $r$.
        beta_1: $\beta_1$.
        beta_2: $\beta_2$.
        epsilon: $\epsilon$.

    >>> import lamina
    >>> w = lamina.Variable([1.0])
    >>> lamina.optimizers.Adamax(0.1).apply([lamina.ops.array([2.0])], [w])
    >>> round(float(w[0]), 3)
    0.9
    """

    takes_rows = True

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
        self._m, self._u = self.add_optimizer_variables(var_list, ["momentum", "norm"])

    @once_a_step
    def _correction(self, learning_rate, dtype):
        return 1 - powers(self, dtype, self.beta_1)[0]

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        rate = self._cast_rate(learning_rate, variable.dtype)
        correction = self._correction(learning_rate, variable.dtype)
        gradient = gradient.astype(variable.dtype)
        index = self._get_variable_index(variable)
        m, u = self._m[index], self._u[index]
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign(u, jnp.maximum(self.beta_2 * u, jnp.abs(gradient)))
        self.assign_sub(variable, rate * m / (correction * (u + self.epsilon)))


class Nadam(Optimizer):
    """Adam with Nesterov's look ahead.

    Source: Dozat, 2015 (https://cs229.stanford.edu/proj2015/054_report.pdf).

    Args:
        learning_rate: the learning rate.
        beta_1: how much of the mean gradient stays.
        beta_2: how much of the mean square stays.
        epsilon: what is added to the root.

    >>> import lamina
    >>> w = lamina.Variable([1.0])
    >>> lamina.optimizers.Nadam(0.1).apply([lamina.ops.array([2.0])], [w])
    >>> bool(w[0] < 1)
    True
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
        dtype = var_list[0].dtype if var_list else floatx()
        self._u_product: Any = Variable(1.0, dtype=dtype)

    def _backend_update_step(self, grads, variables, learning_rate):
        product = self._u_product
        (decay,) = powers(self, product.dtype, 0.96)
        self.assign(product, product * self.beta_1 * (1.0 - 0.5 * decay))
        super()._backend_update_step(grads, variables, learning_rate)

    @once_a_step
    def _factors(self, learning_rate, dtype):
        step = jnp.asarray(self.iterations + 1, dtype)
        beta_1, base = jnp.asarray(self.beta_1, dtype), jnp.asarray(0.96, dtype)
        now = beta_1 * (1.0 - 0.5 * jnp.power(base, step))
        ahead = beta_1 * (1.0 - 0.5 * jnp.power(base, step + 1))
        product = jnp.asarray(self._u_product, dtype)
        power_2 = jnp.power(jnp.asarray(self.beta_2, dtype), step)
        return now, ahead, product, power_2

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        dtype = variable.dtype
        rate = self._cast_rate(learning_rate, dtype)
        now, ahead, product, power_2 = self._factors(learning_rate, dtype)
        gradient = gradient.astype(dtype)
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        # In the dtype of the Variable: 1 - beta is rounded as the betas are.
        keep_1, keep_2 = (1 - jnp.asarray(b, dtype) for b in (self.beta_1, self.beta_2))
        self.assign_add(m, (gradient - m) * keep_1)
        self.assign_add(v, (jnp.square(gradient) - v) * keep_2)
        mean = ahead * m / (1 - product * ahead) + (1 - now) * gradient / (1 - product)
        square = v / (1 - power_2)
        self.assign_sub(variable, mean * rate / (jnp.sqrt(square) + self.epsilon))
