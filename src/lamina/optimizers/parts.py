"""What optimizers do around their update rule, each a part of its own.

`Optimizer.apply` is their composition: it says what is done to which Variables, and
each part does it to those that it is given.
"""

import functools

import jax
import jax.numpy as jnp
from jax.core import Tracer

from lamina.core.row_gradients import RowGradient
from lamina.core.variable import binding, pure

# ---- the scale of the loss ------------------------------------------------------


def unscale(grads, factor):
    """Return the gradients of a loss that was multiplied by a factor; None for not."""
    return grads if factor is None else [g / factor for g in grads]


# ---- clipping -------------------------------------------------------------------


def check_clipping(owner, **bounds) -> None:
    """Refuse more than one bound."""
    if sum(bound is not None for bound in bounds.values()) > 1:
        raise ValueError(
            "Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be "
            f"given to `{owner}`. Received: {bounds}"
        )


def clip(grads, norm=None, global_norm=None, value=None):
    """Return gradients within a bound.

    Args:
        grads: the gradients.
        norm: the greatest norm of one.
        global_norm: the greatest norm of all together.
        value: the greatest magnitude of an entry.
    """
    if norm:
        norms = [jnp.sqrt(_squares(g)) for g in grads]
        pairs = zip(grads, norms, strict=True)
        return [g * norm / jnp.maximum(n, norm) for g, n in pairs]
    if global_norm:
        whole = jnp.sqrt(sum(map(_squares, grads)))
        # A norm that is not finite spoils every gradient, so that it is seen.
        least = jnp.minimum(1.0 / whole, 1.0 / global_norm)
        scale = global_norm * least + (whole - whole)
        return [g * scale for g in grads]
    return [jnp.clip(g, -value, value) for g in grads] if value else grads


def _squares(x):
    return jnp.sum(jnp.square(x))


# ---- weight decay ---------------------------------------------------------------


def decay(variables, amount, rate) -> None:
    """Take a part of each Variable away, in proportion to the learning rate.

    Args:
        variables: the Variables.
        amount: a function from a Variable to the part; None for a whole one.
        rate: a function from a dtype to the learning rate in it.
    """
    for variable in variables:
        if (part := amount(variable)) is not None:
            part = jnp.asarray(part, variable.dtype)
            variable.assign(variable - variable * part * rate(variable.dtype))


# ---- the average of the weights -------------------------------------------------


def check_averaging(owner, momentum, frequency) -> None:
    """Check the arguments of the moving average."""
    if not 0 <= momentum <= 1:
        raise ValueError(
            f"`{owner}` expected `ema_momentum` to be from 0 to 1. "
            f"Received: ema_momentum={momentum}"
        )
    if frequency and (not isinstance(frequency, int) or frequency < 1):
        raise ValueError(
            f"`{owner}` expected `ema_overwrite_frequency` to be a positive integer or "
            f"None. Received: ema_overwrite_frequency={frequency}"
        )


def average(pairs, step, momentum, frequency) -> None:
    """Take the weights into their averages; now and then, replace them by these.

    Args:
        pairs: the Variables, each with its average.
        step: how many steps were made before this one.
        momentum: how much of an average stays.
        frequency: after how many steps the averages replace the weights, or None.
    """
    # The first average is the weight itself.
    momentum = jnp.where(step == 0, 0.0, momentum)
    for variable, mean in pairs:
        m = momentum.astype(variable.dtype)
        mean.assign(m * mean + (1 - m) * variable)
    if frequency:
        now = (step + 1) % frequency == 0
        for variable, mean in pairs:
            variable.assign(jnp.where(now, mean.raw_value, variable.raw_value))


def averages_of(optimizer) -> list:
    """Return the running averages that an optimizer keeps; [] for none."""
    return getattr(optimizer, "_model_variables_moving_average", [])


# ---- accumulation of gradients --------------------------------------------------


def check_accumulation(owner, steps) -> None:
    """Check how many gradients make a step."""
    if steps and steps < 2:
        raise ValueError(
            f"`{owner}` expected `gradient_accumulation_steps` to be an integer >= "
            f"2. Received: gradient_accumulation_steps={steps}"
        )


def accumulate(grads, totals, count, is_last, step, changed) -> None:
    """Add gradients up, and make the step with their mean.

    Args:
        grads: the gradients.
        totals: a Variable for the sum of each.
        count: how many of them make a step.
        is_last: whether these are the last of them.
        step: a function of the means.
        changed: the Variables that it may assign, and `totals`.
    """

    def last():
        sums = [g + t.raw_value for g, t in zip(grads, totals, strict=True)]
        step([s / count for s in sums])
        for total in totals:
            total.assign(jnp.zeros(total.shape, total.dtype))

    def more():
        for gradient, total in zip(grads, totals, strict=True):
            total.assign_add(gradient)

    choose(is_last, last, more, changed)


def choose(condition, on_true, on_false, variables) -> None:
    """Run one of two functions for its effects on `variables`.

    Args:
        condition: a boolean, which may be traced.
        on_true: a function without arguments.
        on_false: likewise.
        variables: the Variables that either may assign.
    """
    if not isinstance(condition, Tracer):
        return on_true() if condition else on_false()
    values = tuple(v.raw_value for v in variables)
    branches = [lambda x, f=f: pure(f, variables)(x)[1] for f in (on_true, on_false)]
    new = jax.lax.cond(condition, *branches, values)
    for variable, value in zip(variables, new, strict=True):
        variable.assign(value)
    return None


# ---- gradients that are values --------------------------------------------------


def takes_gradient(variable) -> bool:
    """Tell whether a Variable takes its gradient as its value."""
    return getattr(variable, "overwrite_with_gradient", False)


def overwrite(variable, gradient, total=None, is_last=True) -> None:
    """Put a gradient in place of a value; of accumulated ones, the largest."""
    if total is not None:
        largest = jnp.maximum(gradient, total.raw_value)
        gradient = jnp.where(is_last, largest, variable.raw_value)
        total.assign(jnp.where(is_last, jnp.zeros_like(largest), largest))
    variable.assign(gradient)


# ---- constraints ----------------------------------------------------------------


def constrain(variables) -> None:
    """Bring each Variable that has a constraint back to it."""
    for variable in variables:
        if variable.constraint is not None:
            variable.assign(variable.constraint(variable.raw_value))


# ---- gradients by row ------------------------------------------------------------


def as_array(gradient):
    """Return a gradient as an array, or by row."""
    return gradient if isinstance(gradient, RowGradient) else jnp.asarray(gradient)


def step_by_row(optimizer, pairs) -> None:
    """Make a step of which some gradients are by row, and change these rows alone.

    The tables, and what the optimizer keeps for each of their numbers, hold those rows
    meanwhile, so that all else is done as for any other Variable.

    Raises:
        ValueError: the optimizer does something that reaches all rows.
    """
    check_by_row(optimizer, [v for g, v in pairs if isinstance(g, RowGradient)])
    places, grads = {}, []
    for gradient, variable in pairs:
        if isinstance(gradient, RowGradient):
            gradient = gradient.summed(len(variable))
            slots = [v for v in optimizer.variables if v.follows is variable]
            places |= dict.fromkeys((variable, *slots), gradient.indices)
            gradient = gradient.values
        grads.append(gradient)
    variables = [variable for _, variable in pairs]
    held = tuple(dict.fromkeys([*variables, *optimizer.variables]))
    whole = [v.raw_value for v in held]
    values = [
        w.at[places[v]].get(mode="clip") if v in places else w
        for v, w in zip(held, whole, strict=True)
    ]
    with binding(held, values) as frame:
        optimizer._apply(list(zip(grads, variables, strict=True)))
    for variable, before, new in zip(held, whole, frame.current(), strict=True):
        if variable in places:
            rows = before.at[places[variable]]
            new = rows.set(new, mode="drop", indices_are_sorted=True)
        variable.assign(new)


def check_by_row(optimizer, tables) -> None:
    """Refuse what would reach rows that have no gradient."""
    owner = type(optimizer).__name__
    # Said by the class that has the rule: a subclass with its own says it anew.
    classes = map(vars, type(optimizer).__mro__)
    rule = next(names for names in classes if "update_step" in names)
    decayed = any(optimizer._decay_if_used(v) is not None for v in tables)
    reasons = {
        "has a rule for whole Variables (one that changes each row alone says "
        "`takes_rows = True`)": not rule.get("takes_rows"),
        "has `weight_decay`, which makes all rows smaller: call "
        '`optimizer.exclude_from_weight_decay(var_names=["embeddings"])`': decayed,
        "has `use_ema`, which averages all rows": optimizer.use_ema,
        "has `gradient_accumulation_steps`, which adds all rows up": (
            optimizer.gradient_accumulation_steps
        ),
        "is to project the table with a constraint": any(v.constraint for v in tables),
    }
    for reason, holds in reasons.items():
        if holds:
            raise ValueError(
                f"`sparse=True` changes the rows of {tables[0].path!r} that a batch "
                f"looks up, and no others. `{owner}` {reason}. Otherwise leave "
                "`sparse=True` out, or choose another optimizer, such as `Adam`."
            )


# ---- what all Variables have in common ------------------------------------------


def once_a_step(method):
    """Compute a method of a learning rate and a dtype once in each step."""

    @functools.wraps(method)
    def once(self, learning_rate, dtype):
        known = {} if self._once_per_step is None else self._once_per_step
        key = method.__name__, dtype
        if key not in known:
            known[key] = method(self, learning_rate, dtype)
        return known[key]

    return once
