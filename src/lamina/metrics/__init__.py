"""Metrics: what training reports."""

from lamina._imports import offer as _offer
from lamina.core import config as _config
from lamina.core.tracebacks import boundary as _boundary
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
from lamina.metrics.accuracies import Accuracy as Accuracy
from lamina.metrics.accuracies import BinaryAccuracy as BinaryAccuracy
from lamina.metrics.accuracies import CategoricalAccuracy as CategoricalAccuracy
from lamina.metrics.accuracies import (
    SparseCategoricalAccuracy as SparseCategoricalAccuracy,
)
from lamina.metrics.accuracies import (
    SparseTopKCategoricalAccuracy as SparseTopKCategoricalAccuracy,
)
from lamina.metrics.accuracies import TopKCategoricalAccuracy as TopKCategoricalAccuracy
from lamina.metrics.accuracies import binary_accuracy as binary_accuracy
from lamina.metrics.accuracies import categorical_accuracy as categorical_accuracy
from lamina.metrics.accuracies import (
    sparse_categorical_accuracy as sparse_categorical_accuracy,
)
from lamina.metrics.accuracies import (
    sparse_top_k_categorical_accuracy as sparse_top_k_categorical_accuracy,
)
from lamina.metrics.accuracies import (
    top_k_categorical_accuracy as top_k_categorical_accuracy,
)
from lamina.metrics.confusion import FalseNegatives as FalseNegatives
from lamina.metrics.confusion import FalsePositives as FalsePositives
from lamina.metrics.confusion import Precision as Precision
from lamina.metrics.confusion import Recall as Recall
from lamina.metrics.confusion import TrueNegatives as TrueNegatives
from lamina.metrics.confusion import TruePositives as TruePositives
from lamina.metrics.correlation import ConcordanceCorrelation as ConcordanceCorrelation
from lamina.metrics.correlation import PearsonCorrelation as PearsonCorrelation
from lamina.metrics.correlation import (
    concordance_correlation as concordance_correlation,
)
from lamina.metrics.correlation import pearson_correlation as pearson_correlation
from lamina.metrics.curve import AUC as AUC
from lamina.metrics.errors import BinaryCrossentropy as BinaryCrossentropy
from lamina.metrics.errors import CategoricalCrossentropy as CategoricalCrossentropy
from lamina.metrics.errors import CategoricalHinge as CategoricalHinge
from lamina.metrics.errors import CosineSimilarity as CosineSimilarity
from lamina.metrics.errors import Hinge as Hinge
from lamina.metrics.errors import KLDivergence as KLDivergence
from lamina.metrics.errors import LogCoshError as LogCoshError
from lamina.metrics.errors import MeanAbsoluteError as MeanAbsoluteError
from lamina.metrics.errors import (
    MeanAbsolutePercentageError as MeanAbsolutePercentageError,
)
from lamina.metrics.errors import MeanSquaredError as MeanSquaredError
from lamina.metrics.errors import (
    MeanSquaredLogarithmicError as MeanSquaredLogarithmicError,
)
from lamina.metrics.errors import Poisson as Poisson
from lamina.metrics.errors import RootMeanSquaredError as RootMeanSquaredError
from lamina.metrics.errors import (
    SparseCategoricalCrossentropy as SparseCategoricalCrossentropy,
)
from lamina.metrics.errors import SquaredHinge as SquaredHinge
from lamina.metrics.f_score import F1Score as F1Score
from lamina.metrics.f_score import FBetaScore as FBetaScore
from lamina.metrics.iou import BinaryIoU as BinaryIoU
from lamina.metrics.iou import IoU as IoU
from lamina.metrics.iou import MeanIoU as MeanIoU
from lamina.metrics.iou import OneHotIoU as OneHotIoU
from lamina.metrics.iou import OneHotMeanIoU as OneHotMeanIoU
from lamina.metrics.metric import Metric as Metric
from lamina.metrics.points import PrecisionAtRecall as PrecisionAtRecall
from lamina.metrics.points import RecallAtPrecision as RecallAtPrecision
from lamina.metrics.points import SensitivityAtSpecificity as SensitivityAtSpecificity
from lamina.metrics.points import SpecificityAtSensitivity as SpecificityAtSensitivity
from lamina.metrics.r2 import R2Score as R2Score
from lamina.metrics.reduction import Mean as Mean
from lamina.metrics.reduction import MeanMetricWrapper as MeanMetricWrapper
from lamina.metrics.reduction import Sum as Sum

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


@_boundary
def serialize(metric):
    """Return the config of a metric, or of a function by its name.

    >>> import lamina
    >>> lamina.metrics.serialize(lamina.metrics.Mean())["config"]
    {'name': 'mean', 'dtype': 'float32'}
    """
    return _config.serialize_keras_object(metric)


_PUBLIC = _offer(globals())
