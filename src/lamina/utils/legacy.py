"""The same as `lamina.legacy.saving`."""

from lamina.legacy.saving import deserialize_keras_object, serialize_keras_object

__all__ = ["deserialize_keras_object", "serialize_keras_object"]
