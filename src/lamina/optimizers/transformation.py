"""Optimizers from elsewhere: optax's gradient transformations."""

import jax
import jax.numpy as jnp

from lamina.optimizers.optimizer import Optimizer


def is_transformation(x) -> bool:
    """Tell whether `x` has optax's two functions, `init` and `update`."""
    if isinstance(x, (Optimizer, type)):
        return False
    return all(callable(getattr(x, name, None)) for name in ("init", "update"))


class Transformation(Optimizer):
    """An optax `GradientTransformation` as an optimizer.

    `compile` and `lamina.optimizers.get` wrap a transformation by themselves. It sees
    gradients and weights as dicts by the Variables' paths. Its learning rate,
    clipping and decay are its own matter.

    Args:
        transformation: an object with optax's `init(params)` and
            `update(updates, state, params)`.
        name: the first part of the paths of its Variables.

    >>> import collections, lamina
    >>> Pair = collections.namedtuple("Pair", "init update")
    >>> def half(grads, state, params=None):
    ...     return {path: -g / 2 for path, g in grads.items()}, state
    >>> halving = Pair(lambda params: (), half)
    >>> w = lamina.Variable([1.0])
    >>> lamina.optimizers.get(halving).apply([w.value], [w])
    >>> float(w[0])
    0.5
    """

    def __init__(self, transformation, name=None):
        super().__init__(learning_rate=0.0, name=name)
        self.transformation = transformation

    def build(self, variables) -> None:
        """Make Variables for the state of the transformation."""
        if self.built:
            return
        super().build(variables)
        paths = [v.path for v in self._trainable_variables]
        if len(set(paths)) < len(paths):
            paths = [f"{path}:{i}" for i, path in enumerate(paths)]
        self._keys = paths
        state = self.transformation.init(self._weights())
        leaves, self._structure = jax.tree.flatten(state)
        self._state = [
            self.add_variable(
                jnp.shape(leaf),
                lambda shape, dtype, leaf=leaf: jnp.array(leaf, dtype, copy=True),
                dtype=jnp.asarray(leaf).dtype,
                name=f"state_{i}",
            )
            for i, leaf in enumerate(leaves)
        ]

    def _weights(self):
        values = [v.raw_value for v in self._trainable_variables]
        return dict(zip(self._keys, values, strict=True))

    def _step(self, grads, variables):
        weights = self._weights()
        updates = {key: jnp.zeros_like(w) for key, w in weights.items()}
        for gradient, variable in zip(grads, variables, strict=True):
            key = self._keys[self._get_variable_index(variable)]
            updates[key] = gradient.astype(variable.dtype)
        state = jax.tree.unflatten(self._structure, [v.raw_value for v in self._state])
        updates, state = self.transformation.update(updates, state, weights)
        for variable in variables:
            change = updates[self._keys[self._get_variable_index(variable)]]
            self.assign_add(variable, change)
        for variable, leaf in zip(self._state, jax.tree.leaves(state), strict=True):
            self.assign(variable, leaf)

    @property
    def learning_rate(self):
        """Not to be had: the transformation keeps it to itself."""
        if "transformation" in self.__dict__:
            raise AttributeError(
                "An optax transformation keeps its learning rate to itself. Give it a "
                "schedule, or use an optimizer of `lamina.optimizers`."
            )
        return None

    def get_config(self) -> dict:
        """Not to be had: functions cannot be saved.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "An optax transformation consists of functions and cannot be saved. After "
            "loading the model, call `compile` with the transformation again."
        )
