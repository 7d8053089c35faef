"""Losses: what training makes small."""

from lamina._imports import offer as _offer
from lamina.core import config as _config
from lamina.losses.crossentropy import *
from lamina.losses.crossentropy import ShapedCrossentropy
from lamina.losses.loss import *
from lamina.losses.loss import LossFunctionWrapper
from lamina.losses.margin import *
from lamina.losses.overlap import *
from lamina.losses.regression import *
from lamina.losses.sequence import *

# What files and `compile` name, and no user.
_INNER = ("LossFunctionWrapper", "ShapedCrossentropy")
_SHORT = {
    "bce": binary_crossentropy,
    "kld": kl_divergence,
    "mae": mean_absolute_error,
    "mape": mean_absolute_percentage_error,
    "mse": mean_squared_error,
    "msle": mean_squared_logarithmic_error,
}


def _names():
    # A class gives its snake-case name to the function of that name.
    makers = ("deserialize", "get", "serialize")
    things = {n: globals()[n] for n in _PUBLIC if n not in makers}
    things["LossFunctionWrapper"] = LossFunctionWrapper
    short = _SHORT | {name.upper(): loss for name, loss in _SHORT.items()}
    short |= dict.fromkeys(("crossentropy", "ce", "CE"), ShapedCrossentropy)
    return (
        _config.names_of(things)
        | short
        | {"logcosh": log_cosh}
        | {name: thing for name, thing in things.items() if name.islower()}
    )


_EXAMPLE = {"class_name": "Huber", "config": {"delta": 2.0}}
get, _deserialize = _config.resolver("loss", _names, Loss, _EXAMPLE)


def serialize(loss):
    """Return the config of a loss, or of a function by its name.

    >>> import lamina
    >>> lamina.losses.serialize(lamina.losses.Huber())["config"]["name"]
    'huber_loss'
    """
    return _config.serialize_keras_object(loss)


def deserialize(name, custom_objects=None):
    """Make a loss from its name or its config.

    Args:
        name: the name or the config.
        custom_objects: a dict from names to classes and functions of yours.

    >>> import lamina
    >>> lamina.losses.deserialize("mse").__name__
    'mean_squared_error'
    """
    return _deserialize(name, custom_objects)


_PUBLIC = _offer(globals(), *_INNER)
