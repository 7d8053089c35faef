"""All layers, one file per family: each says in its `__all__` what it offers."""

from lamina._imports import offer as _offer
from lamina.core.config import resolver as _resolver
from lamina.core.config import serialize_keras_object as _serialize
from lamina.layers.activation import *
from lamina.layers.attention import *
from lamina.layers.convolution import *
from lamina.layers.core import *
from lamina.layers.einsum import *
from lamina.layers.embedding import *
from lamina.layers.jax_layer import *
from lamina.layers.lambdas import *
from lamina.layers.layer import *
from lamina.layers.merging import *
from lamina.layers.normalization import *
from lamina.layers.pooling import *
from lamina.layers.preprocessing.color import *
from lamina.layers.preprocessing.discretization import *
from lamina.layers.preprocessing.encoding import *
from lamina.layers.preprocessing.filters import *
from lamina.layers.preprocessing.geometry import *
from lamina.layers.preprocessing.hashing import *
from lamina.layers.preprocessing.integer_lookup import *
from lamina.layers.preprocessing.mixing import *
from lamina.layers.preprocessing.normalization import *
from lamina.layers.preprocessing.rescaling import *
from lamina.layers.preprocessing.sizing import *
from lamina.layers.preprocessing.spectrogram import *
from lamina.layers.preprocessing.string_lookup import *
from lamina.layers.preprocessing.text import *
from lamina.layers.preprocessing.warping import *
from lamina.layers.recurrent.cells import *
from lamina.layers.recurrent.convolutional import *
from lamina.layers.recurrent.gated import *
from lamina.layers.recurrent.rnn import *
from lamina.layers.recurrent.wrappers import *
from lamina.layers.regularization import *
from lamina.layers.reshaping import *
from lamina.layers.saved_model import *
from lamina.layers.spectral import *
from lamina.layers.torch_module import *

_EXAMPLE = {"class_name": "Dense", "config": {"units": 3}}
deserialize = _resolver(
    "layer",
    lambda: {k: v for k, v in globals().items() if k[0].isupper()},
    Layer,
    _EXAMPLE,
)[1]


def serialize(layer):
    """Return the config of a layer, from which `deserialize` makes another.

    >>> import lamina
    >>> lamina.layers.serialize(lamina.layers.Dense(2))["class_name"]
    'Dense'
    """
    return _serialize(layer)


_offer(globals())
