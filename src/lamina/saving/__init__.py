"""Files: whole models, weights, and the names that configs may use.

`.keras` and `.weights.h5` are Keras' own formats, read and written. Reading one runs
no code from it.
"""

from lamina._imports import offer as _offer
from lamina.core.budget import limits as limits
from lamina.core.config import deserialize_keras_object as deserialize_keras_object
from lamina.core.config import serialize_keras_object as serialize_keras_object
from lamina.core.registry import CustomObjectScope as CustomObjectScope
from lamina.core.registry import custom_object_scope as custom_object_scope
from lamina.core.registry import get_custom_objects as get_custom_objects
from lamina.core.registry import get_registered_name as get_registered_name
from lamina.core.registry import get_registered_object as get_registered_object
from lamina.core.registry import (
    register_keras_serializable as register_keras_serializable,
)
from lamina.saving.editor import KerasFileEditor as KerasFileEditor
from lamina.saving.reading import load_model as load_model
from lamina.saving.reading import load_weights as load_weights
from lamina.saving.writing import save_model as save_model
from lamina.saving.writing import save_weights as save_weights

_offer(globals())
