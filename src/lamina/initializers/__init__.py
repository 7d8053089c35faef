"""First values of Variables: constants and seeded random draws."""

import inspect as _inspect

import jax.numpy as _jnp
import numpy as _np

from lamina._imports import offer as _offer
from lamina.core.config import names_of as _names_of
from lamina.core.config import resolver as _resolver
from lamina.core.config import serialize_keras_object as _serialize_keras_object
from lamina.core.dtypes import standardize_dtype as _standardize_dtype
from lamina.core.tracebacks import boundary as _boundary
from lamina.core.variable import Variable as _Variable
from lamina.initializers.constant import STFT as STFT
from lamina.initializers.constant import Constant as Constant
from lamina.initializers.constant import Identity as Identity
from lamina.initializers.constant import Ones as Ones
from lamina.initializers.constant import Zeros as Zeros
from lamina.initializers.draws import GlorotNormal as GlorotNormal
from lamina.initializers.draws import GlorotUniform as GlorotUniform
from lamina.initializers.draws import HeNormal as HeNormal
from lamina.initializers.draws import HeUniform as HeUniform
from lamina.initializers.draws import LecunNormal as LecunNormal
from lamina.initializers.draws import LecunUniform as LecunUniform
from lamina.initializers.draws import Orthogonal as Orthogonal
from lamina.initializers.draws import RandomNormal as RandomNormal
from lamina.initializers.draws import RandomUniform as RandomUniform
from lamina.initializers.draws import TruncatedNormal as TruncatedNormal
from lamina.initializers.draws import VarianceScaling as VarianceScaling
from lamina.initializers.initializer import Initializer as Initializer

IdentityInitializer = identity = Identity
OrthogonalInitializer = orthogonal = Orthogonal
STFTInitializer = stft = STFT
constant = Constant
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
ones = Ones
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
zeros = Zeros

_CLASSES = [x for x in globals().values() if _inspect.isclass(x) and x is not _Variable]
_TABLE = _names_of({cls.__name__: cls for cls in _CLASSES}) | {
    "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
    "STFTInitializer": STFT,
    "normal": RandomNormal,
    "one": Ones,
    "uniform": RandomUniform,
    "zero": Zeros,
}

_EXAMPLE = {"class_name": "Constant", "config": {"value": 3.0}}
_get, deserialize = _resolver("initializer", lambda: _TABLE, Initializer, _EXAMPLE)


@_boundary
def serialize(initializer):
    """Return the config of an initializer.

    >>> import lamina
    >>> lamina.initializers.serialize(lamina.initializers.Constant(3.0))["config"]
    {'value': 3.0}
    """
    return _serialize_keras_object(initializer)


@_boundary
def get(identifier):
    """Return an initializer for a name, a config, a class, an array or itself.

    Args:
        identifier: a name such as `"he_normal"`, a config, an Initializer or its
            class, any callable `(shape, dtype=None)`, an array that is the first
            value, or None.

    Raises:
        ValueError: it is none of these.

    >>> import lamina
    >>> lamina.initializers.get("ones")((2,)).tolist()
    [1.0, 1.0]
    """
    if isinstance(identifier, (_np.ndarray, _np.generic, _jnp.ndarray, _Variable)):
        return _given(identifier)
    return _get(identifier)


def _given(array):
    def initialize(shape, dtype=None):
        if tuple(shape) != tuple(array.shape):
            raise ValueError(
                f"Expected `shape` to be {tuple(array.shape)}, that of the array given "
                f"as initializer. Received: shape={tuple(shape)}"
            )
        return _jnp.asarray(array, dtype=_standardize_dtype(dtype))

    return initialize


_offer(globals())
