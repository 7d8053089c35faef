"""Losses: what training makes small."""

from lamina.core.config import names_of, resolver
from lamina.losses.crossentropy import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    KLDivergence,
    ShapedCrossentropy,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    kl_divergence,
    sparse_categorical_crossentropy,
)
from lamina.losses.loss import Loss, LossFunctionWrapper
from lamina.losses.margin import (
    CategoricalHinge,
    Circle,
    Hinge,
    SquaredHinge,
    categorical_hinge,
    circle,
    hinge,
    squared_hinge,
)
from lamina.losses.overlap import Dice, Tversky, dice, tversky
from lamina.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
)
from lamina.losses.sequence import CTC, ctc

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CTC",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "CategoricalHinge",
    "Circle",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "circle",
    "cosine_similarity",
    "ctc",
    "deserialize",
    "dice",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
]

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
    things = {n: globals()[n] for n in __all__ if n not in ("deserialize", "get")}
    things["LossFunctionWrapper"] = LossFunctionWrapper
    things.pop("serialize")
    short = _SHORT | {name.upper(): loss for name, loss in _SHORT.items()}
    short |= dict.fromkeys(("crossentropy", "ce", "CE"), ShapedCrossentropy)
    return (
        names_of(things)
        | short
        | {"logcosh": log_cosh}
        | {name: thing for name, thing in things.items() if name.islower()}
    )


get, _serialize, _deserialize = resolver("loss", _names, Loss)


def serialize(loss):
    """Return the config of a loss, or of a function by its name.

    >>> import lamina
    >>> lamina.losses.serialize(lamina.losses.Huber())["config"]["name"]
    'huber_loss'
    """
    return _serialize(loss)


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
