"""What training keeps for a model: settings, flags and programs.

They live for different times. The settings are what `compile` was given, and stay as
they are until it is called again. The flags may change from one run to the next, and
within one. The programs follow the model's layers.
"""

import dataclasses
import operator
from typing import Any

from lamina import optimizers as optimizers_module
from lamina.core.checks import positive_int
from lamina.core.config import serialize_keras_object
from lamina.metrics import Mean
from lamina.training.compiled_loss import CompiledLoss
from lamina.training.compiled_metrics import KINDS, CompileMetrics
from lamina.training.programs import Programs


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `compile` was given, and what was made of it.

    Attributes:
        given: the losses, the metrics and their weights as they were given, by the
            names of the arguments; empty until `compile` is called.
        compiled_loss: the losses.
        compiled_metrics: the metrics as one; None until `compile` is called.
        loss_tracker: the running mean of the loss; None until `compile` is called.
        compiled: whether `compile` was called.
    """

    given: dict = dataclasses.field(default_factory=dict)
    compiled_loss: CompiledLoss = dataclasses.field(default_factory=CompiledLoss)
    compiled_metrics: Any = None
    loss_tracker: Any = None
    compiled: bool = False

    @property
    def loss(self):
        """The loss as it was given."""
        return self.given.get("loss")

    def trackers(self) -> list:
        """Return what is kept of a run: the loss, its terms, and the metrics as one.

        The metrics count only if any were given.
        """
        if not self.compiled:
            return []
        given = any(self.given[kind] is not None for kind in KINDS)
        metrics = [self.compiled_metrics] if given else []
        return [self.loss_tracker, *metrics, *self.compiled_loss.trackers()]

    @property
    def prepared(self) -> bool:
        """Whether the losses and metrics are made for the outputs."""
        made = self.compiled_loss.names is not None
        return self.compiled and made and bool(self.compiled_metrics.outputs)

    def prepare(self, model, y, y_pred):
        """Make the losses and metrics, once the outputs' structure is known.

        Args:
            model: the model.
            y: the targets of a batch, or their shapes.
            y_pred: the outputs for it, or their shapes.

        Raises:
            ValueError: what `compile` was given does not match the outputs, or the
                targets do not match a loss.
        """
        self.compiled_loss.make(model, y_pred)
        self.compiled_metrics.make(y, y_pred)
        self.compiled_loss.check(y, y_pred)


@dataclasses.dataclass
class Flags:
    """How a model runs. Callbacks and scripts may change it at any time.

    Attributes:
        optimizer: the optimizer, or None.
        loss: the loss as it was given, or what a script keeps under this name.
        run_eagerly: whether steps run uncompiled.
        steps_per_execution: how many steps run in one call, or `"auto"`.
        jit_compile: whether a user's code is compiled, see `runs_eagerly`.
        stop_training: whether `fit` ends after this epoch.
        stop_evaluating: whether `evaluate` ends after this batch.
        stop_predicting: whether `predict` ends after this batch.
        history: the History of the last `fit`.
        optimizer_was: the optimizer's settings when the last run began and ended.
    """

    optimizer: Any = None
    loss: Any = None
    run_eagerly: bool = False
    steps_per_execution: Any = 1
    jit_compile: Any = "auto"
    stop_training: bool = False
    stop_evaluating: bool = False
    stop_predicting: bool = False
    history: Any = None
    optimizer_was: tuple | None = None


class Training:
    """What training keeps for one model.

    Args:
        on_host: a function of the model and a batch's inputs, which returns them as
            compiled code takes them: after what works on text, in place of it.

    Attributes:
        settings: what `compile` was given.
        flags: how the model runs.
        programs: what is compiled.
        on_host: see above.
        under: the `Distribution` that the programs are made under, or None.
    """

    __slots__ = ("settings", "flags", "programs", "on_host", "under")

    def __init__(self, on_host):
        self.settings, self.flags, self.programs = Settings(), Flags(), Programs()
        self.on_host, self.under = on_host, None


def begin(model, on_host):
    """Let a model be trained, see `Training`."""
    # No user's class has an attribute of this name.
    model._lamina_training = Training(on_host)


def is_begun(model) -> bool:
    """Tell whether `begin` was called, by the constructor of `Model`."""
    return "_lamina_training" in model.__dict__


def training_of(model) -> Training:
    """Return what training keeps for a model."""
    return model._lamina_training


def delegated(part, put: Any = None) -> Any:
    """Make a property of a model of what training keeps under the name of a function.

    Args:
        part: `"settings"` or `"flags"`.
        put: what becomes of a value that is assigned; None forbids it.
    """

    def made(function):
        name = function.__name__.removeprefix("_")

        def assign(model, value):
            setattr(getattr(training_of(model), part), name, put(value))

        read = operator.attrgetter(f"_lamina_training.{part}.{name}")
        return property(read, put and assign, doc=function.__doc__)

    return made


def compile_model(
    model,
    optimizer,
    run_eagerly,
    steps_per_execution,
    jit_compile,
    auto_scale_loss,
    **given,
):
    """Take the arguments of `Model.compile`; names are checked at once."""
    optimizer = optimizers_module.get(optimizer)
    half = model.dtype_policy.name == "mixed_float16"
    if auto_scale_loss and half and optimizer is not None:
        scaled = optimizers_module.LossScaleOptimizer
        if not isinstance(optimizer, scaled):
            optimizer = scaled(optimizer, name="loss_scale_optimizer")
    loss = CompiledLoss(given["loss"], given["loss_weights"])
    metrics = CompileMetrics({kind: given[kind] for kind in KINDS}, loss, model)
    if steps_per_execution != "auto":
        positive_int("compile", "steps_per_execution", steps_per_execution)
    training = training_of(model)
    training.settings = Settings(given, loss, metrics, Mean(name="loss"), True)
    training.flags = Flags(
        optimizer, given["loss"], bool(run_eagerly), steps_per_execution, jit_compile
    )
    training.programs.forget()


def require_compiled(model, what):
    """Raise unless `compile` was called."""
    if not training_of(model).settings.compiled:
        raise ValueError(
            f"You must call `compile()` before calling `{what}()`. For instance: "
            'model.compile(optimizer="adam", loss="mse", metrics=["mae"])'
        )


def compile_config(model) -> dict:
    """Return the arguments of `compile`, ready to be saved."""
    training = training_of(model)
    flags = training.flags
    settings = {
        "optimizer": flags.optimizer,
        **training.settings.given,
        "run_eagerly": flags.run_eagerly,
        "steps_per_execution": flags.steps_per_execution,
        "jit_compile": flags.jit_compile == "auto" or bool(flags.jit_compile),
    }
    return {k: serialize_keras_object(v) for k, v in settings.items()}
