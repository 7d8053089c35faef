"""`Operation`: a user's own computation that graphs can record."""

from typing import Any

from lamina.core import structure
from lamina.core.constructor import Captured
from lamina.core.context import context
from lamina.core.naming import automatic_name, printable, snake_case
from lamina.core.remat import remat_for
from lamina.core.symbolic import Node, any_symbolic, infer, nodes_of
from lamina.core.tracebacks import boundary

_PLAIN = (str, int, float, bool, type(None))


def graph_of(thing) -> Any:
    """Return the graph that a model was drawn as, a `Function`.

    None for a model that is written as a class, and for anything else.
    """
    return getattr(thing, "__dict__", {}).get("_drawn_graph")


def takes_text(thing) -> bool:
    """Tell whether an operation, a layer or a model begins with what takes text."""
    return getattr(thing, "_takes_text", False)


def takes_integers(operation) -> bool:
    """Tell whether integers that it takes stay what they are in half precision."""
    return operation._takes_integers


def moves_entries(operation) -> bool:
    """Tell whether an operation or a layer moves entries and computes with none."""
    return operation._moves_entries


class Operation(Captured):
    """A computation without state; called on symbolic tensors it is recorded.

    A subclass writes `call`. Lamina's own ops are functions (`lamina.ops`) and need
    no class; a computation with weights is a `Layer`.

    Args:
        name: its name in graphs; made from the class's when None.

    Raises:
        ValueError: a name that is not a string, or with `/`.

    >>> import lamina
    >>> class Scale(lamina.Operation):
    ...     def __init__(self, factor, name=None):
    ...         super().__init__(name=name)
    ...         self.factor = factor
    ...     def call(self, x):
    ...         return x * self.factor
    >>> x = lamina.Input((2,))
    >>> model = lamina.Model(x, Scale(3.0)(x))
    >>> Scale(3.0, name="scale").get_config()
    {'factor': 3.0, 'name': 'scale'}
    """

    _kind = "Operation"  # what errors call it
    # Whether it moves entries, or reads integers, and does not compute with them.
    _moves_entries = _takes_integers = False
    # Whether it takes text, and runs outside of compiled code.
    _takes_text = False
    # Set to anything but None, calls run `quantized_call`.
    quantization_mode = None
    # As of layers: whether each row of a batch is computed from this row alone.
    rows_independent: Any = False

    @boundary
    def __init__(self, name: str | None = None):
        if name is None:
            name = automatic_name(snake_case(type(self).__name__))
        if not isinstance(name, str) or "/" in name:
            raise ValueError(
                f"The `name` of a `{type(self).__name__}` must be a string and cannot "
                f"contain character `/`. Received: name={name!r}"
            )
        self.name = name
        self._inbound_nodes = []
        self._remat_mode = context.remat

    def __call__(self, *args, **kwargs):
        """Run it on arrays, or record it on symbolic tensors."""
        if any_symbolic(args, kwargs):
            return self.symbolic_call(*args, **kwargs)
        run = self.call if self.quantization_mode is None else self.quantized_call
        return self.rematerialized_call(run, *args, **kwargs)(*args, **kwargs)

    def call(self, *args, **kwargs):
        """Compute the outputs; every operation writes its own."""
        raise NotImplementedError(
            f"Operation {type(self).__name__} does not have a `call` method "
            "implemented."
        )

    def quantized_call(self, *args, **kwargs):
        """Compute the outputs in integers, where `quantization_mode` is set."""
        raise NotImplementedError(
            f"Operation {type(self).__name__} does not have a `quantized_call` method "
            "implemented."
        )

    def symbolic_call(self, *args, **kwargs):
        """Infer the outputs' shapes and note the call in the graph."""
        outputs = self.compute_output_spec(*args, **kwargs)
        Node(self, args, kwargs, outputs)
        return outputs

    def compute_output_spec(self, *args, **kwargs):
        """Return what a call would give, as symbolic tensors."""
        return infer(self.call, *args, **kwargs)

    def rematerialized_call(self, fn, *args, **kwargs):
        """Return `fn` as the `RematScope` wants it that the operation was made in."""
        return remat_for(
            self._remat_mode,
            fn,
            self.name,
            False,
            lambda: self.compute_output_spec(*args, **kwargs),
        )

    @property
    def input(self):
        """The symbolic tensors of its first call."""
        return self._of_first_call("input")

    @property
    def output(self):
        """What its first symbolic call gave."""
        return self._of_first_call("output")

    def _of_first_call(self, what):
        if not nodes_of(self):
            raise AttributeError(
                f"{self._kind} {self.name!r} has never been called on a symbolic "
                f"tensor and thus has no defined {what}."
            )
        node = nodes_of(self)[0]
        tensors = (node.input_tensors if what == "input" else None) or node.outputs
        return tensors[0] if len(tensors) == 1 else list(tensors)

    def get_config(self) -> dict:
        """Return the constructor's arguments and the name, ready to be saved.

        Raises:
            NotImplementedError: an argument is more than numbers, texts and containers
                of them, or has no name of its own.
        """
        if type(self).get_config is not Operation.get_config:
            return {"name": self.name}
        bound, config = self._bound_arguments(), self._given_arguments()
        parameters = bound.signature.parameters.values()
        for p in parameters:
            if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL):
                config.pop(p.name, None)
                if bound.arguments[p.name] != ():
                    self._refuse_config(f"`{p.name}` is passed by place alone")
        named = any(p.kind is p.VAR_KEYWORD for p in parameters)
        for key, value in config.items():
            if not all(isinstance(x, _PLAIN) for x in structure.flatten(value)):
                self._refuse_config(f"`{key}` is {value!r}")
        if named or "name" in config:
            config["name"] = self.name
        return config

    def _refuse_config(self, reason):
        raise NotImplementedError(
            f"The config of `{type(self).__name__}` cannot be read from what its "
            f"constructor was given: {reason}. Write `get_config()`, with "
            "`super().get_config()` for the name, and `from_config()` if its arguments "
            "must be made first."
        )

    @classmethod
    def from_config(cls, config):
        """Make an operation from what `get_config` returned."""
        return cls(**config)

    def __repr__(self):
        return f"<Operation name={printable(self.name)}>"
