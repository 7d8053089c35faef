"""Arrays as small integers and a scale: what quantized layers are made of."""

from lamina._imports import offer as _offer
from lamina.core.config import names_of as _names_of
from lamina.core.config import resolver as _resolver
from lamina.core.config import serialize_keras_object as _serialize_keras_object
from lamina.core.tracebacks import boundary as _boundary
from lamina.quantizers.configs import AWQConfig as AWQConfig
from lamina.quantizers.configs import (
    Float8QuantizationConfig as Float8QuantizationConfig,
)
from lamina.quantizers.configs import GPTQConfig as GPTQConfig
from lamina.quantizers.configs import Int4QuantizationConfig as Int4QuantizationConfig
from lamina.quantizers.configs import Int8QuantizationConfig as Int8QuantizationConfig
from lamina.quantizers.configs import QuantizationConfig as QuantizationConfig
from lamina.quantizers.quantizer import AbsMaxQuantizer as AbsMaxQuantizer
from lamina.quantizers.quantizer import Quantizer as Quantizer
from lamina.quantizers.rounding import (  # noqa: F401
    abs_max_quantize,
    abs_max_quantize_grouped_with_zero_point,
    compute_float8_amax_history,
    compute_float8_scale,
    fake_quant_with_min_max_vars,
    pack_int4,
    quantize_and_dequantize,
    unpack_int4,
)

_CLASSES = (
    AWQConfig,
    AbsMaxQuantizer,
    Float8QuantizationConfig,
    GPTQConfig,
    Int4QuantizationConfig,
    Int8QuantizationConfig,
    Quantizer,
)
_TABLE = _names_of({cls.__name__: cls for cls in _CLASSES})

_EXAMPLE = {"class_name": "AbsMaxQuantizer", "config": {"axis": 0}}
_get, deserialize = _resolver("quantizer", lambda: _TABLE, None, _EXAMPLE)


@_boundary
def get(identifier, **kwargs):
    """Return a quantizer for a name, a config, a class or the object itself.

    Args:
        identifier: what to interpret.
        kwargs: arguments for the constructor, where it is called.

    >>> import lamina
    >>> lamina.quantizers.get("abs_max_quantizer", axis=0).axis
    (0,)
    """
    cls = _TABLE.get(identifier) if isinstance(identifier, str) else identifier
    if isinstance(cls, type):
        return cls(**kwargs)
    return _get(identifier)


@_boundary
def serialize(initializer):
    """Return the config of a quantizer.

    >>> import lamina
    >>> quantizer = lamina.quantizers.AbsMaxQuantizer(axis=0)
    >>> lamina.quantizers.serialize(quantizer)["class_name"]
    'AbsMaxQuantizer'
    """
    return _serialize_keras_object(initializer)


_offer(globals())
