"""Gradient descent, with momentum if wanted."""

from typing import Unpack

from lamina.core.types import Rate
from lamina.optimizers.optimizer import Decayed, Optimizer, shared


class SGD(Optimizer):
    r"""Gradient descent: $w \leftarrow w - r g$.

    With momentum $\mu$: $m \leftarrow \mu m - r g$ and $w \leftarrow w + m$, or, after
    Nesterov, $w \leftarrow w + \mu m - r g$.

    Args:
        learning_rate: $r$.
        momentum: $\mu$, from 0 to 1.
        nesterov: whether to look ahead along the momentum.

    Raises:
        ValueError: `momentum` is out of range.

    >>> import lamina
    >>> w = lamina.Variable([1.0])
    >>> lamina.optimizers.SGD(0.5).apply([lamina.ops.array([1.0])], [w])
    >>> float(w[0])
    0.5
    """

    takes_rows = True

    @shared()
    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **kwargs: Unpack[Decayed],
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        if not isinstance(momentum, (int, float)) or not 0 <= momentum <= 1:
            raise ValueError(
                "`momentum` must be a float between [0, 1]. "
                f"Received: momentum={momentum!r}"
            )
        self.momentum = momentum
        self.nesterov = nesterov

    def build(self, variables) -> None:
        """Make the Variables that belong to the given ones."""
        if self.built:
            return
        super().build(variables)
        self.momentums = []
        if self.momentum:
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable."""
        rate = self._cast_rate(learning_rate, variable.dtype)
        change = gradient.astype(variable.dtype) * rate
        if not self.momentum:
            self.assign_sub(variable, change)
            return
        m = self.momentums[self._get_variable_index(variable)]
        self.assign(m, m * self.momentum - change)
        step = m * self.momentum - change if self.nesterov else m
        self.assign_add(variable, step)
