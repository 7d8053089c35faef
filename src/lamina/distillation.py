"""Knowledge distillation: a small model learns from a large one's outputs.

After Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network",
arXiv:1503.02531, and Romero et al., "FitNets", arXiv:1412.6550.
"""

from typing import Any as _Any

from lamina import losses as _losses
from lamina import metrics as _metrics
from lamina import ops as _ops
from lamina import tree as _tree
from lamina._imports import offer as _offer
from lamina.core.config import deserialize_keras_object as _deserialize_keras_object
from lamina.core.config import serialize_keras_object as _serialize_keras_object
from lamina.core.tracebacks import boundary as _boundary
from lamina.models import Model as _Model


class DistillationLoss:
    """How far a student's outputs are from its teacher's; the base of such losses.

    A subclass writes `compute_loss`.

    >>> import lamina
    >>> class Gap(lamina.distillation.DistillationLoss):
    ...     def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
    ...         return lamina.ops.mean(abs(teacher_outputs - student_outputs))
    >>> float(Gap().compute_loss(lamina.ops.ones(3), lamina.ops.zeros(3)))
    1.0
    """

    # The layers whose outputs are compared; None for the models' own outputs.
    teacher_layer_name: str | None = None
    student_layer_name: str | None = None

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        """Return the loss of a batch, a scalar.

        Args:
            teacher_outputs: a tensor, or a structure of them.
            student_outputs: likewise, in the same structure.
            kwargs: for subclasses.
        """
        raise NotImplementedError("Subclasses must implement compute_loss")

    def validate_outputs(self, teacher_outputs, student_outputs):
        """Raise a ValueError unless both outputs have the same structure."""
        _tree.assert_same_structure(teacher_outputs, student_outputs)

    def validate_model_compatibility(self, teacher, student):
        """Raise a ValueError where this loss cannot compare the two models."""

    @classmethod
    def from_config(cls, config):
        """Make a loss from what `get_config` returned."""
        return cls(**{k: _deserialize_keras_object(v) for k, v in config.items()})


class FeatureDistillation(DistillationLoss):
    """Compares the outputs of two layers, or of the models.

    Args:
        loss: a loss, its name, or a structure of them like the outputs; None in it
            leaves out an output.
        teacher_layer_name: the teacher's layer; its own outputs when None.
        student_layer_name: the student's layer; its own outputs when None.

    Raises:
        ValueError: all losses are None, or a model has no such layer.

    >>> import lamina, numpy as np
    >>> loss = lamina.distillation.FeatureDistillation("mse")
    >>> float(loss.compute_loss(np.ones((2, 3)), np.zeros((2, 3))))
    1.0
    """

    def __init__(
        self,
        loss: _Any = "mse",
        teacher_layer_name: str | None = None,
        student_layer_name: str | None = None,
    ):
        self.teacher_layer_name = teacher_layer_name
        self.student_layer_name = student_layer_name
        self.loss = _made_losses(type(self).__name__, loss)

    def validate_model_compatibility(self, teacher, student):
        """Raise a ValueError where a model has no graph or no layer of the name."""
        names = {"teacher": self.teacher_layer_name, "student": self.student_layer_name}
        if not any(names.values()):
            return
        for (role, name), model in zip(names.items(), (teacher, student), strict=True):
            if not _is_drawn(model):
                raise ValueError(
                    "`FeatureDistillation` with names of layers requires Functional or "
                    f"built Sequential models, and the {role} {model.name!r} is "
                    "subclassed or not built. Leave the names out to compare the "
                    "models' outputs."
                )
            if name is not None:
                try:
                    model.get_layer(name)
                except ValueError as error:
                    raise ValueError(f"In {role} model: {error}") from None

    def validate_outputs(self, teacher_outputs, student_outputs):
        """Raise a ValueError unless outputs and losses have the same structure."""
        super().validate_outputs(teacher_outputs, student_outputs)
        try:
            _tree.assert_same_structure(self.loss, teacher_outputs)
        except ValueError:
            raise ValueError(
                f"Loss structure mismatch. The losses are {self.loss!r}; the outputs "
                "have the shapes "
                f"{_tree.map_structure(lambda x: x.shape, teacher_outputs)}."
            ) from None

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        """Return the mean loss, summed over outputs."""
        return _total(_mean, self.loss, teacher_outputs, student_outputs)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            "loss": _serialize_keras_object(self.loss),
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }


class LogitsDistillation(DistillationLoss):
    """Compares the models' logits, softened by a temperature.

    Both are divided by `temperature`. The Kullback-Leibler divergence is that of their
    softmax, times `temperature²`, so that gradients keep their size; other losses get
    the divided logits.

    Args:
        temperature: above 0; larger ones make the distributions softer.
        loss: a loss, its name, or a structure of them like the outputs; None in it
            leaves out an output.

    Raises:
        ValueError: the temperature is not a positive number, or all losses are None.

    >>> import lamina, numpy as np
    >>> loss = lamina.distillation.LogitsDistillation(temperature=2.0)
    >>> logits = np.array([[2.0, 0.0]])
    >>> float(loss.compute_loss(logits, logits))
    0.0
    """

    @_boundary
    def __init__(self, temperature: float = 3.0, loss: _Any = "kl_divergence"):
        self.loss = _made_losses(type(self).__name__, loss)
        if not isinstance(temperature, (int, float)) or isinstance(temperature, bool):
            raise ValueError(
                "`LogitsDistillation` expected: temperature must be a number. "
                f"Received: temperature={temperature!r}"
            )
        if temperature <= 0:
            raise ValueError(
                "`LogitsDistillation` expected: temperature must be positive. "
                f"Received: temperature={temperature!r}"
            )
        self.temperature = temperature

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        """Return the mean loss of the softened logits, summed over outputs."""

        def one(loss, teacher, student):
            teacher, student = teacher / self.temperature, student / self.temperature
            if loss is _losses.kl_divergence or isinstance(loss, _losses.KLDivergence):
                teacher, student = _ops.softmax(teacher), _ops.softmax(student)
                return _mean(loss, teacher, student) * self.temperature**2
            return _mean(loss, teacher, student)

        return _total(one, self.loss, teacher_outputs, student_outputs)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            "temperature": self.temperature,
            "loss": _serialize_keras_object(self.loss),
        }


class Distiller(_Model):
    """Trains a student on the targets and on what a frozen teacher says.

    The loss is `w * student_loss + (1 - w) * distillation_loss`, where `w` is
    `student_loss_weight`. The student's loss is the one given to `compile`, with its
    regularization. Calls, `predict` and metrics are those of the student.

    Args:
        teacher: a trained model. It is frozen and runs in inference mode.
        student: a model with the same shapes of inputs and outputs.
        distillation_losses: a `DistillationLoss`, or a list of them.
        distillation_loss_weights: a number for each; 1 when None.
        student_loss_weight: from 0 to 1.
        name: the name of this model.

    Raises:
        ValueError: an argument is wrong, or the models do not fit together.

    >>> import lamina, numpy as np
    >>> def network(units):
    ...     return lamina.Sequential([
    ...         lamina.Input((3,)), lamina.layers.Dense(units), lamina.layers.Dense(2)
    ...     ])
    >>> distiller = lamina.distillation.Distiller(
    ...     network(64), network(4), lamina.distillation.LogitsDistillation()
    ... )
    >>> distiller.compile("adam", "mse")
    >>> history = distiller.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)
    >>> sorted(history.history)
    ['distillation_loss', 'loss', 'student_loss', 'total_loss']
    """

    def __init__(
        self,
        teacher: _Any,
        student: _Any,
        distillation_losses: _Any,
        distillation_loss_weights: _Any = None,
        student_loss_weight: float = 0.5,
        name: str = "distiller",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        _check_models(teacher, student)
        if not isinstance(student_loss_weight, (int, float)):
            raise ValueError(
                "student_loss_weight must be a number. Received: "
                f"student_loss_weight={student_loss_weight!r}"
            )
        if not 0 <= student_loss_weight <= 1:
            raise ValueError(
                "student_loss_weight must be between 0.0 and 1.0. Received: "
                f"student_loss_weight={student_loss_weight!r}"
            )
        if distillation_losses is None:
            raise ValueError(
                "`distillation_losses` cannot be `None`. Give a loss such as "
                "`LogitsDistillation()`, or a list of them."
            )
        if not isinstance(distillation_losses, (list, tuple)):
            distillation_losses, distillation_loss_weights = [distillation_losses], None
        if distillation_loss_weights is None:
            distillation_loss_weights = [1.0] * len(distillation_losses)
        if len(distillation_loss_weights) != len(distillation_losses):
            raise ValueError(
                f"Number of distillation_loss_weights "
                f"({len(distillation_loss_weights)}) must match number of "
                f"distillation_losses ({len(distillation_losses)})"
            )
        for loss in distillation_losses:
            loss.validate_model_compatibility(teacher, student)
        self.teacher, self.student = teacher, student
        self.distillation_losses = list(distillation_losses)
        self.distillation_loss_weights = list(distillation_loss_weights)
        self.student_loss_weight = student_loss_weight
        teacher.trainable = False
        self._teacher_feature_extractor = _features(
            teacher, [loss.teacher_layer_name for loss in distillation_losses]
        )
        self._student_feature_extractor = _features(
            student, [loss.student_layer_name for loss in distillation_losses]
        )
        self.student_loss_tracker = _metrics.Mean(name="student_loss")
        self.distillation_loss_tracker = _metrics.Mean(name="distillation_loss")
        self.total_loss_tracker = _metrics.Mean(name="total_loss")

    def compile(self, optimizer="adam", loss=None, metrics=None, **kwargs):
        """Configure the training, see `Model.compile`; `loss` is the student's.

        Raises:
            ValueError: there is no loss, or `metrics` is not a list.
        """
        if loss is None:
            raise ValueError("`loss` cannot be `None`: it is the student's loss.")
        if metrics is not None and not isinstance(metrics, (list, tuple)):
            raise ValueError(
                f"metrics must be a list or tuple. Received: metrics={metrics!r}"
            )
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def compile_from_config(self, config):
        """Compile with `get_compile_config`; in files of Keras the loss is missing."""
        if config.get("loss") is None:
            super().compile_from_config(config)
            return
        self.compile(**{k: _deserialize_keras_object(v) for k, v in config.items()})
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def call(self, inputs, training=None, **kwargs):
        """Return the student's outputs."""
        return self.student(inputs, training=training, **kwargs)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Return the student's loss and the distillation losses, weighted and summed.

        Raises:
            ValueError: a distillation loss gives no scalar, or outputs do not fit.
        """
        share = self.student_loss_weight
        if y_pred is None:
            y_pred = self(x, training=training)
        supervised: _Any = 0.0
        if share > 0 and y is not None:
            supervised = super().compute_loss(x, y, y_pred, sample_weight, training)
        distilled: _Any = 0.0
        if share < 1:
            distilled = self._distillation_loss(x, y_pred, training)
        total = share * supervised + (1 - share) * distilled
        self.student_loss_tracker.update_state(supervised)
        self.distillation_loss_tracker.update_state(distilled)
        self.total_loss_tracker.update_state(total)
        return total

    def _distillation_loss(self, x, y_pred, training):
        taught = _outputs(
            self.teacher, self._teacher_feature_extractor, x, training=False
        )
        learnt = {}
        if self._student_feature_extractor is not None:
            learnt = _outputs(
                self.student, self._student_feature_extractor, x, training=training
            )
        learnt[None] = y_pred
        total: _Any = 0.0
        for loss, weight in zip(
            self.distillation_losses, self.distillation_loss_weights, strict=True
        ):
            teacher = taught[loss.teacher_layer_name]
            student = learnt[loss.student_layer_name]
            loss.validate_outputs(teacher, student)
            value = loss.compute_loss(teacher, student)
            if getattr(value, "ndim", 0):
                raise ValueError(
                    f"Distillation loss {type(loss).__name__} returned a non-scalar "
                    f"loss with shape {value.shape}. `compute_loss` must return a "
                    "scalar."
                )
            total = total + weight * value
        return total

    def get_config(self):
        """Return the constructor's arguments, the models among them."""
        config = super().get_config()
        for name in ("teacher", "student", "distillation_losses"):
            config[name] = _serialize_keras_object(getattr(self, name))
        config["distillation_loss_weights"] = self.distillation_loss_weights
        config["student_loss_weight"] = self.student_loss_weight
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a distiller from what `get_config` returned."""
        made = {
            name: _deserialize_keras_object(config[name], custom_objects)
            for name in ("teacher", "student", "distillation_losses")
        }
        return cls(**{**config, **made})


# ---- parts -------------------------------------------------------------------


def _made_losses(owner, given):
    """Return a structure of losses for a structure of losses and their names."""
    found = _tree.map_structure(
        lambda one: _losses.get(one) if isinstance(one, str) else one, given
    )
    if all(one is None for one in _tree.flatten(found)):
        raise ValueError(
            f"`{owner}` expected: at least one loss must be non-`None`. Received: "
            f"loss={given!r}"
        )
    return found


def _mean(loss, teacher, student):
    return _ops.mean(loss(teacher, student))


def _total(measured, chosen, teacher, student):
    """Return the sum of `measured(loss, teacher, student)` over outputs with a loss."""

    def one(loss, a, b):
        tensors = map(_ops.convert_to_tensor, (a, b))
        return 0.0 if loss is None else measured(loss, *tensors)

    return sum(_tree.flatten(_tree.map_structure(one, chosen, teacher, student)))


def _check_models(teacher, student):
    """Raise a ValueError unless both are models of the same inputs and outputs."""
    for role, model in (("Teacher", teacher), ("Student", student)):
        if not isinstance(model, _Model):
            raise ValueError(f"{role} must be a lamina.Model. Received: {model!r}")
    if not (_is_drawn(teacher) and _is_drawn(student)):
        return
    for what in ("input", "output"):
        pair = [getattr(model, f"{what}s") for model in (teacher, student)]
        shapes, dtypes = (
            [[getattr(t, key) for t in tensors] for tensors in pair]
            for key in ("shape", "dtype")
        )
        said = f"Teacher: {{}}, Student: {{}}. Both need the same {what}s."
        if not _fit(*shapes):
            raise ValueError(
                f"Teacher and student {what} shapes are incompatible. "
                + said.format(*shapes)
            )
        if dtypes[0] != dtypes[1]:
            raise ValueError(
                f"Teacher and student {what} dtypes must match. " + said.format(*dtypes)
            )


def _fit(some, others):
    """Tell whether two lists of shapes are alike where sizes are known."""
    return len(some) == len(others) and all(
        len(a) == len(b)
        and all(m == n or None in (m, n) for m, n in zip(a, b, strict=True))
        for a, b in zip(some, others, strict=True)
    )


def _is_drawn(model):
    """Tell whether a model has a graph, from which other models can be cut."""
    return hasattr(model, "inputs")


def _features(model, names):
    """Return a model of a model's outputs and those of layers, or None."""
    names = dict.fromkeys(name for name in names if name)
    layers = {name: model.get_layer(name).output for name in names}
    return (
        _Model(model.inputs, {"own": model.output, "layers": layers}) if names else None
    )


def _outputs(model, features, x, training):
    """Return outputs by the name of their layer; the model's own by None."""
    if features is None:
        return {None: model(x, training=training)}
    found = features(x, training=training)
    return {None: found["own"], **found["layers"]}


_offer(globals())
