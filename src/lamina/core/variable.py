"""`Variable`, a named array that changes, and the bridge to pure functions.

Layers are objects and own Variables; compiled code sees only arrays. `binding`
runs code with other values standing in for the Variables' own, and collects
what the code assigns. `pure` turns that into a function:

    outputs, new_values = pure(layer, layer.variables)(values, inputs)

Reading a Variable looks through the bindings from the innermost outwards, and
assigning goes the same way. Only a traced value has to stay in the innermost binding:
where that does not hold the Variable it has no place to go, and assigning it raises.

Compiled code may reach Variables that the code compiling it does not know. A binding
with `adopts=True` notes those that nothing holds, and `Unbound` names them, so that the
code is traced again with these among its Variables.
"""

import contextlib
import copy
import itertools
import math
from html import escape
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer, eval_context

from lamina.core import first_values, placement, registry
from lamina.core.context import context, having
from lamina.core.dtypes import is_float, standardize_dtype
from lamina.core.masks import masks_of, put_masks
from lamina.core.naming import automatic_name, printable
from lamina.core.row_gradients import Lookup, RowGradient
from lamina.core.tracebacks import boundary
from lamina.core.types import Computes, DType, Shape

# Counts bindings and Variables, to tell which came first.
_clock = itertools.count()


class Unbound(Exception):
    """Traced code reached Variables that no binding holds.

    Attributes:
        variables: these Variables.
        made: those of them that the code itself made.
        used: the Variables that were bound, and that it reached.
    """

    def __init__(self, variables, frames):
        super().__init__(", ".join(v.path for v in variables))
        since = min(frame.since for frame in frames)
        self.variables = tuple(variables)
        self.made = {v for v in variables if v.made_at > since}
        self.used = set().union(*(frame.used for frame in frames))


class Frame:
    """The values that one `binding` holds for its Variables.

    What code in the block is run for may be marked: `"symbolic"`, for shapes and dtypes
    alone; `"again"`, once more in a backward pass; `"named"`, for a program that says
    which layer made what in it.
    """

    def __init__(self, variables, values, open_=False, adopts=False, mark=None):
        self._variables = variables
        self.values = dict(zip(variables, values, strict=True))
        self.open, self.adopts, self.mark = open_, adopts, mark
        self.since = next(_clock)
        self.reached, self.used = {}, set()

    def current(self) -> tuple:
        """Return the present values of the bound Variables, in their order."""
        return tuple(self.values[v] for v in self._variables)


@contextlib.contextmanager
def binding(variables, values, *, open=False, adopts=False, mark=None):
    """Run a block with `values` in place of the Variables' own.

    Args:
        variables: the Variables to bind.
        values: their values, in the same order.
        open: whether assignments to other Variables stay in the block as well
            (they are dropped at its end); otherwise they must be concrete.
        adopts: whether to raise `Unbound` at the end where the block reached other
            Variables, which it should have been given; with `"old"`, those that it
            made itself are its own.
        mark: what the block is run for, see `Frame`.

    Yields:
        A frame whose `current()` gives the values, assignments included.
    """
    variables = tuple(variables)
    frame = Frame(variables, values, open, adopts, mark)
    with having(frames=(*context.frames, frame)):
        yield frame
    if frame.reached:
        raise Unbound(frame.reached, [f for f in (*context.frames, frame) if f.adopts])


def scratch(mark=None):
    """Run a block whose assignments to Variables are all dropped at its end."""
    return binding((), (), open=True, mark=mark)


def marked(mark):
    """Return a block that is run for what `mark` says, with the present bindings."""
    frame = copy.copy(context.frames[-1]) if context.frames else Frame((), ())
    frame.mark = mark
    return having(frames=(*context.frames, frame))


def pure(fn, variables, *, adopts=False) -> Any:
    """Return `fn` with its effects on `variables` made explicit.

    Args:
        fn: any callable that reads and assigns Variables.
        variables: the Variables that it may read or assign, or groups of them: tuples,
            NamedTuples or lists of Variables, to any depth.
        adopts: as in `binding`.

    Returns:
        A function `(values, *args, **kwargs) -> (result, new_values)` with
        `values` and `new_values` in the groups of `variables`, lists as tuples.

    >>> import lamina
    >>> from lamina.core.variable import pure
    >>> counter = lamina.Variable(0.0)
    >>> result, (new,) = pure(lambda: counter.assign_add(1.0), [counter])((5.0,))
    >>> float(new), float(counter.value)
    (6.0, 0.0)
    """

    def explicit(values, *args, **kwargs):
        pairs = list(_pairs(variables, values))
        flat, given = zip(*pairs, strict=True) if pairs else ((), ())
        with binding(flat, given, adopts=adopts) as bound:
            result = fn(*args, **kwargs)
            # A Variable that is returned stands for what it holds now.
            if any(map(_is_variable, jax.tree.leaves(result, is_leaf=_is_variable))):
                result = jax.tree.map(lambda x: x, result)
        return result, _grouped(variables, iter(bound.current()))

    return explicit


def _is_variable(x):
    return isinstance(x, Variable)


def _pairs(variables, values):
    """Yield each Variable of nested groups with its value."""
    for variable, value in zip(variables, values, strict=True):
        if isinstance(variable, Variable):
            yield variable, value
        else:
            yield from _pairs(variable, value)


def _grouped(variables, values):
    """Return values one by one in the groups of the Variables."""
    parts = [
        next(values) if isinstance(v, Variable) else _grouped(v, values)
        for v in variables
    ]
    return type(variables)(*parts) if hasattr(variables, "_fields") else tuple(parts)


@boundary
def value_and_grad(fn, variables):
    """Return a function that gives what `fn` returns and its gradients.

    Whatever else `fn` assigns, such as the moving averages of a normalization or the
    seeds of a dropout, is assigned when it returns. Works inside a `train_step` and
    outside of compiled code alike.

    Args:
        fn: a function that returns a scalar, or a tuple that begins with one.
        variables: the float Variables to differentiate for.

    Returns:
        A function of `fn`'s arguments: `(result, gradients)`, the gradients in the
        order of `variables`; of one with `sparse_gradient` a `RowGradient`, or None
        where no row was looked up.

    >>> import lamina
    >>> w = lamina.Variable(3.0)
    >>> value, (slope,) = lamina.value_and_grad(lambda x: x * w * w, [w])(2.0)
    >>> float(value), float(slope)
    (18.0, 12.0)
    """
    variables = tuple(variables)
    assigned: list[Variable] = []

    def explicit(differentiated, tables, args, kwargs):
        values, taps = differentiated
        lookups = {n: Lookup(variables[n].path, t, taps[n]) for n, t in tables.items()}
        values = [lookups.get(n, value) for n, value in enumerate(values)]
        with binding(variables, values, open=True) as frame, having(losses=[]):
            result = fn(*args, **kwargs)
        given = dict(zip(variables, values, strict=True))
        assigned[:] = [v for v, a in frame.values.items() if a is not given.get(v)]
        loss = result[0] if isinstance(result, tuple) else result
        new = [frame.values[v] for v in assigned]
        indices = {n: lookup.indices for n, lookup in lookups.items()}
        return jnp.asarray(loss), (result, new, masks_of(result), indices)

    def taps_for(values, tables, args, kwargs):
        """Return zeros for what is looked up; to find that out, trace the function."""
        if not tables:
            return {}

        def indices():
            nothing = values, dict.fromkeys(tables)
            return explicit(nothing, tables, args, kwargs)[1][-1]

        try:
            seen = jax.eval_shape(indices)
        except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):
            seen = indices()  # uncompiled code may ask for numbers
        return {n: Lookup("", t).zeros(seen[n]) for n, t in tables.items()}

    @boundary
    def run(*args, **kwargs):
        values = tuple(None if v.sparse_gradient else v.raw_value for v in variables)
        sparse = [n for n, v in enumerate(variables) if v.sparse_gradient]
        tables = {n: jnp.asarray(variables[n].raw_value) for n in sparse}
        given = values, taps_for(values, tables, args, kwargs)
        slope = jax.value_and_grad(explicit, has_aux=True)
        (_, (result, new, masks, indices)), found = slope(given, tables, args, kwargs)
        for variable, value in zip(assigned, new, strict=True):
            variable.assign(value)
        gradients, taps = found
        for n in tables:
            by_row = RowGradient.of(indices[n], taps[n]) if indices[n] else None
            gradients = (*gradients[:n], by_row, *gradients[n + 1 :])
        return put_masks(result, masks), gradients

    return run


class Variable(Computes):
    """A named cell that holds one array and keeps its identity.

    Args:
        initializer: the first value, a callable `(shape, dtype=...)`, or its name.
        shape: the shape for a callable initializer; may not hold None.
        dtype: the dtype; None takes that of the value, else `floatx()`.
        trainable: whether optimizers change it.
        autocast: whether layers read it in their compute dtype.
        aggregation: how copies on several devices combine.
        synchronization: kept for compatibility.
        name: the last part of its path; no `/`.
        layout: a `TensorLayout` or a `jax.sharding.Sharding`; None for what the present
            distribution says.

    Raises:
        ValueError: `name` holds a `/`, a callable initializer has no shape, or
            an assigned value has another shape.

    >>> import lamina
    >>> v = lamina.Variable([1.0, 2.0], name="scale")
    >>> [float(i) for i in v + 1]
    [2.0, 3.0]
    """

    __array_priority__ = 100
    # Whether `value_and_grad` gives its gradient by row: a table of which little is
    # read each time.
    sparse_gradient = False
    # The Variable of its shape beside which it lies, as an optimizer's slots do.
    follows: Any = None

    @boundary
    def __init__(
        self,
        initializer: Any,
        shape: Shape | None = None,
        dtype: DType = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str = "none",
        synchronization: str = "auto",
        name: str | None = None,
        layout: Any = None,
        **kwargs,
    ):
        if kwargs:
            raise TypeError(f"`Variable` got unknown arguments: {sorted(kwargs)}")
        name = name or automatic_name("variable")
        if not isinstance(name, str) or "/" in name:
            raise ValueError(
                "`Variable` expected `name` to be a string without '/'. "
                f"Received: name={name!r}"
            )
        choices = (None, "none", "mean", "sum", "only_first_replica")
        if aggregation not in choices:
            raise ValueError(
                f"Invalid value for argument `aggregation`. Expected one of {choices}. "
                f"Received: aggregation={aggregation}"
            )
        self._name = name
        self._path = "/".join((*context.scopes, name))
        self._trainable = self.made_trainable = bool(trainable)
        self.made_at = next(_clock)
        self._autocast = bool(autocast)
        self._aggregation = aggregation or "none"
        self._synchronization = synchronization or "auto"
        self._layout, self._laid_out_by = None, None
        self._regularizer = None
        self._constraint = None
        self._overwrite_with_gradient = False
        self._initializer = initializer if callable(initializer) else None
        self._value = self._first_value(initializer, shape, dtype, layout)

    def _first_value(self, initializer, shape, dtype, layout):
        given = dtype
        dtype = standardize_dtype(dtype)
        if isinstance(initializer, str):
            initializer = registry.public("initializers").get(initializer)
        # Not `ensure_compile_time_eval`, which folds the counters of a draw: a constant
        # as large as the Variable in a program that the cache then compresses.
        with eval_context():
            if callable(initializer):
                if shape is None:
                    raise ValueError(
                        "When a Variable is made with a callable initializer, `shape` "
                        "must be given as well. Received: "
                        f"initializer={initializer!r}, shape=None"
                    )
                self._shape = shape = _full_shape(shape, self._path)
                value = self._drawn(initializer, dtype, layout)
            else:
                value = initializer
                if isinstance(value, Variable):
                    value = value.raw_value
                if given is None:
                    dtype = _dtype_of_value(value)
            if isinstance(value, Tracer):
                raise ValueError(
                    f"Variable {self._path!r} cannot start from a value that is being "
                    "traced. Make Variables in `__init__` or `build`, from concrete "
                    "values or an initializer."
                )
            if dtype == "string":
                raise ValueError("A Variable holds numbers. Received: dtype='string'")
            if (type(value), dtype) in _NUMBERS:
                value = np.array(value, dtype)  # for which JAX compiles nothing
            if isinstance(value, np.ndarray):
                value = value.astype(_canonical(dtype))
            else:
                value = _own_array(value, dtype)
            if value is initializer:
                value = jnp.array(value, copy=True)
            self._dtype = dtype
            if shape is not None and tuple(shape) != tuple(value.shape):
                raise ValueError(
                    f"Variable {self._path!r} expected a first value of shape "
                    f"{tuple(shape)}. Received: shape {tuple(value.shape)}"
                )
            self._shape = tuple(value.shape)
            if self._layout is None:
                self._layout, self._laid_out_by = placement.layout_of(self, layout)
            if self._layout is not None:
                return placement.put(value, self._layout)
            return from_host(value) if isinstance(value, np.ndarray) else value

    def _drawn(self, initializer, dtype, layout):
        """Return what an initializer gives, as the Variable will lie."""
        self._layout, self._laid_out_by = placement.layout_of(self, layout)
        if self._layout is None:
            return _made(initializer, self._shape, dtype)
        with having(birth=(self._shape, self._layout)):
            return _made(initializer, self._shape, dtype)

    @property
    def value(self):
        """The array it holds now, cast to the compute dtype inside a layer."""
        value = self.raw_value if context.frames else self._value
        autocast = context.autocast
        if autocast is not None and self._autocast and is_float(self._dtype):
            return value.astype(_canonical(autocast))
        return value

    @property
    def raw_value(self):
        """The array it holds now, in its own dtype."""
        for frame in reversed(context.frames):
            if self in frame.values:
                frame.used.add(self)
                return frame.values[self]
        self._note_reached()
        return self._value

    def _note_reached(self):
        for frame in context.frames:
            if frame.adopts and (frame.adopts != "old" or self.made_at < frame.since):
                frame.reached[self] = None

    def assign(self, value):
        """Put `value` in, cast to the Variable's dtype.

        Raises:
            ValueError: the shapes differ, or the value is being traced and no
                binding holds the Variable.
        """
        if isinstance(value, Variable):
            value = value.raw_value
        apart = self._layout is not None and not context.frames
        if apart and isinstance(value, np.ndarray):
            value = placement.put(value.astype(_canonical(self._dtype)), self._layout)
        else:
            value = _own_array(value, self._dtype)
        if value.shape != self._shape and not self._holds_rows(value):
            raise ValueError(
                "The shape of the target variable and the shape of the target value in "
                f"`variable.assign(value)` must match. Variable {self._path!r} has "
                f"shape {self._shape}. Received: value.shape={tuple(value.shape)}"
            )
        self._store(value)
        return value

    def _holds_rows(self, value):
        """Tell whether a binding has some rows of it, as many as `value`."""
        return context.frames and self.raw_value.shape == value.shape

    def _store(self, value):
        traced = isinstance(value, Tracer)
        for frame in reversed(context.frames):
            if frame.open or self in frame.values:
                frame.used.add(self)
                frame.values[self] = value
                return
            if traced and frame.adopts:
                self._note_reached()
                frame.values[self] = value
                return
            if traced:
                break  # what is traced in there means nothing further out
        self._note_reached()
        if traced:
            raise ValueError(
                f"Variable {self._path!r} was assigned inside a function that JAX is "
                "tracing, where the assignment would be lost. Make it an attribute of "
                "the layer that assigns it, call the layer through `stateless_call`, "
                "or wrap the function with `lamina.pure(fn, variables)` and name the "
                "Variable among `variables`."
            )
        if self._layout is not None:
            value = placement.put(value, self._layout)
        self._value = value

    def assign_add(self, value):
        """Add `value` to what it holds."""
        return self.assign(self.raw_value + _plain(value))

    def assign_sub(self, value):
        """Subtract `value` from what it holds."""
        return self.assign(self.raw_value - _plain(value))

    def numpy(self):
        """Return what it holds as a NumPy array of its own."""
        return np.array(placement.fetched(self.value))

    @property
    def dtype(self) -> str:
        """The dtype it reads as: its own, or the compute dtype inside a layer."""
        autocast = context.autocast
        if autocast is not None and self._autocast and is_float(self._dtype):
            return autocast
        return self._dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self._shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self._shape)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._name

    @property
    def path(self) -> str:
        """The name with the names of the scopes it was made in."""
        return self._path

    @property
    def trainable(self) -> bool:
        """Whether optimizers change it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        self._trainable = bool(value)

    @property
    def autocast(self) -> bool:
        """Whether layers read it in their compute dtype."""
        return self._autocast

    @property
    def aggregation(self) -> str:
        """How copies on several devices combine."""
        return self._aggregation

    @property
    def synchronization(self) -> str:
        """Kept for compatibility."""
        return self._synchronization

    @property
    def overwrite_with_gradient(self) -> bool:
        """Whether optimizers put the gradient in place of the value."""
        return self._overwrite_with_gradient

    @overwrite_with_gradient.setter
    def overwrite_with_gradient(self, value):
        if value is not True and value is not False:
            raise TypeError(
                "`overwrite_with_gradient` must be a boolean. Received: "
                f"overwrite_with_gradient={value!r}"
            )
        self._overwrite_with_gradient = value

    @property
    def regularizer(self):
        """A function of the value whose result is added to the loss, or None."""
        return self._regularizer

    @regularizer.setter
    def regularizer(self, value):
        self._regularizer = _hook("regularizer", value)

    @property
    def constraint(self):
        """A function that optimizers pass new values through, or None."""
        return self._constraint

    @constraint.setter
    def constraint(self, value):
        self._constraint = _hook("constraint", value)

    def __repr__(self):
        value = self._value
        shown = (
            f"<Variable path={printable(self.path)}, shape={self._shape}, "
            f"dtype={self._dtype}"
        )
        if value.size <= 10 and not context.frames and value.is_fully_addressable:
            return f"{shown}, value={np.array2string(np.asarray(value))}>"
        return shown + ">"

    def _repr_html_(self):
        """Return what it is and its first values, which a notebook shows."""
        if context.frames or not self._value.is_fully_addressable:
            return None
        about = f"<b>{escape(self.path)}</b>: {self._shape} {self._dtype}"
        fixed = "" if self.trainable else ", not trainable"
        return f"<p>Variable {about}{fixed}</p>{first_values.table(self._value)}"

    __hash__ = object.__hash__

    def __jax_array__(self):
        return self.value

    def __array__(self, dtype=None, copy=None):
        return np.array(placement.fetched(self.value), dtype=dtype, copy=copy)

    def __bool__(self):
        return bool(self.value)

    def __float__(self):
        return float(self.value)

    def __int__(self):
        return int(self.value)

    def __index__(self):
        return self.value.__index__()

    def __len__(self):
        return len(self.value)

    def __iter__(self):
        return iter(self.value)

    def __getitem__(self, index):
        return self.value[index]

    def __deepcopy__(self, memo):
        new = object.__new__(type(self))
        memo[id(self)] = new
        new.__dict__.update(self.__dict__)
        new._value = jnp.array(self._value, copy=True)
        new.follows = copy.deepcopy(self.follows, memo)
        return new

    def __getstate__(self):
        changed = {"_value": placement.fetched(self._value), "_initializer": None}
        # Devices of this process.
        changed |= {"_layout": None, "_laid_out_by": None}
        return {**self.__dict__, **changed}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._value = jnp.asarray(self._value)


_NUMBERS = ((int, "int32"), (int, "float32"), (float, "float32"))


def _made(initializer, shape, dtype):
    budget = context.configs.budget
    if budget is None:
        return initializer(shape, dtype=dtype)
    budget.take(shape, dtype)
    return budget.first_value(initializer, shape, dtype)


def _plain(x):
    if isinstance(x, (list, tuple)):
        return jnp.asarray(x)
    return x.value if isinstance(x, Variable) else x


def from_host(value):
    """Return a NumPy array that nobody will change as one of JAX's.

    `jnp.asarray` compiles a program for each new shape; this compiles nothing, and
    takes longer for arrays of known shapes.
    """
    return jax.device_put(value)


def _own_array(value, dtype):
    # JAX may read a NumPy array where it lies, later, when its owner has changed it.
    if isinstance(value, np.ndarray):
        value = value.copy()
    return jnp.asarray(value, dtype=_canonical(dtype))


def stored(variables) -> tuple:
    """Return the own values of Variables, whatever is bound."""
    return tuple([v._value for v in variables])


def store(variables, values):
    """Put arrays into Variables, in whose shapes and dtypes they are."""
    for variable, value in zip(variables, values, strict=True):
        variable._store(value)


def lay_out(variables):
    """Let Variables lie as the distribution that holds says, wherever they were made.

    Those that were given a layout keep it.
    """
    now = placement.distribution()
    if now is None:
        return
    for variable in variables:
        before, leader = variable._laid_out_by, variable.follows
        away = now.by_hand or not placement.is_here(variable._value)
        if variable._layout is None and away:  # put there by hand
            variable._layout = placement.sharding_by_hand(variable._value)
        if leader is not None:
            if variable._layout is leader._layout:
                continue
            variable._layout, variable._laid_out_by = leader._layout, now
        elif before is now or (before is None and variable._layout is not None):
            continue
        else:
            variable._layout = None
            found = placement.layout_of(variable, None)
            variable._layout, variable._laid_out_by = found
        if variable._layout is not None:
            variable._value = placement.put(variable._value, variable._layout)


def forget_layouts(variables, by):
    """Let `lay_out` ask a distribution anew for the Variables that lie by it."""
    for variable in variables:
        if variable._laid_out_by is by:
            variable._layout = variable._laid_out_by = None


def _dtype_of_value(value):
    """Return the dtype that JAX gives a value; Python's floats get `floatx()`."""
    if not hasattr(value, "dtype"):
        value = np.asarray(value)
        if value.dtype.kind == "f":
            return standardize_dtype(None)
    dtype = standardize_dtype(value.dtype)
    return dtype if dtype == "string" else _canonical(dtype).name


def _full_shape(shape, path):
    try:
        return tuple(d.__index__() for d in shape)
    except (AttributeError, TypeError):
        raise ValueError(
            f"Variable {path!r} needs a shape of integers, each known. Received: "
            f"shape={shape}. A None mostly comes from an `Input` whose last axis is "
            "not given."
        ) from None


def _hook(kind, value):
    if value is not None and not callable(value):
        raise ValueError(
            f"Invalid value for attribute `{kind}`. Expected a callable or None. "
            f"Received: {kind}={value!r}"
        )
    return value


def _canonical(dtype):
    return jax.dtypes.canonicalize_dtype(dtype)


def _operator(name, swapped=False):
    function = getattr(jnp, name)

    def method(self, other):
        # A symbolic operand records the call: let its own method do it.
        if getattr(other, "is_symbolic", False):
            return NotImplemented
        a, b = self.value, _plain(other)
        return function(b, a) if swapped else function(a, b)

    return method


_BINARY = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "mod",
    "pow": "power",
    "matmul": "matmul",
    "and": "logical_and",
    "or": "logical_or",
    "xor": "logical_xor",
}
_COMPARE = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
for _name, _function in _BINARY.items():
    setattr(Variable, f"__{_name}__", _operator(_function))
    setattr(Variable, f"__r{_name}__", _operator(_function, swapped=True))
for _name, _function in _COMPARE.items():
    setattr(Variable, f"__{_name}__", _operator(_function))
Variable.__neg__ = lambda self: -self.value  # pyright: ignore
Variable.__pos__ = lambda self: self.value  # pyright: ignore
Variable.__abs__ = lambda self: jnp.abs(self.value)  # pyright: ignore
Variable.__invert__ = lambda self: jnp.logical_not(self.value)  # pyright: ignore
Variable.__round__ = lambda self, n=0: jnp.round(self.value, n or 0)  # pyright: ignore

# jnp functions and jax.grad take a Variable as if it were its array.
jax.tree_util.register_pytree_node(
    Variable,
    lambda v: ((v.value,), None),
    lambda _, children: children[0],  # pyright: ignore
)
