"""Loss scaling for float16."""

from typing import Any

import jax
import jax.numpy as jnp

from lamina.core.config import deserialize_keras_object
from lamina.initializers import Constant
from lamina.optimizers.optimizer import Optimizer
from lamina.optimizers.parts import as_array, choose


class LossScaleOptimizer(Optimizer):
    """Scale the loss so that small gradients survive in float16.

    Gradients are divided by the scale again. When one is not finite, the step is
    left out and the scale halved; after enough good steps it is doubled.

    Args:
        inner_optimizer: the optimizer that makes the steps.
        initial_scale: the first scale.
        dynamic_growth_steps: after how many good steps the scale doubles.
        name: its name.
        kwargs: none; arguments of `Optimizer` belong to the inner one.

    Raises:
        ValueError: an argument that belongs to the inner optimizer.

    >>> import lamina
    >>> optimizer = lamina.optimizers.LossScaleOptimizer(lamina.optimizers.SGD())
    >>> float(optimizer.scale_loss(1.0))
    32768.0
    """

    _owns = Optimizer
    _saved_first = ("name",)
    _saved_never = Optimizer._saved_first[1:]

    def __init__(
        self,
        inner_optimizer: Any,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **kwargs,
    ):
        if not kwargs.pop("dynamic", True):
            raise ValueError(
                "`LossScaleOptimizer` is always dynamic. For a fixed scale, set "
                "`loss_scale_factor` on the inner optimizer."
            )
        neutral = {"use_ema": False, "ema_momentum": 0.99}
        wrong = [f"`{k}`" for k, v in kwargs.items() if v != neutral.get(k)]
        if wrong:
            raise ValueError(
                f"`LossScaleOptimizer` does not support arguments: {', '.join(wrong)}. "
                "Set those of `Optimizer` on the `inner_optimizer`."
            )
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer
        inner_optimizer.loss_scale_factor = None
        self.initial_scale = initial_scale
        self.dynamic_growth_steps = dynamic_growth_steps

    def build(self, var_list) -> None:
        """Make its Variables and the inner optimizer's."""
        if self.built:
            return
        self.step_counter = self.add_variable((), dtype="int32", name="step_counter")
        self.dynamic_scale = self.add_variable(
            (), Constant(self.initial_scale), "float32", name="dynamic_scale"
        )
        self.inner_optimizer.build(var_list)
        super().build(var_list)

    def apply(self, grads, trainable_variables=None) -> None:
        """Make one step, unless a gradient is not finite."""
        if not self.built:
            self.build(list(trainable_variables or ()))
        variables = list(trainable_variables or self._trainable_variables)

        def step():
            scale = self.dynamic_scale.raw_value
            unscaled = [
                g if g is None or v.overwrite_with_gradient else as_array(g) / scale
                for g, v in zip(grads, variables, strict=True)
            ]
            self.inner_optimizer.apply(unscaled, variables)
            grow = self.step_counter.raw_value == self.dynamic_growth_steps - 1
            self.dynamic_scale.assign(jnp.where(grow, scale * 2.0, scale))
            counter = self.step_counter.raw_value + 1
            self.step_counter.assign(jnp.where(grow, 0, counter))

        def skip():
            self.step_counter.assign(0)
            self.dynamic_scale.assign(self.dynamic_scale * 0.5)

        changed = [*self._trainable_variables, *self.variables]
        choose(self.check_finite(grads), step, skip, changed)

    def check_finite(self, grads):
        """Return whether all entries of all gradients are finite."""
        grads = jax.tree.leaves(list(grads))
        finite = [jnp.all(jnp.isfinite(jnp.asarray(g))) for g in grads]
        return jnp.all(jnp.asarray(finite, "bool"))

    @property
    def learning_rate(self):
        """The inner optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self):
        """How many steps the inner optimizer made."""
        return self.inner_optimizer.iterations

    def scale_loss(self, loss):
        """Return the loss times the present scale."""
        return loss * (self.dynamic_scale.value if self.built else self.initial_scale)

    def finalize_variable_values(self, var_list) -> None:
        """Let the inner optimizer put its averages into the Variables."""
        self.inner_optimizer.finalize_variable_values(var_list)

    @classmethod
    def from_config(cls, config: dict, custom_objects=None):
        """Make an optimizer from what `get_config` returned."""
        inner = deserialize_keras_object(
            config["inner_optimizer"], custom_objects=custom_objects
        )
        return cls(**{**config, "inner_optimizer": inner})
