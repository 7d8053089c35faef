"""The closed registry: which names a config may use, and what they mean.

A name resolves to what the public namespaces export, to what the caller lent
(`custom_objects=`, `custom_object_scope`) or registered
(`register_keras_serializable`). Nothing else: no module that a file names is
ever imported.
"""

import functools
import importlib
import inspect
import sys
from typing import Any

from lamina.core.context import Scope, context, having
from lamina.core.naming import nearest, package_of
from lamina.core.tracebacks import boundary

# Public namespaces in the order in which a bare class name is looked for.
NAMESPACES = tuple(
    (
        "layers models losses metrics optimizers optimizers.schedules initializers "
        "regularizers constraints activations callbacks random dtype_policies "
        "quantizers saving utils distillation"
    ).split()
)

# What a saved module may be called besides its public name. Files of Keras name
# private places; what stands there is looked up in ours.
_PLACES = {
    "keras": "",
    "keras.src.models.functional": "models",
    "keras.src.models.sequential": "models",
    "keras.src.models.model": "models",
    "keras.src.ops.function": "",
    "keras.src.applications.convnext": "applications.scaling",
    "keras.src.applications.inception_resnet_v2": "applications.scaling",
    "builtins": None,
}
_PREFIXES = ("keras.api.", "tensorflow.keras.", "tf_keras.", "lamina.", "keras.")

_custom: dict[str, object] = {}
_custom_names: dict[int, tuple[object, str]] = {}


def public(namespace) -> Any:
    """Return the module of a public namespace, or None while there is none."""
    name = f"lamina.{namespace}" if namespace else "lamina"
    try:
        return sys.modules.get(name) or importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            return None
        raise


@functools.lru_cache(1 << 12)
def ours(thing) -> bool:
    """Tell whether a class or function is the library's own.

    What hangs on it: names in files, what errors and warnings say, and what may change
    without notice because its code is a user's. How something is computed does not.
    """
    return package_of(thing) == "lamina"


def author_of(cls):
    """Return the nearest built-in class that a class is made from, or is."""
    return next(filter(ours, cls.__mro__))


@functools.cache
def public_name(thing) -> tuple[str, str] | None:
    """Return the `(module, name)` by which Keras' files call a built-in thing."""
    if not ours(thing):
        return None
    name = thing.__name__
    saved = thing.__dict__.get("_saved_as") if inspect.isclass(thing) else None
    if saved:
        return saved
    if getattr(public(""), name, None) is thing:
        return "keras", name
    for namespace in NAMESPACES:
        if getattr(public(namespace), name, None) is thing:
            return f"keras.{namespace}", name
    return None


def find_class(module, name, registered_name=None, kind="class"):
    """Return the class or function that a config names.

    Args:
        module: the module in the config.
        name: the class name in the config.
        registered_name: the registered name in the config.
        kind: what to call it in the error.

    Raises:
        TypeError: nothing in the registry has the name.
    """
    found = located(module, name, registered_name)
    if found is not None:
        return found
    wanted = registered_name or name
    names = [n for n in _built_in_names(module) if n[0].isupper() == (kind == "class")]
    hint = nearest(name, names, cutoff=0.75)
    raise TypeError(
        f"Could not locate {kind} {name!r}"
        + (f" of module {module!r}" if module else "")
        + ". Only Lamina's own classes and those that you name are ever used. If it is "
        f"yours, pass `custom_objects={{{wanted!r}: {name}}}`, or decorate it with "
        f"`@lamina.saving.register_keras_serializable()`.{hint}"
    )


def located(module, name, registered_name=None) -> Any:
    """Return the class or function that a config names, or None.

    Raises:
        ValueError: ours, registered under a name that it does not have.
    """
    wanted = registered_name or name
    for candidate in {wanted: None, name: None}:
        found = custom(candidate)
        if found is not None:
            return found
    found = built_in(module, name)
    if found is not None and registered_name not in (None, "", "function", name):
        raise ValueError(
            f"The config says that {name!r} is registered as {registered_name!r}, but "
            "it resolved to a Keras built-in. If it is yours, pass "
            f"`custom_objects={{{registered_name!r}: {name}}}`."
        )
    return found


@functools.lru_cache
def _spaces(module) -> tuple:
    """Return the public namespaces to look for what stands in a module of Keras."""
    if not module:
        return NAMESPACES
    place = _PLACES.get(module)
    if module not in _PLACES:
        prefix = next(filter(module.startswith, _PREFIXES), None)
        place = module.removeprefix(prefix) if prefix else None
    if place == "":
        return "", "models"
    if place and place.startswith("src."):
        # A private place of Keras: `keras.src.layers.core.dense`.
        kind = place.split(".")[1]
        return *(s for s in NAMESPACES if s.split(".")[0] == kind), ""
    return (place,) if place in NAMESPACES or module in _PLACES and place else ()


@functools.lru_cache(1 << 10)
def built_in(module, name):
    """Return our class or function of a name in a module of Keras, or None."""
    for space in () if name.startswith("_") else _spaces(module):
        found = getattr(public(space), name, None)
        if callable(found) and ours(found):
            return found
    return None


def _built_in_names(module):
    spaces = _spaces(module)
    if not spaces or "" in spaces:
        spaces = NAMESPACES
    return [n for space in spaces for n in dir(public(space)) if not n.startswith("_")]


def custom(name, custom_objects=None):
    """Return what the caller lent or registered under `name`, or None."""
    for table in (custom_objects, context.configs.custom_objects, _custom):
        if table and name in table:
            return table[name]
    return None


@boundary
def get_registered_name(obj) -> str:
    """Return the name under which `obj` was registered, else its `__name__`.

    >>> import lamina
    >>> lamina.saving.get_registered_name(lamina.layers.Dense)
    'Dense'
    """
    entry = _custom_names.get(id(obj))
    if entry is not None and entry[0] is obj and _custom.get(entry[1]) is obj:
        return entry[1]
    return obj.__name__


@boundary
def get_registered_object(name, custom_objects=None, module_objects=None):
    """Return the class or function registered under `name`, or None.

    >>> import lamina
    >>> @lamina.saving.register_keras_serializable(package="shop")
    ... def squared(x):
    ...     return x * x
    >>> lamina.saving.get_registered_object("shop>squared") is squared
    True
    """
    found = custom(name, custom_objects)
    return (module_objects or {}).get(name) if found is None else found


def register_keras_serializable(package="Custom", name=None):
    """Let files name your own class or function, as `package>name`.

    Args:
        package: the first part of the name.
        name: the second part; the object's own name when None.

    Raises:
        ValueError: a class without `get_config`.

    >>> import lamina
    >>> @lamina.saving.register_keras_serializable(package="shop")
    ... def squared(x):
    ...     return x * x
    >>> lamina.saving.get_registered_name(squared)
    'shop>squared'
    """

    def register(thing):
        registered = f"{package}>{name if name is not None else thing.__name__}"
        if inspect.isclass(thing) and not hasattr(thing, "get_config"):
            raise ValueError(
                "Cannot register a class that does not have a get_config() method. "
                f"Received: {thing.__name__}"
            )
        _custom[registered] = thing
        _custom_names[id(thing)] = (thing, registered)
        return thing

    return register


def get_custom_objects() -> dict:
    """Return the table of registered objects; changing it registers.

    >>> import lamina
    >>> lamina.saving.get_custom_objects()["Sine"] = lamina.ops.sin
    >>> lamina.saving.get_registered_object("Sine") is lamina.ops.sin
    True
    """
    return _custom


class CustomObjectScope(Scope):
    """Lend names to everything that loads in a `with` block.

    Args:
        custom_objects: a dict from names to classes or functions.

    >>> import lamina
    >>> class Mine(lamina.layers.Dense):
    ...     pass
    >>> config = lamina.layers.serialize(Mine(2))
    >>> with lamina.saving.custom_object_scope({"Mine": Mine}):
    ...     type(lamina.layers.deserialize(config)).__name__
    'Mine'
    """

    @boundary
    def __init__(self, custom_objects: dict | None):
        self.custom_objects = dict(custom_objects or {})

    def _block(self):
        around = context.configs.custom_objects or {}
        return having(context.configs, custom_objects={**around, **self.custom_objects})


custom_object_scope = CustomObjectScope
