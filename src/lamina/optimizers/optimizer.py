"""The base of all optimizers: it owns Variables and applies a step to others."""

import functools
import re
from typing import Any, TypedDict

import jax.numpy as jnp
import numpy as np

from lamina import initializers
from lamina.core.arguments import SharedArguments
from lamina.core.config import (
    Constructed,
    deserialize_keras_object,
)
from lamina.core.constructor import all_parameters, parameters_of
from lamina.core.naming import automatic_name, nearest, snake_case
from lamina.core.owner import Owner
from lamina.core.placement import own_layout
from lamina.core.row_gradients import RowGradient
from lamina.core.settings import floatx
from lamina.core.tracebacks import warn
from lamina.core.types import Rate
from lamina.core.variable import Variable, pure
from lamina.optimizers import parts
from lamina.optimizers.parts import once_a_step, takes_gradient
from lamina.optimizers.schedules import LearningRateSchedule


class Undecayed(TypedDict, total=False):
    """What type checkers know of the arguments that optimizers share."""

    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    name: str | None


class Decayed(Undecayed, total=False):
    """Those and the decay of weights, where an optimizer has none of its own."""

    weight_decay: float | None


def trained_by(optimizer) -> list | None:
    """Return the Variables that an optimizer was built for; None if it was not."""
    return getattr(optimizer, "_trainable_variables", None)


class Optimizer(Constructed, Owner):
    """Change Variables against their gradients.

    A subclass makes its own Variables in `build(variables)` and writes one formula
    in `update_step(gradient, variable, learning_rate)`.

    Args:
        learning_rate: a float, a `LearningRateSchedule`, or a function without
            arguments.
        weight_decay: the part of each weight, times the learning rate, that is
            taken away before a step.
        clipnorm: the greatest norm of one gradient.
        clipvalue: the greatest magnitude of one entry of a gradient.
        global_clipnorm: the greatest norm of all gradients together.
        use_ema: whether to keep a moving average of the weights.
        ema_momentum: how much of the average stays at each step.
        ema_overwrite_frequency: after how many steps the average replaces the
            weights; None for only at the end of training.
        loss_scale_factor: what `scale_loss` multiplies by, and gradients are
            divided by.
        gradient_accumulation_steps: how many gradients are averaged for one step.
        name: the first part of the paths of its Variables.

    Raises:
        ValueError: an argument out of range, more than one kind of clipping, or
            an unknown argument.

    >>> import lamina
    >>> class SignDescent(lamina.optimizers.Optimizer):
    ...     def update_step(self, gradient, variable, learning_rate):
    ...         self.assign_sub(variable, learning_rate * lamina.ops.sign(gradient))
    >>> w = lamina.Variable([1.0, 2.0])
    >>> SignDescent(0.5).apply([lamina.ops.array([3.0, -4.0])], [w])
    >>> w.numpy().tolist()
    [0.5, 2.5]
    """

    # Other lists hold Variables of a model.
    _owned_lists = ("_variables",)
    _saved_from = {"learning_rate": "_given_rate"}
    _may_forget = True
    # Whether its rule changes each row of a table by that row and its gradient alone,
    # so that `Embedding(sparse=True)` may hand it some rows. Said beside the rule.
    takes_rows = False

    def __init__(
        self,
        learning_rate: Rate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs,
    ):
        self._variables = []
        owner = type(self).__name__
        if kwargs.pop("decay", None) is not None:
            warn(
                f"`{owner}` ignores `decay`. Pass a schedule of "
                "`lamina.optimizers.schedules` as `learning_rate`."
            )
        if kwargs:
            near = nearest(next(iter(kwargs)), all_parameters(type(self)))
            raise ValueError(
                f"`{owner}` got unknown arguments: {sorted(kwargs)}.{near}"
            )
        self.name = automatic_name(snake_case(owner)) if name is None else name
        self.weight_decay, self.loss_scale_factor = weight_decay, loss_scale_factor
        self.clipnorm, self.clipvalue = clipnorm, clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema, self.ema_momentum = use_ema, ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.gradient_accumulation_steps = gradient_accumulation_steps
        parts.check_clipping(
            owner,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
        )
        parts.check_accumulation(owner, gradient_accumulation_steps)
        if use_ema:
            parts.check_averaging(owner, ema_momentum, ema_overwrite_frequency)
        self.built = False
        self._trainable_variables = []
        self._trainable_variables_indices = {}
        self._undecayed = set()
        self._undecayed_names = None
        self._once_per_step = None
        self._iterations: Any = self._scalar(0, "iteration", "int32")
        if callable(learning_rate):
            self._learning_rate = learning_rate
        elif _is_number(learning_rate):
            self._learning_rate = self._scalar(learning_rate, "learning_rate", floatx())
        else:
            raise ValueError(
                f"`{owner}` expected `learning_rate` to be a float, a "
                "`LearningRateSchedule` or a function without arguments. "
                f"Received: learning_rate={learning_rate!r}"
            )

    def _scalar(self, value, name, dtype):
        return self._make_own_variable(
            (self.name,),
            value,
            dtype=dtype,
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    def __setattr__(self, name, value):
        if "_variables" not in self.__dict__ and name != "_variables":
            self._check_constructed()
        super().__setattr__(name, value)

    @property
    def iterations(self) -> Any:
        """How many steps were made; accumulated gradients count as one."""
        if self.gradient_accumulation_steps:
            return self._iterations // self.gradient_accumulation_steps
        return self._iterations

    @property
    def learning_rate(self) -> Any:
        """The learning rate at this step; assign a number or a schedule to it.

        Raises:
            TypeError: a number is assigned where there is a schedule.
        """
        rate = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            return rate(self._iterations)
        return rate if isinstance(rate, Variable) else rate()

    @property
    def _given_rate(self):
        rate = self._learning_rate
        return float(rate.numpy()) if isinstance(rate, Variable) else rate

    @learning_rate.setter
    def learning_rate(self, value):
        before = self._learning_rate
        if callable(value):
            self._learning_rate = value
            self._untrack_variable(before)
        elif isinstance(before, Variable):
            before.assign(value)
        else:
            raise TypeError(
                "This optimizer was created with a `LearningRateSchedule` or another "
                "function as its `learning_rate`, which a number cannot replace. Make "
                f"`{self.name}` with a float if you want to set the learning rate."
            )

    def build(self, variables) -> None:
        """Make the Variables that belong to the given ones.

        Args:
            variables: the Variables that it will change.
        """
        variables = list(variables)
        if self.use_ema:
            self._model_variables_moving_average = self.add_optimizer_variables(
                variables, "average"
            )
        if self.gradient_accumulation_steps:
            self._accumulated_gradients = [
                self.add_variable_from_reference(v, "gradient_accumulator")
                for v in variables
            ]
        self._trainable_variables = variables
        self._trainable_variables_indices = {v: i for i, v in enumerate(variables)}
        self.built = True

    def _get_variable_index(self, variable):
        return self._trainable_variables_indices[variable]

    def add_variable(
        self,
        shape,
        initializer: Any = "zeros",
        dtype=None,
        aggregation="none",
        layout=None,
        name=None,
    ) -> Any:
        """Make a Variable of the optimizer and return it."""
        self._check_constructed()
        return self._make_own_variable(
            (self.name,),
            initializers.get(initializer),
            shape,
            dtype,
            trainable=False,
            aggregation=aggregation,
            layout=layout,
            name=name,
        )

    def add_variable_from_reference(
        self, reference_variable, name=None, initializer: Any = "zeros"
    ) -> Any:
        """Make a Variable of the shape and dtype of another, and return it."""
        prefix = reference_variable.path.replace("/", "_")
        slot = self.add_variable(
            reference_variable.shape,
            initializer,
            dtype=reference_variable.dtype,
            layout=own_layout(reference_variable),
            name=f"{prefix}_{name or 'var'}",
        )
        slot.follows = reference_variable
        return slot

    def add_optimizer_variables(
        self, trainable_variables, name, initializer: Any = "zeros"
    ) -> Any:
        """Make one or several Variables for each of the given ones.

        Args:
            trainable_variables: the Variables to follow.
            name: the end of the new names, or a list of such.
            initializer: an initializer for all, or a list as long as `name`.

        Returns:
            A list with a Variable for each given one, None for those that take
            their gradient as value; for a list of names, a tuple of such lists.

        Raises:
            ValueError: the lists of names and initializers differ in length.
        """
        names = [name] if isinstance(name, str) else list(name)
        several = isinstance(initializer, (list, tuple))
        starts = list(initializer) if several else [initializer] * len(names)
        if len(names) != len(starts):
            raise ValueError(
                "`add_optimizer_variables` expected as many initializers as names. "
                f"Received: name={name}, initializer={initializer}"
            )
        made = tuple([] for _ in names)
        for variable in trainable_variables:
            for slots, end, start in zip(made, names, starts, strict=True):
                slots.append(
                    None
                    if takes_gradient(variable)
                    else self.add_variable_from_reference(variable, end, start)
                )
        return made[0] if isinstance(name, str) else made

    def assign(self, variable, value) -> None:
        """Put a value into a Variable."""
        variable.assign(value)

    def assign_add(self, variable, value) -> None:
        """Add a value to a Variable."""
        variable.assign_add(value)

    def assign_sub(self, variable, value) -> None:
        """Subtract a value from a Variable."""
        variable.assign_sub(value)

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Change one Variable; subclasses write this."""
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement "
            "`update_step(gradient, variable, learning_rate)`."
        )

    def apply_gradients(self, grads_and_vars):
        """Make one step, given pairs of a gradient and its Variable."""
        grads, variables = zip(*grads_and_vars, strict=True)
        self.apply(grads, variables)
        return self._iterations

    def apply(self, grads, trainable_variables=None) -> None:
        """Make one step.

        Args:
            grads: a gradient for each Variable; None for one without.
            trainable_variables: the Variables; those of `build` when None.

        Raises:
            ValueError: not built and no Variables, a Variable it was not built
                for, another number of gradients, or none at all.
        """
        if len(grads) == 0:
            return
        pairs = self._pairs(grads, trainable_variables)
        if any(isinstance(gradient, RowGradient) for gradient, _ in pairs):
            parts.step_by_row(self, pairs)
        else:
            self._apply(pairs)

    def _apply(self, pairs):
        count = self.gradient_accumulation_steps
        is_last = not count or (self._iterations + 1) % count == 0
        for gradient, variable in pairs:
            if takes_gradient(variable):
                total = self._total_of(variable) if count else None
                parts.overwrite(variable, gradient, total, is_last)
        pairs = [pair for pair in pairs if not takes_gradient(pair[1])]
        if pairs:
            grads, variables = map(list, zip(*pairs, strict=True))
            grads = parts.unscale(grads, self.loss_scale_factor)
            if count:
                totals = list(map(self._total_of, variables))
                changed = [*variables, *self.variables]
                step = functools.partial(self._step, variables=variables)
                parts.accumulate(grads, totals, count, is_last, step, changed)
            else:
                self._step(grads, variables)
            if self.use_ema:
                kept = self._averaged(self._trainable_variables)
                momentum, frequency = self.ema_momentum, self.ema_overwrite_frequency
                parts.average(kept, self.iterations, momentum, frequency)
            parts.constrain(variables)
        self._iterations.assign_add(1)

    def _total_of(self, variable):
        """Return the sum of a Variable's gradients since the last step."""
        return self._accumulated_gradients[self._get_variable_index(variable)]

    def _averaged(self, variables):
        """Return the Variables that have an average, each with it."""
        kept = self._model_variables_moving_average
        if len(variables) != len(kept):
            raise ValueError(
                f"`finalize_variable_values` expected {len(kept)} variables, those the "
                f"optimizer was built for. Received: {len(variables)}"
            )
        return [(v, a) for v, a in zip(variables, kept, strict=True) if a is not None]

    def _pairs(self, grads, variables):
        if variables is None:
            if not self.built:
                raise ValueError(
                    "`apply` without variables needs an optimizer that is built. Call "
                    "`optimizer.build(trainable_variables)` first."
                )
            variables = self._trainable_variables
        else:
            variables = list(variables)
            if not self.built:
                self.build(variables)
                self.built = True
            for variable in variables:
                if variable not in self._trainable_variables_indices:
                    raise ValueError(
                        f"Unknown variable {variable.path!r}: the optimizer was built "
                        "for others. Make a new optimizer for new variables."
                    )
        if len(grads) != len(variables):
            raise ValueError(
                "`apply` expected one gradient for each variable. "
                f"Received: {len(grads)} gradients for {len(variables)} variables"
            )
        pairs = zip(grads, variables, strict=True)
        pairs = [(parts.as_array(g), v) for g, v in pairs if g is not None]
        if not pairs:
            raise ValueError("No gradients provided for any variable.")
        if len(pairs) < len(variables):
            lost = [v.path for g, v in zip(grads, variables, strict=True) if g is None]
            warn(
                f"There are no gradients for the variables {lost}. Does the loss "
                "depend on them?"
            )
        return pairs

    def _step(self, grads, variables):
        self._once_per_step = {}
        try:
            self._apply_weight_decay(variables)
            self._backend_update_step(
                self._clip_gradients(grads), variables, self.learning_rate
            )
        finally:
            self._once_per_step = None

    # The name that subclasses know from Keras: they update all Variables at once.
    def _backend_update_step(self, grads, variables, learning_rate):
        for gradient, variable in zip(grads, variables, strict=True):
            self.update_step(gradient, variable, learning_rate)

    def _get_current_learning_rate(self):
        return self.learning_rate

    @once_a_step
    def _cast_rate(self, learning_rate, dtype):
        return jnp.asarray(learning_rate, dtype)

    def _clip_gradients(self, grads):
        return parts.clip(grads, self.clipnorm, self.global_clipnorm, self.clipvalue)

    def exclude_from_weight_decay(self, var_list=None, var_names=None) -> None:
        """Say which Variables do not decay.

        Args:
            var_list: the Variables.
            var_names: regular expressions; a Variable is meant when one is found in
                its name.

        Raises:
            ValueError: the optimizer is built.

        >>> import lamina
        >>> optimizer = lamina.optimizers.AdamW()
        >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
        """
        if self.built:
            raise ValueError(
                f"`{type(self).__name__}.exclude_from_weight_decay()` must be called "
                "before the optimizer is built: before `build`, `fit` or the first "
                "`apply`."
            )
        self._undecayed = set(var_list or ())
        names = sorted(set(var_names or ()))
        self._undecayed_names = re.compile("|".join(names)) if names else None

    def _use_weight_decay(self, variable):
        pattern = self._undecayed_names
        named = pattern is not None and pattern.search(variable.name)
        return not named and variable not in self._undecayed

    def _decay_of(self, variable):
        return self.weight_decay

    def _decay_if_used(self, variable):
        return self._decay_of(variable) if self._use_weight_decay(variable) else None

    def _apply_weight_decay(self, variables):
        def rate(dtype):
            return self._cast_rate(self.learning_rate, dtype)

        parts.decay(variables, self._decay_if_used, rate)

    def finalize_variable_values(self, var_list) -> None:
        """Put the moving averages into the Variables, if there are any.

        Raises:
            ValueError: as many Variables as it was built for are not given.
        """
        if self.use_ema:
            for variable, average in self._averaged(var_list):
                variable.assign(average)

    def stateless_apply(self, optimizer_variables, grads, trainable_variables):
        """Make one step on values, and leave the Variables as they are.

        Args:
            optimizer_variables: values for `variables`.
            grads: a gradient for each of the Variables that it was built for.
            trainable_variables: values for these.

        Returns:
            The new values of the trainable Variables and of the optimizer's.

        Raises:
            ValueError: not built, or another number of values.

        >>> import lamina
        >>> w = lamina.Variable([1.0])
        >>> sgd = lamina.optimizers.SGD(0.5)
        >>> sgd.build([w])
        >>> (new,), state = sgd.stateless_apply(
        ...     [v.value for v in sgd.variables], [w.value], [w.value])
        >>> float(new[0]), float(w[0])
        (0.5, 1.0)
        """
        if not self.built:
            raise ValueError(
                "`stateless_apply` needs an optimizer that is built. Call "
                "`optimizer.build(trainable_variables)` first."
            )
        own, others = self.variables, self._trainable_variables
        for argument, given, wanted in (
            ("optimizer_variables", optimizer_variables, own),
            ("trainable_variables", trainable_variables, others),
        ):
            if len(given) != len(wanted):
                raise ValueError(
                    f"`stateless_apply` expected {len(wanted)} values as `{argument}`. "
                    f"Received: {len(given)}"
                )
        values = tuple(map(jnp.asarray, (*optimizer_variables, *trainable_variables)))
        _, new = pure(lambda: self.apply(grads), [*own, *others])(values)
        return list(new[len(own) :]), list(new[: len(own)])

    def scale_loss(self, loss):
        """Return the loss times `loss_scale_factor`, if there is one."""
        if self.loss_scale_factor is None:
            return loss
        return loss * self.loss_scale_factor

    def set_weights(self, weights) -> None:
        """Put values into its Variables, in their order.

        Raises:
            ValueError: not built, or a value of another shape.
        """
        if not self.built:
            raise ValueError(
                "You are calling `set_weights` of an optimizer that is not built. Call "
                "`optimizer.build(trainable_variables)` first."
            )
        for variable, weight in zip(self.variables, weights, strict=False):
            variable.assign(weight)

    def save_own_variables(self, store) -> None:
        """Write its Variables into a dict-like store."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store) -> None:
        """Read its Variables from a dict-like store."""
        count = len(store.keys())
        if count != len(self.variables):
            if count and int(np.asarray(store["0"])) == 0:
                return  # it was saved before its first step: there is no state yet
            warn(
                f"The optimizer {self.name!r} keeps its own state: it has "
                f"{len(self.variables)} variables and the saved one {count}."
            )
            return
        for i, variable in enumerate(self.variables):
            variable.assign(store[str(i)])

    @classmethod
    def from_config(cls, config: dict, custom_objects=None):
        """Make an optimizer from what `get_config` returned."""
        config = dict(config)
        if isinstance(config.get("learning_rate"), dict):
            config["learning_rate"] = deserialize_keras_object(
                config["learning_rate"], custom_objects=custom_objects
            )
        return cls(**config)


Optimizer._saved_first = ("name", *parameters_of(Optimizer)[:-1])
# What the constructors of all optimizers share.
Optimizer._arguments = shared = SharedArguments(Optimizer)


def _is_number(x):
    if isinstance(x, (bool, str)) or x is None:
        return False
    return isinstance(x, (int, float, np.number)) or getattr(x, "shape", None) == ()
