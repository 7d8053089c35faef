"""`Layer`: a callable that owns Variables and other layers.

A subclass checks and stores its arguments in `__init__`, makes its Variables in
`build`, and writes its formula in `call`. Everything else is here: building once,
casting, naming, masks, losses, drawing graphs, configs.
"""

import contextlib
import functools
import inspect
import itertools
import operator
import warnings
from typing import Any

import numpy as np

from lamina.core import structure
from lamina.core.config import (
    deserialize_keras_object,
    encode_parameter,
    parameters_of,
    serialize_keras_object,
)
from lamina.core.context import context, having
from lamina.core.dtypes import is_float
from lamina.core.held import describe, remake
from lamina.core.masks import get_mask, set_mask
from lamina.core.naming import automatic_name, snake_case
from lamina.core.policy import get_policy
from lamina.core.random import SeedGenerator
from lamina.core.symbolic import Node, SymbolicTensor, any_symbolic, infer
from lamina.core.variable import Variable, binding
from lamina.layers.call import (
    Arguments,
    is_mask,
    is_tensor,
    masks_of,
    plain_shape,
    signature_of,
)
from lamina.layers.input_spec import InputSpec, check_inputs

# Counts layers and assignments, to tell which came first.
_clock = itertools.count(1)
# Attributes that hold layers or Variables without owning them.
_NOT_OWNED = frozenset(
    {"_inbound_nodes", "_given", "_times", "_losses", "_build_shapes"}
)


class Layer:
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

    _tensors_only = True
    _takes_text = False
    _not_walked = _NOT_OWNED
    _given: tuple
    _times: dict[str, int]
    _made_at: int

    def __new__(cls, *args, **kwargs):
        """Keep the constructor's arguments: configs are read from them."""
        layer = super().__new__(cls)
        layer.__dict__["_given"] = (args, kwargs)
        layer.__dict__["_times"] = {}
        layer.__dict__["_made_at"] = next(_clock)
        return layer

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _building(cls.__dict__["build"])

    def __init__(
        self,
        *,
        activity_regularizer=None,
        trainable=True,
        dtype=None,
        autocast=True,
        name=None,
        **kwargs,
    ):
        self._input_shape_given = _given_shape(type(self).__name__, kwargs)
        if kwargs:
            raise ValueError(
                f"Unrecognized keyword arguments passed to {type(self).__name__}: "
                f"{kwargs}. It takes: {', '.join(_all_parameters(type(self)))}"
            )
        if name is None:
            name = automatic_name(snake_case(type(self).__name__))
        if not isinstance(name, str) or "/" in name:
            raise ValueError(
                f"`{type(self).__name__}` expected `name` to be a string without '/'. "
                f"Received: name={name!r}"
            )
        self.name = name
        self.activity_regularizer = _regularizer(activity_regularizer)
        self.dtype_policy = get_policy(dtype)
        self.autocast = autocast
        self._trainable = bool(trainable)
        # A layer of ours without `build` has nothing to make.
        ours = type(self).__module__.startswith("lamina.layers.")
        self.built = ours and type(self).build is Layer.build
        self.supports_masking = False
        self.input_spec = None
        self._variables = []
        self._losses = []
        self._inbound_nodes = []
        self._build_shapes = None
        self._path = None
        self._closed = False

    # ---- calling -------------------------------------------------------------

    def __call__(self, *args, **kwargs):
        """Run the layer: build it if need be, then `call`."""
        self._check_constructed()
        call = Arguments(self, args, kwargs)
        self._check_spec(call)
        outermost = not context.calling
        call.take_training(context.training)
        with self._entered(call.training):
            if outermost and context.losses is None:
                self._forget_losses()
            self._build_once(call)
            call.take_masks()
            try:
                outputs = self._run(call)
            except Exception as error:
                _annotate(error, self, call)
                raise
            self._carry_mask(call, outputs)
            self._collect_activity_loss(outputs)
        return outputs

    def _check_constructed(self):
        if "_inbound_nodes" not in self.__dict__:
            name = type(self).__name__
            raise RuntimeError(
                f"In layer {name!r}, you forgot to call `super().__init__()` as the "
                f"first statement of `__init__()`:\n\n"
                f"    class {name}(...):\n"
                f"        def __init__(self, ..., **kwargs):\n"
                f"            super().__init__(**kwargs)   # first\n"
            )

    def __setattr__(self, name, value):
        if isinstance(value, (Layer, list, tuple, dict)):
            self._times[name] = next(_clock)
        if isinstance(value, (Layer, Variable)) and any(
            layer is self for layer in context.calling
        ):
            self._check_open(name)
        super().__setattr__(name, value)

    def _check_open(self, what):
        """Raise for weights and layers made too late to be trained or saved."""
        if self.__dict__.get("_closed"):
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}) is built already, so "
                f"{what!r} cannot be added to it: what a `call` makes anew each time, "
                "or a second `build`, would never be trained. Make weights and layers "
                "in `__init__()` or in `build()`, once."
            )

    def _check_spec(self, call):
        if self.input_spec is not None:
            check_inputs(self.input_spec, call.first, self)

    @contextlib.contextmanager
    def _entered(self, training):
        """Hold the training flag, the name scope and the compute dtype of a call."""
        compute = self.compute_dtype
        casts = self.autocast and compute != self.variable_dtype and is_float(compute)
        again = context.calling and context.calling[-1] is self
        with having(
            training=training,
            calling=context.calling if again else (*context.calling, self),
            scopes=context.scopes if again else (*context.scopes, self.name),
            autocast=compute if casts else None,
        ):
            yield

    def _build_once(self, call):
        if self.built:
            return
        shapes = call.shapes
        target = type(self).build
        with having(autocast=None):
            if target is Layer.build:
                self._build_by_tracing(call)
                self.built = True
            else:
                _call_build(self, shapes)
        self._closed = True
        self._build_shapes = self._build_shapes or shapes
        self._check_spec(call)

    def _build_by_tracing(self, call):
        """Build the layers inside by running `call` on shapes alone."""
        if all(layer.built for layer in self._flatten_layers(include_self=False)):
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
        if context.remat is not None:
            return context.remat(self, call)
        return self.call(*call.args, **call.kwargs)

    def _record(self, call):
        """Infer the outputs' shapes and note the call in the graph."""
        args, kwargs = call.cast_for_inference()
        outputs = self.compute_output_spec(*args, **kwargs)
        outputs = structure.map_leaves(_own_tensor, outputs)
        kwargs = {k: _drawn_mask(k, v) for k, v in call.kwargs.items()}
        Node(self, call.args, kwargs, outputs)
        return outputs

    def _carry_mask(self, call, outputs):
        if self.supports_masking:
            previous = [masks_of(v) for v in call.tensors.values()]
            previous = previous[0] if len(previous) == 1 else previous or None
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
        elif not call.masked and not self._inner_layers():
            self._warn_of_lost_mask(call)

    def _warn_of_lost_mask(self, call):
        if any(masks_of(v) is not None for v in call.tensors.values()):
            warnings.warn(
                f"Layer {self.name!r} ({type(self).__name__}) was passed an input with "
                "a mask attached to it. However, this layer does not support masking "
                "and will therefore destroy the mask information. Downstream layers "
                "will not see the mask.",
                stacklevel=4,
            )

    def _collect_activity_loss(self, outputs):
        if self.activity_regularizer is None:
            return
        for output in structure.flatten(outputs):
            if is_tensor(output) and not isinstance(output, SymbolicTensor):
                rows = output.shape[0] if output.ndim else 1
                self.add_loss(self.activity_regularizer(output) / rows)

    def call(self, *args, **kwargs):
        """Compute the outputs; every layer writes its own."""
        raise NotImplementedError(
            f"Layer {type(self).__name__} does not have a `call()` method implemented."
        )

    def symbolic_call(self, *args, **kwargs):
        """Infer the outputs' shapes and note the call in the graph."""
        outputs = self.compute_output_spec(*args, **kwargs)
        Node(self, args, kwargs, outputs)
        return outputs

    def stateless_call(
        self,
        trainable_variables,
        non_trainable_variables,
        *args,
        return_losses=False,
        **kwargs,
    ):
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

    def rematerialized_call(self, layer_call, *args, **kwargs):
        """Return `layer_call` such that its activations are computed again backward."""
        import jax

        @functools.wraps(layer_call)
        def again(*args, **kwargs):
            return jax.checkpoint(lambda a, k: layer_call(*a, **k))(args, kwargs)

        return again

    # ---- building ------------------------------------------------------------

    def build(self, input_shape):
        """Make the Variables; a layer without any need not write it."""
        self.built = True

    def _finish_build(self):
        """Do what comes after `build`, also that of a subclass."""

    def add_weight(
        self, shape=None, initializer=None, dtype=None, trainable=True, autocast=True,
        regularizer=None, constraint=None, aggregation="none",
        overwrite_with_gradient=False, name=None,
    ) -> Variable:  # fmt: skip
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
        from lamina import constraints, initializers

        dtype = dtype if dtype is not None else self.variable_dtype
        if initializer is None:
            initializer = "glorot_uniform" if is_float(dtype) else "zeros"
        variable = Variable(
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
        self._variables.append(variable)
        return variable

    add_variable = add_weight

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

    def build_from_config(self, config):
        """Build it with the shapes that `get_build_config` returned."""
        if self.built or not config:
            return
        if "shapes_dict" in config:
            shapes = {k: _as_shape(v) for k, v in config["shapes_dict"].items()}
            _call_build(self, shapes)
        elif config.get("input_shape") is not None:
            self.build(_as_shape(config["input_shape"]))

    # ---- shapes --------------------------------------------------------------

    def compute_output_spec(self, *args, **kwargs):
        """Return what a call would give, as symbolic tensors."""
        if type(self).compute_output_shape is not Layer.compute_output_shape:
            return self._spec_from_shape(args, kwargs)
        with self._entered(context.training):
            if not self.built:
                self._build_once(Arguments(self, args, kwargs))
            return infer(self.call, *args, **kwargs)

    def _spec_from_shape(self, args, kwargs):
        shapes = Arguments(self, args, kwargs).shapes
        takes = signature_of(self.compute_output_shape)
        if len(shapes) == 1 or list(takes.names)[:1] == ["input_shape"]:
            result = self.compute_output_shape(next(iter(shapes.values())))
        else:
            named = {k: v for k, v in shapes.items() if takes.takes(k)}
            result = self.compute_output_shape(**named)
        return _spec(result, self.compute_dtype)

    def compute_output_shape(self, *args, **kwargs):
        """Return the shape of the outputs for the shape of the inputs.

        No data is computed. The layer is built if it was not.
        """
        names = signature_of(self.call).names
        given = dict(zip(names, args, strict=False))
        given |= {k.removesuffix("_shape"): v for k, v in kwargs.items()}
        if list(given) == ["input"]:  # however `call` names its one argument
            given = {names[0]: given["input"]}
        tensors = {k: _spec(v, self.input_dtype) for k, v in given.items()}
        result = self.compute_output_spec(**tensors)
        return structure.map_leaves(lambda t: t.shape, result)

    def compute_mask(self, inputs, previous_mask):
        """Return the mask of the outputs."""
        return previous_mask

    # ---- what it owns --------------------------------------------------------

    def _owned(self):
        """Yield what attributes hold, containers opened, in order of assignment."""
        for name, value in self.__dict__.items():
            if name not in _NOT_OWNED:
                yield from _leaves(value)

    def _own_variables(self):
        """Return the Variables of this layer alone: trained ones first."""
        found = _unique(x for x in self._owned() if isinstance(x, Variable))
        return sorted(found, key=lambda v: not v.made_trainable)

    def _saved_variables(self):
        """Return its own Variables in the order of files."""
        return self._own_variables()

    @property
    def _seed_generators(self):
        return [x for x in self._owned() if isinstance(x, SeedGenerator)]

    def _inner_layers(self):
        """Return the layers directly inside, in the order in which they came in.

        Weights and files go by this order. What is in a list or dict came in with it,
        or was put into it when it was made.
        """
        found = []
        for name, value in self.__dict__.items():
            if isinstance(value, Layer):
                found.append((self._times.get(name, 0), value))
            elif isinstance(value, (list, tuple, set, dict)) and name not in _NOT_OWNED:
                since = self._times.get(name, 0)
                for x in _leaves(value):
                    if isinstance(x, Layer):
                        found.append((max(since, x._made_at), x))
        found.sort(key=operator.itemgetter(0))
        return _unique(x for _, x in found)

    def _flatten_layers(self, include_self=True, recursive=True):
        found = {id(self): self}
        queue = list(self._inner_layers())
        while queue:
            layer = queue.pop(0)
            if id(layer) in found:
                continue
            found[id(layer)] = layer
            if recursive:
                queue = layer._inner_layers() + queue
        return list(found.values())[0 if include_self else 1 :]

    @property
    def variables(self) -> list:
        """All state: weights, then the states of random generators, layer by layer."""
        own = self._own_variables()
        seeds = [x.state for x in self._seed_generators]
        inner = [v for layer in self._inner_layers() for v in layer.variables]
        return _unique([*own, *seeds, *inner])

    @property
    def weights(self) -> list:
        """The weights of this layer and of those inside."""
        inner = [v for layer in self._inner_layers() for v in layer.weights]
        return _unique([*self._own_variables(), *inner])

    @property
    def trainable_variables(self) -> list:
        """The Variables that optimizers change."""
        return [v for v in self.variables if v.trainable] if self.trainable else []

    @property
    def non_trainable_variables(self) -> list:
        """All other Variables."""
        if not self.trainable:
            return self.variables
        return [v for v in self.variables if not v.trainable]

    @property
    def trainable_weights(self) -> list:
        """The weights that optimizers change."""
        return [v for v in self.weights if v.trainable] if self.trainable else []

    @property
    def non_trainable_weights(self) -> list:
        """All other weights."""
        if not self.trainable:
            return self.weights
        return [v for v in self.weights if not v.trainable]

    @property
    def metrics(self) -> list:
        """The metrics that it and the layers inside own."""
        from lamina.metrics import Metric

        own = [x for x in self._owned() if isinstance(x, Metric)]
        inner = [m for layer in self._inner_layers() for m in layer.metrics]
        return _unique([*own, *inner])

    @property
    def metrics_variables(self) -> list:
        """The Variables of its metrics."""
        return [v for metric in self.metrics for v in metric.variables]

    @property
    def trainable(self) -> bool:
        """Whether its weights are trained; setting it sets the layers inside."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        value = bool(value)
        self._trainable = value
        for variable in self._own_variables():
            if variable.made_trainable:
                variable.trainable = value
        for layer in self._inner_layers():
            layer.trainable = value

    def get_weights(self) -> list:
        """Return the weights as NumPy arrays."""
        return [np.array(v.raw_value) for v in self.weights]

    def set_weights(self, weights) -> None:
        """Put NumPy arrays into the weights, in the order of `weights`.

        Raises:
            ValueError: their number or a shape differs.
        """
        own = self.weights
        if len(own) != len(weights):
            raise ValueError(
                f"You called `set_weights(weights)` on layer {self.name!r} with a "
                f"weight list of length {len(weights)}, but the layer was expecting "
                f"{len(own)} weights."
            )
        for variable, value in zip(own, weights, strict=True):
            if tuple(variable.shape) != tuple(np.shape(value)):
                raise ValueError(
                    f"Layer {self.name!r} weight {variable.path!r} has shape "
                    f"{variable.shape}, which is not that of the given weight: "
                    f"{np.shape(value)}."
                )
        for variable, value in zip(own, weights, strict=True):
            variable.assign(value)

    def count_params(self) -> int:
        """Return the number of scalars in the weights.

        Raises:
            ValueError: the layer is not built yet.
        """
        if not self.built:
            raise ValueError(
                f"You tried to call `count_params` on layer {self.name!r}, but the "
                "layer isn't built. You can build it manually via: "
                "`layer.build(input_shape)`."
            )
        return sum(v.size for v in self.weights)

    def save_own_variables(self, store):
        """Write the values of this layer's own Variables into a dict-like store."""
        for position, variable in enumerate(self._saved_variables()):
            store[str(position)] = np.asarray(variable.raw_value)

    def load_own_variables(self, store):
        """Read the values of this layer's own Variables from a dict-like store.

        Raises:
            ValueError: the store holds another number of values.
        """
        own = self._saved_variables()
        if len(store.keys()) != len(own):
            if not own and not self.built:
                raise ValueError(
                    f"Layer {self.name!r} ({type(self).__name__}) was never built and "
                    f"thus it doesn't have any variables, but {len(store.keys())} are "
                    "to be loaded into it. Build the model by calling it on data, or "
                    "let its `build()` make or build every layer that it holds."
                )
            if own and not store.keys():
                raise ValueError(
                    f"Layer {self.name!r} expected {len(own)} variables, but received "
                    f"0 variables during loading. Expected: {[v.path for v in own]}"
                )
            raise ValueError(
                f"Layer {self.name!r} expected {len(own)} variables, but received "
                f"{len(store.keys())} variables during loading. Expected: "
                f"{[v.path for v in own]}"
            )
        for position, variable in enumerate(own):
            variable.assign(np.asarray(store[str(position)]))

    # ---- losses --------------------------------------------------------------

    def add_loss(self, loss):
        """Add a scalar, or a list of them, to the loss of the model; call in `call`."""
        for one in structure.flatten(loss):
            if isinstance(one, SymbolicTensor):
                raise ValueError(
                    "`add_loss` takes the value of a loss inside `call`, not a "
                    "symbolic tensor. Put it into a Layer's `call`."
                )
            target = context.losses if context.losses is not None else self._losses
            target.append(one)

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
        for layer in self._flatten_layers():
            layer._losses.clear()

    _clear_losses = _forget_losses

    @property
    def losses(self) -> list:
        """The losses of the last call, and those of regularizers."""
        if context.losses is not None:
            added = context.losses
        else:
            added = [loss for layer in self._flatten_layers() for loss in layer._losses]
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
        if quantizes and self.quantization_mode is None:
            self.quantize(policy.quantization_mode)
        self._dtype_policy = policy

    @property
    def quantization_mode(self):
        """How it keeps its kernel, such as "int8"; None for floats."""
        return self._dtype_policy.quantization_mode

    @property
    def dtype(self) -> str:
        """The dtype of its weights."""
        return self.variable_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype of its weights."""
        return self.dtype_policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        """The dtype that it computes in."""
        return self.dtype_policy.compute_dtype

    @property
    def input_dtype(self) -> str:
        """The dtype that its float inputs are cast to."""
        return self.dtype_policy.compute_dtype

    @property
    def path(self):
        """Its name with the names of the layers it was built in."""
        return self._path

    @property
    def input(self):
        """The symbolic tensors of its first call."""
        return self._of_node("input", lambda node: (node.args, node.kwargs))

    @property
    def output(self):
        """What its first symbolic call gave."""
        return self._of_node("output", lambda node: node.outputs)

    def _of_node(self, what, pick):
        if not self._inbound_nodes:
            raise AttributeError(
                f"The layer {self.name!r} has never been called on a symbolic tensor "
                f"and thus has no defined {what}."
            )
        node = self._inbound_nodes[0]
        if what == "input":
            tensors = node.input_tensors or node.outputs
        else:
            tensors = pick(node)
        return tensors[0] if len(tensors) == 1 else list(tensors)

    def get_config(self) -> dict:
        """Return the constructor's arguments, ready to be saved."""
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialize_keras_object(self.dtype_policy),
        }
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = encode_parameter(self.activity_regularizer)
        author = _author_of_config(type(self))
        own = [n for n in _all_parameters(author) if n not in _BASE]
        given = (
            {} if author.__module__.startswith("lamina.") else self._given_arguments()
        )
        for name in own:
            if name in given:
                config[name] = encode_parameter(given[name])
            elif name in self.__dict__ or hasattr(type(self), name):
                config[name] = encode_parameter(getattr(self, name))
        return config

    def _given_arguments(self):
        args, kwargs = self._given
        try:
            bound = inspect.signature(type(self).__init__).bind(self, *args, **kwargs)
        except TypeError:
            return {}
        bound.apply_defaults()
        given = dict(bound.arguments)
        for name, parameter in bound.signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                given.update(given.pop(name))
            elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                given.pop(name)
        given.pop("self", None)
        return given

    @classmethod
    def from_config(cls, config):
        """Make a layer from what `get_config` returned."""
        config = {k: deserialize_keras_object(v) for k, v in config.items()}
        taken = _all_parameters(cls)
        # A constructor without `**kwargs` does not take what every layer has.
        left = {k: config.pop(k) for k in _EVERY if k in config and k not in taken}
        layer = cls(**config)
        layer.name = left.get("name", layer.name)
        layer.dtype_policy = left.get("dtype", layer.dtype_policy)
        if left.get("trainable") is False:
            layer.trainable = False
        return layer

    def quantize(self, mode=None, type_check=True, config=None):
        """Refuse: layers with a kernel write their own."""
        raise NotImplementedError(
            f"Layer {type(self).__name__} does not have a `quantize()` method "
            "implemented."
        )

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"

    def __reduce__(self):
        return remake, describe(self, lambdas=False)

    def __deepcopy__(self, memo):
        return remake(*describe(self))


_EVERY = ("name", "trainable", "dtype")
_BASE = ("activity_regularizer", "trainable", "dtype", "autocast", "name")


@functools.cache
def _author_of_config(cls):
    """Return the class whose parameters belong into a config without further word.

    Who writes `get_config` for a class of theirs adds its parameters there.
    """
    if cls.get_config.__module__.startswith("lamina."):
        return cls
    return next(c for c in cls.__mro__ if c.__module__.startswith("lamina."))


@functools.cache
def _all_parameters(cls) -> list[str]:
    """Return constructor parameters, followed through `**kwargs` to base classes."""
    names = []
    for base in cls.__mro__:
        if base is object or "__init__" not in base.__dict__:
            continue
        names += [n for n in parameters_of(base) if n not in names]
        kinds = [p.kind for p in inspect.signature(base.__init__).parameters.values()]
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return names


def _leaves(value, outer=()):
    if isinstance(value, (list, tuple, set, dict)):
        if id(value) in outer:
            return
        outer = (*outer, id(value))
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item, outer)
    elif not isinstance(value, (str, int, float, bool, type(None))):
        yield value


def _unique(items) -> list:
    return list({id(x): x for x in items}.values())


def _regularizer(identifier) -> Any:
    if identifier is None:
        return None
    from lamina import regularizers

    return regularizers.get(identifier)


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


def _building(build):
    """Wrap a `build` method: name scope, build once, remember the shapes."""

    @functools.wraps(build)
    def wrapped(self, *args, **kwargs):
        self._check_constructed()
        if context.calling and context.calling[-1] is self and self._path is not None:
            return build(self, *args, **kwargs)  # a subclass's super().build()
        with self._entered(context.training), having(autocast=None):
            self._path = "/".join(context.scopes)
            names = signature_of(self.build).names
            shapes = dict(zip(names, args, strict=False)) | kwargs
            if self._build_shapes is None:
                self._build_shapes = {k: _as_shape(v) for k, v in shapes.items()}
            result = build(self, *args, **kwargs)
            self.built = True
            self._finish_build()
        self._closed = True
        return result

    return wrapped


def _call_build(layer, shapes):
    """Call `build` with the shapes that its signature asks for.

    Raises:
        ValueError: the signature names no argument that a shape belongs to.
    """
    takes = signature_of(layer.build)
    required = [n for n in takes.names if n not in takes.defaults]
    named = {k: v for k, v in shapes.items() if k in takes.names}
    if len(takes.names) == 1 and not takes.any_keyword and not named and shapes:
        layer.build(next(iter(shapes.values())))
    elif takes.any_keyword and not named:
        layer.build(*list(shapes.values())[:1])
    elif not takes.names:
        layer.build()
    elif all(n in named for n in required if n != "kwargs"):
        layer.build(**named)
    elif len(shapes) >= 1 and len(required) <= 1:
        layer.build(next(iter(shapes.values())))
    else:
        raise ValueError(
            f"`build()` of layer {layer.name!r} ({type(layer).__name__}) takes "
            f"{takes.names}, which does not match the arguments of `call()`: there are "
            f"shapes for {sorted(shapes)}. Name each argument of `build` after one of "
            "`call`, with `_shape` added."
        )


def _as_shape(value):
    """Turn the lists that JSON makes of shapes back into tuples."""
    if isinstance(value, (list, tuple)):
        if all(v is None or isinstance(v, int) for v in value):
            return tuple(value)
        return type(value)(_as_shape(v) for v in value)
    if isinstance(value, dict):
        return {k: _as_shape(v) for k, v in value.items()}
    return value


def _is_shape(value):
    return isinstance(value, (list, tuple)) and all(
        d is None or isinstance(d, (int, np.integer)) for d in value
    )


def _spec(shapes, dtype):
    """Return symbolic tensors for a shape, or for a structure of shapes."""
    if shapes is None or isinstance(shapes, SymbolicTensor):
        return shapes
    if _is_shape(shapes):
        return SymbolicTensor(shapes, dtype)
    if isinstance(shapes, dict):
        return {k: _spec(v, dtype) for k, v in shapes.items()}
    return type(shapes)(_spec(v, dtype) for v in shapes)


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
        return SymbolicTensor(plain_shape(x), x.dtype)

    if is_tensor(value):
        return convert(value)
    return structure.map_leaves(convert, value)


def _annotate(error, layer, call):
    """Note on an exception where it came from, once."""
    if getattr(error, "_lamina_noted", False):
        return

    def shown(x):
        if is_tensor(x):
            return f"{x.dtype}{list(plain_shape(x))}"
        return repr(x) if len(repr(x)) < 60 else type(x).__name__

    lines = [
        f"  {k}: {structure.map_leaves(shown, v)}" for k, v in call.by_name.items()
    ]
    where = "/".join(context.scopes) or layer.name
    error.add_note(
        f"\nThis happened in layer {where!r} ({type(layer).__name__}), called with\n"
        + "\n".join(lines)
    )
    with contextlib.suppress(AttributeError):
        error._lamina_noted = True


__all__ = ["InputSpec", "Layer"]
