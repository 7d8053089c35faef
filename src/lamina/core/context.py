"""What holds during a call: bound values, arguments, compute dtype, names.

One object per thread. Every field is set for the length of a `with` block by
`having` and falls back to what it was, so nothing leaks out of a call.
"""

import operator
from typing import Any

from lamina.core.threads import Local
from lamina.core.tracebacks import boundary, warn

_mark = operator.attrgetter("mark")


class _Configs:
    """What holds while configs are written and read: the field `configs`."""

    # What a config in memory may refer to, a `References`. Set where objects are copied
    # and before a file is written; read where configs are, and by `Lookup`.
    references: Any = None
    # Gives numbers to what a config mentions more than once. Set by `numbered` and
    # cloning, which goes layer by layer; read where an object is written.
    numbering: Any = None
    # The class whose arguments are read. Set where objects and arguments are made; read
    # where a config names a class.
    taker: Any = None
    # Names that the caller lent. Set by `CustomObjectScope`, `deserialize_keras_object`
    # and copies; read by the registry and by lambdas.
    custom_objects: dict | None = None
    # None means safe. Set by `deserialize_keras_object`, copies and, for the rest of
    # the thread, `enable_unsafe_deserialization`; read by lambdas, vocabularies, layers
    # of other libraries and what Keras pickled.
    safe_mode: bool | None = None
    # What was made already, by number in the config. Set by `sharing`, cloning and
    # whatever reads a whole model; read where an object is made.
    shared: dict | None = None
    # What a config may make, a `Budget`. Set by `budgeted` and readers of files; asked
    # where objects and Variables are made and layers are called.
    budget: Any = None
    # What a budget made now allows besides, by name. Set by `limits`; read by `Budget`.
    limits: dict | None = None


class _Context(Local):
    # Values bound to Variables, innermost last, each a `Frame`. Set by `binding`,
    # `marked` and `StatelessScope`, emptied by `JaxLayer`; read by Variables, seeds and
    # whatever runs compiled outside of a trace alone.
    frames: tuple = ()
    # The layers being called, outermost first. Set by a layer's call and build; read by
    # layers, graphs, ops and operators, for what the one around them allows, by models
    # that run compiled outside of calls alone, and by warnings.
    calling: tuple = ()
    # The call-context arguments for the calls inside: `training`, and what layers
    # registered. Set by a layer's call, and by what runs layers in inference mode; read
    # by the calls inside.
    arguments: dict = {}
    # The dtype that float Variables are read in. Set by a layer's call, None in its
    # build and in that of a model; read by Variables.
    autocast: str | None = None
    # Names that prefix the paths of new Variables. Set by calls, builds, `name_scope`
    # and owners of Variables; read by Variables, `Sequential`, metrics, layouts of
    # outputs and notes on errors.
    scopes: tuple[str, ...] = ()
    # Where `add_loss` puts what it is given. Set by steps, traces, stateless calls and
    # recurrent layers; read by `add_loss` and `losses`. None outside of them, where the
    # layer keeps its losses.
    losses: list | None = None
    # Where Variables and batches lie, a `Distribution` or None; `...` for what holds in
    # the whole process. Set by its `scope`, by runs and files of a model, which go by
    # its own, and by forecasts; read by `distribution()`.
    distribution: Any = ...
    # Devices to compile for in place of those that are here, or their names. Set by
    # forecasts; read by what lists devices, and by what asks for the platform.
    devices: Any = None
    # The shape and the sharding of the Variable that is being made, where it has one.
    # Set by Variables; read by initializers.
    birth: tuple = (None, None)
    # Which layers made now forget activations, a `RematMode`. Set by `RematScope` and
    # in builds; read by layers and operations as they are made, and by calls.
    remat: Any = None

    # The layer whose shapes `call` tells, whatever its subclass writes of them. Set by
    # `compute_output_shape` of the layer; read by `compute_output_spec`.
    measured: Any = None

    def __init__(self):
        super().__init__()
        self.configs = _Configs()

    def runs(self, mark) -> bool:
        """Tell whether what runs now is run for what a `Frame` is marked with."""
        return mark in map(_mark, self.frames)


context = _Context()


class having:  # noqa: N801
    """Set fields of the context, or of its `configs`, for a `with` block."""

    __slots__ = ("_fields", "_saved", "_target")

    def __init__(self, target=context, /, **fields):
        self._target, self._fields = target, fields

    def __enter__(self):
        self._saved = saved = {}
        target = self._target
        for name, value in self._fields.items():
            saved[name] = getattr(target, name)
            setattr(target, name, value)
        return target

    def __exit__(self, *exception):
        for name, value in self._saved.items():
            setattr(self._target, name, value)


def warn_once(kind, text):
    """Warn; inside the calls of a layer, once for each layer and kind of warning."""
    if context.calling:
        warned = context.calling[-1].__dict__.setdefault("_warned", set())
        if kind in warned:
            return
        warned.add(kind)
    warn(text)


class Scope:
    """A `with` block for the length of which fields of the context are set.

    A subclass says in `_block` which ones. It may be entered again while it is open.
    """

    _open: tuple = ()

    def _block(self) -> having:
        raise NotImplementedError

    def __enter__(self):
        block = self._block()
        block.__enter__()
        self._open = (*self._open, block)
        return self

    def __exit__(self, *exception):
        self._open, block = self._open[:-1], self._open[-1]
        return block.__exit__(*exception)


class name_scope(Scope):
    """Prefix the paths of Variables made in a `with` block by `name`.

    >>> import lamina
    >>> with lamina.name_scope("encoder"):
    ...     v = lamina.Variable([1.0], name="scale")
    >>> v.path
    'encoder/scale'
    """

    @boundary
    def __init__(self, name: str | None, **kwargs):
        if not isinstance(name, str) or "/" in name:
            raise ValueError(
                "`name_scope` expected `name` to be a string without '/'. "
                f"Received: name={name!r}"
            )
        self.name = name

    def _block(self):
        return having(scopes=(*context.scopes, self.name))
