"""`@op`: a pure function of arrays that also draws graphs.

    @op(config=("axis",))
    def concatenate(xs, axis=-1):
        return jnp.concatenate(xs, axis=axis)

Called on arrays it is the function itself, Variables taken by their values. With
a symbolic tensor among the arguments it infers shape and dtype, and records the
call. `config` names the arguments that are settings rather than data: they are
what a saved graph stores for the call, as Keras' class of the same name does.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, overload

import jax

from lamina.core import structure
from lamina.core.budget import looked_at
from lamina.core.context import context
from lamina.core.masks import get_mask, set_mask
from lamina.core.naming import automatic_name, snake_case
from lamina.core.operation import Operation
from lamina.core.settings import image_data_format
from lamina.core.symbolic import any_symbolic, find_symbolic, infer, is_symbolic
from lamina.core.threads import check_fork
from lamina.core.tracebacks import hide_frames
from lamina.core.variable import Variable

P = ParamSpec("P")
_F = TypeVar("_F", bound=Callable)
# Type checkers take it for true, whatever it is; editors without one read it.
TYPE_CHECKING = False


class Op(Protocol[P]):
    """What `@op` makes of a function: it is called as the function is.

    Editors show its arguments; a type checker refuses none, because a default says
    little of what else is taken.
    """

    plain: Any
    config: Any
    class_name: str
    module: str
    elementwise: bool
    masks: bool
    integers: bool
    __name__: str

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


if TYPE_CHECKING:

    class Decorator(Protocol):
        """What makes an op of a function."""

        def __call__(self, function: Callable[P, Any], /) -> Op[P]: ...  # noqa: D102

else:
    Decorator = Callable[[_F], _F]

# Saved graphs name an op by its class in Keras: (module, class) -> function.
OPS: dict[tuple, Any] = {}


class OpCall(Operation):
    """One use of an op in a graph: the function and its settings, also as attributes.

    Args:
        function: the op.
        config: its settings by name.
        name: its name in the graph; made from the op's when None.
    """

    def __init__(self, function, config, name=None):
        super().__init__(name or automatic_name(snake_case(function.class_name)))
        self.function = function
        self.config = config
        self._moves_entries = self._takes_integers = function.integers

    def call(self, *args, **kwargs):
        """Run the op on arrays."""
        outputs = self.function.plain(*unwrap(args), **unwrap(kwargs), **self.config)
        if self.function.masks and self._inbound_nodes:
            node = self._inbound_nodes[0]
            drawn = structure.flatten((node.args, node.kwargs))
            pairs = zip(drawn, structure.flatten((args, kwargs)), strict=True)
            carry_mask(outputs, [x for t, x in pairs if is_symbolic(t)])
        return outputs

    def symbolic_call(self, *args, **kwargs):
        """Infer the outputs' shapes, note the call in the graph, carry the mask."""
        looked_at(self.config)
        outputs = super().symbolic_call(*args, **kwargs)
        if self.function.masks:
            carry_mask(outputs, find_symbolic((args, kwargs)))
        return outputs

    def get_config(self):
        """Return the settings and the name."""
        return {"name": self.name, **self.config}

    def __getattr__(self, key):
        if key in (settings := self.__dict__.get("config", {})):
            return settings[key]
        kind = type(self).__name__
        raise AttributeError(f"{kind!r} object has no attribute {key!r}")

    def __reduce__(self):
        return op_call, (self.function, self.config, self.name), self.__dict__


@functools.cache
def class_of(function):
    """Return the class of an op's uses, which is made with its settings."""
    parameters = inspect.signature(function.plain).parameters
    keys = [key for key in parameters if key in function.config]
    defaults = {key: parameters[key].default for key in keys}

    def init(self, *given, name=None, **settings):
        whole = {**defaults, **dict(zip(keys, given, strict=False)), **settings}
        if missing := [k for k in keys if whole[k] is inspect.Parameter.empty]:
            raise TypeError(
                f"`{type(self).__name__}` expected `{missing[0]}`. Received: {settings}"
            )
        OpCall.__init__(self, function, whole, name)

    return type(function.class_name, (OpCall,), {"__init__": init})


def op_call(function, settings, name=None):
    """Return one use of an op; what is no setting here is data."""
    kind = class_of(function)
    made = kind.__new__(kind)
    OpCall.__init__(made, function, settings, name)
    return made


def unwrap(x) -> Any:
    """Return a structure with the values of its Variables in their places."""
    if isinstance(x, Variable):
        return x.value
    if isinstance(x, (list, tuple)):
        return type(x)(map(unwrap, x)) if not hasattr(x, "_fields") else x
    if isinstance(x, dict):
        return {k: unwrap(v) for k, v in x.items()}
    return x


def carry_mask(result, operands):
    """Give `result` the mask of its operands, joined as merging layers join them.

    Arrays of fewer axes than the result have no rows of their own and do not count.
    In a layer that does not support masks, none is made.
    """
    if all(get_mask(x) is None for x in operands) or not hasattr(result, "ndim"):
        return
    if context.calling and not context.calling[-1]._keeps_masks:
        return
    rows = [x for x in operands if getattr(x, "ndim", None) == result.ndim]
    masks: list[Any] = list({id(m): m for m in map(get_mask, rows)}.values())
    if not masks or any(m is None for m in masks) or get_mask(result) is not None:
        return
    module = "keras.src.ops.numpy"
    expand, either = OPS[module, "ExpandDims"], OPS[module, "LogicalOr"]
    rank = max(m.ndim for m in masks)
    masks = [
        expand(m, tuple(range(m.ndim, rank))) if m.ndim < rank else m for m in masks
    ]
    mask = functools.reduce(either, masks)
    sizes = zip(mask.shape, result.shape, strict=False)
    if rank <= result.ndim and all(a == b or None in (a, b) for a, b in sizes):
        set_mask(result, mask)


if TYPE_CHECKING:

    @overload
    def op(function: Callable[P, Any], /) -> Op[P]: ...
    @overload
    def op(function: None = None, **declared: Any) -> Decorator: ...

else:

    @overload
    def op(function: _F, /) -> _F: ...
    @overload
    def op(function: None = None, **declared: Any) -> Decorator: ...


def op(  # pyright: ignore[reportInconsistentOverload]
    function=None,
    *,
    config=(),
    data=None,
    name=None,
    module=None,
    elementwise=False,
    masks=None,
    integers=False,
) -> Any:
    """Make a pure function of arrays accept symbolic tensors and Variables.

    Args:
        function: the function; its data arguments come first.
        config: the names of the arguments that are settings.
        data: the names of those that are not, where this is shorter to tell.
        name: the name of the class Keras saves for the op; CamelCase of the
            function's name when None.
        module: the module Keras saves for it; `keras.src.ops.` and the file's
            name when None.
        elementwise: whether each entry of the result follows from the entries of the
            arguments at its own place.
        masks: whether the result keeps the masks of the arguments; as `elementwise`
            when None.
        integers: whether it moves entries or reads integers, and does not compute
            with them: in a graph of half precision they stay integers.

    >>> import jax.numpy as jnp, lamina
    >>> from lamina.core.op import op
    >>> @op(config=("factor",))
    ... def scaled(x, factor=2.0):
    ...     return jnp.asarray(x) * factor
    >>> scaled(lamina.Input((3,)), factor=3.0).shape
    (None, 3)
    """
    if function is None:
        return functools.partial(
            op,
            config=config,
            data=data,
            name=name,
            module=module,
            elementwise=elementwise,
            masks=masks,
            integers=integers,
        )
    signature = inspect.signature(function)
    if data is not None:
        config = tuple(key for key in signature.parameters if key not in data)
    unknown = set(config) - set(signature.parameters)
    if unknown:
        raise ValueError(
            f"`@op` expected `config` to name arguments of {function.__name__}. "
            f"Received: {sorted(unknown)}"
        )

    @functools.wraps(function)
    def recording(*args, **kwargs):
        try:
            if any_symbolic(args, kwargs):
                return _record(recording, signature, config, args, kwargs)
            check_fork()
            result = function(*unwrap(args), **unwrap(kwargs))
            if masks:
                given = (*args, *kwargs.values())
                carry_mask(result, [x for x in given if isinstance(x, jax.Array)])
            return result
        except Exception as error:
            hide_frames(error)
            raise

    masks = elementwise if masks is None else masks
    wrapper: Any = recording
    wrapper.plain = function
    wrapper.elementwise = elementwise
    wrapper.masks = masks
    wrapper.integers = integers
    wrapper.config = config
    wrapper.class_name = name or "".join(
        part.capitalize() for part in function.__name__.strip("_").split("_")
    )
    file = function.__module__.rpartition(".")[2]
    wrapper.module = module or f"keras.src.ops.{file}"
    OPS[wrapper.module, wrapper.class_name] = wrapper
    return wrapper


def _record(function, signature, config, args, kwargs):
    bound = signature.bind(*args, **kwargs)
    settings, data, named = {}, [], {}
    gap = False  # past an argument that is not passed by position, names are needed
    for key, parameter in signature.parameters.items():
        if key not in bound.arguments:
            if key in config:
                settings[key] = parameter.default
            gap = True
            continue
        value = bound.arguments[key]
        if key in config and not any_symbolic((value,), {}):
            settings[key] = value
            gap = True
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            data.extend(value)
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        elif gap or parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            named[key] = value
        else:
            data.append(value)
    if context.runs("symbolic"):
        return infer(function.plain, *args, **kwargs)
    if settings.get("data_format", "") is None:
        settings["data_format"] = image_data_format()  # a file must not depend on it
    try:
        return op_call(function, settings)(*data, **named)
    except (TypeError, IndexError) as error:
        if isinstance(error, TypeError) and "shape" not in str(error):
            raise
        shapes = ", ".join(str(t.shape) for t in find_symbolic((args, kwargs)))
        raise ValueError(
            f"`{function.__name__}` cannot take arguments of shapes {shapes}: {error}"
        ) from None
