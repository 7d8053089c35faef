"""`Layer`: a callable that owns Variables and other layers.

A subclass checks and stores its arguments in `__init__`, makes its Variables in
`build`, and writes its formula in `call`. Everything else is here: building once,
casting, naming, masks, losses, drawing graphs, configs.
"""

import contextlib
import functools
import inspect
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any, TypedDict

import jax
import numpy as np

from lamina.core import structure
from lamina.core.arguments import SharedArguments
from lamina.core.config import Constructed, arguments_of
from lamina.core.constructor import all_parameters
from lamina.core.context import context, having, warn_once
from lamina.core.dtypes import is_float
from lamina.core.input_spec import check_inputs
from lamina.core.masks import get_mask, set_mask
from lamina.core.naming import (
    automatic_name,
    nearest,
    printable,
    snake_case,
    unchanged,
)
from lamina.core.operation import Operation
from lamina.core.owner import held_in, layers_in, leaves_of
from lamina.core.placement import (
    Distribution,
    distribution,
    fetched,
    note_first_call,
    output_path,
)
from lamina.core.policy import DTypePolicy, FloatDTypePolicy, get_policy
from lamina.core.random import SeedGenerator, seeds_as_now
from lamina.core.references import describe, make_again, remake
from lamina.core.registry import ours
from lamina.core.remat import remat_for
from lamina.core.rows import Rows
from lamina.core.symbolic import (
    Node,
    SymbolicTensor,
    any_symbolic,
    infer,
    is_symbolic,
)
from lamina.core.threads import check_fork
from lamina.core.tracebacks import hide_frames
from lamina.core.types import DType, Identifier, Initializer, Shape
from lamina.core.variable import Variable, binding
from lamina.layers.building import (
    as_shape,
    building,
    lock,
    map_shapes,
    spec_of,
    with_shapes,
)
from lamina.layers.call import (
    Arguments,
    is_mask,
    is_tensor,
    masks_of,
    plain_shape,
    signature_of,
)
from lamina.layers.owner import NOT_OWNED, LayerOwner, metrics_among, saved_variables
from lamina.layers.tensorflow_graph import as_symbols, drawn, in_tensorflow_graph

# Before the name of a layer, in an error that says where it happened.
_SAID = ("Layer", "layer", "Model", "model")
# Where a size must be known, it is each of these in turn: what it decides is told so.
_SIZES = (32, 64)
# Layers that hold losses added in their last call outside of compiled code.
_with_losses = weakref.WeakValueDictionary()  # by their `id`


@contextlib.contextmanager
def _named(fields, name):
    with fields, jax.named_scope(name):
        yield


class LayerArgs(TypedDict, total=False):
    """What type checkers know of the arguments of all layers.

    Args:
        data_format: `"channels_last"` or `"channels_first"`.
        name: its name.
        seed: an integer, for the same draws in each run.
    """

    name: str | None
    dtype: DType
    trainable: bool
    autocast: bool
    activity_regularizer: Identifier
    input_shape: Any


class Layer(Constructed, Operation, Rows, LayerOwner):
    """A callable that owns weights and other layers; the base of all layers.

    Args:
        activity_regularizer: a function of the outputs whose result joins the loss.
        trainable: whether its weights are trained.
        dtype: a dtype, a `DTypePolicy` or its name.
        autocast: whether float inputs are cast to the compute dtype.
        name: its name; made from the class's when None.

    Raises:
        ValueError: an unknown keyword argument, or a name with `/`.

    >>> import lamina, numpy as np
    >>> class Scale(lamina.layers.Layer):
    ...     def build(self, input_shape):
    ...         size = input_shape[-1]
    ...         self.factor = self.add_weight(shape=(size,), initializer="ones")
    ...     def call(self, x):
    ...         return x * self.factor
    >>> layer = Scale()
    >>> layer(np.ones((2, 3))).shape, layer.count_params()
    ((2, 3), 3)
    """

    _kind = "The layer"
    # Whether the arguments of a call are made arrays of the compute dtype.
    _convert_input_args = True
    # Whether what is not an array may be passed by position.
    _allow_non_tensor_positional_args = False
    autograph_info__: Any = None  # see `layers/tensorflow_graph.py`
    # Whether it reads integers, and does not compute with them.
    _reads_integers = False
    _not_walked = NOT_OWNED
    # Whether `activation` is the last thing that a call does.
    _ends_in_activation = False
    # Arguments that a call hands on to the calls inside, where those take them.
    _call_context_args: tuple[str, ...] = ("training",)
    # Whether masks of the inputs are handed on to the outputs.
    supports_masking = False
    supports_jit = True
    # Whether it is built when it is made: as the class itself says, or where neither
    # `build` is written nor, outside of this package, a `call`.
    _nothing_to_build = False
    # What it accepts: an InputSpec or a structure of them.
    input_spec: Any = None
    _saved_first = ("name", "trainable", "dtype", "activity_regularizer")
    _saved_never = ("autocast",)
    _saved_if_changed = ("activity_regularizer",)
    _saved_from = {"dtype": "dtype_policy"}
    _may_forget = True
    # Whether large numbers in its config ask for large things: see `core.budget`.
    _numbers_are_sizes = True
    activity_regularizer: Any
    _input_shape_given: Any
    _losses: list
    _replaced: dict
    _inbound_nodes: list
    _build_shapes: Any
    _path: str | None
    _closed: bool
    _called: bool
    _remat_mode: Any

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = building(cls.__dict__["build"])
        if "_nothing_to_build" not in cls.__dict__:
            cls._nothing_to_build = cls.build is Layer.build and ours(cls.call)

    def __init__(
        self,
        *,
        activity_regularizer: Identifier = None,
        trainable: bool = True,
        dtype: DType = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs,
    ):
        shape = _given_shape(type(self).__name__, kwargs) if kwargs else None
        if kwargs:
            known = all_parameters(type(self))
            raise ValueError(
                f"Unrecognized keyword arguments passed to {type(self).__name__}: "
                f"{kwargs}.{nearest(next(iter(kwargs)), known)} It takes: "
                f"{', '.join(known)}"
            )
        if name is None:
            name = automatic_name(snake_case(type(self).__name__))
        if not isinstance(name, str) or "/" in name:
            raise ValueError(
                f"`{type(self).__name__}` expected `name` to be a string without '/'. "
                f"Received: name={name!r}"
            )
        self.name = name
        if activity_regularizer is not None:
            activity_regularizer = self._given_object(
                _regularizer, "activity_regularizer", activity_regularizer
            )
        self.activity_regularizer = activity_regularizer
        self._dtype_policy = self._given_object(get_policy, "dtype", dtype)
        self.autocast = autocast
        if not isinstance(trainable, bool):
            raise ValueError(
                f"`{type(self).__name__}` expected `trainable` to be a boolean. "
                f"Received: trainable={trainable!r}"
            )
        # Kept aside: no compiled program hangs on these yet.
        self.__dict__.update(
            _trainable=trainable,
            _input_shape_given=shape,
            _variables=[],
            _losses=[],
            _replaced={},
            _inbound_nodes=[],
            _build_shapes=None,
            _path=None,
            _closed=False,
            _called=False,
            _remat_mode=context.remat,
        )
        self.built = self._nothing_to_build
        if type(self).compute_mask is not Layer.compute_mask:
            self.supports_masking = True

    def _given_object(self, get, name, value):
        """Return what `get` makes of an argument; an error names the argument too."""
        try:
            return get(value)
        except (ValueError, TypeError) as error:
            if isinstance(value, dict):  # it came from a file: its own error says more
                raise
            raise type(error)(
                f"`{type(self).__name__}` cannot use what it was given as `{name}`. "
                f"Received: {name}={value!r}. {error}"
            ) from None

    # ---- calling -------------------------------------------------------------

    def __call__(self, *args, **kwargs):
        """Run the layer: build it if need be, then `call`."""
        try:
            self._check_constructed()
            failed = None
            if "tensorflow" in sys.modules and in_tensorflow_graph(args, kwargs):
                specs, failed = self._specs_in_graph(*as_symbols(args, kwargs))
                if failed is None:
                    return drawn(self, specs, args, kwargs)
            call = Arguments(self, args, kwargs)
            self._check_spec(call)
            if context.configs.budget is not None:
                context.configs.budget.call(self)
            outermost = not context.calling
            arguments = call.take_arguments(context.arguments)
            self.__dict__["_called"] = True
            with self._entered(arguments):
                if outermost:
                    self._begin()
                if not self.built:
                    with lock:
                        self._build_once(call)
                if call.takes.masks:
                    call.take_masks()
                try:
                    outputs = self._run(call)
                except Exception as error:
                    _annotate(error, self, call)
                    if failed is not None:  # it may be what is wrong with `call`
                        raise error from failed
                    raise
                if Distribution.any_made:
                    outputs = self._laid_out(outputs)
                self._carry_mask(call, outputs)
                if self.activity_regularizer is not None:
                    self._collect_activity_loss(outputs)
            return outputs
        except Exception as error:
            hide_frames(error)
            raise

    def _begin(self):
        """Do what is due before the outermost of nested calls."""
        if context.losses is None and _with_losses:
            self._forget_losses()
        if context.remat is not None and context.remat != self._remat_mode:
            warn_once(
                "remat",
                f"Layer {self.name!r} was not made in this `RematScope`, which has no "
                "effect on it: layers follow the scope that they are made in.",
            )

    def _register_call_context_args(self, *names):
        """Let calls take more arguments that reach the layers inside, as `training`.

        Raises:
            RuntimeError: the layer was called already.
        """
        if self._called:
            raise RuntimeError(
                "Cannot add call-context args after the layer has been called. Do it "
                f"in `__init__()` of {type(self).__name__}."
            )
        known = self._call_context_args
        self._call_context_args = (*known, *(n for n in names if n not in known))

    @property
    def _call_has_training_arg(self):
        return signature_of(self.call).training

    @property
    def _call_has_mask_arg(self):
        return signature_of(self.call).mask

    def _check_new(self, name, value):
        closed = self.__dict__.get("_closed")
        if closed and any(layer is self for layer in context.calling):
            if parts := _parts_of(value):
                layers = layers_in(self)
                known = map(id, (*layers, *self.variables, *held_in(layers)))
                known = self._replaced.keys() | set(known)
                if any(id(x) not in known for x in parts):
                    self._check_open(name)
            # What is replaced may come back: `self.a, self.b = self.b, self.a`.
            replaced = _parts_of(self.__dict__.get(name))
            self._replaced.update((id(x), x) for x in replaced)

    def _check_open(self, what):
        """Raise for weights and layers made too late to be trained or saved."""
        if self.__dict__.get("_closed"):
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}) is built already, so you "
                f"cannot add new elements of state such as {what!r} to it: what a "
                "`call` makes anew each time, or a second `build`, would never be "
                "trained. Make weights and layers in `__init__()` or in `build()`, "
                "once."
            )

    def _check_spec(self, call):
        if self.input_spec is None:
            return
        try:
            check_inputs(self.input_spec, call.first, self)
        except ValueError as error:
            if len(context.calling) < 2:  # the layer's name says where it is
                _mark_noted(error, self)
            raise

    def _entered(self, arguments=None):
        """Hold the call-context arguments, name scope and compute dtype of a call."""
        policy = self._policy
        compute = policy.compute_dtype
        casts = self.autocast and compute != policy.variable_dtype and is_float(compute)
        again = context.calling and context.calling[-1] is self
        fields = having(
            arguments=context.arguments if arguments is None else arguments,
            calling=context.calling if again else (*context.calling, self),
            scopes=context.scopes if again else (*context.scopes, self.name),
            autocast=compute if casts else None,
        )
        named = context.frames and context.runs("named")
        return _named(fields, self.name) if named else fields

    def _build_once(self, call):
        if self.built:  # another thread did it meanwhile
            return
        shapes = call.shapes
        target = type(self).build
        with having(autocast=None, remat=self._remat_mode):
            if target is Layer.build:
                self._build_by_tracing(call)
                self.built = True
            else:
                with_shapes(self, self.build, shapes, call.mask_shapes)
        self._closed = True
        if context.measured is not None:
            self.__dict__["_asked_for_shape"] = True
        self._build_shapes = self._build_shapes or shapes
        self._check_spec(call)

    def _build_by_tracing(self, call):
        """Build the layers inside by running `call` on shapes alone."""
        if all(layer.built for layer in layers_in(self, include_self=False)):
            return
        tensors = {k: _symbolic_like(v) for k, v in call.tensors.items()}
        arguments = {**call.by_name, **tensors}
        bound = inspect.BoundArguments(call.takes.signature, arguments)
        # A call that cannot be traced builds its layers when it runs for true, and
        # fails there, where the user can see it.
        with contextlib.suppress(Exception):
            infer(self.call, *bound.args, **bound.kwargs)

    def _run(self, call):
        if any_symbolic(call.args, call.kwargs):
            return self._record(call)
        check_fork()
        run = self.call if self.quantization_mode is None else self.quantized_call
        if self._remat_mode is not None:
            run = self.rematerialized_call(run, *call.args, **call.kwargs)
        return run(*call.args, **call.kwargs)

    def _laid_out(self, outputs):
        """Return the outputs as the distribution that holds says."""
        now = distribution()
        if now is None:
            return outputs
        note_first_call(self)
        if context.runs("symbolic"):
            return outputs
        path = output_path(self)
        return structure.map_leaves(lambda x: now.lay_out_output(x, path), outputs)

    def _record(self, call):
        """Infer the outputs' shapes and note the call in the graph."""
        args, kwargs = call.cast_for_inference()
        outputs = self.compute_output_spec(*args, **kwargs)
        outputs = structure.map_leaves(_own_tensor, outputs)
        kwargs = {k: _drawn_mask(k, v) for k, v in call.kwargs.items()}
        if not call.flag_given:
            kwargs.pop("training", None)
        Node(self, call.args, kwargs, outputs)
        return outputs

    def _carry_mask(self, call, outputs):
        if self.supports_masking:
            previous = list(map(masks_of, call.tensors.values()))
            if len(previous) == 1 or all(m is None for m in previous):
                previous = previous[0] if previous else None
            if previous is None and type(self).compute_mask is Layer.compute_mask:
                return
            mask = self.compute_mask(call.first, previous)
            if mask is None:
                return
            flat = [x for x in structure.flatten(outputs) if is_tensor(x)]
            masks = [mask] if is_tensor(mask) else structure.flatten(mask)
            for output, one in zip(flat, masks, strict=False):
                if one is not None and get_mask(output) is None:
                    set_mask(output, one)
        elif not call.masked and not (self._keeps_masks and ours(type(self))):
            masks = [get_mask(x) for x in leaves_of(call.tensors) if is_tensor(x)]
            masks = [m for m in masks if m is not None]
            if masks and (not self._keeps_masks or _lost(masks, outputs)):
                warn_once(
                    "mask",
                    f"Layer {self.name!r} ({type(self).__name__}) was passed an input "
                    "with a mask attached to it. However, this layer does not support "
                    "masking and will therefore destroy the mask information. "
                    "Downstream layers will not see the mask. Set `supports_masking = "
                    "True`, or write `lamina.ops.tanh(x)` for `jax.numpy.tanh(x)`: "
                    "functions of JAX carry no masks.",
                )

    @property
    def _keeps_masks(self):
        """Whether masks pass through its `call`: by itself, or by layers inside."""
        return self.supports_masking or bool(self._inner_layers())

    def _carried(self, inputs, mask):
        """Return what `call` gets of a mask that its inputs carry."""
        return mask

    def _collect_activity_loss(self, outputs):
        for output in structure.flatten(outputs):
            if is_tensor(output) and not isinstance(output, SymbolicTensor):
                rows = output.shape[0] if output.ndim else 1
                self.add_loss(self.activity_regularizer(output) / rows)

    def call(self, *args, **kwargs):
        """Compute the outputs; every layer writes its own."""
        raise NotImplementedError(
            f"Layer {type(self).__name__} does not have a `call` method implemented."
        )

    def quantized_call(self, *args, **kwargs):
        """Compute the outputs where `quantization_mode` is set; a layer may differ."""
        return self.call(*args, **kwargs)

    def stateless_call(
        self,
        trainable_variables: Any,
        non_trainable_variables: Any,
        *args,
        return_losses: bool = False,
        **kwargs,
    ) -> Any:
        """Call the layer with all state given and returned.

        Args:
            trainable_variables: values of `self.trainable_variables`, in order.
            non_trainable_variables: values of `self.non_trainable_variables`.
            args: arguments of the call.
            return_losses: whether to return the losses too.
            kwargs: keyword arguments of the call.

        Returns:
            `(outputs, non_trainable_variables)`, and the losses when asked.

        Raises:
            ValueError: the layer is not built, or the values are too few or many.
        """
        self._check_constructed()
        if not self.built:
            raise ValueError(
                f"To call stateless_call, {type(self).__name__} {self.name!r} must be "
                "built (i.e. its variables must have been already created). You can "
                "build it by calling it on some data."
            )
        trainable, frozen = self.trainable_variables, self.non_trainable_variables
        for kind, variables, values in (
            ("trainable_variables", trainable, trainable_variables),
            ("non_trainable_variables", frozen, non_trainable_variables),
        ):
            if len(values) != len(variables):
                raise ValueError(
                    f"Argument `{kind}` must be a list of {len(variables)} values, one "
                    f"for each of `layer.{kind}`. Received: {len(values)} values"
                )
        given = (*trainable_variables, *non_trainable_variables)
        values = [v.raw_value if isinstance(v, Variable) else v for v in given]
        losses = []
        with binding((*trainable, *frozen), values) as bound:
            with having(losses=losses if return_losses else []):
                outputs = self(*args, **kwargs)
                if return_losses:
                    losses = losses + self._regularization_losses()
            new = list(bound.current()[len(trainable) :])
        return (outputs, new, losses) if return_losses else (outputs, new)

    def rematerialized_call(self, layer_call: Callable, *args, **kwargs):
        """Return `layer_call` as the `RematScope` that the layer was made in wants it.

        Args:
            layer_call: the layer's `call`, or what stands for it.
            args: what it will be called with; its outputs may count by their size.
            kwargs: likewise.
        """
        return remat_for(
            self._remat_mode,
            layer_call,
            self.name,
            getattr(self, "activation", None) is not None,
            lambda: self.compute_output_spec(*args, **kwargs),
        )

    # ---- building ------------------------------------------------------------

    def build(self, input_shape: Any):
        """Make the Variables; a layer without any need not write it."""
        self.built = True

    def _finish_build(self):
        """Do what comes after `build`, also that of a subclass."""

    def add_weight(
        self,
        shape: Shape | None = None,
        initializer: Initializer = None,
        dtype: DType = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Identifier = None,
        constraint: Identifier = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """Make a Variable that the layer owns.

        Args:
            shape: its shape; `()` when None.
            initializer: an initializer or its name; `"glorot_uniform"` for floats,
                `"zeros"` otherwise.
            dtype: its dtype; the policy's variable dtype when None.
            trainable: whether it is trained.
            autocast: whether it is read in the compute dtype.
            regularizer: a regularizer or its name.
            constraint: a constraint or its name.
            aggregation: how copies on several devices combine.
            overwrite_with_gradient: whether optimizers store the gradient in it.
            name: the last part of its path.
        """
        self._check_constructed()
        self._check_open(name or "a weight")
        if isinstance(shape, str):
            raise ValueError(
                "`add_weight` takes the shape first and `name` as a keyword argument: "
                f"`self.add_weight(shape=..., name={shape!r})`. Received: "
                f"shape={shape!r}"
            )
        from lamina import constraints, initializers

        dtype = dtype if dtype is not None else self.variable_dtype
        if initializer is None:
            initializer = "glorot_uniform" if is_float(dtype) else "zeros"
        # What is added later belongs under the name that the layer was built with.
        late = self._path and not context.scopes
        variable = self._make_own_variable(
            (self._path,) if late else context.scopes,
            initializers.get(initializer),
            shape=shape if shape is not None else (),
            dtype=dtype,
            trainable=trainable,
            autocast=autocast,
            aggregation=aggregation,
            name=name,
        )
        variable.regularizer = _regularizer(regularizer)
        variable.constraint = constraints.get(constraint)
        variable.overwrite_with_gradient = overwrite_with_gradient
        variable.trainable = variable.trainable and self._trainable
        return variable

    add_variable = add_weight

    @property
    def _tracker(self):
        """Lets `unlock()` and `lock()` frame changes to a layer that is built.

        `track` gives back what it gets: attributes say what is owned.
        """
        close = functools.partial(setattr, self, "_closed")
        return types.SimpleNamespace(
            unlock=functools.partial(close, False),
            lock=functools.partial(close, True),
            track=lambda value: value,
        )

    def get_build_config(self):
        """Return the shapes it was built with, or None."""
        shapes = self._build_shapes
        if shapes is None:
            return None
        if type(self).build is Layer.build and not self._inner_layers():
            return None  # there is nothing to build
        if len(shapes) == 1:
            return {"input_shape": next(iter(shapes.values()))}
        return {"shapes_dict": dict(shapes)}

    def build_from_config(self, config: dict):
        """Build it with the shapes that `get_build_config` returned."""
        if self.built or not config:
            return
        if "shapes_dict" in config:
            shapes = {k: as_shape(v) for k, v in config["shapes_dict"].items()}
            with_shapes(self, self.build, shapes)
        elif config.get("input_shape") is not None:
            self.build(as_shape(config["input_shape"]))

    # ---- shapes --------------------------------------------------------------

    def compute_output_spec(self, *args, **kwargs):
        """Return what a call would give, as symbolic tensors."""
        call = self.call
        if type(self).compute_output_shape is not Layer.compute_output_shape:
            if context.measured is not self:
                return self._spec_from_shape(args, kwargs)
            # Asked for by `super()` in it: what the layer below gives.
            mro = type(self).__mro__
            own = [c for c in mro if "compute_output_shape" in vars(c)][-2]
            call = super(own, self).call  # pyright: ignore
            if call.__func__ is Layer.call:
                raise _no_shape(self)
        return self._spec_of(call, args, kwargs)

    def _spec_of(self, call, args, kwargs):
        asks_in_build = any(layer is self for layer in context.calling)
        with self._entered():
            if not self.built and not asks_in_build:
                with lock:
                    self._build_once(Arguments(self, args, kwargs))
            return infer(call, *args, **kwargs)

    def _specs_in_graph(self, args, kwargs):
        """Return what a call in TensorFlow's graph gives, or why it is TensorFlow's.

        Without `_convert_input_args`, `call` may be written with TensorFlow, which
        takes tensors of its own alone: nothing but a try tells.
        """
        if not self._convert_input_args:
            try:
                return self._spec_of(self.call, args, kwargs), None
            except jax.errors.ConcretizationTypeError:
                pass  # JAX computes, and needs values
            except Exception as error:
                hide_frames(error)
                return None, error
        return self.compute_output_spec(*args, **kwargs), None

    def _spec_from_shape(self, args, kwargs):
        shapes = Arguments(self, args, kwargs).shapes
        result = with_shapes(self, self.compute_output_shape, shapes)
        return spec_of(result, self.compute_dtype)

    def compute_output_shape(self, *args, **kwargs):
        """Return the shape of the outputs for the shape of the inputs.

        No data is computed. A built-in layer is not built by it; one of your own is,
        unless it writes this method. What hangs on an unknown size is unknown.
        """
        if type(self).call is Layer.call:
            raise _no_shape(self)
        names = signature_of(self.call).names
        given = dict(zip(names, args, strict=False))
        given |= {k.removesuffix("_shape"): v for k, v in kwargs.items()}
        if list(given) == ["input"]:  # however `call` names its one argument
            given = {names[0]: given["input"]}
        undraw = seeds_as_now()
        copy = self._unbuilt_copy()
        try:
            return self._shape_given(given, copy or self)
        except Exception:
            filled = [map_shapes(_fill(size), given) for size in _SIZES]
            if copy is None or given == filled[0]:
                raise
            with contextlib.suppress(Exception):  # the first one says more
                found = [self._shape_given(one, self._unbuilt_copy()) for one in filled]
                return structure.map_leaves(lambda a, b: a if a == b else None, *found)
            raise
        finally:
            if copy is not None:
                undraw()

    def _shape_given(self, shapes, asked):
        """Return the shape of what a layer like this one gives for shapes by name."""
        names = signature_of(self.call).names
        tensors = {k: spec_of(v, self.input_dtype) for k, v in shapes.items()}
        by_place = list(tensors) == names[: len(tensors)]
        with having(measured=asked):
            result = (
                asked.compute_output_spec(*tensors.values())
                if by_place
                else asked.compute_output_spec(**tensors)
            )
        return structure.map_leaves(lambda t: t.shape, result)

    def _unbuilt_copy(self):
        """Return what can be asked for a shape, and be built for that, in its place."""
        if self.built or not ours(type(self)) or self in context.calling:
            return None
        with unchanged(), contextlib.suppress(NotImplementedError):
            return make_again(self)
        return None  # it holds what has no config

    def compute_mask(self, inputs: Any, previous_mask: Any):
        """Return the mask of the outputs."""
        return previous_mask

    # ---- files ---------------------------------------------------------------

    def save_own_variables(self, store: Any):
        """Write the values of this layer's own Variables into a dict-like store."""
        for name, variable in saved_variables(self).items():
            store[name] = fetched(variable.raw_value)

    def load_own_variables(self, store: Any):
        """Read the values of this layer's own Variables from a dict-like store.

        Raises:
            ValueError: the store holds another number of values.
        """
        own = saved_variables(self)
        if len(store.keys()) != len(own):
            if not own and not self.built:
                raise ValueError(
                    f"Layer {self.name!r} ({type(self).__name__}) was never built and "
                    f"thus it doesn't have any variables, but {len(store.keys())} are "
                    "to be loaded into it. Build the model by calling it on data, or "
                    "let its `build()` make or build every layer that it holds."
                )
            raise ValueError(
                f"Layer {self.name!r} expected {len(own)} variables, but received "
                f"{len(store.keys())} variables during loading. Expected: "
                f"{[v.path for v in own.values()]}"
            )
        for name, variable in own.items():
            variable.assign(np.asarray(store[name]))

    # ---- losses --------------------------------------------------------------

    def add_loss(self, loss: Any):
        """Add a scalar, or a list of them, to the loss of the model; call in `call`."""
        for one in structure.flatten(loss):
            if isinstance(one, SymbolicTensor):
                raise ValueError(
                    "`add_loss` takes the value of a loss inside `call`, not a "
                    "symbolic tensor. Put it into a Layer's `call`."
                )
            if context.losses is not None:
                context.losses.append(one)
            else:
                self._losses.append(one)
                _with_losses[id(self)] = self

    def add_metric(self, *args, **kwargs):
        """Refuse: make the metric an attribute and update it in `call`."""
        raise NotImplementedError(
            "Layer `add_metric()` method is deprecated. Keep the metric as an "
            "attribute of the layer or model and call its `update_state` in `call()`."
        )

    def _regularization_losses(self):
        return [
            v.regularizer(v.raw_value)
            for v in self.trainable_weights
            if v.regularizer is not None
        ]

    def _forget_losses(self):
        for layer in layers_in(self):
            layer._losses.clear()
            _with_losses.pop(id(layer), None)

    _clear_losses = _forget_losses

    @property
    def losses(self) -> list:
        """The losses of the last call, and those of regularizers."""
        if context.losses is not None:
            added = context.losses
        else:
            added = [loss for layer in layers_in(self) for loss in layer._losses]
        return [*added, *self._regularization_losses()]

    # ---- names, dtypes, configs ----------------------------------------------

    @property
    def dtype_policy(self):
        """In what dtype it keeps its weights and computes; set it or give a name."""
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value):
        policy = get_policy(value)
        quantizes = policy.quantization_mode is not None and self.__dict__.get("built")
        quantizes = quantizes and self.quantization_mode is None
        before: Any = self.__dict__.get("_dtype_policy")
        self._dtype_policy = policy
        if quantizes:
            try:
                self.quantize(policy.quantization_mode)
            except BaseException:
                self._dtype_policy = before
                raise

    @property
    def _policy(self):
        """The policy, or what a map of policies has for the layer's path."""
        policy: Any = self._dtype_policy
        if hasattr(policy, "default_policy"):
            return policy[self.path or self.name]
        return policy

    @property
    def quantization_mode(self):
        """How it keeps its kernel, such as "int8"; None for floats."""
        return self._policy.quantization_mode

    @property
    def dtype(self) -> str:
        """The dtype of its weights."""
        return self.variable_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype of its weights."""
        return self._policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        """The dtype that it computes in."""
        return self._policy.compute_dtype

    @property
    def input_dtype(self) -> str:
        """The dtype that its float inputs are cast to."""
        return self._policy.compute_dtype

    @property
    def _trains_by_default(self):
        return bool(signature_of(self.call).defaults.get("training"))

    @property
    def _takes_integers(self):
        """Whether integers stay what they are in a graph of half precision."""
        inner = layers_in(self)
        return self._moves_entries or any(layer._reads_integers for layer in inner)

    @property
    def path(self):
        """Its name with the names of the layers it was built in."""
        return self._path

    @classmethod
    def from_config(cls, config: dict):
        """Make a layer from what `get_config` returned."""
        config = arguments_of(config, cls)
        policy = config.get("dtype")
        if policy is not None and type(policy) in (DTypePolicy, FloatDTypePolicy):
            config["dtype"] = policy.name  # a constructor may compare it with a text
        taken = all_parameters(cls)
        # A constructor without `**kwargs` does not take what every layer has.
        left = {k: config.pop(k) for k in _EVERY if k in config and k not in taken}
        layer = cls(**config)
        for name, value in left.items():
            if name != "trainable" or value is False:
                setattr(layer, _EVERY[name], value)
        return layer

    def quantize(
        self,
        mode: str | None = None,
        type_check: bool = True,
        config: dict | None = None,
    ):
        """Refuse: layers with a kernel write their own."""
        raise NotImplementedError(
            f"Layer {type(self).__name__} does not have a `quantize` method "
            "implemented."
        )

    def quantized_build(self, input_shape: Any, mode: str):
        """Refuse: layers with a kernel write their own."""
        raise NotImplementedError(
            f"Layer {type(self).__name__} does not have a `quantized_build` method "
            "implemented."
        )

    def __repr__(self):
        name = printable(self.name)
        return f"<{type(self).__name__} name={name}, built={self.built}>"

    def __reduce__(self):
        return remake, describe(self, lambdas=False)

    def __deepcopy__(self, memo):
        return remake(*describe(self))


# What every layer takes, and the attribute that it is kept in.
_EVERY = {"name": "name", "trainable": "trainable", "dtype": "dtype_policy"}


Layer._arguments = SharedArguments(LayerArgs)


def _regularizer(identifier) -> Any:
    if identifier is None:
        return None
    from lamina import regularizers

    return regularizers.get(identifier)


def _parts_of(value):
    """Return what holds state in an attribute's value."""
    leaves = list(leaves_of([value]))
    parts = (Layer, Variable, SeedGenerator)
    return [x for x in leaves if isinstance(x, parts)] + metrics_among(leaves)


def _lost(masks, outputs):
    """Tell whether outputs have the entries that masks are about, and no mask.

    What layers inside make of masks shows when they run, not while they are drawn.
    """
    outputs = [x for x in leaves_of([outputs]) if is_tensor(x) and not is_symbolic(x)]
    if any(get_mask(x) is not None for x in outputs):
        return False
    shapes = [plain_shape(x) for x in outputs]
    return any(shape[: m.ndim] == plain_shape(m) for shape in shapes for m in masks)


def given_shape(layer):
    """Return the shape that a layer was given as `input_shape`, or None."""
    return getattr(layer, "_input_shape_given", None)


def ends_in_activation(operation) -> bool:
    """Tell whether `activation` is the last thing that a call does."""
    return getattr(operation, "_ends_in_activation", False)


def _given_shape(owner, kwargs):
    """Take `input_shape=` and its older forms out of the keyword arguments."""
    batch_size = kwargs.pop("batch_size", None)
    if "batch_input_shape" in kwargs or "batch_shape" in kwargs:
        shape = kwargs.pop("batch_input_shape", None) or kwargs.pop("batch_shape", None)
        return tuple(shape)
    if "input_dim" in kwargs:
        kwargs.setdefault("input_shape", (kwargs.pop("input_dim"),))
    if "input_shape" not in kwargs:
        return None
    shape = kwargs.pop("input_shape")
    if isinstance(shape, int):
        raise ValueError(
            f"`{owner}` expected `input_shape` to be a tuple such as ({shape},). "
            f"Received: input_shape={shape}"
        )
    return (batch_size, *shape) if shape is not None else None


def _own_tensor(x):
    """Return a tensor that no other call has made: some layers give back inputs."""
    if isinstance(x, SymbolicTensor) and x.node is not None:
        return SymbolicTensor(x.shape, x.dtype)
    return x


def _drawn_mask(name, value):
    """Return an argument without masks that no call in the graph has made.

    Those come out of a model inside, and flow with its arrays when the graph runs.
    """
    if not is_mask(name):
        return value

    def drawn(x):
        return None if isinstance(x, SymbolicTensor) and x.node is None else x

    return structure.map_leaves(drawn, value)


def _symbolic_like(value):
    def convert(x):
        if not is_tensor(x) or isinstance(x, SymbolicTensor):
            return x
        text = getattr(x.dtype, "kind", "f") in "OSUT"
        return SymbolicTensor(plain_shape(x), "string" if text else x.dtype)

    return structure.map_leaves(convert, value)


def _mark_noted(error, layer):
    with contextlib.suppress(AttributeError):
        error._lamina_noted = layer


def noted(error):
    """Return the layer that an error is known to come from, or None."""
    return getattr(error, "_lamina_noted", None)


def _no_shape(layer):
    return NotImplementedError(
        f"Layer {type(layer).__name__} does not have a `compute_output_shape` "
        "method implemented."
    )


def _fill(size):
    """Return a function of shapes that puts a size where one beyond rows is unknown."""
    return lambda shape: (*shape[:1], *(size if n is None else n for n in shape[1:]))


def _annotate(error, layer, call):
    """Note on an exception where it came from, once, unless it says so itself."""
    if noted(error) is not None:
        return
    where = "/".join(context.scopes) or layer.name
    _mark_noted(error, layer)
    checked = type(error) in (ValueError, TypeError)
    if checked and any(f"{word} {where!r}" in str(error) for word in _SAID):
        return

    def shown(x):
        if is_tensor(x):
            return f"{x.dtype}{list(plain_shape(x))}"
        return repr(x) if len(repr(x)) < 60 else type(x).__name__

    lines = [
        f"  {k}: {structure.map_leaves(shown, v)}" for k, v in call.by_name.items()
    ]
    error.add_note(
        f"\nThis happened in layer {where!r} ({type(layer).__name__}), called with\n"
        + "\n".join(lines)
    )
