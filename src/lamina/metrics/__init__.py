"""Metrics: what training reports."""

from lamina._imports import offer as _offer
from lamina.core import config as _config
from lamina.losses import binary_crossentropy as binary_crossentropy
from lamina.losses import binary_focal_crossentropy as binary_focal_crossentropy
from lamina.losses import categorical_crossentropy as categorical_crossentropy
from lamina.losses import (
    categorical_focal_crossentropy as categorical_focal_crossentropy,
)
from lamina.losses import categorical_hinge as categorical_hinge
from lamina.losses import hinge as hinge
from lamina.losses import huber as huber
from lamina.losses import kl_divergence as kl_divergence
from lamina.losses import log_cosh as log_cosh
from lamina.losses import mean_absolute_error as mean_absolute_error
from lamina.losses import (
    mean_absolute_percentage_error as mean_absolute_percentage_error,
)
from lamina.losses import mean_squared_error as mean_squared_error
from lamina.losses import (
    mean_squared_logarithmic_error as mean_squared_logarithmic_error,
)
from lamina.losses import poisson as poisson
from lamina.losses import (
    sparse_categorical_crossentropy as sparse_categorical_crossentropy,
)
from lamina.losses import squared_hinge as squared_hinge
from lamina.metrics.accuracies import *
from lamina.metrics.confusion import *
from lamina.metrics.correlation import *
from lamina.metrics.curve import *
from lamina.metrics.errors import *
from lamina.metrics.f_score import *
from lamina.metrics.iou import *
from lamina.metrics.metric import Metric as Metric
from lamina.metrics.points import *
from lamina.metrics.r2 import *
from lamina.metrics.reduction import *

_SHORT = {
    "bce": BinaryCrossentropy,
    "kld": KLDivergence,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "mse": MeanSquaredError,
    "msle": MeanSquaredLogarithmicError,
}


def _names():
    # A function is found by its name only where no class goes by it.
    makers = ("deserialize", "get", "serialize")
    things = {n: globals()[n] for n in _PUBLIC if n not in makers}
    classes = {n: thing for n, thing in things.items() if not n.islower()}
    short = _SHORT | {name.upper(): metric for name, metric in _SHORT.items()}
    return things | _config.names_of(classes) | short | {"logcosh": LogCoshError}


_EXAMPLE = {"class_name": "Mean", "config": {"name": "loss"}}
get, deserialize = _config.resolver("metric", _names, Metric, _EXAMPLE)


def serialize(metric):
    """Return the config of a metric, or of a function by its name.

    >>> import lamina
    >>> lamina.metrics.serialize(lamina.metrics.Mean())["config"]
    {'name': 'mean', 'dtype': 'float32'}
    """
    return _config.serialize_keras_object(metric)


_PUBLIC = _offer(globals())
