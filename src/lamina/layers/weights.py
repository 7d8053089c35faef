"""Arguments that name an object, and the weights made with them."""

from typing import Any

from lamina import activations, constraints, initializers, regularizers
from lamina.core.config import encode_parameter
from lamina.layers.layer import Layer

_HOOKS = {
    "initializer": initializers.get,
    "regularizer": regularizers.get,
    "constraint": constraints.get,
}
_GET = {**_HOOKS, "activation": activations.get}


def keep(layer, **arguments) -> None:
    """Store arguments such as `kernel_initializer` on the layer, made into objects."""
    for name, value in arguments.items():
        setattr(layer, name, resolved(layer, name, value))


def resolved(layer, name, value) -> Any:
    """Return the object that an argument such as `kernel_initializer` names."""
    return layer._given_object(_GET[name.rpartition("_")[2]], name, value)


def make(layer, prefix, shape, name=None, **more):
    """Add the weight whose arguments were kept under `prefix`."""
    hooks = {kind: getattr(layer, f"{prefix}_{kind}", None) for kind in _HOOKS}
    return layer.add_weight(name=name or prefix, shape=shape, **hooks, **more)


def config_with_activity(layer) -> dict:
    """Return the config of a layer that names its activity regularizer always."""
    return with_activity(layer, Layer.get_config(layer))


def with_activity(layer, config) -> dict:
    """Return a layer's config with its activity regularizer, also where it is None."""
    activity = encode_parameter(layer.activity_regularizer)
    return {**config, "activity_regularizer": activity}
