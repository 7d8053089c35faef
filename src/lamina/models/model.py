"""`Model`: a Layer that can be trained."""

import contextlib
import re
from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from lamina.core import structure
from lamina.core.budget import budgeted
from lamina.core.config import arguments_of, dict_for, serialize_shared, sharing
from lamina.core.context import context, having
from lamina.core.masks import get_mask, set_mask
from lamina.core.naming import nearest
from lamina.core.owner import layers_in, unique
from lamina.core.registry import CustomObjectScope
from lamina.core.symbolic import SymbolicTensor, infer
from lamina.core.tracebacks import boundary, hide_frames, warn
from lamina.core.types import Shape
from lamina.core.variable import pure
from lamina.layers.building import as_shape, spec_of, with_shapes
from lamina.layers.calibration import Calibration
from lamina.layers.layer import Layer
from lamina.models.graph import Function, cut_at
from lamina.models.graph_config import (
    GRAPH_KEYS,
    graph_config,
    graph_from_config,
    takes_graph,
)
from lamina.models.inputs import (
    fit_inputs,
    input_specs,
    on_host,
    standardize_inputs,
    trimmed,
)
from lamina.models.summary import print_summary
from lamina.models.text_prefix import Prepared
from lamina.quantizers.configs import resolve
from lamina.saving.state import state_groups
from lamina.training import step
from lamina.training.compiled import (
    begin,
    compile_config,
    compile_model,
    delegated,
    is_begun,
    require_compiled,
    training_of,
)
from lamina.training.compiled_metrics import named
from lamina.training.drive import CompiledStep
from lamina.training.evaluate import evaluate
from lamina.training.fit import fit
from lamina.training.forward import called
from lamina.training.on_batch import on_batch, predict_on_batch
from lamina.training.predict import predict
from lamina.training.programs import Programs

if TYPE_CHECKING:
    from lamina.callbacks.backup_and_restore import BackupAndRestore
    from lamina.callbacks.callback import Callback
    from lamina.callbacks.history import History
    from lamina.optimizers import Optimizer


def _is_graph(args, kwargs):
    return (
        len(args) == 2
        or (len(args) == 1 and "outputs" in kwargs)
        or ("inputs" in kwargs and "outputs" in kwargs)
    )


def _one_or_all(parts):
    """Return the only entry of a list or tuple of one; anything else as it is."""
    return parts[0] if isinstance(parts, (list, tuple)) and len(parts) == 1 else parts


def _filter(filters):
    """Return a function that says whether a layer is meant."""
    if filters is None:
        return lambda layer: True
    if callable(filters):
        return filters
    patterns = [filters] if isinstance(filters, str) else filters
    if not isinstance(patterns, (list, tuple)):
        raise ValueError(
            "`quantize` expected `filters` to be a regex string, a list of regex "
            f"strings, or a callable. Received: {type(filters)}"
        )
    return lambda layer: any(re.search(p, layer.name) for p in patterns)


def _of_graph(what, doc) -> Any:
    """Make a property of a model that its graph has."""

    def read(model):
        if model._drawn_graph is None:
            raise AttributeError(
                f"Model {model.name!r} has no defined {what}: it is not drawn as a "
                "graph (or, for a Sequential model, not built yet). Call it on data, "
                "or give it an `Input`."
            )
        return getattr(model._drawn_graph, what)

    return property(read, doc=doc)


def _as_given(value):
    return value


# Methods of the first versions of Keras or of `Sequential`, and what takes their place.
_FORMER = {
    "fit_generator": "model.fit(batches)",
    "evaluate_generator": "model.evaluate(batches)",
    "predict_generator": "model.predict(batches)",
    "predict_classes": "model.predict(x).argmax(-1)",
    "predict_proba": "model.predict(x)",
    "add": "lamina.Model(model.input, layer(model.output))",
}


class Model(Layer):
    """A layer that can be trained: a graph of calls, or a class with a `call`.

    `Model(inputs, outputs)` takes symbolic tensors in any nesting of lists and
    dicts. A subclass makes its layers in `__init__` and calls them in `call`.

    Args:
        inputs: symbolic tensors, from `lamina.Input` or from inside another graph.
        outputs: symbolic tensors that follow from them.
        name: its name.
        trainable: whether its weights are trained.

    Raises:
        ValueError: an output does not follow from the inputs, or two layers share
            a name.

    >>> import lamina, numpy as np
    >>> x = lamina.Input((3,), name="table")
    >>> model = lamina.Model(x, lamina.layers.Dense(1)(x))
    >>> model(np.ones((2, 3))).shape
    (2, 1)
    """

    _not_walked = frozenset({"operations", "_drawn_layers", "metrics_names"})
    _numbers_are_sizes = False
    # Its Inputs see to integers themselves.
    _reads_integers = property(lambda self: self._drawn_graph is not None)
    _moves_entries = property(
        lambda self: self._drawn_graph and self._drawn_graph.moves_entries
    )
    # Whether inputs must have the sizes that the graph was drawn with.
    _checks_sizes = True
    # Whether `summary` shows a plain list of layers.
    _is_stack = False

    if not TYPE_CHECKING:

        @boundary
        def __getattr__(self, name):
            if name in _FORMER:
                raise AttributeError(
                    f"`{type(self).__name__}` has no `{name}`. Write `{_FORMER[name]}`."
                )
            return super().__getattr__(name)

        def __new__(cls, *args, **kwargs):
            """Make a `Functional` where inputs and outputs are given."""
            if cls is Model and _is_graph(args, kwargs):
                return Layer.__new__(Functional, *args, **kwargs)
            return Layer.__new__(cls, *args, **kwargs)

    def __init__(self, *args, **kwargs):
        self._drawn_graph: Function | None = None
        self._input_spec = None
        begin(self, on_host)
        ends = ()
        if _is_graph(args, kwargs):
            named = [kwargs.pop(k) for k in ("inputs", "outputs") if k in kwargs]
            ends = (*args, *named)
        elif args:
            raise TypeError(
                f"`{type(self).__name__}` takes `inputs` and `outputs`, or keyword "
                f"arguments only. Received: {args!r}"
            )
        trainable = kwargs.pop("trainable", None)
        super().__init__(**kwargs)
        if ends:
            self._set_graph(*ends)
        if trainable is not None and not trainable:
            self.trainable = False

    def _set_graph(self, inputs, outputs):
        inputs, outputs = cut_at(inputs, outputs)
        self._drawn_graph = Function(inputs, outputs, name=self.name)
        self._drawn_graph.slots.owner = f"model {self.name!r}"
        self._build_shapes = {
            "input_shape": structure.map_leaves(lambda t: t.shape, inputs)
        }
        self.built = True
        self.supports_masking = True
        self._allow_non_tensor_positional_args = True
        self._takes_text = bool(self._drawn_graph.prefix)

    # ---- calling -------------------------------------------------------------

    def __call__(self, *args, **kwargs):
        """Run the model: as one compiled call if it is a graph of built-in layers."""
        try:
            # Without it the layer says what was forgotten.
            if is_begun(self):
                outputs = called(self, args, kwargs)
                if outputs:
                    return outputs[0]
                args = [trimmed(self, x) for x in args]
            return super().__call__(*args, **kwargs)
        except Exception as error:
            hide_frames(error)
            raise

    @property
    def rows_independent(self):
        """Whether rows of a batch have no effect on each other, as its graph says."""
        return self._drawn_graph and self._drawn_graph.rows_independent

    @classmethod
    def _takes_part(cls, name):
        return name in ("call", "__call__")

    @classmethod
    def _is_setting(cls, name):
        # Scripts and callbacks keep notes of their own on models.
        known = name in ("autocast", "built", "activity_regularizer")
        return (known or name.startswith("_")) and super()._is_setting(name)

    @property
    def has_call(self) -> bool:
        """Whether it can be called: it has a graph or its class writes `call`."""
        return self._drawn_graph is not None or type(self).call is not Model.call

    # Hidden from type checkers: a subclass takes the arguments that it likes.
    if not TYPE_CHECKING:

        def call(self, inputs: Any, training: bool | None = None, mask: Any = None):
            """Run the graph; a subclass writes its own."""
            if self._drawn_graph is None:
                raise NotImplementedError(
                    f"Model {type(self).__name__} does not have a `call()` method "
                    "implemented. Write `def call(self, inputs): ...`, or pass "
                    "`inputs` and `outputs`."
                )
            if isinstance(inputs, Prepared):
                leaves = inputs._replace(inputs=fit_inputs(self, inputs.inputs))
            else:
                leaves = standardize_inputs(self, inputs)
                if mask is not None:
                    for x, one in zip(leaves, structure.flatten(mask), strict=False):
                        if one is not None:
                            set_mask(x, one)
            given = {} if training is None else {"training": training}
            with having(arguments={**context.arguments, **given}):
                return _one_or_all(self._drawn_graph.run(leaves))

    @property
    def input_dtype(self):
        """The dtype that float inputs are cast to; None leaves it to a graph."""
        return None if self._drawn_graph is not None else super().input_dtype

    def _check_spec(self, call):
        # A graph checks its inputs itself, where it matches them by name.
        if self._drawn_graph is None or self._input_spec is not None:
            super()._check_spec(call)

    def rematerialized_call(self, layer_call: Callable, *args, **kwargs):
        """Return `layer_call`: a `RematScope` is for the layers inside."""
        return layer_call

    def compute_output_spec(self, *args, **kwargs):
        """Return what a call would give, as symbolic tensors."""
        if self._drawn_graph is None:
            return super().compute_output_spec(*args, **kwargs)
        kwargs.pop("mask", None)
        if self._takes_text:
            inputs = args[0] if args else kwargs.pop("inputs")
            args = (on_host(self, inputs, drawn=True), *args[1:])
        outputs = structure.flatten(super().compute_output_spec(*args, **kwargs))
        return structure.pack_like(self.output, outputs)

    def _carry_mask(self, call, outputs):
        if self._drawn_graph is None:
            super()._carry_mask(call, outputs)
        elif any(isinstance(t, SymbolicTensor) for t in structure.flatten(outputs)):
            _carry_symbolic_masks(self._drawn_graph, outputs)

    def compute_mask(self, inputs: Any, previous_mask: Any = None):
        """Return None: the layers inside carry masks themselves."""

    def build(self, input_shape: Any):
        """Build a subclassed model for inputs of a shape, or a structure of shapes."""
        if self._drawn_graph is not None:
            self.built = True
            return
        # A model's own `build` may end with this one, whatever the shape: what it has
        # not built is built when `call` runs for true.
        own = type(self).build is not Model.build
        with having(autocast=None), contextlib.suppress(*[Exception] * own):
            infer(self.call, spec_of(input_shape, self.input_dtype))
        self.built = True

    def _build_once(self, call):
        if self.built:
            return
        if type(self).build is Model.build:
            self._build_by_tracing(call)
            self.built = self._closed = True
            self._build_shapes = self._build_shapes or call.shapes
        else:
            with_shapes(self, self.build, call.shapes, call.mask_shapes)

    def build_from_config(self, config: dict):
        """Build it with the shapes that `get_build_config` returned."""
        if self._drawn_graph is None and config:
            shapes = as_shape(config.get("input_shape"))
            if shapes is not None and type(self).build is Model.build:
                try:
                    self.build(shapes)
                except Exception:
                    # Models that need more than shapes are built by their first call.
                    self.built = False
                return
            super().build_from_config(config)

    # ---- parts ---------------------------------------------------------------

    @property
    def layers(self) -> list:
        """The layers directly inside, in order."""
        graph = self._drawn_graph
        return self._inner_layers() if graph is None else graph.layers()

    @layers.setter
    def layers(self, _):
        raise AttributeError(
            "`Model.layers` attribute is reserved and should not be used. Please use "
            "another name."
        )

    @property
    def _drawn_layers(self):
        """The layers of a graph or stack, which come first in files; None without."""
        drawn = self._is_stack or self._drawn_graph is not None
        return self.layers if drawn else None

    @property
    def operations(self) -> list:
        """The layers and ops of the graph, in order."""
        graph = self._drawn_graph
        return list(graph.operations if graph else self.layers)

    @property
    def _nodes_by_depth(self):
        graph = self._drawn_graph
        return {} if graph is None else graph._nodes_by_depth

    def _inner_layers(self):
        drawn = self._drawn_graph.layers() if self._drawn_graph is not None else []
        return unique(drawn + super()._inner_layers())

    @boundary
    def get_layer(self, name: str | None = None, index: int | None = None):
        """Return one layer by its name or its place.

        Raises:
            ValueError: neither or both are given, or there is no such layer.
        """
        if (name is None) == (index is None):
            raise ValueError(
                "Provide either a layer name or layer index at `get_layer`. Received: "
                f"index={index}, name={name}"
            )
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(
                    f"Was asked to retrieve layer at index {index} but model "
                    f"{self.name!r} only has {len(layers)} layers."
                )
            return layers[index]
        names = [layer.name for layer in layers]
        if name in names:
            return layers[names.index(name)]
        raise ValueError(
            f"No such layer: {name}. Existing layers are: "
            f"{names}.{nearest(str(name), names)}"
        )

    inputs = _of_graph("inputs", "The graph's input tensors, flat.")
    outputs = _of_graph("outputs", "The graph's output tensors, flat.")
    input = _of_graph("input", "The graph's input tensors, in the caller's structure.")
    output = _of_graph("output", "The graph's output tensors, as the caller drew them.")

    @property
    def input_shape(self):
        """The shape of the input, or a list of the inputs' shapes."""
        return _one_or_all([tensor.shape for tensor in self.inputs])

    @property
    def output_shape(self):
        """The shape of the output, or a list of the outputs' shapes."""
        return _one_or_all([tensor.shape for tensor in self.outputs])

    @property
    def input_names(self) -> list:
        """The names of the graph's inputs."""
        return [t.node.operation.name for t in self.inputs]

    @property
    def output_names(self):
        """The names of the graph's outputs; None where there is no graph."""
        if self._drawn_graph is None:
            return None
        return [t.node.operation.name for t in self.outputs]

    @property
    def input_spec(self):
        """What it takes, as InputSpecs in the structure of its inputs."""
        if self._input_spec is None and self._drawn_graph is not None:
            return input_specs(self._drawn_graph)
        return self._input_spec

    @input_spec.setter
    def input_spec(self, value):
        self._input_spec = value

    # ---- training: thin delegates --------------------------------------------

    @boundary
    def compile(
        self,
        optimizer: "str | dict | Optimizer | tuple | None" = "rmsprop",
        loss: str | Callable | Sequence | dict | None = None,
        loss_weights: float | Sequence[float] | dict | None = None,
        metrics: str | Callable | Sequence | dict | None = None,
        weighted_metrics: str | Callable | Sequence | dict | None = None,
        run_eagerly: bool = False,
        steps_per_execution: int | str = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ):
        """Say how to train: what to minimise, by what steps, and what to report.

        Args:
            optimizer: an optimizer, its name, or an optax transformation.
            loss: a loss, its name or a function, or one for each output as a list
                or a dict.
            loss_weights: a number for each output, as a list or a dict.
            metrics: metrics, names or functions; for several outputs, lists of
                them as a list or a dict.
            weighted_metrics: likewise, weighted by sample and class weights.
            run_eagerly: whether steps run uncompiled, for debugging.
            steps_per_execution: how many steps run in one call; with "auto", 16 for
                small models unless a callback listens to single batches.
            jit_compile: False where your own code cannot be compiled: it then runs as
                with `run_eagerly`. Your own layers say it by `supports_jit = False`.
            auto_scale_loss: whether half precision scales the loss.

        Raises:
            ValueError: an unknown name; the message has the nearest one.
        """
        compile_model(
            self,
            optimizer,
            run_eagerly,
            steps_per_execution,
            jit_compile,
            auto_scale_loss,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
        )
        step.warn_of_unused(self)

    @boundary
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: "Sequence | Callback | None" = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        resume: "str | PathLike | BackupAndRestore | None" = None,
        check_numerics: bool = False,
    ) -> "History":
        """Train on data, epoch by epoch, and return the History.

        Args:
            x: inputs: an array, a list or dict of arrays, a DataFrame, or anything
                that yields `(x, y)` or `(x, y, sample_weight)`.
            y: targets, in the structure of the outputs.
            batch_size: rows in one step; 32 when None.
            epochs: the epoch to stop after.
            verbose: 0 silent, 1 a bar, 2 a line for each epoch, "auto".
            callbacks: callbacks that watch and steer.
            validation_split: the last part of the data, held out, from 0 to 1.
            validation_data: `(x, y)` or `(x, y, sample_weight)` held out.
            shuffle: whether rows are drawn in a new order each epoch.
            class_weight: a weight for each class.
            sample_weight: a weight for each row.
            initial_epoch: the epoch to begin with.
            steps_per_epoch: steps in an epoch, for data without an end.
            validation_steps: steps in a validation, which begins at the first batch.
            validation_batch_size: rows in one validation step.
            validation_freq: how often to validate: a number of epochs or a list.
            resume: a folder for snapshots of the run, or a `BackupAndRestore`. The
                same call in the same script goes on from the last one, bit for bit,
                after the run was killed.
            check_numerics: whether to stop at the first loss or gradient that is not
                finite, and to name the layer and the operation where it began.

        Returns:
            A `History`; its `history` is a dict from names to values by epoch.

        Raises:
            ValueError: `compile` was not called, or the data do not fit the model.
            FloatingPointError: a number went wrong, with `check_numerics=True`.
        """
        from lamina.diagnostics.advice import advise

        guard = None
        if check_numerics:
            from lamina.diagnostics.numerics import Guard as guard

        return fit(
            self,
            x=x,
            y=y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=class_weight,
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
            resume=resume,
            guard=guard,
            advise=advise,
        )

    @boundary
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: "Sequence | Callback | None" = None,
        return_dict: bool = False,
        **kwargs,
    ) -> Any:
        """Return the loss and the metrics on data.

        A number, a list (loss first), or with `return_dict` a dict by name.
        """
        if kwargs:
            raise ValueError(f"Arguments not recognized: {kwargs}")
        return evaluate(
            self,
            x,
            y,
            batch_size,
            verbose,
            sample_weight,
            steps,
            callbacks,
            return_dict,
        )

    @boundary
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: "Sequence | Callback | None" = None,
    ) -> Any:
        """Return the outputs for data, as NumPy arrays in the outputs' structure."""
        return predict(
            self,
            x,
            batch_size=batch_size,
            verbose=verbose,
            steps=steps,
            callbacks=callbacks,
        )

    @boundary
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict | None = None,
        return_dict: bool = False,
    ):
        """Train one step on one batch; return the loss and the metrics."""
        return on_batch(self, "train", x, y, sample_weight, class_weight, return_dict)

    @boundary
    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
    ):
        """Return the loss and the metrics on one batch."""
        return on_batch(self, "test", x, y, sample_weight, None, return_dict)

    @boundary
    def predict_on_batch(self, x: Any):
        """Return the outputs for one batch, as NumPy arrays."""
        return predict_on_batch(self, x)

    @step.built_in
    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ):
        """Return the loss of one batch; a subclass may write its own."""
        return step.total_loss(self, y, y_pred, sample_weight, training)

    @step.built_in
    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None):
        """Update the metrics with one batch and return them by name."""
        if self.compiled:
            self.compiled_metrics.update_state(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict:
        """Return the metrics' present results by name."""
        return named((metric.name, metric.result()) for metric in self.metrics)

    def reset_metrics(self):
        """Set all metrics back to their beginning."""
        for metric in self.metrics:
            metric.reset_state()

    @step.built_in
    def train_step(self, state: Any, data: Any = None):
        """Return `(logs, state)` after one training step; a subclass may override.

        One argument alone is the data: the Variables are assigned, the logs returned.
        """
        return step.one_step(self, "train", state, data)

    @step.built_in
    def test_step(self, state: Any, data: Any = None):
        """Return `(logs, state)` after one step of evaluation."""
        return step.one_step(self, "test", state, data)

    @step.built_in
    def predict_step(self, state: Any, data: Any = None):
        """Return `(outputs, state)` for one batch."""
        return step.one_step(self, "predict", state, data)

    def stateless_compute_loss(
        self,
        trainable_variables: Any,
        non_trainable_variables: Any,
        metrics_variables: Any,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ):
        """Return the loss with all state given and returned.

        Returns:
            `(loss, (trainable, non-trainable, metrics variables))`.
        """
        values = (trainable_variables, non_trainable_variables, metrics_variables)
        return pure(self.compute_loss, self._groups())(
            values, x, y, y_pred, sample_weight, training=training
        )

    def compute_loss_and_updates(
        self,
        trainable_variables: Any,
        non_trainable_variables: Any,
        metrics_variables: Any,
        x: Any,
        y: Any,
        sample_weight: Any,
        training: bool = False,
        optimizer_variables: Any = None,
    ):
        """Run the model on a batch and return its loss, with all state given.

        Made for `jax.value_and_grad(..., has_aux=True)` in a `train_step`.

        Returns:
            `(loss, (loss, y_pred, non-trainable, metrics variables))`; the first loss
            is scaled where the optimizer scales it.
        """
        own = self.optimizer.variables if self.optimizer is not None else ()

        def run():
            y_pred = self(x, training=training)
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=training)
            if not training or self.optimizer is None:
                return loss, loss, y_pred
            return self.optimizer.scale_loss(loss), loss, y_pred

        values = (
            trainable_variables,
            non_trainable_variables,
            metrics_variables,
            optimizer_variables or [v.raw_value for v in own],
        )
        with having(losses=[]):
            made, new = pure(run, (*self._groups(), own))(values)
        scaled, loss, y_pred = made
        return scaled, (loss, y_pred, list(new[1]), list(new[2]))

    def _groups(self):
        """Return the trained, the other and the metrics' Variables."""
        return (
            self.trainable_variables,
            self.non_trainable_variables,
            self.metrics_variables,
        )

    @step.built_in
    def make_train_function(self, force: bool = False):
        """Return the compiled step that `fit` runs.

        It is a function `(state, batch) -> state`. The state is four tuples with the
        values of `trainable_variables`, `non_trainable_variables`,
        `optimizer.variables` and `metrics_variables`; the batch is `(x, y)` or
        `(x, y, sample_weight)`. With a `train_step` of one's own the result is
        `(state, logs)`. The Variables themselves stay as they are.

        Args:
            force: whether to compile again.

        Raises:
            ValueError: the model is not compiled or not built.
        """
        return self._made_function("train", force)

    @step.built_in
    def make_test_function(self, force: bool = False):
        """Return the compiled step that `evaluate` runs, see `make_train_function`."""
        return self._made_function("test", force)

    @step.built_in
    def make_predict_function(self, force: bool = False):
        """Return what `predict` runs, compiled: `(state, batch) -> outputs`.

        The state is two tuples or more, of which the first two count, and the batch is
        `(x,)`; otherwise as in `make_train_function`.
        """
        return self._made_function("predict", force)

    def _made_function(self, kind, force):
        if kind != "predict":
            require_compiled(self, f"make_{kind}_function")
        if not self.built:
            raise ValueError(
                f"Model {self.name!r} must be built before `make_{kind}_function()`: "
                "its state is not known yet. Call it on data, or `build` it."
            )
        if kind == "train" and self.optimizer and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        if force:
            training_of(self).programs = Programs()
        variables = step.StateVariables(self)
        run = CompiledStep(self, kind, variables)

        def function(state, batch):
            groups = [tuple(group) for group in state]
            groups += [()] * (4 - len(groups))
            made = run(step.State(*groups), batch)
            return made[0] if kind != "predict" and made[1] is None else made

        return function

    def jax_state_sync(self):
        """Do nothing: kept for compatibility.

        Whenever a callback or a step of one's own runs, the Variables already hold the
        last finished step.
        """

    @property
    def metrics(self) -> list:
        """The mean of the loss, compiled metrics as one, if any, and other metrics.

        Those are the means of the losses of several outputs, and what the model and
        its layers hold.
        """
        settings = training_of(self).settings
        return list(dict.fromkeys((*settings.trackers(), *super().metrics)))

    @property
    def metrics_names(self) -> list:
        """The names of the metrics."""
        return [metric.name for metric in self.metrics]

    @delegated("flags", put=_as_given)
    def optimizer(self):
        """The compiled optimizer, or None."""

    @delegated("flags", put=_as_given)
    def loss(self):
        """The loss as it was given to `compile`; training does not read it."""

    @delegated("settings")
    def compiled(self):
        """Whether `compile` was called."""

    @delegated("settings")
    def compiled_metrics(self):
        """The compiled metrics as one, or None."""

    _compile_metrics = compiled_metrics

    @delegated("settings")
    def _loss_tracker(self):
        """The running mean of the loss, or None."""

    @delegated("flags", put=bool)
    def run_eagerly(self):
        """Whether steps run uncompiled."""

    @delegated("flags", put=_as_given)
    def steps_per_execution(self):
        """How many steps run in one call, or `"auto"`."""

    @delegated("flags", put=_as_given)
    def jit_compile(self):
        """Whether code of one's own is compiled: `"auto"`, True or False."""

    @delegated("flags", put=bool)
    def stop_training(self):
        """Whether `fit` ends after this epoch; callbacks set it."""

    @delegated("flags", put=bool)
    def stop_evaluating(self):
        """Whether `evaluate` ends after this batch; callbacks set it."""

    @delegated("flags", put=bool)
    def stop_predicting(self):
        """Whether `predict` ends after this batch; callbacks set it."""

    @delegated("flags", put=_as_given)
    def history(self):
        """The History of the last `fit`."""

    def get_compile_config(self):
        """Return what `compile` was given, ready to be saved, or None."""
        return compile_config(self) if self.compiled else {}

    def compile_from_config(self, config: dict):
        """Compile with what `get_compile_config` returned."""
        if config and type(self).compile is not Model.compile:
            warn(
                "`compile()` was not called as part of model loading because the "
                f"model's `compile()` method is custom. {type(self).__name__} needs "
                "`get_compile_config()` and `compile_from_config()` of its own, or "
                "call `compile()` yourself."
            )
        elif config:
            self.compile(**arguments_of(config, Model))
            if self.optimizer is not None and self.built:
                self.optimizer.build(self.trainable_variables)

    # ---- looking, saving -----------------------------------------------------

    def quantize(
        self,
        mode: str | None = None,
        config: dict | None = None,
        filters: Any = None,
        **kwargs,
    ):
        """Quantize the layers inside, see `Dense.quantize`.

        A layer with weights that cannot be quantized is left as it is, with a warning.
        `"gptq"` and `"awq"` quantize the layers of the blocks that their config names,
        and fit them to its data.

        Args:
            mode: `"int8"`, `"int4"`, `"float8"`, `"gptq"` or `"awq"`.
            config: a config of `lamina.quantizers` in place of the mode's usual one;
                `"gptq"` and `"awq"` need one.
            filters: which layers: a regular expression or a list of them, searched in
                the name, or a function of the layer.
            kwargs: `type_check=False` takes subclasses of the built-in layers too.

        Raises:
            ValueError: the model is not built, or an argument is wrong.

        >>> import lamina
        >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
        >>> model.quantize("int8")
        >>> model.layers[0].dtype_policy.name
        'int8_from_float32'
        """
        type_check = kwargs.pop("type_check", True)
        if kwargs:
            raise ValueError(
                f"Unrecognized keyword arguments passed to `quantize`: {kwargs}"
            )
        resolved: Any = resolve(mode, config)
        mode = resolved.mode
        wanted = _filter(filters)
        if not self.built:
            raise ValueError(
                f"Cannot quantize a layer that isn't yet built. Layer {self.name!r} "
                f"(of type {type(self).__name__!r}) is not built yet."
            )
        layers, calibration = layers_in(self), None
        if mode in ("gptq", "awq"):
            blocks = resolved.quantization_layer_structure
            blocks = blocks or self.get_quantization_layer_structure(mode)
            calibration = Calibration(resolved, blocks)
            layers = calibration.layers()
        for layer in layers:
            if layer._inner_layers() or not layer.weights or not wanted(layer):
                continue
            try:
                layer.quantize(mode, type_check=type_check, config=config)
            except NotImplementedError as error:
                warn(str(error))
        if calibration is not None:
            calibration.run()
        self._post_quantize(mode)

    def _post_quantize(self, mode, **kwargs):
        """Do what is due after `quantize`; programs are made anew in any case."""

    def get_quantization_layer_structure(self, mode: str | None = None):
        """Return which layers `quantize` fits to data, and in what order.

        Args:
            mode: `"gptq"` or `"awq"`.

        Returns:
            None; a subclass returns a dict: "pre_block_layers" are run first, then each
            of "sequential_blocks" is fitted to what comes out of the one before.
        """

    def _repr_html_(self):
        """Return its table and its picture, which a notebook shows."""
        from lamina.models.summary import html

        return html(self) if self.built else None

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ):
        """Print the layers, their shapes and their numbers of parameters.

        Args:
            line_length: the width in characters.
            positions: widths of the columns as fractions, or None.
            print_fn: a function that takes the whole text; `print` when None.
            expand_nested: whether models inside are opened.
            show_trainable: whether a column says what is trained.
            layer_range: the first and the last layer to show, as names or patterns.
        """
        print_summary(
            self,
            line_length,
            positions,
            print_fn,
            expand_nested,
            show_trainable,
            layer_range,
        )

    def forecast(
        self,
        batch_size: int = 32,
        input_shape: Any = None,
        target_shape: Shape | None = None,
        devices: int | None = None,
        distribution: Any = None,
        topology: str | None = None,
        memory: float | None = None,
    ):
        """Say what training and prediction will cost, without running a step.

        FLOPs, bytes and peak memory are XLA's figures for the compiled steps. The
        training step is the one that `fit` runs on batches that come one by one. Time
        is an estimate: FLOPs and bytes divided by what a short measurement of this
        machine gives, and a fixed time per kernel. No weight, metric or seed changes;
        what is not built is built.

        Args:
            batch_size: rows in one step.
            input_shape: shapes of the inputs, the batch first as None, as a list or
                dict where there are several. Needed where the model's own have other
                unknown sizes, and for a subclassed model that is not built. A
                `lamina.KerasTensor` in place of a shape tells a dtype as well.
            target_shape: likewise for the targets; None follows the outputs and the
                losses: integers for sparse ones, else arrays like the outputs.
            devices: how many devices will train together; they need not be there. The
                forecast then says what each holds and sends as well.
            distribution: how they do: a `lamina.distribution.Distribution`, or a
                function that makes one for these devices, as the classes are; None
                for the one that holds.
            topology: in place of `devices`, TPUs by a name such as `"v5e:4x4"`, for
                which the package `libtpu` compiles.
            memory: the bytes of memory that a device has; known for TPUs.

        Returns:
            A `Forecast`, which prints as a table. It has `trainable`, `frozen` and
            `optimizer` (`count`, `bytes`), and `training` and `prediction`
            (`flops`, `bytes_accessed`, `peak_bytes`, `estimated_seconds`,
            `samples_per_second`); `training` is None before `compile`. Of several
            devices it has `device` (`state_bytes`, `temp_bytes`, `peak_bytes`,
            `collectives`, `fits`, `advice`).

        Raises:
            ValueError: a size is not known, the model runs eagerly, or the devices do
                not go together with the distribution.
            ImportError: a topology is given without `libtpu`.

        >>> import lamina
        >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
        >>> forecast = model.forecast(batch_size=8)
        >>> forecast.trainable.count, forecast.training is None
        (8, True)
        """
        from lamina.diagnostics.forecast import forecast

        return forecast(
            self,
            batch_size,
            input_shape,
            target_shape,
            devices,
            distribution,
            topology,
            memory,
        )

    def get_config(self):
        """Return what it takes to make the model again, weights left out."""
        if self._drawn_graph is not None and takes_graph(type(self)):
            return graph_config(self)
        return super().get_config()

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None):
        """Make a model from what `get_config` returned."""
        if dict_for(cls, config).keys() >= set(GRAPH_KEYS) and takes_graph(cls):
            with CustomObjectScope(custom_objects), budgeted(), sharing():
                return graph_from_config(cls, config)
        if cls is Model:
            keys = ", ".join(GRAPH_KEYS)
            raise TypeError(f"A config of a `Model` needs the keys {keys}")
        return super().from_config(config)

    def get_state_tree(self, value_format: str = "backend_tensor"):
        """Return the values of all Variables as nested dicts by their paths.

        Args:
            value_format: `"backend_tensor"` or `"numpy_array"`.

        Raises:
            ValueError: two Variables have one path.
        """
        import numpy as np

        read = np.array if value_format == "numpy_array" else lambda v: v.value
        return {k: _tree_of(group, read) for k, group in state_groups(self).items()}

    def set_state_tree(self, state_tree: Any):
        """Set Variables from nested dicts as `get_state_tree` gives them.

        Raises:
            ValueError: a group or path that the model does not have.
        """
        groups = state_groups(self)
        for group, tree in state_tree.items():
            if group not in groups:
                raise ValueError(
                    f"Unknown variable name: {group}. It must be one of {list(groups)}."
                )
            known = {v.path: v for v in groups[group]}
            for path, value in _paths_of(tree):
                if path not in known:
                    raise ValueError(
                        f"The model has no Variable {path!r} among its {group}."
                        f"{nearest(path, known)}"
                    )
                known[path].assign(value)

    def to_json(self, **kwargs) -> str:
        """Return the architecture as JSON."""
        import json

        return json.dumps(serialize_shared(self), **kwargs)

    @boundary
    def save(
        self,
        filepath: str | PathLike,
        overwrite: bool = True,
        zipped: bool | None = None,
        **kwargs,
    ):
        """Save the whole model: architecture, weights, compile and optimizer state.

        Args:
            filepath: where to, ending in `.keras`.
            overwrite: whether a file that is there is replaced.
            zipped: kept for compatibility.
            **kwargs: what the file's format takes besides.
        """
        from lamina import saving

        saving.save_model(self, filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    @boundary
    def export(
        self,
        filepath: str | PathLike,
        format: str | None = None,
        verbose: bool | str | None = None,
        input_signature: Any = None,
        **kwargs,
    ):
        """Write the model as a program with its weights, for inference without code.

        `"stablehlo"` files are opened by `lamina.export.load`, and run wherever JAX
        does. `"onnx"` files are for ONNX Runtime and the like, and need the packages
        of `lamina[export]`. Sizes that are None stay open in both.

        Args:
            filepath: the file to write.
            format: `"stablehlo"` or `"onnx"`; None takes ONNX for a name that ends in
                `.onnx`, and StableHLO for others.
            verbose: whether to print what was written.
            input_signature: a list with a structure of `InputSpec` for each argument;
                None takes what the model was built for.
            kwargs: `platforms` for StableHLO, `opset_version` for ONNX.

        Raises:
            ValueError: the model is not built, takes text, or cannot be written in
                this format; the message names the layer.
            ImportError: a package that ONNX needs is missing.

        >>> import lamina, numpy as np, pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "model.lamina")
        >>> lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(1)]).export(path)
        >>> lamina.export.load(path)(np.zeros((7, 3))).shape
        (7, 1)
        """
        from lamina.export.exporting import export_model

        export_model(self, filepath, format, verbose, input_signature, kwargs)

    @boundary
    def save_weights(
        self,
        filepath: str | PathLike,
        overwrite: bool = True,
        max_shard_size: float | None = None,
    ):
        """Save the weights alone, to a file ending in `.weights.h5`."""
        from lamina import saving

        saving.save_weights(self, filepath, overwrite, max_shard_size)

    @boundary
    def load_weights(
        self, filepath: str | PathLike, skip_mismatch: bool = False, **kwargs
    ):
        """Load weights that `save_weights` or `save` wrote."""
        from lamina import saving

        saving.load_weights(self, filepath, skip_mismatch=skip_mismatch, **kwargs)


class _Drawn(type):
    """Lets a model of a subclass of Model count as Functional if it has a graph."""

    def __instancecheck__(cls, model):
        if super().__instancecheck__(model) or cls is not Functional:
            return super().__instancecheck__(model)
        drawn = isinstance(model, Model) and model._drawn_graph is not None
        return drawn and type(model).layers is Model.layers


class Functional(Model, metaclass=_Drawn):
    """A model given by its inputs and outputs; made by `Model(inputs, outputs)`.

    >>> import lamina
    >>> x = lamina.Input((3,))
    >>> isinstance(lamina.Model(x, lamina.layers.Dense(2)(x)), lamina.models.Functional)
    True
    """

    _saved_as = ("keras.src.models.functional", "Functional")

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs):
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)


def _carry_symbolic_masks(graph, outputs):
    """Give symbolic outputs the masks that the graph's own outputs have."""
    for output, inner in zip(structure.flatten(outputs), graph.outputs, strict=True):
        mask = get_mask(inner)
        if mask is not None:
            set_mask(output, SymbolicTensor(mask.shape, mask.dtype))


def _tree_of(variables, read):
    tree = {}
    for variable in variables:
        node = tree
        *scopes, name = variable.path.split("/")
        for scope in scopes:
            node = node.setdefault(scope, {})
        if name in node:
            raise ValueError(
                "The following variable path is found twice in the model: "
                f"'{variable.path}'. `get_state_tree()` can only be called when all "
                "variable paths are unique. Give your layers unique names."
            )
        node[name] = read(variable)
    return tree


def _paths_of(tree, prefix=""):
    for key, value in tree.items():
        path = f"{prefix}/{key}" if prefix else key
        if isinstance(value, dict):
            yield from _paths_of(value, path)
        else:
            yield path, value
