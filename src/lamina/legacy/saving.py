"""Configs as Keras 2 wrote them: a name, or a name with a config."""

from lamina.core import config as _configs
from lamina.core.registry import get_registered_name as _get_registered_name
from lamina.core.registry import get_registered_object as _get_registered_object
from lamina.core.tracebacks import boundary as _boundary

__all__ = ["deserialize_keras_object", "serialize_keras_object"]


@_boundary
def serialize_keras_object(instance):
    """Return the config of an object in the form of Keras 2.

    `lamina.saving.serialize_keras_object` writes the form of Keras 3.

    Args:
        instance: an object with `get_config`, a function, or None.

    Raises:
        ValueError: `instance` is none of these.

    >>> import lamina
    >>> zeros = lamina.initializers.Zeros()
    >>> lamina.legacy.saving.serialize_keras_object(zeros)
    {'class_name': 'Zeros', 'config': {}}
    """
    if instance is None:
        return None
    if hasattr(instance, "get_config"):
        name = _get_registered_name(type(instance))
        return {"class_name": name, "config": instance.get_config()}
    if hasattr(instance, "__name__"):
        return _get_registered_name(instance)
    raise ValueError(
        "`serialize_keras_object` expected an object with `get_config()` or a "
        f"function. Received: {instance!r}"
    )


@_boundary
def deserialize_keras_object(
    identifier, module_objects=None, custom_objects=None, printable_module_name="object"
):
    """Return the object for a name or a config of Keras 2.

    Args:
        identifier: a name, a dict with `class_name` and `config`, or None.
        module_objects: a dict of what names may mean.
        custom_objects: another, which goes first.
        printable_module_name: what error messages call the object.

    Raises:
        ValueError: the name is not known, or `identifier` is not a config.

    >>> import lamina
    >>> lamina.legacy.saving.deserialize_keras_object(
    ...     {"class_name": "Dense", "config": {"units": 3}}
    ... ).units
    3
    """
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        if not {"class_name", "config"} <= set(identifier):
            raise ValueError(
                "Improper config format: expected a dict with `class_name` and "
                f"`config`. Received: {identifier!r}"
            )
        known = {**(module_objects or {}), **(custom_objects or {})}
        return _configs.deserialize_keras_object(identifier, custom_objects=known)
    if not isinstance(identifier, str):
        raise ValueError(
            f"Could not interpret the {printable_module_name}. Received: {identifier!r}"
        )
    found = _get_registered_object(identifier, custom_objects, module_objects)
    if found is None:
        raise ValueError(
            f"Unknown {printable_module_name}: {identifier!r}. Pass it in "
            "`custom_objects`."
        )
    return found() if isinstance(found, type) else found
