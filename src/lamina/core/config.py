"""Objects to configs and back, in the format of Keras 3.

A config is plain data: `{"module", "class_name", "config", "registered_name"}`
for an object, and small marked dicts for what JSON has no word for. Reading one
uses the closed registry only (see `registry`).
"""

import base64
import collections
import functools
import inspect
import marshal
import re
import types
from typing import Any

import jax
import numpy as np

from lamina.core.budget import budgeted, looked_at
from lamina.core.constructor import Bounded, Captured, all_parameters
from lamina.core.context import context, having
from lamina.core.dtypes import standardize_dtype
from lamina.core.naming import nearest, of_keras, snake_case
from lamina.core.op import OPS, OpCall, op_call
from lamina.core.registry import (
    author_of,
    built_in,
    custom,
    find_class,
    get_registered_name,
    ours,
    public,
    public_name,
)
from lamina.core.symbolic import SymbolicTensor
from lamina.core.tracebacks import boundary
from lamina.core.variable import Variable

_PLAIN = (str, int, float, bool, type(None))


class Constructed(Bounded):
    """The constructor contract: parameters live on `self` under their own names.

    Gives `get_config` and `from_config` to every class that keeps it. What Keras' files
    say otherwise than the signature, a class declares.
    """

    # Keys that come first, parameters or not; and those that come last, if not before.
    _saved_first: tuple[str, ...] = ()
    _saved_last: tuple[str, ...] = ()
    # Parameters that are not written, and those that are not at their defaults.
    _saved_never: tuple[str, ...] = ()
    _saved_if_changed: tuple[str, ...] = ()
    # The attributes of parameters that are kept under other names.
    _saved_from: dict[str, str] = {}
    # Whether parameters that are not kept are left out, or an error.
    _may_forget = False
    # What a call of it takes for some arguments, besides memory, for a `Budget`.
    _work: Any = None
    # Whether the signatures of users' classes are read, or only our own.
    _reads_signatures = True

    def get_config(self) -> dict:
        """Return the constructor's arguments, ready to be saved.

        Raises:
            NotImplementedError: a parameter was not kept on `self`, or the class has to
                write its own.
        """
        cls = type(self)
        # A user's class that writes `get_config` adds its own parameters there.
        whole = cls._reads_signatures and ours(cls.get_config)
        author = cls if whole else author_of(cls)
        if "_abstract" in vars(author):
            raise NotImplementedError(
                f"`{type(self).__name__}` must implement `get_config()` to be saved."
            )
        parameters, given = all_parameters(author), {}
        if isinstance(self, Captured) and not ours(author):
            given = self._given_arguments()
            if self._names_all_given():
                # What a user's base takes may be what the class itself gives it.
                held = all_parameters(next(c for c in author.__mro__ if ours(c)))
                names = {*given, *held}
                parameters = {k: v for k, v in parameters.items() if k in names}
            for name in (*self._saved_first, *self._saved_from):
                given.pop(name, None)
        config = {}
        for name in (*self._saved_first, *parameters):
            kept = self._saved_from.get(name, name)
            if name in config or name in self._saved_never:
                continue
            if name not in given and not hasattr(self, kept):
                if self._may_forget:
                    continue
                raise NotImplementedError(
                    f"`{type(self).__name__}` takes `{name}` in `__init__` but has no "
                    "attribute of that name, so its config cannot be read. Write "
                    f"`self.{name} = {name}` in `__init__`, or override `get_config`."
                )
            value = given[name] if name in given else getattr(self, kept)
            if name in self._saved_if_changed and value == parameters.get(name):
                continue
            config[name] = encode_parameter(value)
        for name in self._saved_last:
            if name not in config:
                config[name] = encode_parameter(getattr(self, name))
        return config

    @classmethod
    def from_config(cls, config: dict):
        """Make an object from what `get_config` returned."""
        return cls(**dict_for(cls, config))


def dict_for(cls, config) -> dict:
    """Return the config of a class; TypeError unless it is a dict."""
    if not isinstance(config, dict):
        raise TypeError(
            f"`{cls.__name__}.from_config` expected a dict. Received: {config!r:.200}"
        )
    return config


def encode_parameter(value):
    """Encode one constructor argument as Keras' `get_config` methods do."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, types.FunctionType) or hasattr(value, "__wrapped__"):
        name = public_name(value)
        if name and name[0] in ("keras.activations", "keras.losses", "keras.metrics"):
            return name[1]
        return serialize_keras_object(value)
    if hasattr(value, "get_config"):
        return serialize_keras_object(value)
    if isinstance(value, (list, tuple)):
        return type(value)(encode_parameter(v) for v in value)
    if isinstance(value, dict):
        return {k: encode_parameter(v) for k, v in value.items()}
    return value


@boundary
def serialize_keras_object(obj) -> Any:
    """Turn an object into plain data that JSON can hold.

    Args:
        obj: a Lamina object, an object with `get_config`, a function, an array,
            or any nesting of lists, tuples and dicts of these.

    Raises:
        ValueError: there is no way to write it down.

    >>> import lamina
    >>> config = lamina.saving.serialize_keras_object(lamina.regularizers.L2(0.1))
    >>> config["class_name"], config["config"]
    ('L2', {'l2': 0.1})
    """
    if obj is None or isinstance(obj, (str, bool)) or type(obj) in (int, float):
        return obj
    if isinstance(obj, bytes):
        return {"class_name": "__bytes__", "config": {"value": obj.decode("utf-8")}}
    if isinstance(obj, (list, tuple)):
        return type(obj)(serialize_keras_object(x) for x in obj)
    if isinstance(obj, dict):
        return {key: serialize_keras_object(value) for key, value in obj.items()}
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, SymbolicTensor):
        return _marked("__keras_tensor__", _describe(obj))
    if isinstance(obj, (np.ndarray, jax.Array, Variable)):
        mark = "__numpy__" if isinstance(obj, np.ndarray) else "__tensor__"
        array = np.asarray(obj)
        return _marked(mark, {"value": array.tolist(), "dtype": array.dtype.name})
    if obj is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(obj, slice):
        parts = {"start": obj.start, "stop": obj.stop, "step": obj.step}
        return _marked("__slice__", serialize_keras_object(parts))
    if isinstance(obj, np.dtype):
        return obj.name
    if inspect.isclass(obj) and not hasattr(type(obj), "get_config"):
        if issubclass(obj, np.generic):
            return standardize_dtype(obj)
        return _function(obj, "class")
    held = context.configs.references
    if isinstance(obj, types.FunctionType) and obj.__name__ == "<lambda>":
        if held is not None and held.lambdas:
            return _marked("__held__", held.put(obj))
        return _marked("__lambda__", {"value": _bytecode(obj)})
    if isinstance(obj, (types.FunctionType, types.BuiltinFunctionType)) or (
        hasattr(obj, "__wrapped__") and hasattr(obj, "__name__")
    ):
        return _function(obj, "function")
    if isinstance(obj, OpCall):
        return _op(obj)
    if hasattr(obj, "get_config"):
        return _object(obj)
    if held is not None and held.things:
        return _marked("__held__", held.put(obj))
    if hasattr(obj, "__name__"):
        return obj.__name__
    raise ValueError(
        f"Cannot serialize object {obj!r} of type {type(obj).__name__}. Give its class "
        "a `get_config()` method that returns its constructor's arguments."
    )


def _marked(mark, config):
    return {"class_name": mark, "config": config}


def _entry(module, name, config, registered):
    return {
        "module": module,
        "class_name": name,
        "config": config,
        "registered_name": registered,
    }


def _describe(tensor):
    config = {"shape": tensor.shape, "dtype": tensor.dtype}
    if tensor.node is not None:
        operation, node, index = tensor._keras_history
        config["keras_history"] = [operation.name, node, index]
    return config


def _function(obj, kind):
    name = public_name(obj)
    shown = name[1] if name else _custom_name(obj)
    return _entry("builtins", kind, shown, kind)


def _bytecode(function):
    code = base64.encodebytes(marshal.dumps(function.__code__)).decode("ascii")
    closure = tuple(c.cell_contents for c in function.__closure__ or ()) or None
    return code, function.__defaults__, closure


def _op(call):
    module, name = call.function.module, call.function.class_name
    return _entry(module, name, serialize_keras_object(call.get_config()), name)


def _object(obj):
    cls = type(obj)
    known = public_name(cls)
    module, name = known or (None, cls.__name__)
    # The two forms that Keras keeps private say so in their registered name.
    private = known is not None and ".src." in known[0]
    registered = (name if private else None) if known else _custom_name(cls)
    inner = serialize_keras_object(obj.get_config())
    config = _entry(module, name, inner, registered)
    for key, method in (
        ("build_config", "get_build_config"),
        ("compile_config", "get_compile_config"),
    ):
        getter = getattr(obj, method, None)
        extra = getter() if getter else None
        if extra is not None:
            config[key] = serialize_keras_object(extra)
    numbering = context.configs.numbering
    if numbering is not None and hasattr(obj, "save_own_variables"):
        number = numbering(obj)
        if number is not None:
            config["shared_object_id"] = number
    return config


def _custom_name(thing):
    name, held = get_registered_name(thing), context.configs.references
    return name if held is None else held.lend(name, thing)


def serialize_shared(obj):
    """Serialize, and number what is mentioned more than once, as Keras' files do."""
    with having(context.configs, numbering=None):
        return numbered(serialize_keras_object)(obj)


def numbered(write):
    """Number what `write(thing)` serializes more than once, unless a caller does."""

    @functools.wraps(write)
    def written(thing):
        number = context.configs.numbering or numbering_of(lambda: write(thing))
        with having(context.configs, numbering=number):
            return write(thing)

    return written


def numbering_of(write):
    """Return a function that numbers what `write` serializes more than once."""
    mentions = collections.Counter()
    alive = []

    def count(thing):
        alive.append(thing)  # so that no id is given twice
        mentions[id(thing)] += 1

    with having(context.configs, numbering=count):
        write()
    repeated = [key for key, times in mentions.items() if times > 1]
    numbers = {key: i for i, key in enumerate(repeated, 1)}
    return lambda thing, alive=alive: numbers.get(id(thing))


def sharing():
    """Make what one config mentions more than once only once, in a `with` block."""
    shared = context.configs.shared
    return having(context.configs, shared={} if shared is None else shared)


@boundary
def deserialize_keras_object(
    config, custom_objects=None, safe_mode=None, **kwargs
) -> Any:
    """Make an object from plain data. No code comes from the data.

    Args:
        config: what `serialize_keras_object` gave.
        custom_objects: a dict from names to your own classes and functions.
        safe_mode: False allows lambdas, which are code; anything else refuses.
        **kwargs: kept for compatibility.

    Raises:
        TypeError: a name that is neither Lamina's nor lent nor registered.
        ValueError: a lambda while safe, or a config that its class refuses.

    >>> import lamina
    >>> config = {"class_name": "Dense", "config": {"units": 3}}
    >>> lamina.saving.deserialize_keras_object(config).units
    3
    """
    module_objects = kwargs.pop("module_objects", None)
    kwargs.pop("printable_module_name", None)
    if kwargs:
        raise TypeError(f"Unknown arguments: {sorted(kwargs)}")
    fields, around = {}, context.configs
    if custom_objects:
        fields["custom_objects"] = {**(around.custom_objects or {}), **custom_objects}
    if safe_mode is not None:
        fields["safe_mode"] = safe_mode
    if not fields and (around.budget is not None or around.references is not None):
        return _decode(config, module_objects)  # inside another one
    with budgeted(**fields):
        return _decode(config, module_objects)


def arguments_of(config, taker) -> dict:
    """Return the arguments in a config, each made into what it stands for.

    Args:
        config: the config.
        taker: the class that takes them.
    """
    # What a user's class takes besides may be a class; what it takes on may not.
    author = author_of(taker)
    own = () if author is taker else all_parameters(author)

    made, around = dict(dict_for(taker, config)), context.configs
    inside = around.budget is not None or around.references is not None
    read, before = _decode if inside else deserialize_keras_object, around.taker
    try:
        for key, value in made.items():
            if not isinstance(value, _PLAIN):
                around.taker = author if key in own else taker
                made[key] = read(value)
    finally:
        around.taker = before
    return made


def _decode(config, names=None):
    if isinstance(config, str) and names:
        found = custom(config) or names.get(config)
        if found is not None:
            return found() if inspect.isclass(found) else found
    if isinstance(config, (list, tuple)):
        return type(config)([_decode(x) for x in config])
    if not isinstance(config, dict):
        return config
    if "class_name" not in config or "config" not in config:
        return {key: _decode(value) for key, value in config.items()}
    name, inner = config["class_name"], config["config"]
    marked = _MARKS.get(name)
    if marked:
        return marked(inner)
    module = config.get("module")
    registered = config.get("registered_name")
    if name in ("function", "class") and module in ("builtins", None):
        return _named(inner, name, registered)
    if (module, name) in OPS:
        return _op_from(OPS[module, name], inner)
    if not isinstance(name, str) or not isinstance(inner, (dict, type(None))):
        raise TypeError(
            "A config needs a class name and its arguments. Expected 'config' to be a "
            f"dict. Received: {config!r}"
        )
    cls = None
    if names and not registered and custom(name) is None:
        cls = names.get(name)
    if cls is None:
        cls = find_class(module, name, registered)
    if not hasattr(cls, "from_config"):
        raise TypeError(
            f"Unable to reconstruct an instance of {name!r}: it has no "
            "`from_config()` method."
        )
    return _build(cls, name, inner or {}, config)


# What errors say where a config does not fit the constructor.
_NOT_ITS_OWN = r"unexpected keyword|Unrecognized keyword|missing \d+ required"


def _build(cls, name, inner, config):
    # Parts of a config may have been numbered each for itself: names tell them apart.
    number = config.get("shared_object_id"), str(inner.get("name"))
    around = context.configs
    shared = around.shared if isinstance(number[0], int) else None
    if shared is not None and number in shared:
        return shared[number]
    if around.budget is not None:
        around.budget.make(cls, inner)
    # Inner objects are read by `from_config` itself, which knows its arguments.
    before, around.taker = around.taker, cls
    try:
        obj = cls.from_config(inner)
    except (TypeError, ValueError) as error:
        said = error.__cause__ is not None  # of something inside
        if said or not re.search(_NOT_ITS_OWN, str(error)):
            raise
        raise TypeError(
            f"{name!r} could not be made from its config: {error}. Its `__init__` does "
            f"not take what the config holds. Config: {inner!r}"
        ) from error
    finally:
        around.taker = before
    if shared is not None:
        shared[number] = obj
    replaced = around.budget.replaced if around.budget is not None else None
    if replaced is not None:
        # A built-in class may be public under another name than its own.
        kept = config.get("module") and built_in(config["module"], name)
        if type(obj).__name__ != (name := kept.__name__ if kept else name):
            replaced.append((obj, name))
    build_config = config.get("build_config")
    if build_config and hasattr(obj, "build_from_config"):
        obj.build_from_config(_decode(build_config))
    compile_config = config.get("compile_config")
    if compile_config and hasattr(obj, "compile_from_config"):
        obj.compile_from_config(compile_config)
    return obj


def _named(name, kind, registered):
    """Return the function or class of a name: the caller's own, or a pure built-in one.

    A layer may call what it is given with arguments from the file, so nothing that
    reaches beyond its arguments is found here.
    """
    if not isinstance(name, str):
        raise TypeError(
            "A function's config is its name. Expected 'config' to be a non-null str. "
            f"Received: {name!r}"
        )
    found = custom(name)
    if found is not None:
        _check_wanted(found, name, kind)
        return found
    for space in ("activations", "losses", "metrics"):
        found = getattr(public(space), name, None)
        if isinstance(found, types.FunctionType) and ours(found):
            if name in ("get", "serialize", "deserialize") or name.startswith("_"):
                break
            if registered not in (None, "", kind, name):
                raise ValueError(
                    f"The config says that {name!r} is registered as {registered!r}, "
                    "but it resolved to a Keras built-in."
                )
            return found
    found = find_class(None, name, kind=kind)
    if not hasattr(found, "from_config"):
        raise TypeError(
            f"{name!r} is no {kind} that a config may refer to: only activations, "
            "losses, metrics and classes with a config are, and your own."
        )
    _check_wanted(found, name, kind)
    return found


def _check_wanted(found, name, kind):
    """Let a config name a class only where a class is wanted.

    Ours take none: they would call it, as a function, with arguments from the file.
    """
    if not inspect.isclass(found) or context.configs.references is not None:
        return
    taker = context.configs.taker
    if kind == "function" or (taker is not None and ours(taker)):
        raise TypeError(
            f"A config names the class {name!r} where "
            + (f"`{taker.__name__}` takes" if taker else "there must be")
            + " a function or an object. Only layers of your own may take a class."
        )


def _op_from(function, config):
    if context.configs.budget is not None:
        context.configs.budget.make(function, config)
    settings = {key: _decode(value) for key, value in config.items()}
    name = settings.pop("name", None)
    if "dtype" not in function.config:
        settings.pop("dtype", None)
    known = inspect.signature(function.plain).parameters
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(
            f"Op `{function.__name__}` takes no argument {', '.join(unknown)}. "
            f"Received: config={config!r}"
        )
    return op_call(function, settings, name)


def _array_from(config):
    try:
        array = np.array(config["value"])
        if array.dtype.kind == "U":
            return array
        if array.dtype.kind not in "biuf":
            raise ValueError(f"values of dtype {array.dtype}")
        return array.astype(standardize_dtype(config["dtype"]))
    except (ValueError, TypeError) as error:
        raise ValueError(
            "An array in a config must hold numbers or text, in rows of one length. "
            f"Received: dtype={config['dtype']!r}"
        ) from error


def _reference_from(number):
    # A file cannot say this: nothing is held while one is read.
    held = context.configs.references
    if held is None or not isinstance(number, int):
        raise ValueError("The config refers to something that no file can hold.")
    return held.objects[number]


def _lambda_from(config):
    if context.configs.safe_mode is not False:
        raise ValueError(
            "The config holds a Python lambda, which is code from its author: loading "
            "it allows arbitrary code execution on this machine. If you trust where it "
            "comes from, pass `safe_mode=False` to the call that loads it; better, "
            "replace the lambda by a named function registered with "
            "`@lamina.saving.register_keras_serializable()`."
        )
    return function_from_bytecode(config["value"])


def function_from_bytecode(value):
    """Rebuild a lambda from what was saved of it. Runs no check: see the caller."""
    code, defaults, closure = value
    body = marshal.loads(base64.b64decode(code))
    cells = tuple(types.CellType(c) for c in closure or ())
    defaults = tuple(_decode(d) for d in defaults) if defaults else None
    names = {"__builtins__": __builtins__, **(context.configs.custom_objects or {})}
    return types.FunctionType(body, names, "<lambda>", defaults, cells)


_MARKS = {
    "__bytes__": lambda c: c["value"].encode("utf-8"),
    "__ellipsis__": lambda c: Ellipsis,
    "__slice__": lambda c: slice(c["start"], c["stop"], c["step"]),
    "__numpy__": _array_from,
    "__tensor__": lambda c: jax.numpy.asarray(_array_from(c)),
    "__keras_tensor__": lambda c: SymbolicTensor(c["shape"], c["dtype"]),
    "__tuple__": lambda c: tuple(_decode(x) for x in c["value"]),
    "__lambda__": _lambda_from,
    "__held__": _reference_from,
}


def resolver(kind, table, base, example):
    """Make the `get` and `deserialize` of one public namespace.

    Args:
        kind: the word for messages, such as `"optimizer"`.
        table: a function of the namespace's module that returns a dict from every
            accepted name to a class or function.
        base: the class of accepted objects, or None to accept any callable.
        example: the config of one of its classes, for docstrings.

    Returns:
        The two functions.
    """
    table = functools.cache(table)

    @boundary
    def deserialize(config, custom_objects=None):
        """Make an object from its name or its config."""
        found = deserialize_keras_object(
            config, custom_objects=custom_objects, module_objects=table()
        )
        if isinstance(found, str):
            raise unknown(found)
        if isinstance(config, dict) and inspect.isclass(found):
            raise TypeError(
                f"The config of {kind} names a class, {found.__name__!r}, in the place "
                "of an object."
            )
        return found

    @boundary
    def get(identifier) -> Any:
        """Return an object for a name, a config, a class or the object itself."""
        if identifier is None:
            return None
        if isinstance(identifier, dict):
            return deserialize(identifier)
        if isinstance(identifier, str):
            looked_at(identifier)
            found = custom(identifier)
            found = table().get(identifier) if found is None else found
            if found is None:
                raise unknown(identifier)
            return found() if inspect.isclass(found) else found
        if inspect.isclass(identifier) and base and issubclass(identifier, base):
            return identifier()
        if (base and isinstance(identifier, base)) or callable(identifier):
            return identifier
        raise ValueError(
            f"Could not interpret {kind} identifier: {identifier} (of type "
            f"{type(identifier).__name__}). Pass a name, an object or a config."
            f"{of_keras(identifier)}"
        )

    def unknown(name):
        hint = nearest(name, table())
        return ValueError(f"Could not interpret {kind} identifier: {name}.{hint}")

    for function in (get, deserialize):
        function.__module__ = table.__module__  # where pickle finds it
        function.__qualname__ = function.__name__
        call = f"{table.__module__}.{function.__name__}({example!r})"
        function.__doc__ = (
            f"{function.__doc__}\n\n    >>> import lamina\n    >>> made = {call}\n"
            f"    >>> type(made).__name__\n    {example['class_name']!r}\n    "
        )
    return get, deserialize


def names_of(module_names: dict) -> dict:
    """Return a table from class names and snake-case names to classes."""
    table = {}
    for name, thing in module_names.items():
        table[name] = thing
        if inspect.isclass(thing):
            table.setdefault(snake_case(name), thing)
            table.setdefault(name.lower(), thing)
    return table
