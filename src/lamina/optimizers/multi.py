"""Several optimizers, each for some of the Variables."""

from collections.abc import MutableMapping
from typing import Any

from lamina.core import patterns
from lamina.core.config import Constructed, deserialize_keras_object
from lamina.optimizers.loss_scale import LossScaleOptimizer
from lamina.optimizers.optimizer import Optimizer


class OptimizerMap(Constructed, MutableMapping):
    """Optimizers by regular expression on the paths of Variables.

    Args:
        default_optimizer: for Variables whose path no expression matches in full.
        optimizer_map: a dict from expressions to optimizers.

    Raises:
        TypeError: `default_optimizer` is not an optimizer, or `optimizer_map` is not
            a dict.
        ValueError: a key that is there already, a value that is not an optimizer or
            itself combines others, or a path that two expressions match.

    >>> import lamina
    >>> from lamina.optimizers import SGD, Adam
    >>> optimizers = lamina.optimizers.OptimizerMap(Adam(name="adam"))
    >>> optimizers[".*bias"] = SGD(name="sgd")
    >>> optimizers["dense/bias"].name, optimizers["dense/kernel"].name
    ('sgd', 'adam')
    """

    _saved_from = {"optimizer_map": "_optimizer_map"}

    def __init__(self, default_optimizer: Any, optimizer_map: Any = None):
        if not isinstance(default_optimizer, Optimizer):
            raise TypeError(
                "`OptimizerMap` expected `default_optimizer` to be an Optimizer. "
                f"Received: default_optimizer={default_optimizer!r}"
            )
        if optimizer_map is not None and not isinstance(optimizer_map, dict):
            raise TypeError(
                "`OptimizerMap` expected `optimizer_map` to be a dict. "
                f"Received: optimizer_map={optimizer_map!r}"
            )
        patterns.check(optimizer_map or ())
        self._default_optimizer = default_optimizer
        self._optimizer_map = optimizer_map or {}

    @property
    def default_optimizer(self):
        """The optimizer for Variables that no expression matches."""
        return self._default_optimizer

    def __getitem__(self, key):
        if key in self._optimizer_map:
            return self._optimizer_map[key]
        found = [p for p in self._optimizer_map if patterns.fullmatch(p, key)]
        if len(found) > 1:
            raise ValueError(f"Several expressions match the path {key!r}: {found}")
        return self._optimizer_map[found[0]] if found else self._default_optimizer

    def __setitem__(self, key, optimizer):
        if key in self._optimizer_map:
            raise ValueError(f"{key!r} already exists in the OptimizerMap.")
        if not isinstance(key, str):
            raise ValueError(f"A key must be a string. Received: key={key!r}")
        _check_single(optimizer)
        self._optimizer_map[key] = optimizer

    def __len__(self):
        return len(self._optimizer_map)

    def __call__(self, variable):
        """Return the optimizer for a Variable."""
        return self[variable.path]

    def __iter__(self):
        return iter(self._optimizer_map)

    def __delitem__(self, key):
        del self._optimizer_map[key]

    @classmethod
    def from_config(cls, config: dict, custom_objects=None):
        """Make a map from what `get_config` returned."""
        inner = (config["default_optimizer"], config["optimizer_map"])
        return cls(*(deserialize_keras_object(c, custom_objects) for c in inner))


def _check_single(optimizer):
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"Expected an Optimizer instance. Received: {optimizer!r}")
    for kind in (LossScaleOptimizer, MultiOptimizer):
        if isinstance(optimizer, kind):
            raise ValueError(
                f"An inner optimizer cannot be {kind.__name__}: {kind.__name__} cannot "
                "be used inside an MultiOptimizer. Put it around the whole, or choose "
                "among simple optimizers."
            )


class MultiOptimizer(Optimizer):
    """Hand each Variable to one of several optimizers.

    Args:
        optimizer_map: an `OptimizerMap`, or a function from a Variable to an
            optimizer.
        loss_scale_factor: the factor for all of them.
        name: its name.

    Raises:
        ValueError: the map gives no optimizer, or one that itself combines others.

    >>> import lamina
    >>> optimizers = lamina.optimizers.OptimizerMap(
    ...     lamina.optimizers.Adam(), {".*bias": lamina.optimizers.SGD()})
    >>> len(lamina.optimizers.MultiOptimizer(optimizers).optimizers)
    2
    """

    _owns = Optimizer
    _owned_lists = ("_variables", "_optimizers")
    _saved_first = ()
    _saved_from = OptimizerMap._saved_from

    def __init__(
        self,
        optimizer_map: Any,
        loss_scale_factor: float | None = None,
        name: str | None = None,
    ):
        super().__init__(0.0, loss_scale_factor=loss_scale_factor, name=name)
        self._optimizer_map = optimizer_map
        self._optimizers = []
        known = list(getattr(optimizer_map, "values", list)())
        known.append(getattr(optimizer_map, "default_optimizer", None))
        for optimizer in known:
            if optimizer is not None:
                self._add(optimizer)

    def _add(self, optimizer):
        if optimizer not in self._optimizers:
            optimizer.loss_scale_factor = self.loss_scale_factor
            self._optimizers.append(optimizer)

    def build(self, var_list) -> None:
        """Choose an optimizer for each Variable and build them."""
        if self.built:
            return
        var_list = list(var_list)
        self._chosen = {}
        for variable in var_list:
            optimizer = self._optimizer_map(variable)
            _check_single(optimizer)
            self._add(optimizer)
            self._chosen[variable] = optimizer
        for optimizer in self._optimizers:
            own = [v for v in var_list if self._chosen[v] is optimizer]
            if own:
                optimizer.build(own)
        super().build(var_list)

    @property
    def optimizers(self) -> list:
        """The optimizers it hands Variables to."""
        return self._optimizers

    @property
    def learning_rate(self):
        """Not to be had: ask one of `optimizers`."""
        raise AttributeError(
            "A MultiOptimizer has no learning rate of its own. Use those of its "
            "`optimizers`."
        )

    @learning_rate.setter
    def learning_rate(self, value):
        raise AttributeError(
            "A MultiOptimizer has no learning rate of its own. Set those of its "
            "`optimizers`."
        )

    @property
    def loss_scale_factor(self):
        """The factor that the loss is multiplied by, for all optimizers."""
        return self._loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value):
        self._loss_scale_factor = value
        for optimizer in getattr(self, "_optimizers", ()):
            optimizer.loss_scale_factor = value

    def apply(self, grads, trainable_variables=None) -> None:
        """Make one step with each optimizer."""
        if len(grads) == 0:
            return
        pairs = self._pairs(grads, trainable_variables)
        for optimizer in self._optimizers:
            own = [pair for pair in pairs if self._chosen[pair[1]] is optimizer]
            if own:
                optimizer.apply(*(list(x) for x in zip(*own, strict=True)))
        self._iterations.assign_add(1)

    def finalize_variable_values(self, var_list) -> None:
        """Let each optimizer put its averages into its Variables."""
        for optimizer in self._optimizers:
            own = [v for v in var_list if self._chosen[v] is optimizer]
            if own:
                optimizer.finalize_variable_values(own)

    @classmethod
    def from_config(cls, config: dict, custom_objects=None):
        """Make an optimizer from what `get_config` returned."""
        chosen = deserialize_keras_object(config["optimizer_map"], custom_objects)
        return cls(**{**config, "optimizer_map": chosen})
