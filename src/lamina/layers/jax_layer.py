"""`JaxLayer` and `FlaxLayer`: models written in plain JAX or in Flax, as layers."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_context

from lamina.core import structure
from lamina.core.config import deserialize_keras_object, serialize_keras_object
from lamina.core.context import having
from lamina.core.dtypes import is_float
from lamina.core.random import SeedGenerator, draw_seed
from lamina.core.types import Seed
from lamina.core.variable import Variable
from lamina.layers.building import spec_of
from lamina.layers.layer import Layer

_CALL_TAKES = ("params", "state", "rng", "inputs", "training")
_INIT_TAKES = ("rng", "inputs", "training")


class JaxLayer(Layer):
    """A layer made of pure functions.

    `call_fn` computes `outputs`, or `(outputs, new_state)` if it takes `state`. Its
    arguments go by their names, in any order, and only `inputs` is needed: `params`
    and `state` are pytrees of arrays, `rng` is a key (None outside of training),
    `training` a bool. `init_fn` takes `inputs`, and if it wants `rng` and `training`;
    it returns `params`, or `(params, state)`. Leaves that are not numbers stay as they
    are.

    Args:
        call_fn: the function that computes.
        init_fn: the function that makes the weights when the layer is built; needed
            unless they are given.
        params: weights that are trained, to begin with.
        state: what else the function keeps, to begin with.
        seed: where `rng` comes from.
        native_serialization_platforms: kept for compatibility.

    Raises:
        ValueError: a function's argument has another name, or `inputs` is missing; no
            weights are given and nothing makes them.

    >>> import jax.numpy as jnp, numpy as np, lamina
    >>> def init(rng, inputs):
    ...     return {"w": jnp.ones((inputs.shape[-1], 2))}
    >>> def apply(params, inputs):
    ...     return inputs @ params["w"]
    >>> lamina.layers.JaxLayer(apply, init)(np.ones((1, 3))).tolist()
    [[3.0, 3.0]]
    """

    _runs_given_code = True

    def __init__(
        self,
        call_fn: Callable,
        init_fn: Callable | None = None,
        params: Any = None,
        state: Any = None,
        seed: Seed = None,
        native_serialization_platforms: Any = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, function in (("call_fn", call_fn), ("init_fn", init_fn)):
            if not callable(function) and (function is not None or name == "call_fn"):
                raise ValueError(
                    f"`JaxLayer` expected `{name}` to be a function. "
                    f"Received: {name}={function!r}"
                )
        self.call_fn = call_fn
        self.init_fn = init_fn
        self.seed = seed
        self.native_serialization_platforms = native_serialization_platforms
        self._call_takes = _arguments(call_fn, "call_fn", _CALL_TAKES)
        self._init_takes = _arguments(init_fn, "init_fn", _INIT_TAKES)
        given = params is not None or state is not None
        if self._keeps_weights and init_fn is None and not given:
            raise ValueError(
                "`call_fn` takes `params` or `state`, so `JaxLayer` needs an `init_fn` "
                "that makes them, or the values themselves as `params=` and `state=`."
            )
        self.params: Any = self._tracked(params, trainable=True)
        self.state: Any = self._tracked(state, trainable=False)
        self.built = self.built or given
        self.seed_generator = SeedGenerator(seed) if "rng" in self._call_takes else None

    @property
    def _keeps_weights(self):
        return "params" in self._call_takes or "state" in self._call_takes

    def _tracked(self, values, trainable):
        """Return a pytree with Variables in place of its arrays and numbers."""

        def make(value):
            if not isinstance(
                value, (jax.Array, np.ndarray, np.generic, bool, int, float)
            ):
                return value
            array = np.asarray(value)
            if isinstance(value, (bool, int, float)):
                array = np.asarray(jnp.asarray(value))
            return self.add_weight(
                shape=array.shape,
                initializer=lambda shape, dtype: jnp.asarray(array, dtype),
                dtype=None if is_float(array.dtype) else array.dtype.name,
                trainable=trainable,
            )

        return jax.tree.map(make, values)

    def build(self, input_shape):
        if not self._keeps_weights or self.init_fn is None:
            return

        def ones(tensor):
            return jnp.ones([1 if d is None else d for d in tensor.shape])

        # The weights are true ones also where the layer is called on tracers.
        with eval_context(), having(frames=()):
            arguments = {
                "inputs": structure.map_leaves(ones, spec_of(input_shape, "float32")),
                "rng": self._get_init_rng() if "rng" in self._init_takes else None,
                "training": True,
            }
            made = self.init_fn(*(arguments[name] for name in self._init_takes))
        params, state = made if "state" in self._call_takes else (made, None)
        self.params = self._tracked(params, trainable=True)
        self.state = self._tracked(state, trainable=False)

    def _get_init_seed(self):
        """Return a new key; for subclasses that need several."""
        return draw_seed(None)

    def _get_init_rng(self):
        """Return what `init_fn` gets as `rng`; a subclass may give several keys."""
        return self._get_init_seed()

    def _get_call_seed(self):
        """Return a new key; for subclasses that need several."""
        assert self.seed_generator is not None
        return self.seed_generator.next()

    def _get_call_rng(self, training):
        """Return what `call_fn` gets as `rng`; a subclass may give several keys."""
        return self._get_call_seed() if training else None

    def call(self, inputs, training=False):
        takes = self._call_takes
        arguments = {
            "inputs": inputs,
            "params": _values(self.params),
            "state": _values(self.state),
            "rng": self._get_call_rng(training) if "rng" in takes else None,
            "training": training,
        }
        result = self.call_fn(*(arguments[name] for name in takes))
        if "state" not in takes:
            return result
        outputs, new = result
        self._keep(new)
        return outputs

    def _keep(self, new):
        variables, tree = jax.tree.flatten(self.state, is_leaf=_is_variable)
        values, new_tree = jax.tree.flatten(new)
        if tree != new_tree:
            raise ValueError(
                f"`call_fn` of layer {self.name!r} must return the state in the "
                f"structure that it began with: {tree}. Received: {new_tree}"
            )
        for variable, value in zip(variables, values, strict=True):
            if _is_variable(variable):
                variable.assign(value)

    def get_config(self):
        config = super().get_config()
        for name in ("params", "state", "seed"):
            config.pop(name, None)
        config["call_fn"] = serialize_keras_object(self.call_fn)
        config["init_fn"] = serialize_keras_object(self.init_fn)
        return config


class FlaxLayer(JaxLayer):
    """A `flax.linen.Module` as a layer.

    The collection `"params"` is trained; all other collections are state that the
    module changes. In training the module gets a key for `"dropout"`.

    Args:
        module: the module.
        method: the method that computes: one of the module's, or a function that
            takes the module first. It takes one argument with the inputs, and may
            take `training`. `__call__` when None.
        variables: weights to begin with, as `module.init` gives them.

    Flax must be installed; nothing else here needs it.

    >>> import flax, lamina, numpy as np  # doctest: +SKIP
    >>> layer = lamina.layers.FlaxLayer(flax.linen.Dense(3))  # doctest: +SKIP
    >>> layer(np.ones((2, 4))).shape  # doctest: +SKIP
    (2, 3)
    """

    module: Any
    method: Any

    def __init__(
        self, module: Any, method: Any = None, variables: Any = None, **kwargs
    ):
        if not hasattr(module, "apply"):
            raise ValueError(
                "`FlaxLayer` expected `module` to be a `flax.linen.Module`. "
                f"Received: module={module!r}"
            )
        self.module = module
        self.method = method
        takes = inspect.signature(method or module.__call__).parameters
        trains = "training" in takes
        params, state = _parted(variables)
        super().__init__(
            call_fn=self._apply if trains else self._apply_untrained,
            init_fn=self._init if trains else self._init_untrained,
            params=params,
            state=state,
            **kwargs,
        )

    def _apply(self, params, state, rng, inputs, training):
        return self._applied(params, state, rng, inputs, training=training)

    def _apply_untrained(self, params, state, rng, inputs):
        return self._applied(params, state, rng, inputs)

    def _applied(self, params, state, rng, inputs, **more):
        from flax.linen import DenyList  # pyright: ignore[reportMissingImports]

        return self.module.apply(
            {**(params or {}), **(state or {})},
            inputs,
            rngs=rng,
            method=self.method,
            mutable=DenyList(["params"]),
            **more,
        )

    def _init(self, rng, inputs, training):
        made = self.module.init(rng, inputs, method=self.method, training=training)
        return _parted(made)

    def _init_untrained(self, rng, inputs):
        return _parted(self.module.init(rng, inputs, method=self.method))

    def _get_init_rng(self):
        return {"params": self._get_init_seed(), "dropout": self._get_init_seed()}

    def _get_call_rng(self, training):
        return {"dropout": self._get_call_seed()} if training else {}

    def get_config(self):
        config = super().get_config()
        del config["call_fn"], config["init_fn"]
        config.pop("variables", None)
        method = self.method
        if getattr(method, "__self__", None) == self.module:
            method = method.__name__
        config["module"] = serialize_keras_object(self.module)
        config["method"] = serialize_keras_object(method)
        return config

    @classmethod
    def from_config(cls, config):
        """Make a layer from what `get_config` returned.

        Raises:
            ValueError: the module has no public method of the name in the config.
        """
        module = deserialize_keras_object(config["module"])
        method = deserialize_keras_object(config["method"])
        if isinstance(method, str):
            name = method
            method = getattr(module, name, None)
            if not callable(method) or (name[0] == "_" and name != "__call__"):
                raise ValueError(
                    f"The config of a `FlaxLayer` names the method {name!r}, which "
                    f"`{type(module).__name__}` does not have among its public ones."
                )
        return super().from_config({**config, "module": module, "method": method})


def _arguments(function, what, allowed):
    """Return the names of a function's arguments, in order.

    Raises:
        ValueError: one that is not allowed, or `inputs` is missing.
    """
    if function is None:
        return ()
    names = tuple(inspect.signature(function).parameters)
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise ValueError(
            f"`JaxLayer` expected `{what}` to take arguments of the names {allowed}. "
            f"Received: `{unknown[0]}`"
        )
    if "inputs" not in names:
        raise ValueError(
            f"`JaxLayer` expected `{what}` to take `inputs`. Received: a function of "
            f"{names}"
        )
    return names


def _is_variable(x):
    return isinstance(x, Variable)


def _values(tree):
    """Return a pytree with the values of its Variables."""
    return jax.tree.map(
        lambda x: x.value if _is_variable(x) else x, tree, is_leaf=_is_variable
    )


def _parted(variables):
    """Part a module's variables into those that are trained and all others."""
    if variables is None:
        return None, None
    trained = {k: v for k, v in variables.items() if k == "params"}
    return trained, {k: v for k, v in variables.items() if k != "params"}
