"""Optimizers: what changes the weights against their gradients."""

import inspect as _inspect

from lamina._imports import offer as _offer
from lamina.core.config import names_of as _names_of
from lamina.core.config import resolver as _resolver
from lamina.core.config import serialize_keras_object as _serialize_keras_object
from lamina.core.tracebacks import boundary as _boundary
from lamina.optimizers import legacy as legacy
from lamina.optimizers import schedules as schedules
from lamina.optimizers.adafactor import Adafactor as Adafactor
from lamina.optimizers.adagrad import Adadelta as Adadelta
from lamina.optimizers.adagrad import Adagrad as Adagrad
from lamina.optimizers.adam import Adam as Adam
from lamina.optimizers.adam import Adamax as Adamax
from lamina.optimizers.adam import AdamW as AdamW
from lamina.optimizers.adam import Nadam as Nadam
from lamina.optimizers.ftrl import Ftrl as Ftrl
from lamina.optimizers.lamb import Lamb as Lamb
from lamina.optimizers.lion import Lion as Lion
from lamina.optimizers.loss_scale import LossScaleOptimizer as LossScaleOptimizer
from lamina.optimizers.multi import MultiOptimizer as MultiOptimizer
from lamina.optimizers.multi import OptimizerMap as OptimizerMap
from lamina.optimizers.muon import Muon as Muon
from lamina.optimizers.optimizer import Optimizer as Optimizer
from lamina.optimizers.rmsprop import RMSprop as RMSprop
from lamina.optimizers.schedule_free import ScheduleFreeAdamW as ScheduleFreeAdamW
from lamina.optimizers.sgd import SGD as SGD
from lamina.optimizers.transformation import Transformation as _Transformation
from lamina.optimizers.transformation import is_transformation as _is_transformation

_CLASSES = [x for x in globals().values() if _inspect.isclass(x)]
_CLASSES.remove(_Transformation)  # it has no name: what it is made of has
_TABLE = _names_of({cls.__name__: cls for cls in _CLASSES})

_EXAMPLE = {"class_name": "SGD", "config": {"learning_rate": 0.5}}
_get, deserialize = _resolver("optimizer", lambda: _TABLE, Optimizer, _EXAMPLE)


@_boundary
def serialize(optimizer):
    """Return the config of an optimizer.

    >>> import lamina
    >>> lamina.optimizers.serialize(lamina.optimizers.SGD())["class_name"]
    'SGD'
    """
    return _serialize_keras_object(optimizer)


@_boundary
def get(identifier):
    """Return an optimizer for a name, a config, an optax transformation or itself.

    Args:
        identifier: a name such as `"adam"`, a config, an Optimizer or its class, an
            optax `GradientTransformation`, or None.

    Raises:
        ValueError: it is none of these.

    >>> import lamina
    >>> lamina.optimizers.get("rmsprop").rho
    0.9
    """
    if _is_transformation(identifier):
        return _Transformation(identifier)
    if isinstance(identifier, str):
        identifier = identifier if identifier in _TABLE else identifier.lower()
    found = _get(identifier)
    if found is not None and not isinstance(found, Optimizer):
        raise ValueError(
            f"Could not interpret optimizer identifier: {identifier!r}. Pass a name, "
            "an Optimizer, its config or an optax transformation."
        )
    return found


_offer(globals(), modules=("legacy", "schedules"))
