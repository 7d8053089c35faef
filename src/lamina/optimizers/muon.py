"""Muon."""

from typing import Any, Unpack

import jax.numpy as jnp

from lamina.core import patterns
from lamina.core.types import Rate
from lamina.optimizers.adam import corrected_rate
from lamina.optimizers.optimizer import Optimizer, Undecayed, shared
from lamina.optimizers.parts import once_a_step


class Muon(Optimizer):
    """Momentum whose matrix is made nearly orthogonal; Adam for all but matrices.

    Source: Jordan et al., 2024 (https://kellerjordan.github.io/posts/muon/).

    Args:
        learning_rate: the learning rate.
        adam_beta_1: `beta_1` of Adam.
        adam_beta_2: `beta_2` of Adam.
        adam_weight_decay: the weight decay of what Adam changes.
        epsilon: `epsilon` of Adam.
        weight_decay: the weight decay of what Muon changes.
        exclude_layers: regular expressions; where one is found in a Variable's path,
            Adam changes it.
        exclude_embeddings: whether Adam changes Variables with "embedding" in their
            path.
        muon_a: the first coefficient of the iteration towards orthogonality.
        muon_b: the second.
        muon_c: the third.
        adam_lr_ratio: Adam's learning rate over Muon's.
        momentum: how much of the last change stays.
        ns_steps: how often to iterate.
        nesterov: whether to look ahead along the momentum.
        rms_rate: the root mean square that changes are scaled to, as a factor; None
            for no scaling.

    >>> import lamina
    >>> w = lamina.Variable([[1.0, 0.0], [0.0, 1.0]])
    >>> lamina.optimizers.Muon(0.1).apply([w.value], [w])
    >>> bool(w[0, 0] < 1)
    True
    """

    @shared()
    def __init__(
        self,
        learning_rate: Rate = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        *,
        weight_decay: float | None = 0.004,
        exclude_layers: Any = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.775,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float = 0.2,
        **kwargs: Unpack[Undecayed],
    ):
        super().__init__(
            learning_rate=learning_rate, weight_decay=weight_decay, **kwargs
        )
        self.adam_beta_1, self.adam_beta_2 = adam_beta_1, adam_beta_2
        self.adam_weight_decay = adam_weight_decay
        self.epsilon = epsilon
        self.exclude_layers = exclude_layers or []
        patterns.check(self.exclude_layers)
        self.exclude_embeddings = exclude_embeddings
        self.muon_a, self.muon_b, self.muon_c = muon_a, muon_b, muon_c
        self.adam_lr_ratio = adam_lr_ratio
        self.momentum = momentum
        self.nesterov = nesterov
        self.ns_steps = ns_steps
        self.rms_rate = rms_rate

    def _should_use_adamw(self, variable):
        if len(variable.shape) != 2:
            return True
        if self.exclude_embeddings and "embedding" in variable.path.lower():
            return True
        return any(patterns.search(p, variable.path) for p in self.exclude_layers)

    def build(self, var_list) -> None:
        """Make the Variables that belong to the given ones."""
        if self.built:
            return
        super().build(var_list)
        self.momentums, self.adam_velocities = [], []
        for variable in var_list:
            m = v = None
            if not variable.overwrite_with_gradient:
                m = self.add_variable_from_reference(variable, "momentum")
                if self._should_use_adamw(variable):
                    v = self.add_variable_from_reference(variable, "velocity")
            self.momentums.append(m)
            self.adam_velocities.append(v)

    @once_a_step
    def _adam_rate(self, learning_rate, dtype):
        betas = self.adam_beta_1, self.adam_beta_2
        rate = learning_rate * self.adam_lr_ratio
        return corrected_rate(self, rate, dtype, *betas)

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        gradient = gradient.astype(variable.dtype)
        index = self._get_variable_index(variable)
        m, v = self.momentums[index], self.adam_velocities[index]
        if v is None:
            rate = self._cast_rate(learning_rate, variable.dtype)
            self.assign_add(m, gradient + m * (self.momentum - 1))
            ahead = gradient + self.momentum * m if self.nesterov else m.value
            change = self.zeropower_via_newtonschulz5(ahead, self.ns_steps)
            self.assign_sub(variable, self.lr_adjust(rate * change))
            return
        rate = self._adam_rate(learning_rate, variable.dtype)
        self.assign_add(m, (gradient - m) * (1 - self.adam_beta_1))
        self.assign_add(v, (jnp.square(gradient) - v) * (1 - self.adam_beta_2))
        self.assign_sub(variable, m * rate / (jnp.sqrt(v.value) + self.epsilon))

    def transpose_last_axis(self, X):  # noqa: N803
        """Return `X` with its last two axes exchanged."""
        return jnp.swapaxes(X, -2, -1)

    def lr_adjust(self, x):
        """Scale a change to `rms_rate` for its shape."""
        if self.rms_rate is None:
            return x
        return x * max(x.shape[0], x.shape[1]) ** 0.5 * self.rms_rate

    def zeropower_via_newtonschulz5(self, x, steps: int):
        """Move the singular values of a matrix towards one.

        Args:
            x: an array of two axes or more; the last two are the matrix.
            steps: how often to iterate.

        Raises:
            ValueError: `x` has fewer axes.
        """
        if x.ndim < 2:
            raise ValueError(
                "`zeropower_via_newtonschulz5` expected at least two axes. "
                f"Received: shape={x.shape}"
            )
        tall = x.shape[-2] > x.shape[-1]
        x = self.transpose_last_axis(x) if tall else x
        norm = jnp.sqrt(jnp.sum(jnp.square(x), axis=(-2, -1), keepdims=True))
        x = x / (norm + 1e-7)
        for _ in range(steps):
            square = x @ self.transpose_last_axis(x)
            inner = self.muon_b * square + self.muon_c * square @ square
            x = self.muon_a * x + inner @ x
        return self.transpose_last_axis(x) if tall else x

    def _decay_of(self, variable):
        adams = self._should_use_adamw(variable)
        return self.adam_weight_decay if adams else self.weight_decay
