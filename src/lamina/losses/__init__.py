"""Losses: what training makes small."""

from lamina._imports import offer as _offer
from lamina.core import config as _config
from lamina.core.tracebacks import boundary as _boundary
from lamina.losses.crossentropy import BinaryCrossentropy as BinaryCrossentropy
from lamina.losses.crossentropy import (
    BinaryFocalCrossentropy as BinaryFocalCrossentropy,
)
from lamina.losses.crossentropy import (
    CategoricalCrossentropy as CategoricalCrossentropy,
)
from lamina.losses.crossentropy import (
    CategoricalFocalCrossentropy as CategoricalFocalCrossentropy,
)
from lamina.losses.crossentropy import (
    CategoricalGeneralizedCrossEntropy as CategoricalGeneralizedCrossEntropy,
)
from lamina.losses.crossentropy import KLDivergence as KLDivergence
from lamina.losses.crossentropy import ShapedCrossentropy as _ShapedCrossentropy
from lamina.losses.crossentropy import (
    SparseCategoricalCrossentropy as SparseCategoricalCrossentropy,
)
from lamina.losses.crossentropy import binary_crossentropy as binary_crossentropy
from lamina.losses.crossentropy import (
    binary_focal_crossentropy as binary_focal_crossentropy,
)

# isort: split
# The functions for several classes.
from lamina.losses.crossentropy import (
    categorical_crossentropy as categorical_crossentropy,
)
from lamina.losses.crossentropy import (
    categorical_focal_crossentropy as categorical_focal_crossentropy,
)
from lamina.losses.crossentropy import (
    categorical_generalized_cross_entropy as categorical_generalized_cross_entropy,
)
from lamina.losses.crossentropy import kl_divergence as kl_divergence
from lamina.losses.crossentropy import (
    sparse_categorical_crossentropy as sparse_categorical_crossentropy,
)
from lamina.losses.loss import Loss as Loss
from lamina.losses.loss import LossFunctionWrapper as _LossFunctionWrapper
from lamina.losses.margin import CategoricalHinge as CategoricalHinge
from lamina.losses.margin import Circle as Circle
from lamina.losses.margin import Hinge as Hinge
from lamina.losses.margin import SquaredHinge as SquaredHinge
from lamina.losses.margin import categorical_hinge as categorical_hinge
from lamina.losses.margin import circle as circle
from lamina.losses.margin import hinge as hinge
from lamina.losses.margin import squared_hinge as squared_hinge
from lamina.losses.overlap import Dice as Dice
from lamina.losses.overlap import Tversky as Tversky
from lamina.losses.overlap import dice as dice
from lamina.losses.overlap import tversky as tversky
from lamina.losses.regression import CosineSimilarity as CosineSimilarity
from lamina.losses.regression import Huber as Huber
from lamina.losses.regression import LogCosh as LogCosh
from lamina.losses.regression import MeanAbsoluteError as MeanAbsoluteError
from lamina.losses.regression import (
    MeanAbsolutePercentageError as MeanAbsolutePercentageError,
)
from lamina.losses.regression import MeanSquaredError as MeanSquaredError
from lamina.losses.regression import (
    MeanSquaredLogarithmicError as MeanSquaredLogarithmicError,
)
from lamina.losses.regression import Poisson as Poisson
from lamina.losses.regression import cosine_similarity as cosine_similarity
from lamina.losses.regression import huber as huber
from lamina.losses.regression import log_cosh as log_cosh
from lamina.losses.regression import mean_absolute_error as mean_absolute_error
from lamina.losses.regression import (
    mean_absolute_percentage_error as mean_absolute_percentage_error,
)
from lamina.losses.regression import mean_squared_error as mean_squared_error
from lamina.losses.regression import (
    mean_squared_logarithmic_error as mean_squared_logarithmic_error,
)
from lamina.losses.regression import poisson as poisson
from lamina.losses.sequence import CTC as CTC
from lamina.losses.sequence import ctc as ctc

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
    # These two are named by files and `compile`, and by no user.
    things["LossFunctionWrapper"] = _LossFunctionWrapper
    short = _SHORT | {name.upper(): loss for name, loss in _SHORT.items()}
    short |= dict.fromkeys(("crossentropy", "ce", "CE"), _ShapedCrossentropy)
    return (
        _config.names_of(things)
        | short
        | {"logcosh": log_cosh}
        | {name: thing for name, thing in things.items() if name.islower()}
    )


_EXAMPLE = {"class_name": "Huber", "config": {"delta": 2.0}}
get, _deserialize = _config.resolver("loss", _names, Loss, _EXAMPLE)


@_boundary
def serialize(loss):
    """Return the config of a loss, or of a function by its name.

    >>> import lamina
    >>> lamina.losses.serialize(lamina.losses.Huber())["config"]["name"]
    'huber_loss'
    """
    return _config.serialize_keras_object(loss)


@_boundary
def deserialize(name, custom_objects=None):
    """Make a loss from its name or its config.

    Args:
        name: the name or the config.
        custom_objects: a dict from names to your own classes and functions.

    >>> import lamina
    >>> lamina.losses.deserialize("mse").__name__
    'mean_squared_error'
    """
    return _deserialize(name, custom_objects)


_PUBLIC = _offer(globals())
