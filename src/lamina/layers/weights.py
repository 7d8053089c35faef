"""Arguments that name an object, and the weights made with them."""

from typing import Any

from lamina import activations, constraints, initializers, regularizers
from lamina.core.config import Constructed

_HOOKS = {
    "initializer": initializers.get,
    "regularizer": regularizers.get,
    "constraint": constraints.get,
}
_GET = {**_HOOKS, "activation": activations.get}


def keep(layer, given) -> None:
    """Store arguments such as `kernel_initializer` on the layer, made into objects.

    Args:
        layer: the layer.
        given: the arguments of its constructor by name, others among them.
    """
    for name, value in given.items():
        # The one that every layer has is kept by `Layer`.
        if name.endswith((*_GET,)) and name != "activity_regularizer":
            made = value is None or isinstance(value, Constructed)
            if not (made and name.endswith((*_HOOKS,))):
                value = resolved(layer, name, value)
            setattr(layer, name, value)


def resolved(layer, name, value) -> Any:
    """Return the object that an argument such as `kernel_initializer` names."""
    return layer._given_object(_GET[name.rpartition("_")[2]], name, value)


def make(layer, prefix, shape, name=None, **more):
    """Add the weight whose arguments were kept under `prefix`."""
    hooks = {kind: getattr(layer, f"{prefix}_{kind}", None) for kind in _HOOKS}
    return layer.add_weight(name=name or prefix, shape=shape, **hooks, **more)
