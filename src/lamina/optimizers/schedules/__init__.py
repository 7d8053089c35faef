"""Learning rates that depend on the step."""

import math as _math
from collections.abc import Sequence as _Sequence

import jax.numpy as _jnp
import numpy as _np

from lamina._imports import offer as _offer
from lamina.core.config import Constructed as _Constructed
from lamina.core.config import names_of as _names_of
from lamina.core.config import resolver as _resolver
from lamina.core.config import serialize_keras_object as _serialize_keras_object
from lamina.core.settings import floatx as _floatx
from lamina.core.tracebacks import boundary as _boundary


class LearningRateSchedule(_Constructed):
    """A function from the step to the learning rate.

    Subclasses write `__call__(step)` with operations that JAX can trace, and keep
    their arguments as attributes of the same names.

    >>> import lamina
    >>> class Halving(lamina.optimizers.schedules.LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.5 ** lamina.ops.cast(step, "float32")
    >>> float(lamina.optimizers.SGD(Halving()).learning_rate)
    1.0
    """

    def __call__(self, step):
        """Return the learning rate at a step."""
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement `__call__(step)`."
        )


def _check_steps(schedule, argument):
    steps = getattr(schedule, argument)
    if steps <= 0:
        raise ValueError(
            f"`{type(schedule).__name__}` expected `{argument}` to be positive. "
            f"Received: {argument}={steps}"
        )


class ExponentialDecay(LearningRateSchedule):
    r"""The rate $r_0 \, d^{\,t / T}$.

    Args:
        initial_learning_rate: $r_0$.
        decay_steps: $T$, the steps after which the rate has decayed once.
        decay_rate: $d$.
        staircase: whether $t / T$ is rounded down.
        name: a name.

    Raises:
        ValueError: `decay_steps` is not positive.

    >>> import lamina
    >>> float(lamina.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)(10))
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = "ExponentialDecay",
    ):
        self.name = name
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        _check_steps(self, "decay_steps")

    def __call__(self, step):
        """Return the learning rate at a step."""
        periods = _periods(step, self.decay_steps, self.staircase)
        base = _jnp.asarray(self.decay_rate, periods.dtype)
        return self.initial_learning_rate * _jnp.power(base, periods)


def _periods(step, length, staircase=False):
    periods = _jnp.asarray(step, _floatx()) / length
    return _jnp.floor(periods) if staircase else periods


class InverseTimeDecay(LearningRateSchedule):
    r"""The rate $r_0 / (1 + d \, t / T)$.

    Args:
        initial_learning_rate: $r_0$.
        decay_steps: $T$.
        decay_rate: $d$.
        staircase: whether $t / T$ is rounded down.
        name: a name.

    Raises:
        ValueError: `decay_steps` is not positive.

    >>> import lamina
    >>> float(lamina.optimizers.schedules.InverseTimeDecay(0.1, 10, 1.0)(10))
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = "InverseTimeDecay",
    ):
        self.name = name
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        _check_steps(self, "decay_steps")

    def __call__(self, step):
        """Return the learning rate at a step."""
        periods = _periods(step, self.decay_steps, self.staircase)
        return self.initial_learning_rate / (1 + self.decay_rate * periods)


class PiecewiseConstantDecay(LearningRateSchedule):
    """One rate up to each boundary, and the last one after all.

    Args:
        boundaries: the last steps at which each value but the last one holds.
        values: the rates, one more than boundaries.
        name: a name.

    Raises:
        ValueError: the lengths do not fit.

    >>> import lamina
    >>> rate = lamina.optimizers.schedules.PiecewiseConstantDecay([5], [0.5, 0.25])
    >>> float(rate(5)), float(rate(6))
    (0.5, 0.25)
    """

    def __init__(
        self,
        boundaries: _Sequence[float] | _np.ndarray,
        values: _Sequence[float] | _np.ndarray,
        name: str | None = "PiecewiseConstant",
    ):
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "`PiecewiseConstantDecay` expected one more value than boundaries. "
                f"Received: boundaries={boundaries}, values={values}"
            )
        self.name = name
        self.boundaries = boundaries
        self.values = values

    def __call__(self, step):
        """Return the learning rate at a step."""
        step = _jnp.asarray(step)
        rate = _jnp.asarray(self.values[0], _floatx())
        for boundary, value in zip(self.boundaries, self.values[1:], strict=True):
            rate = _jnp.where(step > boundary, value, rate)
        return rate


class PolynomialDecay(LearningRateSchedule):
    r"""The rate $(r_0 - r_1)(1 - t / T)^p + r_1$, and $r_1$ after step $T$.

    Args:
        initial_learning_rate: $r_0$.
        decay_steps: $T$.
        end_learning_rate: $r_1$.
        power: $p$.
        cycle: whether, past $T$, to go on with the next multiple of it in its place.
        name: a name.

    Raises:
        ValueError: `decay_steps` is not positive.

    >>> import lamina
    >>> float(lamina.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)(5))
    0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str | None = "PolynomialDecay",
    ):
        self.name = name
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.end_learning_rate = end_learning_rate
        self.power, self.cycle = power, cycle
        _check_steps(self, "decay_steps")

    def __call__(self, step):
        """Return the learning rate at a step."""
        step = _jnp.asarray(step, _floatx())
        length = _jnp.asarray(self.decay_steps, step.dtype)
        if self.cycle:
            length = length * _jnp.maximum(1.0, _jnp.ceil(step / length))
        else:
            step = _jnp.minimum(step, length)
        left = _jnp.power(1 - step / length, _jnp.asarray(self.power, step.dtype))
        start = _jnp.asarray(self.initial_learning_rate, step.dtype)
        return (start - self.end_learning_rate) * left + self.end_learning_rate


class CosineDecay(LearningRateSchedule):
    r"""Rise linearly, then fall along half a cosine.

    After the warm-up the rate is
    $r \, ((1 - \alpha) \frac{1 + \cos(\pi t / T)}{2} + \alpha)$.

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: $T$, the steps of the fall.
        alpha: the part of the highest rate that remains.
        name: a name.
        warmup_target: the highest rate, reached after the warm-up; None for none.
        warmup_steps: the steps of the warm-up.

    Raises:
        ValueError: `decay_steps` is not positive.

    Source: Loshchilov and Hutter, 2016 (https://arxiv.org/abs/1608.03983).

    >>> import lamina
    >>> float(lamina.optimizers.schedules.CosineDecay(1.0, 10)(5))
    0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str | None = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ):
        self.name = name
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.alpha = alpha
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps
        _check_steps(self, "decay_steps")

    def __call__(self, step):
        """Return the learning rate at a step."""
        step = _jnp.asarray(step, _floatx())
        if self.warmup_target is None:
            return self._fall(step, self.initial_learning_rate)
        start = _jnp.asarray(self.initial_learning_rate, step.dtype)
        fall = self._fall(step - self.warmup_steps, self.warmup_target)
        if not self.warmup_steps:
            return fall
        rise = (self.warmup_target - start) * (step / self.warmup_steps) + start
        return _jnp.where(step < self.warmup_steps, rise, fall)

    def _fall(self, step, highest):
        part = _jnp.minimum(step, self.decay_steps) / self.decay_steps
        cosine = 0.5 * (1 + _jnp.cos(_math.pi * part))
        return highest * ((1 - self.alpha) * cosine + self.alpha)


class CosineDecayRestarts(LearningRateSchedule):
    """Fall along half a cosine, again and again.

    Args:
        initial_learning_rate: the rate at step 0.
        first_decay_steps: the steps of the first fall.
        t_mul: how much longer each fall is than the one before.
        m_mul: how much higher each fall begins than the one before.
        alpha: the part of the highest rate that remains.
        name: a name.

    Raises:
        ValueError: `first_decay_steps` is not positive.

    Source: Loshchilov and Hutter, 2016 (https://arxiv.org/abs/1608.03983).

    >>> import lamina
    >>> rate = lamina.optimizers.schedules.CosineDecayRestarts(1.0, 10)
    >>> float(rate(5)), float(rate(10))
    (0.5, 1.0)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str | None = "SGDRDecay",
    ):
        self.name = name
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = first_decay_steps
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha
        _check_steps(self, "first_decay_steps")

    def __call__(self, step):
        """Return the learning rate at a step."""
        part = _jnp.asarray(step, _floatx()) / self.first_decay_steps
        growth = _jnp.asarray(self.t_mul, part.dtype)
        if self.t_mul == 1.0:
            restarts = _jnp.floor(part)
            part = part - restarts
        else:
            # The falls' lengths are a geometric series, whose sum is inverted here.
            grown = 1.0 - part * (1.0 - growth)
            restarts = _jnp.floor(_jnp.log(grown) / _jnp.log(growth))
            length = _jnp.power(growth, restarts)
            part = (part - (1.0 - length) / (1.0 - growth)) / length
        height = _jnp.power(_jnp.asarray(self.m_mul, part.dtype), restarts)
        cosine = 0.5 * height * (1.0 + _jnp.cos(_math.pi * part))
        return self.initial_learning_rate * ((1 - self.alpha) * cosine + self.alpha)


_CLASSES = (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
_TABLE = _names_of({cls.__name__: cls for cls in _CLASSES})

_ARGUMENTS = {"initial_learning_rate": 0.1, "decay_steps": 100}
_EXAMPLE = {"class_name": "CosineDecay", "config": _ARGUMENTS}
deserialize = _resolver(
    "learning rate schedule", lambda: _TABLE, LearningRateSchedule, _EXAMPLE
)[1]


@_boundary
def serialize(learning_rate_schedule):
    """Return the config of a schedule.

    >>> from lamina.optimizers import schedules
    >>> schedules.serialize(schedules.CosineDecay(0.1, 100))["class_name"]
    'CosineDecay'
    """
    return _serialize_keras_object(learning_rate_schedule)


_offer(globals())
