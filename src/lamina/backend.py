"""What Keras calls its backend: dtypes, settings and sessions."""

from lamina.config import backend
from lamina.core.dtypes import is_float as is_float_dtype
from lamina.core.dtypes import is_int as is_int_dtype
from lamina.core.dtypes import result_type, standardize_dtype
from lamina.core.naming import uid as get_uid
from lamina.core.settings import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from lamina.core.symbolic import is_symbolic as is_keras_tensor
from lamina.utils.session import clear_session

__all__ = [
    "backend",
    "clear_session",
    "epsilon",
    "floatx",
    "get_uid",
    "image_data_format",
    "is_float_dtype",
    "is_int_dtype",
    "is_keras_tensor",
    "result_type",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "standardize_dtype",
]
